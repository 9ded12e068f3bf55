"""Writes the commands that fix what the doctor found, for a shell or for `policy.toml`. Pure.

A command holds ids, texts of the policy, and what was quoted, but never a name that others gave a
key. Loops over many ids read them from `report.json`, where a finding's `about` is whole.
"""

import json
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil

from keyjanitor.domain.model.key_ids import may_be_value
from keyjanitor.domain.model.policy import BoundPolicy, Rate, Unbound
from keyjanitor.domain.model.safe_text import harmless
from keyjanitor.domain.model.usage_plan import UsagePlan

INLINE = 10  # ids that stand in a command; more are read from the report
NAMED = 3  # names that stand in a sentence
SHOWN = 40  # characters of a name
SECONDS_A_DAY = 86_400
PEAK = 10  # times the average of a day a limit has to be above
NEW_LIMIT = Rate(10, 20)  # what the shipped policy.toml has for an example

_ID = re.compile(r"[A-Za-z0-9]{1,64}")
_STAGE = re.compile(r"[A-Za-z0-9]{1,64}:[A-Za-z0-9_-]{1,128}")
_STACK = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,127}")

DRY_RUN = "# shows on which dates; the sweeps do the rest\nkeyjanitor plan"
SWEEP = "keyjanitor sweep"
LIST_INACTIVE = (
    "# report.json: keyjanitor report --out report.json\n"
    "jq -r '.inactivity | .columns, .rows[] | @tsv' report.json"
)
WHO_DELETES = (
    "# who deleted keys in the last 90 days\n"
    "aws cloudtrail lookup-events --lookup-attributes "
    "AttributeKey=EventName,AttributeValue=DeleteApiKey "
    "--query 'Events[].[EventTime,Username,CloudTrailEvent]' --output text"
)
POLICY_FILE = "layers/policy/policy.toml"
_POLICY = f"# {POLICY_FILE}, then: sam build && sam deploy"


def shown(text: str, quotes: str = "'") -> str:
    """A text of others, made safe for a sentence."""
    return f"{quotes}{harmless(text, SHOWN + 1)}{quotes}"


def several(names: Sequence[str]) -> str:
    """The first few of some names, and how many more there are."""
    more = f" and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def stack_words(stacks: Iterable[str]) -> str:
    """Stacks by their names, as far as these are such as CloudFormation takes."""
    return several(
        [f"stack {name}" if _STACK.fullmatch(name) else "an oddly named stack" for name in stacks]
    )


def _quoted(text: str) -> str:
    return text if _ID.fullmatch(text) else shlex.quote(shown(text, quotes=""))


@dataclass(frozen=True, slots=True)
class StackOwners:
    """The stacks that own some things, by their ids; None: none does; left out: unknown."""

    stacks: Mapping[str, str | None]

    def free(self, ids: Iterable[str]) -> list[str]:
        """Ids that no stack owns; if there are none, the first whose owner is unknown."""
        left = [one for one in ids if self.stacks.get(one) is None]
        return [one for one in left if one in self.stacks] or left[:1]

    def caution(self, *ids: str) -> list[str]:
        """Comment lines: find out whether a stack owns these things before they are changed."""
        ask = "# only if no stack owns it: aws cloudformation describe-stack-resources"
        unknown = [one for one in ids if one not in self.stacks]
        return [f"{ask} --physical-resource-id {_quoted(one)}" for one in unknown]

    def templates(self, ids: Iterable[str], line: str) -> list[str]:
        """Comment lines for things that stacks own: change them in their templates, as `line` says."""
        stacks = sorted({stack for one in ids if (stack := self.stacks.get(one))})
        return [in_template(stacks, line)] if stacks else []


def in_template(stacks: Sequence[str], line: str) -> str:
    """A comment that says what to change in the templates of stacks."""
    return f"# in the template of {stack_words(stacks)}, then deploy it: {line}"


def keys_of_stack(stack: str) -> str:
    """Lists the keys of a stack by their names in its template."""
    keys = "StackResources[?ResourceType=='AWS::ApiGateway::ApiKey']"
    return (
        f"# those that the template of {stack_words([stack])} does not need go by a deploy\n"
        f"aws cloudformation describe-stack-resources --stack-name {shlex.quote(stack)} "
        f'--query "{keys}.[LogicalResourceId,PhysicalResourceId]" --output text'
    )


def keys_tagged(stack: str) -> str:
    """Lists the keys that a stack has left behind when it was deleted, by their tags."""
    return (
        f"# {stack_words([stack])} is gone, its tag is not: see whether its keys are still needed\n"
        "aws resourcegroupstaggingapi get-resources --resource-type-filters apigateway "
        f"--tag-filters {shlex.quote(f'Key=aws:cloudformation:stack-name,Values={stack}')} "
        "--query 'ResourceTagMappingList[].ResourceARN' --output text"
    )


def enable_each(kind: str, key_ids: Sequence[str]) -> str:
    """Enables keys, so that the sweep takes them for the orphans that they are."""
    # In a plan the key would open something; who disabled it may have had a reason.
    plans = "aws apigateway get-usage-plans --key-id {0} --query 'length(items)' --output text"
    call = f'test "$({plans})" = 0 && aws apigateway update-api-key --api-key {{0}} '
    patch = "--patch-operations op=replace,path=/enabled,value=true --query id"
    return _each(kind, key_ids, call + patch)


def rename(key_ids: Sequence[str]) -> str:
    """Command that renames the first key after its holder; `key_ids` have no other owner."""
    if not key_ids:
        return "# every one is another tool's: name them in its template"
    typed = next((one for one in key_ids if not may_be_value(one)), None)
    if typed is None:
        return "# each has an id that may be its value: find it in the console of API Gateway"
    return (
        "# a change by hand: the key's idle clock begins again\n"
        f"{look_at_key(typed)} &&\n"
        f"aws apigateway update-api-key --api-key {_quoted(typed)} "
        "--patch-operations op=replace,path=/name,value=WHO_HOLDS_IT --query name"
    )


def look_at_key(key_id: str) -> str:
    """Shows a key without its value."""
    if may_be_value(key_id):
        return f"# {key_id}: its id may be its value; find it in the console of API Gateway"
    return (
        f"aws apigateway get-api-key --api-key {_quoted(key_id)} "
        "--query '[name,description,customerId,createdDate,tags]'"
    )


def _each(kind: str, ids: Sequence[str], line: str, pause: int = 1) -> str:
    """A command for each id, `pause` seconds apart."""
    safe = [one for one in ids if _ID.fullmatch(one)]
    if len(safe) == 1:
        return line.format(safe[0])
    body = line.format('"$id"') + f"; sleep {pause}; done"
    if len(safe) <= INLINE:
        return f"for id in {' '.join(safe)}; do {body}"
    return (
        "# report.json: keyjanitor report --out report.json\n"
        f"jq -r '.findings[] | select(.kind == \"{kind}\") | .about[]' report.json |\n"
        f"while read -r id; do {body}"
    )


def limit_each(
    kind: str,
    usage_plan_ids: Sequence[str],
    stack_owners: StackOwners,
    limit: Rate,
    busiest: Mapping[str, int],
) -> list[str]:
    """Gives plans a throttle, past the one UpdateUsagePlan in 20 seconds that AWS takes (doc: AF-106).

    The throttle is `limit`, or well above what the keys used on the busiest day, if that is more.
    """
    if not (free := stack_owners.free(usage_plan_ids)):
        return []
    limit, use = _above_use(limit, [busiest.get(one) for one in free])
    call = "aws apigateway update-usage-plan --usage-plan-id {} --patch-operations "
    rate = f"op=replace,path=/throttle/rateLimit,value={_number(limit.rate_limit)} "
    burst = f"op=replace,path=/throttle/burstLimit,value={limit.burst_limit}"
    # A loop over all of the report's would change those that stacks own as well.
    some = free if len(free) == len(usage_plan_ids) else free[:INLINE]
    return [
        f"# {_number(limit.rate_limit)} requests a second, bursts of {limit.burst_limit}: put in your own",
        f"# {use}",
        *stack_owners.caution(free[0]),
        _each(kind, some, call + rate + burst, pause=20),
    ]


def _above_use(limit: Rate, busiest: Sequence[int | None]) -> tuple[Rate, str]:
    """A limit that is above what plans use, and what they use, in words.

    Usage is told by the day and for all keys of a plan: a second may hold many times the average.
    """
    most = max((requests for requests in busiest if requests is not None), default=0)
    average = most / SECONDS_A_DAY
    use = f"their keys made at most {most:,} requests on one day, {average:.1f} a second on average"
    if None in busiest:
        use = f"the use of some is not known, look at it first; of the others {use}"
    if len(busiest) == busiest.count(None):
        use = "what their keys use is not known: look at the stage's metrics first"
    rate = max(limit.rate_limit, float(ceil(average * PEAK)))
    # A burst that can have an effect: 5,000 requests at the most (doc: AF-107).
    burst = max(limit.burst_limit, min(5_000, ceil(2 * average * PEAK)))
    return Rate(rate, burst), use


def _number(rate: float) -> str:
    """A rate as AWS takes it: never 1e+06."""
    return f"{rate:f}".rstrip("0").rstrip(".")


def delete_empty(plans: Sequence[UsagePlan], stack_owners: StackOwners) -> list[str]:
    """Deletes the first plan that no stack owns, if it is still empty.

    AWS deletes no plan that opens a stage: "Cannot delete Usage Plan" (seen: AF-331).
    """
    free = stack_owners.free(plan.usage_plan_id for plan in plans)
    if not free:
        return []
    more = f"; and so each of the {len(free)}" if len(free) > 1 else ""
    return [
        f"# asks again whether it is empty{more}",
        *stack_owners.caution(free[0]),
        *_delete(next(plan for plan in plans if plan.usage_plan_id == free[0])),
    ]


def _delete(plan: UsagePlan) -> list[str]:
    plan_id = _quoted(plan.usage_plan_id)
    asked = f"aws apigateway get-usage-plan-keys --usage-plan-id {plan_id}"
    lines = [f"test \"$({asked} --query 'length(items)' --output text)\" = 0 &&"]
    if stages := [stage for stage in sorted(plan.stages) if _STAGE.fullmatch(stage)]:
        patches = " ".join(f"op=remove,path=/apiStages,value={stage}" for stage in stages)
        update = f"aws apigateway update-usage-plan --usage-plan-id {plan_id}"
        lines.append(f"{update} --patch-operations {patches} &&")
    return [*lines, f"aws apigateway delete-usage-plan --usage-plan-id {plan_id}"]


def move_keys(gone: UsagePlan, keep: UsagePlan, stack_owners: StackOwners) -> str:
    """Moves the keys of a plan into another and deletes it: a key is in one for each stage (doc: AF-103)."""
    out, into = _quoted(gone.usage_plan_id), _quoted(keep.usage_plan_id)
    members = f"aws apigateway get-usage-plan-keys --usage-plan-id {out}"
    join = (
        f"aws apigateway create-usage-plan-key --usage-plan-id {into}"  # it answers with the value
    )
    lines = [
        *stack_owners.caution(gone.usage_plan_id, keep.usage_plan_id),
        f"# {out} into {into}, at a quiet hour",
        "moved=yes",
        f"for id in $({members} --query 'items[].id' --output text); do",
        f'  aws apigateway delete-usage-plan-key --usage-plan-id {out} --key-id "$id" || break',
        f'  {join} --key-type API_KEY --key-id "$id" --query id || {{',
        '    echo "$id is in no plan now: put it back by hand, then begin again"; moved=no; break; }',
        "  sleep 1",
        "done",
        'test "$moved" = yes &&',
        *_delete(gone),
    ]
    return "\n".join(lines)


def cover_stage(stages: Sequence[str], stack_owners: StackOwners) -> list[str]:
    """Makes a plan for the first stage (`api_id:stage`) stack_owners API no stack owns."""
    free = set(stack_owners.free(stage.partition(":")[0] for stage in stages))
    mine = [one for one in stages if one.partition(":")[0] in free and _STAGE.fullmatch(one)]
    if not mine:
        return []
    api_id, _, name = mine[0].partition(":")
    more = f"; and so each of the {len(mine)}" if len(mine) > 1 else ""
    limit = f"rateLimit={NEW_LIMIT.rate_limit:g},burstLimit={NEW_LIMIT.burst_limit}"
    call = f"aws apigateway create-usage-plan --name {api_id}-{name}"
    return [
        f"# your own name and limits{more}",
        *stack_owners.caution(api_id),
        f"{call} --api-stages apiId={api_id},stage={name} --throttle {limit}",
    ]


def put_stage_back(usage_plan_ids: Sequence[str], stack_owners: StackOwners) -> list[str]:
    """Gives the first plan that no stack owns its stage back; in templates for the others."""
    lines = stack_owners.templates(usage_plan_ids, "the plan's ApiStages")
    if free := stack_owners.free(usage_plan_ids):
        more = f"; and so each of the {len(free)}" if len(free) > 1 else ""
        call = f"aws apigateway update-usage-plan --usage-plan-id {_quoted(free[0])}"
        lines += [
            f"# the API and the stage that it opened{more}",
            *stack_owners.caution(free[0]),
            f"{call} --patch-operations op=add,path=/apiStages,value=API_ID:STAGE",
        ]
    return lines


@dataclass(frozen=True, slots=True)
class SweepBlockers:
    """Reasons why a sweep does not touch the keys of some plans: no tier, no contact, `never`, silence."""

    bound: BoundPolicy
    usage_plan_ids: tuple[str, ...]
    silent: tuple[str, ...] = ()  # of these plans, those whose silence is not believed

    def lines(self, name: str) -> list[str]:
        """The lines of policy.toml that have the sweep park the idle keys of these plans.

        `name` is what a new tier is called. Empty: nothing is missing.
        """
        policy, tier_of = self.bound.policy, self.bound.tier_of_plan
        tiers = {tier.name: tier for one in self.usage_plan_ids if (tier := tier_of.get(one))}
        lines: list[str] = []
        if self.silent:
            believed = [*policy.silent_plans, *self.silent]
            lines.append(f"silent_plans = {_toml(believed)}  # in the place of that line")
        lines += contacts([one for one, tier in tiers.items() if tier.contact is None], self.bound)
        lines += [
            f'# idle_days is "never" in [tiers.{one}]: the sweep leaves its keys alone'
            for one, tier in sorted(tiers.items())
            if tier.idle_days == "never"
        ]
        unclear = self.bound.unclear
        if new := [one for one in self.usage_plan_ids if one not in tier_of and not unclear([one])]:
            while name in policy.tiers:
                name += "-2"
            lines += [
                f"[tiers.{name}]",
                f"contact = {_contact(self.bound)}  # a label on its warnings",
                f"usage_plans = {_toml(new)}",
                "idle_days = 60",
            ]
        return [_POLICY, *lines] if lines else []


def put_back(tiers: Sequence[str]) -> str:
    """Comment lines: find the tiers that the policy no longer has in its version history."""
    lines = [f"# [tiers.{shown(name, quotes='')}] is missing in" for name in tiers[:NAMED]]
    lines = [f"{line} {POLICY_FILE}" for line in lines]
    return "\n".join([*lines, f"git log -p -- {POLICY_FILE}"])


def name_the_plan(problems: Sequence[Unbound]) -> str:
    """Lists the plans, with the ids by which the policy names each without doubt."""
    lines = [f"# {one.path}: put an id of these there" for one in problems[:NAMED]]
    plans = "aws apigateway get-usage-plans --query 'items[].[id,name]' --output text"
    return "\n".join([*lines, plans])


def give_contacts(tiers: Iterable[str], bound: BoundPolicy) -> str:
    """The lines of policy.toml that have the sweep look at tiers without a contact."""
    return "\n".join([_POLICY, *contacts(tiers, bound)])


def contacts(tiers: Iterable[str], bound: BoundPolicy) -> list[str]:
    """A contact for each of these tiers."""
    contact = f"contact = {_contact(bound)}  # a label on its warnings"
    return [f"[tiers.{name}]  # the table that is there\n{contact}" for name in sorted(tiers)]


def _contact(bound: BoundPolicy) -> str:
    known = [tier.contact for tier in bound.policy.tiers.values() if tier.contact]
    return _toml(bound.policy.unclaimed.contact or min(known, default="you@example.org"))


def _toml(value: str | Sequence[str]) -> str:
    """A text or a list of texts as TOML: a basic string is JSON's, but for DEL."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
