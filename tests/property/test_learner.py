"""Signals and the learner, whatever comes."""

from __future__ import annotations

import functools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from ecotone.learning import Learner, Row, Scorer, Signals, Traits
from ecotone.values.quality import Question
from ecotone.values.request import Endpoint

SIGNALS = Signals(b"a secret of the tests")
TEXTS = st.text(max_size=400) | st.text("ab \n", max_size=400) | st.text(max_size=20).map(lambda text: text * 300)
GAPS = st.floats(-1.0, 1.0)


def _traits(text: str, system: str = "") -> Traits:
    return SIGNALS.of(Question(endpoint=Endpoint.CHAT, model="m", asked=text, system=system, chars=len(text)))


@functools.cache
def _fitted() -> Learner:
    dice = np.random.default_rng(1)
    words = ["when", "where", "ship", "law", "soup", "prove", "integral", "def", "return", "12", "name", "city"]
    rows: list[Row] = []
    for _ in range(120):
        text = " ".join(dice.choice(words, 8))
        rows.append((_traits(text, "one" if "law" in text else "two"), float("prove" in text), None))
    return Learner.fit(rows)


@given(TEXTS, TEXTS)
def test_any_text_has_small_sound_traits_that_survive_the_store(text: str, system: str) -> None:
    found = _traits(text, system)
    dump = found.dump()
    assert len(dump) <= 2_048
    assert Traits.load(dump) == found == _traits(text, system)


@settings(deadline=None)
@given(TEXTS, TEXTS)
def test_any_text_has_a_finite_guess(text: str, system: str) -> None:
    for model in (Learner(), _fitted(), _fitted().freeze()):
        mean, sd, good = model.guess(_traits(text, system))
        assert np.isfinite(mean)
        assert np.isfinite(sd)
        assert sd >= 0.0
        assert 0.0 <= good <= 1.0
        assert model.scores([_traits(text, system)])[0] == mean


@settings(deadline=None)
@given(st.lists(st.tuples(st.text("abcdef ", max_size=60), GAPS), min_size=1, max_size=30))
def test_a_frozen_scorer_never_moves_and_the_learner_stays_sound(labels: list[tuple[str, float]]) -> None:
    learner = Learner.load(_fitted().dump())
    scorer = learner.freeze()
    asked = [_traits(text) for text, _ in labels]
    before = scorer.scores(asked)
    for (_, gap), traits in zip(labels, asked, strict=True):
        learner.learn(traits, gap)
    assert np.array_equal(scorer.scores(asked), before)
    again = Scorer.load(learner.freeze().dump())
    assert np.array_equal(again.scores(asked), learner.scores(asked))
    assert learner.labels == 120 + len(labels)
    assert all(sd >= 0.0 for _, sd, _ in (learner.guess(traits) for traits in asked))


@settings(deadline=None)
@given(GAPS, GAPS)
def test_a_larger_gap_is_never_likelier_to_be_good_enough(one: float, two: float) -> None:
    curve = _fitted()._curve
    assert (one <= two) == (curve.at(one) >= curve.at(two)) or curve.at(one) == curve.at(two)


@settings(deadline=None)
@given(st.data())
def test_a_damaged_dump_is_refused_or_still_sound(data: st.DataObject) -> None:
    whole = Learner().dump()
    place = data.draw(st.integers(0, len(whole) - 1))
    damaged = whole[:place] + bytes([data.draw(st.integers(0, 255))]) + whole[place + 1 :]
    try:
        learner = Learner.load(damaged)
    except ValueError:
        return
    learner.learn(_traits("what is this"), 0.5)


@given(st.binary(max_size=300))
def test_bytes_that_are_no_dump_are_refused(data: bytes) -> None:
    for load in (Learner.load, Scorer.load, Traits.load):
        try:
            load(data)
        except ValueError:
            continue
        raise AssertionError("loaded")
