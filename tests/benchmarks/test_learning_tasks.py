"""The traffic of `make bench-learning`: its right answers are right, and its items are the same for the same seed."""

from __future__ import annotations

import re
from itertools import islice

import pytest
from benchmarks.learning.tasks import NAMES, Item, Traffic

MANY = 200


def _items(*names: str, seed: str = "s") -> list[Item]:
    traffic = Traffic(seed, names or NAMES)
    return [traffic.next() for _ in range(MANY)]


@pytest.mark.parametrize("name", ["sum", "product"])
def test_arithmetic_is_right(name: str) -> None:
    for item in _items(name):
        one, sign, two = item.text.split()[:3]
        assert int(item.gold) == (int(one) + int(two) if sign == "+" else int(one) * int(two))


def test_letters_are_counted() -> None:
    for item in _items("letters"):
        found = re.fullmatch(r"How often is the letter (.) in (\w+)\?", item.text)
        assert found is not None
        assert len([letter for letter in found[2] if letter == found[1]]) == int(item.gold) > 0


def test_what_is_to_be_found_stands_in_the_text() -> None:
    for item in (*_items("order"), *_items("city")):
        assert item.gold in item.text.lower()


def test_weekdays_follow_each_other() -> None:
    days = "monday tuesday wednesday thursday friday saturday sunday".split()  # noqa: SIM905 - as one reads them
    for item in _items("weekday"):
        _, _, _, after, _, _, day = item.text.rstrip("?").split()
        assert days[(days.index(day.lower()) + int(after)) % 7] == item.gold


def test_an_answer_is_right_as_a_whole() -> None:
    item = _items("sum")[0]
    assert item.is_right(f' "{item.gold}".\n and more')
    assert not item.is_right(f"{item.gold}0")
    assert not item.is_right(f"it is {item.gold}")
    assert not item.is_right("")


def test_applications_are_mixed_and_keep_their_prompts() -> None:
    items = _items()
    assert {item.task for item in items} == set(NAMES)
    assert len({(item.task, item.system) for item in items}) == len(NAMES)


def test_the_same_seed_gives_the_same_traffic_and_another_one_other() -> None:
    assert _items() == _items()
    one, other = _items("order"), _items("order", seed="t")
    assert not set(islice((item.text for item in one), 50)) & {item.text for item in other[:50]}
