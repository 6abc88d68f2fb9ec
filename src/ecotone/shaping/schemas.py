"""Fits a JSON Schema to what the engine's grammar takes and enforces. Pure.

What xllamacpp 2026.10 does with a schema, found by experiment:

- rejected (400): boolean sub-schemas, `$ref` to `#`, to another document, to itself, or with `~1` or `%20` in it, an
  unknown `type`, unbalanced patterns, a `minLength` or `minItems` of some thousands. An integer range that
  holds no integer breaks the stream in the middle instead;
- **silently not enforced**: `not`, `if`, `patternProperties`, `propertyNames`, `uniqueItems`, `contains`,
  `multipleOf`, `dependent*`, `unevaluated*`, `minProperties`, bounds of non-integers, `allOf` of anything but
  objects, keywords beside `anyOf`, and patterns that are not anchored or use `\\d`, look-around or a bare `|`;
- enforced: types, `enum`, `const`, `properties` (in the schema's order), `required`, `additionalProperties`,
  `items`, `prefixItems`, `anyOf`, `oneOf` (as `anyOf`), lengths, integer bounds, anchored patterns, the formats
  `date`, `time`, `date-time` and `uuid`, and `$ref` to `#/$defs/NAME`, recursion included.

`fit` rewrites what can be said otherwise, refuses what no engine could take, and lists what is left unenforced.
"""

from __future__ import annotations

import math
import re
from typing import Any, Final
from urllib.parse import unquote

from ecotone.values import RequestError

Schema = dict[str, Any]

DEPTH_MAX: Final = 64
"""OpenAI allows 5 to 10 levels; below this the engine was seen to work."""
NODES_MAX: Final = 5000
"""As many properties as OpenAI allows in one schema."""
REPEATS_MAX: Final = 1000
"""The engine's grammar refuses a minimum of 4000 repeats; its own threshold is not documented."""

_TYPES: Final = frozenset({"string", "number", "integer", "boolean", "object", "array", "null"})
_UNENFORCED: Final = frozenset({
    "not", "if", "then", "else", "patternProperties", "propertyNames", "uniqueItems", "contains", "minContains",
    "maxContains", "multipleOf", "dependentRequired", "dependentSchemas", "dependencies", "unevaluatedProperties",
    "unevaluatedItems", "minProperties", "maxProperties",
})  # fmt: skip
_FORMATS: Final = frozenset({"date", "time", "date-time", "uuid"})
_KEPT: Final = ("minLength", "maxLength", "minItems", "maxItems", "description", "title")
_ANNOTATIONS: Final = frozenset({
    "description", "title", "default", "examples", "deprecated", "readOnly", "writeOnly", "$comment", "$schema",
    "$id", "$defs", "definitions", "$anchor", "nullable",
})  # fmt: skip
_CLASSES: Final = {"\\d": "[0-9]", "\\w": "[a-zA-Z0-9_]", "\\s": "[ \\t\\n\\r]"}
_ESCAPED: Final = re.compile(r"\\(.)", re.DOTALL)


class Fitter:
    """Collects the definitions of one engine schema, into which several schemas of the caller may go.

    Attributes:
        definitions: For the engine schema's `$defs`.
        loose: Paths of the constraints that the engine will not enforce.
    """

    def __init__(self) -> None:
        self.definitions: dict[str, Schema] = {}
        self.loose: list[str] = []
        self._names: dict[tuple[int, str], str] = {}
        self._noted: set[str] = set()
        self._nodes = 0

    def fit(self, schema: Any, where: str) -> Schema:
        """The schema as the engine takes it; `$ref`s point into `definitions`.

        Args:
            schema: The caller's schema.
            where: Its path in the request, for errors.

        Raises:
            RequestError: it is not a JSON Schema, or one that says nothing can match.
        """
        return _Walk(self, schema, where).node(schema, where, 0)

    def close(self, schema: Schema) -> Schema:
        """A fitted schema, together with the definitions it refers to."""
        return {**schema, "$defs": self.definitions} if self.definitions else schema

    def lose(self, path: str) -> None:
        """Notes a constraint that the engine will not enforce, once."""
        if path not in self._noted:
            self._noted.add(path)
            self.loose.append(path)

    def count(self, where: str) -> None:
        """One more node; bounds the work that a caller can cause."""
        self._nodes += 1
        if self._nodes > NODES_MAX:
            raise bad(where, f"more than {NODES_MAX} sub-schemas")

    def name(self, root: Any, ref: str) -> tuple[str, bool]:
        """The definition's name for a reference, and whether it is new."""
        key = (id(root), ref)
        is_new = key not in self._names
        if is_new:
            self._names[key] = f"d{len(self._names)}"
        return self._names[key], is_new


def bad(where: str, why: str) -> RequestError:
    """The caller's schema is at fault."""
    return RequestError("request.schema", f"{where}: {why}", param=where)


class _Walk:
    """One schema of the caller; references resolve against it."""

    def __init__(self, fitter: Fitter, root: Any, where: str) -> None:
        self._fitter = fitter
        self._root = root
        self._where = where
        self._followed: frozenset[str] = frozenset()
        """References followed since the last property or item: meeting one again is a loop that says nothing."""

    def node(self, schema: Any, where: str, depth: int) -> Schema:
        """Fits one sub-schema."""
        self._fitter.count(where)
        if depth > DEPTH_MAX:
            raise bad(where, f"nested deeper than {DEPTH_MAX} levels")
        if schema is True:
            return {}
        if schema is False:
            self._lose(where, "false")
            return {}
        if not isinstance(schema, dict):
            raise bad(where, "a schema is an object or a boolean")
        for keyword in sorted(schema.keys() & _UNENFORCED):
            self._lose(where, keyword)
        for keyword in ("$ref", "allOf", "anyOf", "oneOf"):
            if keyword in schema:
                return self._combined(keyword, schema, where, depth)
        return self._plain(schema, where, depth)

    def _lose(self, where: str, keyword: str) -> None:
        self._fitter.lose(f"{where}.{keyword}")

    def _combined(self, keyword: str, schema: Schema, where: str, depth: int) -> Schema:
        if keyword == "$ref":
            return self._reference(schema, where, depth)
        parts = schema[keyword]
        if not isinstance(parts, list) or not parts:
            raise bad(f"{where}.{keyword}", "a list of schemas is needed")
        if keyword == "allOf":
            return self._merged(schema, parts, where, depth)
        if "properties" in schema:
            # `anyOf` beside `properties` mostly says which of them are required together.
            self._lose(where, keyword)
            return self._plain(schema, where, depth)
        self._lose_siblings(schema, keyword, where)
        return {"anyOf": [self.node(part, f"{where}.{keyword}.{i}", depth + 1) for i, part in enumerate(parts)]}

    def _lose_siblings(self, schema: Schema, keyword: str, where: str) -> None:
        for other in sorted(schema.keys() - _ANNOTATIONS - _UNENFORCED - {keyword, "type"}):
            self._lose(where, other)

    def _reference(self, schema: Schema, where: str, depth: int) -> Schema:
        ref = schema["$ref"]
        self._lose_siblings(schema, "$ref", where)
        target = self._resolve(ref, where)
        if ref in self._followed:
            raise bad(f"{where}.$ref", "it refers to itself and nothing else")
        name, is_new = self._fitter.name(self._root, ref)
        if is_new:
            before, self._followed = self._followed, self._followed | {ref}
            self._fitter.definitions[name] = {}
            self._fitter.definitions[name] = self.node(target, where, depth + 1)
            self._followed = before
        return {"$ref": f"#/$defs/{name}"}

    def _resolve(self, ref: Any, where: str) -> Any:
        """What a pointer into the caller's own schema points to. Source: RFC 6901, 3 and 6."""
        if not isinstance(ref, str) or not (ref == "#" or ref.startswith("#/")):
            raise bad(f"{where}.$ref", "only references into the same schema (#/...) are taken")
        found = self._root
        for step in ref[2:].split("/") if ref != "#" else ():
            key = unquote(step).replace("~1", "/").replace("~0", "~")
            if isinstance(found, list) and key.isdecimal() and int(key) < len(found):
                found = found[int(key)]
            elif isinstance(found, dict) and key in found:
                found = found[key]
            else:
                raise bad(f"{where}.$ref", "it points to nothing")
        return found

    def _merged(self, schema: Schema, parts: list[Any], where: str, depth: int) -> Schema:
        """`allOf` as one schema: the engine takes it for objects only, and not at all beside other keywords."""
        merged: Schema = {key: value for key, value in schema.items() if key != "allOf"}
        for i, part in enumerate(parts):
            seen = depth
            while isinstance(part, dict) and "$ref" in part and seen <= DEPTH_MAX:
                part = self._resolve(part["$ref"], f"{where}.allOf.{i}")
                seen += 1
            if isinstance(part, dict):
                self._merge(merged, part, f"{where}.allOf.{i}")
        return self.node(merged, where, depth + 1)

    def _merge(self, into: Schema, part: Schema, where: str) -> None:
        for key, value in part.items():
            if key not in into:
                into[key] = value
            elif key == "properties" and isinstance(value, dict) and isinstance(into[key], dict):
                into[key] = {**into[key], **value}
            elif key in ("required", "allOf") and isinstance(value, list) and isinstance(into[key], list):
                into[key] = into[key] + [item for item in value if item not in into[key]]
            elif into[key] != value and key not in _ANNOTATIONS:
                self._lose(where, key)

    def _plain(self, schema: Schema, where: str, depth: int) -> Schema:
        fitted: Schema = {key: schema[key] for key in _KEPT if key in schema}
        self._kind(schema, fitted, where)
        self._repeats(fitted, where)
        if isinstance(schema.get("format"), str) and schema["format"] in _FORMATS:
            fitted["format"] = schema["format"]
        if "pattern" in schema:
            self._pattern(schema["pattern"], fitted, where)
        self._bounds(schema, fitted, where)
        before, self._followed = self._followed, frozenset()
        if "properties" in schema or "required" in schema or "additionalProperties" in schema:
            self._object(schema, fitted, where, depth)
        self._array(schema, fitted, where, depth)
        self._followed = before
        return fitted

    def _kind(self, schema: Schema, fitted: Schema, where: str) -> None:
        kind = schema.get("type")
        if kind is not None:
            kinds = kind if isinstance(kind, list) else [kind]
            if not kinds or not all(isinstance(one, str) and one in _TYPES for one in kinds):
                raise bad(f"{where}.type", f"one or more of {', '.join(sorted(_TYPES))} is needed")
            fitted["type"] = kind
        if "const" in schema:
            fitted["const"] = schema["const"]
        if "enum" in schema:
            if not isinstance(schema["enum"], list) or not schema["enum"]:
                raise bad(f"{where}.enum", "a list of at least one value is needed")
            fitted["enum"] = schema["enum"]

    def _repeats(self, fitted: Schema, where: str) -> None:
        for key in ("minLength", "maxLength", "minItems", "maxItems"):
            value = fitted.get(key, 0)
            if not isinstance(value, int) or isinstance(value, bool) or value < 0:
                raise bad(f"{where}.{key}", "a whole number is needed")
            if value > REPEATS_MAX:
                self._lose(where, key)
                del fitted[key]
        for least, most in (("minLength", "maxLength"), ("minItems", "maxItems")):
            if fitted.get(least, 0) > fitted.get(most, math.inf):
                raise bad(f"{where}.{most}", f"below {least}: nothing can match")

    def _pattern(self, pattern: Any, fitted: Schema, where: str) -> None:
        try:
            re.compile(pattern)
        except (re.error, TypeError, RecursionError, OverflowError) as error:
            raise bad(f"{where}.pattern", "not a regular expression") from error
        plain = _ESCAPED.sub(lambda found: _CLASSES.get(found[0], found[0]), pattern)
        if _is_enforced(plain):
            fitted["pattern"] = plain
        else:
            self._lose(where, "pattern")

    def _bounds(self, schema: Schema, fitted: Schema, where: str) -> None:
        """Integer bounds, as whole numbers and inclusive; those of other numbers are not enforced."""
        least, most = -math.inf, math.inf
        for key in ("minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum"):
            value = schema.get(key)
            if value is None or isinstance(value, bool):
                continue  # draft 4 had booleans for the exclusive ones
            if not isinstance(value, int | float) or not math.isfinite(value):
                raise bad(f"{where}.{key}", "a number is needed")
            if schema.get("type") != "integer":
                self._lose(where, key)
            elif key.endswith("inimum"):
                least = max(least, math.ceil(value) if key == "minimum" else math.floor(value) + 1)
            else:
                most = min(most, math.floor(value) if key == "maximum" else math.ceil(value) - 1)
        if least > most:
            raise bad(where, "the bounds leave no integer")
        fitted.update({"minimum": int(least)} if least > -math.inf else {})
        fitted.update({"maximum": int(most)} if most < math.inf else {})

    def _object(self, schema: Schema, fitted: Schema, where: str, depth: int) -> None:
        properties, required = schema.get("properties", {}), schema.get("required", [])
        if not isinstance(properties, dict):
            raise bad(f"{where}.properties", "an object is needed")
        if not isinstance(required, list) or not all(isinstance(one, str) for one in required):
            raise bad(f"{where}.required", "a list of names is needed")
        more = schema.get("additionalProperties")
        missing = [name for name in required if name not in properties]
        if missing and more is False:
            raise bad(f"{where}.required", f"{missing[0]!r} is required and not allowed: nothing can match")
        fitted.setdefault("type", "object")
        fitted["properties"] = {
            name: self.node(value, f"{where}.properties.{name}", depth + 1)
            for name, value in properties.items()
            if value is not False
        } | {name: {} for name in missing}
        fitted["required"] = list(required)
        if isinstance(more, dict):
            fitted["additionalProperties"] = self.node(more, f"{where}.additionalProperties", depth + 1)
        elif isinstance(more, bool):
            fitted["additionalProperties"] = more

    def _array(self, schema: Schema, fitted: Schema, where: str, depth: int) -> None:
        items = schema.get("items")
        first = items if isinstance(items, list) else schema.get("prefixItems")
        if isinstance(first, list):
            # The engine makes a tuple of exactly these; what may follow them is given up, which is allowed.
            fitted["prefixItems"] = [
                self.node(one, f"{where}.prefixItems.{i}", depth + 1) for i, one in enumerate(first)
            ]
        elif isinstance(items, dict):
            fitted["items"] = self.node(items, f"{where}.items", depth + 1)
        elif items is False:
            fitted["maxItems"] = 0


def _is_enforced(pattern: str) -> bool:
    """Whether the engine's grammar enforces a pattern: anchored, no look-around, no bare `|`, no class escapes."""
    if not (pattern.startswith("^") and pattern.endswith("$")) or pattern.endswith("\\$"):
        return False
    body = pattern[1:-1]
    if "(?" in body or any(found[1].isalnum() and found[1] not in "nrt" for found in _ESCAPED.finditer(body)):
        return False
    bare = re.sub(r"\[(?:[^\]\\]|\\.)*\]", "", _ESCAPED.sub("", body))
    depth = 0
    for char in bare:
        depth += (char == "(") - (char == ")")
        if (char == "|" and depth == 0) or char in "^$":
            return False
    return True
