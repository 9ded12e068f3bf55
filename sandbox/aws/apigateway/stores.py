"""MiniStack's own stores of keys and plan members, with the indices that ten thousand keys need.

MiniStack's data plane and its CloudFormation read and write these stores directly, so they stay
the truth: the stores here are MiniStack's class with every write noted. A scope is an (account,
Region) pair.
"""

import bisect
import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

from ministack.core.responses import AccountRegionScopedDict

Scope = tuple[str, str]
Record = dict[str, Any]


def shuffled(key_id: str) -> str:
    """A sort key that puts ids in an order which has nothing to do with their age.

    No order of GetApiKeys is documented (doc: AF-204), so the sandbox lists keys in none that helps.
    """
    return hashlib.sha1(key_id.encode()).hexdigest()


class Shelf:
    """A set of ids in shuffled order, from which pages can be cut."""

    def __init__(self) -> None:
        self._entries: list[tuple[str, str]] = []

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, key_id: str) -> None:
        entry = (shuffled(key_id), key_id)
        at = bisect.bisect_left(self._entries, entry)
        if at == len(self._entries) or self._entries[at] != entry:
            self._entries.insert(at, entry)

    def discard(self, key_id: str) -> None:
        entry = (shuffled(key_id), key_id)
        at = bisect.bisect_left(self._entries, entry)
        if at < len(self._entries) and self._entries[at] == entry:
            del self._entries[at]

    def after(self, key_id: str | None) -> Iterator[str]:
        """The ids that come after `key_id`, which may be gone; all of them after None."""
        at = 0
        if key_id is not None:
            at = bisect.bisect_right(self._entries, (shuffled(key_id), key_id))
        for n in range(at, len(self._entries)):
            yield self._entries[n][1]


class KeyStore(AccountRegionScopedDict):  # type: ignore[misc]
    """API keys by id, found by value too, and listed in shuffled order."""

    def __init__(self) -> None:
        super().__init__()
        self.order: defaultdict[Scope, Shelf] = defaultdict(Shelf)
        self._by_value: dict[tuple[str, str, str], Record] = {}
        self._id_by_value: dict[str, list[Record]] = defaultdict(list)
        self.members: MemberStore | None = None

    def __setitem__(self, key_id: str, record: Record) -> None:
        account, region, _ = self._scoped(key_id)
        self.set_scoped(account, region, key_id, record)

    def set_scoped(self, account: str, region: str, key_id: str, record: Record) -> None:
        self._unlist(account, region, key_id)
        super().set_scoped(account, region, key_id, record)
        self.order[account, region].add(key_id)
        self._by_value[account, region, record["value"]] = record
        self._id_by_value[record["value"]].append(record)

    def pop(self, key_id: str, *default: Any) -> Any:
        account, region, _ = self._scoped(key_id)
        return self.pop_scoped(account, region, key_id, *default)

    def pop_scoped(self, account: str, region: str, key_id: str, *default: Any) -> Any:
        self._unlist(account, region, key_id)
        # A key that is deleted leaves its usage plans (doc: AF-214).
        if self.members is not None:
            self.members.remove_everywhere(account, region, key_id)
        return super().pop_scoped(account, region, key_id, *default)

    def __delitem__(self, key_id: str) -> None:
        self.pop(key_id)

    def clear(self) -> None:
        super().clear()
        self.order.clear()
        self._by_value.clear()
        self._id_by_value.clear()

    def with_value(self, scope: Scope, value: str) -> Record | None:
        """The key of that account and Region whose secret this is."""
        return self._by_value.get((*scope, value))

    def enabled_with_value(self, value: str) -> Record | None:
        """An enabled key of any account whose secret this is: what the data plane looks for."""
        for record in self._id_by_value.get(value, ()):
            if record.get("enabled", True):
                return record
        return None

    def all_with_value(self, value: str) -> Iterable[Record]:
        """The keys whose secret this is, in any account, enabled or not."""
        return tuple(self._id_by_value.get(value, ()))

    def _unlist(self, account: str, region: str, key_id: str) -> None:
        record = self.get_scoped(account, region, key_id)
        if record is None:
            return
        self.order[account, region].discard(key_id)
        self._by_value.pop((account, region, record["value"]), None)
        same_value = self._id_by_value[record["value"]]
        same_value.remove(record)
        if not same_value:
            del self._id_by_value[record["value"]]


class Members(dict[str, Record]):
    """One plan's members by key id, telling the store about every change."""

    def __init__(self, store: "MemberStore", scope: Scope, plan_id: str) -> None:
        super().__init__()
        self._plans = store.plans_of_key
        self._at = (scope, plan_id)
        self.order = Shelf()

    def __setitem__(self, key_id: str, record: Record) -> None:
        super().__setitem__(key_id, record)
        self.order.add(key_id)
        self._plans[key_id].add(self._at)

    def pop(self, key_id: str, *default: Any) -> Any:
        self.order.discard(key_id)
        self._plans[key_id].discard(self._at)
        return super().pop(key_id, *default)

    def __delitem__(self, key_id: str) -> None:
        self.pop(key_id)


class MemberStore(AccountRegionScopedDict):  # type: ignore[misc]
    """Plan members by plan id, and the plans of each key."""

    def __init__(self) -> None:
        super().__init__()
        self.plans_of_key: defaultdict[str, set[tuple[Scope, str]]] = defaultdict(set)

    def __setitem__(self, plan_id: str, members: dict[str, Record]) -> None:
        account, region, _ = self._scoped(plan_id)
        kept = Members(self, (account, region), plan_id)
        for key_id, record in members.items():
            kept[key_id] = record
        super().__setitem__(plan_id, kept)

    def setdefault(self, plan_id: str, members: Any = None) -> Any:
        if plan_id not in self:
            self[plan_id] = members or {}
        return self[plan_id]

    def pop(self, plan_id: str, *default: Any) -> Any:
        for key_id in list(self.get(plan_id) or ()):
            self[plan_id].pop(key_id)
        return super().pop(plan_id, *default)

    def clear(self) -> None:
        super().clear()
        self.plans_of_key.clear()

    def join(self, plan_id: str, key_id: str) -> None:
        """Make the key a member of the plan, in the account and Region of the request.

        Its name and value are read from the key when they are shown, so that none goes stale.
        """
        self.setdefault(plan_id)[key_id] = {"id": key_id, "type": "API_KEY"}

    def remove_everywhere(self, account: str, region: str, key_id: str) -> None:
        """Take the key out of every plan of its account and Region."""
        for scope, plan_id in list(self.plans_of_key.get(key_id, ())):
            if scope == (account, region):
                self.get_scoped(account, region, plan_id).pop(key_id, None)
        if not self.plans_of_key.get(key_id):
            self.plans_of_key.pop(key_id, None)
