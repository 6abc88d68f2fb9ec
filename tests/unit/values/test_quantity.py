"""Numbers of answers, and when two are the same."""

from __future__ import annotations

import pytest

from ecotone.values.quantity import is_same, numbers, quantity


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("1,234.5", [1234.5]),
        ("1.234,5", [1234.5]),
        ("1 234", [1234]),
        ("1'000'000", [1000000]),
        ("1.000.000", [1000000]),
        ("1,234", [1234]),
        ("1.234", [1.234]),
        ("1,5", [1.5]),
        ("-5", [-5]),
        ("−4", [-4]),
        ("$-5", [-5]),
        ("5-3", [5, 3]),
        ("x-5", [5]),
        (".5", [0.5]),
        ("3/4", [0.75]),
        ("1/0", []),
        (r"\frac{3}{4}", [0.75]),
        (r"-\frac{3}{4} and \text{12}", [-0.75, 12]),
        ("½", [0.5]),
        ("1e-3", [0.001]),
        ("2.5 × 10^3", [2500]),
        ("2.5 x 10^{-3}", [0.0025]),
        ("1e999", []),
        ("9" * 400, []),
        ("I have 3 cats, 4 dogs.", [3, 4]),
        ("v1.2.3", []),
        ("a1b2", []),
        ("1oE", []),
        ("2nd", []),
        ("5km", [5]),
        ("٣٤", [34]),
        ("１２", [12]),
        ("none", []),
    ],
)
def test_numbers_are_read_as_they_are_written(text: str, values: list[float]) -> None:
    assert [found.value for found in numbers(text)] == pytest.approx(values)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("Of 20 eggs, 2 broke. The answer is 18 (of 20).", 18),
        ("20 - 2 = 18", 18),
        ("Answer: none of the 7", 7),
        ("Answer: none. There are 7" + " cats" * 99, 7),
        ("none", None),
    ],
)
def test_a_text_comes_to_its_marked_number_else_to_its_last(text: str, value: float | None) -> None:
    found = quantity(text)
    assert (found and found.value) == value


def same(one: str, other: str) -> bool:
    (a,), (b,) = numbers(one), numbers(other)
    assert is_same(a, b) == is_same(b, a)
    return is_same(a, b)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("18", "18.0"),
        ("$18", "18 dollars"),
        ("18", "18 apples"),
        ("18 apples", "18 pears"),
        ("1 km", "1000 m"),
        ("90 minutes", "1.5 h"),
        ("50%", "0.5"),
        ("50", "50%"),
        ("50 %", "50 percent"),
        ("3.14", "3.14159"),
        ("1/3", "0.33"),
        ("2.50", "2.5"),
        ("0", "-0"),
    ],
)
def test_the_same_number_in_other_words(one: str, other: str) -> None:
    assert same(one, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("18", "18.4"),
        ("5.0", "5.01"),
        ("3.14", "3.15"),
        ("0.5", "0.45"),
        ("1 km", "1 m"),
        ("1 km", "1 h"),
        ("$5", "5 €"),
        ("50%", "5"),
        ("18", "-18"),
        ("1000000", "1000001.5"),
        ("1/3", "1/4"),
    ],
)
def test_another_number(one: str, other: str) -> None:
    assert not same(one, other)
