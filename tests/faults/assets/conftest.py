"""A loopback origin that serves files by RFC 9110, and misbehaves on request."""

from __future__ import annotations

import hashlib
import io
import re
import socket
import threading
import zipfile
from collections import deque
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from ecotone.assets.fetch import Patience
from ecotone.assets.pip_settings import PipSettings
from ecotone.assets.pull import Sources
from ecotone.assets.web import Link

Act = Callable[["Handler", bytes], None]


class Handler(BaseHTTPRequestHandler):
    """One request; `origin.acts` says how to answer it, else honestly."""

    protocol_version = "HTTP/1.1"
    server: Origin

    def do_GET(self) -> None:
        origin = self.server
        origin.log.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
        body = origin.files.get(self.path)
        if body is None:
            self.answer(404, {}, b"no such file")
            return
        act = origin.acts.popleft() if origin.acts and self.path == origin.acted else honest
        act(self, body)

    def answer(self, status: int, headers: dict[str, str], body: bytes, length: int | None = None) -> None:
        """A whole answer, or one that promises `length` bytes and closes."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = length is not None

    def log_message(self, *args: Any) -> None:
        """Silent."""


class Origin(ThreadingHTTPServer):
    """The origin: what it serves, how it will misbehave, what it was asked."""

    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.types: dict[str, str] = {}
        self.acts: deque[Act] = deque()
        self.acted = "/file"
        self.has_etag = True
        self.log: list[tuple[str, dict[str, str]]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def asked(self, path: str = "/file") -> list[str | None]:
        """The Range header of each request for the path."""
        return [headers.get("range") for at, headers in self.log if at == path]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that leaves is no error of the test."""


def etag_of(body: bytes) -> str:
    return f'"{hashlib.sha256(body).hexdigest()[:16]}"'


def ranged(handler: Handler, body: bytes) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of the honest answer."""
    headers = {"Content-Type": handler.server.types.get(handler.path, "application/octet-stream")}
    if handler.server.has_etag:
        headers["ETag"] = etag_of(body)
    asked = re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range", ""))
    condition = handler.headers.get("If-Range")
    if asked is None or (condition is not None and condition != etag_of(body)):
        return 200, headers, body
    at = int(asked[1])
    if at >= len(body):
        return 416, {"Content-Range": f"bytes */{len(body)}"}, b""
    headers["Content-Range"] = f"bytes {at}-{len(body) - 1}/{len(body)}"
    return 206, headers, body[at:]


def honest(handler: Handler, body: bytes) -> None:
    handler.answer(*ranged(handler, body))


def cut(count: int) -> Act:
    """Closes the connection after `count` bytes of the body."""

    def act(handler: Handler, body: bytes) -> None:
        status, headers, rest = ranged(handler, body)
        handler.answer(status, headers, rest[:count], length=len(rest))

    return act


def says(status: int, headers: dict[str, str] | None = None, body: bytes = b"") -> Act:
    """Answers just this."""
    return lambda handler, _: handler.answer(status, headers or {}, body)


def reset(handler: Handler, body: bytes) -> None:
    """Drops the connection before any answer."""
    handler.close_connection = True
    handler.connection.shutdown(socket.SHUT_RDWR)


def endless(handler: Handler, body: bytes) -> None:
    """A chunked body that does not end."""
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    while True:
        handler.wfile.write(b"10000\r\n" + bytes(65536) + b"\r\n")


def silent(handler: Handler, body: bytes) -> None:
    """Sends the header and half of the body, then nothing until the client leaves."""
    status, headers, rest = ranged(handler, body)
    handler.answer(status, headers, rest[: len(rest) // 2], length=len(rest))
    handler.connection.recv(1)


def wheel_of(members: dict[str, bytes]) -> bytes:
    """A zip file in memory."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    return out.getvalue()


def sha256(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


class Steps:
    """A progress that remembers."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.count = 0
        self.total: int | None = None
        self.ends = 0

    def start(self, total_bytes: int | None, what: str) -> None:
        self.total, self.count = total_bytes, 0

    def advance(self, n: int) -> None:
        self.count += n

    def step(self, text: str) -> None:
        self.lines.append(text)

    def done(self) -> None:
        self.ends += 1


def impatient(**changes: Any) -> Patience:
    """Never sleeps."""
    return Patience(**{"sleep": lambda s: None, "worth_bytes": 1000, **changes})


def sources_of(origin: Origin, **changes: Any) -> Sources:
    """Everything from the loopback origin, through no proxy."""
    pip = PipSettings(indexes=(f"{origin.url}/simple",), link=Link(timeout_s=5.0))
    return Sources(**{"pip": pip, "hf_base": origin.url, "patience": impatient(), **changes})


@pytest.fixture(autouse=True)
def plain_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine's own proxies and logins stay out of the tests."""
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")


@pytest.fixture
def origin() -> Iterator[Origin]:
    """A running origin."""
    with Origin() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def steps() -> Steps:
    return Steps()


@pytest.fixture
def made() -> Any:
    """This module: the origin's ways to misbehave, and makers of wheels and settings."""
    import sys

    return sys.modules[__name__]
