"""However runs overlap, all functions together make no call more in ten seconds than their shares say."""

import threading
from datetime import UTC, datetime
from random import Random

import pytest

from keyjanitor.adapters.at_work import AtWork
from keyjanitor.adapters.rate_limiter import RateLimiter

NIGHT, REQUESTS, COPIES = (
    3,
    2,
    3,
)  # calls a second as deployed; two runs of the queue and an operator's
IN_TEN_SECONDS, IN_ONE = 10 * (NIGHT + REQUESTS), 7
NOW = datetime(2026, 11, 21, 3, 15, tzinfo=UTC)
CALLS = 60  # of each run


class Time:
    """One time for threads: it goes on, to the next of them, when all sleep."""

    def __init__(self, threads: int) -> None:
        self.now = 0.0
        self._awake = threads
        self._due: dict[int, float] = {}
        self._changed = threading.Condition()

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        me = threading.get_ident()
        with self._changed:
            self._due[me] = self.now + max(0.0, seconds)
            self._fall_asleep()
            while me in self._due:
                self._changed.wait()

    def end(self) -> None:
        """This thread sleeps no more."""
        with self._changed:
            self._fall_asleep()

    def _fall_asleep(self) -> None:
        self._awake -= 1
        if not self._awake and self._due:
            self.now = min(self._due.values())
            due = [one for one, at in self._due.items() if at <= self.now]
            for one in due:
                del self._due[one]
            self._awake += len(due)
            self._changed.notify_all()


class Lease:
    """The lease of one run, among those of others."""

    def __init__(self, held: set[str], run: str) -> None:
        self.held_by = run
        self._held = held

    def at_work(self, _: datetime, /) -> int:
        return len(self._held)


def live(seed: int) -> list[float]:
    """The moments of all calls of four functions of the night and of the copies for requests."""
    chance = Random(seed)
    runs = [("night", n) for n in range(4)] + [("requests", n) for n in range(COPIES)]
    time, held, sent = Time(len(runs)), set[str](), list[float]()

    def run(kind: str, number: int, begins: float, takes: list[float]) -> None:
        time.sleep(begins)
        clock, sleep = time.monotonic, time.sleep
        name = f"{kind} {number}"
        if kind == "night":
            held.add(name)
            among = AtWork(Lease(held, name), lambda: NOW, monotonic=clock, sleep=sleep)
            pace = RateLimiter(NIGHT, among=among, monotonic=clock, sleep=sleep)
        else:
            pace = RateLimiter(REQUESTS / COPIES, monotonic=clock, sleep=sleep)
        for seconds in takes:
            pace.wait()
            time.sleep(seconds / 2)
            sent.append(time.now)
            time.sleep(seconds / 2)
            pace.on_success()
        held.discard(name)
        time.end()

    threads = [
        threading.Thread(
            target=run,
            args=(
                *one,
                chance.uniform(0, 20),
                [chance.choice((0.01, 0.1, 0.4)) for _ in range(CALLS)],
            ),
        )
        for one in runs
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(sent)


def most_within(sent: list[float], seconds: float) -> int:
    return max(
        sum(first <= one < first + seconds for one in sent[n:]) for n, first in enumerate(sent)
    )


@pytest.mark.parametrize("seed", range(20))
def test_no_ten_seconds_see_more_than_fifty_calls_however_runs_overlap(seed: int) -> None:
    sent = live(seed)
    assert len(sent) == CALLS * (4 + COPIES)
    assert most_within(sent, 10) <= IN_TEN_SECONDS
    assert most_within(sent, 1) <= IN_ONE
