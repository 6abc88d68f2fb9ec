"""Reads the JSON object in which a schema-bound model answers, piece by piece. Pure.

The engine is bound to one of two forms, keys in this order, any white space:

    {"tool": NAME, "arguments": JSON}        a call
    {"reply": STRING or JSON}                an answer in words (or in the caller's own schema)

`Envelope.feed` gives the reply's text as it comes; a call is given whole by `call()`.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

_HEAD: Final = re.compile(r'\s*\{\s*"(tool|reply)"\s*:\s*(?=\S)')
_NAME: Final = re.compile(r'\s*\{\s*"tool"\s*:\s*("(?:[^"\\]|\\.)*")', re.DOTALL)
_ARGUMENTS: Final = re.compile(r'\s*,\s*"arguments"\s*:\s*')
_HEAD_CHARS_MAX: Final = 256
"""The engine's grammar allows some twenty blanks between two tokens."""
_STRING_PART: Final = re.compile(r'[^"\\]+|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})|"')
_ESCAPE_BEGUN: Final = re.compile(r"\\(?:u[0-9a-fA-F]{0,3})?")
_ESCAPES: Final = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_JSON_MARK: Final = re.compile(r'["\\{}\[\]]')


class EnvelopeError(ValueError):
    """The text is not of the promised form; the engine did not keep the schema."""


class Call(msgspec.Struct):
    """A tool call as the model wrote it; `arguments` is the exact slice."""

    tool: str
    arguments: msgspec.Raw


class StringReader:
    """Decodes a JSON string from pieces cut anywhere, escapes and surrogate pairs included.

    Source: RFC 8259, 7. A surrogate without its other half becomes U+FFFD: it is no character and has no UTF-8.
    """

    def __init__(self) -> None:
        self.is_whole = False
        self._pending = ""
        self._high = 0

    def feed(self, piece: str) -> str:
        """The characters that are now certain; what follows the closing quote is dropped.

        Raises:
            EnvelopeError: an escape that JSON does not have.
        """
        if self.is_whole:
            return ""
        text, at, out = self._pending + piece, 0, list[str]()
        while at < len(text) and not self.is_whole:
            found = _STRING_PART.match(text, at)
            if found is None:
                if not _ESCAPE_BEGUN.fullmatch(text, at):
                    raise EnvelopeError("an escape that JSON does not have")
                break
            at = found.end()
            self._part(found[0], out)
        self._pending = text[at:]
        return "".join(out)

    def _part(self, part: str, out: list[str]) -> None:
        if part.startswith("\\u"):
            self._unit(int(part[2:], 16), out)
            return
        self._drop_half(out)
        if part == '"':
            self.is_whole = True
        elif part.startswith("\\"):
            out.append(_ESCAPES.get(part[1], part[1]))
        else:
            out.append(part)

    def _unit(self, unit: int, out: list[str]) -> None:
        """One UTF-16 code unit."""
        if self._high and 0xDC00 <= unit <= 0xDFFF:
            out.append(chr(0x10000 + ((self._high - 0xD800) << 10) + unit - 0xDC00))
            self._high = 0
            return
        self._drop_half(out)
        if 0xD800 <= unit <= 0xDBFF:
            self._high = unit
        else:
            out.append("\ufffd" if 0xDC00 <= unit <= 0xDFFF else chr(unit))

    def _drop_half(self, out: list[str]) -> None:
        if self._high:
            self._high = 0
            out.append("\ufffd")


class ValueReader:
    """Passes one JSON value through as it stands and knows where it ends."""

    def __init__(self) -> None:
        self.is_whole = False
        self._depth = 0
        self._is_in_string = False
        self._is_escaped = False

    def feed(self, piece: str) -> str:
        """What of the piece belongs to the value."""
        if self.is_whole:
            return ""
        at = 0
        if self._is_escaped and piece:
            self._is_escaped = False
            at = 1
        while (found := _JSON_MARK.search(piece, at)) is not None:
            at = found.end()
            if found[0] == "\\":
                self._is_escaped = at == len(piece)
                at += 1
            elif self._mark(found[0]):
                self.is_whole = True
                return piece[:at] if self._depth == 0 else piece[: at - 1]
        return piece

    def _mark(self, mark: str) -> bool:
        """Whether the value ends here: with this mark, or before it where that closes what is around it."""
        if mark == '"':
            self._is_in_string = not self._is_in_string
            return self._depth == 0 and not self._is_in_string
        if not self._is_in_string:
            self._depth += 1 if mark in "{[" else -1
            return self._depth <= 0
        return False


class Envelope:
    """One answer.

    Attributes:
        is_call: True once it is known to be a call.
        is_reply: True once it is known to be a reply.
    """

    def __init__(self, *, is_reply_json: bool) -> None:
        """`is_reply_json`: the reply is a JSON object of the caller's schema, to be passed on as it stands."""
        self.is_call = False
        self.is_reply = False
        self._is_reply_json = is_reply_json
        self._text = ""
        self._reply: StringReader | ValueReader | None = None

    @property
    def is_whole(self) -> bool:
        """Whether the reply has ended."""
        return self._reply is not None and self._reply.is_whole

    def feed(self, piece: str) -> str:
        """The next characters of the reply; nothing for a call.

        Raises:
            EnvelopeError: the text is not of the promised form.
        """
        if self._reply is not None:
            return self._reply.feed(piece)
        self._text += piece
        if self.is_call:
            return ""
        found = _HEAD.match(self._text)
        if found is None:
            if len(self._text) > _HEAD_CHARS_MAX:
                raise EnvelopeError("neither a call nor a reply")
            return ""
        if found[1] == "tool":
            self.is_call = True
            return ""
        self.is_reply = True
        return self._open_reply(self._text[found.end() :])

    def _open_reply(self, text: str) -> str:
        if self._is_reply_json:
            self._reply = ValueReader()
            return self._reply.feed(text)
        if text[0] != '"':
            raise EnvelopeError("the reply is not a string")
        self._reply = StringReader()
        return self._reply.feed(text[1:])

    def call(self) -> Call:
        """The whole call.

        Raises:
            EnvelopeError: it is not whole.
        """
        try:
            return msgspec.json.decode(self._text, type=Call)
        except msgspec.DecodeError as error:
            raise EnvelopeError("not a whole call") from error

    def call_so_far(self) -> tuple[str, str] | None:
        """Name and arguments of a call cut short, exactly as far as they came; None before the name was whole."""
        name = _NAME.match(self._text)
        if name is None:
            return None
        arguments = _ARGUMENTS.match(self._text, name.end())
        shown = "" if arguments is None else ValueReader().feed(self._text[arguments.end() :])
        return msgspec.json.decode(name[1], type=str), shown
