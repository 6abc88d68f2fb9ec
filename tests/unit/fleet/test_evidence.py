"""How surely figures speak against a version."""

from __future__ import annotations

import math

import pytest
from tests.unit.fleet.made import figures

from ecotone.fleet.evidence import (
    Compared,
    Doubt,
    added,
    at_site,
    binomial_tail,
    compared,
    in_all,
    poisson_tail,
    pooled,
    worst,
)
from ecotone.values.fleet import Terms

TERMS = Terms()


@pytest.mark.parametrize(
    ("k", "n", "share"), [(3, 50, 0.02), (6, 50, 0.02), (1, 3, 0.02), (30, 1000, 0.02), (5, 5, 0.5)]
)
def test_the_binomial_tail_is_the_sum_of_its_terms(k: int, n: int, share: float) -> None:
    exact = sum(math.comb(n, i) * share**i * (1 - share) ** (n - i) for i in range(k, n + 1))
    assert binomial_tail(k, n, share) == pytest.approx(exact, rel=1e-9)


@pytest.mark.parametrize(("k", "mean"), [(3, 0.75), (10, 2.5), (200, 75.0)])
def test_the_poisson_tail_is_what_its_beginning_leaves(k: int, mean: float) -> None:
    below = sum(math.exp(-mean + i * math.log(mean) - math.lgamma(i + 1)) for i in range(k))
    assert poisson_tail(k, mean) == pytest.approx(1 - below, rel=1e-6, abs=1e-13)


def test_tails_of_nothing_and_of_very_much() -> None:
    assert binomial_tail(0, 0, 0.02) == binomial_tail(2, 100, 0.02) == poisson_tail(0, 0.0) == 1.0
    assert binomial_tail(1, 100, 0.0) == poisson_tail(1, 0.0) == 0.0
    assert binomial_tail(20_200, 1_000_000, 0.02) == pytest.approx(0.077, abs=0.002)
    assert binomial_tail(200_000, 10_000_000, 0.0199) < 0.02
    assert poisson_tail(20_000, 19_800) == pytest.approx(0.078, abs=0.002)


@pytest.mark.parametrize(
    ("errors", "requests", "doubt"),
    [
        (0, 50, Doubt.NONE),
        (1, 50, Doubt.NONE),
        (1, 3, Doubt.SLIGHT),
        (2, 3, Doubt.LIKELY),
        (3, 3, Doubt.CLEAR),
        (4, 50, Doubt.LIKELY),
        (10, 50, Doubt.CLEAR),
    ],
)
def test_a_share_of_errors_speaks_the_louder_the_more_requests_there_were(
    errors: int, requests: int, doubt: Doubt
) -> None:
    assert at_site(figures(requests, errors), None, TERMS)["errors"] is doubt


def test_a_version_that_failed_before_as_often_is_not_worse() -> None:
    assert at_site(figures(200, 20), figures(2000, 200), TERMS)["errors"] is Doubt.NONE
    assert at_site(figures(200, 20), figures(2000, 20), TERMS)["errors"] is Doubt.CLEAR
    assert at_site(figures(200, 20), figures(5, 1), TERMS)["errors"] is Doubt.NONE, "five requests tell little"


def test_more_errors_than_requests_are_all_of_them() -> None:
    assert at_site(figures(3, 9), figures(1000, 2000), TERMS)["errors"] is Doubt.NONE
    assert at_site(figures(3, 9), None, TERMS)["errors"] is Doubt.CLEAR


@pytest.mark.parametrize(
    ("requests", "p95_ms", "doubt"),
    [
        (19, 9000, Doubt.NONE),
        (20, 9000, Doubt.LIKELY),
        (50, 400, Doubt.SLIGHT),
        (50, 290, Doubt.NONE),
        (1000, 290, Doubt.NONE),
        (1000, 340, Doubt.LIKELY),
        (1000, 400, Doubt.CLEAR),
    ],
)
def test_a_late_first_token_speaks_the_louder_the_more_requests_there_were(
    requests: int, p95_ms: float, doubt: Doubt
) -> None:
    before = figures(1000, ttft_p50_ms=100, ttft_p95_ms=200)
    assert at_site(figures(requests, ttft_p50_ms=120, ttft_p95_ms=p95_ms), before, TERMS)["latency"] is doubt


def test_what_nobody_feels_is_not_late() -> None:
    doubts = at_site(figures(1000, ttft_p95_ms=19), figures(1000, ttft_p95_ms=2), TERMS)
    assert doubts["latency"] is Doubt.NONE


def test_quality_is_compared_where_both_are_known_of_enough_pairs() -> None:
    before = figures(1000, parity=0.95, pairs=400)
    assert at_site(figures(parity=0.5, pairs=400), before, TERMS)["parity"] is Doubt.CLEAR
    assert at_site(figures(parity=0.94, pairs=400), before, TERMS)["parity"] is Doubt.NONE
    assert at_site(figures(parity=0.5, pairs=19), before, TERMS)["parity"] is Doubt.NONE
    assert at_site(figures(parity=None), before, TERMS)["parity"] is Doubt.NONE
    assert at_site(figures(parity=0.1, pairs=400), figures(1000), TERMS)["parity"] is Doubt.NONE


def test_crashes_and_memory_are_held_to_what_is_asked() -> None:
    before = figures(1000, memory_bytes=100)
    assert at_site(figures(crashes=3), before, TERMS)["crashes"] is Doubt.CLEAR
    assert at_site(figures(crashes=2), before, TERMS)["crashes"] is Doubt.SLIGHT
    assert at_site(figures(crashes=0), before, TERMS)["crashes"] is Doubt.NONE
    shaky = figures(1000, hours=100, crashes=100)
    assert at_site(figures(crashes=2), shaky, TERMS)["crashes"] is Doubt.NONE, "the one before crashed as often"
    assert at_site(figures(memory_bytes=201), before, TERMS)["memory"] is Doubt.CLEAR
    assert at_site(figures(memory_bytes=200), before, TERMS)["memory"] is Doubt.NONE
    assert at_site(figures(memory_bytes=201), figures(1000), TERMS)["memory"] is Doubt.NONE


def test_what_no_site_can_see_alone_is_seen_in_all() -> None:
    one = compared(figures(100, 5), figures(1000, 10), TERMS)
    assert in_all(one)["errors"] < Doubt.CLEAR
    assert in_all(added([one] * 20))["errors"] is Doubt.CLEAR
    slow = compared(figures(40, ttft_p95_ms=400), figures(1000, ttft_p95_ms=200), TERMS)
    assert in_all(slow)["latency"] < Doubt.CLEAR
    assert in_all(added([slow] * 20))["latency"] is Doubt.CLEAR
    shaky = compared(figures(crashes=2), figures(1000), TERMS)
    assert in_all(shaky)["crashes"] < Doubt.CLEAR
    assert in_all(added([shaky] * 100))["crashes"] is Doubt.CLEAR


def test_crashes_that_there_were_before_are_allowed() -> None:
    shaky = compared(figures(crashes=2, hours=100), figures(1000, crashes=20, hours=1000), TERMS)
    assert in_all(added([shaky] * 100))["crashes"] is Doubt.NONE


def test_nothing_speaks_against_nothing() -> None:
    assert set(in_all(Compared()).values()) == {Doubt.NONE}
    assert worst(in_all(Compared())) == ("crashes", Doubt.NONE)
    assert worst({"errors": Doubt.SLIGHT, "parity": Doubt.CLEAR}) == ("parity", Doubt.CLEAR)


def test_evidence_is_what_is_left_without_the_loudest_and_none_weighs_too_much() -> None:
    quiet = compared(figures(100, 1, parity=0.9, pairs=50), figures(1000, parity=0.9, pairs=50), TERMS)
    loud = compared(figures(100, 50, parity=0.1, pairs=50), figures(1000, parity=0.9, pairs=50), TERMS)
    left = pooled([quiet, loud, quiet], 1)
    assert (left.requests, left.errors, left.parity) == (200, 2, pytest.approx(2 * quiet.parity))
    assert pooled([quiet, loud], 0) == added([quiet, loud])
    assert (pooled([], 3), pooled([loud], 3).requests) == (Compared(), 0)
    huge = compared(figures(4000, 40, parity=0.9, pairs=9000), figures(8000, parity=0.9, pairs=9000), TERMS)
    assert pooled([huge], 0).requests == 2000
    assert pooled([huge], 0).errors == 20
    assert pooled([huge], 0).parity_weight == pytest.approx(2000)
    judged = compared(figures(50, 1, parity=0.9, pairs=9000), figures(8000, parity=0.9, pairs=9000), TERMS)
    assert (pooled([judged], 0).requests, pooled([judged], 0).parity_weight) == (50, pytest.approx(2000))
    chatty = compared(figures(4000, 40), figures(8000), TERMS)
    assert (pooled([chatty], 0).requests, pooled([chatty], 0).expected) == (2000, pytest.approx(chatty.expected / 2))
