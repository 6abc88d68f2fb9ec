"""Short exact answers."""

from __future__ import annotations

import pytest
from tests.unit.checking.made import ask, say

from ecotone.checking.match import match
from ecotone.values.quality import Comparison

OPTIONS = "Which animal barks?\nA) A cat\n(B) The dog\nC. Cow"


@pytest.mark.parametrize(
    ("edge", "cloud", "gap"),
    [
        ("Paris", "Paris", 0),
        ("**Paris.**", "The answer is Paris.", 0),
        ("paris", "Paris!", 0),
        ("Rome", "Paris", 1),
        ("1,000 apples", "1000", 0),
        ("[1, 2]", "[2, 1]", 1),
        ("...", "...", 0),
    ],
)
def test_the_same_answer_or_not(edge: str, cloud: str, gap: float) -> None:
    assert match(ask(), say(edge), say(cloud)) == Comparison(gap=gap, checker="match")


@pytest.mark.parametrize(
    ("edge", "cloud", "gap"),
    [
        ("B", "(B) because it barks", 0),
        ("The answer is B.", "B.", 0),
        ("The dog", "B", 0),
        ("Dog.", "B", 0),
        ("C", "B", 1),
        ("The cat", "B", 1),
        ("E", "D", 1),
        ("It is the dog", "dog, it is", 1),
    ],
)
def test_where_options_are_offered_the_pick_counts(edge: str, cloud: str, gap: float) -> None:
    found = match(ask(OPTIONS), say(edge), say(cloud))
    assert found is not None
    assert found.gap == gap


def test_an_option_without_words_is_named_by_its_letter_only() -> None:
    found = match(ask("Which?\nA) x\nB) y\nB)"), say("z"), say("B"))
    assert found == Comparison(gap=1.0, checker="match")


def test_an_answer_that_comes_to_nothing_cannot_be_matched() -> None:
    assert match(ask(), say("Paris"), say("...")) is None


def test_no_answer_against_one() -> None:
    assert match(ask(), say(""), say("Paris")) == Comparison(gap=1.0, checker="match", edge=0.0, cloud=1.0)
