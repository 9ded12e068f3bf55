"""What the doctor finds, what it does not, and what it tells people to type."""

import random
import subprocess
import tomllib
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyjanitor.domain.doctor.checks import find_problems
from keyjanitor.domain.doctor.checkup import Checkup
from keyjanitor.domain.doctor.findings import KINDS, Finding
from keyjanitor.domain.model.apis import Method
from keyjanitor.domain.model.keys import ApiKey, State, SweepAction
from keyjanitor.domain.model.owners import Stack
from keyjanitor.domain.model.policy import Owned, Quota, Rate
from keyjanitor.domain.model.policy_file import parse_policy
from keyjanitor.domain.model.records import Claim, Row
from keyjanitor.domain.model.usage_plan import UsagePlan, plan_name
from keyjanitor.domain.usage.access_log_format import NO_KEY_ID, SUGGESTED
from keyjanitor.domain.usage.access_logs import SeenInLogs, StageLog
from keyjanitor.domain.usage.evidence import Evidence, Told
from tests.builders import (
    CONTACT,
    DAY,
    KEY_ID,
    PLAN_ID,
    STAGE,
    TODAY,
    YESTERDAY,
    a_checkup,
    a_disabled_row,
    a_key,
    a_limited_plan,
    a_policy,
    a_reading,
    a_row,
    a_served_stage,
    a_tier,
    an_evidence,
    an_inactive_key,
    an_issued_row,
    at,
    days_ago,
    unclaimed,
)

HOSTILE = (
    "<script>alert(1)</script>",
    "'; rm -rf ~; '",
    '"$(reboot)"',
    "`reboot`",
    "line\nbreak\r\x1b[2J",
    "\u202egnp.exe",
    "\ud800",
    "{}",
    "n" * 1024,
)
DRY_RUN = "# shows on which dates; the sweeps do the rest\nkeyjanitor plan"
POLICY = "# layers/policy/policy.toml, then: sam build && sam deploy"


def found(checkup: Checkup, kind: str) -> Finding | None:
    """The finding of a kind, if there is one."""
    return next((one for one in find_problems(checkup) if one.kind == kind), None)


def kinds(checkup: Checkup) -> set[str]:
    return {finding.kind for finding in find_problems(checkup)}


def beside(*others: ApiKey, **more: Any) -> Checkup:
    """A healthy account with some more keys that are in no plan."""
    healthy = a_checkup()
    rows = {**(healthy.rows or {}), **{key.key_id: a_row(key.key_id) for key in others}}
    return replace(healthy, **{"keys": (*healthy.keys, *others), "rows": rows, **more})


def stack_key(key_id: str = "theirs", stack: str = "shop-dev", **more: Any) -> ApiKey:
    return a_key(key_id, tags={"aws:cloudformation:stack-name": stack}, **more)


# --- a healthy account ----------------------------------------------------------------------------


def test_a_healthy_account_has_no_finding() -> None:
    assert find_problems(a_checkup()) == ()
    assert find_problems(a_checkup(*(a_key(f"k{n}") for n in range(50)))) == ()


def test_an_account_of_which_nothing_is_known_has_no_finding() -> None:
    unknown = a_checkup(rows=None, evidence=None, plans=None, stages={}, stacks={})
    assert find_problems(replace(unknown, parked_plans=None)) == ()


def test_what_frees_most_slots_comes_first_then_by_kind() -> None:
    keys = [a_key(f"x{n}", name="twin") for n in range(3)]
    checkup = beside(*keys, rows={KEY_ID: a_row()})
    assert [(one.kind, one.slots) for one in find_problems(checkup)] == [
        ("keys_in_no_plan", 3),
        ("keys_without_row", 0),
        ("shared_names", 0),
    ]


# --- keys in no plan ------------------------------------------------------------------------------


def test_keys_in_no_plan() -> None:
    assert found(beside(a_key("x2"), a_key("x1")), "keys_in_no_plan") == Finding(
        kind="keys_in_no_plan",
        what=f"2 keys are in no usage plan, by the reading of {TODAY}",
        why="A key in no usage plan opens nothing: every call with it is refused, and it takes a "
        "slot all the same. The sweep warns about such keys, disables and parks them, once their "
        "tier has a contact.",
        slots=2,
        command=DRY_RUN,
        about=("x1", "x2"),
    )


def test_orphans_of_a_tier_without_a_contact_are_parked_once_it_has_one() -> None:
    policy = a_policy(a_tier(contact=CONTACT), unclaimed(contact=None))
    finding = found(beside(a_key("x1"), bound=a_checkup(policy=policy).bound), "keys_in_no_plan")
    assert finding is not None
    assert finding.what == f"1 key is in no usage plan, by the reading of {TODAY}"
    assert finding.command == (
        f"{POLICY}\n[tiers.unclaimed]  # the table that is there\n"
        'contact = "api-team@example.org"  # a label on its warnings'
    )


def test_an_issued_orphan_belongs_to_the_tier_it_was_issued_in() -> None:
    policy = a_policy(a_tier(contact=None), unclaimed())
    checkup = beside(a_key("x1"), bound=a_checkup(policy=policy).bound)
    checkup = replace(checkup, rows={**(checkup.rows or {}), "x1": an_issued_row("x1")})
    finding = found(checkup, "keys_in_no_plan")
    assert finding is not None
    assert "[tiers.external]" in finding.command


@pytest.mark.parametrize(
    "key",
    [
        a_key("x1", age=0),
        a_key("x1", stage_keys=("api1/prod",)),
        a_key("x1", name="keyjanitor-restore-k9"),
    ],
    ids=["made since the reading", "opens a stage by itself", "being restored"],
)
def test_a_key_that_may_be_somewhere_is_no_orphan(key: ApiKey) -> None:
    assert "keys_in_no_plan" not in kinds(beside(key))


@pytest.mark.parametrize(
    "key",
    [
        stack_key("x1"),
        a_key("x1", tags={"keyjanitor:keep": ""}),
        a_key("x1", description="Managed by Terraform"),
        a_key("x1", tags=None),
    ],
    ids=["of a stack", "kept", "of Terraform", "whose tags nobody knows"],
)
def test_an_orphan_that_no_sweep_takes_frees_no_slot(key: ApiKey) -> None:
    finding = found(beside(key), "keys_in_no_plan")
    assert finding is not None
    assert (finding.slots, finding.about) == (0, ("x1",))


def test_while_some_plan_is_unread_nobody_is_an_orphan() -> None:
    evidence = replace(an_evidence(a_reading(KEY_ID, members_read=False)), complete_since=None)
    assert kinds(beside(a_key("x1"), evidence=evidence)) == set()


# --- keys disabled and attached to nothing --------------------------------------------------------


def test_keys_that_were_made_disabled_and_attached_to_nothing() -> None:
    assert found(beside(a_key("x1", enabled=False)), "keys_disabled_and_unattached") == Finding(
        kind="keys_disabled_and_unattached",
        what="1 key is disabled, not by keyjanitor, and attached to nothing",
        why="An import with shifted columns makes such keys, or a create without `enabled`. "
        "keyjanitor leaves alone what others disabled, so they stay. Enabled they "
        "open nothing either, but the sweep parks them as orphans, values and all. One that leaked "
        "is revoked instead, by a request.",
        slots=1,
        command='test "$(aws apigateway get-usage-plans --key-id x1 '
        "--query 'length(items)' --output text)\" = 0 && "
        "aws apigateway update-api-key --api-key x1 "
        "--patch-operations op=replace,path=/enabled,value=true --query id",
        about=("x1",),
    )


def test_a_disabled_orphan_is_one_finding_and_not_two() -> None:
    assert kinds(beside(a_key("x1", enabled=False))) == {"keys_disabled_and_unattached"}


def test_an_orphan_that_we_disabled_is_on_its_way_and_is_nobody_elses() -> None:
    checkup = beside(a_key("x1", enabled=False))
    rows = {**(checkup.rows or {}), "x1": a_disabled_row("x1")}
    assert kinds(replace(checkup, rows=rows)) == {"keys_in_no_plan"}


@pytest.mark.parametrize(
    "key",
    [
        stack_key("x1", enabled=False),
        a_key("x1", enabled=False, tags={"keyjanitor:keep": ""}),
        a_key("x1", enabled=False, tags=None),
        a_key("x1", enabled=False, age=0),
    ],
    ids=["of a stack", "kept", "whose tags nobody knows", "made since the reading"],
)
def test_nobody_is_told_to_enable_what_may_be_somebodys(key: ApiKey) -> None:
    assert "keys_disabled_and_unattached" not in kinds(beside(key))


def test_nobody_is_told_to_enable_a_key_whose_plans_only_an_old_reading_knows() -> None:
    checkup = beside(a_key("x1", enabled=False, changed=30))
    for day in (TODAY, YESTERDAY):
        assert kinds(replace(checkup, evidence=healthy_evidence(day))) == {
            "keys_disabled_and_unattached"
        }
    for day in (days_ago(2), days_ago(21)):
        assert kinds(replace(checkup, evidence=healthy_evidence(day))) == set()


def healthy_evidence(day: date) -> Evidence:
    """What a reading of that day found of the healthy account."""
    return an_evidence(day=day, used={KEY_ID: day - DAY})


def test_a_disabled_key_in_a_plan_is_attached() -> None:
    assert find_problems(a_checkup(a_key(enabled=False))) == ()


@pytest.mark.parametrize(("keys", "loop"), [(3, "for id in x00 x01 x02; do "), (11, "jq -r ")])
def test_many_keys_are_mended_in_a_loop(keys: int, loop: str) -> None:
    left = [a_key(f"x{n:02}", enabled=False) for n in range(keys)]
    finding = found(beside(*left), "keys_disabled_and_unattached")
    assert finding is not None
    assert loop in finding.command
    assert '--api-key "$id"' in finding.command
    assert len(finding.about) == finding.slots == keys


# --- keys that guard nothing ----------------------------------------------------------------------

OPEN = {STAGE: a_served_stage(requires_keys=False)}


def test_keys_that_guard_nothing() -> None:
    assert find_problems(a_checkup(a_key("k0"), a_key("k1"), stages=OPEN)) == (
        Finding(
            kind="keys_that_guard_nothing",
            what="2 keys are in usage plans on whose stages no method requires a key (api1:prod)",
            why="Whoever knows the address calls these stages without a key, and no throttle or "
            "quota of a plan holds. If that is meant, the keys can go: no client is locked out "
            "without one. If it is not, have the methods ask for a key, in the template or with "
            "`aws apigateway update-method`, and deploy the API.",
            slots=2,
            command=DRY_RUN,
            about=("k0", "k1"),
        ),
    )


def test_one_method_that_asks_for_a_key_is_guarded() -> None:
    assert find_problems(a_checkup(stages={STAGE: a_served_stage()})) == ()


def test_keys_of_a_plan_that_opens_no_stage_lock_everybody_out_who_holds_one() -> None:
    checkup = without_stages()
    assert kinds(checkup) == {"keys_in_plans_without_stages"}
    [finding] = find_problems(checkup)
    assert finding.what == (
        "1 key is in a usage plan that opens no stage, everybody who holds one gets 403: 'external'"
    )
    assert "Put the stage back" in finding.why
    assert finding.slots == 0
    silent = without_stages(policy=a_policy(silent_plans=(PLAN_ID,)))
    assert kinds(silent) == {"keys_in_plans_without_stages"}
    unused = an_evidence(a_reading(KEY_ID, stages=()), used={KEY_ID: days_ago(100)})
    assert kinds(without_stages(evidence=unused)) == {"keys_in_plans_without_stages"}


def test_a_key_that_opens_a_stage_by_another_plan_or_by_itself_is_not_shut_out() -> None:
    readings = a_reading(KEY_ID, stages=()), a_reading(KEY_ID, usage_plan_id="plan2", name="2")
    both = an_evidence(*readings, used={KEY_ID: YESTERDAY})
    plans = (a_limited_plan(stages=()), a_limited_plan("plan2"))
    for checkup in (
        a_checkup(evidence=both, plans=plans),
        without_stages(keys=(a_key(stage_keys=("api1/prod",)),)),
        without_stages(evidence=None),
        without_stages(plans=None),
    ):
        assert "keys_in_plans_without_stages" not in kinds(checkup)


def test_a_key_guards_something_as_long_as_one_of_its_stages_asks_for_it() -> None:
    plan = a_limited_plan(stages=(STAGE, "api2:web"))
    stages = {**OPEN, "api2:web": a_served_stage("api2:web")}
    assert find_problems(a_checkup(plans=(plan,), stages=stages)) == ()
    both = {**OPEN, "api2:web": a_served_stage("api2:web", requires_keys=False)}
    assert kinds(a_checkup(plans=(plan,), stages=both)) == {"keys_that_guard_nothing"}


def test_a_stage_that_the_key_itself_names_counts_like_those_of_its_plans() -> None:
    """Keys of SAM and of the Serverless Framework have `stageKeys` beside their plans."""
    key = a_key(stage_keys=("api1/prod", "api2/web"))
    stages = {**OPEN, "api2:web": a_served_stage("api2:web")}
    assert find_problems(a_checkup(key, stages=stages)) == ()
    stages["api2:web"] = a_served_stage("api2:web", requires_keys=False)
    finding = found(a_checkup(key, stages=stages), "keys_that_guard_nothing")
    assert finding is not None
    assert "(api1:prod, api2:web)" in finding.what


def test_a_key_of_two_plans_guards_nothing_only_if_neither_asks_for_it() -> None:
    readings = [
        a_reading(KEY_ID),
        a_reading(KEY_ID, usage_plan_id="plan2", name="2", stages=("api2:web",)),
    ]
    plans = (a_limited_plan(), a_limited_plan("plan2", stages=("api2:web",)))
    evidence = an_evidence(*readings, used={KEY_ID: YESTERDAY})
    stages = {**OPEN, "api2:web": a_served_stage("api2:web")}
    checkup = a_checkup(plans=plans, evidence=evidence, stages=stages)
    assert "keys_that_guard_nothing" not in kinds(checkup)


@pytest.mark.parametrize(
    "stages",
    [
        {},
        {
            STAGE: a_served_stage(
                key_source="AUTHORIZER",
                methods=(Method("/", "GET", "CUSTOM", api_key_required=False),),
            )
        },
        {STAGE: a_served_stage(methods=())},
    ],
    ids=["stage unread", "an authorizer names the key", "no method told"],
)
def test_a_stage_that_may_look_at_keys_is_guarded(stages: Any) -> None:
    assert find_problems(a_checkup(stages=stages)) == ()


def test_an_authorizer_that_names_no_key_guards_none() -> None:
    method = Method("/", "GET", "CUSTOM", api_key_required=False)
    assert kinds(a_checkup(stages={STAGE: a_served_stage(methods=(method,))})) == {
        "keys_that_guard_nothing"
    }


@pytest.mark.parametrize(
    "checkup",
    [
        a_checkup(a_key(stage_keys=("api9/prod",)), stages=OPEN),
        a_checkup(stages=OPEN, plans=None),
        a_checkup(stages=OPEN, plans=(a_limited_plan("another"),)),
        a_checkup(stages=OPEN, evidence=None),
    ],
    ids=["opens a stage by itself", "plans unread", "its plan is gone", "no evidence"],
)
def test_a_key_that_may_guard_something_is_no_finding(checkup: Checkup) -> None:
    assert "keys_that_guard_nothing" not in kinds(checkup)


def test_keys_that_guard_nothing_are_parked_once_a_tier_names_their_plans() -> None:
    """And once the silence of these plans is believed: who is parked there is locked out of nothing."""
    checkup = a_checkup(
        stages=OPEN,
        evidence=an_evidence(a_reading(KEY_ID), witnessed_plans=()),
        policy=a_policy(a_tier(usage_plans=()), silent_plans=()),
    )
    finding = found(checkup, "keys_that_guard_nothing")
    assert finding is not None
    assert finding.command == (
        f"{POLICY}\n"
        'silent_plans = ["plan1"]  # in the place of that line\n'
        "[tiers.guards-nothing]\n"
        'contact = "api-team@example.org"  # a label on its warnings\n'
        'usage_plans = ["plan1"]\n'
        "idle_days = 60"
    )


def test_a_stacks_keys_that_guard_nothing_are_the_templates_business() -> None:
    finding = found(a_checkup(stack_key("k0"), stages=OPEN), "keys_that_guard_nothing")
    assert finding is not None
    assert finding.slots == 0
    assert finding.what == (
        "1 key is in usage plans on whose stages no method requires a key (api1:prod), "
        "owned by stack shop-dev"
    )
    assert finding.command == (
        "# in the template of stack shop-dev, then deploy it: ask for the key (SAM: Auth: "
        "ApiKeyRequired: true; Serverless Framework: private: true), or take the keys out"
    )


def test_a_stack_that_only_the_ledger_knows_of_is_named() -> None:
    rows = {KEY_ID: a_row(owned_by=Stack("shop-dev"))}
    finding = found(a_checkup(rows=rows, stages=OPEN), "keys_that_guard_nothing")
    assert finding is not None
    assert "owned by stack shop-dev" in finding.what


def test_keys_that_guard_nothing_and_are_protected_can_only_be_looked_at() -> None:
    key = a_key(tags={"keyjanitor:keep": ""})
    finding = found(a_checkup(key, stages=OPEN), "keys_that_guard_nothing")
    assert finding is not None
    assert finding.command == (
        "aws apigateway get-api-key --api-key k0 "
        "--query '[name,description,customerId,createdDate,tags]'"
    )


# --- names ----------------------------------------------------------------------------------------


def test_shared_names() -> None:
    keys = [a_key("a", name="test"), a_key("b", name="test"), a_key("c", name="x")]
    assert find_problems(a_checkup(*keys, a_key("d", name="x"), a_key("e", name="test"))) == (
        Finding(
            kind="shared_names",
            what="5 keys share 2 names; 3 are called 'test'",
            why="Names need not be unique in API Gateway. A shared one does not say who "
            "holds which key, and a tool that looks a key up by its name finds the wrong one.",
            slots=0,
            command="# a change by hand: the key's idle clock begins again\n"
            "aws apigateway get-api-key --api-key a "
            "--query '[name,description,customerId,createdDate,tags]' &&\n"
            "aws apigateway update-api-key --api-key a "
            "--patch-operations op=replace,path=/name,value=WHO_HOLDS_IT --query name",
            about=("a", "b", "c", "d", "e"),
        ),
    )


def test_names_that_differ_in_case_are_not_shared() -> None:
    assert find_problems(a_checkup(a_key("a", name="Test"), a_key("b", name="test"))) == ()


def test_keys_without_a_name_do_not_share_it() -> None:
    assert find_problems(a_checkup(a_key("a", name=""), a_key("b", name=""))) == (
        Finding(
            kind="keys_without_name",
            what="2 keys have no name",
            why="The list does not say who holds the key.",
            slots=0,
            command="# a change by hand: the key's idle clock begins again\n"
            "aws apigateway get-api-key --api-key a "
            "--query '[name,description,customerId,createdDate,tags]' &&\n"
            "aws apigateway update-api-key --api-key a "
            "--patch-operations op=replace,path=/name,value=WHO_HOLDS_IT --query name",
            about=("a", "b"),
        ),
    )


def test_nobody_is_told_to_rename_a_stacks_key() -> None:
    keys = [stack_key("a", name="twin"), a_key("b", name="twin")]
    finding = found(a_checkup(*keys), "shared_names")
    assert finding is not None
    assert "--api-key b " in finding.command
    finding = found(a_checkup(keys[0], stack_key("c", name="twin")), "shared_names")
    assert finding is not None
    assert finding.command == "# every one is another tool's: name them in its template"


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_stand_in_no_command_and_in_one_line_of_text(name: str) -> None:
    twins = [a_key(f"x{n}", name=name, description=name) for n in range(2)]
    plan = a_limited_plan(name=name, throttle=None, quota=None)
    owned = [stack_key(f"s{n}", stack=name) for n in range(2)]
    checkup = beside(*twins, *owned, plans=(plan,), stages=OPEN, stacks={PLAN_ID: name})
    for finding in find_problems(checkup):
        assert finding.what.isprintable()
        assert len(finding.what) < 400
        commands = [one for one in finding.command.splitlines() if not one.startswith("#")]
        assert finding.kind == "keys_owned_by_stacks" or name not in "\n".join(commands)
        checked = subprocess.run(
            ["bash", "-n"], input=finding.command, text=True, check=False, errors="replace"
        )
        assert checked.returncode == 0
    assert {"shared_names", "plans_without_limits", "keys_owned_by_stacks"} <= kinds(checkup)


def test_a_stacks_odd_name_is_one_word_of_its_command() -> None:
    finding = found(a_checkup(stack_key("k0", stack="a; reboot\n")), "keys_owned_by_stacks")
    assert finding is not None
    assert "--stack-name 'a; reboot\n' --query" in finding.command
    assert "an oddly named stack" in finding.command


# --- keys of other tools --------------------------------------------------------------------------


def test_keys_owned_by_stacks() -> None:
    keys = [stack_key("a"), stack_key("b"), a_key("c", description="Managed by Terraform"), a_key()]
    assert find_problems(a_checkup(*keys)) == (
        Finding(
            kind="keys_owned_by_stacks",
            what="3 keys are owned by other tools: stack shop-dev (2), description 'Managed by "
            "Terraform' (1)",
            why="keyjanitor reports these keys and never touches them: one that a stack owns and "
            "a person deletes by hand makes the stack's next deploy fail. They take their slots "
            "until their template lets them go.",
            slots=0,
            command="# those that the template of stack shop-dev does not need go by a deploy\n"
            "aws cloudformation describe-stack-resources --stack-name shop-dev "
            "--query \"StackResources[?ResourceType=='AWS::ApiGateway::ApiKey']"
            '.[LogicalResourceId,PhysicalResourceId]" --output text',
            about=("a", "b", "c"),
        ),
    )


def test_the_tag_of_a_stack_that_is_gone_is_said_to_be_so() -> None:
    keys = [stack_key("a"), stack_key("b"), stack_key("c", stack="old")]
    known = {"a": "shop-dev", "c": None}
    finding = found(a_checkup(*keys, stacks=known), "keys_owned_by_stacks")
    assert finding is not None
    assert finding.what.endswith("stack shop-dev (2), stack old, which is gone (1)")
    assert "--stack-name shop-dev " in finding.command


def test_keys_of_stacks_that_are_gone_are_found_by_their_tag() -> None:
    finding = found(
        a_checkup(stack_key("c", stack="old"), stacks={"c": None}), "keys_owned_by_stacks"
    )
    assert finding is not None
    assert "--tag-filters Key=aws:cloudformation:stack-name,Values=old " in finding.command
    checked = subprocess.run(["bash", "-n"], input=finding.command, text=True, check=False)
    assert checked.returncode == 0


def test_a_stack_of_which_nothing_is_known_is_not_said_to_be_gone() -> None:
    finding = found(a_checkup(stack_key("c", stack="old"), stacks={}), "keys_owned_by_stacks")
    assert finding is not None
    assert finding.what.endswith("stack old (1)")


def test_keys_that_only_terraform_owns_are_listed_by_terraform() -> None:
    finding = found(a_checkup(a_key(tags={"terraform": "true"})), "keys_owned_by_stacks")
    assert finding is not None
    assert finding.command == "terraform state list | grep aws_api_gateway_api_key"
    assert finding.what.endswith("tag terraform=true (1)")


def test_more_owners_than_can_be_named_are_counted() -> None:
    keys = [stack_key(f"k{n}", stack=f"stack-{n}") for n in range(5)]
    finding = found(a_checkup(*keys), "keys_owned_by_stacks")
    assert finding is not None
    assert finding.what.endswith(
        "stack stack-0 (1), stack stack-1 (1), stack stack-2 (1) and 2 more"
    )


def test_marks_are_those_of_the_policy() -> None:
    policy = a_policy(owned=Owned((), (), ("tf-",)))
    keys = [a_key("a", tags={"terraform": "true"}), a_key("b", name="tf-b")]
    finding = found(a_checkup(*keys, policy=policy), "keys_owned_by_stacks")
    assert finding is not None
    assert finding.about == ("b",)


# --- the ledger -----------------------------------------------------------------------------------


def test_keys_without_a_row() -> None:
    assert find_problems(a_checkup(a_key("a"), a_key("b"), rows={"a": a_row("a")})) == (
        Finding(
            kind="keys_without_row",
            what="1 key has no row in the ledger",
            why="A key without a row has no owner, no tier and no dates, and no sweep has counted "
            "its idle days. The next one adopts it, unless the stack only observes.",
            slots=0,
            command="keyjanitor sweep",
            about=("b",),
        ),
    )


@pytest.mark.parametrize(
    ("keys", "rows"),
    [
        ([a_key("a"), a_key("b", age=0)], {"a": a_row("a")}),
        ([a_key("a"), a_key("b", name="keyjanitor-restore-a")], {"a": a_row("a")}),
        ([a_key("b")], None),
        ([a_key("b")], {}),
        ([a_key("a"), a_key("b")], {"a": a_row("a", issued=True)}),
    ],
    ids=["made today", "being restored", "no ledger", "no sweep yet", "only issued keys yet"],
)
def test_a_key_that_is_to_have_no_row_yet_is_no_finding(keys: list[ApiKey], rows: Any) -> None:
    assert find_problems(a_checkup(*keys, rows=rows)) == ()


def test_rows_without_a_key() -> None:
    rows = {KEY_ID: a_row(), "gone": a_row("gone", missing_since=YESTERDAY)}
    assert find_problems(a_checkup(rows=rows)) == (
        Finding(
            kind="rows_without_key",
            what="1 key of the ledger is no more in API Gateway",
            why="They were deleted outside keyjanitor. There is no tombstone, so no value comes "
            "back, and whoever held one is locked out. The rows close by themselves 30 days after "
            "a sweep missed the keys; who deletes keys can ask for a revoke instead.",
            slots=0,
            command="# who deleted keys in the last 90 days\n"
            "aws cloudtrail lookup-events --lookup-attributes "
            "AttributeKey=EventName,AttributeValue=DeleteApiKey "
            "--query 'Events[].[EventTime,Username,CloudTrailEvent]' --output text",
            about=("gone",),
        ),
    )


@pytest.mark.parametrize(
    "row",
    [
        a_row("gone", claim=Claim(SweepAction.PARK, TODAY)),
        a_row("gone", stepped_on=TODAY),
        a_row("gone", adopted_on=TODAY),
        a_row("gone", restored_on=TODAY),
    ],
    ids=["claimed", "stepped today", "adopted today", "restored today"],
)
def test_a_row_that_moves_today_is_no_finding(row: Row) -> None:
    assert find_problems(a_checkup(rows={KEY_ID: a_row(), "gone": row})) == ()


# --- plans without limits -------------------------------------------------------------------------

UNLIMITED = a_limited_plan(throttle=None, quota=None)


def busy(requests: int) -> Checkup:
    """The plan without limits, whose keys made so many requests on their busiest day."""
    by_day = {YESTERDAY: requests, YESTERDAY - DAY: requests // 2}
    told = {PLAN_ID: Told(TODAY, TODAY, by_day)}
    evidence = an_evidence(a_reading(KEY_ID), used={KEY_ID: YESTERDAY}, told=told)
    return a_checkup(plans=(UNLIMITED,), evidence=evidence)


def test_plans_without_limits() -> None:
    assert find_problems(busy(8_640)) == (
        Finding(
            kind="plans_without_limits",
            what="1 usage plan has neither throttle nor quota: 'external'",
            why="A key of such a plan may call as often as the whole account may: one loop in one "
            "client takes everybody else down with it.",
            slots=0,
            command="# 10 requests a second, bursts of 20: put in your own\n"
            "# their keys made at most 8,640 requests on one day, 0.1 a second on average\n"
            "aws apigateway update-usage-plan --usage-plan-id plan1 --patch-operations "
            "op=replace,path=/throttle/rateLimit,value=10 "
            "op=replace,path=/throttle/burstLimit,value=20",
            about=(PLAN_ID,),
        ),
    )


@pytest.mark.parametrize(
    "limits",
    [
        {"throttle": Rate(10, 20)},
        {"quota": Quota(1, "DAY")},
        {"stages": {STAGE: {"/books/GET": Rate(1, 1)}}},
    ],
    ids=["throttle", "quota", "one method's throttle"],
)
def test_a_plan_with_any_limit_has_limits(limits: dict[str, Any]) -> None:
    assert find_problems(a_checkup(plans=(replace(UNLIMITED, **limits),))) == ()


@pytest.mark.parametrize(
    ("requests", "rate", "burst"), [(0, 10, 20), (86_400, 10, 20), (2_000_000, 232, 463)]
)
def test_the_limit_that_is_advised_is_well_above_what_the_keys_use(
    requests: int, rate: int, burst: int
) -> None:
    finding = found(busy(requests), "plans_without_limits")
    assert finding is not None
    assert (
        f"rateLimit,value={rate} op=replace,path=/throttle/burstLimit,value={burst}"
        in finding.command
    )
    assert f"at most {requests:,} requests on one day" in finding.command


def test_no_plan_of_several_gets_a_limit_under_its_use() -> None:
    second = replace(UNLIMITED, usage_plan_id="p2", name="second")
    told = {
        PLAN_ID: Told(TODAY, TODAY, {YESTERDAY: 100}),
        "p2": Told(TODAY, TODAY, {YESTERDAY: 8_640_000}),
    }
    evidence = an_evidence(a_reading(KEY_ID), used={KEY_ID: YESTERDAY}, told=told)
    stacks = {PLAN_ID: None, "p2": None, "api1": None}
    plans = (UNLIMITED, second, replace(UNLIMITED, usage_plan_id="p3", name="third"))
    checkup = a_checkup(plans=plans, evidence=evidence, stacks={**stacks, "p3": None})
    finding = found(checkup, "plans_without_limits")
    assert finding is not None
    assert "rateLimit,value=1000 " in finding.command
    assert "the use of some is not known" in finding.command


def test_the_limit_of_a_plan_whose_use_is_not_known_says_so() -> None:
    finding = found(a_checkup(plans=(UNLIMITED,)), "plans_without_limits")
    assert finding is not None
    assert "what their keys use is not known" in finding.command


def test_the_limit_that_is_advised_is_the_policys_own() -> None:
    policy = a_policy(a_tier(throttle=Rate(2.5, 7)))
    finding = found(a_checkup(plans=(UNLIMITED,), policy=policy), "plans_without_limits")
    assert finding is not None
    assert "rateLimit,value=2.5 op=replace,path=/throttle/burstLimit,value=7" in finding.command


@pytest.mark.parametrize(
    ("rate", "written"), [(12_345_678, "12345678"), (1e6, "1000000"), (0.000_25, "0.00025")]
)
def test_a_rate_is_written_as_aws_takes_it(rate: float, written: str) -> None:
    policy = a_policy(a_tier(throttle=Rate(rate, 20)))
    finding = found(a_checkup(plans=(UNLIMITED,), policy=policy), "plans_without_limits")
    assert finding is not None
    assert f"/throttle/rateLimit,value={written} " in finding.command
    assert finding.command.startswith(f"# {written} requests a second, ")


def test_a_stacks_plan_gets_its_limits_in_the_template() -> None:
    finding = found(
        a_checkup(plans=(UNLIMITED,), stacks={PLAN_ID: "shop-dev"}), "plans_without_limits"
    )
    assert finding is not None
    assert finding.what.endswith("'external' (stack shop-dev)")
    assert finding.command == (
        "# in the template of stack shop-dev, then deploy it: a throttle, and a quota, in the "
        "usage plan"
    )


def test_a_plan_of_which_nobody_knows_the_stack_is_asked_about_first() -> None:
    finding = found(a_checkup(plans=(UNLIMITED,), stacks={}), "plans_without_limits")
    assert finding is not None
    assert finding.command.splitlines()[2] == (
        "# only if no stack owns it: aws cloudformation describe-stack-resources "
        "--physical-resource-id plan1"
    )


def test_of_many_plans_only_those_are_changed_that_no_stack_owns() -> None:
    plans = [replace(UNLIMITED, usage_plan_id=f"p{n}", name=f"n{n}") for n in range(4)]
    stacks = {"p0": "shop", "p1": None, "p2": None}
    finding = found(a_checkup(plans=plans, stacks=stacks), "plans_without_limits")
    assert finding is not None
    assert "for id in p1 p2; do " in finding.command
    assert "sleep 20" in finding.command
    assert finding.about == ("p0", "p1", "p2", "p3")
    assert finding.what.endswith("'n0' (stack shop), 'n1', 'n2' and 1 more")


def test_of_very_many_plans_no_loop_over_the_report_changes_what_a_stack_owns() -> None:
    plans = [replace(UNLIMITED, usage_plan_id=f"p{n:02}", name=f"n{n}") for n in range(20)]
    stacks = {plan.usage_plan_id: None for plan in plans}
    finding = found(
        a_checkup(plans=plans, stacks={**stacks, "p00": "shop"}), "plans_without_limits"
    )
    assert finding is not None
    assert "for id in p01 p02 p03 p04 p05 p06 p07 p08 p09 p10; do " in finding.command
    finding = found(a_checkup(plans=plans, stacks=stacks), "plans_without_limits")
    assert finding is not None
    assert 'select(.kind == "plans_without_limits")' in finding.command


# --- plans without keys ---------------------------------------------------------------------------


def with_plan(plan: UsagePlan, *members: str, keys: Iterable[ApiKey] = (), **more: Any) -> Checkup:
    """A healthy account with a second plan, and more keys."""
    keys = (a_key(), *keys)
    reading = a_reading(
        *members,
        usage_plan_id=plan.usage_plan_id,
        name=plan.name,
        stages=tuple(plan.stages),
        has_quota=plan.quota is not None,
    )
    values: dict[str, Any] = {
        "evidence": an_evidence(a_reading(KEY_ID), reading, used={KEY_ID: YESTERDAY}),
        "plans": (a_limited_plan(), plan),
        "stages": {stage: a_served_stage(stage) for stage in (STAGE, *plan.stages)},
        "stacks": {PLAN_ID: None, plan.usage_plan_id: None, "api1": None, "api2": None},
        **more,
    }
    return a_checkup(*keys, **values)


SECOND = a_limited_plan("plan2", name="second", stages=("api2:web",))


def test_plans_without_keys() -> None:
    assert find_problems(with_plan(SECOND)) == (
        Finding(
            kind="plans_without_keys",
            what="1 usage plan has no key: 'second'",
            why="An account has 300 usage plans unless AWS raises that, and every night reads "
            "each. The policy does not name these, and no parked key comes back into one.",
            slots=0,
            command="# asks again whether it is empty\n"
            'test "$(aws apigateway get-usage-plan-keys --usage-plan-id plan2 '
            "--query 'length(items)' --output text)\" = 0 &&\n"
            "aws apigateway update-usage-plan --usage-plan-id plan2 "
            "--patch-operations op=remove,path=/apiStages,value=api2:web &&\n"
            "aws apigateway delete-usage-plan --usage-plan-id plan2",
            about=("plan2",),
        ),
    )


def test_a_plan_with_a_key_has_one() -> None:
    assert find_problems(used(YESTERDAY)) == ()


def empty_reading(**more: Any) -> Any:
    return a_reading(usage_plan_id="plan2", name="second", stages=("api2:web",), **more)


@pytest.mark.parametrize(
    "more",
    [
        {"policy": a_policy(a_tier(), a_tier("second"))},
        {"policy": a_policy(silent_plans=("second",))},
        {"parked_plans": frozenset({"plan2"})},
        {"parked_plans": None},
        {"evidence": an_evidence(a_reading(KEY_ID), used={KEY_ID: YESTERDAY})},
        {
            "evidence": an_evidence(
                a_reading(KEY_ID),
                replace(empty_reading(), members_read=False),
                used={KEY_ID: YESTERDAY},
            )
        },
    ],
    ids=["named by a tier", "silent", "parked key's", "parked unknown", "made since", "unread"],
)
def test_a_plan_that_somebody_may_wait_for_is_not_deleted(more: dict[str, Any]) -> None:
    assert "plans_without_keys" not in kinds(with_plan(SECOND, **more))


def test_a_plan_that_a_tiers_next_key_goes_into_is_not_deleted() -> None:
    name = plan_name(a_tier())
    assert "plans_without_keys" not in kinds(with_plan(replace(SECOND, name=name)))


# --- plans that nobody uses, and silent ones ------------------------------------------------------


def test_plans_not_used() -> None:
    checkup = with_plan(SECOND, "k1", keys=[a_key("k1")])
    assert find_problems(checkup) == (
        Finding(
            kind="plans_not_used",
            what="1 usage plan has keys of which none was used for 90 days: 'second'",
            why="Requests were seen in or beside these plans, so their silence means something: "
            "what they were made for is over. The sweep parks their keys once a tier with a "
            "contact names the plan.",
            slots=1,
            command=f"{POLICY}\n[tiers.not-used]\n"
            'contact = "api-team@example.org"  # a label on its warnings\n'
            'usage_plans = ["plan2"]\n'
            "idle_days = 60",
            about=("plan2",),
        ),
    )


def used(on: Any, **more: Any) -> Checkup:
    """The second plan's key was last used on this day, or an evidence says something else of it."""
    evidence = an_evidence(
        a_reading(KEY_ID),
        a_reading("k1", usage_plan_id="plan2", name="second", stages=("api2:web",)),
        used={KEY_ID: YESTERDAY, **({"k1": on} if on else {})},
    )
    return with_plan(SECOND, keys=[a_key("k1")], evidence=replace(evidence, **more))


def test_a_use_within_ninety_days_is_use() -> None:
    assert kinds(used(days_ago(90))) == {"plans_not_used"}
    assert kinds(used(days_ago(89))) == set()


def test_a_use_that_only_the_ledger_remembers_is_use() -> None:
    rows = {KEY_ID: a_row(), "k1": a_row("k1", last_used=days_ago(10))}
    assert find_problems(replace(used(None), rows=rows)) == ()


@pytest.mark.parametrize(
    "checkup",
    [
        with_plan(SECOND, "k1", keys=[a_key("k1", age=89)]),
        used(None, plans_changed={"k1": days_ago(5)}),
        used(None, first_in_plan_on={"k1": days_ago(5)}),
    ],
    ids=["the key is young", "moved here lately", "came into a plan lately"],
)
def test_a_plan_that_had_no_ninety_days_is_not_called_unused(checkup: Checkup) -> None:
    assert find_problems(checkup) == ()


def test_an_old_reading_proves_no_ninety_days_of_silence() -> None:
    checkup = used(days_ago(95))
    assert checkup.evidence is not None
    for day, expected in ((YESTERDAY, {"plans_not_used"}), (days_ago(2), set())):
        assert kinds(replace(checkup, evidence=replace(checkup.evidence, day=day))) == expected


def test_keys_that_no_sweep_takes_free_no_slot_of_an_unused_plan() -> None:
    keys = [stack_key("k1"), a_key("k2"), a_key("k3", tags={"keyjanitor:keep": ""})]
    finding = found(with_plan(SECOND, "k1", "k2", "k3", keys=keys), "plans_not_used")
    assert finding is not None
    assert finding.slots == 1


def test_an_unused_plan_of_a_patient_tier_says_so() -> None:
    policy = a_policy(a_tier(), a_tier("second", idle_days="never", contact=None))
    finding = found(with_plan(SECOND, "k1", keys=[a_key("k1")], policy=policy), "plans_not_used")
    assert finding is not None
    assert finding.slots == 0
    assert finding.command.splitlines()[1:] == [
        "[tiers.second]  # the table that is there",
        'contact = "api-team@example.org"  # a label on its warnings',
        '# idle_days is "never" in [tiers.second]: the sweep leaves its keys alone',
    ]


def silent(**more: Any) -> Checkup:
    evidence = an_evidence(
        a_reading(KEY_ID),
        a_reading("k1", usage_plan_id="plan2", name="second", stages=("api2:web",)),
        used={KEY_ID: YESTERDAY},
        witnessed_plans=(PLAN_ID,),
    )
    return with_plan(SECOND, **{"keys": [a_key("k1")], "evidence": evidence, **more})


def test_silent_plans() -> None:
    assert find_problems(silent()) == (
        Finding(
            kind="silent_plans",
            what="In 1 usage plan no request was ever seen: 'second'",
            why="Perhaps no client calls, perhaps AWS does not meter these calls: it is not known, so "
            "every key in there is kept. One request with such a key proves the metering; who "
            "knows that no client calls says so in the policy.",
            slots=1,
            command=f"{POLICY}\n"
            'silent_plans = ["plan2"]  # in the place of that line\n'
            "[tiers.silent]\n"
            'contact = "api-team@example.org"  # a label on its warnings\n'
            'usage_plans = ["plan2"]\n'
            "idle_days = 60",
            about=("plan2",),
        ),
    )


def test_a_silent_plan_says_why_its_access_logs_prove_nothing_and_which_format_to_put_in() -> None:
    evidence = silent().evidence
    assert evidence is not None
    logs = {
        "api2:web": StageLog("api2:web", problem=str(NO_KEY_ID)),
        "other:web": StageLog("other:web", problem=str(NO_KEY_ID)),
    }

    def why(seen: SeenInLogs) -> str:
        (finding,) = find_problems(silent(evidence=replace(evidence, seen_in_logs=seen)))
        return finding.why

    (without,) = find_problems(silent())
    asked = SeenInLogs(stages=logs, through=at(TODAY, 1))
    assert why(asked) == (
        f"{without.why} Nor do the access logs prove it. Of stage api2:web: its access log's format "
        f"lacks $context.identity.apiKeyId. Add it, as in {SUGGESTED}."
    )
    whole = replace(asked, stages={"api2:web": StageLog("api2:web")})
    for seen in (replace(asked, through=None), whole):
        assert why(seen) == without.why


def test_a_plan_whose_silence_is_believed_is_not_silent_but_unused() -> None:
    assert kinds(silent(policy=a_policy(silent_plans=("second",)))) == {"plans_not_used"}


def test_by_an_old_reading_no_plan_is_called_silent() -> None:
    evidence = silent().evidence
    assert evidence is not None
    for day, expected in ((YESTERDAY, {"silent_plans"}), (days_ago(2), set())):
        assert kinds(silent(evidence=replace(evidence, day=day))) == expected


def test_a_request_beside_a_plan_is_its_witness() -> None:
    evidence = silent().evidence
    assert evidence is not None
    seen = replace(evidence, seen_stages={("api2:web", True): TODAY})
    assert kinds(silent(evidence=seen)) == {"plans_not_used"}


@pytest.mark.parametrize("reading", [{"unread": "429"}, {"members_read": False}])
def test_an_unread_plan_is_neither_silent_nor_unused(reading: dict[str, Any]) -> None:
    for checkup in (silent(), used(None)):
        assert checkup.evidence is not None
        plans = dict(checkup.evidence.plans)
        plans["plan2"] = replace(plans["plan2"], **reading)
        assert (
            find_problems(replace(checkup, evidence=replace(checkup.evidence, plans=plans))) == ()
        )


def test_the_plans_that_the_policy_believes_already_stay_in_its_line() -> None:
    odd = 'ext"ernal\x7f\N{OLD KEY}'
    policy = a_policy(silent_plans=(odd,))
    checkup = silent()
    bound = replace(checkup.bound, policy=policy)
    finding = found(replace(checkup, bound=bound), "silent_plans")
    assert finding is not None
    assert tomllib.loads(finding.command)["silent_plans"] == [odd, "plan2"]


def test_a_new_tier_has_a_name_that_the_policy_does_not_have() -> None:
    policy = a_policy(a_tier(), a_tier("silent", usage_plans=()))
    finding = found(silent(policy=policy), "silent_plans")
    assert finding is not None
    assert "[tiers.silent-2]" in finding.command


def test_the_silence_of_a_plan_that_was_not_read_is_not_to_be_believed() -> None:
    reading = a_reading(KEY_ID, unread="429")
    evidence = an_evidence(reading, witnessed_plans=())
    finding = found(a_checkup(stages=OPEN, evidence=evidence), "keys_that_guard_nothing")
    assert finding is not None
    assert finding.command == DRY_RUN


# --- plans that could be one ----------------------------------------------------------------------

TWIN = a_limited_plan("plan2", name="twin")


def twins(twin: UsagePlan = TWIN, **more: Any) -> Checkup:
    evidence = an_evidence(
        a_reading(KEY_ID),
        a_reading("k1", usage_plan_id="plan2", name=twin.name),
        used={KEY_ID: YESTERDAY, "k1": YESTERDAY},
    )
    values = {"keys": [a_key("k1")], "evidence": evidence, "policy": a_policy(a_tier(usage_plans=())), **more}  # fmt: skip
    return with_plan(twin, **values)


def test_plans_alike() -> None:
    assert find_problems(twins()) == (
        Finding(
            kind="plans_alike",
            what="2 usage plans could be 1, for they open the same stages with the same limits: "
            "'twin' is like 'external'",
            why="An account has 300 usage plans unless AWS raises that, and every night reads "
            "each. Limits hold for each key by itself, so one plan does for all. While a key moves "
            "its calls are refused, for minutes at times, and its quota and its idle clock begin "
            "again.",
            slots=0,
            command="# plan2 into plan1, at a quiet hour\n"
            "moved=yes\n"
            "for id in $(aws apigateway get-usage-plan-keys --usage-plan-id plan2 "
            "--query 'items[].id' --output text); do\n"
            "  aws apigateway delete-usage-plan-key --usage-plan-id plan2 "
            '--key-id "$id" || break\n'
            "  aws apigateway create-usage-plan-key --usage-plan-id plan1 --key-type API_KEY "
            '--key-id "$id" --query id || {\n'
            '    echo "$id is in no plan now: put it back by hand, then begin again"; moved=no; '
            "break; }\n"
            "  sleep 1\n"
            "done\n"
            'test "$moved" = yes &&\n'
            'test "$(aws apigateway get-usage-plan-keys --usage-plan-id plan2 '
            "--query 'length(items)' --output text)\" = 0 &&\n"
            "aws apigateway update-usage-plan --usage-plan-id plan2 "
            "--patch-operations op=remove,path=/apiStages,value=api1:prod &&\n"
            "aws apigateway delete-usage-plan --usage-plan-id plan2",
            about=("plan1", "plan2"),
        ),
    )


@pytest.mark.parametrize(
    "other",
    [
        {"stages": {STAGE: {}, "api2:web": {}}},
        {"stages": {STAGE: {"/books/GET": Rate(1, 1)}}},
        {"throttle": Rate(10, 21)},
        {"quota": Quota(50_000, "WEEK")},
        {"offset": 1},
        {"product_code": "market"},
    ],
    ids=["stages", "a method's throttle", "throttle", "quota", "offset", "marketplace"],
)
def test_plans_that_differ_are_two(other: dict[str, Any]) -> None:
    assert "plans_alike" not in kinds(twins(replace(TWIN, **other)))


@pytest.mark.parametrize(
    "more",
    [
        {"policy": a_policy(a_tier(), a_tier("twin"))},
        {"policy": a_policy(a_tier())},
        {"policy": a_policy(a_tier(usage_plans=("external", "twin")))},
        {"parked_plans": frozenset({PLAN_ID, "plan2"})},
        {"parked_plans": None},
        {"stacks": {PLAN_ID: None, "plan2": "shop"}},
        {"stacks": {PLAN_ID: "shop", "plan2": None}},
    ],
    ids=[
        "two tiers",
        "a tier and none",
        "both named",
        "parked keys",
        "parked unknown",
        "a stack's",
        "into a stack's",
    ],
)
def test_plans_that_are_wanted_both_are_left(more: dict[str, Any]) -> None:
    assert "plans_alike" not in kinds(twins(**more))


@pytest.mark.parametrize(
    "theirs",
    [stack_key("k1"), a_key("k1", description="Managed by Terraform"), a_key("k1", tags=None)],
    ids=["a stack's", "Terraform's", "whose tags nobody knows"],
)
def test_what_ties_another_tools_key_to_its_plan_is_left(theirs: ApiKey) -> None:
    """Whoever made the plan: the next deploy would miss the tie."""
    assert "plans_alike" not in kinds(twins(keys=[theirs]))
    reading = a_reading("k1", usage_plan_id="plan2", name="twin", members_read=False)
    unread = an_evidence(a_reading(KEY_ID), reading, used={KEY_ID: YESTERDAY, "k1": YESTERDAY})
    assert "plans_alike" not in kinds(twins(evidence=unread))


def test_the_plan_that_a_parked_key_comes_back_into_stays() -> None:
    finding = found(twins(parked_plans=frozenset({"plan2"})), "plans_alike")
    assert finding is not None
    assert finding.about == ("plan2", "plan1")
    assert "# plan1 into plan2" in finding.command


def test_the_plan_with_most_keys_stays() -> None:
    checkup = twins()
    assert checkup.evidence is not None
    plans = dict(checkup.evidence.plans)
    plans["plan2"] = replace(plans["plan2"], members=("k1", "k2"))
    finding = found(
        replace(checkup, evidence=replace(checkup.evidence, plans=plans)), "plans_alike"
    )
    assert finding is not None
    assert finding.about == ("plan2", "plan1")


def test_plans_that_open_nothing_are_not_alike() -> None:
    bare = (a_limited_plan(stages=()), replace(TWIN, stages={}))
    assert "plans_alike" not in kinds(twins(plans=bare))


# --- stages without a plan ------------------------------------------------------------------------

BARE = {STAGE: a_served_stage(), "api2:web": a_served_stage("api2:web")}


def test_stages_without_plan() -> None:
    checkup = a_checkup(stages=BARE, stacks={"api2": None})
    assert find_problems(checkup) == (
        Finding(
            kind="stages_without_plan",
            what="1 stage has methods that require a key, and no usage plan: api2:web",
            why="No key opens these methods: every call is refused with 403. Either a plan is "
            "missing, or they are not needed.",
            slots=0,
            command="# your own name and limits\n"
            "aws apigateway create-usage-plan --name api2-web --api-stages apiId=api2,stage=web "
            "--throttle rateLimit=10,burstLimit=20",
            about=("api2:web",),
        ),
    )


@pytest.mark.parametrize(
    "checkup",
    [
        a_checkup(stages={**BARE, "api2:web": a_served_stage("api2:web", requires_keys=False)}),
        a_checkup(stages=BARE, plans=None),
        a_checkup(a_key(stage_keys=("api2/web",)), stages=BARE),
        a_checkup(plans=(a_limited_plan(stages=(STAGE, "api2:web")),), stages=BARE),
    ],
    ids=["asks for no key", "plans unread", "opened by a key itself", "covered"],
)
def test_a_stage_that_needs_no_plan_or_has_one_is_no_finding(checkup: Checkup) -> None:
    assert "stages_without_plan" not in kinds(checkup)


def test_a_stacks_stage_gets_its_plan_in_the_template() -> None:
    finding = found(a_checkup(stages=BARE, stacks={"api2": "shop-dev"}), "stages_without_plan")
    assert finding is not None
    assert finding.command == (
        "# in the template of stack shop-dev, then deploy it: a usage plan, or no such stage "
        "(SAM's `Stage` goes with OpenApiVersion in Globals)"
    )


# --- all of them ----------------------------------------------------------------------------------


def without_stages(keys: tuple[ApiKey, ...] = (), **more: Any) -> Checkup:
    """The one key in a plan that lost its stage."""
    evidence = an_evidence(a_reading(KEY_ID, stages=()), used={KEY_ID: YESTERDAY})
    values = {"plans": (a_limited_plan(stages=()),), "evidence": evidence, "stages": {}, **more}
    return a_checkup(*keys, **values)


PLANTED: dict[str, Callable[[], Checkup]] = {
    "keys_disabled_and_unattached": lambda: beside(a_key("x1", enabled=False)),
    "keys_in_no_plan": lambda: beside(a_key("x1")),
    "keys_in_plans_without_stages": without_stages,
    "keys_inactive": lambda: a_checkup(inactive=(an_inactive_key(),)),
    "keys_owned_by_stacks": lambda: a_checkup(stack_key()),
    "keys_that_guard_nothing": lambda: a_checkup(stages=OPEN),
    "keys_without_name": lambda: a_checkup(a_key(name="")),
    "keys_without_row": lambda: a_checkup(a_key("a"), a_key("b"), rows={"a": a_row("a")}),
    "keys_without_tier": lambda: a_checkup(
        rows={KEY_ID: a_row(issued=True, tier="partners")},
    ),
    "plans_alike": twins,
    "plans_not_used": lambda: used(None),
    "plans_without_keys": lambda: with_plan(SECOND),
    "plans_without_limits": lambda: busy(8_640),
    "policy_plans_unclear": lambda: a_checkup(
        policy=a_policy(a_tier(usage_plans=("external", "partners"))),
    ),
    "rows_without_key": lambda: a_checkup(rows={KEY_ID: a_row(), "gone": a_row("gone")}),
    "shared_names": lambda: a_checkup(a_key("a", name="twin"), a_key("b", name="twin")),
    "silent_plans": silent,
    "stages_without_plan": lambda: a_checkup(stages=BARE, stacks={"api2": None}),
}


def test_every_kind_is_planted_here() -> None:
    assert tuple(PLANTED) == KINDS


@pytest.mark.parametrize("kind", KINDS)
def test_a_finding_comes_alone_with_a_command_that_a_shell_or_the_policy_takes(kind: str) -> None:
    [finding] = find_problems(PLANTED[kind]())
    assert finding.kind == kind
    if finding.command.startswith(POLICY):
        parse_policy(f"{finding.command}\n[tiers.unclaimed]\nidle_days = 'never'\n")
    else:
        checked = subprocess.run(["bash", "-n"], input=finding.command, text=True, check=False)
        assert checked.returncode == 0


# --- laws -----------------------------------------------------------------------------------------

names = st.sampled_from(["", "twin", "other", "keyjanitor-restore-k1", *HOSTILE])
tags: st.SearchStrategy[dict[str, str] | None] = st.sampled_from(
    [{}, {}, {}, None, {"keyjanitor:keep": ""}, {"aws:cloudformation:stack-name": "shop-dev"}]
)
STAGES = (STAGE, "api2:web", "api3:prod")
PLANS = ("p1", "p2", "p3", "p4")


@st.composite
def checkups(draw: st.DrawFn) -> Checkup:
    """Any account: keys, plans and stages in any state, read or unread."""
    keys = [
        a_key(
            f"k{n}",
            name=draw(names),
            enabled=draw(st.booleans()),
            age=draw(st.sampled_from([0, 5, 400])),
            tags=draw(tags),
            stage_keys=draw(st.sampled_from([(), (), ("api2/web",)])),
        )
        for n in range(draw(st.integers(0, 6)))
    ]
    ids = [key.key_id for key in keys]
    some = st.lists(st.sampled_from([*ids, "gone"]), unique=True)
    rates = st.sampled_from([None, Rate(10, 20)])
    plans = [
        a_limited_plan(
            plan_id,
            name=draw(names),
            stages=draw(st.lists(st.sampled_from(STAGES), unique=True, max_size=2)),
            throttle=draw(rates),
            quota=None,
        )
        for plan_id in draw(st.lists(st.sampled_from(PLANS), unique=True))
    ]
    readings = [
        replace(
            a_reading(
                *draw(some),
                usage_plan_id=plan_id,
                stages=draw(st.sampled_from([(), (STAGE,), ("api2:web",)])),
                unread=draw(st.sampled_from([None, None, "429"])),
            ),
            members_read=draw(st.booleans()),
        )
        for plan_id in draw(st.lists(st.sampled_from(PLANS), unique=True))
    ]
    evidence = an_evidence(
        *readings,
        used=draw(st.dictionaries(st.sampled_from([*ids, "gone"]), st.just(YESTERDAY))),
        witnessed_plans=draw(st.lists(st.sampled_from(PLANS))),
        complete_since=draw(st.sampled_from([None, TODAY - 9 * DAY])),
    )
    states = st.sampled_from([State.ACTIVE, State.DISABLED])
    rows = {key_id: a_row(key_id, draw(states), tier="unclaimed") for key_id in draw(some)}
    stages = {
        stage: a_served_stage(stage, requires_keys=draw(st.booleans()))
        for stage in draw(st.lists(st.sampled_from(STAGES), unique=True))
    }
    stacks = draw(
        st.dictionaries(
            st.sampled_from([*PLANS, "api1", "api2"]), st.sampled_from([None, "shop", "a\nb"])
        )
    )
    parked = draw(st.sampled_from([None, frozenset(), frozenset({"p1"})]))
    policy = a_policy(a_tier(usage_plans=()), unclaimed(contact=draw(st.sampled_from([None, CONTACT]))))  # fmt: skip
    return Checkup(
        today=TODAY,
        keys=keys,
        bound=policy.bind({}),
        rows=rows,
        evidence=evidence,
        plans=plans,
        stages=stages,
        stacks=stacks,
        parked_plans=parked,
    )


@given(checkups())
def test_no_finding_is_empty_or_frees_more_than_there_is(checkup: Checkup) -> None:
    findings = find_problems(checkup)
    assert len({finding.kind for finding in findings}) == len(findings)
    for finding in findings:
        assert finding.kind in KINDS
        assert finding.about
        assert len(set(finding.about)) == len(finding.about)
        assert 0 <= finding.slots <= len(checkup.keys)
        assert finding.command
        assert finding.what.isprintable()


@given(checkups(), st.randoms(use_true_random=False))
def test_the_order_of_the_input_does_not_matter(checkup: Checkup, chance: random.Random) -> None:
    def shuffled(values: Iterable[Any]) -> list[Any]:
        values = list(values)
        chance.shuffle(values)
        return values

    assert checkup.evidence is not None
    other = replace(
        checkup,
        keys=shuffled(checkup.keys),
        plans=shuffled(checkup.plans or ()),
        rows=dict(shuffled((checkup.rows or {}).items())),
        stages=dict(shuffled(checkup.stages.items())),
        stacks=dict(shuffled(checkup.stacks.items())),
        evidence=replace(checkup.evidence, plans=dict(shuffled(checkup.evidence.plans.items()))),
    )
    assert find_problems(other) == find_problems(checkup)


UNKNOWN: tuple[dict[str, Any], ...] = (
    {"evidence": None},
    {"plans": None},
    {"stages": {}},
    {"parked_plans": None},
)


@given(checkups(), st.sampled_from(UNKNOWN))
def test_what_is_not_known_makes_no_finding(checkup: Checkup, unknown: dict[str, Any]) -> None:
    known = {finding.kind: set(finding.about) for finding in find_problems(checkup)}
    for finding in find_problems(replace(checkup, **unknown)):
        assert known.get(finding.kind, set()).issuperset(finding.about)


@given(checkups())
def test_nobody_is_told_to_delete_a_key_or_to_touch_what_a_stack_owns(checkup: Checkup) -> None:
    owned = {key.key_id for key in checkup.keys if key.tags and "keyjanitor:keep" not in key.tags}
    owned |= {one for one, stack in checkup.stacks.items() if stack}
    for finding in find_problems(checkup):
        typed = [line for line in finding.command.splitlines() if not line.startswith("#")]
        assert "delete-api-key" not in finding.command
        for line in typed:
            changes = any(word in line for word in ("update-", "delete-", "create-"))
            assert not changes or not owned.intersection(line.replace("=", " ").split())
