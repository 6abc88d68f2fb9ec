"""Estimates that pairs correct."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ecotone.weighing import doubly_robust
from ecotone.weighing.doubly_robust import Estimator, Quantiles


def test_a_wrong_model_is_put_right() -> None:
    for is_bounded in (False, True):
        estimator = Estimator(is_bounded=is_bounded)
        dice = np.random.default_rng(1)
        for _ in range(4000):
            truth = float(dice.random() < 0.2)
            drawn = dice.random() < 0.25
            estimator.add(0.7, truth - 0.7 if drawn else None, 0.25, (-0.7, 0.3))
        band = estimator.band(0.95)
        assert band is not None
        assert band.mean == pytest.approx(0.2, abs=0.04)
        assert band.low < 0.2 < band.high
        assert (estimator.count, band.n) == (4000, 4000)


def test_what_was_seen_needs_no_pairs() -> None:
    estimator = Estimator()
    for value in (1.0, 2.0, 3.0):
        estimator.add(value, 0.0)
    band = estimator.band(0.95)
    assert band is not None
    assert band.mean == 2.0
    assert band.low < 1.0
    assert "normal" in band.method


def test_without_pairs_it_is_the_models_word_and_has_no_band() -> None:
    estimator = Estimator()
    assert estimator.band(0.95) is None
    estimator.add(1.0)
    estimator.add(2.0, 0.5)
    band = estimator.band(0.95)
    assert band is not None
    assert (band.mean, band.low, band.high, band.method) == (1.5, -math.inf, math.inf, "model alone")


def test_requests_that_could_not_be_drawn_are_not_corrected() -> None:
    """Half of the requests cannot be drawn, and are as observed; the correction is for the other half only."""
    for is_bounded in (False, True):
        estimator = Estimator(is_bounded=is_bounded)
        for number in range(400):
            estimator.add(0.0, 1.0 if number % 2 else None, 0.5, (-1.0, 1.0))
            estimator.add(0.0, 1.0, None)
        band = estimator.band(0.95)
        assert band is not None
        assert band.mean == pytest.approx(0.5)


def test_unequal_shares_are_weighed() -> None:
    estimator = Estimator(is_bounded=True)
    dice = np.random.default_rng(2)
    for _ in range(20_000):
        is_often = dice.random() < 0.5
        share = 0.5 if is_often else 0.05
        truth = 0.0 if is_often else 0.4
        estimator.add(0.0, truth if dice.random() < share else None, share, (-1.0, 1.0))
    band = estimator.band(0.95)
    assert band is not None
    assert band.mean == pytest.approx(0.2, abs=0.03)
    assert band.low < 0.2 < band.high


def test_of_very_many_pairs_the_band_is_asymptotic(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doubly_robust, "KEPT_MAX", 10)
    estimator = Estimator(is_bounded=True)
    for number in range(40):
        estimator.add(0.0, float(number % 2), 1.0, (0.0, 1.0))
    band = estimator.band(0.95)
    assert band is not None
    assert "normal" in band.method


def test_no_failure_among_few_pairs_leaves_room_for_one() -> None:
    estimator = Estimator(is_bounded=True)
    for number in range(1000):
        estimator.add(0.0, 0.0 if number % 20 == 0 else None, 0.05, (-1.0, 1.0))
    band = estimator.band(0.95)
    assert band is not None
    assert band.mean == 0.0
    assert band.high > 0.05


def test_quantiles_are_corrected_too() -> None:
    quantiles = Quantiles()
    assert quantiles.quantile(0.5, 0.95) is None
    dice = np.random.default_rng(3)
    for _ in range(8000):
        truth = float(dice.lognormal(0.0, 0.5))
        quantiles.add(5.0, truth if dice.random() < 0.3 else None, 0.3)
    band = quantiles.quantile(0.5, 0.95)
    assert band is not None
    assert band.mean == pytest.approx(1.0, rel=0.1)
    assert band.low <= 1.0 <= band.high
    assert band.high / band.low < 1.3


def test_quantiles_of_what_was_seen() -> None:
    quantiles = Quantiles()
    for number in range(1, 101):
        quantiles.add(float(number), None, None)
    band = quantiles.quantile(0.5, 0.95)
    top = quantiles.quantile(2.0, 0.95)
    assert band is not None
    assert top is not None
    assert band.mean == pytest.approx(50, rel=0.03)
    assert band.low < 50 < band.high
    assert top.mean > 1000
