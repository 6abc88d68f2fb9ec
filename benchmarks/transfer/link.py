"""A web server over a folder that cuts some of its answers half-way and counts every byte that it sends."""

from __future__ import annotations

import contextlib
import random
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import msgspec

PIECE_BYTES = 64 << 10
HEADER_BYTES = 500
"""What a request and the head of its answer cost together, bytes."""


class Link(msgspec.Struct):
    """How the link is, and what went over it.

    Attributes:
        bytes_per_s: Its rate; all answers share it. What the kernels hold between server and client stays small.
        cut_share: Share of the answers that end half-way.
        body_bytes: Bytes of bodies that were sent.
        requests: Answers that were begun.
    """

    folder: Path
    bytes_per_s: float
    cut_share: float
    url: str = ""
    body_bytes: int = 0
    requests: int = 0
    dice: random.Random = msgspec.field(default_factory=lambda: random.Random(11))
    lock: threading.Lock = msgspec.field(default_factory=threading.Lock)
    free_s: float = 0.0

    @property
    def wire_bytes(self) -> int:
        """All that was sent."""
        return self.body_bytes + HEADER_BYTES * self.requests

    def pass_on(self, n: int) -> None:
        """Waits until the link has taken `n` more bytes."""
        with self.lock:
            now_s = time.monotonic()
            self.free_s = max(self.free_s, now_s - 0.05) + n / self.bytes_per_s
            wait_s = self.free_s - now_s
        if wait_s > 0:
            time.sleep(wait_s)


@contextlib.contextmanager
def serving(folder: Path, bytes_per_s: float, cut_share: float) -> Iterator[Link]:
    """The folder over the link."""
    link = Link(folder, bytes_per_s, cut_share)

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            link.requests += 1
            path = link.folder / self.path.lstrip("/")
            size = path.stat().st_size
            asked = self.headers.get("Range", "").removeprefix("bytes=")
            first, _, last = asked.partition("-")
            start, end = (int(first), min(int(last or size - 1), size - 1)) if asked else (0, size - 1)
            self.send_response(206 if asked else 200)
            if asked:
                self.send_header("Content-Range", f"bytes {start}-{end}/{size}")
            self.send_header("ETag", '"1"')
            self.send_header("Content-Length", str(end - start + 1))
            self.end_headers()
            stop = start + (end - start + 1) // 2 if link.dice.random() < link.cut_share else end + 1
            with path.open("rb") as file, contextlib.suppress(OSError):
                file.seek(start)
                while start < stop:
                    piece = file.read(min(PIECE_BYTES, stop - start))
                    link.pass_on(len(piece))
                    self.wfile.write(piece)
                    start += len(piece)
                    link.body_bytes += len(piece)

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        block_on_close = False

        def get_request(self) -> tuple[socket.socket, object]:
            peer, address = super().get_request()
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, PIECE_BYTES)
            return peer, address

    server = Server(("127.0.0.1", 0), Handler)
    link.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield link
    finally:
        server.shutdown()
        server.server_close()
