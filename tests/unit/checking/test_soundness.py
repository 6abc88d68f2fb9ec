"""Answers that are none."""

from __future__ import annotations

import pytest
from tests.unit.checking.made import call, say

from ecotone.checking.soundness import State, state, unsound
from ecotone.values.quality import Comparison, Reply

EMPTY, REFUSAL, CUT, PROPER = (
    say(" \n"),
    say("I cannot help with that."),
    say("Paris is", finish="length"),
    say("Paris"),
)


@pytest.mark.parametrize(
    ("reply", "is_a"),
    [
        (PROPER, State.PROPER),
        (say("x", finish=""), State.PROPER),
        (call(("f", "{}")), State.PROPER),
        (EMPTY, State.EMPTY),
        (say("<think>hm</think>"), State.EMPTY),
        (say("", finish="content_filter"), State.REFUSAL),
        (say("", is_refusal=True), State.REFUSAL),
        (REFUSAL, State.REFUSAL),
        (say("I cannot help with", finish="length"), State.REFUSAL),
        (CUT, State.CUT),
        (say("Paris", finish="content_filter"), State.CUT),
        (Reply(text="I cannot help you", calls=(("f", "{}"),)), State.PROPER),
    ],
)
def test_what_an_answer_is_before_it_is_read(reply: Reply, is_a: State) -> None:
    assert state(reply) is is_a


@pytest.mark.parametrize(
    ("edge", "cloud", "gap", "qualities"),
    [
        (EMPTY, PROPER, 1, (0, 1)),
        (PROPER, EMPTY, -1, (1, 0)),
        (EMPTY, EMPTY, 0, (0, 0)),
        (EMPTY, REFUSAL, 1, (0, 1)),
        (REFUSAL, PROPER, 1, (None, None)),
        (PROPER, REFUSAL, 1, (None, None)),
        (REFUSAL, REFUSAL, 0, (None, None)),
        (CUT, PROPER, 1, (0, 1)),
    ],
)
def test_an_answer_that_is_none_decides(
    edge: Reply, cloud: Reply, gap: float, qualities: tuple[float | None, float | None]
) -> None:
    assert unsound("c", edge, cloud) == Comparison(gap=gap, checker="c", edge=qualities[0], cloud=qualities[1])


@pytest.mark.parametrize(("edge", "cloud"), [(PROPER, PROPER), (PROPER, CUT), (CUT, CUT)])
def test_answers_that_say_something_are_left_to_who_reads_them(edge: Reply, cloud: Reply) -> None:
    assert unsound("c", edge, cloud) is None
