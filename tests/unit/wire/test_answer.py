"""What the corridor sees of an answer."""

from __future__ import annotations

import msgspec
import pytest

from ecotone.values import Endpoint, TargetError
from ecotone.wire.answer import check_whole, error_object, glimpse, is_context_error

BROKEN = [
    pytest.param(b"<html>", id="not JSON"),
    pytest.param(b"null", id="no object"),
    pytest.param(b'{"choices": 7, "data": 7}', id="wrong type"),
    pytest.param(b'{"choices":[{"delta":{"content":"\xff"}}], "error": "\xff"}', id="bad UTF-8 inside a string"),
    pytest.param(b'{"x":' + b"[" * 200_000, id="nesting without end"),
]


def choice(**given: object) -> bytes:
    return msgspec.json.encode({"choices": [given]})


@pytest.mark.parametrize("payload", BROKEN)
def test_an_event_that_cannot_be_read_is_a_bad_answer(payload: bytes) -> None:
    with pytest.raises(TargetError) as told:
        glimpse(payload)
    assert told.value.code == "bad_answer"


@pytest.mark.parametrize(
    "delta",
    [
        {"content": "a"},
        {"content": " "},
        {"role": "assistant", "refusal": "no"},
        {"reasoning_content": "hm"},
        {"reasoning": "hm"},
        {"tool_calls": [{"index": 0, "function": {"arguments": ""}}]},
        {"function_call": {"name": "f"}},
        {"audio": {"data": "AA=="}},
    ],
)
def test_whatever_a_delta_brings_the_caller_is_content(delta: dict[str, object]) -> None:
    assert glimpse(choice(delta=delta)).has_content


@pytest.mark.parametrize("delta", [None, {}, {"role": "assistant"}, {"content": "", "tool_calls": [], "refusal": None}])
def test_a_role_alone_is_not_content(delta: dict[str, object] | None) -> None:
    assert not glimpse(choice(delta=delta)).has_content


def test_text_is_the_content_of_a_completion() -> None:
    assert glimpse(choice(text="a")).has_content
    assert not glimpse(choice(text="")).has_content


def test_one_choice_of_many_with_content_or_a_finish_is_enough() -> None:
    seen = glimpse(b'{"choices":[{"delta":{}},{"delta":{"content":"a"}},{"delta":{},"finish_reason":"stop"}]}')
    assert seen.has_content
    assert seen.is_finish


def test_a_finish_reason_may_come_with_usage() -> None:
    seen = glimpse(b'{"choices":[{"delta":{},"finish_reason":"stop"}],"usage":{"completion_tokens":3}}')
    assert seen.is_finish
    assert not seen.is_usage_only
    assert seen.usage is not None
    assert seen.usage.completion_tokens == 3


def test_usage_alone_is_recognised_and_null_is_none() -> None:
    assert glimpse(b'{"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":null}}').is_usage_only
    silent = glimpse(b'{"choices":[],"usage":null}')
    assert silent.usage is None
    assert not silent.is_usage_only


def test_usage_with_a_fraction_does_not_spoil_the_answer() -> None:
    seen = check_whole(Endpoint.CHAT, b'{"choices":[{}],"usage":{"prompt_tokens":7.0,"completion_tokens":1.5}}')
    assert seen is not None
    assert seen.prompt_tokens == 7


@pytest.mark.parametrize(
    "payload",
    [
        b'{"error":{"message":"m"}}',
        b'{"error":"words"}',
        b'{"type":"error","error":{"type":"overloaded_error"}}',
        b'{"object":"error","message":"m","code":400}',
    ],
)
def test_an_error_is_an_error_in_every_form_that_is_about(payload: bytes) -> None:
    assert glimpse(payload).error is not None
    with pytest.raises(TargetError, match="error object"):
        check_whole(Endpoint.CHAT, payload)


def test_error_null_is_no_error() -> None:
    assert glimpse(b'{"error":null,"choices":[{"delta":{"content":"a"}}]}').error is None
    assert check_whole(Endpoint.CHAT, b'{"error":null,"choices":[{}]}') is None


@pytest.mark.parametrize("body", [b"<html>", b"", b"null", b'{"id":"x"}', b'{"choices":[]}', b'{"data":[{}]}'])
def test_an_answer_without_choices_is_a_bad_answer(body: bytes) -> None:
    with pytest.raises(TargetError) as told:
        check_whole(Endpoint.CHAT, body)
    assert told.value.code == "bad_answer"


def test_embeddings_must_have_data() -> None:
    body = b'{"data":[{"embedding":[0.5]}],"usage":{"prompt_tokens":3}}'
    usage = check_whole(Endpoint.EMBEDDINGS, body)
    assert usage is not None
    assert usage.prompt_tokens == 3
    with pytest.raises(TargetError, match="without data"):
        check_whole(Endpoint.EMBEDDINGS, b'{"choices":[{}]}')


@pytest.mark.parametrize(
    "error",
    [
        {"code": "context_length_exceeded"},
        {"type": "exceed_context_size_error", "code": 400},
        {"message": "This model's maximum context length is 4096 tokens."},
        {"message": "the request exceeds the available context size, try increasing it"},
    ],
)
def test_a_prompt_that_is_too_long_is_recognised_by_code_or_words(error: dict[str, object]) -> None:
    assert is_context_error(msgspec.json.encode({"error": error}))


@pytest.mark.parametrize("body", [b"<html>", b'{"error":"context"}', b'{"error":{"message":"no"}}', b"{}"])
def test_other_rejections_say_nothing_about_the_context(body: bytes) -> None:
    assert not is_context_error(body)


def test_openais_error_object_passes_as_it_is() -> None:
    body = b'{"error": {"message": "no such parameter", "type": "x", "param": "p", "code": null}}'
    assert error_object(body) == body


@pytest.mark.parametrize("key", ["error", "message", "detail"])
def test_words_in_another_form_are_wrapped_and_shortened(key: str) -> None:
    told = error_object(msgspec.json.encode({key: "w" * 1000}))
    assert told is not None
    error = msgspec.json.decode(told)["error"]
    assert error["message"] == "w" * 300
    assert set(error) == {"message", "type", "param", "code"}


@pytest.mark.parametrize("body", [b"<html>", b"[]", b"{}", b'{"detail":[{"loc":[]}]}', b'{"error":null,"detail":""}'])
def test_a_rejection_without_words_gives_none(body: bytes) -> None:
    assert error_object(body) is None
