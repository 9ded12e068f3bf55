"""Least privilege both ways: a role may do what its function does, and nothing that it never does.

Every other test of a function in memory stands behind the same guard (tests/rights.py): a call that a
role may not make fails it. Here lives are lived in which every right is needed; then each statement,
each action, each resource and each value of a condition is taken out in turn, and a call is denied.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from io import BytesIO
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

import boto3
import pytest
from botocore.awsrequest import AWSResponse

from keyjanitor.adapters.api_gateway import ApiGateway
from keyjanitor.adapters.kms import tombstone_context
from keyjanitor.adapters.ledger import Change
from keyjanitor.adapters.rate_limiter import RateLimiter
from keyjanitor.domain.model.keys import Mode, Secret
from keyjanitor.domain.model.records import Announcement
from keyjanitor.domain.model.usage_plan import Shape
from keyjanitor.domain.requests.import_file import NewKey
from keyjanitor.domain.usage.access_log_format import SUGGESTED
from keyjanitor.errors import AccessDenied, NoEvidence, UnknownSweepPlan
from sandbox.memory.clients.clients import clients_in_memory
from tests.account import SENDER, Account, Around, Call, Calls, Killed, brisk
from tests.builders import TODAY, a_plan, a_row, a_tombstone, a_usage_plan, in_days
from tests.requesting import (
    an_asking_policy,
    issue,
    key_of,
    protect,
    release,
    renew,
    restore,
    revoke,
    rotate,
    undisturbed,
)
from tests.rights import (
    GATEWAY,
    ID,
    MODES,
    PROOF_OF_A_MEMBER,
    REGION,
    ROLES,
    Ask,
    Statement,
    arn,
    asked_by_lambda,
    is_allowed,
    of_role,
    role_arn,
)

Asked = dict[tuple[str, str], set[Ask]]


# --- lives in which every right is needed -----------------------------------------------------------


class Life:
    """Accounts on which the functions run, and all that their roles were asked for."""

    def __init__(self, functions: Mapping[str, ModuleType]) -> None:
        self._functions = functions
        self.asked: Asked = {
            (function, mode): set(asked_by_lambda(function)) for function in ROLES for mode in MODES
        }

    def account(self, mode: str = "park", **more: Any) -> Account:
        return Account(
            clients_in_memory(),
            self._functions["expire_keys"],
            self._functions["pull_usage"],
            self._functions["provision_keys"],
            self._functions["watch_capacity"],
            self._functions["publish_report"],
            mode=Mode(mode),
            heard=lambda function, mode, ask: self.asked[function, mode].add(ask),
            **more,
        )


def live_nights(life: Life, mode: str) -> None:
    """Readings, sweeps, counts and reports; whatever a mode allows happens."""
    account = life.account(mode)
    account.gateway.apis = {"api1": {"prod": ()}}
    # A plan without limits is a problem: the report asks which stack owns the plan.
    account.gateway.add_plan(a_usage_plan("plan9", name="without limits", has_quota=False))
    for number in range(4):
        account.key(f"idle{number}", idle=90, tags={"team": "a"})
    account.key("foreign", idle=90)
    account.owners.stacks["foreign"] = "shop"
    account.publish()  # before anything was read
    with suppress(NoEvidence):
        account.sweep()
    account.dead_letters.count["RequestDeadLetterQueue"] = 1
    for _ in range(20):
        account.night()
        account.sweep()
        account.watch()
        account.publish()
        account.pass_day()
    account.around = dies_after("s3.put_object")
    with suppress(Killed):
        account.publish()
    account.around = undisturbed
    account.publish()  # the lease of the dead one is not over
    account.read()
    account.sweep(hold="a campaign")
    account.sweep()
    account.sweep(resume=True)


def read_in_parts(life: Life, mode: str) -> None:
    """A reading has no time left after one plan, the next one dies, and the last one ends it."""
    account = life.account(mode)
    account.gateway.add_plan(a_usage_plan("plan2", name="other", stages=("api2:prod",)))
    calls = Calls()
    account.around = calls
    account.read(account.context(lambda: 0 if calls.count("apigateway.members") > 1 else 900_000))
    account.around = dies_after("apigateway.usage_plans")
    with suppress(Killed):
        account.read()
    account.around = undisturbed
    account.read()  # the lease of the dead one is not over
    account.real_now += timedelta(hours=1)
    account.read()


def ask_access_logs(life: Life, mode: str) -> None:
    """A reading that asks an access log which keys called."""
    account = life.account(mode, policy=replace(brisk(), access_logs=True))
    account.gateway.apis = {"api1": {"prod": ()}}
    account.gateway.stage_settings["api1:prod"] = {
        "log_destination": f"arn:aws:logs:{REGION}:123456789012:log-group:/apis/prod",
        "log_format": SUGGESTED,
    }
    account.logs.add_group("/apis/prod", account.real_now)
    account.read()


def take_nights_back(life: Life, mode: str) -> None:
    """A stack that parked is deployed for another mode; an operator takes back what it did.

    The first undo dies when the key is in its plan.
    """
    account = life.account("park", policy=brisk(retain_days=30))
    account.key("k1", idle=90, tags={"team": "a"})
    account.key("k2", idle=90)
    account.nights(3)
    account.clients.s3.delete_object(Bucket=account.bucket, Key="tombstones/k1.json")
    account.mode = Mode(mode)
    account.wire()
    account.sweep()
    account.sweep(mode="observe")
    if mode == "observe":
        return
    account.around = dies_after("apigateway.attach")
    with suppress(Killed):
        account.sweep(undo=str(account.today))
    account.around = undisturbed
    account.real_now += timedelta(hours=1)
    account.sweep(undo=str(account.today))


def go_on_after_a_warning(life: Life, mode: str) -> None:
    """A stack that warned a key is deployed for another mode: whether that was told is looked up."""
    account = life.account("park")
    account.key("k1", idle=90)
    account.night()
    account.mode = Mode(mode)
    account.wire()
    account.pass_day()
    account.night()
    account.watch()
    account.publish()


def die_while_parking(life: Life, mode: str) -> None:
    """A sweep dies behind a deletion, and the keys are counted before the next one."""
    account = life.account("park", policy=brisk(senders=(SENDER,), admins=(SENDER,)))
    account.key("k1", idle=90)
    account.nights(2)
    account.pass_day()
    account.read()
    account.around = dies_after("apigateway.delete")
    with suppress(Killed):
        account.sweep()
    account.around = undisturbed
    account.mode = Mode(mode)
    account.wire()
    account.sweep()  # the lease of the dead one is not over
    account.ask(renew("k1"))
    account.real_now += timedelta(hours=1)
    account.watch()
    account.sweep()


def dies_after(call: str) -> Around:
    """A run that is ended behind a call: nothing of it is put in order."""
    dead = False

    def around(name: str, do: Call) -> Any:
        nonlocal dead
        if dead:
            raise Killed
        answer = do()
        if name == call:
            dead = True
            raise Killed
        return answer

    return around


def brake_a_night(life: Life, mode: str) -> None:
    """An edit of the policy brings many keys past their limit: the plan is saved, and approved."""
    account = life.account(mode)
    for number in range(60):
        account.key(f"idle{number}", idle=20)
    account.night()
    account.pass_day()
    account.policy = brisk(idle_days=10)
    account.wire()
    answer = account.night()
    if mode == "observe":
        return
    assert answer["brake"]
    account.sweep(approve=answer["digest"])
    account.pass_day()
    account.read()
    with suppress(UnknownSweepPlan):
        account.sweep(approve="0123456789abcdef")


def ask_for_keys(life: Life, mode: str) -> None:
    """Every action of the contract, on living and parked keys; one run dies in its midst."""
    account = life.account(mode, policy=an_asking_policy())
    account.ask(issue(1), issue(2), issue(3))
    first, second, third = (key_of(account, issue(number)) for number in (1, 2, 3))
    account.ask(rotate(first), renew(second), protect(second, in_days(9)))
    account.ask(release(second))
    account.ask({**issue(4), "tier": "gone"}, revoke(third))
    account.ask("no request at all")
    account.invoke(renew(second, request_id="an-operators"))
    account.around = dies_after("apigateway.import_keys")
    with suppress(Killed):
        account.ask(issue(5))
    account.around = undisturbed
    account.night()  # it finds the key that nobody has written down
    account.real_now += timedelta(hours=1)
    account.ask(issue(5))


def ask_for_parked_keys(life: Life, mode: str) -> None:
    """Keys that were parked come back by request, or are revoked; one tombstone is gone."""
    account = life.account(
        "park", policy=brisk(retain_days=30, senders=(SENDER,), admins=(SENDER,))
    )
    for number in range(4):
        account.key(f"k{number}", idle=90, tags={"team": "a"})
    account.nights(3)
    account.mode = Mode(mode)
    account.wire()
    account.history.destroy_tombstone("k3")
    account.clients.s3.delete_object(Bucket=account.bucket, Key="tombstones/k1.json")
    account.around = dies_after("apigateway.attach")
    with suppress(Killed):
        account.ask(restore("k0"))
    account.around = undisturbed
    account.real_now += timedelta(hours=1)
    account.ask(restore("k0"), restore("k1"), revoke("k2"), restore("k3"))


LIVES = (
    live_nights,
    read_in_parts,
    ask_access_logs,
    take_nights_back,
    go_on_after_a_warning,
    die_while_parking,
    brake_a_night,
    ask_for_keys,
    ask_for_parked_keys,
)


@pytest.fixture(scope="module")
def asked(functions: dict[str, ModuleType]) -> Asked:
    """What each role is asked for in each mode, in all of these lives."""
    life = Life(functions)
    for mode in MODES:
        for live in LIVES:
            live(life, mode)
    return life.asked


# --- both ways --------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("function", ROLES)
def test_a_function_makes_no_call_that_its_role_may_not_make(
    asked: Asked, function: str, mode: str
) -> None:
    role = ROLES[function]
    own = of_role(role, mode)
    denied = [str(ask) for ask in asked[function, mode] if not is_allowed(ask, own, role_arn(role))]
    assert sorted(denied) == []


def less(statement: Statement) -> Iterator[tuple[str, Statement | None]]:
    """A statement without one of its parts, with what is missing; None: without the whole."""
    yield "", None
    for part in statement.actions if len(statement.actions) > 1 else ():
        rest = tuple(one for one in statement.actions if one != part)
        yield f" without {part}", replace(statement, actions=rest)
    for part in statement.resources if len(statement.resources) > 1 else ():
        rest = tuple(one for one in statement.resources if one != part)
        yield f" without {part}", replace(statement, resources=rest)
    for index, (operator, key, values) in enumerate(statement.conditions):
        # `...IfExists` narrows only a question that no call has to ask.
        for value in values if len(values) > 1 and not operator.endswith("IfExists") else ():
            rest = tuple(one for one in values if one != value)
            conditions = list(statement.conditions)
            conditions[index] = (operator, key, rest)
            yield f" without {value}", replace(statement, conditions=tuple(conditions))


@cache
def taken_out() -> dict[str, tuple[str, str, Statement, tuple[Statement, ...]]]:
    """By what is missing: a function, a mode, the statement, and the role's without that part."""
    found = {}
    for function, role in ROLES.items():
        for mode in MODES:
            own = of_role(role, mode)
            for statement in own:
                others = tuple(one for one in own if one is not statement)
                for part, rest in less(statement):
                    name = f"{role}, {mode}: {statement.sid}{part}"
                    left = (*others, *((rest,) if rest else ()))
                    found[name] = (function, mode, statement, left)
    return found


@pytest.mark.parametrize("name", taken_out())
def test_without_any_part_of_a_role_a_call_of_its_function_is_denied(
    asked: Asked, name: str
) -> None:
    function, mode, statement, left = taken_out()[name]
    principal = role_arn(ROLES[function])
    # Only what the statement allowed can be denied without a part of it.
    about = [ask for ask in asked[function, mode] if statement.applies(ask, principal)]
    assert any(not is_allowed(ask, left, principal) for ask in about)


def test_the_guard_denies_what_the_role_may_not(functions: dict[str, ModuleType]) -> None:
    """Else every test that stands behind it would prove nothing."""
    account = Life(functions).account("observe")
    account.key("k1", idle=90)
    account.night()
    roles, row = account.adapters, a_row("k1")
    forbidden: tuple[Callable[[], Any], ...] = (
        lambda: roles.gateway.set_enabled("k1", enabled=False),
        lambda: roles.gateway.delete("k1"),
        lambda: roles.ledger.remember(TODAY, swept=True),
        lambda: roles.ledger.commit_one(Change(None, row)),
        lambda: roles.history.save_sweep_plan(a_plan()),
        lambda: roles.bus.put([Announcement("1", "Key Revoked", {})]),
        lambda: roles.sealer.seal(Secret("v"), tombstone_context(a_tombstone())),
    )
    for call in forbidden:
        with pytest.raises(AccessDenied):
            call()


# --- the policies of the key and of the bus ---------------------------------------------------------

ANYTHING = (Statement("Everything", ("*",), ("*",)),)


def test_a_tombstone_opens_for_two_roles_though_another_may_do_anything() -> None:
    purpose = (("kms:EncryptionContext:purpose", ("tombstone",)),)
    opens, seals = (Ask(f"kms:{one}", arn("SealingKey"), purpose) for one in ("Decrypt", "Encrypt"))
    everyone = [*ROLES.values(), "Administrator"]
    assert {one for one in everyone if is_allowed(opens, ANYTHING, role_arn(one))} == {
        "ExpireKeysRole",
        "ProvisionKeysRole",
    }
    assert {one for one in everyone if is_allowed(seals, ANYTHING, role_arn(one))} == {
        "ExpireKeysRole"
    }


def test_an_administrator_cannot_speak_in_keyjanitors_name() -> None:
    event = Ask("events:PutEvents", arn("EventBus"), (("events:source", ("keyjanitor",)),))
    assert not is_allowed(event, ANYTHING, role_arn("Administrator"))
    assert not is_allowed(event, ANYTHING, role_arn("WatchCapacityRole"))
    assert is_allowed(event, ANYTHING, role_arn("ProvisionKeysRole"))


# --- the table of API Gateway's calls -----------------------------------------------------------------


class Wire:
    """API Gateway's endpoint: it notes what is asked, and answers with hardly anything."""

    ANSWERS: Mapping[tuple[str, str], dict[str, Any]] = {
        ("GET", "/apikeys"): {"item": []},
        ("GET", "/usageplans"): {"item": []},
        ("GET", "/restapis"): {"item": []},
        ("GET", f"/usageplans/{ID}/keys"): {"item": []},
        ("GET", f"/restapis/{ID}/stages"): {"item": []},
        ("GET", f"/usageplans/{ID}/usage"): {
            "startDate": str(TODAY),
            "endDate": str(TODAY),
            "values": {},
        },
        ("POST", "/apikeys"): {"id": ID, "ids": [ID], "warnings": []},
    }

    def __init__(self) -> None:
        self.asked: set[tuple[str, str]] = set()

    def __call__(self, request: Any, **_: Any) -> Any:
        path = urlsplit(request.url).path
        self.asked.add((request.method, path))
        now = datetime.now(UTC).timestamp()
        found = {"id": ID, "name": "n", "enabled": True, "value": "v" * 20, "createdDate": now}
        answer = {
            **found,
            "lastUpdatedDate": now,
            "apiSummary": {"/": {"GET": {"apiKeyRequired": True}}},
        }
        body = json.dumps(self.ANSWERS.get((request.method, path), answer)).encode()
        headers: Any = {"Content-Type": "application/json"}
        response: Any = AWSResponse(request.url, 200, headers, BytesIO(body))
        response._content = body
        return response


NEW = NewKey("n", Secret("v" * 20), "d", (ID,))
SHAPE = Shape(frozenset({"api1:prod"}))
ARGUMENTS: dict[str, tuple[tuple[Any, ...], dict[str, Any]]] = {
    "keys": ((), {}),
    "keys_named": (("kj",), {}),
    "key_named": (("n", Secret("v" * 20)), {}),
    "key": ((ID,), {}),
    "key_with_value": ((ID,), {}),
    "usage_plans": ((), {}),
    "plans_of": ((ID,), {}),
    "members": ((ID,), {}),
    "usage": ((ID, TODAY, TODAY), {}),
    "ask_first_for": (((60, 0),), {}),
    "answered_range": ((), {}),
    "rest_apis": ((), {}),
    "stages": ((ID,), {}),
    "deployed_methods": ((ID, ID), {}),
    "set_enabled": ((ID,), {"enabled": True}),
    "rename": ((ID, "n"), {}),
    "delete": ((ID,), {}),
    "create_disabled": (
        (Secret("v" * 20),),
        {"name": "n", "description": "d", "customer_id": "", "tags": {"a": "b"}},
    ),
    "import_keys": (([NEW],), {}),
    "create_plan": (("n", SHAPE), {}),
    "attach": ((ID, ID), {}),
}


def test_the_table_names_every_method_that_talks_to_api_gateway() -> None:
    gateway: Any = ApiGateway(None, RateLimiter(1_000))
    public = {name for name in dir(gateway) if not name.startswith("_")}
    assert public == set(GATEWAY) == set(ARGUMENTS)


@pytest.mark.parametrize("method", GATEWAY)
def test_the_table_of_calls_is_what_the_adapter_sends(method: str) -> None:
    wire = Wire()
    client: Any = boto3.client(
        "apigateway", region_name=REGION, aws_access_key_id="a", aws_secret_access_key="b"
    )
    client.meta.events.register("before-send.api-gateway", wire)
    arguments, named = ARGUMENTS[method]
    answer = getattr(ApiGateway(client, RateLimiter(1_000)), method)(*arguments, **named)
    if isinstance(answer, Iterator):
        list(answer)
    assert {(f"apigateway:{verb}", path) for verb, path in wire.asked} == {
        (ask.action, ask.resource.partition("::")[2]) for ask in GATEWAY[method]
    }


def test_a_conflict_of_a_membership_is_proven_by_reading_it() -> None:
    """The one call that an answer decides on."""
    wire = Wire()
    client: Any = boto3.client(
        "apigateway", region_name=REGION, aws_access_key_id="a", aws_secret_access_key="b"
    )

    def conflict(request: Any, **more: Any) -> Any:
        response = wire(request, **more)
        if request.method == "POST":
            response.status_code = 409
            response.headers["x-amzn-errortype"] = "ConflictException"
            response._content = b'{"message": "Usage Plan already contains this key"}'
        return response

    client.meta.events.register("before-send.api-gateway", conflict)
    assert ApiGateway(client, RateLimiter(1_000)).attach(ID, ID)
    asked = {(f"apigateway:{verb}", path) for verb, path in wire.asked}
    (proof,) = PROOF_OF_A_MEMBER
    assert (proof.action, proof.resource.partition("::")[2]) in asked
