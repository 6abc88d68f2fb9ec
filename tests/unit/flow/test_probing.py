"""Probes find out that a target is back; callers never pay for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from ecotone import flow
from ecotone.ports import Sink
from ecotone.sim.scripted import ScriptedTarget, Stage, Step, data, ended, failed, head
from ecotone.values import Place, TargetError

Make = Callable[..., Stage]


def down(name: str, *script: Step, at: Place = Place.CLOUD) -> ScriptedTarget:
    target = ScriptedTarget(name, at=at)
    target.probe_script = script
    return target


def live(one: Stage, seconds: float) -> None:
    """Lets the prober work for so long."""

    async def scene() -> None:
        task = one.loop.create_task(flow.probe_forever(lambda: one.site))
        await asyncio.sleep(seconds)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    one.loop.run_until_complete(scene())


def fail(one: Stage, name: str, code: str = "connect_timeout") -> None:
    breaker = one.site.breakers[name]
    breaker.failed(breaker.admit(one.loop.now_s), code, one.loop.now_s)


@pytest.mark.parametrize("script", [[head(401)], [head(404)], [ended()], [head(200), data(b"x"), ended()]])
def test_any_answer_to_a_probe_closes_the_breaker(stage: Make, script: list[Step]) -> None:
    target = down("big", *script)
    one = stage(target)
    fail(one, "big")
    live(one, 3.0)
    assert target.probes == 1
    assert one.site.breakers["big"].state == "closed"
    assert one.telemetry.conditions == [("big", "closed")]


@pytest.mark.parametrize("before", ["captive_portal", "redirect"])
@pytest.mark.parametrize("script", [[head(200, "text/html")], [head(302)], [head(511)]])
def test_a_page_is_no_sign_of_life_of_a_target_for_which_somebody_else_answered(
    stage: Make, before: str, script: list[Step]
) -> None:
    target = down("big", *script)
    one = stage(target)
    fail(one, "big", before)
    live(one, 1.5)
    assert target.probes == 1
    assert one.site.breakers["big"].state == "open"
    assert one.site.breakers["big"].last_failure == "captive_portal"
    target.probe_script = (head(200),)
    live(one, 3.0)
    assert one.site.breakers["big"].state == "closed"


def test_after_other_failures_a_page_is_a_sign_of_life(stage: Make) -> None:
    one = stage(down("big", head(200, "text/html")))
    fail(one, "big", "connect_timeout")
    live(one, 1.5)
    assert one.site.breakers["big"].state == "closed"


def test_only_the_first_word_of_a_target_counts(stage: Make) -> None:
    def all_at_once(sink: Sink) -> None:
        sink.data(b"x")
        sink.head(200, {})
        sink.failed(TargetError("reset", "made"))

    one = stage(down("big", (0.0, all_at_once)))
    fail(one, "big")
    live(one, 1.5)
    assert one.site.breakers["big"].state == "closed"


def test_a_path_that_swallowed_a_probe_is_asked_again_beside_it(stage: Make) -> None:
    target = down("big")
    one = stage(target)
    fail(one, "big")

    async def whole_again() -> None:
        await asyncio.sleep(1.5)
        target.probe_script = (head(200, after_s=0.1),)

    one.loop.create_task(whole_again())
    live(one, 3.0)
    assert (target.probes, target.aborted) == (2, 1)
    assert one.site.breakers["big"].state == "closed"


def test_a_server_that_is_slow_to_tell_what_it_has_is_waited_for(stage: Make) -> None:
    target = down("big", head(200, after_s=4.2))
    one = stage(target)
    fail(one, "big")
    live(one, 6.0)
    assert target.probes == 3
    assert one.site.breakers["big"].state == "closed"


def test_probes_of_one_outage_come_at_short_intervals(stage: Make) -> None:
    target = down("big", failed("connect_timeout", after_s=0.5))
    one = stage(target)
    fail(one, "big")
    live(one, 14.9)
    # After 1 second, then after 1.5 each: with half a second for the failure and up to 0.1 until it is noticed.
    assert target.probes == 7
    assert one.site.breakers["big"].state == "open"


@pytest.mark.parametrize("after_s", [0.0, 1.0, None])
@pytest.mark.parametrize("outage_s", [3.0, 60.0, 300.0])
def test_a_link_that_is_back_is_used_within_three_seconds_after_any_outage(
    stage: Make, outage_s: float, after_s: float | None
) -> None:
    """`after_s`: so long a probe takes to fail (a path that swallows it: the connect limit); None: it never does."""
    waits_s = []
    for phase in range(13):
        target = down("big", *([] if after_s is None else [failed("connect_timeout", after_s=after_s)]))
        one = stage(target)
        fail(one, "big")
        told: list[float] = []

        async def scene(
            one: Stage = one, target: ScriptedTarget = target, told: list[float] = told, phase: int = phase
        ) -> float:
            prober = one.loop.create_task(flow.probe_forever(lambda: one.site, lambda: told.append(one.loop.now_s)))
            await asyncio.sleep(outage_s + 0.2 * phase)
            target.probe_script = (head(200, after_s=0.1),)
            back_s = one.loop.now_s
            while not told:
                await asyncio.sleep(0.01)
            prober.cancel()
            await asyncio.gather(prober, return_exceptions=True)
            return told[0] - back_s

        waits_s.append(one.loop.run_until_complete(scene()))
        assert one.site.breakers["big"].admit(one.loop.now_s), "and the next request goes there at once"
    assert max(waits_s) < 3.0


def test_a_probe_without_an_answer_ends_by_itself(stage: Make) -> None:
    target = down("big")
    one = stage(target)
    fail(one, "big")
    live(one, 6.5)
    assert (target.probes, target.aborted) == (4, 4)
    assert one.site.breakers["big"].last_failure == "first_byte_timeout"


def test_failures_that_cost_no_wait_are_not_probed(stage: Make) -> None:
    target = down("big", head())
    one = stage(target)
    fail(one, "big", "rate_limited")
    live(one, 5.0)
    assert target.probes == 0


def test_with_the_cloud_switched_off_only_the_edge_is_probed(stage: Make) -> None:
    cloud, edge = down("big", head()), down("small", head(), at=Place.EDGE)
    one = stage(cloud, edge, is_cloud_off=True)
    fail(one, "big")
    fail(one, "small")
    live(one, 3.0)
    assert (cloud.probes, edge.probes) == (0, 1)


def test_a_cloud_probe_has_a_permit_for_an_empty_body_in_the_ledger_and_an_edge_probe_needs_none(stage: Make) -> None:
    cloud, edge = down("big", head()), down("small", head(), at=Place.EDGE)
    one = stage(cloud, edge)
    fail(one, "big")
    fail(one, "small")
    live(one, 3.0)
    assert one.journal.entries == [("egress", {"request": "probe", "labels": [], "replaced": {}})]


def test_a_probe_that_the_ledger_holds_back_leaves_the_target_unreachable_for_callers(stage: Make) -> None:
    target = down("big", head())
    one = stage(target, disk_full=((0.0, 4.0),))
    fail(one, "big", "dns")
    live(one, 3.0)
    assert target.probes == 0
    assert one.site.breakers["big"].last_failure == "dns"
    assert not one.site.breakers["big"].admit(1e6)
    live(one, 30.0)
    assert one.site.breakers["big"].state == "closed"


def test_a_prober_that_is_stopped_stops_its_probes_and_gives_the_place_back(stage: Make) -> None:
    target = down("big")
    one = stage(target)
    fail(one, "big")
    live(one, 2.0)
    assert target.aborted == 1
    assert one.site.breakers["big"].admit(one.loop.now_s)
