"""What a site must fetch to have a version, given what it has: values in, values out."""

from __future__ import annotations

from collections.abc import Container, Iterable
from typing import Final

import msgspec

from ecotone.transfer.manifest import Delta, Manifest, Segment

__all__ = ["Get", "Plan", "Range", "coalesced", "plan"]

GAP_BYTES_MAX: Final = 2 << 10
"""Bytes between two wanted runs that cost less than another request for the second."""

RANGE_BYTES_MAX: Final = 16 << 20


class Get(msgspec.Struct, frozen=True):
    """One run of bytes of a pack, and the segment that comes of it.

    Attributes:
        blake3: The segment.
        size: Its bytes.
        pack: BLAKE3 of the pack.
        offset: First byte in the pack.
        length: Bytes on the wire.
        base: Where the run is a delta: the segment that it starts from; else empty.
    """

    blake3: str
    size: int
    pack: str
    offset: int
    length: int
    base: str = ""


class Range(msgspec.Struct, frozen=True):
    """One request: bytes of one pack, and what is in them, in order."""

    pack: str
    offset: int
    length: int
    gets: tuple[Get, ...]


class Plan(msgspec.Struct, frozen=True):
    """How a version comes to be.

    Attributes:
        copies: Segments that the site has.
        gets: What travels, in the order of the packs.
    """

    copies: tuple[str, ...]
    gets: tuple[Get, ...]

    @property
    def fetch_bytes(self) -> int:
        """Bytes on the wire, without headers."""
        return sum(get.length for get in self.gets)

    @property
    def ranges(self) -> tuple[Range, ...]:
        """The requests."""
        return coalesced(self.gets)


def plan(manifest: Manifest, held: Container[str], *, without_deltas: Container[str] = frozenset()) -> Plan:
    """The cheapest way to the version.

    Args:
        manifest: The version.
        held: Segments that the site has, by BLAKE3.
        without_deltas: Segments to which a delta has failed to lead: these come whole.
    """
    copies: dict[str, None] = {}
    gets: dict[str, Get] = {}
    for part in manifest.parts:
        for segment in part.segments:
            if segment.blake3 in held:
                copies[segment.blake3] = None
            elif segment.blake3 not in gets:
                deltas = () if segment.blake3 in without_deltas else segment.deltas
                gets[segment.blake3] = _cheapest(manifest.packs, segment, [d for d in deltas if d.base in held])
    return Plan(tuple(copies), tuple(sorted(gets.values(), key=lambda get: (get.pack, get.offset))))


def coalesced(gets: Iterable[Get]) -> tuple[Range, ...]:
    """The runs, which are in order, as few requests of at most about `RANGE_BYTES_MAX` bytes."""
    found: list[Range] = []
    for get in gets:
        last = found[-1] if found else None
        end = get.offset + get.length
        if last is not None and _belongs(last, get):
            found[-1] = Range(last.pack, last.offset, end - last.offset, (*last.gets, get))
        else:
            found.append(Range(get.pack, get.offset, get.length, (get,)))
    return tuple(found)


def _belongs(last: Range, get: Get) -> bool:
    gap = get.offset - (last.offset + last.length)
    is_short = get.offset + get.length - last.offset <= RANGE_BYTES_MAX
    return last.pack == get.pack and 0 <= gap <= GAP_BYTES_MAX and is_short


def _cheapest(packs: tuple[str, ...], segment: Segment, deltas: list[Delta]) -> Get:
    whole = Get(segment.blake3, segment.length, packs[segment.pack], segment.offset, segment.length)
    if not deltas:
        return whole
    best = min(deltas, key=lambda delta: delta.length)
    if best.length >= whole.length:
        return whole
    return Get(segment.blake3, segment.length, packs[best.pack], best.offset, best.length, best.base)
