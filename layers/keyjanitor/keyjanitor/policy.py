"""Reads `policy.toml`: what may be done to which keys, and how patiently. Pure."""

import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil, inf
from typing import Any, Literal, TypeVar

from keyjanitor.errors import PolicyError

T = TypeVar("T")
Never = Literal["never"]
UNCLAIMED = "unclaimed"
MOST_DAYS = 3650  # of any `*_days`
METHODS = 20  # that a usage plan may throttle by themselves (doc)
MONTHLY_JOBS = 35  # days that `idle_days` is not shortened below: monthly jobs exist


@dataclass(frozen=True, slots=True)
class Rate:
    """A throttle: requests a second, and the burst above it."""

    rate_limit: float
    burst_limit: int


@dataclass(frozen=True, slots=True)
class Quota:
    """How many requests a usage plan allows in a period."""

    limit: int
    period: str


@dataclass(frozen=True, slots=True)
class Tier:
    """A named class of keys; every `*_days` is in days."""

    name: str
    contact: str | None
    usage_plans: tuple[str, ...]
    stages: tuple[str, ...]
    throttle: Rate | None
    quota: Quota | None
    method_throttle: Mapping[str, Rate]
    never_used_days: int
    idle_days: int | Never
    warn_days: int
    grace_days: int
    retain_days: int
    orphan_days: int
    max_keys_per_owner: int
    reserve: int
    senders: tuple[str, ...]
    admins: tuple[str, ...]
    recipients: tuple[str, ...]

    def patience(self, *, never_used: bool, factor: float = 1.0) -> int | None:
        """After how many idle days a key is past patience, under a ladder's `factor`; None: never."""
        if self.idle_days == "never":
            return None
        if never_used:
            return max(1, ceil(self.never_used_days * factor))
        return max(min(self.idle_days, MONTHLY_JOBS), ceil(self.idle_days * factor))

    def patience_rank(self) -> tuple[float, ...]:
        """Sorts tiers by how patient they are: the most patient is the greatest."""
        return (
            self.contact is None,
            inf if self.idle_days == "never" else self.idle_days,
            self.never_used_days,
            self.orphan_days,
            self.warn_days + self.grace_days,
        )


@dataclass(frozen=True, slots=True)
class Rung:
    """Above this share of the service quota, patience is multiplied and `freeze` tiers get no keys."""

    above: float
    patience: float
    freeze: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Sweep:
    """How much one date may see: a share of all keys, and an absolute number."""

    max_share: float
    max_keys: int

    def allowance(self, keys: int) -> int:
        """How many keys may be warned, disabled, parked or purged on one date, each."""
        return max(20, min(int(self.max_share * keys), self.max_keys))


@dataclass(frozen=True, slots=True)
class Owned:
    """Marks of keys that other tools own."""

    descriptions: tuple[str, ...]
    tags: tuple[str, ...]
    name_prefixes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Alerts:
    """When the service quota's approach wakes somebody."""

    levels: tuple[float, ...]
    clear_margin: float
    days_to_limit: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Pressure:
    """How near the service quota is (`used`, a share), and what that does to patience (a factor).

    `above` names the rung of the ladder that stands; None: none does.
    """

    used: float
    patience: float
    above: float | None = None


@dataclass(frozen=True, slots=True)
class Policy:
    """The whole of `policy.toml`, checked."""

    service_quota: int
    silent_plans: tuple[str, ...]
    sweep: Sweep
    owned: Owned
    tiers: Mapping[str, Tier]
    ladder: tuple[Rung, ...]
    alerts: Alerts

    @property
    def unclaimed(self) -> Tier:
        """The tier of keys that no other tier names."""
        return self.tiers[UNCLAIMED]

    def pressure(self, keys: int, standing: float | None = None) -> Pressure:
        """The rung for an account that holds so many keys; `standing` names the one that stood."""
        reached = self._reached(keys, standing)
        return Pressure(
            used=round(keys / self.service_quota, 4),
            patience=min((rung.patience for rung in reached), default=1.0),
            above=max((rung.above for rung in reached), default=None),
        )

    def frozen(self, keys: int, standing: float | None = None) -> frozenset[str]:
        """The tiers that get no new keys in an account that holds so many."""
        return frozenset(name for rung in self._reached(keys, standing) for name in rung.freeze)

    def _reached(self, keys: int, standing: float | None) -> list[Rung]:
        """The rungs that stand: one that stood is left only well below its edge."""
        used = keys / self.service_quota
        return [
            rung
            for rung in self.ladder
            if used > rung.above
            or (
                standing is not None
                and rung.above <= standing
                and used > rung.above - self.alerts.clear_margin
            )
        ]

    def tier_called(self, name: str) -> Tier:
        """The tier of that name; if the file has none, one under which nothing happens to a key."""
        if name in self.tiers:
            return self.tiers[name]
        return replace(
            self.unclaimed,
            name=name,
            contact=None,
            idle_days="never",
            reserve=0,
            senders=(),
            admins=(),
            recipients=(),
        )

    def bind(self, plans: Mapping[str, str]) -> "BoundPolicy":
        """Ties the plans that the policy names to those of the account (id -> name).

        What cannot be tied is one of the result's `problems` and stops nothing else.
        """
        problems: list[Unbound] = []
        named_by: dict[str, list[tuple[Tier, str]]] = {}  # and the path where
        for tier in self.tiers.values():
            for index, wanted in enumerate(tier.usage_plans):
                path = f"tiers.{tier.name}.usage_plans[{index}]"
                found = _plans_called(wanted, plans)
                if len(found) == 1:
                    named_by.setdefault(found[0], []).append((tier, path))
                else:
                    problems.append(_unbound(path, wanted, found))
        for plan_id, named in named_by.items():
            (first, there), others = named[0], [one for one in named[1:] if one[0] != named[0][0]]
            for second, path in others:
                reason = (
                    f"is the usage plan {plan_id}, which {there} names too: tier {second.name} or "
                    f"tier {first.name} has its keys, not both"
                )
                problems.append(Unbound(path, reason, (plan_id,)))
        unclear = {plan_id for one in problems for plan_id in one.usage_plan_ids or ()}
        silent: set[str] = set()
        for index, wanted in enumerate(self.silent_plans):
            found = _plans_called(wanted, plans)
            if len(found) == 1:
                silent.add(found[0])
            else:
                one = _unbound(f"silent_plans[{index}]", wanted, found)
                problems.append(replace(one, usage_plan_ids=()))
        return BoundPolicy(
            policy=self,
            tier_of_plan={
                plan_id: named[0][0]
                for plan_id, named in named_by.items()
                if plan_id not in unclear
            },
            silent_plans=frozenset(silent),
            problems=tuple(problems),
        )


@dataclass(frozen=True, slots=True)
class Unbound:
    """A place in the policy (`path`) whose usage plan the account has not, or not clearly.

    Of `usage_plan_ids` it is not known which tier they belong to; None: of none that no tier names,
    for one of them may be the plan under another name.
    """

    path: str
    reason: str
    usage_plan_ids: tuple[str, ...] | None

    def __str__(self) -> str:
        return f"policy.toml: {self.path}: {self.reason}"


@dataclass(frozen=True, slots=True)
class BoundPolicy:
    """A policy whose plan names were looked up in the account; `problems` are those not found."""

    policy: Policy
    tier_of_plan: Mapping[str, Tier]
    silent_plans: frozenset[str]
    problems: tuple[Unbound, ...] = ()

    def tier_by_plans(self, usage_plan_ids: Sequence[str]) -> Tier:
        """The tier that names one of these plans; of two, the more patient; else `unclaimed`."""
        tiers = [self.tier_of_plan[plan] for plan in usage_plan_ids if plan in self.tier_of_plan]
        return max(tiers, key=Tier.patience_rank) if tiers else self.policy.unclaimed

    def unclear(self, usage_plan_ids: Sequence[str]) -> tuple[str, Unbound] | None:
        """The first of these plans whose tier is not known, and the problem that hides it."""
        for plan_id in usage_plan_ids:
            if plan_id in self.tier_of_plan:
                continue
            for problem in self.problems:
                if problem.usage_plan_ids is None or plan_id in problem.usage_plan_ids:
                    return plan_id, problem
        return None


def _plans_called(wanted: str, plans: Mapping[str, str]) -> list[str]:
    """The plans that a text of the policy stands for: an id comes before a name."""
    if wanted in plans:
        return [wanted]
    return sorted(plan_id for plan_id, name in plans.items() if name == wanted)


def _unbound(path: str, wanted: str, found: Sequence[str]) -> Unbound:
    if not found:
        return Unbound(path, f"this account has no usage plan {wanted!r}", None)
    ids = ", ".join(found)
    reason = f"{len(found)} usage plans are called {wanted!r}; name one by its id: {ids}"
    return Unbound(path, reason, tuple(found))


class _Table:
    """One table of the file, read field by field; what is left over at the end is unknown."""

    def __init__(self, path: str, values: object) -> None:
        if not isinstance(values, dict):
            raise PolicyError(path, "must be a table")
        self._path = path
        self._left = dict(values)
        self._known: list[str] = []

    def path(self, name: str) -> str:
        return f"{self._path}.{name}" if self._path else name

    def take(self, name: str, read: Callable[[str, object], T], default: T | None = None) -> T:
        self._known.append(name)
        if name not in self._left:
            if default is None:
                raise _missing(self.path(name), read)
            return default
        return read(self.path(name), self._left.pop(name))

    def take_optional(self, name: str, read: Callable[[str, object], T]) -> T | None:
        self._known.append(name)
        return read(self.path(name), self._left.pop(name)) if name in self._left else None

    def finish(self) -> None:
        for name in self._left:
            raise PolicyError(
                self.path(name), f"is not a field; allowed here: {', '.join(sorted(self._known))}"
            )


def _missing(path: str, read: Callable[[str, object], object]) -> PolicyError:
    """What to raise where nothing stands: with what `read` allows there."""
    try:
        read(path, None)
    except PolicyError as err:
        return PolicyError(err.path, err.reason.replace("None is not allowed", "is missing", 1))
    raise AssertionError("a field that may be nothing has a default")


def _not(path: str, value: object, allowed: str) -> PolicyError:
    return PolicyError(path, f"{value!r} is not allowed; allowed: {allowed}")


def _whole(low: int, high: int, unit: str = "") -> Callable[[str, object], int]:
    def read(path: str, value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise _not(path, value, f"a whole number{unit} from {low} to {high}")
        return value

    return read


def _share(low: float = 0.0, high: float = 1.0) -> Callable[[str, object], float]:
    def read(path: str, value: object) -> float:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not low < float(value) <= high:  # type: ignore[arg-type]
            raise _not(path, value, f"a number above {low:g}, at most {high:g}")
        return float(value)  # type: ignore[arg-type]

    return read


def _text(pattern: str = r"(?s).+", allowed: str = "a text") -> Callable[[str, object], str]:
    def read(path: str, value: object) -> str:
        if not isinstance(value, str) or not re.fullmatch(pattern, value):
            raise _not(path, value, allowed)
        return value

    return read


def _list(read_item: Callable[[str, object], T]) -> Callable[[str, object], tuple[T, ...]]:
    def read(path: str, value: object) -> tuple[T, ...]:
        if not isinstance(value, list):
            raise _not(path, value, "a list")
        items = tuple(read_item(f"{path}[{index}]", item) for index, item in enumerate(value))
        for index, item in enumerate(items):
            if item in items[:index]:
                raise PolicyError(f"{path}[{index}]", f"{item!r} stands there twice")
        return items

    return read


_NONE: tuple[str, ...] = ()
_days = _whole(1, MOST_DAYS, " of days")
_names = _list(_text())
_stages = _list(_text(r"[a-z0-9]+:[A-Za-z0-9_-]+", '"API_ID:STAGE", for example "a1b2c3d4e5:prod"'))
_principals = _list(
    _text(
        r"arn:aws[a-z-]*:iam::\d{12}:(role|user)/[\w+=,.@/-]+",
        'the ARN of a role or a user, for example "arn:aws:iam::123456789012:role/portal"',
    )
)


def _idle_days(path: str, value: object) -> int | Never:
    if value == "never":
        return "never"
    try:
        return _days(path, value)
    except PolicyError:
        raise _not(path, value, 'a whole number of days from 1 to 3650, or "never"') from None


def _rate(path: str, value: object) -> Rate:
    table = _Table(path, value)
    rate = Rate(
        rate_limit=table.take("rate_limit", _share(0, 10_000)),
        burst_limit=table.take("burst_limit", _whole(1, 5_000)),
    )
    table.finish()
    return rate


def _quota(path: str, value: object) -> Quota:
    table = _Table(path, value)
    quota = Quota(
        limit=table.take("limit", _whole(1, 2**31 - 1)),
        period=table.take("period", _text("DAY|WEEK|MONTH", '"DAY", "WEEK" or "MONTH"')),
    )
    table.finish()
    return quota


def _method_throttle(path: str, value: object) -> Mapping[str, Rate]:
    if not isinstance(value, dict):
        raise _not(path, value, 'a table such as { "/search/POST" = { rate_limit = 2, … } }')
    if len(value) > METHODS:
        raise PolicyError(path, f"has {len(value)} methods; a usage plan holds at most {METHODS}")
    for method in value:
        if not re.fullmatch(r"/.*/(\*|[A-Z]+)", method):
            raise _not(f'{path}."{method}"', method, '"/PATH/METHOD", for example "/search/POST"')
    return {method: _rate(f'{path}."{method}"', rate) for method, rate in value.items()}


def _tier(path: str, name: str, value: object) -> Tier:
    table = _Table(path, value)
    tier = Tier(
        name=name,
        contact=table.take_optional("contact", _text(r"\S(.*\S)?", "a text in one line")),
        usage_plans=table.take("usage_plans", _names, _NONE),
        stages=table.take("stages", _stages, _NONE),
        throttle=table.take_optional("throttle", _rate),
        quota=table.take_optional("quota", _quota),
        method_throttle=table.take("method_throttle", _method_throttle, {}),
        never_used_days=table.take("never_used_days", _days, 14),
        idle_days=table.take("idle_days", _idle_days),
        warn_days=table.take("warn_days", _days, 14),
        grace_days=table.take("grace_days", _days, 14),
        retain_days=table.take("retain_days", _days, 365),
        orphan_days=table.take("orphan_days", _whole(1, 365, " of days"), 14),
        max_keys_per_owner=table.take("max_keys_per_owner", _whole(1, 10_000), 2),
        reserve=table.take("reserve", _whole(0, 10_000), 0),
        senders=table.take("senders", _names, _NONE),
        admins=table.take("admins", _names, _NONE),
        recipients=table.take("recipients", _principals, _NONE),
    )
    table.finish()
    if len(tier.stages) * len(tier.method_throttle) > METHODS:
        raise PolicyError(
            f"{path}.method_throttle",
            f"has {len(tier.method_throttle)} methods for each of {len(tier.stages)} stages; a usage "
            f"plan holds at most {METHODS} in all",
        )
    if tier.senders or tier.recipients:
        # Such a tier promises keys: it has to be able to issue one.
        promised = {
            "senders": bool(tier.senders),
            "recipients": bool(tier.recipients),
            "stages": bool(tier.stages),
            "throttle": tier.throttle is not None or tier.quota is not None,
        }
        for field, present in promised.items():
            if not present:
                raise PolicyError(
                    f"{path}.{field}",
                    "is missing: a tier that issues keys needs senders, recipients, stages, "
                    "and a throttle or a quota",
                )
    return tier


def _rung(path: str, value: object) -> Rung:
    table = _Table(path, value)
    rung = Rung(
        above=table.take("above", _share()),
        patience=table.take("patience", _share()),
        freeze=table.take("freeze", _names, _NONE),
    )
    table.finish()
    return rung


def _in_order(path: str, values: Sequence[float], *, rising: bool) -> None:
    for index in range(1, len(values)):
        before, here = values[index - 1], values[index]
        if (here <= before) if rising else (here >= before):
            raise PolicyError(
                f"{path}[{index}]",
                f"{here:g} after {before:g} is out of order; allowed: each "
                f"{'above' if rising else 'below'} the one before",
            )


def _sweep(path: str, value: object) -> Sweep:
    table = _Table(path, value)
    sweep = Sweep(
        max_share=table.take("max_share", _share(), 0.05),
        max_keys=table.take("max_keys", _whole(1, 10_000), 500),
    )
    table.finish()
    return sweep


def _owned(path: str, value: object) -> Owned:
    table = _Table(path, value)
    owned = Owned(
        descriptions=table.take("descriptions", _names, ("Managed by Terraform",)),
        tags=table.take("tags", _names, ("terraform", "ManagedBy")),
        name_prefixes=table.take("name_prefixes", _names, _NONE),
    )
    table.finish()
    return owned


def _tiers(path: str, value: object) -> Mapping[str, Tier]:
    if not isinstance(value, dict) or UNCLAIMED not in value:
        raise PolicyError(f"{path}.{UNCLAIMED}", "is missing: it has the keys that no tier names")
    for name in value:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", name):
            raise _not(f"{path}.{name!r}", name, "a name of letters, digits, - and _")
    tiers = {name: _tier(f"{path}.{name}", name, tier) for name, tier in value.items()}
    if tiers[UNCLAIMED].usage_plans:
        raise PolicyError(
            f"{path}.{UNCLAIMED}.usage_plans", "is not allowed: this tier has what no tier names"
        )
    return tiers


def _ladder(path: str, value: object) -> tuple[Rung, ...]:
    if not isinstance(value, list):
        raise _not(path, value, "tables written [[ladder]]")
    rungs = tuple(_rung(f"{path}[{index}]", rung) for index, rung in enumerate(value))
    _in_order(f"{path}.above", [rung.above for rung in rungs], rising=True)
    _in_order(f"{path}.patience", [rung.patience for rung in rungs], rising=False)
    return rungs


def _alerts(path: str, value: object) -> Alerts:
    table = _Table(path, value)
    alerts = Alerts(
        levels=table.take("levels", _list(_share()), (0.80, 0.90, 0.95, 0.98)),
        clear_margin=table.take("clear_margin", _share(0, 0.5), 0.03),
        days_to_limit=table.take("days_to_limit", _list(_days), (60, 30, 14)),
    )
    table.finish()
    _in_order(f"{path}.levels", alerts.levels, rising=True)
    _in_order(f"{path}.days_to_limit", alerts.days_to_limit, rising=False)
    return alerts


def parse_policy(text: str) -> Policy:
    """The policy that `text` (TOML) describes.

    Raises PolicyError with the field's path and what is allowed there.
    """
    try:
        document: dict[str, Any] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as err:
        raise PolicyError("(file)", f"is not TOML: {err}") from err
    root = _Table("", document)
    policy = Policy(
        service_quota=root.take("service_quota", _whole(1, 10_000), 10_000),
        silent_plans=root.take("silent_plans", _names, _NONE),
        sweep=root.take("sweep", _sweep, _sweep("sweep", {})),
        owned=root.take("owned", _owned, _owned("owned", {})),
        tiers=root.take("tiers", _tiers),
        ladder=root.take("ladder", _ladder, ()),
        alerts=root.take("alerts", _alerts, _alerts("alerts", {})),
    )
    root.finish()
    if sum(tier.reserve for tier in policy.tiers.values()) > policy.service_quota:
        raise PolicyError(
            "tiers", f"reserve more than the service quota of {policy.service_quota} keys"
        )
    for index, rung in enumerate(policy.ladder):
        for tier_name in rung.freeze:
            if tier_name not in policy.tiers:
                raise _not(f"ladder[{index}].freeze", tier_name, f"one of {sorted(policy.tiers)}")
    return policy
