"""A folder of what the AWS CLI printed becomes keys and evidence, or what is missing is unknown."""

import json
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from keyjanitor.domain.model.keys import ApiKey
from keyjanitor_cli.whatif.account import Account, read_account
from keyjanitor_cli.whatif.errors import FolderRefused, ValuesInFiles
from keyjanitor_cli.whatif.pages import Folder
from keyjanitor_cli.whatif.showing import page_of
from keyjanitor_cli.whatif.verdicts import judge
from tests.builders import DAY, PLAN_ID, TODAY, a_policy, a_tier, at, days_ago, pairs
from tests.unit.whatif.files import (
    a_folder,
    a_plan_item,
    an_item,
    ask,
    usage_pages,
    write,
    write_pages,
)

VALUE = "vaLue0fAKeyThatNobodyMaySee4711"
IDLE = {days_ago(70): 3}
USED = {days_ago(1): 1}


def read(folder: Path) -> Account:
    return read_account(Folder(folder))


def words(folder: Path) -> dict[str, str]:
    """The verdict on every key, under the tests' own policy."""
    plan = judge(read(folder), a_policy()).plan
    return {verdict.key.key_id: verdict.word for verdict in plan.verdicts}


def whys(folder: Path) -> dict[str, str]:
    plan = judge(read(folder), a_policy()).plan
    return {verdict.key.key_id: str(verdict.because) for verdict in plan.verdicts}


def test_all_pages_are_read_and_judged(tmp_path: Path) -> None:
    folder = a_folder(tmp_path / "account", {"idle": IDLE, "used": USED, "silent": {}})
    assert words(folder) == {"busy": "keep", "idle": "warn", "used": "keep", "silent": "warn"}
    account = read(folder)
    assert account.today == TODAY
    assert account.evidence.last_used == {"busy": TODAY, "idle": days_ago(70), "used": days_ago(1)}


def test_a_key_reads_as_the_gateway_reads_it(tmp_path: Path) -> None:
    named = {"description": "d", "customerId": "c", "stageKeys": ["api1/prod"]}
    orphan = an_item("orphan", age=30, enabled=False, **named)
    folder = a_folder(tmp_path / "account", {}, orphan, tags={"orphan": {"team": "b"}})
    assert read(folder).keys[-1] == ApiKey(
        key_id="orphan",
        name="name of orphan",
        enabled=False,
        created_date=at(days_ago(30)),
        last_updated_date=at(days_ago(30)),
        description="d",
        customer_id="c",
        stage_keys=("api1/prod",),
        tags={"team": "b"},
    )


def test_dates_are_read_as_either_version_of_the_cli_prints_them(tmp_path: Path) -> None:
    made = datetime(2026, 5, 4, 23, 30, tzinfo=UTC)
    local = made.astimezone(timezone(timedelta(hours=2))).isoformat()
    one, two = (
        an_item("v1", createdDate=made.timestamp(), lastUpdatedDate=int(made.timestamp())),
        an_item("v2", createdDate=local, lastUpdatedDate="2026-05-04T23:30:00+00:00"),
    )
    folder = a_folder(tmp_path / "account", {}, one, two)
    told = {key.key_id: (key.created_date, key.last_updated_date) for key in read(folder).keys}
    assert told["v1"] == told["v2"] == (made, made)


def test_tags_shield_keys_as_they_do_at_night(tmp_path: Path) -> None:
    tags = {"mine": {"aws:cloudformation:stack-name": "shop"}, "kept": {"keyjanitor:keep": ""}}
    folder = a_folder(tmp_path / "account", {"mine": IDLE, "kept": IDLE, "idle": IDLE}, tags=tags)
    found = words(folder)
    assert (found["mine"], found["kept"], found["idle"]) == ("protected", "protected", "warn")


# --- what is missing is unknown -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        (f"usage.{PLAN_ID}.0002.json", "the usage of its plan plan1 was not read"),
        (f"usage.{PLAN_ID}.0001.json", "the usage of its plan plan1 was not read"),
        (f"members.{PLAN_ID}.0002.json", "the keys of usage plan plan1 were not read"),
        (f"members.{PLAN_ID}.0001.json", "the keys of usage plan plan1 were not read"),
        ("tags.json", "its tags could not be read"),
    ],
)
def test_a_page_that_is_missing_or_cut_off_makes_idle_keys_unknown(
    tmp_path: Path, name: str, reason: str
) -> None:
    folder = a_folder(tmp_path / "account", {"idle": IDLE, "used": USED, "silent": {}})
    file = folder / name
    file.write_bytes(file.read_bytes()[:-40])
    assert words(folder)["idle"] == words(folder)["silent"] == "unknown"
    assert whys(folder)["idle"] == reason
    file.unlink()
    assert whys(folder)["idle"] == reason


def test_no_missing_or_cut_off_file_makes_any_key_idle(tmp_path: Path) -> None:
    folder = a_folder(
        tmp_path / "account", {"idle": IDLE, "used": USED, "k3": {}, "k4": USED}, an_item("orphan")
    )
    warned = {key_id for key_id, word in words(folder).items() if word == "warn"}
    refused = []
    for file in sorted(folder.iterdir()):
        whole = file.read_bytes()
        for length in (0, 1, len(whole) // 2, len(whole) - 2):
            file.write_bytes(whole[:length])
            try:
                found = words(folder)
            except FolderRefused:
                refused.append(file.name)
                continue
            assert {key_id for key_id, word in found.items() if word == "warn"} <= warned
        file.write_bytes(whole)
    assert set(refused) == {
        *("api-keys.0001.json", "api-keys.0002.json", "days.txt"),
        *("usage-plans.0001.json", "usage-plans.0002.json"),
    }


@pytest.mark.parametrize("what", ["api-keys", "usage-plans"])
def test_a_list_that_is_not_whole_is_refused_and_named(tmp_path: Path, what: str) -> None:
    folder = a_folder(tmp_path / "account", {"idle": IDLE})
    (folder / f"{what}.0002.json").unlink()
    with pytest.raises(FolderRefused, match=f"{what}: page 1 says that another follows"):
        read(folder)


def test_a_list_that_was_printed_in_part_is_refused(tmp_path: Path) -> None:
    folder = a_folder(tmp_path / "account", {"idle": IDLE})
    (folder / "api-keys.0002.json").unlink()
    part = {"items": [an_item("busy")], "NextToken": "--max-items was given"}
    write(folder, "api-keys.0001.json", part)
    with pytest.raises(FolderRefused, match="page 1 says that another follows"):
        read(folder)


def test_what_the_cli_merges_by_itself_is_not_taken_for_the_whole_use(tmp_path: Path) -> None:
    folder = a_folder(tmp_path / "account", {"idle": IDLE})
    for file in folder.glob("usage.*"):
        file.unlink()
    merged = usage_pages({"busy": USED})[0]  # nothing in it tells that it was the first of several
    write(folder, f"usage.{PLAN_ID}.0001.json", merged)
    assert words(folder) == {"busy": "unknown", "idle": "unknown"}


def test_a_page_of_members_that_does_not_say_which_it_is_is_not_taken_for_all(
    tmp_path: Path,
) -> None:
    """`--no-paginate` prints the first page, and `--query` drops what told that it is the first."""
    folder = a_folder(tmp_path / "account", {"idle": IDLE, "used": USED})
    for file in folder.glob("members.*"):
        file.unlink()
    write(folder, f"members.{PLAN_ID}.0001.json", {"items": [{"id": "busy"}]})
    assert set(whys(folder).values()) == {"the keys of usage plan plan1 were not read"}


def test_a_page_left_from_an_earlier_reading_is_noticed(tmp_path: Path) -> None:
    folder = a_folder(tmp_path / "account", {"idle": IDLE})
    stale = {**usage_pages({"busy": USED})[0], "page": "2", "position": None}
    write(folder, f"usage.{PLAN_ID}.0002.json", stale)
    assert words(folder)["idle"] == "unknown"


def test_pages_that_lead_in_a_circle_are_noticed(tmp_path: Path) -> None:
    folder = a_folder(tmp_path / "account", {"a": IDLE, "b": IDLE, "c": IDLE, "d": IDLE})
    for number in (1, 2):
        file = folder / f"usage.{PLAN_ID}.000{number}.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), "position": "round"}))
    assert words(folder)["a"] == "unknown"


def test_use_of_fewer_days_is_refused(tmp_path: Path) -> None:
    folder = a_folder(tmp_path / "account", {"idle": IDLE})
    (folder / "days.txt").write_text(f"{days_ago(30)} {TODAY}")
    with pytest.raises(FolderRefused, match="30 days back, and 90 are needed"):
        read(folder)


@pytest.mark.parametrize("days", [None, "", "2026-11-21", "tomorrow today"])
def test_a_folder_without_its_days_says_which_command_writes_one(
    tmp_path: Path, days: str | None
) -> None:
    folder = a_folder(tmp_path / "account", {"idle": IDLE})
    (folder / "days.txt").unlink()
    if days is not None:
        (folder / "days.txt").write_text(days)
    code, printed = ask("--folder", str(folder))
    assert code == 1
    assert "days.txt" in printed
    assert "whatif --save" in " ".join(printed.split())


def test_use_of_other_days_than_the_folder_says_is_unknown(tmp_path: Path) -> None:
    folder = a_folder(tmp_path / "account", {"idle": IDLE})
    (folder / "days.txt").write_text(f"{days_ago(80)} {TODAY + DAY * 10}")
    assert words(folder)["idle"] == "unknown"


def test_pages_of_another_plan_are_unknown(tmp_path: Path) -> None:
    folder = a_folder(tmp_path / "account", {"idle": IDLE})
    write_pages(folder, f"usage.{PLAN_ID}", usage_pages({"idle": IDLE}, plan_id="another"))
    assert words(folder)["idle"] == "unknown"


def test_a_plan_of_which_nothing_was_saved_leaves_nobody_judged(tmp_path: Path) -> None:
    folder = a_folder(tmp_path / "account", {"idle": IDLE})
    plans = [a_plan_item(), a_plan_item("plan2", "other")]
    write_pages(folder, "usage-plans", [{"items": plans}, {"items": []}])
    assert whys(folder)["idle"] == "the keys of usage plan plan2 were not read"


def test_an_empty_list_of_keys_is_no_proof_that_there_are_none(tmp_path: Path) -> None:
    folder = a_folder(tmp_path / "account", {"idle": IDLE})
    write_pages(folder, "api-keys", [{"items": []}, {"items": []}])
    with pytest.raises(FolderRefused, match="no key is listed, but usage plans have some"):
        read(folder)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("keys", "unlisted"), [(40, 6), (700, 8)], ids=["some", "one of a hundred"]
)
def test_a_list_that_lacks_many_keys_of_usage_plans_is_refused(
    tmp_path: Path, keys: int, unlisted: int
) -> None:
    """A few may be made or deleted while the lists are read, and the rest is judged."""
    folder = a_folder(tmp_path / "account", {f"k{n:03}": USED for n in range(keys - 1)})
    for lacking in (unlisted - 1, unlisted):
        listed = ["busy", *(f"k{n:03}" for n in range(keys - 1))][: keys - lacking]
        write_pages(folder, "api-keys", [{"items": [an_item(key_id) for key_id in listed]}])
        (folder / "api-keys.0002.json").unlink(missing_ok=True)
        if lacking < unlisted:
            assert [key.key_id for key in read(folder).keys] == listed
    with pytest.raises(
        FolderRefused, match=f"^api-keys: .*{unlisted} keys of usage plans are not in it"
    ):
        read(folder)


def test_tags_of_which_more_were_to_come_are_unknown(tmp_path: Path) -> None:
    folder = a_folder(tmp_path / "account", {"idle": IDLE})
    for field in ("PaginationToken", "NextToken"):
        write(folder, "tags.json", {"ResourceTagMappingList": [], field: "more"})
        assert not read(folder).tags_known
        assert words(folder)["idle"] == "unknown"


# --- values, and hostile content ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "spoil"),
    [
        ("api-keys.0001.json", lambda page: page["items"][0].update(value=VALUE)),
        (f"members.{PLAN_ID}.0001.json", lambda page: page["items"][0].update(value=VALUE)),
        ("my-own-list.json", lambda page: page.update(items=[{"id": "k", "value": VALUE}])),
    ],
)
def test_a_file_with_key_values_is_refused_and_never_told(
    tmp_path: Path, name: str, spoil: Callable[[dict[str, object]], None]
) -> None:
    folder = a_folder(tmp_path / "account", {"idle": IDLE})
    file = folder / name
    page = json.loads(file.read_text()) if file.exists() else {}
    spoil(page)
    file.write_text(json.dumps(page))
    with pytest.raises(ValuesInFiles) as err:
        read(folder)
    assert err.value.files == [name]
    assert "Delete it now" in str(err.value)
    assert VALUE not in str(err.value)
    assert err.value.__context__ is None


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_values_are_found_in_a_file_that_was_cut_off_too(tmp_path: Path, encoding: str) -> None:
    folder = a_folder(tmp_path / "account", {"idle": IDLE})
    text = json.dumps({"items": [{"id": "k", "value": VALUE}, {"id": "k2"}]}, indent=4)
    (folder / "keys.txt").write_bytes(text[:-30].encode(encoding))
    with pytest.raises(ValuesInFiles, match=r"^keys\.txt: "):
        read(folder)


def test_a_tag_or_a_name_that_speaks_of_a_value_is_none(tmp_path: Path) -> None:
    odd = an_item("odd", name='"value": "x"', tags={"value": "x"})
    folder = a_folder(tmp_path / "account", {}, odd, tags={"odd": {"value": "y"}})
    assert read(folder).keys[-1].tags == {"value": "y"}


@pytest.mark.parametrize(
    "item",
    [
        {"id": 7},
        "k1",
        None,
        an_item("k", enabled="true"),
        an_item("k", createdDate=True),
        an_item("k", createdDate=1e300),
        an_item("k", lastUpdatedDate="yesterday"),
        {name: told for name, told in an_item("k").items() if name != "createdDate"},
    ],
)
def test_a_key_of_another_shape_is_refused_without_its_content(
    tmp_path: Path, item: object
) -> None:
    folder = a_folder(tmp_path / "account", {"idle": IDLE})
    write_pages(folder, "api-keys", [{"items": [item]}, {"items": []}])
    with pytest.raises(FolderRefused, match="api-keys: "):
        read(folder)


@pytest.mark.parametrize(
    "page",
    [
        {"items": ["busy"]},
        {"items": {"busy": 1}},
        {"startDate": "?"},
        {"items": {"busy": "x"}},
        {"items": {"busy": [["a", "b"]] * 91}},
    ],
)
def test_use_of_another_shape_is_unknown(tmp_path: Path, page: dict[str, object]) -> None:
    folder = a_folder(tmp_path / "account", {"idle": IDLE})
    write_pages(folder, f"usage.{PLAN_ID}", [{**usage_pages({"idle": IDLE})[0], **page}])
    assert words(folder)["idle"] == "unknown"


def test_a_file_that_is_nested_without_end_is_no_page(tmp_path: Path) -> None:
    folder = a_folder(tmp_path / "account", {"idle": IDLE})
    (folder / f"usage.{PLAN_ID}.0001.json").write_text("[" * 100_000)
    assert words(folder)["idle"] == "unknown"


def test_a_folder_that_is_not_there_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(FolderRefused, match="there is no such folder"):
        Folder(tmp_path / "nowhere")


# --- as people printed them -----------------------------------------------------------------------


def test_a_page_as_api_gateway_sends_it_to_who_asks_without_an_sdk_is_refused(
    tmp_path: Path,
) -> None:
    folder = a_folder(tmp_path / "account", {"alive": USED})
    wire = {
        "_links": {"self": {"href": "/usageplans"}},
        "_embedded": {"item": {"id": PLAN_ID, "name": "external", "apiStages": []}},
    }
    for name in folder.glob("usage-plans.*"):
        name.unlink()
    write(folder, "usage-plans.0001.json", wire)
    with pytest.raises(FolderRefused, match="usage-plans: a page of it is of another shape"):
        read(folder)


@pytest.mark.parametrize("page", [{}, {"items": None}, {"items": {}}, {"items": ["k1"]}])
def test_a_page_of_keys_or_plans_without_its_list_is_refused(tmp_path: Path, page: object) -> None:
    for what in ("api-keys", "usage-plans"):
        folder = a_folder(tmp_path / what, {"alive": USED})
        for name in folder.glob(f"{what}.*"):
            name.unlink()
        write(folder, f"{what}.0001.json", page)
        with pytest.raises(FolderRefused):
            read(folder)


@pytest.mark.parametrize("page", [{}, {"items": None}, {"items": []}])
def test_a_page_of_usage_without_its_table_leaves_the_plan_unread(
    tmp_path: Path, page: dict[str, object]
) -> None:
    folder = a_folder(tmp_path / "account", {"idle": IDLE})
    days = {"startDate": str(days_ago(90)), "endDate": str(TODAY)}
    for name in folder.glob("usage.*"):
        name.unlink()
    write(
        folder, f"usage.{PLAN_ID}.0001.json", {"usagePlanId": PLAN_ID, "page": "1", **days, **page}
    )
    assert whys(folder)["idle"] == f"the usage of its plan {PLAN_ID} was not read"


@pytest.mark.parametrize("what", ["api-keys", "usage-plans", f"members.{PLAN_ID}"])
def test_a_list_in_the_place_of_the_object_that_the_cli_prints_is_named(
    tmp_path: Path, what: str
) -> None:
    folder = a_folder(tmp_path / "account", {"idle": IDLE})
    write(folder, f"{what}.0001.json", [an_item("idle")])
    told = f"{what}.0001.json holds a list; it wants the object that the CLI prints, docs/whatif.md"
    if what.startswith("members"):
        evidence = read(folder).evidence
        assert evidence.plans[PLAN_ID].unread == f"members: {told}"
        return
    with pytest.raises(FolderRefused, match=told):
        read(folder)


@pytest.mark.parametrize("between", ["", "\n", " \r\n "])
def test_pages_that_were_appended_to_one_file_are_named(tmp_path: Path, between: str) -> None:
    folder = a_folder(tmp_path / "account", {"idle": IDLE})
    file = folder / "api-keys.0001.json"
    file.write_text(file.read_text() + between + file.read_text())
    with pytest.raises(
        FolderRefused, match=r"api-keys\.0001\.json holds more than one JSON document"
    ):
        read(folder)


def test_values_in_pages_that_were_appended_are_found(tmp_path: Path) -> None:
    folder = a_folder(tmp_path / "account", {"idle": IDLE})
    file = folder / "api-keys.0001.json"
    file.write_text(file.read_text() + json.dumps({"items": [{"id": "k", "value": VALUE}]}))
    with pytest.raises(ValuesInFiles) as err:
        read(folder)
    assert VALUE not in str(err.value)


def test_a_file_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    folder = a_folder(tmp_path / "account", {"idle": IDLE})
    file = folder / "api-keys.0001.json"
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    assert words(folder)["idle"] == "warn"


def test_the_keys_of_a_plan_whose_stages_are_gone_are_unknown_and_reported(tmp_path: Path) -> None:
    plan = a_plan_item("lost", "lost", apiStages=[])
    folder = a_folder(tmp_path / "account", {"idle": IDLE})
    keys = {f"c{index}": {days_ago(back): 40 for back in range(65, 85)} for index in range(4)}
    add_plan(folder, plan, keys)
    judged = judge(read(folder), a_policy(a_tier(usage_plans=("external", "lost"))))
    why = "its plan lost opens no stage, so every call with it gets 403; put the stage back"
    found = {v.key.key_id: (v.word, str(v.because)) for v in judged.plan.verdicts}
    assert {key_id: found[key_id] for key_id in keys} == dict.fromkeys(keys, ("unknown", why))
    page = page_of(read(folder), judged, at(TODAY)).decode()
    assert "4 keys are in a usage plan that opens no stage" in page
    assert "locked out" not in page.split("<script")[0] + json.dumps(found)


def add_plan(folder: Path, plan: dict[str, Any], keys: dict[str, dict[date, int]]) -> None:
    """Adds a plan with its keys to the last page of each listing."""
    for what, items in (
        ("usage-plans", [plan]),
        ("api-keys", [an_item(key_id, age=400) for key_id in keys]),
    ):
        file = max(folder.glob(f"{what}.*.json"))
        page = json.loads(file.read_text())
        write(folder, file.name, {**page, "items": [*page["items"], *items]})
    plan_id = str(plan["id"])
    members = {"items": [{"id": key_id} for key_id in keys], "page": "1"}
    write(folder, f"members.{plan_id}.0001.json", members)
    days = {"startDate": str(days_ago(90)), "endDate": str(TODAY)}
    used = {key_id: pairs(on) for key_id, on in keys.items()}
    usage = {"usagePlanId": plan_id, "page": "1", **days, "items": used}
    write(folder, f"usage.{plan_id}.0001.json", usage)
