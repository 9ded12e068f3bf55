"""Turns the files of a folder into the values that keyjanitor judges by: keys, and tonight's evidence."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from typing import Any

from keyjanitor.adapters.usage_plan_answers import read_usage_page, read_usage_plans
from keyjanitor.domain.model.aws_answers import items_of
from keyjanitor.domain.model.key_ids import shown_id
from keyjanitor.domain.model.keys import DAY, ApiKey
from keyjanitor.domain.model.usage_plan import UsagePlan
from keyjanitor.domain.usage.evidence import Evidence, UsagePlanAnswer
from keyjanitor.domain.usage.plan_usage import USAGE_DAYS, PlanUsage, UsagePage
from keyjanitor.domain.usage.reading import take_evidence
from keyjanitor.errors import UnexpectedAnswer
from keyjanitor_cli.whatif.errors import FolderRefused
from keyjanitor_cli.whatif.pages import Listings, Page

STRANGERS = 5  # keys; up to so many, or 1 %, may have been made or deleted during the listing
_KEY_ARN = re.compile(r"arn:[a-z-]+:apigateway:[a-z0-9-]+::/apikeys/([^/]+)")


@dataclass(frozen=True, slots=True)
class Account:
    """An account as a folder has it; `tags_known`: tags.json was complete.

    `usages` are of the plans that were read, by their ids; `plans` are all, with their limits.
    """

    today: date
    keys: tuple[ApiKey, ...]
    evidence: Evidence
    tags_known: bool
    usages: Mapping[str, PlanUsage] = field(default_factory=dict)
    plans: tuple[UsagePlan, ...] = ()


def read_account(folder: Listings, before: Evidence | None = None) -> Account:
    """The account of a folder, or as it was read live; `before` is the reading that it goes on from.

    A plan with incomplete members or usage is unread, as after a nightly reading that failed. Raises
    FolderRefused if the list of keys or of plans is incomplete: a nightly sweep would not begin.
    """
    today = _today(folder.days())
    tags = _tags(folder.tags())
    keys = {key.key_id: key for key in (_key(item, tags) for item in _items(folder, "api-keys"))}
    plans = _plans(_items(folder, "usage-plans"))
    answers = [_answer(plan, folder, today) for plan in plans]
    members = {key_id for answer in answers for key_id in answer.members or ()}
    strangers = members - keys.keys()  # a few were made or deleted while the lists were read
    if members and not keys:
        raise FolderRefused("api-keys", "no key is listed, but usage plans have some")
    if len(strangers) > max(STRANGERS, len(members) // 100):
        raise FolderRefused(
            "api-keys", f"{len(strangers):,} keys of usage plans are not in it, so it is not all"
        )
    evidence, usages = take_evidence(today, answers, before)
    return Account(today, tuple(keys.values()), evidence, tags is not None, usages, tuple(plans))


def _today(days: str) -> date:
    """The date of the reading: the second of the two days in days.txt."""
    try:
        first, last = map(date.fromisoformat, days.split())
    except ValueError:
        raise FolderRefused(
            "days.txt", "does not hold two dates, YYYY-MM-DD, as `whatif --save` writes"
        ) from None
    if first != last - DAY * USAGE_DAYS:
        raise FolderRefused(
            "days.txt",
            f"asks for the use of {(last - first).days} days back, and {USAGE_DAYS} are needed",
        )
    return last


def _items(folder: Listings, what: str) -> list[Mapping[str, Any]]:
    listing = folder.listing(what)
    if listing.broken is not None:
        raise FolderRefused(what, f"{listing.broken}; nothing can be judged without the whole list")
    return [item for page in listing.pages for item in _items_of(what, page)]


def _items_of(what: str, page: Page) -> Sequence[Mapping[str, Any]]:
    try:
        items = items_of(page, "items", what)
    except UnexpectedAnswer as err:
        raise FolderRefused(what, f"a page of it is of another shape: {err.reason}") from None
    if not all(isinstance(item.get("id"), str) for item in items):
        raise FolderRefused(what, "a page holds something other than a list of items with an id")
    if what == "usage-plans":
        return items
    return [{**item, "id": shown_id(item["id"])} for item in items]


def _key(item: Mapping[str, Any], tags: Mapping[str, Mapping[str, str]] | None) -> ApiKey:
    enabled = item.get("enabled")
    if not isinstance(enabled, bool):
        raise FolderRefused("api-keys", "a key does not say whether it is enabled")
    told = item.get("tags") if isinstance(item.get("tags"), Mapping) else None
    return ApiKey(
        key_id=item["id"],
        name=_text(item, "name"),
        enabled=enabled,
        created_date=_moment(item, "createdDate"),
        last_updated_date=_moment(item, "lastUpdatedDate"),
        description=_text(item, "description"),
        customer_id=_text(item, "customerId"),
        stage_keys=tuple(map(str, item.get("stageKeys") or ())),
        tags=told if tags is None else {**(told or {}), **tags.get(item["id"], {})},
    )


def _text(item: Mapping[str, Any], name: str) -> str:
    text = item.get(name)
    return text if isinstance(text, str) else ""


def _moment(item: Mapping[str, Any], name: str) -> datetime:
    """A date as the AWS CLI prints it: version 1 as seconds since 1970, version 2 in ISO 8601."""
    told = item.get(name)
    try:
        if isinstance(told, str):
            return datetime.fromisoformat(told).astimezone(UTC)
        if isinstance(told, int | float) and not isinstance(told, bool):
            return datetime.fromtimestamp(told, UTC)
    except (ValueError, OverflowError, OSError):
        pass
    raise FolderRefused("api-keys", f"a key has no {name} that is a date")


def _plans(listed: Iterable[Mapping[str, Any]]) -> list[UsagePlan]:
    try:
        return read_usage_plans(listed)
    except UnexpectedAnswer as err:
        raise FolderRefused("usage-plans", err.reason) from None


def _answer(plan: UsagePlan, folder: Listings, today: date) -> UsagePlanAnswer:
    """Members and usage of one plan in the folder, or why they are not known."""
    plan_id = plan.usage_plan_id
    told = folder.listing("members", plan_id)
    if told.broken is not None:
        return UsagePlanAnswer(plan, None, None, failed=f"members: {told.broken}")
    members: tuple[str, ...] | None = None
    first = today - DAY * USAGE_DAYS
    usage = PlanUsage(plan, first, today, first)  # `suggest` needs every day
    try:
        members = tuple(item["id"] for page in told.pages for item in _items_of("members", page))
        told = folder.listing("usage", plan_id)
        if told.broken is not None:
            return UsagePlanAnswer(plan, members, None, failed=f"usage: {told.broken}")
        for page in told.pages:
            usage.add(_usage_page(plan_id, page))
    except (FolderRefused, UnexpectedAnswer) as err:
        return UsagePlanAnswer(plan, members, None, failed=str(err))
    return UsagePlanAnswer(plan, members, usage)


def _usage_page(plan_id: str, page: Page) -> UsagePage:
    if page.get("usagePlanId") != plan_id:
        raise FolderRefused("usage", "a page does not say that it is of this plan")
    told = read_usage_page(page)
    return replace(told, items={shown_id(one): use for one, use in told.items.items()})


def _tags(page: Page | None) -> dict[str, dict[str, str]] | None:
    """The tags of every tagged key; None if they are not known."""
    tags: dict[str, dict[str, str]] = {}
    try:
        for resource in items_of(page, "ResourceTagMappingList", "tags"):
            if fits := _KEY_ARN.fullmatch(resource["ResourceARN"]):
                tags[shown_id(fits[1])] = {
                    tag["Key"]: tag["Value"] for tag in resource.get("Tags", ())
                }
    except (UnexpectedAnswer, KeyError, TypeError, AttributeError):
        return None
    return tags
