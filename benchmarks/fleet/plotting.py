"""One picture of a run: how a version spreads over time, and who is ever on a bad one by the size of the fleet."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

WIDTH, HEIGHT, LEFT, TOP, WIDE, HIGH = 975, 350, 60, 50, 380, 260
RIGHT = LEFT + WIDE + 110
DAYS = 14
COLOURS = ("#2a7f9e", "#d9822b", "#6b8e23", "#8b5fbf", "#b23a48")
STYLE = (
    "text{font:12px system-ui,sans-serif;fill:#222}.t{font-weight:600}.s{fill:#666;font-size:11px}"
    ".a{stroke:#999;stroke-width:1}.g{stroke:#ddd;stroke-width:1}"
    "@media(prefers-color-scheme:dark){svg{background:#161616}text{fill:#ddd}.s{fill:#999}.a{stroke:#666}.g{stroke:#333}}"
)


def picture(curves: Mapping[str, Sequence[tuple[float, float]]], sizes: Sequence[Mapping[str, Any]]) -> str:
    """An SVG: `curves` are (seconds after the start, share of sites on the version for good), `sizes` as in `run`."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">',
        "<title>How a version spreads, and who is ever on a bad one</title>",
        f"<style>{STYLE}</style>",
        _text(LEFT, 20, "Sites on a good version, share, over days", "t"),
        _text(RIGHT, 20, "Ever on a bad version, share, by sites of the fleet", "t"),
        *_axes(LEFT, [(day / DAYS, str(day)) for day in range(0, DAYS + 1, 2)]),
    ]
    for number, (name, curve) in enumerate(curves.items()):
        points = [(at_s / 86400 / DAYS, share) for at_s, share in curve if at_s < DAYS * 86400]
        thinned = points[:: max(1, len(points) // 200)] + points[-1:]
        parts.append(_line(LEFT, thinned, COLOURS[number % len(COLOURS)]))
        parts.append(_text(LEFT + 222, TOP + HIGH - 105 + 15 * number, name, "s"))
        y = TOP + HIGH - 109 + 15 * number
        parts.append(
            f'<line x1="{LEFT + 194}" x2="{LEFT + 216}" y1="{y}" y2="{y}" stroke="{COLOURS[number]}" stroke-width="3"/>'
        )
    low, high = math.log10(sizes[0]["sites"]), math.log10(sizes[-1]["sites"])

    def place(sites: int) -> float:
        return (math.log10(sites) - low) / (high - low)

    parts += _axes(RIGHT, [(place(row["sites"]), f"{row['sites']:,}") for row in sizes if row["order"] == "waves"])
    for number, order in enumerate(("waves", "at once")):
        points = [(place(row["sites"]), row["ever"]) for row in sizes if row["order"] == order]
        parts.append(_line(RIGHT, points, COLOURS[number]))
        x, y = points[-1]
        parts.append(_text(RIGHT + WIDE * x - 4, TOP + HIGH * (1 - y) - 6, order, "s", "end"))
    return "\n".join([*parts, "</svg>"])


def _axes(left: float, ticks: Sequence[tuple[float, str]]) -> list[str]:
    parts = []
    for share in (0, 0.25, 0.5, 0.75, 1):
        y = TOP + HIGH * (1 - share)
        parts.append(f'<line class="g" x1="{left}" x2="{left + WIDE}" y1="{y}" y2="{y}"/>')
        parts.append(_text(left - 6, y + 4, f"{share:.0%}", "s", "end"))
    parts.append(f'<line class="a" x1="{left}" x2="{left + WIDE}" y1="{TOP + HIGH}" y2="{TOP + HIGH}"/>')
    parts += [_text(left + WIDE * at, TOP + HIGH + 16, name, "s", "middle") for at, name in ticks]
    return parts


def _line(left: float, points: Sequence[tuple[float, float]], colour: str) -> str:
    told = " ".join(f"{left + WIDE * x:.1f},{TOP + HIGH * (1 - y):.1f}" for x, y in points)
    return f'<polyline fill="none" stroke="{colour}" stroke-width="2" points="{told}"/>'


def _text(x: float, y: float, text: str, kind: str = "", anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}" text-anchor="{anchor}">{escape(text)}</text>'
