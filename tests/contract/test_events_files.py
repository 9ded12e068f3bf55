"""The files in events/ are what the functions understand."""

import json
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from keyjanitor.requests import Clock, PullRequest, SweepRequest
from keyjanitor.words import Mode

EVENTS = Path(__file__).parents[2] / "events"
CLOCK = Clock(datetime(2026, 11, 21, 3, 20, tzinfo=UTC), 36)
FILLED_IN = {"<DIGEST>": "0123456789abcdef"}


def the_event(name: str) -> Any:
    text = (EVENTS / f"{name}.json").read_text(encoding="utf-8")
    for placeholder, value in FILLED_IN.items():
        text = text.replace(placeholder, value)
    assert "<" not in text
    return json.loads(text)


@pytest.mark.parametrize("name", sorted(path.stem for path in EVENTS.glob("*.json")))
def test_every_file_is_an_event_that_its_function_understands(name: str) -> None:
    if name.startswith("pull_usage"):
        PullRequest.parse(the_event(name), CLOCK)
    else:
        assert name.startswith("expire_keys")
        SweepRequest.parse(the_event(name), Mode.PARK, CLOCK)


def test_there_is_one_for_each_thing_that_an_operator_does_by_hand() -> None:
    parsed = {
        name: SweepRequest.parse(the_event(f"expire_keys_{name}"), Mode.PARK, CLOCK)
        for name in ("dry_run", "approve", "undo", "undo_some", "hold", "resume")
    }
    assert parsed["dry_run"].mode is Mode.OBSERVE
    assert parsed["approve"].approve == "0123456789abcdef"
    assert parsed["undo"].undo == date(2026, 11, 21)
    assert parsed["undo_some"].key_ids
    assert parsed["hold"].hold
    assert parsed["resume"].resume
