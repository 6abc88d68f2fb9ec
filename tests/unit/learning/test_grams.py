"""Hashed words."""

from __future__ import annotations

import numpy as np

from ecotone.learning.grams import BUCKETS, Keys, grams
from ecotone.learning.hand import cap, words

KEYS = Keys(bytes(range(64)))
OTHER = Keys(bytes(range(1, 65)))


def _grams(text: str, keys: Keys = KEYS, limit: int = 600) -> np.ndarray[tuple[int], np.dtype[np.uint16]]:
    data = cap(text)
    return grams(data, words(data), keys, limit)


def test_the_same_words_have_the_same_buckets_in_rising_order() -> None:
    found = _grams("the cat sat on the mat")
    assert found.dtype == np.uint16
    assert found.tolist() == sorted(found.tolist())
    assert int(found.max()) < BUCKETS
    assert found.tolist() == _grams("The CAT, sat on... the mat!").tolist()
    assert len(found) == 5 + 2  # five words, and the first and the last once more


def test_another_secret_gives_other_buckets() -> None:
    assert _grams("the cat sat on the mat").tolist() != _grams("the cat sat on the mat", OTHER).tolist()


def test_the_first_and_the_last_word_count_by_themselves() -> None:
    one, two = set(_grams("a b c").tolist()), set(_grams("c b a").tolist())
    assert len(one & two) == 3
    assert len(one - two) == 2


def test_scripts_without_spaces_have_pairs_of_characters() -> None:
    # Four characters are one word to the splitter; what the two texts share are pairs.
    one, two = set(_grams("我想翻译这句话").tolist()), set(_grams("请你翻译这句诗").tolist())
    assert len(one & two) == 3
    assert set(_grams("é à").tolist()) & set(_grams("é").tolist())
    assert len(_grams("“x” “y”")) == len(words(cap("“x” “y”"))) + 2  # quotes are no characters of a script


def test_nothing_and_too_much() -> None:
    assert len(_grams("")) == 0
    assert len(_grams("... !")) == 0
    many = " ".join(f"w{number}" for number in range(400))
    assert len(_grams(many, limit=50)) == 50


def test_buckets_are_spread() -> None:
    found = {int(bucket) for number in range(4_000) for bucket in _grams(f"x{number}")[:1]}
    assert len(found) > 2_000
