"""`make demo`: nine nights of an account of 9,450 keys, lived in the sandbox in a few minutes."""

import base64
import gzip
import json
import sys
import time as real_time
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

from rich.console import Console

from sandbox.driver.client import ACCOUNT, REPOSITORY, Sandbox
from sandbox.driver.life import LOOK, MORNING, READING, SWEEP, Life
from sandbox.driver.population import TIERS, population
from sandbox.driver.stack import Stack
from sandbox.ending import Ending, width_of_a_screen

KEYS = 9_450
LIMIT = 10_000
NIGHTS = 9
SPEED = 300  # times AWS's throttles; the functions' share is as many times larger
REQUEST_SHARE = 2  # and those that answer requests
SHARE = 3  # calls a second that a night's function takes of AWS's ten
REQUESTS = 120  # that go through the API for real on each day
IDLE_LIMITS = {"external": 60, "front-end": 60, "partners": 90}  # as in sandbox/demo.toml
POLICY = REPOSITORY / "sandbox" / "demo.toml"
KEPT = REPOSITORY / ".demo"

# Nights on which the operator does something.
PARK, SLIP, APPROVE, HOLD, RESUME, UNDO = 2, 3, 4, 5, 6, 9
UNDONE = 9  # the night that is undone
SLIP_OF_THE_HAND = (
    "idle_days = 60",
    "idle_days = 6",
)  # of the tier `external`, the first that has it
ASKED = 7  # the night while which other systems ask for keys
PORTAL = f"arn:aws:iam::{ACCOUNT}:role/portal"


class Demo:
    """The demo's one run: an operator, an account, and nine nights."""

    def __init__(self, sandbox: Sandbox, console: Console, keys: int = KEYS) -> None:
        self.sandbox = sandbox
        self.console = console
        self.size = keys
        self.began = real_time.monotonic()
        self.stack: Stack
        self.policy: Path
        self.helpers = ThreadPoolExecutor(2)  # build and look while the account lives
        self.slipped: Future[str] | None = None  # the build of the policy with a slip
        self.opened = ""  # the value of a key that was asked for
        self.life: Life
        self.first = datetime.now(UTC).date() - timedelta(days=NIGHTS - 1)
        self.did: Counter[str] = Counter()
        self.statuses: Counter[int] = Counter()
        self.joined = 0  # keys that were made since: sign-ups, and those that were asked for
        self.left = keys  # that the account holds
        self.braked: dict[str, Any] = {}
        self.undone: dict[str, int] = {}
        self.answered = (0, 0)  # requests: keys issued, refused
        self.back = ("", 0, 0)  # a parked key that was brought back; the API's status before, after

    def say(self, text: str) -> None:
        """One line with the time that has gone by; a long one is not broken by us."""
        gone = real_time.monotonic() - self.began
        self.console.print(f"[dim]{gone:4.0f} s[/dim] {text}", highlight=False, soft_wrap=True)

    def type(self, command: str) -> None:
        """Shows what an operator types."""
        self.say(f"[bold]$ {command}[/bold]")

    def day(self, night: int) -> date:
        """The date of a night; they are counted from 1."""
        return self.first + timedelta(days=night - 1)

    # --- the parts --------------------------------------------------------------------------------

    def run(self) -> None:
        """Everything, in order."""
        self.begin()
        self.header()
        for night in range(1, NIGHTS + 1):
            self.operate_before(night)
            if night == ASKED:
                self.ask()
            with self.console.status(f"night {night}"):
                answer, look = self.night(night)
            self.row(night, answer)
            if night == ASKED:
                self.hear_answers()
            self.tell(look)
            self.operate_after(night, answer)
            with self.console.status(f"day {night}: {REQUESTS} requests through the API"):
                known = len(self.life.keys)
                self.statuses += self.life.live_through(self.day(night), REQUESTS)
                self.joined += len(self.life.keys) - known
        self.life.hear()
        self.bring_one_back()
        self.tell(self.look(NIGHTS, LOOK))
        self.keep()
        self.end()

    def begin(self) -> None:
        """Deploys the stack while the account is laid down."""
        self.type("sam build && sam deploy   (Mode=observe)")
        api_id = self.sandbox.rest_api([tier.stage for tier in TIERS])
        KEPT.mkdir(parents=True, exist_ok=True)
        self.policy = KEPT / "policy.toml"
        self.policy.write_text(POLICY.read_text().replace("apiid:", f"{api_id}:"))
        shares = {
            "NightCallsPerSecond": str(SHARE * SPEED),
            "RequestCallsPerSecond": str(REQUEST_SHARE * SPEED),
        }
        with self.console.status(f"deploying the stack, and laying down {self.size:,} keys"):
            deployed = self.helpers.submit(
                Stack.deploy, self.sandbox, self.policy, {"Mode": "observe", **shares}
            )
            lived = population(self.size, self.first - timedelta(days=1))
            self.life = Life(self.sandbox, lived, api_id)
            self.life.begin()
            self.stack = deployed.result()
        self.say(f"deployed, beside {self.size:,} keys with 120 days of life up to {lived.until}")
        self.say("a row is a night; in brackets what was due and was not done\n")

    def night(self, night: int) -> tuple[dict[str, Any], dict[str, Any]]:
        """The schedules of one night, one after the other as on AWS: read, look, sweep; two answers.

        The first look is the one after the sweep: before, no key's tier is known.
        """
        day = self.day(night)
        self.life.set_clock(day, READING)
        self.stack.pull(f"{datetime.combine(day, READING):%Y-%m-%dT%H:%M:%SZ}")
        before = self.look(night, READING) if night > 1 else None
        answer = self.sweep(night)
        return answer, before or self.look(night, LOOK)

    def sweep(self, night: int, **event: Any) -> dict[str, Any]:
        """One sweep of a night, or what an operator asks of it."""
        day = self.day(night)
        self.life.set_clock(day, SWEEP)
        begins = f"{datetime.combine(day, SWEEP):%Y-%m-%dT%H:%M:%SZ}"
        answer: dict[str, Any] = self.stack.sweep(begins, **event)
        self.did.update(answer["applied"])
        self.life.hear()
        return answer

    def operate_before(self, night: int) -> None:
        """What the operator does before a night."""
        if night == PARK:
            self.say("what it would do reads well; from now on it acts")
            self.type("sam deploy ... Mode=park")
            with self.console.status("deploying with Mode=park"):
                self.stack.update(self.policy, Mode="park")
            slipped = KEPT / "policy-with-a-slip.toml"
            slipped.write_text(self.policy.read_text().replace(*SLIP_OF_THE_HAND, 1))
            self.slipped = self.helpers.submit(self.stack.build, slipped)
        elif night == SLIP:
            self.type("sam build && sam deploy   (policy.toml has idle_days = 6)")
            with self.console.status("deploying a policy with a slip in it"):
                assert self.slipped is not None
                self.slipped.result()
                self.stack.update(KEPT / "policy-with-a-slip.toml")
        elif night == HOLD:
            self.operate(night, {"hold": "a campaign is on"}, "hold a campaign is on")
        elif night == RESUME:
            self.operate(night, {"resume": True}, "resume")

    def operate_after(self, night: int, answer: dict[str, Any]) -> None:
        """What the operator does when a night calls for it."""
        if answer["brake"]:
            self.braked = answer["brake"]
            why = ", ".join(f"{one['keys']:,} {one['cause']}" for one in answer["brake"]["causes"])
            self.say("[red]the safety brake is on[/red], no key was touched; newly past the limit:")
            self.say(f"  {why}")
        if night == SLIP:
            self.say("6 days, where 60 were meant; put right, and the brake comes off:")
            self.type("sam build && sam deploy   (policy.toml has idle_days = 60)")
            with self.console.status("deploying the policy as it was"):
                self.stack.update(self.policy)
        if night == APPROVE:
            self.say("more is due than one night may do; it trips no brake:")
            self.say(f"  {_kinds(answer['due'])}")
            self.say("the operator looked at who they are, and lets the rest go at once:")
            digest = answer["digest"]
            approved = self.operate(night, {"approve": digest}, f"approve {digest}")
            self.say(f"approved and still due: {_kinds(approved['approved']['still_due'])}")
            self.row(night, approved)
        if night == UNDO:
            day = str(self.day(UNDONE))
            self.undone = dict(self.operate(night, {"undo": day}, f"undo {day}")["applied"])
            self.say(
                f"undone: night {UNDONE}; {self.undone['enable']} keys enabled, "
                f"{self.undone['restore']} restored from their tombstones"
            )

    def look(self, night: int, at: time) -> dict[str, Any]:
        """One of the hourly looks at the account's capacity."""
        moment = datetime.combine(self.day(night), at)
        answer: dict[str, Any] = self.stack.watch(f"{moment:%Y-%m-%dT%H:%M:%SZ}")
        return answer

    def tell(self, look: dict[str, Any]) -> None:
        """The subjects of the alerts that a look published."""
        self.left = look["keys"]
        for told in look["alerts"]:
            what = told["subject"].partition(": ")[2].partition(" (")[0]
            self.say(f"[yellow]mail: {what}[/yellow]")

    def ask(self) -> None:
        """Fifty requests of other systems, three of them bad, while the night runs."""
        self.type("aws sqs send-message-batch ...   (50 requests for keys)")
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
            f"50 requests meanwhile: {len(issued)} x Key Issued, "
            f"{len(refused)} x Key Request Refused"
        )
        for detail in refused:
            self.say(f"  Key Request Refused   {detail['request_id']}  {detail['code']}")
        value = self.open_as_recipient(issued[0])
        status = self.sandbox.call_api(self.life.api_id, "prod", value)
        self.say(
            f"GET /hello with a value that only its recipient's role opens: [bold]{status}[/bold]"
        )
        self.opened = value
        self.answered = len(issued), len(refused)
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

    def operate(self, night: int, event: dict[str, Any], command: str) -> dict[str, Any]:
        """Sends the event that an operator's command sends."""
        self.type(f"keyjanitor {command}")
        with self.console.status("carrying it out"):
            return self.sweep(night, **event)

    # --- what people see --------------------------------------------------------------------------

    def header(self) -> None:
        self.console.print(
            "       night date       mode       keys   kept unknown  warned disabled parked",
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
            f"{night:5} {self.day(night)} {mode:8} {answer['keys']:6,} {verdicts['keep']:6,}"
            f" {verdicts['unknown']:7,} {done[0]!s:>7} {done[1]!s:>8} {done[2]!s:>6}"
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
        self.say(f"an owner asks for one parked key back: {old_id}, parked on {day}")
        before = self.sandbox.call_api(self.life.api_id, "prod", key.value)
        self.operate(NIGHTS, {"undo": str(day), "key_ids": [old_id]}, f"undo {day} {old_id}")
        after = self.sandbox.call_api(self.life.api_id, "prod", key.value)
        self.back = old_id, before, after
        self.say(f"GET /hello with the owner's value: {before} before, {after} after")
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

    def end(self) -> None:
        """The story on one screen; stops if it did not go as it must."""
        wronged = self.life.wronged(IDLE_LIMITS)
        ending = Ending(
            nights=NIGHTS,
            limit=LIMIT,
            began_with=self.size,
            joined=self.joined,
            left=self.left,
            did=self.did,
            braked=self.braked,
            undone=self.undone,
            held=RESUME - HOLD,
            answered=self.answered,
            wronged=len(wronged),
            turned_away=len(self.life.turned_away),
            back=self.back,
            life=self.life,
            places={
                "the report of the last morning": KEPT / "report" / "index.html",
                "every alert, as an inbox got it": KEPT / "alerts.txt",
                "the verdict on every key, and every event": KEPT / "keys.jsonl",
                "the policy; change it and run again": POLICY,
            },
        )
        self.console.print()
        for line in ending.lines():
            self.console.print(line, highlight=False, markup=False, soft_wrap=True)
        if wronged:
            raise SystemExit("a key that was in use was disabled: this must never happen")
        if self.left >= self.size or not self.braked:
            raise SystemExit(
                "the account did not shrink, or the safety brake did not stop the slip"
            )

    def report(self) -> bytes:
        """The report of the last morning, as a browser opens it."""
        self.type("keyjanitor report --now")
        with self.console.status("publishing the report"):
            self.life.set_clock(self.day(NIGHTS), MORNING)
            moment = datetime.combine(self.day(NIGHTS), MORNING)
            answer = self.stack.publish(f"{moment:%Y-%m-%dT%H:%M:%SZ}")
        self.say(f"the report is written; what it found to fix: {len(answer['findings'])}")
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
    console = Console(width=width_of_a_screen())
    console.print(
        f"[bold]keyjanitor[/bold]: {NIGHTS} nights of an AWS account with {KEYS:,} API keys, in an AWS\n"
        f"on this machine. API Gateway's throttles are {SPEED} times AWS's here, and so is\n"
        "the functions' share; functions, template and deployment are the real ones.\n"
    )
    KEPT.mkdir(parents=True, exist_ok=True)
    with Sandbox.start(speed=SPEED, log=Path(KEPT / "sandbox.log")) as sandbox:
        Demo(sandbox, console).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
