"""What a site gives its neighbours: segments of what it was delivered, by name, within bounds; nothing of its own.

    GET  /healthz       how many segments there are
    POST /v1/segments   see `delivery.neighbour`

Who asks must know the names, which stand in a signed manifest; nothing can be listed. Files that somebody put into the
store by other ways, and everything else of a site, cannot be reached: only what `installed.json` lists is looked at.
"""

from __future__ import annotations

import os
import re
import socket
import socketserver
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import accumulate
from pathlib import Path
from typing import Final

from ecotone import __version__
from ecotone.assets import StoreError
from ecotone.delivery.install import versions
from ecotone.delivery.neighbour import LENGTH, NAMES_MAX, PATH
from ecotone.transfer import decode
from ecotone.values import ConfigError, TrustError

__all__ = ["Bucket", "NeighbourServer", "Segments"]

TIMEOUT_S: Final = 30.0
CONNECTIONS_MAX: Final = 32
CONNECTIONS_EACH_MAX: Final = 4
LOOK_S: Final = 2.0
_BODY_BYTES_MAX: Final = NAMES_MAX * 65
_NAMES: Final = re.compile(rf"(?:[0-9a-f]{{64}}\n){{1,{NAMES_MAX}}}".encode())
_PIECE_BYTES: Final = 64 << 10


class Segments:
    """Where the segments of delivered files lie on this machine, as their manifests say; for any thread."""

    def __init__(self, store: Path, now_s: Callable[[], float] = time.monotonic) -> None:
        """Looks at nothing yet."""
        self._store, self._now_s = store, now_s
        self._lock = threading.Lock()
        self._looked_s = float("-inf")
        self._seen: tuple[int, ...] = ()
        self._places: dict[bytes, tuple[Path, int, int]] = {}

    def __len__(self) -> int:
        """How many there are."""
        return len(self._current())

    def read(self, name: str) -> bytes | None:
        """The segment, hashed just now; None if it is not here, or not what it should be."""
        from blake3 import blake3

        place = self._current().get(bytes.fromhex(name))
        if place is None:
            return None
        path, at, length = place
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:
            return None
        try:
            content = os.pread(fd, length, at)
        except OSError:
            return None
        finally:
            os.close(fd)
        return content if blake3(content).hexdigest() == name else None

    def _current(self) -> dict[bytes, tuple[Path, int, int]]:
        """The places; looked up anew when a delivery has changed what is here."""
        with self._lock:
            now_s = self._now_s()
            if now_s - self._looked_s >= LOOK_S:
                self._looked_s = now_s
                mark = _mark(self._store / "delivery" / "installed.json")
                if mark != self._seen:
                    self._places = self._found()
                    self._seen = mark
            return self._places

    def _found(self) -> dict[bytes, tuple[Path, int, int]]:
        found: dict[bytes, tuple[Path, int, int]] = {}
        try:
            here = versions(self._store)
        except StoreError:
            return found  # damaged: the site's own commands say so, and a neighbour gets nothing
        for one in here:
            try:
                manifest = decode((self._store / "trust" / "manifests" / one.manifest).read_bytes())
            except (OSError, TrustError):
                continue  # without its manifest nobody knows where its segments are
            for part in manifest.parts:
                path = self._store / "assets" / "sha256" / part.sha256[:2] / part.sha256
                starts = accumulate((segment.length for segment in part.segments), initial=0)
                for at, segment in zip(starts, part.segments, strict=False):
                    found[bytes.fromhex(segment.blake3)] = (path, at, segment.length)
        return found


def _mark(path: Path) -> tuple[int, ...]:
    try:
        said = path.stat()
    except OSError:
        return ()
    return said.st_ino, said.st_size, said.st_mtime_ns


class Bucket:
    """Bytes a second for all together; who takes more than there are waits."""

    def __init__(
        self,
        bytes_per_s: float | None,
        sleep: Callable[[float], None] = time.sleep,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """None: without a limit."""
        self._rate, self._sleep, self._now_s = bytes_per_s, sleep, now_s
        self._lock = threading.Lock()
        self._free_s = now_s()

    def take(self, n: int) -> None:
        """Returns when `n` bytes may go."""
        if self._rate is None:
            return
        with self._lock:
            now_s = self._now_s()
            wait_s = max(self._free_s - now_s, 0.0)
            self._free_s = max(self._free_s, now_s) + n / self._rate
        if wait_s:
            self._sleep(wait_s)


class NeighbourServer(ThreadingHTTPServer):
    """Gives segments until it is shut down; nothing can be written, and nothing is remembered of who asks."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, store: Path, host: str, port: int, bytes_per_s: float | None = None) -> None:
        """Listens.

        Raises:
            ConfigError: `hub.listen`.
        """
        self.segments: Final = Segments(store)
        self.bucket: Final = Bucket(bytes_per_s)
        self.given_bytes = 0
        self._lock: Final = threading.Lock()
        self._callers: Final[Counter[str]] = Counter()
        if ":" in host:
            self.address_family = socket.AF_INET6
        try:
            super().__init__((host, port), _Handler)
        except OSError as error:
            raise ConfigError("hub.listen", f"nothing can listen at {host}:{port}: {error.strerror}") from error

    def gave(self, n: int) -> None:
        """Counts bytes of segments."""
        with self._lock:
            self.given_bytes += n

    def process_request(self, request: socket.socket | tuple[bytes, socket.socket], client_address: object) -> None:
        """One thread for each connection, up to a limit for all and for one address; beyond it it is closed."""
        who = _address(client_address)
        with self._lock:
            is_full = self._callers.total() >= CONNECTIONS_MAX or self._callers[who] >= CONNECTIONS_EACH_MAX
            self._callers[who] += not is_full
        if is_full:
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(
        self, request: socket.socket | tuple[bytes, socket.socket], client_address: object
    ) -> None:
        """See `process_request`."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            who = _address(client_address)
            with self._lock:
                self._callers[who] -= 1
                if not self._callers[who]:
                    del self._callers[who]

    def server_bind(self) -> None:
        """Binds, and asks no name service what this machine is called."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def handle_error(self, request: socket.socket | tuple[bytes, socket.socket], client_address: object) -> None:
        """A caller that went away is nobody's concern; anything else is shown."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


def _address(client_address: object) -> str:
    return str(client_address[0]) if isinstance(client_address, tuple) else ""


class _Handler(BaseHTTPRequestHandler):
    server: NeighbourServer
    protocol_version = "HTTP/1.1"
    server_version = f"ecotone-neighbour/{__version__}"
    sys_version = ""
    timeout = TIMEOUT_S

    def do_GET(self) -> None:
        """How many segments there are."""
        if self.path != "/healthz":
            self._refuse(HTTPStatus.NOT_FOUND)
            return
        content = f'{{"segments": {len(self.server.segments)}}}\n'.encode()
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def do_POST(self) -> None:
        """Segments by name."""
        names = self._names()
        if names is None:
            return
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for name in names:
            content = self.server.segments.read(name) or b""
            self._chunk(LENGTH.pack(len(content)))
            for at in range(0, len(content), _PIECE_BYTES):
                piece = content[at : at + _PIECE_BYTES]
                self.server.bucket.take(len(piece))
                self._chunk(piece)
            self.server.gave(len(content))
        self.wfile.write(b"0\r\n\r\n")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
        """Says nothing: who asked for what is not kept."""

    def _names(self) -> list[str] | None:
        """What is asked for; None after it was refused."""
        length = self.headers.get("Content-Length", "")
        if self.path != PATH:
            self._refuse(HTTPStatus.NOT_FOUND)
        elif not re.fullmatch(r"[0-9]{1,9}", length):
            self._refuse(HTTPStatus.LENGTH_REQUIRED)
        elif int(length) > _BODY_BYTES_MAX:
            self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        else:
            body = self._body(int(length))
            if _NAMES.fullmatch(body):
                return body.decode().split()
            self._refuse(HTTPStatus.BAD_REQUEST)
        return None

    def _body(self, length: int) -> bytes:
        """What was sent of it within `TIMEOUT_S`: who sends a byte at a time holds no place for ever."""
        body, until_s = b"", time.monotonic() + TIMEOUT_S
        while len(body) < length and time.monotonic() < until_s:
            piece = self.rfile.read1(length - len(body))
            if not piece:
                break
            body += piece
        return body

    def _chunk(self, content: bytes) -> None:
        self.wfile.write(b"%x\r\n%b\r\n" % (len(content), content))

    def _refuse(self, status: HTTPStatus) -> None:
        self.close_connection = True
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.send_header("Connection", "close")
        self.end_headers()
