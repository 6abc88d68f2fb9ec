"""What is read of a request for signals and checkers."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ecotone.values import Endpoint
from ecotone.values.quality import Question
from ecotone.wire.question import SCHEMA_BYTES_MAX, TAIL_CHARS, TEXT_CHARS_MAX, question
from ecotone.wire.request import Head, decode


def ask(endpoint: Endpoint = Endpoint.CHAT, **body: Any) -> Question:
    raw = json.dumps({"model": "assistant", **body}).encode()
    decode(endpoint, raw, Head(id="r", received_at_s=0.0))  # only what the site takes is ever read here
    return question(endpoint, raw, model="assistant", key="app")


def say(*messages: tuple[str, Any], **body: Any) -> Question:
    return ask(messages=[{"role": role, "content": content} for role, content in messages], **body)


def test_a_conversation_is_read_by_its_roles() -> None:
    read = say(
        ("system", "Be brief."), ("user", "Hi"), ("assistant", "Hello"), ("developer", "In German."), ("user", "2+2?")
    )
    assert read == Question(
        endpoint=Endpoint.CHAT,
        model="assistant",
        key="app",
        system="Be brief.\nIn German.",
        asked="2+2?",
        turns=5,
        chars=30,
    )


def test_the_last_user_message_is_asked_although_a_tool_answered_since() -> None:
    assert say(("user", "Weather?"), ("assistant", None), ("tool", "Sunny")).asked == "Weather?"
    assert say(("assistant", "Hello")).asked == ""


def test_parts_are_joined_and_what_is_no_text_is_left_out() -> None:
    parts = [
        {"type": "text", "text": "See"},
        {"type": "image_url", "image_url": {"url": "x"}},
        {"type": "text", "text": "this"},
    ]
    read = say(("user", parts), ("user", []))
    assert (read.asked, read.chars) == ("", 8)
    assert say(("user", parts)).asked == "See\nthis"


@pytest.mark.parametrize(
    ("prompt", "asked"), [("Once", "Once"), (["One", "two"], "One\ntwo"), ([1, 2], ""), ([[1], "a"], "a")]
)
def test_a_completion_asks_its_prompt(prompt: Any, asked: str) -> None:
    read = ask(Endpoint.COMPLETIONS, prompt=prompt)
    assert (read.endpoint, read.asked, read.chars, read.turns) == (Endpoint.COMPLETIONS, asked, len(asked), 1)


def test_an_embedding_asks_its_input() -> None:
    read = ask(Endpoint.EMBEDDINGS, input=["a", "b"])
    assert (read.asked, read.form, read.schema) == ("a\nb", "", b"")


def test_tools_are_named_in_order_of_the_alphabet() -> None:
    tools = [{"type": "function", "function": {"name": name}} for name in ("write", "read")]
    assert say(("user", "x"), tools=tools).tools == ("read", "write")
    assert say(("user", "x"), functions=[{"name": "old"}]).tools == ("old",)
    assert say(
        ("user", "x"), tools=[{"type": "web", "name": "search"}, {"type": "x"}, 7, {"function": {"name": 7}}]
    ).tools == ("search",)


def test_tools_that_may_not_be_called_are_not_offered() -> None:
    tools = [{"type": "function", "function": {"name": "read"}}]
    assert say(("user", "x"), tools=tools, tool_choice="none").tools == ()
    assert say(("user", "x"), tools=tools, tool_choice="auto").tools == ("read",)


@pytest.mark.parametrize(
    ("given", "form", "schema"),
    [
        (None, "", b""),
        ({"type": "text"}, "", b""),
        ({"type": "json_object"}, "json_object", b""),
        (
            {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}},
            "json_schema",
            b'{"type": "object"}',
        ),
        ({"type": "json_schema", "json_schema": {"name": "n"}}, "json_schema", b""),
        ({"type": "json_schema", "json_schema": 7}, "json_schema", b""),
        ({"type": "json_schema", "json_schema": {"schema": {"title": "x" * SCHEMA_BYTES_MAX}}}, "json_schema", b""),
    ],
)
def test_the_form_that_an_answer_must_have(given: Any, form: str, schema: bytes) -> None:
    for read in (
        say(("user", "x"), response_format=given),
        ask(Endpoint.COMPLETIONS, prompt="x", response_format=given),
    ):
        assert (read.form, read.schema) == (form, schema)


def test_of_a_long_text_beginning_and_end_are_kept_and_all_of_it_counts() -> None:
    text = "a" * TEXT_CHARS_MAX + "b" * TAIL_CHARS
    for read in (say(("user", text)), ask(Endpoint.COMPLETIONS, prompt=text)):
        assert (len(read.asked), read.chars) == (TEXT_CHARS_MAX, len(text))
        assert read.asked == "a" * (TEXT_CHARS_MAX - TAIL_CHARS) + "b" * TAIL_CHARS
    assert len(say(("system", text), ("user", "x")).system) == TEXT_CHARS_MAX


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"messages":7}', b"\xff", b'{"x":' + b"[" * 100_000])
@pytest.mark.parametrize("endpoint", list(Endpoint))
def test_a_body_that_cannot_be_read_asks_nothing(endpoint: Endpoint, body: bytes) -> None:
    assert question(endpoint, body, model="m", key="k") == Question(endpoint=endpoint, model="m", key="k", turns=0)
