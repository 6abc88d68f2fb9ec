"""The verdict of `make soak`, on series whose trend is known."""

from __future__ import annotations

import random

import pytest
from benchmarks.soak.slopes import FAIL, OPEN, PASS, Tolerance, batches, judge, slope, trend

MINUTES = 60.0
AT = [float(n) for n in range(0, 2700, 6)]


def wandering(seed: int, spread: float, *, memory: float = 0.9) -> list[float]:
    """Noise that remembers: each value is near the one before, as levels of caches and heaps are."""
    dice, found, one = random.Random(seed), [], 0.0
    for _ in AT:
        one = memory * one + dice.gauss(0, spread * (1 - memory**2) ** 0.5)
        found.append(one)
    return found


def rising(values: list[float], rise: float) -> list[float]:
    """The same, with a rise of so much over the window."""
    return [value + rise * at / AT[-1] for at, value in zip(AT, values, strict=True)]


def test_the_slope_of_a_line_is_its_slope_and_bursts_do_not_move_it() -> None:
    values = [10 + 0.5 * at for at in AT]
    assert slope(*batches(AT, values)) == (pytest.approx(0.5), pytest.approx(0.0, abs=1e-9))
    for n in (7, 8, 9, 200, 201):
        values[n] = 90_000.0
    assert slope(*batches(AT, values))[0] == pytest.approx(0.5, abs=0.02)


def test_batches_are_medians_and_what_does_not_fill_one_is_left_out() -> None:
    at = [float(n) for n in range(26)]
    values = [-900.0, -900.0] + [one for n in range(8) for one in (n, n, 900)]
    assert batches(at, values) == ([3.0 + 3 * n for n in range(8)], [float(n) for n in range(8)])


def test_the_interval_holds_the_true_rise_as_often_as_it_says_though_the_noise_remembers() -> None:
    found = [trend("site_mb", AT, rising(wandering(seed, 1.0), 2.0), Tolerance(1.0)) for seed in range(200)]
    assert sum(one.low <= 2.0 <= one.high for one in found) >= 0.9 * 200
    assert sum(one.verdict == PASS for one in found) <= 0.05 * 200


@pytest.mark.parametrize(
    ("rise", "noise", "verdict"),
    [(0.0, 0.1, PASS), (0.5, 0.1, PASS), (3.0, 0.1, FAIL), (-5.0, 0.1, PASS), (1.0, 1.0, OPEN), (9.0, 1.0, FAIL)],
)
def test_a_leak_is_told_from_noise_or_said_not_to_be(rise: float, noise: float, verdict: str) -> None:
    found = trend("site_mb", AT, rising([60 + one for one in wandering(5, noise)], rise), Tolerance(1.0))
    assert found.verdict == verdict, found
    assert found.low <= found.rise <= found.high
    assert found.rise == pytest.approx(rise, abs=4 * noise)


def test_what_a_busy_machine_holds_longer_is_not_lost_and_what_is_lost_is_seen_beside_it() -> None:
    dice = random.Random(8)
    busy = [20 + dice.expovariate(1 / (2 if at < 1800 else 15)) for at in AT]
    assert trend("tasks", AT, busy, Tolerance(6.0)).verdict == PASS
    assert trend("tasks", AT, rising(busy, 25.0), Tolerance(6.0)).verdict == FAIL


def test_a_sawtooth_that_fills_and_empties_is_steady() -> None:
    values = [50 + (at % 200) / 100 for at in AT]
    assert trend("site_mb", AT, values, Tolerance(1.0)).verdict == PASS


def test_a_tolerance_may_be_a_share_of_the_level() -> None:
    values = rising([1000.0 + one for one in wandering(1, 1.0)], 30.0)
    assert trend("blocks", AT, values, Tolerance(0.0, 0.05)).verdict == PASS
    assert trend("blocks", AT, values, Tolerance(0.0, 0.02)).verdict == FAIL


def test_one_file_lost_a_minute_is_told_among_those_that_come_and_go() -> None:
    dice = random.Random(6)
    assert trend("fds", AT, [40 + at / 60 + dice.randint(0, 12) for at in AT], Tolerance(6.0)).verdict == FAIL
    assert trend("fds", AT, [40 + dice.randint(0, 12) for _ in AT], Tolerance(6.0)).verdict == PASS


def samples(kb: float, more: float) -> list[dict[str, float]]:
    """A site whose ledger takes so much for each request, and whose share of one grows by so much with each."""
    steady = {"site_mb": 60.0, "blocks": 250_000.0, "fds": 40.0, "threads": 9.0, "tasks": 20.0, "in_flight": 2.0}
    steady |= {"connections": 3.0, "jobs_mb": 1.0, "rest_mb": 0.1}
    return [
        steady | {"at_s": at, "sent": at * 12, "ledger_mb": (at * 12 * kb + more * (at * 12) ** 2) / 1e3} for at in AT
    ]


def test_the_ledger_may_grow_with_what_it_tells_of_and_not_by_itself() -> None:
    assert {one.verdict for one in judge(samples(2.0, 0.0), MINUTES)} == {PASS}
    grown = judge(samples(2.0, 1e-4), MINUTES)
    assert [one.name for one in grown if one.verdict == FAIL] == ["ledger_kb_per_request"]


def test_what_is_not_there_is_not_judged_and_what_is_there_is() -> None:
    names = {one.name for one in judge(samples(2.0, 0.0), MINUTES)}
    assert "engine_mb" not in names
    assert names >= {"site_mb", "tasks", "rest_mb", "ledger_kb_per_request"}
