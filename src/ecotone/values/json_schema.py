"""Checks a value against a JSON Schema in every keyword that takes bounded time. Pure.

Two rooms ask: `shaping`, whose grammar binds the model to most of a schema and leaves open bounds of non-integers,
`multipleOf`, `uniqueItems`, `not`, ...; and `checking`, which compares answers that nothing has bound. `pattern` is
left out: Python's regular expressions take exponential time on some, and a caller could choose one. `format`, `if` and
`unevaluated*` are left out as well.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import unquote

STEPS_MAX: Final = 20_000
"""Bounds the work; a larger check passes, for the grammar has bound what matters."""

UNIQUE_MAX: Final = 500
"""Items that are compared with one another; the time is quadratic, so that a longer list passes."""


def violation(schema: Any, value: Any) -> str | None:
    """The first keyword that the value breaks, with the place in the value; None where it keeps all.

    A malformed keyword in a part of the schema that `schemas.fit` has left unread binds nothing.
    """
    try:
        return _Check(schema).at(schema, value, "$")
    except (TypeError, AttributeError, ValueError, OverflowError, RecursionError):
        return None


class _Check:
    def __init__(self, root: Any) -> None:
        self._root = root
        self._steps = 0

    def at(self, schema: Any, value: Any, where: str) -> str | None:
        self._steps += 1
        if schema is False:
            return f"{where}: nothing is allowed"
        if not isinstance(schema, dict) or self._steps > STEPS_MAX:
            return None
        for keyword, holds in _SIMPLE.items():
            if keyword in schema and not holds(value, schema[keyword]):
                return f"{where}: {keyword}"
        for inner in (self._combined, self._object, self._array):
            found = inner(schema, value, where)
            if found is not None:
                return found
        return None

    def _combined(self, schema: dict[str, Any], value: Any, where: str) -> str | None:
        if isinstance(schema.get("$ref"), str):
            return self.at(self._resolve(schema["$ref"]), value, where)
        for part in schema.get("allOf") or ():
            if (found := self.at(part, value, where)) is not None:
                return found
        if "anyOf" in schema and all(self.at(part, value, where) is not None for part in schema["anyOf"]):
            return f"{where}: anyOf"
        if "oneOf" in schema and sum(self.at(part, value, where) is None for part in schema["oneOf"]) != 1:
            return f"{where}: oneOf"
        if "not" in schema and self.at(schema["not"], value, where) is None:
            return f"{where}: not"
        return None

    def _resolve(self, ref: str) -> Any:
        found = self._root
        for step in ref[2:].split("/") if ref != "#" else ():
            key = unquote(step).replace("~1", "/").replace("~0", "~")
            try:
                found = found[int(key)] if isinstance(found, list) else found[key]
            except (LookupError, ValueError, TypeError):
                return True  # `schemas.fit` refuses such a reference before
        return found

    def _object(self, schema: dict[str, Any], value: Any, where: str) -> str | None:
        if not isinstance(value, dict):
            return None
        known = schema.get("properties") or {}
        for name, part in known.items():
            if name in value and (found := self.at(part, value[name], f"{where}.{name}")) is not None:
                return found
        if "additionalProperties" not in schema or "patternProperties" in schema:
            return None
        for name in value.keys() - known.keys():
            if (found := self.at(schema["additionalProperties"], value[name], f"{where}.{name}")) is not None:
                return found
        return None

    def _array(self, schema: dict[str, Any], value: Any, where: str) -> str | None:
        if not isinstance(value, list):
            return None
        items = schema.get("items")
        prefix = schema.get("prefixItems")
        first = items if isinstance(items, list) else prefix if isinstance(prefix, list) else []
        rest = True if isinstance(items, list) or items is None else items
        for i, one in enumerate(value):
            found = self.at(first[i] if i < len(first) else rest, one, f"{where}.{i}")
            if found is not None:
                return found
        return None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


_TYPES: Final[dict[str, Callable[[Any], bool]]] = {
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "number": _is_number,
    "integer": lambda value: _is_number(value) and (isinstance(value, int) or value.is_integer()),
}


def _has_type(value: Any, kinds: Any) -> bool:
    return any(_TYPES[kind](value) for kind in (kinds if isinstance(kinds, list) else [kinds]) if kind in _TYPES)


def _is_same(one: Any, other: Any) -> bool:
    """JSON equality: 1 is 1.0, true is not 1."""
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)


def _is_multiple(value: Any, of: Any) -> bool:
    if not _is_number(value) or not _is_number(of) or of <= 0:
        return True
    ratio = value / of
    return math.isclose(ratio, round(ratio), rel_tol=1e-9, abs_tol=1e-9)


def _is_unique(value: Any, wanted: Any) -> bool:
    if not wanted or not isinstance(value, list) or len(value) > UNIQUE_MAX:
        return True
    return all(not any(_is_same(one, other) for other in value[:i]) for i, one in enumerate(value))


def _bound(holds: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    return lambda value, bound: not (_is_number(value) and _is_number(bound)) or holds(value, bound)


_Sized = type[str] | type[list[Any]] | type[dict[str, Any]]


def _size(kind: _Sized, holds: Callable[[int, Any], bool]) -> Callable[[Any, Any], bool]:
    def check(value: Any, bound: Any) -> bool:
        return not isinstance(value, kind) or holds(len(value), bound)

    return check


_SIMPLE: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "type": _has_type,
    "const": _is_same,
    "enum": lambda value, allowed: any(_is_same(value, one) for one in allowed),
    "minimum": _bound(lambda value, bound: bool(value >= bound)),
    "maximum": _bound(lambda value, bound: bool(value <= bound)),
    "exclusiveMinimum": _bound(lambda value, bound: bool(value > bound)),
    "exclusiveMaximum": _bound(lambda value, bound: bool(value < bound)),
    "multipleOf": _is_multiple,
    "minLength": _size(str, lambda size, bound: size >= bound),
    "maxLength": _size(str, lambda size, bound: size <= bound),
    "minItems": _size(list, lambda size, bound: size >= bound),
    "maxItems": _size(list, lambda size, bound: size <= bound),
    "uniqueItems": _is_unique,
    "minProperties": _size(dict, lambda size, bound: size >= bound),
    "maxProperties": _size(dict, lambda size, bound: size <= bound),
    "required": lambda value, names: not isinstance(value, dict) or all(name in value for name in names),
}
