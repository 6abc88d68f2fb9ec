"""Which groups have a weight of their own: a bounded table from group keys to places in the line.

A group that comes first time takes a free place; when there is none, it must come again a few times, and then takes
the place of the one that was seen longest ago. Memory is bounded however many system prompts a site has.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

SLOTS: Final = 128
AGAIN: Final = 3
"""Sightings after which a group displaces another."""

WAITING_MAX: Final = 1_024


class Slots:
    """Places of groups, oldest sighting first. Deterministic."""

    __slots__ = ("_free", "_places", "_waiting")

    def __init__(self, places: Iterable[tuple[int, int]] = ()) -> None:
        """Args: places: (key, place) as `items` gave them, oldest first."""
        self._places = dict(places)
        taken = set(self._places.values())
        self._free = [place for place in range(SLOTS - 1, -1, -1) if place not in taken]
        self._waiting: dict[int, int] = {}

    def items(self) -> list[tuple[int, int]]:
        """(key, place), longest unseen first."""
        return list(self._places.items())

    def look(self, groups: Sequence[int]) -> list[int]:
        """Places of those groups that have one."""
        return [place for key in groups if key and (place := self._places.get(key)) is not None]

    def take(self, groups: Sequence[int]) -> list[int]:
        """Notes a sighting; gives the places whose group changed thereby: their weights start anew."""
        fresh = []
        for key in groups:
            if not key:
                continue
            place = self._places.pop(key, None)
            if place is None:
                place = self._find(key)
                if place is None:
                    continue
                fresh.append(place)
            self._places[key] = place
        return fresh

    def _find(self, key: int) -> int | None:
        """A place for a new group, or None while it has to wait."""
        if self._free:
            return self._free.pop()
        seen = self._waiting.pop(key, 0) + 1
        if seen < AGAIN:
            if len(self._waiting) >= WAITING_MAX:
                del self._waiting[next(iter(self._waiting))]
            self._waiting[key] = seen
            return None
        return self._places.pop(next(iter(self._places)))
