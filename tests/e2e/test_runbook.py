"""Every command of the runbook, and of the other documents for operators, typed as it is printed."""

import io
import json
import os
import queue
import re
import shlex
import subprocess
import sys
import urllib.request
import zipfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest

from sandbox.driver.client import ACCOUNT, REPOSITORY, FunctionFailed, LaidKey
from sandbox.driver.stack import LISTENER, sam_executable
from tests.e2e.conftest import POLICY, World
from tests.e2e.requesting import ADMIN, answers, issue, serve

DOCUMENTS = ("runbook", "alerts", "audit", "history", "recipient", "secret-scanning")
# What the sandbox cannot do: the AWS CLI holds it to its model, and makes no call.
ONLY_PARSED = {
    "history: Run a query 1": "MiniStack's Athena reads no files; the queries run in a contract test",
    "audit: The audit folder of a month 2": "a lock that is tried on moto, in a contract test",
}
# Without options, or what every deployment of these tests does itself.
NOT_TYPED = r"sam build( && sam deploy)?|sam deploy|sam logs|sam remote invoke"

DAY = timedelta(days=1)
LONG_AGO = datetime(2025, 1, 1, tzinfo=UTC)
KEPT = 475  # so that keys come in two pages, with those of other tools
IDLE = 50
SHIELDED = 45  # more than twice what the braked policy allows a night
ALLOWED = 20
LATE = 3  # warned last night
# As tests/e2e/policy.toml, with the brake that it has taken off, and without marks of other tools.
BRAKED = POLICY.read_text().replace("max_share = 1.0", "max_share = 0.01") + (
    "\n[owned]\ndescriptions = []\n"
)

_TYPED = re.compile(r"^```(\w*)\n(.*?)^```$|`((?:aws|sam) [^`\n]+)`", re.M | re.S)


def commands(document: str) -> dict[str, str]:
    """What a document says to type, by its heading and how many came before it under that one."""
    found: dict[str, str] = {}
    text = (REPOSITORY / f"docs/{document}.md").read_text("utf-8")
    for part in re.split(r"^##? (?=.*$)", text, flags=re.M)[1:]:
        heading = re.sub(r" \(.*\)$", "", part.partition("\n")[0])
        if document != "runbook":
            heading = f"{document}: {heading}"
        typed = [
            block if language else inline
            for language, block, inline in _TYPED.findall(part)
            if language in ("", "sh") and not re.fullmatch(NOT_TYPED, inline)
        ]
        found |= {f"{heading} {n}": text for n, text in enumerate(typed, 1)}
    return found


BLOCKS = {name: block for document in DOCUMENTS for name, block in commands(document).items()}


def separate(block: str) -> list[str]:
    """The commands of a block: what goes on is indented, or ends a loop or a function."""
    return re.split(r"\n(?!done|\})(?=\S)", block.strip())


Fill = str | Callable[[list[str]], str]


@dataclass(slots=True)
class Account:
    """The scenario: an account in our own time, after nights of which the last one warned."""

    world: World
    folder: Path
    today: date
    keys: Mapping[str, list[str]]  # ids by what became of them
    keys_yesterday: int
    values: set[str]
    digest: str = ""
    printed: dict[str, str] = field(default_factory=dict)
    everything: list[str] = field(default_factory=list)

    def client(self, service: str) -> Any:
        return self.world.sandbox.client(service)

    def output(self, name: str) -> str:
        return self.world.stack.outputs[name]

    def edit(self, event: str, change: Callable[[str], str]) -> None:
        """Edits a file of events/ as the runbook says."""
        file = self.folder / "events" / f"{event}.json"
        file.write_text(change(file.read_text("utf-8")), "utf-8")

    def send(self, function: str, event: str) -> Any:
        """Sends a file of events/ that a table names."""
        content = json.loads((self.folder / "events" / f"{event}.json").read_text("utf-8"))
        return self.world.stack.invoke(function, content)


def mapping_of(world: World) -> str:
    """The UUID of the mapping from the request queue."""
    function = world.stack.functions["ProvisionKeysFunction"]
    lambdas = world.sandbox.client("lambda")
    [found] = lambdas.list_event_source_mappings(FunctionName=function)["EventSourceMappings"]
    return str(found["UUID"])


class Operator:
    """Somebody at a shell of their own, into which the runbook's first block was pasted."""

    def __init__(self, account: Account, number: int) -> None:
        self.account = account
        environment = account.world.sandbox.environment()
        path = (str(Path(sys.executable).parent), str(Path(sam_executable()).parent))
        environment["PATH"] = os.pathsep.join((*path, environment["PATH"]))
        # Where Python keeps no bytecode, each start of a CLI would compile all of it.
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        environment["PYTHONPYCACHEPREFIX"] = str(account.folder / "bytecode")
        self._out, self._err = (account.folder / f"{name}-{number}" for name in ("out", "err"))
        self._bash = subprocess.Popen(
            ["bash"],
            cwd=account.folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        # The AWS CLI 1 alone goes past AWS_ENDPOINT_URL, and for SQS alone.
        self._run('aws() { command aws --endpoint-url "$AWS_ENDPOINT_URL" "$@"; }')
        self._run(BLOCKS["Runbook 1"])

    def close(self) -> None:
        self._bash.communicate("exit\n")

    def types(self, name: str, **fill: Fill) -> list[str]:
        """Types what stands there, command by command, and gives what each has printed.

        Names in capitals are filled in; a function makes it out of what the block has printed. What
        was typed before is not typed again.
        """
        printed: list[str] = []
        for command in separate(BLOCKS[name]):
            filled = _filled(command, fill, printed)
            if name in ONLY_PARSED:
                filled += " --generate-cli-skeleton output"
            printed.append(self._type(filled))
        return printed

    def _type(self, command: str) -> str:
        known = self.account.printed
        if command not in known:
            known[command] = self._run(command)
        return known[command]

    def _run(self, command: str) -> str:
        stdin, stdout = self._bash.stdin, self._bash.stdout
        assert stdin is not None
        assert stdout is not None
        where = f">{shlex.quote(str(self._out))} 2>{shlex.quote(str(self._err))}"
        stdin.write(f"{{\n{command}\n}} </dev/null {where}\necho $?\n")
        stdin.flush()
        code = stdout.readline().strip()
        out, err = self._out.read_text("utf-8"), self._err.read_text("utf-8")
        self.account.everything += [out, err]
        assert code == "0", f"{command}\nended with {code}:\n{out}{err}"
        assert "sam " in command or not err, f"{command}\nsaid:\n{err}"
        return out


def _filled(command: str, fill: Mapping[str, Fill], printed: list[str]) -> str:
    words = "|".join(map(re.escape, fill))

    def put_in(found: re.Match[str]) -> str:
        text = fill[found[0]]
        return text if isinstance(text, str) else text(printed)

    return re.sub(rf"(?<![\w.])(?:{words})(?!\w)", put_in, command) if fill else command


Act = Callable[[Operator], None]


def answer(printed: str) -> Any:
    """What a function answered, as `sam remote invoke` prints it."""
    return json.loads(printed[printed.index("{") :].splitlines()[0])


def rows(printed: str) -> list[list[str]]:
    return [line.split("\t") for line in printed.splitlines()]


# --- whatever it is ---------------------------------------------------------------------------------


def the_physical_names(at: Operator) -> None:
    at.types("Runbook 1")
    assert at._type("physical Ledger").strip() == at.account.output("LedgerTableName")


def a_hold_and_its_end(at: Operator) -> None:
    at.account.edit("expire_keys_hold", lambda text: text.replace("<WHY>", "asking marketing"))
    held, resumed = map(answer, at.types("Without the command 1"))
    assert held["held"] == "asking marketing"
    assert resumed["held"] is None


# --- how full the account is ------------------------------------------------------------------------


def it_is_counted_and_planned(at: Operator) -> None:
    watched, swept = map(answer, at.types("Without the command 3"))
    assert watched["keys"] == len(at.account.world.keys())
    assert swept["pressure"]["used"] == pytest.approx(0.05, abs=0.01)
    assert (swept["mode"], swept["verdicts"]["park"], swept["applied"]["park"]) == (
        "observe",
        ALLOWED,
        0,
    )


def the_limit_is_near(at: Operator) -> None:
    today, yesterday = rows(at.types("The limit is near 1")[0])
    assert today[:2] == [str(at.account.today), str(len(at.account.world.keys()))]
    assert yesterday[:2] == [str(at.account.today - DAY), str(at.account.keys_yesterday)]


def the_account_is_full(at: Operator) -> None:
    keys, plans = at.types("The account is full 1")
    assert int(keys) == len(at.account.world.keys()) > 500
    listed = at.account.client("apigateway").get_usage_plans(limit=500)["items"]
    assert int(plans) == len(listed)


def no_budget_is_spent(at: Operator) -> None:
    [printed] = at.types("A budget of new keys is spent 1")
    assert printed.strip() in ("", "None")


# --- the brake, and what a night did ----------------------------------------------------------------


def usage_was_not_read(at: Operator) -> None:
    said, schedules = at.types("Usage was not read 1")
    assert "[ERROR] AccessDenied" in said
    assert {row[1] for row in rows(schedules)} == {"ENABLED"}
    function = at.account.world.stack.functions["PullUsageFunction"]
    assert [row for row in rows(schedules) if row[2].endswith(f":{function}")]


def usage_is_read_and_swept(at: Operator) -> None:
    read, swept = map(answer, at.types("Without the command 2"))
    assert read["keys"]
    [cause] = swept["brake"]["causes"]
    assert (cause["cause"], cause["keys"]) == ("protection_ended", SHIELDED)
    assert swept["brake"]["allowance"] == ALLOWED
    assert swept["due"] == {"park": IDLE, "purge": 0, "disable": 0, "warn": SHIELDED}
    assert not any(swept["applied"].values())
    at.account.digest = swept["digest"]


def no_sweep(at: Operator) -> None:
    [said] = at.types("No sweep 1")
    assert "[ERROR] NoEvidence" in said


def steps_keep_failing(at: Operator) -> None:
    [said] = at.types("Steps keep failing 1")
    left = re.findall(r"key (\w+) was left alone \(disable\): access denied", said)
    assert len(left) == 1
    assert left[0] in at.account.keys["idle"]


def the_brake_is_on(at: Operator) -> None:
    plan, lines = at.types(
        "The brake is on 1", DIGEST=at.account.digest, DATE=f"{at.account.today}"
    )
    assert f'"digest": "{at.account.digest}"' in plan
    assert f'"allowance": {ALLOWED}' in plan
    due = re.findall(r'"park",\s+"(\w+)"', plan)
    told = [json.loads(line)["key_id"] for line in lines.splitlines()]
    assert (len(plan.splitlines()), len(told)) == (50, 5)
    assert set(due) < set(at.account.keys["idle"])
    assert set(told) <= {*at.account.keys["idle"], *at.account.keys["shielded"]}


def the_brake_is_let_go(at: Operator) -> None:
    at.account.edit("expire_keys_approve", lambda text: text.replace("<DIGEST>", at.account.digest))
    [printed] = at.types("Without the command 4")
    assert answer(printed)["approved"]["still_due"] == {
        "park": IDLE,
        "purge": 0,
        "disable": 0,
        "warn": SHIELDED,
    }
    assert answer(printed)["applied"]["park"] == IDLE
    assert answer(printed)["applied"]["warn"] == SHIELDED
    assert not at.account.world.keys().keys() & set(at.account.keys["idle"])


def what_a_date_did_is_taken_back(at: Operator) -> None:
    at.account.edit(
        "expire_keys_undo", lambda text: text.replace("<DATE>", str(at.account.today - DAY * 2))
    )
    [printed] = at.types("Without the command 5")
    assert not any(answer(printed)["applied"].values())  # nothing was done on that date


def keys_were_warned(at: Operator) -> None:
    key_id = at.account.keys["late"][0]
    last_night = at.account.today - DAY
    [printed] = at.types("Keys were warned 1", KEY_ID=key_id, DATE=f"{last_night}")
    [line] = map(json.loads, printed.splitlines())
    assert (line["key_id"], line["verdict"]) == (key_id, "warn")
    assert line["disable_on"] == str(last_night + 14 * DAY)


def a_key_is_kept_for_good(at: Operator) -> None:
    key_id = at.account.keys["late"][1]
    at.types("Keys were warned 2", KEY_ID=key_id, REGION="us-east-1")
    key = at.account.client("apigateway").get_api_key(apiKey=key_id)
    assert key["tags"] == {"keyjanitor:keep": "yes"}


# --- keys that are gone -----------------------------------------------------------------------------


def who_deletes_is_found(at: Operator) -> None:
    [trail] = at.types("Keys are gone 1")
    # No stack was deleted.
    assert {tuple(row[:2]) for row in rows(trail)} == {("DeleteApiKey", ACCOUNT)}


def who_has_to_get_a_new_key(at: Operator) -> None:
    *_, printed = at.types("Keys are gone 2", YESTERDAY=f"{at.account.today - DAY}")
    assert [json.loads(line)["key_id"] for line in printed.splitlines()] == at.account.keys["gone"]


# --- plans ------------------------------------------------------------------------------------------


def a_plan_is_not_read(at: Operator) -> None:
    [printed] = at.types("A usage plan is not read 1")
    assert f"usage plan {at.account.world.plans['front-end']} is unread" in printed


def the_plans_are_named(at: Operator) -> None:
    printed = rows(at.types("The policy does not fit the account 1")[0])
    assert [at.account.world.plans["partners"], "partners"] in printed


def a_plan_is_silent(at: Operator) -> None:
    plan_id = at.account.world.plans["partners"]
    plan = json.loads(at.types("A usage plan is silent 1", PLAN_ID=plan_id)[0])
    opened = [(stage["apiId"], stage["stage"]) for stage in plan["apiStages"]]
    assert (plan["name"], opened) == ("partners", [(at.account.world.api_id, "b2b")])


# --- functions that fail ----------------------------------------------------------------------------


def the_hourly_count_does_not_run(at: Operator) -> None:
    said, schedules = at.types("The hourly count does not run 1")
    assert "[ERROR] AccessDenied" in said
    assert len(rows(schedules)) == 5


def provision_fails(at: Operator) -> None:
    [printed] = at.types("ProvisionKeysFunction fails 1")
    assert "a message cannot be answered, it is no JSON" in printed


def provision_is_stopped(at: Operator) -> None:
    [printed] = at.types("ProvisionKeysFunction fails 2", UUID=mapping_of(at.account.world))
    assert json.loads(printed)["UUID"] == mapping_of(at.account.world)


def one_request_is_tried_by_hand(at: Operator) -> None:
    request = {"version": 1, "action": "renew", "request_id": "by-hand"}
    body = json.dumps(request | {"key_id": at.account.keys["leaked"][0]})

    def change(text: str) -> str:
        event = json.loads(text)
        event["Records"][0]["body"] = body
        event["Records"][0]["attributes"]["SenderId"] = ADMIN
        return json.dumps(event)

    at.account.edit("provision_keys", change)
    [printed] = at.types("ProvisionKeysFunction fails 3")
    assert answer(printed) == {"batchItemFailures": []}
    assert answers(at.account.world)["by-hand"][0][0] == "Key Renewed"


def no_report(at: Operator) -> None:
    [printed] = at.types("No report 1")
    assert "[ERROR] AccessDenied" in printed


def the_report_is_published(at: Operator) -> None:
    [printed] = at.types("Without the command 6")
    report = at.account.world.report(at.account.today)
    assert answer(printed)["keys"] == len(report["keys"]["rows"])


def a_run_failed_for_good(at: Operator) -> None:
    [message] = json.loads(at.types("A run failed for good 1")[0])["Messages"]
    told = json.loads(message["Body"])
    pull = at.account.world.stack.functions["PullUsageFunction"]
    assert pull in told["requestContext"]["functionArn"]
    assert "tim: is not a field" in told["responsePayload"]["errorMessage"]


def the_queue_of_runs_is_emptied(at: Operator) -> None:
    at.types("A run failed for good 2")
    assert _waiting(at, "RunDeadLetterQueue") == 0


# --- requests ---------------------------------------------------------------------------------------


def _waiting(at: Operator, queue: str) -> int:
    """How many messages a queue holds, seen or not."""
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    url = at._type(f"physical {queue}").strip()
    told = at.account.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=names)
    return sum(int(told["Attributes"][name]) for name in names)


def requests_wait(at: Operator) -> None:
    waiting = [issue("waiting", tier="nobody's"), issue("waiting-too", tier="nobody's")]
    at.account.world.sandbox.send_requests(at.account.output("RequestQueueUrl"), waiting)
    counted, mapped, said = at.types("Requests wait 1")
    assert json.loads(counted)["Attributes"]["ApproximateNumberOfMessages"] == "2"
    assert rows(mapped)[0][:2] == [mapping_of(at.account.world), "Disabled"]
    assert "request 'late' is left" in said


def the_queue_is_read_again(at: Operator) -> None:
    at.types("Requests wait 2", UUID=mapping_of(at.account.world))
    at.account.world.sandbox.wait_for_queue(at.account.output("RequestQueueUrl"), 240)
    told = answers(at.account.world)
    assert {told[name][0][1]["code"] for name in ("waiting", "waiting-too")} == {"unknown_tier"}


def requests_keep_failing(at: Operator) -> None:
    [printed] = at.types("Requests keep failing 1")
    assert "request 'late' is left: access denied" in printed
    assert "a message cannot be answered, it is no JSON" in printed


def dead_letters_are_looked_at(at: Operator) -> None:
    letters = json.loads(at.types("Dead letters 1")[0])
    assert {body for _, _, body in letters} == {"no json", json.dumps(issue("asked"))}
    # What can never be a request was put there by the function.
    assert {sender for _, sender, body in letters if body != "no json"} == {ACCOUNT}


def the_ledger_is_asked(at: Operator) -> None:
    [judged] = at.types("Dead letters 2", REQUEST_ID="asked")
    assert json.loads(judged) == [{"sender": {"S": ACCOUNT}}]
    [unknown] = at.types("Dead letters 2", REQUEST_ID="not-judged-yet")
    assert json.loads(unknown) == []


def the_log_is_asked(at: Operator) -> None:
    [printed] = at.types("Dead letters 3", REQUEST_ID="late")
    assert "request 'late' is left" in printed


def a_dead_letter_is_deleted(at: Operator) -> None:
    at.account.world.sandbox.redeliver(at.account.output("RequestDeadLetterQueueUrl"))

    def receipt(printed: list[str]) -> str:
        return next(str(one) for one, body in json.loads(printed[0]) if body == "no json")

    at.types("Dead letters 4", RECEIPT_HANDLE=receipt)
    assert _waiting(at, "RequestDeadLetterQueue") == 1


def dead_letters_are_moved_back(at: Operator) -> None:
    world = at.account.world
    before = answers(world)["asked"]
    world.sandbox.redeliver(at.account.output("RequestDeadLetterQueueUrl"))
    *_, printed = at.types("Dead letters 5")
    [task] = json.loads(printed)["Results"]
    assert (task["Status"], task["ApproximateNumberOfMessagesMoved"]) == ("COMPLETED", 1)
    world.sandbox.wait_for_queue(at.account.output("RequestQueueUrl"), 240)
    [once, again] = answers(world)["asked"]
    assert [once] == before
    assert (again[0], again[1]["key_id"]) == (once[0], once[1]["key_id"])


# --- who hears of it --------------------------------------------------------------------------------


def events_do_not_reach_the_audit_log(at: Operator) -> None:
    of_log, of_queue = at.types("Events do not reach the audit log 1")
    [policy] = json.loads(of_log)
    assert "rule/keyjanitor/keyjanitor-audit" in policy["policyDocument"]
    [text] = json.loads(of_queue)["Attributes"].values()
    assert "rule/keyjanitor/keyjanitor-audit" in text


def something_could_not_be_told(at: Operator) -> None:
    [said] = at.types("Something could not be told 1")
    assert "[ERROR] NoEvidence" in said


def sweeps_only_observe(at: Operator) -> None:
    [listed] = at.types("Sweeps only observe 1")
    confirmed = {who for _, who, arn in rows(listed) if arn.startswith("arn:")}
    assert LISTENER in confirmed


def a_subscription_is_not_confirmed(at: Operator) -> None:
    listed, again = at.types("A subscription is not confirmed 1")
    assert ["email", "nobody@example.org", "PendingConfirmation"] in rows(listed)
    assert json.loads(again)["SubscriptionArn"] == "pending confirmation"


def an_address_subscribes(at: Operator) -> None:
    topic = at.account.output("AlertTopicArn")
    [printed] = at.types("alerts: Subscribe 1", ALERT_TOPIC_ARN=topic)
    assert json.loads(printed) == {"SubscriptionArn": "pending confirmation"}


def a_queue_subscribes_to_what_is_critical(at: Operator) -> None:
    sqs, sns = at.account.client("sqs"), at.account.client("sns")
    url = sqs.create_queue(QueueName="woken")["QueueUrl"]
    told = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
    topic, arn = at.account.output("AlertTopicArn"), told["Attributes"]["QueueArn"]
    [printed] = at.types("alerts: Subscribe 2", ALERT_TOPIC_ARN=topic, QUEUE_ARN=arn)
    subscription = json.loads(printed)["SubscriptionArn"]
    attributes = sns.get_subscription_attributes(SubscriptionArn=subscription)["Attributes"]
    assert json.loads(attributes["FilterPolicy"]) == {"severity": ["critical"]}


def the_people_of_a_tier_subscribe(at: Operator) -> None:
    topic, contact = at.account.output("AlertTopicArn"), "api-team@example.org"
    [printed] = at.types("alerts: Subscribe 3", ALERT_TOPIC_ARN=topic, CONTACT=contact)
    assert json.loads(printed) == {"SubscriptionArn": "pending confirmation"}


# --- the key of all tombstones ----------------------------------------------------------------------


def tombstones_do_not_open(at: Operator) -> None:
    kms, key = at.account.client("kms"), at.account.output("SealingKeyArn")
    kms.schedule_key_deletion(KeyId=key, PendingWindowInDays=7)
    at.account.world.stack.invoke("ExpireKeysFunction", {})
    state, said = at.types("Tombstones do not open 1")
    assert json.loads(state)[0] == "PendingDeletion"
    goes_on = datetime.fromtimestamp(json.loads(state)[1], UTC).date()
    assert goes_on == at.account.today + 7 * DAY
    assert "cannot be opened" in said


def the_deletion_is_cancelled(at: Operator) -> None:
    at.types("Tombstones do not open 2")
    assert _state(at) == "Disabled"


def the_key_is_enabled(at: Operator) -> None:
    at.types("Tombstones do not open 3")
    assert _state(at) == "Enabled"


def _state(at: Operator) -> str:
    kms, key = at.account.client("kms"), at.account.output("SealingKeyArn")
    return str(kms.describe_key(KeyId=key)["KeyMetadata"]["KeyState"])


def the_keys_policy_is_put(at: Operator) -> None:
    kms, key = at.account.client("kms"), at.account.output("SealingKeyArn")
    policy = kms.get_key_policy(KeyId=key, PolicyName="default")["Policy"]
    (at.account.folder / "policy.json").write_text(policy)
    at.types("Tombstones do not open 4", KEY=key)
    assert json.loads(kms.get_key_policy(KeyId=key, PolicyName="default")["Policy"]) == json.loads(
        policy
    )


def a_tombstones_versions(at: Operator) -> None:
    """One of them is under a delete marker."""
    key_id = at.account.keys["idle"][1]
    bucket, name = at.account.output("HistoryBucketName"), f"tombstones/{key_id}.json"
    at.account.client("s3").delete_object(Bucket=bucket, Key=name)
    told = json.loads(at.types("Tombstones do not open 5", KEY_ID=key_id)[0])
    assert {one["Key"] for one in (*told["Versions"], *told["DeleteMarkers"])} == {name}


def the_delete_marker_is_taken_away(at: Operator) -> None:
    key_id = at.account.keys["idle"][1]
    bucket, name = at.account.output("HistoryBucketName"), f"tombstones/{key_id}.json"
    history = at.account.client("s3")
    [marker] = history.list_object_versions(Bucket=bucket, Prefix=name)["DeleteMarkers"]
    at.types("Tombstones do not open 6", KEY_ID=key_id, MARKER=marker["VersionId"])
    assert (
        json.loads(history.get_object(Bucket=bucket, Key=name)["Body"].read())["key_id"] == key_id
    )


# --- a leak -----------------------------------------------------------------------------------------


def a_leaked_key_is_disabled(at: Operator) -> None:
    [key_id] = at.account.keys["leaked"]
    told = json.loads(at.types("A key leaked 1", KEY_ID=key_id)[0])
    assert (told["id"], told["enabled"]) == (key_id, False)


def a_leaked_key_is_revoked(at: Operator) -> None:
    [key_id] = at.account.keys["leaked"]
    at.account.edit("provision_keys_operator", lambda text: text.replace("<KEY_ID>", key_id))
    [printed] = at.types("Without the command 7")
    (answer,) = json.loads(printed[printed.index("{") :])["answers"]
    assert (answer["status"], answer["detail-type"]) == ("answered", "Key Revoked")
    assert answers(at.account.world)["operator-7f3c9a52-revoke"][0][0] == "Key Revoked"
    assert key_id not in set(at.account.world.keys())


# --- what the other documents say -------------------------------------------------------------------


def the_audit_trail_is_asked(at: Operator) -> None:
    # MiniStack's Logs Insights knows the whole line alone, no field in it.
    query = 'fields @message | filter @message like /"request_id":"asked"/'
    (at.account.folder / "query.txt").write_text(query)
    *_, printed = at.types(
        "audit: The audit log 1",
        **{"2026-11-21": f"{at.account.today}", "2026-11-22": f"{at.account.today + DAY}"},
        QUERY_ID=lambda printed: str(json.loads(printed[2])["queryId"]),
    )
    told = json.loads(printed)
    assert told["status"] == "Complete"
    events = [json.loads(one["value"]) for row in told["results"] for one in row[:1]]
    issued = answers(at.account.world)["asked"][0][1]["key_id"]
    assert ("Key Issued", issued) in [(e["detail-type"], e["detail"]["key_id"]) for e in events]


def an_audit_folder_is_fetched_and_verified(at: Operator) -> None:
    """A folder as publish_report writes it; that it does is in test_audit_folder.py."""
    bucket, history = at.account.output("HistoryBucketName"), at.account.client("s3")
    files = {name: f"{name}\n".encode() for name in ("population.csv", "actions.csv")}
    manifest = "".join(f"{sha256(body).hexdigest()}  {name}\n" for name, body in files.items())
    for name, body in {**files, "manifest.sha256": manifest.encode()}.items():
        history.put_object(Bucket=bucket, Key=f"audit/2026-10/{name}", Body=body)
    *_, verified = at.types("audit: The audit folder of a month 1")
    assert verified.splitlines() == ["population.csv: OK", "actions.csv: OK"]


def a_bucket_may_lock_files(at: Operator) -> None:
    at.types("audit: The audit folder of a month 2")


def a_role_is_found_by_its_id(at: Operator) -> None:
    role = at.account.client("iam").list_roles()["Roles"][0]
    fill = {"AROA...": role["RoleId"]}
    [printed] = at.types("audit: What was revoked, why, and by whom 1", **fill)
    assert printed == f"{role['RoleName']}\n"


def athena_is_asked(at: Operator) -> None:
    (at.account.folder / "query.sql").write_text("SELECT 1")
    started, results = map(json.loads, at.types("history: Run a query 1"))
    assert list(started) == ["QueryExecutionId"]
    assert "ResultSet" in results


def who_am_i(at: Operator) -> None:
    [printed] = at.types("recipient: When KMS says no 1")
    assert json.loads(printed)["Account"] == ACCOUNT


# Blocks in the order in which a night goes wrong; those of one phase do not mind each other.
PHASES: tuple[Mapping[str, Act], ...] = (
    {
        "Runbook 1": the_physical_names,
        "Without the command 1": a_hold_and_its_end,
        "Keys are gone 1": who_deletes_is_found,
        "Keys are gone 2": who_has_to_get_a_new_key,
        "A usage plan is not read 1": a_plan_is_not_read,
        "The policy does not fit the account 1": the_plans_are_named,
        "A usage plan is silent 1": a_plan_is_silent,
        "The hourly count does not run 1": the_hourly_count_does_not_run,
        "Dead letters 1": dead_letters_are_looked_at,
        "Dead letters 2": the_ledger_is_asked,
        "Dead letters 3": the_log_is_asked,
        "A run failed for good 1": a_run_failed_for_good,
        "Events do not reach the audit log 1": events_do_not_reach_the_audit_log,
        "Something could not be told 1": something_could_not_be_told,
        "Sweeps only observe 1": sweeps_only_observe,
        "A subscription is not confirmed 1": a_subscription_is_not_confirmed,
        "alerts: Subscribe 1": an_address_subscribes,
        "alerts: Subscribe 2": a_queue_subscribes_to_what_is_critical,
        "alerts: Subscribe 3": the_people_of_a_tier_subscribe,
        "ProvisionKeysFunction fails 1": provision_fails,
        "Requests keep failing 1": requests_keep_failing,
        "audit: The audit log 1": the_audit_trail_is_asked,
        "audit: The audit folder of a month 1": an_audit_folder_is_fetched_and_verified,
        "audit: The audit folder of a month 2": a_bucket_may_lock_files,
        "audit: What was revoked, why, and by whom 1": a_role_is_found_by_its_id,
        "history: Run a query 1": athena_is_asked,
        "recipient: When KMS says no 1": who_am_i,
    },
    {
        "Usage was not read 1": usage_was_not_read,
        "Without the command 2": usage_is_read_and_swept,
        "ProvisionKeysFunction fails 2": provision_is_stopped,
        "ProvisionKeysFunction fails 3": one_request_is_tried_by_hand,
        "Dead letters 4": a_dead_letter_is_deleted,
        "A run failed for good 2": the_queue_of_runs_is_emptied,
        "No report 1": no_report,
    },
    {
        "No sweep 1": no_sweep,
        "Steps keep failing 1": steps_keep_failing,
        "Without the command 3": it_is_counted_and_planned,
        "The account is full 1": the_account_is_full,
        "Keys were warned 1": keys_were_warned,
        "Keys were warned 2": a_key_is_kept_for_good,
        "Requests wait 1": requests_wait,
    },
    {
        "The brake is on 1": the_brake_is_on,  # after a dry run, as the runbook has it
        "The limit is near 1": the_limit_is_near,
        "A budget of new keys is spent 1": no_budget_is_spent,
        "Requests wait 2": the_queue_is_read_again,
        "A key leaked 1": a_leaked_key_is_disabled,
        "Without the command 6": the_report_is_published,
    },
    {"Without the command 4": the_brake_is_let_go, "Dead letters 5": dead_letters_are_moved_back},
    {
        "Tombstones do not open 1": tombstones_do_not_open,
        "Tombstones do not open 5": a_tombstones_versions,
        "Without the command 5": what_a_date_did_is_taken_back,
        "Without the command 7": a_leaked_key_is_revoked,
    },
    {
        "Tombstones do not open 2": the_deletion_is_cancelled,
        "Tombstones do not open 6": the_delete_marker_is_taken_away,
    },
    {"Tombstones do not open 3": the_key_is_enabled},
    {"Tombstones do not open 4": the_keys_policy_is_put},
)


# --- the scenario -----------------------------------------------------------------------------------


@contextmanager
def denied(world: World, role: str, action: str) -> Iterator[None]:
    """Takes an action away from a role for a while."""
    iam = world.sandbox.client("iam")
    name = next(r["RoleName"] for r in iam.list_roles()["Roles"] if f"-{role}-" in r["RoleName"])
    statement = {"Effect": "Deny", "Action": action, "Resource": "*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    iam.put_role_policy(RoleName=name, PolicyName="denied", PolicyDocument=policy)
    try:
        yield
    finally:
        iam.delete_role_policy(RoleName=name, PolicyName="denied")


def functions_fail(world: World, today: date) -> None:
    """Each function fails once, and says so in its log."""
    for name in ("PullUsage", "WatchCapacity", "PublishReport"):
        with denied(world, f"{name}Role", "apigateway:GET"), pytest.raises(FunctionFailed):
            world.stack.invoke(f"{name}Function", {})
    with pytest.raises(FunctionFailed, match="NoEvidence"):
        world.stack.sweep(f"{today - 100 * DAY}T03:15:00Z")
    # As its schedule starts it, so that it ends as a dead letter.
    function = world.stack.functions["PullUsageFunction"]
    world.sandbox.client("lambda").invoke(
        FunctionName=function, InvocationType="Event", Payload=json.dumps({"tim": "wrong"})
    )


def nights_are_lived(world: World, today: date) -> dict[str, list[str]]:
    """Nights until yesterday's: keys that are to be parked tonight, and some that were just warned."""
    plan = world.plans["partners"]
    world.witness(today)
    keep = {"keyjanitor:keep": ""}
    world.lay_down(
        *(LaidKey(name=f"kept {n}", created=LONG_AGO, plans=[plan], tags=keep) for n in range(KEPT))
    )
    shielded = world.lay_down(
        *(
            LaidKey(
                name=f"shielded {n}",
                created=LONG_AGO,
                plans=[plan],
                description="Managed by Terraform",
            )
            for n in range(SHIELDED)
        )
    )
    gone = world.lay_down(LaidKey(name="gone", created=LONG_AGO, plans=[plan], tags=keep))
    idle = world.lay_down(
        *(LaidKey(name=f"idle {n}", created=LONG_AGO, plans=[plan]) for n in range(IDLE))
    )
    for back in (28, 15):
        world.night(today - back * DAY)
    world.pull(today - 14 * DAY)
    world.sandbox.misbehave(fail_next={"UpdateApiKey": ["AccessDeniedException"]})
    assert world.sweep(today - 14 * DAY)["failed"]["count"] == 1
    world.sandbox.behave()
    world.sweep(today - 14 * DAY)  # the night's next sweep does what the first left
    world.sandbox.misbehave(
        unreadable_usage={world.plans["front-end"]: "InternalServerErrorException"}
    )
    world.pull(today - 3 * DAY)
    world.sandbox.behave()
    world.night(today - 2 * DAY)
    late = world.lay_down(
        *(LaidKey(name=f"late {n}", created=LONG_AGO, plans=[plan]) for n in range(LATE))
    )
    world.night(today - DAY)
    world.sandbox.reset_clock()
    world.stack.watch(f"{today - DAY}T12:40:00Z")
    return {"idle": idle, "shielded": shielded, "late": late, "gone": gone}


def requests_are_sent(world: World) -> list[str]:
    """Two keys are issued, a request is left, and two messages are dead letters; gives a key's id."""
    queue = world.stack.outputs["RequestQueueUrl"]
    letters = world.stack.outputs["RequestDeadLetterQueueUrl"]
    world.sandbox.send_requests(queue, [issue("asked"), issue("leaked")])
    world.sandbox.wait_for_queue(queue, 240)
    with denied(world, "ProvisionKeysRole", "apigateway:GET"):
        assert len(serve(world, [issue("late"), "no json"])) == 1  # the other is a dead letter
    world.sandbox.send_requests(letters, [issue("asked")])
    return [answers(world)["leaked"][0][1]["key_id"]]


@contextmanager
def recorded(world: World) -> Iterator[None]:
    """Lets MiniStack's CloudTrail record for a while."""

    def record(on: bool) -> None:
        said = json.dumps({"cloudtrail._recording_enabled": on}).encode()
        url = f"{world.sandbox.endpoint}/_ministack/config"
        urllib.request.urlopen(urllib.request.Request(url, data=said)).close()

    record(on=True)
    try:
        yield
    finally:
        record(on=False)


@contextmanager
def braked(world: World) -> Iterator[None]:
    """Lets sweeps have another policy for a while, as a layer of its own."""
    functions, name = world.sandbox.client("lambda"), world.stack.functions["ExpireKeysFunction"]
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w") as layer:
        policy = BRAKED.replace("apiid:", f"{world.api_id}:")
        layer.writestr("python/keyjanitor_policy/policy.toml", policy)
    made = functions.publish_layer_version(
        LayerName="braked", Content={"ZipFile": zipped.getvalue()}
    )
    is_now = functions.get_function_configuration(FunctionName=name)["Layers"]
    layers = [one["Arn"] for one in is_now]
    others = [made["LayerVersionArn"] if "PolicyLayer" in arn else arn for arn in layers]
    assert others != layers
    functions.update_function_configuration(FunctionName=name, Layers=others)
    try:
        yield
    finally:
        functions.update_function_configuration(FunctionName=name, Layers=layers)


@contextmanager
def subscribed(world: World) -> Iterator[None]:
    """Somebody who has not confirmed; ends every subscription that is made in the meantime."""
    sns, topic = world.sandbox.client("sns"), world.stack.outputs["AlertTopicArn"]
    before = sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]
    sns.subscribe(TopicArn=topic, Protocol="email", Endpoint="nobody@example.org")
    try:
        yield
    finally:
        for one in sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]:
            if one in before:
                continue
            # The list does not tell the ARN of one that is pending.
            made = sns.subscribe(
                TopicArn=topic,
                Protocol=one["Protocol"],
                Endpoint=one["Endpoint"],
                ReturnSubscriptionArn=True,
            )
            sns.unsubscribe(SubscriptionArn=made["SubscriptionArn"])


@contextmanager
def put_right(world: World) -> Iterator[None]:
    """Whatever becomes of the test, the stack is as it was: its key enabled, its queue read."""
    try:
        yield
    finally:
        kms, key = world.sandbox.client("kms"), world.stack.outputs["SealingKeyArn"]
        if kms.describe_key(KeyId=key)["KeyMetadata"]["KeyState"] == "PendingDeletion":
            kms.cancel_key_deletion(KeyId=key)
        kms.enable_key(KeyId=key)
        world.sandbox.client("lambda").update_event_source_mapping(
            UUID=mapping_of(world), Enabled=True
        )


@pytest.fixture
def account(world: World, tmp_path: Path) -> Iterator[Account]:
    """An account on the morning on which everything has gone wrong."""
    copytree(REPOSITORY / "events", tmp_path / "events")
    world.sandbox.reset_clock()
    today = world.sandbox.now().date()
    functions_fail(world, today)
    keys = nights_are_lived(world, today)
    keys_yesterday = len(world.keys())
    keys["leaked"] = requests_are_sent(world)
    apigateway = world.sandbox.client("apigateway")
    pages = apigateway.get_paginator("get_api_keys").paginate(
        includeValues=True, PaginationConfig={"PageSize": 500}
    )
    values = {item["value"] for page in pages for item in page["items"]}
    with recorded(world):
        apigateway.delete_api_key(apiKey=keys["gone"][0])
    with put_right(world), braked(world), subscribed(world):
        yield Account(world, tmp_path, today, keys, keys_yesterday, values)


def test_each_command_of_the_documents_is_typed_here() -> None:
    typed = [name for phase in PHASES for name in phase]
    assert sorted(typed) == sorted(BLOCKS)
    assert set(ONLY_PARSED) <= set(BLOCKS)
    assert len(BLOCKS) > 40


def test_each_command_does_what_the_documents_say_and_prints_no_value(account: Account) -> None:
    operators = [Operator(account, number) for number in range(2)]
    free: queue.SimpleQueue[Operator] = queue.SimpleQueue()
    for operator in operators:
        free.put(operator)

    def act(one: Act) -> None:
        at = free.get()
        try:
            one(at)
        finally:
            free.put(at)

    failed: list[Exception] = []
    with ThreadPoolExecutor(len(operators)) as pool:
        for phase in PHASES:
            acts = {name: pool.submit(act, one) for name, one in phase.items()}
            for name, done in acts.items():
                if isinstance(why := done.exception(), Exception):
                    why.add_note(f"typed: {name}")
                    failed.append(why)
    for operator in operators:
        operator.close()
    if failed:
        raise ExceptionGroup("not as it is written", failed)
    told = "".join(account.everything)
    assert len(account.values) > KEPT
    assert not [value for value in account.values if value in told]
