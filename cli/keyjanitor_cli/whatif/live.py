"""Reads an account itself: its keys, usage plans, their members and 90 days of use, and the tags.

What it gives is what a folder of the same pages would give (`pages.Folder`), so both are judged alike.
No key's value is asked for; GetUsagePlanKeys returns values even so (seen: AF-211), and they
are dropped here.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from keyjanitor.adapters.gateway_calls import GatewayCalls
from keyjanitor.adapters.ownership import Ownership
from keyjanitor.adapters.usage_range import UsageRange
from keyjanitor.domain.model.aws_answers import items_of, text_of
from keyjanitor.domain.model.keys import DAY
from keyjanitor.domain.usage.plan_usage import USAGE_DAYS
from keyjanitor.errors import CallFailed, UnexpectedAnswer
from keyjanitor_cli.whatif.errors import FolderRefused
from keyjanitor_cli.whatif.pages import NOTHING, Listing, Page, listings

_OF_A_KEY = ("id", "name", "enabled", "description", "customerId", "stageKeys", "tags")
_DATES = ("createdDate", "lastUpdatedDate")


@dataclass(frozen=True)
class Reading:
    """Answers of an account, by the names of the files in a folder.

    `failed` says why a plan's `members` or `usage` could not be read to the end, by what and plan id.
    """

    today: date
    files: Mapping[str, Page]
    failed: Mapping[tuple[str, str], str] = field(default_factory=dict)

    def days(self) -> str:
        """The first and the last day of use that were asked for."""
        return f"{self.today - DAY * USAGE_DAYS} {self.today}"

    def listing(self, what: str, plan_id: str = "") -> Listing:
        """All pages of `api-keys` or `usage-plans`, or of a plan's `members` or `usage`."""
        if why := self.failed.get((what, plan_id)):
            return Listing(broken=why)
        return self._listings.get((what, plan_id), NOTHING)

    @cached_property
    def _listings(self) -> Mapping[tuple[str, str], Listing]:
        return listings(self.files)

    def tags(self) -> Page | None:
        """The tags of all keys that have some."""
        return self.files.get("tags.json")

    def save(self, folder: Path) -> None:
        """Writes the pages into a folder that is new or empty; raises FolderRefused."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if any(folder.iterdir()):
                raise FolderRefused(str(folder), "is not empty: name a new folder to save into")
            (folder / "days.txt").write_text(f"{self.days()}\n", "utf-8")
            for name, page in self.files.items():
                (folder / name).write_text(json.dumps(page), "utf-8")
        except OSError as err:
            raise FolderRefused(str(folder), f"cannot be written: {err.strerror}") from None


def read_live(
    calls: GatewayCalls,
    ownership: Ownership,
    today: date,
    say: Callable[[str], None] = lambda _: None,
) -> Reading:
    """Reads the account, and reports its progress by `say`.

    A plan of which a call fails is not known, as at night. Raises AccessDenied if a right is
    missing, and CallFailed or UnexpectedAnswer if the keys, the plans or the tags cannot be listed.
    """
    return _Reader(calls, today, say).read(ownership)


class _Reader:
    def __init__(self, calls: GatewayCalls, today: date, say: Callable[[str], None]) -> None:
        self._calls = calls
        self._today = today
        self._say = say
        self._files: dict[str, Page] = {}
        self._failed: dict[tuple[str, str], str] = {}
        self._numbers: dict[str, int] = {}
        self._usage_range = UsageRange(calls)

    def read(self, ownership: Ownership) -> Reading:
        client = self._calls.client
        self._say("reading API keys")
        for page in self._calls.pages("GetApiKeys", client.get_api_keys, includeValues=False):
            items = items_of(page, "items", "GetApiKeys")
            self._keep("api-keys", page, items=list(map(_key, items)))
        self._say("reading usage plans")
        plans: list[Mapping[str, Any]] = []
        for page in self._calls.pages("GetUsagePlans", client.get_usage_plans):
            items = items_of(page, "items", "GetUsagePlans")
            self._keep("usage-plans", page, items=items)
            plans += items
        for number, plan in enumerate(plans, 1):
            plan_id = text_of(plan, "id", "GetUsagePlans")
            self._say(f"reading usage plan {number:,} of {len(plans):,}")
            self._read("members", plan_id, self._members)
            self._read("usage", plan_id, self._usage)
        self._say("reading tags")
        self._files["tags.json"] = _tags(ownership.tags())
        return Reading(self._today, self._files, self._failed)

    def _read(self, what: str, plan_id: str, read: Callable[[str], None]) -> None:
        try:
            read(plan_id)
        except (CallFailed, UnexpectedAnswer) as err:
            self._failed[what, plan_id] = str(err)

    def _members(self, plan_id: str) -> None:
        call = self._calls.client.get_usage_plan_keys
        for page in self._calls.pages("GetUsagePlanKeys", call, usagePlanId=plan_id):
            items = items_of(page, "items", "GetUsagePlanKeys")
            ids = [{"id": text_of(item, "id", "GetUsagePlanKeys")} for item in items]
            self._keep(f"members.{plan_id}", page, items=ids)

    def _usage(self, plan_id: str) -> None:
        first = self._today - DAY * USAGE_DAYS
        for page in self._usage_range.pages(plan_id, first, self._today):
            fields = ("usagePlanId", "startDate", "endDate", "items")
            told = {name: page[name] for name in fields if name in page}
            self._keep(f"usage.{plan_id}", page, **told)

    def _keep(self, listing: str, page: Page, **told: Any) -> None:
        number = self._numbers[listing] = self._numbers.get(listing, 0) + 1
        name = f"{listing}.{number:04}.json"
        self._files[name] = {**told, "position": page.get("position"), "page": str(number)}


def _key(item: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a key that a what-if needs, with dates as text."""
    told = {name: item[name] for name in _OF_A_KEY if name in item}
    dates = {name: item[name] for name in _DATES if isinstance(item.get(name), datetime)}
    return {**told, **{name: moment.isoformat() for name, moment in dates.items()}}


def _tags(tags: Mapping[str, Mapping[str, str]]) -> Page:
    """The tags of keys as the tagging API returns them, of any Region."""
    return {
        "ResourceTagMappingList": [
            {
                "ResourceARN": f"arn:aws:apigateway:us-east-1::/apikeys/{key_id}",
                "Tags": [{"Key": name, "Value": value} for name, value in of_key.items()],
            }
            for key_id, of_key in tags.items()
        ]
    }
