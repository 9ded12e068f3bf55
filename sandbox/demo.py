"""`make demo`: thirty nights of an account of 9,300 keys, lived in the sandbox in a few minutes."""

import base64
import gzip
import json
import sys
import time as real_time
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from sandbox.driver.client import ACCOUNT, REPOSITORY, Sandbox
from sandbox.driver.life import LOOK, MORNING, READING, SWEEP, Life
from sandbox.driver.population import TIERS, Kind, population
from sandbox.driver.stack import Stack

KEYS = 9_300
LIMIT = 10_000
NIGHTS = 30
SPEED = 100  # times AWS's throttles; the functions' share is as many times larger
REQUEST_SHARE = 2  # and those that answer requests
SHARE = 3  # calls a second that a night's function takes of AWS's ten
REQUESTS = 120  # that go through the API for real on each day
IDLE_LIMITS = {"external": 60, "front-end": 60, "partners": 90}  # as in sandbox/policy.toml
POLICY = REPOSITORY / "sandbox" / "policy.toml"
KEPT = REPOSITORY / ".demo"

# Nights on which the operator does something.
PARK, HOLD, RESUME, APPROVE, SLIP, UNDO = 4, 12, 16, 17, 20, 25
UNDONE = 24  # the night that is undone
SLIP_OF_THE_HAND = (
    "idle_days = 60",
    "idle_days = 6",
)  # of the tier `external`, the first that has it
ASKED = 26  # the night while which other systems ask for keys
PORTAL = f"arn:aws:iam::{ACCOUNT}:role/portal"


class Demo:
    """The demo's one run: an operator, an account, and thirty nights."""

    def __init__(self, sandbox: Sandbox, console: Console, keys: int = KEYS) -> None:
        self.sandbox = sandbox
        self.console = console
        self.size = keys
        self.began = real_time.monotonic()
        self.stack: Stack
        self.policy: Path
        self.alerts_seen = 0
        self.opened = ""  # the value of a key that was asked for
        self.life: Life
        self.first = datetime.now(UTC).date() - timedelta(days=NIGHTS - 1)
        self.did: Counter[str] = Counter()
        self.statuses: Counter[int] = Counter()
        self.joined = 0  # keys that were made since: sign-ups, and those that were asked for
        self.left = keys  # that the account holds
        self.braked: dict[str, Any] = {}

    def say(self, text: str) -> None:
        """One line with the time that has gone by."""
        gone = real_time.monotonic() - self.began
        self.console.print(f"[dim]{gone:5.0f} s[/dim]  {text}", highlight=False)

    def type(self, command: str) -> None:
        """Shows what an operator types."""
        self.say(f"[bold]$ {command}[/bold]")

    def day(self, night: int) -> date:
        """The date of a night; they are counted from 1."""
        return self.first + timedelta(days=night - 1)

    # --- the parts --------------------------------------------------------------------------------

    def run(self) -> None:
        """Everything, in order."""
        self.type("sam build && sam deploy --config-env local   (Mode=observe)")
        with self.console.status("building and deploying the stack into the sandbox"):
            api_id = self.sandbox.rest_api([tier.stage for tier in TIERS])
            KEPT.mkdir(parents=True, exist_ok=True)
            self.policy = KEPT / "policy.toml"
            self.policy.write_text(POLICY.read_text().replace("apiid:", f"{api_id}:"))
            shares = {
                "NightCallsPerSecond": str(SHARE * SPEED),
                "RequestCallsPerSecond": str(REQUEST_SHARE * SPEED),
            }
            self.stack = Stack.deploy(self.sandbox, self.policy, {"Mode": "observe", **shares})
        self.say(f"deployed: {len(self.stack.outputs)} outputs, functions and tables are up")
        with self.console.status(f"laying down {self.size:,} keys with 120 days of life"):
            lived = population(self.size, self.first - timedelta(days=1))
            self.life = Life(self.sandbox, lived, api_id)
            self.life.begin()
        self.say(f"laid down {self.size:,} keys with 120 days of life, up to {lived.until}")
        self.say(
            f"now {NIGHTS} nights and days; a row is a night: what was due, and what was done\n"
        )
        self.header()
        for night in range(1, NIGHTS + 1):
            self.operate_before(night)
            if night == ASKED:
                self.ask()
            with self.console.status(f"night {night}"):
                answer = self.night(night)
            self.row(night, answer)
            if night == ASKED:
                self.hear_answers()
            self.watch(night)
            self.operate_after(night, answer)
            with self.console.status(f"day {night}: {REQUESTS} requests through the API"):
                known = len(self.life.keys)
                self.statuses += self.life.live_through(self.day(night), REQUESTS)
                self.joined += len(self.life.keys) - known
        self.life.hear()
        self.summary()
        self.bring_one_back()
        self.keep()

    def night(self, night: int) -> dict[str, Any]:
        """The schedules of one night: read, then sweep."""
        day = self.day(night)
        self.life.set_clock(day, READING)
        self.stack.pull(f"{datetime.combine(day, READING):%Y-%m-%dT%H:%M:%SZ}")
        return self.sweep(night)

    def sweep(self, night: int, **event: Any) -> dict[str, Any]:
        """One sweep of a night, or what an operator asks of it."""
        day = self.day(night)
        self.life.set_clock(day, SWEEP)
        time = f"{datetime.combine(day, SWEEP):%Y-%m-%dT%H:%M:%SZ}"
        answer: dict[str, Any] = self.stack.sweep(time, **event)
        self.did.update(answer["applied"])
        self.life.hear()
        return answer

    def operate_before(self, night: int) -> None:
        """What the operator does before a night."""
        if night == PARK:
            self.type("sam deploy ... Mode=park   (what it would do reads well)")
            with self.console.status("deploying with Mode=park"):
                self.stack.update(self.policy, Mode="park")
        elif night == HOLD:
            self.operate(night, {"hold": "a campaign is on; nobody is to lose a key this week"})
        elif night == RESUME:
            self.operate(night, {"resume": True})
        elif night == SLIP:
            self.type("sam build && sam deploy   (policy.toml has idle_days = 6 for external)")
            slipped = KEPT / "policy-with-a-slip.toml"
            slipped.write_text(self.policy.read_text().replace(*SLIP_OF_THE_HAND, 1))
            with self.console.status("deploying a policy with a slip in it"):
                self.stack.update(slipped)

    def operate_after(self, night: int, answer: dict[str, Any]) -> None:
        """What the operator does when a night calls for it."""
        if answer["brake"]:
            self.braked = answer["brake"]
            why = ", ".join(f"{one['keys']:,} {one['cause']}" for one in answer["brake"]["causes"])
            self.say(
                f"[red]the safety brake is on[/red]: {answer['brake']['new']:,} keys are newly past "
                f"their idle limit, usual are {answer['brake']['usual']:g}"
            )
            self.say(f"  why: {why}; no key was touched")
        if night == SLIP:
            self.say("6 days, where 60 were meant. Put right, and the brake comes off by itself:")
            self.type("sam build && sam deploy   (idle_days = 60)")
            with self.console.status("deploying the policy as it was"):
                self.stack.update(self.policy)
        if night == APPROVE:
            self.say(
                "a backlog trips nothing; more was due after the hold than the allowance lets go:"
            )
            self.say(f"  {_kinds(answer['due'])}")
            self.say("the operator looked at who they are, and lets the rest go at once:")
            rest = self.sweep(night)
            approved = self.operate(night, {"approve": rest["digest"]})
            self.say(f"approved and still due: {_kinds(approved['approved']['still_due'])}")
            self.row(night, approved)
        if night == UNDO:
            undone = self.operate(night, {"undo": str(self.day(UNDONE))})
            applied = undone["applied"]
            self.say(
                f"undone: night {UNDONE}; {applied['enable']} keys enabled, "
                f"{applied['restore']} restored from their tombstones"
            )

    def watch(self, night: int) -> None:
        """One look at the account's capacity a night, and what an inbox gets of it."""
        day = self.day(night)
        self.life.set_clock(day, LOOK)
        answer = self.stack.watch(f"{datetime.combine(day, LOOK):%Y-%m-%dT%H:%M:%SZ}")
        self.left = answer["keys"]
        for told in answer["alerts"]:
            self.say(f"[yellow]mail: {told['subject']}[/yellow]")
        for alert in self.sandbox.alerts()[self.alerts_seen :]:
            forms = json.loads(alert["message"])
            if json.loads(forms["sqs"])["kind"] in ("level", "days_to_limit", "brake"):
                mail = Panel(
                    Text(forms["email"]), box.HORIZONTALS, title=alert["subject"], width=110
                )
                self.console.print(mail)
        self.alerts_seen = len(self.sandbox.alerts())

    def ask(self) -> None:
        """Fifty requests of other systems, three of them bad, while the night runs."""
        self.type("aws sqs send-message-batch --queue-url $RequestQueueUrl ...   (50 requests)")
        bodies = [a_request(number) for number in range(1, 51)]
        bodies[10]["tier"] = "gold"
        bodies[20]["deliver_to"] = f"arn:aws:iam::{ACCOUNT}:role/stranger"
        del bodies[30]["owner"]
        self.sandbox.send_requests(self.stack.outputs["RequestQueueUrl"], bodies)

    def hear_answers(self) -> None:
        """What came back; then the recipient opens one of the keys, and calls the API with it."""
        self.sandbox.wait_for_queue(self.stack.outputs["RequestQueueUrl"], 120)
        told = [
            (event["DetailType"], json.loads(event["Detail"]))
            for event in self.sandbox.events()
            if "request_id" in json.loads(event["Detail"])
        ]
        issued = [detail for kind, detail in told if kind == "Key Issued"]
        refused = [detail for kind, detail in told if kind == "Key Request Refused"]
        self.say(
            f"50 requests came while that night ran: {len(issued)} x Key Issued, "
            f"{len(refused)} x Key Request Refused"
        )
        for detail in issued[:3]:
            self.say(
                f"  Key Issued            {detail['request_id']}  key {detail['key_id']} "
                f"for {detail['owner']}, sealed for {_role(detail['encryption_context'])}"
            )
        for detail in refused:
            self.say(f"  Key Request Refused   {detail['request_id']}  {detail['code']}")
        value = self.open_as_recipient(issued[0])
        status = self.sandbox.call_api(self.life.api_id, "prod", value)
        self.say(
            f"GET /hello with {issued[0]['key_id']}'s value, which only its recipient's role opens: "
            f"[bold]{status}[/bold]"
        )
        self.opened = value
        self.joined += len(issued)
        if (len(issued), len(refused), status) != (47, 3, 200):
            raise SystemExit("a request was not answered as it must be")

    def open_as_recipient(self, detail: dict[str, Any]) -> str:
        """A key's value, opened by the role that it was delivered to (docs/recipient.md)."""
        own = {"purpose": "delivery", "recipient": PORTAL}
        statement = {
            "Effect": "Allow",
            "Action": "kms:Decrypt",
            "Resource": self.stack.outputs["SealingKeyArn"],
            "Condition": {
                "StringEquals": {f"kms:EncryptionContext:{name}": own[name] for name in own}
            },
        }
        kms = self.sandbox.client("kms", **self.sandbox.role("portal", statement))
        answer = kms.decrypt(
            CiphertextBlob=base64.b64decode(detail["sealed_value"]),
            EncryptionContext=detail["encryption_context"],
        )
        return str(answer["Plaintext"].decode())

    def operate(self, night: int, event: dict[str, Any]) -> dict[str, Any]:
        """Sends an event as an operator would."""
        self.type(f"sam remote invoke ExpireKeysFunction --event '{json.dumps(event)}'")
        with self.console.status("carrying it out"):
            return self.sweep(night, **event)

    # --- what people see --------------------------------------------------------------------------

    def header(self) -> None:
        self.console.print(
            "           night  date        mode      keys   |  kept unknown protected |"
            "  warned disabled parked",
            style="bold",
        )

    def row(self, night: int, answer: dict[str, Any]) -> None:
        verdicts, applied = answer["verdicts"], answer["applied"]
        mode = "held" if answer["held"] else answer["mode"]
        if mode == "park":
            done = [applied[verb] for verb in ("warn", "disable", "park")]
        else:
            done = [f"({verdicts[verb]})" for verb in ("warn", "disable", "park")]
        self.say(
            f"  {night:4}  {self.day(night)}  {mode:8} {answer['keys']:6,}   | {verdicts['keep']:5,}"
            f" {verdicts['unknown']:7,} {verdicts['protected']:9,} |"
            f" {done[0]!s:>7} {done[1]!s:>8} {done[2]!s:>6}"
        )

    def summary(self) -> None:
        """What happened to how many keys, by what they really were."""
        table = Table(
            title=f"\nThirty nights: {len(self.life.keys):,} keys, by what they really are"
        )
        for name in ("kind", "keys", "kept", "disabled", "parked"):
            table.add_column(name, justify="left" if name == "kind" else "right")
        for kind in Kind:
            ids = [key_id for key_id, key in self.life.keys.items() if key.kind is kind]
            parked = sum(key_id in self.life.parked_on for key_id in ids)
            shut = sum(key_id in self.life.disabled_on for key_id in ids) - parked
            table.add_row(
                str(kind), f"{len(ids):,}", f"{len(ids) - shut - parked:,}", f"{shut}", f"{parked}"
            )
        self.console.print(table)
        did = self.did
        self.say(
            f"adopted {did['adopt']:,}, warned {did['warn']:,}, disabled {did['disable']:,}, "
            f"parked {did['park']:,}; undone: {did['enable']:,} enabled, {did['restore']:,} restored"
        )
        without = self.size + self.joined
        self.say(
            f"the account began with {self.size:,} keys, {self.joined:,} were made since; "
            f"it holds [bold]{self.left:,}[/bold]"
        )
        self.say(
            f"without keyjanitor it would hold [bold]{without:,}[/bold] of the {LIMIT:,} that API "
            "Gateway allows"
        )
        wronged = self.life.wronged(IDLE_LIMITS)
        self.say(f"keys that were disabled although they were in use: [bold]{len(wronged)}[/bold]")
        self.say(
            "owners who came back after months and found their key shut: "
            f"{len(self.life.turned_away)} (each can have it back as it was)"
        )
        told = ", ".join(f"{count:,} x {status}" for status, count in sorted(self.statuses.items()))
        self.say(f"real requests through the API, by status: {told}")
        if wronged:
            raise SystemExit("a key that was in use was disabled: this must never happen")
        if self.left >= self.size or not self.braked:
            raise SystemExit(
                "the account did not shrink, or the safety brake did not stop the slip"
            )

    def bring_one_back(self) -> None:
        """Restores one parked key, and calls the API with the value that its owner has."""
        old_id = next(
            key_id
            for key_id, day in sorted(self.life.parked_on.items())
            if self.life.keys[key_id].plans == ("external",)
        )
        key, day = self.life.keys[old_id], self.life.parked_on[old_id]
        self.console.print()
        self.say(f"one parked key comes back: {old_id}, parked on {day}")
        before = self.sandbox.call_api(self.life.api_id, "prod", key.value)
        self.operate(NIGHTS, {"undo": str(day), "key_ids": [old_id]})
        after = self.sandbox.call_api(self.life.api_id, "prod", key.value)
        new_id = next(
            key_id for key_id, one in self.life.keys.items() if one is key and key_id != old_id
        )
        self.say(
            f"GET /hello with the owner's value: {before} before, {after} after; "
            f"it lives on as {new_id}"
        )
        if (before, after) != (403, 200):
            raise SystemExit("the restored key does not open the API")

    def keep(self) -> None:
        """Keeps what a person would want to read, and says where it is."""
        KEPT.mkdir(parents=True, exist_ok=True)
        name = f"keys/dt={self.day(NIGHTS)}/keys.jsonl.gz"
        bucket = self.stack.outputs["HistoryBucketName"]
        body = self.sandbox.client("s3").get_object(Bucket=bucket, Key=name)["Body"].read()
        (KEPT / "keys.jsonl").write_bytes(gzip.decompress(body))
        (KEPT / "report").mkdir(exist_ok=True)
        (KEPT / "report" / "index.html").write_bytes(self.report())
        alerts = [
            f"Subject: {alert['subject']}\n\n{json.loads(alert['message'])['email']}\n"
            for alert in self.sandbox.alerts()
        ]
        (KEPT / "alerts.txt").write_text(("\n" + "-" * 72 + "\n\n").join(alerts), encoding="utf-8")
        events = (json.dumps(event) + "\n" for event in self.sandbox.events())
        (KEPT / "events.jsonl").write_text("".join(events), encoding="utf-8")
        self.console.print()
        self.say("where to look next:")
        for what, where in (
            ("the morning's report: open it in a browser", KEPT / "report" / "index.html"),
            ("last night's verdict on every key", KEPT / "keys.jsonl"),
            ("every alert, as an inbox got it", KEPT / "alerts.txt"),
            ("every event on the bus", KEPT / "events.jsonl"),
            ("the policy that did this; change it and run again", POLICY),
            ("how to deploy it to your account", REPOSITORY / "README.md"),
        ):
            self.say(f"  {where.relative_to(REPOSITORY)!s:25} {what}")

    def report(self) -> bytes:
        """The report of the last morning, as a browser opens it."""
        self.type("sam remote invoke PublishReportFunction")
        with self.console.status("publishing the report"):
            self.life.set_clock(self.day(NIGHTS), MORNING)
            moment = datetime.combine(self.day(NIGHTS), MORNING)
            answer = self.stack.publish(f"{moment:%Y-%m-%dT%H:%M:%SZ}")
        for finding in answer["findings"]:
            self.say(f"  the doctor: {finding['what']}")
        bucket, _, name = answer["report"].removeprefix("s3://").partition("/")
        page = self.sandbox.client("s3").get_object(Bucket=bucket, Key=name)["Body"].read()
        return bytes(page)


def _kinds(kinds: Mapping[str, int]) -> str:
    """Every kind of step with its number, as the answer has them: deletions first."""
    return ", ".join(f"{number:,} to {verb}" for verb, number in kinds.items())


def _role(context: dict[str, str]) -> str:
    return context["recipient"].rpartition(":")[2]


def a_request(number: int) -> dict[str, Any]:
    """What a sign-up portal puts on the queue for one of its users."""
    return {
        "version": 1,
        "action": "issue",
        "request_id": f"signup-{number:03}",
        "tier": "external",
        "owner": f"user-{number:03}",
        "name": "weather app",
        "deliver_to": PORTAL,
    }


def main() -> int:
    """Runs the demo; 0 if all went as it must."""
    console = Console(width=None if sys.stdout.isatty() else 110)
    console.print(
        "[bold]keyjanitor[/bold]: thirty nights of an AWS account with "
        f"{KEYS:,} API keys, in an AWS on this machine.\n"
        f"Here API Gateway's throttles are {SPEED} times AWS's, and so is the share the functions "
        "take;\nthe functions, the template and the way they are deployed are the real ones.\n"
    )
    KEPT.mkdir(parents=True, exist_ok=True)
    with Sandbox.start(speed=SPEED, log=Path(KEPT / "sandbox.log")) as sandbox:
        Demo(sandbox, console).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
