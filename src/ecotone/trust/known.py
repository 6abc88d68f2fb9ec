"""What a site keeps of what it has verified: enough to refuse everything older, with no network and no right clock."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import msgspec

from ecotone.trust import terms
from ecotone.values import TrustError

__all__ = ["Known", "Memory", "Roots"]


class Roots(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The roots of both repositories, as a site pins them: signed metadata, as the hub wrote it.

    Attributes:
        type: What the file is.
        catalogue: The root of the catalogue.
        director: The root of the director.
    """

    type: str
    catalogue: msgspec.Raw
    director: msgspec.Raw

    TYPE: ClassVar[str] = "ecotone-trust"

    @classmethod
    def decode(cls, raw: bytes) -> Roots:
        """The roots in a hub's `trust.json`.

        Raises:
            TrustError: `trust.malformed`.
        """
        try:
            roots = msgspec.json.decode(raw, type=cls)
        except msgspec.DecodeError as error:
            raise _malformed() from error
        if roots.type != cls.TYPE:
            raise _malformed()
        return roots

    def encode(self) -> bytes:
        """The file that is pinned: the same bytes for the same roots."""
        return msgspec.json.encode(self)


class Known(msgspec.Struct, frozen=True):
    """The last metadata of one repository that held.

    Attributes:
        root: The newest root.
        timestamp: Empty: none yet.
        snapshot: Empty: none yet.
        targets: Role -> metadata; `targets` is the top one.
    """

    root: bytes
    timestamp: bytes = b""
    snapshot: bytes = b""
    targets: Mapping[str, bytes] = msgspec.field(default_factory=dict)


class Memory(msgspec.Struct, frozen=True, kw_only=True):
    """What a site keeps between two refreshes.

    Attributes:
        site: The name under which the director knows the site.
        catalogue: The offline repository.
        director: The online one.
        pinned: SHA-256 of the roots as they were pinned.
        floor_s: No instant before this one is now: the latest that was ever signed. Unix seconds.
        issued_s: When the director last spoke, as far as the site knows.
        expires_s: Until when that was fresh.
        generation: Of the site's desired state.
    """

    format: int = 1
    site: str
    catalogue: Known
    director: Known
    pinned: str
    floor_s: float = terms.RELEASED_S
    issued_s: float = 0.0
    expires_s: float = 0.0
    generation: int = 0

    def encode(self) -> bytes:
        """As a file."""
        return msgspec.json.encode(self)

    @classmethod
    def decode(cls, raw: bytes) -> Memory:
        """From a file.

        Raises:
            TrustError: `trust.memory`.
        """
        try:
            return msgspec.json.decode(raw, type=cls)
        except msgspec.DecodeError as error:
            raise TrustError(
                "trust.memory",
                "what this site remembers of its hub is damaged: nothing is taken from there; what is installed goes "
                "on. Pin the hub's roots again with `ecotone trust FILE --site NAME --replace`",
            ) from error


def _malformed() -> TrustError:
    return TrustError("trust.malformed", "that is no file of a hub's roots: give its `trust.json`")
