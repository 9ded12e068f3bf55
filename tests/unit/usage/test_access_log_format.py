"""Formats of access logs: how a line says which key called, and what keeps it from saying so."""

import re

import pytest

from keyjanitor.domain.usage.access_log_format import (
    FIREHOSE,
    NO_GROUP,
    NO_KEY_ID,
    NO_LOG,
    SUGGESTED,
    TOO_LONG,
    TWO_AT_ONCE,
    AccessLog,
    NotReadable,
    line_pattern,
    read_format,
)

GROUP = "arn:aws:logs:us-east-1:123456789012:log-group:/api/prod"
JSON = (
    '{ "requestId":"$context.requestId", "ip": "$context.identity.sourceIp", '
    '"agent":"$context.identity.userAgent", "api":"$context.apiId", "stage":"$context.stage", '
    '"status":$context.status, "key":"$context.identity.apiKeyId", "bytes":"$context.responseLength" }'
)
BARE = (
    '{"api":$context.apiId,"stage":$context.stage,"key":$context.identity.apiKeyId,'
    '"status":$context.status,"id":"$context.extendedRequestId"}'
)
CLF = (
    "$context.identity.sourceIp $context.identity.caller $context.identity.user "
    '[$context.requestTime]"$context.httpMethod $context.resourcePath $context.protocol" '
    "$context.status $context.responseLength $context.requestId $context.apiId $context.stage "
    "$context.identity.apiKeyId"
)
XML = (
    '<request id="$context.requestId"> <ip>$context.identity.sourceIp</ip> '
    "<api>$context.apiId</api> <stage>$context.stage</stage> "
    "<key>$context.identity.apiKeyId</key> <path>$context.path</path> </request>"
)
CSV = (
    "$context.identity.sourceIp,$context.identity.caller,$context.identity.user,"
    "$context.identity.apiKeyId,$context.identity.userAgent,$context.requestTime,"
    "$context.httpMethod,$context.resourcePath,$context.protocol,$context.status,"
    "$context.responseLength,$context.requestId,$context.apiId,$context.stage"
)
FORMATS = {"JSON": JSON, "without quotes": BARE, "CLF": CLF, "XML": XML, "CSV": CSV}
FILLED = {
    "requestId": "7a1f3c1e-93a5-4c1e-8f7d-0c0f6a1c9d55",
    "extendedRequestId": "JKJaXmPLvHcESHA=",
    "identity.sourceIp": "192.0.2.7",
    "identity.caller": "-",
    "identity.user": "-",
    "identity.userAgent": 'Mozilla/5.0 (X11; Linux, x86_64) "quoted", 12ab34cd56, curl/8.1',
    "requestTime": "21/Nov/2026:02:03:04 +0000",
    "httpMethod": "GET",
    "path": "/prod/a,b c/{id}",
    "resourcePath": "/items/{id}",
    "protocol": "HTTP/1.1",
    "status": "403",
    "responseLength": "23",
    "apiId": "a1b2c3d4e5",
    "stage": "prod",
    "identity.apiKeyId": "k1e2y3i4d5",
}


def line(form: str, **values: str) -> str:
    """A line as API Gateway writes it: the format with its variables filled in."""
    filled = FILLED | {"identity.apiKeyId": FILLED["identity.apiKeyId"]} | values
    return re.sub(r"\$context\.([A-Za-z]+(?:\.[A-Za-z]+)?)", lambda found: filled[found[1]], form)


def read(form: str, text: str) -> dict[str, str] | None:
    """What the pattern of a format finds in a line; Python writes named groups otherwise."""
    found = re.search(line_pattern(form).replace("(?<", "(?P<"), text)
    return found.groupdict() if found else None


@pytest.mark.parametrize("form", FORMATS.values(), ids=FORMATS.keys())
def test_a_line_says_its_key_api_and_stage_in_every_kind_of_format(form: str) -> None:
    assert read(form, line(form)) == {"keyid": "k1e2y3i4d5", "api": "a1b2c3d4e5", "stage": "prod"}


@pytest.mark.parametrize("form", FORMATS.values(), ids=FORMATS.keys())
def test_a_request_without_a_key_fits_the_format_too(form: str) -> None:
    found = read(form, line(form, **{"identity.apiKeyId": "-"}))
    assert found is not None
    assert found["keyid"] == "-"


@pytest.mark.parametrize("form", FORMATS.values(), ids=FORMATS.keys())
def test_what_may_be_a_value_is_never_taken_out_of_a_line(form: str) -> None:
    assert read(form, line(form, **{"identity.apiKeyId": "a" * 20})) is None


@pytest.mark.parametrize("form", FORMATS.values(), ids=FORMATS.keys())
def test_a_line_of_another_format_does_not_fit(form: str) -> None:
    others = [line(other) for other in FORMATS.values() if other != form]
    assert [read(form, other) for other in others] == [None] * len(others)


def test_spaces_and_line_breaks_of_a_json_format_make_no_difference() -> None:
    pretty = JSON.replace(", ", ",\n  ")
    assert read(pretty, line(JSON)) == read(JSON, line(JSON))


def test_a_variable_that_comes_twice_is_read_once() -> None:
    form = "$context.identity.apiKeyId $context.requestId $context.identity.apiKeyId"
    assert read(form, line(form)) == {"keyid": "k1e2y3i4d5"}


@pytest.mark.parametrize("form", [*FORMATS.values(), SUGGESTED])
def test_a_format_with_key_api_and_stage_names_its_stage(form: str) -> None:
    assert read_format(GROUP, form) == AccessLog("/api/prod", form, names_stage=True)


def test_a_format_without_the_stage_still_shows_use() -> None:
    form = '{"key":"$context.identity.apiKeyId","id":"$context.requestId"}'
    log = read_format(f"{GROUP}:*", form)
    assert log == AccessLog("/api/prod", form, names_stage=False)
    assert log.query == (
        r'parse @message /^\s*\{"key":"(?<keyid>[a-z0-9]{1,19}|-|null|)","id":"[^"]*"\}\s*$/'
        "\n| stats count(*) as requests, max(@timestamp) as last by keyid"
    )


@pytest.mark.parametrize(
    ("destination", "form", "problem"),
    [
        ("", "", NO_LOG),
        (GROUP, "", NO_LOG),
        ("", JSON, NO_LOG),
        (
            "arn:aws:firehose:us-east-1:123456789012:deliverystream/amazon-apigateway-a",
            JSON,
            FIREHOSE,
        ),
        ("arn:aws:kinesis:us-east-1:123456789012:stream/a", JSON, NO_GROUP),
        (GROUP, '{"id":"$context.requestId"}', NO_KEY_ID),
        # The value is no id: it is never asked for.
        (GROUP, '{"key":"$context.identity.apiKey"}', NO_KEY_ID),
        (GROUP, "$context.identity.apiKeyId" + "," * 10_000, TOO_LONG),
        (GROUP, "$context.requestId$context.identity.apiKeyId", TWO_AT_ONCE),
        (GROUP, "$context.identity.apiKeyId$context.requestId", TWO_AT_ONCE),
    ],
)
def test_a_setting_that_says_nothing_of_keys_is_named_with_what_to_do(
    destination: str, form: str, problem: NotReadable
) -> None:
    assert read_format(destination, form) == problem


def test_a_format_without_the_keys_id_is_a_problem_with_the_format_to_put_in() -> None:
    assert SUGGESTED in str(read_format(GROUP, '{"id":"$context.requestId"}'))


def test_another_setting_has_another_digest() -> None:
    logs = [
        AccessLog("/api/prod", JSON, True),
        AccessLog("/api/prod", CSV, True),
        AccessLog("/api/test", JSON, True),
    ]
    assert len({log.digest for log in logs}) == 3
