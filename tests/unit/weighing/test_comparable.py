"""Whose guesses figures stand on."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from tests.unit.weighing.made_cases import case, pair
from tests.unit.weighing.test_figures import rows, table

from ecotone.values.quality import Guess, Step
from ecotone.weighing.comparable import Basis, comparable, of_era
from ecotone.weighing.figures import Name, Terms
from ecotone.weighing.frontier import allowed
from ecotone.weighing.pairs import Learner, Row, row

COLD = Learner()
FIGURES = {"edge_share": 0.593, "gap_max": 0.21, "loss": 0.023, "pairs": 300.0, "loss_max": 0.05, "delta": 0.0608}
TERMS = Terms(0.05, 0.9)


def by(learner: Learner, count: int, seed: int = 1, *, is_blind: bool = False, **said: Any) -> list[Row]:
    """Rows guessed by one learner; a blind one says of each what is true of another."""
    made = rows(count, seed, learner=learner, **said)
    if is_blind:
        made = [msgspec.structs.replace(one, score=made[-place].score) for place, one in enumerate(made)]
    return made


def named(made: list[Row], *steps: Step) -> Name:
    name = Name()
    for one in made:
        name.certify.add(one)
    for step in steps:
        name.step(1, step)
    return name


def step(what: str = "certified", **said: object) -> Step:
    return Step(**{"model": "assistant", "target": "small", "certificate": 1, "what": what, **said})  # type: ignore[arg-type]  # as told


def test_a_row_says_who_guessed() -> None:
    looked = row(pair(answer=Guess(gap=0.7, certificate=3)), None, 2)
    assert looked is not None
    assert (looked.learner, looked.score) == (Learner(2, is_of_answer=True, certificate=3), 0.7)
    early = row(pair(), case("edge"))
    assert early is not None
    assert early.learner == COLD


def test_of_a_learner_that_still_learns_the_newer_half_counts() -> None:
    cold = by(COLD, 300, is_blind=True)
    warm = by(COLD, 300, seed=2)
    whole = table([*cold, *warm])
    base, basis = comparable(whole, 0)
    assert basis == Basis("learning", 300)
    assert base.score.tolist() == [one.score for one in warm]
    # What the first guesses were worth does not hide what the present ones can support.
    assert allowed(base, 0.05, 0.9).edge_share > allowed(whole, 0.05, 0.9).edge_share + 0.2
    assert comparable(table(by(COLD, 150)), 0)[1] == Basis("learning", 100)


def test_a_certificate_speaks_where_enough_was_guessed_by_it() -> None:
    second = Learner(certificate=2)
    base, basis = comparable(table([*by(COLD, 300), *by(second, 120)]), 0)
    assert basis == Basis("frozen", 120, 2)
    assert set(base.learner) == {second}
    assert comparable(table([*by(COLD, 300), *by(second, 30)]), 0)[1] == Basis("learning", 150)
    few = table([*by(COLD, 60), *by(second, 30)])
    assert comparable(few, 0)[1] == Basis("mixed", 90)


def test_what_a_new_model_voided_is_told_as_past() -> None:
    new = Learner(era=1)
    both = table([*by(Learner(certificate=1), 200), *by(new, 20)])
    assert comparable(both, 1)[1] == Basis("frozen", 200, 1, is_past=True)
    assert comparable(table([*by(COLD, 200), *by(new, 20)]), 1)[1] == Basis("learning", 100, is_past=True)
    assert set(of_era(both, 1).learner) == {new}
    assert comparable(of_era(both, 1), 1)[1] == Basis("mixed", 20)


def test_what_was_not_even_asked_comes_last() -> None:
    looked, skipped = Learner(certificate=1, is_of_answer=True), Learner(certificate=1)
    base, basis = comparable(table([*by(looked, 90), *by(skipped, 90)]), 0)
    assert basis == Basis("frozen", 180, 1)
    assert base.score[:90].max() < 1.0 <= base.score[90:].min()
    # Prompts, too, are scored as they are where the certificate is about them.
    assert comparable(table(by(skipped, 100)), 0)[0].score.max() < 1.0
    # A learner that looks at answers is another one than that of prompts before it.
    cold = Learner(is_of_answer=True)
    assert comparable(table([*by(COLD, 200), *by(cold, 150)]), 0)[1] == Basis("learning", 100)


@pytest.mark.parametrize("what", ["not_yet", "certified"])
def test_a_certificate_says_itself_what_too_few_of_its_guesses_can(what: str) -> None:
    """On record: 300 guesses of the cold learner, and 18 since. The site scored all again, and certified 59 %."""
    made = [*by(COLD, 300, is_blind=True), *by(Learner(certificate=1), 18, share=0.05)]
    again = step(what, certificate=0) if what == "not_yet" else step(figures=FIGURES)
    report = named(made, step(figures=FIGURES), again).report(TERMS)
    promise = report.promise
    assert (promise.supported.edge_share, promise.supported.gap_max, promise.pairs_needed) == (0.593, 0.21, 0)
    assert promise.basis == Basis("certificate", 300, 1)
    assert report.basis == Basis("learning", 150)  # a ledger has no other scores to draw a curve by


@pytest.mark.parametrize(
    ("steps", "terms"),
    [
        ((), TERMS),
        ((step(figures=FIGURES), step("suspended", why="drift.loss")), TERMS),
        ((step(figures=FIGURES),), Terms(0.01, 0.9)),
        ((step(figures=FIGURES),), Terms(0.05, 0.99)),
        ((step(figures={"loss_max": 0.05}),), TERMS),
        ((step(figures=FIGURES), step(figures=FIGURES, target="ward")), TERMS),
    ],
)
def test_without_one_certificate_under_these_terms_the_pairs_speak(steps: tuple[Step, ...], terms: Terms) -> None:
    promise = named(by(COLD, 400), *steps).report(terms).promise
    assert promise.basis == Basis("learning", 200)
    assert promise.supported.edge_share != 0.593


def test_pairs_of_a_model_that_was_replaced_support_nothing() -> None:
    name = named(by(Learner(certificate=1), 300), step(figures=FIGURES))
    assert name.report(TERMS).promise.basis == Basis("frozen", 300, 1)
    name.step(2, step("voided", why="version.edge"))
    report = name.report(TERMS)
    assert report.promise.supported.edge_share == 0.0
    assert (report.promise.basis, report.promise.pairs_needed) == (Basis("mixed", 0), 20)
    assert report.basis.is_past
    assert report.frontier
    name.case(case("edge", gap=0.0))
    assert name.report(TERMS).promise.basis == Basis("mixed", 1)
    # Other terms void a certificate, and not what its pairs show.
    other = named(by(COLD, 300), step(figures=FIGURES), step("voided", why="terms")).report(TERMS)
    assert other.promise.basis == Basis("learning", 150)
    assert other.promise.supported.edge_share > 0.5
