"""Writes a suggestion as `policy.toml`, each line with why it is there and how many keys it is about. Pure."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from keyjanitor.domain.expiry.ownership import KEEP_TAG
from keyjanitor.domain.model.policy import MONTHLY_JOBS
from keyjanitor.domain.model.safe_text import harmless, visible
from keyjanitor.domain.usage.plan_usage import USAGE_DAYS
from keyjanitor_cli.suggest.plans import MONTHLY, SILENT, Longest, PlanUse
from keyjanitor_cli.suggest.suggestion import PRESSURE_ABOVE, Strictness, SuggestedTier, Suggestion

SHORT = 80  # a name of a plan that is longer is written by its id
WIDTH = 110  # of a line that holds a list
SHOWN = 20  # plans that are named one by one in a comment


def toml_of(suggestion: Suggestion) -> str:
    """The text of the policy; `parse_policy` takes it."""
    names = _names(suggestion)
    sections = (
        _head(suggestion),
        _silent(suggestion, names),
        _owned(suggestion),
        _unclaimed(suggestion, names),
        *(_tier(tier, suggestion, names) for tier in suggestion.tiers),
        _pressure(suggestion),
        _owners(suggestion),
    )
    return "\n".join("".join(f"{line}\n" for line in section) for section in sections if section)


def _head(suggestion: Suggestion) -> list[str]:
    judged = sum(len(tier.plans) for tier in suggestion.tiers)
    plans = judged + len(suggestion.left)
    return [
        f"# Suggested by keyjanitor on {suggestion.today} from the last {USAGE_DAYS} days of this account:",
        f"# {_many(suggestion.keys)}, {_many(plans, 'usage plan')}. Read it, set each `contact`, and edit what you know better.",
        f"# A client that calls less often than every {USAGE_DAYS} days cannot be seen in them.",
        "# Then `keyjanitor policy check` finds mistakes, and `keyjanitor whatif` shows what this would do.",
    ]


def _silent(suggestion: Suggestion, names: Mapping[str, str]) -> list[str]:
    silent = [plan for plan in suggestion.left if plan.doubt == SILENT]
    if not silent:
        return []
    keys = sum(len(plan.keys) for plan in silent)
    return [
        f"# {_many(len(silent), 'usage plan')} with {_many(keys)} had no request in {USAGE_DAYS} days. It may be that API Gateway does",
        "# not meter them, so their keys are left alone. If they are really unused, name them here and in a tier:",
        *(f"# {line}" for line in _list("silent_plans", [names[plan.plan_id] for plan in silent])),
        "silent_plans = []",
    ]


def _owned(suggestion: Suggestion) -> Iterator[str]:
    marks = suggestion.marks
    yield "# Keys that other tools own: keyjanitor never touches them."
    if not suggestion.tags_known:
        yield "# The tags of the keys could not be read, so marks in tags were not looked for."
    if marks.stacks:
        yield f"# {_many(marks.stacks)} with the tag of a CloudFormation stack: owned whatever is written here."
    if marks.kept:
        yield f"# {_many(marks.kept)} tagged {KEEP_TAG}: kept whatever is written here."
    for (kind, value), keys in (*marks.known.items(), *marks.new.items()):
        new = ", new in this list" if (kind, value) in marks.new else ""
        yield f"# {_many(keys)} by {kind}: {_quoted(value)}{new}"
    if not (marks.known or marks.new):
        yield "# No key has one of these marks."
    owned = marks.owned()
    yield "[owned]"
    yield from _list("descriptions", map(_string, owned.descriptions))
    yield from _list("tags", map(_string, owned.tags))
    yield from _list("name_prefixes", map(_string, owned.name_prefixes))


def _unclaimed(suggestion: Suggestion, names: Mapping[str, str]) -> Iterator[str]:
    strict = suggestion.strictness
    yield "# Keys that no tier below names. Those in a usage plan never expire here."
    for plan in suggestion.left[:SHOWN]:
        yield f"# usage plan {_called(plan, names)}, {_many(len(plan.keys))}: {_quoted(plan.doubt or '')}"
    for line in _rest(suggestion.left):
        yield f"# {line}"
    yield "[tiers.unclaimed]"
    yield _contact(suggestion)
    yield 'idle_days = "never"'
    yield f"orphan_days = 14         # {_many(suggestion.orphans)} in no usage plan: after so many nights they are warned"
    yield f"warn_days = {strict.warn_days}"
    yield f"grace_days = {strict.grace_days}"


def _tier(tier: SuggestedTier, suggestion: Suggestion, names: Mapping[str, str]) -> Iterator[str]:
    strict = suggestion.strictness
    keys = {key.key_id for plan in tier.plans for key in plan.keys}
    used = len({key_id for plan in tier.plans for key_id in plan.used})
    yield (
        f"# {_many(len(keys))} in {_many(len(tier.plans), 'usage plan')}; {used:,} of them were used in the last "
        f"{USAGE_DAYS} days."
    )
    for plan in tier.plans[:SHOWN] if len(tier.plans) > 1 else ():
        yield f"#   {_called(plan, names)}: {_many(len(plan.keys))}, {len(plan.used):,} used"
    if len(tier.plans) > 1:
        yield from (f"#   {line}" for line in _rest(tier.plans))
    if monthly := len({key_id for plan in tier.plans for key_id in plan.monthly}):
        yield f"# {_many(monthly)} came back after a silence of {MONTHLY} days or longer."
    yield f"[tiers.{tier.name}]"
    yield _contact(suggestion)
    yield from _list("usage_plans", [names[plan.plan_id] for plan in tier.plans])
    silence = "was silent for {} and then used again"
    yield from _why(tier.gap, strict, strict.idle_days, silence)
    yield f"idle_days = {tier.idle_days}"
    yield from _why(
        tier.first_use, strict, strict.never_used_days, "was used first {} after it was made"
    )
    yield f"never_used_days = {tier.never_used_days}"
    yield f"warn_days = {strict.warn_days}           # from the warning until the key is disabled"
    yield f"grace_days = {strict.grace_days}          # from there until it is parked"


def _why(seen: Longest | None, strict: Strictness, lowest: int, what: str) -> Iterator[str]:
    """Why the limit in the next line is as it is."""
    if seen is None:
        yield "# No use of these keys says how long the next limit has to be. It is the lowest suggested:"
        return
    took = what.format(_many(seen.days, "day"))
    if not seen.days:
        took = took.replace("0 days after", "on the day on which")
    yield (
        f"# The longest seen: key {harmless(seen.key_id, 24)} {took}. "
        f"With a margin of {_many(strict.margin_of(seen), 'day')}, and not under {lowest}:"
    )


def _pressure(suggestion: Suggestion) -> Iterator[str]:
    above, factor = PRESSURE_ABOVE, suggestion.factor
    yield f"# When the account is fuller than {above:.0%} of the key limit, idle limits are multiplied by the factor"
    yield f"# (`idle_days` is not shortened below {MONTHLY_JOBS}, for monthly jobs)."
    if factor is None:
        yield "# No factor was found under which no key in use would have been warned, so there is no such rule."
        return
    yield "# It is the lowest under which no key in use would have been warned."
    yield "[[pressure]]"
    yield f"above = {above:.2f}"
    yield f"idle_factor = {factor:g}"


def _owners(suggestion: Suggestion) -> Iterator[str]:
    """Rules for where most texts say whose a key is; where only some do, the rule is a comment."""
    if suggestion.owners:
        yield "# Whose the keys are, as they say it themselves. The first rule that fits counts."
    for one in suggestion.owners:
        off = "" if one.is_usual else "# "
        has = f"of {_many(one.of)} that {'has' if one.of == 1 else 'have'} a text there"
        yield f"# {one.keys:,} {has}:"
        yield f"{off}[[owners]]"
        yield f"{off}from = {_string(one.rule.place)}"
        yield f"{off}pattern = '{one.rule.pattern}'"


def _contact(suggestion: Suggestion) -> str:
    return f"contact = {_string(suggestion.contact)}   # a label that warnings carry; a tier without one is never swept"


def _names(suggestion: Suggestion) -> dict[str, str]:
    """How each usage plan is written in the policy: by its name if that is clear, else by its id."""
    plans = [*suggestion.left, *(plan for tier in suggestion.tiers for plan in tier.plans)]
    ids = {plan.plan_id for plan in plans}
    called = Counter(plan.reading.name for plan in plans)
    return {
        plan.plan_id: _string(
            name if called[name] == 1 and name not in ids and _is_plain(name) else plan.plan_id
        )
        for plan in plans
        for name in [plan.reading.name]
    }


def _called(plan: PlanUse, names: Mapping[str, str]) -> str:
    """A usage plan in a comment: as the policy names it, with its name if that is another."""
    name, written = plan.reading.name, names[plan.plan_id]
    return written if not name or written == _string(name) else f"{written} ({_quoted(name)})"


def _is_plain(name: str) -> bool:
    return bool(name) and name == visible(name, SHORT)


def _string(text: str) -> str:
    """A text as a TOML string; JSON's escapes are TOML's, where every letter is printable."""
    return json.dumps(text, ensure_ascii=False)


def _list(field: str, items: Iterable[str]) -> Iterator[str]:
    """A list of TOML strings, in as many lines as it takes."""
    line, empty = f"{field} = [", True
    for item in items:
        if not empty and len(line) + len(item) > WIDTH:
            yield line.rstrip()
            line = "    "
        line += f"{item}, "
        empty = False
    yield f"{line.removesuffix(', ')}]"


def _rest(plans: Sequence[PlanUse]) -> Iterator[str]:
    if more := plans[SHOWN:]:
        keys = sum(len(plan.keys) for plan in more)
        yield f"and {_many(len(more), 'usage plan')} more with {_many(keys)}"


def _quoted(text: str) -> str:
    return harmless(text, 80)


def _many(count: int, what: str = "key") -> str:
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"
