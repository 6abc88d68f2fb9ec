"""A hub's files from one place to another, in an order in which a reader never sees a mixture."""

from __future__ import annotations

import msgspec

from ecotone.assets import NoProgress, Progress
from ecotone.delivery.objects import Objects, Stored, fresh_name, kept

__all__ = ["Carried", "carry"]

_MOVING = ("bundle.json", "timestamp.json", "trust.json")
"""Names that are written over; all others mean the same for ever."""


class Carried(msgspec.Struct, frozen=True):
    """What came of it; `left` were there already."""

    done: int
    left: int
    bytes: int


def carry(source: Objects, target: Objects, progress: Progress | None = None) -> Carried:
    """All files of a hub are in `target`. It may be cut off and called again.

    Raises:
        StoreError: `hub.objects`, `asset.io`, `asset.disk_full`.
    """
    progress, done, left, total = progress or NoProgress(), 0, 0, 0
    there = {one.name: one.bytes for one in target.list("")}
    for one in sorted(source.list(""), key=_turn):
        is_moving = one.name.endswith(_MOVING)
        if not is_moving and there.get(one.name) == one.bytes:
            left += 1
            continue
        progress.step(f"carrying {one.name}")
        _one(source, target, one.name, is_small=is_moving or "/metadata/" in one.name)
        done, total = done + 1, total + one.bytes
    return Carried(done, left, total)


def _turn(one: Stored) -> tuple[int, int, str]:
    """Packs and documents, then metadata, and what announces it last."""
    is_metadata = "/metadata/" in one.name or one.name == "trust.json"
    moving = next((n for n, name in enumerate(_MOVING, 1) if one.name.endswith(name)), 0)
    return int(is_metadata), moving, one.name


def _one(source: Objects, target: Objects, name: str, *, is_small: bool) -> None:
    if is_small:
        target.put(name, source.get(name))
        return
    fresh = fresh_name(target.scratch(name))
    try:
        with kept(f"carrying {name}"), fresh.open("xb") as out:
            for piece in source.stream(name):
                out.write(piece)
        target.take(name, fresh)
    finally:
        fresh.unlink(missing_ok=True)
