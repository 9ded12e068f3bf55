"""What a suggested policy would do: its tiers, the slots that it frees by week, and whom it would have warned. Pure."""

from collections import Counter
from collections.abc import Iterator, Sequence

from keyjanitor.domain.expiry.outlook import NightAhead
from keyjanitor.domain.model.policy import UNCLAIMED
from keyjanitor_cli.shapes import Column, Command, Line, Table, Tone, View
from keyjanitor_cli.suggest.in_use import WarnedInUse
from keyjanitor_cli.suggest.suggestion import Suggestion
from keyjanitor_cli.whatif.verdicts import Judged, word

WEEK = 7
SHOWN = 5


def shown(
    suggestion: Suggestion,
    judged: Judged,
    nights: Sequence[NightAhead],
    warned: Sequence[WarnedInUse],
    written: str,
) -> View:
    """The suggestion for people; `written` is the file that it is in, as a shell takes it."""
    return [*_what_it_does(suggestion, judged, nights), *_in_use(warned), *_next(written)]


def _what_it_does(
    suggestion: Suggestion, judged: Judged, nights: Sequence[NightAhead]
) -> Iterator[Line | Table]:
    verdicts = judged.plan.verdicts
    keys = Counter(verdict.tier.name for verdict in verdicts)
    due = Counter(verdict.tier.name for verdict in verdicts if word(verdict) == "warn")
    columns = [
        Column("tier"),
        *(Column(name, right=True) for name in ("plans", "keys", "idle days", "never used", "due")),
    ]
    tiers = [
        *(
            (one.name, len(one.plans), one.idle_days, one.never_used_days)
            for one in suggestion.tiers
        ),
        (UNCLAIMED, len(suggestion.left), "never", "never"),
    ]
    rows = [
        [name, f"{plans:,}", f"{keys[name]:,}", f"{idle}", f"{never_used}", f"{due[name]:,}"]
        for name, plans, idle, never_used in tiers
    ]
    yield Line("Suggested tiers; `due` are the keys past their idle limit tonight.")
    yield Table(columns, rows)
    freed = list(by_week(nights, suggestion.keys))
    if not freed:
        yield Line(f"No slot comes free by {nights[-1].date}.")
        return
    table = [[str(night.date), f"{slots:,}", f"{total:,}"] for night, slots, total in freed]
    columns = [Column("week to"), Column("slots", right=True), Column("in all", right=True)]
    yield Line("Slots that come free in Mode=park, if nothing else changes:")
    yield Table(columns, table)


def by_week(nights: Sequence[NightAhead], keys: int) -> Iterator[tuple[NightAhead, int, int]]:
    """The last night of each week in which slots come free, how many, and how many by then."""
    before = 0
    for first in range(0, len(nights), WEEK):
        last = nights[first : first + WEEK][-1]
        total = keys - last.keys
        if total > before:
            yield last, total - before, total
        before = total


def _in_use(warned: Sequence[WarnedInUse]) -> Iterator[Line]:
    tone = Tone.BAD if warned else Tone.GOOD
    yield Line(
        f"Keys in use that it would have warned in the last 90 days: {len(warned) or 'none'}", tone
    )
    for one in warned[:SHOWN]:
        yield Line(
            f"  {one.key_id} was used after {one.days} days; tier {one.tier} warns after {one.limit}"
        )


def _next(written: str) -> Iterator[Line | Command]:
    yield Line(f"Written: {written}")
    yield Line("Read it, set each contact, and look at what it does to every key:")
    yield Command(f"keyjanitor whatif --policy {written}")


def document(
    suggestion: Suggestion,
    judged: Judged,
    nights: Sequence[NightAhead],
    warned: Sequence[WarnedInUse],
    policy: str,
) -> dict[str, object]:
    """The suggestion for programs."""
    return {
        "policy": policy,
        "keys": suggestion.keys,
        "tiers": [
            {
                "name": tier.name,
                "usage_plan_ids": [plan.plan_id for plan in tier.plans],
                "idle_days": tier.idle_days,
                "never_used_days": tier.never_used_days,
            }
            for tier in suggestion.tiers
        ],
        "left": {plan.plan_id: plan.doubt for plan in suggestion.left},
        "due": sum(word(verdict) == "warn" for verdict in judged.plan.verdicts),
        "freed": [
            {"date": str(night.date), "slots": slots, "total": total}
            for night, slots, total in by_week(nights, suggestion.keys)
        ],
        "warned_in_use": [one.key_id for one in warned],
    }
