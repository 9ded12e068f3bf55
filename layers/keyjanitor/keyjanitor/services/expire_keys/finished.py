"""Says whether the sweeps of a date have nothing left to do, so that a later one answers at once."""

import json
from collections import Counter
from hashlib import sha256

from keyjanitor import __version__
from keyjanitor.domain.expiry.notice import digest_days, not_in_a_digest
from keyjanitor.domain.expiry.sweep_plan import SweepPlan, action_of
from keyjanitor.domain.model.invocation import SweepInvocation
from keyjanitor.domain.model.keys import Mode
from keyjanitor.domain.model.policy import Policy
from keyjanitor.domain.usage.evidence import Evidence
from keyjanitor.domain.usage.evidence_file import to_document
from keyjanitor.services.expire_keys.gather import Adapters, Gathered
from keyjanitor.services.expire_keys.sweep_state import Outcome


def mark_of(evidence: Evidence, policy: Policy, mode: Mode) -> str:
    """The fingerprint of what a sweep decides by: its reading, the policy, the mode and the version."""
    read = json.dumps(to_document(evidence), sort_keys=True)
    parts = "\n".join((read, repr(policy), str(mode), __version__))
    return sha256(parts.encode()).hexdigest()[:16]


def may_be_enough(request: SweepInvocation) -> bool:
    """True if a run may leave a date to an earlier one, and be enough for a later one.

    Not one that an operator asked for, nor one that only observes: its role may not write that down.
    """
    return request.unless_finished and request.mode is not Mode.OBSERVE


def is_finished(request: SweepInvocation, adapters: Adapters, policy: Policy) -> bool:
    """True if an earlier sweep of the date has finished it, and nothing has come up since.

    Only a run that asks for it (`unless_finished`) is ever finished before it began. It asks the ledger
    for all that a sweep brings to an end, and API Gateway for nothing: keys that were made or changed
    since are seen the next night.
    """
    ledger, today = adapters.ledger, request.today
    if not may_be_enough(request) or ledger.hold():
        return False
    night = ledger.night(today)
    if night.finished is None or (night.braked and not night.brake_alerted):
        return False
    evidence = adapters.history.evidence(today)
    if evidence is None or night.finished != mark_of(evidence, policy, request.mode):
        return False
    rows = ledger.live_rows()
    shelf = ledger.parked_keys(today)
    return not (
        any(row.claim is not None for row in rows.values())
        or shelf.restored
        or shelf.unfinished
        or ledger.unsent()
        or not_in_a_digest(rows.values(), ledger.nights_of(digest_days(rows.values())))
    )


def has_finished(plan: SweepPlan, gathered: Gathered, outcome: Outcome) -> bool:
    """True if a later run of the date, with the same reading, policy and mode, would do no more.

    Not if a step was left, failed or was lost to another run, if tags could not be read, or if a
    tombstone did not open: a later run tries again.
    """
    if outcome.held or outcome.failed or outcome.left_alone or outcome.unopened:
        return False
    if any(key.tags is None for key in gathered.night.keys):
        return False
    planned = Counter(map(action_of, plan.steps))
    return outcome.remaining == 0 and all(
        outcome.applied[action] >= number for action, number in planned.items()
    )
