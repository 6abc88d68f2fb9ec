"""What this room needs of others. Shells do not import each other: `runtime` hands these in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Protocol

from ecotone.ports import Sink, Stream

__all__ = ["Channel", "Connect", "Held", "Hold", "Progress"]


class Held(Protocol):
    """A model file, and its adapter's where it has one, open, and checked against their digests: `assets.Held`."""

    @property
    def fds(self) -> tuple[int, ...]:
        """The open descriptors that were hashed: the model's, the adapter's."""

    def confirm(self) -> None:
        """Promises that nobody wrote to the files since.

        Raises:
            TrustError: it was changed.
        """


Hold = Callable[[], AbstractContextManager[Held]]
"""Checks the model file's digest and holds it open; blocks. `lambda: store.hold(asset)`.

Raises:
    TrustError: the digest is wrong: the model is refused.
    EcotoneError: the file is not there or cannot be read.
"""


class Channel(Protocol):
    """HTTP to one worker over its Unix socket."""

    def open(self, method: str, path: str, headers: Mapping[str, str], body: bytes, sink: Sink) -> Stream:
        """Starts one request. The sink is never called before this returns. The answer has no limit in bytes."""

    def close(self) -> None:
        """Drops idle connections; the worker is gone or about to go."""


Connect = Callable[[str], Channel]
"""A channel to the worker that listens on this socket path."""

Progress = Callable[[str], None]
"""Takes one line for whoever watches."""
