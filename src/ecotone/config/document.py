"""YAML text into a tree of nodes that know where they stand; bounded, and without YAML 1.1's surprises.

PyYAML's own loaders cannot be used as they are: they keep the last of two equal keys, read `no` as false and `1:30` as
ninety, and expand nested aliases without a limit. So the event stream (flat, from the C parser where there is one)
is composed here, with limits on depth and on the size after expansion. Scalars stay text: what they mean is decided by
the type that the place asks for.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
import yaml

TEXT_BYTES_MAX: Final = 1 << 20
DEPTH_MAX: Final = 32
NODES_MAX: Final = 50_000

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TEXT_TAG: Final = "tag:yaml.org,2002:str"
_QUOTES: Final = frozenset("'\"|>")

Position = tuple[int, int]
"""(line, column), from 1."""


class Problem(msgspec.Struct, frozen=True):
    """Something wrong, at a path of the tree and, where there is text, at a position in it."""

    path: str
    message: str
    position: Position | None = None


class DocumentError(Exception):
    """The text is not a document that can be read at all."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


class Scalar(msgspec.Struct, frozen=True):
    """A value as written; `is_plain` where it stands without quotes."""

    text: str
    is_plain: bool
    position: Position
    size: int = 1
    depth: int = 0


class Sequence(msgspec.Struct):
    """A list. `size` and `depth` count what is below it with all aliases expanded."""

    items: list[Node]
    position: Position
    size: int = 1
    depth: int = 1


class Mapping(msgspec.Struct):
    """A mapping: key text -> (position of the key, value)."""

    entries: dict[str, tuple[Position, Node]]
    position: Position
    size: int = 1
    depth: int = 1


Node = Scalar | Sequence | Mapping


def read(text: str) -> tuple[Mapping, list[Problem]]:
    """The document's root mapping, and what is wrong but could be read past: equal keys, bad merges, tags.

    An empty document is an empty mapping.

    Raises:
        DocumentError: not YAML, too large or too deep, more than one document, or not a mapping.
    """
    _check_text(text)
    composer = _Composer()
    try:
        for event in yaml.parse(text, Loader=_Loader):
            composer.take(event)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        position = (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)
        what = " ".join(part for part in (error.context, error.problem) if part)
        raise DocumentError(Problem("", f"not readable as YAML: {what}", position)) from error
    except yaml.YAMLError as error:
        raise DocumentError(Problem("", "not readable as YAML: " + " ".join(str(error).split()), (1, 1))) from error
    return composer.root(), composer.problems


def _check_text(text: str) -> None:
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        raise DocumentError(Problem("", "the text is not valid Unicode; save the file as UTF-8", (1, 1))) from error
    if size > TEXT_BYTES_MAX:
        message = f"the file has {size} bytes; at most {TEXT_BYTES_MAX} are read"
        raise DocumentError(Problem("", message, (1, 1)))


class _Composer:
    """Events in, nodes out; an explicit stack, so that depth is a count and not the interpreter's."""

    def __init__(self) -> None:
        self._stack: list[tuple[Sequence | Mapping, str | None]] = []
        self._keys: list[tuple[str, Position] | None] = []
        self._anchors: dict[str, Node] = {}
        self._merges: dict[int, list[tuple[Position, Node]]] = {}
        self._root: Node | None = None
        self._documents = 0
        self.problems: list[Problem] = []

    def root(self) -> Mapping:
        """The finished document."""
        if self._root is None or (isinstance(self._root, Scalar) and self._root.text in ("", "~", "null")):
            return Mapping({}, (1, 1))
        if not isinstance(self._root, Mapping):
            raise _error("the file must be a mapping, such as `site: clinic-7`", self._root.position)
        return self._root

    def take(self, event: Any) -> None:
        """Takes the next event of the parser."""
        position = (event.start_mark.line + 1, event.start_mark.column + 1)
        match event:
            case yaml.ScalarEvent():
                self._check_tag(event, position)
                self._put(Scalar(event.value, event.style not in _QUOTES and event.tag is None, position), event.anchor)
            case yaml.SequenceStartEvent():
                self._check_tag(event, position)
                self._open(Sequence([], position), event.anchor)
            case yaml.MappingStartEvent():
                self._check_tag(event, position)
                self._open(Mapping({}, position), event.anchor)
            case yaml.SequenceEndEvent() | yaml.MappingEndEvent():
                self._close()
            case yaml.AliasEvent():
                self._alias(str(event.anchor), position)
            case yaml.DocumentStartEvent():
                self._documents += 1
                if self._documents > 1:
                    raise _error("a second document begins here; keep one, without `---` in between", position)
            case _:
                pass

    def _open(self, node: Sequence | Mapping, anchor: str | None) -> None:
        if len(self._stack) >= DEPTH_MAX:
            raise _too_deep(node.position)
        if self._keys and isinstance(self._stack[-1][0], Mapping) and self._keys[-1] is None:
            raise _error("a key must be plain text", node.position)
        self._stack.append((node, anchor))
        self._keys.append(None)

    def _close(self) -> None:
        node, anchor = self._stack.pop()
        for position, merged in self._merges.pop(id(node), ()):
            self._merge(node, merged, position)
        self._keys.pop()
        self._put(node, anchor)

    def _alias(self, anchor: str, position: Position) -> None:
        node = self._anchors.get(anchor)
        if node is None:
            raise _error(f"the alias *{anchor} has no finished anchor &{anchor} before it", position)
        self._put(node, None, position)

    def _put(self, node: Node, anchor: str | None, at: Position | None = None) -> None:
        position = at or node.position
        if not self._stack:
            self._root = node
            return
        parent = self._stack[-1][0]
        if isinstance(parent, Sequence):
            parent.items.append(node)
        elif self._keys[-1] is None:
            self._take_key(node, position)
            self._remember(anchor, node)
            return
        else:
            self._take_value(parent, node)
        parent.depth = max(parent.depth, node.depth + 1)
        if parent.depth > DEPTH_MAX:
            raise _too_deep(position)
        parent.size += node.size
        if parent.size > NODES_MAX:
            raise _error(f"more than {NODES_MAX} values with all aliases written out", position)
        self._remember(anchor, node)

    def _remember(self, anchor: str | None, node: Node) -> None:
        if anchor is not None:
            self._anchors[anchor] = node

    def _take_key(self, node: Node, position: Position) -> None:
        if not isinstance(node, Scalar):
            raise _error("a key must be plain text", position)
        parent = self._stack[-1][0]
        assert isinstance(parent, Mapping)
        if node.text in parent.entries:
            line = parent.entries[node.text][0][0]
            message = f"the key {node.text[:80]!r} stands twice (first in line {line}); keep one"
            self.problems.append(Problem("", message, position))
        self._keys[-1] = (node.text, position)

    def _take_value(self, parent: Mapping, node: Node) -> None:
        key = self._keys[-1]
        assert key is not None
        self._keys[-1] = None
        if key[0] == "<<":
            self._merges.setdefault(id(parent), []).append((key[1], node))
            return
        parent.entries[key[0]] = (key[1], node)

    def _merge(self, into: Node, merged: Node, position: Position) -> None:
        """A merge key: what the mapping itself says wins, then the first that was merged."""
        assert isinstance(into, Mapping)
        for one in merged.items if isinstance(merged, Sequence) else [merged]:
            if not isinstance(one, Mapping):
                self.problems.append(Problem("", "a merge key (`<<`) takes a mapping, or a list of them", position))
                continue
            for key, entry in one.entries.items():
                into.entries.setdefault(key, entry)

    def _check_tag(self, event: Any, position: Position) -> None:
        if event.tag not in (None, "!", _TEXT_TAG):
            message = f"the tag {str(event.tag)[:80]!r} is not read; write the value without it"
            self.problems.append(Problem("", message, position))


def _too_deep(position: Position) -> DocumentError:
    return _error(f"nested deeper than {DEPTH_MAX} levels", position)


def _error(message: str, position: Position) -> DocumentError:
    return DocumentError(Problem("", message, position))
