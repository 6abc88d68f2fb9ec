"""Every word of a body is read, wherever it stands, and every reader reads the same."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from ecotone.privacy import Text, segments
from ecotone.privacy.segments import DEPTH_MAX
from ecotone.values import INSIDE


def taken(body: Any) -> Text:
    return segments(msgspec.json.encode(body))


def texts(body: Any) -> list[str]:
    return [segment.before + segment.text for segment in taken(body).segments]


def chat(*messages: Any, **more: Any) -> dict[str, Any]:
    return {"model": "assistant", "messages": list(messages), **more}


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (chat(user("Ann")), ["Ann"]),
        (chat({"role": "user", "name": "Ann", "content": "Hi"}), ["Ann", "Hi"]),
        (chat(user([{"type": "text", "text": "Ann"}])), ["Ann"]),
        (chat(user(""), user(None)), []),
        (chat(tools=[{"type": "function", "function": {"name": "f", "description": "for Ann"}}]), ["f", "for Ann"]),
        (chat(user("x"), metadata={"ward": "Ann"}), ["x", "ward", "ward: Ann"]),
        (chat(user("x"), metadata={"Ann Lee": True}), ["x", "Ann Lee"]),
        (chat(user("x"), user="ann"), ["x", "ann"]),
        (chat(user("x"), new_field=[["deep", {"in": "Ann"}]]), ["x", "new_field", "new_field: deep", "in", "in: Ann"]),
        ({"model": "m", "prompt": ["Ann", "Bob"]}, ["Ann", "Bob"]),
        ({"model": "m", "input": "Ann"}, ["Ann"]),
        (chat(user("x"), phone=4915112345678, n=12345), ["x", "phone", "phone: 4915112345678"]),
        (chat(user("x"), seed=1234567890, max_tokens=1234567), ["x"]),
        (chat(user("x"), response_format={"type": "Ann"}), ["x", "Ann"]),
        (chat(user("x"), metadata={"role": "Ann", "model": "Bob"}), ["x", "Ann", "Bob"]),
    ],
)  # fmt: skip
def test_each_word_is_read_with_what_explains_it(body: Any, said: list[str]) -> None:
    assert texts(body) == said


def test_the_words_of_the_api_itself_are_not() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    assert texts(chat(user("x"), {"role": "assistant", "content": None, "tool_calls": [call]})) == ["x", "c", "f", "{}"]


def test_arguments_of_a_tool_call_are_read_as_the_json_that_they_are() -> None:
    arguments = '{"name": "Ann \\"Lee\\"", "age": 123456}'
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": arguments}}
    found = taken(chat({"role": "assistant", "tool_calls": [call]})).segments
    assert [(one.before + one.text, one.path[6:]) for one in found[2:]] == [
        ('Ann "Lee"', (INSIDE, "name")),
        ("age", (INSIDE, "age")),
        ("age: 123456", (INSIDE, "age")),
    ]
    assert found[-1].is_number


def test_json_without_an_escape_is_read_as_it_is_written() -> None:
    assert texts(chat(user('{"mrn": "123"}'))) == ['{"mrn": "123"}']


@pytest.mark.parametrize("text", ['{"a\\"', '[1] \\"', '{"a": "\\ud800"}'])
def test_what_only_looks_like_json_is_text(text: str) -> None:
    assert texts(chat(user(text))) == [text]
    assert not taken(chat(user(text))).is_opaque


def test_json_inside_json_is_read_to_a_depth() -> None:
    text = "Ann\n"
    for _ in range(4):
        text = msgspec.json.encode({"text": text}).decode()
    found = taken(chat(user(text))).segments
    assert [one.path.count(INSIDE) for one in found] == [2]
    assert "Ann" in found[0].text


def test_nested_json_that_can_be_read_in_two_ways_is_opaque() -> None:
    assert taken(chat(user('{"a": "\\u0041nn", "a": ""}'))).is_opaque


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
        {"type": "input_audio", "input_audio": {"data": "A" * 300, "format": "wav"}},
        {"type": "file", "file": {"file_data": "data:application/pdf;base64,AAAA"}},
        {"type": "new"},
        {"kind": "none"},
    ],
)
def test_a_part_that_is_no_text_is_opaque_and_its_bytes_are_no_words(part: Any) -> None:
    text = taken(chat(user([{"type": "text", "text": "see"}, part])))
    assert text.is_opaque
    assert not any("AAAA" in one.text for one in text.segments)
    assert text.body is None


def test_words_beside_an_opaque_part_are_read() -> None:
    part = {"type": "image_url", "image_url": {"url": "https://a/Ann.png"}, "alt": "Ann"}
    assert texts(chat(user([part]))) == ["https://a/Ann.png", "alt", "alt: Ann"]


def test_an_embedded_image_in_a_text_and_token_numbers_are_opaque() -> None:
    assert taken(chat(user("![](data:image/png;base64,AAAA)"))).is_opaque
    assert taken({"model": "m", "prompt": [1, 2]}).is_opaque
    assert taken({"model": "m", "input": [[1, 2], [3]]}).is_opaque
    assert not taken({"model": "m", "prompt": ["a"], "stop": ["b"], "logit_bias": {}}).is_opaque


def test_neighbouring_text_parts_are_a_run() -> None:
    parts = [
        {"type": "text", "text": "4111"},
        {"type": "image_url", "image_url": {"url": "u"}},
        {"type": "text", "text": "1"},
    ]
    assert taken(chat(user(parts), user([{"type": "text", "text": "x"}]))).runs == ((0, 2),)


def test_a_key_given_twice_leaves_with_the_value_that_was_read() -> None:
    text = segments(b'{"model":"m","messages":[{"content":"Ann"}],"messages":[{"content":"hi"}]}')
    assert [one.text for one in text.segments] == ["hi"]
    assert text.body is not None
    assert b"Ann" not in text.body


@pytest.mark.parametrize("content", ["plain", 'with "quotes"', "back\\slash", '\\" both \\\\"', "ünï\n", "\x00"])
def test_an_ordinary_body_is_kept_or_written_anew_with_the_same_meaning(content: str) -> None:
    body = msgspec.json.encode(chat(user(content)))
    text = segments(body)
    assert (text.body is None) == ("\\" not in content)
    assert msgspec.json.decode(text.body or body) == msgspec.json.decode(body)


def test_a_trick_with_escaped_backslashes_hides_no_key() -> None:
    body = b'{"a":"x\\\\","b":"y\\\\","messages":"Ann","messages":1}'
    text = segments(body)
    assert text.body == b'{"a":"x\\\\","b":"y\\\\","messages":1}'


@pytest.mark.parametrize("body", [b"{", b'{"a":"\xff"}', b'{"a":"\\ud800"}'])
def test_what_cannot_be_read_is_an_error(body: bytes) -> None:
    with pytest.raises((msgspec.DecodeError, UnicodeDecodeError)):
        segments(body)


@pytest.mark.parametrize(("left", "right"), [("[", "]"), ('{"a":', "}")])
def test_too_deep_is_an_error(left: str, right: str) -> None:
    deep = DEPTH_MAX + 10
    with pytest.raises(RecursionError):
        segments(f'{{"x":{left * deep}1{right * deep}}}'.encode())
