"""Lays out the file of an import: one row a key, which nothing that a sender wrote can break. Pure.

Columns and their meaning: API key file format (doc: AF-231). What senders write is percent-encoded before it
comes here: no comma, quote, line break or formula reaches a cell, whatever reads the file.
"""

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from urllib.parse import quote, unquote

from keyjanitor.domain.model.keys import ApiKey, Secret
from keyjanitor.domain.model.records import row_id

ROWS = 100  # of one import: how many AWS takes is not documented (believed: AF-233)
NAME_PREFIX = "kj"
TEXT_ROOM = 200  # characters of each text in a description; ledger and events have it whole

_NAME = re.compile(NAME_PREFIX + "-[0-9]{8}-[0-9a-f]{8}-[0-9]{3,}")
_REQUEST = re.compile(r"(?:^| )request=(?P<request>\S+) sender=(?P<sender>\S+)$")


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key to be imported: enabled, under this name, in these plans."""

    name: str
    value: Secret
    description: str
    usage_plan_ids: tuple[str, ...]


def batch_prefix(today: date, mark: str) -> str:
    """Prefix of the names of a batch's keys; `mark` is unique to the batch."""
    return f"{NAME_PREFIX}-{today:%Y%m%d}-{mark}-"


def describe(owner: str, name: str, request_id: str, sender: str) -> str:
    """A key's description in API Gateway; people read it there, and `asked_for` parses it."""
    texts = {"owner": owner, "name": name, "request": request_id, "sender": sender}
    return " ".join(f"{what}={quote(text[:TEXT_ROOM], safe='@:')}" for what, text in texts.items())


def asked_for(key: ApiKey) -> str | None:
    """The `row_id` of the request that a key was made for; None if keyjanitor did not make the key.

    It is read from name and description, which others can write too: check it against the request.
    """
    told = _REQUEST.search(key.description)
    if not _NAME.fullmatch(key.name) or told is None:
        return None
    return row_id(unquote(told["request"]), unquote(told["sender"]))


def batch_of_name(name: str) -> str:
    """Prefix of the batch that a key's name belongs to."""
    return name[: name.rindex("-") + 1]


def key_file(keys: Sequence[NewKey]) -> bytes:
    """The file that ImportApiKeys takes. It holds values: it is sent, and never kept or logged."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("Name", "Key", "Description", "Enabled", "UsagePlanIds"))
    for key in keys:
        plans = ",".join(key.usage_plan_ids)
        writer.writerow((key.name, key.value.reveal(), key.description, "true", plans))
    return text.getvalue().encode("ascii")
