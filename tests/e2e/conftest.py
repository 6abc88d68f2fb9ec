"""A real site in a real process, and a scripted upstream as a measuring instrument."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
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

ECOTONE = str(Path(sys.executable).parent / "ecotone")
START_S = 30.0


class Upstream:
    """A measuring instrument: an OpenAI-compatible server that does what `behaviour` says and records what it got.

    Attributes:
        behaviour: `ok`, a status such as `503`, `429-5` (with Retry-After 5), `html`, `silent`, `cut`, `empty`.
        bodies: Decoded bodies of all requests.
        gone: Set when a caller's connection was seen closing in mid-answer.
    """

    def __init__(self) -> None:
        self.behaviour = "ok"
        self.words = ["The ", "cloud ", "says ", "hello."]
        self.gap_s = 0.0
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.gone = threading.Event()
        self.begun = threading.Event()
        self.release = threading.Event()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True)
        self.thread.start()

    @property
    def url(self) -> str:
        """Base URL."""
        return f"http://127.0.0.1:{self.server.server_address[1]}/v1"

    def close(self) -> None:
        """Stops listening; connections are refused from now on."""
        self.release.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


def _handler(upstream: Upstream) -> type[BaseHTTPRequestHandler]:  # noqa: C901 - one branch a behaviour
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args: object) -> None:
            pass

        def do_GET(self) -> None:
            self._json(200, {"object": "list", "data": []})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            upstream.bodies.append(body)
            upstream.headers.append({name.lower(): value for name, value in self.headers.items()})
            behaviour = upstream.behaviour
            upstream.begun.set()
            if behaviour == "silent":
                upstream.release.wait(60)
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

        def _whole(self, body: dict[str, Any]) -> None:
            message = {"role": "assistant", "content": "".join(upstream.words)}
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
                for number, word in enumerate([] if behaviour == "empty" else upstream.words):
                    if behaviour == "cut" and number == 2:
                        self.close_connection = True
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
                upstream.gone.set()
                self.close_connection = True

        def _event(self, event: dict[str, Any]) -> None:
            self._chunk(b"data: " + json.dumps(event).encode() + b"\n\n")

        def _chunk(self, data: bytes) -> None:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
            self.wfile.flush()

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

    def __init__(self, folder: Path, config: dict[str, Any], environ: dict[str, str], prefix: tuple[str, ...]) -> None:
        self.file = folder / "ecotone.yaml"
        self.store = folder / "store"
        base = {"site": "test", "listen": {"address": "127.0.0.1", "port": 0}, "store": {"path": str(self.store)}}
        self.file.write_text(yaml.safe_dump(base | config))
        self.log = folder / "site.log"
        env = {key: value for key, value in os.environ.items() if not key.startswith("ECOTONE_")} | environ
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [*prefix, ECOTONE, "up", "-c", str(self.file)], stdout=log, stderr=log, env=env, cwd=folder
            )
        self.port = 0

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

    def ask(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        """One request: (status, headers in lower case, body)."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        with contextlib.closing(connection):
            data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
            connection.request(method, path, data, {"content-type": "application/json", **(headers or {})})
            answer = connection.getresponse()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()

    def ledger(self) -> list[dict[str, Any]]:
        """All entries on disk."""
        lines: list[dict[str, Any]] = []
        for segment in sorted((self.store / "ledger").iterdir()):
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

    def begin(config: dict[str, Any], environ: dict[str, str] | None = None, prefix: tuple[str, ...] = ()) -> Site:
        folder = tmp_path / f"site{len(sites)}"
        folder.mkdir()
        sites.append(Site(folder, config, environ or {}, prefix))
        return sites[-1].wait()

    yield begin
    for site in sites:
        site.stop()
