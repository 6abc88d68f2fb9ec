"""The learner: it starts from length, learns, is fitted anew, freezes, and survives the store."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from ecotone.learning import Learner, Row, Scorer, Signals, Traits
from ecotone.learning.learner import FIT_FROM, SIGNS_MAX
from ecotone.learning.packing import pack, unpack
from ecotone.values.quality import Question
from ecotone.values.request import Endpoint

SIGNALS = Signals(b"a secret of the tests")
EASY = "what is the name of the capital city of this country please"
HARD = "prove that the integral over the triangle equals the sum of angles"


def _traits(text: str, system: str = "") -> Traits:
    return SIGNALS.of(Question(endpoint=Endpoint.CHAT, model="m", asked=text, system=system))


def _rows(count: int, *, seed: int = 0, system: bool = False) -> list[Row]:
    """Easy prompts have gaps near 0, hard ones near 1, both with noise; words are drawn at random."""
    dice = np.random.default_rng(seed)
    rows: list[Row] = []
    for _ in range(count):
        is_hard = bool(dice.random() < 0.5)
        text = " ".join(dice.choice((HARD if is_hard else EASY).split(), 7))
        gap = float(dice.random() < (0.8 if is_hard else 0.1))
        rows.append((_traits(text, ("proofs" if is_hard else "trivia") if system else ""), gap, None))
    return rows


def _parted(model: Learner | Scorer, rows: list[Row]) -> float:
    """Mean prediction where the gap was 1, less that where it was 0."""
    scores = model.scores([traits for traits, _, _ in rows])
    gaps = np.array([gap for _, gap, _ in rows])
    return float(scores[gaps > 0.5].mean() - scores[gaps < 0.5].mean())


def test_it_starts_from_length_and_says_that_it_is_unsure() -> None:
    learner = Learner()
    short, long = learner.guess(_traits("hi")), learner.guess(_traits("hi " * 200))
    assert short[0] < long[0]
    assert long[1] > 0.3
    assert 0.0 < long[2] < short[2] < 1.0
    assert learner.labels == 0
    assert not learner.is_due


def test_it_learns_label_by_label() -> None:
    learner = Learner()
    for row in _rows(90):
        learner.learn(*row)
    assert learner.labels == 90
    assert _parted(learner, _rows(200, seed=1)) > 0.05
    assert learner.guess(_traits(EASY))[2] > learner.guess(_traits(HARD))[2]


def test_it_is_due_when_labels_have_grown_by_half_and_a_fit_learns_more() -> None:
    learner = Learner()
    rows = _rows(FIT_FROM)
    for row in rows:
        learner.learn(*row)
    assert learner.is_due
    fitted = Learner.fit(rows)
    assert (fitted.labels, fitted.fitted, fitted.is_due) == (FIT_FROM, FIT_FROM, False)
    assert _parted(fitted, _rows(200, seed=1)) > _parted(learner, _rows(200, seed=1))
    for row in _rows(FIT_FROM // 2, seed=2):
        fitted.learn(*row)
    assert fitted.is_due
    assert fitted.labels == FIT_FROM + FIT_FROM // 2


def test_a_fit_to_few_rows_is_learning_them_one_by_one() -> None:
    rows = _rows(20)
    learner = Learner()
    for row in rows:
        learner.learn(*row)
    assert Learner.fit(rows).dump() == learner.dump()


def test_the_probability_is_calibrated_on_what_was_not_seen() -> None:
    scorer = Learner.fit(_rows(600)).freeze()
    tested = _rows(1_500, seed=4)
    chances = np.array([scorer.guess(traits)[2] for traits, _, _ in tested])
    good = np.array([gap <= 0.0 for _, gap, _ in tested])
    for part in np.array_split(np.argsort(chances), 3):
        assert abs(chances[part].mean() - good[part].mean()) < 0.08


def test_a_group_teaches_what_words_do_not() -> None:
    """Same words in both applications; only the system prompt tells them apart."""
    dice = np.random.default_rng(8)
    rows: list[Row] = []
    for number in range(240):
        system = "proofs" if number % 2 else "trivia"
        gap = float(dice.random() < (0.9 if number % 2 else 0.1))
        rows.append((_traits(" ".join(dice.choice(EASY.split(), 7)), system), gap, None))
    cold = Learner()
    for row in rows[:60]:
        cold.learn(*row)
    for learner in (cold, Learner.fit(rows)):
        assert learner.guess(_traits(EASY, "proofs"))[0] > learner.guess(_traits(EASY, "trivia"))[0] + 0.4
        # Of an application that it has not seen it is less sure.
        assert learner.guess(_traits(EASY, "letters"))[1] > learner.guess(_traits(EASY, "trivia"))[1]


def test_what_is_frozen_does_not_move() -> None:
    learner = Learner.fit(_rows(150))
    scorer = learner.freeze()
    asked = _rows(20, seed=3)
    before = scorer.scores([traits for traits, _, _ in asked])
    for row in _rows(80, seed=5, system=True):
        learner.learn(*row)
    assert np.array_equal(scorer.scores([traits for traits, _, _ in asked]), before)
    assert scorer.labels == 150
    assert not np.array_equal(learner.scores([traits for traits, _, _ in asked]), before)
    assert scorer.guess(asked[0][0])[0] == before[0]


@pytest.mark.parametrize("count", [30, 150])
def test_the_store_keeps_scores_to_the_last_bit(count: int) -> None:
    learner = Learner.fit(_rows(count, system=True))
    again, scorer = Learner.load(learner.dump()), Scorer.load(learner.freeze().dump())
    asked = [traits for traits, _, _ in _rows(30, seed=3, system=True)]
    assert np.array_equal(again.scores(asked), learner.scores(asked))
    assert np.array_equal(scorer.scores(asked), learner.scores(asked))
    for row in _rows(20, seed=7, system=True):
        learner.learn(*row)
        again.learn(*row)
    assert again.dump() == learner.dump()
    assert again.labels == count + 20


def test_two_learners_on_the_same_rows_are_the_same() -> None:
    assert Learner.fit(_rows(130)).dump() == Learner.fit(_rows(130)).dump()


def test_signs_of_the_answer_are_learned_from() -> None:
    dice = np.random.default_rng(2)
    rows: list[Row] = []
    for traits, gap, _ in _rows(200):
        told = gap if dice.random() < 0.9 else 1.0 - gap
        rows.append((traits, gap, np.array([told, 7.0])))
    cold = Learner(2)
    for row in rows[:50]:
        cold.learn(*row)
    for learner in (cold, Learner.fit(rows, signs=2)):
        assert learner.signs == 2
        good, bad = np.array([0.0, 7.0]), np.array([1.0, 7.0])
        assert learner.guess(_traits(EASY), bad)[0] > learner.guess(_traits(EASY), good)[0] + 0.3
        assert learner.scores([_traits(EASY)] * 2, np.array([good, bad])).tolist() == [
            learner.guess(_traits(EASY), good)[0],
            learner.guess(_traits(EASY), bad)[0],
        ]
        assert Scorer.load(learner.freeze().dump()).guess(_traits(EASY), bad) == learner.guess(_traits(EASY), bad)


def test_signs_that_are_missing_wrong_or_no_numbers_are_refused() -> None:
    learner = Learner(2)
    for signs in (None, np.zeros(3), np.array([0.0, np.nan])):
        with pytest.raises(ValueError, match="2 finite signs"):
            learner.guess(_traits(EASY), signs)
        with pytest.raises(ValueError, match="2 finite signs"):
            learner.learn(_traits(EASY), 0.0, signs)
    assert learner.labels == 0
    rows: list[Row] = [(traits, gap, np.zeros(3)) for traits, gap, _ in _rows(FIT_FROM)]
    with pytest.raises(ValueError, match="2 finite signs"):
        Learner.fit(rows, signs=2)
    with pytest.raises(ValueError, match=f"0 to {SIGNS_MAX}"):
        Learner(SIGNS_MAX + 1)


@pytest.mark.parametrize("gap", [1.5, -1.5, float("nan")])
def test_a_gap_out_of_range_is_refused(gap: float) -> None:
    with pytest.raises(ValueError, match="gap"):
        Learner().learn(_traits(EASY), gap)


def test_groups_without_end_take_bounded_memory_and_a_displaced_one_starts_anew() -> None:
    learner = Learner()
    for number in range(200):
        learner.learn(_traits(EASY, f"application {'x' * number}"), 1.0)
    assert len(learner.dump()) < 1 << 20
    for _ in range(3):
        learner.learn(_traits(EASY, "newcomer"), 0.0)
    assert learner.guess(_traits(EASY, "newcomer"))[0] < learner.guess(_traits(EASY, "application"))[0]


def _spoiled(**changed: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> bytes:
    arrays = unpack("ecotone.learner", Learner.fit(_rows(20, system=True)).dump())
    return pack("ecotone.learner", {**arrays, **changed})


def test_a_broken_dump_is_refused() -> None:
    whole = Learner.fit(_rows(20, system=True)).dump()
    arrays = unpack("ecotone.learner", whole)
    assert Learner.load(whole).labels == 20
    skewed = arrays["unsure"].copy()
    skewed[0, 1] += 0.5
    spoiled = [
        b"",
        whole[:-1],
        msgspec.msgpack.encode(["ecotone.learner", {}]),
        _spoiled(strengths=arrays["strengths"] * -1.0),
        _spoiled(scaling=np.zeros((2, SIGNS_MAX + 1))),
        _spoiled(weights=arrays["weights"][:-1]),
        _spoiled(unsure=-arrays["unsure"]),
        _spoiled(unsure=skewed),
        _spoiled(numbers=np.array([1.0, -1.0, 0.0, 0.0])),
        _spoiled(groups=arrays["groups"][:1].repeat(len(arrays["groups"]))),
        _spoiled(places=arrays["places"] * 0),
        _spoiled(places=arrays["places"] + 1_000),
    ]
    for data in spoiled:
        with pytest.raises(ValueError):  # noqa: PT011 - many reasons, one outcome
            Learner.load(data)
