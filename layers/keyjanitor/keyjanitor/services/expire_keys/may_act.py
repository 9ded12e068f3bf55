"""Finds out whether a sweep may act: its date is the newest, and the alert topic has a subscription."""

from datetime import date

from keyjanitor.errors import AccessDenied, CallFailed, NotHeard, OlderDate
from keyjanitor.services.expire_keys.gather import Adapters


def check_may_act(today: date, adapters: Adapters) -> None:
    """Raises OlderDate or NotHeard if a sweep of this date may only observe.

    If the alert topic does not answer, it counts as a topic without a subscription: a sweep does
    not act if no person may receive its alerts.
    """
    newest = adapters.history.evidence_after(today)
    pressure_row = (
        adapters.ledger.pressure_row()
    )  # the last sweep or look wrote it, also if its reading is gone
    if pressure_row is not None and pressure_row.date > today:
        newest = max(newest or today, pressure_row.date)
    if newest is not None:
        raise OlderDate(today, newest)
    try:
        heard = adapters.topic.is_heard()
    except (AccessDenied, CallFailed) as err:
        raise NotHeard(
            f"whether the alert topic has a confirmed subscription is unknown ({err})"
        ) from err
    if not heard:
        raise NotHeard("the alert topic has no confirmed subscription")
