"""One edge target: what a life in `test_lessons.py` does not come by."""

import msgspec
import numpy as np
import pytest
from tests.unit.learning.lived import SECRET, pair, question

from ecotone.learning import course as courses
from ecotone.learning.certificate import HIGHEST, LOWEST, Certificate
from ecotone.learning.course import Course, Promise, Standing
from ecotone.learning.learner import Learner
from ecotone.learning.recalibration import Done, Frozen
from ecotone.learning.signals import Signals
from ecotone.learning.watch import Base, Watch
from ecotone.values.quality import Gate, Role, Step

TRAITS = Signals(SECRET).of(question(is_hard=False))
SIGNS = np.array([1.0, 0.0])
BASE = Base(quarters=(0.1, 0.2, 0.3), shares=(0.25, 0.5, 0.75), edges=(0.1, 0.2, 0.3), residuals=(0.0, 0.0, 0.0, 0.0))


def promise(gate: Gate = Gate.PROMPT) -> Promise:
    return Promise(gate=gate, loss_max=0.05, delta=0.05)


def shown(edge_share: float, number: int = 1) -> Certificate:
    return Certificate(
        number=number,
        gap_max=HIGHEST,
        loss=0.0,
        loss_bound=0.02,
        harm=0.0,
        harm_bound=0.01,
        selective=0.0,
        edge_share=edge_share,
        pairs=400,
        missing=0,
        delta=0.05,
        loss_max=0.05,
    )


def step(what: str, **rest: object) -> Step:
    return Step(model="m", target="edge", what=what, **rest)  # type: ignore[arg-type]  # as the caller has them


def stand(course: Course, edge_share: float = 0.5, known: frozenset[int] | None = None) -> None:
    answer = None
    if course.promise.gate is Gate.ANSWER:
        answer = Learner(2).freeze()
    frozen = Frozen(course.promise.gate, Learner().freeze(), answer)
    if known is not None:
        frozen = msgspec.structs.replace(frozen, level=0, known=known)
    course.standing = Standing(certificate=shown(edge_share), frozen=frozen, base=BASE)
    course.watch = Watch(BASE, 0.05)


def test_an_answer_is_guessed_by_the_best_that_there_is() -> None:
    course = Course("v1", "c1", promise(Gate.ANSWER))
    by_prompt = course.guess_answer(TRAITS, SIGNS, HIGHEST)
    assert (by_prompt.gap, by_prompt.gap_max) == (course.guess(TRAITS, HIGHEST).gap, LOWEST)
    course.add(pair(1.0, Role.LEARN), TRAITS, SIGNS)
    learned = course.guess_answer(TRAITS, SIGNS, HIGHEST)
    assert learned.gap != by_prompt.gap
    assert learned.gap_max == LOWEST
    stand(course)
    assert course.guess_answer(TRAITS, SIGNS, 0.3).gap_max == 0.3
    # Signs of another kind than those that were certified promise nothing.
    assert course.guess_answer(TRAITS, np.zeros(3), 0.3).gap_max == LOWEST


@pytest.mark.parametrize("gate", list(Gate))
def test_work_of_a_kind_that_was_never_learned_from_goes_to_the_cloud(gate: Gate) -> None:
    course = Course("v1", "c1", promise(gate))
    stand(course, known=frozenset({TRAITS.groups[0]}))
    old = course.guess(TRAITS, 0.4)
    new = course.guess(msgspec.structs.replace(TRAITS, groups=(5, *TRAITS.groups[1:])), 0.4)
    asked = [guess.skip_above if gate is Gate.ANSWER else guess.gap_max for guess in (old, new)]
    assert asked == [HIGHEST if gate is Gate.ANSWER else 0.4, LOWEST]
    assert new.certificate == 1


def test_signs_of_a_new_kind_are_learned_from_the_start() -> None:
    course = Course("v1", "c1", promise(Gate.ANSWER))
    course.add(pair(1.0, Role.LEARN), TRAITS, SIGNS)
    course.add(pair(1.0, Role.LEARN), TRAITS, np.zeros(3))
    assert course.answer is not None
    assert (course.answer.signs, course.answer.labels) == (3, 1)
    assert course.prompt.labels == 2


def test_a_row_without_signs_still_teaches_the_gate_on_the_prompt() -> None:
    course = Course("v1", "c1", promise(Gate.ANSWER))
    course.add(pair(1.0, Role.LEARN), TRAITS, None)
    assert (course.prompt.labels, course.answer) == (1, None)


def test_missing_pairs_of_long_ago_no_longer_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(courses, "CERTIFY_MAX", 10)
    course = Course("v1", "c1", promise())
    for _ in range(8):
        course.miss(Role.CERTIFY)
    for _ in range(11):
        course.add(pair(0.0, Role.CERTIFY), TRAITS, None)
    assert (course.arrived, course.missed) == (5, 4)


def test_gaps_out_of_bounds_are_cut() -> None:
    course = Course("v1", "c1", promise())
    course.add(pair(7.0, Role.CERTIFY), TRAITS, None)
    assert course.book.certify[0].gap == 1.0


def test_requests_before_any_certificate_are_not_watched() -> None:
    assert Course("v1", "c1", promise()).placed(0.1, (1, 2, 3)) == ""


@pytest.mark.parametrize(("share", "number"), [(0.6, 1), (0.44, 0)])
def test_a_certificate_for_much_less_does_not_replace_the_one_that_stands(share: float, number: int) -> None:
    course = Course("v1", "c1", promise())
    stand(course, 0.5)
    before = course.standing
    work = course.prepare("m", "edge")
    done = Done(
        work=work.__class__(**{**{name: getattr(work, name) for name in work.__struct_fields__}, "is_look": True}),
        was_look=True,
        certificate=shown(share),
        frozen=Frozen(Gate.PROMPT, Learner().freeze()),
        base=BASE,
    )
    steps = course.finish(done, 5, step)
    assert [one.what for one in steps] == ["certified"] * number
    assert (course.standing is before) == (number == 0)
    assert course.attempts == 1


def test_a_look_that_fails_leaves_the_certificate_that_stands() -> None:
    course = Course("v1", "c1", promise())
    stand(course)
    work = course.prepare("m", "edge")
    fields = {**{name: getattr(work, name) for name in work.__struct_fields__}, "is_look": True}
    assert course.finish(Done(work=work.__class__(**fields), was_look=True), 5, step) == ()
    assert course.standing is not None
    assert course.at_look > course.seen


def test_what_came_meanwhile_is_learned_by_both_learners() -> None:
    course = Course("v1", "c1", promise(Gate.ANSWER))
    work = course.prepare("m", "edge")
    course.add(pair(1.0, Role.LEARN), TRAITS, SIGNS)
    course.add(pair(1.0, Role.LEARN), TRAITS, None)
    course.add(pair(1.0, Role.LEARN), TRAITS, np.zeros(3))
    course.finish(Done(work=work, prompt=Learner(), answer=Learner(2)), 5, step)
    assert course.answer is not None
    assert (course.prompt.labels, course.answer.labels) == (3, 1)


def test_without_a_certificate_there_is_nothing_to_void_but_what_was_learned() -> None:
    course = Course("v1", "c1", promise())
    assert course.void("terms", step, is_new_model=False) is None
    assert course.void("version.edge", step, is_new_model=True) is None
    course.add(pair(0.0, Role.LEARN), TRAITS, None)
    voided = course.void("version.edge", step, is_new_model=True)
    assert voided is not None
    assert (voided.what, voided.certificate) == ("voided", 0)


def test_a_suspension_without_a_watch_has_no_figures() -> None:
    course = Course("v1", "c1", promise())
    assert course.suspend("drift.loss", step).figures == {}
