"""Bounds on a mean: valid at the border, and strong enough to be of use."""

import math

import numpy as np
import pytest

from ecotone.learning import bounds


def _border(count: int, resamples: int, spread: float, mean: float, seed: int) -> np.ndarray:
    """(count, resamples) of losses of -1, 0 and 1 whose mean is exactly `mean`."""
    draws = np.random.default_rng(seed).random((count, resamples))
    harm = (spread + mean) / 2
    return np.where(draws < harm, 1.0, np.where(draws < spread, -1.0, 0.0))


@pytest.mark.parametrize("spread", [0.02, 0.06, 0.2])
def test_a_loss_at_the_border_is_refused_as_rarely_as_was_said(spread: float) -> None:
    losses = _border(300, 600, spread, 0.02, seed=3)
    refused = bounds.is_below(losses, 0.02, 0.05)
    assert 1.0 - refused.mean() >= 0.93
    # The same check finds out a test without a bound.
    assert 1.0 - (losses.mean(axis=0) < 0.02).mean() < 0.7


def test_nearly_the_whole_level_is_used() -> None:
    assert bounds.is_below(_border(1_000, 600, 0.06, 0.02, seed=4), 0.02, 0.05).mean() >= 0.02


def test_a_small_loss_is_shown_with_a_thousand_pairs() -> None:
    draws = np.random.default_rng(5).random((1_000, 200))
    losses = np.where(draws < 0.01, 1.0, np.where(draws < 0.017, -1.0, 0.0))
    assert bounds.is_below(losses, 0.02, 0.05, spread=0.017).mean() >= 0.75


def test_too_few_pairs_show_nothing_and_enough_without_a_loss_do() -> None:
    assert not bounds.is_below(np.zeros((50, 1)), 0.02, 0.05)[0]
    assert bounds.is_below(np.zeros((400, 1)), 0.02, 0.05)[0]


def test_columns_do_not_know_of_each_other() -> None:
    losses = _border(200, 3, 0.1, -0.05, seed=6)
    together = bounds.is_below(losses, 0.02, 0.05, spread=np.array([0.1, 0.2, 0.3]))
    apart = [bounds.is_below(losses[:, [one]], 0.02, 0.05, spread=0.1 * (one + 1))[0] for one in range(3)]
    assert together.tolist() == apart


def test_an_upper_bound_lies_between_the_mean_and_its_start() -> None:
    losses = np.zeros(1_000)
    losses[::200] = 1.0
    bound = bounds.upper_bound(losses, 0.05, start=0.05)
    assert 0.005 < bound < 0.02
    assert bounds.upper_bound(losses, 0.05, start=0.004) == 0.004
    assert bounds.upper_bound(np.zeros(0), 0.05, start=0.02) == 0.02


def test_an_upper_bound_falls_as_far_as_the_data_let_it() -> None:
    assert bounds.upper_bound(np.full(2_000, -1.0), 0.05, start=0.02) < -0.9


def test_binomial_tails_are_exact() -> None:
    exact = sum(math.comb(20, k) * 0.3**k * 0.7 ** (20 - k) for k in range(6))
    assert bounds.binomial_at_most(5, 20, 0.3) == pytest.approx(exact, rel=1e-12)
    assert bounds.binomial_at_most(20, 20, 0.3) == 1.0


def test_the_exact_bound_solves_its_equation() -> None:
    assert bounds.binomial_upper(0, 100, 0.05) == pytest.approx(1 - 0.05 ** (1 / 100), rel=1e-9)
    assert bounds.binomial_at_most(7, 200, bounds.binomial_upper(7, 200, 0.05)) == pytest.approx(0.05, rel=1e-9)
    assert bounds.binomial_upper(3, 3, 0.05) == 1.0


def test_pairs_wanted_grow_as_the_loss_nears_its_limit() -> None:
    assert bounds.pairs_wanted(0.0, 0.0, 0.02, 0.05) == pytest.approx(math.log(20) / 0.02)
    assert bounds.pairs_wanted(0.01, 0.05, 0.02, 0.05) < bounds.pairs_wanted(0.015, 0.05, 0.02, 0.05)
    assert bounds.pairs_wanted(0.02, 0.05, 0.02, 0.05) == math.inf
