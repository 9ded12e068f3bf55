"""Judges what `--write` made, looked at and deleted. Pure."""

from collections.abc import Callable

from keyjanitor.domain.model.keys import ANSWER_MAY_DIFFER
from keyjanitor_cli.preflight import trail
from keyjanitor_cli.preflight.findings import Finding, Outcome, Row
from keyjanitor_cli.preflight.phrases import names
from keyjanitor_cli.preflight.shapes import shape
from keyjanitor_cli.preflight.trying import Tried

LONGEST_IMPORT = 30.0  # seconds that an answer of API Gateway is waited for
ANOTHER = "an answer of another shape"

DATES = Row("w1", "Is lastUpdatedDate of UpdateApiKey's answer that of a read after it?",
            "yes, within a second (believed: AF-212)")  # fmt: skip
TAGS = Row("w2", "What are the tags of a key without tags?", "empty or missing (believed: AF-206)")
UNSERVED = Row("w3", "Has a plan without stages a usage?", "an empty one, or a refusal")
IMPORT = Row("w4", "How long does an import take?", f"under {LONGEST_IMPORT:.0f} seconds")
UPSERT = Row("w5", "Is an import over a key a warning?", "not known (believed: AF-235)")
OVERWRITES = Row("w6", "Does it overwrite the key?", "yes, under the same id (doc: AF-232)")
CLEAN = Row("w7", "Is all deleted that was made?", "yes")


def judge(tried: Tried) -> tuple[Finding, ...]:
    """A finding for each row, in their order."""
    judged: tuple[Callable[[Tried], Finding], ...] = (
        dates,
        tags,
        unserved,
        imported,
        upsert,
        overwrites,
        clean,
    )
    return tuple(one(tried) for one in judged)


def dates(tried: Tried) -> Finding:
    """Both dates of the change that was made."""
    if refused := next((one for one in (tried.updated, tried.read) if one.code), None):
        return DATES.refused(refused)
    answered, read = (
        trail.moment(one.body.get("lastUpdatedDate")) for one in (tried.updated, tried.read)
    )
    if answered is None or read is None:
        return DATES.found(Outcome.DIFFERS, ANOTHER, shape=shape(tried.updated.body))
    apart = read - answered
    told = f"{apart.total_seconds():,.0f} seconds later"
    if abs(apart) <= ANSWER_MAY_DIFFER:
        return DATES.found(Outcome.SAME, told)
    follows = "Keys that keyjanitor disabled count as changed by others: they are not parked."
    return DATES.found(Outcome.DIFFERS, told, follows=follows)


def tags(tried: Tried) -> Finding:
    """How GetApiKey says that a key has no tags."""
    if tried.read.code:
        return TAGS.refused(tried.read)
    if tried.read.body.get("tags"):
        return TAGS.found(Outcome.DIFFERS, "it has some", shape=shape(tried.read.body))
    return TAGS.found(Outcome.SAME, "empty" if "tags" in tried.read.body else "missing")


def unserved(tried: Tried) -> Finding:
    """The usage of a plan without stages, keys and quota."""
    if tried.plan.code:
        return UNSERVED.refused(tried.plan)
    if tried.usage.denied:
        return UNSERVED.refused(tried.usage)
    return UNSERVED.found(Outcome.LEARNED, tried.usage.code or "it is answered")


def imported(tried: Tried) -> Finding:
    """The seconds of an import of one key into one plan."""
    if tried.imported.code:
        return IMPORT.refused(tried.imported)
    told = f"{tried.imported.seconds:.1f} seconds for one key"
    if not isinstance(tried.imported.body.get("ids"), list):
        return IMPORT.found(Outcome.DIFFERS, ANOTHER, shape=shape(tried.imported.body))
    if tried.imported.seconds < LONGEST_IMPORT:
        return IMPORT.found(Outcome.SAME, told)
    follows = "Requests for many keys may be cut off, and are then sent again in smaller files."
    return IMPORT.found(Outcome.DIFFERS, told, follows=follows)


def upsert(tried: Tried) -> Finding:
    """What came of the same value under another name."""
    if tried.imported.code or tried.again.denied:
        return UPSERT.refused(tried.again if tried.again.denied else tried.imported)
    if tried.again.code:
        return UPSERT.found(Outcome.LEARNED, f"it is refused: {tried.again.code}")
    warnings = tried.again.body.get("warnings")
    return UPSERT.found(Outcome.LEARNED, "it warns" if warnings else "it is taken, no warning")


def overwrites(tried: Tried) -> Finding:
    """Whether the key has the second name."""
    if tried.again.code:
        return OVERWRITES.found(Outcome.OPEN, tried.again.code)
    if tried.reread.code:
        return OVERWRITES.refused(tried.reread)
    same = tried.imported.body.get("ids") == tried.again.body.get("ids")
    renamed = str(tried.reread.body.get("name", "")).endswith("-again")
    if same and renamed:
        return OVERWRITES.found(Outcome.SAME, "the key has the new name and its id")
    told = f"{'the same' if same else 'another'} id, {'the new' if renamed else 'the old'} name"
    return OVERWRITES.found(Outcome.DIFFERS, told, follows="Report it: no import is repeated.")


def clean(tried: Tried) -> Finding:
    """Whether anything under the marker is left."""
    failed = sorted({one.code for one in tried.deleted if one.code})
    if tried.left.code:
        return CLEAN.refused(tried.left)
    if not failed and not tried.names_left:
        return CLEAN.found(Outcome.SAME, f"{len(tried.deleted)} deleted, none left")
    follows = f"Delete the keys and the plan whose names begin with {tried.marker}."
    told = f"{', '.join(failed) or 'listed'}; left: "
    return CLEAN.found(
        Outcome.DIFFERS, told, *names("marker", tried.names_left or ["a plan"]), follows=follows
    )
