"""Code and JSON inside answers."""

from __future__ import annotations

import pytest

from ecotone.values.structure import BLOCKS_MAX, CODE_CHARS_MAX, Code, code_in, has_json, json_in, parses, tree_of


def test_fenced_pieces_come_with_their_language() -> None:
    text = "One:\n```Python\nx = 1\n```\nTwo:\n~~~\ny\n~~~\nThree, cut:\n```js\nlet z"
    assert code_in(text) == [Code("python", "x = 1\n"), Code("", "y\n"), Code("js", "let z")]


def test_python_without_a_fence_is_seen_by_its_beginning() -> None:
    assert code_in("def f():\n    pass") == [Code("python", "def f():\n    pass")]
    assert code_in("I would import nothing.") == []
    assert code_in("```") == []


def test_pieces_are_bounded() -> None:
    assert len(code_in("```\nx\n```\n" * (BLOCKS_MAX + 3))) == BLOCKS_MAX


@pytest.mark.parametrize(
    ("code", "is_sound"),
    [
        (Code("python", "x = 1"), True),
        (Code("py", "x ="), False),
        (Code("", "import os"), True),
        (Code("", "def f(:"), False),
        (Code("", "def f()"), False),
        (Code("json", '{"a": 1}'), True),
        (Code("json", "{a: 1}"), False),
        (Code("rust", "fn main("), None),
        (Code("", "anything"), None),
        (Code("python", "x" * (CODE_CHARS_MAX + 1)), None),
    ],
)
def test_whether_code_is_of_its_language(code: Code, is_sound: bool | None) -> None:
    assert parses(code) is is_sound


@pytest.mark.parametrize("odd", ["x\0y", "-" * 30_000 + "1", "a" + ".b" * 15_000, "9" * 5_000, "(" * 300])
def test_what_no_parser_takes_is_no_code_and_no_failure(odd: str) -> None:
    assert tree_of(odd) is None


def test_odd_escapes_warn_nobody() -> None:
    assert tree_of("'\\d'") is not None


@pytest.mark.parametrize(
    ("text", "value"),
    [(' {"a": [1]} ', {"a": [1]}), ("[]", []), ('```json\n{"a": 1}\n```', {"a": 1}), ("```\n[2]\n```", [2])],
)
def test_json_alone_or_in_its_fence(text: str, value: object) -> None:
    assert has_json(json_in(text))
    assert json_in(text) == value


@pytest.mark.parametrize(
    "text",
    ["", "42", "Here: {}", "{a}", "```python\n{}\n```", "```\n{}\n```\n```\n{}\n```", "[" * 100_000, '{"\ud800"}'],
)
def test_anything_else_is_no_json(text: str) -> None:
    assert not has_json(json_in(text))


def test_to_a_program_a_fence_is_no_json_and_a_bare_number_is() -> None:
    assert not has_json(json_in("```json\n{}\n```", is_strict=True))
    assert json_in(" 42 ", is_strict=True) == 42
    assert json_in("null", is_strict=True) is None
