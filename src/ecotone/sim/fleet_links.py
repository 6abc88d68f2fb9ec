"""Links of made sites, from fibre to two hours a week: when they are up, and when so many bytes are through."""

from __future__ import annotations

import math
from collections.abc import Iterator
from random import Random
from typing import Final

import msgspec

__all__ = ["KINDS", "FleetLink", "Kind", "drawn"]

HOUR_S: Final = 3600.0
DAY_S: Final = 86400.0
NEVER: Final = math.inf


class Kind(msgspec.Struct, frozen=True):
    """A kind of link: up for `up_s` of every `period_s`, with a rate in bit/s; `share` of the sites have it."""

    name: str
    share: float
    period_s: float
    up_s: float
    bits_per_s: float


KINDS: Final = (
    Kind("fibre", 0.45, 30 * DAY_S, 30 * DAY_S - 4 * HOUR_S, 100e6),
    Kind("dsl", 0.25, 7 * DAY_S, 7 * DAY_S - 3 * HOUR_S, 10e6),
    Kind("mobile", 0.15, 6 * HOUR_S, 4.5 * HOUR_S, 4e6),
    Kind("nights", 0.07, DAY_S, 4 * HOUR_S, 1e6),
    Kind("two hours a week", 0.05, 7 * DAY_S, 2 * HOUR_S, 10e6),
    Kind("off for weeks", 0.02, 60 * DAY_S, 20 * DAY_S, 10e6),
    Kind("never", 0.01, DAY_S, 0.0, 1e6),
)


class FleetLink(msgspec.Struct, frozen=True):
    """One site's link.

    Attributes:
        begins_s: When one of its windows begins.
        down: (From, to) when the hub itself cannot be reached.
    """

    kind: Kind
    begins_s: float
    down: tuple[tuple[float, float], ...] = ()

    def spells(self, from_s: float) -> Iterator[tuple[float, float]]:
        """(From, to) of every spell from an instant on in which the hub can be reached: endless, or none at all."""
        if self.kind.up_s <= 0:
            return
        window = math.floor((from_s - self.begins_s) / self.kind.period_s)
        while True:
            begins_s = self.begins_s + window * self.kind.period_s
            for start_s, end_s in self._reachable(max(begins_s, from_s), begins_s + self.kind.up_s):
                if end_s > start_s:
                    yield start_s, end_s
            window += 1

    def next_up(self, from_s: float) -> float:
        """The first instant from then on at which the hub can be reached."""
        return next((start_s for start_s, _ in self.spells(from_s)), NEVER)

    def is_up(self, at_s: float) -> bool:
        """Whether the hub can be reached then."""
        return self.next_up(at_s) <= at_s

    def last_up(self, at_s: float) -> float:
        """The last instant up to then at which the link was up; 0: it never was."""
        if self.kind.up_s <= 0:
            return 0.0
        into_s = (at_s - self.begins_s) % self.kind.period_s
        return at_s - max(0.0, into_s - self.kind.up_s)

    def through(self, from_s: float, count: float) -> float:
        """When so many bytes are through that begin then."""
        left_s = count * 8 / self.kind.bits_per_s
        for start_s, end_s in self.spells(from_s):
            if end_s - start_s >= left_s:
                return start_s + left_s
            left_s -= end_s - start_s
        return NEVER

    def up_s(self, from_s: float, to_s: float) -> tuple[float, int]:
        """(Seconds that the hub can be reached between two instants, spells of it)."""
        total_s, spells = 0.0, 0
        for start_s, end_s in self.spells(from_s):
            if start_s >= to_s:
                break
            total_s += min(end_s, to_s) - start_s
            spells += 1
        return total_s, spells

    def _reachable(self, start_s: float, end_s: float) -> Iterator[tuple[float, float]]:
        for from_s, to_s in self.down:
            if from_s < end_s and to_s > start_s:
                yield start_s, from_s
                start_s = to_s
        yield start_s, end_s


def drawn(rng: Random, begins_s: float, down: tuple[tuple[float, float], ...]) -> FleetLink:
    """A link by the shares of `KINDS`, its windows anywhere."""
    (kind,) = rng.choices(KINDS, [kind.share for kind in KINDS])
    return FleetLink(kind, begins_s + rng.random() * kind.period_s, down)
