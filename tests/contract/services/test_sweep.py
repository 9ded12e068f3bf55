"""Whole nights of expire_keys: what a sweep does, on which dates, and what keeps it from doing it."""

import gzip
import json
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from threading import Barrier
from typing import Any

import pytest

from keyjanitor import __version__
from keyjanitor.domain.expiry.sweep_plan import APPROVED_ONLY, digest_of
from keyjanitor.domain.expiry.verdicts import decide
from keyjanitor.domain.model.keys import Mode, State
from keyjanitor.domain.model.policy import PressureRule
from keyjanitor.domain.model.records import PressureRow, PressureRuleRow
from keyjanitor.errors import (
    AccessDenied,
    AlreadyRunning,
    CallFailed,
    EmptyListing,
    InvalidEvent,
    ModeRefused,
    NoEvidence,
    SweepPlanNotAsSaved,
    UnknownSweepPlan,
)
from keyjanitor.services.deadline import Deadline
from keyjanitor.services.expire_keys.apply import Sweeper
from keyjanitor.services.expire_keys.gather import gather
from sandbox.memory.clients.clients import Clients
from sandbox.memory.clients.refusal import refused
from tests.account import BUSY, Account, Call, Calls, brisk
from tests.builders import DAY, KEY_ID, PLAN_ID, TODAY, a_policy, a_tier

AccountMaker = Callable[..., Account]


def none_applied(**but: int) -> dict[str, int]:
    verbs = ("adopt", "warn", "disable", "park", "purge", "enable", "restore")
    return {verb: but.get(verb, 0) for verb in verbs}


def fails(code: str = "InternalError", message: str = "no") -> Callable[[Call], Any]:
    """What an AWS client raises."""

    def instead(_: Call) -> Any:
        err = refused("Call", code, 500)
        err.response["Error"]["Message"] = message
        raise err

    return instead


def then(act: Callable[[], Any]) -> Callable[[Call], Any]:
    """Carries the call out, and then something happens."""

    def instead(call: Call) -> Any:
        answer = call()
        act()
        return answer

    return instead


def once(act: Callable[[], Any]) -> Callable[[], Any]:
    done: list[int] = []

    def first() -> None:
        if not done:
            done.append(1)
            act()

    return first


def due_to_be_disabled(account: Account, keys: int = 1) -> list[str]:
    """Keys that were warned last night, and a reading of tonight."""
    ids = [KEY_ID if keys == 1 else f"key{number:03}" for number in range(keys)]
    for key_id in ids:
        account.key(key_id, idle=60)
    account.night()
    account.pass_day()
    account.read()
    return ids


def due_to_be_parked(account: Account, keys: int = 1) -> list[str]:
    ids = due_to_be_disabled(account, keys)
    account.sweep()
    account.pass_day()
    account.read()
    return ids


# --- the dates ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("idle", "age", "first"), [(60, 400, 0), (None, 0, 14)], ids=["idle", "never used"]
)
def test_a_key_is_warned_disabled_parked_and_purged_on_the_dates_that_were_written_down(
    an_account: AccountMaker, idle: int | None, age: int, first: int
) -> None:
    account = an_account(policy=a_policy())
    if first:
        account.night()  # the evidence begins before the key does
        account.pass_day()
    account.key(KEY_ID, idle=idle, age=age)
    begun = account.today
    seen: dict[int, str] = {}
    for day in sorted({0, 1, first, first + 13, first + 14, first + 27, first + 28, first + 392}):
        for date in (begun + DAY * day, begun + DAY * (day + 1)):
            if account.today < date:
                account.skip((date - account.today).days)
            applied = account.night()["applied"]
            for verb in ("warn", "disable", "park", "purge"):
                if applied[verb]:
                    seen[(account.today - begun).days] = verb
    assert seen == {first: "warn", first + 14: "disable", first + 28: "park", first + 393: "purge"}
    assert account.told(KEY_ID) == ["Key Expiring", "Key Disabled", "Key Parked", "Key Purged"]
    assert account.states()[KEY_ID] == "purged"
    assert account.versions("tombstones/") == []


def test_the_same_life_is_lived_on_another_memory_of_aws(
    moto: Clients, functions: dict[str, Any]
) -> None:
    account = Account(
        moto,
        functions["expire_keys"],
        functions["pull_usage"],
        functions["provision_keys"],
        functions["watch_capacity"],
        functions["publish_report"],
    )
    account.key(KEY_ID, idle=60)
    account.nights(4)
    assert account.told(KEY_ID) == ["Key Expiring", "Key Disabled", "Key Parked", "Key Purged"]
    assert account.states() == {BUSY: "active", KEY_ID: "purged"}


def test_a_second_and_a_third_run_of_a_date_find_nothing_to_do(account: Account) -> None:
    for index in range(4):
        account.key(f"idle{index}", idle=60 - index)
    account.nights(4)
    before = (account.rows(), account.objects("tombstones/"), len(account.events))
    for _ in range(2):
        assert account.sweep()["applied"] == none_applied()
    assert (account.rows(), account.objects("tombstones/"), len(account.events)) == before


def test_the_answer_counts_every_key_once(account: Account) -> None:
    due_to_be_disabled(account)
    account.key("fresh", age=1)
    account.key("kept", idle=80, tags={"keyjanitor:keep": ""})
    answer = account.sweep()
    assert answer == {
        "time": "2026-11-22T03:15:00Z",
        "code_version": __version__,
        "mode": "park",
        "keys": 4,
        "verdicts": {
            "keep": 2,
            "unknown": 0,
            "protected": 1,
            "warn": 0,
            "disable": 1,
            "park": 0,
        },
        "applied": none_applied(adopt=2, disable=1),
        "remaining": 0,
        "digest": answer["digest"],
        "due": {"park": 0, "purge": 0, "disable": 1, "warn": 0},
        "saved_plan": None,
        "past_limit": {
            "keys": 1,
            "new": 0,
            "since": str(account.today - DAY),
            "usual": 0,
            "causes": {},
        },
        "brake": None,
        "pressure": {"used": 0.0004, "above": None, "idle_factor": 1.0},
        "held": None,
        "keys_file": "keys/dt=2026-11-22/keys.jsonl.gz",
        "steps": [
            {
                "action": "disable",
                "key_id": "k0",
                "name": "name of k0",
                "reason": "idle for 61 days, since 2026-09-22",
            }
        ],
        "did": {"count": 1, "keys": [{"action": "disable", "key_id": "k0"}]},
    }


def test_ninety_nine_keys_are_adopted_in_one_transaction(account: Account) -> None:
    for number in range(98):
        account.key(f"k{number:02}", age=1)
    account.read()
    account.around = calls = Calls()
    assert account.sweep()["applied"] == none_applied(adopt=99)
    assert calls.count("dynamodb.transact_write_items") == 1


def test_a_dry_run_names_its_first_steps_and_does_nothing(account: Account) -> None:
    due_to_be_disabled(account)
    answer = account.sweep(mode="observe")
    assert [one["key_id"] for one in answer["steps"]] == ["k0"]
    assert answer["keys_file"] == f"keys/dt={account.today}/keys.jsonl.gz"
    assert "did" not in answer


def test_nothing_but_warnings_after_two_nights_that_were_not_swept(account: Account) -> None:
    due_to_be_disabled(account)
    account.pass_day(2)
    assert account.night()["applied"] == none_applied()
    assert account.keys_file()[KEY_ID]["reason"].startswith("not tonight")
    account.pass_day()
    assert account.night()["applied"] == none_applied(disable=1)


def test_a_held_night_was_not_swept(account: Account) -> None:
    due_to_be_disabled(account)
    account.ledger.remember(account.today - DAY, swept=False)
    account.sweep(hold="ask marketing first")
    account.sweep()
    account.pass_day()
    account.sweep(resume=True)
    assert account.night()["applied"] == none_applied()


# --- observe, and modes ---------------------------------------------------------------------------


def test_observe_writes_no_row_and_sends_no_event_and_writes_the_keys_file(
    account: Account,
) -> None:
    due_to_be_parked(account)
    account.key("new", idle=80)
    account.key("other", idle=60)
    before = (but_the_pressure_row(account), account.gateway.keys(), account.objects("tombstones/"))
    told = (len(account.events), len(account.alerts))
    answer = account.sweep(mode="observe")
    assert answer["verdicts"]["park"] == 1
    assert answer["applied"] == none_applied()
    after = (but_the_pressure_row(account), account.gateway.keys(), account.objects("tombstones/"))
    assert after == before
    assert (len(account.events), len(account.alerts)) == told
    assert account.keys_file()[KEY_ID]["verdict"] == "park"
    assert account.keys_file()[KEY_ID]["park_on"] == str(account.today)


def test_observe_leaves_a_dead_runs_claim_alone(account: Account) -> None:
    due_to_be_disabled(account)
    account.around = Calls(apigateway_set_enabled=fails_for_the_first())
    account.sweep()
    before = but_the_pressure_row(account)
    assert account.ledger.live_rows()[KEY_ID].claim is not None
    account.around = Calls()
    account.sweep(mode="observe")
    assert but_the_pressure_row(account) == before


def test_observe_too_writes_down_what_the_rules_above_would_free(
    an_account: Callable[..., Account],
) -> None:
    rules = (PressureRule(above=0.9, idle_factor=0.5, freeze=()),)
    account = an_account(policy=a_policy(a_tier(idle_days=90), pressure=rules))
    account.key(KEY_ID, idle=60)
    account.night(mode="observe")
    assert account.ledger.pressure_row() == PressureRow(
        account.today, None, (PressureRuleRow(0.9, 0.5, 1, {"external": 1}),)
    )


def test_an_event_out_of_the_replay_window_writes_no_pressure_row(
    an_account: Callable[..., Account],
) -> None:
    account = an_account(replay_window_hours=36)
    account.read()
    account.real_now += 3 * DAY
    assert account.sweep()["observed_because"]
    assert account.ledger.pressure_row() is None


def test_a_look_at_an_old_night_takes_nothing_from_the_pressure_row_of_a_later_one(
    an_account: AccountMaker,
) -> None:
    rules = (PressureRule(above=0.9, idle_factor=0.5, freeze=()),)
    account = an_account(policy=a_policy(a_tier(), pressure=rules), replay_window_hours=36)
    for number in range(30):
        account.key(f"key{number:02}", idle=34)
    old = account.today
    account.nights(6)
    stands = account.ledger.pressure_row()
    assert stands is not None
    assert stands.rules[0].more_keys == 30
    account.sweep(mode="observe", time=f"{old}T03:15:00Z")
    assert account.ledger.pressure_row() == stands


def test_a_look_at_an_old_night_leaves_its_keys_file(an_account: AccountMaker) -> None:
    """The keys that were parked since have a line in there, and nowhere else."""
    account = an_account(replay_window_hours=36)
    account.key(KEY_ID, idle=80)
    old = account.today
    account.nights(7)
    account.key("new", age=0)
    before = account.keys_file(old)
    assert (sorted(before), account.gateway.ids) == ([BUSY, KEY_ID], [BUSY, "new"])
    account.sweep(mode="observe", time=f"{old}T03:15:00Z")
    assert account.keys_file(old) == before


def test_a_later_run_of_a_night_keeps_the_lines_of_the_keys_that_an_earlier_one_parked_as_done(
    account: Account,
) -> None:
    due_to_be_parked(account)
    account.sweep()
    first = account.keys_file()
    assert (first[KEY_ID]["verdict"], first[KEY_ID]["reason_code"]) == ("park", "idle")
    done = {
        **first[KEY_ID],
        "reason_code": "stepped",
        "facts": {"due": {"reason_code": "idle", "facts": first[KEY_ID]["facts"]}},
    }
    for _ in range(2):
        account.sweep()
        assert account.keys_file()[KEY_ID] == done
        assert account.keys_file().keys() == first.keys()


def test_a_dry_run_after_a_sweep_has_a_file_of_its_own_in_which_what_was_parked_is_done(
    account: Account,
) -> None:
    due_to_be_parked(account)
    account.sweep()
    night = account.keys_file()
    answer = account.sweep(mode="observe")
    assert answer["keys_file"] == f"dry-runs/{account.today}/keys.jsonl.gz"
    assert account.keys_file() == night
    dry = account.lines_in(answer["keys_file"])
    assert dry.keys() == night.keys()
    assert (dry[KEY_ID]["verdict"], dry[KEY_ID]["reason_code"]) == ("park", "stepped")


def test_a_dry_run_before_the_first_sweep_of_a_date_says_what_is_known_of_the_date(
    account: Account,
) -> None:
    account.key(KEY_ID, idle=80)
    account.read()
    answer = account.sweep(mode="observe")
    assert answer["keys_file"] == f"keys/dt={account.today}/keys.jsonl.gz"
    assert account.keys_file()[KEY_ID]["verdict"] == "warn"
    assert account.objects("dry-runs/") == {}


def test_a_night_in_observe_is_no_dry_run(an_account: AccountMaker) -> None:
    account = an_account(mode=Mode.OBSERVE)
    account.key(KEY_ID, idle=80)
    for _ in range(2):
        assert account.night()["keys_file"] == f"keys/dt={account.today}/keys.jsonl.gz"


def test_a_dry_run_is_no_sweep_that_finished(
    account: Account, capsys: pytest.CaptureFixture[str]
) -> None:
    def finished() -> float:
        lines = capsys.readouterr().out.splitlines()
        return sum(
            sum(told["SweepFinished"])
            if isinstance(told["SweepFinished"], list)
            else told["SweepFinished"]
            for told in map(json.loads, filter(lambda line: line[:1] == "{", lines))
            if "SweepFinished" in told
        )

    account.read()
    account.sweep(mode="observe")
    assert finished() == 0
    account.sweep()
    assert finished() == 1


def but_the_pressure_row(account: Account) -> list[dict[str, Any]]:
    return [item for item in account.items() if item["sk"] != {"S": "ladder"}]


def test_disable_parks_and_purges_nothing(an_account: AccountMaker) -> None:
    account = an_account(mode=Mode.DISABLE)
    account.key(KEY_ID, idle=60)
    account.nights(4)
    assert account.states()[KEY_ID] == "disabled"
    assert not account.enabled(KEY_ID)
    assert account.told(KEY_ID) == ["Key Expiring", "Key Disabled"]


def test_a_higher_mode_than_the_deployed_one_is_refused(an_account: AccountMaker) -> None:
    account = an_account(mode=Mode.DISABLE)
    account.around = calls = Calls()
    with pytest.raises(ModeRefused):
        account.sweep(mode="park")
    assert calls.names == []


@pytest.mark.parametrize(
    "event",
    [
        {"tmie": "2026-11-21T03:15:00Z"},
        {"time": "yesterday"},
        {"mode": "delete"},
        {"approve": "a digest"},
        {"approve": "0123456789abcdef", "undo": "2026-11-20"},
        {"key_ids": ["k0"]},
        {"undo": "2026-11-31"},
        {"hold": ""},
        {"resume": False},
    ],
)
def test_a_malformed_event_is_an_error_that_says_which_field_and_touches_nothing(
    account: Account, event: dict[str, Any]
) -> None:
    account.around = calls = Calls()
    with pytest.raises(InvalidEvent) as err:
        account.sweep(**event)
    assert err.value.field in event
    assert calls.names == []


def test_an_event_outside_the_replay_window_may_only_observe(an_account: AccountMaker) -> None:
    account = an_account(replay_window_hours=36)
    due_to_be_disabled(account)
    before = account.items()
    account.real_now += timedelta(hours=40)
    answer = account.sweep()
    assert (answer["mode"], answer["applied"]) == ("observe", none_applied())
    assert "36 hours" in answer["observed_because"]
    assert account.items() == before


# --- what stops a run -----------------------------------------------------------------------------


def test_without_tonights_evidence_a_sweep_fails(account: Account) -> None:
    due_to_be_disabled(account)
    account.sweep()
    account.pass_day()
    before = (account.rows(), account.gateway.keys())
    with pytest.raises(NoEvidence) as err:
        account.sweep()
    assert err.value.date == account.today
    assert (account.rows(), account.gateway.keys()) == before


def test_an_empty_listing_for_an_account_that_had_keys_yesterday_fails(account: Account) -> None:
    due_to_be_disabled(account)
    before = account.rows()
    account.around = Calls(apigateway_keys=lambda _: [])
    with pytest.raises(EmptyListing):
        account.sweep()
    assert account.rows() == before


def test_a_listing_without_plans_for_an_account_that_had_plans_yesterday_fails(
    account: Account,
) -> None:
    account.night()
    account.pass_day()
    account.around = Calls(apigateway_usage_plans=lambda _: [])
    with pytest.raises(EmptyListing):
        account.read()
    assert account.evidence() is None


def test_access_denied_names_the_action_and_the_role(account: Account) -> None:
    account.read()
    role = "arn:aws:sts::123456789012:assumed-role/keyjanitor-ExpireKeys/f"
    account.around = Calls(
        dynamodb_query=fails("AccessDeniedException", f"User: {role} is not authorized to perform")
    )
    with pytest.raises(AccessDenied) as err:
        account.sweep()
    assert role in str(err.value)
    assert "dynamodb:Query" in str(err.value)


def test_tags_that_cannot_be_read_make_every_idle_key_unknown(account: Account) -> None:
    due_to_be_disabled(account)
    account.owners.tags_fail = CallFailed("GetResources", "InternalServiceException")
    answer = account.sweep()
    assert answer["applied"] == none_applied()
    assert answer["verdicts"]["unknown"] == 1
    assert account.enabled(KEY_ID)
    account.owners.tags_fail = None
    assert account.sweep()["applied"] == none_applied(disable=1)


# --- look again -----------------------------------------------------------------------------------

CHANGES: dict[str, Callable[[Account], Any]] = {
    "described": lambda account: account.gateway.change(KEY_ID, description="mine"),
    "renamed": lambda account: account.gateway.change(KEY_ID, name="mine"),
    "tagged keep": lambda account: quietly(account, tags={"keyjanitor:keep": "yes"}),
    "tagged by Terraform": lambda account: quietly(account, tags={"terraform": "yes"}),
    "enabled or disabled": lambda account: quietly(account, enabled=not account.enabled(KEY_ID)),
    "taken by a stack": lambda account: account.owners.stacks.update({KEY_ID: "shop"}),
    "deleted": lambda account: account.gateway.delete(KEY_ID),
}


def quietly(account: Account, **what: Any) -> None:
    """A change that leaves lastUpdatedDate as it was."""
    key, _, _ = account.gateway.whole(KEY_ID)
    account.gateway.change(KEY_ID, **what)
    account.gateway.change(KEY_ID)
    account.gateway.living[KEY_ID] = replace(key, **what)


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("due", [due_to_be_disabled, due_to_be_parked])
def test_a_key_that_was_changed_between_the_listing_and_its_turn_is_left_alone(
    account: Account, due: Callable[[Account], Any], change: Callable[[Account], Any]
) -> None:
    due(account)
    account.gateway.now += timedelta(minutes=1)
    account.around = calls = Calls(owners_tags=then(lambda: change(account)))
    assert account.sweep()["applied"] == none_applied()
    assert {"apigateway.set_enabled", "apigateway.delete"}.isdisjoint(calls.names)
    assert account.objects("tombstones/") == {}


@pytest.mark.parametrize("due", [due_to_be_disabled, due_to_be_parked])
def test_a_key_whose_stack_cannot_be_asked_is_left_alone(
    account: Account, due: Callable[[Account], Any]
) -> None:
    due(account)
    account.owners.stacks_fail = CallFailed("DescribeStackResources", "Throttling")
    before = (account.gateway.keys(), account.states())
    assert account.sweep()["applied"] == none_applied()
    assert (account.gateway.keys(), account.states()) == before


def test_a_key_that_a_stack_owns_is_reported_with_the_stack_from_then_on(account: Account) -> None:
    due_to_be_disabled(account)
    account.owners.stacks[KEY_ID] = "shop"
    account.sweep()
    account.pass_day()
    assert account.night()["verdicts"]["protected"] == 1
    assert account.keys_file()[KEY_ID]["reason"] == "owned by stack shop"


def test_a_claim_that_somebody_else_has_won_leaves_the_key_alone(account: Account) -> None:
    due_to_be_disabled(account)
    account.around = Calls(
        owners_stack_of=then(lambda: account.change_row(KEY_ID, owner="user-8f1c"))
    )
    assert account.sweep()["applied"] == none_applied()
    assert account.enabled(KEY_ID)


# --- tombstones -----------------------------------------------------------------------------------


def put_something_else(account: Account) -> Callable[[Call], Any]:
    def instead(call: Call) -> Any:
        answer = call()
        for name in account.objects("tombstones/"):
            account.clients.s3.put_object(Bucket=account.bucket, Key=name, Body=b"{}")
        return answer

    return instead


@pytest.mark.life("K-108")
@pytest.mark.parametrize("broken", ["cannot be written", "cannot be sealed", "is damaged"])
def test_a_key_whose_tombstone_was_not_written_and_opened_is_not_deleted(
    account: Account, broken: str
) -> None:
    due_to_be_parked(account)

    def only_tombstones(call: Call) -> Any:
        if any("park" in str(row.claim) for row in account.ledger.live_rows().values()):
            return put_something_else(account)(call) if broken == "is damaged" else fails()(call)
        return call()

    service = "kms_encrypt" if broken == "cannot be sealed" else "s3_put_object"
    account.around = calls = Calls(**{service: only_tombstones})
    answer = account.sweep()
    assert answer["applied"] == none_applied()
    assert "apigateway.delete" not in calls.names
    assert account.states()[KEY_ID] == "disabled"
    account.around = Calls()
    assert account.sweep()["applied"] == none_applied(park=1)


@pytest.mark.life("K-108")
def test_nothing_is_deleted_before_its_tombstone_was_opened(account: Account) -> None:
    due_to_be_parked(account)
    account.around = calls = Calls()
    account.sweep()
    deleted = calls.names.index("apigateway.delete")
    assert calls.names.index("kms.encrypt") < calls.names.index("kms.decrypt") < deleted


def printed_metric(capsys: pytest.CaptureFixture[str], name: str) -> float:
    """The last value of a metric that a function has printed for CloudWatch."""
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines() if name in line]
    value: float = lines[-1][name][-1]
    return value


def test_nothing_is_parked_while_no_tombstone_can_be_opened_for_now(
    an_account: AccountMaker, capsys: pytest.CaptureFixture[str]
) -> None:
    account = an_account(policy=brisk(retain_days=365))
    for index in range(4):
        account.key(f"idle{index}", idle=60 - index)
    account.nights(3)
    account.pass_day()
    account.read()
    account.around = Calls(kms_decrypt=fails("KMSInvalidStateException"))
    answer = account.sweep()
    assert answer["applied"] == none_applied(warn=1, disable=1)
    assert "idle1" in account.gateway.ids
    assert "tombstone" in account.keys_file()["idle1"]["reason"]
    assert printed_metric(capsys, "TombstonesUnopened") == 1


def test_a_purge_that_was_cut_off_does_not_keep_others_from_being_parked(account: Account) -> None:
    """Its tombstone is gone, and that is as it should be."""
    for index in range(3):
        account.key(f"idle{index}", idle=60 - index)
    account.nights(3)
    account.pass_day()
    account.read()

    def carried_out_and_lost(call: Call) -> Any:
        call()
        raise refused("DeleteObject", "InternalError", 500)

    account.around = Calls(s3_delete_object=carried_out_and_lost)
    account.sweep()
    account.around = Calls()
    account.pass_day()
    assert account.night()["applied"] == none_applied(park=1, purge=2)


# --- brake and approval ---------------------------------------------------------------------------

MANY = 41  # twice the allowance, and one


def a_braked_night(account: Account) -> dict[str, Any]:
    """An edit of the policy brings forty-one keys past their limit; one is due to be disabled."""
    account.key("warned", idle=60)
    for index in range(MANY):
        account.key(f"idle{index:02}", idle=20)
    account.night()
    account.pass_day()
    account.use(BUSY, account.today - DAY, 1)
    account.policy = brisk(idle_days=10)
    account.wire()
    account.read()
    return account.sweep()


def test_a_mass_of_newly_idle_keys_is_saved_and_alerted_and_nothing_is_done(
    account: Account,
) -> None:
    answer = a_braked_night(account)
    assert answer["brake"] == {
        "new": MANY,
        "since": str(account.today - DAY),
        "usual": 0,
        "allowance": 20,
        "causes": [
            {
                "cause": "limit_lowered",
                "keys": MANY,
                "plans": [{"usage_plan_id": PLAN_ID, "keys": MANY}],
            }
        ],
    }
    assert answer["applied"] == none_applied()
    assert answer["due"] == {"park": 0, "purge": 0, "disable": 1, "warn": MANY}
    assert all(account.enabled(key_id) for key_id in account.gateway.ids)
    saved = account.history.saved_sweep_plan(answer["digest"])
    assert saved == {
        ("disable", "warned"),
        *(("warn", f"idle{index:02}") for index in range(MANY)),
    }
    assert answer["saved_plan"] in account.objects("plans/")
    (alert,) = [one for one in account.alerts if "brake" in one["Subject"]]
    assert answer["digest"] in alert["Message"]
    account.sweep()
    assert len([one for one in account.alerts if "brake" in one["Subject"]]) == 1


def test_a_sweep_in_observe_reports_the_brake_and_writes_nothing_of_it(account: Account) -> None:
    digest = a_braked_night(account)["digest"]
    before = account.objects("")
    answer = account.sweep(mode="observe")
    assert answer["brake"]["new"] == MANY
    assert answer["saved_plan"] is None
    assert answer["digest"] == digest
    assert account.objects("plans/") == {k: v for k, v in before.items() if k[:6] == "plans/"}
    assert account.objects("nights/") == {k: v for k, v in before.items() if k[:7] == "nights/"}
    assert account.objects("keys/") == {k: v for k, v in before.items() if k[:5] == "keys/"}
    braked = [line for line in account.keys_file().values() if "safety brake" in line["reason"]]
    assert len(braked) == MANY + 1


def test_a_first_night_says_how_many_keys_are_past_their_limit_and_why(account: Account) -> None:
    for index in range(MANY):
        account.key(f"idle{index:02}", idle=60)
    answer = account.night()
    assert answer["past_limit"] == {
        "keys": MANY,
        "new": MANY,
        "since": None,
        "usual": 0,
        "causes": {"never_used": MANY},
    } or answer["past_limit"]["causes"] == {"use_stopped": MANY}
    assert answer["brake"] is None
    assert answer["saved_plan"] == f"plans/{answer['digest']}.json"


def test_an_alert_of_the_brake_that_could_not_be_published_comes_with_the_next_run(
    account: Account,
) -> None:
    account.around = Calls(sns_publish=fails())
    a_braked_night(account)
    account.around = Calls()
    account.sweep()
    assert [one for one in account.alerts if "brake" in one["Subject"]]


def test_an_approval_holds_for_the_dates_later_runs_and_accepts_the_brake(
    account: Account,
) -> None:
    digest = a_braked_night(account)["digest"]
    answers = [account.sweep(approve=digest), account.sweep(), account.sweep()]
    assert [answer["brake"] for answer in answers] == [None, None, None]
    assert answers[0]["approved"] == {
        "digest": digest,
        "saved": {"park": 0, "purge": 0, "disable": 1, "warn": MANY},
        "still_due": {"park": 0, "purge": 0, "disable": 1, "warn": MANY},
    }
    assert [answer["applied"] for answer in answers] == [
        none_applied(disable=1, warn=MANY),
        none_applied(),
        none_applied(),
    ]
    approval = f"plans/{digest}.approved-{account.today}.json"
    assert approval in account.objects("plans/")
    account.pass_day()
    assert account.night()["brake"] is None


def test_after_an_approval_a_dry_run_shows_what_a_sweep_of_the_date_would_do(
    account: Account,
) -> None:
    account.policy = brisk(idle_days=10)
    account.wire()
    for index in range(30):  # of which the allowance takes 20
        account.key(f"idle{index:02}", idle=60)
    account.key("later", idle=9)
    digest = account.night()["digest"]
    account.pass_day()
    account.read()
    before = account.sweep(mode="observe")
    assert account.lines_in(before["keys_file"])["later"]["verdict"] == "warn"
    account.sweep(approve=digest)
    dry = account.sweep(mode="observe")
    assert "steps" not in dry
    line = account.lines_in(dry["keys_file"])["later"]
    assert (line["verdict"], line["reason_code"]) == ("keep", "not_tonight")
    assert line["facts"]["why"] == APPROVED_ONLY
    assert account.sweep()["applied"] == none_applied()


def test_an_earlier_nights_digest_approves_what_of_it_is_still_due(account: Account) -> None:
    digest = a_braked_night(account)["digest"]
    account.pass_day()
    account.use("idle00", account.today - DAY, 1)
    account.use(BUSY, account.today - DAY, 1)
    account.read()
    answer = account.sweep(approve=digest)
    assert answer["approved"]["saved"]["warn"] == MANY
    assert answer["approved"]["still_due"]["warn"] == MANY - 1
    assert answer["applied"]["warn"] == MANY - 1


def test_an_approval_lets_only_go_what_the_saved_plan_and_tonights_have_in_common(
    account: Account,
) -> None:
    digest = a_braked_night(account)["digest"]
    account.gateway.change("idle40", description="somebody looked after it")
    account.sweep(approve=digest)
    assert account.states()["idle40"] == "active"
    assert account.states()["idle39"] == "warned"


def test_a_saved_plan_that_was_changed_since_is_refused_and_nothing_is_touched(
    account: Account,
) -> None:
    digest = a_braked_night(account)["digest"]
    name = f"plans/{digest}.json"
    document = json.loads(account.objects(name)[name])
    looked_at = document["due"][:30]
    another = digest_of((verb, key_id) for verb, key_id, _ in looked_at)
    before = account.states()
    for body in (json.dumps(document), json.dumps({"due": [["warn"]]}), "not a plan", "[]"):
        account.clients.s3.put_object(
            Bucket=account.bucket, Key=f"plans/{another}.json", Body=body.encode()
        )
        with pytest.raises(
            SweepPlanNotAsSaved, match=f"plans/{another}.json was changed or damaged"
        ):
            account.sweep(approve=another)
    assert account.states() == before
    assert account.sweep()["brake"]


def test_an_approved_plan_that_was_changed_since_holds_no_longer(account: Account) -> None:
    digest = a_braked_night(account)["digest"]
    account.ledger.remember(account.today, approved=digest)
    account.clients.s3.put_object(
        Bucket=account.bucket, Key=f"plans/{digest}.json", Body=b'{"due": []}'
    )
    answer = account.sweep()
    assert answer["brake"]["new"] == MANY
    assert answer["applied"] == none_applied()


def test_a_damaged_file_of_the_night_before_is_passed_over_for_the_one_before_it(
    account: Account,
) -> None:
    for _ in range(3):
        account.night()
        account.pass_day()
    yesterday = f"nights/{account.today - DAY}.json.gz"
    for body in (b"", b"no gzip", gzip.compress(b"[]"), gzip.compress(b'{"version": 1}')):
        account.clients.s3.put_object(Bucket=account.bucket, Key=yesterday, Body=body)
        answer = account.night()
        assert answer["past_limit"]["since"] == str(account.today - 2 * DAY)


def test_the_nights_file_is_written_once_a_date_and_read_whole(account: Account) -> None:
    account.key("idle", idle=60)
    first = account.night()
    before = account.objects("nights/")
    account.sweep()
    assert account.objects("nights/") == before
    [name] = before
    assert name == f"nights/{account.today}.json.gz"
    account.pass_day()
    kept = account.history.compared_before(account.today)
    assert kept is not None
    assert kept.keys["idle"].status == "past"
    assert first["past_limit"]["keys"] == 1


@pytest.mark.life("K-1301")
def test_the_allowance_of_a_date_is_the_same_in_all_its_runs(an_account: AccountMaker) -> None:
    """Parking takes keys away; what is left must not make the date's later runs stricter."""
    account = an_account(policy=replace(brisk(), sweep=replace(brisk().sweep, max_share=1.0)))
    due_to_be_parked(account, 59)
    account.policy = replace(brisk(), sweep=replace(brisk().sweep, max_share=0.5))
    account.wire()
    answers = [account.sweep(), account.sweep()]
    assert [answer["applied"]["park"] for answer in answers] == [30, 0]
    assert [answer["brake"] for answer in answers] == [None, None]


def test_an_unknown_digest_is_refused_and_nothing_is_touched(account: Account) -> None:
    a_braked_night(account)
    before = (account.states(), account.gateway.keys())
    with pytest.raises(UnknownSweepPlan):
        account.sweep(approve="0123456789abcdef")
    assert (account.states(), account.gateway.keys()) == before
    assert account.sweep()["brake"]


def test_at_most_the_allowance_is_disabled_on_one_date_the_longest_idle_first(
    account: Account,
) -> None:
    for index in range(30):
        account.key(f"idle{index:02}", idle=60 + index)
    answers = [account.night(), account.sweep()]
    assert [answer["applied"]["warn"] for answer in answers] == [20, 0]
    warned = {key_id for key_id, state in account.states().items() if state == "warned"}
    assert warned == {f"idle{index:02}" for index in range(10, 30)}


# --- hold and resume ------------------------------------------------------------------------------


def test_a_hold_stops_every_action_until_it_is_lifted(account: Account) -> None:
    due_to_be_disabled(account)
    assert account.sweep(hold="ask marketing first")["held"] == "ask marketing first"
    before = (account.rows(), account.gateway.keys(), len(account.events))
    answer = account.sweep()
    assert (answer["held"], answer["applied"]) == ("ask marketing first", none_applied())
    assert answer["verdicts"]["disable"] == 1
    assert (account.rows(), account.gateway.keys(), len(account.events)) == before
    assert account.sweep(resume=True)["held"] is None
    assert account.sweep()["applied"] == none_applied(disable=1)


@pytest.mark.life("K-1105")
@pytest.mark.parametrize("due", [due_to_be_disabled, due_to_be_parked])
def test_a_hold_stops_a_running_sweep_between_two_keys(
    account: Account, due: Callable[[Account, int], list[str]]
) -> None:
    ids = due(account, 3)
    hold = once(lambda: account.ledger.put_hold("stop", account.real_now))
    account.around = calls = Calls(apigateway_set_enabled=then(hold), apigateway_delete=then(hold))
    answer = account.sweep()
    assert (answer["held"], sum(answer["applied"].values())) == ("stop", 1)
    assert calls.count("apigateway.set_enabled") + calls.count("apigateway.delete") == 1
    claims = [row.claim for row in account.ledger.live_rows().values()]
    assert claims == [None] * len(claims)
    account.around = Calls()
    account.sweep(resume=True)
    assert sum(account.sweep()["applied"].values()) == len(ids) - 1


def test_a_hold_stops_warnings_too(account: Account) -> None:
    account.key(KEY_ID, idle=60)
    account.read()
    account.around = Calls(
        s3_put_object=then(once(lambda: account.ledger.put_hold("stop", account.real_now)))
    )
    assert account.sweep()["held"] == "stop"
    assert account.states() == {}
    assert account.events == []


# --- two at once ----------------------------------------------------------------------------------


def test_a_second_sweep_leaves_everything_to_the_one_that_is_at_work(account: Account) -> None:
    due_to_be_disabled(account, 3)
    answers: list[dict[str, Any]] = []
    account.around = calls = Calls(
        apigateway_set_enabled=then(once(lambda: answers.append(account.sweep())))
    )
    assert account.sweep()["applied"] == none_applied(disable=3)
    assert calls.count("apigateway.set_enabled") == 3
    until = account.real_now + timedelta(seconds=905)
    assert answers == [
        {
            "time": f"{account.today}T03:15:00Z",
            "code_version": __version__,
            "running": f"{until:%Y-%m-%dT%H:%M:%SZ}",
        }
    ]


@pytest.mark.parametrize("event", [{"undo": str(TODAY)}, {"approve": "0123456789abcdef"}])
def test_an_operator_is_told_that_a_sweep_is_at_work(
    account: Account, event: dict[str, Any]
) -> None:
    account.read()
    account.ledger.take_lease("another run", account.real_now, 60)
    with pytest.raises(AlreadyRunning):
        account.sweep(**event)


def test_the_lease_of_a_run_that_died_runs_out(account: Account) -> None:
    account.read()
    account.ledger.take_lease("a run that died", account.real_now, 905)
    assert "running" in account.sweep()
    account.real_now += timedelta(seconds=906)
    assert account.sweep()["held"] is None


@pytest.mark.parametrize("due", [due_to_be_disabled, due_to_be_parked])
def test_two_sweeps_that_read_the_same_rows_act_on_each_key_once(
    account: Account, due: Callable[[Account, int], list[str]]
) -> None:
    """Even without the lease: whoever loses the claim leaves the key alone."""
    ids = due(account, 12)
    acted: Counter[str] = Counter()
    account.around = lambda name, call: (acted.update([name]), call())[1]
    gathered = gather(account.today, account.adapters, account.policy, acting=True)
    plan = decide(gathered.night, gathered.bound)
    start = Barrier(2)

    def sweep(_: int) -> dict[str, int]:
        deadline = Deadline(lambda: 900_000, 1)
        sweeper = Sweeper(
            account.today, gathered.night.rows, account.adapters, gathered.bound, deadline
        )
        start.wait()
        return sweeper.apply(plan).counts

    with ThreadPoolExecutor(2) as pool:
        counts = list(pool.map(sweep, range(2)))
    assert acted["apigateway.set_enabled"] + acted["apigateway.delete"] == len(ids)
    assert sum(sum(count.values()) for count in counts) == len(ids)
    assert len(set(account.states().values()) - {"active"}) == 1


# --- deadline -------------------------------------------------------------------------------------


@pytest.mark.parametrize("due", [due_to_be_disabled, due_to_be_parked])
def test_what_the_deadline_leaves_over_is_finished_by_the_next_runs_each_key_once(
    an_account: AccountMaker, due: Callable[[Account, int], list[str]]
) -> None:
    account = an_account(policy=replace(brisk(), sweep=replace(brisk().sweep, max_share=1.0)))
    ids = due(account, 60)
    acted: Counter[str] = Counter()
    spent = [0]

    def around(name: str, call: Call) -> Any:
        spent[0] += 1
        acted.update([name])
        return call()

    account.around = around
    remaining = []
    for _ in range(20):
        spent[0] = 0
        answer = account.sweep(account.context(lambda: 10_000 - 60 * spent[0]))
        remaining.append(answer["remaining"])
        if not answer["remaining"]:
            break
    assert remaining == sorted(remaining, reverse=True)
    assert len(remaining) > 2
    assert remaining[-1] == 0
    assert acted["apigateway.set_enabled"] + acted["apigateway.delete"] == len(ids)
    stepped = {account.states()[key_id] for key_id in ids}
    assert len(stepped) == 1
    last = account.told(ids[0])[-1]
    assert sorted(e["Detail"]["key_id"] for e in account.events if e["DetailType"] == last) == ids


def test_a_key_that_cannot_be_touched_stands_in_no_others_way(account: Account) -> None:
    ids = due_to_be_disabled(account, 4)
    account.around = Calls(apigateway_set_enabled=fails_for_the_first())
    assert account.sweep()["applied"] == none_applied(disable=3)
    account.around = Calls()
    assert account.sweep()["applied"] == none_applied(disable=1)
    assert {account.states()[key_id] for key_id in ids} == {"disabled"}


def fails_for_the_first() -> Callable[[Call], Any]:
    failed: list[int] = []

    def instead(call: Call) -> Any:
        if not failed:
            failed.append(1)
            raise CallFailed("UpdateApiKey", "InternalServerErrorException")
        return call()

    return instead


# --- telling --------------------------------------------------------------------------------------


def digests(account: Account) -> list[str]:
    """The subjects of the digests, without the stack behind them."""
    subjects = [one["Subject"] for one in account.alerts if "warned" in one["Subject"]]
    return [subject.partition(" (")[0] for subject in subjects]


@pytest.mark.life("K-1001")
def test_a_nights_warnings_are_one_digest(account: Account) -> None:
    for index in range(5):
        account.key(f"idle{index}", idle=60)
    account.night()
    account.sweep()
    account.sweep()
    assert digests(account) == ["keyjanitor: 5 keys warned, first on 2026-11-22"]


def test_a_digest_that_could_not_be_published_comes_with_the_next_run(account: Account) -> None:
    account.key(KEY_ID, idle=60)
    account.around = Calls(sns_publish=fails())
    account.night()
    assert digests(account) == []
    account.around = Calls()
    account.sweep()
    assert digests(account) == ["keyjanitor: 1 key warned, first on 2026-11-22"]


def test_a_digest_that_could_not_be_published_all_night_comes_the_next(account: Account) -> None:
    account.key(KEY_ID, idle=60)
    account.around = Calls(sns_publish=fails())
    account.night()
    account.around = Calls()
    account.pass_day()
    account.night()
    assert len(digests(account)) == 1


def test_the_warnings_of_two_runs_of_a_night_are_one_digest(account: Account) -> None:
    for index in range(45):
        account.key(f"idle{index:02}", idle=60 + index)
    account.policy = replace(brisk(), sweep=replace(brisk().sweep, max_share=1.0))
    account.wire()
    account.read()
    warned: list[int] = []
    account.around = Calls(
        dynamodb_transact_write_items=then(
            lambda: warned.append(len([r for r in account.rows().values() if r.warned_on]))
        )
    )
    answer = account.sweep(account.context(lambda: 0 if any(warned) else 10_000))
    assert answer["remaining"] == 5
    assert digests(account) == []
    account.around = Calls()
    account.sweep()
    assert digests(account) == ["keyjanitor: 45 keys warned, first on 2026-11-22"]


@pytest.mark.parametrize("refusal", ["the call fails", "one entry is refused"])
def test_events_that_the_bus_did_not_take_are_put_by_the_next_run(
    account: Account, refusal: str
) -> None:
    for index in range(12):
        account.key(f"idle{index:02}", idle=60)

    def one_entry_less(call: Call) -> Any:
        taken = len(account.events)
        answer = call()
        answer["Entries"][0] = {"ErrorCode": "ThrottlingException", "ErrorMessage": "slow down"}
        del account.events[taken]
        return answer

    account.around = Calls(
        events_put_events=fails() if refusal == "the call fails" else one_entry_less
    )
    account.night()
    assert len(account.ledger.unsent()) == (12 if refusal == "the call fails" else 1)
    account.around = Calls()
    account.sweep()
    assert account.ledger.unsent() == []
    assert sorted(e["Detail"]["key_id"] for e in account.events) == [
        f"idle{index:02}" for index in range(12)
    ]


def test_each_events_detail_is_as_the_contract_says(account: Account) -> None:
    account.key(KEY_ID, idle=60)
    account.night()
    account.own(KEY_ID, "user-8f1c")
    account.pass_day()
    account.nights(3)
    always = {
        "version": 1,
        "key_id": KEY_ID,
        "tier": "external",
        "contact": "api-team@example.org",
        "owner": "user-8f1c",
    }

    def idle(days: int) -> dict[str, Any]:
        facts = {"days": days, "since": str(TODAY - DAY * 60), "never_used": False}
        return {"reason_code": "idle", "facts": facts}

    told = [
        (
            one["Source"],
            one["DetailType"],
            {k: v for k, v in one["Detail"].items() if k != "reason"},
        )
        for one in account.events
    ]
    assert told == [
        (
            "keyjanitor",
            "Key Expiring",
            {**always, **idle(60), "owner": None, "disable_on": str(TODAY + DAY)},
        ),
        ("keyjanitor", "Key Disabled", {**always, **idle(61), "park_on": str(TODAY + 2 * DAY)}),
        (
            "keyjanitor",
            "Key Parked",
            {**always, **idle(62), "restorable_until": str(TODAY + 3 * DAY)},
        ),
        ("keyjanitor", "Key Purged", {**always, **idle(62)}),
    ]


def test_an_orphan_of_the_tier_without_a_contact_is_reported_and_not_touched(
    an_account: AccountMaker,
) -> None:
    account = an_account(policy=a_policy(a_tier("external", contact=None)))
    account.key(KEY_ID, idle=80)
    assert account.night()["verdicts"]["protected"] == 2
    assert account.keys_file()[KEY_ID]["reason"].startswith("tier external has no contact")


def test_an_undo_leaves_a_key_alone_that_somebody_disabled_after_us(account: Account) -> None:
    account.key("leaked", idle=60)
    account.night()
    account.pass_day(13)
    account.night()
    account.pass_day()
    account.night()
    disabled_on = account.today
    account.pass_day()
    account.gateway.change("leaked", enabled=False, description="LEAKED, do not enable")
    answer = account.sweep(undo=str(disabled_on))
    assert (answer["applied"]["enable"], answer["remaining"]) == (0, 1)
    key = account.gateway.key("leaked")
    assert key is not None
    assert not key.enabled


def test_a_key_used_between_the_reading_and_its_disabling_opens_again_the_next_night(
    account: Account,
) -> None:
    account.key("late", idle=60)
    account.night()
    account.pass_day(13)
    account.night()
    account.pass_day()
    account.read()
    account.use("late")  # after the reading, before the sweep
    assert account.sweep()["applied"]["disable"] == 1
    account.pass_day()
    answer = account.night()
    assert answer["applied"]["enable"] == 1
    key = account.gateway.key("late")
    assert key is not None
    assert key.enabled
    row = account.row("late")
    assert row is not None
    assert (row.state, row.park_on, row.restored_on) == (State.ACTIVE, None, account.today)
