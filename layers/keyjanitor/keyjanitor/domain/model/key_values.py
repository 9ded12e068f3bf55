"""Makes key values, and recognises them: ours by their checksum, others by their characters. Pure.

A value of ours is `keyj`, 30 characters from the system's cryptographic source (178 bits), and the CRC-32 of those 34
in base 62: 40 letters and digits. A scanner that finds the pattern in a text can check that it is a key.
"""

import re
import secrets
import string
from itertools import pairwise
from zlib import crc32

from keyjanitor.domain.model.keys import Secret

PREFIX = "keyj"
RANDOM = 30
CHECKSUM = 6  # characters: 62**6 is more than 2**32
KINDS = (string.digits, string.ascii_uppercase, string.ascii_lowercase)
ALPHABET = "".join(KINDS)
PATTERN = re.compile(rf"{PREFIX}[0-9A-Za-z]{{{RANDOM + CHECKSUM}}}")
SHORTEST = 20  # characters of a value (doc: AF-105); an id has ten (seen: AF-213)
LONGEST_OF_AN_ID = 31  # letters and digits without a break in the ids that identity providers give
MIXED = 1 / 3  # at least; the share of neighbouring characters of different kinds in a random text
_OURS_ANYWHERE = re.compile(rf"(?=({PATTERN.pattern}))")
_WORD = re.compile("[A-Z]?[a-z]+")
_WORDS_AND_A_NUMBER = re.compile(rf"(?:{_WORD.pattern})+[0-9]{{0,8}}")
_VOWELS = frozenset("aeiouyAEIOUY")
_NO_LETTER_OR_DIGIT = re.compile(r"[^0-9A-Za-z]+")
_RUN = re.compile(rf"[0-9A-Za-z]{{{SHORTEST},}}")


def new_value() -> Secret:
    """A new random value."""
    body = PREFIX + "".join(secrets.choice(ALPHABET) for _ in range(RANDOM))
    return Secret(body + _checksum(body))


def looks_like_ours(text: str) -> bool:
    """True if `new_value` made this text; wrong once in four billion texts of the same pattern."""
    return bool(PATTERN.fullmatch(text)) and text[-CHECKSUM:] == _checksum(text[:-CHECKSUM])


def holds_a_value(text: str, *, of_an_id: bool = False) -> bool:
    """True if a text holds what may be a key's value: ours, however it is cut up, or one of AWS's.

    One of AWS's is a run of 20 or more letters and digits with lower case, upper case and digits mixed
    as in a random text. UUIDs, hexadecimal digests, ULIDs and words (`is_words`) are not. A text that
    is itself an id (`of_an_id`), such as an owner's, may have such runs of up to 31 characters.
    """
    if len(text) < SHORTEST:
        return False
    together = _NO_LETTER_OR_DIGIT.sub("", text)
    if any(looks_like_ours(found[1]) for found in _OURS_ANYWHERE.finditer(together)):
        return True
    longest = LONGEST_OF_AN_ID if of_an_id else SHORTEST - 1
    return any(
        len(run) > longest and _is_mixed(run) and not is_words(run) for run in _RUN.findall(text)
    )


def is_words(run: str) -> bool:
    """True if a text is words without a break, each with a capital, and a number of up to 8 digits.

    Each has two letters or more, of which one is a vowel, as in `TheWeatherAppOfTheYear2026`. Of
    values drawn by chance some 5 in a million of 20 characters are such words, and fewer of longer ones.
    """
    if not _WORDS_AND_A_NUMBER.fullmatch(run):
        return False
    return all(len(word) > 1 and not _VOWELS.isdisjoint(word) for word in _WORD.findall(run))


def _is_mixed(run: str) -> bool:
    kinds = [next(i for i, kind in enumerate(KINDS) if one in kind) for one in run]
    changes = sum(one != other for one, other in pairwise(kinds))
    return set(kinds) == set(range(len(KINDS))) and changes >= MIXED * (len(run) - 1)


def _checksum(body: str) -> str:
    number = crc32(body.encode())
    digits = []
    for _ in range(CHECKSUM):
        number, digit = divmod(number, len(ALPHABET))
        digits.append(ALPHABET[digit])
    return "".join(reversed(digits))
