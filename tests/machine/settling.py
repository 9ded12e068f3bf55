"""The end of a story: the weather clears, and all comes to where it has to come.

What is asked is answered, what is idle goes, what has ended is shut, and what is parked comes back.
"""

from datetime import timedelta

from tests.machine.model import DAY, Broken, Life
from tests.machine.world import ADMIN, Message, World

ROUNDS = 14  # of the queue: more than a message is received
QUIET = 40  # nights at the most
LONGEST = 18  # days, the longest idle limit that a story waits for
SLACK = 4  # nights that a step may take longer than it has to


def settle(world: World) -> None:
    """Lets the account come to rest, and looks at where it came to."""
    world.lines.append("--- the weather clears")
    world.do(["clear"])
    world.do(["lag", False])
    world.do(["subscribers", 1])
    world.do(["good_policy"])
    world.do(["resume"])
    _answer_all(world)
    _nobody_was_forgotten(world)
    _live_on(world)
    _no_key_is_left_over(world)
    _bring_back_the_parked(world)


def _answer_all(world: World) -> None:
    for one in world.dead:
        world.queue.append(one)  # its sender sends it again
        one.received, one.not_before = 0, None
    world.dead.clear()
    for _ in range(ROUNDS):
        if not world.queue:
            return
        world.cloud.sleep(31 * 60)
        world.do(["serve"])
        if world.cloud.now.date() > world.day:
            world.do(["pull"])
            world.do(["sweep"])
            world.do(["day"])
    waits = [one.body["request_id"] for one in world.queue if not _is_denied(world, one)]
    if waits:
        raise Broken(3, "lost", f"{waits} are not served, whatever the weather")


def _nobody_was_forgotten(world: World) -> None:
    letters = {(one.sender, one.body["request_id"]) for one in world.dead if _is_denied(world, one)}
    for asked in world.model.asked.values():
        is_kept = (asked.sender, asked.request_id) in letters
        if not asked.answers and not asked.may_be_lost and not is_kept:
            raise Broken(3, "lost", f"{asked.request_id} of {asked.sender} has no answer")


def _is_denied(world: World, message: Message) -> bool:
    """Whether a message is about a key that a policy of the organisation shields: it cannot be served."""
    shielded = {one.about for one in world.cloud.shields}
    return bool(world.chain(str(message.body.get("key_id"))) & shielded)


def _no_key_is_left_over(world: World) -> None:
    """A key that was made for a request is told of, or is no more."""
    for key_id, key in world.cloud.keys.items():
        life = world.model.lives[key_id]
        if key.shut_by == "others":
            continue  # it was shut before it was delivered, and stays so
        if key.name.startswith("kj-") and life.issued_tier is None and life.previous is None:
            raise Broken(3, "left over", f"{key_id} was made for a request, and nobody knows")
        if key.name.startswith("keyjanitor-restore-"):
            raise Broken(2, "half built", f"{key_id} is half restored, and stays so")


def _live_on(world: World) -> None:
    """Each night ends in a reading; whatever may go for a while does go; what has ended is shut."""
    model = world.model
    tiers = model.terms.tiers.values()
    idle_limit = max(max(t.idle or 0, t.never_used, t.orphan) for t in tiers)
    if idle_limit > LONGEST:
        return
    steps = max(t.warn for t in tiers) + max(t.grace for t in tiers)
    enough = steps + SLACK + 3 * (len(world.cloud.keys) // 15)
    nights: dict[str, int] = {}  # running, on which a key might have been swept, and had to
    for _ in range(min(QUIET, idle_limit + enough + 4)):
        world.do(["pull"])
        if world.day not in model.readings:
            raise Broken(7, "stuck", f"nothing is read on {world.day}, though nothing is wrong")
        world.do(["sweep"])
        if world.braked:
            return
        nights = {key_id: nights.get(key_id, 0) + 1 for key_id in model.must_go(world.day)}
        world.do(["day"])
    shielded = {one.about for one in world.cloud.shields} | set(world.cloud.stacks)
    for key_id, key in world.cloud.keys.items():
        if key_id in shielded:
            continue
        stays = key.enabled or world.account.mode == "park"
        if nights.get(key_id, 0) > enough and stays:
            why = f"{key_id} may go on each of {nights[key_id]} nights, and stays"
            raise Broken(7, "idle keys go", why)
        if _should_have_ended(world, model.lives[key_id]) and key.enabled:
            raise Broken(
                1, "agreed end", f"{key_id} ended on {model.lives[key_id].ends}, and lives"
            )


def _should_have_ended(world: World, life: Life) -> bool:
    key = world.cloud.keys[life.key_id]
    protected = life.protected_until is not None and life.protected_until >= world.day - DAY * SLACK
    return (
        life.ends is not None
        and life.ends < world.day - DAY * SLACK
        and not key.tags
        and not protected
        and life.key_id not in world.cloud.stacks
        and (life.changed is None or life.changed < world.day - DAY * SLACK)
    )


def _bring_back_the_parked(world: World) -> None:
    """Every key that is parked comes back: value, name, and every plan that takes it."""
    if world.setup.get("keys") and len(world.setup["keys"]) > 40:
        return
    # Of the ids that one value has had, the latest: who deletes a restored key deletes it for good.
    latest = {life.value: life for life in world.model.lives.values()}
    parked = [
        life
        for life in latest.values()
        if life.parked_on is not None
        and life.key_id not in world.cloud.keys
        and not life.revoked
        and life.value not in {key.value for key in world.cloud.keys.values()}
        and life.value not in world.model.revoked_values
        and (life.purge_said is None or life.purge_said > world.day + DAY)
        and f"tombstones/{life.key_id}.json" not in world.damaged
        and life.key_id not in world.cloud.stacks
    ]
    for life in parked:
        world.do(["restore_id", life.key_id])
    for _ in range(ROUNDS):
        if world.queue:
            world.cloud.now += timedelta(minutes=31)
            world.do(["serve"])
    for life in parked:
        _is_whole(world, life)


def _is_whole(world: World, life: Life) -> None:
    key = next((one for one in world.cloud.keys.values() if one.value == life.value), None)
    if key is None:
        asked = world.model.asked[ADMIN, f"restore-{life.key_id}"]
        said = [(kind, d.get("code"), d.get("reason")) for kind, d in asked.answers]
        no_room = any(code == "capacity_exhausted" for _, code, _ in said)
        if no_room and len(world.cloud.keys) >= world.model.terms.key_limit:
            return
        raise Broken(2, "restore", f"{life.key_id} does not come back: {said}")
    if key.name != life.parked_name or not key.enabled:
        raise Broken(2, "restore", f"{life.key_id} comes back as {key.name!r}, {key.enabled}")
    for plan_id in life.parked_plans:
        plan = world.cloud.plans.get(plan_id)
        if plan is None or key.key_id in plan.members:
            continue
        if not world.cloud.opens_twice(plan_id, key.key_id):
            raise Broken(2, "restore", f"{life.key_id} comes back without its plan {plan_id}")
