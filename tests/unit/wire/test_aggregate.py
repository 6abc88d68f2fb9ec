"""A stream's events put together to one answer."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from ecotone.values import Endpoint, TargetError
from ecotone.wire.aggregate import Aggregate


def joined(*events: dict[str, Any], endpoint: Endpoint = Endpoint.CHAT) -> dict[str, Any]:
    aggregate = Aggregate(endpoint)
    for event in events:
        aggregate.add(msgspec.json.encode(event))
    whole: dict[str, Any] = msgspec.json.decode(aggregate.whole())
    return whole


def deltas(*given: Any) -> dict[str, Any]:
    message: dict[str, Any] = joined(*({"choices": [{"index": 0, "delta": delta}]} for delta in given))
    return message["choices"][0]["message"]


def test_text_is_joined_and_the_rest_is_kept() -> None:
    whole = joined(
        {"id": "c-1", "object": "chat.completion.chunk", "model": "m", "system_fingerprint": None, "error": None,
         "choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}]},
        {"choices": [{"index": 0, "delta": {"content": "He"}}]},
        {"choices": [{"index": 0, "delta": {"content": "llo"}}]},
        {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop", "stop_reason": 7}], "usage": None},
        {"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 2}},
    )  # fmt: skip
    assert whole == {
        "id": "c-1",
        "object": "chat.completion",
        "model": "m",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Hello"},
                "logprobs": None,
                "finish_reason": "stop",
                "stop_reason": 7,
            }
        ],
        "usage": {"prompt_tokens": 1, "completion_tokens": 2},
    }


def test_a_completion_joins_text() -> None:
    whole = joined(
        {"choices": [{"index": 0, "text": "a", "logprobs": {"tokens": ["a"], "text_offset": [0]}}]},
        {"choices": [{"text": "b", "logprobs": {"tokens": ["b"], "text_offset": [1]}, "finish_reason": "length"}]},
        endpoint=Endpoint.COMPLETIONS,
    )
    assert whole["object"] == "text_completion"
    logprobs = {"tokens": ["a", "b"], "text_offset": [0, 1]}
    assert whole["choices"] == [{"index": 0, "text": "ab", "logprobs": logprobs, "finish_reason": "length"}]


def test_choices_come_in_the_order_of_their_index() -> None:
    whole = joined(
        {"choices": [{"index": 1, "delta": {"content": "b"}}]},
        {"choices": [{"index": 0, "delta": {"content": "a"}}, {"index": 1, "delta": {"content": "c"}}]},
    )
    assert [(one["index"], one["message"]["content"]) for one in whole["choices"]] == [(0, "a"), (1, "bc")]


def test_chat_logprobs_are_joined_token_by_token() -> None:
    whole = joined(
        {"choices": [{"index": 0, "delta": {"content": "a"}, "logprobs": {"content": [{"token": "a"}]}}]},
        {"choices": [{"index": 0, "delta": {"content": "b"}, "logprobs": {"content": [{"token": "b"}]}}]},
    )
    assert whole["choices"][0]["logprobs"] == {"content": [{"token": "a"}, {"token": "b"}]}


def test_tool_calls_are_joined_by_their_own_index() -> None:
    message = deltas(
        {"content": None, "tool_calls": [{"index": 0, "id": "a", "type": "function", "function": {"name": "f"}}]},
        {"tool_calls": [{"index": 1, "id": "b", "function": {"name": "g", "arguments": ""}}]},
        {"tool_calls": [{"index": 0, "id": "", "function": {"arguments": '{"x"'}}]},
        {"tool_calls": [{"index": 0, "id": "a", "type": "function", "function": {"arguments": ":1}"}}]},
    )
    assert message["content"] is None
    assert message["tool_calls"] == [
        {"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"x":1}'}},
        {"id": "b", "type": "function", "function": {"name": "g", "arguments": ""}},
    ]


def test_tool_calls_without_an_index_begin_where_they_have_an_id() -> None:
    message = deltas(
        {"tool_calls": [{"id": "a", "function": {"name": "f", "arguments": "{"}}, {"function": {"arguments": "}"}}]},
        {"tool_calls": [{"id": "b", "function": {"name": "g", "arguments": "{}"}}]},
    )
    assert [call["function"]["arguments"] for call in message["tool_calls"]] == ["{}", "{}"]


def test_what_a_vendor_adds_to_a_tool_call_is_kept() -> None:
    extra = {"google": {"thought_signature": "s"}}
    message = deltas({"tool_calls": [{"index": 0, "id": "a", "function": {"name": "f"}, "extra_content": extra}]})
    assert message["tool_calls"][0]["extra_content"] == extra


def test_a_custom_tool_call_has_no_function() -> None:
    message = deltas(
        {"tool_calls": [{"index": 0, "id": "a", "type": "custom", "custom": {"name": "f", "input": "x"}}]},
        {"tool_calls": [{"index": 0, "custom": {"input": "y"}}]},
    )
    assert message["tool_calls"] == [{"id": "a", "type": "custom", "custom": {"name": "f", "input": "xy"}}]


def test_the_older_function_call_is_joined_too() -> None:
    message = deltas({"function_call": {"name": "f", "arguments": "{"}}, {"function_call": {"arguments": "}"}})
    assert message["function_call"] == {"name": "f", "arguments": "{}"}


def test_refusals_reasoning_and_lists_are_joined_and_other_values_replaced() -> None:
    message = deltas(
        {
            "refusal": "I ",
            "reasoning_content": "h",
            "reasoning_details": [1],
            "audio": {"id": "x", "data": "A"},
            "n": 1,
        },
        {"refusal": "can't", "reasoning_content": "m", "reasoning_details": [2], "audio": {"data": "B"}, "n": 2},
        {"refusal": None, "audio": {"id": "x", "expires_at": 5}},
    )
    assert message == {
        "role": "assistant",
        "content": None,
        "refusal": "I can't",
        "reasoning_content": "hm",
        "reasoning_details": [1, 2],
        "audio": {"id": "x", "data": "AB", "expires_at": 5},
        "n": 2,
    }


@pytest.mark.parametrize(
    "payload",
    [
        b"<html>",
        b"[]",
        b'{"choices":7}',
        b'{"choices":[7]}',
        b'{"choices":[{"index":"x"}]}',
        b'{"choices":[{"delta":7}]}',
        b'{"choices":[{"delta":{"tool_calls":[7]}}]}',
        b'{"choices":[{"delta":{"tool_calls":7}}]}',
        b'{"choices":[{"delta":{"tool_calls":[{"index":-1}]}}]}',
        b'{"choices":[{"delta":{"tool_calls":[{"index":128}]}}]}',
        b'{"choices":[{"delta":{"content":"\xff"}}]}',
        b'{"x":' + b"[" * 200_000,
    ],
)
def test_an_event_of_another_form_is_a_bad_answer(payload: bytes) -> None:
    with pytest.raises(TargetError) as told:
        Aggregate(Endpoint.CHAT).add(payload)
    assert told.value.code == "bad_answer"


def test_a_completion_whose_text_is_no_text_is_a_bad_answer() -> None:
    with pytest.raises(TargetError, match="bad_answer"):
        Aggregate(Endpoint.COMPLETIONS).add(b'{"choices":[{"text":7}]}')


def test_an_error_event_is_an_error() -> None:
    with pytest.raises(TargetError, match="error_event"):
        Aggregate(Endpoint.CHAT).add(b'{"error":{"message":"m"}}')


def test_a_stream_without_a_choice_is_empty() -> None:
    aggregate = Aggregate(Endpoint.CHAT)
    aggregate.add(b'{"choices":[],"usage":{"prompt_tokens":1}}')
    with pytest.raises(TargetError, match="empty_stream"):
        aggregate.whole()
