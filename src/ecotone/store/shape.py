"""Keeps content out of the ledger by shape: an entry is names, numbers and short strings.

The check reads the encoded bytes, not the tree, so that it costs less than a microsecond where nothing is wrong.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

__all__ = ["BODY_BYTES_MAX", "STRING_CHARS_MAX", "encoded"]

STRING_CHARS_MAX: Final = 512
"""Longest string of an entry: names, ids, digests, rules and reasons are shorter, a prompt is not."""
BODY_BYTES_MAX: Final = 256 << 10
"""A decision over some hundred targets; more is not a ledger entry."""

_ENCODER: Final = msgspec.json.Encoder(order="deterministic")
_BINARY: Final = (bytes, bytearray, memoryview)
_BINARY_TYPES: Final = (msgspec.inspect.BytesType, msgspec.inspect.ByteArrayType, msgspec.inspect.MemoryViewType)
_OPEN_TYPES: Final = (msgspec.inspect.AnyType, msgspec.inspect.CustomType)


def encoded(entry: Mapping[str, Any] | msgspec.Struct) -> bytes:
    """JSON of an entry's body, the same bytes for the same entry. Asserts that it can hold no content."""
    if not isinstance(entry, msgspec.Struct):
        entry = dict(entry)
        _assert_short(entry)
        body = _ENCODER.encode(entry)
    elif _is_closed(type(entry)):
        body = _ENCODER.encode(entry)
        if len(body) > STRING_CHARS_MAX and _may_be_long(body):
            _assert_short(msgspec.json.decode(body))
    else:
        _assert_short(msgspec.to_builtins(entry, builtin_types=_BINARY))
        body = _ENCODER.encode(entry)
    assert len(body) <= BODY_BYTES_MAX, f"a ledger entry of {len(body)} bytes: content must not be noted"
    return body


def _may_be_long(body: bytes) -> bool:
    """False where no string of the JSON can be over the limit: a quote at least every so many bytes, none escaped."""
    if b"\\" in body:
        return True
    at, last = 0, len(body) - STRING_CHARS_MAX
    while at < last:
        found = body.rfind(b'"', at + 1, at + STRING_CHARS_MAX + 2)
        if found < 0:
            return True
        at = found
    return False


def _assert_short(value: Any) -> None:
    """Asserts that nothing in a tree of builtins is binary or a long string."""
    if isinstance(value, str):
        assert len(value) <= STRING_CHARS_MAX, f"a string of {len(value)} characters: content must not be noted"
    elif isinstance(value, Mapping):
        for key, item in value.items():
            _assert_short(key)
            _assert_short(item)
    elif isinstance(value, msgspec.Struct):
        _assert_short(msgspec.to_builtins(value, builtin_types=_BINARY))
    else:
        assert not isinstance(value, _BINARY), "bytes: content must not be noted"
        if isinstance(value, Iterable):
            for item in value:
                _assert_short(item)


@functools.cache
def _is_closed(struct: type[msgspec.Struct]) -> bool:
    """Whether a struct's types alone rule out bytes. Asserts that none of its fields is declared as bytes."""
    try:
        info = msgspec.inspect.type_info(struct)
    except NameError:  # an annotation that exists for type checkers only
        return False
    found = list(_types_in(info, set()))
    binary = [item for item in found if isinstance(item, _BINARY_TYPES)]
    assert not binary, f"{struct.__name__} has a field of bytes: content must not be noted"
    return not any(isinstance(item, _OPEN_TYPES) for item in found)


def _types_in(info: Any, seen: set[type]) -> Iterable[msgspec.inspect.Type]:
    """The type and all that it is made of, each struct once."""
    yield info
    parts: list[Any] = []
    if isinstance(info, msgspec.inspect.StructType):
        if info.cls not in seen:
            seen.add(info.cls)
            parts = [field.type for field in info.fields]
    else:
        names = ("type", "item_type", "key_type", "value_type")
        parts = [getattr(info, name) for name in names if hasattr(info, name)]
        parts += getattr(info, "types", ())
        parts += getattr(info, "item_types", ())
    for part in parts:
        yield from _types_in(part, seen)
