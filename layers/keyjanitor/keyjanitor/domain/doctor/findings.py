"""Words what the doctor found: what it is, why it matters, how many keys fixing it frees. Pure."""

from collections.abc import Mapping, Sequence, Set, Sized
from dataclasses import dataclass
from datetime import date

from keyjanitor.domain.doctor import fixes
from keyjanitor.domain.doctor.fixes import StackOwners, SweepBlockers, several, shown, stack_words
from keyjanitor.domain.model.owners import Owner, Stack
from keyjanitor.domain.model.policy import BoundPolicy, Rate, Unbound
from keyjanitor.domain.model.usage_plan import UsagePlan

KINDS = (
    "keys_disabled_and_unattached",
    "keys_in_no_plan",
    "keys_in_plans_without_stages",
    "keys_inactive",
    "keys_owned_by_stacks",
    "keys_that_guard_nothing",
    "keys_without_name",
    "keys_without_row",
    "keys_without_tier",
    "plans_alike",
    "plans_not_used",
    "plans_without_keys",
    "plans_without_limits",
    "policy_plans_unclear",
    "rows_without_key",
    "shared_names",
    "silent_plans",
    "stages_without_plan",
)


@dataclass(frozen=True, slots=True)
class Finding:
    """One problem. `slots`: number of keys of the key limit that fixing it frees.

    `about` has the ids of all that it is about: of keys, of usage plans, `api_id:stage`, or paths in
    the policy.
    `command` fixes it, or shows where that is done; it may have several lines.
    """

    kind: str
    what: str
    why: str
    slots: int
    command: str
    about: tuple[str, ...]


def keys_in_no_plan(
    ids: Sequence[str], parkable: int, contactless: Sequence[str], read_on: date, bound: BoundPolicy
) -> Finding:
    """Keys that open nothing; `contactless` are the tiers whose orphans wait for a contact."""
    return Finding(
        kind="keys_in_no_plan",
        what=f"{count(ids, 'key is', 'keys are')} in no usage plan, by the reading of {read_on}",
        why="A key in no usage plan opens nothing: every call with it is refused, and it takes a "
        "slot all the same. The sweep warns about such keys, disables and parks them, once their "
        "tier has a contact.",
        slots=parkable,
        command=fixes.give_contacts(contactless, bound) if contactless else fixes.DRY_RUN,
        about=tuple(ids),
    )


def keys_disabled_and_unattached(ids: Sequence[str]) -> Finding:
    """Keys that others made, or left, disabled and in no plan."""
    kind = "keys_disabled_and_unattached"
    return Finding(
        kind=kind,
        what=f"{count(ids, 'key is', 'keys are')} disabled, not by keyjanitor, and attached to "
        "nothing",
        why="An import with shifted columns makes such keys, or a create without `enabled`. "
        "keyjanitor leaves alone what others disabled, so they stay. Enabled they "
        "open nothing either, but the sweep parks them as orphans, values and all. One that leaked "
        "is revoked instead, by a request.",
        slots=len(ids),
        command=fixes.enable_each(kind, ids),
        about=tuple(ids),
    )


def keys_in_plans_without_stages(
    ids: Sequence[str], plans: Sequence[UsagePlan], stack_owners: StackOwners
) -> Finding:
    """Keys of which no plan opens a stage."""
    inside = (
        "usage plans that open no stage" if len(plans) > 1 else "a usage plan that opens no stage"
    )
    named = several([shown(plan.name) for plan in plans])
    return Finding(
        kind="keys_in_plans_without_stages",
        what=f"{count(ids, 'key is', 'keys are')} in {inside}, everybody who holds one gets 403: "
        f"{named}",
        why="A plan loses its stages when its API is deployed again or deleted, and by some changes in "
        "Terraform. Put the stage back. Until then no use of these keys can show, so they are "
        "unknown, and none is warned. If the plan is not needed any more, delete it: its keys are "
        "orphans then, and go.",
        slots=0,
        command="\n".join(
            fixes.put_stage_back([plan.usage_plan_id for plan in plans], stack_owners)
        ),
        about=tuple(ids),
    )


def keys_inactive(
    ids: Sequence[str], declared: Mapping[str, int], reasons: Mapping[str, int]
) -> Finding:
    """Enabled keys beyond the days that their tiers declare; `reasons` counts why they still are."""
    ranked = sorted(reasons.items(), key=lambda one: (-one[1], one[0]))
    why = ", ".join(f"{number:,} {reason.replace('_', ' ')}" for reason, number in ranked)
    limits = several([f"{days} days in tier {tier}" for tier, days in sorted(declared.items())])
    return Finding(
        kind="keys_inactive",
        what=f"{count(ids, 'key is', 'keys are')} enabled, without a known request for longer than "
        f"declared ({limits}): {why}",
        why="The policy declares after how many days without a request no key is enabled any more. An "
        "auditor asks of each key beyond that why it still is: the report's table has the answer, key by "
        "key.",
        slots=0,
        command=fixes.LIST_INACTIVE,
        about=tuple(ids),
    )


def keys_that_guard_nothing(
    ids: Sequence[str],
    parkable: int,
    stages: Sequence[str],
    stacks: Sequence[str],
    blockers: SweepBlockers,
) -> Finding:
    """Keys of plans on whose stages no method asks for one; `stacks` own some of them."""
    lines = (blockers.lines("guards-nothing") or [fixes.DRY_RUN]) if parkable else []
    if stacks:
        ask = "(SAM: Auth: ApiKeyRequired: true; Serverless Framework: private: true)"
        lines.append(fixes.in_template(stacks, f"ask for the key {ask}, or take the keys out"))
    on = f" ({several(stages)})" if stages else ""
    by = f", owned by {stack_words(stacks)}" if stacks else ""
    return Finding(
        kind="keys_that_guard_nothing",
        what=f"{count(ids, 'key is', 'keys are')} in usage plans on whose stages no method "
        f"requires a key{on}{by}",
        why="Whoever knows the address calls these stages without a key, and no throttle or quota "
        "of a plan holds. If that is meant, the keys can go: no client is locked out without one. If "
        "it is not, have the methods ask for a key, in the template or with `aws apigateway "
        "update-method`, and deploy the API.",
        slots=parkable,
        command="\n".join(lines or [fixes.look_at_key(ids[0])]),
        about=tuple(ids),
    )


def shared_names(ids: Sequence[str], names: Mapping[str, int], free: Sequence[str]) -> Finding:
    """Keys that share a name; `names` counts the keys of each, `free` have no other owner."""
    top = min(names, key=lambda name: (-names[name], name))
    return Finding(
        kind="shared_names",
        what=f"{len(ids):,} keys share {len(names):,} {'name' if len(names) == 1 else 'names'}; "
        f"{names[top]:,} are called {shown(top)}",
        why="Names need not be unique in API Gateway. A shared one does not say who holds "
        "which key, and a tool that looks a key up by its name finds the wrong one.",
        slots=0,
        command=fixes.rename(free),
        about=tuple(ids),
    )


def keys_without_name(ids: Sequence[str], free: Sequence[str]) -> Finding:
    """Keys whose name is empty; `free` have no other owner."""
    return Finding(
        kind="keys_without_name",
        what=f"{count(ids, 'key has', 'keys have')} no name",
        why="The list does not say who holds the key.",
        slots=0,
        command=fixes.rename(free),
        about=tuple(ids),
    )


def keys_owned_by_stacks(
    ids: Sequence[str], owners: Mapping[Owner, int], gone: Set[Owner] = frozenset()
) -> Finding:
    """Keys of other tools, with how many each owner has.

    Of `gone` stacks CloudFormation does not know any more: only their tags are left.
    """
    ranked = sorted(owners, key=lambda owner: (-owners[owner], str(owner)))
    listed = several([f"{_owner(owner, gone)} ({owners[owner]:,})" for owner in ranked])
    stacks = [one for one in ranked if isinstance(one, Stack)]
    stack = next((one for one in stacks if one not in gone), next(iter(stacks), None))
    command = "terraform state list | grep aws_api_gateway_api_key"
    if stack is not None:
        fix = fixes.keys_tagged if stack in gone else fixes.keys_of_stack
        command = fix(stack.name)
    return Finding(
        kind="keys_owned_by_stacks",
        what=f"{count(ids, 'key is', 'keys are')} owned by other tools: {listed}",
        why="keyjanitor reports these keys and never touches them: one that a stack owns and "
        "a person deletes by hand makes the stack's next deploy fail. They take their slots until "
        "their template lets them go.",
        slots=0,
        command=command,
        about=tuple(ids),
    )


def keys_without_tier(ids: Sequence[str], tiers: Mapping[str, int]) -> Finding:
    """Keys issued in tiers that policy.toml no longer has; `tiers` counts the keys of each."""
    listed = several([f"{shown(name, quotes='')} ({tiers[name]:,})" for name in sorted(tiers)])
    return Finding(
        kind="keys_without_tier",
        what=f"{count(ids, 'key was', 'keys were')} issued in a tier that policy.toml does not have: "
        f"{listed}",
        why="A key keeps the tier in which it was issued. While policy.toml does not have that tier, "
        "the key is unknown: it is never warned, disabled or parked, and every request for it is "
        "refused. Put the tier back under its name; to retire it, keep it without senders until "
        "its keys are gone.",
        slots=0,
        command=fixes.put_back(sorted(tiers)),
        about=tuple(ids),
    )


def policy_plans_unclear(problems: Sequence[Unbound], plans: Mapping[str, str]) -> Finding:
    """Names in the policy that fit no usage plan, or more than one; `plans` may be meant."""
    told = "; ".join(f"{one.path}: {one.reason}" for one in problems[: fixes.NAMED])
    more = f"; and {len(problems) - fixes.NAMED:,} more" if len(problems) > fixes.NAMED else ""
    meant = f" {count(plans, 'usage plan', 'usage plans')} may be meant." if plans else ""
    return Finding(
        kind="policy_plans_unclear",
        what=f"policy.toml names usage plans that this account does not clearly have: {told}{more}",
        why="A plan was renamed or deleted, or its name is misspelt or not unique. Keys whose plan may "
        f"be meant are unknown until the policy is right; all others are swept.{meant}",
        slots=0,
        command=fixes.name_the_plan(problems),
        about=(*(one.path for one in problems), *sorted(plans)),
    )


def keys_without_row(ids: Sequence[str]) -> Finding:
    """Keys that the ledger does not know."""
    return Finding(
        kind="keys_without_row",
        what=f"{count(ids, 'key has', 'keys have')} no row in the ledger",
        why="A key without a row has no owner, no tier and no dates, and no sweep has counted its "
        "idle days. The next one adopts it, unless the stack only observes.",
        slots=0,
        command=fixes.SWEEP,
        about=tuple(ids),
    )


def rows_without_key(ids: Sequence[str]) -> Finding:
    """Rows of keys that others deleted past keyjanitor."""
    return Finding(
        kind="rows_without_key",
        what=f"{count(ids, 'key of the ledger is', 'keys of the ledger are')} no more in API "
        "Gateway",
        why="They were deleted outside keyjanitor. There is no tombstone, so no value comes back, "
        "and whoever held one is locked out. The rows close by themselves 30 days after a sweep "
        "missed the keys; who deletes keys can ask for a revoke instead.",
        slots=0,
        command=fixes.WHO_DELETES,
        about=tuple(ids),
    )


def plans_without_limits(
    plans: Sequence[UsagePlan],
    stack_owners: StackOwners,
    limit: Rate | None,
    busiest: Mapping[str, int],
) -> Finding:
    """Plans that limit nothing; `limit` is what the policy has for one of them.

    `busiest` has the requests of each plan's busiest day, as far as they are known.
    """
    kind, ids = "plans_without_limits", [plan.usage_plan_id for plan in plans]
    lines = fixes.limit_each(kind, ids, stack_owners, limit or fixes.NEW_LIMIT, busiest)
    lines += stack_owners.templates(ids, "a throttle, and a quota, in the usage plan")
    return Finding(
        kind=kind,
        what=f"{count(plans, 'usage plan has', 'usage plans have')} neither throttle nor quota: "
        f"{_names(plans, stack_owners)}",
        why="A key of such a plan may call as often as the whole account may: one loop in one "
        "client takes everybody else down with it.",
        slots=0,
        command="\n".join(lines),
        about=tuple(ids),
    )


def plans_without_keys(plans: Sequence[UsagePlan], stack_owners: StackOwners) -> Finding:
    """Plans that no key is in, and that neither the policy nor a parked key waits for."""
    ids = [plan.usage_plan_id for plan in plans]
    lines = fixes.delete_empty(plans, stack_owners) + stack_owners.templates(
        ids, "without the usage plan"
    )
    return Finding(
        kind="plans_without_keys",
        what=f"{count(plans, 'usage plan has', 'usage plans have')} no key: {_names(plans, stack_owners)}",
        why="An account has 300 usage plans unless AWS raises that, and every night reads each. "
        "The policy does not name these, and no parked key comes back into one.",
        slots=0,
        command="\n".join(lines),
        about=tuple(ids),
    )


def plans_not_used(
    plans: Sequence[UsagePlan],
    parkable: int,
    days: int,
    stack_owners: StackOwners,
    blockers: SweepBlockers,
) -> Finding:
    """Plans whose keys did not call for as long as usage tells, though others were seen calling."""
    return Finding(
        kind="plans_not_used",
        what=f"{count(plans, 'usage plan has', 'usage plans have')} keys of which none was used "
        f"for {days} days: {_names(plans, stack_owners)}",
        why="Requests were seen in or beside these plans, so their silence means something: what "
        "they were made for is over. The sweep parks their keys once a tier with a contact names "
        "the plan.",
        slots=parkable,
        command="\n".join(blockers.lines("not-used") or [fixes.DRY_RUN]),
        about=tuple(plan.usage_plan_id for plan in plans),
    )


def silent_plans(
    plans: Sequence[UsagePlan],
    parkable: int,
    stack_owners: StackOwners,
    blockers: SweepBlockers,
    unproven_logs: Mapping[str, str],
) -> Finding:
    """Plans in which, and beside which, no request was ever seen.

    `unproven_logs`: why the access logs of their stages prove no silence, if they were asked, and what
    to do.
    """
    stages = [f"{shown(stage, quotes='')}: {why}" for stage, why in sorted(unproven_logs.items())]
    logs = f" Nor do the access logs prove it. Of stage {several(stages)}." if stages else ""
    return Finding(
        kind="silent_plans",
        what=f"In {count(plans, 'usage plan', 'usage plans')} no request was ever seen: "
        f"{_names(plans, stack_owners)}",
        why="Perhaps no client calls, perhaps AWS does not meter these calls: it is not known, so "
        "every key in there is kept. One request with such a key proves the metering; who knows "
        f"that no client calls says so in the policy.{logs}",
        slots=parkable,
        command="\n".join(blockers.lines("silent")),
        about=tuple(plan.usage_plan_id for plan in plans),
    )


def plans_alike(
    groups: Sequence[tuple[UsagePlan, Sequence[UsagePlan]]], stack_owners: StackOwners
) -> Finding:
    """Plans that could be one: for each group the plan that stays, and those that could go."""
    keep, gone = groups[0][0], groups[0][1][0]
    ids = tuple(plan.usage_plan_id for stays, go in groups for plan in (stays, *go))
    return Finding(
        kind="plans_alike",
        what=f"{len(ids)} usage plans could be {len(groups)}, for they open the same stages with "
        f"the same limits: {shown(gone.name)} is like {shown(keep.name)}",
        why="An account has 300 usage plans unless AWS raises that, and every night reads each. "
        "Limits hold for each key by itself, so one plan does for all. While a key moves its calls "
        "are refused, for minutes at times, and its quota and its idle clock begin again.",
        slots=0,
        command=fixes.move_keys(gone, keep, stack_owners),
        about=ids,
    )


def stages_without_plan(stages: Sequence[str], stack_owners: StackOwners) -> Finding:
    """Stages with methods that require a key, though no key opens them."""
    apis = [stage.partition(":")[0] for stage in stages]
    lines = fixes.cover_stage(stages, stack_owners) + stack_owners.templates(
        apis, "a usage plan, or no such stage (SAM's `Stage` goes with OpenApiVersion in Globals)"
    )
    return Finding(
        kind="stages_without_plan",
        what=f"{count(stages, 'stage has', 'stages have')} methods that require a key, and no "
        f"usage plan: {several(stages)}",
        why="No key opens these methods: every call is refused with 403. Either a plan is missing, "
        "or they are not needed.",
        slots=0,
        command="\n".join(lines),
        about=tuple(stages),
    )


def count(things: Sized, one: str, many: str) -> str:
    """Number of things as a sentence begins: `1 key is`, `412 keys are`."""
    return f"1 {one}" if len(things) == 1 else f"{len(things):,} {many}"


def _owner(owner: Owner, gone: Set[Owner]) -> str:
    return shown(str(owner), quotes="") + (", which is gone" if owner in gone else "")


def _names(plans: Sequence[UsagePlan], stack_owners: StackOwners) -> str:
    """The plans' names, with the stacks that own them."""
    named = []
    for plan in plans:
        stack = stack_owners.stacks.get(plan.usage_plan_id)
        named.append(shown(plan.name) + (f" ({stack_words([stack])})" if stack else ""))
    return several(named)
