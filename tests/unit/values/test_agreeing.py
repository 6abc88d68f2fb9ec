"""Two answers with one key are one answer."""

from __future__ import annotations

import pytest

from ecotone.values.agreeing import EXACT_CHARS_MAX, answer_key, is_literal


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("1,000", "= 1000.0"),
        ("1000 apples", "1000"),
        ("1 km", "1000 m"),
        ("The answer is Paris.", "paris"),
        ("He came, he saw, he won 3 times", "he came he saw he won 3 times"),
        ("<think>Rome?</think>Paris", "Paris"),
        ("[1,2]", "[1, 2]"),
        ("`['a']`", '["a"]'),
        ("x" * EXACT_CHARS_MAX + " y", "X" * EXACT_CHARS_MAX + "\nY"),
    ],
)
def test_one_answer(one: str, other: str) -> None:
    assert answer_key(one) == answer_key(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("1000", "-1000"),
        ("1 km", "1 h"),
        ("[1, 2]", "[2, 1]"),
        ("['1']", "[1]"),
        ("area 51", "51"),
        ("3 of 4", "3"),
        ("x" * EXACT_CHARS_MAX + " y.", "x" * EXACT_CHARS_MAX + " y"),
    ],
)
def test_two_answers(one: str, other: str) -> None:
    assert answer_key(one) != answer_key(other)


def test_what_counts_as_a_literal() -> None:
    assert all(map(is_literal, ["[]", "{'a': 1}", "(1, 2)"]))
    assert not any(map(is_literal, ["(B)", "a[0]", "", "1"]))
