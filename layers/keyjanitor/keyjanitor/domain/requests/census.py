"""Counts keys, by tier, owner, sender and day, against what a tier allows. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from hashlib import sha256

from keyjanitor.domain.model.policy import Policy, Tier
from keyjanitor.domain.model.records import Burst
from keyjanitor.domain.requests.key_request import Action, Code, Refusal

BURST_ENDS = timedelta(hours=2)  # after its last refusal
BURSTS_KEPT = 20  # the latest ones


@dataclass(frozen=True, slots=True)
class Batch:
    """Requests that a run has admitted and not finished; the run ends before `until` (real time, UTC)."""

    until: datetime
    keys: int
    tiers: Mapping[str, int] = field(default_factory=dict)
    owners: Mapping[str, int] = field(default_factory=dict)  # by `owner_mark`
    new: Mapping[str, int] = field(default_factory=dict)  # issued keys by tier
    asked: Mapping[str, int] = field(default_factory=dict)  # the same by tier and sender


@dataclass(frozen=True, slots=True)
class Spent:
    """Numbers of keys issued: by tier on a `day`, and by tier and sender in an `hour`, real time (UTC)."""

    day: str = ""
    hour: str = ""
    tiers: Mapping[str, int] = field(default_factory=dict)
    senders: Mapping[str, int] = field(default_factory=dict)  # by `owner_mark`

    def at(self, now: datetime) -> "Spent":
        """Budgets spent in the present day and hour."""
        day, hour = f"{now:%Y-%m-%d}", f"{now:%Y-%m-%dT%H}"
        return Spent(
            day,
            hour,
            self.tiers if self.day == day else {},
            self.senders if self.hour == hour else {},
        )

    def plus(self, made: Batch) -> "Spent":
        """The budgets spent, with the keys that a run has made added."""
        return replace(
            self,
            tiers=dict(Counter(self.tiers) + Counter(made.new)),
            senders=dict(Counter(self.senders) + Counter(made.asked)),
        )


@dataclass(frozen=True, slots=True)
class Admissions:
    """Last count of the account's keys, and what was admitted since then.

    After a count that watch_capacity made, `made` may hold keys that are counted already.
    """

    version: int = 0
    counted: int = 0
    counted_at: datetime | None = None
    made: int = 0  # keys, since they were counted
    batches: Mapping[str, Batch] = field(default_factory=dict)
    spent: Spent = field(default_factory=Spent)
    bursts: tuple[Burst, ...] = ()


@dataclass(frozen=True, slots=True)
class Want:
    """A slot of the key limit that a request needs; a restored key is not counted against its owner.

    Only an issued key counts against the budgets of new keys: a rotation replaces a key, and a restore
    brings one back.
    """

    action: Action
    tier: Tier
    owner: str | None
    sender: str = ""


def owner_mark(tier: str, owner: str | None) -> str:
    """16 hexadecimal digits that stand for an owner in a tier: an owner's own name may be long."""
    return sha256(f"{tier}\0{owner}".encode()).hexdigest()[:16]


@dataclass(slots=True)
class Census:
    """Numbers of keys, including those that are being made."""

    keys: int
    tiers: Counter[str]
    owners: Counter[str]
    pressure_above: float | None = None  # of the pressure rule in force by the last sweep
    new: Counter[str] = field(default_factory=Counter)  # keys that were issued today, by tier
    asked: Counter[str] = field(default_factory=Counter)  # and in this hour, by tier and sender

    @classmethod
    def of(
        cls,
        admissions: Admissions,
        holders: Mapping[tuple[str, str | None], int],
        now: datetime,
        pressure_above: float | None = None,
    ) -> "Census":
        """The census by the last count, the ledger's live keys (`holders`: by tier and owner) and other runs' batches."""
        keys = admissions.counted + admissions.made
        tiers: Counter[str] = Counter()
        owners: Counter[str] = Counter()
        for (tier, owner), count in holders.items():
            tiers[tier] += count
            if owner is not None:
                owners[owner_mark(tier, owner)] += count
        for batch in still_at_work(admissions.batches, now).values():
            keys += batch.keys
            tiers.update(batch.tiers)
            owners.update(batch.owners)
        spent = admissions.spent.at(now)
        new, asked = Counter(spent.tiers), Counter(spent.senders)
        for batch in still_at_work(admissions.batches, now).values():
            new.update(batch.new)
            asked.update(batch.asked)
        return cls(keys, tiers, owners, pressure_above, new, asked)

    def admit(self, want: Want, policy: Policy) -> Refusal | None:
        """Takes a slot for a request, and returns None; or returns the refusal and takes none."""
        refusal = (
            self._too_many(want)
            or self._no_room(want, policy)
            or self._frozen(want, policy)
            or self._budget_spent(want)
        )
        if refusal is None:
            self.take(want)
        return refusal

    def take(self, want: Want) -> None:
        """Counts a key that was admitted before."""
        self.keys += 1
        self.tiers[want.tier.name] += 1
        if want.owner is not None:
            self.owners[owner_mark(want.tier.name, want.owner)] += 1
        if want.action is Action.ISSUE:
            self.new[want.tier.name] += 1
            self.asked[owner_mark(want.tier.name, want.sender)] += 1

    def _budget_spent(self, want: Want) -> Refusal | None:
        limit = self.spent_limit(want)
        if limit is None:
            return None
        number = getattr(want.tier, limit)
        return Refusal(
            Code.BUDGET_SPENT,
            f"tier {want.tier.name} allows {number} {_IN_WORDS[limit]}, and they are spent",
        )

    def spent_limit(self, want: Want) -> str | None:
        """The field of the tier whose budget is spent for this request; None: no budget is."""
        if want.action is not Action.ISSUE:
            return None
        mark = owner_mark(want.tier.name, want.sender)
        if self.asked[mark] >= want.tier.new_keys_per_sender_per_hour:
            return "new_keys_per_sender_per_hour"
        if self.new[want.tier.name] >= want.tier.new_keys_per_day:
            return "new_keys_per_day"
        return None

    def _too_many(self, want: Want) -> Refusal | None:
        limit = want.tier.max_keys_per_owner
        if want.action is Action.RESTORE or want.owner is None:
            return None
        if want.action is Action.ROTATE:
            limit *= 2  # for as long as old and new overlap
        has = self.owners[owner_mark(want.tier.name, want.owner)]
        if has < limit:
            return None
        return Refusal(
            Code.TOO_MANY_KEYS,
            f"the owner has {has} keys in tier {want.tier.name}, {limit} are allowed",
        )

    def _no_room(self, want: Want, policy: Policy) -> Refusal | None:
        kept = sum(
            max(0, tier.reserve - self.tiers[tier.name])
            for tier in policy.tiers.values()
            if tier.name != want.tier.name
        )
        if self.keys + kept < policy.service_quota:
            return None
        reserved = f", and {kept} are reserved for other tiers" if kept else ""
        return Refusal(
            Code.CAPACITY_EXHAUSTED,
            f"the account holds {self.keys} of {policy.service_quota} API keys{reserved}",
        )

    def _frozen(self, want: Want, policy: Policy) -> Refusal | None:
        if want.action is not Action.ISSUE or want.tier.name not in policy.frozen(
            self.keys, self.pressure_above
        ):
            return None
        return Refusal(
            Code.TIER_FROZEN,
            f"tier {want.tier.name} gets no new keys while the account holds "
            f"{self.keys} of {policy.service_quota}",
        )


_IN_WORDS = {
    "new_keys_per_day": "new keys a day (UTC)",
    "new_keys_per_sender_per_hour": "new keys an hour to one sender",
}


def with_refused(
    bursts: Iterable[Burst], wants: Iterable[Want], census: Census, now: datetime
) -> tuple[Burst, ...]:
    """The bursts, with the wants added that a spent budget has refused; at most BURSTS_KEPT of them."""
    kept = {(one.tier, one.limit, one.sender): one for one in bursts}
    for want in wants:
        limit = census.spent_limit(want)
        if limit is None:
            continue
        name = (want.tier.name, limit, want.sender)
        before = kept.pop(name, None)
        if before is None or now - before.last > BURST_ENDS:
            before = Burst(*name, since=now, last=now, refused=0)
        kept[name] = replace(before, last=now, refused=before.refused + 1)
    return tuple(sorted(kept.values(), key=lambda one: one.last)[-BURSTS_KEPT:])


def batch_of(wants: Iterable[Want], until: datetime) -> Batch:
    """Requests that a run has admitted."""
    wants = list(wants)
    issued = [want for want in wants if want.action is Action.ISSUE]
    return Batch(
        until=until,
        keys=len(wants),
        tiers=dict(Counter(want.tier.name for want in wants)),
        owners=dict(
            Counter(
                owner_mark(want.tier.name, want.owner) for want in wants if want.owner is not None
            )
        ),
        new=dict(Counter(want.tier.name for want in issued)),
        asked=dict(Counter(owner_mark(want.tier.name, want.sender) for want in issued)),
    )


def still_at_work(batches: Mapping[str, Batch], now: datetime) -> dict[str, Batch]:
    """The batches of runs that may still be running."""
    return {name: batch for name, batch in batches.items() if batch.until > now}
