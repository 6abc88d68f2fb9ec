"""What the director has to say of each site: in one list while they are few, in hash bins when they are many.

A site fetches a snapshot, which names every bin, and one bin: with as many bins as make both about equally long, a
refresh costs some kilobytes at ten thousand sites, where one list costs megabytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Root, TargetFile, Targets

from ecotone.delivery.repository import Repository
from ecotone.trust import terms, writing
from ecotone.trust.agreeing import Asset, SiteState
from ecotone.values import ConfigError

__all__ = ["LIST_MAX", "Assigning", "bits_for"]

LIST_MAX: Final = 48
"""Most sites in one list, without bins."""
BITS_MIN: Final = 4
BITS_MAX: Final = 10
RENEW_S: Final = 120 * terms.DAY_S
"""What ends sooner is signed anew by `renew`."""


def bits_for(longest: int, bits: int) -> int:
    """By how many bits bins shall be found, where the longest bin of `bits` has so many sites; never fewer than now.

    A bin's line in a snapshot is about two thirds as long as a site's in a bin, so both are equally long where a bin
    has two thirds as many sites as there are bins. There is twice that, so that sites may come without a new layout.
    """
    while bits < BITS_MAX and longest > (LIST_MAX if bits == 0 else (1 << bits) * 4 // 3):
        shift = BITS_MIN if bits == 0 else 1
        bits, longest = bits + shift, longest >> shift
    return bits


class Assigning:
    """Reads and writes the director's lists. Who writes holds the hub's lock."""

    def __init__(self, director: Repository) -> None:
        """Looks at nothing yet."""
        self._director: Final = director

    def roles(self, site: str) -> list[str]:
        """Whose metadata leads to a site's document, in order."""
        top = self._director.targets
        return ["targets"] if not writing.bits(top) else ["targets", _role(top, site)]

    def target(self, site: str) -> TargetFile | None:
        """What is signed of a site's document; None: nothing is."""
        return self._director.publisher(self.roles(site)[-1]).targets.get(terms.site_path(site))

    def has_unannounced(self) -> bool:
        """Whether there are lists that no snapshot announces: whoever wrote them was cut off."""
        newest, announced = self._director.versions(), self._director.snapshot().meta
        top = self._director.publisher("targets", newest["targets"])
        for role in ("targets", *writing.delegates(top)):
            known = announced.get(f"{role}.json")
            if known is None or known.version != newest.get(role, 0):
                return True
        return False

    def generations(self) -> dict[str, int]:
        """Of every site."""
        newest = self._director.versions()
        top = self._director.publisher("targets", newest.get("targets", 0))
        lists = [self._director.publisher(role, newest[role]) for role in writing.delegates(top) if role in newest]
        found = {}
        for one in (top, *lists):
            for path, target in one.targets.items():
                found[path.removeprefix("sites/").removesuffix(".json")] = self._generation(path, target)
        return found

    def set(
        self, wanted: Mapping[str, Sequence[Asset]], signer: CryptoSigner, floors: Mapping[str, int], now_s: float
    ) -> dict[str, SiteState]:
        """Writes the documents and the lists that name them; see `Hub.assign_many`."""
        newest = self._director.versions()
        top = self._director.publisher("targets", newest["targets"])
        lists = self._lists(top, newest, wanted)
        states: dict[str, SiteState] = {}
        documents: dict[str, bytes] = {}
        for site, assets in wanted.items():
            path, entries = terms.site_path(site), lists[_role(top, site)].targets
            before = self._generation(path, entries[path]) if path in entries else 0
            generation = max(before, floors.get(site, 0)) + 1
            states[site] = SiteState(site=site, generation=generation, assets=tuple(assets))
            documents[path] = _document(states[site])
            entries[path] = writing.target(path, documents[path], now_s, generation)
        self._director.put_documents(documents)
        longest = max(len(one.targets) for one in lists.values())
        bits = bits_for(longest, writing.bits(top))
        if bits != writing.bits(top):
            self._rebinned(top, newest, lists, bits, (signer, now_s))
        else:
            self._written(top, newest, lists, signer, now_s)
        return states

    def renew(self, signer: CryptoSigner, now_s: float) -> list[str]:
        """Signs anew what ends within `RENEW_S`; gives those roles."""
        newest = self._director.versions()
        top = self._director.publisher("targets", newest["targets"])
        done = []
        for role in ("targets", *writing.delegates(top)):
            content = top if role == "targets" else self._director.publisher(role, newest[role])
            if content.expires.timestamp() - now_s < RENEW_S:
                self._write(role, content, newest, signer, (now_s, self._director.root if content is top else top))
                done.append(role)
        return done

    def rekeyed(self, signer: CryptoSigner, now_s: float, root: Root) -> None:
        """Signs all lists by a new key, and trusts bins by it."""
        newest = self._director.versions()
        top = self._director.publisher("targets", newest["targets"])
        if bits := writing.bits(top):
            writing.binned(top, bits, signer.public_key)
        for role in writing.delegates(top):
            self._write(role, self._director.publisher(role, newest[role]), newest, signer, (now_s, top))
        self._write("targets", top, newest, signer, (now_s, root))

    def _lists(self, top: Targets, newest: Mapping[str, int], sites: Mapping[str, object]) -> dict[str, Targets]:
        """Those lists in which the sites stand, by role."""
        if not writing.bits(top):
            return {"targets": top}
        roles = {_role(top, site) for site in sites}
        return {role: self._director.publisher(role, newest[role]) for role in roles}

    def _rebinned(
        self,
        top: Targets,
        newest: Mapping[str, int],
        lists: Mapping[str, Targets],
        bits: int,
        by: tuple[CryptoSigner, float],
    ) -> None:
        """A new layout: all bins first, then the list that leads to them. Until that is announced the old one holds."""
        every = dict(top.targets)
        for role in writing.delegates(top):
            every.update(lists[role].targets if role in lists else self._director.publisher(role, newest[role]).targets)
        writing.binned(top, bits, by[0].public_key)
        fresh = {role: Targets(version=1) for role in writing.delegates(top)}
        for path, target in every.items():
            fresh[writing.bin_of(top, path)].targets[path] = target
        self._written(top, newest, fresh, *by)
        self._write("targets", top, newest, by[0], (by[1], self._director.root))

    def _written(
        self, top: Targets, newest: Mapping[str, int], lists: Mapping[str, Targets], signer: CryptoSigner, now_s: float
    ) -> None:
        for role, content in sorted(lists.items()):
            self._write(role, content, newest, signer, (now_s, self._director.root if content is top else top))

    def _write(
        self,
        role: str,
        content: Targets,
        newest: Mapping[str, int],
        signer: CryptoSigner,
        by: tuple[float, Root | Targets],
    ) -> None:
        """The next version of a list, by the key that its delegator trusts."""
        content.version = writing.next_version(newest.get(role, 0), by[0])
        self._director.write(role, content, [signer], by[0], by[1])

    def _generation(self, path: str, target: TargetFile) -> int:
        custom = target.custom if isinstance(target.custom, dict) else {}
        known = custom.get("generation")
        if isinstance(known, int):
            return known
        # Written by an Ecotone that did not say it there.
        return msgspec.json.decode(self._director.document(path, target), type=SiteState).generation


def _document(state: SiteState) -> bytes:
    """Read back as a site reads it: what a site would refuse must not be signed."""
    content = msgspec.json.encode(state)
    try:
        msgspec.json.decode(content, type=SiteState)
    except msgspec.DecodeError as error:
        raise ConfigError("hub.assign", f"no site could read what is wished for '{state.site}': {error}") from error
    return content


def _role(top: Targets, site: str) -> str:
    return writing.bin_of(top, terms.site_path(site)) if writing.bits(top) else "targets"
