"""Makes key values, and tells one of ours from any other text: 40 letters and digits with a checksum.

`keyj`, 30 characters from the system's cryptographic source (178 bits), and the CRC-32 of those 34
in base 62: a scanner that finds the pattern in a leak can tell a key from a chance.
"""

import re
import secrets
import string
from zlib import crc32

from keyjanitor.words import Secret

PREFIX = "keyj"
RANDOM = 30
CHECKSUM = 6  # characters: 62**6 is more than 2**32
ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
PATTERN = re.compile(rf"{PREFIX}[0-9A-Za-z]{{{RANDOM + CHECKSUM}}}")


def new_value() -> Secret:
    """A value that nobody has had before."""
    body = PREFIX + "".join(secrets.choice(ALPHABET) for _ in range(RANDOM))
    return Secret(body + _checksum(body))


def looks_like_ours(text: str) -> bool:
    """Whether a text is a value that `new_value` made, but for one chance in four billion."""
    return bool(PATTERN.fullmatch(text)) and text[-CHECKSUM:] == _checksum(text[:-CHECKSUM])


def _checksum(body: str) -> str:
    number = crc32(body.encode())
    digits = []
    for _ in range(CHECKSUM):
        number, digit = divmod(number, len(ALPHABET))
        digits.append(ALPHABET[digit])
    return "".join(reversed(digits))
