"""Places of groups."""

from __future__ import annotations

from ecotone.learning.slots import AGAIN, SLOTS, WAITING_MAX, Slots


def test_a_new_group_takes_a_free_place_and_keeps_it() -> None:
    slots = Slots()
    fresh = slots.take((7, 0, 9))
    assert len(fresh) == 2
    assert slots.take((7, 9)) == []
    assert slots.look((7, 9, 0, 11)) == fresh


def test_when_full_a_group_displaces_the_longest_unseen_after_some_sightings() -> None:
    slots = Slots()
    for key in range(1, SLOTS + 1):
        slots.take((key,))
    slots.take((1,))  # seen again: 2 is now the longest unseen
    place = slots.look((2,))
    for _ in range(AGAIN - 1):
        assert slots.take((999,)) == []
        assert slots.look((999,)) == []
    assert slots.take((999,)) == place
    assert slots.look((2,)) == []
    assert slots.look((1,)) != []
    assert len(slots.items()) == SLOTS


def test_what_waits_is_bounded() -> None:
    slots = Slots()
    for key in range(1, SLOTS + 1):
        slots.take((key,))
    for key in range(1_000, 1_000 + 2 * WAITING_MAX):
        slots.take((key,))
    assert len(slots._waiting) == WAITING_MAX


def test_places_come_back() -> None:
    slots = Slots()
    slots.take((5, 6))
    again = Slots(slots.items())
    assert again.items() == slots.items()
    assert set(again.take((8,))).isdisjoint(again.look((5, 6)))
