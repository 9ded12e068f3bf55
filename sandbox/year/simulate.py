"""`make simulate`: a year of an account that grows, with keyjanitor and without; and its picture."""

import gc
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from time import monotonic

from keyjanitor.domain.model.policy_file import parse_policy
from sandbox.year.picture import Curve, picture
from sandbox.year.world import Plot, World
from sandbox.year.year import Month, Year

ROOT = Path(__file__).parents[2]
POLICY = Path(__file__).parent / "year.toml"
PICTURE = ROOT / "docs" / "pictures" / "year.svg"
YEAR = Plot()


def faults(year: Year) -> list[str]:
    """What went wrong in a year, in plain sentences; it should be nothing."""
    quota, most = year.policy.service_quota, max(year.counts)
    full = [f"the account held {most:,} keys, and its limit is {quota:,}"] if most >= quota else []
    return full + year.auditor.wrong


def draw(year: Year) -> str:
    """The picture of both counts."""
    quota, evenings = year.policy.service_quota, len(year.counts)
    full = next((day for day, keys in enumerate(year.without) if keys >= quota), None)
    name, day = "without keyjanitor", evenings // 3
    if full is not None:
        on, day = year.plot.day(full - 1), full + evenings // 100
        name += f": full on {on.day} {on:%B}, {year.turned_away:,} sign-ups turned away"
    refused = sum(month.did["refused"] for month in year.months.values())
    kept = f"with keyjanitor: at most {max(year.counts):,}, {refused:,} sign-ups turned away"
    curves = (
        Curve("without", year.without, name, day, int(0.957 * quota)),
        Curve("with", year.counts, kept, evenings // 4, int(0.66 * quota)),
    )
    levels = year.policy.alerts.levels
    return picture(year.plot.first, curves, quota, levels, year.pressed(), pressure(year))


def pressure(year: Year) -> list[str]:
    """What the pressure rule of the year's policy does, as the picture says it: it is not the shipped one."""
    if not year.policy.pressure:
        return []
    rule = year.policy.pressure[0]
    said = [f"above {rule.above:.0%}: idle limits \u00d7 {rule.idle_factor:g},"]
    return [*said, f"no new keys in tier {', '.join(rule.freeze)}"] if rule.freeze else said


HEADER = (
    "month       without    with  issued refused  warned disabled  parked    back  rule  limit in"
    "  regret"
)


def row(month: Month) -> str:
    """A month as a line of the table."""
    did = month.did
    return (
        f"{month.name:10}  {month.without:7,} {month.keys:7,} {did['issued']:7,} "
        f"{did['refused']:7,} {did['warn']:7,} {did['disable']:8,} {did['park']:7,} "
        f"{did['back']:7,}  {f'{month.rule:.0%}' if month.rule else '-':>4}  {month.limit_in:>8}"
        f"  {'-' if month.regret is None else f'{month.regret:.1f} %':>6}"
    )


def told(year: Year) -> Iterator[str]:
    """The alerts that came, and the regret."""
    yield "\nalerts:"
    for day, alert in year.alerts:
        if alert.kind != "expiring":
            yield f"  {day}  {alert.severity:8}  {alert.subject}"
    digests = sum(alert.kind == "expiring" for _, alert in year.alerts)
    yield f"  and {digests} digests of a night's warnings"
    disabled = len(year.gateway.disabled)
    share = year.regretted / disabled if disabled else 0.0
    yield (
        f"\nregret {share:.1%}: of {disabled:,} disabled keys {year.regretted:,} were asked back "
        f"within 30 days of being disabled or parked, and {year.back - year.regretted:,} later"
    )


def main(plot: Plot = YEAR, policy: Path = POLICY, drawn: Path = PICTURE) -> int:
    """Lives the year, prints and draws it; 1 if a promise was broken."""
    began = monotonic()
    year = Year(World(plot), parse_policy(policy.read_text("utf-8")))
    print(HEADER)
    for month in year.live():
        print(row(month), flush=True)
    for line in told(year):
        print(line)
    if wrong := faults(year):
        print("\n".join(wrong[:10]), f"faults: {len(wrong)}", sep="\n", file=sys.stderr)
        return 1
    drawn.parent.mkdir(parents=True, exist_ok=True)
    drawn.write_text(draw(year), "utf-8")
    print(
        "\nnever at the quota, no key disabled within its idle limit, every step announced: "
        f"{drawn.name} is drawn, after {monotonic() - began:.0f} s"
    )
    return 0


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    gc.disable()  # it would look through millions of values a night, and find nothing to free
    sys.exit(main())
