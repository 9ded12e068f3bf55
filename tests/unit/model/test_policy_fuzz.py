"""Whatever stands in `policy.toml`: it is a policy, or PolicyError names the fields.

KEYJANITOR_FUZZ=10000 tries so many documents (left out: a tenth of that), KEYJANITOR_SEED others.
"""

import os
import random

import pytest

from keyjanitor.domain.model.policy import Policy
from keyjanitor.domain.model.policy_file import parse_policy
from keyjanitor.domain.model.policy_text import WHOLE, Lines
from keyjanitor.errors import PolicyError
from tests.unit.model.test_policy import LEAST, shipped_with_examples

TRIES = int(os.environ.get("KEYJANITOR_FUZZ", "1000"))
PRESSURE = "\n[[pressure]]\nabove = 0.95\nidle_factor = 0.25\nfreeze = ['external']\n"
WHOLE_POLICY = shipped_with_examples() + PRESSURE
# Values that some reader is not made for.
NASTY = (
    *("0", "-1", "1", "60", "3651", "0.5", "nan", "inf", "-0.0", "1e400", "true", "''", "' '"),
    *(
        "'never'",
        "'*'",
        '"\\u202e"',
        '"\\u0000"',
        "'a b'",
        "[]",
        "[[]]",
        "[{}]",
        "{}",
        "['x', 'x']",
    ),
    *("{ a = 1 }", "[1, 'x', nan]", "2026-11-21", "2026-11-21T00:00:00Z", "07:32:00", "[nan, nan]"),
    *("'AROAEXAMPLEEXAMPLE012'", "['AROAEXAMPLEEXAMPLE012:x']", "['arn:aws:iam::1:role/x']"),
    *(
        "0x" + "f" * 5000,
        "9" * 5000,
        "1" + "0" * 400,
        "'" + "x" * 5000 + "'",
        "[" * 2000,
        "{a=" * 500,
    ),
    *("[" * 300 + "]" * 300, "“x”", "60\u00a0", "\u00a0", "'''", '"""x', "[1,", "{ a = ", "= ="),
)
BYTES = (
    b"\0",
    b"\xff",
    b"\xfe",
    b"\xef\xbb\xbf",
    b"\xc3",
    b"\xf0\x9f\x98\x80",
    b"\r",
    b"\x1b",
    b"\n",
)


def mutated(chance: random.Random) -> bytes:
    """The whole policy with some of its lines, letters or bytes changed."""
    lines = WHOLE_POLICY.split("\n")
    for _ in range(chance.choice((1, 1, 1, 2, 5))):
        at = chance.randrange(len(lines))
        match chance.randrange(6):
            case 0:
                del lines[at]
            case 1:
                lines.insert(chance.randrange(len(lines)), lines[at])
            case 2:
                lines[at] = lines[at][: chance.randrange(len(lines[at]) + 1)]
            case 3:
                field, equals, _ = lines[at].partition("=")
                lines[at] = f"{field}{equals or '='} {chance.choice(NASTY)}"
            case 4:
                other = lines[chance.randrange(len(lines))]
                lines[at] = f"{lines[at].partition('=')[0]}={other.partition('=')[2]}"
            case _:
                place = chance.randrange(len(lines[at]) + 1)
                letter = chance.choice("[]{}\"'=.,#\\-_\u00a0\u201c\ufeff\x00 \t0aÿ")
                lines[at] = lines[at][:place] + letter + lines[at][place:]
    data = "\n".join(lines).encode()
    if chance.random() < 0.1:
        place = chance.randrange(len(data) + 1)
        data = data[:place] + chance.choice(BYTES) + data[place:]
    return data


def read(data: bytes) -> Policy | PolicyError:
    try:
        return parse_policy(data)
    except PolicyError as err:
        return err


def test_whatever_the_file_says_it_is_a_policy_or_its_mistakes_are_named() -> None:
    chance = random.Random(int(os.environ.get("KEYJANITOR_SEED", "20261121")))
    kinds = {"policy": 0, "mistakes": 0, "not toml": 0}
    for _ in range(TRIES):
        data = mutated(chance)
        found = read(data)
        if isinstance(found, Policy):
            kinds["policy"] += 1
            continue
        assert str(found).isprintable() or "\n" in str(found)
        lines = data.count(b"\n") + 1
        for mistake in found.mistakes:
            assert mistake.path, data
            assert mistake.reason, data
            assert mistake.line is None or 1 <= mistake.line <= lines, (mistake, data)
        kinds["not toml" if found.mistakes[0].path == WHOLE else "mistakes"] += 1
    assert min(kinds.values()) > TRIES / 50, kinds


@pytest.mark.parametrize("key", ['"a\x1b"', '"a\r"', '"a\\q"', '"\\ud800"', "'a\x1b'"])
def test_a_key_that_is_no_toml_is_told_as_such(key: str) -> None:
    found = read(f"{LEAST}[tiers.x]\n{key} = 1\n".encode())
    assert isinstance(found, PolicyError)
    assert [one.path for one in found.mistakes] == [WHOLE]


def places() -> list[tuple[int, str]]:
    """Each line of the whole policy that sets one field, with the field's path."""
    fields = Lines.of(WHOLE_POLICY).of_path
    text = WHOLE_POLICY.split("\n")
    return [
        (line, path)
        for path, line in fields.items()
        if "=" in text[line - 1] and path.endswith(text[line - 1].partition("=")[0].strip())
    ]


@pytest.mark.parametrize(("line", "path"), places())
def test_a_field_whose_value_is_wrong_is_named_with_its_line(line: int, path: str) -> None:
    for nasty in ("{ nothing = 1 }", "2026-11-21", "nan", "-7"):
        text = WHOLE_POLICY.split("\n")
        if text[line - 1].endswith(","):  # a list of several lines
            text[line] = ""
        text[line - 1] = f"{text[line - 1].partition('=')[0]}= {nasty}"
        found = read("\n".join(text).encode())
        assert isinstance(found, PolicyError), (path, nasty)
        named = [one for one in found.mistakes if one.path.startswith(path)]
        assert {one.line for one in named} == {line}, (path, nasty, str(found))


def test_as_many_mistakes_as_there_are_are_told_at_once() -> None:
    text = LEAST + "warn_days = 0\ngrace_days = 'x'\n[tiers.a]\nidle_days = 0\nsendres = []\n"
    found = read((text + "[sweep]\nmax_keys = 0\n[[pressure]]\nabove = 2\n").encode())
    assert isinstance(found, PolicyError)
    assert [(one.path, one.line) for one in found.mistakes] == [
        ("tiers.unclaimed.warn_days", 3),
        ("tiers.unclaimed.grace_days", 4),
        ("tiers.a.idle_days", 6),
        ("tiers.a.sendres", 7),
        ("sweep.max_keys", 9),
        ("pressure[0].idle_factor", 10),
        ("pressure[0].above", 11),
    ]
