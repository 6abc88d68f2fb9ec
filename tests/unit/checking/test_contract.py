"""What is believed of a plug-in."""

from __future__ import annotations

import math
from typing import Any

import pytest
from tests.unit.checking.made import ask, say

from ecotone.checking import Guarded, is_sound
from ecotone.values.quality import Comparison, Question, Reply


class Plugin:
    """Gives what it is told to, or raises it."""

    def __init__(self, given: Any) -> None:
        self.given = given

    def compare(self, question: Question, edge: Reply, cloud: Reply) -> Any:
        if isinstance(self.given, Exception):
            raise self.given
        return self.given


def run(given: Any) -> tuple[Guarded, Comparison | None]:
    guarded = Guarded("ours", Plugin(given))
    return guarded, guarded.compare(ask(), say("a"), say("b"))


def test_a_comparison_is_taken_under_the_name_of_its_entry_point() -> None:
    guarded, found = run(Comparison(gap=0.5, checker="planted content", edge=0.5, cloud=1.0))
    assert found == Comparison(gap=0.5, checker="ours", edge=0.5, cloud=1.0)
    assert (guarded.compared, guarded.passed, guarded.failed, guarded.refused) == (1, 0, 0, 0)


def test_it_may_pass() -> None:
    guarded, found = run(None)
    assert found is None
    assert guarded.passed == 1


def test_what_it_raises_is_counted_by_its_class_and_never_told() -> None:
    guarded, found = run(ValueError("planted content"))
    assert found is None
    assert (guarded.failed, guarded.cause) == (1, "ValueError")


@pytest.mark.parametrize(
    "given",
    [
        0.5,
        "ours",
        Comparison(gap=1.1, checker=""),
        Comparison(gap=-2, checker=""),
        Comparison(gap=math.nan, checker=""),
        Comparison(gap=0, checker="", edge=-0.1),
        Comparison(gap=0, checker="", cloud=math.inf),
        Comparison(gap="0", checker=""),  # type: ignore[arg-type]  # nobody checks a plug-in's types
    ],
)
def test_what_no_checker_gives_is_refused(given: Any) -> None:
    guarded, found = run(given)
    assert found is None
    assert guarded.refused == 1


@pytest.mark.parametrize("name", ["", "two words", "x" * 65, "a\nb"])
def test_a_name_is_a_word(name: str) -> None:
    with pytest.raises(ValueError, match="word"):
        Guarded(name, Plugin(None))


def test_bounds_are_within() -> None:
    assert is_sound(Comparison(gap=-1, checker="x", edge=1, cloud=0))
