"""The files of the history bucket, on moto's S3 and KMS and on those in memory: both have to do the same.

What the history of a simulated life has to do too is in test_history_alike.py.
"""

import gzip
import json
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import boto3
import pytest
from botocore.exceptions import EndpointConnectionError
from botocore.stub import Stubber
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keyjanitor.adapters.history_bucket import HistoryBucket
from keyjanitor.adapters.history_daily import ROWS_AT_ONCE, _lines
from keyjanitor.adapters.kms import ValueSealer, tombstone_context
from keyjanitor.domain.model.keys import Secret, Tombstone
from keyjanitor.domain.usage.evidence_file import to_document
from keyjanitor.errors import (
    AccessDenied,
    CallFailed,
    EvidenceDamaged,
    KeyjanitorError,
    TombstoneUnreadable,
)
from sandbox.memory.adapters.api_gateway import value_of
from sandbox.memory.clients.clients import Clients
from sandbox.memory.clients.refusal import refused
from tests.account import Watched
from tests.builders import (
    DAY,
    KEY_ID,
    TODAY,
    a_key,
    a_plan,
    a_reading,
    a_tombstone,
    an_evidence,
    at,
)

VALUE = Secret(value_of(KEY_ID))
NAME = f"tombstones/{KEY_ID}.json"


@pytest.fixture
def bucket(either: Clients) -> str:
    return either.new_bucket()


@pytest.fixture
def history(either: Clients, bucket: str) -> HistoryBucket:
    return HistoryBucket(either.s3, bucket)


@pytest.fixture
def sealer(either: Clients) -> ValueSealer:
    return ValueSealer(either.kms, either.key_arn)


def sealed(sealer: ValueSealer, value: Secret = VALUE, **more: Any) -> Tombstone:
    tombstone = a_tombstone(KEY_ID, **more)
    return replace(tombstone, sealed_value=sealer.seal(value, tombstone_context(tombstone)))


def versions(clients: Clients, bucket: str) -> list[str]:
    page = clients.s3.list_object_versions(Bucket=bucket, Prefix="tombstones/")
    return [item["Key"] for item in (*page.get("Versions", ()), *page.get("DeleteMarkers", ()))]


def lines(clients: Clients, bucket: str, name: str) -> list[Any]:
    body = clients.s3.get_object(Bucket=bucket, Key=name)["Body"].read()
    return [json.loads(line) for line in gzip.decompress(body).decode().splitlines()]


# --- evidence -------------------------------------------------------------------------------------


GOOD = to_document(an_evidence())
DAMAGED: dict[str, bytes] = {
    "half a file": gzip.compress(json.dumps(GOOD).encode())[:100],
    "nothing": b"",
    "not compressed": b"{}",
    "no JSON": gzip.compress(b"{"),
    "no text": gzip.compress(b"\xff\xfe\x00"),
    "nested without end": gzip.compress(b"[" * 100_000),
    "a list": gzip.compress(b"[]"),
    "a field lost": gzip.compress(
        json.dumps({name: value for name, value in GOOD.items() if name != "gone"}).encode()
    ),
    "another version": gzip.compress(json.dumps({**GOOD, "version": 4}).encode()),
    "another date": gzip.compress(json.dumps({**GOOD, "date": "2025-01-01"}).encode()),
    "another kind": gzip.compress(json.dumps({**GOOD, "plans": {"plan1": []}}).encode()),
}


@pytest.mark.parametrize("body", DAMAGED.values(), ids=DAMAGED)
def test_damaged_evidence_is_named_with_the_command_that_takes_it_away(
    either: Clients, history: HistoryBucket, bucket: str, body: bytes
) -> None:
    name = f"evidence/{TODAY}.json.gz"
    put = either.s3.put_object(Bucket=bucket, Key=name, Body=body)
    with pytest.raises(EvidenceDamaged) as err:
        history.evidence(TODAY)
    command = (
        f"aws s3api delete-object --bucket {bucket} --key {name} --version-id {put['VersionId']}"
    )
    assert command in str(err.value)


@pytest.mark.parametrize("body", DAMAGED.values(), ids=DAMAGED)
def test_damaged_evidence_is_passed_over_for_that_before_it_and_reported(
    either: Clients, history: HistoryBucket, bucket: str, body: bytes
) -> None:
    older = an_evidence(day=TODAY - DAY * 3)
    names: list[str] = []
    history.put_evidence(older)
    for back in (1, 0):
        name = f"evidence/{TODAY - DAY * back}.json.gz"
        either.s3.put_object(Bucket=bucket, Key=name, Body=body)
        names.insert(0, name)
    reported: list[EvidenceDamaged] = []
    assert history.evidence_before(TODAY + DAY, reported.append) == older
    assert [err.name for err in reported] == names
    assert history.evidence_before(TODAY) == older
    assert history.latest_evidence(TODAY) == older


@given(st.binary(max_size=300), st.booleans())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_lies_in_the_bucket_no_reader_raises_an_error_that_is_not_ours(
    either: Clients, history: HistoryBucket, bucket: str, body: bytes, packed: bool
) -> None:
    for name in (f"evidence/{TODAY}.json.gz", f"usage/dt={TODAY}/usage.jsonl.gz"):
        either.s3.put_object(Bucket=bucket, Key=name, Body=gzip.compress(body) if packed else body)
    with suppress(KeyjanitorError):
        history.evidence(TODAY)
    assert isinstance(history.usage(TODAY), list)


# --- daily files and plans ------------------------------------------------------------------------


def test_an_approval_is_written_beside_the_plan(
    history: HistoryBucket, either: Clients, bucket: str
) -> None:
    plan = a_plan(a_key(age=400))
    history.save_sweep_plan(plan)
    history.put_approval(plan.digest, TODAY, at(TODAY))
    name = f"plans/{plan.digest}.approved-{TODAY}.json"
    approval = json.loads(either.s3.get_object(Bucket=bucket, Key=name)["Body"].read())
    assert (approval["digest"], approval["date"]) == (plan.digest, str(TODAY))


def test_a_days_usage_is_written_whole_again(
    history: HistoryBucket, either: Clients, bucket: str
) -> None:
    history.put_usage(TODAY, [{"plan_id": "p", "key_id": "k", "used": 1, "remaining": None}] * 3)
    history.put_usage(TODAY, [{"plan_id": "p", "key_id": "k", "used": 2, "remaining": 5}])
    name = f"usage/dt={TODAY}/usage.jsonl.gz"
    assert lines(either, bucket, name) == [
        {"plan_id": "p", "key_id": "k", "used": 2, "remaining": 5}
    ]


def test_the_keys_file_has_a_line_a_key(
    history: HistoryBucket, either: Clients, bucket: str
) -> None:
    history.put_keys(TODAY, iter([{"key_id": "a", "name": "ä\nb"}, {"key_id": "b", "name": ""}]))
    assert lines(either, bucket, f"keys/dt={TODAY}/keys.jsonl.gz") == [
        {"key_id": "a", "name": "ä\nb"},
        {"key_id": "b", "name": ""},
    ]


def test_what_a_daily_file_holds_can_be_read_back(history: HistoryBucket) -> None:
    assert (history.usage(TODAY), history.keys(TODAY)) == ([], [])
    history.put_usage(TODAY, [{"plan_id": "p", "key_id": None, "stages": ("api1:prod",)}])
    history.put_keys(TODAY, [{"key_id": "a", "name": "ä\n\u2028"}, {"key_id": "b", "name": "<b>"}])
    assert history.usage(TODAY) == [{"plan_id": "p", "key_id": None, "stages": ["api1:prod"]}]
    assert history.keys(TODAY) == [
        {"key_id": "a", "name": "ä\n\u2028"},
        {"key_id": "b", "name": "<b>"},
    ]
    assert history.usage(TODAY + DAY) == []


DAMAGES = {
    "empty": b"",
    "not gzipped": b'{"plan_id": "p"}',
    "cut off": gzip.compress(b'{"plan_id": "p"}\n' * 9)[:-9],
    "spoiled": gzip.compress(b'{"plan_id": "p"}\n')[:10] + b"\xff" * 20,
    "no JSON": gzip.compress(b"plan_id,key_id\n"),
    "no objects": gzip.compress(b"1\n"),
    "pairs for an object": gzip.compress(b'[["plan_id", "p"]]\n'),
    "two objects in a line": gzip.compress(b'{"plan_id": "p"}, {"plan_id": "q"}\n'),
    "an object in two lines": gzip.compress(b'{"plan_id": ["p"\n"q"]}\n'),
    "an empty line": gzip.compress(b'{"plan_id": "p"}\n\n{"plan_id": "q"}\n'),
}


@pytest.mark.parametrize("body", DAMAGES.values(), ids=DAMAGES)
def test_a_daily_file_that_is_damaged_is_taken_for_missing_and_stops_nobody(
    history: HistoryBucket, either: Clients, bucket: str, body: bytes
) -> None:
    for name in (f"usage/dt={TODAY}/usage.jsonl.gz", f"keys/dt={TODAY}/keys.jsonl.gz"):
        either.s3.put_object(Bucket=bucket, Key=name, Body=body)
    assert (history.usage(TODAY), history.keys(TODAY)) == ([], [])


@pytest.mark.parametrize("other_wrote", [True, False])
def test_evidence_that_meets_another_write_of_its_name_is_written_or_there(
    either: Clients, bucket: str, monkeypatch: pytest.MonkeyPatch, *, other_wrote: bool
) -> None:
    """S3 answers 409 to one of two writes that meet; the other may have failed, too."""
    monkeypatch.setattr(time, "sleep", lambda _: None)
    evidence = an_evidence(a_reading(KEY_ID))
    met: list[str] = []

    def around(name: str, call: Callable[[], Any]) -> Any:
        if name == "s3.put_object" and len(met) < 2:
            met.append(name)
            if other_wrote:
                call()
            raise refused("PutObject", "ConditionalRequestConflict", 409)
        return call()

    history = HistoryBucket(Watched(either.s3, "s3", around), bucket)
    assert history.put_evidence(evidence) is not other_wrote
    assert HistoryBucket(either.s3, bucket).evidence(evidence.day) == evidence


def test_evidence_that_always_meets_another_write_is_an_error(
    either: Clients, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "sleep", lambda _: None)

    def around(name: str, call: Callable[[], Any]) -> Any:
        if name == "s3.put_object":
            raise refused("PutObject", "ConditionalRequestConflict", 409)
        return call()

    with pytest.raises(CallFailed, match="ConditionalRequestConflict"):
        HistoryBucket(Watched(either.s3, "s3", around), bucket).put_evidence(
            an_evidence(a_reading(KEY_ID))
        )


# --- tombstones -----------------------------------------------------------------------------------


def test_the_value_is_in_a_tombstone_only_as_it_was_sealed(
    history: HistoryBucket, sealer: ValueSealer, either: Clients, bucket: str
) -> None:
    history.put_tombstone(sealed(sealer), VALUE, sealer)
    body = either.s3.get_object(Bucket=bucket, Key=NAME)["Body"].read()
    assert VALUE.reveal().encode() not in body


def corrupted(body: bytes) -> Callable[[Clients, str], None]:
    def act(clients: Clients, bucket: str) -> None:
        clients.s3.put_object(Bucket=bucket, Key=NAME, Body=body)

    return act


def under_another_context(clients: Clients, bucket: str) -> None:
    sealer = ValueSealer(clients.kms, clients.key_arn)
    document = json.loads(clients.s3.get_object(Bucket=bucket, Key=NAME)["Body"].read())
    document["sealed_value"] = sealer.seal(VALUE, tombstone_context(a_tombstone("another")))
    corrupted(json.dumps(document).encode())(clients, bucket)


def another_value(clients: Clients, bucket: str) -> None:
    sealer = ValueSealer(clients.kms, clients.key_arn)
    document = json.loads(clients.s3.get_object(Bucket=bucket, Key=NAME)["Body"].read())
    document["sealed_value"] = sealer.seal(Secret("x" * 40), tombstone_context(a_tombstone(KEY_ID)))
    corrupted(json.dumps(document).encode())(clients, bucket)


OTHERWISE: dict[str, Any] = {
    "key_id": "another",
    "name": "another",
    "description": "another",
    "customer_id": "another",
    "tags": {"another": "1"},
    "usage_plan_ids": ["gold"],
    "tier": "another",
    "owner": "another",
    "enabled": False,
    "created_date": "2020-01-01T00:00:00+00:00",
    "parked_on": "2020-01-01",
    "last_used": "2020-01-01",
}


@pytest.mark.parametrize("field", OTHERWISE)
def test_a_tombstone_of_which_a_word_was_changed_does_not_open(
    history: HistoryBucket, sealer: ValueSealer, either: Clients, bucket: str, field: str
) -> None:
    """Else who may write into the bucket has a key come back into plans that it never was in."""
    history.put_tombstone(sealed(sealer), VALUE, sealer)
    document = json.loads(either.s3.get_object(Bucket=bucket, Key=NAME)["Body"].read())
    assert set(document) == {*OTHERWISE, "version", "sealed_value", "encryption_context"}
    changed = {**document, field: OTHERWISE[field]}
    corrupted(json.dumps(changed).encode())(either, bucket)
    with pytest.raises(TombstoneUnreadable) as err:
        history.open_tombstone(KEY_ID, sealer)
    assert not err.value.transient
    assert "not what was sealed" in err.value.reason


def test_two_tombstones_that_were_swapped_stay_closed(
    history: HistoryBucket, sealer: ValueSealer, either: Clients, bucket: str
) -> None:
    other = a_tombstone("another")
    other = replace(other, sealed_value=sealer.seal(VALUE, tombstone_context(other)))
    history.put_tombstone(other, VALUE, sealer)
    body = either.s3.get_object(Bucket=bucket, Key="tombstones/another.json")["Body"].read()
    corrupted(body)(either, bucket)
    with pytest.raises(TombstoneUnreadable):
        history.open_tombstone(KEY_ID, sealer)


def another_name(clients: Clients, bucket: str) -> None:
    document = json.loads(clients.s3.get_object(Bucket=bucket, Key=NAME)["Body"].read())
    corrupted(json.dumps({**document, "name": "another"}).encode())(clients, bucket)


def marked_as_deleted(clients: Clients, bucket: str) -> None:
    """What `aws s3 rm` does in a bucket with versions."""
    clients.s3.delete_object(Bucket=bucket, Key=NAME)


def missing(clients: Clients, bucket: str) -> None:
    HistoryBucket(clients.s3, bucket).destroy_tombstone(KEY_ID)


ACCIDENTS: dict[str, Callable[[Clients, str], None]] = {
    "empty": corrupted(b""),
    "not JSON": corrupted(b"\x00\xff"),
    "no object": corrupted(b"[]"),
    "without fields": corrupted(b"{}"),
    "sealed under another context": under_another_context,
    "missing": missing,
}


@pytest.mark.parametrize("accident", ACCIDENTS.values(), ids=ACCIDENTS)
def test_a_tombstone_to_which_something_happened_stays_closed_for_good(
    history: HistoryBucket,
    sealer: ValueSealer,
    either: Clients,
    bucket: str,
    accident: Callable[[Clients, str], None],
) -> None:
    history.put_tombstone(sealed(sealer), VALUE, sealer)
    accident(either, bucket)
    with pytest.raises(TombstoneUnreadable) as err:
        history.open_tombstone(KEY_ID, sealer)
    assert (err.value.key_id, err.value.transient) == (KEY_ID, False)


def test_a_tombstone_that_was_removed_by_s3_rm_is_there_and_opens(
    history: HistoryBucket, sealer: ValueSealer, either: Clients, bucket: str
) -> None:
    older = sealed(sealer, name="as it was parked before")
    history.put_tombstone(older, VALUE, sealer)
    history.put_tombstone(sealed(sealer), VALUE, sealer)
    for _ in range(2):
        marked_as_deleted(either, bucket)
    assert history.has_tombstone(KEY_ID)
    opened, value = history.open_tombstone(KEY_ID, sealer)
    assert (opened.name, value) == (a_tombstone(KEY_ID).name, VALUE)
    history.destroy_tombstone(KEY_ID)
    assert not history.has_tombstone(KEY_ID)
    assert versions(either, bucket) == []


@pytest.mark.parametrize("call", ["s3.get_object", "kms.decrypt"])
@pytest.mark.parametrize(
    "code", ["AccessDenied", "AccessDeniedException", "InternalError", "KMSInvalidStateException"]
)
def test_a_tombstone_that_cannot_be_read_right_now_may_be_opened_later(
    sealer: ValueSealer, either: Clients, bucket: str, call: str, code: str
) -> None:
    broken = [False]

    def around(name: str, do: Callable[[], Any]) -> Any:
        if broken[0] and name == call:
            raise refused("Any", code, 500)
        return do()

    watched = ValueSealer(Watched(either.kms, "kms", around), either.key_arn)
    history = HistoryBucket(Watched(either.s3, "s3", around), bucket)
    tombstone = sealed(sealer)
    history.put_tombstone(tombstone, VALUE, watched)
    broken[0] = True
    with pytest.raises(TombstoneUnreadable) as err:
        history.open_tombstone(KEY_ID, watched)
    assert err.value.transient
    broken[0] = False
    assert history.open_tombstone(KEY_ID, watched) == (tombstone, VALUE)


def test_no_error_of_a_tombstone_holds_its_value(
    sealer: ValueSealer, either: Clients, bucket: str
) -> None:
    def around(name: str, do: Callable[[], Any]) -> Any:
        raise refused(VALUE.reveal(), "InternalError", 500)

    watched = ValueSealer(Watched(either.kms, "kms", around), either.key_arn)
    history = HistoryBucket(either.s3, bucket)
    history.put_tombstone(sealed(sealer), VALUE, sealer)
    with pytest.raises(TombstoneUnreadable) as err:
        history.open_tombstone(KEY_ID, watched)
    shown = "".join(traceback.format_exception(err.value)) + repr(vars(err.value))
    assert VALUE.reveal() not in shown


def test_the_tombstones_of_a_key_and_of_one_whose_id_begins_so_are_destroyed_apart(
    history: HistoryBucket, sealer: ValueSealer, either: Clients, bucket: str
) -> None:
    history.put_tombstone(sealed(sealer), VALUE, sealer)
    either.s3.put_object(Bucket=bucket, Key=f"tombstones/{KEY_ID}0.json", Body=b"x")
    history.destroy_tombstone(KEY_ID)
    assert versions(either, bucket) == [f"tombstones/{KEY_ID}0.json"]


@pytest.mark.parametrize(
    "accident",
    [*ACCIDENTS.values(), another_value, another_name, marked_as_deleted],
    ids=[*ACCIDENTS, "of another value", "with another name", "under a delete marker"],
)
def test_only_a_tombstone_that_reads_back_and_opens_is_buried(
    sealer: ValueSealer, either: Clients, bucket: str, accident: Callable[[Clients, str], None]
) -> None:
    def around(name: str, call: Callable[[], Any]) -> Any:
        answer = call()
        if name == "s3.put_object":
            accident(either, bucket)
        return answer

    history = HistoryBucket(Watched(either.s3, "s3", around), bucket)
    with pytest.raises(TombstoneUnreadable):
        history.put_tombstone(sealed(sealer), VALUE, sealer)


@pytest.mark.parametrize("denied", ["s3.put_object", "s3.get_object", "kms.decrypt"])
def test_a_tombstone_that_may_not_be_written_or_opened_is_not_buried(
    either: Clients, bucket: str, denied: str
) -> None:
    def around(name: str, call: Callable[[], Any]) -> Any:
        if name == denied:
            raise refused("Any", "AccessDenied", 403)
        return call()

    sealer = ValueSealer(Watched(either.kms, "kms", around), either.key_arn)
    history = HistoryBucket(Watched(either.s3, "s3", around), bucket)
    with pytest.raises((TombstoneUnreadable, AccessDenied)):
        history.put_tombstone(sealed(sealer), VALUE, sealer)


def test_every_version_of_a_tombstone_is_destroyed_and_no_others(
    history: HistoryBucket, sealer: ValueSealer, either: Clients, bucket: str
) -> None:
    for owner in ("one", "two", "three"):
        history.put_tombstone(sealed(sealer, owner=owner), VALUE, sealer)
    either.s3.delete_object(Bucket=bucket, Key=NAME)
    history.put_tombstone(sealed(sealer), VALUE, sealer)
    either.s3.put_object(Bucket=bucket, Key=f"{NAME}.copy", Body=b"x")
    history.destroy_tombstone(KEY_ID)
    assert versions(either, bucket) == [f"{NAME}.copy"]
    assert not history.has_tombstone(KEY_ID)
    history.destroy_tombstone(KEY_ID)


def test_the_versions_of_all_pages_are_destroyed() -> None:
    client: Any = boto3.client(
        "s3", region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b"
    )
    page: dict[str, Any] = {"IsTruncated": True, "NextKeyMarker": NAME, "NextVersionIdMarker": "v1"}
    listed = {"Bucket": "bucket", "Prefix": NAME}
    with Stubber(client) as aws:
        aws.add_response(
            "list_object_versions", {**page, "Versions": [{"Key": NAME, "VersionId": "v1"}]}, listed
        )
        aws.add_response("delete_object", {}, {"Bucket": "bucket", "Key": NAME, "VersionId": "v1"})
        aws.add_response(
            "list_object_versions",
            {"IsTruncated": False, "DeleteMarkers": [{"Key": NAME, "VersionId": "v0"}]},
            {**listed, "KeyMarker": NAME, "VersionIdMarker": "v1"},
        )
        aws.add_response("delete_object", {}, {"Bucket": "bucket", "Key": NAME, "VersionId": "v0"})
        HistoryBucket(client, "bucket").destroy_tombstone(KEY_ID)
        aws.assert_no_pending_responses()


# --- errors ---------------------------------------------------------------------------------------

CALLS: dict[str, Callable[[HistoryBucket], Any]] = {
    "evidence": lambda history: history.evidence(TODAY),
    "evidence_before": lambda history: history.evidence_before(TODAY),
    "put_evidence": lambda history: history.put_evidence(an_evidence()),
    "usage": lambda history: history.usage(TODAY),
    "put_usage": lambda history: history.put_usage(TODAY, []),
    "keys": lambda history: history.keys(TODAY),
    "put_keys": lambda history: history.put_keys(TODAY, []),
    "put_dry_run": lambda history: history.put_dry_run(TODAY, []),
    "put_plan": lambda history: history.save_sweep_plan(a_plan(a_key())),
    "plan": lambda history: history.saved_sweep_plan("0123456789abcdef"),
    "put_approval": lambda history: history.put_approval("0123456789abcdef", TODAY, at(TODAY)),
    "has_tombstone": lambda history: history.has_tombstone(KEY_ID),
    "destroy_tombstone": lambda history: history.destroy_tombstone(KEY_ID),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_call_that_fails_says_so_in_an_error_of_ours(
    call: Callable[[HistoryBucket], Any],
) -> None:
    class Raises:
        def __init__(self, err: Exception) -> None:
            self._err = err

        def __getattr__(self, name: str) -> Any:
            def fail(**_: Any) -> Any:
                raise self._err

            return fail

    with pytest.raises(CallFailed, match="InternalError"):
        call(HistoryBucket(Raises(refused("Any", "InternalError", 500)), "bucket"))
    with pytest.raises(AccessDenied, match="s3:"):
        call(HistoryBucket(Raises(refused("Any", "AccessDenied", 403)), "bucket"))
    with pytest.raises(CallFailed, match="EndpointConnectionError"):
        call(HistoryBucket(Raises(EndpointConnectionError(endpoint_url="https://x")), "bucket"))


texts = st.text(st.sampled_from('{},:[]"\\\n\r\u2028aä'))
rows_of_any_shape = st.dictionaries(
    texts,
    st.recursive(
        st.none() | st.booleans() | st.integers() | texts,
        lambda inner: st.lists(inner) | st.dictionaries(texts, inner),
        max_leaves=6,
    ),
)


@pytest.mark.slow
@given(st.lists(rows_of_any_shape, max_size=5))
def test_rows_that_are_written_together_have_the_lines_that_each_has_alone(
    rows: list[dict[str, Any]],
) -> None:
    alone = [json.dumps(row, separators=(",", ":")) + "\n" for row in rows]
    assert "".join(_lines(rows)) == "".join(alone)


def test_more_rows_than_are_written_together_are_all_written() -> None:
    rows = [{"number": number} for number in range(2 * ROWS_AT_ONCE + 1)]
    assert [json.loads(line) for line in "".join(_lines(rows)).splitlines()] == rows


def test_a_file_of_an_audit_folder_is_read_back_and_a_manifest_is_written_once(
    history: HistoryBucket,
) -> None:
    assert history.audit_file("2026-10", "manifest.sha256") is None
    for body in (b"first\n", b"second\n"):
        history.put_audit_file("2026-10", "population.csv", body)
        name = history.put_audit_file("2026-10", "manifest.sha256", body, once=True)
        assert name == "audit/2026-10/manifest.sha256"
    assert history.audit_file("2026-10", "population.csv") == b"second\n"
    assert history.audit_file("2026-10", "manifest.sha256") == b"first\n"


def test_a_keys_file_without_a_line_is_there_all_the_same(history: HistoryBucket) -> None:
    assert not history.has_keys(TODAY)
    history.put_keys(TODAY, [])
    assert history.has_keys(TODAY)
    assert history.keys(TODAY) == []


def test_s3_keeps_a_locked_file_and_takes_none_where_object_lock_is_off(moto: Clients) -> None:
    until = at(TODAY + DAY * 400)
    moto.s3.create_bucket(Bucket="locked", ObjectLockEnabledForBucket=True)
    HistoryBucket(moto.s3, "locked").put_audit_file(
        "2026-10", "manifest.sha256", b"digests\n", once=True, lock=("governance", until)
    )
    kept = moto.s3.head_object(Bucket="locked", Key="audit/2026-10/manifest.sha256")
    assert (kept["ObjectLockMode"], kept["ObjectLockRetainUntilDate"]) == ("GOVERNANCE", until)
    open_bucket = moto.new_bucket()
    with pytest.raises(CallFailed, match="InvalidRequest"):
        HistoryBucket(moto.s3, open_bucket).put_audit_file(
            "2026-10", "manifest.sha256", b"digests\n", lock=("governance", until)
        )
