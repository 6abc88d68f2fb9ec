"""Certificates: thresholds in a fixed sequence, and what is said where nothing can be shown."""

import numpy as np
import pytest

from ecotone.learning import certificate
from ecotone.learning.certificate import HIGHEST, Terms

TERMS = Terms(0.05, 0.05)


def _pairs(count: int, seed: int, harm: float = 0.6) -> tuple[np.ndarray, np.ndarray]:
    """Scores in [0, 1] that tell: below one half the edge never fails."""
    dice = np.random.default_rng(seed)
    scores = dice.random(count)
    return scores, np.where((scores > 0.5) & (dice.random(count) < harm), 1.0, 0.0)


def test_the_threshold_stops_where_the_loss_would_break_the_terms() -> None:
    scores, gaps = _pairs(2_000, 1)
    others = _pairs(1_000, 2)
    limits = certificate.thresholds(*others, 0.05)
    spread = certificate.spreads(*others, limits, 0.05)
    shown = certificate.certify(scores, gaps, limits, TERMS, spread=spread).certificate
    assert shown is not None
    assert 0.5 <= shown.gap_max <= 0.6
    assert shown.loss <= shown.loss_bound <= 0.05
    assert shown.harm <= shown.harm_bound
    assert shown.edge_share == pytest.approx(shown.gap_max, abs=0.05)
    assert shown.selective == pytest.approx(shown.loss / shown.edge_share)
    assert (shown.pairs, shown.missing, shown.delta, shown.loss_max) == (2_000, 0, 0.05, 0.05)


def test_everything_may_pass_where_the_edge_never_fails() -> None:
    scores, _ = _pairs(500, 3)
    gaps = np.zeros(500)
    shown = certificate.certify(scores, gaps, certificate.thresholds(scores, gaps, 0.05), TERMS).certificate
    assert shown is not None
    assert (shown.gap_max, shown.edge_share, shown.selective) == (HIGHEST, 1.0, 0.0)


def test_a_threshold_with_nothing_below_it_is_certified_as_nothing() -> None:
    shown = certificate.certify(np.ones(500), np.ones(500), np.array([0.0]), TERMS).certificate
    assert shown is not None
    assert (shown.edge_share, shown.selective, shown.loss) == (0.0, 0.0, 0.0)


def test_a_sequence_ends_at_the_first_threshold_that_fails() -> None:
    scores = np.repeat([0.1, 0.2, 0.3], 300)
    # The loss is too large up to 0.2, and made good by what lies above.
    gaps = np.repeat([0.0, 0.4, -0.9], 300)
    shown = certificate.certify(scores, gaps, np.array([0.1, 0.2, 0.3]), TERMS).certificate
    assert shown is not None
    assert shown.gap_max == 0.1


def test_where_nothing_is_shown_it_says_how_many_more_would_do() -> None:
    scores, gaps = _pairs(60, 4)
    verdict = certificate.certify(scores, gaps, np.array([0.4]), TERMS)
    assert verdict.certificate is None
    assert verdict.pairs_needed is not None
    assert 0 < verdict.pairs_needed < 400
    assert certificate.certify(np.zeros(0), np.zeros(0), np.array([0.4]), TERMS).pairs_needed == 60


def test_where_the_loss_is_too_large_no_number_of_pairs_would_do() -> None:
    verdict = certificate.certify(np.zeros(100), np.ones(100), np.array([0.0]), TERMS)
    assert verdict == certificate.Verdict(None, None)


def test_many_missing_pairs_count_as_the_worst_they_could_have_been() -> None:
    scores, gaps = _pairs(1_000, 5)
    limits = np.array([0.4])
    assert certificate.certify(scores, gaps, limits, TERMS, missing=100).certificate is not None
    assert certificate.certify(scores, gaps, limits, TERMS, missing=150).certificate is None


def test_thresholds_rise_to_where_twice_the_loss_is_risked_and_then_let_all_pass() -> None:
    scores, gaps = _pairs(2_000, 6)
    limits = certificate.thresholds(scores, gaps, 0.05)
    assert (np.diff(limits) > 0).all()
    assert limits[-1] == HIGHEST
    assert 0.6 <= limits[-2] <= 0.75
    assert len(limits) <= certificate.STEPS
    hopeless = certificate.thresholds(scores, np.ones(2_000), 0.0001)
    assert (hopeless[:-1] <= 0.03).all()
