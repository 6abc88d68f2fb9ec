"""What nobody at the site wrote is taken out of the cloud's answers, where the site asks for it."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from ecotone.privacy import Look
from ecotone.sim.scripted import ScriptedTarget, Stage, stream, whole
from ecotone.values import Endpoint, Finding, Place, Request
from ecotone.wire import sse

Make = Callable[..., Stage]


def card(text: str) -> list[Finding]:
    return [Finding("card", "card", *one.span(), 1.0, "patterns") for one in re.finditer(r"\d{4}", text)]


def saying(one: Stage, text: str, **more: Any) -> Request:
    body = {"model": "auto", "messages": [{"role": "user", "content": text}]}
    return one.request(body=msgspec.json.encode(body), **more)


def site(stage: Make, *targets: ScriptedTarget) -> Stage:
    return stage(*targets, look=Look(withheld=(card, frozenset({"card"}))))


def said(one: Stage) -> str:
    events = [msgspec.json.decode(payload) for payload in sse.payloads(one.caller.body) if payload != b"[DONE]"]
    return "".join(choice["delta"].get("content") or "" for event in events for choice in event["choices"])


def test_the_clouds_answer_is_strained_and_what_the_caller_wrote_passes(stage: Make) -> None:
    one = site(stage, ScriptedTarget("big", stream("41", "11 and 42", "22")))
    assert one.serve(saying(one, "is 4111 a card?")).ending == "answered"
    assert said(one) == "4111 and [card withheld]"


@pytest.mark.parametrize("is_edge", [False, True])
def test_an_answer_in_one_piece_is_strained_too_and_the_edges_is_not(stage: Make, is_edge: bool) -> None:
    target = ScriptedTarget("one", whole("4222"), at=Place.EDGE if is_edge else Place.CLOUD)
    one = site(stage, target)
    one.serve(saying(one, "hi", is_stream=False))
    assert (b"withheld" in one.caller.body) is not is_edge


def test_numbers_of_an_embedding_are_no_text(stage: Make) -> None:
    one = site(stage, ScriptedTarget("big", whole("4222")))
    one.serve(one.request(endpoint=Endpoint.EMBEDDINGS, is_stream=False, body=b'{"model":"auto","input":"x"}'))
    assert b"withheld" not in one.caller.body
