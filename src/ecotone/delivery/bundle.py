"""One file for a stick: what a site lacks, with the metadata that says so. It is read in place and never unpacked.

The container is told in `bundle_file`. Its first entry is `bundle.json`; the others are a hub's files under their own
paths, packs in part as `packs/<id>.d/<offset>-<length>`. What is in it is checked like any other copy of a hub.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Annotated, BinaryIO, Final, Literal

import msgspec
from msgspec import Meta

from ecotone.delivery.bundle_file import Contents, Writing, malformed, new_file
from ecotone.delivery.hub_folder import Hub
from ecotone.delivery.sources import CHUNK_BYTES, SourceMissing
from ecotone.transfer import Range, plan
from ecotone.trust import terms
from ecotone.trust.agreeing import Asset

__all__ = ["HEADING", "BundleSource", "Heading", "Made", "export"]

HEADING: Final = "bundle.json"
_HEADING_BYTES_MAX: Final = 4_096
_PATH: Final = re.compile(
    r"bundle\.json|(?:catalogue|director)/(?:metadata/[a-z0-9.-]{1,80}\.json"
    r"|targets/[a-z]{1,20}/[0-9a-f]{64}\.[A-Za-z0-9._+@-]{1,140})|packs/[0-9a-f]{64}\.d/[0-9]{1,10}-[0-9]{1,10}"
)
_EXTENT: Final = re.compile(r"packs/([0-9a-f]{64})\.d/([0-9]{1,10})-([0-9]{1,10})")


class Heading(msgspec.Struct, frozen=True, kw_only=True):
    """What a bundle says of itself: for people, and for a refusal that says why. Nothing rests on it.

    Attributes:
        site: For whom it was made.
        generation: Of what the site shall have.
        since: The generation that the site has; 0: nothing.
        made_s: When, Unix seconds.
        acked_seq: The hub has the site's reports up to this one. A false one can only make a site forget reports that
            its next one replaces.
    """

    type: Literal["ecotone-bundle"] = "ecotone-bundle"
    format: Literal[1] = 1
    site: Annotated[str, Meta(max_length=40)]
    generation: int
    since: int
    made_s: int
    acked_seq: Annotated[int, Meta(ge=0, le=1 << 53)] = 0


class Made(msgspec.Struct, frozen=True):
    """What came of an export; `bytes` is the file's size, `packs_bytes` the weights in it."""

    heading: Heading
    assets: tuple[Asset, ...]
    path: str
    bytes: int
    packs_bytes: int


def export(hub: Hub, site: str, since: int, to: Path, now_s: float, *, acked_seq: int = 0) -> Made:
    """Writes a bundle: all that `site` shall have and did not have in generation `since`.

    Args:
        hub: The hub.
        site: The site.
        since: The generation that it has; 0: nothing of this hub's.
        to: A new file.
        now_s: Unix seconds.
        acked_seq: The hub has the site's reports up to this one.

    Raises:
        ConfigError: `hub.unknown`; `hub.file`, if there is such a file.
        TrustError: `trust.digest`, `trust.missing`, if the hub's files are damaged.
        SourceMissing: Packs of it are not there.
        StoreError: `asset.disk_full`, `asset.io`.
    """
    state = hub.state(site)
    held: set[str] = set()
    for asset in hub.earlier_state(site, since).assets if since else ():
        parts = hub.manifest(asset).parts
        held.update(segment.blake3 for part in parts for segment in part.segments)
    ranges: dict[tuple[str, int, int], Range] = {}
    for asset in state.assets:
        found = plan(hub.manifest(asset), held).ranges
        ranges.update({(one.pack, one.offset, one.length): one for one in found})
    heading = Heading(site=site, generation=state.generation, since=since, made_s=int(now_s), acked_seq=acked_seq)
    with new_file(to) as file:
        _write(file, hub, heading, state.assets, list(ranges.values()))
    size = to.stat().st_size
    return Made(heading, state.assets, str(to), size, sum(one.length for one in ranges.values()))


def _write(file: BinaryIO, hub: Hub, heading: Heading, assets: Sequence[Asset], ranges: Sequence[Range]) -> None:
    writing = Writing(file)
    writing.put(HEADING, msgspec.json.encode(heading))
    paths = _metadata(hub, heading.site)
    paths += [terms.target(terms.CATALOGUE, terms.asset_path(a.kind, a.name, a.version), a.sha256) for a in assets]
    sha256 = hub.site_target(heading.site).hashes["sha256"]
    paths.append(terms.target(terms.DIRECTOR, terms.site_path(heading.site), sha256))
    try:
        for path in paths:
            writing.put(path, hub.objects.get(path, terms.DOCUMENT_BYTES_MAX))
        for one in ranges:
            pieces = hub.objects.stream(f"packs/{one.pack}", one.offset, one.length)
            writing.pour(f"packs/{one.pack}.d/{one.offset}-{one.length}", one.length, pieces)
    except FileNotFoundError as error:
        raise SourceMissing("asset.refused", f"{hub.objects.where} is not whole: {error.filename} is gone") from error
    writing.end()


def _metadata(hub: Hub, site: str) -> list[str]:
    """The newest of everything that leads to a site, and every root, for one that was away while keys were changed."""
    found = []
    for repository in (hub.catalogue, hub.director):
        is_catalogue = repository is hub.catalogue
        roles = ["targets", *repository.publishers] if is_catalogue else hub.director_roles(site)
        newest = repository.versions()
        names = [*repository.files(), HEADING, f"{newest['snapshot']}.snapshot.json"]
        names += [f"{newest[role]}.{role}.json" for role in roles]
        found += [terms.metadata(repository.name, name) for name in names]
    return found


class BundleSource:
    """A bundle as a source (`sources.Source`). Close it, or use it in a `with`."""

    def __init__(self, path: Path) -> None:
        """Reads what is in it, but no content.

        Raises:
            ConfigError: `hub.file`, if it cannot be read.
            TrustError: `bundle.malformed`, `bundle.truncated`.
        """
        self._contents: Final = Contents(path, _PATH)
        self._extents: dict[str, list[tuple[int, int, int]]] = {}
        try:
            raw = self.document(HEADING, _HEADING_BYTES_MAX)
            self.heading: Final = msgspec.json.decode(raw, type=Heading)
            for name, (at, length) in self._contents.places.items():
                self._enter(name, at, length)
        except (msgspec.DecodeError, SourceMissing) as error:
            self.close()
            raise malformed(path, "it does not say what it is") from error
        except BaseException:
            self.close()
            raise
        for extents in self._extents.values():
            extents.sort()

    def __enter__(self) -> BundleSource:
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Closes it."""
        self.close()

    def close(self) -> None:
        """Closes the file."""
        self._contents.close()

    @property
    def name(self) -> str:
        """See `Source`."""
        return str(self._contents.path)

    def document(self, path: str, bytes_max: int) -> bytes:
        """See `Source`."""
        return self._contents.content(path, bytes_max)

    def run(self, pack: str, offset: int, length: int) -> Generator[bytes, None, None]:
        """See `Source`."""
        end = offset + length
        while offset < end:
            at, there = self._holding(pack, offset)
            n = min(CHUNK_BYTES, end - offset, there)
            yield self._contents.read(at, n)
            offset += n

    def _holding(self, pack: str, offset: int) -> tuple[int, int]:
        """Where in the file the byte of the pack is, and how many bytes follow there."""
        extents = self._extents.get(pack, [])
        index = bisect_right(extents, offset, key=lambda extent: extent[0]) - 1
        if index >= 0:
            first, length, at = extents[index]
            if offset < first + length:
                return at + offset - first, first + length - offset
        raise SourceMissing(
            "asset.refused",
            f"{self.name} has not all that this site lacks: it was made for one that has generation "
            f"{self.heading.since}. Export it again with an earlier --since, or without",
        )

    def _enter(self, name: str, at: int, length: int) -> None:
        extent = _EXTENT.fullmatch(name)
        if extent is None:
            return
        if int(extent[3]) != length:
            raise malformed(self._contents.path, "a piece of a pack has another length than its name says")
        self._extents.setdefault(extent[1], []).append((int(extent[2]), length, at))
