"""Requests for keys on the deployed stack: many, twice, hostile, and when the account is full."""

import base64
import json
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from keyjanitor.domain.model.key_values import looks_like_ours
from sandbox.driver.client import ACCOUNT, REPOSITORY, FunctionFailed, LaidKey
from sandbox.driver.queues import sqs_event
from tests.e2e.conftest import World
from tests.e2e.requesting import (
    ADMIN,
    PORTAL,
    ROLE,
    act,
    answers,
    issue,
    opened,
    queue_arn,
    recipient,
    serve,
    serve_event,
    throttled,
)
from tests.e2e.test_operators import sam

SHARE = 2  # calls a second of all copies together, as deployed by default
DAY = timedelta(days=1)


def at_the_pace_of_aws(world: World) -> None:
    world.stack.configure("ProvisionKeysFunction", CALLS_PER_SECOND=str(SHARE))
    world.sandbox.set_throttles(1.0)
    world.sandbox.forget_calls()


def open_the_api(world: World, values: list[str]) -> dict[int, int]:
    return dict(world.sandbox.call_api_many(world.api_id, "keys", dict.fromkeys(values, 1)))


def test_200_requests_through_the_queue_become_as_many_working_keys(world: World) -> None:
    at_the_pace_of_aws(world)
    queue = world.stack.outputs["RequestQueueUrl"]
    world.sandbox.send_requests(queue, [issue(f"q{n}") for n in range(200)])
    world.sandbox.wait_for_queue(queue, 240)
    told = answers(world)
    assert len(told) == 200
    assert {len(one) for one in told.values()} == {1}
    details = [one[0][1] for one in told.values()]
    values = opened(world, details)
    assert len({detail["key_id"] for detail in details}) == len(set(values)) == 200
    assert all(looks_like_ours(value) for value in values)
    assert open_the_api(world, values) == {200: 200}
    assert throttled(world) == 0
    assert world.sandbox.peak_calls_per_second(ROLE) <= SHARE
    assert len(world.keys()) == 200


def test_1000_requests_in_two_batches_take_30_calls(world: World) -> None:
    at_the_pace_of_aws(world)
    batches = [[issue(f"b{half}-{n}") for n in range(500)] for half in range(2)]
    with ThreadPoolExecutor(2) as copies:
        left = list(copies.map(lambda batch: serve(world, batch), batches))
    assert left == [[], []]
    calls = world.sandbox.calls_per_operation(ROLE)
    assert calls.total() <= 30, calls
    assert throttled(world) == 0
    assert world.sandbox.peak_calls_per_second(ROLE) <= SHARE
    told = answers(world)
    details = [detail for one in told.values() for _, detail in one]
    values = opened(world, details)
    assert len(told) == len(details) == len(set(values)) == 1000
    assert open_the_api(world, values[::5]) == {200: 200}
    assert all(key["enabled"] for key in world.keys().values())
    # One plan for both, made whole: with the limits that the tier asks for.
    plans = world.sandbox.client("apigateway").get_usage_plans()["items"]
    made = [plan for plan in plans if plan["name"].startswith("keyjanitor issued")]
    assert [(plan["apiStages"], plan["throttle"]) for plan in made] == [
        (
            [
                {
                    "apiId": world.api_id,
                    "stage": "keys",
                    "throttle": {"/hello/GET": {"rateLimit": 5.0, "burstLimit": 10}},
                }
            ],
            {"rateLimit": 10.0, "burstLimit": 20},
        )
    ]


def test_a_message_that_comes_twice_at_once_and_months_later_changes_nothing(
    world: World,
) -> None:
    event = sqs_event(queue_arn(world), [issue("twice")])
    with ThreadPoolExecutor(2) as copies:
        left = list(copies.map(lambda _: serve_event(world, event), range(2)))
    assert sum(map(len, left)) <= 1
    first = answers(world)["twice"]
    keys = world.keys()
    assert len(keys) == 1
    months_later = datetime.now(UTC) + 200 * DAY
    world.sandbox.set_clock(months_later)
    again = sqs_event(queue_arn(world), [issue("twice")], sent=months_later)
    assert serve_event(world, again) == []
    assert answers(world)["twice"] == [*first, first[0]]
    assert serve(world, [issue("twice", owner="somebody else")]) == []
    refused = answers(world)["twice"][-1]
    assert (refused[0], refused[1]["code"]) == ("Key Request Refused", "conflicting_request")
    assert world.keys() == keys


def test_only_the_recipient_opens_a_delivery(world: World) -> None:
    serve(world, [issue("mine")])
    detail = answers(world)["mine"][0][1]
    (value,) = opened(world, [detail])
    assert open_the_api(world, [value]) == {200: 1}
    wide = {"Effect": "Allow", "Action": "kms:*", "Resource": "*"}
    others = (recipient(world, "another"), world.sandbox.role("wide", wide))
    for credentials in others:
        with pytest.raises(ClientError, match="AccessDenied"):
            world.sandbox.client("kms", **credentials).decrypt(
                CiphertextBlob=base64.b64decode(detail["sealed_value"]),
                EncryptionContext=detail["encryption_context"],
            )


def test_9990_keys_and_200_requests_are_ten_new_keys_and_190_refusals(world: World) -> None:
    world.lay_down(*(LaidKey(name=f"laid {n}") for n in range(9_990)))
    queue = world.stack.outputs["RequestQueueUrl"]
    world.sandbox.send_requests(queue, [issue(f"full{n}") for n in range(200)])
    world.sandbox.wait_for_queue(queue, 240)
    told = answers(world)
    assert len(told) == 200
    kinds = [(kind, detail.get("code")) for one in told.values() for kind, detail in one]
    assert kinds.count(("Key Issued", None)) == 10
    assert kinds.count(("Key Request Refused", "capacity_exhausted")) == 190
    keys = world.keys()
    assert len(keys) == 10_000
    issued = [detail for one in told.values() for kind, detail in one if kind == "Key Issued"]
    assert open_the_api(world, opened(world, issued)) == {200: 10}
    assert {key["name"].partition("-")[0] for key in keys.values()} == {"kj"} | {
        name.partition("-")[0] for name in (f"laid {n}" for n in range(9_990))
    }


HOSTILE = [
    'a,b","c',
    "a backslash \\n and \\",
    '=HYPERLINK("http://example.org","x")',
    "+1-2@SUM(A1)",
    " a space at both ends ",
    "naïve 🔑🧹 名前",
    "🧹" * 1024,
    '",true,plan "x","' + "k" * 40,
]


def test_hostile_names_and_owners_arrive_unchanged_and_add_nothing(world: World) -> None:
    bodies = [issue(f"h{n}", owner=text, name=HOSTILE[-1 - n]) for n, text in enumerate(HOSTILE)]
    assert serve(world, bodies) == []
    told = answers(world)
    for body in bodies:
        ((kind, detail),) = told[body["request_id"]]
        assert kind == "Key Issued"
        assert (detail["owner"], detail["name"]) == (body["owner"], body["name"])
    assert len(world.keys()) == len(bodies)
    assert open_the_api(world, opened(world, [one[0][1] for one in told.values()])) == {
        200: len(bodies)
    }


def test_a_life_of_requests(world: World) -> None:
    """Issue, rotate, renew, protect, revoke refused, release, revoke; and what the ledger keeps."""
    serve(world, [issue("life")])
    old = answers(world)["life"][0][1]
    for body in (
        act("rotate", "rotate", old["key_id"], overlap_days=3),
        act("renew", "renew", old["key_id"], reason="needed"),
        act("protect", "protect", old["key_id"], until=f"{datetime.now(UTC) + 60 * DAY:%Y-%m-%d}"),
        act("revoke", "refused", old["key_id"]),
        act("release", "release", old["key_id"]),
        act("revoke", "revoke", old["key_id"], reason="leaked"),
    ):
        assert serve(world, [body]) == []
    told = {name: one[-1] for name, one in answers(world).items()}
    assert {name: kind for name, (kind, _) in told.items()} == {
        "life": "Key Issued",
        "rotate": "Key Rotated",
        "renew": "Key Renewed",
        "protect": "Key Protected",
        "refused": "Key Request Refused",
        "release": "Key Released",
        "revoke": "Key Revoked",
    }
    new = told["rotate"][1]
    assert told["refused"][1]["code"] == "protected"
    assert list(world.keys()) == [new["key_id"]]
    gone, stays = opened(world, [old, new])
    assert open_the_api(world, [gone]) == {403: 1}
    assert open_the_api(world, [stays]) == {200: 1}
    # The old request comes back after months: its key stays gone, and nothing sealed is told.
    serve(world, [issue("life")])
    kind, detail = answers(world)["life"][-1]
    assert (kind, "sealed_value" in detail) == ("Key Revoked", False)
    assert list(world.keys()) == [new["key_id"]]


def test_a_parked_key_comes_back_for_who_asks_for_it(world: World) -> None:
    today = datetime.now(UTC).date()
    world.witness(today + 30 * DAY)
    partners = world.plans["partners"]
    long_ago = datetime(2025, 1, 1, tzinfo=UTC)
    value = "parkedparkedparkedparked"
    (key_id,) = world.lay_down(
        LaidKey(name="idle", value=value, created=long_ago, plans=[partners])
    )
    for days in (0, 13, 14, 27, 28):
        world.night(today + days * DAY)
    assert world.sandbox.call_api(world.api_id, "b2b", value) == 403
    back = act("restore", "back", key_id, reason="its owner came back")
    assert serve(world, [back], sender_id="AROANOBODY:x") == []
    assert answers(world)["back"][0][1]["code"] == "sender_not_allowed"
    # The first verdict stands for its sender; the id of another sender is another's.
    assert serve(world, [back], sender_id="AROANOBODY:y") == []
    assert answers(world)["back"][-1][1]["code"] == "sender_not_allowed"
    assert serve(world, [{**back, "request_id": "back again"}], sender_id=ADMIN) == []
    assert answers(world)["back again"][0][1]["code"] == "invalid_request"
    assert serve(world, [{**back, "request_id": "again"}], sender_id=ADMIN) == []
    kind, detail = answers(world)["again"][0]
    assert (kind, detail["previous_key_id"]) == ("Key Restored", key_id)
    assert world.sandbox.call_api(world.api_id, "b2b", value) == 200


def test_dead_letters_leave_their_batch_unharmed_and_can_be_sent_back(world: World) -> None:
    queue = world.stack.outputs["RequestQueueUrl"]
    letters = world.stack.outputs["RequestDeadLetterQueueUrl"]
    # A right that somebody took away for a while: every import is refused.
    world.sandbox.misbehave(fail_next={"ImportApiKeys": ["AccessDeniedException"] * 10})
    world.sandbox.send_requests(queue, [issue("good"), "no request", '{"version": 1}'])
    deadline = time.monotonic() + 400
    while _waiting(world, letters) < 3:
        assert time.monotonic() < deadline
        world.sandbox.redeliver(queue)
        time.sleep(0.2)
    assert "good" not in answers(world)
    assert world.keys() == {}
    world.sandbox.behave()
    # What is no request went there at once; where it was received twice at once, twice.
    assert world.sandbox.move_back(letters, queue) >= 3
    while "good" not in answers(world):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    ((kind, detail),) = answers(world)["good"]
    assert kind == "Key Issued"
    assert open_the_api(world, opened(world, [detail])) == {200: 1}


def _waiting(world: World, queue: str) -> int:
    answer = world.sandbox.client("sqs").get_queue_attributes(
        QueueUrl=queue, AttributeNames=["ApproximateNumberOfMessages"]
    )
    return int(answer["Attributes"]["ApproximateNumberOfMessages"])


def test_a_function_that_dies_at_any_of_its_calls_loses_no_request(world: World) -> None:
    """Each of many requests is cut off one call later; all of them are then delivered again."""
    world.stack.configure("ProvisionKeysFunction", timeout=15)
    serve(world, [issue("first")])  # the tier's plan is made, the account counted
    cut: list[dict[str, Any]] = []
    for calls in range(1, 60):
        event = sqs_event(queue_arn(world), [issue(f"cut{calls}")])
        world.sandbox.misbehave(die_after={ROLE: calls})
        try:
            serve_event(world, event)
        except FunctionFailed:
            cut.append(event)
        else:
            break
    world.sandbox.behave()
    assert len(cut) > 10
    # Whoever died may be thought alive for as long as Lambda would have let it run, and a minute.
    time.sleep(76)
    for event in cut:
        assert serve_event(world, event) == []
    told = answers(world)
    issued = {name: {d["key_id"] for _, d in one} for name, one in told.items()}
    assert all(len(ids) == 1 for ids in issued.values())
    assert len(world.keys()) == len(issued) == len(cut) + 2
    values = opened(world, [one[-1][1] for one in told.values()])
    assert open_the_api(world, values) == {200: len(issued)}


SAMPLES = ("rotate", "renew", "protect", "release", "revoke", "restore")


def test_the_samples_are_requests_that_are_answered(world: World) -> None:
    events = REPOSITORY / "events"
    queue = world.stack.outputs["RequestQueueUrl"]
    for name in ("issue", *SAMPLES):
        sam(
            *(world, "remote", "invoke", "RequestQueue", "--stack-name", "keyjanitor"),
            *("--event-file", str(events / f"{name}_key.json")),
        )
    world.sandbox.wait_for_queue(queue, 240)
    told = answers(world)
    assert len(told) == 1 + len(SAMPLES)
    codes = {one[0][1]["action"]: one[0][1]["code"] for one in told.values()}
    # This account's policy has no tier `external` that issues, and no such key.
    assert codes == {"issue": "sender_not_allowed", **dict.fromkeys(SAMPLES, "unknown_key")}


def test_every_answer_is_in_the_audit_trail_and_no_value_is_readable_anywhere(
    world: World,
) -> None:
    bodies = [issue(f"audit{n}") for n in range(20)]
    bodies.append(issue("unknown", tier="nobody's"))
    serve(world, bodies)
    details = {name: one[0][1] for name, one in answers(world).items()}
    lines = world.sandbox.log_lines(world.stack.outputs["AuditLogGroupName"])
    audited = [json.loads(line)["detail"] for line in lines]
    assert all(detail in audited for detail in details.values())
    key_ids = [detail["key_id"] for detail in details.values() if "sealed_value" in detail]
    serve(world, [act("rotate", "rotated", key_ids[0]), act("revoke", "revoked", key_ids[1])])
    values = opened(world, [d for d in details.values() if "sealed_value" in d])
    assert len(values) == 20
    found = [
        where
        for where, content in world.sandbox.everything_stored()
        if any(value.encode() in content for value in values)
    ]
    assert found == []


def test_the_first_recipient_by_its_documents_code(world: World) -> None:
    """What docs/recipient.md shows, run as such a role."""
    serve(world, [issue("documented")])
    detail = answers(world)["documented"][0][1]
    text = (REPOSITORY / "docs" / "recipient.md").read_text()
    code = text.split("<!-- code -->")[1].split("```python")[1].split("```")[0]
    statement = json.loads(text.split("<!-- statement -->")[1].split("```json")[1].split("```")[0])
    statement["Resource"] = world.stack.outputs["SealingKeyArn"]
    recipients = statement["Condition"]["StringEquals"]
    recipients["kms:EncryptionContext:recipient"] = f"arn:aws:iam::{ACCOUNT}:role/shop"
    credentials = recipient(world)
    done = subprocess.run(
        ["python3", "-c", f"{code}\nimport json, sys\nprint(open_key(json.load(sys.stdin)))"],
        input=json.dumps(detail),
        env=world.sandbox.environment()
        | {
            "AWS_ACCESS_KEY_ID": credentials["aws_access_key_id"],
            "AWS_SECRET_ACCESS_KEY": credentials["aws_secret_access_key"],
            "AWS_SESSION_TOKEN": credentials["aws_session_token"],
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert [done.stdout.strip()] == opened(world, [detail])
    assert detail["encryption_context"]["recipient"] == PORTAL
