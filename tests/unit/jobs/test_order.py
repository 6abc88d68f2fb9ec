"""Which job goes first, and when one is tried again."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecotone.jobs.order import AGEING_MS, DEFER_MS_MAX, STARVATION_MS_MAX, Backoff, is_due, pause_ms, rank_ms
from ecotone.values import Endpoint, Job

INSTANTS = st.integers(0, 10**14)


def job(at_ms: int, priority: int) -> Job:
    return Job(id="j", endpoint=Endpoint.CHAT, model="m", created_at_ms=at_ms, deadline_at_ms=1, priority=priority)


@given(INSTANTS, st.integers(-5, 20), INSTANTS, st.integers(-5, 20))
def test_no_job_goes_before_one_that_came_earlier_by_the_bound(
    at_ms: int, priority: int, other_ms: int, other_priority: int
) -> None:
    if at_ms + STARVATION_MS_MAX < other_ms:
        assert rank_ms(job(at_ms, priority)) < rank_ms(job(other_ms, other_priority))


@given(INSTANTS, st.integers(0, 9), INSTANTS, st.integers(0, 9), st.integers(0, 10**10))
def test_the_order_is_that_of_priority_and_age_at_every_instant(
    at_ms: int, priority: int, other_ms: int, other_priority: int, later_ms: int
) -> None:
    now_ms = max(at_ms, other_ms) + later_ms
    first = priority * AGEING_MS + (now_ms - at_ms)
    second = other_priority * AGEING_MS + (now_ms - other_ms)
    assert (rank_ms(job(at_ms, priority)) < rank_ms(job(other_ms, other_priority))) == (first > second)


def test_of_one_age_the_higher_priority_goes_first() -> None:
    ranks = [rank_ms(job(0, priority)) for priority in range(10)]
    assert ranks == sorted(ranks, reverse=True)


@pytest.mark.parametrize(
    ("not_before_ms", "is_now"),
    [(0, True), (1000, True), (1001, False), (1000 + DEFER_MS_MAX, False), (1001 + DEFER_MS_MAX, True)],
)
def test_a_job_is_due_when_its_time_has_come_or_the_clock_went_back(not_before_ms: int, is_now: bool) -> None:
    assert is_due(not_before_ms, 1000) is is_now


@given(st.integers(0, 40), st.integers(0, 10**9), st.integers())
def test_pauses_grow_and_are_bounded(attempts: int, asked_ms: int, seed: int) -> None:
    backoff = Backoff()
    pause = pause_ms(attempts, backoff, Random(seed), asked_ms=asked_ms)
    if attempts >= backoff.attempts_max:
        assert pause is None
    else:
        assert pause is not None
        full = min(backoff.first_ms * 2 ** max(attempts - 1, 0), backoff.most_ms)
        assert max(full // 2, min(asked_ms, DEFER_MS_MAX)) <= pause <= max(full, min(asked_ms, DEFER_MS_MAX))


def test_a_target_may_ask_for_a_longer_pause() -> None:
    assert pause_ms(1, Backoff(), Random(1), asked_ms=90_000) == 90_000
    assert pause_ms(1, Backoff(), Random(1), asked_ms=10**9) == DEFER_MS_MAX
