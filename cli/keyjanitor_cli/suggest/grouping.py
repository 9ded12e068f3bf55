"""Puts usage plans that are alike into one tier, and names the tier. Pure."""

import re
from collections.abc import Callable, Iterable, Sequence

from keyjanitor.domain.model.policy import UNCLAIMED
from keyjanitor_cli.suggest.plans import PlanUse

MOST_TIERS = 12  # so many can be read by a person: more plans than that are put together

_WORDS = re.compile(r"[A-Za-z]+")
_NOT_IN_NAMES = re.compile(r"[^a-z0-9]+")
LONGEST_NAME = 40


def grouped(
    plans: Sequence[PlanUse], idle_days: Callable[[PlanUse], int]
) -> dict[str, list[PlanUse]]:
    """The plans of each tier, by its name; every plan is in exactly one.

    A few plans are a tier each. Of many, those whose names begin with the same word are one, the
    MOST_TIERS largest of these by keys; the plans that are left are put together by `idle_days`, the
    idle limit of each.
    """
    if len(plans) <= MOST_TIERS:
        return _named((plan.reading.name or plan.plan_id, [plan]) for plan in plans)
    families: dict[str, list[PlanUse]] = {}
    for plan in plans:
        word = _WORDS.match(plan.reading.name.strip())
        families.setdefault(word[0].lower() if word else "", []).append(plan)
    several = [(word, them) for word, them in families.items() if word and len(them) > 1]
    largest = sorted(several, key=lambda one: (-_keys(one[1]), one[0]))[:MOST_TIERS]
    own = {plan.plan_id for _, them in largest for plan in them}
    left: dict[int, list[PlanUse]] = {}
    for plan in plans:
        if plan.plan_id not in own:
            left.setdefault(idle_days(plan), []).append(plan)
    others = [(f"plans-{days}-days", left[days]) for days in sorted(left)]
    return _named([*largest, *others])


def _keys(plans: Iterable[PlanUse]) -> int:
    return sum(len(plan.keys) for plan in plans)


def _named(groups: Iterable[tuple[str, list[PlanUse]]]) -> dict[str, list[PlanUse]]:
    """The groups by names that a tier can have, each of them once."""
    named: dict[str, list[PlanUse]] = {}
    for called, plans in groups:
        name = _NOT_IN_NAMES.sub("-", called.lower()).strip("-")[:LONGEST_NAME].strip("-")
        name = first = f"plan-{name}" if name in ("", UNCLAIMED) else name
        number = 2
        while name.strip("-") in named:
            name = f"{first}-{number}"
            number += 1
        named[name.strip("-")] = plans
    return named
