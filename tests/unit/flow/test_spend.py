"""The day's budgets."""

from __future__ import annotations

from ecotone.flow.spend import Budgets, Spend


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
