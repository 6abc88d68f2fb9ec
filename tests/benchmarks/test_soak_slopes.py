"""The verdict of `make soak`, on series whose trend is known."""

from __future__ import annotations

import random

import pytest
from benchmarks.soak.slopes import blocks, judge, slope, trend


def test_the_slope_of_a_line_is_its_slope_and_outliers_do_not_move_it() -> None:
    at = [float(n) for n in range(41)]
    values = [10 + 0.5 * n for n in at]
    assert slope(at, values)[0] == pytest.approx(0.5)
    values[7] = values[20] = 900.0
    assert slope(at, values)[0] == pytest.approx(0.5, abs=0.02)


def test_noise_has_no_trend_and_its_interval_says_so() -> None:
    dice = random.Random(4)
    at = [float(n) for n in range(200)]
    _, low, high = slope(at, [50 + dice.gauss(0, 3) for _ in at])
    assert low < 0 < high


def test_one_point_has_no_slope() -> None:
    assert slope([1.0], [2.0]) == (0.0, 0.0, 0.0)


def test_blocks_are_medians() -> None:
    assert blocks([0, 1, 2, 3, 4, 5], [1, 1, 900, 2, 2, -900], 2) == ([1, 4], [1, 2])


@pytest.mark.parametrize(("mb_per_minute", "grows"), [(0.0, False), (0.05, False), (2.0, True)])
def test_a_leak_is_told_from_noise(mb_per_minute: float, grows: bool) -> None:
    dice = random.Random(5)
    at = [float(n) for n in range(0, 600, 2)]
    values = [60 + mb_per_minute * n / 60 + dice.gauss(0, 0.8) for n in at]
    assert trend("memory_mb", at, values).grows == grows


def test_one_file_lost_a_minute_is_told_among_those_that_come_and_go() -> None:
    dice = random.Random(6)
    at = [float(n) for n in range(0, 600, 2)]
    assert trend("fds", at, [40 + n / 60 + dice.randint(0, 12) for n in at]).grows
    assert not trend("fds", at, [40 + dice.randint(0, 12) for n in at]).grows


def test_the_store_may_grow_with_what_it_tells_of_and_not_by_itself() -> None:
    def samples(kb: float, more: float) -> list[dict[str, float]]:
        steady = {"memory_mb": 60.0, "fds": 40.0, "threads": 9.0, "in_flight": 2.0, "connections": 3.0}
        return [
            steady | {"at_s": n * 1.0, "sent": n * 25.0, "store_mb": (n * 25 * kb + more * n * n) / 1e3}
            for n in range(400)
        ]

    assert not any(one.grows for one in judge(samples(2.0, 0.0), is_coarse=False))
    assert [one.name for one in judge(samples(2.0, 0.1), is_coarse=False) if one.grows] == ["store_kb_per_request"]
