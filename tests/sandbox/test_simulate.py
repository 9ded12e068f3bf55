"""A short year of a small account: its evidence is what GetUsage proves, and its auditor sees."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from keyjanitor.domain.model.keys import State
from keyjanitor.domain.model.policy_file import parse_policy
from keyjanitor.domain.model.usage_plan import UsagePlan
from keyjanitor.domain.usage.evidence import Evidence
from keyjanitor.domain.usage.plan_usage import UsagePage
from keyjanitor.domain.usage.reading import take_evidence
from keyjanitor.services.pull_usage.reader import read_plans
from sandbox.year import simulate
from sandbox.year.picture import HEIGHT, WIDTH
from sandbox.year.world import Plot, World
from sandbox.year.year import Meter, Year
from tests.builders import DAY

QUOTA = 160
POLICY = simulate.POLICY.read_text("utf-8").replace("10_000", str(QUOTA))
# A hundred days, so that what was used before the first of them leaves GetUsage's ninety.
SHORT = Plot(
    days=110,
    keys=110,
    sign_ups=1.0,
    come_back=0.5,
    campaigns=(range(60, 80),),
    imported_on=30,
    imported=8,
    outage_on=50,
    held=range(16, 19),
)
PAGE = 7


def a_year(seed: int = 1, meter: Meter | None = None, **plot: Any) -> Year:
    return Year(World(replace(SHORT, **plot), seed), parse_policy(POLICY), meter)


def lived(year: Year) -> Year:
    for _ in year.live():
        pass
    return year


# --- evidence -------------------------------------------------------------------------------------


class Paged(Meter):
    """A meter that keeps every request too, and tells of them as GetUsage does, page by page."""

    def __init__(self) -> None:
        super().__init__()
        self.requests: dict[tuple[str, str], dict[date, int]] = {}
        self.year: Year

    def count(self, plan_id: str, key_id: str, day: date, requests: int) -> None:
        super().count(plan_id, key_id, day, requests)
        self.requests.setdefault((plan_id, key_id), {})[day] = requests

    def usage_plans(self) -> list[UsagePlan]:
        return self.year.gateway.usage_plans()

    def members(self, usage_plan_id: str) -> tuple[str, ...]:
        return self.year.gateway.members(usage_plan_id)

    def usage(self, usage_plan_id: str, start: date, end: date) -> Iterator[UsagePage]:
        """Keys that are no more are named as long as their use is told."""
        days = [start + DAY * index for index in range((end - start).days + 1)]
        items = {
            key_id: [[used.get(day, 0), 1000] for day in days]
            for (plan_id, key_id), used in self.requests.items()
            if plan_id == usage_plan_id and max(used) >= start
        }
        ids = list(items)
        for first in range(0, max(1, len(ids)), PAGE):
            yield UsagePage(start, end, {key: items[key] for key in ids[first : first + PAGE]})


class Reading(Year):
    """A year whose every night is read a second time, from pages."""

    def read(self) -> None:
        before = self.files.evidence_before(self.today)
        super().read()
        assert isinstance(self.meter, Paged)
        answers = read_plans(self.today, self.meter, before)
        by_pages, _ = take_evidence(self.today, answers, before)
        mine = self.files.evidence(self.today)
        assert mine == by_pages
        self.nights.append(by_pages)

    nights: list[Evidence]


@pytest.mark.slow
def test_every_nights_evidence_is_what_the_pages_of_get_usage_prove() -> None:
    meter = Paged()
    year = Reading(World(SHORT), parse_policy(POLICY), meter)
    meter.year, year.nights = year, []
    lived(year)
    assert len(year.nights) == SHORT.days
    last = year.nights[-1]
    assert last.used_by_day.get(year.plot.day(SHORT.outage_on)) is None
    assert min(last.last_used.values()) < last.day - 90 * DAY
    assert any(evidence.gone for evidence in year.nights)
    assert last.first_in_plan_on
    assert last.first_day == SHORT.first - 90 * DAY


# --- a year ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def short_year() -> Year:
    """A year that was lived to its end, for tests that only look."""
    return lived(a_year())


@pytest.mark.slow
def test_a_short_year_keeps_every_promise(short_year: Year) -> None:
    year = short_year
    assert simulate.faults(year) == []
    assert year.without[-1] == QUOTA
    assert max(year.counts) < QUOTA
    did = sum((month.did for month in year.months.values()), start=type(year.month.did)())
    assert did["warn"] >= did["disable"] > did["park"] > 0
    assert did["back"] == year.back >= year.regretted > 0
    assert year.ledger.nights(year.plot.day(16), year.plot.day(18)) == {}
    assert {alert.kind for _, alert in year.alerts} >= {"expiring", "level", "days_to_limit"}
    states = {row.state for row in year.ledger.gone.values()}
    assert {State.PARKED, State.RESTORED} <= states


@pytest.mark.slow
def test_the_same_seed_makes_the_same_year() -> None:
    def told(seed: int) -> list[str]:
        year = a_year(seed, days=50)
        return [*map(simulate.row, year.live()), *simulate.told(year), simulate.draw(year)]

    first, second, other = told(1), told(1), told(2)
    assert first == second
    assert first != other


# --- the auditor ----------------------------------------------------------------------------------


def a_used_key(year: Year) -> str:
    """The id of a key that was used yesterday."""
    yesterday = year.today - DAY
    return next(o.key_id for o in year.owners if year.meter.last_used(o.key_id) == yesterday)


def days(year: Year, count: int) -> None:
    for _ in range(count):
        year.gateway.today = year.today
        year.night()
        year.day()
        year.evening()
        year.index += 1


def test_a_used_key_that_is_shut_without_a_word_is_found_out() -> None:
    year = a_year()
    days(year, 3)
    key_id = a_used_key(year)
    used = year.today - DAY
    year.gateway.set_enabled(key_id, enabled=False)
    days(year, 1)
    today = used + DAY
    assert simulate.faults(year)[:3] == [
        f"{today}: key {key_id} was shut, and was used on {used}",
        f"{today}: key {key_id} was disabled without 14 days of notice",
        f"{today}: nobody was told that key {key_id} was disabled",
    ]


def test_a_used_key_that_is_deleted_is_found_out() -> None:
    year = a_year()
    days(year, 3)
    key_id = a_used_key(year)
    year.gateway.delete(key_id)
    days(year, 1)
    assert len(simulate.faults(year)) == 3


@pytest.mark.slow
def test_a_key_that_comes_back_as_another_is_found_out() -> None:
    year = a_year()
    for owner in year.owners:
        owner.value = type(owner.value)("another")
    lived(year)
    wrong = simulate.faults(year)
    assert wrong
    assert all(one.endswith("did not come back as it was") for one in wrong)


def test_a_full_account_is_found_out() -> None:
    year = a_year()
    year.counts.append(QUOTA)
    assert simulate.faults(year) == ["the account held 160 keys, and its limit is 160"]


# --- what make simulate does ----------------------------------------------------------------------


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    path = tmp_path / "year.toml"
    path.write_text(POLICY)
    return path


@pytest.mark.slow
def test_make_simulate_prints_the_months_and_the_regret_and_draws_the_picture(
    policy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    drawn = policy.parent / "pictures" / "year.svg"
    assert simulate.main(replace(SHORT, days=59), policy, drawn) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[:3]] == ["month", "January", "February"]
    assert len(set(map(len, lines[:3]))) == 1
    assert any(line.startswith("regret ") for line in lines)
    assert drawn.read_text("utf-8").startswith("<svg ")


def test_make_simulate_fails_and_says_why(
    policy: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(simulate, "faults", lambda _: ["something went wrong"])
    drawn = policy.parent / "year.svg"
    assert simulate.main(replace(SHORT, days=2), policy, drawn) == 1
    assert capsys.readouterr().err == "something went wrong\nfaults: 1\n"
    assert not drawn.exists()


@pytest.mark.slow
def test_the_picture_holds_both_counts_and_its_words_as_text(short_year: Year) -> None:
    year = short_year
    picture = ET.fromstring(simulate.draw(year))
    name = "{http://www.w3.org/2000/svg}"
    lines = {one.get("class"): one.get("d", "") for one in picture.iter(f"{name}path")}
    points = [
        tuple(map(float, pair.split(",")))
        for kind in ("with", "without")
        for pair in lines[kind].removeprefix("M").split()
    ]
    assert all(0 <= x <= WIDTH and 0 <= y <= HEIGHT for x, y in points)
    words = [one.text or "" for one in picture.iter(f"{name}text")]
    assert f"{QUOTA}" in words
    assert {"80%", "90%", "95%", "98%", "Jan", "Apr"} <= set(words)
    assert any(word.startswith("without keyjanitor: full on ") for word in words)
    assert any(word.startswith(f"with keyjanitor: at most {max(year.counts)}, ") for word in words)
    if (
        year.pressed()
    ):  # the reader is told that sign-ups are frozen then, not only what is multiplied
        assert {"above 90%: idle limits \u00d7 0.5,", "no new keys in tier external"} <= set(words)
    style = picture.find(f"{name}style")
    assert style is not None
    assert "prefers-color-scheme: dark" in (style.text or "")


def test_the_picture_that_the_readme_shows_is_one_of_a_whole_year() -> None:
    picture = ET.parse(simulate.PICTURE).getroot()
    words = [one.text or "" for one in picture.iter("{http://www.w3.org/2000/svg}text")]
    assert {"Jan", "Dec", "10,000"} <= set(words)
    assert {"above 90%: idle limits \u00d7 0.5,", "no new keys in tier external"} <= set(words)
    readme = (simulate.ROOT / "README.md").read_text("utf-8")
    assert str(simulate.PICTURE.relative_to(simulate.ROOT)) in readme
