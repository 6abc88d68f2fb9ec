"""What traits become before a line is fitted."""

from __future__ import annotations

import numpy as np
import pytest

from ecotone.learning import Signals, Traits
from ecotone.learning.hand import HAND
from ecotone.learning.projection import LANDMARKS, TOPICS, Projection
from ecotone.values.quality import Question
from ecotone.values.request import Endpoint

TALK = {
    "sea": "the ship sails over the sea with wind and waves to the harbour",
    "court": "the judge reads the law and the lawyer asks the court for justice",
    "kitchen": "cook the soup with salt pepper onions and bread in the oven",
}


def _traits(count: int, seed: int = 1) -> tuple[list[Traits], list[str]]:
    dice = np.random.default_rng(seed)
    signals = Signals(b"s" * 32)
    topics = [list(TALK)[number % 3] for number in range(count)]
    texts = [" ".join(dice.choice(TALK[topic].split(), 9)) for topic in topics]
    return [signals.of(Question(endpoint=Endpoint.CHAT, model="m", asked=text)) for text in texts], topics


def test_prompts_on_one_thing_lie_near_each_other() -> None:
    traits, topics = _traits(400)
    projection = Projection.fit(traits[:300])
    assert projection.blocks[0] == HAND
    assert projection.blocks[1] <= TOPICS
    assert projection.blocks[2] == min(LANDMARKS, 75)
    found = np.array([projection.apply(one) for one in traits[300:]])
    assert found.shape == (100, projection.size)
    points = found[:, HAND : HAND + projection.blocks[1]]
    points = points / np.linalg.norm(points, axis=1)[:, None]
    alike = points @ points.T
    same = np.array(topics[300:])[:, None] == np.array(topics[300:])[None, :]
    np.fill_diagonal(same, val=False)
    assert alike[same].mean() > alike[~same].mean() + 0.1


def test_it_is_the_same_each_time_and_after_the_store() -> None:
    traits, _ = _traits(120)
    one, two = Projection.fit(traits), Projection.fit(traits)
    kept = Projection(one.arrays())
    for asked in traits[:10]:
        assert np.array_equal(one.apply(asked), two.apply(asked))
        assert np.array_equal(one.apply(asked), kept.apply(asked))


def test_more_prompts_than_are_looked_at_are_thinned_evenly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ecotone.learning.projection.SAMPLE_MAX", 50)
    traits, _ = _traits(120)
    assert np.array_equal(
        Projection.fit(traits).apply(traits[0]),
        Projection.fit([traits[at] for at in np.linspace(0, 119, 50).astype(int)]).apply(traits[0]),
    )


def test_a_few_prompts_and_empty_ones_do_no_harm() -> None:
    signals = Signals(b"s" * 32)
    empty = signals.of(Question(endpoint=Endpoint.CHAT, model="m"))
    for sample in ([empty], [empty] * 10, [*_traits(6)[0], empty]):
        projection = Projection.fit(sample)
        for asked in (empty, *_traits(3, seed=9)[0]):
            found = projection.apply(asked)
            assert found.shape == (projection.size,)
            assert np.isfinite(found).all()


def test_a_prompt_unlike_all_others_is_held_within_bounds() -> None:
    traits, _ = _traits(100)
    projection = Projection.fit(traits)
    odd = Traits(traits[0].groups, np.full(HAND, 1e6, np.float32).tobytes(), traits[0].grams)
    assert np.abs(projection.apply(odd)).max() < 100.0


def test_arrays_that_do_not_fit_together_are_refused() -> None:
    arrays = Projection.fit(_traits(40)[0]).arrays()
    for name, array in arrays.items():
        with pytest.raises(ValueError, match="shape"):
            Projection({**arrays, name: array[:-1]})
    for name, array in (
        ("known", arrays["known"][::-1]),
        ("known", arrays["known"] | 0x8000),
        ("rarity", -arrays["rarity"]),
    ):
        with pytest.raises(ValueError, match="out of range"):
            Projection({**arrays, name: array})
    del arrays["metric"]
    with pytest.raises(ValueError, match="metric"):
        Projection(arrays)
