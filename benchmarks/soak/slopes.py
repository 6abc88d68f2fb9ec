"""Does a series grow? Theil-Sen slopes with Sen's interval, over medians of blocks, against what counts as noise."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

BLOCKS = 40
Z = 2.576
"""99 % of a normal distribution lie within so many deviations."""

NOISE = {
    "memory_mb": (0.02, 2.0), "fds": (0.0, 4.0), "threads": (0.0, 1.0), "in_flight": (0.0, 4.0),
    "connections": (0.0, 4.0), "store_kb_per_request": (0.15, 0.2),
}  # fmt: skip
"""(share of the level, and so much more) that a series may rise within the window."""

COARSE = {"memory_mb": (0.08, 4.0), "fds": (0.0, 12.0), "in_flight": (0.0, 12.0), "connections": (0.0, 12.0),
          "store_kb_per_request": (0.5, 1.0)}  # fmt: skip
"""The same for a window of a minute."""


PROTOCOL = """\
A real site with patterns on; the cloud fails by turns (503, 429, a web page, answers that stall), 15 % of the callers
leave, 5 % send jobs. Memory is anonymous and swapped, of the site and its workers. Slopes: Theil-Sen over medians of
blocks, with Sen's 99 % interval. A series grows where the interval lies above zero and the rise within the window is
more than what counts as noise."""
COLUMNS = ("series", "level", "slope per hour", "99 % interval", "rise in the window", "noise", "verdict")


@dataclass(frozen=True)
class Trend:
    """One series: its level, slope per hour with its interval, the rise within the window and what is allowed."""

    name: str
    level: float
    per_hour: float
    low: float
    high: float
    rise: float
    allowed: float
    grows: bool

    def told(self) -> dict[str, Any]:
        """For JSON."""
        return {key: round(value, 4) if isinstance(value, float) else value for key, value in asdict(self).items()}


def slope(at: Sequence[float], values: Sequence[float]) -> tuple[float, float, float]:
    """(median slope, lower and upper bound with 99 %).

    Source: Sen, Estimates of the regression coefficient based on Kendall's tau, 1968.
    """
    n = len(at)
    found = sorted((values[j] - values[i]) / (at[j] - at[i]) for i in range(n) for j in range(i + 1, n))
    if not found:
        return 0.0, 0.0, 0.0
    spread = Z * math.sqrt(n * (n - 1) * (2 * n + 5) / 18)
    low = max(0, int((len(found) - spread) / 2))
    high = min(len(found) - 1, int((len(found) + spread) / 2))
    return statistics.median(found), found[low], found[high]


def blocks(at: Sequence[float], values: Sequence[float], count: int = BLOCKS) -> tuple[list[float], list[float]]:
    """Medians of at most so many blocks: neighbours are alike, and one burst is no trend."""
    size = max(1, math.ceil(len(at) / count))
    starts = range(0, len(at), size)
    return (
        [statistics.median(at[start : start + size]) for start in starts],
        [statistics.median(values[start : start + size]) for start in starts],
    )


def trend(name: str, at: Sequence[float], values: Sequence[float], *, is_coarse: bool = False) -> Trend:
    """Whether a series, sampled at these seconds, grows."""
    share, more = COARSE.get(name, NOISE[name]) if is_coarse else NOISE[name]
    times, medians = blocks(at, values)
    median, low, high = slope(times, medians)
    level = statistics.median(values)
    rise, allowed = median * (at[-1] - at[0]), share * level + more
    grows = low > 0 and rise > allowed
    return Trend(name, level, median * 3600, low * 3600, high * 3600, rise, allowed, grows)


def judge(samples: Sequence[Mapping[str, float]], *, is_coarse: bool) -> list[Trend]:
    """All trends of a run. The store grows with each request it tells of: what may not grow is its share of one."""
    at = [one["at_s"] for one in samples]
    found = [
        trend(name, at, [one[name] for one in samples], is_coarse=is_coarse)
        for name in ("memory_mb", "fds", "threads", "in_flight", "connections")
    ]
    wide = max(1, len(samples) // 8)
    pairs = list(zip(samples, samples[wide:], strict=False))
    pairs = [(before, after) for before, after in pairs if after["sent"] > before["sent"]]
    shares = [(b["store_mb"] - a["store_mb"]) * 1e3 / (b["sent"] - a["sent"]) for a, b in pairs]
    found.append(trend("store_kb_per_request", [b["at_s"] for _, b in pairs], shares, is_coarse=is_coarse))
    return found


def page(found: Mapping[str, Any]) -> str:
    """The report as Markdown."""
    how = (
        f"{found['date']}, {found['minutes']:g} minutes at {found['rate']:g} requests/s, the first "
        f"{found['warm_s']:.0f} s warm-up; load average {found['load']}. "
        f"Command: `benchmarks/soak/run.py --minutes {found['minutes']:g}`."
    )
    lines = ["# Soak: does anything grow?", "", how, "", PROTOCOL, ""]
    lines += [f"| {' | '.join(COLUMNS)} |", "|---" * len(COLUMNS) + "|"]
    for one in found["trends"]:
        lines.append(
            f"| {one['name']} | {one['level']:.2f} | {one['per_hour']:+.2f} | {one['low']:+.2f} … {one['high']:+.2f} "
            f"| {one['rise']:+.2f} | {one['allowed']:.2f} | {'GROWS' if one['grows'] else 'steady'} |"
        )
    ends = f"Requests: {found['requests']}; how they ended: {found['ends']} {found['whys']}."
    lines += ["", f"{ends} At rest: {found['at_rest']}."]
    return "\n".join(lines) + "\n"
