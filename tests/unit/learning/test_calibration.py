"""From a predicted gap to a probability."""

from __future__ import annotations

import math

import numpy as np

from ecotone.learning.calibration import Curve


def test_a_larger_gap_is_never_likelier_to_be_good() -> None:
    for curve in (Curve(), Curve(offset=0.0, slope=-3.0)):
        chances = [curve.at(gap) for gap in np.linspace(-1.0, 1.0, 50)]
        assert chances == sorted(chances, reverse=True)
        assert all(0.0 < chance < 1.0 for chance in chances)


def test_it_learns_the_curve_that_made_the_labels() -> None:
    dice = np.random.default_rng(3)
    curve = Curve()
    for gap in dice.uniform(-0.2, 0.8, 4_000):
        chance = 1.0 / (1.0 + math.exp(-(1.0 - 3.0 * gap)))
        curve = curve.learn(float(gap), is_good=bool(dice.random() < chance))
    for gap in (0.0, 0.3, 0.6):
        assert abs(curve.at(gap) - 1.0 / (1.0 + math.exp(-(1.0 - 3.0 * gap)))) < 0.05


def test_one_sided_evidence_does_not_run_away() -> None:
    curve = Curve()
    for _ in range(5_000):
        curve = curve.learn(0.1, is_good=True)
    assert 0.95 < curve.at(0.1) < 1.0
    assert math.isfinite(curve.offset)
    assert abs(curve.offset) < 50.0
