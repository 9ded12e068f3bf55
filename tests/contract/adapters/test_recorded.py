"""Answers of real AWS, as public sources show them: adapters, what-if, preflight and sandbox are held against them.

Each file of tests/recorded/ says where its answers are from.
"""

import json
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from keyjanitor.adapters.api_gateway import ApiGateway
from keyjanitor.adapters.rate_limiter import RateLimiter
from keyjanitor.domain.model.policy import Quota, Rate
from keyjanitor.errors import CallFailed
from keyjanitor_cli.preflight.findings import Outcome
from keyjanitor_cli.preflight.shapes import shape
from keyjanitor_cli.whatif.account import read_account
from keyjanitor_cli.whatif.pages import NOTHING, Listing
from sandbox.driver.client import Sandbox
from tests.recorded_calls import Answers, Player
from tests.unit.preflight.account import Cloud, row

FOLDER = Path(__file__).parents[2] / "recorded"
DOCUMENTS = {path.name: json.loads(path.read_text("utf-8")) for path in FOLDER.glob("*.json")}
ANSWERS: list[Mapping[str, Any]] = [
    one for document in DOCUMENTS.values() for one in document["answers"]
]
WHEN = datetime(2026, 11, 20, tzinfo=UTC)
LISTS = {"GetApiKeys", "GetUsagePlanKeys", "GetUsagePlans"}


def cases(answers: Iterable[Mapping[str, Any]]) -> list[Any]:
    """A test's parameters, called as the recordings are."""
    return [pytest.param(one, id=f"{one['call']}-{number}") for number, one in enumerate(answers)]


def with_dates(answer: Any) -> Any:
    """An answer as boto3 gives it: what was a date when it was recorded is one again."""
    if isinstance(answer, dict):
        return {name: with_dates(one) for name, one in answer.items()}
    if isinstance(answer, list):
        return [with_dates(one) for one in answer]
    return WHEN if answer == "datetime" else answer


def recorded(operation: str, status: int = 200) -> list[Mapping[str, Any]]:
    """The recorded answers to an operation."""
    return [
        with_dates(one["answer"])
        for one in ANSWERS
        if (one["operation"], one["status"]) == (operation, status)
    ]


def gateway(answer: Mapping[str, Any], status: int = 200) -> ApiGateway:
    """The adapter on a client that answers this to whatever is asked."""

    class Client:
        def __getattr__(self, method: str) -> Any:
            def call(**_: Any) -> Any:
                if status >= 400:
                    refusal: Any = {**answer, "ResponseMetadata": {"HTTPStatusCode": status}}
                    raise ClientError(refusal, method)
                return {name: one for name, one in answer.items() if name != "position"}

            return call

    return ApiGateway(Client(), RateLimiter(1_000_000))


def test_each_document_says_where_its_answers_are_from_and_has_no_value() -> None:
    assert sum(len(one["answers"]) for one in DOCUMENTS.values()) > 50
    for document in DOCUMENTS.values():
        assert "https://" in document["about"]
        for one in document["answers"]:
            assert one["source"]
            assert datetime.fromisoformat(one["date"]) < WHEN.replace(tzinfo=None)
            text = json.dumps(one["answer"])
            assert '"value": "' not in text.replace('"value": "<value:', "")


@pytest.mark.parametrize("one", cases(one for one in ANSWERS if one["operation"] in LISTS))
def test_a_recorded_list_is_a_list_that_adapters_read_to_its_last_item(
    one: Mapping[str, Any],
) -> None:
    answer = with_dates(one["answer"])
    adapter = gateway(answer)
    ids = [item["id"] for item in answer["items"]]
    if one["operation"] == "GetApiKeys":
        keys = adapter.keys()
        assert [key.key_id for key in keys] == ids
        assert {key.tags for key in keys} <= {None}  # not told, which is not untagged
    elif one["operation"] == "GetUsagePlanKeys":
        assert list(adapter.members("p1")) == ids
    else:
        assert [plan.usage_plan_id for plan in adapter.usage_plans()] == ids


def test_a_recorded_plan_has_the_limits_that_it_was_made_with() -> None:
    plans = [plan for answer in recorded("GetUsagePlans") for plan in gateway(answer).usage_plans()]
    assert (plans[0].throttle, plans[0].quota) == (None, None)
    assert (plans[1].throttle, plans[1].quota) == (Rate(200.0, 100), Quota(5000, "MONTH"))
    assert list(plans[1].stages) == ["<api-id:1>:dev"]


def test_a_recorded_change_of_a_key_is_read_with_its_date() -> None:
    for answer in recorded("UpdateApiKey"):
        assert gateway(answer).set_enabled("k1", enabled=False) == WHEN


@pytest.mark.parametrize("one", cases(one for one in ANSWERS if one["status"] >= 400))
def test_a_recorded_refusal_is_an_error_with_aws_code_and_without_its_text(
    one: Mapping[str, Any],
) -> None:
    with pytest.raises(CallFailed) as caught:
        gateway(one["answer"], one["status"]).usage_plans()
    assert caught.value.code == one["answer"]["Error"]["Code"]
    assert one["answer"]["Error"]["Message"] not in str(caught.value)


def test_preflight_finds_of_the_recorded_lists_what_keyjanitor_believes() -> None:
    for answer in recorded("GetApiKeys"):
        first = {name: one for name, one in answer.items() if name != "position"}
        found = Cloud(get_api_keys=first).preflight()
        assert row(found, "4a").outcome is (Outcome.SAME if answer["items"] else Outcome.OPEN)
    for answer in recorded("GetUsagePlans"):
        found = Cloud(get_usage_plans=answer).preflight()
        limited = bool(answer["items"][0].get("quota"))
        assert row(found, "limits").outcome is (Outcome.SAME if limited else Outcome.DIFFERS)
        assert row(found, "stages").outcome is Outcome.SAME


# --- what-if ---------------------------------------------------------------------------------------


class Listed:
    """Recorded pages of lists in the place of a folder's; nothing else was read."""

    def __init__(self, **pages: Mapping[str, Any]) -> None:
        self._pages = {what.replace("_", "-"): page for what, page in pages.items()}

    def days(self) -> str:
        return f"{(WHEN - timedelta(days=90)).date()} {WHEN.date()}"

    def listing(self, what: str, plan_id: str = "") -> Listing:
        page = self._pages.get(f"{what}.{plan_id}" if plan_id else what)
        return NOTHING if page is None else Listing((page,))

    def tags(self) -> None:
        return None


@pytest.mark.parametrize("one", cases(one for one in ANSWERS if one["operation"] == "GetApiKeys"))
def test_whatif_reads_of_a_recorded_list_what_the_adapter_reads(one: Mapping[str, Any]) -> None:
    answer = json.loads(json.dumps(one["answer"]).replace('"datetime"', f'"{WHEN.isoformat()}"'))
    account = read_account(Listed(api_keys=answer, usage_plans={"items": []}))
    assert list(account.keys) == gateway(with_dates(one["answer"])).keys()


@pytest.mark.parametrize(
    "one", cases(one for one in ANSWERS if one["operation"] == "GetUsagePlans")
)
def test_whatif_reads_recorded_plans_with_their_limits_and_says_why_they_are_unread(
    one: Mapping[str, Any],
) -> None:
    account = read_account(Listed(api_keys={"items": []}, usage_plans=one["answer"]))
    assert list(account.plans) == gateway(one["answer"]).usage_plans()
    assert {plan.unread for plan in account.evidence.plans.values()} == {
        "members: it is not in the folder"
    }


@pytest.mark.parametrize(
    "one", cases(one for one in ANSWERS if one["operation"] == "GetUsagePlanKeys")
)
def test_whatif_takes_the_recorded_members_of_a_plan_and_none_of_their_values(
    one: Mapping[str, Any],
) -> None:
    [plan] = recorded("GetUsagePlans")[0]["items"]
    pages = {f"members.{plan['id']}": one["answer"]}
    ids = [item["id"] for item in one["answer"]["items"]]
    keys = [{**key_item(), "id": key_id} for key_id in ids]
    listed = Listed(api_keys={"items": keys}, usage_plans={"items": [plan]}, **pages)
    account = read_account(listed)
    assert list(account.evidence.plans[plan["id"]].members) == ids
    assert "<value:" not in repr(account)


def key_item() -> dict[str, Any]:
    """A recorded key, of a page that has some."""
    page = next(answer for answer in recorded("GetApiKeys") if answer["items"])
    dates = {name: WHEN.isoformat() for name in ("createdDate", "lastUpdatedDate")}
    return {**page["items"][0], **dates}


# --- the AWS on this machine -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def played(running_sandbox: Sandbox) -> Answers:
    """What the sandbox answers to all the calls that were recorded."""
    running_sandbox.behave()
    running_sandbox.set_throttles(None)
    api_id = running_sandbox.rest_api(["dev"])
    return Player(running_sandbox.client("apigateway"), api_id, running_sandbox.wipe).play()


@pytest.mark.slow
@pytest.mark.enable_socket
def test_all_that_was_recorded_is_called(played: Answers) -> None:
    assert played.keys() == {(one["source"], one["call"]) for one in ANSWERS}


@pytest.mark.slow
@pytest.mark.enable_socket
@pytest.mark.parametrize("one", cases(ANSWERS))
def test_the_sandbox_answers_with_all_members_that_were_recorded_and_no_others(
    played: Answers, one: Mapping[str, Any]
) -> None:
    answer = played[one["source"], one["call"]]
    metadata = answer["ResponseMetadata"]
    assert metadata["HTTPStatusCode"] == one["status"]
    if one["status"] < 400:
        assert shape(answer) == shape(with_dates(one["answer"]))
        assert len(answer.get("items", ())) == len(one["answer"].get("items", ()))
    else:
        assert answer["Error"]["Code"] == one["answer"]["Error"]["Code"]
        assert _without_ids(answer["Error"]["Message"]) == _without_ids(
            one["answer"]["Error"]["Message"]
        )


def _without_ids(text: str) -> str:
    return re.sub(r"(?<=api: )[^,]+|(?<=usageplan )\S+", "<id>", text)
