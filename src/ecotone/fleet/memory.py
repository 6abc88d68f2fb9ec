"""What failed at a site and is not tried again there, until it is wanted at a higher attempt."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
from msgspec import Meta

from ecotone.values.fleet import Count, Digest, Name, Version, Why

__all__ = ["FAILURES_MAX", "Failure", "Memory", "remember"]

FAILURES_MAX: Final = 1024
"""Versions that are remembered. A director wants at most 256 assets at once."""


class Failure(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One version that failed here.

    Attributes:
        sha256: Of its manifest: the version may be named otherwise the next time.
        attempt: The highest at which it failed.
        why: Code of it.
    """

    name: Name
    version: Version
    sha256: Digest
    attempt: Count
    why: Why


class Memory(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What failed here, the latest last."""

    failures: Annotated[tuple[Failure, ...], Meta(max_length=FAILURES_MAX)] = ()

    def failed(self, sha256: str, attempt: int) -> Failure | None:
        """Why a version is not tried at this attempt; None: it may be."""
        for failure in self.failures:
            if failure.sha256 == sha256 and attempt <= failure.attempt:
                return failure
        return None


def remember(memory: Memory, failure: Failure) -> Memory:
    """The memory with one more failure: of a version only the highest attempt; when it is full, the oldest goes."""
    if memory.failed(failure.sha256, failure.attempt) is not None:
        return memory
    others = tuple(other for other in memory.failures if other.sha256 != failure.sha256)
    return Memory(failures=(*others[-(FAILURES_MAX - 1) :], failure))
