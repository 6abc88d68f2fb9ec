"""What is read of an answer, and log probabilities that only Ecotone asked for."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ecotone.values import Endpoint
from ecotone.values.quality import Reply
from ecotone.wire.reply import CALLS_MAX, LOGPROB_MIN, TEXT_CHARS_MAX, reply, with_logprobs, without_logprobs


def chat(message: Any, **choice: Any) -> Reply:
    made = {"model": "m", "choices": [{"index": 0, "message": message, **choice}], "usage": {"completion_tokens": 3}}
    return reply(Endpoint.CHAT, json.dumps(made).encode())


def text(logprobs: Any) -> Reply:
    made = {"choices": [{"text": "a b", "logprobs": logprobs, "finish_reason": "stop"}]}
    return reply(Endpoint.COMPLETIONS, json.dumps(made).encode())


def token(logprob: Any, *top: Any) -> dict[str, Any]:
    return {
        "token": "a",
        "bytes": [97],
        "logprob": logprob,
        "top_logprobs": [{"token": "b", "logprob": one} for one in top],
    }


def test_an_answer_in_words() -> None:
    found = chat({"role": "assistant", "content": "Hello"}, finish_reason="stop")
    assert found == Reply(text="Hello", finish="stop", model="m", tokens=3)


def test_an_answer_in_the_older_form() -> None:
    assert text(None) == Reply(text="a b", finish="stop")


def test_parts_of_text_are_one_text() -> None:
    assert (
        chat({"content": [{"type": "text", "text": "a"}, 7, {"type": "image"}, {"type": "text", "text": "b"}]}).text
        == "ab"
    )


def test_a_refusal_by_the_apis_own_field() -> None:
    assert chat({"content": None, "refusal": "No."}).is_refusal
    assert not chat({"content": "x", "refusal": None}).is_refusal


@pytest.mark.parametrize(
    ("said", "read"),
    [
        ("stop", "stop"),
        ("length", "length"),
        ("function_call", "tool_calls"),
        ("eos", "stop"),
        ("odd", ""),
        (None, ""),
        (7, ""),
    ],
)
def test_why_it_ended_in_the_apis_words(said: Any, read: str) -> None:
    assert chat({"content": "x"}, finish_reason=said).finish == read


def test_tool_calls_with_their_arguments_as_json() -> None:
    calls = [{"function": {"name": "f", "arguments": '{"a": 1}'}}, {"function": {"name": "g", "arguments": {"b": 2}}}]
    assert chat({"tool_calls": calls}).calls == (("f", '{"a": 1}'), ("g", '{"b":2}'))
    assert chat({"tool_calls": calls[:1] * (CALLS_MAX + 1)}).calls == (("f", '{"a": 1}'),) * CALLS_MAX
    assert chat({"function_call": {"name": "old", "arguments": "{}"}}).calls == (("old", "{}"),)
    assert chat({"tool_calls": [7, {}]}).calls == ()


def test_log_probabilities_of_the_chat_form_and_how_far_the_second_lay_behind() -> None:
    found = chat({"content": "x"}, logprobs={"content": [token(-0.1, -0.1, -2.4), token(-3.0, -3.0, -0.5)]})
    assert found.logprobs == (-0.1, -3.0)
    assert found.margins == pytest.approx((2.3, 2.5))


def test_without_likelier_tokens_there_are_no_margins() -> None:
    found = chat({"content": "x"}, logprobs={"content": [token(-0.1), {"token": "a", "logprob": -1}]})
    assert (found.logprobs, found.margins) == ((-0.1, -1.0), ())


def test_where_one_token_is_told_alone_the_rest_stands_for_the_second() -> None:
    content = [token(-0.1, -0.1, -2.4), token(-0.1, -0.1), token(0.0, 0.0), token(-5.0, -5.0)]
    margins = chat({"content": "x"}, logprobs={"content": content}).margins
    assert margins == pytest.approx((2.3, 2.2521685, -LOGPROB_MIN, 0.0))


def test_impossible_tokens_and_rounding_stay_within_bounds() -> None:
    assert chat({"content": "x"}, logprobs={"content": [token(-9999), token(1e-7)]}).logprobs == (LOGPROB_MIN, 0.0)


def test_log_probabilities_of_the_older_form() -> None:
    found = text(
        {"token_logprobs": [None, -0.5, -1], "top_logprobs": [None, {"a": -0.5, "b": -1.5}, {"c": -1, "d": -4}]}
    )
    assert (found.logprobs, found.margins) == ((-0.5, -1.0), (1.0, 3.0))
    assert text({"token_logprobs": [-0.5], "top_logprobs": []}).margins == ()
    assert text({"token_logprobs": [-0.5], "top_logprobs": None}).logprobs == (-0.5,)


@pytest.mark.parametrize("odd", [7, [], {"content": 7}, {"token_logprobs": 7}, {"content": None}])
def test_odd_log_probabilities_are_none(odd: Any) -> None:
    assert chat({"content": "x"}, logprobs=odd).logprobs == ()


def test_of_a_token_without_one_nothing_is_said() -> None:
    content = [token(None, -1, -2), 7, token(True), {"logprob": -0.5, "top_logprobs": [{"logprob": None}, 7]}]
    assert chat({"content": "x"}, logprobs={"content": content}).logprobs == (-0.5,)
    assert chat({"content": "x"}, logprobs={"content": [token(-1), token(None)]}).tokens == 3


def test_tokens_are_the_targets_own_count_unless_it_counts_several_choices() -> None:
    made: dict[str, Any] = {"choices": [{"message": {}, "logprobs": {"content": [token(-1.0)]}}] * 2}
    assert reply(Endpoint.CHAT, json.dumps(made | {"usage": {"completion_tokens": 9}}).encode()).tokens == 1
    assert reply(Endpoint.CHAT, json.dumps(made | {"usage": 7}).encode()).tokens == 1


def test_texts_are_bounded() -> None:
    assert len(chat({"content": "a" * (TEXT_CHARS_MAX + 1)}).text) == TEXT_CHARS_MAX


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'{"choices":7}',
        b'{"choices":[7]}',
        b'{"choices":[]}',
        b"{}",
        b'{"choices":[{"message":7}]}',
        b"\xff",
    ],
)
def test_what_cannot_be_read_is_an_empty_answer(body: bytes) -> None:
    assert reply(Endpoint.CHAT, body) == Reply()


def test_log_probabilities_are_taken_out_and_the_rest_keeps_its_bytes() -> None:
    choice = b'{"index":0,"delta":{"content":"a"},"logprobs":{"content":[]}}'
    body = b'{"id": "1",  "big":12345678901234567890.10,"choices": [' + choice + b"]}"
    assert (
        without_logprobs(body)
        == b'{"id":"1","big":12345678901234567890.10,"choices":[{"index":0,"delta":{"content":"a"}}]}'
    )


def test_a_whole_answer_says_null_as_if_nobody_had_asked() -> None:
    body = b'{"choices":[{"message":{"content":"a"},"logprobs":{"content":[]}},{"message":{}}]}'
    bare = b'{"choices":[{"message":{"content":"a"},"logprobs":null},{"message":{}}]}'
    assert without_logprobs(body) == bare
    assert without_logprobs(bare) == bare


@pytest.mark.parametrize(
    "body", [b"[DONE]", b'{"choices":[]}', b'{"logprobs"', b'{"logprobs":1}', b'{"logprobs":1,"choices":7}']
)
def test_where_there_are_none_it_stays_as_it_is(body: bytes) -> None:
    assert without_logprobs(body) is body


def test_log_probabilities_are_asked_for_in_the_endpoints_own_words() -> None:
    asked = json.loads(with_logprobs(b'{"messages":[],"seed":7,"logprobs":false}', 2))
    assert asked == {"messages": [], "seed": 7, "logprobs": True, "top_logprobs": 2}
    assert json.loads(with_logprobs(b'{"prompt":"x","logprobs":null}', 2)) == {"prompt": "x", "logprobs": 2}


@pytest.mark.parametrize(
    "body", [b'{"messages":[],"logprobs":true}', b'{"prompt":"x","logprobs":0}', b'{"messages":[],"tools":[{}]}', b"{"]
)
def test_nothing_is_added_where_the_caller_asked_or_tools_are_offered(body: bytes) -> None:
    assert with_logprobs(body, 2) is body
