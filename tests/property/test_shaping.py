"""However the engine's text is cut, the caller gets the same answer, and always OpenAI's form."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st
from openai.types.chat import ChatCompletionChunk

from ecotone.shaping import SMOLLM2_135M, shape
from ecotone.shaping.calls import StopCutter, ToolReply
from ecotone.shaping.envelope import StringReader, ValueReader
from ecotone.shaping.schemas import Fitter
from ecotone.values import EcotoneError, Endpoint, RequestError
from ecotone.values.json_schema import violation

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
BLANKS = st.text(" \n\t", max_size=3)
KEYWORDS = st.sampled_from([
    "type", "enum", "const", "properties", "required", "additionalProperties", "items", "prefixItems", "anyOf", "oneOf",
    "allOf", "not", "$ref", "pattern", "minLength", "maxLength", "minimum", "exclusiveMaximum", "minItems", "format",
])  # fmt: skip
VALUES = st.sampled_from(
    ["string", "integer", "object", "#", "#/properties/a", "^a$", "date", "a", True, False, 0, 1, 2.5]
)
SCHEMAS: st.SearchStrategy[Any] = st.recursive(
    VALUES,
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(KEYWORDS, inner, max_size=3)
        | st.dictionaries(st.sampled_from("ab"), inner, max_size=2)
    ),
    max_leaves=12,
)


@st.composite
def pieces(draw: st.DrawFn, text: str) -> list[str]:
    """The text, cut anywhere."""
    cuts = sorted(draw(st.lists(st.integers(0, len(text)), max_size=12)))
    edges = [0, *cuts, len(text)]
    return [text[start:end] for start, end in pairwise(edges)]


def engine_events(parts: list[str], reason: str) -> list[bytes]:
    deltas: list[tuple[dict[str, Any], str | None]] = [({"content": part}, None) for part in parts]
    chosen = [*deltas, ({}, reason)]
    head = {"id": "c", "created": 1, "object": "chat.completion.chunk", "model": "engine"}
    return [
        json.dumps({**head, "choices": [{"index": 0, "delta": delta, "finish_reason": end}]}).encode()
        for delta, end in chosen
    ]


def play(parts: list[str], reason: str = "stop", **options: Any) -> tuple[str, list[dict[str, Any]], str | None]:
    """Text, calls and finish reason that a caller sees; every event is checked against OpenAI's own types."""
    reply = ToolReply("m", {"f": {"type": "object"}}, "r", **options)
    made = [one for event in engine_events(parts, reason) for one in reply.feed(event)] + reply.finish()
    chunks = [ChatCompletionChunk.model_validate_json(one) for one in made]
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [bool(chunk.choices[0].finish_reason) for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    calls = [call.function for chunk in chunks for call in chunk.choices[0].delta.tool_calls or []]
    return (
        text,
        [{"name": call.name, "arguments": call.arguments} for call in calls if call],
        chunks[-1].choices[0].finish_reason,
    )


@given(st.data(), TEXT, st.booleans(), BLANKS)
def test_any_cut_of_a_reply_gives_the_same_text(data: st.DataObject, text: str, is_ascii: bool, blanks: str) -> None:
    written = f'{{{blanks}"reply"{blanks}:{blanks}{json.dumps(text, ensure_ascii=is_ascii)}{blanks}}}'
    assert play(data.draw(pieces(written))) == (text, [], "stop")


@given(st.data(), st.dictionaries(TEXT, JSON, max_size=3), st.sampled_from([None, 1]))
def test_any_cut_of_a_call_gives_the_same_arguments(
    data: st.DataObject, arguments: dict[str, Any], indent: int | None
) -> None:
    written = json.dumps({"tool": "f", "arguments": arguments}, indent=indent)
    text, calls, reason = play(data.draw(pieces(written)))
    assert (text, reason, [call["name"] for call in calls]) == ("", "tool_calls", ["f"])
    assert json.loads(calls[0]["arguments"]) == arguments


@given(st.data(), st.dictionaries(TEXT, JSON, max_size=3))
def test_a_reply_in_json_comes_through_as_it_stands(data: st.DataObject, value: dict[str, Any]) -> None:
    written = json.dumps({"reply": value})
    text, _, _ = play(data.draw(pieces(written)), is_reply_json=True)
    assert json.loads(text) == value


@given(st.data(), st.dictionaries(TEXT, JSON, max_size=3), st.booleans())
def test_what_max_tokens_cut_is_a_beginning_of_the_whole(
    data: st.DataObject, arguments: dict[str, Any], is_call: bool
) -> None:
    whole = json.dumps(arguments)
    written = f'{{"tool": "f", "arguments": {whole}}}' if is_call else json.dumps({"reply": whole})
    text, calls, reason = play([written[: data.draw(st.integers(0, len(written) - 2))]], "length")
    shown = calls[0]["arguments"] if calls else text
    assert whole.startswith(shown)
    assert reason == ("length" if shown != whole or is_call else reason)


@given(st.data(), TEXT, st.lists(st.text("ab\n", min_size=1, max_size=3), max_size=3))
def test_stop_strings_cut_wherever_the_pieces_end(data: st.DataObject, text: str, stops: list[str]) -> None:
    text = data.draw(st.text("ab\nc", max_size=20)) + text
    cutter = StopCutter(stops)
    shown = "".join(cutter.feed(piece) for piece in data.draw(pieces(text))) + cutter.rest()
    assert text.startswith(shown)
    assert not any(stop in shown for stop in stops)
    assert cutter.is_cut == any(stop in text for stop in stops)


@given(st.data(), st.lists(st.integers(0, 0xFFFF), max_size=8))
def test_every_code_unit_escape_decodes_as_utf16_does(data: st.DataObject, units: list[int]) -> None:
    written = "".join(f"\\u{unit:04x}" for unit in units) + '"'
    reader = StringReader()
    shown = "".join(reader.feed(piece) for piece in data.draw(pieces(written)))
    raw = b"".join(unit.to_bytes(2, "little") for unit in units)
    paired = raw.decode("utf-16-le", "surrogatepass")
    assert shown == "".join("\ufffd" if 0xD800 <= ord(char) <= 0xDFFF else char for char in paired)
    assert reader.is_whole


@given(st.data(), st.dictionaries(TEXT, JSON, max_size=3) | st.lists(JSON, max_size=3) | TEXT, TEXT)
def test_a_value_ends_where_it_ends(data: st.DataObject, value: Any, after: str) -> None:
    written = json.dumps(value)
    reader = ValueReader()
    assert "".join(reader.feed(piece) for piece in data.draw(pieces(written + after))) == written


@given(SCHEMAS, JSON)
@example({"prefixItems": {"type": "string"}}, [None])
def test_any_schema_is_fitted_or_refused_by_name_and_fitting_again_changes_nothing(schema: Any, value: Any) -> None:
    fitter = Fitter()
    try:
        fitted = fitter.close(fitter.fit(schema, "s"))
    except RequestError as error:
        assert (error.param or "").startswith("s")  # noqa: PT017 - either end is right, and both are checked
        return
    again = Fitter()
    assert again.close(again.fit(fitted, "s")).keys() == fitted.keys()
    assert again.loose == []
    violation(schema, value)


FIELDS = st.sampled_from([
    "messages", "tools", "tool_choice", "response_format", "stop", "n", "logprobs", "modalities", "functions", "prompt",
    "stream_options", "parallel_tool_calls", "grammar", "best_of", "echo",
])  # fmt: skip
WORDS = st.sampled_from([
    "type", "function", "name", "parameters", "properties", "role", "content", "json_schema", "schema", "strict",
    "tools", "allowed_tools", "mode", "tool_calls", "arguments", "enum", "text", "required", "anyOf", "$ref",
])  # fmt: skip
JUNK: st.SearchStrategy[Any] = st.recursive(
    WORDS | st.sampled_from(["user", "assistant", "tool", "json_object", "auto", "object", "#", None, True, 0, 1, 2.5]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=4),
    max_leaves=12,
)


@given(st.sampled_from(Endpoint), st.dictionaries(FIELDS, JUNK, max_size=5), JUNK, st.booleans())
def test_no_request_however_malformed_raises_anything_but_our_errors(
    endpoint: Endpoint, body: dict[str, Any], parameters: Any, has_tool: bool
) -> None:
    body = {"messages": [{"role": "user", "content": "x"}], **body}
    if has_tool:
        body["tools"] = [{"type": "function", "function": {"name": "f", "parameters": parameters}}]
    try:
        shaped = shape(SMOLLM2_135M, endpoint, body, "r")
    except EcotoneError as error:
        assert error.status == 400  # noqa: PT017 - either end is right, and both are checked
        return
    assert shaped.payload["model"] == SMOLLM2_135M.name
    assert shaped.payload["stream"] is True
