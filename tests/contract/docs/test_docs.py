"""What docs/ promises other systems is what the schemas, the samples and the code say."""

import base64
import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import boto3
import fastjsonschema
import pytest
from botocore.stub import Stubber

from keyjanitor.adapters.alert_topic import AlertTopic, Stack
from keyjanitor.domain.capacity.alert_text import write
from keyjanitor.domain.capacity.alerting import (
    AlertCause,
    LevelCleared,
    LevelReached,
    LimitNear,
    Problem,
    Reminder,
    Situation,
)
from keyjanitor.domain.capacity.forecast import Forecast, Growth
from keyjanitor.domain.expiry import alert_text as alerts
from keyjanitor.domain.expiry.safety_brake import UNCOUNTED, Brake, Cause, CauseCount
from keyjanitor.domain.model.alert import PARTS, Alert, chat
from keyjanitor.domain.model.keys import SweepAction
from keyjanitor.domain.model.records import AlertState, CountRow, PressureRow, PressureRuleRow
from keyjanitor.domain.requests.events import answer, refused
from keyjanitor.domain.requests.key_request import Action, Code, KeyRequest, Refusal
from keyjanitor.domain.requests.sqs_message import Message
from keyjanitor_client import read_event
from tests.alert_samples import BURST, FULL
from tests.alert_samples import samples as alert_samples
from tests.builders import (
    DAY,
    PLACE,
    TODAY,
    a_disabled_row,
    a_policy,
    a_row,
    a_tier,
    a_warned_row,
)
from tests.contract.template.test_template import emitted
from tests.doc_tables import (
    ALERT,
    REQUEST,
    alert_table,
    event_table,
    form,
    request_definitions,
    request_table,
    schemas,
)
from tests.events_schema import check_event, schema_path
from tests.template import read

REPOSITORY = Path(__file__).parents[3]
DOCS = REPOSITORY / "docs"
DOCUMENTS = {
    path.relative_to(REPOSITORY).as_posix(): path.read_text(encoding="utf-8")
    for path in (
        REPOSITORY / "README.md",
        REPOSITORY / "CHANGELOG.md",
        REPOSITORY / "CONTRIBUTING.md",
        REPOSITORY / "SECURITY.md",
        *sorted(DOCS.rglob("*.md")),
    )
}
TEMPLATE = (REPOSITORY / "template.yaml").read_text(encoding="utf-8")
README = DOCUMENTS["README.md"]
ANSWERS_OF_SENDERS = REPOSITORY / "sender" / "answers.yaml"
CODES = (
    "send_again",
    "conflicting_request",
    "invalid_request",
    "unknown_tier",
    "unknown_key",
    "sender_not_allowed",
    "recipient_not_allowed",
    "owned_elsewhere",
    "protected",
    "not_restorable",
    "too_many_keys",
    "capacity_exhausted",
    "tier_frozen",
    "budget_spent",
)
KINDS = (
    "level",
    "days_to_limit",
    "clear",
    "reminder",
    "brake",
    "unread_plan",
    "silent_plans",
    "fewer_keys",
    "dead_letters",
    "subscription",
    "burst",
    "policy_problem",
    "expiring",
)
STEPS_OF_SWEEPS = ("Key Expiring", "Key Disabled", "Key Parked", "Key Purged")
TOLD_BY_SWEEPS = (*STEPS_OF_SWEEPS, "Disabled Key Called")
ANSWERS = (
    "Key Issued",
    "Key Rotated",
    "Key Renewed",
    "Key Revoked",
    "Key Restored",
    "Key Protected",
    "Key Released",
    "Key Assigned",
    "Key Request Refused",
)
FENCED = re.compile(
    r"(?:^<!-- (?P<marker>[^\n]+) -->\n)?^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.M | re.S
)
VALUE = "keyj" + "0" * 36
fits_the_alerts_schema = fastjsonschema.compile(ALERT)
SESSION: Any = boto3.session.Session("key", "secret", region_name="us-east-1")


def blocks(document: str, language: str, marker: str | None = None) -> list[str]:
    """The fenced blocks of a language in a document, all or those under a `<!-- marker -->`."""
    return [
        found["text"]
        for found in FENCED.finditer(DOCUMENTS[document])
        if found["language"] == language and marker in (None, found["marker"])
    ]


def the_block(document: str, language: str, marker: str) -> str:
    [text] = blocks(document, language, marker)
    return text


def section(document: str, heading: str) -> str:
    """What stands under a heading, up to the next one that is as high."""
    level = heading.split(" ", maxsplit=1)[0]
    _, _, rest = DOCUMENTS[document].partition(f"\n{heading}\n")
    assert rest, f"{document} has no heading {heading!r}"
    return re.split(rf"^#{{2,{len(level)}}} ", rest, maxsplit=1, flags=re.M)[0]


def defined(code: str, name: str) -> Any:
    """What a block of Python defines under a name."""
    names: dict[str, Any] = {}
    exec(compile(code, "<docs>", "exec"), names)
    return names[name]


def anchors(document: str) -> set[str]:
    """The anchors of a document's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", FENCED.sub("", DOCUMENTS[document]), flags=re.M)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


# --- every document ---------------------------------------------------------------------------------


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_link_leads_somewhere(document: str) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", FENCED.sub("", DOCUMENTS[document])):
        if "://" in target:
            continue
        file, _, anchor = target.partition("#")
        path = (REPOSITORY / document).parent / file if file else REPOSITORY / document
        assert path.resolve().is_relative_to(REPOSITORY), target
        assert path.exists(), f"{document} links to {target}, which is not there"
        if anchor:
            name = path.resolve().relative_to(REPOSITORY).as_posix()
            assert anchor in anchors(name), f"{document} links to {target}: no such heading"


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_file_of_events_that_is_named_exists(document: str) -> None:
    for name in re.findall(r"\bevents/\w+\.json", DOCUMENTS[document]):
        assert (REPOSITORY / name).is_file(), f"{document} names {name}, which is not there"


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_block_is_what_it_says_it_is(document: str) -> None:
    for text in blocks(document, "json"):
        json.loads(text)
    for text in blocks(document, "toml"):
        tomllib.loads(text)
    for text in blocks(document, "python"):
        compile(text, document, "exec")


def test_the_outputs_and_alarms_that_are_named_are_the_templates() -> None:
    outputs = set(re.findall(r"^  (\w+):$", TEMPLATE.partition("\nOutputs:\n")[2], flags=re.M))
    alarms = set(re.findall(r"^  (\w+Alarm):$", TEMPLATE, flags=re.M))
    settings = TEMPLATE.partition("\nParameters:\n")[2].partition("\nConditions:\n")[0]
    parameters = set(re.findall(r"^  (\w+):$", settings, flags=re.M))
    assert len(outputs) > 10
    assert len(alarms) > 5
    for document, text in DOCUMENTS.items():
        assert (
            set(re.findall(r"`(\w+(?:Url|Arn|TableName|BucketName|BusName|GroupName))`", text))
            <= outputs | parameters
        ), document
        assert set(re.findall(r"OutputKey=='(\w+)'", text)) <= outputs, document
        assert set(re.findall(r"`(\w+Alarm)`", text)) <= alarms, document


def test_every_request_that_is_shown_is_valid() -> None:
    check = fastjsonschema.compile(json.loads(REQUEST.read_text(encoding="utf-8")))
    shown = [
        request
        for document in DOCUMENTS
        for request in map(json.loads, blocks(document, "json"))
        if "action" in request and not {"code", "kind"} & request.keys()
    ]
    assert len(shown) >= 2
    for request in shown:
        check(request)


# --- README.md --------------------------------------------------------------------------------------


def test_the_readme_leads_to_the_index_and_the_index_to_every_document() -> None:
    assert "(docs/README.md)" in README
    index = DOCUMENTS["docs/README.md"]
    for path in (*DOCS.glob("*.md"), *DOCS.glob("decisions/*.md")):
        name = path.relative_to(DOCS).as_posix()
        lines = [line for line in index.splitlines() if line.startswith((f"| [{name}](", "- ["))]
        listed = [line for line in lines if f"({name})" in line]
        assert len(listed) == (name != "README.md"), name


def test_the_readme_fits_on_two_screens() -> None:
    assert len(README.splitlines()) < 110
    assert len(README.split()) < 900


def test_the_readme_counts_what_costs_something_as_it_is_deployed() -> None:
    costs = " ".join(section("README.md", "## What it costs").split())
    words = {1: "a", 2: "two", 20: "twenty", 22: "twenty-two"}
    total = 0.0
    for what, price, count in (
        ("KMS key", 1.00, TEMPLATE.count("Type: AWS::KMS::Key\n")),
        ("custom metric", 0.30, len(emitted())),
        ("alarm", 0.10, TEMPLATE.count("Type: AWS::CloudWatch::Alarm\n")),
        ("dashboard", 3.00, TEMPLATE.count("Type: AWS::CloudWatch::Dashboard\n")),
    ):
        total += count * price
        plural = "" if count == 1 else "s"
        assert f"{words[count]} {what}{plural} ${count * price:.2f}" in costs
    [rest] = re.findall(r"logs under \$(\d\.\d\d)", costs)
    [about] = re.findall(r"About \$(\d+) a month", costs)
    assert total < int(about) < total + float(rest)


# --- docs/decisions ---------------------------------------------------------------------------------


def test_a_decision_has_its_number_and_says_why_and_what_follows() -> None:
    decisions = sorted((DOCS / "decisions").glob("*.md"))
    for number, path in enumerate(decisions, 1):
        text = path.read_text(encoding="utf-8")
        assert path.name.startswith(f"{number:04}-")
        assert text.startswith(f"# {number}. ")
        assert re.findall(r"^\*\*(\w+)\.\*\*", text, flags=re.M) == [
            "Context",
            "Decision",
            "Consequence",
        ]


# --- docs/requests.md -------------------------------------------------------------------------------


def test_the_request_schema_stands_in_its_document_word_for_word() -> None:
    assert the_block("docs/requests.md", "json", "schema") == REQUEST.read_text(encoding="utf-8")


def test_the_table_of_request_fields_is_the_schemas() -> None:
    assert request_table() in section("docs/requests.md", "## Fields")


def test_every_action_has_its_row_with_answer_and_sample() -> None:
    rows = re.findall(
        r"^\| `(\w+)` \|.*\| `([\w ]+)` \| \[(\w+\.json)\]\(\.\./events/\3\) \|$",
        section("docs/requests.md", "## The eight actions"),
        flags=re.M,
    )
    assert [action for action, _, _ in rows] == list(request_definitions())
    assert [answer for _, answer, _ in rows] == list(ANSWERS[:-1])
    assert [sample for _, _, sample in rows] == [f"{action}_key.json" for action, _, _ in rows]


def test_the_codes_are_those_of_the_design_in_its_order() -> None:
    told = re.findall(r"^\| `(\w+)` \|", section("docs/requests.md", "## Refusals"), flags=re.M)
    assert tuple(told) == CODES
    assert tuple(schemas()["Key Request Refused"]["properties"]["code"]["enum"]) == CODES


def test_a_senders_statement_allows_to_send_and_nothing_else() -> None:
    statement = json.loads(the_block("docs/requests.md", "json", "sender statement"))
    assert statement == {
        "Sid": "AskForKeys",
        "Effect": "Allow",
        "Action": "sqs:SendMessage",
        "Resource": "REQUEST_QUEUE_ARN",
    }


def test_an_operators_statement_allows_to_invoke_and_nothing_else() -> None:
    statement = json.loads(the_block("docs/requests.md", "json", "operator statement"))
    assert statement == {
        "Sid": "ActOnKeysAsAnOperator",
        "Effect": "Allow",
        "Action": "lambda:InvokeFunction",
        "Resource": "PROVISION_KEYS_FUNCTION_ARN",
    }


def test_the_code_of_a_sender_sends_the_request_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    sqs = SESSION.client("sqs")
    monkeypatch.setattr(boto3, "client", lambda service: sqs)
    code, _ = blocks("docs/requests.md", "python")
    url = "https://sqs.us-east-1.amazonaws.com/123456789012/requests"
    request = {"version": 1, "action": "renew", "request_id": "portal-7f3c9a52-renew-1"}
    body = json.dumps(request | {"key_id": "a1b2c3d4e5"})
    with Stubber(sqs) as stub:
        stub.add_response("send_message", {}, {"QueueUrl": url, "MessageBody": body})
        defined(code, "ask")(url)
        stub.assert_no_pending_responses()


def test_the_code_of_a_sender_acts_on_each_kind_of_event(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(boto3, "client", lambda service: SESSION.client("sqs"))
    _, code = blocks("docs/requests.md", "python")
    handle = defined(code, "handle")
    for kind in ("Key Renewed", "Key Request Refused", "Key Parked"):
        event = {"source": "keyjanitor", "detail-type": kind, "detail": samples(kind)[0]}
        handle(read_event(json.dumps(event)))
    assert capsys.readouterr().out.count("\n") == 3


def test_a_queues_policy_lets_the_rule_send_and_is_the_templates_own() -> None:
    policy = json.loads(the_block("docs/requests.md", "json", "queue policy"))
    queue_policy = read(ANSWERS_OF_SENDERS)["Resources"]["AnswerQueuePolicy"]["Properties"]
    document = queue_policy["PolicyDocument"]
    [shown], [deployed] = policy["Statement"], document["Statement"]
    assert deployed["Condition"].keys() == shown["Condition"].keys() == {"ArnEquals"}
    changed = {"Sid", "Resource", "Condition"}
    for name in shown.keys() - changed:
        assert deployed[name] == shown[name]


def test_the_templates_rules_pick_what_the_pages_patterns_pick() -> None:
    resources = read(ANSWERS_OF_SENDERS)["Resources"]
    answers = resources["AnswerRule"]["Properties"]["EventPattern"]
    notices = resources["NoticeRule"]["Properties"]["EventPattern"]
    [shown] = [json.loads(one) for one in blocks("docs/requests.md", "json", "pattern")]
    assert json.dumps(answers).replace('{"Ref": "RequestIdPrefix"}', '"portal-"') == json.dumps(
        shown
    )
    of_page = [json.loads(one) for one in blocks("docs/events.md", "json", "pattern")]
    assert json.loads(json.dumps(notices).replace('{"Ref": "Tier"}', '"external"')) in of_page
    assert set(notices["detail-type"]) == {*STEPS_OF_SWEEPS, "Key Restored"}


def test_how_long_it_takes_is_what_code_and_template_say() -> None:
    receives = int(re.findall(r"maxReceiveCount: (\d+)", TEMPLATE)[0])
    waits = [
        Message("m", "{}", "s", None, receive_count=count).retry_after_s
        for count in range(1, receives + 1)
    ]
    text = " ".join(section("docs/requests.md", "## How long it takes").split())
    assert waits[:5] == [30, 60, 120, 240, 480]
    assert set(waits[5:]) == {15 * 60}
    assert "after 30 seconds, then after 1, 2, 4 and 8 minutes, then every 15" in text
    assert 80 * 60 < sum(waits) < 100 * 60
    assert "Ten tries take about an hour and a half" in text
    [visibility] = re.findall(r"VisibilityTimeout: (\d+)", TEMPLATE)
    assert f"come back after {int(visibility) // 60} minutes" in text
    longest = int(TEMPLATE.partition("functions/provision_keys/")[2].split("Timeout: ")[1][:3])
    assert f"another run may take it up {longest // 60 + 1} minutes after" in text


# --- docs/events.md and docs/schemas ----------------------------------------------------------------


def test_there_is_a_schema_for_each_event_in_a_file_of_its_name() -> None:
    assert set(schemas()) == {*ANSWERS, *TOLD_BY_SWEEPS}
    for detail_type, schema in schemas().items():
        assert json.loads(schema_path(detail_type).read_text(encoding="utf-8")) == schema


def fields_of(schema: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for name, field in schema["properties"].items():
        yield name, field
        if "properties" in field:
            yield from fields_of(field)


@pytest.mark.parametrize("detail_type", sorted(schemas()))
def test_a_schema_is_closed_and_tells_what_each_field_is(detail_type: str) -> None:
    schema = schemas()[detail_type]
    assert schema["$schema"] == "http://json-schema.org/draft-07/schema#"
    assert schema["description"]
    for name, field in [("detail", schema), *fields_of(schema)]:
        assert field["description"].endswith("."), name
        if field.get("type") == "object":
            assert field["additionalProperties"] is False, name
        if name.endswith(("_on", "_until")):
            assert field["format"] == "date", name


def test_a_field_has_the_same_form_in_all_events() -> None:
    forms: dict[str, set[str]] = {}
    for detail_type, schema in schemas().items():
        if detail_type != "Key Request Refused":  # there it is what was sent, or nothing
            for name, field in schema["properties"].items():
                forms.setdefault(name, set()).add(form(field))
    assert {name: found for name, found in forms.items() if len(found) > 1} == {}


def samples(detail_type: str) -> list[dict[str, Any]]:
    found = FENCED.finditer(section("docs/events.md", f"## {detail_type}"))
    return [json.loads(block["text"]) for block in found if block["language"] == "json"]


@pytest.mark.parametrize("detail_type", sorted(schemas()))
def test_every_event_has_its_table_its_sample_and_its_schema(detail_type: str) -> None:
    text = section("docs/events.md", f"## {detail_type}")
    assert event_table(detail_type) in text
    path = schema_path(detail_type).relative_to(DOCS).as_posix()
    assert f"[{path}]({path})" in text
    assert samples(detail_type)
    for sample in samples(detail_type):
        check_event(detail_type, sample)


@pytest.mark.parametrize("detail_type", sorted(schemas()))
def test_a_detail_with_a_field_too_many_or_too_few_is_refused(detail_type: str) -> None:
    sample = samples(detail_type)[0]
    with pytest.raises(AssertionError, match="extra"):
        check_event(detail_type, {**sample, "extra": 1})
    for missing in schemas()[detail_type]["required"]:
        with pytest.raises(AssertionError, match=missing):
            check_event(detail_type, {k: v for k, v in sample.items() if k != missing})


@pytest.mark.parametrize("detail_type", ["Key Issued", "Key Rotated"])
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("version", 2),
        ("version", True),
        ("owner", 7),
        ("key_id", ""),
        ("key_id", None),
        ("usable", "at once"),
        ("expires_on", "21.11.2026"),
        ("sealed_value", VALUE + "!"),
        ("encryption_context", {"purpose": "delivery", "recipient": "r"}),
        ("encryption_context", {"purpose": "tombstone", "recipient": "r", "request_id": "i"}),
    ],
)
def test_a_field_of_another_form_is_refused(detail_type: str, field: str, value: object) -> None:
    with pytest.raises(AssertionError, match=field):
        check_event(detail_type, {**samples(detail_type)[0], field: value})


def test_a_restore_that_answers_a_request_tells_name_and_old_id() -> None:
    asked, undone = samples("Key Restored")
    assert "request_id" in asked
    assert not {"request_id", "requested_by", "name"} & set(undone)
    for missing in ("requested_by", "name", "previous_key_id"):
        with pytest.raises(AssertionError, match=missing):
            check_event("Key Restored", {k: v for k, v in asked.items() if k != missing})


def test_every_answer_says_who_asked() -> None:
    for detail_type in ANSWERS:
        schema = schemas()[detail_type]
        known = "string" if detail_type != "Key Request Refused" else ["string", "null"]
        assert schema["properties"]["requested_by"]["type"] == known
        assert ("requested_by" in schema["required"]) is (detail_type != "Key Restored")
    for detail_type in TOLD_BY_SWEEPS:
        assert "requested_by" not in schemas()[detail_type]["properties"]


@pytest.mark.parametrize("sender", ["AROAEXAMPLEPORTALROLE", ""])
def test_what_the_code_answers_fits_its_schema(sender: str) -> None:
    request = KeyRequest("r1", Action.RENEW, sender, TODAY, reason="still needed")
    renewed = answer("Key Renewed", request, a_row(name="n"), a_policy(a_tier()))
    check_event("Key Renewed", renewed)
    assert renewed["requested_by"] == sender
    refusal = refused("r1", sender, "renew", Refusal(Code.UNKNOWN_KEY, "no such key"))
    check_event("Key Request Refused", refusal)
    assert refusal["requested_by"] == sender


def test_an_event_without_a_schema_is_refused() -> None:
    with pytest.raises(AssertionError, match="Key Lost"):
        check_event("Key Lost", {"version": 1})


def test_the_envelope_that_is_shown_holds_a_valid_detail() -> None:
    event = json.loads(the_block("docs/events.md", "json", "envelope"))
    check_event(event["detail-type"], event["detail"])


def test_every_event_is_in_the_list_at_the_top() -> None:
    top = DOCUMENTS["docs/events.md"].partition("\n## ")[0]
    told = re.findall(r"^\| \[((?:Disabled )?Key [\w ]+)\]\(#([\w-]+)\) \|", top, flags=re.M)
    assert [name for name, _ in told] == [*ANSWERS, *TOLD_BY_SWEEPS]
    assert {anchor for _, anchor in told} <= anchors("docs/events.md")


@pytest.mark.parametrize("document", ["docs/events.md", "docs/requests.md"])
def test_a_pattern_asks_for_events_and_fields_that_there_are(document: str) -> None:
    patterns = [json.loads(text) for text in blocks(document, "json", "pattern")]
    assert patterns
    for pattern in patterns:
        assert pattern["source"] == ["keyjanitor"]
        types = pattern.get("detail-type", list(schemas()))
        for detail_type in types:
            assert detail_type in schemas()
        names = {name for one in types for name in schemas()[one]["properties"]}
        assert set(pattern.get("detail", {})) <= names
        assert set(pattern.get("detail", {}).get("code", [])) <= set(CODES)


# --- docs/alerts.md and its schema ------------------------------------------------------------------

NOTHING_KNOWN = Situation(
    today=TODAY, count=CountRow(TODAY, 10_000), yesterday=None, forecast=Forecast(None)
)
OUT_OF_SIGHT = Situation(
    today=TODAY,
    count=CountRow(TODAY, 8_000),
    yesterday=None,
    forecast=Forecast(Growth(-11.2, -15.9, -6.5)),
)
FAR = Situation(
    today=TODAY,
    count=CountRow(TODAY, 8_000),
    yesterday=None,
    forecast=Forecast(Growth(3, -1, 7), 600, 300),
    pressure_row=PressureRow(TODAY, 0.8, (PressureRuleRow(0.9, 0.5, 0),)),
)
ABOUT_CAPACITY: tuple[AlertCause, ...] = (
    LevelReached(0.9),
    LimitNear(14),
    LevelCleared(level=0.9),
    LevelCleared(mark=14),
    Reminder(),
)
TROUBLES = (
    Problem("unread_plan", ("p1l2n3",)),
    Problem("silent_plans", ("p7l8n9",)),
    Problem("fewer_keys", (str(TODAY),)),
    Problem("dead_letters", ("RequestDeadLetterQueue",)),
    Problem("subscription", ("you@example.org",)),
    Problem("burst", (BURST.name,)),
    Problem("policy_problem", ("tiers.external.usage_plans[0]",)),
)


def a_brake(cause: Cause) -> Alert:
    """An alert of the brake, for one cause with more plans than are named."""
    plans = tuple((f"plan{number}", 200) for number in range(9))
    brake = Brake(
        new=1_800,
        worst=1_800,
        on=TODAY,
        allowance=500,
        usual=3.5,
        since=TODAY - DAY,
        causes=(CauseCount(cause, 1_800, plans),),
    )
    due = {
        SweepAction.PARK: 80,
        SweepAction.PURGE: 0,
        SweepAction.DISABLE: 280,
        SweepAction.WARN: 1_800,
    }
    draft = alerts.brake(TODAY, brake, due, "0123456789abcdef", ["k1  idle"], {"plan1": "one"})
    return draft.at(PLACE)


def every_alert() -> list[Alert]:
    """An alert of every kind, as the code writes it, on good days and bad."""
    policy = a_policy(a_tier())
    warned = [a_warned_row("k1"), a_disabled_row("k2", park_in=9), a_warned_row("k3", tier="gone")]
    many = [a_warned_row(f"k{number}", name="n" * 100) for number in range(10_000)]
    before = AlertState(alerted_on=TODAY - DAY, alerted_keys=9_000)
    drafts = [
        *(
            write(one, situation, policy, before, after)
            for situation in (FULL, NOTHING_KNOWN, OUT_OF_SIGHT, FAR)
            for one in ABOUT_CAPACITY
            for after in (AlertState(), AlertState(level=0.9, mark=60))
            if not isinstance(one, LimitNear) or situation.forecast.days is not None
        ),
        *(write(one, FULL, policy) for one in TROUBLES),
        alerts.expiring(TODAY, warned, policy),
        alerts.expiring(TODAY, many, policy),
    ]
    brakes = [a_brake(cause) for cause in Cause if cause not in UNCOUNTED]
    return [*(draft.at(PLACE) for draft in drafts), *brakes]


class Published:
    """Takes what is published, as SNS's client does."""

    def __init__(self) -> None:
        self.calls: list[dict[str, Any]] = []

    def publish(self, **call: Any) -> None:
        self.calls.append(call)


def test_every_alert_goes_out_in_the_form_that_its_schema_says() -> None:
    sns = Published()
    for alert in every_alert():
        AlertTopic(sns, PLACE.topic_arn, Stack("keyjanitor", "history")).publish(alert)
    seen = set()
    for call in sns.calls:
        forms = json.loads(call["Message"])
        body = json.loads(forms["sqs"])
        fits_the_alerts_schema(body)
        assert forms["sqs"] == forms["lambda"] == forms["https"]
        attributes = {name: one["StringValue"] for name, one in call["MessageAttributes"].items()}
        assert (attributes["kind"], attributes["severity"]) == (body["kind"], body["severity"])
        assert set(attributes) <= {"kind", "severity", "audience", "tier", "contact"}
        seen.add(body["kind"])
    assert seen == set(KINDS)


def test_a_subject_is_plain_ascii_under_100_characters_and_the_text_says_what_to_do() -> None:
    for alert in every_alert():
        assert alert.subject.isascii()
        assert len(alert.subject) < 100
        assert alert.subject.startswith("keyjanitor: ")
        assert re.search(r"^  (sam|aws|keyjanitor) \w", alert.text, flags=re.M), alert.kind


UNTIL = r"(Cannot wait: act now \(|Can wait until )\d{4}-\d\d-\d\d \d\d:\d\d UTC"


def heads() -> dict[str, list[str]]:
    """The mails of docs/alerts.md, by their subjects: lines of text."""
    mails = [text for text in blocks("docs/alerts.md", "text") if text.startswith("Subject: ")]
    found = {}
    for mail in mails:
        subject, _, text = mail.partition("\n\n")
        found[subject.removeprefix("Subject: ")] = text.splitlines()
    assert len(found) == len(mails) == len(alert_samples())
    return found


def test_every_alert_of_the_page_says_what_until_when_what_to_type_and_where() -> None:
    for subject, (what, wait, command, gap, where, *links) in heads().items():
        for name in ("123456789012", "us-east-1", "keyjanitor", "0.2.0"):
            assert name in subject
        assert what.endswith(".")
        nothing_left = "level off (" in subject
        assert nothing_left or re.match(UNTIL, wait), wait
        assert ("Nothing is to be done" in wait) == nothing_left
        assert command.startswith("keyjanitor ")
        assert command.endswith(" --stack keyjanitor --region us-east-1")
        assert (gap, where) == (
            "",
            "Account 123456789012, Region us-east-1, stack keyjanitor, keyjanitor 0.2.0",
        )
        named = [line.split()[0] for line in links[:4]]
        assert named == ["Console", "Dashboard", "Runbook", "Report"]


def test_what_is_critical_cannot_wait_until_morning_and_the_runbook_says_so_too() -> None:
    top = DOCUMENTS["docs/runbook.md"].partition("\n## ")[0]
    for alert in every_alert():
        assert (alert.severity == "critical") == alert.form["wait"].startswith("Cannot wait")
        [row] = [line for line in top.splitlines() if f"alert `{alert.kind}`" in line]
        can_wait = row.split("|")[2].strip()
        if alert.severity == "critical":
            assert can_wait.startswith("no") or "`critical`: no" in can_wait, row
        else:
            assert can_wait.startswith("yes"), row


def test_every_alert_names_the_part_of_the_runbook_that_is_about_it() -> None:
    assert set(PARTS) == set(KINDS)
    for kind, part in PARTS.items():
        assert part in anchors("docs/runbook.md"), kind


def test_a_chat_channel_gets_what_the_page_shows() -> None:
    shown = json.loads(the_block("docs/alerts.md", "json", "chat"))
    assert shown == chat(alert_samples()["brake"])
    assert shown["version"] == "1.0"
    assert shown["source"] == "custom"


def test_the_schema_of_alerts_names_the_kinds_of_the_design_and_tells_what_each_field_is() -> None:
    assert tuple(ALERT["properties"]["kind"]["enum"]) == KINDS
    told: list[str] = []
    for definition in ALERT["definitions"].values():
        kind = definition["properties"]["kind"]
        told += kind.get("enum", [kind.get("const")])
        pending = [definition]
        while pending:
            one = pending.pop()
            assert one["description"].endswith("."), one
            if "properties" in one:
                assert one["additionalProperties"] is False
                pending += one["properties"].values()
            pending += [one["items"]] if "properties" in one.get("items", {}) else []
    assert sorted(told) == sorted(KINDS)


ALERT_SAMPLES = [
    sample
    for sample in map(json.loads, blocks("docs/alerts.md", "json"))
    if isinstance(sample.get("kind"), str)
]


def test_every_kind_of_alert_has_its_table_and_its_sample() -> None:
    for definition in ALERT["definitions"]:
        assert alert_table(definition) in DOCUMENTS["docs/alerts.md"]
    assert {sample["kind"] for sample in ALERT_SAMPLES} == set(KINDS)
    for sample in ALERT_SAMPLES:
        fits_the_alerts_schema(sample)


@pytest.mark.parametrize("number", range(len(ALERT_SAMPLES)))
def test_an_alert_with_a_field_too_many_or_too_few_is_refused(number: int) -> None:
    sample = ALERT_SAMPLES[number]
    refused_with = fastjsonschema.JsonSchemaValueException
    with pytest.raises(refused_with):
        fits_the_alerts_schema({**sample, "extra": 1})
    with pytest.raises(refused_with):
        fits_the_alerts_schema({**sample, "severity": "mild"})
    for missing in sample:
        with pytest.raises(refused_with):
            fits_the_alerts_schema({k: v for k, v in sample.items() if k != missing})


def test_an_alert_names_the_level_or_the_mark_that_it_is_about() -> None:
    by_kind = {sample["kind"]: sample for sample in ALERT_SAMPLES}
    for kind, wrong in (
        ("level", {"level": None}),
        ("level", {"mark": 14}),
        ("days_to_limit", {"mark": None}),
        ("days_to_limit", {"level": 0.9}),
        ("days_to_limit", {"days_to_limit": None}),
        ("clear", {"level": None}),
        ("clear", {"mark": 14}),
        ("reminder", {"level": 0.9}),
    ):
        with pytest.raises(fastjsonschema.JsonSchemaValueException):
            fits_the_alerts_schema({**by_kind[kind], **wrong})


def test_the_list_at_the_top_says_how_urgent_each_kind_is() -> None:
    top = DOCUMENTS["docs/alerts.md"].partition("\n## ")[0]
    told = re.findall(r"^\| \[`(\w+)`\]\(#[\w-]+\) \| ([^|]+) \|", top, flags=re.M)
    assert [kind for kind, _ in told] == list(KINDS)
    severities = {kind: set(re.findall(r"`(info|warning|critical)`", how)) for kind, how in told}
    severities["reminder"] = severities["level"]  # "as the level's"
    found: dict[str, set[str]] = {}
    for alert in every_alert():
        found.setdefault(alert.kind, set()).add(alert.severity)
    assert {kind: found[kind] <= severities[kind] for kind in KINDS} == dict.fromkeys(KINDS, True)


def test_what_a_queue_gets_is_as_it_is_shown() -> None:
    shown = json.loads(the_block("docs/alerts.md", "json", "envelope"))
    body = json.loads(shown["Message"])
    fits_the_alerts_schema(body)
    attributes = {name: one["Value"] for name, one in shown["MessageAttributes"].items()}
    assert attributes == {
        "kind": body["kind"],
        "severity": body["severity"],
        "audience": "operators",
    }
    as_written = alert_samples()[body["kind"]]
    assert (shown["Subject"], body) == (as_written.subject, as_written.form)


def test_a_filter_asks_for_what_there_is() -> None:
    allowed = {
        "severity": {"info", "warning", "critical"},
        "kind": set(KINDS),
        "audience": {"operators", "contacts"},
        "tier": {"external"},
        "contact": {"CONTACT"},
    }
    filters = [json.loads(text) for text in blocks("docs/alerts.md", "json", "filter")]
    assert len(filters) == 6
    in_commands = re.findall(r'"FilterPolicy": "(.+?)"\}\'', DOCUMENTS["docs/alerts.md"])
    filters += [json.loads(text.replace('\\"', '"')) for text in in_commands]
    assert len(filters) == 8
    for one in filters:
        assert one.keys() <= allowed.keys()
        for name, wanted in one.items():
            for rule in wanted:
                values = rule["anything-but"] if isinstance(rule, dict) else [rule]
                assert set(values) <= allowed[name]


# --- docs/recipient.md ------------------------------------------------------------------------------


def test_a_recipients_statement_opens_only_what_was_delivered_to_it() -> None:
    statement = json.loads(the_block("docs/recipient.md", "json", "statement"))
    assert statement == {
        "Sid": "OpenKeysDeliveredToMe",
        "Effect": "Allow",
        "Action": "kms:Decrypt",
        "Resource": "SEALING_KEY_ARN",
        "Condition": {
            "StringEquals": {
                "kms:EncryptionContext:purpose": "delivery",
                "kms:EncryptionContext:recipient": "RECIPIENT_ARN",
            }
        },
    }


@pytest.mark.parametrize("detail_type", ["Key Issued", "Key Rotated"])
def test_the_code_of_a_recipient_opens_a_delivery(
    detail_type: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kms = SESSION.client("kms")
    monkeypatch.setattr(boto3, "client", lambda service: kms)
    detail = samples(detail_type)[0]
    with Stubber(kms) as stub:
        stub.add_response(
            "decrypt",
            {"Plaintext": VALUE.encode()},
            {
                "CiphertextBlob": base64.b64decode(detail["sealed_value"]),
                "EncryptionContext": detail["encryption_context"],
            },
        )
        open_key = defined(the_block("docs/recipient.md", "python", "code"), "open_key")
        assert open_key(detail) == VALUE


# --- docs/audit.md ----------------------------------------------------------------------------------


def test_every_query_asks_for_events_and_fields_that_there_are() -> None:
    queries = blocks("docs/audit.md", "text", "query")
    assert len(queries) == 8
    fields = {
        f"detail.{prefix}{name}"
        for schema in schemas().values()
        for prefix, part in [("", schema)]
        for name in part["properties"]
    }
    for query in queries:
        assert set(re.findall(r"\bdetail\.\w+", query)) <= fields
        assert set(re.findall(r'"(Key [\w ]+)"', query)) <= set(schemas())
        # A hyphen without backticks is a minus.
        assert "detail-type" not in query.replace("`detail-type`", "")


# --- docs/secret-scanning.md ------------------------------------------------------------------------


def test_the_code_of_a_scanner_knows_the_values_that_are_made() -> None:
    values = pytest.importorskip("keyjanitor.domain.model.key_values")
    is_ours = defined(the_block("docs/secret-scanning.md", "python", "code"), "is_ours")
    for _ in range(200):
        value = values.new_value().reveal()
        wrong = value[:-1] + ("0" if value[-1] != "0" else "1")
        for candidate in (value, wrong, value + "0", value[1:], value.lower(), VALUE, "", "keyj"):
            assert is_ours(candidate) is values.looks_like_ours(candidate)
        assert is_ours(value)
        assert not is_ours(wrong)


def test_every_pattern_finds_a_value_in_a_leak() -> None:
    values = pytest.importorskip("keyjanitor.domain.model.key_values")
    document = "docs/secret-scanning.md"
    [rule] = tomllib.loads(the_block(document, "toml", "gitleaks"))["rules"]
    github = dict(re.findall(r"^\| (\w+ \w+) \| `(.+)` \|$", DOCUMENTS[document], flags=re.M))
    before, after = (
        github[f"{where} secret"].replace("\\|", "|").replace(r"\z", r"\Z")
        for where in ("Before", "After")
    )
    patterns = [
        the_block(document, "text", "pattern").strip(),
        rule["regex"],
        f"(?:{before})({github['Secret format']})(?:{after})",
    ]
    value = values.new_value().reveal()
    assert any(keyword in value for keyword in rule["keywords"])
    for pattern in patterns:
        for leak in (value, f'api_key = "{value}"', f"x-api-key: {value}\n", f"({value})"):
            found = re.search(pattern, leak)
            assert found, (pattern, leak.replace(value, "VALUE"))
            assert value in found.group()
        for harmless in (f"a{value}", f"{value}a", value[:-1], value.upper()):
            assert not re.search(pattern, harmless)


# --- docs/runbook.md --------------------------------------------------------------------------------


def test_the_runbook_has_a_part_for_everything_it_lists() -> None:
    top = DOCUMENTS["docs/runbook.md"].partition("\n## ")[0]
    listed = set(re.findall(r"\]\(#([\w-]+)\)", top))
    headings = re.findall(r"^## (.+)$", DOCUMENTS["docs/runbook.md"], flags=re.M)
    assert listed == anchors("docs/runbook.md") - {"runbook"}
    for heading in headings:
        text = section("docs/runbook.md", f"## {heading}")
        assert re.match(r"\s*\*\*Type\*\* `keyjanitor ", text), heading
        for part in ("**Means**", "**How bad:**"):
            assert part in text, (heading, part)


def test_the_other_way_is_in_one_place() -> None:
    text = DOCUMENTS["docs/runbook.md"]
    other = section("docs/runbook.md", "## Without the command")
    # One request that is tried by hand, past the queue, has no command of its own.
    assert text.count("sam remote invoke ") == other.count("sam remote invoke ") + 1
    # AWS facts and decisions say what SAM does; the changelog, what it did.
    about_sam = ("docs/runbook.md", "docs/aws-facts.md", "CHANGELOG.md")
    assert [
        name
        for name, page in DOCUMENTS.items()
        if "sam remote invoke" in page
        and name not in about_sam
        and not name.startswith("docs/decisions/")
    ] == []
    for name in re.findall(r"events/expire_keys_\w+\.json", text):
        assert name in other


def test_requests_and_runbook_say_that_who_moves_dead_letters_may_ask_for_no_keys() -> None:
    who = " ".join(section("docs/requests.md", "## Who may ask").split())
    assert "Who moves dead letters back must be in neither list" in who
    moved = " ".join(
        section(
            "docs/runbook.md", "## Dead letters (dead_letters, RequestDeadLettersAlarm)"
        ).split()
    )
    assert "in no tier's `senders` or `admins`" in moved


def test_every_alarm_and_every_kind_of_alert_has_its_part_of_the_runbook() -> None:
    text = DOCUMENTS["docs/runbook.md"]
    alarms = re.findall(r"^  (\w+Alarm):$", TEMPLATE, flags=re.M)
    top = text.partition("\n## ")[0]
    for name, what in (
        *((alarm, "alarm") for alarm in alarms),
        *((kind, "alert") for kind in KINDS),
    ):
        [heading] = re.findall(rf"^## (.+ \((?:.+, )?{name}(?:, .+)?\))$", text, flags=re.M)
        anchor = re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")
        rows = [row for row in top.splitlines() if f"{what} `{name}`" in row]
        assert len(rows) == 1, name
        assert f"(#{anchor})" in rows[0], name


def test_the_runbook_names_functions_resources_and_events_that_there_are() -> None:
    text = DOCUMENTS["docs/runbook.md"]
    made = set(re.findall(r"^  (\w+):\n    Type: AWS::", TEMPLATE, flags=re.M))
    named = re.findall(r'"\$\(physical (\w+)\)"|--name (\w+Function)|remote invoke (\w+)', text)
    assert {name for names in named for name in names if name} <= made
    assert "WatchCapacityFunction" in made


def test_the_runbook_finds_a_leaked_key_without_showing_its_value(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    apigateway = SESSION.client("apigateway")
    monkeypatch.setattr(boto3, "client", lambda service: apigateway)
    monkeypatch.setattr("getpass.getpass", lambda prompt: VALUE)
    others = [{"id": f"k{number}", "value": f"other-{number}"} for number in range(2)]
    asked = {"includeValues": True, "limit": 500}
    with Stubber(apigateway) as stub:
        stub.add_response("get_api_keys", {"items": others, "position": "p2"}, asked)
        stub.add_response(
            "get_api_keys",
            {"items": [{"id": "k9", "name": "kj-1", "value": VALUE, "enabled": True}]},
            {**asked, "position": "p2"},
        )
        exec(compile(the_block("docs/runbook.md", "python", "find"), "<docs>", "exec"), {})
    assert capsys.readouterr().out == "k9 kj-1 enabled\n"
