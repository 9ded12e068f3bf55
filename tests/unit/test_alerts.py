"""What is published to the alert topic, for a person to read and for a program."""

from keyjanitor import alerts
from keyjanitor.plan import Brake
from keyjanitor.words import Verb
from tests.builders import (
    CONTACT,
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
        a_warned_row("k2", disable_in=14, because="never used"),
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
        a_warned_row("k2", name="\u202egnissap", owner="a\x1b[2Jb\x00", because="tag x=\u202ey"),
    ]
    told = alerts.expiring(TODAY, warned, POLICY)
    assert [line for line in told.text.splitlines() if line.startswith("  k")] == [
        "  k1  2026-11-21  https[:]//evil[.]example/aws-login, owner urgent: verify: idle",
        "  k2  2026-11-21  \\u202egnissap, owner a\\x1b[2Jb\\x00: tag x=\\u202ey",
    ]
    braked = alerts.brake(
        TODAY, Brake(Verb.PARK, 9, 1), "0123456789abcdef", ["k1  a\u202e.evil.org"]
    )
    assert "  k1  a\\u202e[.]evil[.]org" in braked.text.splitlines()


def test_a_key_without_a_name_has_none() -> None:
    told = alerts.expiring(TODAY, [a_warned_row("k1", name=" ")], POLICY)
    assert "  k1  2026-11-21  (no name): idle" in told.text.splitlines()


def test_a_tier_that_is_no_more_has_no_contact() -> None:
    told = alerts.expiring(TODAY, [a_warned_row(tier="gone")], POLICY)
    assert "Tier gone, contact nobody: 1 key" in told.text.splitlines()


def test_the_brake_tells_how_many_how_to_look_and_what_to_type() -> None:
    told = alerts.brake(TODAY, Brake(Verb.PARK, 1200, 500), "0123456789abcdef", ["k1  idle"])
    assert (told.kind, told.severity, told.subject) == (
        "brake",
        "critical",
        "keyjanitor: brake on, 1200 keys due to be parked, 500 allowed",
    )
    assert told.form == {
        "kind": "brake",
        "severity": "critical",
        "date": "2026-11-21",
        "action": "park",
        "planned": 1200,
        "allowed": 500,
        "digest": "0123456789abcdef",
    }
    for part in (
        "1200 keys are due to be parked",
        "keys/dt=2026-11-21/keys.jsonl.gz",
        "plans/0123456789abcdef.json",
        "  k1  idle",
        '\'{"approve": "0123456789abcdef"}\'',
        '\'{"hold": "why"}\'',
    ):
        assert part in told.text


def test_each_braked_action_has_its_word() -> None:
    subjects = [
        alerts.brake(TODAY, Brake(verb, 60, 20), "0" * 16, ()).subject
        for verb in (Verb.DISABLE, Verb.PARK, Verb.PURGE)
    ]
    assert subjects == [
        f"keyjanitor: brake on, 60 keys due to be {word}, 20 allowed"
        for word in ("disabled", "parked", "purged")
    ]


def test_a_subject_is_short_plain_ascii() -> None:
    subjects = [
        alerts.expiring(TODAY, [a_warned_row(f"k{n}") for n in range(9999)], POLICY).subject,
        alerts.brake(TODAY, Brake(Verb.DISABLE, 10_000, 10_000), "0" * 16, ()).subject,
    ]
    assert all(subject.isascii() and len(subject) < 100 for subject in subjects)
