"""What can keep an asset from being had, besides a wrong name (ConfigError) and a wrong digest (TrustError)."""

from __future__ import annotations

from ecotone.values import EcotoneError

__all__ = ["FetchError", "StoreError"]


class FetchError(EcotoneError):
    """A source cannot be reached or does not give the file; the operator mends the link or the source.

    Codes: `asset.unreachable`, `asset.refused`, `asset.too_large`, `asset.bad_archive`. Exit code 3. What
    has arrived is kept, so that the same command goes on where this one stopped.
    """

    default_status = 502


class StoreError(EcotoneError):
    """The store's folder cannot do what was asked; the operator mends it.

    Codes: `asset.disk_full`, `asset.io`, `asset.busy`, `asset.in_use`, `asset.index`. Exit code 1.
    """

    default_status = 500
