"""Does a series grow? The slope over medians of batches, with Student's interval, against tolerances stated beforehand.

Neighbouring samples depend on each other: what fills must empty. Tried on noise that remembers for a minute, a 95 %
interval held the true slope in 93 of 100 windows of 45 minutes with eight batches, and in 75 with a block bootstrap of
Theil-Sen slopes, which therefore is not used.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

BATCHES: Final = 8
STUDENT: Final = 2.447
"""Quantile 0.975 of Student's distribution with six degrees of freedom: eight batches, two parameters."""

FLOORS: Final = frozenset({"blocks", "fds", "tasks", "in_flight", "connections"})
"""Counts that come and go with the load: what is lost raises their lowest tenth; a busy machine only the rest."""
FLOOR: Final = 0.1

PASS, FAIL, OPEN = "steady", "GROWS", "not told apart"


@dataclass(frozen=True)
class Tolerance:
    """By how much a series may rise within the window: so much, or this share of its level if that is more."""

    rise: float
    share: float = 0.0


FULL: Final = {
    "site_mb": Tolerance(2.0), "detectors_mb": Tolerance(1.0), "engine_mb": Tolerance(3.0),
    "blocks": Tolerance(0.0, 0.02), "fds": Tolerance(6.0), "threads": Tolerance(2.0), "tasks": Tolerance(6.0),
    "in_flight": Tolerance(4.0), "connections": Tolerance(4.0), "jobs_mb": Tolerance(0.5, 0.1),
    "rest_mb": Tolerance(0.25), "ledger_kb_per_request": Tolerance(0.15),
}  # fmt: skip
"""For an hour. Two megabytes are 46 bytes for each of 43,000 requests: a single object that is lost with each of them
shows; less would not, for the tables of full memories are a megabyte each, and made anew now and then. The engine's
memory of prompts, when full, comes and goes by 1.25 MB."""

SHORT: Final = FULL | {
    "site_mb": Tolerance(2.0), "detectors_mb": Tolerance(2.0), "engine_mb": Tolerance(4.0),
    "blocks": Tolerance(0.0, 0.06), "fds": Tolerance(20.0), "tasks": Tolerance(12.0), "in_flight": Tolerance(8.0),
    "connections": Tolerance(8.0), "jobs_mb": Tolerance(1.0, 0.25), "ledger_kb_per_request": Tolerance(0.4),
}  # fmt: skip
"""For ten minutes."""

COARSE: Final = SHORT | {
    "site_mb": Tolerance(6.0), "detectors_mb": Tolerance(6.0), "engine_mb": Tolerance(6.0),
    "blocks": Tolerance(0.0, 0.25), "fds": Tolerance(25.0), "tasks": Tolerance(30.0), "in_flight": Tolerance(20.0),
    "connections": Tolerance(20.0), "jobs_mb": Tolerance(2.0, 0.5), "ledger_kb_per_request": Tolerance(1.5),
}  # fmt: skip
"""For a minute: only gross leaks."""


def tolerances(minutes: float) -> Mapping[str, Tolerance]:
    """What is tolerated in a run of that length."""
    return FULL if minutes >= 30 else SHORT if minutes >= 5 else COARSE


@dataclass(frozen=True)
class Trend:
    """One series.

    Attributes:
        level: Its median.
        rise, low, high: By how much it rose within the window, with the interval.
        allowed: The tolerance.
        verdict: `steady` where the interval ends below the tolerance, `GROWS` where it begins above it.
    """

    name: str
    level: float
    rise: float
    low: float
    high: float
    allowed: float
    verdict: str

    def told(self) -> dict[str, Any]:
        """For JSON."""
        return {key: round(value, 4) if isinstance(value, float) else value for key, value in asdict(self).items()}


def batches(at: Sequence[float], values: Sequence[float], share: float = 0.5) -> tuple[list[float], list[float]]:
    """Middle instants and medians of `BATCHES` batches of as many samples each: one burst is no trend.

    Samples at the beginning that do not fill a batch are left out. `share`: below the number that is given, in place
    of one half.
    """
    size = len(at) // BATCHES
    assert size > 0, f"{BATCHES} samples or more are needed"
    starts = range(len(at) - size * BATCHES, len(at), size)
    return (
        [statistics.fmean(at[start : start + size]) for start in starts],
        [sorted(values[start : start + size])[int(share * size)] for start in starts],
    )


def slope(at: Sequence[float], values: Sequence[float]) -> tuple[float, float]:
    """(least squares slope, its standard error)."""
    middle, mean = statistics.fmean(at), statistics.fmean(values)
    times = [one - middle for one in at]
    spread = sum(one * one for one in times)
    found = sum(one * value for one, value in zip(times, values, strict=True)) / spread
    left = sum((value - mean - found * one) ** 2 for one, value in zip(times, values, strict=True))
    return found, math.sqrt(left / (len(at) - 2) / spread)


def trend(name: str, at: Sequence[float], values: Sequence[float], tolerance: Tolerance) -> Trend:
    """Whether a series, sampled at these seconds, grows.

    Source of the interval: the method of batch means, Law, Simulation Modeling and Analysis, 9.5.3, for a slope.
    """
    found, error = slope(*batches(at, values, FLOOR if name in FLOORS else 0.5))
    window_s, level = at[-1] - at[0], statistics.median(values)
    allowed = max(tolerance.rise, tolerance.share * abs(level))
    rise, blur = found * window_s, STUDENT * error * window_s
    least, most = rise - blur, rise + blur
    verdict = PASS if most < allowed else FAIL if least > allowed else OPEN
    return Trend(name, level, rise, least, most, allowed, verdict)


def judge(samples: Sequence[Mapping[str, float]], minutes: float) -> list[Trend]:
    """All trends of a run, from its samples after the warm-up.

    The ledger tells of each request, for ever or for `keep_days`: its growth is known, and what may not grow is its
    share of a request. A series that is not in all samples is left out.
    """
    allowed = tolerances(minutes)
    at = [one["at_s"] for one in samples]
    found = [
        trend(name, at, [one[name] for one in samples], one_allowed)
        for name, one_allowed in allowed.items()
        if all(name in one for one in samples)
    ]
    wide = max(1, len(samples) // 8)
    pairs = list(zip(samples, samples[wide:], strict=False))
    pairs = [(before, after) for before, after in pairs if after["sent"] > before["sent"]]
    shares = [(b["ledger_mb"] - a["ledger_mb"]) * 1e3 / (b["sent"] - a["sent"]) for a, b in pairs]
    name = "ledger_kb_per_request"
    found.append(trend(name, [b["at_s"] for _, b in pairs], shares, allowed[name]))
    return found
