"""Makes one key, one plan without stages and one import, looks at them, and deletes them whatever happened."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date

from keyjanitor.domain.model.keys import DAY, Secret
from keyjanitor_cli.preflight import rights
from keyjanitor_cli.preflight.answers import NOT_ASKED, Answer, Ask, Call

MARKER = "keyjanitor-preflight-"  # what the names of all that is made begin with
WHY = "made by keyjanitor preflight --write, which deletes it"
CHANGED = "changed by keyjanitor preflight --write, which deletes it"
MOST_WRITES = 30  # calls, the looks and the deletions among them


def _not(call: Call) -> Answer:
    return Answer(call, code=NOT_ASKED)


@dataclass(slots=True)
class Tried:
    """The answers, in the order of the calls.

    `again` imports the value of `imported` under another name. `left` lists the keys under the
    marker at the end, `deleted` what was answered to each deletion.
    """

    marker: str
    made: Answer
    updated: Answer = field(default_factory=lambda: _not(rights.UPDATE_KEY))
    read: Answer = field(default_factory=lambda: _not(rights.KEY))
    plan: Answer = field(default_factory=lambda: _not(rights.CREATE_PLAN))
    usage: Answer = field(default_factory=lambda: _not(rights.USAGE))
    imported: Answer = field(default_factory=lambda: _not(rights.IMPORT))
    again: Answer = field(default_factory=lambda: _not(rights.IMPORT))
    reread: Answer = field(default_factory=lambda: _not(rights.KEY))
    deleted: list[Answer] = field(default_factory=list)
    left: Answer = field(default_factory=lambda: _not(rights.KEYS))

    @property
    def answers(self) -> Iterator[Answer]:
        """Every answer."""
        yield from (self.made, self.updated, self.read, self.plan, self.usage)
        yield from (self.imported, self.again, self.reread, *self.deleted, self.left)

    @property
    def names_left(self) -> list[str]:
        """The names under the marker that are still there."""
        return [name for name in _names(self.left) if name.startswith(self.marker)]


def attempt(ask: Ask, marker: str, value: Secret, today: date) -> Tried:
    """Makes, looks and deletes. `marker` begins with MARKER and is new, `value` is of no key."""
    made = ask(rights.CREATE_KEY, name=f"{marker}-made", enabled=False, description=WHY)
    tried = Tried(marker, made)
    try:
        if key_id := _id(made):
            change = [{"op": "replace", "path": "/description", "value": CHANGED}]
            tried.updated = ask(rights.UPDATE_KEY, apiKey=key_id, patchOperations=change)
            tried.read = ask(rights.KEY, apiKey=key_id, includeValue=False)
        tried.plan = ask(rights.CREATE_PLAN, name=marker, description=WHY)
        if plan_id := _id(tried.plan):
            days = {"startDate": str(today - DAY), "endDate": str(today)}
            tried.usage = ask(rights.USAGE, usagePlanId=plan_id, limit=1, **days)
            _import(ask, tried, value, plan_id)
    finally:
        _delete(ask, tried)
    return tried


def _import(ask: Ask, tried: Tried, value: Secret, plan_id: str) -> None:
    """The same value twice, the second time under another name."""
    tried.imported = _file(ask, f"{tried.marker}-first", value, plan_id)
    if ids := _ids(tried.imported):
        tried.again = _file(ask, f"{tried.marker}-again", value, plan_id)
        tried.reread = ask(rights.KEY, apiKey=ids[0], includeValue=False)


def _file(ask: Ask, name: str, value: Secret, plan_id: str) -> Answer:
    """The import of one key, disabled, in the form of the key file (doc: AF-231)."""
    text = "Name,Key,Description,Enabled,UsagePlanIds\n"
    text += f"{name},{value.reveal()},{WHY.replace(',', ';')},false,{plan_id}\n"
    return ask(rights.IMPORT, body=text.encode("ascii"), format="csv", failOnWarnings=True)


def _delete(ask: Ask, tried: Tried) -> None:
    """Deletes what was answered, and what is listed under the marker without having been answered."""
    answered = [_id(tried.made), *_ids(tried.imported), *_ids(tried.again)]
    for key_id in dict.fromkeys(one for one in answered if one):
        tried.deleted.append(ask(rights.DELETE_KEY, apiKey=key_id))
    if plan_id := _id(tried.plan):
        tried.deleted.append(ask(rights.DELETE_PLAN, usagePlanId=plan_id))
    tried.left = _listed(ask, tried.marker)
    if not tried.names_left:
        return
    for item in tried.left.items("items"):
        if str(item.get("name", "")).startswith(tried.marker) and item.get("id"):
            tried.deleted.append(ask(rights.DELETE_KEY, apiKey=item["id"]))
    tried.left = _listed(ask, tried.marker)


def _listed(ask: Ask, marker: str) -> Answer:
    return ask(rights.KEYS, nameQuery=marker, includeValues=False, limit=500)


def _id(answer: Answer) -> str:
    return str(answer.body.get("id") or "")


def _ids(answer: Answer) -> list[str]:
    listed = answer.body.get("ids")
    return [str(one) for one in listed] if isinstance(listed, list) else []


def _names(answer: Answer) -> list[str]:
    return [str(item.get("name", "")) for item in answer.items("items")]
