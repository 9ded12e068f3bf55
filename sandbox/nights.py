"""`make nights`: the last seven nights of the account, on the stack in the running sandbox.

No schedule starts a function there. Here they are called for each of these nights as the schedules
would call them, so that notices run out: what was warned first is due today.
"""

import os
import sys
from collections.abc import Iterator, Mapping
from datetime import date, datetime, time, timedelta
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from rich.console import Console

from sandbox.driver.client import Sandbox
from sandbox.driver.life import LOOK, READING, SWEEP
from sandbox.driver.stack import Stack

NIGHTS = 7
NO_STACK = """\
There is no stack in the sandbox yet. Start it with `make sandbox KEYS=500`, and type in another terminal:

    . .sandbox/env
    sam build
    sam deploy --config-env local
    make nights"""


def main() -> None:
    """Lives the nights and prints one line for each; exit code 1 if there is no stack."""
    console = Console(highlight=False, soft_wrap=True)
    try:
        sandbox = Sandbox(os.environ["AWS_ENDPOINT_URL"])
        stack = Stack.attached(sandbox)
    except (KeyError, BotoCoreError, ClientError):
        sys.exit(NO_STACK)
    if not subscribed(stack):
        stack.listen()
    yesterday = sandbox.now().date() - timedelta(days=1)
    try:
        for day, read, swept in lived(stack, yesterday):
            used = f"{read['keys_used']:,} of {read['keys']:,} keys in plans used in 90 days"
            console.print(f"Night of {day}: {used}; {told(swept)}")
    finally:
        sandbox.reset_clock()
    console.print("Today's night has not come yet: keyjanitor read, then keyjanitor plan.")


def subscribed(stack: Stack) -> bool:
    """True if an address was subscribed to alerts; without one every sweep only observes."""
    topic = stack.outputs["AlertTopicArn"]
    found = stack.sandbox.client("sns").list_subscriptions_by_topic(TopicArn=topic)
    return bool(found["Subscriptions"])


def lived(stack: Stack, last: date) -> Iterator[tuple[date, Mapping[str, Any], Mapping[str, Any]]]:
    """(date, the reading's answer, the sweep's answer) of the nights up to `last`."""
    for back in reversed(range(NIGHTS)):
        day = last - timedelta(days=back)
        read = stack.pull(at(stack.sandbox, day, READING))
        swept = stack.sweep(at(stack.sandbox, day, SWEEP))
        stack.watch(at(stack.sandbox, day, LOOK))
        yield day, read, swept


def at(sandbox: Sandbox, day: date, hour: time) -> str:
    """Sets the sandbox's clock to a moment, and gives it as the schedules' events have it."""
    moment = datetime.combine(day, hour)
    sandbox.set_clock(moment)
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


def told(swept: Mapping[str, Any]) -> str:
    """What a sweep did, in words."""
    done = {"warned": "warn", "disabled": "disable", "parked": "park"}
    numbers = {word: swept["applied"][action] for word, action in done.items()}
    return ", ".join(f"{number} {word}" for word, number in numbers.items() if number) or "no step"


if __name__ == "__main__":
    main()
