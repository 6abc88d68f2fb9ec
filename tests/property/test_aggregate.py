"""The pieces of an answer, put together, are the answer."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from ecotone.values import Endpoint
from ecotone.wire.aggregate import Aggregate

words = st.text(st.characters(codec="utf-8"), min_size=1, max_size=8)
counts = st.integers(0, 10**9)
usages = st.fixed_dictionaries({"prompt_tokens": counts, "completion_tokens": counts})
calls = st.fixed_dictionaries(
    {"id": words, "type": st.just("function"), "function": st.fixed_dictionaries({"name": words, "arguments": words})}
)
tokens = st.none() | st.builds(
    lambda found: {"content": [{"token": one, "logprob": -1.0} for one in found]}, st.lists(words, min_size=1)
)
reasons = st.sampled_from(("stop", "length", "tool_calls", "content_filter"))


@st.composite
def messages(draw: st.DrawFn) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": draw(st.none() | words)}
    for key in ("refusal", "reasoning_content"):
        if draw(st.booleans()):
            message[key] = draw(words)
    if draw(st.booleans()):
        message["tool_calls"] = draw(st.lists(calls, min_size=1, max_size=3))
    return message


def answers(make: st.SearchStrategy[dict[str, Any]], key: str) -> st.SearchStrategy[dict[str, Any]]:
    choice = st.builds(
        lambda made, logprobs, reason: {key: made, "logprobs": logprobs, "finish_reason": reason}, make, tokens, reasons
    )
    return st.builds(
        lambda choices, model, usage: {
            "id": "x-1",
            "object": "chat.completion" if key == "message" else "text_completion",
            "model": model,
            "choices": [{"index": index, **one} for index, one in enumerate(choices)],
            **({"usage": usage} if usage else {}),
        },
        st.lists(choice, min_size=1, max_size=3),
        words,
        st.none() | usages,
    )


def torn(draw: st.DrawFn, text: str) -> list[str]:
    cut = draw(st.integers(0, len(text)))
    return [text[:cut], text[cut:]]


def _deltas(draw: st.DrawFn, message: dict[str, Any]) -> list[dict[str, Any]]:
    """The message in pieces: first the role, then each field's pieces in any order of fields."""
    made: list[dict[str, Any]] = []
    for key, value in message.items():
        if key == "tool_calls":
            for index, call in enumerate(value):
                first, second = torn(draw, call["function"]["arguments"])
                named = {"name": call["function"]["name"], "arguments": first}
                made.append({"tool_calls": [{**call, "index": index, "function": named}]})
                made.append({"tool_calls": [{"index": index, "function": {"arguments": second}}]})
        elif key != "role" and value is not None:
            made += [{key: piece} for piece in torn(draw, value)]
    return [{"role": "assistant", "content": None}, *made]


def _pieces(draw: st.DrawFn, choice: dict[str, Any]) -> list[dict[str, Any]]:
    if "text" in choice:
        made = [{"text": piece} for piece in torn(draw, choice["text"])]
    else:
        made = [{"delta": delta} for delta in _deltas(draw, choice["message"])]
    last = {"text": ""} if "text" in choice else {"delta": {}}
    made.append({**last, "finish_reason": choice["finish_reason"]})
    if choice["logprobs"]:
        found = choice["logprobs"]["content"]
        made[0]["logprobs"] = {"content": found[:1]}
        made[-1]["logprobs"] = {"content": found[1:]}
    return [{"index": choice["index"], **one} for one in made]


@st.composite
def streamed(draw: st.DrawFn, whole: st.SearchStrategy[dict[str, Any]]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """An answer, and its events: each choice's pieces in order, the choices interleaved in any way."""
    answer = draw(whole)
    queues = [_pieces(draw, choice) for choice in answer["choices"]]
    events: list[dict[str, Any]] = [{"id": answer["id"], "model": answer["model"], "choices": []}]
    while queues := [queue for queue in queues if queue]:
        events.append({"id": answer["id"], "choices": [draw(st.sampled_from(queues)).pop(0)]})
    if "usage" in answer:
        events.append({"choices": [], "usage": answer["usage"]})
    return answer, events


def check(endpoint: Endpoint, answer: dict[str, Any], events: list[dict[str, Any]]) -> None:
    aggregate = Aggregate(endpoint)
    for event in events:
        aggregate.add(msgspec.json.encode(event))
    assert msgspec.json.decode(aggregate.whole()) == answer


@given(streamed(answers(messages(), "message")))
def test_the_aggregate_of_a_chat_stream_is_the_answer(made: tuple[dict[str, Any], list[dict[str, Any]]]) -> None:
    check(Endpoint.CHAT, *made)


@given(streamed(answers(words, "text")))
def test_the_aggregate_of_a_completion_stream_is_the_text(made: tuple[dict[str, Any], list[dict[str, Any]]]) -> None:
    check(Endpoint.COMPLETIONS, *made)
