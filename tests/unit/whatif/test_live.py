"""An account that is read live is what the same pages in a folder are, and no value of a key is kept."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from keyjanitor.adapters.gateway_calls import GatewayCalls
from keyjanitor.adapters.ownership import Ownership
from keyjanitor.adapters.rate_limiter import RateLimiter
from keyjanitor.errors import AccessDenied, CallFailed
from keyjanitor_cli.whatif.account import Account, read_account
from keyjanitor_cli.whatif.errors import FolderRefused
from keyjanitor_cli.whatif.live import Reading, read_live
from keyjanitor_cli.whatif.pages import Folder
from keyjanitor_cli.whatif.verdicts import judge
from tests.builders import PLAN_ID, TODAY, a_policy, days_ago
from tests.unit.whatif.files import a_plan_item, an_item, usage_pages

VALUE = "vaLue0fAKeyThatNobodyMaySee4711"
USED = {
    "busy": {days_ago(back): 5 for back in range(91)},
    "idle": {days_ago(70): 3},
    "owned": {},
    "silent": {},
}
Pages = Sequence[Mapping[str, Any]]


def a_listed_key(key_id: str) -> dict[str, Any]:
    """A key as boto3 gives it."""
    item = an_item(key_id)
    dates = {name: datetime.fromtimestamp(item[name], UTC) for name in DATES}
    return {**item, **dates}


DATES = ("createdDate", "lastUpdatedDate")


class Client:
    """boto3's client of an account: two pages of most listings; `fails` has errors by operation."""

    def __init__(self, fails: Mapping[str, str] | None = None) -> None:
        self.fails = dict(fails or {})
        self.asked: list[tuple[str, dict[str, Any]]] = []
        keys = list(map(a_listed_key, USED))
        members = [{"id": key_id, "name": key_id, "value": VALUE} for key_id in USED]
        self._pages: dict[str, Pages] = {
            "GetApiKeys": [{"items": keys[:2]}, {"items": keys[2:]}],
            "GetUsagePlans": [{"items": [a_plan_item()]}],
            "GetUsagePlanKeys": [{"items": members[:1]}, {"items": members[1:]}],
            "GetUsage": usage_pages(USED),
        }
        self.get_api_keys = self._call("GetApiKeys")
        self.get_usage_plans = self._call("GetUsagePlans")
        self.get_usage_plan_keys = self._call("GetUsagePlanKeys")
        self.get_usage = self._call("GetUsage")

    def _call(self, operation: str) -> Callable[..., dict[str, Any]]:
        def call(**params: Any) -> dict[str, Any]:
            self.asked.append((operation, params))
            number = int(params.get("position") or 0)
            if operation in self.fails and (number or operation != "GetUsage"):
                code = self.fails[operation]
                raise ClientError({"Error": {"Code": code, "Message": ""}}, operation)
            pages = self._pages[operation]
            more = {"position": str(number + 1)} if number + 1 < len(pages) else {}
            return {**pages[number], **more, "ResponseMetadata": {"HTTPStatusCode": 200}}

        return call


class Tagging:
    """The tagging API: `owned` is Terraform's."""

    def get_resources(self, **_: Any) -> dict[str, Any]:
        arn = "arn:aws:apigateway:eu-west-1::/apikeys/owned"
        tags = [{"Key": "ManagedBy", "Value": "terraform"}]
        return {"ResourceTagMappingList": [{"ResourceARN": arn, "Tags": tags}]}


def read(client: Client) -> Reading:
    calls = GatewayCalls(client, RateLimiter(1000, sleep=lambda _: None))
    return read_live(calls, Ownership(Tagging(), None), TODAY)


def words(account: Account) -> dict[str, str]:
    verdicts = judge(account, a_policy()).plan.verdicts
    return {verdict.key.key_id: verdict.word for verdict in verdicts}


def test_every_page_is_read_and_judged() -> None:
    client = Client()
    account = read_account(read(client))
    assert words(account) == {
        "busy": "keep",
        "idle": "warn",
        "owned": "protected",
        "silent": "warn",
    }
    days = {"startDate": str(days_ago(90)), "endDate": str(TODAY)}
    first = [(operation, params) for operation, params in client.asked if "position" not in params]
    assert first == [
        ("GetApiKeys", {"limit": 500, "includeValues": False}),
        ("GetUsagePlans", {"limit": 500}),
        ("GetUsagePlanKeys", {"limit": 500, "usagePlanId": PLAN_ID}),
        ("GetUsage", {"limit": 500, "usagePlanId": PLAN_ID, **days}),
    ]
    assert len(client.asked) == 7


def test_what_is_saved_is_the_same_account_and_holds_no_value(tmp_path: Path) -> None:
    reading = read(Client())
    reading.save(tmp_path / "account")
    live, saved = read_account(reading), read_account(Folder(tmp_path / "account"))
    assert replace(saved, usages={}) == replace(live, usages={})
    assert {one: usage.days for one, usage in saved.usages.items()} == {
        one: usage.days for one, usage in live.usages.items()
    }
    everything = b"".join(path.read_bytes() for path in (tmp_path / "account").iterdir())
    assert VALUE not in everything.decode() + repr(reading)


def test_only_a_new_or_empty_folder_is_saved_into(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(FolderRefused, match="is not empty"):
        read(Client()).save(tmp_path)
    with pytest.raises(FolderRefused, match="cannot be written"):
        read(Client()).save(tmp_path / "mine.txt")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize("operation", ["GetUsagePlanKeys", "GetUsage"])
def test_a_plan_that_cannot_be_read_to_its_end_shows_no_idleness(
    operation: str, tmp_path: Path
) -> None:
    reading = read(Client({operation: "NotFoundException"}))
    account = read_account(reading)
    (plan,) = account.evidence.plans.values()
    assert plan.unread is not None
    assert f"{operation} failed: NotFoundException" in plan.unread
    assert "warn" not in words(account).values()
    reading.save(tmp_path / "account")
    assert "warn" not in words(read_account(Folder(tmp_path / "account"))).values()


@pytest.mark.parametrize(
    "operation", ["GetApiKeys", "GetUsagePlans", "GetUsagePlanKeys", "GetUsage"]
)
def test_a_missing_right_is_named_and_nothing_is_judged(operation: str) -> None:
    with pytest.raises(AccessDenied, match="apigateway:GET on /"):
        read(Client({operation: "AccessDeniedException"}))


@pytest.mark.parametrize("operation", ["GetApiKeys", "GetUsagePlans"])
def test_lists_that_cannot_be_read_stop_it(operation: str) -> None:
    with pytest.raises(CallFailed, match=f"{operation} failed: NotFoundException"):
        read(Client({operation: "NotFoundException"}))


class Refusing(Client):
    """An account whose usage goes back less far than it is asked for."""

    def __init__(self, days_back: int) -> None:
        super().__init__()
        first = str(days_ago(days_back))
        pages = self._pages["GetUsage"]
        self._pages["GetUsage"] = [
            {
                **page,
                "startDate": first,
                "items": {key_id: use[90 - days_back :] for key_id, use in page["items"].items()},
            }
            for page in pages
        ]
        answer = self.get_usage

        def refuse(**params: Any) -> dict[str, Any]:
            if params["startDate"] < first:
                self.asked.append(("GetUsage", params))
                raise ClientError({"Error": {"Code": "BadRequestException"}}, "GetUsage")
            return answer(**params)

        self.get_usage = refuse


@pytest.mark.parametrize("days_back", [89, 60, 30])
def test_usage_that_goes_back_less_far_is_asked_for_over_fewer_days_and_judged_from_then_on(
    days_back: int,
) -> None:
    account = read_account(read(Refusing(days_back)))
    assert account.evidence.plans[PLAN_ID].unread is None
    assert account.evidence.first_days == {PLAN_ID: days_ago(days_back)}
