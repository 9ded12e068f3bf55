"""The audit folder of a month: made of a lived month, verified as an auditor does, and held against the events."""

import csv
import io
import json
import subprocess
from collections import Counter
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from keyjanitor.adapters.audit_log import AuditLog
from keyjanitor.adapters.history_bucket import HistoryBucket
from keyjanitor.errors import AccessDenied
from keyjanitor.services.publish_report.audit import write_audit_folder
from keyjanitor.services.publish_report.gather import Adapters, Place
from tests.account import BUSY, Account, Call, Killed, Logs
from tests.builders import DAY
from tests.requesting import (
    an_asking_policy,
    issue,
    protect,
    release,
    renew,
    restore,
    revoke,
)

AccountMaker = Callable[..., Account]
FIRST = date(2026, 11, 1)
FIRST_OF_NEXT = date(2026, 12, 1)
FILES = ["actions.csv", "exceptions.csv", "nights.csv", "population.csv", "summary.json"]


def folder(account: Account, month: str = "2026-11") -> dict[str, bytes]:
    """The files of a month's folder, by their names in it."""
    prefix = f"audit/{month}/"
    return {name.removeprefix(prefix): body for name, body in account.objects(prefix).items()}


def table(files: dict[str, bytes], name: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(files[name].decode("utf-8-sig"))))


def summary(files: dict[str, bytes]) -> dict[str, Any]:
    return dict(json.loads(files["summary.json"]))


def verified(files: dict[str, bytes], where: Path) -> subprocess.CompletedProcess[str]:
    """What `sha256sum -c` says of the folder, as it was downloaded."""
    for name, body in files.items():
        (where / name).write_bytes(body)
    return subprocess.run(
        ["sha256sum", "-c", "--strict", "manifest.sha256"],
        cwd=where,
        capture_output=True,
        text=True,
        check=False,
    )


class November:
    """A month of an account: what sweeps and requests do in it, and what API Gateway held at its end."""

    def __init__(self, an_account: AccountMaker, **more: Any) -> None:
        self.account = an_account(today=FIRST, policy=an_asking_policy(max_protect_days=90), **more)
        self.values = [
            self.account.key("idle1", idle=70),
            self.account.key("idle2", idle=80, name='=HYPERLINK("https://example.org")'),
            self.account.key("kept", idle=70, tags={"keyjanitor:keep": ""}),
            self.account.key("terraform", idle=70, tags={"terraform": "yes"}),
            self.account.key("guarded", idle=70),
            self.account.key("freed", idle=70),
        ]
        self.at_end: dict[
            str, bool
        ] = {}  # whether each key that lived at the month's end was enabled
        for number in range(1, 31):
            self._live(number)
            if number == 30:
                self.at_end = {
                    key.key_id: key.enabled for key in self.account.gateway.living.values()
                }
                self.until = len(self.account.logged)
            self.account.pass_day()

    def _live(self, day: int) -> None:
        account = self.account
        account.night()
        match day:
            case 1:
                account.invoke(
                    protect("guarded", FIRST + DAY * 80), protect("freed", FIRST + DAY * 60)
                )
            case 3:
                account.ask(issue(1), issue(2), issue(3))
            case 6:
                account.invoke(restore("idle1"), renew("guarded"))
                account.ask(issue(9, tier="none"))
            case 8:
                account.ask(revoke(self._key(1)))
            case 10:
                account.invoke(release("freed"))
            case 20:
                account.sweep(hold="a campaign")
            case 22:
                account.sweep(resume=True)
            case 29:
                account.ask(issue(5))
            case 30:  # after the month's last sweep
                account.ask(issue(4), revoke(self._key(5)))
            case _:
                pass  # a day like the others

    def _key(self, number: int) -> str:
        return str(self.account.answers(f"issue-{number}")[0][1]["key_id"])

    @property
    def events(self) -> list[dict[str, Any]]:
        """The events of the month as the bus took them."""
        return self.account.logged[: self.until]


@pytest.fixture
def november(an_account: AccountMaker) -> November:
    return November(an_account)


def test_the_folder_is_written_on_the_first_run_of_the_next_month_and_verifies(
    november: November, tmp_path: Path
) -> None:
    account = november.account
    assert account.today == FIRST_OF_NEXT
    assert folder(account) == {}
    account.night()
    answer = account.publish()
    assert answer["audit"] == f"s3://{account.bucket}/audit/2026-11/manifest.sha256"
    files = folder(account)
    assert sorted(files) == sorted([*FILES, "manifest.sha256"])
    checked = verified(files, tmp_path)
    assert (checked.returncode, checked.stderr) == (0, "")
    assert checked.stdout.splitlines() == [f"{name}: OK" for name in FILES]
    (tmp_path / "population.csv").write_bytes(files["population.csv"] + b"one more\r\n")
    assert verified({}, tmp_path).returncode == 1


def test_every_number_agrees_with_the_events(november: November) -> None:
    november.account.night()  # of the next month, whose events are none of this folder's
    november.account.publish()
    files = folder(november.account)
    told = summary(files)
    types = Counter(event["detail-type"] for event in november.events)
    refused = types.pop("Key Request Refused")
    assert min(types[one] for one in ("Key Expiring", "Key Disabled", "Key Parked")) > 0
    assert (told["actions"], told["refused"]) == (dict(types), refused)
    assert told["events"] == len(november.events)
    assert (told["repeated"], told["unreadable"]) == (0, 0)
    rows = table(files, "actions.csv")
    assert [(row["event_id"], row["action"], row["key_id"], row["time"]) for row in rows] == [
        (event["id"], event["detail-type"], event["detail"]["key_id"], event["time"])
        for event in sorted(november.events, key=lambda one: (one["time"], one["id"]))
        if event["detail-type"] != "Key Request Refused"
    ]
    nights = table(files, "nights.csv")
    assert [row["date"] for row in nights] == [str(FIRST + DAY * n) for n in range(30)]
    assert sum(int(row["parked"] or 0) for row in nights) == types["Key Parked"]
    assert sum(int(row["revoked"] or 0) for row in nights) == types["Key Revoked"]
    assert told["nights_swept"] == sum(row["swept"] == "yes" for row in nights)


def test_the_population_is_what_api_gateway_held_at_the_months_end(november: November) -> None:
    november.account.night()
    november.account.publish()
    files = folder(november.account)
    rows = {row["key_id"]: row for row in table(files, "population.csv")}
    assert {one: row["enabled"] == "yes" for one, row in rows.items()} == november.at_end
    told = summary(files)["population"]
    assert told["as_of"] == "2026-11-30"
    assert (told["keys"], told["enabled"]) == (len(rows), sum(november.at_end.values()))
    assert told["states"] == dict(Counter(row["state"] for row in rows.values()))
    assert told["tiers"] == dict(Counter(row["tier"] for row in rows.values()))
    assert rows[BUSY]["last_used"] == "2026-11-29"
    # After the sweep of the last day one key was issued and one revoked: events say so.
    issued = november.account.answers("issue-4")[0][1]["key_id"]
    assert (rows[issued]["owner"], rows[issued]["seen_on"]) == ("owner-4", "")
    assert november.account.answers("issue-5")[0][1]["key_id"] not in rows


def test_exceptions_say_who_asked_and_until_when(november: November) -> None:
    account = november.account
    account.night()
    account.publish()
    rows = table(folder(account), "exceptions.csv")
    asked = {
        event["detail"]["key_id"]: event
        for event in november.events
        if event["detail-type"] == "Key Protected"
    }
    guarded = asked["guarded"]
    assert {
        (row["kind"], row["key_id"], row["until"], row["requested_by"], row["event_id"])
        for row in rows
    } == {
        ("keep_tag", "kept", "", "", ""),
        ("owned_elsewhere", "terraform", "", "", ""),
        (
            "protected_until",
            "guarded",
            "2027-01-20",
            guarded["detail"]["requested_by"],
            guarded["id"],
        ),
    }
    # The next folder knows from this one who asked: the event is not of its month.
    for _ in range(31):
        account.pass_day()
        account.night()
    account.publish()
    later = table(folder(account, "2026-12"), "exceptions.csv")
    assert [row for row in later if row["key_id"] == "guarded"] == [
        row for row in rows if row["key_id"] == "guarded"
    ]


def test_a_hold_is_an_exception_with_its_reason(november: November) -> None:
    november.account.sweep(hold="payments move")
    november.account.night()
    november.account.publish()
    [row] = [
        row for row in table(folder(november.account), "exceptions.csv") if row["kind"] == "hold"
    ]
    assert row["reason"] == "payments move"


def test_no_value_and_no_formula_is_in_it(november: November) -> None:
    account = november.account
    account.night()
    account.publish()
    whole = b"".join(folder(account).values())
    values = [*november.values, *(account.gateway.whole(one)[1] for one in account.gateway.living)]
    assert not [one for one in values if one.encode() in whole]
    assert b"sealed_value" not in whole
    sealed = [one["detail"].get("sealed_value") for one in november.events]
    assert not [one for one in sealed if one and one.encode() in whole]
    names = [
        row["name"]
        for row in table(folder(account), "actions.csv") + table(folder(account), "population.csv")
    ]
    assert not [one for one in names if one.startswith(("=", "+", "-", "@"))]


def test_a_second_run_and_a_later_morning_write_nothing(november: November) -> None:
    account = november.account
    account.night()
    account.publish()
    before = account.versions("audit/")
    assert "audit" not in account.publish()
    account.pass_day()
    account.night()
    assert "audit" not in account.publish()
    assert account.versions("audit/") == before


@pytest.mark.slow
def test_a_run_that_dies_at_any_file_is_finished_by_the_next_with_the_same_bytes(
    november: November, tmp_path: Path
) -> None:
    account = november.account
    account.night()
    start = account.snapshot()
    account.publish()
    whole = folder(account)
    for dies_at in range(1, len(whole) + 1):
        account.go_back(start)
        account.around = _dies_at_audit_file(dies_at)
        with pytest.raises(Killed):
            account.publish()
        assert "manifest.sha256" not in folder(account) or dies_at == len(whole)
        account.around = lambda _, call: call()
        account.real_now += timedelta(hours=1)  # the lease of the run that died is over
        account.publish()
        assert folder(account) == whole


def _dies_at_audit_file(number: int) -> Callable[[str, Call], Any]:
    """Ends the run after so many audit files; the other files of the run come first."""
    put = 0

    def around(name: str, call: Call) -> Any:
        nonlocal put
        answer = call()
        if name == "s3.put_object":
            put += 1
            if put == 4 + number:  # a report has four files
                raise Killed
        return answer

    return around


def test_a_month_of_which_nothing_is_known_has_no_folder(an_account: AccountMaker) -> None:
    account = an_account(today=FIRST + DAY * 10)
    account.night()
    assert "audit" not in account.publish()
    assert account.objects("audit/") == {}


@pytest.mark.slow
def test_a_folder_that_is_late_finds_the_lines_that_were_thinned_out(november: November) -> None:
    account = november.account
    start = account.snapshot()
    account.night()
    account.publish()
    in_time = {row["key_id"]: row for row in table(folder(account), "population.csv")}
    account.go_back(start)
    for _ in range(20):
        account.night()
        account.pass_day()
    account.publish()
    files = folder(account)
    late = {row["key_id"]: row for row in table(files, "population.csv")}
    steady = ("key_id", "owner", "tier", "state", "enabled", "created")
    assert [{one: row[one] for one in steady} for row in late.values()] == [
        {one: row[one] for one in steady} for row in in_time.values()
    ]


def test_what_may_not_be_read_fails_the_run_after_the_report(november: November) -> None:
    account = november.account
    account.night()

    def denied(name: str, call: Call) -> Any:
        if name == "logs.filter_log_events":
            raise AccessDenied("logs:FilterLogEvents", "a role")
        return call()

    account.around = denied
    with pytest.raises(AccessDenied):
        account.publish()
    assert folder(account) == {}
    assert account.report()["date"] == str(FIRST_OF_NEXT)


class Puts:
    """S3, and what is asked of it to keep."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self.asked: list[dict[str, Any]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def put_object(self, **params: Any) -> Any:
        self.asked.append({name: what for name, what in params.items() if name != "Body"})
        return self._client.put_object(**params)


def test_every_file_is_locked_for_as_long_as_it_is_kept_if_that_is_asked_for(
    november: November,
) -> None:
    account = november.account
    puts = Puts(account.clients.s3)
    adapters = Adapters(
        gateway=account.gateway,
        owners=account.owners,
        ledger=account.ledger,
        history=HistoryBucket(puts, account.bucket),
        audit_log=AuditLog(Logs(account), "audit"),
    )
    place = Place(
        "123456789012",
        "us-east-1",
        "keyjanitor",
        account.mode,
        account.bucket,
        audit_lock="governance",
        audit_days=400,
    )
    made_at = datetime(2026, 12, 1, 6, 15, tzinfo=UTC)
    assert write_audit_folder(FIRST_OF_NEXT, made_at, place, adapters, lambda: False)
    assert len(puts.asked) == len(FILES) + 1
    for put in puts.asked:
        assert put["ObjectLockMode"] == "GOVERNANCE"
        assert put["ObjectLockRetainUntilDate"] == made_at + timedelta(days=400)
        assert put["ChecksumAlgorithm"] == "SHA256"


def test_without_the_parameter_no_file_is_locked_and_the_role_may_not(
    an_account: AccountMaker,
) -> None:
    november = November(an_account, audit_lock="governance")
    november.account.night()
    with pytest.raises(AccessDenied, match="s3:PutObject on audit"):
        november.account.publish()
    assert november.account.report()["date"] == str(FIRST_OF_NEXT)
