"""How a preflight asks: sixty calls at most, two a second, in an account of any size."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError

from keyjanitor.adapters.rate_limiter import RateLimiter
from keyjanitor_cli.errors import CommandFailed
from keyjanitor_cli.preflight.answers import CALLS_PER_SECOND, MOST_CALLS
from keyjanitor_cli.preflight.gather import gather, sampled
from keyjanitor_cli.preflight.rights import KEYS, PLANS
from keyjanitor_cli.probe import Probe
from tests.unit.preflight.account import TODAY, Cloud, tagged


class Account:
    """A person's account whose clients do what a test says."""

    def __init__(self, answer: Callable[[], Any]) -> None:
        self._answer = answer

    def client(self, service: str, *, tries: int) -> Any:
        assert tries == 1, "a repeated call would not be counted"
        return self

    def __getattr__(self, method: str) -> Any:
        return lambda **_: self._answer()


class Clock:
    """Time that passes by sleeping alone."""

    def __init__(self) -> None:
        self.now = 0.0

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def probe(answer: Callable[[], Any], clock: Clock | None = None) -> Probe:
    clock = clock or Clock()
    limiter = RateLimiter(CALLS_PER_SECOND, monotonic=lambda: clock.now, sleep=clock.sleep)
    account: Any = Account(answer)
    return Probe(account, limiter=limiter)


def refused(code: str) -> Callable[[], Any]:
    def answer() -> Any:
        raise ClientError({"Error": {"Code": code, "Message": "a-value"}}, "Any")

    return answer


def test_ten_thousand_keys_are_looked_at_within_sixty_calls() -> None:
    def keys(**asked: Any) -> dict[str, Any]:
        page = int(asked.get("position", "0"))
        items = [{"id": f"key{page:03}{n:04}"} for n in range(500)]
        return {"items": items} | ({"position": str(page + 1)} if page < 19 else {})

    many = [{"id": f"plan{n}", "apiStages": [{}]} for n in range(300)]
    apis = [{"id": f"api{n}"} for n in range(120)]
    changed = {"responseElements": {"id": "key0000001"}}
    cloud = Cloud(
        lookup_events={"Events": [{"CloudTrailEvent": json.dumps(changed)}]},
        get_api_keys=keys,
        get_usage_plans={"items": many, "position": "more"},
        get_rest_apis={"items": apis},
        get_resources={
            "ResourceTagMappingList": [tagged("key0000001", {"a": "b"})],
            "PaginationToken": "more",
        },
        describe_stacks={
            "Stacks": Cloud().answers["describe_stacks"]["Stacks"],
            "NextToken": "more",
        },
    )
    found = cloud.preflight()
    # Room for some calls that are throttled and made again.
    assert found.calls == len(cloud.asked) == 55
    assert found.calls <= MOST_CALLS
    assert [method for method, _ in cloud.asked].count("get_api_keys") == 20
    (keys_row,) = [one for one in found.ground if one.number == "keys"]
    assert keys_row.said == ("10,000",)
    assert not [asked for _, asked in cloud.asked if asked.get("includeValues")]
    assert not [asked for _, asked in cloud.asked if asked.get("includeValue")]


def test_calls_are_two_a_second_and_end_at_sixty_whatever_aws_says() -> None:
    clock = Clock()
    ask = probe(refused("TooManyRequestsException"), clock)
    gather(ask, TODAY, "us-east-1", "aws", "1.40.0", None)
    while ask(KEYS).code == "TooManyRequestsException":
        pass
    assert ask.made == MOST_CALLS
    assert clock.now >= (MOST_CALLS - 1) / CALLS_PER_SECOND
    assert ask(KEYS).code == "not asked: the 60 calls are spent"
    assert ask.made == MOST_CALLS


def test_at_full_pace_sixty_calls_take_half_a_minute() -> None:
    clock = Clock()
    ask = probe(dict, clock)
    for _ in range(MOST_CALLS):
        assert ask(KEYS).answered
    assert 29 < clock.now < 33


@pytest.mark.parametrize(
    ("code", "denied"),
    [("AccessDeniedException", True), ("AccessDenied", True), ("BadRequestException", False)],
)
def test_a_refusal_is_an_answer_with_aws_own_code(code: str, denied: bool) -> None:
    ask = probe(refused(code))
    answer = ask(PLANS)
    assert (answer.code, answer.denied, answer.answered, ask.made) == (code, denied, False, 1)


def test_a_service_that_is_not_there_is_an_answer_too() -> None:
    def answer() -> Any:
        raise EndpointConnectionError(endpoint_url="https://scheduler.example")

    assert probe(answer)(PLANS).code == "EndpointConnectionError"


@pytest.mark.parametrize("code", ["ExpiredToken", "UnrecognizedClientException"])
def test_credentials_that_aws_does_not_take_end_it(code: str) -> None:
    with pytest.raises(CommandFailed):
        probe(refused(code))(PLANS)


def test_no_credentials_end_it() -> None:
    def answer() -> Any:
        raise NoCredentialsError

    with pytest.raises(CommandFailed):
        probe(answer)(PLANS)


def test_plans_with_stages_with_and_without_a_quota_are_looked_at_first() -> None:
    plans: list[dict[str, Any]] = [
        {"id": "bare"},
        {"id": "quota1", "apiStages": [1], "quota": {"limit": 1}},
        {"id": "quota2", "apiStages": [1], "quota": {"limit": 1}},
        {"id": "free", "apiStages": [1]},
    ]
    assert [one["id"] for one in sampled(plans)] == ["quota1", "free", "quota2", "bare"]


def test_the_body_of_an_answer_is_in_no_representation() -> None:
    answer = probe(lambda: {"value": "a-secret-value"})(KEYS)
    assert answer.body == {"value": "a-secret-value"}
    assert "a-secret-value" not in repr(answer)
