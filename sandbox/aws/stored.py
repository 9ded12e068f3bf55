"""Everything that a run left behind outside API Gateway, so that a test can search all of it."""

import base64
import json
from collections.abc import Iterator
from typing import Any

from ministack.services import cloudwatch_logs, dynamodb, s3, sqs, ssm

Row = dict[str, str]


def everything(events: list[dict[str, Any]], alerts: list[dict[str, Any]]) -> Iterator[Row]:
    """Rows of `where` it is and its `content` in base64: logs, objects, items, messages."""
    yield from _logs()
    yield from _objects()
    for (_, _, name), table in dynamodb._tables.all_items():
        for partition in table["items"].values():
            yield from (_row(f"dynamodb {name}", item) for item in partition.values())
    for (_, _, url), queue in sqs._queues.all_items():
        yield from (_row(f"sqs {url}", message) for message in queue["messages"])
    for (_, _, name), parameter in ssm._parameters.all_items():
        yield _row(f"ssm {name}", parameter)
    for event in events:
        yield _row(f"events {event.get('EventBusName')} {event.get('DetailType')}", event)
    for alert in alerts:
        yield _row(f"sns {alert['topic']}", alert)


def empty_table(name: str) -> None:
    """Forget every item of a DynamoDB table."""
    table = dynamodb._tables.get(name)
    if table is None:
        raise ValueError(f"no such table: {name}")
    table["items"].clear()
    dynamodb._items_replaced(table)


def empty_bucket(name: str) -> None:
    """Forget every object of a bucket, with all versions and delete markers."""
    bucket = s3._buckets.get(name)
    if bucket is None:
        raise ValueError(f"no such bucket: {name}")
    for place, versions in list(s3._object_versions.items()):
        if place[0] == name:
            for version in list(versions):
                s3._delete_object_version(bucket, *place, version["version_id"])
    for key in list(bucket["objects"]):  # put before versions were kept
        s3._delete_object_version(bucket, name, key, "null")


def _logs() -> Iterator[Row]:
    for (_, _, name), group in cloudwatch_logs._log_groups.all_items():
        for stream, kept in group["streams"].items():
            for line in kept["events"]:
                yield _row(f"logs {name} {stream}", line["message"])


def log_lines(group: str) -> list[str]:
    """The lines of one log group, over all its streams, in the order of their time."""
    kept = cloudwatch_logs._log_groups.get(group)
    if kept is None:
        raise ValueError(f"no such log group: {group}")
    lines = [line for stream in list(kept["streams"].values()) for line in stream["events"]]
    lines.sort(key=lambda line: (line["timestamp"], line["ingestionTime"]))
    return [line["message"] for line in lines]


def forget_log_lines() -> None:
    """Deletes the streams of every log group; the groups stay."""
    for name, group in list(cloudwatch_logs._log_groups.items()):
        for stream in list(group["streams"]):
            cloudwatch_logs._delete_log_stream({"logGroupName": name, "logStreamName": stream})


def _objects() -> Iterator[Row]:
    for (_, bucket), kept in list(s3._buckets._data.items()):
        for key, record in kept["objects"].items():
            yield _row(f"s3 {bucket}/{key}", record.get("body") or b"")
            described = {name: value for name, value in record.items() if name != "body"}
            yield _row(f"s3 {bucket}/{key} metadata", described)
    for (_, (bucket, key)), versions in list(s3._object_versions._data.items()):
        for version in versions:
            yield from _version(f"s3 {bucket}/{key}?versionId={version.get('version_id')}", version)


def _version(where: str, version: dict[str, Any]) -> Iterator[Row]:
    for value in version.values():
        if isinstance(value, dict) and "body" in value:
            yield from _version(where, value)
    for name in ("data", "body"):
        if isinstance(version.get(name), bytes):
            yield _row(where, version[name])


def _row(where: str, content: Any) -> Row:
    if not isinstance(content, bytes):
        text = content if isinstance(content, str) else json.dumps(content, default=_plain)
        content = text.encode()
    return {"where": where, "content": base64.b64encode(content).decode()}


def _plain(value: Any) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else repr(value)
