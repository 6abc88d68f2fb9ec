"""The day's budgets."""

from __future__ import annotations

import pytest

from ecotone.flow.spend import Budgets, Held, Spend
from ecotone.flow.windows import Window, Windows

NOON_S = 1_795_608_000.0
"""2026-11-25 12:00 UTC, a Wednesday."""
NIGHT = Windows([Window(tuple(range(7)), 22 * 60, 6 * 60, 1_000)])
HOUR_S = 3_600.0


def test_without_budgets_nothing_is_limited() -> None:
    assert Spend("2026-01-01").left(Budgets()) == (None, None)


def test_what_is_held_counts_until_it_is_settled() -> None:
    spend, budgets = Spend("2026-01-01"), Budgets(1.0, 1000)
    spend.hold(0.4, 300)
    assert spend.left(budgets) == (0.6, 700)
    spend.settle(0.4, 300, 0.1, 250)
    assert spend.left(budgets) == (0.9, 750)


def test_a_new_day_starts_at_zero_and_a_clock_set_back_does_not() -> None:
    spend = Spend("2026-01-02", 0.5, 10)
    spend.turn("2026-01-01")
    assert spend.usd == 0.5
    spend.turn("2026-01-03")
    assert (spend.day, spend.usd, spend.egress_bytes) == ("2026-01-03", 0.0, 0)


def test_without_budgets_and_windows_nothing_is_held() -> None:
    assert Spend("2026-11-25").held(Budgets(), NOON_S) is None
    assert not Budgets().is_closed(NOON_S)


@pytest.mark.parametrize("budgets", [Budgets(1.0), Budgets(None, 500)])
def test_a_budget_of_the_day_that_is_used_up_holds_until_midnight(budgets: Budgets) -> None:
    assert Spend("2026-11-25").held(budgets, NOON_S) is None
    assert Spend("2026-11-25", 1.0, 500).held(budgets, NOON_S) == Held("deferred.budget", NOON_S + 12 * HOUR_S)


def test_outside_a_window_it_is_held_until_the_window_or_the_next_look() -> None:
    spend, budgets = Spend("2026-11-25"), Budgets(windows=NIGHT)
    assert spend.held(budgets, NOON_S) == Held("deferred.window", NOON_S + HOUR_S)
    assert spend.held(budgets, NOON_S + 9.5 * HOUR_S) == Held("deferred.window", NOON_S + 10 * HOUR_S)
    assert spend.held(budgets, NOON_S + 11 * HOUR_S) is None


def test_a_window_has_a_budget_of_its_own_each_time() -> None:
    spend, budgets, night_s = Spend("2026-11-25"), Budgets(windows=NIGHT), NOON_S + 11 * HOUR_S
    spend.defer(budgets, night_s, 999)
    assert spend.held(budgets, night_s) is None
    spend.defer(budgets, night_s, 1)
    assert spend.held(budgets, night_s + 6 * HOUR_S) == Held("deferred.budget", night_s + 6 * HOUR_S + 60)
    assert spend.held(budgets, night_s + 24 * HOUR_S) is None
    spend.defer(budgets, night_s + 24 * HOUR_S, 10)
    assert spend.window_bytes == 10
    spend.defer(budgets, NOON_S, 5_000)
    assert spend.window_bytes == 10, "what was under way when it closed is of no window"


def test_only_a_strict_link_is_closed_to_those_who_wait() -> None:
    assert Budgets(windows=NIGHT, is_strict=True).is_closed(NOON_S)
    assert not Budgets(windows=NIGHT, is_strict=True).is_closed(NOON_S + 11 * HOUR_S)
    assert not Budgets(windows=NIGHT).is_closed(NOON_S)
