"""Reads new keys back: only what is enabled, under its name and in its plans is announced."""

from collections.abc import Iterable, Mapping, Sequence

from keyjanitor.domain.model.keys import ApiKey
from keyjanitor.domain.requests.import_file import batch_of_name
from keyjanitor.errors import KeyjanitorError, ReadBackFailed
from keyjanitor.services.ports import ProvisionGateway
from keyjanitor.services.provision_keys.responder import Responder
from keyjanitor.services.provision_keys.tasks import PendingKey, ProvenKey

MAX_READ_BACKS = 3  # at what was imported, before it is imported again
READ_BACK_PAUSE = 2  # seconds

Keys = Mapping[str, ApiKey]  # by their names
Members = Mapping[str, set[str]]  # the ids of the keys in each usage plan


def prove(pending: Sequence[PendingKey], responder: Responder) -> list[ProvenKey]:
    """Those that read back enabled, under their names and in their plans; defers the others."""
    gateway = responder.adapters.gateway
    keys: Keys = {}
    members: Members = {}
    try:
        for look in range(MAX_READ_BACKS):
            if look:
                responder.run.pause(READ_BACK_PAUSE)
            keys, members = _read_back(pending, gateway, whole_plans=look == MAX_READ_BACKS - 1)
            faulty = [one for one in pending if _fault(one, keys, members) is not None]
            if not faulty:
                break
            _attach([one for one in faulty if one.value is None], keys, members, gateway)
    except KeyjanitorError as err:
        responder.defer([one.task for one in pending], err)
        return []
    proven = []
    for one in pending:
        if fault := _fault(one, keys, members):
            responder.defer([one.task], ReadBackFailed(one.name, fault))
        else:
            proven.append(ProvenKey(one.task, one.grant, keys[one.name]))
    return proven


def _read_back(
    pending: Sequence[PendingKey], gateway: ProvisionGateway, *, whole_plans: bool
) -> tuple[Keys, Members]:
    """The keys by their names, and the members of the plans that they shall be in.

    That members can be asked for by the beginning of their names was recorded once (seen: AF-203):
    so the last look reads whole plans.
    """
    prefixes = sorted({batch_of_name(one.name) for one in pending})
    keys = {key.name: key for prefix in prefixes for key in gateway.keys_named(prefix)}
    members: dict[str, set[str]] = {}
    for plan in sorted({plan for one in pending for plan in one.grant.usage_plan_ids}):
        members[plan] = set()
        for prefix in [""] if whole_plans else prefixes:
            members[plan].update(gateway.members(plan, prefix))
    return keys, members


def _attach(
    pending: Iterable[PendingKey], keys: Keys, members: Members, gateway: ProvisionGateway
) -> None:
    """Puts keys of earlier runs into the plans that they are not in."""
    for one in pending:
        key = keys.get(one.name)
        for plan in one.grant.usage_plan_ids:
            if key is not None and key.key_id not in members[plan]:
                gateway.attach(plan, key.key_id)


def _fault(one: PendingKey, keys: Keys, members: Members) -> str | None:
    """The fault of a key as it reads back, or None."""
    key = keys.get(one.name)
    if key is None:
        return "API Gateway lists no key of this name"
    if not key.enabled:
        return "it is disabled"
    for plan in one.grant.usage_plan_ids:
        if key.key_id not in members[plan]:
            return f"it is not in usage plan {plan}"
    return None
