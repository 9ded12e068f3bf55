"""Draws two counts over a year as an SVG: text stays text, and it is dark where the reader's screen is."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

WIDTH, HEIGHT = 800, 400
LEFT, RIGHT, TOP, BOTTOM = 56, 780, 64, 356  # of the field in which the lines are drawn
STEPS = 10  # from nothing to the limit, each with its number on the left

TITLE = "API keys in a simulated year, with keyjanitor and without"
STYLE = """
    text { font: 13px system-ui, -apple-system, "Segoe UI", Helvetica, Arial, sans-serif; }
    .title { font-size: 15px; font-weight: 600; }
    .faint { font-size: 12px; }
    .end { text-anchor: end; }
    .middle { text-anchor: middle; }
    .name { font-weight: 600; }
    .halo { paint-order: stroke; stroke-width: 4px; stroke-linejoin: round; }
    path { fill: none; }
    .level { stroke-dasharray: 2 4; }
    .limit { stroke-width: 1.5; }
    .with, .without { stroke-width: 2.5; stroke-linejoin: round; }
    .without { stroke-dasharray: 7 3; }"""
# What has which colour, where the reader's screen is light and where it is dark.
COLOURS = (
    (".back { fill: %s }", "#ffffff", "#0d1117"),
    (".halo { stroke: %s }", "#ffffff", "#0d1117"),
    ("text { fill: %s }", "#1f2328", "#f0f6fc"),
    (".faint { fill: %s }", "#59636e", "#9198a1"),
    (".grid { stroke: %s }", "#d1d9e0", "#30363d"),
    (".level { stroke: %s }", "#9a6700", "#d29922"),
    (".limit { stroke: %s }", "#cf222e", "#f85149"),
    (".of-limit { fill: %s }", "#cf222e", "#f85149"),
    (".with { stroke: %s }", "#0969da", "#58a6ff"),
    (".of-with { fill: %s }", "#0969da", "#58a6ff"),
    (".without { stroke: %s }", "#8250df", "#bc8cff"),
    (".of-without { fill: %s }", "#8250df", "#bc8cff"),
    (".pressed { fill: %s }", "#ddf4ff", "#12263f"),
)


@dataclass(frozen=True, slots=True)
class Curve:
    """One count a day, the first of them on the evening before the first day; and what it is called.

    `name` stands at (`day`, `keys`) where there is room for it.
    """

    mark: str
    counts: Sequence[int]
    name: str
    day: int
    keys: int


@dataclass(frozen=True, slots=True)
class Field:
    """Where a day and a count are."""

    days: int
    low: int
    high: int

    def x(self, day: float) -> float:
        """From the left."""
        return round(LEFT + (RIGHT - LEFT) * day / self.days, 1)

    def y(self, keys: float) -> float:
        """From above."""
        return round(BOTTOM - (BOTTOM - TOP) * (keys - self.low) / (self.high - self.low), 1)

    def path(self, counts: Sequence[int]) -> str:
        """A line through a count a day; in the middle of a straight piece nothing is said."""
        last = len(counts) - 1
        turns = [
            day
            for day, keys in enumerate(counts)
            if day in (0, last) or counts[day + 1] - keys != keys - counts[day - 1]
        ]
        return "M" + " ".join(f"{self.x(day)},{self.y(counts[day])}" for day in turns)


def picture(
    first: date,
    curves: Sequence[Curve],
    limit: int,
    levels: Sequence[float],
    pressed: Sequence[tuple[int, int]],
    pressure: Sequence[str],
) -> str:
    """The picture; `pressed` are the days, from the one to the other, on which a pressure rule was active.

    `pressure` says what that rule does, in lines below each other.
    """
    lowest = min(min(curve.counts) for curve in curves)
    step = limit // STEPS
    field = Field(len(curves[0].counts) - 1, lowest // step * step, limit + step // 4)
    parts = [
        f'<rect class="back" width="{WIDTH}" height="{HEIGHT}" rx="6"/>',
        f'<text class="title" x="{LEFT}" y="28">{TITLE}</text>',
    ]
    top = field.y(limit)
    for begin, end in pressed:
        width = round(field.x(end) - field.x(begin), 1)
        parts.append(
            f'<rect class="pressed" x="{field.x(begin)}" y="{top}" width="{width}" '
            f'height="{BOTTOM - top:g}"/>'
        )
    for keys in range(field.low, limit, step):
        parts.append(f'<path class="grid" d="M{LEFT},{field.y(keys)} H{RIGHT}"/>')
        parts.append(
            f'<text class="faint end" x="{LEFT - 8}" y="{field.y(keys) + 4:g}">{keys:,}</text>'
        )
    parts += _levels(field, limit, levels)
    parts += _months(field, first)
    for curve in curves:
        parts.append(f'<path class="{curve.mark}" d="{field.path(curve.counts)}"/>')
    for curve in curves:
        x, y = field.x(curve.day), field.y(curve.keys)
        parts.append(f'<text class="name of-{curve.mark} halo" x="{x}" y="{y}">{curve.name}</text>')
    if pressed:
        middle = field.x(sum(pressed[0]) / 2)
        lowest_line = BOTTOM - 8 - 16 * (len(pressure) - 1)
        parts += [
            f'<text class="faint middle halo" x="{middle}" y="{lowest_line + 16 * number}">{line}</text>'
            for number, line in enumerate(pressure)
        ]
    body = "\n  ".join(parts)
    told = "; ".join(f"{curve.name}: {curve.counts[-1]:,} at the end" for curve in curves)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'width="{WIDTH}" height="{HEIGHT}" role="img">\n'
        f"  <title>{TITLE}</title>\n  <desc>{told}</desc>\n"
        f"  <style>{_style()}\n  </style>\n  {body}\n</svg>\n"
    )


def _style() -> str:
    light, dark = (" ".join(colours[0] % colours[side] for colours in COLOURS) for side in (1, 2))
    return f"{STYLE}\n    {light}\n    @media (prefers-color-scheme: dark) {{ {dark} }}"


def _levels(field: Field, limit: int, levels: Sequence[float]) -> list[str]:
    """The limit and the levels at which an alert goes out, each with its share on the right."""
    parts = [
        f'<path class="limit" d="M{LEFT},{field.y(limit)} H{RIGHT}"/>',
        f'<text class="of-limit end" x="{LEFT - 8}" y="{field.y(limit) + 4:g}">{limit:,}</text>',
        f'<text class="of-limit" x="{LEFT}" y="{field.y(limit) - 6:g}">the limit</text>',
        f'<text class="faint end" x="{RIGHT}" y="{field.y(limit) - 6:g}">dotted: an alert goes out</text>',
    ]
    for level in levels:
        y = field.y(limit * level)
        parts.append(f'<path class="level" d="M{LEFT},{y} H{RIGHT}"/>')
        parts.append(f'<text class="faint end halo" x="{RIGHT}" y="{y + 4:g}">{level:.0%}</text>')
    return parts


def _months(field: Field, first: date) -> list[str]:
    """The name of each month below its days."""
    parts = []
    for day in range(field.days):
        on = first + timedelta(days=day)
        if on.day == 1:
            parts.append(f'<path class="grid" d="M{field.x(day)},{BOTTOM} v6"/>')
        if on.day == 15:
            parts.append(
                f'<text class="faint middle" x="{field.x(day)}" y="{BOTTOM + 20}">{on:%b}</text>'
            )
    return parts
