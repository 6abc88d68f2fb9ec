"""Watches that a promise still fits the traffic, after it was given. Each has a stated rate of false alarms.

A bet against 'all is as it was' gains nothing on average while that is true. Restarted from 1 whenever it has lost, it
finds a change that comes late as fast as one that comes early; then an average of one false alarm in `patience`
observations at most can be held, and of `horizon / patience` within `horizon`.

Source: Shin, Ramdas and Rinaldo, E-detectors, New Engl. J. Stat. Data Sci. 2 (2024), of the CUSUM form. Waudby-Smith
and Ramdas, JRSS-B 86 (2024): the bets.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import msgspec
import numpy as np

STAKES: Final = (0.02, 0.05, 0.1, 0.2, 0.4, 0.8)
"""Parts of the largest bet that cannot ruin, each kept as a bet of its own: no one size fits all changes."""

FALSE_ALARMS: Final = 0.01
"""Of each kind of watch, within its horizon."""

REQUESTS: Final = 5_000
"""Horizon of what sees every request; and of what sees every pair."""

PAIRS: Final = 250
"""Horizon of what sees only pairs that are paid for: as many as come with `REQUESTS`, at one in twenty."""

_LOG_MAX: Final = 700.0
_TRAFFIC_WATCHES: Final = 7


class Rise:
    """Finds that the mean of values in [-1, 1] has come to lie above a level; several of them side by side."""

    __slots__ = ("_bets", "_floor", "_levels", "_logs", "_peak")

    def __init__(self, *levels: float, is_restarting: bool = True, logs: Sequence[float] = ()) -> None:
        """Starts with no evidence.

        Args:
            levels: One for each kind of value, in (-1, 1).
            is_restarting: Finds late changes as fast as early ones; without, the evidence is valid at any stopping time
                (its inverse bounds the probability of being wrong), and what was lost has to be won back.
            logs: What `dump` gave, to go on from there.
        """
        self._levels = np.array(levels)
        self._bets = np.outer(1.0 / (1.0 + self._levels), STAKES)
        self._floor = 0.0 if is_restarting else -_LOG_MAX
        size = len(levels) * len(STAKES)
        self._logs = np.array(logs if len(logs) == size else [0.0] * size).reshape(len(levels), len(STAKES))
        self._peak = float(self._logs.max())

    def add(self, *values: float) -> None:
        """One more value of each kind, in [-1, 1]."""
        gained = self._bets * (np.array(values) - self._levels)[:, None]
        np.clip(self._logs + np.log1p(np.maximum(gained, -0.999)), self._floor, _LOG_MAX, out=self._logs)
        self._peak = float(self._logs.max())

    def rings(self, limit: float) -> bool:
        """Whether the log evidence of one kind has reached `limit`. Cheap while it has not."""
        return self._peak >= limit and self.log_e >= limit

    @property
    def log_e(self) -> float:
        """The logarithm of the evidence, averaged over the stakes, of the kind that has most of it; 0 at the start."""
        highest = self._logs.max(axis=1)
        means = highest + np.log(np.mean(np.exp(self._logs - highest[:, None]), axis=1))
        return float(means.max())

    def dump(self) -> tuple[float, ...]:
        """What `logs` takes."""
        return tuple(self._logs.ravel().tolist())


def limit(watches: int, horizon: int) -> float:
    """The log evidence at which one of `watches` restarting ones rings, so that together they ring falsely with
    probability `FALSE_ALARMS` at most within `horizon` values each."""
    return math.log(watches * horizon / FALSE_ALARMS)


def once(watches: int) -> float:
    """The same for `watches` that do not restart, however long they go on."""
    return math.log(watches / FALSE_ALARMS)


class Base(msgspec.Struct, frozen=True, kw_only=True):
    """What traffic and calibration looked like in the pairs behind a certificate, and which were not learned from.

    Attributes:
        quarters: (3,) quartiles of the prompt's predicted gap.
        shares: (3,) share of the pairs at or below each: more than a quarter where many prompts are alike.
        edges: (3,) quartiles of the gate's score.
        residuals: (4,) mean of gap less score between them.
        groups: The same by key of `level`, drawn towards 0; of the keys that came most often.
        level: Which level of group keys is watched; -1: none.
        known: Keys of that level that were learned from.
        unseen: Share of the pairs whose key was not among them.
    """

    quarters: tuple[float, float, float]
    shares: tuple[float, float, float]
    edges: tuple[float, float, float]
    residuals: tuple[float, float, float, float]
    groups: dict[int, float] = {}
    level: int = -1
    known: frozenset[int] = frozenset()
    unseen: float = 0.0


TOLERANCE_EDGE: Final = 0.05
TOLERANCE_CALIBRATION: Final = 0.1
"""The gap may be larger by this much than was foreseen, before it counts: where the edge answers, and elsewhere."""

TOLERANCE_TRAFFIC: Final = 0.15
"""Shares of traffic may move by this much, before it counts. A certificate is for the mixture that it was made on, but
a mixture that moves a little each hour must not suspend it each hour."""


class WatchDump(msgspec.Struct, frozen=True, array_like=True):
    """A watch between two lives of the process: the evidence of each bet, of each of its parts."""

    loss_since: tuple[float, ...] = ()
    loss: tuple[float, ...] = ()
    edge_since: tuple[float, ...] = ()
    edge: tuple[float, ...] = ()
    rest: tuple[float, ...] = ()
    traffic: tuple[float, ...] = ()
    groups: dict[int, tuple[float, ...]] = {}

    def numbers(self) -> list[float]:
        """All of them."""
        parts = (self.loss_since, self.loss, self.edge_since, self.edge, self.rest, self.traffic, *self.groups.values())
        return [number for part in parts for number in part]


class Watch:
    """All that is watched while one certificate stands."""

    __slots__ = ("_base", "_edge", "_edge_since", "_groups", "_loss", "_loss_since", "_rest", "_traffic")

    def __init__(self, base: Base, loss_max: float, dump: WatchDump | None = None) -> None:
        dump = dump or WatchDump()
        self._base = base
        self._loss_since = Rise(loss_max, is_restarting=False, logs=dump.loss_since)
        self._loss = Rise(loss_max, logs=dump.loss)
        self._edge_since = Rise(0.0, is_restarting=False, logs=dump.edge_since)
        self._edge = Rise(0.0, logs=dump.edge)
        self._rest = Rise(0.0, logs=dump.rest)
        self._groups = {key: Rise(0.0, logs=dump.groups.get(key, ())) for key in base.groups}
        shares = (*base.shares, *(1.0 - share for share in base.shares), base.unseen)
        levels = [share + TOLERANCE_TRAFFIC for share in shares]
        self._traffic = Rise(*(min(level, 0.99) for level in levels), logs=dump.traffic)

    def placed(self, gap: float, groups: tuple[int, ...]) -> None:
        """A request was placed.

        Args:
            gap: What the frozen score predicted from its prompt.
            groups: Its group keys; empty where they are not known.
        """
        base = self._base
        low, middle, high = (float(gap <= quarter) for quarter in base.quarters)
        is_unseen = bool(groups) and base.level >= 0 and groups[base.level] not in base.known
        self._traffic.add(low, middle, high, 1.0 - low, 1.0 - middle, 1.0 - high, float(is_unseen))

    def compared(
        self, score: float, gap: float, groups: tuple[int, ...] = (), *, is_edge: bool, certifies: bool
    ) -> None:
        """A pair came that was not behind the certificate.

        Args:
            score: What the frozen gate predicted; inf where the edge would not have been asked.
            is_edge: The certificate would let the edge answer.
            certifies: The pair is a plain sample of the traffic.
        """
        if certifies:
            loss = gap if is_edge else 0.0
            self._loss.add(loss)
            self._loss_since.add(loss)
        if not math.isfinite(score):
            return
        foreseen = score + self._base.residuals[sum(score > edge for edge in self._base.edges)]
        if is_edge:
            excess = _excess(gap, foreseen + TOLERANCE_EDGE)
            self._edge.add(excess)
            self._edge_since.add(excess)
        else:
            self._rest.add(_excess(gap, foreseen + TOLERANCE_CALIBRATION))
        key = groups[self._base.level] if groups and self._base.level >= 0 else 0
        group = self._groups.get(key)
        if group is not None:
            group.add(_excess(gap, score + self._base.groups[key] + TOLERANCE_CALIBRATION))

    def why(self) -> str:
        """The stable word for why the promise should be suspended; `''` while it should not."""
        if self._loss_since.rings(once(2)) or self._loss.rings(limit(2, PAIRS)):
            return "drift.loss"
        if self._edge_since.rings(once(4)) or self._edge.rings(limit(4, PAIRS)):
            return "drift.calibration"
        by_group = limit(4 * max(1, len(self._groups)), REQUESTS)
        if self._rest.rings(limit(4, REQUESTS)) or any(group.rings(by_group) for group in self._groups.values()):
            return "drift.calibration"
        return "drift.traffic" if self._traffic.rings(limit(_TRAFFIC_WATCHES, REQUESTS)) else ""

    def figures(self) -> dict[str, float]:
        """The evidence against each 'as it was', where 1 rings; and the plain evidence that the promise is broken."""
        by_group = limit(4 * max(1, len(self._groups)), REQUESTS)
        calibration = [
            self._edge_since.log_e / once(4),
            self._edge.log_e / limit(4, PAIRS),
            self._rest.log_e / limit(4, REQUESTS),
            *(group.log_e / by_group for group in self._groups.values()),
        ]
        return {
            "loss": max(self._loss_since.log_e / once(2), self._loss.log_e / limit(2, PAIRS)),
            "loss_e": math.exp(min(self._loss_since.log_e, _LOG_MAX)),
            "calibration": max(calibration),
            "traffic": self._traffic.log_e / limit(_TRAFFIC_WATCHES, REQUESTS),
        }

    def dump(self) -> WatchDump:
        """What the constructor takes back."""
        return WatchDump(
            loss_since=self._loss_since.dump(),
            loss=self._loss.dump(),
            edge_since=self._edge_since.dump(),
            edge=self._edge.dump(),
            rest=self._rest.dump(),
            traffic=self._traffic.dump(),
            groups={key: group.dump() for key, group in self._groups.items()},
        )


def _excess(gap: float, most: float) -> float:
    """How far a gap in [-1, 1] lies above `most`, scaled so that it is never below -1 and as large as that allows."""
    return (gap - most) / max(0.5, 1.0 + most)
