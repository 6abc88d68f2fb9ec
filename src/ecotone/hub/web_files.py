"""A hub's files over HTTP: single ranges of them, to sites that are granted them, or to anybody where it is open."""

from __future__ import annotations

import re
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Final

import msgspec

from ecotone.access import Good, Place, may_take
from ecotone.delivery.hub_folder import Hub as Repositories
from ecotone.delivery.objects import Objects
from ecotone.hub.sites import SiteActor, Sites
from ecotone.hub.wishes import Wishes
from ecotone.trust import terms
from ecotone.trust.agreeing import Asset
from ecotone.values import TrustError

__all__ = ["Files", "Span", "is_moving", "span"]

PATH: Final = re.compile(
    r"(?:trust\.json|(?:catalogue|director)/metadata/[A-Za-z0-9][A-Za-z0-9._-]{0,120}|"
    r"(?:catalogue|director)/targets/[a-z]{1,20}/[0-9a-f]{64}\.[A-Za-z0-9][A-Za-z0-9._+@-]{0,150}|packs/[0-9a-f]{64})"
)
GRANTS_S: Final = 30.0
"""How long what a site is granted is remembered, if neither its wish nor its groups and region change."""

_RANGE: Final = re.compile(r"bytes=([0-9]{1,18})-([0-9]{1,18})?")
_SITES_KEPT: Final = 4_096
_MANIFESTS_KEPT: Final = 2_048


class Span(msgspec.Struct, frozen=True):
    """What is answered: bytes `first` to `last` of `size`; `last` < `first`: nothing, as the file is empty."""

    first: int
    last: int
    size: int

    @property
    def is_part(self) -> bool:
        """Whether it is less than the whole."""
        return (self.first, self.last) != (0, self.size - 1)

    @property
    def length(self) -> int:
        """Bytes."""
        return self.last - self.first + 1


class _Granted(msgspec.Struct, frozen=True):
    until_s: float
    generation: int
    place: Place
    documents: frozenset[str]
    packs: frozenset[str]


class Files:
    """What may be had, and its bytes. Sync: called in worker threads."""

    def __init__(
        self,
        objects: Objects,
        repositories: Repositories,
        wishes: Wishes,
        sites: Sites,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Reads nothing yet."""
        self._objects: Final = objects
        self._repositories: Final = repositories
        self._wishes: Final = wishes
        self._sites: Final = sites
        self._clock: Final = clock
        self._granted: OrderedDict[str, _Granted] = OrderedDict()
        self._packs: OrderedDict[str, tuple[frozenset[str], tuple[str, ...]]] = OrderedDict()

    def size(self, path: str) -> int | None:
        """Bytes of a file; None: there is none."""
        return self._objects.size(path)

    def stream(self, path: str, asked: Span) -> Iterator[bytes]:
        """Its bytes, in pieces of at most 256 KiB."""
        return self._objects.stream(path, asked.first, asked.length)

    def may_have(self, actor: SiteActor, path: str) -> bool:
        """Whether the site may have the file. Metadata names what there is and is every site's; the rest is granted."""
        folder, _, name = path.rpartition("/")
        if folder in ("", "catalogue/metadata", "director/metadata"):
            return True
        if folder.startswith("director/targets"):
            return folder == "director/targets/sites" and name[64:] == f".{actor.site}.json"
        granted = self._of(actor)
        return name in granted.packs if folder == "packs" else path in granted.documents

    def _of(self, actor: SiteActor) -> _Granted:
        now_s = self._clock()
        known = self._granted.get(actor.site)
        generation = self._wishes.generation(actor.site)
        is_new = known is None or (known.generation, known.place) != (generation, actor.place)
        if known is None or is_new or known.until_s < now_s:
            known = self._looked_up(actor, generation, now_s + GRANTS_S)
            self._granted[actor.site] = known
            while len(self._granted) > _SITES_KEPT:
                self._granted.popitem(last=False)
        return known

    def _looked_up(self, actor: SiteActor, generation: int, until_s: float) -> _Granted:
        state = self._wishes.state(actor.site)
        assets = state.assets if state else ()
        wished, rules = {asset.sha256 for asset in assets}, self._sites.rules.all()
        documents, packs = set(), set[str]()
        for asset in assets:
            path = terms.asset_path(asset.kind, asset.name, asset.version)
            found = self._manifest(asset)
            if found is None:
                continue
            good = Good(path.partition("@")[0], found[1])
            if not may_take(actor.place, good, asset.sha256, wished, rules):
                continue
            documents.add(terms.target(terms.CATALOGUE, path, asset.sha256))
            packs |= found[0]
        return _Granted(until_s, generation, actor.place, frozenset(documents), frozenset(packs))

    def _manifest(self, asset: Asset) -> tuple[frozenset[str], tuple[str, ...]] | None:
        """Packs and residency of a version, by its manifest."""
        known = self._packs.get(asset.sha256)
        if known is None:
            try:
                manifest = self._repositories.manifest(asset)
            except TrustError:  # withdrawn and collected, or damaged: there is nothing to serve
                return None
            known = self._packs[asset.sha256] = frozenset(manifest.packs), manifest.residency
            while len(self._packs) > _MANIFESTS_KEPT:
                self._packs.popitem(last=False)
        return known


def is_moving(path: str) -> bool:
    """Whether a file changes under its name. What has a digest or a version in it never does."""
    return path.rpartition("/")[2] in ("timestamp.json", "bundle.json", "trust.json")


def span(asked: str, size: int) -> Span | None:
    """What a `Range` header means; the whole where it is none that is understood (RFC 9110, 14.2); None: 416."""
    found = _RANGE.fullmatch(asked.strip())
    if found is None:
        return Span(0, size - 1, size)
    first, last = int(found[1]), min(int(found[2] or size - 1), size - 1)
    return Span(first, last, size) if first <= last else None
