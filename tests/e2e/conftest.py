"""A real site in a real process, and a scripted upstream as a measuring instrument."""

from __future__ import annotations

import contextlib
import ctypes
import http.client
import json
import os
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from ecotone.assets import catalogue

ECOTONE = str(Path(sys.executable).parent / "ecotone")
START_S = 30.0
CLONE_NEWNET = 0x40000000
MODEL_STORE = Path(os.environ.get("ECOTONE_TEST_STORE", Path(sys.prefix) / ".ecotone-test-store"))
"""Where `make test` has put the starter model."""


def starter_file(store: Path = MODEL_STORE) -> Path:
    """The starter model's file in a site's store."""
    sha256 = catalogue.find("smollm2-135m").sha256
    return store / "assets" / "sha256" / sha256[:2] / sha256


def link_starter(store: Path) -> None:
    """Puts the starter model into a site's store without a download, and without a copy where that can be."""
    there = starter_file(store)
    there.parent.mkdir(parents=True)
    try:
        there.hardlink_to(starter_file())
    except OSError:
        shutil.copyfile(starter_file(), there)


def poll(condition: Callable[[], Any], what: str, within_s: float = 10.0) -> Any:
    """Waits until the condition holds, looking every 10 ms; what it gave.

    Raises:
        AssertionError: it did not hold in time.
    """
    until_s = time.monotonic() + within_s
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < until_s, f"not within {within_s:g} s: {what}"
        time.sleep(0.01)


@contextlib.contextmanager
def network_of(path: str) -> Iterator[None]:
    """This thread's new sockets belong to the network namespace that the file names (root only)."""
    libc = ctypes.CDLL(None, use_errno=True)
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    there = os.open(path, os.O_RDONLY)
    try:
        if libc.setns(there, CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "setns")
        yield
    finally:
        libc.setns(home, CLONE_NEWNET)
        os.close(there)
        os.close(home)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 512

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A caller who leaves, or whose handshake fails, is what is being tested."""


class Upstream:
    """A measuring instrument: an OpenAI-compatible server that does what `behaviour` says and records what it got.

    Attributes:
        behaviour: `ok`, a status such as `503`, `429-5` (with Retry-After 5), `html`, `silent`, `cut`, `reset`,
            `empty`, `echo` (says the last message, in pieces of three characters).
        raw, bodies: Bodies of all requests, as they came and decoded.
        gone: Set when a caller's connection was seen closing in mid-answer; `gone_at_s` says when, each time.
        on_body: Called when a request has come, before it is answered.
        written_bytes: Bytes of streams that the network took.
    """

    def __init__(self, address: str = "127.0.0.1", trust: ssl.SSLContext | None = None, port: int = 0) -> None:
        self.behaviour = "ok"
        self.words = ["The ", "cloud ", "says ", "hello."]
        self.gap_s = 0.0
        self.raw: list[bytes] = []
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.on_body: Callable[[], None] = lambda: None
        self.written_bytes = 0
        self.gone_at_s: list[float] = []
        self.gone = threading.Event()
        self.begun = threading.Event()
        self.release = threading.Event()
        self.address = address
        self.scheme = "http" if trust is None else "https"
        self.server = _Server((address, port), _handler(self))
        if trust is not None:
            # The handshake belongs to the connection's own thread: `accept` must not wait for it.
            self.server.socket = trust.wrap_socket(self.server.socket, server_side=True, do_handshake_on_connect=False)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True)
        self.thread.start()

    @property
    def url(self) -> str:
        """Base URL."""
        return f"{self.scheme}://{self.address}:{self.server.server_address[1]}/v1"

    def close(self) -> None:
        """Stops listening; connections are refused from now on."""
        self.release.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


def _words(upstream: Upstream, body: dict[str, Any]) -> list[str]:
    """What it answers, in pieces."""
    if upstream.behaviour != "echo":
        return upstream.words
    said = body["messages"][-1]["content"]
    return [said[at : at + 3] for at in range(0, len(said), 3)]


def _handler(upstream: Upstream) -> type[BaseHTTPRequestHandler]:  # noqa: C901 - one branch a behaviour
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def log_message(self, *args: object) -> None:
            pass

        def do_GET(self) -> None:
            self._json(200, {"object": "list", "data": []})

        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers["content-length"]))
            body = json.loads(raw)
            upstream.raw.append(raw)
            upstream.bodies.append(body)
            upstream.headers.append({name.lower(): value for name, value in self.headers.items()})
            behaviour = upstream.behaviour
            upstream.begun.set()
            upstream.on_body()
            if behaviour == "silent":
                self._keep_silent()
                self.close_connection = True
            elif behaviour == "html":
                self._send(200, b"<html>captive portal</html>", "text/html")
            elif behaviour[:3].isdigit():
                status, _, after = behaviour.partition("-")
                extra = {"retry-after": after} if after else {}
                error = {"error": {"message": "made", "type": "made", "param": None, "code": "made"}}
                self._json(int(status), error, extra)
            elif body.get("stream"):
                self._stream(body, behaviour)
            else:
                self._whole(body)

        def _keep_silent(self, limit_s: float = 60.0) -> bool:
            """Says nothing for so long, or until released; False where the caller has gone meanwhile."""
            until_s = time.monotonic() + limit_s
            self.connection.settimeout(0.01)
            while not upstream.release.is_set() and time.monotonic() < until_s:
                with contextlib.suppress(TimeoutError, ssl.SSLError):
                    if not self.connection.recv(1):
                        upstream.gone_at_s.append(time.monotonic())
                        upstream.gone.set()
                        self.close_connection = True
                        return False
            self.connection.settimeout(None)
            return True

        def _whole(self, body: dict[str, Any]) -> None:
            if upstream.gap_s and not self._keep_silent(upstream.gap_s * len(upstream.words)):
                return
            message = {"role": "assistant", "content": "".join(_words(upstream, body))}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            usage = {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}
            answer = {"id": "c1", "object": "chat.completion", "created": 1, "model": body["model"]}
            self._json(200, answer | {"choices": [choice], "usage": usage})

        def _stream(self, body: dict[str, Any], behaviour: str) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/event-stream")
            self.send_header("transfer-encoding", "chunked")
            self.end_headers()
            chunk = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": body["model"]}
            try:
                self._event(chunk | {"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]})
                for number, word in enumerate([] if behaviour == "empty" else _words(upstream, body)):
                    if behaviour in ("cut", "reset") and number == 2:
                        self.close_connection = True
                        if behaviour == "reset":
                            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                            self.connection.shutdown(socket.SHUT_RD)
                            self.connection.close()
                        return
                    self._event(chunk | {"choices": [{"index": 0, "delta": {"content": word}, "finish_reason": None}]})
                    time.sleep(upstream.gap_s)
                if behaviour != "empty":
                    self._event(chunk | {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
                if (body.get("stream_options") or {}).get("include_usage"):
                    usage = {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}
                    self._event(chunk | {"choices": [], "usage": usage})
                self._chunk(b"data: [DONE]\n\n")
                self._chunk(b"")
            except OSError:
                upstream.gone_at_s.append(time.monotonic())
                upstream.gone.set()
                self.close_connection = True

        def _event(self, event: dict[str, Any]) -> None:
            self._chunk(b"data: " + json.dumps(event).encode() + b"\n\n")

        def _chunk(self, data: bytes) -> None:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
            self.wfile.flush()
            upstream.written_bytes += len(data)

        def _json(self, status: int, body: dict[str, Any], extra: dict[str, str] | None = None) -> None:
            self._send(status, json.dumps(body).encode(), "application/json", extra)

        def _send(self, status: int, body: bytes, kind: str, extra: dict[str, str] | None = None) -> None:
            self.send_response(status)
            for name, value in {"content-type": kind, "content-length": str(len(body)), **(extra or {})}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

    return Handler


class Site:
    """`ecotone up` in a process of its own, on a free port."""

    def __init__(
        self,
        folder: Path,
        config: dict[str, Any],
        environ: dict[str, str],
        prefix: tuple[str, ...],
        fill: Callable[[Path], None] | None = None,
    ) -> None:
        self.file = folder / "ecotone.yaml"
        self.store = folder / "store"
        base = {
            "site": "test",
            "listen": {"address": "127.0.0.1", "port": 0},
            "store": {"path": str(self.store)},
            # The dear detectors have tests of their own; loading their models would slow down all others.
            "privacy": {"detectors": ["patterns"]},
        }
        self.file.write_text(yaml.safe_dump(base | config))
        self.log = folder / "site.log"
        if fill is not None:
            fill(self.store)
        env = {key: value for key, value in os.environ.items() if not key.startswith("ECOTONE_")} | environ
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [*prefix, ECOTONE, "up", "-c", str(self.file)], stdout=log, stderr=log, env=env, cwd=folder
            )
        self.port = 0
        self.around: Callable[[], contextlib.AbstractContextManager[None]] = contextlib.nullcontext

    def wait(self) -> Site:
        """Until it listens."""
        until = time.monotonic() + START_S
        while time.monotonic() < until:
            assert self.process.poll() is None, self.log.read_text()
            for line in self.log.read_text().splitlines():
                if "http://127.0.0.1:" in line and "listening" in line:
                    self.port = int(line.split("http://127.0.0.1:")[1].split("/")[0].split()[0].strip('",'))
                    return self
            time.sleep(0.02)
        raise AssertionError(self.log.read_text())

    @property
    def url(self) -> str:
        """Base URL for clients."""
        return f"http://127.0.0.1:{self.port}/v1"

    def connect(self, timeout_s: float = 60.0) -> http.client.HTTPConnection:
        """A new connection to the site."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout_s)
        with self.around():
            connection.connect()
        return connection

    def begin(
        self, body: dict[str, Any], path: str = "/v1/chat/completions", timeout_s: float = 60.0
    ) -> http.client.HTTPConnection:
        """Sends a request without waiting for its answer."""
        connection = self.connect(timeout_s)
        connection.request("POST", path, json.dumps(body).encode(), {"content-type": "application/json"})
        return connection

    def status(self) -> dict[str, Any]:
        """`GET /admin/status`."""
        found: dict[str, Any] = json.loads(self.ask("GET", "/admin/status")[2])
        return found

    def children(self) -> list[int]:
        """The site's child processes: its workers."""
        found = [path.read_text().split() for path in Path(f"/proc/{self.process.pid}/task").glob("*/children")]
        return [int(pid) for pids in found for pid in pids]

    def fds(self) -> int:
        """How many files and sockets the site holds open."""
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def rss_bytes(self) -> int:
        """The site's own resident memory, without workers."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGESIZE")

    def gauge(self, name: str) -> float:
        """The sum of a metric over its labels."""
        lines = self.ask("GET", "/metrics")[2].decode().splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith((name + " ", name + "{")))

    def ask(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        """One request: (status, headers in lower case, body)."""
        with contextlib.closing(self.connect()) as connection:
            data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
            connection.request(method, path, data, {"content-type": "application/json", **(headers or {})})
            answer = connection.getresponse()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()

    def ledger(self) -> list[dict[str, Any]]:
        """All entries on disk."""
        lines: list[dict[str, Any]] = []
        for segment in sorted((self.store / "ledger").glob("*.jsonl")):
            lines += [json.loads(line) for line in segment.read_bytes().splitlines() if line.startswith(b"{")]
        return lines

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Ends the process; its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(how)
        try:
            return self.process.wait(30)
        finally:
            self.process.kill()


Start = Callable[..., Site]


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    """A scripted upstream."""
    made = Upstream()
    yield made
    with contextlib.suppress(OSError):
        made.close()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts sites; all are stopped at the end."""
    sites: list[Site] = []

    def begin(
        config: dict[str, Any],
        environ: dict[str, str] | None = None,
        prefix: tuple[str, ...] = (),
        fill: Callable[[Path], None] | None = None,
    ) -> Site:
        folder = tmp_path / f"site{len(sites)}"
        folder.mkdir()
        sites.append(Site(folder, config, environ or {}, prefix, fill))
        return sites[-1].wait()

    yield begin
    for site in sites:
        site.stop()
