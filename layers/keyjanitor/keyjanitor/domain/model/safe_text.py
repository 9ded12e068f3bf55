"""Makes a text that others wrote harmless where people read it: alerts, logs, tables. Pure.

Names, owners, descriptions, tags and reasons come from whoever may make a key or send a request. What
programs read (the ledger, the daily files) keeps such a text as it was written; an event has `plain`.
"""

import re
from unicodedata import category

LONGEST = 160  # characters that are shown
CUT = "…"

# Letters and signs that have no look of their own: printable for Python, invisible for people.
_UNSEEN = frozenset(
    "\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0"
    + "".join(map(chr, (*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0))))
)
_LOOKS = "\ufe0e\ufe0f"  # as text, or as a picture
_JOINERS = "\u200c\u200d"
_JOINED = frozenset({"So", "Sk", "Lo", "Mc", "Mn"})  # pictures, skins, letters without case, looks
_MARKS = frozenset({"Mn", "Me"})
_MARKS_IN_A_ROW = 4  # on one letter; more of them reach into the lines above and below

# What mail and chat programs make a link of.
_ADDRESS = re.compile(r"[^\s@<>()\[\],;:/\\]+@[^\s@<>()\[\],;:/\\]+")
_SCHEME = re.compile(r":(?=//|\\\\)|(?<=\bmailto):|(?<=\btel):|(?<=\bsms):", re.IGNORECASE)
_SHARE = re.compile(r"\\\\(?=\w)")
_DOT = re.compile(r"(?<=\w)[.\u2024\u3002\uff0e\uff61](?=[^\W\d_]{2})")


# Control characters, line and paragraph separators, what turns the direction of writing, what has no
# width, tags. Joiners are not among them: some scripts need them.
HIDDEN = re.compile(
    "[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f"
    "\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]"
)


def plain(text: str) -> str:
    """The text with its hidden characters written out, for programs: all others stay as they are."""
    return HIDDEN.sub(lambda found: _written_out(found[0]), text)


def harmless(text: str, longest: int = LONGEST) -> str:
    r"""The text in one printable line of at most `longest` characters, with nothing to click on.

    White space is folded. Control, bidirectional and zero-width characters are written out, such as
    `\u202e`. Links are broken: `https[:]//example[.]org`. An e-mail address that stands alone stays.
    """
    line = _in_one_line(text, longest)
    return _cut(" ".join(map(_unlinked, line.split(" "))), longest)


def visible(text: str, longest: int = LONGEST) -> str:
    """As `harmless`, but links stay: for our own sentences, and for a page that makes no links."""
    return _cut(_in_one_line(text, longest), longest)


def _cut(line: str, longest: int) -> str:
    return line if len(line) <= longest else f"{line[: longest - 1]}{CUT}"


def _in_one_line(text: str, longest: int) -> str:
    # What is far behind the cut cannot be seen, whatever white space before it is folded.
    line = " ".join(text[: 16 * longest].split())
    seen: list[str] = []
    marks = 0
    for before, letter, after in zip(f" {line}", line, f"{line[1:]} ", strict=False):
        marks = marks + 1 if category(letter) in _MARKS else 0
        shows = letter.isprintable() and letter not in _UNSEEN and marks <= _MARKS_IN_A_ROW
        if shows or _joins(before, letter, after):
            seen.append(letter)
        else:
            seen.append(_written_out(letter))
    return "".join(seen)


def _written_out(letter: str) -> str:
    return letter.encode("unicode_escape").decode()


def _joins(before: str, letter: str, after: str) -> bool:
    """True if a sign without a look makes a picture of pictures, or a word of a script that needs it."""
    if letter in _LOOKS:
        return category(before) == "So" and before not in _UNSEEN
    if letter not in _JOINERS:
        return False
    return category(before) in _JOINED and category(after) in ("So", "Lo")


def _unlinked(word: str) -> str:
    if _ADDRESS.fullmatch(word.rstrip(".,:;")):
        return word
    return _DOT.sub("[.]", _SCHEME.sub("[:]", _SHARE.sub(r"[\\\\]", word)))
