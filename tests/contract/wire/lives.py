"""An account on disk: lives one that has a key in each state, writes it to a folder, and reads it back.

    ledger.json    the items of the ledger's table
    bucket/        the objects of the history bucket, byte for byte
    gateway.json   the keys (without values), usage plans, use and stacks of the account
    next.json      what the code that wrote the folder decided on the night after, and what it did

`write_folders.py` makes the folders of a version; nothing writes them again.
"""

import base64
import json
from collections.abc import Callable
from dataclasses import asdict
from datetime import date, datetime
from pathlib import Path
from typing import Any

from keyjanitor.adapters.history_tombstones import read_tombstone
from keyjanitor.adapters.kms import tombstone_context
from keyjanitor.domain.model.keys import ApiKey
from keyjanitor.domain.model.policy import PressureRule
from sandbox.memory.adapters.api_gateway import FakeApiGateway, value_of
from sandbox.memory.clients.kms import FakeKms
from sandbox.memory.clients.refusal import refused
from tests.account import SENDER, Account, Calls, Snapshot, brisk
from tests.builders import DAY, a_policy, a_tier, a_usage_plan, unclaimed
from tests.requesting import (
    an_asking_policy,
    an_asking_tier,
    asked,
    issue,
    protect,
    renew,
    restore,
    revoke,
    rotate,
)

POLICY = an_asking_policy(
    an_asking_tier(warn_days=3, grace_days=3, admins=(SENDER,), usage_plans=("external", "silent")),
    unclaimed(orphan_days=5, warn_days=3, grace_days=3),
)
# A rule is active from the first key on; the one above it would free what is idle for longer than 35 days.
PRESSED = a_policy(
    a_tier(idle_days=120),
    pressure=(
        PressureRule(above=0.00005, idle_factor=0.5, freeze=("external",)),
        PressureRule(above=0.9, idle_factor=0.25, freeze=()),
    ),
)
MANY = 41  # keys newly past their limit, twice the allowance and one
# Of what lies in the bucket for each day, so much is enough.
OLDEST = {"usage": "usage/dt=2026-11-20", "reports": "reports/latest"}
LAST = 8  # nights after the first
SILENT = "plan2"  # no request was ever seen in it

AccountMaker = Callable[..., Account]


def many_states(an_account: AccountMaker) -> Account:
    """Nine nights that leave a key in each state, and events that the bus has not taken."""
    account = an_account(policy=POLICY)
    account.gateway.add_plan(a_usage_plan(SILENT, name="silent", stages=("api2:prod",)))
    for key_id, idle in (
        *(("parked", 60), ("restored", 60), ("revoked", 30), ("renewed", 60), ("used-again", 60)),
        *(("disabled", 57), ("stack", 57), ("due", 54), ("warned", 53), ("warned-last", 52)),
        *(("warned-next", 51), ("active", 10), ("protected", 55), ("enabled-again", 56)),
    ):
        account.key(key_id, idle=idle)
    account.key("silent", plans=(SILENT,))
    account.key("orphan", plans=())
    account.key("terraform", idle=90, tags={"terraform": "true"})
    account.key("keep", idle=90, tags={"keyjanitor:keep": ""})
    account.key("shut", idle=90, enabled=False)
    account.key("named", idle=90, stage_keys=("api1/prod",))
    account.owners.stacks["stack"] = "shop"
    for night in range(LAST + 1):
        if night:
            account.pass_day()
        _ask(account, night)
        account.around = Calls(events_put_events=_busy) if night == LAST else Calls()
        account.night()
        account.watch()
    account.publish()
    account.around = Calls()
    return account


def braked(an_account: AccountMaker) -> Account:
    """A night whose plan the safety brake has saved, to be looked at and approved."""
    account = an_account(policy=brisk())
    account.key("warned", idle=60)
    for index in range(MANY):
        account.key(f"idle{index:02}", idle=20)
    account.night()
    account.pass_day()
    account.policy = brisk(idle_days=10)
    account.wire()
    account.night()
    return account


def pressed(an_account: AccountMaker) -> Account:
    """A night on which one pressure rule was active and another would free a key, and its report."""
    account = an_account(policy=PRESSED)
    account.key("past", idle=70)
    account.key("next", idle=50)
    account.key("active", idle=10)
    account.night()
    account.watch()
    account.publish()
    return account


def _busy(_: Any) -> Any:
    raise refused("PutEvents", "ThrottlingException")


def _ask(account: Account, night: int) -> None:
    """The requests of the day before a night."""
    if night == 1:
        asked(account, issue(1))
        asked(account, issue(2))
        asked(account, issue(3, expires_on=str(account.today + DAY * 3)))
    elif night == 2:
        asked(account, rotate(_made_for(account, "issue-2"), overlap_days=20))
        account.use("used-again")
        asked(account, protect("protected", account.today + DAY * 60))
        asked(account, renew("renewed"))
        asked(account, revoke("revoked", reason="lost"))
    elif night == 7:
        asked(account, restore("restored"))


def _made_for(account: Account, request_id: str) -> str:
    return str(account.answers(request_id)[0][1]["key_id"])


# --- to a folder, and back --------------------------------------------------------------------------


def write(account: Account, folder: Path) -> None:
    """Writes an account as its stores have it."""
    snapshot = account.snapshot()
    items = sorted(snapshot.items, key=lambda item: (item["pk"]["S"], item["sk"]["S"]))
    _write_json(folder / "ledger.json", items)
    for name, body in snapshot.objects.items():
        if not name.endswith(".html") and name >= OLDEST.get(name.split("/")[0], ""):
            (folder / "bucket" / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / "bucket" / name).write_bytes(body)
    gateway = account.gateway
    _write_json(
        folder / "gateway.json",
        {
            "today": str(account.today),
            "keys": [
                {
                    **asdict(key),
                    "created_date": key.created_date.isoformat(),
                    "last_updated_date": key.last_updated_date.isoformat(),
                }
                for _, key in sorted(gateway.living.items())
            ],
            "plans": [asdict(plan) for plan in gateway.usage_plans()],
            "members": {plan_id: list(gateway.members(plan_id)) for plan_id in gateway.plans},
            "used": [
                [plan_id, key_id, {str(day): used for day, used in sorted(days.items())}]
                for (plan_id, key_id), days in sorted(gateway.requests.items())
            ],
            "stacks": account.owners.stacks,
        },
    )


def read(account: Account, folder: Path) -> Account:
    """Puts the account of a folder in the place of this one; each key has the value of its id."""
    told = json.loads((folder / "gateway.json").read_text("utf-8"))
    gateway = FakeApiGateway(account.gateway.now)
    for plan in told["plans"]:
        stages, has_quota = tuple(plan["stages"]), plan.get("has_quota", bool(plan.get("quota")))
        gateway.add_plan(
            a_usage_plan(
                plan["usage_plan_id"], name=plan["name"], stages=stages, has_quota=has_quota
            )
        )
    for key in told["keys"]:
        plans = [
            plan_id for plan_id, members in told["members"].items() if key["key_id"] in members
        ]
        gateway.add_key(_a_key(key), plans=plans)
    for plan_id, key_id, days in told["used"]:
        for day, used in days.items():
            gateway.use(plan_id, key_id, date.fromisoformat(day), used)
    bucket = folder / "bucket"
    files = [path for path in sorted(bucket.rglob("*")) if path.is_file()]
    items = json.loads((folder / "ledger.json").read_text("utf-8"))
    objects = {str(path.relative_to(bucket)): path.read_bytes() for path in files}
    account.go_back(Snapshot(date.fromisoformat(told["today"]), gateway, tuple(items), objects))
    account.gateway.now = account.real_now
    account.owners.stacks.update(told["stacks"])
    _seal_again(account)
    return account


def _a_key(told: dict[str, Any]) -> ApiKey:
    dates = {
        name: datetime.fromisoformat(told[name]) for name in ("created_date", "last_updated_date")
    }
    return ApiKey(**{**told, **dates, "stage_keys": tuple(told["stage_keys"])})


def _seal_again(account: Account) -> None:
    """Lets the KMS in memory open the tombstones, as the KMS that sealed them would."""
    kms = account.clients.kms
    assert isinstance(kms, FakeKms)
    for name in account.objects("tombstones/"):
        key_id = name.removeprefix("tombstones/").removesuffix(".json")
        tombstone = read_tombstone(json.loads(account.objects(name)[name]))
        sealed = base64.b64decode(tombstone.sealed_value)
        kms._sealed[sealed] = (value_of(key_id).encode(), tombstone_context(tombstone))


def _write_json(path: Path, document: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1, sort_keys=True) + "\n", "utf-8")


# --- what a night decides ---------------------------------------------------------------------------

DECIDED = ("state", "verdict", "reason", "disable_on", "park_on", "purge_on", "idle_since", "owner")


def night_after(account: Account) -> dict[str, Any]:
    """Lives the night after; gives what it decided of each key, did, and told."""
    account.pass_day()
    answer = account.night()
    return {
        "keys": {
            key_id: {name: line[name] for name in DECIDED}
            for key_id, line in account.keys_file().items()
        },
        "applied": answer["applied"],
        "past_limit": answer["past_limit"],
        "digest": answer["digest"],
        "states": account.states(),
        "told": sorted([one["DetailType"], one["Detail"]["key_id"]] for one in account.events),
    }
