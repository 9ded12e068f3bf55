"""The files in events/ are what the functions understand."""

import json
from datetime import UTC, date, datetime
from hashlib import md5
from pathlib import Path
from typing import Any

import fastjsonschema
import pytest

from keyjanitor.domain.model.invocation import Invocation, ReplayWindow, SweepInvocation
from keyjanitor.domain.model.keys import Mode
from keyjanitor.domain.requests.operator_event import read_operator_event
from keyjanitor.errors import InvalidEvent

EVENTS = Path(__file__).parents[3] / "events"
WINDOW = ReplayWindow(datetime(2026, 11, 21, 3, 20, tzinfo=UTC), 36)
FILLED_IN = {
    "<DIGEST>": "0123456789abcdef",
    "<WHY>": "sign-ups are idle; asking marketing first",
    "<DATE>": "2026-11-21",
    "<KEY_ID>": "a1b2c3d4e5",
}
SCHEMA = (
    Path(__file__).parents[3] / "layers/keyjanitor/keyjanitor/domain/requests/request.schema.json"
)
ACTIONS = ("issue", "rotate", "renew", "revoke", "restore", "protect", "release", "assign")

fits_the_schema = fastjsonschema.compile(json.loads(SCHEMA.read_text(encoding="utf-8")))


def the_event(name: str) -> Any:
    text = (EVENTS / f"{name}.json").read_text(encoding="utf-8")
    for placeholder, value in FILLED_IN.items():
        text = text.replace(placeholder, value)
    assert "<" not in text
    return json.loads(text)


@pytest.mark.parametrize("name", sorted(path.stem for path in EVENTS.glob("*.json")))
def test_every_file_is_an_event_that_its_function_understands(name: str) -> None:
    if name.startswith(("pull_usage", "watch_capacity", "publish_report")):
        Invocation.parse(the_event(name), WINDOW)
    elif name.endswith("_key"):
        fits_the_schema(the_event(name))
    elif name == "provision_keys_operator":
        for message in read_operator_event(the_event(name), WINDOW):
            fits_the_schema(json.loads(message.body))
    elif name.startswith("provision_keys"):
        for record in the_event(name)["Records"]:
            fits_the_schema(json.loads(record["body"]))
    else:
        assert name.startswith("expire_keys")
        SweepInvocation.parse(the_event(name), Mode.PARK, WINDOW)


def test_there_is_one_for_each_thing_that_an_operator_does_by_hand() -> None:
    parsed = {
        name: SweepInvocation.parse(the_event(f"expire_keys_{name}"), Mode.PARK, WINDOW)
        for name in ("dry_run", "approve", "undo", "undo_some", "hold", "resume")
    }
    assert parsed["dry_run"].mode is Mode.OBSERVE
    assert parsed["approve"].approve == "0123456789abcdef"
    assert parsed["undo"].undo == date(2026, 11, 21)
    assert parsed["undo_some"].key_ids
    assert parsed["hold"].hold
    assert parsed["resume"].resume


@pytest.mark.parametrize("name", ["approve", "hold", "undo", "undo_some"])
def test_a_sample_that_acts_is_refused_until_it_is_edited(name: str) -> None:
    event = json.loads((EVENTS / f"expire_keys_{name}.json").read_text(encoding="utf-8"))
    with pytest.raises(InvalidEvent, match=rf"{next(iter(event))}: must be"):
        SweepInvocation.parse(event, Mode.PARK, WINDOW)


@pytest.mark.parametrize("why", ["<WHY>", " <why?>\n", "", "<>"])
def test_a_hold_whose_reason_was_not_written_is_refused(why: str) -> None:
    with pytest.raises(InvalidEvent, match="why, in your words"):
        SweepInvocation.parse({"hold": why}, Mode.PARK, WINDOW)


def test_a_hold_may_speak_of_what_is_in_angle_brackets() -> None:
    for why in ("<b> in an owner", "asking <team>", "a < b"):
        assert SweepInvocation.parse({"hold": why}, Mode.PARK, WINDOW).hold == why


@pytest.mark.parametrize("action", ACTIONS)
def test_there_is_one_request_for_each_action(action: str) -> None:
    request = the_event(f"{action}_key")
    fits_the_schema(request)
    assert request["action"] == action


def test_no_two_samples_are_the_same_request() -> None:
    samples = [the_event(f"{action}_key") for action in ACTIONS]
    samples += [json.loads(record["body"]) for record in the_event("provision_keys")["Records"]]
    samples += the_event("provision_keys_operator")["operator"]
    request_ids = [sample["request_id"] for sample in samples]
    assert len(set(request_ids)) == len(request_ids)


def test_the_dates_of_the_samples_are_to_come() -> None:
    assert date.fromisoformat(the_event("protect_key")["until"]) >= date(2030, 1, 1)
    # It would have passed one day, and the sample would be refused.
    assert "expires_on" not in the_event("issue_key")


def test_the_event_for_a_direct_call_is_one_record_as_lambda_gets_it_from_a_queue() -> None:
    [record] = the_event("provision_keys")["Records"]
    # As Lambda's documentation of SQS events shows them.
    assert set(record) == {
        "messageId",
        "receiptHandle",
        "body",
        "attributes",
        "messageAttributes",
        "md5OfBody",
        "eventSource",
        "eventSourceARN",
        "awsRegion",
    }
    assert set(record["attributes"]) == {
        "ApproximateReceiveCount",
        "SentTimestamp",
        "SenderId",
        "ApproximateFirstReceiveTimestamp",
    }
    assert record["eventSource"] == "aws:sqs"
    assert record["md5OfBody"] == md5(record["body"].encode()).hexdigest()
    sent = datetime.fromtimestamp(int(record["attributes"]["SentTimestamp"]) / 1000, UTC)
    assert sent.date() == date(2026, 11, 21)


def test_the_operators_sample_is_refused_until_its_key_id_is_filled_in() -> None:
    [request] = json.loads((EVENTS / "provision_keys_operator.json").read_text("utf-8"))["operator"]
    assert request["key_id"] == "<KEY_ID>"
    with pytest.raises(fastjsonschema.JsonSchemaValueException, match="key_id"):
        fits_the_schema(request)
