"""docs/architecture.md is about the code as it is: its picture, its names, its first screen."""

import ast
import re

from tests.architecture import about, arrows, modules, picture, reduced, room_of
from tests.pages import ARCHITECTURE, REPOSITORY

PAGE = (REPOSITORY / ARCHITECTURE).read_text(encoding="utf-8")
SCREEN = 40  # lines of a terminal, or of a browser's first view
LAYERS = ("services", "adapters", "domain", "errors")


def test_the_first_screen_answers_each_of_a_strangers_questions_in_one_hop() -> None:
    first = "\n".join(PAGE.splitlines()[:SCREEN])
    rows = re.findall(r"^\| ([^|]+\?) \| (.+) \|$", first, flags=re.M)
    assert len(rows) == 5
    for question, answer in rows:
        assert re.search(r"\]\([^)]+\)", answer), question


def test_what_is_named_in_a_file_is_defined_there() -> None:
    named = re.findall(r"`(\w+)` in \[[\w./]+\]\(\.\./([\w/.]+\.py)\)", PAGE)
    assert len(named) >= 2
    for name, file in named:
        tree = ast.parse((REPOSITORY / file).read_text(encoding="utf-8"))
        defined = {
            node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef)
        }
        assert name in defined, f"{file} has no {name}"


def test_a_new_action_touches_at_most_six_files() -> None:
    part = PAGE.partition("\n## Add a request action\n")[2].partition("\n## ")[0]
    assert len(re.findall(r"^\| \d+ \|", part, flags=re.M)) <= 6


def test_every_room_is_in_the_picture_and_says_what_it_is() -> None:
    drawn = picture()
    rooms = {room_of(module) for module in modules()} - {"", "domain"}
    assert {layer for layer in LAYERS if layer != "domain"} <= rooms
    for room in rooms:
        assert f"{room}: {about(room)}" in drawn
        assert about(room)


def test_no_arrow_leads_up_and_none_in_a_circle() -> None:
    pairs = set(arrows())
    order = {layer: number for number, layer in enumerate(LAYERS)}
    for a, b in pairs:
        upper, lower = (order.get(room.partition(".")[0], -1) for room in (a, b))
        assert upper <= lower, (a, b)
        assert (b, a) not in pairs


def test_an_arrow_that_follows_from_others_is_left_out() -> None:
    assert reduced({("a", "b"), ("b", "c"), ("a", "c")}) == {("a", "b"), ("b", "c")}
    assert reduced({("a", "c"), ("b", "c")}) == {("a", "c"), ("b", "c")}
    assert reduced({("a", "b"), ("b", "c"), ("c", "d"), ("a", "d")}) == {
        ("a", "b"),
        ("b", "c"),
        ("c", "d"),
    }
