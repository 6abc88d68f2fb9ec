"""Puts a target's model name into a request's JSON without writing the rest anew. Pure.

The ordinary path replaces bytes in place and costs a search. It is taken only where it is certain:

- A top-level key that decodes to `model` exists (the request was decoded from these bytes), and is written either as
  the seven bytes `"model"` or with a `\\u006…` escape, since all its letters are U+0064 to U+006F.
- Where those seven bytes stand exactly once and there is no such escape, they are that key.

Everything else (a nested `model`, an escape, an empty or escaped name) goes the careful way: the top level alone is
decoded and written anew, with every value's bytes kept.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from ecotone.values import RequestError

_NAME: Final = re.compile(rb'"model"[ \t\n\r]*:[ \t\n\r]*"([^"\\]*)"')
_KEY: Final = b'"model"'
_OPTIONS: Final = "stream_options"
_OPTIONS_KEY: Final = b'"stream_options"'
_ESCAPES: Final = (b"\\u005", b"\\u006", b"\\u007")
"""How an escape of a letter (or `_`) of the keys above begins: another spelling of a key needs one of these."""

_INCLUDE_USAGE: Final = b',"stream_options":{"include_usage":true}'
_TOP: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])


def splice(body: bytes, caller_model: str, model_json: bytes, *, add_usage: bool) -> tuple[bytes, bool]:
    """The body with another model name, and whether usage was asked for.

    Args:
        body: A JSON object with a top-level `model`.
        caller_model: That model, decoded.
        model_json: The name to put there, as JSON.
        add_usage: Ask for `stream_options.include_usage` unless the body asks.

    Raises:
        RequestError: the body is not a JSON object.
    """
    start = body.find(_KEY)
    if start < 0 or body.find(_KEY, start + 7) >= 0 or _ESCAPES[1] in body:
        return _rewrite(body, model_json, add_usage=add_usage)
    found = _NAME.match(body, start)
    if found is None or found[1] != caller_model.encode():
        return _rewrite(body, model_json, add_usage=add_usage)
    begin, end = found.span(1)
    if not add_usage:
        if body[begin - 1 : end + 1] == model_json:
            return body, False
        return b"%b%b%b" % (body[: begin - 1], model_json, body[end + 1 :]), False
    if _OPTIONS_KEY in body or _ESCAPES[0] in body or _ESCAPES[2] in body:
        return _rewrite(body, model_json, add_usage=True)
    return b"%b%b%b%b" % (body[: begin - 1], model_json, _INCLUDE_USAGE, body[end + 1 :]), True


def as_stream(body: bytes, model_json: bytes) -> bytes:
    """The body with another model name, `stream` on, and usage asked for.

    Raises:
        RequestError: the body is not a JSON object.
    """
    try:
        top = _TOP.decode(body)
        top["model"] = msgspec.Raw(model_json)
        top["stream"] = msgspec.Raw(b"true")
        _ask_usage(top)
        return msgspec.json.encode(top)
    except msgspec.DecodeError as error:
        raise RequestError("request.json", "the body must be a JSON object") from error


def _rewrite(body: bytes, model_json: bytes, *, add_usage: bool) -> tuple[bytes, bool]:
    """The careful way: only the top level is decoded; of a key given twice the last one counts, as everywhere."""
    try:
        top = _TOP.decode(body)
        top["model"] = msgspec.Raw(model_json)
        is_added = add_usage and _ask_usage(top)
        return msgspec.json.encode(top), is_added
    except msgspec.DecodeError as error:
        raise RequestError("request.json", "the body must be a JSON object") from error


def _ask_usage(top: dict[str, msgspec.Raw]) -> bool:
    """Sets `include_usage`; False where the options already ask, or are not what the API allows."""
    given = top.get(_OPTIONS)
    options = {} if given is None else msgspec.json.decode(given, type=object)
    if options is None:
        options = {}
    if not isinstance(options, dict) or options.get("include_usage") is True:
        return False
    if given is not None and options:
        kept = _TOP.decode(given)
        kept["include_usage"] = msgspec.Raw(b"true")
        top[_OPTIONS] = msgspec.Raw(msgspec.json.encode(kept))
    else:
        top[_OPTIONS] = msgspec.Raw(b'{"include_usage":true}')
    return True
