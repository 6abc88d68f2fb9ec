"""Silence of a target for everybody is noticed long before a deadline; silence for one is not."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ecotone.estimate import Observation
from ecotone.flow.breaker import State
from ecotone.flow.patience import RESERVE_S_MAX, SILENCE_S, SILENCE_S_MIN, reserve_s, telling_s
from ecotone.sim.scripted import ScriptedTarget, Stage, stream
from ecotone.values import Place

Make = Callable[..., Stage]


def between(stage: Make, at: Place = Place.CLOUD, ttft_s: float | None = 0.1) -> Stage:
    """A silent target, and one that answers after it."""
    one = stage(ScriptedTarget("big", (), at=at), ScriptedTarget("small", stream("b"), at=Place.EDGE))
    if ttft_s is not None:
        for _ in range(5):
            one.site.speeds.observe("big", Observation(prompt_tokens=10, ttft_s=ttft_s, output_tokens=1))
    return one


@pytest.mark.parametrize(
    ("median_s", "left_s", "kept_s"),
    [(2.0, 100.0, 3.25), (None, 100.0, 0.25), (60.0, 100.0, RESERVE_S_MAX), (60.0, 4.0, 2.0), (1.0, -1.0, 0.0)],
)
def test_what_is_kept_back_for_the_next_target(median_s: float | None, left_s: float, kept_s: float) -> None:
    assert reserve_s(median_s, left_s) == kept_s


def test_silence_is_long_by_the_measure_of_the_target() -> None:
    assert (telling_s(None), telling_s(0.01), telling_s(2.0)) == (SILENCE_S, SILENCE_S_MIN, 6.0)


@pytest.mark.parametrize(("ttft_s", "after_s"), [(0.1, 1.2), (0.5, 1.5), (None, 5.0)])
def test_a_cloud_that_says_nothing_to_anybody_is_left_for_the_next(
    stage: Make, ttft_s: float | None, after_s: float
) -> None:
    one = between(stage, ttft_s=ttft_s)
    outcome = one.serve(one.request(deadline_at_s=30.0))
    assert (outcome.ending, outcome.reason) == ("answered", "fallback.first_byte_timeout")
    assert outcome.attempts[0].took_s == pytest.approx(after_s, rel=0.1)
    assert one.site.breakers["big"].state is State.OPEN, "and no other request waits for it"


def test_where_somebody_is_answered_the_others_wait(stage: Make) -> None:
    one = between(stage)
    one.loop.call_later(0.5, one.site.breakers["big"].hear)
    outcome = one.serve(one.request(deadline_at_s=8.0))
    assert outcome.reason == "fallback.too_slow"
    assert outcome.attempts[0].took_s > 7.0


def test_a_target_on_the_premises_may_be_silent_while_it_works(stage: Make) -> None:
    one = between(stage, at=Place.EDGE)
    outcome = one.serve(one.request(deadline_at_s=8.0))
    assert outcome.reason == "fallback.too_slow"
    assert outcome.attempts[0].took_s > 7.0


def test_where_nobody_is_next_a_silent_cloud_is_waited_for(stage: Make) -> None:
    one = stage(ScriptedTarget("big", (), at=Place.CLOUD))
    outcome = one.serve(one.request(deadline_at_s=8.0))
    assert outcome.ending == "deadline"
    assert outcome.total_s == pytest.approx(8.0, abs=0.01)
