"""Answers that come to a number."""

from __future__ import annotations

import pytest
from tests.unit.checking.made import ask, say

from ecotone.checking.numbers import numbers
from ecotone.values.quality import Comparison


@pytest.mark.parametrize(
    ("edge", "cloud", "gap"),
    [
        ("9 * 2 = 18. The answer is $18.", "She makes 18 dollars.", 0),
        (r"\boxed{0.5}", "1/2", 0),
        ("18", "19", 1),
        ("I do not see it", "18", 1),
        ("<think>19</think>18", "18", 0),
    ],
)
def test_the_same_number_or_not(edge: str, cloud: str, gap: float) -> None:
    assert numbers(ask(), say(edge), say(cloud)) == Comparison(gap=gap, checker="numbers")


def test_without_a_number_there_is_nothing_to_compare_with() -> None:
    assert numbers(ask(), say("18"), say("many")) is None


def test_no_answer_against_one() -> None:
    assert numbers(ask(), say(""), say("18")) == Comparison(gap=1.0, checker="numbers", edge=0.0, cloud=1.0)
