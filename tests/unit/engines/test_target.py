"""What the corridor sees of an engine: errors in its words, and the engine's request."""

from __future__ import annotations

import asyncio

import msgspec
import pytest
from tests.unit.engines.world import Answer, request

from ecotone import shaping
from ecotone.engines import EngineTarget
from ecotone.engines.target import Attempt
from ecotone.values import Place, RequestError, TargetError


def test_the_spec_says_what_the_model_and_the_worker_can_do(scene):
    async def acts(world):
        target = world.target(world.engine(slots=2, queue_max=7))
        assert target.spec.at is Place.EDGE
        assert (target.spec.context_tokens, target.spec.slots, target.spec.queue_max) == (1024, 2, 7)
        assert target.spec.endpoints == ("chat/completions", "completions")
        assert {"stream", "tools", "json_schema", "n"} <= target.spec.capabilities
        assert (target.origin, target.spec.model) == ("unix:small", "tiny")
        base = shaping.Profile(name="base", context_tokens=9, has_template=False)
        assert EngineTarget("b", base, world.engine(embeddings=True)).spec.endpoints == ("completions", "embeddings")

    scene(acts)


def test_the_engine_is_always_asked_for_a_stream_with_usage(scene):
    async def acts(world):
        target = world.target(world.engine())
        prepared = target.prepare(request("hi", stream=False, temperature=0))
        sent = msgspec.json.decode(prepared.body)
        assert prepared.is_stream
        assert prepared.is_usage_added
        assert prepared.path == "/chat/completions"
        assert (sent["stream"], sent["model"], sent["temperature"]) == (True, "tiny", 0)
        assert sent["stream_options"]["include_usage"]
        with pytest.raises(RequestError):
            target.prepare(msgspec.structs.replace(request("hi"), body=b"[1]"))
        with pytest.raises(TargetError):
            target.prepare(request("hi", n=3))

    scene(acts)


@pytest.mark.parametrize(("words", "code"), [("context", "context_exceeded"), ("broken", "http_500")])
def test_what_the_engine_cannot_do_is_the_next_targets(scene, words, code):
    async def acts(world):
        engine = world.engine()
        answer = await world.told(engine, words)
        assert answer.code == code
        assert answer.status == 0
        assert engine.load() == (0, 0)

    scene(acts)


def test_the_callers_fault_goes_to_the_caller(scene):
    async def acts(world):
        answer = await world.told(world.engine(), "bad")
        assert (answer.code, answer.status) == ("", 400)
        assert msgspec.json.decode(answer.body)["error"] == {
            "message": "what?",
            "type": "invalid_request_error",
            "param": None,
            "code": "bad_request",
        }

    scene(acts)


def test_a_paused_stream_is_silent_until_it_is_resumed(scene):
    async def acts(world):
        engine = world.engine()
        await world.told(engine)
        stream, answer = world.ask(engine, "say 50 gap 0.005")
        await answer.first
        stream.pause()
        await asyncio.sleep(0.05)  # what was on its way
        body = answer.body
        await asyncio.sleep(0.1)
        assert answer.body == body
        stream.resume()
        await asyncio.wait_for(answer.over, 5)
        assert answer.body.endswith(b"[DONE]\n\n")
        waiting, answer = world.ask(engine)
        waiting.pause()
        await asyncio.sleep(0.1)
        assert not answer.body
        waiting.resume()
        await asyncio.wait_for(answer.over, 5)

    scene(acts)


def test_late_calls_of_the_channel_change_nothing(scene):
    async def acts(world):
        engine = world.engine()
        answer = Answer()
        attempt = Attempt(engine, "/v1/x", b"{}", answer)
        attempt.abort()
        attempt.head(200, {})
        attempt.data(b"x")
        attempt.ended()
        attempt.failed(TargetError("reset", ""))
        attempt.lose(TargetError("reset", ""))
        attempt.pause()
        attempt.resume()
        assert not answer.over.done()
        assert not answer.body

    scene(acts)


def test_an_error_body_is_bounded(scene):
    async def acts(world):
        answer = Answer()
        attempt = Attempt(world.engine(), "/v1/x", b"{}", answer)
        attempt.head(500, {})
        for _ in range(100):
            attempt.data(b"x" * 10_000)
        assert len(attempt._error_body) < 100_000
        attempt.ended()
        assert answer.code == "http_500"

    scene(acts)
