"""What a preflight found, as tables: what was asked, what AWS said, what is believed, and what follows. Pure."""

from collections.abc import Iterator, Sequence

from keyjanitor_cli.preflight.answers import MOST_CALLS
from keyjanitor_cli.preflight.findings import Finding, Found, Outcome
from keyjanitor_cli.preflight.phrases import plain
from keyjanitor_cli.shapes import Block, Column, Excerpt, Facts, Line, Table, Tone, View
from keyjanitor_cli.words import many

POLICY = "keyjanitor preflight --policy"


def view(found: Found, written: str) -> View:
    """Both tables, what follows, and the rights that are missing; `written` is the file's name."""
    return [*_blocks(found, written)]


def _blocks(found: Found, written: str) -> Iterator[Block]:
    yield Facts(
        [
            ("Account", Line(f"{found.account or 'not known'}, {found.region}, as {found.who}")),
            ("Calls", Line(_calls(found))),
        ]
    )
    yield _table("What AWS said", "Asked", "AWS said", "keyjanitor believes", found.questions)
    yield _table("The ground", "What", "Found", "Needed", found.ground)
    if found.trial:
        yield _table("What was tried", "Asked", "AWS said", "keyjanitor believes", found.trial)
    yield from _follows(found.findings)
    yield from _missing(found)
    yield _summary(found)
    yield Line(f"Written: {written}, without ids, names and values. Attach it to an issue.")


def _calls(found: Found) -> str:
    if found.trial:
        return f"{found.calls}, of which at most {MOST_CALLS} look at the account"
    return f"{found.calls} of at most {MOST_CALLS}; nothing was changed"


def _table(title: str, asked: str, said: str, believed: str, findings: Sequence[Finding]) -> Table:
    columns = [Column("", whole=True), *map(Column, (asked, said, believed)), Column("Same?")]
    rows = [
        [one.number, one.asked, plain(one.said), one.believed, str(one.outcome)] for one in findings
    ]
    return Table(columns, rows, title)


def _follows(findings: Sequence[Finding]) -> Iterator[Block]:
    rows = [
        (
            one.number,
            Line(one.follows, Tone.WARN if one.outcome is Outcome.DIFFERS else Tone.PLAIN),
        )
        for one in findings
        if one.follows
    ]
    if rows:
        yield Line("")
        yield Facts(rows, "What follows")


def _missing(found: Found) -> Iterator[Block]:
    if not found.missing:
        return
    yield Line("")
    yield Line(f"Rights that are missing, by the line of {POLICY}:", Tone.BAD)
    for one in found.missing:
        yield Line(f"line {one.line}: {one.right.action} on {one.resource}: {one.right.why}")
        yield Excerpt(f"  {one.statement}")


def _summary(found: Found) -> Line:
    counts = {outcome: sum(one.outcome is outcome for one in found.findings) for outcome in Outcome}
    told = ", ".join(f"{count} {outcome}" for outcome, count in counts.items() if count)
    tone = Tone.WARN if found.needs_person else Tone.GOOD
    return Line(f"{many(len(found.findings), 'row')}: {told}.", tone)
