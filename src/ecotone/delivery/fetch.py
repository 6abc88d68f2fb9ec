"""The segments that are missing, from the sources in their order, each checked before it is written.

What is whole in a broken response is kept, and so is the beginning of the segment in which it broke: the next request
asks for the rest of it. A delta that did not lead to its segment is not tried again; the segment comes whole.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Generator, Sequence
from typing import Final, Protocol

import msgspec

from ecotone.assets import FetchError, NoProgress, Progress
from ecotone.assets.fetch import Patience, persistently
from ecotone.assets.web import Cut
from ecotone.delivery.begun import Begun
from ecotone.delivery.neighbour import NAMES_MAX, Neighbour
from ecotone.delivery.sources import FolderSource, HttpSource, Rate, Source, SourceMissing
from ecotone.transfer import Get, Manifest, Range, deltas
from ecotone.transfer.plan import coalesced, plan
from ecotone.values import ConfigError, TrustError

__all__ = [
    "FolderSource",
    "HttpSource",
    "Patience",
    "Rate",
    "Shelf",
    "Source",
    "SourceMissing",
    "Tally",
    "document",
    "gather",
]


NEIGHBOUR_TRIES_MAX: Final = 2


class Shelf(Protocol):
    """Where segments go, and where those are that the site has."""

    @property
    def missing(self) -> set[str]:
        """Segments that are not there yet."""

    def read(self, name: str) -> bytes | None:
        """A segment of this machine, hashed just now."""

    def __contains__(self, name: object) -> bool:
        """Whether this machine may have the segment."""

    def put(self, name: str, content: bytes) -> None:
        """Takes a segment that has been hashed."""


class Tally(msgspec.Struct):
    """What a delivery has cost so far, bytes; `wasted` came over the wire and was of no use.

    `fetched` is all that came from any source; `nearby`, what of it neighbours gave: it did not cross the WAN.
    """

    fetched: int = 0
    nearby: int = 0
    copied: int = 0
    wasted: int = 0
    requests: int = 0


def document(
    sources: Sequence[Source],
    path: str,
    bytes_max: int,
    *,
    patience: Patience | None = None,
    progress: Progress | None = None,
) -> bytes:
    """A small file from the first source that has it.

    Raises:
        SourceMissing: No source has it.
        FetchError, ConfigError: As the last source said.
    """
    error: FetchError | ConfigError = SourceMissing("asset.refused", f"there is no source for {path}")
    for source in sources:
        try:
            return persistently(
                functools.partial(source.document, path, bytes_max),
                f"{path} from {source.name}",
                patience or Patience(),
                progress or NoProgress(),
            )
        except (FetchError, ConfigError) as failed:
            error = failed
    raise error


def gather(
    manifest: Manifest,
    shelf: Shelf,
    sources: Sequence[Source],
    *,
    begun: Begun | None = None,
    patience: Patience | None = None,
    progress: Progress | None = None,
) -> Tally:
    """Nothing is missing on the shelf any more. `begun` keeps what is coming for the next process.

    Raises:
        FetchError: `asset.unreachable`, `asset.refused` ..., if no source gives what is missing; what came is kept.
        TrustError: `delivery.segment`, if all that gave it gave other bytes.
        StoreError: `asset.disk_full`, `asset.io`.
    """
    gathering = _Gathering(manifest, shelf, patience or Patience(), progress or NoProgress())
    gathering.begun = begun
    return gathering.from_all(sources)


class _Gathering:
    """One delivery."""

    def __init__(self, manifest: Manifest, shelf: Shelf, patience: Patience, progress: Progress) -> None:
        self.manifest, self.shelf = manifest, shelf
        self.patience, self.progress = patience, progress
        self.tally = Tally()
        self.whole: set[str] = set()  # not by a delta any more
        self.begun: Begun | None = None

    def from_all(self, sources: Sequence[Source]) -> Tally:
        error: FetchError | ConfigError | None = None
        lying: list[str] = []
        self._copy()
        for source in sources:
            if not self.shelf.missing:
                break
            one: _From | _Nearby = _Nearby(self, source) if isinstance(source, Neighbour) else _From(self, source)
            try:
                persistently(one.all, source.name, one.patience, self.progress, lambda: self.tally.fetched)
            except (FetchError, ConfigError) as failed:
                error = failed
                self.progress.step(failed.message)
            if one.bad:
                lying.append(source.name)
                self.progress.step(f"{source.name} gave {len(one.bad)} segments that are not what they should be")
        if not self.shelf.missing:
            self.progress.done()
            return self.tally
        if lying:
            raise TrustError(
                "delivery.segment",
                f"{len(self.shelf.missing)} segments of {self.manifest.name} {self.manifest.version} could not be had: "
                f"{', '.join(lying)} gave other bytes than were signed, which were thrown away. What runs is "
                "untouched; find out who changed them, or take another source",
            )
        raise error or SourceMissing(
            "asset.refused", f"no source has all of {self.manifest.name} {self.manifest.version}"
        )

    def wanted(self, bad: set[str]) -> tuple[Get, ...]:
        """What is still to be fetched from a source that has failed at `bad`."""
        missing = self.shelf.missing
        made = plan(self.manifest, _Held(self.shelf, missing), without_deltas=self.whole)
        return tuple(get for get in made.gets if get.blake3 not in bad)

    def _copy(self) -> None:
        for name in [name for name in self.shelf.missing if name in self.shelf]:
            content = self.shelf.read(name)
            if content is not None:
                self.shelf.put(name, content)
                self.tally.copied += len(content)
        self.announced()

    def announced(self) -> None:
        """Progress knows how much there is to come."""
        total = sum(get.length for get in self.wanted(set()))
        self.progress.start(total, f"{self.manifest.name} {self.manifest.version}")


class _Held:
    """What need not travel: all that is not missing, and as the start of a delta, all that this machine has."""

    def __init__(self, shelf: Shelf, missing: set[str]) -> None:
        self._shelf, self._missing = shelf, missing

    def __contains__(self, name: object) -> bool:
        return name not in self._missing and name in self._shelf


class _Nearby:
    """A neighbour: asked for whole segments by name, and given up soon, since the hub has them too."""

    def __init__(self, gathering: _Gathering, source: Neighbour) -> None:
        self.gathering, self.source = gathering, source
        tries = min(gathering.patience.tries_max, NEIGHBOUR_TRIES_MAX)
        self.patience = msgspec.structs.replace(gathering.patience, tries_max=tries)
        self.bad: set[str] = set()
        self._absent: set[str] = set()

    def all(self) -> None:
        """All that this neighbour can give."""
        gathering = self.gathering
        sizes = {one.blake3: one.length for part in gathering.manifest.parts for one in part.segments}
        missing = gathering.shelf.missing - self.bad - self._absent
        wanted = [(name, length) for name, length in sizes.items() if name in missing]
        gathering.tally.requests += -(-len(wanted) // NAMES_MAX)
        try:
            for name, content in self.source.segments(wanted):
                if content is None:
                    self._absent.add(name)
                else:
                    self._arrived(name, content)
        finally:
            gathering.announced()  # there is less to come now

    def _arrived(self, name: str, content: bytes) -> None:
        tally = self.gathering.tally
        tally.fetched += len(content)
        tally.nearby += len(content)
        if _name(content) == name:
            self.gathering.shelf.put(name, content)
        else:
            self.bad.add(name)
            tally.wasted += len(content)


class _From:
    """One source of a delivery."""

    def __init__(self, gathering: _Gathering, source: Source) -> None:
        self.gathering, self.source, self.patience = gathering, source, gathering.patience
        self.bad: set[str] = set()
        # Of this source alone: joined to what another one sends, its lie would be taken for the other's.
        self.begun: tuple[Get, bytearray] | None = None

    def all(self) -> None:
        """All that this source can give."""
        while gets := self.gathering.wanted(self.bad):
            for one in coalesced(gets):
                self._range(one)

    def _range(self, one: Range) -> None:
        begun, is_old = self._beginning(one.gets[0])
        self.gathering.tally.requests += 1
        at = one.offset + len(begun)
        with contextlib.closing(self.source.run(one.pack, at, one.offset + one.length - at)) as pieces:
            stream = _Stream(pieces, at, self.gathering)
            for number, get in enumerate(one.gets):
                content = begun if number == 0 else bytearray()
                try:
                    stream.fill(content, get)
                except BaseException:
                    self.begun = (get, content)
                    raise
                self._arrived(get, bytes(content), is_old=is_old and number == 0)

    def _beginning(self, get: Get) -> tuple[bytearray, bool]:
        """What there is of the run already, and whether another process left it."""
        begun, self.begun = self.begun, None
        if begun is not None and begun[0] == get:
            return begun[1], False
        kept = self.gathering.begun
        found = bytearray() if kept is None else kept.taken(get)
        return found, bool(found)

    def _arrived(self, get: Get, content: bytes, *, is_old: bool) -> None:
        gathering = self.gathering
        segment = content if not get.base else self._patched(get, content)
        if segment is not None and _name(segment) == get.blake3:
            gathering.shelf.put(get.blake3, segment)
            return
        gathering.tally.wasted += len(content)
        if is_old:
            return  # its beginning came from elsewhere: nobody has lied yet, and it comes again from its start
        if get.base:
            gathering.whole.add(get.blake3)
        else:
            self.bad.add(get.blake3)

    def _patched(self, get: Get, patch: bytes) -> bytes | None:
        base = self.gathering.shelf.read(get.base)
        if base is None or len(base) != get.size:
            return None
        try:
            return deltas.applied(patch, base)
        except TrustError as error:
            self.gathering.progress.step(error.message)
            return None


class _Stream:
    """Pieces of a pack as the segments need them."""

    def __init__(self, pieces: Generator[bytes], at: int, gathering: _Gathering) -> None:
        self._pieces, self._at, self._gathering = pieces, at, gathering
        self._rest = memoryview(b"")

    def fill(self, content: bytearray, get: Get) -> None:
        """Adds to `content`, which ends where the stream is or before, until it is all of `get`."""
        while len(content) < get.length:
            if not self._rest:
                piece = next(self._pieces, None)
                if piece is None:
                    raise Cut("the transfer ended early")
                self._rest = memoryview(piece)
                self._gathering.tally.fetched += len(self._rest)
                self._gathering.progress.advance(len(self._rest))
            skip = min(max(get.offset - self._at, 0), len(self._rest))  # the gap before it
            self._gathering.tally.wasted += skip
            take = min(get.length - len(content), len(self._rest) - skip)
            fresh = self._rest[skip : skip + take]
            if self._gathering.begun is not None:
                self._gathering.begun.keep(get, len(content), fresh)
            content += fresh
            self._rest = self._rest[skip + take :]
            self._at += skip + take


def _name(content: bytes) -> str:
    from blake3 import blake3

    return blake3(content).hexdigest()
