"""What is published to the alert topic, for a person to read and for a program."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from keyjanitor import __version__
from keyjanitor.domain.expiry import alert_text as alerts
from keyjanitor.domain.expiry.safety_brake import Brake, Cause, CauseCount
from keyjanitor.domain.model.alert import PARTS, Alert, Draft, Place, Typed, Wait, chat, noon
from keyjanitor.domain.model.keys import SweepAction
from tests.builders import (
    CONTACT,
    DAY,
    PLACE,
    TODAY,
    a_disabled_row,
    a_policy,
    a_tier,
    a_warned_row,
    in_days,
    unclaimed,
)

POLICY = a_policy(a_tier(), a_tier("partners", contact="partners@example.org"), unclaimed())


COMMON = {
    "date": "2026-11-21",
    "account": "123456789012",
    "region": "us-east-1",
    "stack": "keyjanitor",
    "version": __version__,
}
LINKS = {
    "console": "https://console.aws.amazon.com/apigateway/main/api-keys?region=us-east-1",
    "dashboard": "https://console.aws.amazon.com/cloudwatch/home?region=us-east-1"
    "#dashboards/dashboard/keyjanitor",
    "report": "https://console.aws.amazon.com/s3/object/keyjanitor-historybucket-1a2b3c4d5e6f"
    "?region=us-east-1&prefix=reports/latest/index.html",
}


def digest(*args: Any, **more: Any) -> Alert:
    return alerts.expiring(*args, **more).at(PLACE)


def subject(what: str) -> str:
    return f"keyjanitor: {what} (123456789012 us-east-1 keyjanitor {__version__})"


def keys_named(told: Alert) -> list[str]:
    """The lines about keys, whose ids are k and a number here."""
    return [line for line in told.text.splitlines() if re.match(r"  k\d", line)]


def test_the_warnings_of_a_night_are_one_digest_by_tier_and_contact() -> None:
    warned = [
        a_warned_row("k2", disable_in=14, reason="never used"),
        a_warned_row("k3", disable_in=7, tier="partners", owner="user-8f1c"),
        a_warned_row("k1", disable_in=14),
    ]
    told = digest(TODAY, warned, POLICY)
    assert (told.kind, told.severity, told.subject) == (
        "expiring",
        "info",
        subject("3 keys warned, first on 2026-11-28"),
    )
    assert told.form == {
        "kind": "expiring",
        "severity": "info",
        **COMMON,
        "what": "3 keys warned on 2026-11-21. The first is disabled on 2026-11-28, unless it is used.",
        "wait_until": "2026-11-28T00:00:00Z",
        "wait": "Can wait until 2026-11-28 00:00 UTC: from then on the first of them may be disabled.",
        "command": "keyjanitor plan --stack keyjanitor --region us-east-1",
        "links": {**LINKS, "runbook": "docs/runbook.md#keys-were-warned-expiring"},
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
    assert "  keyjanitor hold '<WHY>' --stack keyjanitor --region us-east-1" in lines


def test_the_first_three_lines_say_what_until_when_and_what_to_type_and_then_where() -> None:
    told = digest(TODAY, [a_warned_row("k1", disable_in=14)], POLICY)
    form = told.form
    assert told.text.splitlines()[:9] == [
        form["what"],
        form["wait"],
        form["command"],
        "",
        f"Account 123456789012, Region us-east-1, stack keyjanitor, keyjanitor {__version__}",
        f"Console    {LINKS['console']}",
        f"Dashboard  {LINKS['dashboard']}",
        "Runbook    docs/runbook.md#keys-were-warned-expiring",
        f"Report     {LINKS['report']}",
    ]


def test_a_warning_before_parking_is_told_with_its_date() -> None:
    told = digest(TODAY, [a_disabled_row(park_in=9)], POLICY)
    [tier] = told.form["tiers"]
    assert tier["keys"][0]["park_on"] == str(in_days(9))
    assert "The first is parked on 2026-11-30" in told.text


def test_the_order_in_which_keys_were_warned_makes_no_difference() -> None:
    warned = [a_warned_row(f"k{n}", disable_in=14 - n % 3) for n in range(9)]
    assert digest(TODAY, warned, POLICY) == digest(TODAY, warned[::-1], POLICY)


def test_of_the_keys_of_a_contact_those_that_are_disabled_first_come_first() -> None:
    told = digest(
        TODAY, [a_warned_row("k1", disable_in=14), a_warned_row("k2", disable_in=7)], POLICY
    )
    assert [key["key_id"] for key in told.form["tiers"][0]["keys"]] == ["k2", "k1"]


def test_a_contact_is_told_the_first_forty_and_where_the_rest_is() -> None:
    warned = [a_warned_row(f"k{n:03}", disable_in=14) for n in range(42)]
    told = digest(TODAY, warned, POLICY)
    named = keys_named(told)
    assert len(named) == 40
    assert "  and 2 more: in the report, and with" in told.text.splitlines()
    assert "All of them: keys/dt=2026-11-21/keys.jsonl.gz" in told.text
    assert len(told.form["tiers"][0]["keys"]) == 42


def test_a_name_cannot_forge_a_line_nor_flood_the_mail() -> None:
    forged = a_warned_row("k1", name="x\n  k9  2026-11-22  forged", owner="a\r\nb")
    long = a_warned_row("k2", name="y" * 1024)
    told = digest(TODAY, [forged, long], POLICY)
    named = keys_named(told)
    assert named == [
        "  k1  2026-11-21  x k9 2026-11-22 forged, owner a b: idle",
        f"  k2  2026-11-21  {'y' * 47}…: idle",
    ]


def test_what_somebody_wrote_shows_in_a_mail_and_links_to_nothing() -> None:
    warned = [
        a_warned_row("k1", name="https://evil.example/aws-login", owner="urgent: verify"),
        a_warned_row("k2", name="\u202egnissap", owner="a\x1b[2Jb\x00", reason="tag x=\u202ey"),
    ]
    told = digest(TODAY, warned, POLICY)
    assert keys_named(told) == [
        "  k1  2026-11-21  https[:]//evil[.]example/aws-login, owner urgent: verify: idle",
        "  k2  2026-11-21  \\u202egnissap, owner a\\x1b[2Jb\\x00: tag x=\\u202ey",
    ]
    braked = a_brake(samples=["k1  a\u202e.evil.org"], names={"plan1": "go to https://evil.org"})
    assert "evil.org" not in braked.text
    assert "  k1  a\\u202e[.]evil[.]org" in braked.text.splitlines()


def test_a_key_without_a_name_has_none() -> None:
    told = digest(TODAY, [a_warned_row("k1", name=" ")], POLICY)
    assert "  k1  2026-11-21  (no name): idle" in told.text.splitlines()


def test_a_tier_that_is_no_more_has_no_contact() -> None:
    told = digest(TODAY, [a_warned_row(tier="gone")], POLICY)
    assert "Tier gone, contact (none): 1 key" in told.text.splitlines()


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
    return alerts.brake(TODAY, brake, DUE, "0123456789abcdef", samples, names).at(PLACE)


def test_the_brake_tells_how_many_why_how_to_look_and_what_to_type() -> None:
    told = a_brake()
    assert (told.kind, told.severity, told.subject) == (
        "brake",
        "warning",
        subject("brake on, 1,200 keys, none touched"),
    )
    assert told.form == {
        "kind": "brake",
        "severity": "warning",
        **COMMON,
        "what": "Safety brake on: 1,200 keys are newly past the idle limit on 2026-11-21. No key was "
        "warned, disabled or parked.",
        "wait_until": "2026-11-28T12:00:00Z",
        "wait": "Can wait until 2026-11-28 12:00 UTC: keys wait and no slot is freed, night after "
        "night, until you approve it or the cause is gone.",
        "command": "keyjanitor plan --stack keyjanitor --region us-east-1",
        "links": {**LINKS, "runbook": "docs/runbook.md#the-brake-is-on-brake"},
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
        "They were not past it on 2026-11-20",
        "1,190 of them count for 2026-11-21 alone",
        "Usual are 12 a night; 500 may be warned on one date",
        " 1,180  idle limit set or lowered by an edit of the policy",
        "900 in usage plan plan1 external",
        "  k1  idle",
        "those that are still due are carried out until\n24:00 UTC of the date on which you approve",
        "  keyjanitor approve 0123456789abcdef --stack keyjanitor --region us-east-1",
        "  keyjanitor hold '<WHY>' --stack keyjanitor --region us-east-1",
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
        digest(TODAY, [a_warned_row(f"k{n}") for n in range(9999)], POLICY).subject,
        a_brake(10_000).subject,
    ]
    assert all(subject.isascii() and len(subject) < 100 for subject in subjects)


def a_draft(headline: str = "what happened", **more: Any) -> Draft:
    wait = Wait(noon(TODAY, 1), "nothing breaks.")
    values: dict[str, Any] = {"lines": (), "form": {}, **more}
    return Draft("brake", "warning", TODAY, headline, "What happened.", wait, "plan", **values)


def test_a_subject_keeps_its_place_when_what_happened_is_long() -> None:
    place = replace(PLACE, region="ap-southeast-2", stack="a-stack-whose-name-is-rather-long")
    subject = a_draft("h" * 200).at(place).subject
    where = f" (123456789012 ap-southeast-2 a-stack-whose-name-i {__version__})"
    assert subject.startswith("keyjanitor: hhhh")
    assert subject.endswith(where)
    assert len(subject) == 99


def test_commands_name_the_stack_and_the_region_that_the_alert_is_about() -> None:
    place = replace(PLACE, stack="kj-prod", region="eu-west-1")
    lines = [
        Typed("keyjanitor approve 0123456789abcdef"),
        Typed("aws sns subscribe --topic-arn TOPIC_ARN"),
        Typed("sam logs --stack-name STACK"),
        Typed("sam build && sam deploy"),
        "STACK and TOPIC_ARN in a sentence",
    ]
    assert a_draft(lines=lines).at(place).text.splitlines()[10:] == [
        "  keyjanitor approve 0123456789abcdef --stack kj-prod --region eu-west-1",
        f"  aws sns subscribe --topic-arn {PLACE.topic_arn} --region eu-west-1",
        "  sam logs --stack-name kj-prod --region eu-west-1",
        "  sam build && sam deploy",
        "STACK and TOPIC_ARN in a sentence",
    ]


@pytest.mark.parametrize(
    ("partition", "region", "host"),
    [
        ("aws", "eu-west-1", "console.aws.amazon.com"),
        ("aws-cn", "cn-north-1", "console.amazonaws.cn"),
        ("aws-us-gov", "us-gov-west-1", "console.amazonaws-us-gov.com"),
        ("aws-eusc", "eusc-de-east-1", "console.amazonaws-eusc.eu"),
    ],
)
def test_links_go_to_the_console_of_the_partition(partition: str, region: str, host: str) -> None:
    arn = f"arn:{partition}:sns:{region}:123456789012:alerts"
    links = Place.of(arn, "kj", "1.0.0", "bucket", "https://wiki.example.org/rb").links("brake")
    assert links == {
        "console": f"https://{host}/apigateway/main/api-keys?region={region}",
        "dashboard": f"https://{host}/cloudwatch/home?region={region}#dashboards/dashboard/kj",
        "runbook": f"https://wiki.example.org/rb#{PARTS['brake']}",
        "report": f"https://{host}/s3/object/bucket?region={region}&prefix=reports/latest/index.html",
    }


def test_what_cannot_wait_says_so_with_the_time_of_the_count() -> None:
    now = datetime(2026, 11, 21, 3, 40, tzinfo=UTC)
    assert Wait(now, "Keys are gone.", at_once=True).line == (
        "Cannot wait: act now (2026-11-21 03:40 UTC). Keys are gone."
    )
    assert Wait(None, "Nothing is to be done.").line == "Nothing is to be done."


def test_a_chat_channel_gets_what_until_when_what_to_type_and_no_text_of_others() -> None:
    warned = a_warned_row("k1", name="@channel <https://evil.example|click>", owner="*urgent*")
    alert = digest(TODAY, [warned], POLICY)
    said = chat(alert)
    assert said == {
        "version": "1.0",
        "source": "custom",
        "content": {
            "textType": "client-markdown",
            "title": alert.subject,
            "description": "\n".join(
                [
                    alert.form["what"],
                    alert.form["wait"],
                    "",
                    *(f"{name}: {link}" for name, link in alert.form["links"].items()),
                ]
            ),
            "nextSteps": ["`keyjanitor plan --stack keyjanitor --region us-east-1`"],
            "keywords": ["expiring", "info", "123456789012", "us-east-1"],
        },
        "metadata": {
            "threadId": "keyjanitor-123456789012-us-east-1-expiring",
            "summary": alert.form["what"],
            "eventType": "expiring",
            "additionalContext": {**COMMON, "severity": "info"},
        },
    }
    assert not any(text in json.dumps(said) for text in ("evil", "@channel", "urgent"))


def test_an_alert_that_an_earlier_release_wrote_down_reaches_a_chat_channel_too() -> None:
    said = chat(Alert("level", "warning", "keyjanitor: 90% reached", "text", {"kind": "level"}))
    assert said["content"]["title"] == said["metadata"]["summary"] == "keyjanitor: 90% reached"
    assert said["content"]["nextSteps"] == []
