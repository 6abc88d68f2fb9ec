"""The file that `ecotone policy test` runs: examples, and what is expected of each. Problems are named by path."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec
from msgspec import inspect as types

from ecotone.config.build import MISSING, Builder, bare, join, meant, shown
from ecotone.config.document import DocumentError, Node, Problem, Scalar, Sequence, read
from ecotone.config.kinds import LabelName, ModelName, Name, Section, Text
from ecotone.config.parse import config_error
from ecotone.values import Egress

_NULL: Final = frozenset({"", "~", "null", "Null", "NULL"})
_WORDS: Final = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INT: Final = re.compile(r"[-+]?(0|[1-9][0-9]{0,17})\Z")
_FLOAT: Final = re.compile(r"[-+]?([0-9]{1,30}\.[0-9]{0,30}|\.[0-9]{1,30})([eE][-+]?[0-9]{1,2})?\Z")


class _Expect(Section, frozen=True, kw_only=True):
    """As written: lists and words stand for the longer forms."""

    labels: Any = None
    egress: Any = None


class _Example(Section, frozen=True, kw_only=True):
    """As written."""

    name: Text
    expect: _Expect
    text: Any = None
    messages: Any = None
    request: Any = None
    key: Name | None = None
    model: ModelName | None = None
    target: Name | None = None
    labels: tuple[LabelName, ...] = ()


class _Table(Section, frozen=True, kw_only=True):
    """As written."""

    examples: tuple[_Example, ...]


class Expected(msgspec.Struct, frozen=True):
    """What a site should say of an example. None = nothing is expected.

    Attributes:
        contain: Labels that must be among those found.
        exactly: The labels found, no more and no less.
        without: Labels that must not be found.
        egress: Policy's word by target; under `""` for every cloud target that is not named.
    """

    contain: tuple[str, ...] = ()
    exactly: tuple[str, ...] | None = None
    without: tuple[str, ...] = ()
    egress: Mapping[str, Egress] = msgspec.field(default_factory=dict)


class Example(msgspec.Struct, frozen=True):
    """One request and what is expected of it.

    Attributes:
        body: The request, as a caller would send it.
        labels: Those of the caller's `Ecotone-Labels`.
        line: Where it stands in the file.
    """

    name: str
    body: Mapping[str, Any]
    expected: Expected
    key: str = ""
    model: str = ""
    labels: tuple[str, ...] = ()
    line: int = 1


class Known(msgspec.Struct, frozen=True):
    """The names that an example may use: those of the configuration."""

    keys: tuple[str, ...]
    models: tuple[str, ...]
    cloud: tuple[str, ...]
    edge: tuple[str, ...]


def parse(text: str, name: str, known: Known) -> tuple[Example, ...]:
    """The examples of a file.

    Raises:
        ConfigError: with every problem, each as `NAME:LINE:COLUMN: path.to.key: what is wrong; how to mend it`.
    """
    try:
        root, problems = read(text)
    except DocumentError as error:
        raise config_error([error.problem], name) from error
    builder = _Builder()
    plain = builder.build(root, types.type_info(_Table), "")
    problems += builder.problems
    if problems:
        raise config_error(problems, name, builder.positions)
    table = msgspec.convert(plain, _Table)
    wrong = [*_problems(table, known)]
    if wrong:
        raise config_error([Problem(path, message) for path, message in wrong], name, builder.positions)
    return tuple(
        _example(one, known, builder.positions[f"examples[{index}]"][0]) for index, one in enumerate(table.examples)
    )


class _Builder(Builder):
    """Reads what may be anything by how it is written, as YAML 1.2 does; a text may have any characters."""

    def build(self, node: Node, type_: types.Type, path: str) -> Any:
        """As `Builder.build`."""
        if isinstance(bare(type_), types.AnyType):
            self.positions[path] = node.position
            return self._anything(node, path)
        return super().build(node, type_, path)

    def _anything(self, node: Node, path: str) -> Any:
        if isinstance(node, Scalar):
            return _plain(node)
        if isinstance(node, Sequence):
            return [self.build(item, types.AnyType(), f"{path}[{index}]") for index, item in enumerate(node.items)]
        return {key: self.build(value, types.AnyType(), join(path, key)) for key, (_, value) in node.entries.items()}


def _plain(node: Scalar) -> Any:
    if not node.is_plain:
        return node.text
    if node.text in _NULL:
        return None
    if _INT.match(node.text):
        return int(node.text)
    if _FLOAT.match(node.text):
        return float(node.text)
    return _WORDS.get(node.text, node.text)


def _problems(table: _Table, known: Known) -> Iterator[tuple[str, str]]:
    seen: dict[str, int] = {}
    if not table.examples:
        yield "examples", "is empty: give at least one"
    for index, one in enumerate(table.examples):
        path = f"examples[{index}]"
        if one.name in seen:
            yield f"{path}.name", f"stands twice (first in examples[{seen[one.name]}]); names tell examples apart"
        seen.setdefault(one.name, index)
        yield from _of_request(one, path)
        for what, word, words in (("key", one.key, known.keys), ("model", one.model, known.models)):
            if word is not None and word not in words:
                yield f"{path}.{what}", _unknown(what, word, words)
        yield from _of_target(f"{path}.target", one.target, known)
        yield from _of_expect(one, f"{path}.expect", known)


def _of_request(one: _Example, path: str) -> Iterator[tuple[str, str]]:
    given = [name for name in ("text", "messages", "request") if getattr(one, name) is not None]
    if len(given) != 1:
        what = "none of them" if not given else " and ".join(given)
        yield path, f"give one of `text`, `messages` and `request`; there: {what}"
    if one.text is not None and not (isinstance(one.text, str) and one.text):
        yield f"{path}.text", "expected text; put it in quotes"
    if one.messages is not None and not _is_messages(one.messages):
        yield f"{path}.messages", "expected a list of messages, such as `[{role: user, content: Hello}]`"
    if one.request is not None and not isinstance(one.request, dict):
        yield f"{path}.request", "expected a mapping: the body of a request"


def _is_messages(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(one, dict) and "role" in one for one in value)


def _of_target(path: str, target: str | None, known: Known) -> Iterator[tuple[str, str]]:
    if target in known.edge:
        yield path, f"{target!r} is at the edge, where everything may go; name a cloud target"
    elif target is not None and target not in known.cloud:
        yield path, _unknown("cloud target", target, known.cloud)


def _of_expect(one: _Example, path: str, known: Known) -> Iterator[tuple[str, str]]:
    if one.expect.labels is None and one.expect.egress is None:
        yield path, "expects nothing: give `labels`, `egress` or both"
    yield from _of_labels(one.expect.labels, f"{path}.labels")
    egress = one.expect.egress
    if egress is None:
        return
    if not known.cloud:
        yield f"{path}.egress", "the configuration has no cloud target; give one with -c FILE, or leave this out"
    if isinstance(egress, dict):
        for target, word in egress.items():
            yield from _of_target(join(f"{path}.egress", target), target, known)
            yield from _of_word(join(f"{path}.egress", target), word)
        if one.target is not None:
            yield f"{path}.egress", "names targets, and `target` stands beside it; keep one"
    else:
        yield from _of_word(f"{path}.egress", egress)


def _of_word(path: str, word: Any) -> Iterator[tuple[str, str]]:
    words = [str(one) for one in Egress]
    if word not in words:
        yield path, f"expected one of {', '.join(words)}; got {shown(str(word))}{meant(str(word), words)}"


def _of_labels(labels: Any, path: str) -> Iterator[tuple[str, str]]:
    if labels is None:
        return
    if isinstance(labels, list):
        yield from _of_names(labels, path)
        return
    if not isinstance(labels, dict):
        yield path, "expected a list of labels, or `contain`, `exactly` and `without` with lists"
        return
    for key, names in labels.items():
        if key not in ("contain", "exactly", "without"):
            yield join(path, key), "unknown key; known here: contain, exactly, without"
        else:
            yield from _of_names(names, f"{path}.{key}")


def _of_names(names: Any, path: str) -> Iterator[tuple[str, str]]:
    if not isinstance(names, list):
        yield path, "expected a list of labels, such as `[card]`"
        return
    for index, name in enumerate(names):
        if not (isinstance(name, str) and re.fullmatch(r"[a-z0-9_.:-]{1,64}", name)):
            yield f"{path}[{index}]", "expected a label: lower-case letters, digits, _ . : -"


def _unknown(what: str, word: str, words: tuple[str, ...]) -> str:
    known = ", ".join(words[:20]) or "none"
    return f"the configuration has no {what} {shown(word)}{meant(word, words)}; there: {known}"


def _example(one: _Example, known: Known, line: int) -> Example:
    labels, egress = one.expect.labels, one.expect.egress
    if isinstance(labels, list):
        labels = {"contain": labels}
    if isinstance(egress, str):
        egress = {one.target or "": egress}
    exactly = (labels or {}).get("exactly", MISSING)
    expected = Expected(
        contain=tuple((labels or {}).get("contain", ())),
        exactly=None if exactly is MISSING else tuple(sorted(exactly)),
        without=tuple((labels or {}).get("without", ())),
        egress={target: Egress(word) for target, word in (egress or {}).items()},
    )
    model = one.model or (known.models[0] if known.models else "auto")
    return Example(one.name, _body(one, model), expected, one.key or "", model, one.labels, line)


def _body(one: _Example, model: str) -> dict[str, Any]:
    if one.request is not None:
        given: dict[str, Any] = one.request
        return {"model": model} | given
    messages = one.messages or [{"role": "user", "content": one.text}]
    return {"model": model, "messages": messages}
