"""Whatever breaks, and wherever: a request that is delivered again ends as if nothing had happened.

Every outward call of a run is cut off in its turn, as in test_faults.py: before AWS has carried it out
or after; or AWS refuses the one call, or loses its answer. What the run leaves, or all of its batch if
it died, is delivered again; a night may come before or after.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any

import pytest

from keyjanitor.domain.expiry.explained import in_words, laid_out
from keyjanitor.domain.expiry.ownership import RESTORE_MARKER
from keyjanitor.domain.expiry.row_reasons import Restored
from keyjanitor.domain.model.keys import State
from keyjanitor.domain.model.policy import OwnerRule
from keyjanitor.domain.model.records import FINAL, OwnerFrom, RequestRow, Row, row_id
from keyjanitor.domain.requests.key_request import OPERATOR
from tests.account import BUSY, Account
from tests.builders import ADMIN, DAY, PORTAL, TODAY
from tests.contract.services.test_faults import CUTS, EACH_CUT, Cut, Line
from tests.requesting import (
    TIER,
    Body,
    an_asking_policy,
    asked,
    assign,
    code_of,
    deliver,
    delivered,
    issue,
    issues,
    not_a_working_key,
    protect,
    release,
    renew,
    restore,
    revoke,
    rotate,
    settle,
    the_answer,
    the_row,
    undisturbed,
)

AccountMaker = Callable[..., Account]
LIVES: dict[str, Any] = {"never_used_days": 2, "grace_days": 2, "max_keys_per_owner": 1}
Between = Callable[[Account], Any]


@pytest.fixture
def account(an_account: AccountMaker, monkeypatch: pytest.MonkeyPatch) -> Account:
    """An account whose owners may have one key each; it waits for nothing but in its own time.

    Its usage was read the night before: a first reading writes a file for each of ninety days.
    """
    account = an_account(policy=an_asking_policy(**LIVES), today=TODAY - DAY)
    account.read()
    account.pass_day()
    monkeypatch.setattr(account.provision_keys, "pause", lambda seconds: None)
    monkeypatch.setattr("keyjanitor.services.expire_keys.outbox.now", lambda: account.real_now)
    return account


# --- what is cut off ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Scene:
    """Requests that are about to be delivered, and what is wrong once they were; [] is nothing."""

    bodies: Sequence[Body]
    wrong: Callable[[Account], list[str]]
    ends_with_a_night: bool = False  # which does what no delivery has to do


def walk(
    account: Account,
    scene: Scene,
    cut: Cut,
    *,
    between: Between = lambda _: None,
    at_once: bool = False,
    every: int = 1,
) -> Iterator[str]:
    """Cuts a delivery off at each of its calls; gives what is wrong after it was finished.

    If only `every` fourth or sixth call is cut off, then by each kind of cut others.
    """
    snapshot = account.snapshot()
    calls = calls_of(account, scene)
    assert scene.wrong(account) == []
    for number, name in list(enumerate(calls))[CUTS.index(cut) % every :: every]:
        account.go_back(snapshot)
        yield from (
            f"{name} (call {number}): {fault}"
            for fault in delivered_with(account, scene, [cut(number)], between, at_once)
        )


def calls_of(account: Account, scene: Scene) -> list[str]:
    """The calls of a delivery that nothing disturbs."""
    account.around = line = Line()
    assert account.ask(*scene.bodies) == []
    account.around = undisturbed
    return line.calls


def delivered_with(
    account: Account,
    scene: Scene,
    faults: Sequence[Line],
    between: Between = lambda _: None,
    at_once: bool = False,
) -> list[str]:
    """What is wrong once requests were delivered through these faults, and once a night later."""
    deliver(
        account,
        *scene.bodies,
        faults=faults,
        between=lambda: between(account),
        at_once=at_once,
    )
    settle(account)
    found = [] if scene.ends_with_a_night else everything_wrong(account, scene)
    a_night(account)
    return found + [f"a night later: {fault}" for fault in everything_wrong(account, scene)]


def everything_wrong(account: Account, scene: Scene) -> list[str]:
    return [*scene.wrong(account), *loose_ends(account, scene)]


def a_night(account: Account) -> None:
    """Tonight's sweep; a second one of the same date finds the evidence there."""
    if account.evidence() is None:
        account.read()
    account.sweep()


def loose_ends(account: Account, scene: Scene) -> list[str]:
    """What no delivery may leave behind, whatever it was about."""
    rows = account.request_store.requests([body["request_id"] for body in scene.bodies])
    markers = [
        key_id
        for key_id in account.gateway.ids
        if account.gateway.whole(key_id)[0].name.startswith(RESTORE_MARKER)
    ]
    owners = Counter(
        row.owner for row in account.ledger.live_rows().values() if row.owner and not row.rotated_to
    )
    batches = account.request_store.admissions().batches.values()
    found = {
        "keys under a marker": markers,
        "second keys of one owner": [owner for owner, keys in owners.items() if keys > 1],
        "events that wait": account.ledger.unsent(),
        "slots that are kept": [batch for batch in batches if batch.until > account.real_now],
        "requests that are not closed": [row for row in rows.values() if not is_closed(row)],
        "claims": [row for row in account.rows().values() if row.claim],
        "plans made twice": [
            name
            for name, plans in Counter(p.name for p in account.gateway.usage_plans()).items()
            if plans > 1
        ],
    }
    return [f"{what}: {which}" for what, which in found.items() if which]


def is_closed(row: RequestRow) -> bool:
    return row.status in FINAL and (row.holder, row.held_until, row.grant) == (None, None, None)


def three_issues(account: Account) -> Scene:
    """Three keys, in a tier whose plan has to be made."""
    bodies = issues(3)

    def wrong(account: Account) -> list[str]:
        found = [fault for body in bodies for fault in not_a_working_key(account, body)]
        if found:
            return found
        ids = [the_answer(account, body)[1]["key_id"] for body in bodies]
        if sorted(account.gateway.ids) != sorted([BUSY, *ids]):
            found.append(f"there are keys {account.gateway.ids}")
        if set(account.rows()) - {BUSY} != set(ids):
            found.append(f"there are rows {list(account.rows())}")
        rows = [the_row(account, key_id) for key_id in ids]
        if rows != [an_issued_row(account, body) for body in bodies]:
            found.append(f"the rows are {rows}")
        if len(account.gateway.usage_plans()) != 2:
            found.append(f"the plans are {account.gateway.usage_plans()}")
        return found

    return Scene(bodies, wrong)


def an_issued_row(account: Account, body: Body, **more: Any) -> Row:
    """The row of a key that a request has brought."""
    _, detail = the_answer(account, body)
    values: dict[str, Any] = {
        "owner": body["owner"],
        "name": body["name"],
        "request_ids": (row_id(body["request_id"], account.asker),),
        **more,
    }
    return Row(
        key_id=detail["key_id"],
        state=State.ACTIVE,
        tier=TIER,
        issued=True,
        adopted_on=TODAY,
        our_update=account.gateway.whole(detail["key_id"])[0].last_updated_date,
        usage_plan_ids=(detail["usage_plan_id"],),
        sender=account.asker,
        deliver_to=PORTAL,
        **values,
    )


def a_rotation(account: Account) -> Scene:
    first = issue()
    old = asked(account, first)
    was, old_row = account.gateway.whole(old), the_row(account, old)
    body = rotate(old)

    def wrong(account: Account) -> list[str]:
        if found := not_a_working_key(account, body):
            return found
        detail_type, detail = the_answer(account, body)
        new = detail["key_id"]
        expires_on = TODAY + DAY * 7
        row = an_issued_row(
            account,
            body
            | {"owner": first["owner"], "name": first["name"], "request_id": body["request_id"]},
        )
        expected = {
            "event": detail_type == "Key Rotated" and detail["previous_key_id"] == old,
            "end": detail["previous_key_ends_on"] == str(expires_on),
            "keys": sorted(account.gateway.ids) == sorted([BUSY, old, new]),
            "old key": account.gateway.whole(old) == was,
            "old row": the_row(account, old)
            == replace(old_row, expires_on=expires_on, rotated_to=new),
            "new row": the_row(account, new) == row,
        }
        return [what for what, holds in expected.items() if not holds]

    return Scene([body], wrong)


def parked(account: Account) -> tuple[str, str, Row]:
    """The id of a key that was issued and parked since, its value, and its row."""
    key_id = asked(account, issue())
    value = delivered(account, the_answer(account, issue())[1])
    for _ in range(5):
        account.night()
        account.pass_day()
    account.night()
    row = the_row(account, key_id)
    assert row.state is State.PARKED
    account.pass_day()
    return key_id, value, row


def a_restore(account: Account) -> Scene:
    key_id, value, before = parked(account)
    body = restore(key_id)
    name = next(iter(account.buried().values()))[0].name

    def wrong(account: Account) -> list[str]:
        _, detail = the_answer(account, body)
        new = detail["key_id"]
        if sorted(account.gateway.ids) != sorted([BUSY, new]):
            return [f"there are keys {account.gateway.ids}"]
        key, its_value, plans = account.gateway.whole(new)
        row = the_row(account, new)
        expected = {
            "key": (its_value, key.name, key.enabled, plans)
            == (value, name, True, before.usage_plan_ids),
            "tombstone": account.versions("tombstones/") == [],
            "former row": the_row(account, key_id)
            == replace(
                before,
                state=State.RESTORED,
                new_key_id=new,
                **laid_out(Restored()),
                restored_on=account.today,
            ),
            "row": row
            == Row(
                key_id=new,
                state=State.ACTIVE,
                tier=TIER,
                owner=before.owner,
                name=before.name,
                issued=True,
                adopted_on=account.today,
                **laid_out(Restored()),
                restored_on=account.today,
                regretted_on=account.today,
                was_parked_on=before.parked_on,
                first_created_on=TODAY,
                our_update=key.last_updated_date,
                usage_plan_ids=plans,
                previous_key_ids=(key_id,),
                sender=account.asker,
                deliver_to=PORTAL,
                request_ids=(row_id("issue-1", account.asker),),
            ),
            "event": detail["previous_key_id"] == key_id,
        }
        return [what for what, holds in expected.items() if not holds]

    return Scene([body], wrong, ends_with_a_night=True)


def a_renewal(account: Account) -> Scene:
    """The renewal of a key that a sweep has disabled."""
    key_id = asked(account, issue())
    for _ in range(3):
        account.night()
        account.pass_day()
    account.night()
    assert the_row(account, key_id).state is State.DISABLED
    account.pass_day()

    def wrong(account: Account) -> list[str]:
        row = the_row(account, key_id)
        expected = {
            "key": account.enabled(key_id),
            "row": (row.state, row.renewed_on, row.park_on, row.warned_on)
            == (State.ACTIVE, account.today, None, None),
            "event": the_answer(account, renew(key_id))[0] == "Key Renewed",
        }
        return [what for what, holds in expected.items() if not holds]

    return Scene([renew(key_id)], wrong)


def a_revocation(account: Account) -> Scene:
    key_id = asked(account, issue())
    return revoked(account, key_id)


def a_revocation_of_a_parked_key(account: Account) -> Scene:
    key_id, _, _ = parked(account)
    return revoked(account, key_id)


def revoked(account: Account, key_id: str) -> Scene:
    before = the_row(account, key_id)
    body = revoke(key_id, reason="it leaked")

    def wrong(account: Account) -> list[str]:
        row = replace(
            before,
            state=State.REVOKED,
            **in_words("it leaked"),
            revoked_on=account.today,
            revoked_by=account.asker,
            warned_on=None,
            purge_on=None,
            missing_since=the_row(account, key_id).missing_since,
        )
        request = account.request_store.requests(["issue-1"])["issue-1"]
        expected = {
            "keys": account.gateway.ids == [BUSY],
            "row": the_row(account, key_id) == row,
            "tombstone": account.versions("tombstones/") == [],
            "event": the_answer(account, body)[0] == "Key Revoked",
            "first answer": request.detail_type == "Key Revoked"
            and "sealed_value" not in request.detail,
        }
        return [what for what, holds in expected.items() if not holds]

    return Scene([body], wrong)


def one_of_each(account: Account) -> Scene:
    """A batch of every kind of request that leaves its key alive, and of some that are refused."""
    ids = [asked(account, issue(number)) for number in range(101, 106)]
    expected = {
        "Key Issued": issue(1),
        "Key Rotated": rotate(ids[0]),
        "Key Renewed": renew(ids[1]),
        "Key Protected": protect(ids[2], TODAY + DAY * 30),
        "Key Released": release(ids[3]),
        "Key Revoked": revoke(ids[4]),
        "invalid_request": issue(2, expires_on="1999-12-31"),
        "recipient_not_allowed": issue(3, deliver_to="nobody"),
        "unknown_key": renew("nothing"),
        "too_many_keys": issue(4, owner="owner-103"),
    }
    bodies = list(expected.values())

    def wrong(account: Account) -> list[str]:
        codes = [code_of(account, body) for body in bodies]
        if codes != list(expected):
            return [f"they are answered by {codes}"]
        found = [*not_a_working_key(account, issue(1)), *not_a_working_key(account, bodies[1])]
        if len(account.gateway.ids) != 7:
            found.append(f"there are {len(account.gateway.ids)} keys")
        return found

    return Scene(bodies, wrong)


def an_assignment(account: Account) -> Scene:
    """An admin says whose an adopted key is, which a rule says too, and otherwise."""
    account.asker = ADMIN
    rule = OwnerRule("description", r"user=(?P<owner>\S+)")
    account.policy = replace(an_asking_policy(**LIVES), owners=(rule,))
    account.wire()
    account.key("old", description="user=found")
    a_night(account)
    body = assign("old", "ann", name="app", deliver_to=PORTAL)

    def wrong(account: Account) -> list[str]:
        row, told = the_row(account, "old"), account.told("old")
        whose = (row.owner, row.owner_from, row.name, row.deliver_to, row.issued)
        expected = {
            f"the ledger has {whose}": whose == ("ann", OwnerFrom.ASSIGNED, "app", PORTAL, False),
            f"it is answered by {code_of(account, body)}": code_of(account, body) == "Key Assigned",
            f"told are {told}": {*told} - {"Key Expiring"} == {"Key Assigned"},
        }
        return [what for what, holds in expected.items() if not holds]

    return Scene([body], wrong)


def the_last_slot(account: Account) -> Scene:
    """Three requests, of which the count admits all and AWS one: others have made keys meanwhile."""
    account.policy = an_asking_policy(**LIVES, policy={"service_quota": 6})
    account.wire()
    account.gateway.key_limit = 6
    asked(account, issue(101))
    for index in range(3):
        account.key(f"other{index}", plans=())
    bodies = issues(3)

    def wrong(account: Account) -> list[str]:
        codes = Counter(code_of(account, body) for body in bodies)
        if codes != {"Key Issued": 1, "capacity_exhausted": 2}:
            return [f"they are answered by {codes}"]
        (made,) = [body for body in bodies if code_of(account, body) == "Key Issued"]
        return not_a_working_key(account, made) + (
            [] if len(account.gateway.ids) == 6 else [f"there are keys {account.gateway.ids}"]
        )

    return Scene(bodies, wrong)


def a_bad_row(account: Account) -> Scene:
    """Three requests, of which one spoils the import."""
    account.gateway.spoiled = "name=bad"
    bodies = [issue(1), issue(2, name="bad"), issue(3)]

    def wrong(account: Account) -> list[str]:
        codes = [code_of(account, body) for body in bodies]
        if codes != ["Key Issued", "invalid_request", "Key Issued"]:
            return [f"they are answered by {codes}"]
        found = [fault for body in bodies[::2] for fault in not_a_working_key(account, body)]
        return found + (
            [] if len(account.gateway.ids) == 3 else [f"there are keys {account.gateway.ids}"]
        )

    return Scene(bodies, wrong)


# Of these every call is cut off in every way.
PROMISED: list[Callable[[Account], Scene]] = [
    three_issues,
    a_rotation,
    a_restore,
    a_renewal,
    a_revocation,
    a_revocation_of_a_parked_key,
]
SCENES = [*PROMISED, one_of_each, the_last_slot, a_bad_row]


PAIRS = 12  # of faults, by scene


@pytest.fixture
def operator(account: Account) -> Account:
    """The same account, in which an operator asks for everything by invoking the function."""
    account.asker = OPERATOR
    account.policy = an_asking_policy(**LIVES, senders=(), admins=())
    account.wire()
    return account


# What an operator asks for is carried out by the same code as what a message asks for, which is cut
# off in each scene (below): one scene shows quickly that the operator's way into it holds.
OPERATORS_SCENES = [
    three_issues,
    *(pytest.param(one, marks=pytest.mark.slow) for one in (*PROMISED[1:], one_of_each)),
]


@pytest.mark.slow
@pytest.mark.parametrize("cut", EACH_CUT)
@pytest.mark.parametrize("scene", OPERATORS_SCENES)
def test_an_operators_request_cut_off_at_any_call_and_sent_again_ends_where_it_would_have_ended(
    operator: Account, scene: Callable[[Account], Scene], cut: Cut
) -> None:
    every = 1 if scene in PROMISED else 6
    assert list(walk(operator, scene(operator), cut, every=every)) == []


@pytest.mark.parametrize("cut", EACH_CUT)
@pytest.mark.parametrize("scene", PROMISED)
def test_a_request_cut_off_at_any_call_and_delivered_again_ends_where_it_would_have_ended(
    account: Account, scene: Callable[[Account], Scene], cut: Cut
) -> None:
    assert list(walk(account, scene(account), cut)) == []


@pytest.mark.slow
@pytest.mark.parametrize("cut", EACH_CUT)
@pytest.mark.parametrize("scene", [three_issues, a_rotation])
def test_it_ends_so_too_if_an_import_over_a_key_that_is_there_is_refused(
    account: Account, scene: Callable[[Account], Scene], cut: Cut
) -> None:
    account.gateway.upserts_warn = True
    assert list(walk(account, scene(account), cut)) == []


@pytest.mark.parametrize("cut", EACH_CUT)
def test_an_assignment_cut_off_at_any_call_is_made_once(account: Account, cut: Cut) -> None:
    assert list(walk(account, an_assignment(account), cut)) == []
    assert list(walk(account, an_assignment(account), cut, between=a_night)) == []


@pytest.mark.slow
@pytest.mark.parametrize("cut", EACH_CUT)
@pytest.mark.parametrize("scene", [one_of_each, the_last_slot, a_bad_row])
def test_requests_that_are_refused_beside_others_make_no_difference(
    account: Account, scene: Callable[[Account], Scene], cut: Cut
) -> None:
    assert list(walk(account, scene(account), cut, every=6)) == []


# Who ends before a call ends after the one before it.
@pytest.mark.parametrize("cut", EACH_CUT[1:])
@pytest.mark.parametrize("scene", PROMISED)
@pytest.mark.slow
def test_a_night_between_the_cut_and_the_next_delivery_makes_no_difference(
    account: Account, scene: Callable[[Account], Scene], cut: Cut
) -> None:
    assert list(walk(account, scene(account), cut, between=a_night, every=4)) == []


@pytest.mark.parametrize("cut", EACH_CUT[1:])
@pytest.mark.parametrize("scene", PROMISED)
@pytest.mark.slow
def test_what_is_left_may_be_delivered_again_at_once(
    account: Account, scene: Callable[[Account], Scene], cut: Cut
) -> None:
    assert list(walk(account, scene(account), cut, at_once=True, every=4)) == []


@pytest.mark.parametrize("scene", SCENES)
@pytest.mark.sampled
def test_two_faults_one_after_the_other_make_no_difference(
    account: Account, scene: Callable[[Account], Scene]
) -> None:
    played = scene(account)
    snapshot = account.snapshot()
    calls = calls_of(account, played)
    chance = Random(1)
    wrong = []
    for _ in range(PAIRS):
        faults = [(chance.choice(CUTS), chance.randrange(len(calls))) for _ in range(2)]
        account.go_back(snapshot)
        found = delivered_with(account, played, [cut(number) for cut, number in faults])
        named = ", ".join(f"{cut.__name__} {calls[number]} ({number})" for cut, number in faults)
        wrong += [f"{named}: {fault}" for fault in found]
    assert wrong == []
