"""The callers: a seeded trace of requests, sent when they are due, whatever became of those before."""

from __future__ import annotations

import asyncio
import json
import random
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from world import TEXT

INTERACTIVE_S = 5.0
JOB_S = 60.0
GRACE_S = 1.0
"""A caller gives up so long after its deadline."""

FILLER = "The pump in hall three hums at night and stops at dawn. "


@dataclass(frozen=True)
class Ask:
    """One request of the trace. `kind`: json, stream, job."""

    name: str
    kind: str
    at_s: float
    filler: int
    tokens: int = 64

    @property
    def deadline_s(self) -> float:
        """Seconds that the caller gives."""
        return JOB_S if self.kind == "job" else INTERACTIVE_S

    def body(self) -> dict[str, Any]:
        """The chat request."""
        said = f"{self.name} {FILLER * self.filler}"
        made = {"model": "assistant", "messages": [{"role": "user", "content": said}], "max_tokens": self.tokens}
        return made | {"stream": True} if self.kind == "stream" else made


@dataclass
class Told:
    """What a caller saw.

    Attributes:
        end: `answered`, `late`, `explained` (an error in OpenAI's form), `unexplained` (anything else).
        why: The error's code, or what was wrong.
        attempts: Failed attempts that the site admits (`Ecotone-Attempts`); None where it tells nothing.
        place: Who answered, by the `model` in the body.
    """

    ask: Ask
    end: str = "unexplained"
    why: str = "no answer"
    ttft_s: float | None = None
    total_s: float = 0.0
    attempts: int | None = None
    place: str = ""
    headers: dict[str, str] = field(default_factory=dict)


def trace(name: str, count: int, seconds: float, seed: int, *, is_small: bool = False) -> list[Ask]:
    """60 % in one piece, 30 % streams, 10 % jobs, at random instants. `is_small`: for a real model on this machine."""
    dice = random.Random(f"{name} {seed}")
    name = name.replace(" ", "-")
    at_s = sorted(dice.uniform(0, seconds) for _ in range(count))
    kinds = dice.choices(("json", "stream", "job"), (60, 30, 10), k=count)
    sizes = (1, 2, 16) if is_small else (2, 30, 64)
    return [
        Ask(f"{name}-{n}", kind, at, dice.randint(*sizes[:2]), sizes[2])
        for n, (kind, at) in enumerate(zip(kinds, at_s, strict=True))
    ]


class Caller:
    """Sends requests to one gateway, each on a new connection made by `make`."""

    def __init__(self, make: Callable[[], socket.socket], port: int, key: str, *, has_jobs: bool) -> None:
        self._make = make
        self._port = port
        self._key = key
        self._has_jobs = has_jobs

    async def ask(self, ask: Ask) -> Told:
        """One request to its end."""
        told, began_s = Told(ask), time.monotonic()
        try:
            async with asyncio.timeout(ask.deadline_s + GRACE_S):
                if ask.kind == "job" and self._has_jobs:
                    await self._job(told, began_s)
                else:
                    status, told.headers, told.ttft_s, body = await self._send("POST", ask, told)
                    _judge(told, status, body)
        except (OSError, asyncio.IncompleteReadError, ValueError) as error:
            told.why = "hangs" if isinstance(error, TimeoutError) else f"connection: {type(error).__name__}"
        told.total_s = time.monotonic() - began_s
        if told.end == "answered" and told.total_s > ask.deadline_s:
            told.end = "late"
        told.ttft_s = None if told.end != "answered" else told.ttft_s
        return told

    async def _job(self, told: Told, began_s: float) -> None:
        status, _, _, body = await self._send("POST", told.ask, told)
        if status != 202:
            _judge(told, status, body)
            return
        name = json.loads(body)["id"]
        while True:
            status, told.headers, _, body = await self._send("GET", None, told, f"/v1/jobs/{name}")
            state = json.loads(body)
            if status != 200 or state.get("ended_at"):
                break
            await asyncio.sleep(0.25)
        told.why = str(state.get("state"))
        status, told.headers, _, body = await self._send("GET", None, told, f"/v1/jobs/{name}/answer")
        _judge(told, status, body)
        told.attempts = None

    async def _send(
        self, method: str, ask: Ask | None, told: Told, path: str = "/v1/chat/completions"
    ) -> tuple[int, dict[str, str], float | None, bytes]:
        """(status, headers, seconds to the first content, body)."""
        began_s = time.monotonic()
        sock = self._make()
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", self._port))
        reader, writer = await asyncio.open_connection(sock=sock)
        try:
            body = b"" if ask is None else json.dumps(ask.body()).encode()
            lines = [
                f"{method} {path} HTTP/1.1", "host: site", "connection: close", "content-type: application/json",
                f"authorization: Bearer {self._key}", f"content-length: {len(body)}", "ecotone-debug: 1",
            ]  # fmt: skip
            if ask is not None:
                lines.append(f"ecotone-deadline-ms: {int(ask.deadline_s * 1e3)}")
                if ask.kind == "job" and self._has_jobs:
                    lines.append("prefer: respond-async")
            writer.write("\r\n".join([*lines, "", ""]).encode() + body)
            head = await reader.readuntil(b"\r\n\r\n")
            first, *rest = head.decode("latin-1").split("\r\n")
            headers = {line.partition(":")[0].lower(): line.partition(":")[2].strip() for line in rest if line}
            data, ttft_s = b"", None
            while piece := await reader.read(65536):
                data += piece
                if ttft_s is None and (b"w0" in data or (ask and ask.kind != "stream")):
                    ttft_s = time.monotonic() - began_s
            if headers.get("transfer-encoding") == "chunked":
                data = _dechunked(data)
            return int(first.split()[1]), headers, ttft_s, data
        finally:
            writer.transport.abort()


def _dechunked(data: bytes) -> bytes:
    """A cut body is given as far as it came, with a mark at its end."""
    whole = b""
    while data:
        size, _, rest = data.partition(b"\r\n")
        try:
            length = int(size, 16)
        except ValueError:
            break
        if length == 0:
            return whole
        whole += rest[:length]
        data = rest[length + 2 :]
    return whole + b"\ndata: <cut>\n\n"


def _judge(told: Told, status: int, body: bytes) -> None:
    attempts = told.headers.get("ecotone-attempts")
    told.attempts = attempts.count("=") if attempts is not None else None
    if status != 200:
        told.end, told.why = _error(body, f"HTTP {status}")
        return
    if told.ask.kind != "stream":
        try:
            made = json.loads(body)
            said = made["choices"][0]["message"]["content"]
        except (ValueError, KeyError, TypeError):
            told.why = "200, and no answer in it"
            return
        told.place = made.get("model", "")
    else:
        said, is_done = _stream(told, body)
        if not is_done:
            return
    is_ours = told.place in ("large-1", "small-1", "assistant", "ward")  # else a real model spoke, as it liked
    is_right = said == TEXT if is_ours else bool(said)
    told.end, told.why = ("answered", "") if is_right else ("unexplained", "another text than was said")


def _stream(told: Told, body: bytes) -> tuple[str, bool]:
    said, told.why = "", "the stream ended in its midst, without a word"
    for line in body.split(b"\n"):
        payload = line.removeprefix(b"data: ").strip() if line.startswith(b"data:") else b""
        if payload == b"[DONE]":
            return said, True
        if not payload or payload == b"<cut>":
            continue
        try:
            event = json.loads(payload)
        except ValueError:
            told.why = "an event that is not JSON"
            return said, False
        if "error" in event:
            told.end, told.why = _error(payload, "error event")
            return said, False
        told.place = event.get("model", told.place)
        for choice in event.get("choices", []):
            said += choice["delta"].get("content") or ""
    return said, False


def _error(body: bytes, where: str) -> tuple[str, str]:
    """An error is explained where it has a code or a type, and words for a person."""
    try:
        error = json.loads(body)["error"]
        code = error.get("code") or error.get("type")
        if code and error["message"]:
            return "explained", f"{where}: {str(code)[:60]}"
    except (ValueError, KeyError, TypeError, AttributeError):
        pass
    return "unexplained", f"{where}, and no error object"
