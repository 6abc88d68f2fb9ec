"""What the fleet's machines need to know of a signed wish; `trust.agreeing.Asset` is one."""

from __future__ import annotations

from typing import Protocol

from ecotone.values.fleet import Terms

__all__ = ["Wish"]


class Wish(Protocol):
    """One version that the director wants at a site."""

    @property
    def name(self) -> str:
        """Of the asset."""

    @property
    def version(self) -> str:
        """Of it; what follows a `+` says which variant."""

    @property
    def sha256(self) -> str:
        """Of its manifest."""

    @property
    def attempt(self) -> int:
        """Higher than before where a version that failed shall be tried again."""

    @property
    def terms(self) -> Terms | None:
        """What it must show on trial; None: it is used without one."""
