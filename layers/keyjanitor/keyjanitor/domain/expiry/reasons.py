"""Why a key got its verdict, as values: `code` and `facts()` are for programs, `str()` for people."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any, ClassVar

from keyjanitor.domain.expiry.explained import Explained
from keyjanitor.domain.model.owners import Owner
from keyjanitor.domain.model.safe_text import visible


def _days(days: int) -> str:
    return "1 day" if days == 1 else f"{days} days"


@dataclass(frozen=True, slots=True)
class Idle(Explained):
    """Idle for `days` since `since`, which is past tonight's idle limit."""

    code: ClassVar[str] = "idle"
    days: int
    since: date
    never_used: bool = False

    def __str__(self) -> str:
        if self.never_used:
            return f"never used, {_days(self.days)} since {self.since}"
        return f"idle for {_days(self.days)}, since {self.since}"


@dataclass(frozen=True, slots=True)
class Orphan(Explained):
    """In no usage plan for so many consecutive nights: it opens nothing, and no usage names it (doc: AF-314)."""

    code: ClassVar[str] = "orphan"
    nights: int

    def __str__(self) -> str:
        return f"in no usage plan for {self.nights} nights"


@dataclass(frozen=True, slots=True)
class Ends(Explained):
    """Issued until this date, or replaced by a rotation whose overlap ends then."""

    code: ClassVar[str] = "ends"
    expires_on: date

    def __str__(self) -> str:
        return f"ends on {self.expires_on}, as was agreed when it was issued or rotated"


Due = Idle | Orphan | Ends


@dataclass(frozen=True, slots=True)
class WithinIdleLimit(Explained):
    """Idle for `days` since `since`; the idle limit is longer."""

    code: ClassVar[str] = "within_idle_limit"
    days: int
    since: date
    idle_limit: int

    def __str__(self) -> str:
        return f"idle for {_days(self.days)} of {self.idle_limit}, since {self.since}"


@dataclass(frozen=True, slots=True)
class OrphanSoon(Explained):
    """In no usage plan, but not for long enough."""

    code: ClassVar[str] = "orphan_soon"
    nights: int
    of: int

    def __str__(self) -> str:
        return f"in no usage plan for {self.nights} of {self.of} nights"


@dataclass(frozen=True, slots=True)
class EndsLater(Explained):
    """Ends on a date that is too far away to announce."""

    code: ClassVar[str] = "ends_later"
    expires_on: date

    def __str__(self) -> str:
        return f"ends on {self.expires_on}"


@dataclass(frozen=True, slots=True)
class Waits(Explained):
    """The next step has a date, and that has not come."""

    code: ClassVar[str] = "waits"
    step: str
    on: date
    because: Due

    def __str__(self) -> str:
        return f"will be {self.step} on {self.on}: {self.because}"


@dataclass(frozen=True, slots=True)
class Stepped(Explained):
    """Its step of tonight is done, for the reason in its row; a date has one step of a key.

    `reason_code` and `reason_facts` are empty if a build before 0.2.0 took the step.
    """

    code: ClassVar[str] = "stepped"
    reason: str
    reason_code: str = ""
    reason_facts: Mapping[str, object] = field(default_factory=dict, hash=False)

    def facts(self) -> dict[str, Any]:
        """The code and the facts for which the step was taken."""
        return {"due": {"reason_code": self.reason_code, "facts": dict(self.reason_facts)}}

    def __str__(self) -> str:
        return self.reason


@dataclass(frozen=True, slots=True)
class AwaitsAllowance(Explained):
    """Due, but tonight's allowance goes to keys that have been idle for longer."""

    code: ClassVar[str] = "awaits_allowance"
    because: Due

    def __str__(self) -> str:
        return f"waits for a later night's allowance: {self.because}"


@dataclass(frozen=True, slots=True)
class NotTonight(Explained):
    """Due, but `why` lets nothing but warnings, or no parking, happen tonight."""

    code: ClassVar[str] = "not_tonight"
    why: str
    because: Due

    def __str__(self) -> str:
        return f"not tonight ({self.why}): {self.because}"


@dataclass(frozen=True, slots=True)
class NotTold(Explained):
    """Announced, but `what` could not be sent since the date `since`.

    Notice begins when it is told, so nothing happens before `earliest`, and that is if it is told
    tonight.
    """

    code: ClassVar[str] = "not_told"
    what: str
    since: date
    earliest: date
    because: Due

    def __str__(self) -> str:
        return (
            f"not told yet: {self.what} could not be sent since {self.since}; its notice begins when "
            f"it is, so the next step comes on {self.earliest} at the earliest: {self.because}"
        )


Kept = (
    WithinIdleLimit
    | OrphanSoon
    | EndsLater
    | Waits
    | Stepped
    | AwaitsAllowance
    | NotTonight
    | NotTold
)


@dataclass(frozen=True, slots=True)
class OwnedBy(Explained):
    """Another tool made the key and will miss it."""

    code: ClassVar[str] = "owned_by"
    owner: Owner

    def __str__(self) -> str:
        return f"owned by {visible(str(self.owner))}"


@dataclass(frozen=True, slots=True)
class KeepTag(Explained):
    """Tagged `keyjanitor:keep`."""

    code: ClassVar[str] = "keep_tag"

    def __str__(self) -> str:
        return "tagged keyjanitor:keep"


@dataclass(frozen=True, slots=True)
class ProtectedUntil(Explained):
    """Protected by a request."""

    code: ClassVar[str] = "protected_until"
    until: date

    def __str__(self) -> str:
        return f"protected until {self.until}"


@dataclass(frozen=True, slots=True)
class DisabledByOthers(Explained):
    """Disabled by others, who want it so."""

    code: ClassVar[str] = "disabled_by_others"

    def __str__(self) -> str:
        return "disabled by others"


@dataclass(frozen=True, slots=True)
class BeingRestored(Explained):
    """Has the marker name that a restore gives a key until it is done."""

    code: ClassVar[str] = "being_restored"

    def __str__(self) -> str:
        return "being restored"


@dataclass(frozen=True, slots=True)
class TierNever(Explained):
    """Its tier's `idle_days` is "never"."""

    code: ClassVar[str] = "tier_never"
    tier: str

    def __str__(self) -> str:
        return f"tier {self.tier} never expires keys"


@dataclass(frozen=True, slots=True)
class NoContact(Explained):
    """Its tier has no contact, so a warning would reach no person."""

    code: ClassVar[str] = "no_contact"
    tier: str

    def __str__(self) -> str:
        return f"tier {self.tier} has no contact, so it is not swept"


@dataclass(frozen=True, slots=True)
class IdMayBeValue(Explained):
    """Its id is long enough to be its value, so it is never shown, and the key is not swept."""

    code: ClassVar[str] = "id_may_be_value"

    def __str__(self) -> str:
        return "its id may be its value, so it is never swept"


Protected = (
    IdMayBeValue
    | OwnedBy
    | KeepTag
    | ProtectedUntil
    | DisabledByOthers
    | BeingRestored
    | TierNever
    | NoContact
)


@dataclass(frozen=True, slots=True)
class MembersUnread(Explained):
    """The members of a plan were not read to the end: any key may be in it."""

    code: ClassVar[str] = "members_unread"
    usage_plan_id: str

    def __str__(self) -> str:
        return f"the keys of usage plan {self.usage_plan_id} were not read"


@dataclass(frozen=True, slots=True)
class UsageUnread(Explained):
    """The usage of a plan that the key is in was not read to the end."""

    code: ClassVar[str] = "usage_unread"
    usage_plan_id: str

    def __str__(self) -> str:
        return f"the usage of its plan {self.usage_plan_id} was not read"


@dataclass(frozen=True, slots=True)
class UseByDayUnread(Explained):
    """In no plan at night, but it may be put in one by day: so many, of which this is one, are unread."""

    code: ClassVar[str] = "use_by_day_unread"
    usage_plan_id: str
    plans: int

    def __str__(self) -> str:
        others = f" and {self.plans - 1} more" if self.plans > 1 else ""
        return (
            f"it is in no usage plan tonight, but may have been used in {self.usage_plan_id}{others} "
            "by day, whose usage was not read"
        )


@dataclass(frozen=True, slots=True)
class DaysUnclear(Explained):
    """The usage of a plan told the key's days in a shape that does not fit what was asked for."""

    code: ClassVar[str] = "days_unclear"
    usage_plan_id: str

    def __str__(self) -> str:
        return (
            f"the usage of its plan {self.usage_plan_id} tells fewer or more days of it than were "
            "asked for"
        )


@dataclass(frozen=True, slots=True)
class UseUntold(Explained):
    """An earlier reading showed a request of the key on a day of which tonight's shows none."""

    code: ClassVar[str] = "use_untold"
    on: date

    def __str__(self) -> str:
        return f"an earlier reading showed a request on {self.on} that tonight's does not show"


@dataclass(frozen=True, slots=True)
class OpensNoStage(Explained):
    """A plan that the key is in opens no stage (seen: AF-332): every call gets 403, so no use can show."""

    code: ClassVar[str] = "opens_no_stage"
    usage_plan_id: str

    def __str__(self) -> str:
        return (
            f"its plan {self.usage_plan_id} opens no stage, so every call with it gets 403; put the "
            "stage back"
        )


@dataclass(frozen=True, slots=True)
class Unwitnessed(Explained):
    """No request was seen in a plan that the key is in, as the plan is: metering may not work there."""

    code: ClassVar[str] = "unwitnessed"
    usage_plan_id: str

    def __str__(self) -> str:
        return (
            f"no request was seen for 400 days in its plan {self.usage_plan_id} as it is now (with "
            "or without a quota) or beside it on its stages (list the plan under silent_plans to "
            "believe its silence)"
        )


@dataclass(frozen=True, slots=True)
class StageKeys(Explained):
    """Named by a stage in the old way (doc: AF-217), which is not metered (believed: AF-218)."""

    code: ClassVar[str] = "stage_keys"

    def __str__(self) -> str:
        return "a stage names it in the old way (stageKeys), which is not metered"


@dataclass(frozen=True, slots=True)
class TagsUnread(Explained):
    """The tagging API could not be read to its last page: the key may have an owner."""

    code: ClassVar[str] = "tags_unread"

    def __str__(self) -> str:
        return "its tags could not be read"


@dataclass(frozen=True, slots=True)
class Outage(Explained):
    """The account's traffic fell under a tenth of the usual: an outage looks like idleness."""

    code: ClassVar[str] = "outage"
    day: date
    used: int
    usual: int

    def __str__(self) -> str:
        return f"on {self.day} the account saw {self.used} requests, usual are {self.usual}"


@dataclass(frozen=True, slots=True)
class TierMissing(Explained):
    """It was issued in a tier that policy.toml no longer has: no other tier's rules are its own."""

    code: ClassVar[str] = "tier_missing"
    tier: str

    def __str__(self) -> str:
        return f"it was issued in tier {self.tier}, which policy.toml does not have"


@dataclass(frozen=True, slots=True)
class TierUnclear(Explained):
    """The policy names a plan, at `path`, that the account has not or not clearly: it may be this."""

    code: ClassVar[str] = "tier_unclear"
    usage_plan_id: str
    path: str

    def __str__(self) -> str:
        return (
            f"which tier its usage plan {self.usage_plan_id} belongs to is not known while "
            f"{self.path} in policy.toml is wrong"
        )


Unknown = (
    MembersUnread
    | UsageUnread
    | UseByDayUnread
    | DaysUnclear
    | UseUntold
    | OpensNoStage
    | Unwitnessed
    | StageKeys
    | TagsUnread
    | Outage
    | TierMissing
    | TierUnclear
)

Reason = Due | Kept | Protected | Unknown
