"""Reads `policy.toml`: what may be done to which keys, and how patiently. Pure."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from math import ceil, inf
from typing import Literal, TypeVar, cast

from keyjanitor.errors import Mistake, PolicyError
from keyjanitor.policyfile import BYTE_ORDER_MARK, Lines, decoded, joined, loaded, shown

T = TypeVar("T")
Never = Literal["never"]
UNCLAIMED = "unclaimed"
MOST_DAYS = 3650  # of any `*_days`
# The words of Terraform, OpenTofu, Pulumi, Crossplane and CDK, and of who tags what they make (seen: AF-404).
DESCRIPTIONS = (
    "Managed by Terraform",
    "Managed by OpenTofu",
    "Managed by Pulumi",
    "Managed by Crossplane",
    "Managed by CDK",
)
TAGS = (
    "Terraform",
    "OpenTofu",
    "Pulumi",
    "pulumi:project",
    "pulumi:stack",
    "crossplane-kind",
    "crossplane-name",
    "crossplane-providerconfig",
    "CDK",
    "aws-cdk",
    "ManagedBy",
    "CreatedBy",
    "Provisioner",
    "ProvisionedBy",
    "IaC",
)
METHODS = 20  # that a usage plan may throttle by themselves (doc: AF-104)
_JOINTS = re.compile(r"[-_\s]+")
_MADE_PLAN = re.compile(r"keyjanitor (?P<tier>\S+) [0-9a-f]{8}")  # as shapes.plan_name writes it
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
    max_life_days: int | None  # of a key that is issued; None: it need not end
    max_protect_days: int
    new_keys_per_day: int
    new_keys_per_sender_per_hour: int
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
    """Marks of keys that other tools own; neither case nor `-` and `_` make a difference."""

    descriptions: tuple[str, ...]
    tags: tuple[str, ...]
    name_prefixes: tuple[str, ...]

    def mark_on(self, description: str, tags: Mapping[str, str], name: str) -> str | None:
        """The mark that a key bears, in words; None: none of them."""
        marked = {alike(tag) for tag in self.tags}
        for tag, value in tags.items():
            if alike(tag) in marked:
                return f"tag {tag}={value}"
        for begins in self.descriptions:
            if alike(description).startswith(alike(begins)):
                return f"description {begins!r}"
        for prefix in self.name_prefixes:
            if _dashed(name).startswith(_dashed(prefix)):
                return f"name prefix {prefix!r}"
        return None


@lru_cache(maxsize=4096)
def alike(text: str) -> str:
    """A mark without what tools write now so, now so: `managed_by` is `Managed-By` is `ManagedBy`."""
    return _JOINTS.sub("", text.casefold())


def _dashed(name: str) -> str:
    return name.casefold().replace("_", "-")


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

    def _made_for(self, plan_name: str) -> Tier | None:
        """The tier whose new keys go into a plan that keyjanitor made, by what it calls such plans."""
        found = _MADE_PLAN.fullmatch(plan_name)
        return self.tiers.get(found["tier"]) if found else None

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
        for plan_id, plan_name in plans.items():
            if plan_id not in named_by and (made_for := self._made_for(plan_name)):
                named_by[plan_id] = [(made_for, "")]
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
    """One table of the file, read field by field; all that is wrong in it is raised by `finish`."""

    def __init__(self, path: str, values: object) -> None:
        if not isinstance(values, dict):
            raise PolicyError(path, "must be a table")
        self._path = path
        self._left = dict(values)
        self._known: list[str] = []
        self._wrong: dict[str, None] = {}
        self._mistakes: list[Mistake] = []

    def path(self, name: str) -> str:
        return joined(self._path, name)

    def take(self, name: str, read: Callable[[str, object], T], default: T | None = None) -> T:
        """The field's value. One that is wrong is noted; what comes in its place is never used."""
        self._known.append(name)
        try:
            if name in self._left:
                return read(self.path(name), self._left.pop(name))
            if default is None:
                raise _missing(self.path(name), read)
        except PolicyError as err:
            self._wrong[name] = None
            self._mistakes += err.mistakes
        return cast("T", default)

    def take_optional(self, name: str, read: Callable[[str, object], T]) -> T | None:
        if name in self._left:
            return self.take(name, read)
        self._known.append(name)
        return None

    def is_right(self, *names: str) -> bool:
        """Whether none of these fields was wrong: what depends on them may be looked at."""
        return not any(name in self._wrong for name in names)

    def wrong(self, name: str, reason: str) -> None:
        """Notes what is wrong with a field beside others."""
        self._wrong[name] = None
        self._mistakes.append(Mistake(self.path(name), reason))

    def wrong_at(self, path: str, reason: str) -> None:
        """Notes what is wrong at a path further down."""
        self._mistakes.append(Mistake(path, reason))

    def finish(self) -> None:
        """Raises PolicyError with all that is wrong in the table."""
        for name in self._left:
            reason = f"is not a field; allowed here: {', '.join(sorted(self._known))}"
            self._mistakes.append(Mistake(self.path(name), reason))
        if self._mistakes:
            raise PolicyError.of(self._mistakes)


def _all(reads: Iterable[Callable[[], T]]) -> list[T]:
    """What each gives; raises PolicyError with the mistakes of all of them."""
    read: list[T] = []
    mistakes: list[Mistake] = []
    for one in reads:
        try:
            read.append(one())
        except PolicyError as err:
            mistakes += err.mistakes
    if mistakes:
        raise PolicyError.of(mistakes)
    return read


def _missing(path: str, read: Callable[[str, object], object]) -> PolicyError:
    """What to raise where nothing stands: with what `read` allows there."""
    try:
        read(path, None)
    except PolicyError as err:
        return PolicyError(err.path, err.reason.replace("None is not allowed", "is missing", 1))
    raise AssertionError("a field that may be nothing has a default")


def _not(path: str, value: object, allowed: str) -> PolicyError:
    return PolicyError(path, f"{shown(value)} is not allowed; allowed: {allowed}")


def _whole(low: int, high: int, unit: str = "") -> Callable[[str, object], int]:
    def read(path: str, value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise _not(path, value, f"a whole number{unit} from {low} to {high}")
        return value

    return read


def _share(low: float = 0.0, high: float = 1.0) -> Callable[[str, object], float]:
    def read(path: str, value: object) -> float:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not low < value <= high:  # type: ignore[operator]
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

        def item(index: int) -> T:
            if value.index(value[index]) < index:
                raise PolicyError(f"{path}[{index}]", f"{shown(value[index])} stands there twice")
            return read_item(f"{path}[{index}]", value[index])

        return tuple(_all(partial(item, index) for index in range(len(value))))

    return read


_NONE: tuple[str, ...] = ()
_NO_UNCLAIMED = "is missing: it has the keys that no tier names"
# The id of a role or a user; those of other kinds send no messages (doc: AF-407).
_UNIQUE_ID = re.compile(r"(AROA|AIDA)[A-Z0-9]{12,124}")
_days = _whole(1, MOST_DAYS, " of days")
_names = _list(_text())
_stages = _list(_text(r"[a-z0-9]+:[A-Za-z0-9_-]+", '"API_ID:STAGE", for example "a1b2c3d4e5:prod"'))
_principals = _list(
    _text(
        r"arn:aws[a-z-]*:iam::\d{12}:(role|user)/[\w+=,.@/-]+",
        'the ARN of a role or a user, for example "arn:aws:iam::123456789012:role/portal": '
        "aws iam get-role --role-name NAME --query Role.Arn --output text",
    )
)


def _id_of(path: str, value: object, allowed: str) -> str:
    """An id as it stands in a message's SenderId, before the colon if there is one (doc: AF-552)."""
    if isinstance(value, str) and _UNIQUE_ID.fullmatch(value):
        return value
    named = re.fullmatch(r"arn:[a-z-]+:iam::\d{12}:(role|user)/(?:.*/)?([\w+=,.@-]+)", str(value))
    kind, name = (named[1], named[2]) if named else ("role", "NAME")
    find = f"aws iam get-{kind} --{kind}-name {name} --query {kind.title()}.{kind.title()}Id --output text"
    bare = str(value).partition(":")[0]
    if bare != value and _UNIQUE_ID.fullmatch(bare):
        raise PolicyError(
            path, f'{shown(value)} is not allowed; leave out the colon and all after it: "{bare}"'
        )
    raise _not(
        path,
        value,
        f'{allowed}the id of a role or a user, such as "AROAEXAMPLEEXAMPLE012"; to find it: {find}',
    )


def _sender(path: str, value: object) -> str:
    return "*" if value == "*" else _id_of(path, value, '"*" for everyone who can send, or ')


def _admin(path: str, value: object) -> str:
    return _id_of(path, value, "")


_senders = _list(_sender)
_admins = _list(_admin)


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

    def one(method: str) -> tuple[str, Rate]:
        there = f'{path}."{shown(method)[1:-1]}"'
        if method in ("*/*", "/*/*"):
            raise PolicyError(
                there, "is every method of a stage; set `throttle` of the tier in its place"
            )
        if re.fullmatch(r"/(\*|[A-Z]+)", method):
            raise _not(there, method, f'"/PATH/METHOD"; the root\'s method is written "/{method}"')
        if not re.fullmatch(r"/.*/(\*|[A-Z]+)", method):
            raise _not(there, method, '"/PATH/METHOD", for example "/search/POST"')
        return method, _rate(there, value[method])

    return dict(_all(partial(one, method) for method in value))


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
        max_life_days=table.take_optional("max_life_days", _days),
        max_protect_days=table.take("max_protect_days", _days, 90),
        new_keys_per_day=table.take("new_keys_per_day", _whole(1, 10_000), 200),
        new_keys_per_sender_per_hour=table.take(
            "new_keys_per_sender_per_hour", _whole(1, 10_000), 100
        ),
        reserve=table.take("reserve", _whole(0, 10_000), 0),
        senders=table.take("senders", _senders, _NONE),
        admins=table.take("admins", _admins, _NONE),
        recipients=table.take("recipients", _principals, _NONE),
    )
    if name == UNCLAIMED and tier.usage_plans:
        table.wrong("usage_plans", "is not allowed: this tier has what no tier names")
    if table.is_right("stages", "method_throttle"):
        _check_methods(table, tier)
    asked = [value.get("senders"), value.get("recipients")] if isinstance(value, dict) else []
    # A tier that names who may ask, rightly or not, promises keys.
    if any(isinstance(ids, list) and ids for ids in asked):
        _check_promise(table, tier)
    table.finish()
    return tier


def _check_methods(table: _Table, tier: Tier) -> None:
    if len(tier.stages) * len(tier.method_throttle) > METHODS:
        table.wrong(
            "method_throttle",
            f"has {len(tier.method_throttle)} methods for each of {len(tier.stages)} stages; a usage "
            f"plan holds at most {METHODS} in all",
        )


def _check_promise(table: _Table, tier: Tier) -> None:
    """What promises keys has to be able to issue one."""
    promised = {
        "senders": bool(tier.senders),
        "recipients": bool(tier.recipients),
        "stages": bool(tier.stages),
        "throttle": tier.throttle is not None or tier.quota is not None,
    }
    for field, present in promised.items():
        told = not table.is_right(field) or (field == "throttle" and not table.is_right("quota"))
        if not present and not told:
            table.wrong(
                field,
                "is missing: a tier that issues keys needs senders, recipients, stages, and a "
                "throttle or a quota",
            )


def _rung(path: str, value: object) -> Rung:
    table = _Table(path, value)
    rung = Rung(
        above=table.take("above", _share()),
        patience=table.take("patience", _share()),
        freeze=table.take("freeze", _names, _NONE),
    )
    table.finish()
    return rung


def _in_order(paths: Sequence[str], values: Sequence[float], *, rising: bool) -> None:
    mistakes = []
    for path, before, here in zip(paths[1:], values, values[1:], strict=False):
        if (here <= before) if rising else (here >= before):
            reason = (
                f"{here:g} after {before:g} is out of order; allowed: each "
                f"{'above' if rising else 'below'} the one before"
            )
            mistakes.append(Mistake(path, reason))
    if mistakes:
        raise PolicyError.of(mistakes)


def _ordered(
    read_item: Callable[[str, object], T], *, rising: bool
) -> Callable[[str, object], tuple[T, ...]]:
    def read(path: str, value: object) -> tuple[T, ...]:
        items = _list(read_item)(path, value)
        paths = [f"{path}[{index}]" for index in range(len(items))]
        _in_order(paths, cast("tuple[float, ...]", items), rising=rising)
        return items

    return read


def _sweep(path: str, value: object) -> Sweep:
    table = _Table(path, value)
    sweep = Sweep(
        max_share=table.take("max_share", _share(), 0.05),
        max_keys=table.take("max_keys", _whole(1, 10_000), 500),
    )
    table.finish()
    return sweep


def _beginning(path: str, value: object) -> str:
    if not isinstance(value, str) or not value.strip(" -_") or re.search(r"[*^]", value):
        raise _not(path, value, "how such texts begin, letter by letter, without * and ^")
    return value


def _tag_key(path: str, value: object) -> str:
    if isinstance(value, str) and "=" in value:
        raise _not(path, value, "the key of a tag alone: a key is marked whatever the value is")
    if not isinstance(value, str) or not alike(value) or not re.fullmatch(r"[\w +.:/@-]+", value):
        raise _not(path, value, "the key of a tag, of letters, digits, spaces and + - . _ : / @")
    return value


def _owned(path: str, value: object) -> Owned:
    table = _Table(path, value)
    owned = Owned(
        descriptions=table.take("descriptions", _list(_beginning), DESCRIPTIONS),
        tags=table.take("tags", _list(_tag_key), TAGS),
        name_prefixes=table.take("name_prefixes", _list(_beginning), _NONE),
    )
    table.finish()
    return owned


def _tiers(path: str, value: object) -> Mapping[str, Tier]:
    if not isinstance(value, dict):
        raise PolicyError(f"{path}.{UNCLAIMED}", _NO_UNCLAIMED)

    def one(name: str) -> tuple[str, Tier]:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", name):
            raise _not(joined(path, name), name, "a name of letters, digits, - and _")
        return name, _tier(f"{path}.{name}", name, value[name])

    def no_unclaimed() -> tuple[str, Tier]:
        raise PolicyError(f"{path}.{UNCLAIMED}", _NO_UNCLAIMED)

    reads: list[Callable[[], tuple[str, Tier]]] = [partial(one, name) for name in value]
    return dict(_all(reads if UNCLAIMED in value else [*reads, no_unclaimed]))


def _ladder(path: str, value: object) -> tuple[Rung, ...]:
    if not isinstance(value, list):
        raise _not(path, value, "tables written [[ladder]]")
    there = [f"{path}[{index}]" for index in range(len(value))]
    rungs = tuple(_all(partial(_rung, one, rung) for one, rung in zip(there, value, strict=True)))

    def in_order(field: str, *, rising: bool) -> None:
        paths = [f"{one}.{field}" for one in there]
        _in_order(paths, [getattr(rung, field) for rung in rungs], rising=rising)

    _all([partial(in_order, "above", rising=True), partial(in_order, "patience", rising=False)])
    return rungs


def _alerts(path: str, value: object) -> Alerts:
    table = _Table(path, value)
    alerts = Alerts(
        levels=table.take("levels", _ordered(_share(), rising=True), (0.80, 0.90, 0.95, 0.98)),
        clear_margin=table.take("clear_margin", _share(0, 0.5), 0.03),
        days_to_limit=table.take("days_to_limit", _ordered(_days, rising=False), (60, 30, 14)),
    )
    table.finish()
    return alerts


def _named_twice(tiers: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    """Where a tier names a plan in the same words as a tier before it."""
    first: dict[str, tuple[str, str]] = {}
    for name, tier in tiers.items():
        plans = tier.get("usage_plans") if isinstance(tier, dict) else None
        for index, plan in enumerate(plans if isinstance(plans, list) else ()):
            path = joined("tiers", name) + f".usage_plans[{index}]"
            if isinstance(plan, str):
                before, there = first.setdefault(plan, (name, path))
                if before != name:
                    yield path, f"{shown(plan)} is in {there} too; a plan belongs to one tier"


def parse_policy(text: str | bytes, file: str = "policy.toml") -> Policy:
    """The policy that `text` (TOML, in UTF-8) describes; `file` is what errors call it.

    Raises PolicyError with every mistake, each with its path, what is allowed there and its line;
    what is no TOML at all is one mistake.
    """
    try:
        text = decoded(text) if isinstance(text, bytes) else text.removeprefix(BYTE_ORDER_MARK)
        return _read(loaded(text))
    except PolicyError as err:
        lines = Lines.of(text) if isinstance(text, str) else Lines({})
        raise PolicyError.of(map(lines.placed, err.mistakes), file) from err.__cause__


def _read(document: Mapping[str, object]) -> Policy:
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
    if root.is_right("tiers", "service_quota"):
        reserved = sum(tier.reserve for tier in policy.tiers.values())
        if reserved > policy.service_quota:
            reason = f"reserve more than the service quota of {policy.service_quota} keys"
            root.wrong_at("tiers", reason)
    named = document.get("tiers")
    if root.is_right("ladder") and isinstance(named, dict):
        for index, rung in enumerate(policy.ladder):
            for tier_name in rung.freeze:
                if tier_name not in named:
                    reason = _not("", tier_name, f"one of {sorted(named)}").reason
                    root.wrong_at(f"ladder[{index}].freeze", reason)
    if isinstance(named, dict):
        for path, reason in _named_twice(named):
            root.wrong_at(path, reason)
    root.finish()
    return policy
