"""Predicts the gap between the edge's answer and the cloud's from traits, learns from labels, and freezes.

It starts from length alone and promises nothing; learns each label as it comes; and where labels have grown by half
it is fitted anew (`Learner.fit`), off the request path: projection, strengths of the priors, line and calibration.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Self

import numpy as np
import numpy.typing as npt

from ecotone.learning import gap as lines
from ecotone.learning.calibration import Curve
from ecotone.learning.hand import HAND, NAMES
from ecotone.learning.packing import Array, pack, shaped, unpack
from ecotone.learning.projection import CLIP, Projection
from ecotone.learning.slots import SLOTS, Slots
from ecotone.learning.traits import Traits

Floats = npt.NDArray[np.float64]
Row = tuple[Traits, float, Floats | None]
"""Traits, the gap in [-1, 1], and signs of the edge's answer where the gate is on the answer."""

SIGNS_MAX: Final = 64
FIT_FROM: Final = 100
"""Labels from which on a fit is worth its while: topics of fewer prompts are noise."""

FIT_GROWTH: Final = 1.5

_KIND: Final = "ecotone.learner"
_STRENGTHS: Final = (100.0, 10.0, 10.0, 10.0, 6.0)
"""Where the choice of precisions starts: hand, topics, landmarks, signs, groups. Found on `make bench-routing`."""

_LENGTH: Final = NAMES.index("log_chars")
_COLD_SLOPE: Final = 0.15
_COLD_GAP: Final = 0.1
"""Before any label: longer prompts have larger gaps. Labels soon outweigh it. Precedent: RESEARCH-routing.md 3.1."""


class _Model:
    """What a learner and a frozen scorer share: how traits become features, and a line through them."""

    __slots__ = ("_curve", "_line", "_projection", "_scaling", "_slots", "_strengths", "fitted", "labels", "signs")

    def __init__(
        self,
        projection: Projection | None,
        scaling: Floats,
        line: lines.Line,
        slots: Slots,
        strengths: tuple[float, ...],
    ) -> None:
        """Args: scaling: Centre and inverse scale of signs, (2, S)."""
        self._projection = projection
        self._scaling = scaling
        self._line = line
        self._slots = slots
        self._strengths = strengths
        self._curve = Curve()
        self.signs = scaling.shape[1]
        self.labels = 0
        self.fitted = 0

    def _features(self, traits: Traits, signs: Floats | None) -> Floats:
        """(d,): 1, what the projection gives (or the hand figures while there is none), signs, groups."""
        if self._projection is None:
            size = HAND
            base: npt.NDArray[np.floating] = np.minimum(np.frombuffer(traits.hand, np.float32), CLIP)
        else:
            size = self._projection.size
            base = self._projection.apply(traits)
        out = np.zeros(1 + size + self.signs + SLOTS)
        out[0] = 1.0
        out[1 : 1 + size] = base
        if self.signs:
            out[1 + size : 1 + size + self.signs] = self._signs(signs)
        for place in self._slots.look(traits.groups):
            out[place - SLOTS] = 1.0
        return out

    def _signs(self, signs: Floats | None) -> Floats:
        if signs is None or signs.shape != (self.signs,) or not np.isfinite(signs).all():
            raise ValueError(f"{self.signs} finite signs of the answer are wanted")
        scaled = (signs - self._scaling[0]) * self._scaling[1]
        clipped: Floats = np.minimum(np.maximum(scaled, -CLIP), CLIP)
        return clipped

    def guess(self, traits: Traits, signs: Floats | None = None) -> tuple[float, float, float]:
        """(mean, standard deviation, probability that the gap is at most 0) of the edge's answer.

        Raises:
            ValueError: Signs are wanted, and not given.
        """
        mean, sd = self._line.guess(self._features(traits, signs))
        return mean, sd, self._curve.at(mean)

    def scores(self, traits: Sequence[Traits], signs: Floats | None = None) -> Floats:
        """Predicted gaps, float64 (n,).

        Args:
            signs: (n, S) where signs are wanted.

        Raises:
            ValueError: Signs are wanted, and not given.
        """
        weights = self._line.weights
        given = signs if signs is not None else [None] * len(traits)
        return np.array([self._features(one, sign) @ weights for one, sign in zip(traits, given, strict=True)])

    def dump(self) -> bytes:
        """All of this as bytes, without content; about a megabyte."""
        arrays: dict[str, Array] = {
            "scaling": self._scaling,
            "strengths": np.array(self._strengths),
            "weights": self._line.weights,
            "unsure": self._line.unsure,
            "numbers": np.array([self._line.errors, self._line.labels, self.labels, self.fitted]),
            "curve": np.array([self._curve.offset, self._curve.slope, self._curve.aa, self._curve.ab, self._curve.bb]),
            "groups": np.array([key for key, _ in self._slots.items()], np.uint64),
            "places": np.array([place for _, place in self._slots.items()], np.int64),
        }
        if self._projection is not None:
            arrays |= self._projection.arrays()
        return pack(_KIND, arrays)

    @classmethod
    def load(cls, data: bytes) -> Self:
        """What `dump` wrote.

        Raises:
            ValueError: These bytes are not a dump, damaged, or of another version.
        """
        arrays = unpack(_KIND, data)
        projection = Projection(arrays) if "topics" in arrays else None
        scaling = shaped(arrays, "scaling", np.float64, (2, -1))
        strengths = shaped(arrays, "strengths", np.float64, (len(_STRENGTHS),))
        if scaling.shape[1] > SIGNS_MAX or not (strengths > 0).all():
            raise ValueError("scaling, strengths: out of range")
        size = 1 + (projection.size if projection else HAND) + scaling.shape[1] + SLOTS
        numbers = shaped(arrays, "numbers", np.float64, (4,)).tolist()
        line = lines.Line(
            shaped(arrays, "weights", np.float64, (size,)).copy(),
            shaped(arrays, "unsure", np.float64, (size, size)).copy(),
            *numbers[:2],
        )
        if min(numbers) < 0 or (np.diag(line.unsure) < 0).any() or not (line.unsure == line.unsure.T).all():
            raise ValueError("numbers, unsure: out of range")
        model = cls._new(projection, scaling, line, _slots(arrays), tuple(strengths.tolist()))
        model._curve = Curve(*shaped(arrays, "curve", np.float64, (5,)).tolist())
        model.labels, model.fitted = int(numbers[2]), int(numbers[3])
        return model

    @classmethod
    def _new(
        cls,
        projection: Projection | None,
        scaling: Floats,
        line: lines.Line,
        slots: Slots,
        strengths: tuple[float, ...],
    ) -> Self:
        model = cls.__new__(cls)
        _Model.__init__(model, projection, scaling, line, slots, strengths)
        return model


def _slots(arrays: Mapping[str, Array]) -> Slots:
    keys = shaped(arrays, "groups", np.uint64, (-1,)).tolist()
    places = shaped(arrays, "places", np.int64, (len(keys),)).tolist()
    if len(set(keys)) != len(keys) or len(set(places)) != len(places) or not all(0 <= at < SLOTS for at in places):
        raise ValueError("groups, places: not one to one")
    return Slots(zip(keys, places, strict=True))


class Scorer(_Model):
    """A learner as it was when it was frozen: its scores do not move. May be read from any thread."""

    __slots__ = ()


class Learner(_Model):
    """Learns label by label; not to be shared between threads (`fit` touches only its arguments)."""

    __slots__ = ()

    def __init__(self, signs: int = 0) -> None:
        """A learner that knows nothing: it orders prompts by length.

        Args:
            signs: How many signs of the edge's answer come with each prompt; 0 = the gate is on the prompt.

        Raises:
            ValueError: More than `SIGNS_MAX`.
        """
        if not 0 <= signs <= SIGNS_MAX:
            raise ValueError(f"0 to {SIGNS_MAX} signs, not {signs}")
        precisions = _precisions(_blocks((HAND, 0, 0), signs), _STRENGTHS)
        line = lines.Line(_belief(len(precisions)), np.diag(1.0 / precisions))
        super().__init__(None, np.array((np.zeros(signs), np.ones(signs))), line, Slots(), _STRENGTHS)

    @property
    def is_due(self) -> bool:
        """There is enough more evidence than at the last fit for a new one."""
        return self.labels >= max(FIT_FROM, FIT_GROWTH * self.fitted)

    def learn(self, traits: Traits, gap: float, signs: Floats | None = None) -> None:
        """Takes one label: predicts first, so that nothing is judged by what it was told, then learns.

        Args:
            gap: In [-1, 1].

        Raises:
            ValueError: Signs are wanted and not given, or a number is none.
        """
        if not -1.0 <= gap <= 1.0:
            raise ValueError("a gap lies in [-1, 1]")
        mean = float(self._features(traits, signs) @ self._line.weights)
        for place in self._slots.take(traits.groups):
            self._line.forget(len(self._line.weights) - SLOTS + place, self._strengths[-1])
        self._line.learn(self._features(traits, signs), gap)
        self._curve = self._curve.learn(mean, is_good=gap <= 0.0)
        self.labels += 1

    def freeze(self) -> Scorer:
        """An immutable copy of what is known now."""
        line = lines.Line(self._line.weights.copy(), self._line.unsure.copy(), self._line.errors, self._line.labels)
        scorer = Scorer._new(self._projection, self._scaling, line, Slots(self._slots.items()), self._strengths)
        scorer._curve, scorer.labels, scorer.fitted = self._curve, self.labels, self.fitted
        return scorer

    @classmethod
    def fit(cls, rows: Sequence[Row], *, signs: int = 0) -> Learner:
        """A learner fitted anew to these rows, oldest first; about a second for 2,000: not for the request path.

        Raises:
            ValueError: Signs are wanted, and a row has none.
        """
        learner = cls(signs)
        if len(rows) < FIT_FROM:
            for traits, gap, sign in rows:
                learner.learn(traits, gap, sign)
            return learner
        projection = Projection.fit([traits for traits, _, _ in rows])
        slots = Slots()
        for traits, _, _ in rows:
            slots.take(traits.groups)
        scaling = _scaling([sign for _, _, sign in rows if sign is not None], signs)
        draft = cls._new(projection, scaling, learner._line, slots, _STRENGTHS)
        features = np.array([draft._features(traits, sign) for traits, _, sign in rows])
        gaps = np.array([gap for _, gap, _ in rows])
        blocks = _blocks(projection.blocks, signs)
        believed = _belief(features.shape[1])
        offset = features @ believed
        strengths = lines.choose(features, gaps - offset, blocks, _STRENGTHS)
        line, unseen = lines.fit(features, gaps - offset, _precisions(blocks, strengths))
        line.weights += believed
        unseen += offset
        fitted = cls._new(projection, scaling, line, slots, tuple(strengths))
        for mean, gap in zip(unseen.tolist(), gaps.tolist(), strict=True):
            fitted._curve = fitted._curve.learn(mean, is_good=gap <= 0.0)
        fitted.labels = fitted.fitted = len(rows)
        return fitted


def _blocks(projected: tuple[int, int, int], signs: int) -> list[int]:
    """Block of each feature: -1 is the intercept, 4 the groups."""
    blocks = [-1]
    for block, size in enumerate((*projected, signs, SLOTS)):
        blocks += [block] * size
    return blocks


def _precisions(blocks: Sequence[int], strengths: Sequence[float]) -> Floats:
    precisions: Floats = np.append(np.asarray(strengths, np.float64), lines.INTERCEPT_PRECISION)[np.asarray(blocks)]
    return precisions


def _belief(size: int) -> Floats:
    """Weights before any label, (size,)."""
    weights = np.zeros(size)
    weights[0] = _COLD_GAP
    weights[1 + _LENGTH] = _COLD_SLOPE
    return weights


def _scaling(signs: Sequence[Floats], count: int) -> Floats:
    """Centre and inverse standard deviation of signs (0 where one never moves), (2, count)."""
    if not count:
        return np.zeros((2, 0))
    table = np.array(signs, np.float64).reshape(len(signs), -1)
    if table.shape[1] != count or not np.isfinite(table).all():
        raise ValueError(f"{count} finite signs of the answer are wanted")
    spread = table.std(axis=0)
    return np.array((table.mean(axis=0), np.divide(1.0, spread, out=np.zeros(count), where=spread > 1e-9)))
