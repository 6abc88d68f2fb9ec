"""The cloud of the measurement: a real larger model behind `ecotone up`, and a record of what it said.

Greedy answers are the same each time, so each is made once: on two cores the larger model costs a third of a second of
CPU an answer, and the same items are asked for by both sites, by their shadows and by the comparison with 'all in the
cloud'. `Ahead` makes them a little before callers ask, so that models on the same few cores do not look like a cloud
that is silent for seconds; each answer then takes `WAY_S`, which stands for a real cloud's way and work.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import threading
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tasks import Item, Traffic

LIMIT_S = 180.0
WAY_S = 0.15
AHEAD = 32
MAKERS = 4
PATH = "/v1/completions"


class Record:
    """What a model said, by request; one JSON line each, appended as it comes.

    Attributes:
        made_s: Seconds that each answer took which was made in this run.
        given: Answers that were asked for.
    """

    def __init__(self, file: Path, model: str) -> None:
        self._file = file
        self._model = model
        self._lock = threading.Lock()
        self._known: dict[str, Future[dict[str, Any]]] = {}
        self.made_s: list[float] = []
        self.given = 0
        if file.is_file():
            for line in file.read_bytes().splitlines():
                # A run that was killed may have torn the last line.
                with contextlib.suppress(ValueError):
                    entry = json.loads(line)
                    known: Future[dict[str, Any]] = Future()
                    known.set_result(entry["answer"])
                    self._known[entry["key"]] = known

    def answer(self, port: int, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """The answer, from the record or from the model at this port.

        Raises:
            OSError, http.client.HTTPException, ValueError: the model gave none.
        """
        asked = {name: body[name] for name in sorted(body) if name not in ("seed", "stream", "user")}
        key = hashlib.sha256(json.dumps([path, asked | {"model": self._model}]).encode()).hexdigest()
        with self._lock:
            self.given += 1
            known = self._known.get(key)
            is_ours = known is None
            if known is None:
                known = self._known[key] = Future()
        if is_ours:
            try:
                known.set_result(self._make(key, port, path, asked))
            except BaseException as error:
                with self._lock:
                    del self._known[key]
                known.set_exception(error)
                raise
        return known.result()

    def _make(self, key: str, port: int, path: str, asked: dict[str, Any]) -> dict[str, Any]:
        began_s = time.perf_counter()
        answer = post(port, path, asked | {"model": self._model})
        took_s = time.perf_counter() - began_s
        with self._lock, self._file.open("a") as out:
            self.made_s.append(took_s)
            out.write(json.dumps({"key": key, "answer": answer}) + "\n")
        return answer


def post(port: int, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """One request to loopback; its answer.

    Raises:
        ValueError: it is no 200 with JSON.
        OSError, http.client.HTTPException: there is none.
    """
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=LIMIT_S)) as connection:
        connection.request("POST", path, json.dumps(body).encode(), {"content-type": "application/json"})
        answer = connection.getresponse()
        content = answer.read()
        if answer.status != 200:
            raise ValueError(f"{answer.status}: {content[:200]!r}")
        found: dict[str, Any] = json.loads(content)
        return found


class Ahead:
    """Traffic whose answers from the cloud are made a little before it is asked for."""

    def __init__(self, record: Record, model_port: int, traffic: Traffic) -> None:
        self._record, self._port, self._traffic = record, model_port, traffic
        self._makers = ThreadPoolExecutor(MAKERS)
        self._made: deque[tuple[Item, Future[dict[str, Any]]]] = deque()
        self._lock = threading.Lock()

    def next(self) -> Item:
        """The next request.

        Raises:
            OSError, http.client.HTTPException, ValueError: the model gave no answer to it.
        """
        with self._lock:
            while len(self._made) < AHEAD:
                item = self._traffic.next()
                self._made.append((item, self._makers.submit(self._record.answer, self._port, PATH, item.body())))
            item, made = self._made.popleft()
        made.result()
        return item

    def close(self) -> None:
        """Makes no more."""
        self._makers.shutdown(cancel_futures=True)


@contextlib.contextmanager
def serve(record: Record, model_port: int) -> Iterator[int]:
    """The cloud's port."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def log_message(self, *args: object) -> None:
            pass

        def do_GET(self) -> None:
            self._send(200, {"object": "list", "data": []})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            try:
                answer = record.answer(model_port, self.path, body)
                time.sleep(WAY_S)
                self._send(200, answer)
            except (BrokenPipeError, ConnectionResetError):
                # The site did not wait for it.
                self.close_connection = True
            except (OSError, ValueError, http.client.HTTPException) as error:
                said = {"error": {"message": type(error).__name__, "type": "cloud", "param": None, "code": "cloud"}}
                self._send(503, said)

        def _send(self, status: int, body: dict[str, Any]) -> None:
            content = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield int(server.server_address[1])
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
