"""What strangers and AWS send is read right, or refused with the field named; nothing else happens.

`make fuzz` tries 10,000 of each; KEYJANITOR_FUZZ_EXAMPLES says how many.
"""

import json
import os
from datetime import date, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from keyjanitor.adapters.api_gateway import ApiGateway
from keyjanitor.adapters.ownership import Ownership
from keyjanitor.adapters.rate_limiter import RateLimiter
from keyjanitor.domain.model.invocation import Invocation, ReplayWindow, SweepInvocation
from keyjanitor.domain.model.keys import ApiKey, Mode
from keyjanitor.domain.requests.body import Body, check, read
from keyjanitor.domain.requests.sqs_message import read_records
from keyjanitor.domain.usage.plan_usage import PlanUsage
from keyjanitor.errors import (
    CallFailed,
    InvalidEvent,
    InvalidRequest,
    ModeRefused,
    NotARequest,
    OutsideReplayWindow,
    UnexpectedAnswer,
)
from tests.builders import ASKER, TODAY, a_document, a_usage_plan, at

EXAMPLES = int(os.environ.get("KEYJANITOR_FUZZ_EXAMPLES", settings().max_examples))
SEVERAL_MINUTES = 3600
FUZZ = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
pytestmark = pytest.mark.timeout(SEVERAL_MINUTES)

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=40)
JSON = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4)
    ),
    max_leaves=12,
)
NEAR_DATES = st.dates(date(2020, 1, 1), date(2035, 1, 1)).map(str)
ODD_TEXTS = st.sampled_from(
    ["", " ", "\x00", "\u202e", "2026-02-30", "9999-12-31", "0001-01-01", "1", "*", "a" * 3000]
) | st.text(max_size=60)


@st.composite
def bent(draw: Any, whole: st.SearchStrategy[dict[str, Any]], names: list[str]) -> dict[str, Any]:
    """A document that was right, with a few of its fields made wrong, taken away or added."""
    document = dict(draw(whole))
    for _ in range(draw(st.integers(0, 3))):
        name = draw(st.sampled_from(names) | st.text(max_size=12))
        if draw(st.booleans()) and name in document:
            del document[name]
        else:
            document[name] = draw(ODD_TEXTS | NEAR_DATES | JSON)
    return document


def _says(err: Exception, *, without: str | None = None) -> None:
    """A refusal is a short text that repeats no secret, and names the field if it is about one."""
    text = str(err)
    assert 0 < len(text) < 2_000
    assert without is None or without not in text
    if isinstance(err, InvalidRequest):
        assert err.field
        assert text == f"{err.field}: {err.reason}"
    if isinstance(err, InvalidEvent):
        assert text == f"event: {err.field}: {err.reason}"


# --- requests -------------------------------------------------------------------------------------

FIELDS = [
    "version",
    "action",
    "request_id",
    "tier",
    "owner",
    "name",
    "deliver_to",
    "expires_on",
    "reason",
    "key_id",
    "overlap_days",
    "until",
]
WHOLE = st.sampled_from(
    [
        a_document(),
        a_document(expires_on="2027-01-31", reason="why"),
        *(
            {"version": 1, "action": action, "request_id": "r1", "key_id": "k0"}
            for action in ("rotate", "renew", "revoke", "restore", "release")
        ),
        {
            "version": 1,
            "action": "protect",
            "request_id": "r1",
            "key_id": "k0",
            "until": "2027-01-01",
        },
        a_document("assign", name="app", deliver_to="arn:aws:iam::123456789012:role/portal"),
    ]
)


def _body(text: str) -> Body | None:
    try:
        return read(text)
    except NotARequest as err:
        _says(err, without=text if len(text) > 4 else None)
        return None


@given(bent(WHOLE, FIELDS))
@FUZZ
def test_a_request_is_right_or_refused_with_its_field(document: dict[str, Any]) -> None:
    body = _body(json.dumps(document))
    if body is None:
        assert not isinstance(document.get("request_id"), str)
        return
    try:
        request = check(body, ASKER, TODAY)
    except InvalidRequest as err:
        _says(err)
    else:
        assert request.request_id == document["request_id"]
        assert str(request.action) == document["action"]
        assert set(document) <= set(FIELDS)


@given(st.text(max_size=400) | JSON.map(json.dumps) | st.binary(max_size=99).map(repr))
@FUZZ
def test_any_body_is_a_request_or_is_none(text: str) -> None:
    body = _body(text)
    if body is None:
        return
    try:
        check(body, ASKER, TODAY)
    except InvalidRequest as err:
        _says(err)


ATTRIBUTES = st.dictionaries(
    st.sampled_from(["SenderId", "SentTimestamp", "ApproximateReceiveCount", "x"]),
    st.text(max_size=30) | st.integers().map(str),
)


@given(
    st.fixed_dictionaries(
        {"messageId": st.text(max_size=40), "body": st.text(max_size=40), "attributes": ATTRIBUTES},
        optional={"receiptHandle": st.text(max_size=40)},
    )
)
@FUZZ
def test_any_record_of_the_queue_is_a_message(record: dict[str, Any]) -> None:
    (message,) = read_records({"Records": [record]})
    assert message.message_id == record["messageId"]
    assert ":" not in message.sender
    assert 0 < message.retry_after_s <= 900
    assert message.today(WINDOW) <= WINDOW.now.date()


# --- events ---------------------------------------------------------------------------------------

WINDOW = ReplayWindow(at(TODAY, 3), 36)
EVENT_FIELDS = ["time", "mode", "approve", "undo", "key_ids", "hold", "resume"]
TIMES = st.sampled_from([f"{TODAY}T03:15:00Z", f"{TODAY}T23:59:60Z", f"{TODAY}", "now"])
EVENTS: st.SearchStrategy[dict[str, Any]] = st.sampled_from(
    [
        {},
        {"time": f"{TODAY}T03:15:00Z"},
        {"mode": "observe"},
        {"approve": "0123456789abcdef"},
        {"undo": str(TODAY), "key_ids": ["k0"]},
        {"hold": "why"},
        {"resume": True},
    ]
)
REFUSED = (InvalidEvent, ModeRefused, OutsideReplayWindow)


@given(bent(EVENTS, EVENT_FIELDS), st.sampled_from(list(Mode)))
@FUZZ
def test_an_event_of_a_sweep_is_right_or_refused(event: dict[str, Any], mode: Mode) -> None:
    try:
        run = SweepInvocation.parse(event, mode, WINDOW)
    except InvalidEvent as err:
        _says(err)
    except REFUSED:  # of its time, or of a mode that is less than what is asked for
        assert {"time", "mode"} & set(event) or mode is not Mode.PARK
    else:
        assert set(event) <= set(EVENT_FIELDS)
        assert mode.allows(run.mode) or run.hold or run.resume
        assert run.time.utcoffset() == timedelta(0)
        asked = [run.approve, run.undo, run.hold, run.resume or None]
        assert sum(one is not None for one in asked) <= 1


@given(bent(st.just({"time": f"{TODAY}T02:15:00Z"}), ["time"]) | JSON)
@FUZZ
def test_an_event_of_a_reading_is_right_or_refused(event: Any) -> None:
    try:
        run = Invocation.parse(event, WINDOW)
    except InvalidEvent as err:
        _says(err)
    except OutsideReplayWindow:
        assert "time" in event
    else:
        assert WINDOW.is_near(run.time)


# --- what AWS answers -----------------------------------------------------------------------------


class Answering:
    """A client that gives the same answer to every call, or the answers in turn."""

    def __init__(self, *answers: Any) -> None:
        self._answers = list(answers)

    def __getattr__(self, name: str) -> Any:
        def call(**_: Any) -> Any:
            answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
            if isinstance(answer, ClientError):
                raise answer
            return answer

        return call


def _gateway(*answers: Any) -> ApiGateway:
    still = RateLimiter(3, monotonic=lambda: 0.0, sleep=lambda _: None)
    return ApiGateway(Answering(*answers), still)


START = TODAY - timedelta(days=90)
PAIR = (
    st.lists(st.integers(0, 2000), max_size=3)
    | st.integers(-5, 10)
    | st.none()
    | st.just([0, 2**70])
    | st.just(["7", 1])
    | st.floats(0, 9)
)
ONE_DAY = [[3, 997]]
DAYS = (
    st.lists(PAIR, max_size=8)
    | st.just(ONE_DAY * 91)
    | st.just(ONE_DAY * 60)
    | st.none()
    | st.text(max_size=4)
    | st.integers()
)
ITEMS = st.dictionaries(st.sampled_from(["k0", "k1", "stranger"]), DAYS, max_size=3)
USAGE_PAGES = st.fixed_dictionaries(
    {},
    optional={
        "startDate": st.just(str(START)) | ODD_TEXTS,
        "endDate": st.just(str(TODAY)) | NEAR_DATES | ODD_TEXTS,
        "items": ITEMS | st.none() | st.lists(st.integers(), max_size=2),
        "position": st.none() | st.sampled_from(["", "p1", "p2"]),
    },
)


@given(st.lists(USAGE_PAGES, min_size=1, max_size=3))
@FUZZ
def test_pages_of_usage_are_read_or_the_answer_is_none(pages: list[dict[str, Any]]) -> None:
    pages[-1] = {**pages[-1], "position": None}
    usage = PlanUsage(a_usage_plan(), START, TODAY)
    try:
        for page in _gateway(*pages).usage("plan1", START, TODAY):
            usage.add(page)
    except UnexpectedAnswer as err:
        _says(err, without="stranger")
        return
    whole = {key: days for page in pages for key, days in (page.get("items") or {}).items()}
    for key_id, on in usage.last_used.items():
        assert START <= on <= TODAY
        assert key_id in whole


MOMENTS = st.dates(date(2015, 1, 1), date(2030, 1, 1)).map(at)
KEY_ITEMS = st.fixed_dictionaries(
    {},
    optional={
        "id": st.text(min_size=1, max_size=12),
        "name": st.text(max_size=12) | st.none(),
        "enabled": st.booleans(),
        "createdDate": MOMENTS | st.just("yesterday"),
        "lastUpdatedDate": MOMENTS | st.none(),
        "stageKeys": st.lists(st.text(max_size=9), max_size=2) | st.none(),
        "tags": st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=2),
        "description": st.text(max_size=9) | st.none(),
        "value": st.just("SECRETSECRETSECRETSECRETSECRET"),
    },
)
LISTS = st.fixed_dictionaries(
    {},
    optional={
        "items": st.lists(KEY_ITEMS, max_size=4) | st.none(),
        "position": st.none() | st.sampled_from(["", "p1"]),
    },
)


@given(st.lists(LISTS, min_size=1, max_size=3))
@FUZZ
def test_a_list_of_keys_is_read_or_the_answer_is_none(pages: list[dict[str, Any]]) -> None:
    pages[-1] = {**pages[-1], "position": None}
    read_to = next(n for n, page in enumerate(pages) if not page.get("position")) + 1
    try:
        keys = _gateway(*pages).keys()
    except UnexpectedAnswer as err:
        _says(err, without="SECRET")
        return
    assert all(isinstance(page.get("items"), list) for page in pages[:read_to])
    assert all(isinstance(key, ApiKey) for key in keys)
    ids = {item["id"] for page in pages[:read_to] for item in page["items"]}
    assert {key.key_id for key in keys} == ids


@given(st.lists(LISTS, min_size=1, max_size=3))
@FUZZ
def test_a_list_of_members_is_read_or_the_answer_is_none(pages: list[dict[str, Any]]) -> None:
    pages[-1] = {**pages[-1], "position": None}
    read_to = next(n for n, page in enumerate(pages) if not page.get("position")) + 1
    try:
        members = _gateway(*pages).members("plan1")
    except UnexpectedAnswer as err:
        _says(err, without="SECRET")
        return
    told = [item["id"] for page in pages[:read_to] for item in page["items"]]
    assert set(members) == set(told)


STAGES = st.lists(
    st.fixed_dictionaries(
        {}, optional={"apiId": st.text(max_size=5), "stage": st.text(max_size=5)}
    ),
    max_size=2,
)
PLAN_LISTS = st.fixed_dictionaries(
    {},
    optional={
        "items": st.none()
        | st.lists(
            st.fixed_dictionaries(
                {},
                optional={
                    "id": st.text(min_size=1, max_size=6),
                    "name": st.text(max_size=6) | st.none(),
                    "apiStages": STAGES | st.none(),
                    "quota": st.none()
                    | st.fixed_dictionaries({}, optional={"limit": st.integers()}),
                },
            ),
            max_size=3,
        )
    },
)


@given(PLAN_LISTS)
@FUZZ
def test_a_list_of_plans_is_read_or_the_answer_is_none(page: dict[str, Any]) -> None:
    try:
        plans = _gateway(page).usage_plans()
    except UnexpectedAnswer:
        return
    ids = dict.fromkeys(
        item["id"] for item in page["items"]
    )  # one that is listed twice is one plan
    assert [plan.usage_plan_id for plan in plans] == list(ids)


TAG_PAGES = st.fixed_dictionaries(
    {},
    optional={
        "ResourceTagMappingList": st.none()
        | st.lists(
            st.fixed_dictionaries(
                {},
                optional={
                    "ResourceARN": st.sampled_from(
                        [
                            "arn:aws:apigateway:us-east-1::/apikeys/k0",
                            "arn:aws-cn:apigateway:cn-north-1::/apikeys/k1",
                            "arn:aws:apigateway:us-east-1::/restapis/a1",
                            "nonsense",
                        ]
                    ),
                    "Tags": st.lists(
                        st.fixed_dictionaries({"Key": st.text(max_size=4), "Value": st.just("v")}),
                        max_size=2,
                    ),
                },
            ),
            max_size=3,
        )
    },
)


@given(TAG_PAGES)
@FUZZ
def test_tags_are_read_or_nobody_knows_them(page: dict[str, Any]) -> None:
    try:
        tags = Ownership(Answering(page), Answering({})).tags()
    except (CallFailed, UnexpectedAnswer):
        return
    assert "ResourceTagMappingList" in page
    assert set(tags) <= {"k0", "k1"}


@given(st.dictionaries(st.sampled_from(["StackResources", "x"]), JSON, max_size=2))
@FUZZ
def test_a_stack_is_read_or_nobody_knows_it(answer: dict[str, Any]) -> None:
    assume(answer)
    try:
        stack = Ownership(Answering({}), Answering(answer)).stack_of("k0")
    except (CallFailed, UnexpectedAnswer):
        return
    assert isinstance(stack, str)
