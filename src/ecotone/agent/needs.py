"""What trials need of the site: its versions, and what runs them. `runtime` hands these in."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Protocol

from ecotone.estimate.counts import Count

__all__ = ["Engines", "Shelf"]


class Shelf(Protocol):
    """The versions that are here. Its methods block for small files."""

    def where(self, name: str) -> tuple[str, str]:
        """(version that `hub:NAME` leads to, SHA-256 of its manifest); `''` where it leads nowhere.

        Raises:
            EcotoneError: that cannot be read; so for all of these.
        """

    def before(self, name: str) -> tuple[str, str]:
        """The same for the one that was used before it."""

    def manifest(self, name: str, version: str) -> str:
        """SHA-256 of the manifest of a version that is here whole; `''` where it is not."""

    def lead(self, name: str, version: str) -> None:
        """`hub:NAME` leads to this version, durably."""

    def back(self, name: str, version: str) -> None:
        """The same, and the one that is left is of no use any more; `''`: it leads nowhere."""


class Engines(Protocol):
    """What runs the versions. All of it is called on the loop."""

    def follow(self, name: str) -> Awaitable[float]:
        """All that uses the asset runs what `hub:NAME` leads to; tokens a second that it wrote, 0 where not known.

        Raises:
            EcotoneError: It does not run, and what ran before goes on. Code `busy`: not now.
        """

    def prove(self, name: str) -> Awaitable[float]:
        """Tokens a second of a short answer now; raises as `follow`."""

    def seen(self, name: str) -> Count | None:
        """What the version in use did in this process; None where nothing uses it."""

    def trouble(self, name: str) -> str:
        """Why the version in use does not run, or `''`."""

    def read_bytes_s(self) -> float:
        """Bytes of weights that this machine reads a second while it writes an answer; 0: not measured."""
