"""Words the requests of an operator: what is asked for, what became of it, what to type next. Pure."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from keyjanitor.domain.model.records import NEW_KEYS, Row
from keyjanitor_cli.shapes import Block, Column, Command, Facts, Line, Table, Tone, View

REFUSED = "Key Request Refused"
Body = Mapping[str, Any]
# What each action does to a key, for the question before it.
ASKS = {
    "rotate": "Make a new key like {key}, and let {key} end after {overlap_days} days?",
    "renew": "Renew {key}: its idle time starts again?",
    "revoke": "Revoke {key}: delete it at once and for good?",
    "restore": "Restore {key}, with the same value and a new id?",
    "protect": "Protect {key} from sweeps, rotate and revoke until {until}?",
    "release": "Release {key} from its protection?",
    "assign": "Assign {key} to owner {owner}?",
}
# What an answer says beside the key, in this order, and how it is called.
TOLD = (
    ("code", "code"),
    ("reason", "reason"),
    ("previous_key_id", "previous id"),
    ("previous_key_ends_on", "the old key ends"),
    ("expires_on", "ends"),
    ("protected_until", "protected until"),
    ("usage_plan_id", "usage plan"),
    ("usable", "usable"),
    ("name", "name"),
    ("owner", "owner"),
    ("previous_owner", "previous owner"),
    ("deliver_to", "rotations go to"),
    ("tier", "tier"),
)


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a request; without a `detail_type` it is deferred, for `reason`."""

    request_id: str
    detail_type: str | None
    detail: Mapping[str, Any]
    reason: str = ""

    @classmethod
    def of(cls, request_id: str, answer: Mapping[str, Any]) -> "Answer":
        """The answer to the one request that an operator's event held."""
        if "running" in answer:
            reason = f"another operator's run is at work, at the latest until {answer['running']}"
            return cls(request_id, None, {}, reason)
        (one,) = answer["answers"]
        if one["status"] == "deferred":
            return cls(request_id, None, {}, one["reason"])
        return cls(request_id, one["detail-type"], one["detail"])

    @property
    def is_deferred(self) -> bool:
        return self.detail_type is None

    @property
    def is_refused(self) -> bool:
        return self.detail_type == REFUSED

    @property
    def is_sealed(self) -> bool:
        """Whether it carries the value of a new key, sealed for its recipient."""
        return self.detail_type in NEW_KEYS and "sealed_value" in self.detail


def question(body: Body, row: Row | None) -> str:
    """What is about to be asked for; `row` is the key's, if it could be read."""
    if body["action"] == "issue":
        return (
            f"Issue a key in tier {body['tier']} for owner {body['owner']}, "
            f"delivered to {body['deliver_to']}?"
        )
    known = [] if row is None else [row.name or "no name", f"owner {row.owner or 'not known'}"]
    if row is not None:
        known += [f"tier {row.tier}", str(row.state)]
    key = body["key_id"] + (f" ({', '.join(known)})" if known else "")
    overlap = body.get("overlap_days", 7)
    return ASKS[body["action"]].format(
        key=key, overlap_days=overlap, until=body.get("until"), owner=body.get("owner")
    )


def typed(body: Body, more: Sequence[str] = ()) -> str:
    """The command that asks for the same, under the same request id."""
    fields = [name for name in body if name not in ("version", "action", "key_id")]
    options = [(f"--{name.replace('_', '-')}", str(body[name])) for name in fields]
    words = ["keyjanitor", body["action"], *([body["key_id"]] if "key_id" in body else ())]
    return shlex.join([*words, *(word for option in options for word in option), *more])


def view(answer: Answer, body: Body) -> View:
    """What became of a request, for people. A sealed value is left out."""
    if answer.is_deferred:
        return [
            Line(f"Not done yet: {answer.reason}", Tone.WARN),
            Line(
                "Type it again with the same request id; it has one effect however often it is sent:"
            ),
            Command(typed(body, ["--wait"])),
        ]
    detail = answer.detail
    heading = str(answer.detail_type)
    if not answer.is_refused:
        heading += f": {detail['key_id']}"
    tone = Tone.BAD if answer.is_refused else Tone.GOOD
    rows = [(name, Line(str(detail[field]))) for field, name in TOLD if detail.get(field)]
    return [Line(heading, tone), Facts([*rows, ("request id", Line(answer.request_id))])]


def sealed(answer: Answer, why: str) -> list[Block]:
    """Says of a new key that its value was not opened, and why."""
    recipient = answer.detail["encryption_context"]["recipient"]
    return [
        Line(f"Its value is sealed for {recipient}. It was not opened: {why}", Tone.WARN),
        Line(
            "That role or user opens it from the event Key Issued or Key Rotated: docs/recipient.md"
        ),
    ]


def listed(events: Sequence[Mapping[str, Any]]) -> View:
    """The answers of the audit log, the oldest first."""
    if not events:
        return [Line("No request was answered in that time.")]
    columns = [
        Column("Time (UTC)", whole=True),
        Column("Request"),
        Column("Answer"),
        Column("Key", whole=True),
        Column("Asked by"),
        Column("Why"),
    ]
    return [Table(columns, [_cells(event) for event in events])]


def line(event: Mapping[str, Any]) -> Line:
    """One answer of the audit log, in one line."""
    told = "  ".join(cell for cell in _cells(event) if cell)
    return Line(told, Tone.BAD if event["detail-type"] == REFUSED else Tone.PLAIN)


def _cells(event: Mapping[str, Any]) -> list[str | None]:
    detail = event["detail"]
    why = " ".join(str(detail[name]) for name in ("code", "reason") if detail.get(name))
    return [
        str(event.get("time", "")).removesuffix("Z").replace("T", " "),
        detail.get("request_id"),
        event["detail-type"],
        detail.get("key_id"),
        detail.get("requested_by"),
        why or None,
    ]
