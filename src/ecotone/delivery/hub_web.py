"""A hub's folder over HTTP: static files and single ranges of them, nothing else. Put a proxy with TLS before it.

What is served is public and signed, so any web server will do as well; this one needs no other.
"""

from __future__ import annotations

import os
import re
import socket
import socketserver
import stat
import sys
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import BinaryIO, Final
from urllib.parse import unquote, urlsplit

from ecotone import __version__
from ecotone.values import ConfigError

__all__ = ["HubServer"]

TIMEOUT_S: Final = 60.0
CONNECTIONS_MAX: Final = 256
_PIECE_BYTES: Final = 256 << 10
_PATH: Final = re.compile(
    r"/(trust\.json|(?:(?:catalogue|director)/(?:metadata|targets/[a-z]{1,20})|packs)/[A-Za-z0-9][A-Za-z0-9._+@-]{0,220})"
)
_RANGE: Final = re.compile(r"bytes=([0-9]{1,18})-([0-9]{1,18})?")


class HubServer(ThreadingHTTPServer):
    """Serves one hub's folder until it is shut down. Sites only ever ask; nothing can be written."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, hub: Path, host: str, port: int) -> None:
        """Listens.

        Raises:
            ConfigError: `hub.listen`.
        """
        self.hub: Final = hub
        self._room: Final = threading.BoundedSemaphore(CONNECTIONS_MAX)
        if ":" in host:
            self.address_family = socket.AF_INET6
        try:
            super().__init__((host, port), _Handler)
        except OSError as error:
            raise ConfigError("hub.listen", f"nothing can listen at {host}:{port}: {error.strerror}") from error

    def process_request(self, request: socket.socket | tuple[bytes, socket.socket], client_address: object) -> None:
        """One thread for each connection, up to a limit; beyond it the connection is closed."""
        if not self._room.acquire(blocking=False):
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
            self._room.release()

    def server_bind(self) -> None:
        """Binds, and asks no name service what this machine is called."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def handle_error(self, request: socket.socket | tuple[bytes, socket.socket], client_address: object) -> None:
        """A caller that went away is nobody's concern; anything else is shown."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    server: HubServer
    protocol_version = "HTTP/1.1"
    server_version = f"ecotone-hub/{__version__}"
    sys_version = ""
    timeout = TIMEOUT_S

    def do_GET(self) -> None:
        """A file, or one range of it."""
        self._answer(has_body=True)

    def do_HEAD(self) -> None:
        """Its headers."""
        self._answer(has_body=False)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
        """Says nothing: who asked for what is the proxy's to keep."""

    def _answer(self, *, has_body: bool) -> None:
        file = self._opened()
        if file is None:
            self._refuse(HTTPStatus.NOT_FOUND, {})
            return
        with file:
            size = os.fstat(file.fileno()).st_size
            span = self._span(size)
            if span is None:
                self._refuse(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, {"Content-Range": f"bytes */{size}"})
                return
            first, last = span
            is_part = "Range" in self.headers and (first, last) != (0, size - 1)
            self.send_response(HTTPStatus.PARTIAL_CONTENT if is_part else HTTPStatus.OK)
            if is_part:
                self.send_header("Content-Range", f"bytes {first}-{last}/{size}")
            self.send_header("Accept-Ranges", "bytes")
            self.send_header("Content-Type", "application/octet-stream")
            self.send_header("Content-Length", str(last - first + 1))
            self.send_header("Cache-Control", self._caching())
            self.end_headers()
            if has_body:
                self._send(file, first, last)

    def _opened(self) -> BinaryIO | None:
        """The file that is meant, if it may be served: no link, no folder, nothing but a hub's own names."""
        path = _PATH.fullmatch(unquote(urlsplit(self.path).path))
        if path is None:
            return None
        try:
            fd = os.open(self.server.hub / path[1], os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:
            return None
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            return None
        return os.fdopen(fd, "rb", buffering=0)

    def _span(self, size: int) -> tuple[int, int] | None:
        """First and last byte; the whole where no range is asked for, or none that is understood (RFC 9110, 14.2)."""
        asked = _RANGE.fullmatch(self.headers.get("Range", "").strip())
        if asked is None:
            return 0, size - 1
        first, last = int(asked[1]), min(int(asked[2] or size - 1), size - 1)
        return (first, last) if first <= last else None

    def _caching(self) -> str:
        """What has a digest or a version in its name never changes."""
        is_moving = self.path.endswith(("/timestamp.json", "/bundle.json", "/trust.json"))
        return "no-cache" if is_moving else "public, max-age=31536000, immutable"

    def _send(self, file: BinaryIO, first: int, last: int) -> None:
        file.seek(first)
        left = last - first + 1
        while left > 0 and (piece := file.read(min(_PIECE_BYTES, left))):
            self.wfile.write(piece)
            left -= len(piece)
        if left:
            self.close_connection = True

    def _refuse(self, status: HTTPStatus, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": "0"}.items():
            self.send_header(name, value)
        self.end_headers()
