"""`wire.request`: what is looked at is checked, the rest passes, and nothing but RequestError comes out."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecotone.values import Endpoint, RequestError, Wish
from ecotone.wire.request import Head, decode, mint_id, read_head, text_tokens

HEAD = Head(id="req-1", received_at_s=100.0, seed=7, key="research")


def chat(**more: Any) -> dict[str, Any]:
    return {"model": "assistant", "messages": [{"role": "user", "content": "Hello"}], **more}


def read(body: Any, endpoint: Endpoint = Endpoint.CHAT) -> Any:
    return decode(endpoint, body if isinstance(body, bytes) else json.dumps(body).encode(), HEAD)


def refused(body: Any, endpoint: Endpoint = Endpoint.CHAT) -> RequestError:
    with pytest.raises(RequestError) as caught:
        read(body, endpoint)
    assert caught.value.status == 400
    return caught.value


def test_a_request_keeps_its_bytes_and_what_its_head_says() -> None:
    body = b'{"model":"assistant", "messages":[{"role":"user","content":"Hi"}], "new_field":{"a":[1]}}'
    request = decode(Endpoint.CHAT, body, HEAD)
    assert request.body is body
    assert (request.id, request.seed, request.key, request.received_at_s) == ("req-1", 7, "research", 100.0)
    assert (request.model, request.endpoint, request.is_stream) == ("assistant", Endpoint.CHAT, False)
    assert (request.features.turns, request.features.needs) == (1, ())


@pytest.mark.parametrize(
    ("more", "needs"),
    [
        ({"stream": True}, ("stream",)),
        ({"stream": False}, ()),
        ({"stream": None}, ()),
        ({"tools": [{"type": "function"}]}, ("tools",)),
        ({"tools": []}, ()),
        ({"tools": [{}], "tool_choice": "none"}, ()),
        ({"tools": [{}], "tool_choice": {"type": "function"}}, ("tools",)),
        ({"functions": [{"name": "f"}]}, ("tools",)),
        ({"response_format": {"type": "json_schema", "json_schema": {"name": "a"}}}, ("json_schema",)),
        ({"response_format": {"type": "json_object"}}, ("json_object",)),
        ({"response_format": {"type": "text"}}, ()),
        ({"logprobs": True}, ("logprobs",)),
        ({"n": 1}, ()),
        ({"n": 2}, ("n",)),
        ({"modalities": ["text", "audio"]}, ("audio",)),
        ({"stream": True, "n": 3, "logprobs": True}, ("stream", "logprobs", "n")),
    ],
)
def test_needs(more: dict[str, Any], needs: tuple[str, ...]) -> None:
    assert read(chat(**more)).features.needs == needs


def test_media_are_needs_and_count_as_tokens() -> None:
    parts = [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 10_000}},
        {"type": "input_audio", "input_audio": {"data": "A" * 10_000, "format": "wav"}},
        {"type": "file", "file": {}},
        {"type": "of the future"},
    ]
    features = read({"model": "a", "messages": [{"role": "user", "content": parts}]}).features
    assert features.needs == ("audio", "file", "vision")
    assert 3 * 700 < features.prompt_tokens < 3 * 900


@pytest.mark.parametrize(
    ("more", "limit"),
    [
        ({}, None),
        ({"max_tokens": None}, None),
        ({"max_tokens": 5}, 5),
        ({"max_completion_tokens": 6}, 6),
        ({"max_tokens": 5, "max_completion_tokens": 6}, 6),
    ],
)
def test_the_limit_on_output(more: dict[str, Any], limit: int | None) -> None:
    assert read(chat(**more)).features.output_tokens_max == limit


def test_usage_is_asked_for_only_in_streams() -> None:
    options = {"stream_options": {"include_usage": True}}
    assert read(chat(stream=True, **options)).is_usage_asked
    assert not read(chat(**options)).is_usage_asked
    assert not read(chat(stream=True, stream_options=None)).is_usage_asked
    assert not read(chat(stream=True, stream_options={})).is_usage_asked


def test_a_conversation_with_tools_is_understood() -> None:
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}" * 100}}
    messages = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "Go"}]},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "1", "content": "42"},
        {"role": "assistant"},
    ]
    features = read({"model": "a", "messages": messages}).features
    assert features.turns == 5
    assert features.prompt_tokens > 50


@pytest.mark.parametrize(
    ("body", "param", "words"),
    [
        ({"messages": []}, "model", "missing"),
        ({"model": "a"}, "messages", "missing"),
        ({"model": ""}, "messages", "missing"),
        ({"model": "", "messages": [{"role": "user", "content": "a"}]}, "model", "1 to 512 characters"),
        ({"model": "x" * 513, "messages": [{"role": "user", "content": "a"}]}, "model", "512"),
        ({"model": "a", "messages": []}, "messages", "at least one"),
        ({"model": "a", "messages": {}}, "messages", "expected `array`, got `object`"),
        ({"model": "a", "messages": ["hi"]}, "messages[0]", "expected `object`"),
        ({"model": "a", "messages": [{"content": "hi"}]}, "messages[0].role", "missing"),
        ({"model": "a", "messages": [{"role": "boss", "content": "hi"}]}, "messages[0].role", "one of assistant"),
        ({"model": "a", "messages": [{"role": "user"}]}, "messages[0].content", "is needed"),
        ({"model": "a", "messages": [{"role": "user", "content": 1}]}, "messages[0].content", "got `int`"),
        ({"model": "a", "messages": [{"role": "user", "content": [{}]}]}, "messages[0].content[0].type", "missing"),
        (chat(stream="yes"), "stream", "expected `bool | null`, got `str`"),
        (chat(n=0), "n", "1 to 128"),
        (chat(n=10**30), "n", "1 to 128"),
        (chat(n=1.5), "n", "got `float`"),
        (chat(max_tokens=0), "max_tokens", "at least 1"),
        (chat(max_tokens=10**30), "max_tokens", "at least 1"),
        (chat(max_completion_tokens=-1), "max_completion_tokens", "at least 1"),
        (chat(stream_options={"include_usage": 1}), "stream_options.include_usage", "got `int`"),
        (chat(tools={}), "tools", "got `object`"),
        (chat(response_format="json"), "response_format", "got `str`"),
    ],
)
def test_an_error_names_the_field(body: dict[str, Any], param: str, words: str) -> None:
    error = refused(body)
    assert error.param == param
    assert error.message.startswith(f"{param}: ")
    assert words in error.message
    assert error.code == "request." + param.split(".")[0].split("[")[0]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "not JSON: input data was truncated (at byte 0)"),
        (b"{", "truncated (at byte 1)"),
        (b'{"model":\n "a",}', "not JSON at byte 15 (line 2, column 6)"),
        (b'{"model":"a","messages":[]} {', "trailing characters"),
        (b"[]", "the body: expected `object`, got `array`"),
        (b"null", "got `null`"),
        (b'{"model":"\xff","messages":[]}', "not UTF-8 at byte 10"),
        (b'{"model":"a","x":"\xff\xfe"}', "not UTF-8 at byte 18"),
        (b'{"model":"a","messages":[],"x":' + b"[" * 100_000, "nested too deeply"),
        (b"\xef\xbb\xbf{}", "not JSON at byte 0"),
    ],
)
def test_what_is_not_json_is_said_with_its_place(body: bytes, words: str) -> None:
    error = refused(body)
    assert error.code == "request.json"
    assert words in error.message


def test_no_error_repeats_content() -> None:
    secret = "4111-1111-1111-1111"
    for body in (
        chat(stream=secret),
        chat(n=[secret]),
        {"model": "a", "messages": [{"role": secret, "content": "a"}]},
        {"model": "a", "messages": [{"role": "user", "content": {secret: 1}}]},
        chat(response_format=[secret]),
        {"model": "a", "messages": [{"role": "user", "content": [{"type": "text", "text": [secret]}]}]},
    ):
        assert secret not in refused(body).message


def test_completions() -> None:
    features = read({"model": "a", "prompt": "Once upon a time", "max_tokens": 0, "logprobs": 0}, Endpoint.COMPLETIONS)
    assert features.features.output_tokens_max == 0
    assert features.features.needs == ("logprobs",)
    assert read({"model": "a", "prompt": [1, 2, 3]}, Endpoint.COMPLETIONS).features.prompt_tokens == 3
    assert read({"model": "a", "prompt": [[1, 2], [3]]}, Endpoint.COMPLETIONS).features.prompt_tokens == 3
    assert read({"model": "a", "prompt": ["abcd", "efgh"]}, Endpoint.COMPLETIONS).features.prompt_tokens == 2
    assert refused({"model": "a"}, Endpoint.COMPLETIONS).param == "prompt"
    assert refused({"model": "a", "prompt": []}, Endpoint.COMPLETIONS).param == "prompt"
    assert refused({"model": "a", "prompt": "a", "max_tokens": -1}, Endpoint.COMPLETIONS).param == "max_tokens"


def test_embeddings() -> None:
    request = read({"model": "a", "input": ["a", "b"], "stream": True}, Endpoint.EMBEDDINGS)
    assert (request.is_stream, request.features.output_tokens_max) == (False, 0)
    assert request.features.prompt_tokens == 2
    assert refused({"model": "a"}, Endpoint.EMBEDDINGS).param == "input"
    assert refused({"model": "a", "input": []}, Endpoint.EMBEDDINGS).param == "input"
    assert refused({"model": "", "input": "a"}, Endpoint.EMBEDDINGS).param == "model"


@pytest.mark.parametrize(
    ("text", "least", "most"),
    [
        ("", 0, 0),
        ("abcd", 1, 1),
        ("abcde", 2, 2),
        ("The quick brown fox jumps over the lazy dog. " * 10, 90, 120),
        ("今日は天気がいいですね" * 10, 100, 130),
        ("Сегодня хорошая погода " * 10, 100, 160),
        ("🙂" * 10, 10, 20),
    ],
)
def test_estimates_of_length(text: str, least: int, most: int) -> None:
    assert least <= text_tokens(text) <= most


def test_ids_sort_by_time_and_hold_the_process_and_the_count() -> None:
    assert mint_id(0x18C2F0E1ABC, "a1b2c3", 1) == "req-18c2f0e1abc-a1b2c3000001"
    assert mint_id(1, "000000", 0x1000002) == "req-00000000001-000000000002"


def own(*headers: tuple[str, str]) -> Head:
    return read_head(HEAD, [(name.lower().encode(), value.encode("latin-1")) for name, value in headers])


def test_headers_of_a_request() -> None:
    head = own(
        ("Ecotone-Place", " Cloud "),
        ("Ecotone-Deadline-Ms", "1500"),
        ("Ecotone-Labels", "person, med.x:1 ,,"),
        ("Ecotone-Labels", "person,b"),
        ("Ecotone-Debug", "1"),
        ("Ecotone-Id", "mine"),
        ("Ecotone-Placed", "cloud"),
    )
    assert (head.wish, head.deadline_at_s, head.is_debug) == (Wish.CLOUD, 101.5, True)
    assert head.labels == ("person", "med.x:1", "b")
    assert head.id == "req-1"
    assert own(("host", "a")) is HEAD
    assert own(("ecotone-debug", "0")) == HEAD


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Ecotone-Place", "moon"),
        ("Ecotone-Place", ""),
        ("Ecotone-Deadline-Ms", "0"),
        ("Ecotone-Deadline-Ms", "-1"),
        ("Ecotone-Deadline-Ms", "1.5"),
        ("Ecotone-Deadline-Ms", "86400001"),
        ("Ecotone-Deadline-Ms", "²"),
        ("Ecotone-Deadline-Ms", "9" * 5000),
        ("Ecotone-Labels", "Upper"),
        ("Ecotone-Labels", "a b"),
        ("Ecotone-Labels", "a" * 65),
        ("Ecotone-Labels", ",".join(f"l{number}" for number in range(33))),
        ("Ecotone-Debug", "maybe"),
    ],
)
def test_a_header_that_is_not_allowed(name: str, value: str) -> None:
    with pytest.raises(RequestError) as caught:
        own((name, value))
    assert (caught.value.code, caught.value.param, caught.value.status) == ("request.header", name, 400)


# Whatever comes.

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
fields = st.sampled_from(
    ["model", "messages", "stream", "stream_options", "n", "max_tokens", "tools", "prompt", "input", "logprobs"]
)
messages = st.lists(
    st.dictionaries(st.sampled_from(["role", "content", "tool_calls", "name"]), json_values, max_size=4), max_size=3
)
bodies = st.dictionaries(fields, json_values | messages, max_size=8)


@given(st.sampled_from(Endpoint), st.binary(max_size=200))
def test_any_bytes_give_a_request_or_a_request_error(endpoint: Endpoint, body: bytes) -> None:
    with contextlib.suppress(RequestError):
        decode(endpoint, body, HEAD)


@settings(max_examples=300)
@given(st.sampled_from(Endpoint), bodies, st.booleans())
def test_any_json_gives_a_request_or_a_request_error(endpoint: Endpoint, body: dict[str, Any], is_ascii: bool) -> None:
    body.setdefault("model", "a")
    raw = json.dumps(body, ensure_ascii=is_ascii).encode("utf-8", "surrogatepass")
    with contextlib.suppress(RequestError):
        request = decode(endpoint, raw, HEAD)
        assert request.body is raw
        assert request.features.prompt_tokens >= 0
        float(request.features.output_tokens_max or 0)


@given(st.text(max_size=400))
def test_an_estimate_is_never_absurd(text: str) -> None:
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        return
    assert len(text) / 5 <= text_tokens(text) <= size + 1


@given(st.text(max_size=30), st.sampled_from(["place", "deadline-ms", "labels", "debug", "id"]))
def test_any_header_gives_a_head_or_a_request_error(value: str, name: str) -> None:
    with contextlib.suppress(RequestError):
        read_head(HEAD, [(f"ecotone-{name}".encode(), value.encode("utf-8", "replace"))])
