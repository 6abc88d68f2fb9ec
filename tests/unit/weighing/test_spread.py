"""Bands, histograms, quantiles."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ecotone.weighing.spread import (
    BUCKETS,
    Histogram,
    betting_band,
    bucket,
    highest,
    is_even,
    mean_band,
    normal_band,
    share_band,
    t_quantile,
    unevenness,
    value_of,
)


def test_a_histogram_knows_quantiles_within_one_percent() -> None:
    histogram = Histogram()
    assert histogram.quantile(0.5) is None
    assert histogram.mean is None
    values = np.random.default_rng(1).lognormal(0, 2, 5000)
    for value in values:
        histogram.add(float(value))
    for share in (0.05, 0.5, 0.95):
        assert histogram.quantile(share) == pytest.approx(float(np.quantile(values, share)), rel=0.02)
    assert histogram.quantile(1.5) == pytest.approx(float(values.max()), rel=0.02)
    assert histogram.mean == pytest.approx(float(values.mean()))
    assert histogram.count == 5000


def test_buckets_hold_any_value() -> None:
    assert (bucket(0.0), bucket(-1.0), value_of(0)) == (0, 0, 0.0)
    assert bucket(1e300) == BUCKETS - 1
    assert value_of(bucket(2.5)) == pytest.approx(2.5, rel=0.01)


@pytest.mark.parametrize(("freedom", "quantile"), [(4, 2.776), (9, 2.262), (30, 2.042), (math.inf, 1.960)])
def test_the_quantile_of_students_t(freedom: float, quantile: float) -> None:
    assert t_quantile(0.95, freedom) == pytest.approx(quantile, rel=0.005)


def test_wilsons_interval() -> None:
    band = share_band(0, 10, 0.95)
    assert (band.mean, band.low) == (0.0, 0.0)
    assert band.high == pytest.approx(0.2775, abs=1e-3)
    assert share_band(10, 10, 0.95).high == 1.0
    assert share_band(0, 0, 0.95).method == "none"


def test_a_betting_band_holds_the_mean_and_narrows() -> None:
    dice = np.random.default_rng(2)
    held, widths = 0, []
    for _ in range(200):
        values = (dice.random(400) < 0.05).astype(float)
        low, high = betting_band(values, 0.9)
        held += low <= 0.05 <= high
        widths.append(high - low)
    assert held >= 180
    assert np.mean(widths) < 0.12
    low, high = betting_band((dice.random(20_000) < 0.05).astype(float), 0.9)
    assert high - low < 0.01


def test_no_failure_among_few_is_no_proof() -> None:
    band = mean_band(np.zeros(50), np.ones(50), 0.95)
    assert band.mean == 0.0
    assert band.high > 0.05
    assert band.low < -0.05
    assert (band.n, band.method) == (50, "betting")


def test_too_few_values_have_no_band() -> None:
    assert mean_band(np.array([0.5]), np.ones(1), 0.95).mean == 0.5
    nothing = mean_band(np.zeros(0), np.ones(0), 0.95)
    assert (nothing.low, nothing.high, nothing.method) == (-1.0, 1.0, "none")


def test_unequal_weights_widen_a_band() -> None:
    dice = np.random.default_rng(3)
    values = dice.random(500) - 0.5
    weights = np.where(dice.random(500) < 0.2, 10.0, 1.0)
    even, uneven = mean_band(values, np.ones(500), 0.95), mean_band(values, weights, 0.95)
    assert is_even(np.full(3, 2.0))
    assert not is_even(weights)
    assert unevenness(np.ones(7)) == pytest.approx(1.0)
    assert uneven.method == "betting and normal, weighted"
    assert uneven.high - uneven.low > even.high - even.low
    assert uneven.mean == pytest.approx(float(np.average(values, weights=weights)))


def test_weighted_bands_hold_the_mean_of_the_population() -> None:
    """Half of the population is drawn ten times as often as the other: weights put that right."""
    dice, held = np.random.default_rng(4), 0
    for _ in range(200):
        kind = dice.random(4000) < 0.5
        values = np.where(kind, 0.3, 0.0) * (dice.random(4000) < 0.5)
        share = np.where(kind, 0.02, 0.2)
        drawn = dice.random(4000) < share
        band = mean_band(values[drawn], 1 / share[drawn], 0.95)
        held += band.low <= 0.075 <= band.high
    assert held >= 190


def test_a_normal_band_is_as_wide_as_it_should_be() -> None:
    dice, held = np.random.default_rng(5), 0
    for _ in range(300):
        band = normal_band(dice.normal(3.0, 1.0, 40), np.ones(40), 0.9)
        held += band.low <= 3.0 <= band.high
    assert 255 <= held <= 285


def test_the_highest_mean_is_one_sided() -> None:
    values = (np.random.default_rng(6).random(1000) < 0.1).astype(float)
    assert values.mean() < highest(values, 0.95) < betting_band(values, 0.95)[1]
