"""The deployed stack writes a month's audit folder from its own audit log, and `sha256sum` verifies it."""

import csv
import json
import subprocess
from collections import Counter
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Any

from sandbox.driver.client import LaidKey
from tests.builders import DAY
from tests.e2e.conftest import World

LONG_AGO = datetime(2025, 1, 1, tzinfo=UTC)
LAST = date(2026, 11, 30)


def downloaded(world: World, month: str, where: Path) -> list[str]:
    """The files of a month's folder, brought into a folder on this machine."""
    s3, bucket = world.sandbox.client("s3"), world.stack.outputs["HistoryBucketName"]
    listed = s3.list_objects_v2(Bucket=bucket, Prefix=f"audit/{month}/").get("Contents", [])
    names = [one["Key"].rpartition("/")[2] for one in listed]
    for name in names:
        s3.download_file(bucket, f"audit/{month}/{name}", str(where / name))
    return names


def logged(world: World) -> list[dict[str, Any]]:
    """The events of November in the audit log, as a person reads them."""
    logs, group = world.sandbox.client("logs"), world.stack.outputs["AuditLogGroupName"]
    pages = logs.get_paginator("filter_log_events").paginate(logGroupName=group)
    events = [json.loads(line["message"]) for page in pages for line in page["events"]]
    return [one for one in events if one["time"].startswith("2026-11-")]


def publish(world: World, day: date) -> dict[str, Any]:
    world.sandbox.set_clock(datetime.combine(day, time(6, 15), UTC))
    answer: dict[str, Any] = world.stack.publish(f"{day}T06:15:00Z")
    return answer


def test_the_stack_writes_the_folder_of_its_month_once(world: World, tmp_path: Path) -> None:
    world.witness(LAST + DAY)
    world.lay_down(
        *(
            LaidKey(name=f"idle {n}", created=LONG_AGO, plans=[world.plans["external"]])
            for n in range(3)
        )
    )
    for back in (2, 1, 0):
        world.night(LAST - DAY * back)
        publish(world, LAST - DAY * back)
    assert downloaded(world, "2026-11", tmp_path) == []
    world.night(LAST + DAY)
    bucket = world.stack.outputs["HistoryBucketName"]
    answer = publish(world, LAST + DAY)
    assert answer["audit"] == f"s3://{bucket}/audit/2026-11/manifest.sha256"
    names = downloaded(world, "2026-11", tmp_path)
    checked = subprocess.run(
        ["sha256sum", "-c", "--strict", "manifest.sha256"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stderr
    assert len(checked.stdout.splitlines()) == len(names) - 1
    with (tmp_path / "actions.csv").open(encoding="utf-8-sig", newline="") as table:
        rows = list(csv.DictReader(table))
    events = logged(world)
    assert events
    assert {row["event_id"] for row in rows} == {event["id"] for event in events}
    told = json.loads((tmp_path / "summary.json").read_text())
    assert told["actions"] == dict(Counter(event["detail-type"] for event in events))
    assert (told["unreadable"], told["population"]["as_of"]) == (0, str(LAST))
    assert "audit" not in publish(world, LAST + DAY * 2)
