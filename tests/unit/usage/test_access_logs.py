"""Access logs as a second witness: they add use, and take silence away only where nothing is missing."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyjanitor.domain.usage import access_logs
from keyjanitor.domain.usage.access_log_format import NO_KEY_ID, SUGGESTED, AccessLog, NotReadable
from keyjanitor.domain.usage.access_logs import (
    CANARY,
    GB,
    SHARED,
    UNNAMED,
    LogAnswer,
    LoggedCalls,
    LogGroup,
    LogRow,
    LogWindow,
    SeenInLogs,
    StageLog,
    StageSetting,
    not_whole,
    take_logs,
    too_costly,
    window_end,
    windows,
    without_logs,
)
from keyjanitor.domain.usage.access_logs_file import from_values, to_values
from keyjanitor.domain.usage.evidence_file import from_document, to_document
from keyjanitor.errors import UnexpectedAnswer
from tests.builders import STAGE, TODAY, an_evidence, days_ago

LOG = AccessLog("/api/prod", SUGGESTED, names_stage=True)
OLD = datetime(2025, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


def at(days: int, hour: int = 2) -> datetime:
    """An hour of a UTC date, so many days before TODAY."""
    return datetime(TODAY.year, TODAY.month, TODAY.day, hour, tzinfo=UTC) - timedelta(days=days)


def a_setting(stage: str = STAGE, **more: Any) -> StageSetting:
    return StageSetting(**{"stage": stage, "log": LOG, "updated": OLD, **more})


def a_row(key_id: str | None = "k0", stage: str | None = STAGE, **more: Any) -> LogRow:
    return LogRow(**{"requests": 1, "last": None, "key_id": key_id, "stage": stage, **more})


def an_answer(*rows: LogRow, **more: Any) -> LogAnswer:
    return LogAnswer(**{"rows": rows, "lines": sum(row.requests for row in rows), **more})


def a_night(
    before: SeenInLogs | None,
    day: int,
    *answers: LogAnswer,
    settings: Sequence[StageSetting] = (a_setting(),),
) -> SeenInLogs:
    """The night so many days ago: what is asked, with one answer for each query."""
    asked = windows(settings, before, at(day))
    assert len(asked) == len(answers)
    return take_logs(settings, list(zip(asked, answers, strict=True)), before, at(day))


def covered(seen: SeenInLogs, *stages: str) -> date | None:
    return seen.covers_since(stages or (STAGE,))


# --- use ------------------------------------------------------------------------------------------


def test_requests_of_a_key_are_counted_over_all_logs_and_stages() -> None:
    other = replace(LOG, group="/api/other")
    settings = a_setting(), a_setting("api2:prod", log=other)
    seen = a_night(
        None,
        0,
        an_answer(a_row(stage="api2:prod", requests=2, last=at(1, 9))),
        an_answer(a_row(requests=3, last=at(0, 1)), a_row("k1", requests=4, last=at(1, 3))),
        settings=settings,
    )
    assert seen.calls == {
        "k0": LoggedCalls(5, since=at(1), last=at(0, 1)),
        "k1": LoggedCalls(4, since=at(1), last=at(1, 3)),
    }
    assert seen.last_used == {"k0": TODAY, "k1": days_ago(1)}


def test_use_is_carried_on_for_400_days_also_by_nights_that_ask_no_log() -> None:
    known = {"k0": days_ago(10), "k1": days_ago(400), "k2": days_ago(401)}
    before = SeenInLogs(last_used=known)
    asked = a_night(before, 0, an_answer(a_row("k0", last=at(0, 1))))
    assert asked.last_used == {"k0": TODAY, "k1": days_ago(400)}
    assert without_logs(before, TODAY) == SeenInLogs(
        last_used={"k0": days_ago(10), "k1": days_ago(400)}
    )
    assert without_logs(SeenInLogs(), TODAY) is None
    assert without_logs(None, TODAY) is None


def test_an_earlier_last_use_in_a_log_takes_nothing_back() -> None:
    before = SeenInLogs(last_used={"k0": TODAY})
    assert a_night(before, 0, an_answer(a_row(last=at(1, 5)))).last_used == {"k0": TODAY}


def test_use_counts_also_out_of_an_answer_that_is_not_whole() -> None:
    seen = a_night(None, 0, an_answer(a_row(last=at(0, 1)), failed="it timed out"))
    assert seen.last_used == {"k0": TODAY}
    assert covered(seen) is None


def test_a_request_whose_moment_cannot_be_read_may_be_the_last_of_the_window() -> None:
    assert a_night(None, 0, an_answer(a_row())).calls["k0"].last == at(0)


@pytest.mark.parametrize("key_id", ["-", "", "null", None])
def test_requests_without_a_key_are_of_no_key(key_id: str | None) -> None:
    assert a_night(None, 0, an_answer(a_row(key_id))).calls == {}


# --- what is asked --------------------------------------------------------------------------------


def test_a_log_is_asked_up_to_the_last_hour_whose_lines_have_arrived() -> None:
    assert window_end(at(0) + timedelta(minutes=15)) == at(0)
    assert window_end(at(0) + timedelta(minutes=14)) == at(0, 1)


def test_a_window_begins_where_the_last_whole_one_ended() -> None:
    first = a_night(None, 3, an_answer())
    assert windows([a_setting()], first, at(2)) == [LogWindow(LOG, (STAGE,), at(3), at(2))]
    failed = a_night(first, 2, an_answer(failed="throttled"))
    assert windows([a_setting()], failed, at(1)) == [LogWindow(LOG, (STAGE,), at(3), at(1))]


def test_a_first_window_is_a_day_and_none_is_longer_than_a_week() -> None:
    assert windows([a_setting()], None, at(0)) == [LogWindow(LOG, (STAGE,), at(1), at(0))]
    first = a_night(None, 20, an_answer())
    assert windows([a_setting()], first, at(0)) == [LogWindow(LOG, (STAGE,), at(7), at(0))]


def test_a_log_is_asked_once_for_all_stages_that_log_to_it_alike() -> None:
    settings = a_setting(), a_setting("api2:prod"), a_setting("api3:prod", log=NO_KEY_ID)
    assert windows(settings, None, at(0)) == [LogWindow(LOG, (STAGE, "api2:prod"), at(1), at(0))]


def test_an_hour_that_was_read_whole_is_not_asked_again() -> None:
    assert windows([a_setting()], a_night(None, 0, an_answer()), at(0)) == []


# --- when silence proves something ----------------------------------------------------------------


def test_a_stage_is_covered_from_the_day_after_its_chain_began_once_a_key_was_seen() -> None:
    first = a_night(None, 2, an_answer(a_row("-")))
    assert covered(first) is None
    second = a_night(first, 1, an_answer(a_row("k7")))
    assert covered(second) == days_ago(2)
    third = a_night(second, 0, an_answer())
    assert covered(third) == days_ago(2)
    assert third.stages == {STAGE: StageLog(STAGE, LOG.digest, at(3), at(0), witnessed=True)}


def test_stages_are_covered_together_from_the_latest_of_their_chains() -> None:
    settings = a_setting(), a_setting("api2:prod")
    first = a_night(None, 5, an_answer(a_row()))
    both = an_answer(a_row(), a_row(stage="api2:prod"))
    second = a_night(first, 4, both, settings=settings)
    assert covered(second, STAGE) == days_ago(5)
    assert covered(second, STAGE, "api2:prod") == days_ago(4)
    assert covered(second, STAGE, "api3:prod") is None
    assert second.covers_since(()) is None


NOT_WHOLE: dict[str, tuple[StageSetting, LogAnswer]] = {
    "failed": (a_setting(), an_answer(a_row(), failed="it timed out")),
    "lines that do not fit": (a_setting(), an_answer(a_row(), a_row(None, None))),
    "lines that no row counts": (a_setting(), an_answer(a_row(), lines=2)),
    "rows that count twice": (a_setting(), an_answer(a_row(), a_row(), lines=1)),
    "a key without its stage": (a_setting(), an_answer(a_row(stage=None))),
    "a canary": (a_setting(canary=True), an_answer(a_row())),
    "a format that names no stage": (
        a_setting(log=replace(LOG, names_stage=False)),
        an_answer(a_row()),
    ),
}


@pytest.mark.parametrize(("setting", "answer"), NOT_WHOLE.values(), ids=NOT_WHOLE.keys())
def test_a_night_that_was_not_read_whole_covers_nothing(
    setting: StageSetting, answer: LogAnswer
) -> None:
    seen = a_night(a_night(None, 1, an_answer(a_row())), 0, answer, settings=[setting])
    assert covered(seen) is None
    assert seen.stages[STAGE].problem is not None
    assert "k0" in seen.last_used


def test_a_night_that_made_up_for_one_that_failed_goes_on_with_the_chain() -> None:
    first = a_night(None, 2, an_answer(a_row()))
    failed = a_night(first, 1, an_answer(failed="throttled"))
    assert covered(a_night(failed, 0, an_answer())) == days_ago(2)


def test_a_chain_ends_after_a_week_without_a_whole_window() -> None:
    seen = a_night(None, 8, an_answer(a_row()))
    for day in range(7, 0, -1):
        seen = a_night(seen, day, an_answer(failed="throttled"))
    seen = a_night(seen, 0, an_answer(a_row()))
    assert covered(seen) == days_ago(6)


@pytest.mark.parametrize(
    "changed",
    [{"updated": at(1) + HOUR}, {"updated": None}, {"log": replace(LOG, format=SUGGESTED + " ")}],
)
def test_a_stage_that_was_changed_since_the_last_whole_window_begins_a_new_chain(
    changed: dict[str, Any],
) -> None:
    first = a_night(None, 1, an_answer(a_row()))
    seen = a_night(first, 0, an_answer(a_row()), settings=[a_setting(**changed)])
    assert covered(seen) is None or covered(seen) == TODAY
    assert seen.stages[STAGE].since != first.stages[STAGE].since


def test_a_setting_that_was_changed_and_changed_back_leaves_a_gap() -> None:
    first = a_night(None, 3, an_answer(a_row()))
    turned_off = a_night(first, 2, settings=[a_setting(log=NO_KEY_ID, updated=at(3) + HOUR)])
    assert covered(turned_off) is None
    back = a_setting(updated=at(2) + HOUR)
    again = a_night(turned_off, 1, an_answer(a_row()), settings=[back])
    # Of the window in which it was changed only the requests are believed, not the silence.
    assert (covered(again), again.stages[STAGE].since) == (None, at(1))
    assert covered(a_night(again, 0, an_answer(a_row()), settings=[back])) == TODAY


def test_a_stage_that_could_not_be_read_for_a_night_goes_on_with_its_chain() -> None:
    first = a_night(None, 2, an_answer(a_row()))
    unread = a_setting(log=NotReadable("its API could not be read"), updated=None, unread=True)
    missed = a_night(first, 1, settings=[unread])
    assert covered(missed) is None
    assert windows([a_setting()], missed, at(0)) == [LogWindow(LOG, (STAGE,), at(2), at(0))]
    assert covered(a_night(missed, 0, an_answer())) == days_ago(2)
    changed = a_setting(updated=at(2) + HOUR)
    assert covered(a_night(missed, 0, an_answer(a_row()), settings=[changed])) is None


def test_stages_that_log_to_one_group_in_two_formats_are_not_covered() -> None:
    other = replace(LOG, format=SUGGESTED + " ")
    settings = a_setting(), a_setting("api2:prod", log=other)
    seen = a_night(None, 0, an_answer(a_row()), an_answer(), settings=settings)
    assert {one.problem for one in seen.stages.values()} == {str(SHARED)}
    assert seen.last_used == {"k0": TODAY}


def test_a_chain_of_a_night_that_asked_no_log_is_lost() -> None:
    kept = without_logs(a_night(None, 2, an_answer(a_row())), days_ago(1))
    assert covered(a_night(kept, 0, an_answer(a_row()))) == TODAY


@pytest.mark.parametrize(
    "doubt",
    [
        {"problem": "it failed"},
        {"through": at(1)},
        {"since": None},
        {"witnessed": False},
    ],
)
def test_each_doubt_about_a_stage_alone_ends_what_it_covers(doubt: dict[str, Any]) -> None:
    whole = StageLog(STAGE, since=at(9), through=at(0), witnessed=True)
    assert SeenInLogs(stages={STAGE: whole}, through=at(0)).covers_since((STAGE,)) == days_ago(8)
    seen = SeenInLogs(stages={STAGE: replace(whole, **doubt)}, through=at(0))
    assert seen.covers_since((STAGE,)) is None
    assert SeenInLogs(stages={STAGE: whole}).covers_since((STAGE,)) is None


def test_an_answer_of_as_many_rows_as_a_query_gives_may_have_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(access_logs, "MOST_ROWS", 2)
    seen = a_night(None, 0, an_answer(a_row("k0"), a_row("k1")))
    assert seen.stages[STAGE].problem == "its log names more than 2 keys and stages"
    assert a_night(None, 0, an_answer(a_row("k0"))).stages[STAGE].problem is None


def test_all_queries_of_a_night_together_stay_within_the_limit_of_bytes() -> None:
    asked = [LogWindow(replace(LOG, group=name), (name,), at(1), at(0)) for name in ("b", "c", "a")]
    expected = {"a": GB, "b": 2 * GB, "c": 3 * GB}
    left = too_costly(asked, expected, 3 * GB)
    assert [window.log.group for window in left] == ["c"]
    assert left[asked[1]].startswith("its query would look at 3.00 GB, and access_logs_max_gb = 3")
    assert too_costly(asked, expected, 6 * GB) == {}


def test_a_problem_says_what_to_do() -> None:
    settings = [
        a_setting(log=NO_KEY_ID),
        a_setting("api2:prod", canary=True),
        a_setting("api3:prod", log=replace(LOG, group="/x", names_stage=False)),
    ]
    seen = a_night(None, 0, an_answer(), an_answer(), settings=settings)
    assert [seen.stages[one.stage].problem for one in settings] == [
        str(NO_KEY_ID),
        str(CANARY),
        str(UNNAMED),
    ]
    assert SUGGESTED in str(NO_KEY_ID)


@pytest.mark.parametrize(
    ("group", "why"),
    [
        (LogGroup(OLD), None),
        (LogGroup(OLD, retention_days=2), None),
        (LogGroup(OLD, retention_days=1), "the log group /api/prod keeps lines for 1 days only"),
        (LogGroup(at(0)), "the log group /api/prod was made on 2026-11-21"),
        (None, "the log group /api/prod is not there"),
    ],
)
def test_a_group_that_cannot_hold_the_whole_window_is_named(
    group: LogGroup | None, why: str | None
) -> None:
    assert not_whole(LogWindow(LOG, (STAGE,), at(1), at(0)), group, at(0) + HOUR / 4) == why


def test_what_was_seen_is_read_back_from_its_file() -> None:
    seen = a_night(
        a_night(None, 1, an_answer(a_row())),
        0,
        an_answer(a_row(last=at(0, 1)), bytes_scanned=99),
        settings=[a_setting(), a_setting("api2:prod", log=NO_KEY_ID)],
    )
    assert from_values(to_values(seen)) == seen


# --- laws -----------------------------------------------------------------------------------------

KEYS = st.sampled_from(["k0", "k1", "-", None])
STAGES = st.sampled_from([STAGE, "api2:prod", None])
ROWS = st.builds(
    LogRow,
    requests=st.integers(1, 9),
    last=st.none() | st.integers(0, 30).map(lambda hours: at(0) - hours * HOUR),
    key_id=KEYS,
    stage=STAGES,
)
ANSWERS = st.builds(
    lambda rows, more, failed: LogAnswer(
        tuple(rows), sum(row.requests for row in rows) + more, 0, failed
    ),
    st.lists(ROWS, max_size=4),
    st.sampled_from([0, 0, 0, 1]),
    st.sampled_from([None, None, None, "it failed"]),
)
# How a stage is on a night: changed so many hours before it, and whether it logs.
NIGHTS = st.lists(
    st.tuples(ANSWERS, st.sampled_from([None, 1, 20, 9_999]), st.booleans(), st.integers(1, 4)),
    min_size=1,
    max_size=8,
)


@given(NIGHTS)
def test_silence_is_believed_only_of_an_unbroken_chain_of_whole_windows(drawn: Any) -> None:
    seen: SeenInLogs | None = None
    used: set[str] = set()
    whole_from: datetime | None = None  # by a count of its own, which trusts no state
    whole_to: datetime | None = None
    day = sum(days for *_, days in drawn)
    for answer, changed, logs, days in drawn:
        day -= days
        now = at(day)
        updated = now - changed * HOUR if changed is not None else None
        setting = a_setting(log=LOG if logs else NO_KEY_ID, updated=updated)
        asked = windows([setting], seen, now)
        seen = take_logs([setting], [(one, answer) for one in asked], seen, now)
        if asked:
            used |= {row.key_id for row in answer.rows if row.key_id not in (None, "-")}
        counted = sum(row.requests for row in answer.rows)
        understood = all(row.key_id is not None and row.stage is not None for row in answer.rows)
        whole = bool(asked) and answer.failed is None and answer.lines == counted and understood
        if not logs or (whole_to is not None and (updated is None or updated > whole_to)):
            whole_from = whole_to = None
        if whole and updated is not None:
            joined = whole_to is not None and asked[0].since <= whole_to
            if not joined:
                whole_from = asked[0].since if updated <= asked[0].since else now
            whole_to = now
        elif whole:
            whole_from = whole_to = None
        # No use is ever lost, whatever failed.
        assert used <= seen.last_used.keys()
        if (since := covered(seen)) is not None:
            assert whole
            assert whole_from is not None
            assert since > whole_from.date()


@given(ANSWERS, st.lists(ROWS, max_size=3))
def test_more_rows_never_make_a_last_use_earlier(answer: LogAnswer, more: list[LogRow]) -> None:
    some = a_night(None, 0, answer).last_used
    all_of_it = a_night(None, 0, replace(answer, rows=(*answer.rows, *more))).last_used
    assert some.keys() <= all_of_it.keys()
    assert all(all_of_it[key_id] >= on for key_id, on in some.items())


# --- the evidence file ----------------------------------------------------------------------------


def test_a_reading_of_before_logs_were_asked_is_read_as_one_without_them() -> None:
    written = to_document(an_evidence())
    assert "seen_in_logs" not in written
    assert from_document(written) == an_evidence()


def test_a_reading_says_what_the_logs_showed() -> None:
    evidence = an_evidence(seen_in_logs=a_night(None, 0, an_answer(a_row(last=at(0, 1)))))
    assert from_document(to_document(evidence)) == evidence


@pytest.mark.parametrize(
    "wrong",
    [
        {"last_used": {"k0": "soon"}},
        {"calls": {"k0": {"requests": "1", "since": "2026-11-21", "last": "2026-11-21"}}},
        {"calls": {"k0": {"requests": 1, "since": "2026-11-21T02:00:00", "last": "x"}}},
        {"stages": [{"stage": STAGE, "setting": "", "witnessed": 1, "problem": None}]},
        {"through": 7},
        {"bytes_scanned": True},
    ],
)
def test_a_damaged_part_about_logs_is_a_damaged_reading(wrong: dict[str, Any]) -> None:
    written = to_document(an_evidence(seen_in_logs=SeenInLogs()))
    written["seen_in_logs"] |= wrong
    with pytest.raises(UnexpectedAnswer):
        from_document(written)
