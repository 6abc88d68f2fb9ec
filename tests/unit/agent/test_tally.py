"""Totals of traffic are levels, and hold no word of it."""

from __future__ import annotations

import msgspec
import pytest

from ecotone.agent.tally import Ears, Tally, Totals, dearest
from ecotone.values import Condition, Outcome


def outcome(**changes: object) -> Outcome:
    base = Outcome(
        request="r", model="assistant", endpoint="chat/completions", key="", ending="answered", reason="edge.cheaper",
        status=200, at="edge", ttft_s=0.2, input_tokens=1000, output_tokens=100,
    )  # fmt: skip
    return msgspec.structs.replace(base, **changes)


def test_requests_are_counted_by_where_they_went() -> None:
    tally = Tally(Totals(since_s=5.0), dearest({"assistant": lambda taken, given: (taken + given) / 1e3}))
    for one in (
        outcome(),
        outcome(at="cloud", cost_usd=0.5, egress_bytes=700),
        outcome(ending="refused", at="", ttft_s=None),
        outcome(ending="deadline", at="", ttft_s=None, reason="deferred.window"),
        outcome(purpose="shadow", cost_usd=0.25, egress_bytes=11),
        outcome(model="other"),
    ):
        tally.ended(one)
    found = tally.traffic(1e9)
    assert (found.requests, found.at_edge, found.at_cloud, found.refused, found.failed) == (5, 2, 1, 1, 1)
    assert (found.deferred, found.cloud_usd, found.saved_usd, found.egress_bytes) == (1, 0.75, 1.1, 711)
    assert found.since_s == 5.0
    assert found.ttft_p50_ms == pytest.approx(200, rel=0.05)


def test_totals_survive_a_restart_and_the_times_speak_of_late() -> None:
    tally = Tally(Totals())
    for _ in range(100):
        tally.ended(outcome(ttft_s=4.0))
    assert tally.traffic(86_400.0 * 10).since_s == 864_000.0
    kept = msgspec.json.decode(msgspec.json.encode(tally.totals), type=Totals)
    again = Tally(kept)
    for day in range(11, 22):
        for _ in range(20):
            again.ended(outcome(ttft_s=0.1))
        again.traffic(86_400.0 * day)
    assert again.traffic(86_400.0 * 21).requests == 320
    assert again.traffic(86_400.0 * 21).ttft_p95_ms < 200


def test_a_clock_that_is_set_back_halves_nothing() -> None:
    tally = Tally(Totals(halved_day=100))
    tally.ended(outcome())
    assert tally.traffic(0.0).ttft_p50_ms > 0
    assert sum(tally.totals.ttft.values()) == 1.0


def test_ears_tell_the_metrics_first_and_then_the_others() -> None:
    heard: list[object] = []

    class Metrics:
        def ended(self, outcome: Outcome) -> None:
            heard.append("metrics")

        def attempted(self, target: str, failure: str, took_s: float) -> None:
            heard.append((target, failure, took_s))

        def condition(self, target: str, condition: Condition) -> None:
            heard.append((target, condition.breaker))

    ears = Ears(Metrics(), (lambda one: heard.append(one.model),), (lambda *said: heard.append(("too", *said)),))
    ears.ended(outcome())
    ears.attempted("big", "dns", 0.5)
    ears.condition("big", Condition())
    assert heard == ["metrics", "assistant", ("big", "dns", 0.5), ("too", "big", "dns", 0.5), ("big", "closed")]
