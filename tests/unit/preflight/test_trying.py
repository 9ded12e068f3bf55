"""What `--write` makes is looked at and deleted, whatever AWS answers, and its value is told to no one."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from keyjanitor.domain.model.keys import Secret
from keyjanitor_cli.preflight.answers import Answer, Call
from keyjanitor_cli.preflight.document import document
from keyjanitor_cli.preflight.findings import Finding, Outcome
from keyjanitor_cli.preflight.judging import judge
from keyjanitor_cli.preflight.phrases import plain
from keyjanitor_cli.preflight.rights import policy
from keyjanitor_cli.preflight.trial import judge as judge_trial
from keyjanitor_cli.preflight.trying import MARKER, MOST_WRITES, Tried, attempt
from tests.unit.preflight.account import TODAY, Cloud, seen_of

WHEN = datetime(2026, 11, 21, 3, 15, tzinfo=UTC)
VALUE = "keyjaValueThatNobodyMayPrint000000000001"
MINE = f"{MARKER}0a1b2c3d"
SAME, DIFFERS, LEARNED, OPEN = Outcome.SAME, Outcome.DIFFERS, Outcome.LEARNED, Outcome.OPEN


class Gateway:
    """API Gateway with what was made; `codes` are AWS's refusals by method, `later` shifts later reads."""

    def __init__(self, codes: dict[str, str] | None = None, later: int = 0) -> None:
        self.keys: dict[str, dict[str, Any]] = {"other": {"id": "other", "name": "of another"}}
        self.plans: set[str] = set()
        self.codes = codes or {}
        self.later = timedelta(seconds=later)
        self.calls = 0
        self.loses_import = False
        self.upserts = True

    def __call__(self, call: Call, **asked: Any) -> Answer:
        self.calls += 1
        if code := self.codes.get(call.method):
            return Answer(call, code=code, denied=code == "AccessDeniedException")
        return Answer(call, getattr(self, call.method)(**asked), seconds=0.2)

    def create_api_key(self, **asked: Any) -> Any:
        assert asked["enabled"] is False
        return self._made("k1", asked["name"])

    def _made(self, key_id: str, name: str) -> Any:
        self.keys[key_id] = {"id": key_id, "name": name, "lastUpdatedDate": WHEN}
        return {**self.keys[key_id], "value": VALUE}

    def update_api_key(self, **asked: Any) -> Any:
        return self.keys[asked["apiKey"]]

    def get_api_key(self, **asked: Any) -> Any:
        key = self.keys[asked["apiKey"]]
        return {**key, "lastUpdatedDate": WHEN + self.later}

    def create_usage_plan(self, **asked: Any) -> Any:
        assert "apiStages" not in asked
        self.plans.add("p1")
        return {"id": "p1"}

    def get_usage(self, **asked: Any) -> Any:
        return {"items": {}}

    def import_api_keys(self, **asked: Any) -> Any:
        name, value, _, enabled, plan = asked["body"].decode().splitlines()[1].split(",")
        assert (value, enabled, plan) == (VALUE, "false", "p1")
        if "k2" in self.keys and not self.upserts:
            return {"ids": ["k2"], "warnings": ["it is there"]}
        self._made("k2", name)
        return {} if self.loses_import else {"ids": ["k2"], "warnings": []}

    def delete_api_key(self, **asked: Any) -> Any:
        del self.keys[asked["apiKey"]]
        return {}

    def delete_usage_plan(self, **asked: Any) -> Any:
        self.plans.remove(asked["usagePlanId"])
        return {}

    def get_api_keys(self, **asked: Any) -> Any:
        prefix = asked["nameQuery"]
        return {"items": [one for one in self.keys.values() if one["name"].startswith(prefix)]}


def tried(gateway: Gateway) -> Tried:
    return attempt(gateway, MINE, Secret(VALUE), TODAY)


def rows(gateway: Gateway) -> dict[str, Finding]:
    return {one.number: one for one in judge_trial(tried(gateway))}


def test_what_is_made_is_deleted_and_nothing_else() -> None:
    gateway = Gateway()
    found = rows(gateway)
    assert {number: one.outcome for number, one in found.items()} == {
        "w1": SAME, "w2": SAME, "w3": LEARNED, "w4": SAME, "w5": LEARNED, "w6": SAME, "w7": SAME
    }  # fmt: skip
    assert plain(found["w5"].said) == "it is taken, no warning"
    assert (set(gateway.keys), gateway.plans) == ({"other"}, set())
    assert gateway.calls <= MOST_WRITES


@pytest.mark.parametrize(
    ("gateway", "row", "outcome", "said"),
    [
        (Gateway(later=2), "w1", DIFFERS, "2 seconds later"),
        (Gateway(later=1), "w1", SAME, "1 seconds later"),
        (Gateway({"get_usage": "NotFoundException"}), "w3", LEARNED, "NotFoundException"),
        (Gateway({"import_api_keys": "BadRequestException"}), "w4", OPEN, "BadRequestException"),
        (Gateway({"create_api_key": "AccessDeniedException"}), "w1", OPEN, "not asked"),
        (Gateway({"create_usage_plan": "AccessDeniedException"}), "w3", Outcome.DENIED, "denied"),
    ],
)
def test_what_aws_does_otherwise_is_named_and_all_is_deleted(
    gateway: Gateway, row: str, outcome: Outcome, said: str
) -> None:
    found = rows(gateway)
    assert found[row].outcome is outcome
    assert said in plain(found[row].said)
    assert (set(gateway.keys), gateway.plans) == ({"other"}, set())


def test_an_import_that_warns_and_does_not_overwrite_is_named() -> None:
    gateway = Gateway()
    gateway.upserts = False
    found = rows(gateway)
    assert plain(found["w5"].said) == "it warns"
    assert found["w6"].outcome is DIFFERS
    assert set(gateway.keys) == {"other"}


def test_a_key_whose_import_was_not_answered_is_found_by_its_name_and_deleted() -> None:
    gateway = Gateway()
    gateway.loses_import = True
    assert rows(gateway)["w7"].outcome is SAME
    assert set(gateway.keys) == {"other"}


def test_what_cannot_be_deleted_is_named_with_what_to_do() -> None:
    gateway = Gateway({"delete_api_key": "AccessDeniedException"})
    clean = rows(gateway)["w7"]
    assert clean.outcome is DIFFERS
    assert f"{MINE}-made" in plain(clean.said)
    assert MINE in clean.follows


def test_when_it_is_interrupted_it_deletes_what_it_made() -> None:
    class Interrupted(Gateway):
        def get_usage(self, **asked: Any) -> Any:
            raise KeyboardInterrupt

    gateway = Interrupted()
    with pytest.raises(KeyboardInterrupt):
        tried(gateway)
    assert (set(gateway.keys), gateway.plans) == ({"other"}, set())


def test_a_missing_right_of_writing_is_named_by_its_line() -> None:
    gateway = Gateway({"create_usage_plan": "AccessDeniedException"})
    found = judge(seen_of(Cloud()), 1, tried(gateway))
    (missing,) = found.missing
    lines = policy("aws", "us-east-1", "keyjanitor", writing=True).splitlines()
    assert missing.statement in lines[missing.line - 1]
    assert missing.right.action == "apigateway:POST"
    told = json.dumps(document(found, "1", str(TODAY), "1")) + repr(found)
    assert VALUE not in told
    assert MINE not in json.dumps(document(found, "1", str(TODAY), "1"))


def test_without_writing_the_policy_reads_alone() -> None:
    actions = {one["Action"] for one in json.loads(policy("aws", "r", "s"))["Statement"]}
    assert not [one for one in actions if "POST" in one or "DELETE" in one or "PATCH" in one]
