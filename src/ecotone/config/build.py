"""Nodes and types into plain values, with every problem found on the way.

`msgspec.convert` stops at the first problem and knows no positions; this walk reads the same types, so that a
constraint stands in `tree` alone, and `parse` lets msgspec have the last word on what comes out.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from typing import Any, Final

import msgspec
from msgspec import inspect as types

from ecotone.config.document import Mapping, Node, Position, Problem, Scalar, Sequence

MISSING: Final = msgspec.UNSET
_HINTS_MAX: Final = 100
_INT: Final = re.compile(r"[-+]?(0|[1-9][0-9]{0,17})\Z")
_FLOAT: Final = re.compile(r"[-+]?([0-9]{1,30}(\.[0-9]{0,30})?|\.[0-9]{1,30})([eE][-+]?[0-9]{1,2})?\Z")
_BOOL: Final = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_NULL: Final = frozenset({"", "~", "null", "Null", "NULL"})
_OTHER_BOOL: Final = {"yes": "true", "on": "true", "y": "true", "no": "false", "off": "false", "n": "false"}


class Builder:
    """Collects problems and positions while values are made."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.positions: dict[str, Position] = {}

    def build(self, node: Node, type_: types.Type, path: str) -> Any:
        """The plain value of a node, or `MISSING` where it is wrong (and the problem noted)."""
        extra: dict[str, Any] = {}
        while isinstance(type_, types.Metadata):
            extra = {**extra, **(type_.extra or {})}
            type_ = type_.type
        self.positions.setdefault(path, node.position)
        if isinstance(type_, types.UnionType):
            return self._union(node, type_, path, extra)
        if isinstance(type_, types.StructType):
            return self._struct(node, type_, path)
        if isinstance(type_, types.DictType):
            return self._mapping(node, type_, path)
        if isinstance(type_, types.VarTupleType):
            return self._sequence(node, type_, path)
        return self._scalar(node, type_, path, extra)

    def wrong(self, path: str, message: str, position: Position | None = None) -> Any:
        """Notes a problem."""
        self.problems.append(Problem(path, message, position or self.positions.get(path)))
        return MISSING

    def _union(self, node: Node, type_: types.UnionType, path: str, extra: dict[str, Any]) -> Any:
        choices = [bare(choice) for choice in type_.types]
        structs = [choice for choice in choices if isinstance(choice, types.StructType)]
        if len(structs) > 1:
            return self._tagged(node, structs, path)
        is_nullable = any(isinstance(choice, types.NoneType) for choice in choices)
        if is_nullable and isinstance(node, Scalar) and node.is_plain and node.text in _NULL:
            return None
        (choice,) = (choice for choice in type_.types if not isinstance(bare(choice), types.NoneType))
        return self.build(node, types.Metadata(choice, extra=extra) if extra else choice, path)

    def _tagged(self, node: Node, structs: list[types.StructType], path: str) -> Any:
        """One of several structs: chosen by the tag field, or by a field that only one of them has."""
        if not isinstance(node, Mapping):
            return self.wrong(path, f"expected a mapping, got {_kind(node)}")
        tag_field = structs[0].tag_field
        assert tag_field is not None
        tags = {str(struct.tag): struct for struct in structs}
        said = node.entries.get(tag_field)
        if said is None:
            for struct in structs:
                if "url" in node.entries and any(field.name == "url" for field in struct.fields):
                    return self._struct(node, struct, path)
            return self.wrong(
                path, "neither `engine` nor `url`: write `engine: llama.cpp` for a model that runs here, or the `url` "
                "of an OpenAI-compatible server"
            )  # fmt: skip
        tag = said[1].text if isinstance(said[1], Scalar) else ""
        if tag not in tags:
            message = (
                f"unknown engine {shown(tag)}; `llama.cpp` runs a model here; for an OpenAI-compatible server (Ollama, "
                "vLLM, a vendor) give `url` and `at` in place of `engine`"
            )
            return self.wrong(f"{path}.{tag_field}", message, said[1].position)
        if tag != "openai" and "url" in node.entries:
            message = "both `engine` and `url`: keep `engine` for a model that runs here, or `url` for a server"
            return self.wrong(path, message, said[0])
        return self._struct(node, tags[tag], path)

    def _struct(self, node: Node, type_: types.StructType, path: str) -> Any:
        if isinstance(node, Scalar) and node.is_plain and node.text in _NULL:
            node = Mapping({}, node.position)
        if not isinstance(node, Mapping):
            return self.wrong(path, f"expected a mapping, got {_kind(node)}")
        fields = {field.encode_name: field for field in type_.fields}
        known = [*fields, *([type_.tag_field] if type_.tag_field else [])]
        built: dict[str, Any] = {type_.tag_field: type_.tag} if type_.tag_field else {}
        for key, (position, value) in node.entries.items():
            below = join(path, key)
            field = fields.get(key)
            if field is not None:
                self.positions[below] = value.position
                built[key] = self.build(value, field.type, below)
            elif key != type_.tag_field:
                hint = meant(key, known) if len(self.problems) < _HINTS_MAX else ""
                self.wrong(below, f"unknown key{hint}; {_keys(known)}", position)
        for field in type_.fields:
            if field.required and field.encode_name not in node.entries:
                hint = _extra(field.type).get("missing", f"add `{field.encode_name}: ...`")
                self.wrong(join(path, field.encode_name), f"missing: {hint}", node.position)
        return built

    def _mapping(self, node: Node, type_: types.DictType, path: str) -> Any:
        if isinstance(node, Scalar) and node.is_plain and node.text in _NULL:
            node = Mapping({}, node.position)
        if not isinstance(node, Mapping):
            return self.wrong(path, f"expected a mapping, got {_kind(node)}")
        if len(node.entries) < (type_.min_length or 0):
            return self.wrong(path, "is empty: give at least one entry, or leave it out for the default")
        built: dict[str, Any] = {}
        for key, (position, value) in node.entries.items():
            below = join(path, key)
            self.positions[below] = position
            name = self.build(Scalar(key, False, position), type_.key_type, below)
            self.positions[below] = value.position
            built_value = self.build(value, type_.value_type, below)
            if name is not MISSING:
                built[key] = built_value
        return built

    def _sequence(self, node: Node, type_: types.VarTupleType, path: str) -> Any:
        if isinstance(node, Scalar) and node.is_plain and node.text in _NULL:
            node = Sequence([], node.position)
        if not isinstance(node, Sequence):
            example = f"; write `[{node.text[:40]}]`" if isinstance(node, Scalar) else ""
            return self.wrong(path, f"expected a list, got {_kind(node)}{example}")
        if len(node.items) < (type_.min_length or 0):
            return self.wrong(path, "is empty: give at least one")
        return [self.build(item, type_.item_type, f"{path}[{index}]") for index, item in enumerate(node.items)]

    def _scalar(self, node: Node, type_: types.Type, path: str, extra: dict[str, Any]) -> Any:
        if not isinstance(node, Scalar):
            return self.wrong(path, f"expected {_expected(type_)}, got {_kind(node)}")
        if node.is_plain and node.text in _NULL:
            return self.wrong(path, "has no value; give one, or leave the line out")
        try:
            return scalar(node, type_, extra)
        except ValueError as error:
            return self.wrong(path, str(error))


def scalar(node: Scalar, type_: types.Type, extra: dict[str, Any]) -> Any:
    """A scalar's value as its type reads it.

    Raises:
        ValueError: it is none; the message says what is wrong and how to mend it, without repeating a secret.
    """
    if isinstance(type_, types.BoolType):
        return _bool(node)
    if isinstance(type_, types.IntType | types.FloatType):
        return _number(node, type_)
    if isinstance(type_, types.LiteralType):
        return _word(node.text, [str(value) for value in type_.values])
    if isinstance(type_, types.EnumType):
        return _word(node.text, [str(member.value) for member in type_.cls])
    assert isinstance(type_, types.StrType), type_
    return _text(node, type_, extra)


def _bool(node: Scalar) -> bool:
    found = _BOOL.get(node.text) if node.is_plain else None
    if found is None:
        mend = _OTHER_BOOL.get(node.text.lower())
        hint = f"; write {mend}" if mend else ""
        quotes = "" if node.is_plain else ", without quotes"
        raise ValueError(f"expected true or false{quotes}, got {shown(node.text)}{hint}")
    return found


def _number(node: Scalar, type_: types.IntType | types.FloatType) -> int | float:
    what = _expected(type_)
    is_int = isinstance(type_, types.IntType)
    if not node.is_plain or not (_INT if is_int else _FLOAT).match(node.text):
        quotes = "" if node.is_plain else " without quotes"
        raise ValueError(f"expected {what}{quotes}, got {shown(node.text)}")
    value = int(node.text) if is_int else float(node.text)
    broken = (
        (type_.ge is not None and value < type_.ge, f"at least {type_.ge}"),
        (type_.gt is not None and value <= type_.gt, f"more than {type_.gt}"),
        (type_.le is not None and value > type_.le, f"at most {type_.le}"),
        (type_.lt is not None and value >= type_.lt, f"less than {type_.lt}"),
    )
    for is_broken, bound in broken:
        if is_broken:
            raise ValueError(f"is {node.text}; must be {bound}")
    return value


def _word(text: str, words: list[str]) -> str:
    if text not in words:
        raise ValueError(f"expected one of {', '.join(words)}; got {shown(text)}{meant(text, words)}")
    return text


def _text(node: Scalar, type_: types.StrType, extra: dict[str, Any]) -> str:
    text = node.text
    if any(not character.isprintable() for character in text):
        raise ValueError("contains a line break or another character that cannot be printed")
    if type_.pattern is not None and not re.search(type_.pattern, text):
        if "secret" in extra:
            raise ValueError(f"a secret must not stand in the file; write {extra['secret']}")
        raise ValueError(f"expected {extra.get('is', f'text like {type_.pattern}')}; got {shown(text)}")
    if len(text) < (type_.min_length or 0):
        raise ValueError("is empty")
    if type_.max_length is not None and len(text) > type_.max_length:
        raise ValueError(f"is longer than {type_.max_length} characters")
    return text


def bare(type_: types.Type) -> types.Type:
    """A type without its annotations."""
    while isinstance(type_, types.Metadata):
        type_ = type_.type
    return type_


def join(path: str, key: str) -> str:
    """The path of a key below `path`; a key with dots or spaces stands in brackets."""
    shown_key = key[:80]
    if re.fullmatch(r"[\w-]+", shown_key):
        return f"{path}.{shown_key}" if path else shown_key
    return f"{path}[{shown_key!r}]"


def meant(word: str, words: Iterable[str], cutoff: float = 0.6) -> str:
    """` (did you mean ...?)` where one of the words is near, else nothing."""
    near = difflib.get_close_matches(word[:80], list(words)[:1000], n=1, cutoff=cutoff)
    return f" (did you mean {near[0]!r}?)" if near else ""


def shown(text: str) -> str:
    """A value as a message quotes it: short and printable."""
    return repr(text if len(text) <= 40 else text[:37] + "...")


def _extra(type_: types.Type) -> dict[str, Any]:
    extra: dict[str, Any] = {}
    while isinstance(type_, types.Metadata):
        extra = {**(type_.extra or {}), **extra}
        type_ = type_.type
    return extra


def _keys(known: list[str]) -> str:
    return f"known here: {', '.join(sorted(known))}"


def _expected(type_: types.Type) -> str:
    match type_:
        case types.BoolType():
            return "true or false"
        case types.IntType():
            return "a whole number"
        case types.FloatType():
            return "a number"
        case _:
            return "text"


def _kind(node: Node) -> str:
    match node:
        case Mapping():
            return "a mapping"
        case Sequence():
            return "a list"
        case _:
            return "nothing" if node.is_plain and node.text in _NULL else "a single value"
