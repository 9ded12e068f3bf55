"""Two runs at once: of requests, and of requests and a sweep. Neither undoes what the other does.

The second run begins and ends right before a call of the first, each of them in its turn, as that of
another copy of the function may: between two calls nothing of the first can be seen from outside.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from random import Random
from typing import Any

import pytest

from keyjanitor.domain.expiry.ownership import RESTORE_MARKER
from keyjanitor.domain.model.keys import State
from keyjanitor.errors import AlreadyRunning
from sandbox.memory.clients.refusal import refused
from tests.account import BUSY, SENDER, Account, Call, Killed
from tests.builders import ADMIN, DAY, TODAY
from tests.contract.services.test_faults import EndsAfter, Line
from tests.requesting import (
    Body,
    an_asking_policy,
    an_asking_tier,
    asked,
    code_of,
    codes_of,
    deliver,
    delivered,
    issue,
    issues,
    key_of,
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
Act = Callable[[], Any]


@pytest.fixture
def account(an_account: AccountMaker, monkeypatch: pytest.MonkeyPatch) -> Account:
    """An account whose owners may have one key each; it waits for nothing but in its own time."""
    return impatient(an_account(policy=an_asking_policy(**LIVES)), monkeypatch)


LIVES: dict[str, Any] = {"never_used_days": 2, "max_keys_per_owner": 1}


def impatient(account: Account, monkeypatch: pytest.MonkeyPatch) -> Account:
    monkeypatch.setattr(account.provision_keys, "pause", lambda seconds: None)
    monkeypatch.setattr("keyjanitor.services.expire_keys.outbox.now", lambda: account.real_now)
    return account


class Meanwhile:
    """Has something else happen right before call number `at`."""

    def __init__(self, at: int | None, act: Act) -> None:
        self.calls: list[str] = []
        self._at = at
        self._act = act
        self._busy = False

    def __call__(self, name: str, call: Call) -> Any:
        if not self._busy:  # else it is a call of what happens meanwhile
            self.calls.append(name)
            if len(self.calls) - 1 == self._at:
                self._busy = True
                self._act()
                self._busy = False
        return call()


def moments(account: Account, run: Act, act: Act) -> Iterator[str]:
    """Runs `run` from the same beginning again and again, with `act` at each of its moments."""
    snapshot = account.snapshot()
    account.around = alone = Meanwhile(None, act)
    run()
    for number, name in enumerate(alone.calls):
        account.around = Meanwhile(number, act)
        account.go_back(snapshot)
        run()
        account.around = undisturbed
        yield f"before {name} (call {number})"


class Mail:
    """Messages that two copies of the function are given; what each leaves comes again to one."""

    def __init__(self, account: Account, sender: str) -> None:
        self._account = account
        self._sender = sender
        self.left: list[Body] = []

    def ask(self, *bodies: Body) -> Act:
        def run() -> None:
            left = self._account.ask(*bodies, sender=self._sender)
            self.left += [bodies[number] for number in left]

        return run

    def come_again(self) -> None:
        left, self.left = self.left, []
        self._account.real_now += SOON
        if left:
            deliver(self._account, *left, sender=self._sender)
        settle(self._account)


SOON = DAY / 24 / 60


@pytest.fixture
def mail(account: Account) -> Mail:
    return Mail(account, ADMIN)


# --- two copies of the function -------------------------------------------------------------------


def test_the_same_message_twice_at_once_brings_one_key(account: Account) -> None:
    mail = Mail(account, "AROASENDER")
    for moment in moments(account, mail.ask(*issues(2)), mail.ask(*issues(2))):
        mail.come_again()
        assert [not_a_working_key(account, body) for body in issues(2)] == [[], []], moment
        assert len(account.gateway.ids) == 3, moment
        assert len(account.rows()) == 2, moment
        assert len(account.gateway.usage_plans()) == 2, moment


def test_two_bodies_under_one_id_at_once_bring_one_key_and_one_conflict(account: Account) -> None:
    mail = Mail(account, "AROASENDER")
    other = issue(owner="another")
    for moment in moments(account, mail.ask(issue()), mail.ask(other)):
        mail.come_again()
        told = Counter(
            detail.get("code", detail_type)
            for detail_type, detail in {
                repr(one): one for one in account.answers("issue-1")
            }.values()
        )
        assert told == {"Key Issued": 1, "conflicting_request": 1}, moment
        assert len(account.gateway.ids) == 2, moment


def test_two_copies_that_need_a_plan_make_one(account: Account) -> None:
    mail = Mail(account, "AROASENDER")
    for moment in moments(account, mail.ask(issue(1)), mail.ask(issue(2))):
        mail.come_again()
        assert [not_a_working_key(account, body) for body in issues(2)] == [[], []], moment
        assert len(account.gateway.usage_plans()) == 2, moment


def test_two_requests_of_one_owner_at_once_do_not_pass_what_it_may_have(account: Account) -> None:
    mail = Mail(account, "AROASENDER")
    bodies = [issue(number, owner="the same") for number in (1, 2)]
    for moment in moments(account, mail.ask(bodies[0]), mail.ask(bodies[1])):
        mail.come_again()
        assert sorted(codes_of(account, bodies)) == ["Key Issued", "too_many_keys"], moment
        assert len(account.gateway.ids) == 2, moment


def test_two_requests_of_one_owner_at_once_are_granted_if_it_may_have_two(
    an_account: AccountMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No key is counted twice: neither as one that is being made and one that is there."""
    policy = an_asking_policy(max_keys_per_owner=2)
    account = impatient(an_account(policy=policy), monkeypatch)
    mail = Mail(account, "AROASENDER")
    bodies = [issue(number, owner="the same") for number in (1, 2)]
    refused = []
    for moment in moments(account, mail.ask(bodies[0]), mail.ask(bodies[1])):
        mail.come_again()
        if codes_of(account, bodies) != ["Key Issued", "Key Issued"]:
            refused.append(moment)
    assert refused == []


@pytest.mark.parametrize("counted_before", [False, True])
@pytest.mark.parametrize("room", [1, 3, 4])
@pytest.mark.sampled
def test_two_batches_at_once_do_not_pass_the_service_quota_and_take_all_of_it(
    an_account: AccountMaker, monkeypatch: pytest.MonkeyPatch, room: int, counted_before: bool
) -> None:
    """A count that was taken yesterday is taken anew before anybody is refused."""
    policy = an_asking_policy(policy={"service_quota": 1 + room})
    account = impatient(an_account(policy=policy), monkeypatch)
    if counted_before:
        account.gateway.delete(asked(account, issue(100)))
        account.pass_day()
    account.gateway.key_limit = 1 + room
    mail = Mail(account, "AROASENDER")
    bodies = issues(4)
    wrong = []
    for moment in moments(account, mail.ask(*bodies[:2]), mail.ask(*bodies[2:])):
        mail.come_again()
        codes = Counter(codes_of(account, bodies))
        if codes != Counter({"Key Issued": room, "capacity_exhausted": 4 - room}):
            wrong.append(f"{moment}: {dict(codes)}")
        assert len(account.gateway.ids) <= 1 + room, moment
    assert wrong == []


def test_two_batches_at_once_leave_a_reserve_to_those_it_is_for(
    an_account: AccountMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiers = (an_asking_tier(), an_asking_tier("partners", usage_plans=(), reserve=2))
    policy = an_asking_policy(*tiers, policy={"service_quota": 5})
    account = impatient(an_account(policy=policy), monkeypatch)
    mail = Mail(account, "AROASENDER")
    for moment in moments(account, mail.ask(*issues(2)), mail.ask(issue(3), issue(4))):
        mail.come_again()
        assert Counter(codes_of(account, issues(4)))["Key Issued"] <= 2, moment
        partners = [issue(number, tier="partners") for number in (5, 6)]
        assert deliver(account, *partners) == 1
        assert codes_of(account, partners) == ["Key Issued"] * 2, moment


def test_a_key_that_is_rotated_by_two_requests_at_once_has_one_that_takes_its_place(
    an_account: AccountMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = impatient(an_account(policy=an_asking_policy(max_keys_per_owner=3)), monkeypatch)
    mail = Mail(account, ADMIN)
    old = asked(account, issue())
    bodies = [rotate(old), rotate(old, request_id="another")]
    wrong = []
    for moment in moments(account, mail.ask(bodies[0]), mail.ask(bodies[1])):
        mail.come_again()
        codes = sorted(codes_of(account, bodies))
        if (codes, len(account.gateway.ids)) != (["Key Rotated", "too_many_keys"], 3):
            wrong.append(f"{moment}: {codes}, {len(account.gateway.ids)} keys")
    assert wrong == []


def a_parked_key(account: Account) -> tuple[str, str]:
    """The id and the value of a key that was issued, and parked by the nights since."""
    key_id = asked(account, issue())
    value = delivered(account, the_answer(account, issue())[1])
    for _ in range(4):
        account.night()
        account.pass_day()
    account.night()
    assert account.states()[key_id] == State.PARKED
    account.pass_day()
    return key_id, value


def test_a_key_that_is_restored_by_two_requests_at_once_comes_once(
    account: Account, mail: Mail
) -> None:
    key_id, value = a_parked_key(account)
    bodies = [restore(key_id), restore(key_id, request_id="another")]
    for moment in moments(account, mail.ask(bodies[0]), mail.ask(bodies[1])):
        mail.come_again()
        account.night()
        codes = set(codes_of(account, bodies))
        assert "Key Restored" in codes, moment
        assert codes <= {"Key Restored", "not_restorable"}, moment
        assert the_one_key(account) == value, moment
        assert account.versions("tombstones/") == [], moment


def the_one_key(account: Account) -> str:
    """The value of the one key beside the busy one, which is enabled and under its own name."""
    (key_id,) = set(account.gateway.ids) - {BUSY}
    key, value, plans = account.gateway.whole(key_id)
    assert key.enabled
    assert not key.name.startswith(RESTORE_MARKER)
    assert plans
    assert the_row(account, key_id).state is State.ACTIVE
    return value


@pytest.mark.slow
@pytest.mark.parametrize("first", [restore, revoke])
@pytest.mark.sampled
def test_a_key_that_is_restored_and_revoked_at_once_is_gone_for_good_or_alive(
    account: Account, mail: Mail, first: Callable[[str], Body]
) -> None:
    """Who is second acts on what the first has left; nothing is left between them."""
    key_id, _ = a_parked_key(account)
    second = revoke if first is restore else restore
    for moment in moments(account, mail.ask(first(key_id)), mail.ask(second(key_id))):
        mail.come_again()
        account.night()
        assert code_of(account, revoke(key_id)) == "Key Revoked", moment
        assert account.gateway.ids == [BUSY], moment
        assert account.versions("tombstones/") == [], moment
        assert "revoked" in account.states().values(), moment
        assert "sealed_value" not in repr(account.request_store.requests(["issue-1"])), moment


@pytest.mark.parametrize("first", [renew, rotate])
def test_a_key_that_is_revoked_while_somebody_else_acts_on_it_is_gone(
    account: Account, mail: Mail, first: Callable[[str], Body]
) -> None:
    key_id = asked(account, issue())
    body = first(key_id)
    for moment in moments(account, mail.ask(body), mail.ask(revoke(key_id))):
        mail.come_again()
        assert code_of(account, revoke(key_id)) == "Key Revoked", moment
        assert key_id not in account.gateway.ids, moment
        assert account.states()[key_id] == State.REVOKED, moment
        if code_of(account, body) == "Key Rotated":
            assert not_a_working_key(account, body) == [], moment
        else:
            assert account.gateway.ids == [BUSY], moment


def test_a_key_that_is_renewed_by_two_requests_at_once_lives(account: Account, mail: Mail) -> None:
    key_id = asked(account, issue())
    for _ in range(3):
        account.night()
        account.pass_day()
    account.night()
    assert account.states()[key_id] == State.DISABLED
    bodies = [renew(key_id), renew(key_id, request_id="another")]
    for moment in moments(account, mail.ask(bodies[0]), mail.ask(bodies[1])):
        mail.come_again()
        assert codes_of(account, bodies) == ["Key Renewed"] * 2, moment
        assert account.enabled(key_id), moment
        assert the_row(account, key_id).state is State.ACTIVE, moment


# --- requests while a sweep is at work ------------------------------------------------------------


def due(account: Account, step: str) -> str:
    """A key that was issued, and that tonight's sweep is about to disable, or to park."""
    key_id = asked(account, issue())
    account.night()
    for _ in range(2 if step == "disable" else 3):
        account.pass_day()
        account.night()
    account.pass_day()
    account.read()
    snapshot = account.snapshot()
    assert account.sweep()["applied"][step] == 1
    account.go_back(snapshot)
    return key_id


ASKED_MEANWHILE: list[Callable[[str], Body]] = [
    renew,
    lambda key_id: protect(key_id, TODAY + DAY * 30),
]


@pytest.mark.parametrize("ask", ASKED_MEANWHILE, ids=["renew", "protect"])
@pytest.mark.parametrize("step", ["disable", "park"])
@pytest.mark.sampled
def test_a_renewal_and_a_protection_win_unless_the_sweep_has_claimed_the_key_before(
    account: Account, mail: Mail, step: str, ask: Callable[[str], Body]
) -> None:
    key_id = due(account, step)
    body = ask(key_id)
    ends: Counter[str] = Counter()
    was_enabled = account.enabled(key_id)

    for moment in moments(account, account.sweep, mail.ask(body)):
        was_left = bool(mail.left)
        row = account.row(key_id)
        assert row is not None
        carried_out = row.state is (State.DISABLED if step == "disable" else State.PARKED) and (
            row.stepped_on == account.today
        )
        came = bool(account.answers(body["request_id"]))
        assert came is not was_left, moment
        if not was_left and not carried_out:
            # It came first: nothing was done to the key but what was asked for.
            assert account.enabled(key_id) is (was_enabled or ask is renew), moment
            ends["won"] += 1
        elif not was_left:
            ends["came after"] += 1  # the sweep had ended its step, and the answer says what is
        else:
            assert carried_out, moment
            ends["left"] += 1
        mail.come_again()
        if row.state is State.PARKED and carried_out:
            assert code_of(account, body) == "unknown_key", moment
        elif ask is renew:
            assert account.enabled(key_id), moment
            assert the_row(account, key_id).state is State.ACTIVE, moment
        else:
            assert the_row(account, key_id).protected_until == TODAY + DAY * 30, moment
        account.pass_day()
        account.night()
        if not carried_out:
            assert key_id in account.gateway.ids, moment
    assert ends["won"]
    assert ends["left"]


@pytest.mark.slow
@pytest.mark.parametrize("step", ["disable", "park"])
@pytest.mark.sampled
def test_a_revocation_while_a_sweep_is_at_work_leaves_neither_key_nor_tombstone(
    account: Account, mail: Mail, step: str
) -> None:
    key_id = due(account, step)
    for moment in moments(account, account.sweep, mail.ask(revoke(key_id))):
        mail.come_again()
        assert code_of(account, revoke(key_id)) == "Key Revoked", moment
        for _ in range(2):
            assert account.gateway.ids == [BUSY], moment
            assert account.versions("tombstones/") == [], moment
            assert account.states()[key_id] == State.REVOKED, moment
            account.pass_day()
            account.night()


@pytest.mark.slow
@pytest.mark.parametrize("step", ["disable", "park"])
@pytest.mark.sampled
def test_a_rotation_while_a_sweep_is_at_work_brings_a_working_key_or_is_refused(
    account: Account, mail: Mail, step: str
) -> None:
    key_id = due(account, step)
    for moment in moments(account, account.sweep, mail.ask(rotate(key_id))):
        mail.come_again()
        if code_of(account, rotate(key_id)) == "Key Rotated":
            assert not_a_working_key(account, rotate(key_id)) == [], moment
        else:
            assert code_of(account, rotate(key_id)) == "unknown_key", moment
            assert account.states()[key_id] == State.PARKED, moment


@pytest.mark.slow
def test_a_restore_while_a_sweep_parks_the_key_or_purges_it_ends_in_order(
    an_account: AccountMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = impatient(an_account(policy=an_asking_policy(**LIVES, retain_days=1)), monkeypatch)
    key_id, value = a_parked_key(account)
    account.read()
    mail = Mail(account, ADMIN)
    ends: Counter[str] = Counter()
    for moment in moments(account, account.sweep, mail.ask(restore(key_id))):
        mail.come_again()
        ends[code_of(account, restore(key_id))] += 1
        if code_of(account, restore(key_id)) == "Key Restored":
            assert the_one_key(account) == value, moment
        else:
            assert account.gateway.ids == [BUSY], moment
            assert account.states()[key_id] == State.PURGED, moment
        account.pass_day()
        account.night()
        assert account.versions("tombstones/") == [], moment
    assert set(ends) == {"Key Restored", "not_restorable"}


# --- requests after a sweep that died -------------------------------------------------------------


ENDS: list[tuple[str, Callable[[str], Body], set[str]]] = [
    ("disable", renew, {"Key Renewed"}),
    ("disable", rotate, {"Key Rotated"}),
    ("disable", revoke, {"Key Revoked"}),
    ("disable", restore, {"not_restorable"}),
    ("park", renew, {"Key Renewed", "unknown_key"}),
    ("park", rotate, {"Key Rotated", "unknown_key"}),
    ("park", revoke, {"Key Revoked"}),
    ("park", restore, {"not_restorable", "Key Restored"}),
]


@pytest.mark.parametrize(("step", "ask", "ends"), ENDS)
@pytest.mark.sampled
def test_a_request_brings_to_an_end_what_a_sweep_that_died_has_begun(
    account: Account, step: str, ask: Callable[[str], Body], ends: set[str]
) -> None:
    key_id = due(account, step)
    body = ask(key_id)
    snapshot = account.snapshot()
    account.around = line = Line()
    account.sweep()
    codes = set()
    for number, name in enumerate(line.calls):
        account.around = EndsAfter(number)
        account.go_back(snapshot)
        with suppress(Killed):
            account.sweep()
        account.around = undisturbed
        account.real_now += DAY / 24
        assert account.ask(body, sender=ADMIN) == [], name
        code = code_of(account, body)
        codes.add(code)
        account.sweep()
        rows = account.rows()
        assert all(row.claim is None for row in rows.values()), name
        if code == "Key Renewed":
            assert account.enabled(key_id), name
        elif code in {"unknown_key", "not_restorable"}:
            # Whoever finds that the key is parked says so; a restore finds it alive before.
            assert rows[key_id].state is not State.ACTIVE, name
            assert (list(account.buried()) == [key_id]) is (rows[key_id].state is State.PARKED)
        elif code == "Key Revoked":
            assert account.gateway.ids == [BUSY], name
            assert account.versions("tombstones/") == [], name
    assert codes == ends


# --- a sweep while requests are served ------------------------------------------------------------


def a_sweep(account: Account) -> Act:
    def run() -> None:
        if account.evidence() is None:
            account.read()
        account.sweep()

    return run


@pytest.mark.slow
def test_a_sweep_while_keys_are_issued_adopts_none_of_them_for_good(account: Account) -> None:
    mail = Mail(account, "AROASENDER")
    for moment in moments(account, mail.ask(*issues(2)), a_sweep(account)):
        mail.come_again()
        assert [not_a_working_key(account, body) for body in issues(2)] == [[], []], moment
        rows = [the_row(account, key_of(account, body)) for body in issues(2)]
        assert [(row.issued, row.owner) for row in rows] == [
            (True, "owner-1"),
            (True, "owner-2"),
        ], moment
        assert len(account.gateway.ids) == len(account.rows()) + (BUSY not in account.rows())
        a_sweep(account)()
        assert [not_a_working_key(account, body) for body in issues(2)] == [[], []], moment


@pytest.mark.parametrize("step", ["disable", "park"])
@pytest.mark.parametrize(
    "ask", [renew, rotate, revoke, lambda key_id: protect(key_id, TODAY + DAY * 30)]
)
@pytest.mark.sampled
def test_a_sweep_in_the_middle_of_a_request_ends_as_if_one_had_come_after_the_other(
    account: Account, mail: Mail, step: str, ask: Callable[[str], Body]
) -> None:
    key_id = due(account, step)
    body = ask(key_id)
    for moment in moments(account, mail.ask(body), a_sweep(account)):
        mail.come_again()
        code = code_of(account, body)
        row = the_row(account, key_id)
        assert row.claim is None, moment
        if code == "unknown_key":
            assert (step, row.state) == ("park", State.PARKED), moment
            assert list(account.buried()) == [key_id], moment
        elif code == "Key Renewed":
            assert (row.state, account.enabled(key_id)) == (State.ACTIVE, True), moment
        elif code == "Key Revoked":
            assert (row.state, account.gateway.ids) == (State.REVOKED, [BUSY]), moment
            assert account.versions("tombstones/") == [], moment
        elif code == "Key Rotated":
            assert not_a_working_key(account, body) == [], moment
        else:
            assert row.protected_until == TODAY + DAY * 30, moment


@pytest.mark.slow
def test_a_sweep_in_the_middle_of_a_restore_ends_with_one_key_that_works(
    account: Account, mail: Mail
) -> None:
    key_id, value = a_parked_key(account)
    for moment in moments(account, mail.ask(restore(key_id)), a_sweep(account)):
        mail.come_again()
        assert code_of(account, restore(key_id)) == "Key Restored", moment
        a_sweep(account)()
        assert the_one_key(account) == value, moment
        assert account.versions("tombstones/") == [], moment


def test_an_answer_that_waits_when_its_key_is_revoked_no_longer_carries_the_value(
    account: Account,
) -> None:
    account.around = fails_to_tell
    assert account.ask(issue()) == [0]
    account.around = undisturbed
    (key_id,) = account.rows()
    asked(account, revoke(key_id))
    settle(account)
    assert "sealed_value" not in repr(account.items())
    assert not any("sealed_value" in one["Detail"] for one in account.events)
    assert account.ask(issue()) == []
    assert code_of(account, issue()) == "Key Revoked"


def fails_to_tell(name: str, call: Call) -> Any:
    if name == "events.put_events":
        raise refused("PutEvents", "InternalError", 500)
    return call()


def test_an_undo_in_the_middle_of_a_revocation_does_not_bring_the_key_back(
    account: Account, mail: Mail
) -> None:
    key_id, _ = a_parked_key(account)
    day = str(account.today - DAY)
    for moment in moments(account, mail.ask(revoke(key_id)), lambda: account.sweep(undo=day)):
        mail.come_again()
        assert code_of(account, revoke(key_id)) == "Key Revoked", moment
        account.night()
        assert account.gateway.ids == [BUSY], moment
        assert account.versions("tombstones/") == [], moment


# --- whatever two do at once ----------------------------------------------------------------------

ACTIONS: dict[str, Callable[[str], Body]] = {
    "issue": lambda _: issue(2),
    "issue again": lambda _: issue(1),
    "rotate": rotate,
    "renew": renew,
    "revoke": revoke,
    "restore": restore,
    "protect": lambda key_id: protect(key_id, TODAY + DAY * 30),
    "release": release,
}
MOMENTS = 12  # of a pair, for each state of the key


@pytest.mark.parametrize(
    ("nights", "state"),
    [
        (0, "active"),
        (3, "warned"),
        (4, "disabled"),
        (5, "disabled"),  # and to be parked tonight
        (6, "parked"),
        (7, "parked"),  # and to be purged tonight
    ],
)
@pytest.mark.parametrize("sender", [SENDER, ADMIN])
@pytest.mark.sampled
def test_whatever_two_do_at_once_account_and_ledger_agree_afterwards(
    an_account: AccountMaker,
    monkeypatch: pytest.MonkeyPatch,
    nights: int,
    state: str,
    sender: str,
) -> None:
    policy = an_asking_policy(never_used_days=2, grace_days=2, retain_days=2)
    account = impatient(an_account(policy=policy), monkeypatch)
    key_id = asked(account, issue())
    for _ in range(nights):
        account.night()
        account.pass_day()
    account.read()
    assert account.states().get(key_id) == state
    mail = Mail(account, sender)
    acts = {name: mail.ask(ask(key_id)) for name, ask in ACTIONS.items()}
    acts["sweep"] = a_sweep(account)
    acts["undo"] = lambda: account.sweep(undo=str(account.today - DAY))
    snapshot = account.snapshot()
    chance = Random(nights)
    for _ in range(MOMENTS):
        first, second = chance.sample(list(acts), 2)
        moment = chance.randrange(20)
        account.go_back(snapshot)
        account.around = Meanwhile(moment, acts[second])
        with suppress(AlreadyRunning):
            acts[first]()
        account.around = undisturbed
        mail.come_again()
        a_sweep(account)()
        settle(account)
        assert disagreements(account) == [], f"{second} before call {moment} of {first}"


def disagreements(account: Account) -> list[str]:
    """What the ledger says otherwise than API Gateway and the bucket, and what nobody has ended."""
    live = account.ledger.live_rows()
    shelf = {row.key_id: row for row in account.ledger._shelf()}
    keys = {key_id: account.gateway.whole(key_id)[0] for key_id in account.gateway.ids}
    parked = {key_id for key_id, row in shelf.items() if row.state is State.PARKED}
    revoked = {key_id for key_id, row in shelf.items() if row.state is State.REVOKED}
    answers = account.request_store.requests(
        [one for key in revoked for one in shelf[key].request_ids]
    )
    found = {
        "keys and rows": set(keys) == set(live),
        "enabled": all(
            key.enabled is (live[k].state is not State.DISABLED)
            for k, key in keys.items()
            if k in live
        ),
        "tombstones": set(account.versions("tombstones/"))
        == {f"tombstones/{key_id}.json" for key_id in parked},
        "markers": not any(key.name.startswith(RESTORE_MARKER) for key in keys.values()),
        "one row a key": not set(live) & set(shelf),
        "claims": not any(row.claim for row in (*live.values(), *shelf.values())),
        "values of the revoked": "sealed_value" not in repr(answers),
        "events that wait": account.ledger.unsent() == [],
        "slots": not any(
            batch.until > account.real_now
            for batch in account.request_store.admissions().batches.values()
        ),
    }
    return [what for what, agrees in found.items() if not agrees]
