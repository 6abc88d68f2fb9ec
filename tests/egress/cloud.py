"""A fake cloud, named as what it is: a measuring instrument that answers, repeats, redirects, fails and breaks off."""

from __future__ import annotations

import contextlib
import json
import random
import socket
import struct
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

FAILURES: Final = (
    "redirect", "redirect-307", "echo-400", "echo-500", "503", "429", "slow", "reset", "cut", "html", "nonsense", "lie",
)  # fmt: skip


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 512

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A caller who leaves is what is being tested."""


class Cloud:
    """An OpenAI-compatible server that says back what it was told, or fails as it is told to.

    Attributes:
        behaviours: One is drawn for each request.
        gap_s: Between two pieces of a stream.
        script: The pieces of every answer, where it is not what was said.
        bodies: What came, decoded.
    """

    def __init__(self, address: str, seed: int = 0) -> None:
        """Listens in the network namespace of the calling thread."""
        self.address = address
        self.behaviours: tuple[str, ...] = ("ok",)
        self.gap_s = 0.0
        self.script: list[str] | None = None
        self.bodies: list[dict[str, Any]] = []
        self.redirect_to = ""
        self.begun = threading.Event()
        self.dice = random.Random(seed)
        self._server = _Server((address, 0), _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        return f"http://{self.address}:{self.port}/v1"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def said(body: dict[str, Any]) -> str:
    """What the last message, the prompt or the input says, as text."""
    if isinstance(body.get("messages"), list) and body["messages"]:
        content = body["messages"][-1].get("content")
        return content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
    prompt = body.get("prompt", body.get("input", ""))
    return prompt if isinstance(prompt, str) else json.dumps(prompt, ensure_ascii=False)


def _handler(cloud: Cloud) -> type[BaseHTTPRequestHandler]:  # noqa: C901 - one branch a behaviour
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        timeout = 30

        def log_message(self, *args: object) -> None:
            pass

        def do_GET(self) -> None:
            self._send(200, b'{"object":"list","data":[]}')

        do_HEAD = do_GET

        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers["content-length"] or 0))
            try:
                body = json.loads(raw)
            except ValueError:
                body = {}
            cloud.bodies.append(body)
            cloud.begun.set()
            behaviour = cloud.dice.choice(cloud.behaviours)
            if behaviour.startswith("redirect"):
                self.close_connection = True
                status = 307 if behaviour.endswith("307") else 302
                self._send(status, b"", {"location": cloud.redirect_to, "connection": "close"})
            elif behaviour.startswith("echo-"):
                error = {"message": f"cannot take: {raw.decode('utf-8', 'replace')}", "type": "x", "code": "x"}
                self._send(int(behaviour[5:]), json.dumps({"error": error}).encode())
            elif behaviour.isdigit():
                error = {"message": "made", "type": "made", "param": None, "code": "made"}
                self._send(int(behaviour), json.dumps({"error": error}).encode())
            elif behaviour == "html":
                self._send(200, b"<html>captive portal</html>", kind="text/html")
            elif behaviour == "nonsense":
                self.close_connection = True
                self.wfile.write(b"\x16\x03\x01 this is no HTTP\r\n\r\n")
            elif behaviour == "silent":
                time.sleep(3.0)
                self.close_connection = True
            else:
                self._answer(body, behaviour)

        def _answer(self, body: dict[str, Any], behaviour: str) -> None:
            if behaviour == "slow":
                time.sleep(0.15)
            if behaviour == "lie":
                # Says keep-alive, and closes as soon as the next request is on its way.
                self.close_connection = True
            if body.get("stream"):
                self._stream(body, behaviour)
            elif behaviour in ("reset", "cut"):
                self.send_response(200)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", "5000")
                self.end_headers()
                self.wfile.write(b'{"id":"c1","choices":[')
                self.wfile.flush()
                self._break(behaviour)
            else:
                self._send(200, json.dumps(_whole(body, cloud.script)).encode())

        def _stream(self, body: dict[str, Any], behaviour: str) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/event-stream")
            self.send_header("transfer-encoding", "chunked")
            self.end_headers()
            is_chat = "messages" in body
            kind = "chat.completion.chunk" if is_chat else "text_completion"
            chunk = {"id": "c1", "object": kind, "created": 1, "model": body.get("model")}
            pieces = _pieces(said(body), cloud.dice) if cloud.script is None else cloud.script
            with contextlib.suppress(OSError):
                for number, piece in enumerate(pieces):
                    if behaviour in ("cut", "reset") and number >= len(pieces) // 2:
                        self._break(behaviour)
                        return
                    choice = {"delta": {"content": piece}} if is_chat else {"text": piece}
                    self._event(chunk | {"choices": [{"index": 0, "finish_reason": None} | choice]})
                    if cloud.gap_s:
                        time.sleep(cloud.gap_s)
                last: dict[str, Any] = {"delta": {}} if is_chat else {"text": ""}
                self._event(chunk | {"choices": [{"index": 0, "finish_reason": "stop"} | last]})
                if (body.get("stream_options") or {}).get("include_usage"):
                    self._event(chunk | {"choices": [], "usage": _USAGE})
                self._chunk(b"data: [DONE]\n\n")
                self._chunk(b"")

        def _break(self, behaviour: str) -> None:
            self.close_connection = True
            if behaviour == "reset":
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.connection.close()

        def _event(self, event: dict[str, Any]) -> None:
            self._chunk(b"data: " + json.dumps(event).encode() + b"\n\n")

        def _chunk(self, data: bytes) -> None:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
            self.wfile.flush()

        def _send(
            self, status: int, body: bytes, extra: dict[str, str] | None = None, kind: str = "application/json"
        ) -> None:
            self.send_response(status)
            for name, value in {"content-type": kind, "content-length": str(len(body)), **(extra or {})}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

    return Handler


_USAGE: Final = {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}


def _whole(body: dict[str, Any], script: list[str] | None) -> dict[str, Any]:
    text = said(body) if script is None else "".join(script)
    base = {"id": "c1", "created": 1, "model": body.get("model"), "usage": _USAGE}
    if "messages" in body:
        message = {"role": "assistant", "content": text}
        return base | {
            "object": "chat.completion",
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        }
    if "prompt" in body:
        choice = {"index": 0, "text": text, "finish_reason": "stop"}
        return base | {"object": "text_completion", "choices": [choice]}
    row = {"object": "embedding", "index": 0, "embedding": [0.1, 0.2]}
    return {"object": "list", "model": body.get("model"), "data": [row], "usage": _USAGE}


def _pieces(text: str, dice: random.Random) -> list[str]:
    found, at = [], 0
    while at < len(text):
        size = dice.randint(1, 24)
        found.append(text[at : at + size])
        at += size
    return found or [""]
