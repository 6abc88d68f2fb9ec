"""A hub's folder with two versions of a small model, and a web server that misbehaves as it is told."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import msgspec
from tests.unit.transfer.files import gguf

from ecotone.assets.fetch import Patience
from ecotone.delivery.fetch import Rate
from ecotone.delivery.packs import About, publish
from ecotone.transfer import Manifest

QUICK = Patience(tries_max=4, wait_first_s=0.001, wait_max_s=0.002, worth_bytes=1)
RATE = Rate(stall_s=5.0)


def weights(seed: int, size: int = 200_000) -> bytes:
    return random.Random(seed).randbytes(size)


def tuned(content: bytes, every: int = 50) -> bytes:
    """As after a light fine-tune: some bytes differ."""
    fresh = bytearray(content)
    for at in range(0, len(fresh), every):
        fresh[at] ^= 3
    return bytes(fresh)


FIRST = [(f"t{n}", (200_000,), weights(n)) for n in range(8)]
SECOND = [*FIRST[:6], ("t6", (200_000,), tuned(FIRST[6][2])), ("t7", (200_000,), weights(99))]


def about(version: str, name: str = "small") -> About:
    return About(name=name, version=version, licence="MIT")


class Hub:
    """Versions 1 and 2 of `small`; 2 has one tensor with a delta, and one that is new."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "hub"
        self.made = folder / "made"
        self.made.mkdir()
        self.first = self.publish("1", gguf(FIRST))
        self.second = self.publish("2", gguf(SECOND), earlier=(self.first,), base=self.first)

    def publish(
        self, version: str, content: bytes, *, earlier: tuple[Manifest, ...] = (), base: Manifest | None = None
    ) -> Manifest:
        path = self.made / "m.gguf"
        path.write_bytes(content)
        return publish([path], self.folder, about(version), earlier=earlier, base=base)


class Server(msgspec.Struct):
    """What the server does, and what it has seen."""

    folder: Path
    cut_share: float = 0.0
    lie: Callable[[bytes], bytes] = lambda body: body
    redirect: str = ""
    has_ranges: bool = True
    status: int = 0
    stops_after: int | None = None
    pause_s: float = 0.0
    url: str = ""
    sent: int = 0
    requests: list[str] = []
    dice: random.Random = random.Random(5)


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[Server]:
    state = Server(folder, requests=[], dice=random.Random(5))

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            state.requests.append(f"{self.path} {self.headers.get('Range', '')}")
            if state.redirect:
                self.send_response(302)
                self.send_header("Location", state.redirect)
                self.end_headers()
                return
            path = state.folder / self.path.lstrip("/")
            if state.status or not path.is_file():
                self.send_error(state.status or 404)
                return
            self._send(path.read_bytes())

        def _send(self, whole: bytes) -> None:
            asked = self.headers.get("Range", "").removeprefix("bytes=")
            if asked and state.has_ranges:
                first, _, last = asked.partition("-")
                body = whole[int(first) : int(last) + 1]
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {first}-{int(first) + len(body) - 1}/{len(whole)}")
            else:
                body = whole
                self.send_response(200)
            body = state.lie(body)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            is_cut = state.dice.random() < state.cut_share
            for at in range(0, len(body) // 2 if is_cut else len(body), 16384):
                if state.stops_after is not None and state.sent >= state.stops_after:
                    time.sleep(30)
                piece = body[at : at + 16384]
                try:
                    self.wfile.write(piece)
                except OSError:
                    return
                state.sent += len(piece)
                time.sleep(state.pause_s)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.block_on_close = False
    state.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
