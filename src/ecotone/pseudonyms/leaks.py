"""The last look before bytes leave: does a value that was replaced still stand in them, in whatever writing? Pure."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final
from urllib.parse import quote, quote_plus

import ahocorasick_rs
import msgspec

from ecotone.pseudonyms.folding import squeeze
from ecotone.pseudonyms.spans import Taint
from ecotone.pseudonyms.vault import Row

_BASE64_CHARS_MIN: Final = 8
"""Fewer characters of Base64 stand in random text by chance."""

_WORD_CHARS_MAX: Final = 64
"""The API's own words, and names of models, are not longer."""

_ESCAPES: Final = b"nrtbfu"
"""Letters that are the rest of an escape, once its backslash is gone."""


class Leaks:
    """Looks for originals in the exact bytes that would leave.

    Plain, in another case, with JSON's escapes, percent- and Base64-encoded; one pass each over the bytes and over
    their lower case. Only where that pass hits is the JSON read: an ordinary word or a name that is also the API's own
    word (`user`, a model's name) is no leak.
    """

    def __init__(self, rows: Sequence[Row], body: bytes, texts: Iterable[str], note: str) -> None:
        """Takes the rows, the masked body, the texts in it and our line: other short strings are the API's own."""
        self._taint = Taint(rows)
        written: dict[bytes, bool] = {}
        encoded: dict[bytes, None] = {}
        for row in rows:
            if len(row.original) >= 2:
                for form, is_coded in _writings(row.original):
                    written[form] = written.get(form, True) and is_coded
                encoded.update(dict.fromkeys(_base64(row.original.encode("utf-8", "surrogatepass"))))
        self._is_coded = list(written.values())
        self._lower = ahocorasick_rs.BytesAhoCorasick(list(written)) if written else None
        self._exact = ahocorasick_rs.BytesAhoCorasick(list(encoded)) if encoded else None
        self._body = body
        self._texts = frozenset(texts)
        self._note = note

    def __call__(self, body: bytes) -> bool:
        """Whether any original stands in the body."""
        if self._exact is not None and self._exact.find_matches_as_indexes(body):
            return True
        if self._lower is None:
            return False
        lower = body.lower() if body.isascii() else body.decode("utf-8", "replace").lower().encode()
        lower = lower.replace(b"\\", b"")
        hits = self._lower.find_matches_as_indexes(lower, overlapping=True)
        if any(self._is_coded[index] for index, _, _ in hits):
            return True
        return any(_is_apart(lower, start, end) for _, start, end in hits) and self._stands(body)

    def _stands(self, body: bytes) -> bool:
        """Whether an original stands in a text of the body, not in a word of the API."""
        try:
            root = msgspec.json.decode(body)
            own = {text for text in _strings(msgspec.json.decode(self._body)) if len(text) <= _WORD_CHARS_MAX}
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            return True
        if isinstance(root, dict):
            root.pop("model", None)
        own = {text for text in own - self._texts if text[:1] not in ("{", "[")}
        texts = (text.replace(self._note, "") for text in _strings(root) if text not in own)
        return any(self._taint.find(text, squeeze(text, is_json=True)) for text in texts)


def _writings(original: str) -> Iterator[tuple[bytes, bool]]:
    """A value as bytes of a JSON body may show it, in lower case, and whether nothing else is ever written so.

    Without backslashes: so all depths of JSON in strings of JSON look the same.
    """
    lower = original.lower()
    plain = lower.encode("utf-8", "surrogatepass")
    is_odd = json.dumps(lower, ensure_ascii=False)[1:-1] != lower
    yield plain.replace(b"\\", b""), is_odd
    yield json.dumps(lower, ensure_ascii=False)[1:-1].encode("utf-8", "surrogatepass").replace(b"\\", b""), is_odd
    yield json.dumps(original)[1:-1].lower().encode().replace(b"\\", b""), is_odd
    for coded in (
        quote(original.encode("utf-8", "surrogatepass")),
        quote_plus(original.encode("utf-8", "surrogatepass")),
    ):
        if coded.lower().encode() != plain:
            yield coded.lower().encode(), True


def _base64(value: bytes) -> Iterator[bytes]:
    """What of the value's Base64 is the same whatever stands before and after it, at each of three alignments."""
    for shift in range(3):
        coded = base64.b64encode(bytes(shift) + value + bytes(3))
        part = coded[(8 * shift + 5) // 6 : 8 * (shift + len(value)) // 6]
        if len(part) >= _BASE64_CHARS_MIN:
            yield part
            yield part.translate(bytes.maketrans(b"+/", b"-_"))


def _is_apart(body: bytes, start: int, end: int) -> bool:
    """Whether a hit may be more than a piece of a longer ASCII word. What an escape leaves before it is no word."""
    if body[end : end + 1] == b"s":
        end += 1
    after = body[end : end + 1]
    if body[end - 1 : end].isalnum() and after.isalnum() and after not in _ESCAPES:
        return False
    before = body[start - 1 : start]
    if not (before.isalnum() and body[start : start + 1].isalnum()):
        return True
    return (
        before in _ESCAPES or body[max(0, start - 5) : start - 4] == b"u" or body[max(0, start - 3) : start - 2] == b"%"
    )


def _strings(node: Any) -> Iterator[str]:
    """All strings and keys of decoded JSON."""
    if isinstance(node, str):
        yield node
    elif isinstance(node, dict):
        for key, value in node.items():
            yield key
            yield from _strings(value)
    elif isinstance(node, list):
        for item in node:
            yield from _strings(item)
