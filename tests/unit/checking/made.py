"""Questions and answers for the tests of this room."""

from __future__ import annotations

from typing import Any

from ecotone.values import Endpoint
from ecotone.values.quality import Question, Reply


def ask(asked: str = "What is it?", **more: Any) -> Question:
    return Question(endpoint=Endpoint.CHAT, model="assistant", asked=asked, **more)


def say(text: str = "", **more: Any) -> Reply:
    return Reply(**{"text": text, "finish": "stop"} | more)


def call(*calls: tuple[str, str]) -> Reply:
    return Reply(calls=calls, finish="tool_calls")
