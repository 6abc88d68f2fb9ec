"""A hub that lies, or somebody in its place: what it says costs the site a try, and nothing that lasts."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from tests.unit.agent.test_link import JSON, Clock, Hub, identity
from tests.unit.agent.test_talking import Scene, play, quick

from ecotone.access import session_message
from ecotone.agent import talking
from ecotone.agent.identity import Identity
from ecotone.agent.link import Link
from ecotone.flow.reporting import Answer, Message, decoded
from ecotone.values import TargetError

__all__ = ["identity", "quick", "session_message"]  # fixtures

DEEP = b"[" * 50_000 + b"]" * 50_000


@pytest.mark.parametrize(
    "said",
    [
        {"token": "t\r\nx-smuggled: 1", "expires_in_s": 900},
        {"token": "t\x00", "expires_in_s": 900},
        {"token": "\u2603", "expires_in_s": 900},
        {"token": "t" * 5000, "expires_in_s": 900},
        {"token": "", "expires_in_s": 900},
        {"token": "t", "expires_in_s": -1e300},
    ],
    ids=["line break", "NUL", "not ASCII", "long", "empty", "over before it began"],
)
def test_a_token_that_is_none_goes_into_no_header(identity: Identity, said: dict[str, object]) -> None:
    hub = Hub(identity.public)

    async def ask(message: Message) -> Answer:
        if message.path.endswith("/session"):
            return Answer(200, JSON, json.dumps(said).encode(), 1)
        return await hub.ask(message)

    link = Link(ask, identity, "clinic-7", Clock().now_s)
    with pytest.raises(TargetError) as found:
        asyncio.run(link.desired(1, 1.0))
    assert found.value.code == "bad_answer"


def test_an_answer_that_is_deep_is_no_hubs() -> None:
    for body in (b'{"more": ' + DEEP + b"}", DEEP):
        with pytest.raises(TargetError) as found:
            decoded(Answer(200, JSON, body, 1), dict)
        assert found.value.code == "bad_answer"


def test_a_refusal_that_is_deep_is_a_refusal(identity: Identity) -> None:
    hub = Hub(identity.public)
    hub.answer = lambda message: Answer(403, JSON, b'{"more": ' + DEEP + b"}", 1)
    with pytest.raises(TargetError) as found:
        asyncio.run(Link(hub.ask, identity, "clinic-7", Clock().now_s).desired(1, 1.0))
    assert found.value.code == "forbidden"


@pytest.mark.parametrize("generation", [1 << 53, 10**40, talking.GENERATION_STEP_MAX + 8])
def test_a_generation_out_of_all_proportion_makes_no_site_deaf(tmp_path: Path, generation: int) -> None:
    """It is not signed: whoever answers once in the hub's place must not keep the site from the hub's own news."""
    news: list[int] = []

    async def act(one: Scene) -> None:
        one.talk.on_news = news.append
        one.talk.verified = lambda: 7
        one.hub.generation = 7
        one.talk.generation = 7
        await one.until(lambda: one.hub.asked)
        one.hub.generation = generation
        await one.until(lambda: one.talk.why == "bad_answer")
        one.hub.generation = 8
        await one.until(lambda: news)

    scene = play(tmp_path, act)
    assert news == [8]
    assert scene.talk.generation == 8


def test_steps_that_each_seem_small_do_not_lead_far(tmp_path: Path) -> None:
    async def act(one: Scene) -> None:
        one.talk.verified = lambda: 7
        for number in range(1, 5):
            one.hub.generation = number * (talking.GENERATION_STEP_MAX - 1)
            await asyncio.sleep(0.03)
        one.hub.is_down = True

    assert play(tmp_path, act).talk.generation <= 7 + talking.GENERATION_STEP_MAX
