"""Words and numbers that views and tables share. Pure."""

from collections.abc import Mapping, Sequence

# Every kind of step, deletions first, with what it means for a key.
STEPS = ("park", "purge", "disable", "warn", "enable", "restore")
MEANS = {
    "park": "to park (deleted; can be restored)",
    "purge": "to purge (the copy of a parked key is deleted for good)",
    "disable": "to disable",
    "warn": "to warn",
    "enable": "to enable",
    "restore": "to restore (under a new id)",
}
WAS = {
    "park": "parked",
    "purge": "purged",
    "disable": "disabled",
    "warn": "warned",
    "enable": "enabled",
    "restore": "restored",
}


def many(number: int, what: str = "key") -> str:
    """`1 key`, `1,204 keys`."""
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def kinds(numbers: Mapping[str, int], words: Mapping[str, str] = MEANS) -> str:
    """What is done to how many keys, deletions first: `3 to park (...), 12 to disable`; "" if nothing."""
    return ", ".join(f"{numbers[step]:,} {words[step]}" for step in STEPS if numbers.get(step))


def first(texts: Sequence[str], most: int) -> str:
    """The first of some texts, and how many more there are."""
    more = len(texts) - most
    return ", ".join(texts[:most]) + (f" and {more:,} more" if more > 0 else "")
