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


def test_a_probe_that_fails_makes_the_next_one_wait_longer(stage: Make) -> None:
    target = down("big", failed("connect_timeout", after_s=0.5))
    one = stage(target)
    fail(one, "big")
    live(one, 16.0)
    assert target.probes == 4  # after 1, 2, 4 and 5 seconds (half of 10), each from the failure before
    assert one.site.breakers["big"].state == "open"


def test_a_probe_without_an_answer_ends_by_itself(stage: Make) -> None:
    target = down("big")
    one = stage(target)
    fail(one, "big")
    live(one, 7.0)
    assert (target.probes, target.aborted) == (1, 1)
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
