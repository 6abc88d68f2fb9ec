"""Fits and looks on copies."""

import math

import msgspec
import numpy as np
import pytest
from tests.unit.learning.lived import SECRET, question

from ecotone.learning import recalibration
from ecotone.learning.certificate import HIGHEST, Terms
from ecotone.learning.learner import Learner
from ecotone.learning.recalibration import Frozen, Work, level_delta
from ecotone.learning.rows import Labelled
from ecotone.learning.signals import Signals
from ecotone.learning.traits import GROUP_LEVELS
from ecotone.values.quality import Gate

SIGNALS = Signals(SECRET)
TRAITS = {is_hard: [SIGNALS.of(question(is_hard, number)) for number in range(7)] for is_hard in (True, False)}


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recalibration, "HOPE_ROWS", 40)


def rows(count: int, *, signs: bool = False, foreseen: bool = True, edge_fails: bool = False) -> list[Labelled]:
    """Every other row is hard, and fails."""
    made = []
    for number in range(count):
        is_hard = number % 2 == 0
        gap = 1.0 if is_hard or edge_fails else 0.0
        packed = np.array([gap, 1.0]).tobytes() if signs else b""
        traits = TRAITS[is_hard][number % 7]
        made.append(Labelled(traits, gap, packed, number, gap if foreseen else 0.5))
    return made


def work(gate: Gate = Gate.PROMPT, **fields: object) -> Work:
    signs = gate is Gate.ANSWER
    made = Work(
        model="m",
        target="edge",
        epoch=0,
        number=0,
        gate=gate,
        rows=rows(90, signs=signs),
        plain=rows(90, signs=signs),
        certify=rows(150, signs=signs),
        missing=0,
        terms=Terms(0.1, 0.05),
        is_fit=True,
        is_look=True,
        is_standing=False,
    )
    return msgspec.structs.replace(made, **fields)


def test_a_look_finds_the_threshold_between_what_fails_and_what_does_not() -> None:
    done = work().run()
    assert done.was_look
    assert done.certificate is not None
    assert done.certificate.edge_share == pytest.approx(0.5)
    assert done.base is not None
    assert done.base.level == GROUP_LEVELS - 1
    assert done.base.unseen == 0.0


def test_without_enough_pairs_only_a_fit_is_made() -> None:
    done = work(is_look=False).run()
    assert done.prompt is not None
    assert not done.was_look


def test_a_look_without_hope_is_not_taken_and_fits_nothing() -> None:
    hopeless = work(plain=rows(90, edge_fails=True, foreseen=False), is_fit=False, terms=Terms(0.02, 0.05)).run()
    assert (hopeless.prompt, hopeless.was_look, hopeless.pairs_needed) == (None, False, None)
    later = work(certify=rows(10)).run()
    assert later.prompt is not None
    assert not later.was_look
    assert later.pairs_needed is not None
    assert later.pairs_needed > 0
    assert not work(plain=rows(10)).run().was_look
    assert not work(rows=rows(10)).run().was_look


def test_while_a_certificate_stands_a_look_needs_no_hope() -> None:
    assert work(plain=rows(10), is_standing=True).run().was_look


def test_a_gate_on_answers_is_fitted_to_signs_of_the_newest_kind() -> None:
    old = [msgspec.structs.replace(row, signs=np.zeros(3).tobytes()) for row in rows(5)]
    done = work(Gate.ANSWER, rows=[*old, *rows(90, signs=True)], certify=[*old, *rows(150, signs=True)]).run()
    assert done.answer is not None
    assert done.answer.signs == 2
    assert done.certificate is not None
    assert (done.certificate.pairs, done.certificate.missing) == (150, 5)
    assert done.frozen is not None
    assert done.frozen.gate is Gate.ANSWER


def test_without_signs_a_gate_on_answers_fits_the_prompt_alone() -> None:
    done = work(Gate.ANSWER, rows=rows(90)).run()
    assert (done.answer, done.was_look) == (None, False)


def _cascade() -> tuple[Frozen, Learner, Learner]:
    learned = rows(90, signs=True)
    prompt = Learner.fit([(row.traits, row.gap, None) for row in learned])
    answer = Learner.fit([(row.traits, row.gap, row.vector) for row in learned], signs=2)
    return Frozen(Gate.ANSWER, prompt.freeze(), answer.freeze(), 0.5), prompt, answer


def test_where_the_edge_is_not_asked_the_score_is_out_of_reach() -> None:
    frozen, _, _ = _cascade()
    row = rows(2, signs=True)[1]
    assert frozen.score(row.traits, row.vector, 0.9) == math.inf
    assert frozen.score(row.traits, None, 0.1) == math.inf
    assert frozen.score(row.traits, row.vector, 0.1) < 0.5
    assert Frozen(Gate.PROMPT, frozen.prompt).score(row.traits, None, 0.3) == 0.3
    scores, prompts = frozen.scores(rows(20, signs=True))
    assert (np.isinf(scores) == (prompts > 0.5)).all()
    assert np.isinf(scores).any()
    assert np.isfinite(scores).any()


def test_the_edge_is_not_asked_where_hardly_any_answer_would_be_kept() -> None:
    frozen, _, _ = _cascade()
    everywhere = msgspec.structs.replace(frozen, skip_above=HIGHEST)
    skip = recalibration._skip_above(everywhere, rows(90, signs=True), 0.05)
    easy, hard = (frozen.prompt.guess(TRAITS[is_hard][1])[0] for is_hard in (False, True))
    assert easy <= skip < hard
    # Where all would be kept, it is asked everywhere; where none would, hardly anywhere.
    kept = [msgspec.structs.replace(row, gap=0.0) for row in rows(90, signs=True)]
    assert recalibration._skip_above(everywhere, kept, 0.05) == HIGHEST
    lost = [msgspec.structs.replace(row, gap=1.0) for row in rows(90, signs=True)]
    assert recalibration._skip_above(everywhere, lost, 0.001) <= easy


def _renamed(row: Labelled, level: int, key: int) -> Labelled:
    """The same with another key at one level."""
    groups = tuple(key if place == level else old for place, old in enumerate(row.traits.groups))
    return msgspec.structs.replace(row, traits=msgspec.structs.replace(row.traits, groups=groups))


def test_a_level_of_keys_that_is_always_new_does_not_tell_old_work_from_new() -> None:
    assert recalibration._level(rows(50))[0] == GROUP_LEVELS - 1
    fresh = [_renamed(row, GROUP_LEVELS - 1, row.number + 1) for row in rows(50)]
    level, known = recalibration._level(fresh)
    assert level == GROUP_LEVELS - 2
    assert known == {row.traits.groups[level] for row in fresh}
    for level in range(GROUP_LEVELS):
        fresh = [_renamed(row, level, row.number + 1) for row in fresh]
    assert recalibration._level(fresh) == (-1, frozenset())


def test_work_of_a_new_kind_is_not_let_pass_and_not_certified() -> None:
    new = [_renamed(row, GROUP_LEVELS - 1, 5) if row.number % 10 == 1 else row for row in rows(150)]
    done = work(certify=new).run()
    assert done.certificate is not None
    assert done.frozen is not None
    assert done.base is not None
    assert done.certificate.edge_share == pytest.approx(0.4)
    assert done.base.unseen == pytest.approx(0.1)
    assert done.frozen.score(new[1].traits, None, 0.0) == math.inf
    assert done.frozen.score(new[3].traits, None, 0.0) == 0.0


def test_where_nothing_is_asked_calibration_has_no_base() -> None:
    base = recalibration._base(np.full(50, np.inf), np.zeros(50), rows(50), Frozen(Gate.PROMPT, Learner().freeze()))
    assert base.residuals == (0.0, 0.0, 0.0, 0.0)
    assert base.edges == (0.0, 0.0, 0.0)
    assert base.shares == (1.0, 1.0, 1.0)


def test_all_looks_together_are_wrong_as_seldom_as_one_might_be() -> None:
    levels = [level_delta(0.05, attempt) for attempt in range(1, 5_000)]
    assert levels == sorted(levels, reverse=True)
    assert sum(levels) == pytest.approx(0.05, abs=1e-5)
    assert sum(levels) < 0.05
