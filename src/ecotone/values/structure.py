"""Code and JSON inside the text of an answer, and whether they parse. Nothing of it is ever run. Pure."""

from __future__ import annotations

import ast
import re
import warnings
from typing import Any, Final

import msgspec

CODE_CHARS_MAX: Final = 32_768
"""Of a piece of code that is parsed; a longer one is not judged. Precedent: 32 KiB take Python's parser about 4 ms."""

BLOCKS_MAX: Final = 16

_FENCE: Final = re.compile(
    r"^[ \t]{0,3}(`{3,}+|~{3,}+)[ \t]*([\w+#.-]{0,20})[^\n]*\n(.*?)(?:^[ \t]{0,3}\1|\Z)", re.M | re.S
)
_PYTHON: Final = re.compile(
    r"\A\s*(?:(?:async\s+)?def\s+\w+\s*\(|class\s+\w+|import\s+\w|from\s+[\w.]+\s+import\b|@\w)"
)
_PYTHONS: Final = frozenset({"python", "py", "python3", "py3"})
_JSONS: Final = frozenset({"json", "jsonc", "json5"})
_UNREADABLE: Final = (msgspec.DecodeError, UnicodeError, RecursionError)
_MISSING: Final = object()

_read: Final = msgspec.json.Decoder().decode


class Code(msgspec.Struct, frozen=True, gc=False):
    """A piece of code: its language as the fence names it, in small letters (`''` = not said), and its text."""

    language: str
    text: str


def code_in(text: str) -> list[Code]:
    """The fenced pieces of a text, at most `BLOCKS_MAX`; or all of it, where it begins as Python does."""
    found: list[Code] = []
    if "```" in text or "~~~" in text:
        for each in _FENCE.finditer(text):
            found.append(Code(each[2].lower(), each[3]))
            if len(found) == BLOCKS_MAX:
                break
    if not found and _PYTHON.match(text):
        found.append(Code("python", text))
    return found


def parses(code: Code) -> bool | None:
    """Whether a piece of code is of its language; None where nobody here can tell (other languages, too long)."""
    if len(code.text) > CODE_CHARS_MAX:
        return None
    if code.language in _JSONS:
        return has_json(json_in(code.text))
    return tree_of(code.text) is not None if is_python(code) else None


def is_python(code: Code) -> bool:
    """Whether a piece of code is Python by its fence's word, or, without one, by its beginning."""
    return code.language in _PYTHONS or (not code.language and _PYTHON.match(code.text) is not None)


def tree_of(python: str) -> ast.Module | None:
    """The syntax tree of Python code; None where it is none. It is only read."""
    try:
        # What the parser thinks of odd escapes in somebody else's code is nobody's business.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(python)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def json_in(text: str, *, is_strict: bool = False) -> Any:
    """The JSON value that a text is, or, unless `is_strict`, that stands alone in its fence; see `has_json`.

    A text that is JSON but no object and no array counts as a text: `42` and `"yes"` are short answers.
    """
    stripped = text.strip()
    if not is_strict and stripped.startswith(("```", "~~~")):
        blocks = code_in(stripped)
        if len(blocks) == 1 and blocks[0].language in _JSONS | {""}:
            stripped = blocks[0].text.strip()
    if not is_strict and not stripped.startswith(("{", "[")):
        return _MISSING
    try:
        return _read(stripped.encode())
    except _UNREADABLE:
        return _MISSING


def has_json(value: Any) -> bool:
    """Whether `json_in` found a value."""
    return value is not _MISSING
