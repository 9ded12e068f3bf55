"""Work in function calls, the same number on every machine; and how long a test waits for others'."""

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

WAIT = 300.0  # seconds until a test gives up on what happens in the background: never a measure


def calls_of(act: Callable[[], object]) -> int:
    """The calls of functions, Python's and C's, that `act` takes, on this thread."""
    count = 0

    def see(_frame: FrameType, event: str, _argument: Any) -> None:
        nonlocal count
        if event in ("call", "c_call"):
            count += 1

    earlier = sys.getprofile()
    sys.setprofile(see)
    try:
        act()
    finally:
        sys.setprofile(earlier)
    return count
