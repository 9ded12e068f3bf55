"""What is published to the alert topic, for a person to read and for a program."""

from collections.abc import Mapping, Sequence

from keyjanitor.domain.expiry import alert_text as alerts
from keyjanitor.domain.expiry.safety_brake import Brake, Cause, CauseCount
from keyjanitor.domain.model.alert import Alert
from keyjanitor.domain.model.keys import SweepAction
from tests.builders import (
    CONTACT,
    DAY,
    TODAY,
    a_disabled_row,
    a_policy,
    a_tier,
    a_warned_row,
    in_days,
    unclaimed,
)

POLICY = a_policy(a_tier(), a_tier("partners", contact="partners@example.org"), unclaimed())


def test_the_warnings_of_a_night_are_one_digest_by_tier_and_contact() -> None:
    warned = [
        a_warned_row("k2", disable_in=14, reason="never used"),
        a_warned_row("k3", disable_in=7, tier="partners", owner="user-8f1c"),
        a_warned_row("k1", disable_in=14),
    ]
    told = alerts.expiring(TODAY, warned, POLICY)
    assert (told.kind, told.severity, told.subject) == (
        "expiring",
        "info",
        f"keyjanitor: 3 keys warned, first disabled on {in_days(7)}",
    )
    assert told.form == {
        "kind": "expiring",
        "severity": "info",
        "date": "2026-11-21",
        "keys": 3,
        "tiers": [
            {
                "tier": "external",
                "contact": CONTACT,
                "keys": [
                    {
                        "key_id": "k1",
                        "owner": None,
                        "name": "name of k1",
                        "reason": "idle",
                        "disable_on": "2026-12-05",
                    },
                    {
                        "key_id": "k2",
                        "owner": None,
                        "name": "name of k2",
                        "reason": "never used",
                        "disable_on": "2026-12-05",
                    },
                ],
            },
            {
                "tier": "partners",
                "contact": "partners@example.org",
                "keys": [
                    {
                        "key_id": "k3",
                        "owner": "user-8f1c",
                        "name": "name of k3",
                        "reason": "idle",
                        "disable_on": "2026-11-28",
                    }
                ],
            },
        ],
    }
    lines = told.text.splitlines()
    assert f"Tier external, contact {CONTACT}: 2 keys" in lines
    assert "Tier partners, contact partners@example.org: 1 key" in lines
    assert "  k3  2026-11-28  name of k3, owner user-8f1c: idle" in lines
    assert any("ExpireKeysFunction" in line and '{"hold": "why"}' in line for line in lines)


def test_a_warning_before_parking_is_told_with_its_date() -> None:
    told = alerts.expiring(TODAY, [a_disabled_row(park_in=9)], POLICY)
    [tier] = told.form["tiers"]
    assert tier["keys"][0]["park_on"] == str(in_days(9))


def test_the_order_in_which_keys_were_warned_makes_no_difference() -> None:
    warned = [a_warned_row(f"k{n}", disable_in=14 - n % 3) for n in range(9)]
    assert alerts.expiring(TODAY, warned, POLICY) == alerts.expiring(TODAY, warned[::-1], POLICY)


def test_of_the_keys_of_a_contact_those_that_are_disabled_first_come_first() -> None:
    told = alerts.expiring(
        TODAY, [a_warned_row("k1", disable_in=14), a_warned_row("k2", disable_in=7)], POLICY
    )
    assert [key["key_id"] for key in told.form["tiers"][0]["keys"]] == ["k2", "k1"]


def test_a_contact_is_told_the_first_forty_and_where_the_rest_is() -> None:
    warned = [a_warned_row(f"k{n:03}", disable_in=14) for n in range(42)]
    told = alerts.expiring(TODAY, warned, POLICY)
    named = [line for line in told.text.splitlines() if line.startswith("  k")]
    assert len(named) == 40
    assert "and 2 more: see keys/dt=2026-11-21/keys.jsonl.gz" in told.text
    assert len(told.form["tiers"][0]["keys"]) == 42


def test_a_name_cannot_forge_a_line_nor_flood_the_mail() -> None:
    forged = a_warned_row("k1", name="x\n  k9  2026-11-22  forged", owner="a\r\nb")
    long = a_warned_row("k2", name="y" * 1024)
    told = alerts.expiring(TODAY, [forged, long], POLICY)
    named = [line for line in told.text.splitlines() if line.startswith("  k")]
    assert named == [
        "  k1  2026-11-21  x k9 2026-11-22 forged, owner a b: idle",
        f"  k2  2026-11-21  {'y' * 47}…: idle",
    ]


def test_what_somebody_wrote_shows_in_a_mail_and_links_to_nothing() -> None:
    warned = [
        a_warned_row("k1", name="https://evil.example/aws-login", owner="urgent: verify"),
        a_warned_row("k2", name="\u202egnissap", owner="a\x1b[2Jb\x00", reason="tag x=\u202ey"),
    ]
    told = alerts.expiring(TODAY, warned, POLICY)
    assert [line for line in told.text.splitlines() if line.startswith("  k")] == [
        "  k1  2026-11-21  https[:]//evil[.]example/aws-login, owner urgent: verify: idle",
        "  k2  2026-11-21  \\u202egnissap, owner a\\x1b[2Jb\\x00: tag x=\\u202ey",
    ]
    braked = a_brake(samples=["k1  a\u202e.evil.org"], names={"plan1": "go to https://evil.org"})
    assert "evil.org" not in braked.text
    assert "  k1  a\\u202e[.]evil[.]org" in braked.text.splitlines()


def test_a_key_without_a_name_has_none() -> None:
    told = alerts.expiring(TODAY, [a_warned_row("k1", name=" ")], POLICY)
    assert "  k1  2026-11-21  (no name): idle" in told.text.splitlines()


def test_a_tier_that_is_no_more_has_no_contact() -> None:
    told = alerts.expiring(TODAY, [a_warned_row(tier="gone")], POLICY)
    assert "Tier gone, contact nobody: 1 key" in told.text.splitlines()


DUE = {SweepAction.PARK: 80, SweepAction.PURGE: 0, SweepAction.DISABLE: 280, SweepAction.WARN: 1200}
LOWERED = CauseCount(Cause.LIMIT_LOWERED, 1180, (("plan1", 900), ("plan2", 280)))
NAMES = {"plan1": "external"}
STOPPED = CauseCount(Cause.USE_STOPPED, 20, (("plan1", 20),))


def a_brake(
    new: int = 1200, samples: Sequence[str] = ("k1  idle",), names: Mapping[str, str] = NAMES
) -> Alert:
    brake = Brake(
        new=new,
        worst=1190,
        on=TODAY,
        allowance=500,
        usual=12.0,
        since=TODAY - DAY,
        causes=(LOWERED, STOPPED),
    )
    return alerts.brake(TODAY, brake, DUE, "0123456789abcdef", samples, names)


def test_the_brake_tells_how_many_why_how_to_look_and_what_to_type() -> None:
    told = a_brake()
    assert (told.kind, told.severity, told.subject) == (
        "brake",
        "critical",
        "keyjanitor: brake on, 1200 keys newly past their idle limit, nothing was done",
    )
    assert told.form == {
        "kind": "brake",
        "severity": "critical",
        "date": "2026-11-21",
        "new": 1200,
        "since": "2026-11-20",
        "usual": 12.0,
        "allowance": 500,
        "causes": [
            {
                "cause": "limit_lowered",
                "keys": 1180,
                "plans": [
                    {"usage_plan_id": "plan1", "keys": 900},
                    {"usage_plan_id": "plan2", "keys": 280},
                ],
            },
            {
                "cause": "use_stopped",
                "keys": 20,
                "plans": [{"usage_plan_id": "plan1", "keys": 20}],
            },
        ],
        "due": {"park": 80, "purge": 0, "disable": 280, "warn": 1200},
        "digest": "0123456789abcdef",
    }
    for part in (
        "On 2026-11-21 1,200 keys are past the idle limit that were not on 2026-11-20",
        "1,190 of them count for 2026-11-21 alone",
        "Usual are 12 a night; 500 may be warned on one date",
        " 1,180  idle limit set or lowered by an edit of the policy",
        "900 in usage plan plan1 external",
        "keys/dt=2026-11-21/keys.jsonl.gz",
        "plans/0123456789abcdef.json",
        "  k1  idle",
        "exactly those that are still due",
        '\'{"approve": "0123456789abcdef"}\'',
        '\'{"hold": "why"}\'',
    ):
        assert part in told.text


def test_an_approval_is_told_with_every_kind_of_step_deletions_first() -> None:
    lines = a_brake().text.splitlines()
    found = [line.split()[:4] for line in lines if " to be " in line and line.startswith("  ")]
    assert found == [
        ["80", "to", "be", "parked:"],
        ["280", "to", "be", "disabled"],
        ["1,200", "to", "be", "warned"],
    ]


def test_a_subject_is_short_plain_ascii() -> None:
    subjects = [
        alerts.expiring(TODAY, [a_warned_row(f"k{n}") for n in range(9999)], POLICY).subject,
        a_brake(10_000).subject,
    ]
    assert all(subject.isascii() and len(subject) < 100 for subject in subjects)
