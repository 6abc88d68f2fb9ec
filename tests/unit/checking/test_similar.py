"""Answers in prose."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.unit.checking.made import ask, call, say

from ecotone.checking.similar import EMBED_CHARS_MAX, Embedded, Scale, scale_from, similar
from ecotone.checking.words import f1, overlap
from ecotone.values.quality import Comparison

ONE = "The river rises in the hills and crosses the plain before it meets the sea."
NEAR = "The river begins in the hills, then crosses a wide plain and meets the sea."
FAR = "Interest rates were left unchanged although several members had voted for a cut."


def test_the_same_words_in_other_clothes_are_one() -> None:
    assert overlap("**Rivers** rise.", "rivers rise") == 1.0
    assert overlap("", "") == 1.0
    assert overlap("a river", "") == 0.0


def test_near_is_nearer_than_far_also_without_blanks_between_words() -> None:
    assert overlap(ONE, FAR) < 0.2 < 0.4 < overlap(ONE, NEAR) < 1.0
    assert overlap("东京是日本的首都", "日本的首都是东京") > 0.6 > 0.1 > overlap("东京是日本的首都", "我喜欢吃苹果")


def test_two_empty_bags_have_nothing_in_common() -> None:
    assert f1([], []) == 0.0


def test_the_gap_follows_the_words() -> None:
    near, far = (similar(ask(), say(text), say(ONE)) for text in (NEAR, FAR))
    assert near is not None
    assert far == Comparison(gap=1.0, checker="similar")
    assert 0.0 < near.gap < 1.0
    assert similar(ask(), say(ONE), say(ONE)) == Comparison(gap=0.0, checker="similar")


def test_without_text_it_cannot_judge() -> None:
    assert similar(ask(), call(("f", "{}")), say(ONE)) is None
    assert similar(ask(), say(""), say(ONE)) == Comparison(gap=1.0, checker="similar", edge=0.0, cloud=1.0)


def vectors(*rows: Sequence[float]) -> Embedded:
    def embed(texts: Sequence[str]) -> NDArray[np.float64]:
        assert all(len(text) <= EMBED_CHARS_MAX for text in texts)
        return np.array(rows)

    return Embedded(embed, Scale(0.0, 0.5))


@pytest.mark.parametrize(
    ("a", "b", "gap"),
    [
        ((1, 0), (2, 0), 0.0),
        ((1, 0), (0, 1), 1.0),
        ((1, 0), (-1, 0), 1.0),
        ((0, 0), (1, 0), 1.0),
        ((4, 0), (1, 15**0.5), 0.5),
    ],
)
def test_an_embedding_is_read_by_its_scale(a: Sequence[float], b: Sequence[float], gap: float) -> None:
    found = vectors(a, b).compare(ask(), say("x" * 9_000), say("y"))
    assert found == Comparison(gap=pytest.approx(gap), checker="similar")


def test_a_scale_rises() -> None:
    with pytest.raises(ValueError, match="low < high"):
        Scale(0.5, 0.5)


def test_a_scale_is_found_from_answers_to_different_questions() -> None:
    likeness = [index / 100 for index in range(100)]
    found = scale_from(likeness, high=0.99)
    assert found == Scale(0.94, 0.99)
    assert scale_from(likeness[:49], high=0.99) is None
    assert scale_from(likeness, high=0.9) is None
