"""Stories: random accounts and what befalls them, as plain values that can be shortened and told again.

A story is a setup and days; a day is lines for `World.do`. A story mixes a few chapters, each of
which is a way in which things go wrong, for a while.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any

from tests.machine.world import ADMIN, PORTAL, RECIPIENT

Line = list[Any]
Day = list[Line]
HABITS = ("daily", "daily", "weekly", "third", "monthly", "burst", "hammer", "none", "none")
DYING = (
    "UpdateApiKey",
    "DeleteApiKey",
    "CreateApiKey",
    "ImportApiKeys",
    "GetApiKey",
    "GetApiKeys",
    "GetUsagePlanKeys",
    "CreateUsagePlanKey",
    "dynamodb.transact_write_items",
    "dynamodb.update_item",
    "dynamodb.put_item",
    "s3.put_object",
    "s3.get_object",
    "events.put_events",
    "sns.publish",
    "kms.encrypt",
    "*",
)


@dataclass
class Story:
    """One account's story."""

    seed: int
    setup: dict[str, Any]
    days: list[Day]
    settle: bool = True

    def to_json(self) -> str:
        return json.dumps(vars(self))

    @classmethod
    def from_json(cls, text: str) -> "Story":
        return cls(**json.loads(text))


def a_policy(rng: Random, *, brisk: bool, big: bool) -> dict[str, Any]:
    """A policy under which much happens within weeks."""
    idle = rng.choice((3, 4, 6, 9) if brisk else (20, 40, 60))
    external: dict[str, Any] = {
        "contact": "api-team@example.org",
        "usage_plans": ["external"],
        "stages": ["api1:prod"],
        "throttle": {"rate_limit": 10, "burst_limit": 20},
        "quota": {"limit": 1000, "period": "DAY"},
        "never_used_days": max(1, idle - rng.choice((0, 1, 2))),
        "idle_days": idle,
        "warn_days": rng.choice((1, 2, 3)),
        "grace_days": rng.choice((1, 2, 3)),
        "retain_days": rng.choice((8, 40, 365)),
        "orphan_days": rng.choice((2, 4)),
        "max_keys_per_owner": 5,
        "senders": [PORTAL],
        "admins": [ADMIN],
        "recipients": [RECIPIENT],
    }
    if big:
        external["max_keys_per_owner"] = 50
    tiers: dict[str, Any] = {
        "unclaimed": {
            "contact": "ops@example.org",
            "idle_days": rng.choice(("never", idle)),
            "warn_days": external["warn_days"],
            "grace_days": external["grace_days"],
            "orphan_days": rng.choice((2, 3)),
            "retain_days": 365,
            "admins": [ADMIN],
        },
        "external": external,
        "partners": {
            "contact": "partners@example.org",
            "usage_plans": ["partners"],
            "idle_days": rng.choice(("never", "never", idle * 3)),
            "warn_days": 2,
            "grace_days": 2,
            "admins": [ADMIN],
        },
    }
    # Whose a key is by a rule touches nothing, whatever happens to the key.
    owners = [{"from": "name", "pattern": "^(?P<owner>[a-z]+)"}]
    policy: dict[str, Any] = {"service_quota": 10_000, "tiers": tiers, "owners": owners}
    if rng.random() < 0.15:
        policy["service_quota"] = 40
        policy["pressure"] = [{"above": 0.6, "idle_factor": 0.5}]
    return policy


def a_setup(rng: Random, *, brisk: bool = True, keys: int | None = None) -> dict[str, Any]:
    """An account: three plans, a busy client in the first two, and keys of all kinds."""
    many = keys or rng.choice((5, 8, 12, 18, 25))
    plans = [
        {"id": "plan1", "name": "external", "stages": ["api1:prod"], "quota": True},
        {"id": "plan2", "name": "partners", "stages": ["api2:prod"], "quota": True},
        {
            "id": "plan3",
            "name": "other",
            "stages": ["api3:prod"],
            "quota": rng.random() < 0.5,
            "metered": rng.random() < 0.8,
        },
    ]
    made: list[dict[str, Any]] = [
        {"plans": [0], "habit": "busy"},
        {"plans": [1], "habit": "busy"},
    ]
    for number in range(many):
        habit = rng.choice(HABITS)
        if rng.random() < 0.3:
            habit = f"until-{rng.choice((0, 1, 2, 5, 30))}"
        where = rng.choice(([0], [0], [0], [1], [2], [0, 1], []))
        key: dict[str, Any] = {
            "plans": where,
            "habit": habit,
            "age": rng.choice((1, 5, 40, 300, 300)),
            "phase": number,
        }
        if rng.random() < 0.08:
            key["tags"] = rng.choice(
                ({"keyjanitor:keep": "y"}, {"terraform": "1"}, {"team": "web"})
            )
        made.append(key)
    return {
        "policy": a_policy(rng, brisk=brisk, big=many > 30),
        "plans": plans,
        "keys": made,
        "page": rng.choice((2, 4, 100)),
        "mode": rng.choice(("park",) * 7 + ("disable",)),
    }


def a_night(rng: Random) -> Day:
    day: Day = [["pull"], ["sweep"]]
    if rng.random() < 0.3:
        day.append(["sweep"])
    if rng.random() < 0.1:
        day.append(["watch"])
    if rng.random() < 0.05:
        day.append(["report"])
    return day


# --- chapters --------------------------------------------------------------------------------------

Chapter = Callable[[Random, list[Day]], None]


def _span(rng: Random, days: list[Day], longest: int) -> range:
    start = rng.randrange(len(days))
    return range(start, min(len(days), start + rng.randint(1, longest)))


def blind(rng: Random, days: list[Day]) -> None:
    """GetUsage, or the members of a plan, answer badly for a while."""
    kind = rng.choice(("empty", "absent", "refused", "short", "misfit", "misfit", "denied"))
    call = rng.choice(("GetUsage", "GetUsage", "GetUsage", "GetUsagePlanKeys"))
    if call == "GetUsagePlanKeys":
        kind = rng.choice(("absent", "refused"))
    about = rng.choice(("", "plan1", "plan2", "plan3"))
    span = _span(rng, days, rng.choice((1, 3, 30)))
    first = rng.choice((1, 1, 2)) if not about else 1
    days[span.start].insert(0, ["weather", [call, kind, first, 10**9, about]])
    days[span[-1]].append(["clear"])


def empties(rng: Random, days: list[Day]) -> None:
    """GetUsage tells nothing from one night on: of a plan, or of all."""
    kind = rng.choice(("empty", "empty", "absent"))
    about = rng.choice(("plan1", "plan1", ""))
    days[rng.randint(1, 4)].insert(0, ["weather", ["GetUsage", kind, 1, 10**9, about]])


def misfits(rng: Random, days: list[Day]) -> None:
    """The days of some keys do not fit, from one night on."""
    days[rng.randint(1, 4)].insert(0, ["weather", ["GetUsage", "misfit"]])


def deaf(rng: Random, days: list[Day]) -> None:
    """Bus, topic or both take nothing for a while, or nobody listens."""
    span = _span(rng, days, rng.choice((2, 8, 30)))
    what = rng.choice(("sns.publish", "events.put_events", "both", "entries", "nobody"))
    calls = {
        "both": ["sns.publish", "events.put_events"],
        "entries": ["PutEvents entry"],
        "nobody": [],
    }.get(what, [what])
    for call in calls:
        days[span.start].insert(0, ["weather", [call, rng.choice(("refused", "denied"))]])
    if what == "entries":
        days[span.start][0][1][1] = "refused"
    if what == "nobody":
        days[span.start].insert(0, ["subscribers", 0])
        days[span[-1]].append(["subscribers", 1])
    days[span[-1]].append(["clear"])


def dying(rng: Random, days: list[Day]) -> None:
    """Runs die at any call, or an answer is lost."""
    for day in days:
        if rng.random() < 0.4:
            index = _sweep_of(day)
            if index is None:
                continue
            call = rng.choice(DYING)
            kind = rng.choice(("die", "die", "die_after", "lost", "refused"))
            nth = rng.randint(1, 60) if call == "*" else rng.choice((1, 1, 2, 3))
            fault = [call, kind, nth, nth]
            which = "pull" if rng.random() < 0.15 else "sweep"
            if which == "pull" and day[0] == ["pull"]:
                day[0] = ["pull", [fault]]
                day.insert(1, ["pull"])
            else:
                day[index] = ["sweep", [fault]]
                if rng.random() < 0.8:
                    day.insert(index + 1, ["sweep"])


def interrupted(rng: Random, days: list[Day]) -> None:
    """Any run dies at any call, or an answer is lost; each time it is run again."""
    for day in days:
        for number in range(len(day) - 1, -1, -1):
            name = day[number][0]
            if name not in ("pull", "sweep") or rng.random() < 0.4:
                continue
            call = rng.choice((*DYING, "*", "*"))
            kind = rng.choice(("die", "die", "die_after", "lost"))
            nth = rng.randint(1, 60) if call == "*" else rng.choice((1, 1, 2, 3))
            day[number : number + 1] = [[name, [[call, kind, nth, nth]]], [name]]


def healed(story: Story) -> Story:
    """The same story without what goes wrong in its runs."""
    days = [[line[:1] if line[0] in ("pull", "sweep") else line for line in d] for d in story.days]
    return replace(story, days=days, settle=False)


def shields(rng: Random, days: list[Day]) -> None:
    """A policy of the organisation denies calls on some keys, for good."""
    call = rng.choice(("UpdateApiKey", "UpdateApiKey", "DeleteApiKey"))
    days[0][:0] = [["shield", rng.randrange(30), call] for _ in range(rng.choice((1, 3, 7, 12)))]


def shielded(rng: Random, days: list[Day]) -> None:
    """Calls on one thing are denied for a while."""
    calls = ("UpdateApiKey", "DeleteApiKey", "kms.encrypt", "kms.decrypt", "s3.put_object")
    call = rng.choice(calls)
    span = _span(rng, days, 12)
    days[span.start].insert(0, ["weather", [call, rng.choice(("denied", "refused"))]])
    days[span[-1]].append(["clear"])


def collisions(rng: Random, days: list[Day]) -> None:
    """Keys of two plans are parked, and then both plans open one stage."""
    days[0].insert(0, ["policy", ["tiers", "partners", "idle_days"], 3])
    days[0].insert(1, ["attach", rng.randrange(3, 9), 1])
    days[-1].append(["plan_stages", 1, ["api2:prod", "api1:prod"]])


def returns(rng: Random, days: list[Day]) -> None:
    """Old keys that were parked come back, again and again."""
    terms = {"never_used_days": 1, "idle_days": 6, "warn_days": 1, "grace_days": 1}
    days[0][:0] = [["policy", ["tiers", "external", name], n] for name, n in terms.items()]
    days[0][:0] = [["old", 0], ["old", 0]]
    for at in (rng.randint(4, 7), rng.randint(9, 11)):
        days[at] += [["restore_all"], ["serve"], ["wait", 40], ["serve"]]


def others(rng: Random, days: list[Day]) -> None:
    """Other people work on keys, by day and in the very minute of a call."""
    for day in days:
        if rng.random() < 0.4:
            what = rng.choice(
                ("disable", "enable", "delete", "rename", "keep", "own", "detach", "unkeep")
            )
            day.append([what, rng.randrange(40)])
        if rng.random() < 0.35:
            day.append(["move", rng.randrange(40), rng.randrange(4)])
        if rng.random() < 0.2:
            day.append(["new", rng.choice(HABITS), rng.randrange(4)])
        if rng.random() < 0.3:
            index = _sweep_of(day)
            if index is not None and len(day[index]) == 1:
                call = rng.choice(("UpdateApiKey", "DeleteApiKey", "GetApiKey", "kms.encrypt"))
                what = rng.choice(
                    ("disable", "enable", "delete", "rename", "keep", "detach", "move")
                )
                about: Any = "it" if "Api" in call else rng.randrange(20)
                op = [what, about, *([rng.randrange(4)] if what == "move" else [])]
                day[index] = ["sweep", [], 0, [call, rng.choice((1, 1, 2, 3)), op]]


def thieves(rng: Random, days: list[Day]) -> None:
    """Runs die right before they touch a key, and others disable it then; an undo follows."""
    for day in days:
        index = _sweep_of(day)
        if index is not None and rng.random() < 0.5:
            nth = rng.choice((1, 1, 2))
            call = rng.choice(("UpdateApiKey", "UpdateApiKey", "DeleteApiKey"))
            op = [rng.choice(("disable", "disable", "rename", "keep")), "it"]
            day[index] = ["sweep", [[call, "die", nth, nth]], 0, [call, nth, op]]
            if rng.random() < 0.6:
                day[index] = day[index][:2]
                day.insert(index + 1, ["shut_last"])
            day.insert(index + 2, ["sweep"])
        if rng.random() < 0.3:
            day.append(["undo", rng.choice((0, 1)), rng.choice(([], [], [rng.randrange(20)]))])


def moving(rng: Random, days: list[Day]) -> None:
    """Keys change plans between the reading and the sweep."""
    for day in days:
        if rng.random() < 0.6:
            index = _sweep_of(day)
            if index is not None:
                day.insert(index, ["move", rng.randrange(30), rng.randrange(4)])
        if rng.random() < 0.1:
            day.append(["daytime", rng.randrange(30), rng.randrange(3)])


def daytimers(rng: Random, days: list[Day]) -> None:
    """Keys that are in a plan by day only: taken out before each reading."""
    who = [rng.randrange(30) for _ in range(3)]
    plan = rng.randrange(3)
    for number in who:
        days[0].append(["detach", number])
    for day in days:
        day += [["daytime", number, plan] for number in who]


def dates(rng: Random, days: list[Day]) -> None:
    """Missed, double, late and older runs."""
    for day in days:
        index = _sweep_of(day)
        if index is None:
            continue
        luck = rng.random()
        if luck < 0.15:
            del day[index]
        elif luck < 0.25:
            day[:] = [line for line in day if line[0] not in ("pull", "sweep")]
        elif luck < 0.55:
            day.insert(index, ["sweep", [], 1])
            if rng.random() < 0.5:
                day.insert(index, ["use", rng.randrange(30)])
        elif luck < 0.6:
            day.insert(index, ["sweep", [], 0, [], {"mode": "observe"}])
        elif luck < 0.65:
            day.append(["pull", [], 1])


def operators(rng: Random, days: list[Day]) -> None:
    """Holds, their end, undos, approvals."""
    for day in days:
        luck = rng.random()
        if luck < 0.08:
            day.insert(0, ["hold"])
        elif luck < 0.25:
            day.append(["resume"])
        elif luck < 0.4:
            day.append(["undo", rng.choice((0, 1, 1, 2)), rng.choice(([], [], [1], [2, 3]))])
        elif luck < 0.48:
            day.append(["approve"])


def policies(rng: Random, days: list[Day]) -> None:
    """Edits and typos of policy.toml."""
    for day in days:
        if rng.random() < 0.12:
            day.insert(
                0,
                rng.choice(
                    (
                        ["rename_tier", "external", "externl"],
                        ["rename_tier", "partners", "partner"],
                        ["policy", ["tiers", "external", "idle_days"], rng.choice((1, 2, 5))],
                        ["policy", ["tiers", "external", "warn_days"], rng.choice((1, 5))],
                        ["policy", ["tiers", "external", "contact"], None],
                        ["policy", ["tiers", "external", "usage_plans"], ["extrnal"]],
                        ["policy", ["tiers", "external", "idle_days"], "nevr"],
                        ["policy", ["tiers", "unclaimed", "idle_days"], 3],
                        ["plan_rename", rng.randrange(3), "renamed"],
                    )
                ),
            )
            if rng.random() < 0.6:
                later = min(len(days) - 1, days.index(day) + rng.randint(1, 6))
                days[later].insert(0, ["good_policy"])


def typos(rng: Random, days: list[Day]) -> None:
    """A tier that never expires its keys is misspelt in one deploy, and put right in the next."""
    days[0][:0] = [
        ["policy", ["tiers", "external", "idle_days"], "never"],
        ["policy", ["tiers", "unclaimed", "idle_days"], 2],
        ["policy", ["tiers", "unclaimed", "never_used_days"], 2],
    ]
    days[0] += [["ask", 0, "issue", number] for number in range(3)]
    days[0] += [["serve"], ["wait", 40], ["serve"]]
    at = rng.randrange(2, len(days) - 3)
    days[at].insert(0, ["rename_tier", "external", "externl"])
    days[at + rng.randint(1, 3)].insert(0, ["rename_tier", "externl", "external"])


def plans(rng: Random, days: list[Day]) -> None:
    """Plans come and go, lose stages and quota."""
    for day in days:
        if rng.random() < 0.15:
            day.append(
                rng.choice(
                    (
                        ["plan_stages", rng.randrange(3), []],
                        ["plan_stages", rng.randrange(3), ["api1:prod"]],
                        ["plan_stages", rng.randrange(3), ["api2:prod", "api1:prod"]],
                        ["plan_stages", rng.randrange(3), ["api3:prod"]],
                        ["plan_quota", rng.randrange(3), False, False],
                        ["plan_quota", rng.randrange(3), True, True],
                        ["plan_new", "new", ["api4:prod"]],
                        ["plan_delete", rng.randrange(4)],
                        ["attach", rng.randrange(20), rng.randrange(4)],
                    )
                )
            )


def requests(rng: Random, days: list[Day]) -> None:
    """People sign up, rotate, renew, revoke, restore, protect; messages come twice."""
    for day in days:
        for _ in range(rng.choice((0, 1, 1, 2, 3))):
            action = rng.choice(
                ("issue",) * 4
                + ("rotate", "renew", "renew", "revoke", "restore", "restore", "protect", "release")
            )
            more: dict[str, Any] = {}
            if action == "issue" and rng.random() < 0.3:
                more["expires_in"] = rng.randint(1, 12)
            if action == "rotate":
                more["overlap_days"] = rng.choice((0, 1, 3, 7))
            day.append(["ask", rng.choice((0, 0, 1, 1, 2)), action, rng.randrange(60), more])
        if rng.random() < 0.2:
            day.append(["resend", rng.randrange(12), rng.choice((-1, -1, -1, 2))])
        faults = []
        if rng.random() < 0.3:
            call = rng.choice(DYING)
            nth = rng.randint(1, 30) if call == "*" else rng.choice((1, 1, 2))
            faults = [[call, rng.choice(("die", "die_after", "lost", "refused")), nth, nth]]
        day.append(["serve", faults])
        if rng.random() < 0.5:
            day += [["wait", 40], ["serve"]]


def squatting(rng: Random, days: list[Day]) -> None:
    """A stranger takes request ids."""
    for day in days:
        if rng.random() < 0.3:
            day.append(["squat", rng.randrange(6)])
            day.append(["serve"])
            day.append(["ask", 0, "issue", rng.randrange(6)])
            day.append(["serve"])


def letters(rng: Random, days: list[Day]) -> None:
    """Messages become dead letters unseen, and an operator moves them back."""
    for day in days:
        if rng.random() < 0.25:
            day.append(
                [
                    "ask",
                    rng.choice((0, 2, 2)),
                    rng.choice(("issue", "revoke", "renew")),
                    rng.randrange(20),
                ]
            )
            day.append(["dead"])
            day.append(["redrive", rng.choice((0, 1))])
            day.append(["serve"])


def deadly_issues(rng: Random, days: list[Day]) -> None:
    """Issue runs die after their import; sweeps adopt, people disable, admins revoke; it comes back."""
    for index, day in enumerate(days):
        if rng.random() < 0.35:
            day.append(["ask", 0, "issue", rng.randrange(9)])
            call = rng.choice(("GetApiKeys", "ImportApiKeys", "dynamodb.transact_write_items"))
            kind = "die_after" if call == "ImportApiKeys" else "die"
            day.append(["serve", [[call, kind, 1, rng.choice((1, 9))]]])
            if index + 1 < len(days):
                days[index + 1] += [
                    ["ask_newest", rng.choice(("revoke", "revoke", "disable"))],
                    ["serve", [], [], True],
                    ["wait", 40],
                    ["serve"],
                ]


def outages(rng: Random, days: list[Day]) -> None:
    """The APIs are down."""
    longest = rng.choice((3, 8, 12, 24))
    start = rng.randrange(max(1, len(days) - longest))
    span = range(start, min(len(days), start + rng.randint(longest // 2, longest)))
    days[span.start].insert(0, ["outage", True])
    days[span[-1]].append(["outage", False])


def masses(rng: Random, days: list[Day]) -> None:
    """Suddenly far more keys are idle: an edit, or all clients stop."""
    at = rng.randrange(min(8, len(days) - 1), len(days))
    if rng.random() < 0.5:
        days[at].insert(0, ["policy", ["tiers", "external", "idle_days"], 1])
    else:
        days[at].insert(0, ["stop_all"])
    for day in days[at:]:
        if rng.random() < 0.15:
            day.append(["approve"])
        if rng.random() < 0.1:
            day += [["swap_plan"], ["approve"]]


def damaged(rng: Random, days: list[Day]) -> None:
    """Files of the bucket are damaged."""
    for day in days:
        if rng.random() < 0.12:
            what = rng.choice(("tombstones/", "tombstones/", "evidence/", "keys/", "usage/"))
            how = (
                rng.choice(("seal", "cut", "other"))
                if what == "tombstones/"
                else rng.choice(("cut", "other"))
            )
            number = 0 if what == "tombstones/" else rng.choice((-1, -1, rng.randrange(9)))
            day.append(["damage", what, number, how])


def glitches(rng: Random, days: list[Day]) -> None:
    """A list misses a key once; a run dies before its last call on a key."""
    for day in days:
        index = _sweep_of(day)
        if index is not None and rng.random() < 0.4:
            call = rng.choice(("DeleteApiKey", "DeleteApiKey", "UpdateApiKey"))
            die = [call, "die", 1, 1]
            hide = ["GetApiKeys", rng.choice(("hidden", "hidden", "absent", "empty")), 1, 30]
            day[index : index + 1] = [["sweep", [die]], ["sweep", [hide]]]


def tags(rng: Random, days: list[Day]) -> None:
    """The tagging API or CloudFormation fails."""
    span = _span(rng, days, 6)
    call = rng.choice(("GetResources", "DescribeStackResources"))
    days[span.start].insert(0, ["weather", [call, "refused"]])
    days[span[-1]].append(["clear"])
    for day in days[span.start : span[-1] + 1]:
        day.append(["keep", rng.randrange(20)])


def renewed_digests(rng: Random, days: list[Day]) -> None:
    """Keys are renewed between two runs of one date, so that others are warned in the second."""
    for day in days:
        index = _sweep_of(day)
        if index is not None and rng.random() < 0.6:
            day[index + 1 : index + 1] = [
                ["ask", 1, "renew", rng.randrange(60)],
                ["ask", 1, "renew", rng.randrange(60)],
                ["serve"],
                ["sweep"],
            ]


def ends(rng: Random, days: list[Day]) -> None:
    """Warned keys are rotated, or issued with an end; undos come between."""
    days[0].insert(0, ["policy", ["tiers", "external", "warn_days"], rng.choice((2, 6))])
    for day in days:
        if rng.random() < 0.5:
            more = {"overlap_days": rng.randint(0, 2)}
            day.append(["ask", 0, "rotate", 1 + 3 * rng.randrange(9), more])
            day.append(["serve"])
        if rng.random() < 0.3:
            day.append(["ask", 0, "issue", rng.randrange(9), {"expires_in": rng.randint(1, 6)}])
            day.append(["serve"])
        if rng.random() < 0.15:
            day.append(["undo", rng.choice((0, 1)), []])


def leaks(rng: Random, days: list[Day]) -> None:
    """Keys that were warned for idleness are rotated, for they leaked: they end sooner than announced."""
    days[0][:0] = [
        ["policy", ["tiers", "external", "warn_days"], 6],
        ["policy", ["tiers", "external", "never_used_days"], 1],
    ]
    days[0] += [*(["ask", 0, "issue", number] for number in range(3)), ["serve"]]
    for day in days[3:6]:
        day.append(
            ["ask", 0, "rotate", 1 + 3 * rng.randrange(9), {"overlap_days": rng.choice((0, 1))}]
        )
        day.append(["serve"])


CHAPTERS: tuple[Chapter, ...] = (
    blind,
    empties,
    misfits,
    deaf,
    dying,
    interrupted,
    shields,
    shielded,
    collisions,
    returns,
    others,
    thieves,
    moving,
    daytimers,
    dates,
    operators,
    policies,
    typos,
    plans,
    requests,
    squatting,
    letters,
    deadly_issues,
    outages,
    damaged,
    glitches,
    tags,
    ends,
    leaks,
)
BIG: tuple[Chapter, ...] = (masses, renewed_digests)


def calm(seed: int) -> Story:
    """A story of the same seed in which nothing goes wrong but that clients come and go."""
    rng = Random(seed)
    setup = a_setup(rng)
    return _told(seed, rng, setup, [a_night(rng) for _ in range(20)], [])


def write(seed: int, chapter: str = "") -> Story:
    """The story of a seed: of several chapters, or of one (`long` is the story of half a year).

    The story of one chapter stays the same when other chapters are written.
    """
    rng = Random(f"{chapter} {seed}" if chapter else seed)
    named = {one.__name__: one for one in (*CHAPTERS, *BIG)}
    kind = rng.random()
    if chapter == "long" or (not chapter and kind < 0.02):
        return _long(seed, rng)
    if chapter:
        told = [named[chapter]]
    elif kind < 0.08:
        told = [rng.choice(BIG), *rng.sample(CHAPTERS, rng.choice((0, 1)))]
    else:
        told = rng.sample(CHAPTERS, rng.choice((0, 1, 1, 2, 2, 3)))
    if told and told[0] in BIG:
        return _big(seed, rng, told)
    setup = a_setup(rng)
    days = [a_night(rng) for _ in range(rng.choice((12, 16, 20, 30)))]
    story = _told(seed, rng, setup, days, told)
    return replace(story, settle=story.settle or bool(chapter))


def named(name: str) -> Story:
    """The story that a name means: `17`, or `thieves:17`."""
    chapter, _, seed = name.rpartition(":")
    return write(int(seed), chapter)


def _big(seed: int, rng: Random, told: Sequence[Chapter]) -> Story:
    backlog = told[0] is renewed_digests
    setup = a_setup(rng, keys=32 if backlog else rng.choice((70, 90)))
    for key in setup["keys"][2:]:
        key.update(
            plans=[0], habit=rng.choice(("third", "weekly")) if rng.random() < 0.97 else "none"
        )
        key.pop("tags", None)
    setup["policy"]["tiers"]["external"].update(idle_days=9, never_used_days=9)
    days = [a_night(rng) for _ in range(30)]
    for key in setup["keys"][2:50] if backlog or rng.random() < 0.4 else ():
        key["habit"] = "until-30"
    days = days[:12] if backlog else days
    return _told(seed, rng, setup, days, told)


def _long(seed: int, rng: Random) -> Story:
    """Half a year; limits beyond what usage tells of."""
    setup = a_setup(rng, brisk=False, keys=4)
    setup["policy"]["tiers"]["external"].update(idle_days=180, never_used_days=100)
    for key in setup["keys"][2:]:
        key.update(plans=[0], habit=rng.choice(("until-30", "third", "none")), age=300)
    days: list[Day] = [[["pull"], ["sweep"]] for _ in range(230)]
    begins = rng.randrange(5, 30)
    days[begins].insert(
        0, ["weather", ["GetUsage", rng.choice(("refused", "empty")), 1, 10**9, "plan1"]]
    )
    days[begins + rng.randint(1, 5)].append(["use", rng.randrange(6)])
    days[begins + rng.randint(92, 100)].insert(0, ["clear"])
    return _told(seed, rng, setup, days, [])


def _told(
    seed: int, rng: Random, setup: dict[str, Any], days: list[Day], chapters: Sequence[Chapter]
) -> Story:
    setup["chapters"] = [chapter.__name__ for chapter in chapters]
    for chapter in chapters:
        chapter(rng, days)
    for day in days:
        day.append(["day"])
    return Story(seed, setup, days, settle=rng.random() < 0.5)


def _sweep_of(day: Day) -> int | None:
    return next((n for n, line in enumerate(day) if line[0] == "sweep"), None)
