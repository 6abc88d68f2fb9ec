"""The line through the gap."""

from __future__ import annotations

import numpy as np
import pytest

from ecotone.learning.gap import Line, choose, fit

DICE = np.random.default_rng(5)
FEATURES = np.column_stack((np.ones(300), DICE.normal(size=(300, 6))))
TRUE = np.array([0.3, 0.2, -0.1, 0.0, 0.0, 0.0, 0.0])
GAPS = np.clip(FEATURES @ TRUE + DICE.normal(scale=0.2, size=300), -1.0, 1.0)
PRECISIONS = np.array([0.01] + [10.0] * 6)


def _fresh() -> Line:
    return Line(np.zeros(7), np.diag(1.0 / PRECISIONS))


def test_label_by_label_gives_what_all_at_once_gives() -> None:
    line = _fresh()
    for row, gap in zip(FEATURES, GAPS.tolist(), strict=True):
        line.learn(row, gap)
    whole, _ = fit(FEATURES, GAPS, PRECISIONS)
    assert np.allclose(line.weights, whole.weights, atol=1e-9)
    assert np.allclose(line.unsure, whole.unsure, atol=1e-9)
    assert np.allclose(line.weights, TRUE, atol=0.05)
    assert line.guess(FEATURES[0])[1] == pytest.approx(whole.guess(FEATURES[0])[1], rel=0.05)


def test_a_label_is_not_in_its_own_prediction() -> None:
    _, unseen = fit(FEATURES, GAPS, PRECISIONS)
    for row in (0, 17, 299):
        kept = np.arange(300) != row
        without, _ = fit(FEATURES[kept], GAPS[kept], PRECISIONS)
        assert unseen[row] == pytest.approx(without.guess(FEATURES[row])[0], abs=1e-9)
    line = _fresh()
    assert line.learn(FEATURES[0], GAPS[0]) == 0.0  # what was said before the label came


def test_uncertainty_shrinks_and_the_noise_is_found() -> None:
    line = _fresh()
    before = line.guess(FEATURES[0])[1]
    for row, gap in zip(FEATURES, GAPS.tolist(), strict=True):
        line.learn(row, gap)
    assert line.guess(FEATURES[0])[1] < before / 5.0
    assert line.noise == pytest.approx(0.04, rel=0.25)


def test_the_deviation_covers_the_true_mean_as_often_as_it_says() -> None:
    hits = total = 0
    for seed in range(60):
        dice = np.random.default_rng(seed)
        weights = dice.normal(scale=0.1, size=7)
        rows = np.column_stack((np.ones(40), dice.normal(size=(40, 6))))
        line, _ = fit(rows, rows @ weights + dice.normal(scale=0.3, size=40), PRECISIONS)
        for asked in np.column_stack((np.ones(20), dice.normal(size=(20, 6)))):
            mean, sd = line.guess(asked)
            hits += abs(mean - asked @ weights) <= 1.96 * sd
            total += 1
    assert 0.90 < hits / total < 0.99


def test_a_forgotten_weight_is_as_new() -> None:
    line, _ = fit(FEATURES, GAPS, PRECISIONS)
    line.forget(2, 50.0)
    assert line.weights[2] == 0.0
    assert line.unsure[2].tolist() == [0.0, 0.0, 1.0 / 50.0, 0.0, 0.0, 0.0, 0.0]
    assert line.unsure[:, 2].tolist() == line.unsure[2].tolist()


def test_a_block_that_says_nothing_is_held_down_and_one_that_speaks_is_let_go() -> None:
    strengths = choose(FEATURES, GAPS, [-1, 0, 0, 1, 1, 1, 1], [30.0, 30.0])
    assert strengths[0] < 30.0 < strengths[1]


def test_where_labels_say_nothing_precisions_stay_where_they_start() -> None:
    assert choose(FEATURES[:2], GAPS[:2] * 0.0, [-1, 0, 0, 1, 1, 1, 1], [30.0, 7.0]) == [30.0, 7.0]
