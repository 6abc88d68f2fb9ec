"""The metrics of `make bench-routing`, against cases that were counted by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from benchmarks.routing.metrics import auc, ece, interval, recovered, worth

EDGE = np.array([1.0, 1.0, 0.0, 0.0])
CLOUD = np.array([1.0, 1.0, 1.0, 1.0])
"""Two prompts of four need the cloud: the gap is 1/2."""


def test_the_right_order_recovers_all_with_half_of_the_calls() -> None:
    score = np.array([0.1, 0.2, 0.9, 0.8])
    assert recovered(score, EDGE, CLOUD).tolist() == [0.0, 0.25, 0.5, 0.5, 0.5]
    found = worth(score, EDGE, CLOUD)
    # PGR 0, 1/2, 1, 1, 1 at 0, 1/4 .. 1: trapezoids 1/16 + 3/16 + 1/4 + 1/4
    assert found.apgr == pytest.approx(0.75)
    assert (found.cpt50, found.cpt80) == (25.0, 50.0)
    assert (found.c95, found.c99) == (50.0, 50.0)
    assert found.auc == 1.0


def test_the_wrong_order_recovers_last() -> None:
    found = worth(np.array([0.9, 0.8, 0.1, 0.2]), EDGE, CLOUD)
    assert found.apgr == pytest.approx(0.25)
    assert (found.cpt50, found.cpt80) == (75.0, 100.0)
    assert found.auc == 0.0


def test_no_order_at_all_is_worth_what_dice_are_worth() -> None:
    found = worth(np.zeros(4), EDGE, CLOUD)
    assert found.apgr == pytest.approx(0.5)
    assert found.cpt50 == 50.0
    assert found.auc == 0.5


def test_prompts_on_which_the_cloud_is_worse_can_make_more_than_all() -> None:
    edge, cloud = np.array([1.0, 0.0, 0.0, 0.0]), np.array([0.0, 1.0, 1.0, 0.0])
    found = worth(cloud - edge, edge, cloud)
    # Won: 0, 1/4, 1/2, 1/2, 1/4 of which the whole gap is 1/4: PGR 0, 1, 2, 2, 1
    assert found.apgr == pytest.approx((0.5 + 1.5 + 2.0 + 1.5) / 4.0)
    assert found.cpt50 == 25.0


def test_auc_counts_ties_as_half() -> None:
    assert auc(np.array([1.0, 1.0, 0.0]), np.array([True, False, False])) == pytest.approx(0.75)
    assert math.isnan(auc(np.array([1.0, 2.0]), np.array([True, True])))


def test_the_interval_holds_the_figure_and_narrows_with_prompts() -> None:
    dice = np.random.default_rng(0)
    widths = []
    for size in (100, 2_000):
        edge = (dice.random(size) < 0.5).astype(float)
        score = (1.0 - edge) + dice.normal(scale=2.0, size=size)
        low, high = interval(score, edge, np.ones(size), resamples=100)
        assert low < worth(score, edge, np.ones(size)).apgr < high
        widths.append(high - low)
    assert widths[1] < widths[0] / 2.0


def test_calibration_error_is_none_for_what_is_said_truly() -> None:
    chances = np.array([0.0] * 50 + [1.0] * 50)
    assert ece(chances, chances > 0.5) == 0.0
    assert ece(1.0 - chances, chances > 0.5) == 1.0
    assert ece(np.full(100, 0.5), np.arange(100) % 2 == 0) == pytest.approx(0.0)
