"""What a site gets done when three times as many come as it can serve, on virtual time through the real corridor."""

from __future__ import annotations

import sys
from statistics import median

import msgspec
import pytest

from ecotone.sim.crowd import Crowd, run

CAPACITY = 4.0
"""Requests per second: 4 slots, a second each."""
CROWD = Crowd(rate=CAPACITY)


def crowd(**changes: object) -> Crowd:
    return msgspec.structs.replace(CROWD, **changes)


@pytest.mark.parametrize("spread", [1.0, 4.0, 50.0])
@pytest.mark.parametrize("deadline_s", [4.0, 10.0])
def test_goodput_at_three_times_the_capacity_is_no_less_than_nine_tenths_of_that_at_capacity(
    spread: float, deadline_s: float
) -> None:
    full = run(crowd(spread=spread, deadline_s=deadline_s), 1)
    over = run(crowd(spread=spread, deadline_s=deadline_s, rate=3 * CAPACITY), 1)
    assert sum(over.good.values()) >= 0.9 * sum(full.good.values())
    assert sum(over.good.values()) >= 0.9 * CAPACITY * CROWD.seconds
    assert over.refused_at_once > 8 * over.late


def test_without_admission_the_same_crowd_wastes_the_target(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["ecotone.placement.decide"], "_queued_too_long", lambda ask, candidate: None)
    monkeypatch.setattr("ecotone.flow.planning.Plan.work_s", lambda self, target: 0.0)
    full, over = run(crowd(), 1), run(crowd(rate=3 * CAPACITY), 1)
    assert sum(over.good.values()) < 0.7 * sum(full.good.values())
    assert over.wasted > 100


@pytest.mark.parametrize("deadline_s", [None, 10.0])
def test_a_key_that_floods_hardly_touches_another(deadline_s: float | None) -> None:
    shares = {"flood": 0.96, "calm": 0.04}
    over = run(crowd(rate=3 * CAPACITY, shares=shares, deadline_s=deadline_s, queue_max=32), 3)
    calm = sorted(over.firsts_s["calm"])
    assert calm[int(0.99 * len(calm))] < 4.0
    assert median(over.firsts_s["flood"]) > 2 * median(calm)
    assert over.good["flood"] > 0.8 * CAPACITY * CROWD.seconds


def test_two_keys_that_flood_get_half_each_though_one_sends_thrice_as_much() -> None:
    over = run(crowd(rate=3 * CAPACITY, shares={"a": 0.75, "b": 0.25}, queue_max=32), 4)
    assert over.good["b"] >= 0.9 * min(over.good["a"], 0.25 * over.came)


def test_who_comes_back_when_told_is_served_at_steady_load() -> None:
    steady = crowd(rate=0.8 * CAPACITY, retries=5, wait_s_max=2.0, deadline_s=None, seconds=600.0)
    refused = second = 0
    for seed in range(4):
        tally = run(steady, seed)
        refused += sum(tally.tries.values()) - tally.tries[1]
        second += tally.tries[2]
        assert tally.refused_at_once == 0
    assert refused > 50
    assert second >= 0.8 * refused
