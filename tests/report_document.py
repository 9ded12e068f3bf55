"""Documents as publish_report makes them, of accounts that do not exist; the same ones every time.

`python -m tests.report_document FILE` writes the page of a large account that nears its limit.
"""

import sys
from collections import Counter
from collections.abc import Iterable
from datetime import date, timedelta
from math import sin
from pathlib import Path
from random import Random
from typing import Any

from keyjanitor import __version__
from keyjanitor.domain.report.html import render
from keyjanitor.domain.report.inactivity_table import COLUMNS as INACTIVITY_COLUMNS
from keyjanitor.domain.report.key_rows import COLUMNS as THEIR_COLUMNS

DATE = date(2026, 11, 21)
DAY = timedelta(days=1)
QUOTA = 10_000
LIMIT = 35  # days: 60 of the tier, halved by the pressure rule, and never less
COLUMNS = list(THEIR_COLUMNS)
# Names that break careless pages: each must be seen as text, whatever else happens.
HOSTILE = (
    "<script>alert(1)</script>",
    "</script><script>alert(2)</script>",
    '"><img src=x onerror=alert(3)>',
    "<!--<script>",
    "line\u2028and paragraph\u2029ends",
    "safe \u202egpj.exe",
    "{{7*7}} ${7*7} `x`",
    "javascript:alert(4)",
    "tab\tand\nbreak",
    "\ud83d",
    "nul\x00byte",
    "x" * 1024,
    "Z\u0351\u036b\u0343\u036a\u0302a\u034a\u0346lgo " * 20,
    "مفتاح الطقس",
    "👩‍👩‍👧 family 🇨🇭",
    "&lt;b&gt;&amp;",
    " ",
)
_PLANS = {
    "p1external": "external",
    "p2frontend": "front-end",
    "p3partners": "partners",
    "p4oldweath": "weather 2019 (old)",
    "p5trialx00": "trial",
}
_TIERS = {
    # plan, share of the keys, requests on a mean day
    "external": ("p1external", 0.78, 9.0),
    "front-end": ("p2frontend", 0.05, 900.0),
    "partners": ("p3partners", 0.09, 240.0),
    "unclaimed": ("p4oldweath", 0.08, 1.5),
}
_PRODUCTS = ("Weather", "Timetable", "Permits", "Parcels", "Register", "Air quality", "Statistics")
_USES = ("app, production", "app, test", "dashboard", "import job", "website", "pilot")


def a_report(keys: int = 10_000, hostile: bool = True, **changes: Any) -> dict[str, Any]:
    """A growing account near its limit: everything is known but two days of use."""
    chance = Random(keys)
    rows = [_row(chance, number) for number in range(keys)]
    if hostile:
        _be_hostile(rows)
    tiers = Counter(row[3] for row in rows)
    states = Counter(_state_counted(row) for row in rows)
    verdicts = Counter(row[5] for row in rows)
    days = [DATE - DAY * back for back in range(30, 0, -1)]
    return {
        "version": 2,
        "date": str(DATE),
        "code_version": __version__,
        "made_at": f"{DATE}T06:15:04Z",
        "account": "123456789012",
        "region": "us-east-1",
        "stack": "keyjanitor",
        "mode": "park",
        "service_quota": QUOTA,
        "capacity": {
            "keys": keys,
            "share": keys / QUOTA,
            "usage_plans": 34,
            "usage_plan_quota": 300,
            "levels": [0.8, 0.9, 0.95, 0.98],
            "days_to_limit_marks": [60, 30, 14],
            "counts": _counts(chance, keys),
            "forecast": {
                "state": "in_sight",
                "a_day": 12.3,
                "low": 8.1,
                "high": 16.0,
                "days": 71,
                "soonest": 55,
                "latest": 108,
                "on": str(DATE + DAY * 71),
            },
            "tiers": dict(tiers.most_common()),
            "states": dict(states),
            "pressure": {
                "above": 0.9,
                "idle_factor": 0.5,
                "least_idle_days": 35,
                "frozen": ["external"],
            },
            "pressure_rules": [
                {
                    "above": 0.95,
                    "idle_factor": 0.35,
                    "more_keys": 612,
                    "tiers": {"external": 598, "partners": 14},
                    "days_gained": 50,
                },
                {
                    "above": 0.98,
                    "idle_factor": 0.2,
                    "more_keys": 1130,
                    "tiers": {"external": 1093, "partners": 37},
                    "days_gained": 92,
                },
            ],
        },
        "night": {
            "swept": True,
            "held": None,
            "evidence": str(DATE),
            "keys_file": str(DATE),
            "did": {
                "warned": 12,
                "disabled": 3,
                "parked": 5,
                "purged": 1,
                "issued": 31,
                "revoked": 2,
            },
            "verdicts": {
                word: verdicts[word]
                for word in ("keep", "unknown", "protected", "warn", "disable", "park")
            },
            "waiting": sum(1 for row in rows if row[16]),
            "brake": {"on": False, "new": 9, "causes": {"use_stopped": 7, "never_used": 2}},
            "unread": [
                {
                    "usage_plan_id": "p5trialx00",
                    "name": "trial",
                    "reason": "GetUsage was throttled to the end of the night's time",
                }
            ],
            "silent": [{"usage_plan_id": "p4oldweath", "name": "weather 2019 (old)"}],
        },
        "ahead": _ahead(chance, keys),
        "ahead_mode": "park",
        "ahead_unknown": None,
        "ahead_later": {
            "disable": 0,
            "park": 31,
            "first_disable": None,
            "first_park": str(DATE + DAY * 15),
        },
        "regret": _regret(rows),
        "inactivity": _inactivity(rows),
        "tier_limits": {
            tier: {
                "idle_days": idle,
                "never_used_days": 14,
                "warn_days": 14,
                "grace_days": 14,
            }
            for tier, idle in (("external", 60), ("front-end", "never"), ("partners", 180))
        },
        "use": _use(chance, days, tiers, rows),
        "near_quota": [_near(chance, number) for number in range(24)],
        "keys": {"columns": COLUMNS, "rows": rows},
        "plans": dict(_PLANS),
        "findings": _findings(rows),
        "unread": [],
        **changes,
    }


def a_first_night(**changes: Any) -> dict[str, Any]:
    """One count, in observe, and the night after which more is known has not been."""
    few = a_report(412, hostile=False)
    capacity = {
        **few["capacity"],
        "counts": [[str(DATE), 412, 0, 0]],
        "forecast": {
            "state": "not_yet_known",
            **dict.fromkeys(("a_day", "low", "high", "days", "soonest", "latest", "on")),
        },
        "pressure": {"above": None, "idle_factor": 1.0, "least_idle_days": 35, "frozen": []},
        "pressure_rules": [],
    }
    return {
        **few,
        "mode": "observe",
        "capacity": capacity,
        "night": {
            "swept": False,
            "held": None,
            "evidence": None,
            "keys_file": None,
            "did": dict.fromkeys(few["night"]["did"], 0),
            "verdicts": {},
            "waiting": 0,
            "brake": {"on": False, "new": None, "causes": {}},
            "unread": [],
            "silent": [],
        },
        "ahead": None,
        "ahead_mode": "park",
        "ahead_unknown": "no night has been judged yet",
        "ahead_later": None,
        "regret": {
            "since": str(DATE - DAY * 29),
            "taken": 0,
            "back": 0,
            "percent": None,
            "keys": [],
        },
        "inactivity": None,
        "use": {
            "days": [],
            "missing": [],
            "tiers": [],
            "owners": [],
            "owners_total": 0,
            "owners_used": 0,
            "owners_unknown": 0,
            "stages": [],
        },
        "near_quota": [],
        "keys": {"columns": COLUMNS, "rows": []},
        "plans": {},
        "findings": [],
        "unread": ["the usage plans: GetUsagePlans failed: TooManyRequestsException"],
        **changes,
    }


def a_held_night(**changes: Any) -> dict[str, Any]:
    """A hold, verdicts of the night before, a flat trend, and tiers whose use is unknown."""
    report = a_report(1200, hostile=False)
    before = str(DATE - DAY)
    report["capacity"]["forecast"] = {
        "state": "not_in_sight",
        "a_day": -0.4,
        "low": -1.2,
        "high": 0.3,
        **dict.fromkeys(("days", "soonest", "latest", "on")),
    }
    report["capacity"]["counts"] = [
        line for number, line in enumerate(report["capacity"]["counts"]) if number not in (50, 51)
    ]
    report["capacity"]["pressure"] |= {"above": None, "idle_factor": 1.0, "frozen": []}
    report["night"] |= {
        "swept": False,
        "held": "payments <b>move</b>",
        "did": dict.fromkeys(report["night"]["did"], 0) | {"issued": 31},
        "evidence": before,
        "keys_file": before,
    }
    report["ahead"], report["ahead_unknown"] = None, "the sweeps are on hold"
    report["ahead_later"] = None
    report["mode"] = report["ahead_mode"] = "disable"
    unknown = report["use"]["tiers"][-1]
    unknown |= {"used_keys": None, "requests": None, "by_day": [None] * 30}
    report["findings"] = []
    return {**report, **changes}


def _row(chance: Random, number: int) -> list[Any]:
    key_id = _key_id(chance)
    owner = None if chance.random() < 0.1 else f"user-{chance.randrange(16**6):06x}"
    name = f"{chance.choice(_PRODUCTS)} {chance.choice(_USES)}"
    if chance.random() < 0.3:
        name = f"key-{number:05}"
    tier = chance.choices(list(_TIERS), [share for _, share, _ in _TIERS.values()])[0]
    plan = _TIERS[tier][0]
    created = DATE - DAY * chance.randrange(3, 1400)
    plans = [plan, "p5trialx00"] if chance.random() < 0.02 else [plan]
    idle = min(int(chance.expovariate(1 / 14)), 88, (DATE - created).days)
    last_used = DATE - DAY * idle if chance.random() < 0.8 else None
    per_day = _TIERS[tier][2]
    requests = int(chance.lognormvariate(0, 1) * per_day * max(0, 30 - idle)) if last_used else 0
    head = [key_id, name, owner, tier]
    tail = [str(last_used) if last_used else None, idle, str(created)]
    ends = str(DATE + DAY * chance.randrange(20, 300)) if chance.random() < 0.03 else None
    verdict = _verdict(chance, tier, idle, DATE - DAY * idle)
    state, word, reason, step, left = verdict
    return [
        *head,
        state,
        word,
        reason,
        *tail,
        step,
        None if left is None else str(DATE + DAY * left),
        left,
        None if word == "unknown" else requests,
        plans,
        ends,
        word == "keep" and step in ("disabled", "parked"),
        step != "warned" if step else None,
        *_code(tier, word, step, idle, DATE - DAY * idle),
    ]


def _code(
    tier: str, word: str, step: str | None, idle: int, since: date
) -> tuple[str, dict[str, Any]]:
    """The code of the reason, and its facts."""
    due = {"days": idle, "since": str(since), "never_used": False}
    if word == "unknown":
        return "unwitnessed", {"usage_plan_id": _TIERS[tier][0]}
    if word == "protected":
        return "keep_tag", {}
    if step == "warned":
        return "within_idle_limit", {"days": idle, "since": str(since), "idle_limit": LIMIT}
    if word == "keep":
        return "waits", {"step": step, "due": {"reason_code": "idle", "facts": due}}
    return "idle", due


def _verdict(
    chance: Random, tier: str, idle: int, since: date
) -> tuple[str, str, str, str | None, int | None]:
    """State, verdict, reason, next step and the days until it."""
    draw = chance.random()
    if tier == "unclaimed":
        reason = "no request was ever seen in its plan p4oldweath or beside it on its stages "
        reason += "(list the plan under silent_plans to believe its silence)"
        return "active", "unknown", reason, None, None
    if draw < 0.02:
        stack = chance.choice(("stack timetable-prod", "Terraform"))
        return "active", "protected", f"owned by {stack}", None, None
    if draw < 0.03:
        return "active", "protected", "disabled by others", None, None
    if idle <= LIMIT:
        reason = f"idle for {idle} days of {LIMIT}, since {since}"
        return "active", "keep", reason, "warned", LIMIT - idle + 1
    due = f"idle for {idle} days, since {since}"
    if idle <= LIMIT + 14:
        on = LIMIT + 15 - idle
        if draw < 0.06:
            return "warned", "warn", due, "disabled", 14
        return "warned", "keep", f"will be disabled on {DATE + DAY * on}: {due}", "disabled", on
    on = max(1, LIMIT + 29 - idle)
    if draw < 0.06:
        return "disabled", "disable", due, "parked", 14
    return "disabled", "keep", f"will be parked on {DATE + DAY * on}: {due}", "parked", on


def _state_counted(row: list[Any]) -> str:
    return "disabled_by_others" if row[6] == "disabled by others" else str(row[4])


def _be_hostile(rows: list[list[Any]]) -> None:
    step = max(1, len(rows) // len(HOSTILE))
    for number, name in enumerate(HOSTILE):
        if number * step < len(rows):
            rows[number * step][1] = name
            rows[number * step][2] = HOSTILE[number - 1]


def _counts(chance: Random, keys: int) -> list[list[Any]]:
    """Ninety days that end at today's count."""
    counts: list[list[Any]] = []
    count = keys
    for back in range(90):
        day = DATE - DAY * back
        issued = (chance.randrange(8, 34) if day.weekday() < 5 else chance.randrange(9)) * keys
        freed = (chance.randrange(0, 14) if back % 9 != 4 else 30) * keys
        issued, freed = issued // 9_000, freed // 9_000
        if not back:
            issued, freed = 31, 7
        counts.append([str(day), count, issued, freed])
        count -= issued - freed
    return counts[::-1]


def _ahead(chance: Random, keys: int) -> list[dict[str, Any]]:
    nights = []
    for number in range(14):
        parked = chance.randrange(2, 26)
        keys -= parked
        nights.append(
            {
                "date": str(DATE + DAY * (number + 1)),
                "warn": chance.randrange(5, 60),
                "disable": chance.randrange(0, 40),
                "park": parked,
                "purge": chance.randrange(0, 4),
                "keys": keys,
                "braked": number == 3,
            }
        )
    return nights


def _use(
    chance: Random, days: list[date], tiers: Counter[str], rows: Iterable[list[Any]]
) -> dict[str, Any]:
    missing = {days[11], days[12]}
    used = Counter(row[3] for row in rows if row[13])
    of_tiers = []
    for tier, (_, _, per_day) in _TIERS.items():
        by_day = [
            None
            if day in missing
            else int(tiers[tier] * per_day * (1 + 0.2 * sin(number / 4) + 0.1 * chance.random()))
            // (3 if day.weekday() > 4 else 1)
            for number, day in enumerate(days)
        ]
        of_tiers.append(
            {
                "tier": tier,
                "keys": tiers[tier],
                "used_keys": used[tier],
                "requests": sum(number or 0 for number in by_day),
                "by_day": by_day,
            }
        )
    owners = [
        {
            "owner": f"user-{chance.randrange(16**6):06x}" if number != 3 else None,
            "keys": chance.randrange(1, 9),
            "used_keys": 1,
            "requests": 4_000_000 // (number + 3),
        }
        for number in range(50)
    ]
    owners[5]["owner"] = HOSTILE[0]
    return {
        "days": [str(day) for day in days],
        "missing": sorted(str(day) for day in missing),
        "tiers": of_tiers,
        "owners": owners,
        "owners_total": 5210,
        "owners_used": 3904,
        "owners_unknown": 12,
        "stages": _stages(of_tiers),
    }


def _stages(tiers: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A stage for each tier's plan, and one that two plans open, with what they share."""
    stages = [
        {
            "stage": f"a1b2c3d4e{number}:prod",
            "api": HOSTILE[0] if number == 1 else f"{tier['tier']} API",
            "plans": [_TIERS[tier["tier"]][0]],
            "keys": tier["keys"],
            "used_keys": tier["used_keys"],
            "requests": tier["requests"],
            "shared_requests": 0,
        }
        for number, tier in enumerate(tiers)
    ]
    both = {
        "stage": "z9y8x7w6v5:v2",
        "api": None,
        "plans": ["p3partners", "p5trialx00"],
        "keys": 12,
        "used_keys": None,
        "requests": None,
        "shared_requests": 48_213,
    }
    return [*stages, both]


def _regret(rows: list[list[Any]]) -> dict[str, Any]:
    """Three keys that came back, one of them from parking and one of them used since."""
    keys = [
        {
            "key_id": row[0],
            "name": row[1],
            "owner": row[2],
            "tier": "external",
            "was": "parked" if number == 0 else "disabled",
            "parked_on": str(DATE - DAY * 9) if number == 0 else None,
            "back_on": str(DATE - DAY * (number + 2)),
            "back_by": ("restored", "renewed", "enabled")[number],
            "used_since": (True, False, None)[number],
        }
        for number, row in enumerate(rows[:3])
    ]
    return {"since": str(DATE - DAY * 29), "taken": 214, "back": 3, "percent": 1.4, "keys": keys}


def _inactivity(rows: list[list[Any]]) -> dict[str, Any]:
    """Two keys beyond what their tier declares, one of them with what others wrote for its name."""
    found = [
        [*row[:4], 30, 88 - number, row[7], row[9], why, row[6]]
        for number, (row, why) in enumerate(zip(rows[:2], ("unknown", "held"), strict=False))
    ]
    return {
        "declared": {"external": 30},
        "keys": len(found),
        "why": dict(Counter(row[8] for row in found)),
        "columns": list(INACTIVITY_COLUMNS),
        "rows": found,
    }


def _near(chance: Random, number: int) -> dict[str, Any]:
    remaining = 0 if number < 3 else number * 310 + 47
    return {
        "key_id": _key_id(chance),
        "name": HOSTILE[0] if number == 1 else f"{chance.choice(_PRODUCTS)} import job {number}",
        "owner": None if number == 2 else f"user-{chance.randrange(16**6):06x}",
        "tier": "external",
        "usage_plan_id": "p1external",
        "plan": "external",
        "limit": 50_000,
        "period": "MONTH",
        "used": 50_000 - remaining,
        "remaining": remaining,
        "runs_out_on": str(DATE if not remaining else DATE + DAY * (1 + number // 4)),
        "resets_on": str(date(DATE.year, 12, 1)),
    }


def _findings(rows: list[list[Any]]) -> list[dict[str, Any]]:
    ids = [row[0] for row in rows]
    return [
        {
            "kind": "keys_in_no_plan",
            "what": "412 keys are in no usage plan",
            "why": "They open nothing: a method that requires a key takes it only through a plan.",
            "slots": 412,
            "command": f"aws apigateway create-usage-plan-key --usage-plan-id PLAN_ID "
            f"--key-type API_KEY --key-id {ids[0]}",
            "about": ids[:412],
        },
        {
            "kind": "keys_that_guard_nothing",
            "what": "37 keys are in plans whose stages have no method that requires a key",
            "why": "Whoever calls these stages gets in without a key: the keys take slots and guard "
            "nothing.",
            "slots": 37,
            "command": "aws apigateway update-method --rest-api-id a1b2c3d4e5 --resource-id "
            "abc123 --http-method GET --patch-operations "
            "op=replace,path=/apiKeyRequired,value=true",
            "about": ids[100:137],
        },
        {
            "kind": "plans_without_limits",
            "what": "The plan weather 2019 (old) has neither throttle nor quota",
            "why": "One client can use up the account's 10,000 requests a second.",
            "slots": 0,
            "command": "aws apigateway update-usage-plan --usage-plan-id p4oldweath "
            "--patch-operations op=replace,path=/throttle/rateLimit,value=10 "
            "op=replace,path=/throttle/burstLimit,value=20",
            "about": ["p4oldweath"],
        },
        {
            "kind": "shared_names",
            "what": f"3 keys are called {HOSTILE[0]}",
            "why": "Nobody can tell them apart by name.",
            "slots": 0,
            "command": None,
            "about": ["gone000001", ids[0], "gone000002"],
        },
    ]


def _key_id(chance: Random) -> str:
    return "".join(chance.choices("abcdefghijklmnopqrstuvwxyz0123456789", k=10))


def write(file: str) -> None:
    """Writes the page of 9,120 keys to `file`, its names as people give them."""
    Path(file).write_bytes(render(a_report(9_120, hostile=False)))


if __name__ == "__main__":
    write(sys.argv[1])
