"""Estimates from made logs whose truth is known: unbiased, and inside their bands, also where the model is wrong."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecotone.weighing.clusters import clusters, would_bring
from ecotone.weighing.doubly_robust import Estimator, Quantiles
from ecotone.weighing.frontier import allowed
from ecotone.weighing.pairs import Pairs, Row, Table
from ecotone.weighing.spread import mean_band

LOGS = 200
MODELS = ("right", "nothing", "constant", "upside down")


def loss_of(seed: int, model: str, share: float, count: int, base: float) -> tuple[float, bool]:
    """One log: who is moved is decided by what is known of a request, and the truth is base * 0.16."""
    dice = np.random.default_rng(seed)
    rate = 2 * base * dice.random(count)
    gap = (dice.random(count) < rate).astype(float)
    guess = {"right": rate, "nothing": 0 * rate, "constant": 0 * rate + 0.3, "upside down": 2 * base - rate}[model]
    is_moved, is_drawn = rate < 0.8 * base, dice.random(count) < share
    estimator = Estimator(is_bounded=True)
    for moved, drawn, said, true in zip(is_moved, is_drawn, guess.tolist(), gap.tolist(), strict=True):
        word = said if moved else 0.0
        gained = (true - word if moved else 0.0) if drawn else None
        estimator.add(word, gained, share, (-1.0 - word, 1.0 - word) if moved else (0.0, 0.0))
    band = estimator.band(0.95)
    assert band is not None
    return band.mean, band.low <= 0.16 * base <= band.high


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(("share", "count", "base"), [(0.5, 600, 0.05), (0.1, 1500, 0.2), (0.05, 1500, 0.05)])
def test_loss_is_unbiased_and_in_its_band_whatever_the_model_says(
    model: str, share: float, count: int, base: float
) -> None:
    found = [loss_of(seed, model, share, count, base) for seed in range(LOGS)]
    means = np.array([mean for mean, _ in found])
    assert abs(means.mean() - 0.16 * base) < 3 * means.std() / LOGS**0.5
    assert sum(is_held for _, is_held in found) >= 0.93 * LOGS


def test_cost_and_time_are_unbiased_and_in_their_bands() -> None:
    """Every third request was seen; of the others one in five shows the truth, and the model may be far off."""
    held, median_held, models = 0, 0, (0.0, 1.0, 9.0)
    for place, model in enumerate(models):
        means = []
        for seed in range(LOGS):
            dice = np.random.default_rng((place, seed))
            truth = dice.lognormal(0.0, 0.4, 1200)
            drawn = dice.random(1200) < 0.2
            estimator, quantiles = Estimator(), Quantiles()
            for number, (value, is_drawn) in enumerate(zip(truth.tolist(), drawn.tolist(), strict=True)):
                word = value if number % 3 == 0 else model
                estimator.add(word, value - word if is_drawn else None, 0.2)
                quantiles.add(word, value if is_drawn else None, 0.2)
            band, median = estimator.band(0.95), quantiles.quantile(0.5, 0.95)
            assert band is not None
            assert median is not None
            means.append(band.mean)
            held += band.low <= float(np.exp(0.08)) <= band.high
            median_held += median.low <= 1.0 <= median.high
        assert abs(np.mean(means) - np.exp(0.08)) < 3 * np.std(means) / LOGS**0.5
    assert held >= 0.93 * LOGS * len(models)
    assert median_held >= 0.93 * LOGS * len(models)


def test_what_would_be_supported_breaks_the_promise_seldom() -> None:
    """A border case: everything up to the middle loses exactly what is promised; more must seldom be let through."""
    broken = 0
    for seed in range(LOGS):
        dice = np.random.default_rng(seed)
        score = dice.random(600)
        gap = (dice.random(600) < np.where(score < 0.5, 0.1, 0.6)).astype(float)
        made = Pairs()
        for one, two in zip(score.tolist(), gap.tolist(), strict=True):
            made.add(Row(two, one, 0.5, True, 1.0, 1.0, 0.0, 0.0))
        limit = allowed(made.table(), 0.05, 0.95).gap_max
        broken += limit is not None and limit > 0.5
    assert broken <= 0.05 * LOGS + 3 * (0.05 * 0.95 * LOGS) ** 0.5


@settings(deadline=None, max_examples=30)
@given(st.lists(st.tuples(st.floats(-1, 1), st.floats(-1, 1)), min_size=25, max_size=80), st.floats(0.01, 0.9))
def test_a_looser_promise_never_allows_less(rows: list[tuple[float, float]], loss_max: float) -> None:
    table = _table(rows)
    assert allowed(table, loss_max, 0.9).edge_share <= allowed(table, loss_max + 0.1, 0.9).edge_share
    assert allowed(table, loss_max, 0.99).edge_share <= allowed(table, loss_max, 0.9).edge_share


@settings(deadline=None, max_examples=30)
@given(st.lists(st.floats(-1, 1), min_size=2, max_size=60), st.integers(0, 5))
def test_a_band_holds_its_own_mean(values: list[float], seed: int) -> None:
    weights = np.random.default_rng(seed).choice([1.0, 5.0], len(values))
    band = mean_band(np.array(values), weights, 0.95)
    assert -1.0 <= band.low <= band.mean + 1e-9
    assert band.mean - 1e-9 <= band.high <= 1.0


@settings(deadline=None, max_examples=30)
@given(
    st.lists(
        st.tuples(st.floats(-1, 1), st.sampled_from([-1.0, 0.0, 0.0, 0.0, 0.4, 1.0]), st.sampled_from("abc")),
        min_size=30,
        max_size=90,
    ),
    st.floats(0.05, 0.9),
)
def test_more_mended_never_brings_less(rows: list[tuple[float, float, str]], loss_max: float) -> None:
    made = Pairs()
    for score, gap, kind in rows:
        made.add(Row(gap, score, 0.5, True, 1.0, 1.0, 0.0, 0.0, (f"key: {kind}",)))
    table = made.table()
    told = clusters(table, 0.9)
    brought = {(one.what, one.right): one for one in would_bring(table, told, loss_max, 0.9)}
    for (what, right), one in brought.items():
        assert one.edge_share_now == allowed(table, loss_max, 0.9).edge_share
        assert one.edge_share_now <= one.edge_share <= brought[what, 1.0].edge_share
        assert one.edge_share <= brought[(), right].edge_share
        assert one.gap <= one.gap_now


def _table(rows: list[tuple[float, float]]) -> Table:
    made = Pairs()
    for score, gap in rows:
        made.add(Row(gap, score, 0.5, True, 1.0, 1.0, 0.0, 0.0))
    return made.table()
