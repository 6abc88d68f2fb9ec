"""One picture of a run: which tasks moved to the edge, and quality against cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

WIDTH, ROW, LEFT, TOP, BARS = 890, 34, 92, 46, 330
RIGHT = LEFT + BARS + 140
COLOURS = {"prompt": "#2a7f9e", "answer": "#d9822b"}
STYLE = (
    "text{font:12px system-ui,sans-serif;fill:#222}.t{font-weight:600}.s{fill:#666;font-size:11px}"
    ".a{stroke:#999;stroke-width:1}.b{stroke:#444;stroke-width:1.5}"
    "@media(prefers-color-scheme:dark){svg{background:#161616}text{fill:#ddd}.s{fill:#999}.a{stroke:#666}.b{stroke:#bbb}}"
)


def picture(runs: Mapping[str, Mapping[str, Any]]) -> str:
    """An SVG of the figures that `figures.of` made, by gate."""
    tasks = sorted(next(iter(runs.values()))["tasks"], key=lambda name: _gap(runs, name))
    height = TOP + ROW * len(tasks) + 70
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">',
        "<title>What moved to the edge, and quality against cost</title>",
        f"<style>{STYLE}</style>",
        *_bars(runs, tasks),
        *_cloud_of_points(runs, height),
        "</svg>",
    ]
    return "\n".join(parts)


def _gap(runs: Mapping[str, Mapping[str, Any]], task: str) -> float:
    found = [float(run["tasks"][task]["gap"]) for run in runs.values() if task in run["tasks"]]
    return sum(found) / len(found)


def _text(x: float, y: float, text: str, kind: str = "", anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}" text-anchor="{anchor}">{escape(text)}</text>'


def _bars(runs: Mapping[str, Mapping[str, Any]], tasks: Sequence[str]) -> list[str]:
    """For each task its share at the edge; beside it how the edge does there, against the cloud."""
    parts = [
        _text(LEFT, 18, "Share of held-out requests that the site answered at the edge", "t"),
        _text(LEFT + BARS + 8, TOP - 8, "edge's gap to the cloud", "s"),
    ]
    for number, task in enumerate(tasks):
        y = TOP + ROW * number
        parts.append(_text(LEFT - 8, y + 17, task, "", "end"))
        for place, (gate, run) in enumerate(runs.items()):
            row = run["tasks"].get(task)
            if row is None:
                continue
            high = (ROW - 10) / len(runs)
            width = BARS * row["edge_share"]
            parts.append(
                f'<rect x="{LEFT}" y="{y + 2 + place * high:.1f}" width="{width:.1f}" height="{high - 1:.1f}" '
                f'fill="{COLOURS[gate]}"><title>{task}, {gate}: {row["edge_share"]:.0%} of {row["requests"]}'
                "</title></rect>"
            )
        parts.append(_text(LEFT + BARS + 8, y + 17, f"{_gap(runs, task):.2f}"))
    bottom = TOP + ROW * len(tasks)
    parts.append(f'<line class="a" x1="{LEFT}" y1="{bottom}" x2="{LEFT + BARS}" y2="{bottom}"/>')
    parts += [
        _text(LEFT + BARS * share, bottom + 15, f"{share:.0%}", "s", "middle") for share in (0.0, 0.25, 0.5, 0.75, 1.0)
    ]
    for place, gate in enumerate(runs):
        x = LEFT + 130 * place
        parts.append(f'<rect x="{x}" y="{bottom + 26}" width="12" height="12" fill="{COLOURS[gate]}"/>')
        parts.append(_text(x + 17, bottom + 36, f"gate on the {gate}"))
    return parts


def _cloud_of_points(runs: Mapping[str, Mapping[str, Any]], height: int) -> list[str]:
    """Right answers against cost: all at the edge, all in the cloud, and the site with each gate."""
    first = next(iter(runs.values()))
    points = [
        ("all at the edge", 0.0, first["right"]["edge"], "#888"),
        ("all in the cloud", 1.0, first["right"]["cloud"], "#444"),
        *(
            (f"gate on the {gate}", run["cost_ratio"], run["right"]["site"], COLOURS[gate])
            for gate, run in runs.items()
        ),
    ]
    low = min(point[2][1] for point in points) - 0.03
    high = max(point[2][2] for point in points) + 0.03
    bottom, wide = height - 58, WIDTH - RIGHT - 70

    def up(value: float) -> float:
        return float(bottom - (value - low) / (high - low) * (bottom - TOP))

    parts = [
        _text(RIGHT, 18, "Right answers against cost (cloud = 1)", "t"),
        f'<line class="a" x1="{RIGHT}" y1="{bottom}" x2="{RIGHT + wide}" y2="{bottom}"/>',
        f'<line class="a" x1="{RIGHT}" y1="{bottom}" x2="{RIGHT}" y2="{TOP}"/>',
    ]
    parts += [_text(RIGHT + wide * at, bottom + 15, f"{at:.1f}", "s", "middle") for at in (0.0, 0.5, 1.0)]
    ticks = [tick / 10 for tick in range(11) if low <= tick / 10 <= high]
    parts += [_text(RIGHT - 5, up(tick) + 4, f"{tick:.0%}", "s", "end") for tick in ticks]
    named: list[float] = []
    for name, cost, (mean, lower, upper), colour in points:
        x = RIGHT + wide * min(cost, 1.1)
        parts.append(f'<line class="b" x1="{x:.1f}" y1="{up(lower):.1f}" x2="{x:.1f}" y2="{up(upper):.1f}"/>')
        parts.append(f'<circle cx="{x:.1f}" cy="{up(mean):.1f}" r="5" fill="{colour}"><title>{name}</title></circle>')
        is_right = cost > 0.7
        y = up(mean) + 4
        # Gates that do as well as each other lie close together; their names must not.
        while any(abs(y - other) < 14 for other in named):
            y += 14
        named.append(y)
        parts.append(_text(x + (-9 if is_right else 9), y, name, "s", "end" if is_right else "start"))
    return parts
