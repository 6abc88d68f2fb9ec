"""One engine takes another's place while requests come. Real processes, fake engine."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from ecotone.engines import switching
from ecotone.engines.lifecycle import State
from ecotone.values import EcotoneError, TargetError

MIB = 1 << 20
ONE_MODEL = 300 * MIB


@pytest.fixture
def heavy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers of the fake engine weigh 20 MiB; here each counts as 252, so that one fits into 300 and two do not."""
    from ecotone.engines.child import Worker

    monkeypatch.setattr(Worker, "rss_bytes", lambda self: 252 * MIB if self.is_alive else 0)


class Crowd:
    """Callers who never pause; each asks whichever engine serves now."""

    def __init__(self, world: Any, serving: Any) -> None:
        self.world, self.serving = world, serving
        self.codes: list[str] = []
        self.is_over = False

    async def __aenter__(self) -> Crowd:
        self.tasks = [asyncio.ensure_future(self._call()) for _ in range(4)]
        await self.world.until(lambda: len(self.codes) > 3)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.is_over = True
        await asyncio.gather(*self.tasks)

    async def _call(self) -> None:
        while not self.is_over:
            self.codes.append((await self.world.told(self.serving, "say 3 gap 0.01")).code)


@pytest.mark.parametrize("memory_bytes", [None, ONE_MODEL], ids=["memory for both", "memory for one"])
def test_no_request_fails_while_engines_change(scene, heavy, memory_bytes):
    async def acts(world):
        old = world.engine(name="v0")
        await world.told(old)
        async with Crowd(world, old) as crowd:
            for number in range(1, 6):
                new, tok_s = await world.replace(crowd.serving, world.model("slow 0.1", f"v{number}"))
                crowd.serving = new
                seen = len(crowd.codes)
                await world.until(lambda seen=seen: len(crowd.codes) > seen + 4)
                assert tok_s > 0
                assert new.state is State.READY
        assert not any(crowd.codes)
        await world.until(lambda: len(world.supervisor.status().engines) == 1)
        assert old.state is State.STOPPED

    scene(acts, memory_bytes=memory_bytes)


@pytest.mark.parametrize("memory_bytes", [None, ONE_MODEL], ids=["memory for both", "memory for one"])
@pytest.mark.parametrize("how", ["fails", "forged", "aborts", "silent", "odd", "stall"])
def test_one_that_does_not_come_up_is_given_up_and_the_old_one_goes_on(scene, heavy, memory_bytes, how, monkeypatch):
    monkeypatch.setattr(switching, "SMOKE_S", 0.5)

    async def acts(world):
        old = world.engine(name="v0")
        await world.told(old)
        async with Crowd(world, old) as crowd:
            with pytest.raises(EcotoneError) as failed:
                await world.replace(old, world.model(how, "v1"))
            assert failed.value.code in ("engine_start", "asset.digest", "bad_answer")
            seen = len(crowd.codes)
            await world.until(lambda: len(crowd.codes) > seen + 4)
        assert not any(crowd.codes)
        assert [row.model for row in world.supervisor.status().engines] == ["v0"]
        assert old.state is State.READY

    scene(acts, memory_bytes=memory_bytes)


def test_where_memory_holds_one_a_request_that_takes_too_long_puts_the_switch_off(scene, heavy, monkeypatch):
    monkeypatch.setattr(switching, "DRAIN_S", 0.3)

    async def acts(world):
        old = world.engine(name="v0")
        await world.told(old)
        _, long = world.ask(old, "say 20 gap 0.05")
        await long.first
        with pytest.raises(TargetError, match="not switched now") as failed:
            await world.replace(old, world.model(name="v1"))
        assert failed.value.code == "busy"
        assert (await world.told(old)).code == ""
        await asyncio.wait_for(long.over, 5)
        assert long.code == ""

    scene(acts, memory_bytes=ONE_MODEL)


def test_who_waits_goes_over_in_order_and_is_not_turned_away(scene):
    async def acts(world):
        old, new = world.engine(name="v0", slots=1), world.engine(name="v1", slots=1, queue_max=0)
        old.pause()
        answers = [world.ask(old)[1] for _ in range(3)]
        told: list[Any] = []
        old.when_ready(told.append)
        old.hand_over(new)
        await asyncio.gather(*(answer.over for answer in answers))
        ends = [answer.over_at_s for answer in answers]
        assert not any(answer.code for answer in answers)
        assert ends == sorted(ends)
        assert told == [None]
        assert old.state is State.STOPPED
        assert old.tally.now.requests == 0
        assert new.tally.now.requests == 3

    scene(acts)


def test_a_pause_is_over_when_it_is_over(scene):
    async def acts(world):
        engine = world.engine()
        await world.told(engine)
        engine.pause()
        _, answer = world.ask(engine)
        await asyncio.sleep(0.1)
        assert not answer.over.done()
        engine.resume()
        await asyncio.wait_for(answer.over, 5)
        assert answer.code == ""

    scene(acts)


def test_the_new_one_runs_with_the_old_ones_settings_until_it_is_measured(scene):
    async def acts(world):
        old = world.engine(name="v0", threads=2)
        await world.told(old)
        new, _ = await world.replace(old, world.model(name="v1"))
        assert new.tuned.threads == 2

    scene(acts)


def test_an_engine_that_another_target_uses_stays_though_the_switch_failed(scene):
    async def acts(world):
        old, shared = world.engine(name="v0"), world.engine("fails", name="v1")
        await world.told(old)
        with pytest.raises(TargetError):
            await world.replace(old, shared.model)
        world.become("starts", "v1")
        await asyncio.sleep(0.1)
        assert (await world.told(shared)).code == ""

    scene(acts)


def test_an_embedding_model_answers_with_an_embedding(scene):
    async def acts(world):
        old = world.engine(name="v0", embeddings=True)
        await world.told(old)
        _, tok_s = await world.replace(old, world.model(name="v1", embeddings=True))
        assert tok_s == 0.0

    scene(acts)


def test_one_that_no_memory_holds_is_given_up_before_the_old_one_is_touched(scene):
    async def acts(world):
        old = world.engine(name="v0")
        await world.told(old)
        large = msgspec.structs.replace(world.model(name="v1"), file_bytes=2 << 30)
        starts = old.starts
        async with Crowd(world, old) as crowd:
            with pytest.raises(TargetError, match="MiB are for models"):
                await world.replace(old, large)
        assert not any(crowd.codes)
        assert old.starts == starts
        assert old.state is State.READY

    scene(acts, memory_bytes=1 << 30)


def test_one_that_is_being_measured_gives_way(scene):
    async def acts(world):
        old = world.engine("starts stall", name="v0")
        world.supervisor.warm(old.model)
        await world.until(lambda: old.state is State.MEASURING)
        new, _ = await world.replace(old, world.model(name="v1"))
        assert (await world.told(new)).code == ""
        await world.until(lambda: len(world.supervisor.status().engines) == 1)

    scene(acts, is_measured=True)


def test_one_that_rests_after_too_many_deaths_is_replaced(scene):
    async def acts(world):
        old = world.engine("aborts", name="v0")
        assert (await world.told(old)).code == "engine_start"
        await world.until(lambda: old.state is State.CRASHED)
        new, _ = await world.replace(old, world.model(name="v1"))
        assert (await world.told(new)).code == ""

    scene(acts)
