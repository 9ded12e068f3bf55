"""An alert: what it says, until when it can wait, what to type, and the stack that it is about. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Literal
from urllib.parse import quote

Severity = Literal["info", "warning", "critical"]
Audience = Literal["operators", "contacts"]

# The console's host in each partition of AWS; what a later partition calls it is not known.
CONSOLES = {
    "aws": "console.aws.amazon.com",
    "aws-cn": "console.amazonaws.cn",
    "aws-us-gov": "console.amazonaws-us-gov.com",
    "aws-eusc": "console.amazonaws-eusc.eu",
}
RUNBOOK = "docs/runbook.md"
# The part of the runbook that is about an alert, by the alert's kind.
PARTS = {
    "level": "the-account-fills-up-level-reminder-clear-quotasharealarm",
    "reminder": "the-account-fills-up-level-reminder-clear-quotasharealarm",
    "clear": "the-account-fills-up-level-reminder-clear-quotasharealarm",
    "days_to_limit": "the-limit-is-near-days_to_limit-daystolimitalarm",
    "brake": "the-brake-is-on-brake",
    "expiring": "keys-were-warned-expiring",
    "fewer_keys": "keys-are-gone-fewer_keys",
    "unread_plan": "a-usage-plan-is-not-read-unread_plan-unreadplansalarm",
    "silent_plans": "a-usage-plan-is-silent-silent_plans",
    "dead_letters": "dead-letters-dead_letters-requestdeadlettersalarm",
    "subscription": "a-subscription-is-not-confirmed-subscription",
    "burst": "a-budget-of-new-keys-is-spent-burst",
    "policy_problem": "the-policy-does-not-fit-the-account-policy_problem",
}
CAPACITY = ("level", "reminder", "clear", "days_to_limit")  # one thread of a chat channel
LONGEST_SUBJECT = 99  # characters; SNS takes fewer than 100
LONGEST_STACK = 20  # characters of a stack's name in a subject
_ASK_AWS = ("aws ", "sam logs ", "sam remote ")
NOON = time(12, tzinfo=UTC)
MIDNIGHT = time(0, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Place:
    """The deployed stack that an alert is about, and where a person looks at it."""

    partition: str
    region: str
    account: str
    topic_arn: str
    stack: str
    version: str
    bucket: str
    runbook_url: str = (
        ""  # where a team keeps its copy of the runbook; empty: only its file is named
    )

    @classmethod
    def of(
        cls, topic_arn: str, stack: str, version: str, bucket: str, runbook_url: str = ""
    ) -> "Place":
        """The place of a stack by its alert topic, whose ARN names partition, Region and account."""
        _, partition, _, region, account, _ = topic_arn.split(":")
        return cls(partition, region, account, topic_arn, stack, version, bucket, runbook_url)

    def typed(self, command: str) -> str:
        """The command line as it can be pasted from anywhere, with stack and Region."""
        if command.startswith("keyjanitor "):
            return f"{command} --stack {self.stack} --region {self.region}"
        filled = command.replace("TOPIC_ARN", self.topic_arn).replace("STACK", self.stack)
        return f"{filled} --region {self.region}" if filled.startswith(_ASK_AWS) else filled

    def links(self, kind: str) -> dict[str, str]:
        """Where to look, by what is seen there: API keys, dashboard, runbook and report."""
        console = f"https://{CONSOLES.get(self.partition, CONSOLES['aws'])}"
        at = f"region={self.region}"
        return {
            "console": f"{console}/apigateway/main/api-keys?{at}",
            "dashboard": f"{console}/cloudwatch/home?{at}#dashboards/dashboard/{quote(self.stack)}",
            "runbook": f"{self.runbook_url or RUNBOOK}#{PARTS[kind]}",
            "report": f"{console}/s3/object/{self.bucket}?{at}&prefix=reports/latest/index.html",
        }


@dataclass(frozen=True, slots=True)
class Typed:
    """A command line in the text of an alert: `keyjanitor ...`, `aws ...`, `sam ...`.

    `Draft.at` puts stack and Region behind it, and their names in the place of STACK and TOPIC_ARN.
    """

    command: str


@dataclass(frozen=True, slots=True)
class Wait:
    """Until when an alert can wait, and why; None: nothing is to be done.

    `at_once`: it cannot wait until morning; `until` is then the time at which it was written.
    """

    until: datetime | None
    why: str
    at_once: bool = False

    @property
    def line(self) -> str:
        """One line for people, with a UTC time."""
        if self.until is None:
            return self.why
        until = f"{self.until:%Y-%m-%d %H:%M} UTC"
        return (
            f"Cannot wait: act now ({until}). {self.why}"
            if self.at_once
            else (f"Can wait until {until}: {self.why}")
        )


@dataclass(frozen=True, slots=True)
class Alert:
    """One publish: `subject` is ASCII under 100 characters, `form` is JSON for programs.

    The digest of warnings is for `contacts`; `tiers` and `contacts` are those that it is about.
    """

    kind: str  # see docs/alerts.md
    severity: str  # info, warning or critical
    subject: str
    text: str
    form: dict[str, Any]
    audience: Audience = "operators"
    tiers: tuple[str, ...] = ()
    contacts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Draft:
    """An alert before it is addressed: what it says, without the stack that it is about.

    `headline` is for the subject: under 40 characters show in full. `what` is the text's first line,
    `wait` its second, `command` (of keyjanitor) its third. `form` is what programs get beside the
    fields that every alert has.
    """

    kind: str
    severity: Severity
    day: date
    headline: str
    what: str
    wait: Wait
    command: str
    lines: Sequence[str | Typed]
    form: Mapping[str, Any]
    audience: Audience = "operators"
    tiers: tuple[str, ...] = ()
    contacts: tuple[str, ...] = ()

    def at(self, place: Place) -> Alert:
        """The alert of one stack: with account, Region, stack and version, commands and links."""
        command, links = place.typed(f"keyjanitor {self.command}"), place.links(self.kind)
        where = f"Account {place.account}, Region {place.region}, stack {place.stack}"
        return Alert(
            kind=self.kind,
            severity=self.severity,
            subject=_subject(self.headline, place),
            text="\n".join(
                [
                    self.what,
                    self.wait.line,
                    command,
                    "",
                    f"{where}, keyjanitor {place.version}",
                    *(f"{name.capitalize():10} {link}" for name, link in links.items()),
                    "",
                    *(_shown(line, place) for line in self.lines),
                ]
            ),
            form={
                "kind": self.kind,
                "severity": self.severity,
                "date": str(self.day),
                "account": place.account,
                "region": place.region,
                "stack": place.stack,
                "version": place.version,
                "what": self.what,
                "wait_until": _in_utc(self.wait.until),
                "wait": self.wait.line,
                "command": command,
                "links": links,
                **self.form,
            },
            audience=self.audience,
            tiers=self.tiers,
            contacts=self.contacts,
        )


def chat(alert: Alert) -> dict[str, Any]:
    """The alert as Amazon Q Developer in chat applications shows it (doc: AF-537).

    Names and owners, which others wrote, are not in it: a channel makes links and mentions of a text.
    An alert that an earlier release wrote down and that is still to be published has its subject alone.
    """
    form = alert.form
    named = {
        one: str(form.get(one, "")) for one in ("account", "region", "stack", "version", "date")
    }
    what = str(form.get("what", alert.subject))
    thread = "capacity" if alert.kind in CAPACITY else alert.kind
    links = "\n".join(f"{name}: {link}" for name, link in form.get("links", {}).items())
    return {
        "version": "1.0",
        "source": "custom",
        "content": {
            "textType": "client-markdown",
            "title": alert.subject,
            "description": f"{what}\n{form.get('wait', '')}\n\n{links}",
            "nextSteps": [f"`{form['command']}`"] if "command" in form else [],
            "keywords": [alert.kind, alert.severity, named["account"], named["region"]],
        },
        "metadata": {
            "threadId": "-".join(("keyjanitor", named["account"], named["region"], thread)),
            "summary": what,
            "eventType": alert.kind,
            "additionalContext": {**named, "severity": alert.severity},
        },
    }


def noon(day: date, days_later: int = 0) -> datetime:
    """12:00 UTC of a date, so many days after `day`."""
    return datetime.combine(day + timedelta(days=days_later), NOON)


def midnight(day: date) -> datetime:
    """00:00 UTC, at which a date begins."""
    return datetime.combine(day, MIDNIGHT)


def _subject(headline: str, place: Place) -> str:
    """What happened, then where; if there is too little room, what happened is cut."""
    stack = place.stack[:LONGEST_STACK]
    where = f" ({place.account} {place.region} {stack} {place.version})"
    begin = f"keyjanitor: {headline}".encode("ascii", "replace").decode()
    return begin[: LONGEST_SUBJECT - len(where)] + where


def _shown(line: str | Typed, place: Place) -> str:
    return f"  {place.typed(line.command)}" if isinstance(line, Typed) else line


def _in_utc(until: datetime | None) -> str | None:
    return f"{until:%Y-%m-%dT%H:%M:%SZ}" if until else None
