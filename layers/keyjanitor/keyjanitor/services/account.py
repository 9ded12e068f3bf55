"""Reads of the account that more than one service makes."""

from dataclasses import replace
from datetime import date

from aws_lambda_powertools import Logger

from keyjanitor.domain.model.keys import DAY, ApiKey
from keyjanitor.errors import AccessDenied, CallFailed, UnexpectedAnswer
from keyjanitor.services.ports import Nights, TagList

logger = Logger(child=True)


def with_tags(keys: list[ApiKey], owners: TagList) -> list[ApiKey]:
    """The keys with their tags; without, which is unknown, if the tagging API cannot be read."""
    try:
        tags = owners.tags()
    except (AccessDenied, CallFailed, UnexpectedAnswer) as err:
        logger.error("the tags could not be read, so every idle key is unknown tonight: %s", err)
        return keys
    return [replace(key, tags={**(key.tags or {}), **tags.get(key.key_id, {})}) for key in keys]


def was_swept(today: date, ledger: Nights) -> bool:
    """True if one of the two nights before today was swept; if not, tonight only warns."""
    return ledger.night(today - DAY).swept or ledger.night(today - 2 * DAY).swept
