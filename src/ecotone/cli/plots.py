"""Small plots as SVG: a curve with its band, drawn by hand, readable in light and dark."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import Final

import msgspec

__all__ = ["Spot", "curve"]

_WIDTH: Final = 460
_HEIGHT: Final = 250
_LEFT: Final = 62
_BOTTOM: Final = 42
_TOP: Final = 14
_RIGHT: Final = 14
_TICKS: Final = 5
_STEPS: Final = (1, 2, 2.5, 5, 10)


class Spot(msgspec.Struct, frozen=True):
    """A point of a curve with its band; `note` is shown when a pointer rests on it."""

    x: float
    y: float
    low: float
    high: float
    note: str


class _Scale(msgspec.Struct, frozen=True):
    """Values to places on one axis."""

    low: float
    high: float
    begin: float
    end: float

    def at(self, value: float) -> float:
        """The place of a value; what is beyond an end lies on it."""
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return round(self.begin + share * (self.end - self.begin), 1)


def curve(spots: Sequence[Spot], names: tuple[str, str], *, title: str, limit: float | None = None) -> str:
    """An SVG of y over x.

    Args:
        spots: In the order of x; two at least.
        names: Of the axes, with units.
        limit: A value of y that is drawn as a line: what is promised.
    """
    ys = [value for spot in spots for value in (spot.y, spot.low, spot.high)] + ([] if limit is None else [limit])
    across = _scale([spot.x for spot in spots], _LEFT, _WIDTH - _RIGHT)
    up = _scale(ys, _HEIGHT - _BOTTOM, _TOP)
    parts = [
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(title)}"><title>{escape(title)}</title>',
        *_axes(across, up, names),
        f'<path class="band" d="{_band(spots, across, up)}"/>',
        f'<polyline class="line" points="{_line(spots, across, up)}"/>',
    ]
    if limit is not None:
        y = up.at(limit)
        parts.append(f'<line class="limit" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y}" y2="{y}"/>')
    for spot in spots:
        parts.append(
            f'<circle class="spot" cx="{across.at(spot.x)}" cy="{up.at(spot.y)}" r="3"><title>{escape(spot.note)}'
            "</title></circle>"
        )
    return "".join([*parts, "</svg>"])


def _scale(values: Sequence[float], begin: float, end: float) -> _Scale:
    """An axis from one round number to another."""
    finite = [value for value in values if math.isfinite(value)] or [0.0]
    low, high = min(finite), max(finite)
    if high - low < 1e-9:
        low, high = low - 0.5, high + 0.5
    step = _step((high - low) / _TICKS)
    return _Scale(math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step, begin, end)


def _step(rough: float) -> float:
    """The next round step."""
    power: float = 10.0 ** math.floor(math.log10(rough))
    return next(step * power for step in _STEPS if step * power >= rough * (1 - 1e-9))


def _ticks(scale: _Scale) -> list[float]:
    step = _step((scale.high - scale.low) / _TICKS)
    return [scale.low + index * step for index in range(round((scale.high - scale.low) / step) + 1)]


def _axes(across: _Scale, up: _Scale, names: tuple[str, str]) -> list[str]:
    parts = []
    for value in _ticks(up):
        y = up.at(value)
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y}" y2="{y}"/>')
        parts.append(f'<text class="tick" x="{_LEFT - 6}" y="{y + 4}" text-anchor="end">{_number(value)}</text>')
    for value in _ticks(across):
        x = across.at(value)
        parts.append(f'<text class="tick" x="{x}" y="{_HEIGHT - 25}" text-anchor="middle">{_number(value)}</text>')
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    parts.append(f'<text class="name" x="{middle}" y="{_HEIGHT - 6}" text-anchor="middle">{escape(names[0])}</text>')
    half = (_TOP + _HEIGHT - _BOTTOM) / 2
    parts.append(
        f'<text class="name" x="12" y="{half}" text-anchor="middle" transform="rotate(-90 12 {half})">'
        f"{escape(names[1])}</text>"
    )
    return parts


def _line(spots: Sequence[Spot], across: _Scale, up: _Scale) -> str:
    return " ".join(f"{across.at(spot.x)},{up.at(spot.y)}" for spot in spots)


def _band(spots: Sequence[Spot], across: _Scale, up: _Scale) -> str:
    over = [f"{across.at(spot.x)},{up.at(spot.high)}" for spot in spots]
    under = [f"{across.at(spot.x)},{up.at(spot.low)}" for spot in reversed(spots)]
    return "M" + " L".join([*over, *under]) + " Z"


def _number(value: float) -> str:
    return f"{value:.6g}" if abs(value) > 1e-12 else "0"
