"""What a site learns, from the first request to a certificate, and back when it no longer holds."""

import json
import math
from collections.abc import Iterator
from typing import Any

import pytest
from tests.unit.learning.lived import (
    CLOUD_VERSION,
    EDGE,
    NAME,
    SECRET,
    TERMS,
    begun,
    live,
    pair,
    question,
)

from ecotone.learning import course, recalibration
from ecotone.learning.certificate import HIGHEST, LOWEST
from ecotone.learning.lessons import Lessons
from ecotone.values.quality import Gate, Guess, QualityTerms, Role, Step
from ecotone.values.request import Mode


@pytest.fixture(autouse=True, scope="module")
def _small() -> Iterator[None]:
    """Lives of a few hundred requests are enough where much may be lost. (`test_promise.py` has them whole.)"""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(course, "FIRST_LOOK", 60)
        patch.setattr(course, "NEXT_LOOK", 20)
        patch.setattr(recalibration, "HOPE_ROWS", 40)
        yield


@pytest.fixture(scope="module")
def certified() -> tuple[bytes, bytes, list[Step]]:
    """Dumps of a name whose promise stands, and the steps up to there."""
    lessons = begun()
    steps = live(lessons, 170)
    return lessons.dump(NAME, EDGE), lessons.dump(NAME, ""), steps


def again(dumps: tuple[bytes, bytes, list[Step]], terms: QualityTerms = TERMS, **versions: str) -> Lessons:
    lessons = Lessons(SECRET)
    lessons.load(NAME, EDGE, dumps[0])
    lessons.load(NAME, "", dumps[1])
    steps = lessons.settle({NAME: (terms, {EDGE: versions.get("edge", "v1")}, versions.get("cloud", CLOUD_VERSION))})
    lessons.steps_of_settling = list(steps)  # type: ignore[attr-defined]  # handed to the test beside it
    return lessons


def target_figures(lessons: Lessons, target: str = EDGE) -> dict[str, Any]:
    figures: dict[str, Any] = lessons.figures(NAME)["targets"][target]
    return figures


def standing(lessons: Lessons) -> bool:
    return target_figures(lessons)["certificate"] is not None


def test_before_anything_is_known_nothing_may_be_risked() -> None:
    lessons = begun()
    guess = lessons.guess(NAME, EDGE, lessons.read(question(is_hard=False)))
    assert (guess.gap_max, guess.certificate) == (LOWEST, 0)
    assert lessons.terms(NAME) is TERMS
    assert lessons.role(NAME, 1, Mode.AUTO)[1] == 0.5


def test_names_that_nobody_learns_of_are_left_alone() -> None:
    lessons = begun()
    read = lessons.read(question(is_hard=False))
    assert lessons.terms("other") is None
    assert lessons.role("other", 1, Mode.AUTO) == (Role.NONE, 1.0)
    assert lessons.role(NAME, 1, Mode.CLOUD) == (Role.NONE, 1.0)
    assert lessons.mode("other", Mode.EDGE) is Mode.EDGE
    assert lessons.guess("other", EDGE, read).gap_max == LOWEST
    assert lessons.guess(NAME, "other", read).gap_max == LOWEST
    assert lessons.figures("other") == {}
    lessons.placed("other", EDGE, Guess(gap=0.0), is_cloud=True)
    lessons.missed("other", EDGE, Role.CERTIFY)
    assert list(lessons.add(pair(0.0, Role.NONE), read)) == []


def test_the_promise_is_made_where_the_edge_is_good_and_only_there(
    certified: tuple[bytes, bytes, list[Step]],
) -> None:
    (step,) = [one for one in certified[2] if one.what == "certified"]
    assert step.certificate == 1
    assert step.figures["loss_bound"] <= 0.2
    assert 0.4 <= step.figures["edge_share"] <= 0.6
    lessons = again(certified)
    easy, hard = (
        lessons.guess(NAME, EDGE, lessons.read(question(is_hard=is_hard, number=3))) for is_hard in (False, True)
    )
    assert easy.gap <= easy.gap_max
    assert hard.gap > hard.gap_max
    assert easy.certificate == hard.certificate == 1
    assert easy.skip_above == HIGHEST


def test_with_a_certificate_few_pairs_are_paid_for(certified: tuple[bytes, bytes, list[Step]]) -> None:
    lessons = again(certified)
    assert lessons.role(NAME, 1, Mode.AUTO)[1] in (0.05, 0.95)
    assert lessons.role(NAME, 1, Mode.SHADOW)[1] == 0.5
    assert begun().role(NAME, 1, Mode.AUTO)[1] == 0.5


def test_at_the_edge_each_pair_is_paid_for_and_the_operator_says_how_many_at_most() -> None:
    lessons = begun(QualityTerms(loss_max=0.2, paid_share_max=0.2))
    assert {lessons.role(NAME, seed, Mode.EDGE) for seed in range(50)} == {(Role.CERTIFY, 0.2), (Role.LEARN, 0.8)}
    terms = QualityTerms(loss_max=0.2, paid_share_max=1.0)
    assert list(lessons.settle({NAME: (terms, {EDGE: "v1"}, CLOUD_VERSION)})) == []
    assert lessons.role(NAME, 1, Mode.EDGE) == (Role.CERTIFY, 1.0)


def test_figures_are_plain_json(certified: tuple[bytes, bytes, list[Step]]) -> None:
    for lessons in (begun(), again(certified)):
        text = json.dumps(lessons.figures(NAME), allow_nan=False)
        assert math.isfinite(len(text))
    shown = again(certified).figures(NAME)
    assert shown["proof"] == "some"
    assert shown["targets"][EDGE]["certificate"]["pairs"] >= 60


@pytest.mark.parametrize(("what", "why"), [("edge", "version.edge"), ("cloud", "version.cloud")])
def test_a_new_model_voids_all_that_was_learned(
    certified: tuple[bytes, bytes, list[Step]], what: str, why: str
) -> None:
    lessons = again(certified, **{what: "v2"})
    (step,) = lessons.steps_of_settling  # type: ignore[attr-defined]  # handed over by `again`
    assert (step.what, step.why, step.certificate) == ("voided", why, 1)
    guess = lessons.guess(NAME, EDGE, lessons.read(question(is_hard=False)))
    assert (guess.gap_max, guess.certificate) == (LOWEST, 0)
    figures = target_figures(lessons)
    assert (figures["learned"], figures["certifying"], figures["looks"]) == (0, 0, 0)


def test_other_terms_void_the_certificate_but_not_what_was_learned(
    certified: tuple[bytes, bytes, list[Step]],
) -> None:
    lessons = again(certified, QualityTerms(loss_max=0.15))
    (step,) = lessons.steps_of_settling  # type: ignore[attr-defined]  # handed over by `again`
    assert (step.what, step.why) == ("voided", "terms")
    assert not standing(lessons)
    assert target_figures(lessons)["suspended"] == "terms"
    assert target_figures(lessons)["learned"] > 40
    # The pairs are as good as they were: a look is due at once.
    steps = [step for due in lessons.due() for step in lessons.recalibrate(*due, at_ms=1)]
    assert [one.what for one in steps] == ["certified"]
    assert steps[0].certificate == 2
    assert target_figures(lessons)["looks"] == 2


def test_terms_that_change_before_a_certificate_need_no_step() -> None:
    lessons = begun()
    live(lessons, 40)
    assert list(lessons.settle({NAME: (QualityTerms(loss_max=0.1), {EDGE: "v1"}, CLOUD_VERSION)})) == []
    assert target_figures(lessons)["learned"] > 0
    (step,) = lessons.settle({NAME: (QualityTerms(loss_max=0.1), {EDGE: "v2"}, CLOUD_VERSION)})
    assert (step.what, step.certificate) == ("voided", 0)
    assert target_figures(lessons)["learned"] == 0
    assert target_figures(lessons)["suspended"] == ""


def test_a_name_that_is_gone_is_forgotten(certified: tuple[bytes, bytes, list[Step]]) -> None:
    lessons = again(certified)
    work = lessons.prepare(NAME, EDGE)
    lessons.settle({})
    assert lessons.terms(NAME) is None
    assert lessons.documents() == []
    assert list(lessons.finish(work.run(), at_ms=1)) == []


def test_a_broken_promise_is_taken_back_and_made_anew_with_new_pairs(
    certified: tuple[bytes, bytes, list[Step]],
) -> None:
    lessons = again(certified)
    read = lessons.read(question(is_hard=False))
    guess = lessons.guess(NAME, EDGE, read)
    steps: list[Step] = []
    while not steps:
        steps += lessons.add(pair(1.0, Role.CERTIFY, guess), read)
    assert [(step.what, step.why, step.certificate) for step in steps] == [("suspended", steps[0].why, 1)]
    assert steps[0].figures["loss"] > 0.5
    assert steps[0].why in ("drift.loss", "drift.calibration")
    assert target_figures(lessons)["suspended"] == steps[0].why
    after = lessons.guess(NAME, EDGE, read)
    assert (after.gap_max, after.certificate) == (LOWEST, 0)
    steps = live(lessons, 150, first=20_000)
    assert "certified" in [step.what for step in steps]
    assert target_figures(lessons)["suspended"] == ""


def test_other_traffic_suspends_at_once_and_is_told_with_the_next_pair(
    certified: tuple[bytes, bytes, list[Step]],
) -> None:
    lessons = again(certified)
    read = lessons.read(question(is_hard=True))
    guess = lessons.guess(NAME, EDGE, read)
    placed = 0
    while standing(lessons):
        lessons.placed(NAME, EDGE, guess, is_cloud=True, read=read)
        placed += 1
    assert placed < 300
    (step,) = lessons.add(pair(0.0, Role.LEARN), read)
    assert (step.what, step.why) == ("suspended", "drift.traffic")
    assert list(lessons.add(pair(0.0, Role.LEARN), read)) == []
    # What was learned is still true; only pairs to certify with are wanted.
    assert target_figures(lessons)["certifying"] == 0
    assert len(lessons.prepare(NAME, EDGE).rows) > 40


def test_a_guess_from_before_the_certificate_says_nothing_of_the_traffic(
    certified: tuple[bytes, bytes, list[Step]],
) -> None:
    lessons = again(certified)
    before = target_figures(lessons)["drift"]
    lessons.placed(NAME, EDGE, Guess(gap=0.0), is_cloud=True, read=None)
    assert target_figures(lessons)["drift"] == before
    guess = lessons.guess(NAME, EDGE, lessons.read(question(is_hard=True)))
    lessons.placed(NAME, EDGE, guess, is_cloud=True)
    assert target_figures(lessons)["drift"] != before


def test_heavy_work_that_was_overtaken_is_dropped(certified: tuple[bytes, bytes, list[Step]]) -> None:
    lessons = again(certified, QualityTerms(loss_max=0.15))
    done = lessons.prepare(NAME, EDGE).run()
    lessons.settle({NAME: (TERMS, {EDGE: "v3"}, CLOUD_VERSION)})
    assert list(lessons.finish(done, at_ms=1)) == []
    assert not standing(lessons)


def test_pairs_that_come_while_it_is_worked_are_learned_after_all(
    certified: tuple[bytes, bytes, list[Step]],
) -> None:
    lessons = again(certified)
    work = lessons.prepare(NAME, EDGE)
    read = lessons.read(question(is_hard=True))
    lessons.add(pair(1.0, Role.LEARN), read)
    lessons.finish(work.run(), at_ms=1)
    assert lessons._names[NAME].courses[EDGE].prompt.labels == len(work.rows) + 1


def test_missing_pairs_are_counted() -> None:
    lessons = begun()
    lessons.missed(NAME, EDGE, Role.CERTIFY)
    lessons.missed(NAME, EDGE, Role.LEARN)
    assert target_figures(lessons)["missing"] == 1


def test_with_too_many_missing_pairs_nothing_is_certified() -> None:
    lessons = begun()
    for _ in range(40):
        lessons.missed(NAME, EDGE, Role.CERTIFY)
    steps = live(lessons, 170)
    assert {step.what for step in steps} == {"not_yet"}
    assert not standing(lessons)
    assert steps[0].figures["looks"] == 1


def test_an_edge_that_always_fails_is_never_looked_at_and_no_number_of_pairs_is_named() -> None:
    lessons = begun(QualityTerms(loss_max=0.03))
    assert live(lessons, 170, gap_hard=1.0, gap_easy=1.0) == []
    figures = target_figures(lessons)
    assert (figures["looks"], figures["pairs_needed"], figures["certificate"]) == (0, None, None)


def test_a_hard_promise_says_how_many_more_pairs_it_needs() -> None:
    lessons = begun(QualityTerms(loss_max=0.02))
    live(lessons, 170)
    figures = target_figures(lessons)
    assert figures["certificate"] is None
    assert figures["pairs_needed"] > 20


def test_two_edge_targets_share_what_may_be_lost() -> None:
    lessons = begun(edges=("one", "two"))
    assert {figures["loss_max"] for figures in lessons.figures(NAME)["targets"].values()} == {0.1}
    assert len(lessons.documents()) == 3


def test_a_price_holds_the_cloud_to_its_share(certified: tuple[bytes, bytes, list[Step]]) -> None:
    lessons = again(certified, QualityTerms(loss_max=0.2, cloud_share=0.9))
    read = lessons.read(question(is_hard=False, number=3))
    guess = lessons.guess(NAME, EDGE, read)
    assert guess.gap_max <= 1.0
    for _ in range(2_500):
        lessons.placed(NAME, EDGE, Guess(gap=guess.gap), is_cloud=False)
    dearer = lessons.guess(NAME, EDGE, read)
    assert dearer.gap_max < guess.gap_max
    assert lessons.figures(NAME)["price"] == pytest.approx(dearer.gap_max)


def test_an_automatic_ladder_climbs_with_proof_and_comes_down_without(
    certified: tuple[bytes, bytes, list[Step]],
) -> None:
    terms = QualityTerms(loss_max=0.2, is_auto=True)
    lessons = begun(terms)
    assert lessons.mode(NAME, Mode.CLOUD) is Mode.SHADOW
    steps = live(lessons, 170)
    moved = [(step.what, step.mode_from, step.mode_to) for step in steps if step.mode_to]
    assert moved == [("advanced", "shadow", "auto")]
    assert lessons.mode(NAME, Mode.CLOUD) is Mode.AUTO
    other = Lessons(SECRET)
    for model, target in lessons.documents():
        other.load(model, target, lessons.dump(model, target))
    assert list(other.settle({NAME: (terms, {EDGE: "v1"}, CLOUD_VERSION)})) == []
    assert other.mode(NAME, Mode.CLOUD) is Mode.AUTO
    steps = list(other.settle({NAME: (terms, {EDGE: "v2"}, CLOUD_VERSION)}))
    assert [step.what for step in steps] == ["voided", "fell_back"]
    assert other.mode(NAME, Mode.CLOUD) is Mode.SHADOW
    # An operator who sets another rung starts from there.
    assert other.mode(NAME, Mode.AUTO) is Mode.AUTO
    assert other.figures(NAME)["rung"] == "auto"


def test_where_the_edge_is_never_worse_everything_may_go_there() -> None:
    lessons = begun(QualityTerms(loss_max=0.2, is_auto=True))
    assert lessons.mode(NAME, Mode.SHADOW) is Mode.SHADOW
    steps = live(lessons, 170, gap_hard=0.0)
    assert [step.mode_to for step in steps if step.mode_to] == ["auto"]
    assert lessons.figures(NAME)["proof"] == "all"
    # The next evidence takes it up the last rung.
    lessons.settle({NAME: (lessons.terms(NAME) or TERMS, {EDGE: "v1"}, CLOUD_VERSION)})
    assert lessons.mode(NAME, Mode.SHADOW) is Mode.EDGE


def test_by_hand_a_name_at_the_edge_is_placed_request_by_request_once_its_promise_is_lost(
    certified: tuple[bytes, bytes, list[Step]],
) -> None:
    lessons = again(certified)
    assert lessons.mode(NAME, Mode.EDGE) is Mode.EDGE
    lessons.settle({NAME: (TERMS, {EDGE: "v2"}, CLOUD_VERSION)})
    assert lessons.mode(NAME, Mode.EDGE) is Mode.AUTO
    assert lessons.figures(NAME)["proof"] == "lost"
    assert lessons.figures(NAME)["rung"] == "auto"


CASCADE = QualityTerms(loss_max=0.2, has_answer_gate=True)


def test_a_gate_on_answers_keeps_what_the_answer_itself_shows_to_be_good() -> None:
    lessons = begun(CASCADE, with_signs=True)
    read = lessons.read(question(is_hard=False))
    assert lessons.guess(NAME, EDGE, read).skip_above == LOWEST
    # The prompt tells nothing here: each application fails one time in two.
    steps = live(lessons, 200, gap_hard=0.5, gap_easy=0.5, replies=True)
    (step,) = [one for one in steps if one.what == "certified"]
    assert step.gate is Gate.ANSWER
    assert step.figures["edge_share"] == pytest.approx(0.5, abs=0.1)
    guess = lessons.guess(NAME, EDGE, read)
    assert (guess.gap_max, guess.certificate) == (LOWEST, 1)
    assert guess.gap <= guess.skip_above
    other = Lessons(SECRET, signs=lessons._signs)
    other.load(NAME, EDGE, lessons.dump(NAME, EDGE))
    assert list(other.settle({NAME: (CASCADE, {EDGE: "v1"}, CLOUD_VERSION)})) == []
    assert target_figures(other)["certificate"] == target_figures(lessons)["certificate"]
    assert live(other, 20, first=5_000, gap_hard=0.5, gap_easy=0.5, replies=True) == []


def test_without_signs_a_gate_on_answers_promises_nothing() -> None:
    lessons = begun(CASCADE)
    assert live(lessons, 170, replies=True) == []
    assert target_figures(lessons)["missing"] > 50
    asked = question(is_hard=False)
    assert lessons.guess_answer(NAME, EDGE, lessons.read(asked), asked, None).gap_max == LOWEST  # type: ignore[arg-type]  # never looked at


@pytest.mark.parametrize("data", [b"", b"\x00", b"nothing of the kind"])
def test_a_broken_dump_is_refused(data: bytes) -> None:
    lessons = Lessons(SECRET)
    for target in ("", EDGE):
        with pytest.raises(ValueError, match="not what was learned"):
            lessons.load(NAME, target, data)
