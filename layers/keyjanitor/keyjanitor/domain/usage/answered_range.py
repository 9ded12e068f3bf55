"""Remembers over nights which days of use API Gateway answers, where it refuses some of what is asked. Pure."""

from datetime import date

from keyjanitor.domain.model.keys import DAY
from keyjanitor.domain.usage.evidence import AnsweredRange, Evidence

REMEMBERED = DAY * 7  # then all days are asked for again: API Gateway may answer them by now


def remembered(before: Evidence | None, today: date) -> tuple[int, int] | None:
    """The range that tonight is asked for first: days back, and days left out at the end.

    None if no night before found one, or if it was found too long ago.
    """
    noted = before.usage_range if before is not None else None
    if noted is None or not date.min <= noted.found_on <= today < noted.found_on + REMEMBERED:
        return None
    return noted.back, noted.left_out


def noted(
    answered: tuple[int, int] | None, before: Evidence | None, today: date
) -> AnsweredRange | None:
    """What tonight's evidence says of the range that was answered; None: all days were."""
    if answered is None:
        return None
    back, left_out = answered
    earlier = before.usage_range if before is not None else None
    if earlier is not None and answered == remembered(before, today):
        return earlier
    return AnsweredRange(back, left_out, today)
