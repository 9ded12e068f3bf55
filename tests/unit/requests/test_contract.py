"""The request contract: what `request.schema.json` lets in, and what of a body is made of it."""

import json
import traceback
from datetime import date
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyjanitor.domain.requests.body import LOOKS_LIKE_A_VALUE, Body, check, read
from keyjanitor.domain.requests.key_request import OVERLAP_DAYS, Action, KeyRequest
from keyjanitor.errors import InvalidRequest, NotARequest
from tests.builders import ASKER, PORTAL, TODAY, a_document, in_days

VALUE = "keyj" + "0" * 36
OF_OURS = "keyj" + "0" * 30 + "0I7IRA"  # with its checksum
HALF = "\ud83d"  # the first half of an emoji: JSON can say it, no text can hold it
ACTIONS = tuple(map(str, Action))
OF_A_KEY = tuple(action for action in ACTIONS if action != "issue")


def checked(document: Any) -> KeyRequest:
    return check(read(json.dumps(document)), ASKER, TODAY)


def refused(document: Any) -> InvalidRequest:
    """Why a request does not fit; the message can be told in an event."""
    with pytest.raises(InvalidRequest) as err:
        checked(document)
    text = str(err.value)
    assert len(text.encode()) < 2_000, len(text)
    assert str(err.value) == f"{err.value.field}: {err.value.reason}"
    return err.value


def without(document: dict[str, Any], name: str) -> dict[str, Any]:
    return {field: value for field, value in document.items() if field != name}


# --- what fits ------------------------------------------------------------------------------------


def test_an_issue_with_all_that_it_may_have() -> None:
    document = a_document(expires_on="2027-01-31", reason="new partner")
    assert checked(document) == KeyRequest(
        request_id="r1",
        action=Action.ISSUE,
        sender=ASKER,
        today=TODAY,
        tier="external",
        owner="user-8f1c",
        name="app",
        deliver_to=PORTAL,
        expires_on=date(2027, 1, 31),
        reason="new partner",
    )


def test_an_issue_with_all_that_it_needs() -> None:
    assert checked(a_document()) == KeyRequest(
        request_id="r1",
        action=Action.ISSUE,
        sender=ASKER,
        today=TODAY,
        tier="external",
        owner="user-8f1c",
        name="app",
        deliver_to=PORTAL,
    )


@pytest.mark.parametrize("action", OF_A_KEY)
@pytest.mark.parametrize("reason", [None, "why not"])
def test_a_request_about_a_key(action: str, reason: str | None) -> None:
    document = a_document(action, **({"reason": reason} if reason else {}))
    assert checked(document) == KeyRequest(
        request_id="r1",
        action=Action(action),
        sender=ASKER,
        today=TODAY,
        key_id="k0",
        overlap_days=OVERLAP_DAYS,
        until=in_days(30) if action == "protect" else None,
        owner="user-8f1c" if action == "assign" else "",
        reason=reason,
    )


@pytest.mark.parametrize(("days", "read_as"), [(0, 0), (7, 7), (90, 90), (7.0, 7), (9e1, 90)])
def test_the_overlap_of_a_rotation_in_whole_days(days: float, read_as: int) -> None:
    overlap_days = checked(a_document("rotate", overlap_days=days)).overlap_days
    assert (overlap_days, type(overlap_days)) == (read_as, int)


def test_an_overlap_that_is_left_out_is_a_week() -> None:
    assert OVERLAP_DAYS == 7
    assert checked(a_document("rotate")).overlap_days == 7


UGLY = (
    'comma, "quoted"',
    "=HYPERLINK(1)",
    "\N{GRINNING FACE}\N{SNOWMAN}",
    " ",
    "👩\u200d🚀 \u0645\u06cc\u200c\u062e",
    "x" * 1024,
    "\N{GRINNING FACE}" * 1024,
)


@pytest.mark.parametrize("text", UGLY)
def test_texts_may_hold_anything_that_shows_and_are_counted_in_characters(text: str) -> None:
    request = checked(a_document(owner=text, name=text, reason=text))
    assert (request.owner, request.name, request.reason) == (text, text, text)
    document = a_document("revoke", reason=text)
    assert checked(document).reason == text


HIDDEN = [
    "\0",
    "\n",
    "\r\n",
    "\t",
    "\x1b",
    "\x7f",
    "\x85",
    "\x9b",
    "\xad",
    "\u200b",
    "\u200f",
    "\u2028",
]
HIDDEN += ["\u202e", "\u2066", "\u2060", "\u061c", "\ufeff", "\U000e0041"]


@pytest.mark.parametrize("field", ["owner", "name", "reason", "tier"])
@pytest.mark.parametrize("hidden", HIDDEN, ids=ascii)
def test_a_text_that_holds_what_does_not_show_is_refused_with_its_field(
    field: str, hidden: str
) -> None:
    with pytest.raises(InvalidRequest) as err:
        checked(a_document(**{field: f"a{hidden}b"}))
    assert err.value.field == field
    assert err.value.reason == (f"holds U+{ord(hidden[0]):04X}, a character that does not show")


@pytest.mark.parametrize(
    "request_id", ["r", "!", "~", '"', "a" * 128, "portal-7f3c9a52:issue/1", "{}[],'\\"]
)
def test_a_request_id_is_of_visible_characters(request_id: str) -> None:
    assert checked(a_document(request_id=request_id)).request_id == request_id


@pytest.mark.parametrize("key_id", ["k", "a1b2c3d4e5", "A-_z", "x" * 19])
def test_key_ids_as_api_gateway_makes_them_and_nearly_twice_as_long(key_id: str) -> None:
    assert checked(a_document("renew", key_id=key_id)).key_id == key_id


# --- what does not --------------------------------------------------------------------------------


@pytest.mark.parametrize("action", ACTIONS)
def test_every_field_that_an_action_needs_is_missed(action: str) -> None:
    document = a_document(action)
    for name in document:
        if name != "request_id":
            assert name in str(refused(without(document, name)))


@pytest.mark.parametrize(
    ("document", "field", "reason"),
    [
        (without(a_document(), "owner"), "owner", "is missing"),
        ({**a_document(), "more": 1}, "(body)", "unknown field: 'more'"),
        (a_document(owner=7), "owner", "must be string"),
        (a_document(owner=""), "owner", "must be longer than or equal to 1 characters"),
        (
            a_document("rotate", overlap_days=91),
            "overlap_days",
            "must be at most 90",
        ),
        (a_document("protect", until="soon"), "until", "must be a date, YYYY-MM-DD"),
        (
            {**a_document(), "action": "explode"},
            "action",
            "must be one of ['issue', 'rotate', 'renew', 'revoke', 'restore', 'protect', 'release', 'assign']",
        ),
    ],
)
def test_a_refusal_says_where_and_what_is_wrong(
    document: dict[str, Any], field: str, reason: str
) -> None:
    err = refused(document)
    assert (err.field, err.reason) == (field, reason)


OTHERS: dict[str, Any] = {
    "tier": "external",
    "owner": "user-8f1c",
    "name": "app",
    "deliver_to": PORTAL,
    "expires_on": "2027-01-31",
    "key_id": "k0",
    "overlap_days": 7,
    "until": "2027-01-31",
    "sender": ASKER,
    "today": "2026-11-21",
    "Reason": "why",
    "": 1,
    "enabled": True,
}
MAY_HAVE = {
    "issue": {"expires_on"},
    "rotate": {"overlap_days"},
    "assign": {"name", "deliver_to"},
}


@pytest.mark.parametrize("action", ACTIONS)
def test_a_field_that_does_not_go_with_the_action_is_refused(action: str) -> None:
    document = a_document(action)
    for name, value in OTHERS.items():
        if name not in document and name not in MAY_HAVE.get(action, ()):
            assert repr(name) in str(refused({**document, name: value})), name


TEXTS = {"tier": 128, "owner": 1024, "name": 1024, "deliver_to": 2048, "reason": 1024}


@pytest.mark.parametrize("field", TEXTS)
def test_a_text_of_an_issue_has_a_length(field: str) -> None:
    for fits in ("x", "x" * TEXTS[field]):
        assert getattr(checked(a_document(**{field: fits})), field) == fits
    wrongs: list[Any] = ["", "x" * (TEXTS[field] + 1), None, 7, True, ["x"], {"x": 1}]
    for wrong in wrongs:
        assert refused(a_document(**{field: wrong})).field == field


@pytest.mark.parametrize("field", ["owner", "name", "deliver_to"])
def test_a_text_of_an_assignment_has_the_length_that_it_has_in_an_issue(field: str) -> None:
    for fits in ("x", "x" * TEXTS[field]):
        assert getattr(checked(a_document("assign", **{field: fits})), field) == fits
    for wrong in ("", "x" * (TEXTS[field] + 1), None, 7):
        assert refused(a_document("assign", **{field: wrong})).field == field


@pytest.mark.parametrize("action", OF_A_KEY)
def test_a_reason_has_a_length_in_every_request(action: str) -> None:
    assert refused(a_document(action, reason="x" * 1025)).field == "reason"
    assert refused(a_document(action, reason="")).field == "reason"


@pytest.mark.parametrize(
    ("field", "action"),
    [("expires_on", "issue"), ("until", "protect")],
    ids=["expires_on", "until"],
)
@pytest.mark.parametrize(
    "text",
    [
        "",
        "2027-02-29",
        "2027-13-01",
        "2027-1-31",
        "20270131",
        "2027-W05-7",
        "2027-01-31T00:00:00Z",
        "2027-01-31\n",
        " 2027-01-31",
        "0000-01-01",
        "10000-01-01",
        "\N{ARABIC-INDIC DIGIT TWO}027-01-31",
        "tomorrow",
        20270131,
        None,
        ["2027-01-31"],
    ],
)
def test_a_date_is_a_day_of_the_calendar_written_one_way(
    field: str, action: str, text: Any
) -> None:
    assert refused(a_document(action, **{field: text})).field == field


@pytest.mark.parametrize(
    "days", [-1, 91, 7.5, "7", None, True, False, [7], 10**30, float("nan"), float("inf")]
)
def test_an_overlap_is_of_0_to_90_whole_days(days: Any) -> None:
    assert refused(a_document("rotate", overlap_days=days)).field == "overlap_days"


def test_a_number_of_any_length_is_no_more_than_wrong() -> None:
    text = json.dumps(a_document("rotate", overlap_days=0))
    for number in ("9" * 5_000, "-" + "9" * 5_000, "1e999999", "-Infinity"):
        body = read(text.replace('"overlap_days": 0', f'"overlap_days": {number}'))
        with pytest.raises(InvalidRequest, match=r"^overlap_days: "):
            check(body, ASKER, TODAY)


@pytest.mark.parametrize("version", [0, 2, "1", None, True, [1], 1.5])
@pytest.mark.parametrize("action", ["issue", "renew"])
def test_the_version_is_one(version: Any, action: str) -> None:
    assert refused(a_document(action, version=version)).field == "version"


@pytest.mark.parametrize(
    "action", ["", "Issue", "issue ", "delete", "purge", None, 1, ["issue"], {}]
)
def test_an_action_is_one_of_seven(action: Any) -> None:
    assert refused({**a_document(), "action": action}).field == "action"


@pytest.mark.parametrize(
    "request_id",
    ["", "a b", "a\n", "\ta", "\N{LATIN SMALL LETTER E WITH ACUTE}", "a" * 129, "\x7f", HALF],
)
def test_a_request_id_of_other_characters_is_refused_and_answered(request_id: str) -> None:
    refused(a_document(request_id=request_id))


@pytest.mark.parametrize(
    "key_id", ["", "a/b", "../k0", "k0\n", "a b", "x" * 65, "\N{GRINNING FACE}", None, 5, ["k0"]]
)
def test_a_key_id_of_other_characters_is_refused(key_id: Any) -> None:
    """It becomes a part of paths and of names of files."""
    assert refused(a_document("revoke", key_id=key_id)).field == "key_id"


@pytest.mark.parametrize(
    "document",
    [
        a_document(owner=HALF),
        a_document(name=f"a{HALF}b"),
        a_document("revoke", reason=HALF),
        {**a_document(), HALF: 1},
        {**a_document(), "more": [{HALF: {"a": HALF}}]},
    ],
)
def test_half_a_character_is_no_text(document: dict[str, Any]) -> None:
    assert (refused(document).field, refused(document).reason) == (
        "(body)",
        "holds half a character, which is no text",
    )


def test_two_halves_are_one_character() -> None:
    document = json.dumps(a_document(owner="OWNER")).replace("OWNER", "\\ud83d\\ude00")
    assert check(read(document), ASKER, TODAY).owner == "\N{GRINNING FACE}"


# --- names that stand there twice -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "name"),
    [
        ('"owner": "another"', "owner"),
        ('"owner": "user-8f1c"', "owner"),
        ('"tier": "inner", "owner": "another"', "tier"),
        ('"own\\u0065r": "another"', "owner"),
        ('"request_id": "r2"', "request_id"),
    ],
)
def test_who_writes_a_field_twice_means_two_things(more: str, name: str) -> None:
    body = read(json.dumps(a_document())[:-1] + f", {more}}}")
    with pytest.raises(InvalidRequest) as err:
        check(body, ASKER, TODAY)
    assert (err.value.field, err.value.reason) == (name, "is there twice")


@pytest.mark.parametrize("name", ["x" * 300_000, HALF, "\\ud800\\udbff", " twice", "\\u0000"])
def test_a_name_that_stands_there_twice_can_be_told_whatever_it_is(name: str) -> None:
    """The refusal's reason goes into an event, whose size and characters have limits."""
    name = name.encode("ascii", "backslashreplace").decode()
    body = read(json.dumps(a_document())[:-1] + f', "{name}": 1, "{name}": 1}}')
    with pytest.raises(InvalidRequest) as err:
        check(body, ASKER, TODAY)
    assert len(str(err.value).encode()) < 2_000


# --- bodies that are no requests ------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "null",
        "true",
        "7",
        "NaN",
        "-Infinity",
        "9" * 100_000,
        "-",
        '"text"',
        "[]",
        '[{"request_id": "r1"}]',
        "{}",
        '{"request_id": null}',
        '{"request_id": 7}',
        '{"request_id": ["r1"]}',
        '{"request_id": {"S": "r1"}}',
        '{"Request_id": "r1"}',
        '{"request_id": "r1"',
        '{"request_id": "r1"} {"request_id": "r2"}',
        "{'request_id': 'r1'}",
        '{"request_id": "r1",}',
        '{"request_id": "a\nb"}',
        '\ufeff{"request_id": "r1"}',
        "\0",
        VALUE,
        f'{{"key": "{VALUE}"}}',
        "[" * 500_000,
        '{"request_id": "r1", "a": ' + "[" * 400_000 + "]" * 400_000 + "}",
        '{"a":' * 150_000 + "1" + "}" * 150_000,
        "x" * 1_048_576,
    ],
    ids=lambda text: f"{text[:24]!r}({len(text)})",
)
def test_what_names_no_request_goes_to_the_dead_letters(text: str) -> None:
    with pytest.raises(NotARequest) as err:
        read(text)
    # The body may hold anything, a value by mistake.
    assert str(err.value) in {
        f"a message cannot be answered, {reason}; it goes to the dead-letter queue"
        for reason in (
            "it is no JSON",
            "it is no JSON object with a string request_id",
            "it is too deep",
            "it is a JSON text; a request that was encoded twice looks like this",
            "it is a JSON list; send each request as a message of its own",
            "it begins with a byte order mark; write the body as UTF-8 without one",
        )
    }
    assert VALUE not in "".join(traceback.format_exception(err.value)) + repr(vars(err.value))


@pytest.mark.parametrize(
    ("document", "what"),
    [
        (
            {"Type": "Notification", "TopicArn": "arn", "Message": "{}"},
            "it is an SNS notification; switch on raw message delivery for the subscription",
        ),
        (
            {"Type": "SubscriptionConfirmation", "TopicArn": "arn"},
            "it is a message of SNS about a subscription, not about a key",
        ),
        (
            {"Type": "UnsubscribeConfirmation", "TopicArn": "arn"},
            "it is a message of SNS about a subscription, not about a key",
        ),
        (
            {"detail-type": "x", "detail": {"request_id": "r1"}, "source": "portal"},
            "it is an EventBridge event; set InputPath to $.detail in the rule's target",
        ),
        (
            {"requestPayload": {}, "requestContext": {}},
            "it is the record of a Lambda destination; send the request itself",
        ),
        ([{"request_id": "r1"}], "it is a JSON list; send each request as a message of its own"),
        (
            json.dumps(a_document()),
            "it is a JSON text; a request that was encoded twice looks like this",
        ),
        ({"id": "r1"}, "it is no JSON object with a string request_id"),
        (7, "it is no JSON object with a string request_id"),
    ],
)
def test_what_names_no_request_is_told_what_it_looks_like(document: Any, what: str) -> None:
    with pytest.raises(NotARequest) as err:
        read(json.dumps(document))
    assert what in str(err.value)
    assert err.value.request_id is None


@pytest.mark.parametrize(
    ("text", "request_id"),
    [
        ('{"version": 1, "request_id": "r-1", }', "r-1"),
        ('{"request_id" :\n"r-1"', "r-1"),
        ('\ufeff{"request_id": "r-1"}', "r-1"),
        ('{"request_id": "r-1"}{"request_id": "r-1"}', "r-1"),
        ('{"request_id": "r-1"}{"request_id": "r-2"}', None),
        ('{"request_id": r-1}', None),
        ('{"request_id": ""', None),
        ('{"request_id": "a b"', None),
        ('{"request_id": "a\\"b"', None),
        ('{"requestid": "r-1",}', None),
        ("{'request_id': 'r-1'}", None),
        ('{"request_id": "' + "i" * 129 + '"', None),
        ('{"request_id": "aB3dE6gH9jK2mN5pQ8sT1vW4xY7zA0bC3dE6fG9"', None),  # it looks like a value
        ('"{\\"request_id\\": \\"r-1\\"}" x', None),
    ],
)
def test_what_is_not_quite_json_is_refused_under_the_one_id_that_it_means(
    text: str, request_id: str | None
) -> None:
    with pytest.raises(NotARequest) as err:
        read(text)
    assert err.value.request_id == request_id


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"more": "x" * 1_000_000}, "(body)"),
        ({"owner": "x" * 1_000_000}, "owner"),
        ({"x" * 200_000: 1}, "(body)"),
        ({f"field{number}": number for number in range(5_000)}, "(body)"),
        ({"owner": [[[[1]]]] * 10_000}, "owner"),
        ({"action": "x" * 1_000_000}, "action"),
        ({"more": float("nan")}, "(body)"),
        ({"request_id": "x" * 1_000_000}, "request_id"),
    ],
    ids=["text", "owner", "name", "many", "list", "action", "nan", "request_id"],
)
def test_a_request_of_a_megabyte_is_refused_in_a_few_words(
    more: dict[str, Any], field: str
) -> None:
    document = a_document(**more) if "action" not in more else {**a_document(), **more}
    assert refused(document).field == field


@pytest.mark.parametrize("depth", [50, 300, 450, 900])
def test_a_deep_body_is_refused_or_no_request_but_nothing_else(depth: int) -> None:
    text = json.dumps(a_document())[:-1] + ', "more": ' + "[" * depth + "]" * depth + "}"
    try:
        body = read(text)
    except NotARequest:
        return
    with pytest.raises(InvalidRequest):
        check(body, ASKER, TODAY)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just(HALF),
    lambda some: st.lists(some) | st.dictionaries(st.text(), some),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from([*a_document(), "key_id", "until", "more"]), anything))
def test_whatever_a_body_holds_it_is_a_request_or_refused_or_none(document: Any) -> None:
    try:
        request = checked(document)
    except (NotARequest, InvalidRequest):
        return
    assert request.sender == ASKER


@given(st.text() | anything.map(json.dumps))
def test_whatever_text_comes_is_read_or_refused(text: str) -> None:
    try:
        body = read(text)
    except NotARequest:
        return
    assert isinstance(body.document["request_id"], str)


# --- values in the wrong place --------------------------------------------------------------------

MIXED = "aB3" * 20


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"name": OF_OURS}, "name"),
        ({"reason": f"the key is {OF_OURS}, thanks"}, "reason"),
        ({"more": OF_OURS}, "(body)"),
        ({OF_OURS: 1}, "(body)"),
        ({"owner": {"a": [OF_OURS]}}, "owner"),
        ({"owner": [["x", OF_OURS]]}, "owner"),
        ({"owner": {OF_OURS: 1}}, "(body)"),
        ({"more": {"name": OF_OURS}}, "(body)"),
        ({"key_id": "k" * 20}, "key_id"),
        ({"name": MIXED[:20]}, "name"),
        ({"owner": MIXED[:32]}, "owner"),
        ({"request_id": MIXED[:32]}, "request_id"),
        ({"deliver_to": f"arn:aws:iam::1:role/{MIXED}"}, "deliver_to"),
        ({"reason": f"arn:aws:iam::123456789012:role/{MIXED}"}, "reason"),
        ({"reason": "x" * 4_000 + " " + OF_OURS}, "reason"),
    ],
)
def test_a_body_that_holds_a_value_is_refused_with_its_field_and_not_with_the_value(
    more: dict[str, Any], field: str
) -> None:
    body = read(json.dumps(a_document(**more)))
    assert body.leak == field
    with pytest.raises(InvalidRequest) as err:
        check(body, ASKER, TODAY)
    assert (err.value.field, err.value.reason) == (field, LOOKS_LIKE_A_VALUE)


@pytest.mark.parametrize(
    "more",
    [
        {"key_id": "k" * 19},
        {"name": MIXED[:19]},
        {"owner": MIXED[:31]},
        {"request_id": MIXED[:31]},
        {"deliver_to": f"arn:aws:iam::123456789012:role/{MIXED}"},
        {"deliver_to": f"arn:aws:iam::123456789012:user/team/{MIXED}"},
        {"reason": "x" * 4_096 + " " + OF_OURS},  # refused for its length, and repeated nowhere
        {"more": 7, "also": None, "list": [1, {"a": True}]},
    ],
)
def test_what_is_no_value_is_none(more: dict[str, Any]) -> None:
    assert read(json.dumps(a_document(**more))).leak is None


# --- digests --------------------------------------------------------------------------------------


def digest(text: str) -> str:
    return read(text).digest


def test_the_same_object_has_the_same_digest_however_it_is_written() -> None:
    document = {**a_document(), "name": "\N{GRINNING FACE} é/", "reason": "a\tb"}
    written = {
        json.dumps(document),
        json.dumps(document, ensure_ascii=False),
        json.dumps(document, indent=4),
        json.dumps(document, separators=(" ,", ": ")),
        json.dumps(dict(reversed(document.items()))),
        json.dumps(document, sort_keys=True) + "\r\n\t ",
        json.dumps(document).replace("/", "\\/"),
        json.dumps(document).replace('"r1"', '"\\u0072\\u0031"'),
    }
    assert len(written) == 8
    assert len({digest(text) for text in written}) == 1


@given(anything, st.randoms(use_true_random=False))
def test_the_order_of_names_does_not_change_the_digest(value: Any, chance: Any) -> None:
    def shuffled(value: Any) -> Any:
        if isinstance(value, list):
            return [shuffled(one) for one in value]
        if isinstance(value, dict):
            items = list(value.items())
            chance.shuffle(items)
            return {name: shuffled(one) for name, one in items}
        return value

    document = {"request_id": "r1", "more": value}
    assert digest(json.dumps(document)) == digest(json.dumps(shuffled(document), indent=1))


def test_another_object_has_another_digest() -> None:
    document = a_document("rotate", overlap_days=7, reason="a")
    others: list[dict[str, Any]] = [
        document,
        without(document, "reason"),
        without(document, "overlap_days"),
        {**document, "reason": "b"},
        {**document, "reason": "a "},
        {**document, "reason": "A"},
        {**document, "reason": ["a"]},
        {**document, "overlap_days": 8},
        {**document, "overlap_days": "7"},
        {**document, "overlap_days": None},
        {**document, "overlap_days": True},
        {**document, "request_id": "r2"},
        {**document, "more": None},
        {**document, "key_id": "k0\N{COMBINING ACUTE ACCENT}"},
        {**document, "key_id": HALF},
        {**document, "key_id": "?"},
    ]
    assert len({digest(json.dumps(one)) for one in others}) == len(others)


def test_a_name_that_stands_there_twice_makes_another_body() -> None:
    text = json.dumps(a_document())
    assert digest(text[:-1] + ', "owner": "user-8f1c"}') != digest(text)


def test_a_digest_is_the_same_in_every_version() -> None:
    """Requests are remembered for ever, and their messages may come again."""
    canonical = (
        '{"action":"revoke","key_id":"k0","reason":"caf\\u00e9","request_id":"r1","version":1}'
    )
    assert digest(json.dumps(a_document("revoke", reason="café"))) == (
        sha256(canonical.encode()).hexdigest()
    )


# --- ids ------------------------------------------------------------------------------------------


def a_body(request_id: str) -> Body:
    return read(json.dumps(a_document(request_id=request_id)))


@pytest.mark.parametrize("request_id", ["r1", "!", "~" * 128, "portal/1", "#"])
def test_a_valid_id_is_remembered_as_it_is(request_id: str) -> None:
    body = a_body(request_id)
    assert (body.row_id, body.request_id) == (request_id, request_id)


ODD = ("", " ", " r1", "r1 ", "r1\n", "\0", "é", "a" * 129, "x" * 1_000_000, HALF, HALF + "?", "?é")


def test_an_odd_id_is_remembered_by_its_digest() -> None:
    ids = {request_id: a_body(request_id).row_id for request_id in ODD}
    assert len(set(ids.values())) == len(ODD)
    for row_id in ids.values():
        assert row_id[0] == " "
        assert len(row_id) == 65
        assert row_id.isascii()


@given(st.text(st.characters(exclude_categories=())), st.text(st.characters(exclude_categories=())))
def test_no_two_ids_are_remembered_as_one(one: str, other: str) -> None:
    assert (a_body(one).row_id == a_body(other).row_id) is (one == other)


@given(st.text(st.characters(exclude_categories=())))
def test_an_id_can_be_told_and_be_remembered(request_id: str) -> None:
    body = a_body(request_id)
    told = body.request_id
    assert told is None or told.encode().decode() == told
    assert 1 <= len(body.row_id.encode()) <= 1_000  # bytes that DynamoDB takes for a sort key


def test_half_a_character_of_an_id_is_told_as_a_question_mark() -> None:
    assert a_body(f"a{HALF}b").request_id == "a?b"


@pytest.mark.parametrize("more", ["", " ", " of mine"])
def test_an_id_that_holds_a_value_is_remembered_by_its_digest_and_told_to_nobody(more: str) -> None:
    body = a_body(OF_OURS + more)
    assert body.request_id is None
    assert OF_OURS not in body.row_id
    assert len(body.row_id) == 65


def test_a_field_that_holds_a_value_is_repeated_nowhere() -> None:
    body = read(json.dumps({"request_id": "r1", "name": OF_OURS, "key_id": "x" * 20, "tier": "x"}))
    assert [body.text(name) for name in ("name", "key_id", "tier")] == [None, None, "x"]


def test_a_number_of_more_than_twenty_digits_is_read_as_no_whole_one() -> None:
    def read_as(digits: int) -> Any:
        return read(f'{{"request_id": "r1", "more": {"1" * digits}}}').document["more"]

    assert read_as(20) == 11_111_111_111_111_111_111
    assert isinstance(read_as(20), int)
    assert isinstance(read_as(21), float)


def test_of_what_is_wrong_with_a_field_three_hundred_characters_are_told() -> None:
    many: dict[str, Any] = {f"field{number}": number for number in range(500)}
    assert len(refused(a_document(**many)).reason) == 300


def test_of_a_name_that_stands_there_twice_a_hundred_characters_are_told() -> None:
    name = "x" * 101
    body = read(f'{{"request_id": "r1", "{name}": 1, "{name}": 2}}')
    with pytest.raises(InvalidRequest) as err:
        check(body, ASKER, TODAY)
    assert err.value.field == "x" * 100


# --- what is repeated of a request that may be invalid --------------------------------------------


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("external", "external"),
        ("", ""),
        ("x" * 2048, "x" * 2048),
        ("x" * 2049, None),
        (f"a{HALF}b", "a?b"),
        ("\N{GRINNING FACE}", "\N{GRINNING FACE}"),
        (7, None),
        (None, None),
        (["external"], None),
    ],
)
def test_a_field_is_repeated_if_it_is_a_text_of_a_sensible_length(
    value: Any, text: str | None
) -> None:
    assert read(json.dumps({"request_id": "r1", "tier": value})).text("tier") == text
    assert read('{"request_id": "r1"}').text("tier") is None
