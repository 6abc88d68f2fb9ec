"""One answer in one piece, for checkers and signs; and log probabilities that nobody but Ecotone asked for. Pure.

Answers come from many servers. What is not of the API's form is taken as absent: an answer that cannot be read is an
empty one, which is what it is to its reader.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from ecotone.values import Endpoint
from ecotone.values.quality import Reply
from ecotone.wire.answer import UNREADABLE

TEXT_CHARS_MAX: Final = 65_536
CALLS_MAX: Final = 128
LOGPROBS_MAX: Final = 8_192
"""Tokens whose log probability is kept: the first ones."""

LOGPROB_MIN: Final = -100.0
"""Below it, a token is as good as impossible. Servers write -9999 or null for it."""

FINISHES: Final = frozenset({"stop", "length", "tool_calls", "content_filter"})
_SYNONYMS: Final = {"function_call": "tool_calls", "eos": "stop", "end_turn": "stop", "max_tokens": "length"}


class _Answer(msgspec.Struct, gc=False):
    choices: list[msgspec.Raw] | None = None
    model: Any = None
    usage: Any = None


class _Top(msgspec.Struct, gc=False):
    logprob: float


class _Token(msgspec.Struct, gc=False):
    logprob: float
    top_logprobs: list[_Top] | None = None


class _Content(msgspec.Struct, gc=False):
    content: list[_Token]


_read = msgspec.json.Decoder(_Answer).decode
_read_content = msgspec.json.Decoder(_Content).decode
_any_of = msgspec.json.Decoder().decode
_read_raw = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_read_choices = msgspec.json.Decoder(list[dict[str, msgspec.Raw]]).decode
_ABSENT: Final = msgspec.Raw(b"null")
_ASKED_NOTHING: Final = frozenset({b"null", b"false"})


def reply(endpoint: Endpoint, body: bytes) -> Reply:
    """The first choice of an answer in one piece (`chat.completion`, `text_completion`)."""
    try:
        answer = _read(body)
        choice = _read_raw(answer.choices[0]) if answer.choices else {}
        message = _object(_any(choice.get("message")))
        text = message.get("content") if endpoint is Endpoint.CHAT else _any(choice.get("text"))
        logprobs, margins = _logprobs(choice.get("logprobs"))
    except UNREADABLE:
        return Reply()
    return Reply(
        text=_text(text)[:TEXT_CHARS_MAX],
        calls=_calls(message),
        finish=_finish(_any(choice.get("finish_reason"))),
        is_refusal=bool(_text(message.get("refusal"))),
        logprobs=logprobs,
        margins=margins,
        model=_text(answer.model)[:512],
        tokens=_tokens(answer, len(logprobs)),
    )


def without_logprobs(body: bytes) -> bytes:
    """An answer, or the payload of one event, as if nobody had asked for log probabilities.

    A whole chat answer says `null` then, as the API has it; events leave the field out, as the local engine does.
    Everything else in it keeps its bytes; what cannot be read, or holds none, is given back as it is.
    """
    if b'"logprobs"' not in body:
        return body
    try:
        answer = _read_raw(body)
        choices = _read_choices(answer["choices"])
    except (*UNREADABLE, KeyError):
        return body
    for choice in choices:
        if choice.pop("logprobs", None) is not None and "message" in choice:
            choice["logprobs"] = _ABSENT
    answer["choices"] = msgspec.Raw(msgspec.json.encode(choices))
    return msgspec.json.encode(answer)


def with_logprobs(body: bytes, top: int) -> bytes:
    """A chat or completions request that asks for log probabilities as well.

    The very same object is given back where nothing was added, and then nothing is to be taken out of the answer:
    where the caller asked for log probabilities itself, and where tools are offered, with which the local engine has
    none to give (`shaping.request`).

    Args:
        body: As `request.decode` took it.
        top: Likeliest tokens to be told at each place; 2 are needed for margins.
    """
    try:
        asked = _read_raw(body)
    except UNREADABLE:
        return body
    if any(bytes(asked.get(name, b"null")) not in _ASKED_NOTHING for name in ("logprobs", "tools", "functions")):
        return body
    number = msgspec.Raw(b"%d" % top)
    is_chat = "messages" in asked
    added = {"logprobs": msgspec.Raw(b"true"), "top_logprobs": number} if is_chat else {"logprobs": number}
    return msgspec.json.encode(asked | added)


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str:
    """A string as it is, the texts of a list of parts, else nothing."""
    if isinstance(value, list):
        return "".join(_text(_object(part).get("text")) for part in value if isinstance(part, dict))
    return value if isinstance(value, str) else ""


def _finish(value: Any) -> str:
    word = _text(value)
    word = _SYNONYMS.get(word, word)
    return word if word in FINISHES else ""


def _calls(message: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    given = message.get("tool_calls")
    calls = [_object(_object(call).get("function")) for call in given[:CALLS_MAX]] if isinstance(given, list) else []
    if not calls:
        calls = [_object(message.get("function_call"))]
    return tuple((_text(call.get("name")), _arguments(call.get("arguments"))) for call in calls if call)


def _arguments(value: Any) -> str:
    """As JSON; some servers give the object itself."""
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return text[:TEXT_CHARS_MAX]


def _any(raw: msgspec.Raw | None) -> Any:
    return None if raw is None else _any_of(raw)


def _tokens(answer: _Answer, seen: int) -> int:
    """By the target's own count, which of several choices is a sum and then useless."""
    count = _object(answer.usage).get("completion_tokens")
    if isinstance(count, int) and count > 0 and len(answer.choices or ()) == 1:
        return count
    return seen


_Floats = tuple[float, ...]


def _logprobs(raw: msgspec.Raw | None) -> tuple[_Floats, _Floats]:
    """(log probabilities, margins) of the chat form or the legacy one."""
    if raw is None:
        return (), ()
    try:
        content = _read_content(raw).content[:LOGPROBS_MAX]
    except msgspec.ValidationError:
        return _known(_odd(_object(_any(raw))))
    return _known([(token.logprob, [top.logprob for top in token.top_logprobs or ()]) for token in content])


def _odd(given: Mapping[str, Any]) -> list[tuple[float, list[float]]]:
    """(log probability, those of the likeliest) of each token that has one, in a form that is not the usual one."""
    content = given.get("content")
    if isinstance(content, list):
        tokens = [_object(token) for token in content[:LOGPROBS_MAX]]
        pairs = [(token.get("logprob"), _tops(token.get("top_logprobs"))) for token in tokens]
    else:
        chosen, tops = given.get("token_logprobs"), given.get("top_logprobs")
        chosen = chosen[:LOGPROBS_MAX] if isinstance(chosen, list) else []
        tops = tops if isinstance(tops, list) and len(tops) >= len(chosen) else [None] * len(chosen)
        pairs = [(one, _tops(top)) for one, top in zip(chosen, tops, strict=False)]
    # The first token of an echoed prompt has none.
    return [(one, top) for one, top in pairs if isinstance(one, int | float) and not isinstance(one, bool)]


def _known(pairs: list[tuple[float, list[float]]]) -> tuple[_Floats, _Floats]:
    logprobs = tuple(_bounded(one) for one, _ in pairs)
    if all(len(top) < 2 for _, top in pairs):
        return logprobs, ()
    return logprobs, tuple(_margin(one, top) for one, (_, top) in zip(logprobs, pairs, strict=True))


def _tops(given: Any) -> list[float]:
    if isinstance(given, dict):
        found = list(given.values())
    else:
        found = [_object(token).get("logprob") for token in given] if isinstance(given, list) else []
    return [float(one) for one in found if isinstance(one, int | float)]


def _margin(chosen: float, top: list[float]) -> float:
    """How far the second best token lay behind the best, nats.

    Where only one token is told, what the others share at most stands for the second.
    """
    if len(top) >= 2:
        best, second = sorted(map(_bounded, top), reverse=True)[:2]
        return best - second
    rest = -math.expm1(chosen)
    return max(0.0, chosen - math.log(rest)) if rest > 0.0 else -LOGPROB_MIN


def _bounded(value: float) -> float:
    return min(0.0, max(LOGPROB_MIN, float(value)))
