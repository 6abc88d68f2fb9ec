"""A target that is slower than itself gets company; the first content wins, the loser is stopped."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections.abc import Callable
from typing import Any

import pytest

from ecotone.estimate import Observation
from ecotone.flow.hedging import SAVED_MAX, Hedges, Lane, Race, Sign
from ecotone.flow.relay import Relay
from ecotone.policy import Policy
from ecotone.sim.scripted import SILENCE, ScriptedTarget, Stage, failed, stream
from ecotone.values import Place, PlacementError, TargetError
from ecotone.wire import sse

Make = Callable[..., Stage]


def known(one: Stage, name: str, ttft_s: float = 0.3) -> None:
    for _ in range(20):
        one.site.speeds.observe(name, Observation(prompt_tokens=10, ttft_s=ttft_s, tpot_s=0.1, output_tokens=2))


def stage_of(stage: Make, *targets: ScriptedTarget, share: float = 1.0, **more: Any) -> Stage:
    one = stage(*targets, hedges=Hedges(share), **more)
    known(one, targets[0].spec.name)
    return one


def first(*scripts: Any) -> ScriptedTarget:
    return ScriptedTarget("first", *scripts, at=Place.EDGE)


def second(*scripts: Any) -> ScriptedTarget:
    return ScriptedTarget("second", *scripts)


def test_the_one_that_answers_first_wins_and_the_other_is_stopped_at_once(stage: Make) -> None:
    slow, fast = first(stream("slow", gap_s=9.0)), second(stream("fast", "er", gap_s=0.2))
    one = stage_of(stage, slow, fast)
    began_s = one.loop.now_s
    outcome = one.serve()
    assert (outcome.target, outcome.reason, outcome.ending) == ("second", "fallback.outrun", "answered")
    assert [(one.target, one.failure) for one in outcome.attempts] == [("first", "outrun")]
    assert slow.aborted == 1
    assert slow.active == 0
    assert one.loop.now_s - began_s < 3.0
    assert b"slow" not in one.caller.body
    assert sse.payloads(one.caller.body)[-1] == b"[DONE]"
    assert one.site.breakers["first"].state == "closed"


def test_the_first_may_still_win_and_then_the_plans_reason_stands(stage: Make) -> None:
    slow, other = first(stream("slow", gap_s=0.5)), second(stream("x", gap_s=9.0))
    one = stage_of(stage, slow, other)
    outcome = one.serve()
    assert (outcome.target, outcome.reason) == ("first", "edge.good_enough")
    assert [(one.target, one.failure) for one in outcome.attempts] == [("second", "outrun")]
    assert (other.aborted, other.active) == (1, 0)


def test_who_is_as_fast_as_ever_has_no_company(stage: Make) -> None:
    other = second(stream("x"))
    one = stage_of(stage, first(stream("a", gap_s=0.1)), other)
    assert one.serve().target == "first"
    assert other.sent == []


def test_content_that_has_begun_is_not_raced(stage: Make) -> None:
    other = second(stream("x"))
    one = stage_of(stage, first(stream("a", "b", "c", gap_s=0.1)), other)
    assert one.serve().target == "first"
    assert other.sent == []


@pytest.mark.parametrize("share", [0.0, 0.01])
def test_without_a_budget_nobody_is_started(stage: Make, share: float) -> None:
    other = second(stream("x"))
    one = stage_of(stage, first(stream("slow", gap_s=9.0)), other, share=share)
    assert one.serve().target == "first"
    assert other.sent == []


def test_of_a_target_that_was_never_measured_nothing_is_slow(stage: Make) -> None:
    other = second(stream("x"))
    one = stage(first(stream("slow", gap_s=5.0)), other, hedges=Hedges(1.0))
    assert one.serve().target == "first"
    assert other.sent == []


def test_who_may_not_be_tried_is_not_started(stage: Make) -> None:
    other = second(stream("x"))
    one = stage_of(stage, first(stream("slow", gap_s=5.0)), other, policy=Policy())
    assert one.serve(one.request(labels=("secret",))).target == "first"
    assert other.sent == []


def test_if_the_slow_one_fails_the_other_goes_on(stage: Make) -> None:
    one = stage_of(stage, first([failed("reset", after_s=2.0)]), second(stream("x", gap_s=1.5)))
    outcome = one.serve()
    assert (outcome.target, outcome.ending) == ("second", "answered")
    assert [one.failure for one in outcome.attempts] == ["reset"]


def test_if_the_company_fails_the_slow_one_goes_on(stage: Make) -> None:
    one = stage_of(stage, first(stream("a", gap_s=3.0)), second([failed("dns", after_s=0.1)]))
    outcome = one.serve()
    assert (outcome.target, outcome.reason) == ("first", "edge.good_enough")
    assert [one.failure for one in outcome.attempts] == ["dns"]


def test_if_both_fail_the_next_one_is_tried(stage: Make) -> None:
    third = ScriptedTarget("third", stream("c"))
    one = stage_of(stage, first([failed("reset", after_s=3.0)]), second([failed("dns", after_s=0.1)]), third)
    outcome = one.serve()
    assert (outcome.target, outcome.reason) == ("third", "fallback.reset")
    assert [one.failure for one in outcome.attempts] == ["dns", "reset"]


def test_a_caller_who_leaves_stops_both(stage: Make) -> None:
    slow, other = first(SILENCE), second(SILENCE)
    one = stage_of(stage, slow, other)
    assert one.serve(leaves_after_s=3.0).ending == "left"
    assert (slow.active, other.active) == (0, 0)
    assert len(other.sent) == 1


def test_an_answer_in_one_piece_is_raced_by_its_whole_time(stage: Make) -> None:
    slow, fast = first(stream("slow", gap_s=30.0)), second(stream("fast"))
    slow.is_always_stream = fast.is_always_stream = True
    one = stage_of(stage, slow, fast)
    outcome = one.serve(one.request(is_stream=False))
    assert outcome.target == "second"
    assert b"fast" in one.caller.body


def test_content_that_comes_second_is_refused_whenever_it_comes() -> None:
    class Front:
        target = at = reason = ""
        debug: list[Any] = []  # noqa: RUF012 - as the real one

        def attach(self, relay: Any) -> None: ...
        def commit(self, *, is_stream: bool, length: int | None) -> None: ...

    race, front = Race(), Front()
    Lane(front, race, Sign("first", "edge", [])).commit(is_stream=True, length=None)  # type: ignore[arg-type]
    with pytest.raises(TargetError, match="outrun"):
        Lane(front, race, Sign("second", "cloud", [])).commit(is_stream=True, length=None)  # type: ignore[arg-type]
    assert front.target == "first"


def test_the_budget_is_a_share_saved_up_to_a_few() -> None:
    hedges = Hedges(0.25)
    assert hedges.take()
    assert not hedges.take()
    for _ in range(4):
        hedges.earn()
    assert hedges.take()
    for _ in range(1000):
        hedges.earn()
    assert [hedges.take() for _ in range(int(SAVED_MAX) + 1)] == [True] * int(SAVED_MAX) + [False]


@pytest.mark.parametrize(
    ("one_script", "other_script", "leaves_after_s"),
    [
        (stream("a"), stream("b"), None),
        (stream("slow", gap_s=9.0), stream("fast", "er", gap_s=0.2), None),
        ([failed("http_500")], stream("b"), None),
        ([failed("http_500")], [failed("http_500")], None),
        (stream("slow", gap_s=9.0), stream("slow too", gap_s=9.0), 3.0),
    ],
    ids=["won", "outrun", "fallback", "all_failed", "left"],
)
def test_nothing_of_a_request_waits_for_the_collector(
    stage: Make, one_script: Any, other_script: Any, leaves_after_s: float | None
) -> None:
    targets = first(one_script), second(other_script)
    one = stage_of(stage, *targets)
    gc.collect()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        with contextlib.suppress(PlacementError, asyncio.CancelledError):
            one.serve(leaves_after_s=leaves_after_s)
        assert targets[0].opened
        for target in targets:
            target.opened.clear()
        gc.collect()
        assert [held for held in gc.garbage if isinstance(held, Lane | Race | Relay)] == []
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
