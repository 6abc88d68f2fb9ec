"""What a site shall have: what the director wants there and the catalogue knows, with equal digests.

A stolen key of the director cannot bring in unknown weights, and a stolen key of a publisher cannot send anything to a
site: each can only say half of what is needed.

Source: Uptane standard 2.1, 5.4.4 (full verification).
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from ecotone.trust import terms
from ecotone.trust.known import Memory
from ecotone.trust.reading import Reader, Wants
from ecotone.values import TrustError
from ecotone.values.fleet import Terms

__all__ = ["Agreed", "Asset", "Assigned", "Refresh", "SiteState"]

Digest = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]


class Asset(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One asset that the director wants at a site.

    Several of one name are variants of it, the best first: the site takes the first that its machine can run.

    Attributes:
        sha256, bytes: Of its manifest.
        attempt: Higher than before where a version that failed there shall be tried again.
        terms: What it must show on trial; None: it is used without one.
        decode_tok_s_min: Tokens a second that the machine must reach with it; 0: any.
    """

    name: Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}\Z")]
    version: Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9.+_-]{0,63}\Z")]
    kind: Literal["model", "adapter", "dataset", "policy", "labels", "prior"]
    sha256: Digest
    bytes: Annotated[int, Meta(ge=1, le=terms.DOCUMENT_BYTES_MAX)]
    attempt: Annotated[int, Meta(ge=0, le=1 << 53)] = 0
    terms: Terms | None = None
    decode_tok_s_min: Annotated[float, Meta(ge=0, le=1e6)] = 0.0


class SiteState(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the director wants of one site."""

    type: Literal["ecotone-site"] = "ecotone-site"
    format: Literal[1] = 1
    site: str
    generation: Annotated[int, Meta(ge=1, le=1 << 53)]
    assets: Annotated[tuple[Asset, ...], Meta(max_length=terms.ASSETS_MAX)]


class Assigned(msgspec.Struct, frozen=True):
    """An asset that both repositories name, and its manifest as it was signed."""

    asset: Asset
    manifest: bytes


class Agreed(msgspec.Struct, frozen=True):
    """What a site shall have now."""

    site: str
    generation: int
    assets: tuple[Assigned, ...]


class Refresh:
    """One refresh of what a site knows. `memory` is what to keep, whether it came to its end or was refused."""

    def __init__(self, memory: Memory, clock_s: float, *, is_import: bool) -> None:
        """Looks at what is known.

        Args:
            memory: What the site remembers.
            clock_s: What its clock says, Unix seconds; it may be wrong.
            is_import: Whether this comes from a stick.

        Raises:
            TrustError: As `Reader` does.
        """
        self._memory: Final = memory
        self._clock_s: Final = clock_s
        now_s = max(clock_s, memory.floor_s, terms.RELEASED_S)
        self._catalogue = Reader(terms.CATALOGUE, memory.catalogue, now_s, is_import=is_import)
        self._director = Reader(terms.DIRECTOR, memory.director, now_s, is_import=is_import)
        self._done: dict[str, Any] = {}

    @property
    def memory(self) -> Memory:
        """What to keep: all that held."""
        return msgspec.structs.replace(
            self._memory,
            catalogue=self._catalogue.known,
            director=self._director.known,
            floor_s=self._floor_s(),
            **self._done,
        )

    def walk(self) -> Wants[Agreed]:
        """What the site shall have.

        Raises:
            TrustError: As `Reader` does; `trust.not_assigned`, `trust.other_site`, `trust.rollback`,
                `trust.not_in_both`.
        """
        yield from self._catalogue.refreshed()
        yield from self._director.refreshed()
        state = yield from self._state()
        assets = []
        for asset in state.assets:
            assets.append((yield from self._assigned(asset)))
        issued_s, expires_s = self._director.fresh
        self._done = {"issued_s": issued_s, "expires_s": expires_s, "generation": state.generation}
        return Agreed(state.site, state.generation, tuple(assets))

    def _state(self) -> Wants[SiteState]:
        site = self._memory.site
        path = terms.site_path(site)
        target = yield from self._director.target(path)
        if target is None:
            raise TrustError(
                "trust.not_assigned", f"the hub has nothing for a site '{site}': `ecotone hub assign` there"
            )
        raw = yield from self._director.document(path, target)
        try:
            state = msgspec.json.decode(raw, type=SiteState)
        except msgspec.DecodeError as error:
            raise TrustError("trust.malformed", f"{path}: this version cannot read what the director wants") from error
        if state.site != site:
            raise TrustError("trust.other_site", f"{path} is signed for another site: nothing of it is used")
        if state.generation < self._memory.generation:
            raise TrustError(
                "trust.rollback",
                f"the hub wants generation {state.generation} here, and this site knows {self._memory.generation}: it "
                "was restored from an older copy. What is installed goes on; the hub's next wish stands above it",
            )
        return state

    def _assigned(self, asset: Asset) -> Wants[Assigned]:
        path = terms.asset_path(asset.kind, asset.name, asset.version)
        target = yield from self._catalogue.target(path)
        if target is None or target.hashes.get("sha256") != asset.sha256 or target.length != asset.bytes:
            raise TrustError(
                "trust.not_in_both",
                f"the director wants {asset.name} {asset.version} here, and the catalogue does not know it, or only "
                "another one of that name: nothing is installed. Publish it, or find out who has the director's key",
            )
        return Assigned(asset, (yield from self._catalogue.document(path, target)))

    def _floor_s(self) -> float:
        """The floor after this refresh: never lower, and not above a plausible clock because of one wrong signature."""
        signed_s = max(self._catalogue.issued_s, self._director.issued_s)
        if self._clock_s > terms.RELEASED_S:
            signed_s = min(signed_s, self._clock_s + terms.CLOCK_SLACK_S)
        return max(self._memory.floor_s, signed_s)
