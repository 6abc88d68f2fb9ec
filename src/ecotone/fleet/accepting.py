"""Whether a site takes a wish now."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final, Literal

import msgspec

from ecotone.fleet.memory import Memory
from ecotone.fleet.wish import Wish

__all__ = ["SKIPS", "Here", "Skip", "Take", "accept", "is_pinned_otherwise"]

SkipCode = Literal["older", "pinned", "failed_before", "running"]

SKIPS: Final[dict[SkipCode, str]] = {
    "older": "a newer wish was verified before",
    "pinned": "somebody at the site holds another version fast",
    "failed_before": "it failed here at this attempt or a later one",
    "running": "it is used here already",
}
"""Why a wish is not taken, in the order of asking."""


class Here(msgspec.Struct, frozen=True, kw_only=True):
    """What a site knows of itself.

    Attributes:
        pinned: NAME@VERSION of what somebody holds fast.
        generation: Of the wish that was verified last.
        running: SHA-256 of the manifests of what is used, on trial or good.
    """

    memory: Memory = Memory()
    pinned: Sequence[str] = ()
    generation: int = 0
    running: Collection[str] = ()


class Take(msgspec.Struct, frozen=True):
    """It is to be fetched and used."""


class Skip(msgspec.Struct, frozen=True):
    """Nothing is to be done about it, and why."""

    why: SkipCode


def accept(wish: Wish, generation: int, here: Here) -> Take | Skip:
    """Whether the site takes this wish of this generation now."""
    if generation < here.generation:
        return Skip("older")
    if is_pinned_otherwise(wish.name, wish.version, here.pinned):
        return Skip("pinned")
    if here.memory.failed(wish.sha256, wish.attempt) is not None:
        return Skip("failed_before")
    return Skip("running") if wish.sha256 in here.running else Take()


def is_pinned_otherwise(name: str, version: str, pinned: Sequence[str]) -> bool:
    """Whether `pinned` (NAME@VERSION) holds another version fast; one without `+variant` means all of its."""
    held = {pin.rpartition("@")[2] for pin in pinned if pin.rpartition("@")[0] == name}
    return bool(held) and version not in held and version.partition("+")[0] not in held
