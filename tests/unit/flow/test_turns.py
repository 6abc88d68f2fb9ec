"""Requests that must wait for a slot: in turn, for so long, and what they are told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from ecotone.estimate import Observation
from ecotone.flow.admission import Load
from ecotone.flow.hedging import Hedges
from ecotone.flow.prospects import crowd, is_free
from ecotone.flow.turns import turn
from ecotone.sim.scripted import SILENCE, ScriptedTarget, Stage, failed, stream
from ecotone.sim.world import MadeCaller
from ecotone.values import Outcome, Place

Make = Callable[..., Stage]


def narrow(*scripts: Any, name: str = "edge", queue_max: int = 4, **spec: Any) -> ScriptedTarget:
    """A target with one slot; an answer takes a second."""
    given = scripts or (stream("a", "b", gap_s=0.25),)
    return ScriptedTarget(name, *given, at=Place.EDGE, slots=1, queue_max=queue_max, **spec)


def together(one: Stage, *asked: dict[str, Any], apart_s: float = 0.01) -> list[tuple[Outcome, MadeCaller, float]]:
    """Serves requests that come shortly after another: (outcome, caller, seconds)."""

    async def come(index: int, changes: dict[str, Any]) -> tuple[Outcome, MadeCaller, float]:
        await asyncio.sleep(index * apart_s)
        caller, began_s = MadeCaller(), one.loop.now_s
        return await one.serving(one.request(**changes), caller=caller), caller, one.loop.now_s - began_s

    async def all_of_them() -> list[tuple[Outcome, MadeCaller, float]]:
        return await asyncio.gather(*(come(index, changes) for index, changes in enumerate(asked)))

    return one.loop.run_until_complete(all_of_them())


def known(one: Stage, name: str = "edge", total_s: float = 1.0) -> None:
    for _ in range(8):
        one.site.speeds.observe_whole(name, prompt_tokens=10, total_s=total_s, output_tokens=2)


def test_requests_go_one_after_the_other_and_keys_take_turns(stage: Make) -> None:
    one = stage(narrow())
    served = together(one, *({"key": key} for key in "aaab"))
    times = {index: took_s for index, (_, _, took_s) in enumerate(served)}
    assert [outcome.ending for outcome, _, _ in served] == ["answered"] * 4
    assert sorted(times, key=lambda index: times[index] + index * 0.01) == [0, 1, 3, 2]
    assert all(outcome.attempts == () for outcome, _, _ in served)


def test_the_wait_is_no_work_of_ours(stage: Make) -> None:
    one = stage(narrow())
    _, (outcome, _, took_s) = together(one, {}, {})
    assert took_s > 1.5
    assert outcome.overhead_s == pytest.approx(0.0, abs=1e-6)


def test_a_full_queue_is_told_at_once_when_there_is_room_again(stage: Make) -> None:
    one = stage(narrow(queue_max=1))
    one.serve()
    served = together(one, {}, {}, {})
    outcome, caller, took_s = served[2]
    assert (outcome.ending, outcome.reason, caller.status, took_s) == ("refused", "refused.capacity", 429, 0.0)
    again = one.serve(one.request(received_at_s=one.loop.now_s + float(caller.headers["retry-after"])))
    assert again.ending == "answered"


def test_who_would_wait_too_long_is_told_at_once(stage: Make) -> None:
    one = stage(narrow(queue_max=99), load=Load(2.5))
    one.serve()
    served = together(one, *({} for _ in range(6)))
    outcome, caller, took_s = served[-1]
    assert (outcome.reason, caller.status, took_s) == ("refused.overload", 429, 0.0)
    error = msgspec.json.decode(caller.body)["error"]
    assert "at most 2.5 s" in error["message"]
    assert 1 <= int(caller.headers["retry-after"]) <= 10


def test_who_would_wait_beyond_its_deadline_is_told_at_once_and_others_wait(stage: Make) -> None:
    one = stage(narrow(queue_max=99))
    known(one)
    one.serve()
    began_s = one.loop.now_s
    served = together(one, {}, {}, {"deadline_at_s": began_s + 1.5}, {"deadline_at_s": began_s + 9.0})
    assert [outcome.reason for outcome, _, _ in served[2:]] == ["refused.overload", "edge.pinned"]
    assert served[2][1].status == 429
    assert served[3][0].ending == "answered"


def test_another_target_takes_who_would_wait_too_long(stage: Make) -> None:
    one = stage(narrow(), ScriptedTarget("cloud", stream("c")), load=Load(0.5))
    one.serve()
    served = together(one, {}, {})
    assert [(outcome.target, outcome.reason) for outcome, _, _ in served] == [
        ("edge", "edge.good_enough"),
        ("cloud", "cloud.capacity"),
    ]


def test_nobody_waits_longer_than_that_even_where_nothing_was_known(stage: Make) -> None:
    one = stage(narrow(stream("a", gap_s=5.0)), load=Load(2.0))
    _, (outcome, caller, took_s) = together(one, {}, {})
    assert (outcome.ending, outcome.failure, outcome.reason) == ("failed", "busy", "fallback.busy")
    assert caller.status == 429
    assert took_s == pytest.approx(2.0)
    assert "retry-after" in caller.headers


def test_who_loses_its_place_to_a_key_that_has_less_goes_elsewhere(stage: Make) -> None:
    one = stage(narrow(queue_max=2), ScriptedTarget("cloud", stream("c")))
    served = together(one, *({"key": key} for key in "aaab"))
    assert [outcome.target for outcome, _, _ in served] == ["edge", "edge", "cloud", "edge"]
    assert served[2][0].attempts[0].failure == "busy"
    assert one.site.breakers["edge"].state == "closed"


def test_a_caller_who_leaves_while_it_waits_leaves_no_place_behind(stage: Make) -> None:
    one = stage(narrow())
    first = one.loop.create_task(one.serving())
    one.later(0.1)
    assert one.serve(leaves_after_s=0.2).ending == "left"
    assert one.site.load.waiting("edge") == 0
    assert one.loop.run_until_complete(first).ending == "answered"


def test_a_caller_who_leaves_in_the_instant_of_its_turn_gives_the_slot_on(stage: Make) -> None:
    one = stage(narrow())

    async def scene() -> list[Outcome]:
        first = asyncio.ensure_future(one.serving())
        await asyncio.sleep(0.01)

        def cancel() -> None:
            waits.cancel()

        waits = asyncio.ensure_future(turn(one.site, one.targets[0].spec, "a", one.loop.now_s + 9.0))
        await asyncio.sleep(0.01)
        last = asyncio.ensure_future(one.serving(one.request(id="req-last")))
        one.site.load._lines["edge"].keys["a"][0].tell = cancel
        return [await first, await last]

    assert [outcome.ending for outcome in one.loop.run_until_complete(scene())] == ["answered", "answered"]


def test_when_a_target_breaks_down_those_who_wait_go_on_at_once(stage: Make) -> None:
    down = narrow([failed("connect_timeout", after_s=0.5)])
    one = stage(down, ScriptedTarget("cloud", stream("c", gap_s=0.1)))
    served = together(one, {}, {}, {})
    assert {outcome.target for outcome, _, _ in served} == {"cloud"}
    assert [outcome.attempts[0].failure for outcome, _, _ in served] == [
        "connect_timeout",
        "breaker_open",
        "breaker_open",
    ]
    assert all(took_s < 1.5 for _, _, took_s in served)


def test_who_waits_for_a_target_that_is_down_does_not_wait_for_the_slots_that_hang(stage: Make) -> None:
    down = ScriptedTarget(
        "edge", SILENCE, [failed("connect_timeout", after_s=0.5)], at=Place.EDGE, slots=2, queue_max=4
    )
    one = stage(down, ScriptedTarget("cloud", stream("c", gap_s=0.1)))
    hanging = one.loop.create_task(one.serving(leaves_after_s=3.0))
    one.later(0.1)
    served = together(one, {}, {}, {})
    assert {outcome.target for outcome, _, _ in served} == {"cloud"}
    assert all(took_s < 1.5 for _, _, took_s in served)
    one.loop.run_until_complete(hanging)


def test_who_has_less_time_is_told_to_come_back_later(stage: Make) -> None:
    one = stage(narrow(queue_max=99), load=Load(2.5))
    known(one)
    one.serve()
    load, spec = one.site.load, one.targets[0].spec
    seats = [load.ask(spec, "", one.loop.now_s) for _ in range(5)]
    one.serve()
    one.serve(one.request(deadline_at_s=one.loop.now_s + 1.2))
    # 5 s to wait: it falls to half of 2.5 s, then to half of what a deadline of 1.2 s leaves.
    assert [caller.headers["retry-after"] for caller in one.callers[1:]] == ["8", "10"]
    for seat in seats:
        load.withdraw(seat)
    load.leave(seats[0], one.loop.now_s, is_served=False)


def test_a_site_under_strain_makes_no_answer_twice(stage: Make) -> None:
    slow, other = narrow(stream("slow", gap_s=3.0)), ScriptedTarget("other", stream("fast"))
    one = stage(slow, other, hedges=Hedges(1.0))
    for _ in range(20):
        one.site.speeds.observe("edge", Observation(prompt_tokens=10, ttft_s=0.3, tpot_s=0.1, output_tokens=2))
    full = together(one, {"wish": "edge"}, {})
    assert [outcome.target for outcome, _, _ in full] == ["edge", "edge"]
    assert other.sent == []


def test_who_waits_for_its_turn_is_stopped_when_the_other_answers(stage: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Load, "allows_hedges", lambda self: True)
    slow = narrow(SILENCE, stream("slow", gap_s=3.0))
    one = stage(slow, ScriptedTarget("other", stream("fast")), hedges=Hedges(1.0), load=Load(30.0))
    for _ in range(20):
        one.site.speeds.observe("edge", Observation(prompt_tokens=10, ttft_s=0.3, tpot_s=0.1, output_tokens=2))
    served = together(one, {}, {})
    assert [outcome.reason for outcome, _, _ in served] == ["fallback.outrun", "fallback.outrun"]
    assert [outcome.attempts[0].failure for outcome, _, _ in served] == ["outrun", "outrun"]


def test_what_waits_within_the_target_teaches_nothing_about_its_slots(stage: Make) -> None:
    cold = narrow(stream("a", gap_s=5.0), stream("a", gap_s=0.25))
    one = stage(cold)
    cold.load = lambda: (0, cold.active)  # type: ignore[method-assign]
    one.serve()
    assert one.site.load._lines["edge"].hold_s is None
    del cold.load
    one.serve()
    assert one.site.load._lines["edge"].hold_s == pytest.approx(0.75)


def test_jobs_see_who_waits(stage: Make) -> None:
    one = stage(narrow())
    tasks = [one.loop.create_task(one.serving()) for _ in range(2)]
    one.later(0.1)
    assert crowd(one.site, "auto", 1) == 1
    assert not is_free(one.site, "edge", 1)
    one.loop.run_until_complete(asyncio.gather(*tasks))
    assert crowd(one.site, "auto", 1) == 0
