"""Where a hub's files come from: a folder, a stick, a neighbour on the network, the hub.

None is trusted; what they give is checked alike.
"""

from __future__ import annotations

import http.client
import os
import re
import time
import urllib.parse
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Final, Protocol

import msgspec

from ecotone.assets import FetchError
from ecotone.assets.web import Cut, Link, Refused, Web, shown
from ecotone.values import ConfigError

__all__ = ["FolderSource", "HttpSource", "Rate", "Session", "Source", "SourceMissing"]

CHUNK_BYTES: Final = 64 << 10
_CONTENT_RANGE: Final = re.compile(r"bytes (\d{1,12})-(\d{1,12})/(?:\d{1,12}|\*)")


class SourceMissing(FetchError):
    """A source does not have what was asked for. Code: `asset.refused`."""


class Source(Protocol):
    """A place that has a hub's files, or some of them.

    `assets.web.Cut` means that another try may do.
    """

    @property
    def name(self) -> str:
        """What a person reads."""

    def document(self, path: str, bytes_max: int) -> bytes:
        """A small file, whole.

        Args:
            path: Below the hub's folder.
            bytes_max: A longer one is refused.

        Raises:
            SourceMissing: It is not there.
            FetchError: `asset.too_large`, `asset.unreachable`, `asset.refused`, `asset.tls`.
        """

    def run(self, pack: str, offset: int, length: int) -> Generator[bytes]:
        """Bytes of a pack, in pieces; never more than `length` of them, fewer only with Cut.

        Raises:
            Cut: The transfer broke.
            SourceMissing, FetchError: As `document` does.
        """


class Rate(msgspec.Struct, frozen=True, kw_only=True):
    """How fast, and when, a link may be used.

    Attributes:
        bytes_per_s: Upper limit; None: as fast as it goes.
        is_open: Asked before each request: whether the link may be used now.
        stall_s: A request that brings nothing for so long is given up, seconds.
        slow_bytes_per_s: A request that brings less than this over `stall_s` counts as cut.
    """

    bytes_per_s: int | None = None
    is_open: Callable[[], bool] = lambda: True
    stall_s: float = 30.0
    slow_bytes_per_s: float = 100.0
    sleep: Callable[[float], None] = time.sleep
    now_s: Callable[[], float] = time.monotonic


class Session(Protocol):
    """A site's session at its hub."""

    @property
    def token(self) -> str:
        """What is sent there, and nowhere else."""

    def renew(self) -> bool:
        """Gets another token, as this one holds no longer; False where there is none to be had."""


class FolderSource:
    """A hub's folder on this machine, or a stick. Its packs may be there in part: `packs/<id>.d/<offset>-<length>`."""

    def __init__(self, path: Path) -> None:
        """Looks at nothing yet."""
        self._path = path

    @property
    def name(self) -> str:
        """See `Source`."""
        return str(self._path)

    def document(self, path: str, bytes_max: int) -> bytes:
        """See `Source`."""
        try:
            fd = os.open(self._path / path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except FileNotFoundError as error:
            raise SourceMissing("asset.refused", f"{self._path} has no {path}") from error
        except OSError as error:
            raise FetchError("asset.unreachable", f"{self._path / path} cannot be read: {error.strerror}") from error
        try:
            content = os.pread(fd, bytes_max + 1, 0)
        except OSError as error:
            raise FetchError("asset.unreachable", f"{self._path / path} cannot be read: {error.strerror}") from error
        finally:
            os.close(fd)
        if len(content) > bytes_max:
            raise FetchError("asset.too_large", f"{self._path / path} is longer than {bytes_max} bytes")
        return content

    def run(self, pack: str, offset: int, length: int) -> Generator[bytes]:
        """See `Source`."""
        end = offset + length
        while offset < end:
            path, base, there = self._holding(pack, offset)
            for at in range(offset, min(end, there), CHUNK_BYTES):
                n = min(CHUNK_BYTES, min(end, there) - at)
                try:
                    with path.open("rb", buffering=0) as file:
                        content = os.pread(file.fileno(), n, at - base)
                except OSError as error:
                    raise FetchError("asset.unreachable", f"{path} cannot be read: {error.strerror}") from error
                if len(content) < n:
                    raise SourceMissing("asset.refused", f"{path} is shorter than it was")
                yield content
            offset = min(end, there)

    def _holding(self, pack: str, offset: int) -> tuple[Path, int, int]:
        """A file with the byte, where it begins in the pack, and where it ends there."""
        whole = self._path / "packs" / pack
        try:
            if offset < (size := whole.stat().st_size):
                return whole, 0, size
        except OSError:  # not here whole
            pass
        for path in (whole.with_name(f"{pack}.d")).glob("*-*"):
            first, _, length = path.name.partition("-")
            if first.isdecimal() and length.isdecimal() and int(first) <= offset < int(first) + int(length):
                return path, int(first), int(first) + int(length)
        raise SourceMissing("asset.refused", f"{self._path} has not the pack {pack[:12]}, or not that part of it")


class HttpSource:
    """A hub's folder behind any web server that knows Range."""

    def __init__(
        self, url: str, rate: Rate | None = None, *, session: Session | None = None, ca_file: str | None = None
    ) -> None:
        """Connects to nothing yet.

        Args:
            url: The hub's address.
            rate: How its link may be used.
            session: A site's session there, where it has joined.
            ca_file: PEM file of the only authorities to trust; None = the system's.

        Raises:
            ConfigError: `asset.insecure`, if it is no http(s) address; `asset.cert`.
        """
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError("asset.insecure", f"a hub is reached by http:// or https://, not by {shown(url)[:200]}")
        self._url, self._rate = url.rstrip("/"), rate or Rate()
        # Without TLS others can read along and can withhold, and that is all: everything is signed.
        trusted = (parts.netloc.rpartition("@")[2],) if parts.scheme == "http" else ()
        origin = f"{parts.scheme}://{parts.netloc}"
        self._tokens: dict[str, str] = {}
        link = Link(trusted_hosts=trusted, timeout_s=self._rate.stall_s, tokens=self._tokens, cert=ca_file)
        self._web = Web(link)
        self._session, self._origin = session, origin

    @property
    def name(self) -> str:
        """See `Source`."""
        return shown(self._url)

    def document(self, path: str, bytes_max: int) -> bytes:
        """See `Source`; one try.

        Raises:
            Cut: The network or a passing state of the server.
        """
        url = f"{self._url}/{urllib.parse.quote(path, safe='/@+')}"
        self._may_call()
        found = bytearray()
        with self._opened(url, {}) as response:
            for piece in self._pieces(response, url, bytes_max + 1):
                found += piece
            if len(found) > bytes_max:
                raise FetchError("asset.too_large", f"{shown(url)} is longer than {bytes_max} bytes")
            if response.length:
                raise Cut(f"{shown(url)} ended {response.length} bytes early")
        return bytes(found)

    def run(self, pack: str, offset: int, length: int) -> Generator[bytes]:
        """See `Source`."""
        url = f"{self._url}/packs/{pack}"
        self._may_call()
        with self._opened(url, {"Range": f"bytes={offset}-{offset + length - 1}"}) as response:
            self._fits(response, offset, length)
            came = 0
            for piece in self._pieces(response, url, length):
                came += len(piece)
                yield piece
            if came < length:
                raise Cut(f"cut after {came} of {length} bytes")

    def _fits(self, response: http.client.HTTPResponse, offset: int, length: int) -> None:
        if response.status == 206:
            found = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", "").strip())
            if found is not None and (int(found[1]), int(found[2])) == (offset, offset + length - 1):
                return
        elif response.status == 200 and offset == 0:
            return
        raise SourceMissing(
            "asset.refused", f"{self.name} does not answer with the range of bytes that was asked for (RFC 9110, 14)"
        )

    def _may_call(self) -> None:
        if not self._rate.is_open():
            raise FetchError(
                "delivery.window", f"the link may not be used now: {self.name} is not asked. What has arrived is kept"
            )

    def _opened(self, url: str, headers: dict[str, str]) -> http.client.HTTPResponse:
        session = self._session
        if session is not None:
            self._tokens[self._origin] = f"Bearer {session.token}"
        try:
            return self._web.open(url, headers, stays=True)
        except Refused as refused:
            if refused.status == 401 and session is not None and session.renew():
                raise Cut(str(refused), 0.0) from refused  # another try, with the new token
            if refused.status in (404, 410, 416):
                raise SourceMissing("asset.refused", str(refused)) from refused
            raise FetchError("asset.refused", str(refused)) from refused

    def _pieces(self, response: http.client.HTTPResponse, url: str, bytes_max: int) -> Generator[bytes]:
        """At most `bytes_max` bytes at the rate that is allowed; raises Cut for a transfer that stalls or trickles."""
        rate, began_s, came = self._rate, self._rate.now_s(), 0
        since_s, seen = began_s, 0
        at_once = CHUNK_BYTES if rate.bytes_per_s is None else max(1, min(CHUNK_BYTES, rate.bytes_per_s // 4))
        while came < bytes_max:
            try:
                piece = response.read1(min(at_once, bytes_max - came))
            except (OSError, http.client.HTTPException) as error:
                raise Cut(f"{shown(url)}: cut: {error or type(error).__name__}") from error
            if not piece:
                return
            came += len(piece)
            yield piece
            now_s = rate.now_s()
            if rate.bytes_per_s is not None and (early_s := came / rate.bytes_per_s - (now_s - began_s)) > 0:
                rate.sleep(early_s)
            if now_s - since_s >= rate.stall_s:
                if came - seen < rate.slow_bytes_per_s * (now_s - since_s):
                    raise Cut(f"{shown(url)}: only {came - seen} bytes came in {now_s - since_s:.0f} s")
                since_s, seen = now_s, came
