"""What an edit of the policy changes: the verdicts of two policies on the same account. Pure."""

from collections import Counter
from dataclasses import dataclass

from keyjanitor_cli.whatif.verdicts import Judged, reason, word


@dataclass(frozen=True, slots=True)
class Moved:
    """A key with different verdicts, or different dates of parking, under the two policies."""

    key_id: str
    name: str
    verdicts: tuple[str, str]
    tiers: tuple[str, str]
    reasons: tuple[str, str]
    days: int | None  # later than before; None if one of the policies does not park it


@dataclass(frozen=True, slots=True)
class Difference:
    """The keys that an edit moves from one verdict to another, and those that only change dates."""

    moved: tuple[Moved, ...]
    redated: tuple[Moved, ...]
    tiers: int  # keys that belong to another tier

    @property
    def counts(self) -> Counter[tuple[str, str]]:
        """Number of keys by former and new verdict."""
        return Counter(one.verdicts for one in self.moved)

    @property
    def earlier(self) -> int:
        """Number of keys with the same verdict that would be parked earlier."""
        return sum(one.days is not None and one.days < 0 for one in self.redated)

    @property
    def later(self) -> int:
        """Number of keys with the same verdict that would be parked later."""
        return sum(one.days is not None and one.days > 0 for one in self.redated)


def compare(before: Judged, after: Judged) -> Difference:
    """Compares two policies key by key; both have judged the same account."""
    moved, redated, tiers = [], [], 0
    for old, new in zip(before.plan.verdicts, after.plan.verdicts, strict=True):
        key = new.key
        first, then = before.courses.get(key.key_id), after.courses.get(key.key_id)
        one = Moved(
            key_id=key.key_id,
            name=key.name,
            verdicts=(word(old), word(new)),
            tiers=(old.tier.name, new.tier.name),
            reasons=(reason(old), reason(new)),
            days=(then.park_on - first.park_on).days if first and then else None,
        )
        tiers += old.tier.name != new.tier.name
        if word(old) != word(new):
            moved.append(one)
        elif first != then:
            redated.append(one)
    return Difference(tuple(moved), tuple(redated), tiers)
