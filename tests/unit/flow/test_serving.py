"""One request from arrival to outcome: deadlines, callers who leave, budgets, the ledger."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from ecotone.estimate import Observation
from ecotone.flow.breaker import State
from ecotone.flow.relay import LINGER_S
from ecotone.flow.spend import Budgets
from ecotone.sim.scripted import (
    PAID,
    SILENCE,
    ScriptedTarget,
    Stage,
    chunk,
    data,
    failed,
    head,
    status,
    stream,
    whole,
)
from ecotone.sim.world import MadeCaller
from ecotone.values import Place, RefusalError, RequestError, TargetError
from ecotone.wire import sse

Make = Callable[..., Stage]


def edge(*scripts: Any, **spec: Any) -> ScriptedTarget:
    return ScriptedTarget("small", *scripts, at=Place.EDGE, **spec)


def cloud(*scripts: Any, **spec: Any) -> ScriptedTarget:
    return ScriptedTarget("big", *scripts, price=PAID, **spec)


def known_speed(one: Stage, name: str, ttft_s: float) -> None:
    for _ in range(5):
        one.site.speeds.observe(name, Observation(prompt_tokens=10, ttft_s=ttft_s, output_tokens=1))


def error_of(one: Stage) -> dict[str, Any]:
    body = one.caller.body if one.caller.status != 200 else sse.payloads(one.caller.body)[-1]
    error: dict[str, Any] = msgspec.json.decode(body)["error"]
    return error


# The answer and its record.


def test_an_answer_leaves_one_decision_and_one_outcome_in_the_ledger(stage: Make) -> None:
    one = stage(edge(stream("a", "b")))
    outcome = one.serve()
    assert [kind for kind, _ in one.journal.entries] == ["placed", "outcome"]
    assert (outcome.ending, outcome.target, outcome.at, outcome.status) == ("answered", "small", "edge", 200)
    assert (outcome.cost_usd, outcome.egress_bytes) == (0.0, 0)
    assert outcome.answer_bytes == len(one.caller.body)


def test_what_goes_to_the_cloud_has_a_permit_and_a_durable_entry_and_is_paid(stage: Make) -> None:
    target = cloud(stream("a", usage=(100, 50)))
    one = stage(target)
    outcome = one.serve()
    permit, receipt = target.sent[0]
    assert permit is not None
    assert receipt is not None
    assert one.site.mint.verify(permit)
    assert permit.seal == receipt.seal
    assert one.journal.durable[permit.seal] <= one.loop.now_s
    assert outcome.cost_usd == pytest.approx(0.1 + 0.1)
    assert outcome.egress_bytes == len(one.request().body)
    assert one.site.spend.usd == pytest.approx(outcome.cost_usd)
    assert one.journal.entries[-1][1]["day_usd"] == pytest.approx(outcome.cost_usd)


def test_debug_headers_tell_the_attempts_the_price_and_the_bytes(stage: Make) -> None:
    one = stage(cloud([failed("reset")]), ScriptedTarget("other", stream("a")))
    one.serve(one.request(is_debug=True, labels=("place",)))
    headers = one.caller.headers
    assert headers["ecotone-attempts"] == "big=reset, other"
    assert headers["ecotone-labels"] == "place"
    assert headers["ecotone-egress-bytes"] == str(2 * len(one.request().body))
    assert float(headers["ecotone-overhead-ms"]) >= 0.0
    assert headers["ecotone-cost-usd"] == "0.000000"


def test_an_unknown_model_name_is_told_and_recorded_without_a_decision(stage: Make) -> None:
    one = stage(edge())
    outcome = one.serve(one.request(model="nobody"))
    assert (outcome.ending, outcome.failure, outcome.reason) == (
        "refused", "model_not_found", "refused.model_not_found",
    )  # fmt: skip
    assert one.caller.status == 404
    assert [kind for kind, _ in one.journal.entries] == ["outcome"]


def test_speed_is_learned_from_whole_answers_and_not_from_broken_ones(stage: Make) -> None:
    one = stage(edge(stream("a", "b", "c", gap_s=0.5), [head(), data(chunk("a")), failed("reset")]))
    one.serve()
    learned = one.site.speeds.dump()["small"]
    assert learned["ttft"]["5"] == pytest.approx([1.5])
    assert learned["tpot"] == pytest.approx([0.5])
    assert learned["output"] == [3.0]
    one.serve()
    assert one.site.speeds.dump()["small"]["output"] == [3.0]


# Deadlines.


def test_a_deadline_before_the_content_is_a_504(stage: Make) -> None:
    one = stage(edge(SILENCE))
    outcome = one.serve(one.request(deadline_at_s=2.0))
    assert (outcome.ending, outcome.failure, outcome.total_s) == ("deadline", "deadline", pytest.approx(2.0))
    assert one.caller.status == 504
    assert error_of(one)["code"] == "deadline"


def test_a_deadline_in_mid_answer_is_an_error_event_and_no_fault_of_the_target(stage: Make) -> None:
    one = stage(edge(stream(*"abcdefgh", gap_s=5.0)), failures=1)
    outcome = one.serve(one.request(deadline_at_s=32.0))
    assert (outcome.ending, one.caller.cuts) == ("deadline", 1)
    assert error_of(one)["code"] == "deadline"
    assert one.site.breakers["small"].state is State.CLOSED


def test_without_a_deadline_the_sites_own_limit_ends_it(stage: Make) -> None:
    one = stage(edge(stream("a", *["b"] * 80, gap_s=10.0)))
    assert one.serve().total_s == pytest.approx(600.0)
    assert "limit of this site" in error_of(one)["message"]


def test_a_part_of_the_deadline_is_kept_back_for_the_next_target(stage: Make) -> None:
    one = stage(cloud(SILENCE), edge(stream("a", gap_s=0.1)))
    known_speed(one, "small", 2.0)
    outcome = one.serve(one.request(deadline_at_s=8.0))
    assert (outcome.ending, outcome.reason) == ("answered", "fallback.too_slow")
    assert outcome.attempts[0].took_s == pytest.approx(8.0 - 1.5 * 2.0 - 0.25, abs=0.02)


def test_a_body_that_stalls_leaves_the_next_target_its_time(stage: Make) -> None:
    one = stage(cloud((head(200, "application/json"), data(b"{"))), edge(whole("b")))
    known_speed(one, "small", 0.5)
    outcome = one.serve(one.request(is_stream=False, deadline_at_s=8.0))
    assert (outcome.ending, outcome.reason) == ("answered", "fallback.too_slow")
    assert outcome.attempts[0].took_s == pytest.approx(7.0, abs=0.02)


def test_the_next_target_never_takes_more_than_half_of_the_deadline(stage: Make) -> None:
    one = stage(cloud(stream("a", gap_s=0.3)), edge(stream("b")))
    known_speed(one, "small", 1.9)
    outcome = one.serve(one.request(deadline_at_s=2.0))
    assert (outcome.target, outcome.attempts) == ("big", ())


def test_an_answer_that_began_in_time_is_not_stopped_for_the_next_target(stage: Make) -> None:
    one = stage(cloud(stream(*"abcdef", gap_s=1.0)), edge(stream("b")))
    known_speed(one, "small", 5.0)
    assert one.serve(one.request(deadline_at_s=11.0)).target == "big"


@pytest.mark.parametrize(("patience_s", "is_fault"), [(0.5, False), (6.0, True)])
def test_silence_until_a_deadline_counts_only_where_it_was_long(stage: Make, patience_s: float, is_fault: bool) -> None:
    one = stage(edge(SILENCE), failures=1)
    outcome = one.serve(one.request(deadline_at_s=patience_s))
    assert outcome.ending == "deadline"
    assert [attempt.failure for attempt in outcome.attempts] == ["too_slow"]
    assert (one.site.breakers["small"].state is State.OPEN) == is_fault


@pytest.mark.parametrize(("ttft_s", "is_fault"), [(0.2, True), (2.0, False)])
def test_silence_is_long_by_the_measure_of_the_targets_own_speed(stage: Make, ttft_s: float, is_fault: bool) -> None:
    one = stage(edge(SILENCE), ScriptedTarget("next", stream("a")), failures=1)
    known_speed(one, "small", ttft_s)
    known_speed(one, "next", 1.0)
    assert one.serve(one.request(deadline_at_s=3.5)).reason == "fallback.too_slow"
    assert (one.site.breakers["small"].state is State.OPEN) == is_fault


def test_a_deadline_after_the_whole_answer_does_not_matter(stage: Make) -> None:
    script = (head(), data(chunk("a", finish="stop") + sse.DONE))  # and never an end of the transfer
    one = stage(edge(script))
    outcome = one.serve(one.request(deadline_at_s=0.5))
    assert (outcome.ending, outcome.failure, outcome.total_s) == ("answered", "", pytest.approx(LINGER_S))
    assert one.telemetry.attempts == [("small", "")]


def test_a_slow_ledger_is_not_held_against_the_target(stage: Make) -> None:
    one = stage(cloud(stream("a")), failures=1)

    async def permit(*_: Any, **__: Any) -> Any:
        await one.loop.create_future()

    one.journal.permit = permit  # type: ignore[method-assign]
    outcome = one.serve(one.request(deadline_at_s=20.0))
    assert outcome.ending == "deadline"
    assert one.site.breakers["big"].state is State.CLOSED


# Callers who leave.


@pytest.mark.parametrize("at_s", [0.0, 0.0005, 0.05, 0.15, 0.25, 0.35, 0.45])
def test_a_caller_who_leaves_stops_the_work_at_once_wherever_it_is(stage: Make, at_s: float) -> None:
    target = cloud(stream("a", "b", "c"))
    one = stage(target)
    breaker = one.site.breakers["big"]
    breaker.failed(breaker.admit(-9.0), "rate_limited", -9.0)  # half-open: this caller takes the one place
    outcome = one.serve(leaves_after_s=at_s)
    assert (outcome.ending, outcome.failure) == ("left", "left")
    assert outcome.total_s == pytest.approx(at_s)
    assert target.aborted == len(target.sent)
    assert one.caller.ends == 0
    assert breaker.admit(one.loop.now_s), "the place was given back"


def test_a_caller_who_leaves_late_says_nothing_about_a_target_that_answers(stage: Make) -> None:
    one = stage(cloud(stream(*"abcdefgh", gap_s=0.95)), edge(stream("b")), failures=1)
    known_speed(one, "small", 5.0)
    known_speed(one, "big", 0.1)
    assert one.serve(one.request(deadline_at_s=11.0), leaves_after_s=8.0).ending == "left"
    assert one.site.breakers["big"].state is State.CLOSED


def test_a_caller_who_leaves_after_the_last_byte_was_answered(stage: Make) -> None:
    one = stage(edge((head(), data(chunk("a", finish="stop") + sse.DONE))), failures=1)
    breaker = one.site.breakers["small"]
    breaker.failed(breaker.admit(-9.0), "rate_limited", -9.0)
    outcome = one.serve(leaves_after_s=0.2)
    assert (outcome.ending, outcome.failure) == ("answered", "")
    assert breaker.state is State.CLOSED
    assert one.site.speeds.dump()["small"]["output"] == [1.0]


def test_what_a_caller_who_left_has_cost_is_counted(stage: Make) -> None:
    one = stage(cloud(stream(*"abcdefgh")))
    outcome = one.serve(leaves_after_s=0.55)
    assert outcome.output_tokens == 3
    assert one.site.spend.usd == pytest.approx(10 * 0.001 + 3 * 0.002)


@pytest.mark.parametrize(("leaves", "asked"), [(1.0, {}), (None, {"deadline_at_s": 1.0}), (None, {})])
def test_a_prompt_that_the_cloud_was_at_work_on_is_counted(
    stage: Make, leaves: float | None, asked: dict[str, Any]
) -> None:
    one = stage(cloud(SILENCE))
    one.serve(one.request(is_stream=False, **asked), leaves_after_s=leaves)
    assert one.site.spend.usd == pytest.approx(10 * 0.001)


@pytest.mark.parametrize("script", [status(503), status(400), [failed("dns")], [failed("reset")]])
def test_a_refused_prompt_costs_nothing(stage: Make, script: Any) -> None:
    one = stage(cloud(script))
    one.serve()
    assert one.site.spend.usd == 0.0


def test_a_prompt_that_the_cloud_was_just_rejecting_costs_nothing(stage: Make) -> None:
    one = stage(cloud([head(400, "application/json")]))
    assert one.serve(leaves_after_s=1.0).ending == "left"
    assert one.site.spend.usd == 0.0


# Budgets, the ledger, and what goes wrong on our side.


def test_requests_side_by_side_do_not_overdraw_the_budget(stage: Make) -> None:
    size = len(b'{"model":"auto"}')
    target = cloud(stream("a"))
    one = stage(target, edge(stream("b")), budgets=Budgets(None, size))
    gathered = [one.serving(one.request(id=f"req-{number}")) for number in range(5)]

    async def all_of_them() -> list[Any]:
        return await asyncio.gather(*gathered)

    outcomes = one.loop.run_until_complete(all_of_them())
    assert len(target.sent) == 1
    assert {outcome.reason for outcome in outcomes} <= {"cloud.better", "edge.budget", "fallback.budget"}
    assert one.site.spend.egress_bytes == size


def test_a_spent_budget_keeps_even_a_free_cloud_target_back(stage: Make) -> None:
    one = stage(ScriptedTarget("big", stream("a")), edge(stream("b")), budgets=Budgets(1.0))
    real = one.site.targets["big"].prepare

    def spending(request: Any) -> Any:
        one.site.spend.usd = 1.0  # another request spends the rest between the decision and the attempt
        return real(request)

    one.site.targets["big"].prepare = spending  # type: ignore[method-assign]
    assert one.serve().reason == "fallback.budget"


def test_without_a_ledger_the_cloud_gets_nothing_and_the_edge_answers(stage: Make) -> None:
    target = cloud(stream("a"))
    one = stage(target, edge(stream("b")), disk_full=((0.0, 1e9),))
    outcome = one.serve()
    assert (outcome.ending, outcome.reason, outcome.target) == ("answered", "fallback.egress_refused", "small")
    assert target.sent == []
    assert one.site.breakers["big"].state is State.CLOSED


def test_a_ledger_that_cannot_be_written_does_not_stop_the_edge(stage: Make) -> None:
    one = stage(edge(stream("a")))

    def full(kind: str, entry: Any) -> int:
        raise RefusalError("refused.ledger", "made")

    one.journal.note = full  # type: ignore[method-assign]
    assert one.serve().ending == "answered"
    assert one.telemetry.attempts.count(("ledger", "refused.ledger")) == 2


def test_a_target_that_cannot_express_the_request_is_passed_over(stage: Make) -> None:
    bad = cloud(stream("a"))
    one = stage(bad, edge(stream("b")))

    def cannot(request: Any) -> Any:
        raise TargetError("capability", "made")

    bad.prepare = cannot  # type: ignore[method-assign]
    outcome = one.serve()
    assert (outcome.target, outcome.reason, bad.sent) == ("small", "fallback.capability", [])


def test_a_request_that_no_target_can_express_is_told_at_once(stage: Make) -> None:
    bad = cloud(stream("a"))
    one = stage(bad, edge(stream("b")))

    def cannot(request: Any) -> Any:
        raise RequestError("request.json", "made")

    bad.prepare = cannot  # type: ignore[method-assign]
    outcome = one.serve()
    assert (outcome.ending, outcome.failure, one.caller.status) == ("refused", "request.json", 400)
    assert one.site.breakers["big"].state is State.CLOSED


@pytest.mark.parametrize("method", ["prepare", "open"])
def test_a_bug_in_a_target_neither_holds_its_breaker_nor_the_budget(stage: Make, method: str) -> None:
    bad = cloud(stream("a"))
    one = stage(bad)
    breaker = one.site.breakers["big"]
    breaker.failed(breaker.admit(-9.0), "rate_limited", -9.0)

    def broken(*_: Any) -> Any:
        raise ZeroDivisionError

    setattr(bad, method, broken)
    with pytest.raises(ZeroDivisionError):
        one.serve()
    assert breaker.admit(one.loop.now_s)


def test_a_breaker_that_opens_between_decision_and_attempt_is_respected(stage: Make) -> None:
    first = cloud([failed("reset", after_s=1.0)])
    second = edge(stream("a"))
    one = stage(first, second)
    breaker = one.site.breakers["small"]
    one.loop.call_later(0.5, lambda: breaker.failed(breaker.admit(0.5), "engine_start", 0.5))
    outcome = one.serve()
    assert [attempt.failure for attempt in outcome.attempts] == ["reset", "breaker_open"]
    assert (outcome.ending, second.sent) == ("failed", [])


def test_a_target_that_answers_at_all_closes_its_half_open_breaker(stage: Make) -> None:
    one = stage(cloud(status(413)), edge(stream("a")))
    breaker = one.site.breakers["big"]
    breaker.failed(breaker.admit(-9.0), "http_503", -9.0)
    breaker.failed(breaker.admit(-9.0), "rate_limited", -9.0)
    assert one.serve().reason == "fallback.context_exceeded"
    assert breaker.state is State.CLOSED


def test_when_every_target_lacks_the_context_the_caller_can_mend_it(stage: Make) -> None:
    one = stage(cloud(status(413)), edge(status(413)))
    one.serve()
    assert (one.caller.status, error_of(one)["code"]) == (400, "context_length_exceeded")


def test_after_mixed_failures_the_caller_is_told_the_shortest_wait(stage: Make) -> None:
    one = stage(cloud(status(429, headers={"retry-after": "40"})), edge(status(429, headers={"retry-after": "9"})))
    one.serve()
    assert one.caller.headers["retry-after"] == "9"


def test_a_whole_answer_is_delivered_although_the_caller_is_slow(stage: Make) -> None:
    target = edge(whole("Hello"))
    one = stage(target)
    outcome = one.serve(one.request(is_stream=False), caller=MadeCaller(is_slow=True))
    assert outcome.ending == "answered"
