"""Watches ring seldom where nothing changed, and soon where something did."""

import math

import numpy as np
import pytest

from ecotone.learning.watch import PAIRS, REQUESTS, Base, Rise, Watch, limit, once

BASE = Base(
    quarters=(0.1, 0.2, 0.3),
    shares=(0.25, 0.5, 0.75),
    edges=(0.1, 0.2, 0.3),
    residuals=(0.0, 0.0, 0.0, 0.0),
    level=1,
    groups={7: 0.0, 8: 0.1},
    known=frozenset({7, 8}),
    unseen=0.05,
)


def _rings(dice: np.random.Generator, count: int, share: float, level: float, at: float) -> int | None:
    rise = Rise(level)
    for number, value in enumerate(dice.random(count) < share):
        rise.add(float(value))
        if rise.rings(at):
            return number
    return None


def test_it_rings_falsely_less_often_than_it_says() -> None:
    dice = np.random.default_rng(1)
    # The worst that is still no change: a mean at the level itself. The limit is lowered so that chance gets a chance.
    at = math.log(300 / 0.2)
    alarms = sum(_rings(dice, 300, 0.2, 0.2, at) is not None for _ in range(150))
    assert alarms / 150 <= 0.2


def test_it_finds_a_change_after_a_long_calm_as_fast_as_at_once() -> None:
    dice = np.random.default_rng(2)
    rise = Rise(0.2)
    for value in dice.random(2_000) < 0.1:
        rise.add(float(value))
    needed = 0
    while not rise.rings(limit(1, REQUESTS)):
        rise.add(float(dice.random() < 0.5))
        needed += 1
    assert needed < 150


def test_evidence_that_never_restarts_has_to_win_back_what_it_lost() -> None:
    lasting, restarting = Rise(0.02, is_restarting=False), Rise(0.02)
    for rise in (lasting, restarting):
        for _ in range(500):
            rise.add(0.0)
        for _ in range(10):
            rise.add(1.0)
    assert lasting.log_e < restarting.log_e
    assert restarting.log_e > 1.0


def test_evidence_survives_a_restart() -> None:
    rise = Rise(0.1, 0.2)
    rise.add(1.0, 0.0)
    again = Rise(0.1, 0.2, logs=rise.dump())
    assert again.log_e == rise.log_e
    assert Rise(0.1, logs=(1.0,)).log_e == 0.0


def test_the_limit_grows_with_what_could_ring() -> None:
    assert limit(2, 1_000) - limit(1, 1_000) == pytest.approx(math.log(2))
    # Evidence E rings within n values with probability n / E at most.
    assert PAIRS / math.exp(limit(1, PAIRS)) == pytest.approx(0.01)
    assert 1 / math.exp(once(1)) == pytest.approx(0.01)


def test_calm_traffic_rings_nothing() -> None:
    dice = np.random.default_rng(3)
    watch = Watch(BASE, 0.05)
    for _ in range(3_000):
        gap = float(dice.random()) * 0.4
        watch.placed(gap, (1, 7))
        watch.compared(gap, float(dice.random() < gap), (1, 7), is_edge=gap <= 0.1, certifies=dice.random() < 0.05)
    assert watch.why() == ""
    assert all(value < 1.0 for name, value in watch.figures().items() if name != "loss_e")


def test_a_broken_promise_rings_first() -> None:
    watch = Watch(BASE, 0.02)
    for number in range(100):
        watch.compared(0.05, float(number % 3 == 0), is_edge=True, certifies=True)
        if watch.why():
            break
    assert watch.why() == "drift.loss"
    assert watch.figures()["loss_e"] >= 1.0


def test_predictions_that_no_longer_fit_ring_even_where_the_cloud_answers() -> None:
    watch = Watch(BASE, 0.02)
    for _ in range(200):
        watch.compared(0.3, 0.9, is_edge=False, certifies=False)
    assert watch.why() == "drift.calibration"


def test_a_kind_of_work_that_fails_now_is_found_though_it_is_a_small_part_of_all() -> None:
    dice = np.random.default_rng(4)
    watch = Watch(BASE, 0.02)
    pairs = 0
    while not watch.why():
        pairs += 1
        is_changed = pairs % 12 == 0
        gap = 1.0 if is_changed else float(dice.random() < 0.3)
        watch.compared(0.3, gap, (1, 8 if is_changed else 7), is_edge=False, certifies=False)
    assert watch.why() == "drift.calibration"
    assert pairs < 12 * 100
    # Without keys it would have been lost among the others.
    blind = Watch(BASE, 0.02)
    for number in range(pairs):
        gap = 1.0 if number % 12 == 0 else float(dice.random() < 0.3)
        blind.compared(0.3, gap, (), is_edge=False, certifies=False)
    assert blind.why() == ""


def test_what_the_edge_answers_is_held_to_what_was_foreseen() -> None:
    watch = Watch(BASE, 0.5)
    for number in range(60):
        watch.compared(0.05, float(number % 2), is_edge=True, certifies=True)
    assert watch.why() == "drift.calibration"


def test_answers_that_are_not_asked_for_say_nothing_of_calibration() -> None:
    watch = Watch(BASE, 0.02)
    for _ in range(500):
        watch.compared(math.inf, 1.0, is_edge=False, certifies=True)
    assert watch.why() == ""


@pytest.mark.parametrize(("gap", "groups"), [(0.05, (1, 7)), (0.35, (1, 7)), (None, (1, 9))])
def test_other_traffic_rings(gap: float | None, groups: tuple[int, ...]) -> None:
    watch = Watch(BASE, 0.02)
    for number in range(300):
        watch.placed((number % 4) * 0.1 + 0.05 if gap is None else gap, groups)
    assert watch.why() == "drift.traffic"


def test_without_keys_only_predictions_are_watched() -> None:
    watch = Watch(BASE, 0.02)
    for number in range(300):
        watch.placed((number % 4) * 0.1 + 0.05, ())
    assert watch.why() == ""


def test_a_watch_survives_a_restart() -> None:
    watch = Watch(BASE, 0.02)
    for _ in range(30):
        watch.placed(0.05, (1, 9))
        watch.compared(0.05, 0.5, is_edge=True, certifies=True)
        watch.compared(0.3, 0.9, (1, 8), is_edge=False, certifies=False)
    again = Watch(BASE, 0.02, watch.dump())
    assert again.figures() == watch.figures()
