"""A small life of one edge target: questions whose system prompt tells whether the edge fails."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ecotone.learning.lessons import Lessons
from ecotone.values.quality import Comparison, Guess, Pair, QualityTerms, Question, Reply, Role, Step
from ecotone.values.request import Endpoint, Mode

SECRET = b"0123456789abcdef"
NAME, EDGE = "m", "edge"
TERMS = QualityTerms(loss_max=0.2)
CLOUD_VERSION = "gpt"


def question(is_hard: bool, number: int = 0) -> Question:
    """A question of one of two applications."""
    system = "You prove theorems about manifolds." if is_hard else "You say hello to visitors."
    asked = f"{'Show that the group is not simple' if is_hard else 'Please greet the guest'}, number {number % 7}."
    return Question(endpoint=Endpoint.CHAT, model=NAME, system=system, asked=asked, chars=len(asked) + len(system))


def signs(asked: Question, reply: Reply) -> np.ndarray:
    """What the reply shows: its length, and whether it hesitates."""
    return np.array([float(len(reply.text)), float("?" in reply.text)])


def begun(terms: QualityTerms = TERMS, *, edges: Sequence[str] = (EDGE,), with_signs: bool = False) -> Lessons:
    """Lessons of one name."""
    lessons = Lessons(SECRET, signs=signs if with_signs else None)
    assert list(lessons.settle({NAME: (terms, dict.fromkeys(edges, "v1"), CLOUD_VERSION)})) == []
    return lessons


def pair(gap: float, role: Role, guess: Guess | None = None, target: str = EDGE, answer: Guess | None = None) -> Pair:
    """One labelled pair."""
    return Pair(
        request="r", model=NAME, target=target, reference="cloud", comparison=Comparison(gap=gap, checker="match"),
        role=role, guess=guess, answer=answer,
    )  # fmt: skip


def live(
    lessons: Lessons,
    requests: int,
    *,
    first: int = 0,
    target: str = EDGE,
    gap_hard: float = 0.8,
    gap_easy: float = 0.0,
    hard_every: int = 2,
    replies: bool = False,
    is_placed: bool = True,
) -> list[Step]:
    """Requests as a site would serve them; all steps that came of them."""
    steps: list[Step] = []
    for number in range(first, first + requests):
        is_hard = number % hard_every == 0
        asked = question(is_hard, number)
        read = lessons.read(asked)
        role, _ = lessons.role(NAME, number * 7919, Mode.AUTO)
        guess = lessons.guess(NAME, target, read)
        share = gap_hard if is_hard else gap_easy
        gap = 1.0 if (number * 0.618034) % 1.0 < share else 0.0
        reply = Reply(text="Perhaps so? " * 3 if gap else "Yes, certainly, with pleasure.")
        is_edge = guess.gap <= guess.gap_max
        if replies and guess.gap <= guess.skip_above:
            answer = lessons.guess_answer(NAME, target, read, asked, reply)
            is_edge = answer.gap <= answer.gap_max
        if is_placed:
            lessons.placed(NAME, target, guess, is_cloud=not is_edge, read=read)
        if role is Role.CERTIFY or not is_edge:
            given = {"question": asked, "reply": reply} if replies else {}
            steps += lessons.add(pair(gap, role, guess, target), read, **given)
        for due in lessons.due():
            steps += lessons.recalibrate(*due, at_ms=number)
    return steps
