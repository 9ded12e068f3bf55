"""`make bench`: the seconds that the slow moves take on this machine. A measure, never a gate.

Each is the best of a few tries: a try that takes longer says something of the machine.
"""

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from time import perf_counter

from keyjanitor.adapters.history_bucket import HistoryBucket
from keyjanitor.domain.expiry.verdicts import decide
from keyjanitor.domain.report.html import render
from keyjanitor.domain.usage.reading import take_evidence
from keyjanitor.domain.usage.usage_file import UsageFiles
from sandbox.driver.client import Sandbox
from sandbox.driver.population import TIERS, population
from sandbox.portraits import a_browser, browser_path
from tests.builders import TODAY, YESTERDAY
from tests.e2e.test_report_page import SEARCHES, act
from tests.report_document import COLUMNS, a_report
from tests.unit.test_speed import KEYS, Bucket, an_account_to_judge, lines_of_a_night, read_usage

TRIES = 5
# From the event until the frame after the next one has begun: what it changed is painted by then.
TIMED = """async () => {
  const byId = (id) => document.getElementById(id);
  const painted = () => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
  await painted();
  const began = performance.now();
  ACT;
  await painted();
  return (performance.now() - began) / 1000;
}"""


def best_of(do: Callable[[], object]) -> float:
    """The least seconds of a few tries."""
    seconds = []
    for _ in range(TRIES):
        began = perf_counter()
        do()
        seconds.append(perf_counter() - began)
    return min(seconds)


def of_the_rules() -> Iterator[tuple[str, float]]:
    """Deciding over the keys, and writing a night down."""
    night, bound = an_account_to_judge(KEYS)
    yield "decide on every key", best_of(lambda: decide(night, bound))
    yield "judge a night's usage", best_of(lambda: take_evidence(TODAY, read_usage(), None))
    evidence, usages = take_evidence(TODAY, read_usage(), None)
    history, lines = HistoryBucket(Bucket(), "bucket"), lines_of_a_night()

    def write() -> None:
        files = UsageFiles(evidence, usages, None)
        for day in files.days:
            history.put_usage(day, files.rows(day, []))
        history.put_keys(TODAY, lines)

    yield "write its usage and keys files", best_of(write)
    yield "render the report", best_of(lambda: render(a_report(KEYS)))


def of_the_page() -> Iterator[tuple[str, float]]:
    """The report in Debian's chromium."""
    path = browser_path()
    if path is None:
        return
    with tempfile.TemporaryDirectory() as folder, a_browser(str(path)) as browser:
        file = Path(folder) / "index.html"
        file.write_bytes(render(a_report(KEYS)))
        ready, slowest = [], {}  # type: ignore[var-annotated]
        for _ in range(TRIES):
            page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
            page.goto(file.as_uri())
            mark = "performance.getEntriesByName('report-ready')[0].startTime / 1000"
            ready.append(page.evaluate(mark))
            for name in (
                *(f"search {text}" for text in SEARCHES),
                *(f"sort {column}" for column in COLUMNS),
            ):
                took = page.evaluate(TIMED.replace("ACT", act(name)))
                slowest[name] = min(took, slowest.get(name, took))
            page.context.close()
        yield "the report is ready", min(ready)
        for verb in ("search", "sort"):
            name, seconds = max(
                (one for one in slowest.items() if one[0].startswith(verb)), key=lambda one: one[1]
            )
            yield f"slowest {verb} of its table ({name})", seconds


def of_the_sandbox() -> Iterator[tuple[str, float]]:
    """Starting the AWS on this machine, and laying down an account."""
    began = perf_counter()
    with Sandbox.start() as sandbox:
        yield "the sandbox is ready", perf_counter() - began
        api_id = sandbox.rest_api([tier.stage for tier in TIERS])
        plans = {t.name: sandbox.usage_plan(t.name, [(api_id, t.stage)], t.quota) for t in TIERS}
        began = perf_counter()
        rows = list(population(9_300, YESTERDAY).rows(plans))
        yield "9,300 keys with 120 days are made", perf_counter() - began
        began = perf_counter()
        sandbox.lay_down_rows(rows)
        yield "and laid down", perf_counter() - began


def main() -> None:
    """Measures and prints, a line each as it comes."""
    print(f"seconds on this machine, best of {TRIES}; {KEYS:,} keys where nothing else is said")
    os.environ.setdefault("AWS_DEFAULT_REGION", "us-east-1")
    for measures in (of_the_rules, of_the_page, of_the_sandbox):
        with contextlib.suppress(KeyboardInterrupt):
            for what, seconds in measures():
                print(f"  {seconds:8.3f}  {what}", flush=True)


if __name__ == "__main__":
    main()
