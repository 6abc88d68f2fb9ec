"""A site nearby as a source of weights: asked by the name of each segment, never trusted, and no part of the WAN.

    POST /v1/segments   names (BLAKE3, 64 hex digits), one a line, at most 64
    200                 for each name in its order: length (4 bytes, big-endian), content; length 0: it is not here

Only who has a signed manifest knows the names. What comes is hashed like anything else that comes.
"""

from __future__ import annotations

import http.client
import struct
import time
import urllib.parse
from collections.abc import Generator, Sequence
from typing import Final

from ecotone.assets import FetchError
from ecotone.assets.prompt import PromptConnection
from ecotone.assets.web import Cut
from ecotone.delivery.sources import HttpSource, Rate, Source, SourceMissing
from ecotone.transfer.manifest import SEGMENT_BYTES_MAX
from ecotone.values import ConfigError

__all__ = ["LENGTH", "NAMES_MAX", "PATH", "SCHEME", "Neighbour", "mirror"]

SCHEME: Final = "neighbour+http"
PATH: Final = "/v1/segments"
NAMES_MAX: Final = 64
"""Names in one request: at most so many MiB come in one answer."""
LENGTH: Final = struct.Struct(">I")
SLOW_BYTES_PER_S: Final = 10_000
"""A neighbour that brings less than this counts as cut."""


def mirror(url: str, rate: Rate | None = None) -> Source:
    """The source that an entry of `hub.mirrors` names: a neighbour, or a copy of the hub's folder behind HTTP.

    Args:
        url: `neighbour+http://HOST:PORT`, or an http(s) address.
        rate: How the link to the hub may be used; of a neighbour it only bounds the silence, since a local network is
            not that link.

    Raises:
        ConfigError: `asset.insecure`, `asset.cert`; `hub.neighbour`.
    """
    if url.startswith(f"{SCHEME}:"):
        return Neighbour(url, (rate or Rate()).stall_s)
    return HttpSource(url, rate)


class Neighbour:
    """A site nearby that runs `ecotone neighbour up`. It is asked directly, never through a proxy."""

    def __init__(self, url: str, stall_s: float = 30.0) -> None:
        """Connects to nothing yet.

        Args:
            url: `neighbour+http://HOST:PORT`.
            stall_s: A request that brings nothing for so long is given up, seconds.

        Raises:
            ConfigError: `hub.neighbour`.
        """
        try:
            parts = urllib.parse.urlsplit(url)
            is_good = parts.scheme == SCHEME and parts.port and parts.username is None and parts.path in ("", "/")
        except ValueError:
            is_good = False
        if not is_good or not parts.hostname:
            raise ConfigError("hub.neighbour", f"a neighbour is named as {SCHEME}://HOST:PORT, not as {url[:200]!r}")
        self._host, self._port, self._stall_s = parts.hostname, parts.port or 0, stall_s

    @property
    def name(self) -> str:
        """See `Source`."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"{SCHEME}://{host}:{self._port}"

    def document(self, path: str, bytes_max: int) -> bytes:
        """See `Source`: a neighbour has none.

        Raises:
            SourceMissing: Always.
        """
        raise SourceMissing("asset.refused", f"{self.name} has segments and no {path}")

    def run(self, pack: str, offset: int, length: int) -> Generator[bytes]:
        """See `Source`: a neighbour knows no packs.

        Raises:
            SourceMissing: Always.
        """
        raise SourceMissing("asset.refused", f"{self.name} has segments and no packs")
        yield b""

    def segments(self, wanted: Sequence[tuple[str, int]]) -> Generator[tuple[str, bytes | None]]:
        """Each segment that was asked for, as it came and not yet hashed; None: it is not there.

        Args:
            wanted: Names and lengths in bytes.

        Raises:
            Cut: The transfer broke, or another length came than was asked for.
            FetchError: `asset.refused`, if what answers is no neighbour.
        """
        connection = PromptConnection(self._host, self._port, timeout=self._stall_s)
        try:
            for first in range(0, len(wanted), NAMES_MAX):
                yield from self._some(connection, wanted[first : first + NAMES_MAX])
        except (OSError, http.client.HTTPException) as error:
            raise Cut(f"{self.name}: {error or type(error).__name__}") from error
        finally:
            connection.close()

    def _some(
        self, connection: http.client.HTTPConnection, wanted: Sequence[tuple[str, int]]
    ) -> Generator[tuple[str, bytes | None]]:
        connection.request("POST", PATH, "".join(f"{name}\n" for name, _ in wanted))
        answer = connection.getresponse()
        if answer.status in (429, 503):
            raise Cut(f"{self.name} is busy")
        if answer.status != 200:
            raise FetchError("asset.refused", f"{self.name} answered {answer.status}: is it `ecotone neighbour up`?")
        for name, length in wanted:
            (came,) = LENGTH.unpack(self._exactly(answer, LENGTH.size))
            if came not in (0, length) or came > SEGMENT_BYTES_MAX:
                raise FetchError("asset.refused", f"{self.name} offers {came} bytes for a segment of {length}")
            yield name, self._exactly(answer, came) if came else None
        if answer.read(1):
            raise FetchError("asset.refused", f"{self.name} sends more than it was asked for")

    def _exactly(self, answer: http.client.HTTPResponse, n: int) -> bytes:
        content, until_s = bytearray(), time.monotonic() + self._stall_s + n / SLOW_BYTES_PER_S
        while len(content) < n:
            piece = answer.read1(n - len(content))
            if not piece or time.monotonic() > until_s:
                raise Cut(f"cut after {len(content)} of {n} bytes")
            content += piece
        return bytes(content)
