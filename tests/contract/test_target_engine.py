"""`ports.Target` as `EngineTarget` keeps it: over real worker processes with a fake engine, and with the real one."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest
from tests.unit.engines.world import FAKE, Answer, play, request

from ecotone import shaping
from ecotone.engines import EngineTarget, Model
from ecotone.values import Endpoint, RequestError, TargetError

FIRST_WORDS = "Count to one hundred, please."


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.engine)])
def scene(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Plays `acts(world, target)` with either engine."""
    is_real = request.param == "real"
    if is_real:
        asset, store = request.getfixturevalue("starter")
    else:
        monkeypatch.setenv("PYTHONPATH", str(FAKE))

    def run(acts):
        async def whole(world):
            if is_real:
                model = Model(name=asset.name, digest=asset.digest, file_bytes=asset.bytes, threads=1, slots=1)
                engine = world.supervisor.engine(model, lambda: store.hold(asset))
            else:
                engine = world.engine(slots=1)
            profile = shaping.profile_for(engine.model.name, context_tokens=engine.model.context_tokens)
            await acts(world, EngineTarget("small", profile, engine))

        play(tmp_path, whole)

    return run


@pytest.fixture
def starter():
    from ecotone import assets

    folder = os.environ.get("ECOTONE_TEST_STORE", str(Path(__file__).parents[2] / ".venv" / ".ecotone-test-store"))
    store = assets.open_store(folder)
    found = store.resolve("smollm2-135m")
    if found is None:
        pytest.skip(f"the starter model is not in {folder}")
    return found, store


def ask(target, words="say 5 gap 0.01", **fields):
    answer = Answer()
    fields = {"max_tokens": 8, **fields}
    return target.open(target.prepare(request(words, **fields)), answer, None, None), answer


async def over(answer):
    await asyncio.wait_for(asyncio.shield(answer.over), 20)
    return answer


def test_an_answer_is_head_data_ended(scene):
    async def acts(world, target):
        stream, answer = ask(target)
        assert not answer.status, "never before open returns"
        assert target.load() == (0, 1)
        await over(answer)
        assert (answer.status, answer.code) == (200, "")
        assert "event-stream" in answer.headers["content-type"]
        assert answer.body.endswith(b"data: [DONE]\n\n")
        assert target.load() == (0, 0)
        stream.abort()
        stream.pause()
        stream.resume()

    scene(acts)


def test_failures_come_to_the_sink_and_never_as_exceptions(scene):
    async def acts(world, target):
        await over(ask(target)[1])
        _, answer = ask(target, "say 500 gap 0.02", max_tokens=400)
        await answer.first
        os.kill(target.engine.running.worker.pid, signal.SIGKILL)
        assert (await over(answer)).code == "engine_crashed"
        assert (await over(ask(target)[1])).code == ""

    scene(acts)


def test_after_abort_no_call_comes(scene):
    async def acts(world, target):
        stream, answer = ask(target, "say 500 gap 0.02", max_tokens=400)
        waiting, second = ask(target)
        await answer.first
        waiting.abort()
        stream.abort()
        stream.abort()
        size = len(answer.body)
        assert target.load() == (0, 0)
        assert (await over(ask(target)[1])).code == ""
        assert len(answer.body) == size
        assert not answer.over.done()
        assert not second.status

    scene(acts)


def test_a_paused_stream_is_silent_until_it_is_resumed(scene):
    async def acts(world, target):
        stream, answer = ask(target)
        stream.pause()
        await world.until(lambda: target.load() == (1, 0))
        for _ in range(20):
            await asyncio.sleep(0)
        assert not answer.body
        stream.resume()
        assert (await over(answer)).code == ""

    scene(acts)


def test_load_counts_served_and_waiting(scene):
    async def acts(world, target):
        _, first = ask(target, "say 20 gap 0.02", max_tokens=40)
        _, second = ask(target)
        await first.first
        assert target.load() == (1, 1)
        await over(second)
        assert first.over.done()
        assert target.load() == (0, 0)

    scene(acts)


def test_prepare_blames_whoever_is_to_blame(scene):
    async def acts(world, target):
        from msgspec.structs import replace

        with pytest.raises(RequestError):
            target.prepare(replace(request("x"), body=b"{"))
        with pytest.raises(TargetError):
            target.prepare(replace(request("x"), endpoint=Endpoint.EMBEDDINGS))

    scene(acts)


def test_a_probe_is_answered_with_a_head(scene):
    async def acts(world, target):
        answer = Answer()
        target.probe(answer, None, None)
        assert (await over(answer)).code == ""
        assert answer.status == 200

    scene(acts)
