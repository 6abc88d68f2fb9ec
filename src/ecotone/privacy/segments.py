"""Every piece of text of a request's JSON, wherever it stands: nothing that would leave is left unread. Pure.

The walk knows no list of fields with content: it reads each string, each long number and each key that is not the
API's own, so that a field that was added to the API yesterday is read too. What it cannot read (images, sound, files,
parts of an unknown type, prompts given as token numbers) is `opaque`.

Another reader of the same bytes must read the same text. Of a key that is given twice, decoders keep the first or
the last; so where a body could hold one it is written anew, with what was read here. A string or a key adds
exactly two quotes to JSON, a quote inside a string is escaped: where no backslash is itself escaped, counting quotes
shows in a microsecond whether there is more in the body than was read.
"""

from __future__ import annotations

import json
from typing import Any, Final

import msgspec

from ecotone.values import INSIDE, Segment, Step

DEPTH_MAX: Final = 64
NUMBER_DIGITS_MIN: Final = 6
"""Shorter numbers hold nothing that a detector knows."""

_KEYS: Final = frozenset({
    "additionalProperties", "anyOf", "arguments", "audio", "best_of", "content", "data", "default", "description",
    "detail", "dimensions", "echo", "encoding_format", "enum", "file", "file_data", "file_id", "filename", "format",
    "frequency_penalty", "function", "function_call", "functions", "id", "image_url", "include_usage", "input",
    "input_audio", "items", "json_schema", "logit_bias", "logprobs", "max_completion_tokens", "max_tokens", "maximum",
    "messages", "metadata", "minimum", "modalities", "model", "n", "name", "object", "parallel_tool_calls",
    "parameters", "prediction", "presence_penalty", "prompt", "properties", "reasoning_content", "reasoning_effort",
    "refusal", "required", "response_format", "role", "safety_identifier", "schema", "seed", "service_tier", "stop",
    "store", "stream", "stream_options", "strict", "suffix", "temperature", "text", "title", "tool_call_id",
    "tool_calls", "tool_choice", "tools", "top_logprobs", "top_p", "type", "url", "user", "verbosity",
})  # fmt: skip
"""Keys of the API and of JSON Schema: they are not the caller's words. Any other key stands before its value, as in
`mrn: 1234567`, for it may tell what the value is."""

_SETTINGS: Final = frozenset({"model", "seed", "max_tokens", "max_completion_tokens"})
"""At the top level, for the target alone: no words."""

_TYPES: Final = frozenset({
    "array", "auto", "boolean", "content", "custom", "file", "function", "image_url", "input_audio", "input_file",
    "input_image", "input_text", "integer", "json_object", "json_schema", "none", "null", "number", "object",
    "output_text", "refusal", "required", "string", "text",
})  # fmt: skip
"""Values of `type` that say nothing."""

_TEXT_PARTS: Final = frozenset({"text", "input_text", "output_text", "refusal"})
_BLOBS: Final = frozenset({"data", "file_data", "url", "image", "b64_json"})
_BLOB_CHARS_MIN: Final = 256
_CONTAINERS: Final = ("{", "[")
INSIDE_MAX: Final = 2
"""So deep JSON inside of strings is taken apart; deeper, it is read as it is written."""

_read: Final = msgspec.json.Decoder().decode


class Text(msgspec.Struct, frozen=True):
    """A request's text.

    Attributes:
        runs: Rows of neighbouring segments that a model reads as one (the text parts of a message), by their indices.
        is_opaque: There is something that cannot be read as text.
        body: The body written anew where the caller's may hold more than was read; else None.
    """

    segments: tuple[Segment, ...]
    runs: tuple[tuple[int, ...], ...] = ()
    is_opaque: bool = False
    body: bytes | None = None


def segments(body: bytes) -> Text:
    """Takes a request's body apart.

    Raises:
        msgspec.DecodeError, UnicodeDecodeError, RecursionError: it cannot be read to its
            end; nobody knows what it holds.
    """
    tree = _read(body)
    walk = _Walk()
    walk.value(tree, (), "")
    is_exact = b"\\\\" not in body and body.count(b'"') - body.count(b'\\"') == 2 * walk.quoted
    rewritten = None if is_exact else msgspec.json.encode(tree)
    return Text(tuple(walk.segments), tuple(walk.runs), walk.is_opaque, rewritten)


class _Walk:
    """One pass over a decoded body.

    Attributes:
        quoted: Strings and keys met outside of nested JSON.
    """

    def __init__(self) -> None:
        self.segments: list[Segment] = []
        self.runs: list[tuple[int, ...]] = []
        self.is_opaque = False
        self.quoted = 0
        self._blobs = 0

    def value(self, value: Any, path: tuple[Step, ...], before: str) -> None:
        """Any JSON value."""
        if isinstance(value, str):
            self.quoted += 1
            self._string(value, path, before)
        elif isinstance(value, dict):
            self._object(value, path)
        elif isinstance(value, list):
            self._array(value, path, before)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            self._number(value, path, before)

    def _object(self, value: dict[str, Any], path: tuple[Step, ...]) -> None:
        if len(path) > DEPTH_MAX:
            raise RecursionError("nested too deeply")
        self.quoted += len(value)
        is_blob = _is_opaque_part(value, path)
        self.is_opaque = self.is_opaque or is_blob
        self._blobs += is_blob
        for key, item in value.items():
            if key not in _KEYS:
                self.segments.append(Segment(key, (*path, key), "", True))
            if isinstance(item, str) and self._says_nothing(key, item, path):
                self.quoted += 1
            elif path or key not in _SETTINGS:
                self.value(item, (*path, key), "" if key in _KEYS else f"{key}: ")
        self._blobs -= is_blob

    def _says_nothing(self, key: str, item: str, path: tuple[Step, ...]) -> bool:
        """Whether a string is a word of the API, or the opaque part itself."""
        if key == "type":
            return item in _TYPES
        if key == "role":
            return len(path) == 2 and path[0] == "messages"
        if key == "model":
            return not path
        return self._blobs > 0 and key in _BLOBS and (item[:5] == "data:" or _is_blob(item))

    def _array(self, value: list[Any], path: tuple[Step, ...], before: str) -> None:
        if len(path) > DEPTH_MAX:
            raise RecursionError("nested too deeply")
        is_prompt = path in (("prompt",), ("input",))
        first = len(self.segments)
        for index, item in enumerate(value):
            if is_prompt and not isinstance(item, str | dict):
                self.is_opaque = True  # token numbers
            else:
                self.value(item, (*path, index), before)
        if path and path[-1] == "content":
            run = tuple(at for at in range(first, len(self.segments)) if self.segments[at].path[-1] == "text")
            if len(run) > 1:
                self.runs.append(run)

    def _string(self, text: str, path: tuple[Step, ...], before: str) -> None:
        if ";base64," in text and "data:" in text:
            self.is_opaque = True
        if text[:1] in _CONTAINERS and "\\" in text and path.count(INSIDE) < INSIDE_MAX:
            inner, is_ambiguous = _inner(text)
            if is_ambiguous:
                self.is_opaque = True
            elif inner is not None:
                quoted = self.quoted
                self.value(inner, (*path, INSIDE), before)
                self.quoted = quoted
                return
        if text:
            self.segments.append(Segment(text, path, before))

    def _number(self, value: float, path: tuple[Step, ...], before: str) -> None:
        text = str(value)
        if len(text) >= NUMBER_DIGITS_MIN:
            self.segments.append(Segment(text, path, before, False, True))


def _is_opaque_part(value: dict[str, Any], path: tuple[Step, ...]) -> bool:
    """Whether this is a content part that is no text: its type is not a text's."""
    if len(path) < 2 or path[-2] != "content" or not isinstance(path[-1], int):
        return False
    return value.get("type") not in _TEXT_PARTS


def _is_blob(text: str) -> bool:
    return len(text) >= _BLOB_CHARS_MIN and " " not in text


def _inner(text: str) -> tuple[Any, bool]:
    """(the JSON object or array that a string holds or None, whether it can be read in two ways)."""
    try:
        tree = _read(text.encode())
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return None, False
    try:
        json.loads(text, object_pairs_hook=_refuse_key_twice)
    except (ValueError, RecursionError):
        return None, True
    return tree, False


def _refuse_key_twice(pairs: list[tuple[str, Any]]) -> None:
    if len({key for key, _ in pairs}) < len(pairs):
        raise ValueError("a key stands twice")
