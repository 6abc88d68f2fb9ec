"""A gateway on a real socket with a made corridor behind it, and a raw client. Instruments of `test_caller`."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import uvloop

from ecotone.gateway import Corridor, Doors, Limits, Server, listen
from ecotone.ports import Caller
from ecotone.values import Request

BOUND_S = 20.0
"""No wait of a test is longer; none is expected to come near."""

CHAT = {"model": "assistant", "messages": [{"role": "user", "content": "Hello"}]}
JSON_HEAD = [("content-type", "application/json")]
EVENTS_HEAD = [("content-type", "text/event-stream")]

Script = Callable[[Request, Caller], Awaitable[None]]


async def echo(request: Request, caller: Caller) -> None:
    """Answers with the request's id and the last message."""
    said = json.loads(request.body)["messages"][-1]["content"]
    body = json.dumps({"id": request.id, "said": said}).encode()
    caller.begin(200, [*JSON_HEAD, ("Ecotone-Id", request.id)], is_stream=False, length=len(body))
    caller.write(body)
    caller.finish()


class Site:
    """What the made corridor saw, and what it is to do."""

    def __init__(self, limits: Limits, keys: dict[str, str] | None) -> None:
        self.script: Script = echo
        self.requests: list[Request] = []
        self.refused: list[str] = []
        self.cancelled = asyncio.Event()
        self.began = asyncio.Event()
        self.stop = asyncio.Event()
        self.now = asyncio.Event()
        self.drain_s = 0.0
        self.reasons: list[str] = []
        self.wires: list[Wire] = []
        check = keys.get if keys is not None else None
        self.doors = Doors(
            serve=self._serve,
            models=lambda: [{"id": "assistant", "object": "model"}, {"id": "org/small", "object": "model"}],
            explain=self._explain,
            explain_past=self._explain_past,
            not_ready=lambda: self.reasons,
            metrics=lambda: b"# HELP made\n",
            status=lambda: {"site": "made"},
            reload=self._reload,
            check_key=check,
            refused=self.refused.append,
        )
        self.corridor = Corridor(self.doors, limits)
        self.socket = listen("127.0.0.1", 0)
        self.port: int = self.socket.getsockname()[1]

    async def _serve(self, request: Request, caller: Caller) -> None:
        self.requests.append(request)
        self.began.set()
        try:
            await self.script(request, caller)
        except asyncio.CancelledError:
            self.cancelled.set()
            raise

    async def _explain(self, request: Request) -> dict[str, Any]:
        return {"model": request.model, "place": "edge"}

    async def _explain_past(self, id_: str) -> dict[str, Any] | None:
        return {"id": id_} if id_.startswith("req-") else None

    async def _reload(self) -> dict[str, Any]:
        return {"changed": []}

    async def connect(self) -> Wire:
        """A new connection."""
        return self.own(Wire(*await asyncio.open_connection("127.0.0.1", self.port, limit=1 << 24)))

    def own(self, wire: Wire) -> Wire:
        """Sees to it that a connection is closed at the end of the scenario."""
        self.wires.append(wire)
        return wire

    @property
    def base(self) -> str:
        """The address that clients are given."""
        return f"http://127.0.0.1:{self.port}"


class Answer:
    """One answer as it came; `is_whole` is False where it broke off."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes, *, is_whole: bool) -> None:
        self.status = status
        self.headers = headers
        self.body = body
        self.is_whole = is_whole

    @property
    def code(self) -> str:
        """The error's code; asserts that the error object is OpenAI's."""
        assert self.headers["content-type"] == "application/json"
        error = json.loads(self.body)["error"]
        assert set(error) == {"message", "type", "param", "code"}
        assert error["message"]
        return str(error["code"])


class Wire:
    """A raw HTTP/1.1 client, so that nothing is mended on the way."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, data: bytes) -> None:
        """Writes as it is."""
        self.writer.write(data)

    async def head(self) -> tuple[int, dict[str, str]]:
        """Status and headers (lower-case names) of the next answer."""
        async with asyncio.timeout(BOUND_S):
            raw = await self.reader.readuntil(b"\r\n\r\n")
        first, *lines = raw.decode("latin-1").strip().split("\r\n")
        headers = {}
        for line in lines:
            name, _, value = line.partition(":")
            assert name.lower() not in headers, f"{name} twice"
            headers[name.lower()] = value.strip()
        return int(first.split(" ")[1]), headers

    async def chunk(self) -> bytes:
        """The next chunk of a chunked answer; b"" is the last.

        Raises:
            asyncio.IncompleteReadError: it broke off.
        """
        async with asyncio.timeout(BOUND_S):
            size = int(await self.reader.readuntil(b"\r\n"), 16)
            data = await self.reader.readexactly(size + 2)
        return data[:-2]

    async def answer(self, *, is_head: bool = False) -> Answer:
        """The next answer, body and all."""
        status, headers = await self.head()
        if is_head or status in (204, 304):
            return Answer(status, headers, b"", is_whole=True)
        async with asyncio.timeout(BOUND_S):
            if "content-length" in headers:
                length = int(headers["content-length"])
                body = b""
                while len(body) < length:
                    more = await self.reader.read(length - len(body))
                    if not more:
                        return Answer(status, headers, body, is_whole=False)
                    body += more
                return Answer(status, headers, body, is_whole=True)
            if headers.get("transfer-encoding") != "chunked":
                return Answer(status, headers, await self.reader.read(), is_whole=True)
            body = b""
            try:
                while chunk := await self.chunk():
                    body += chunk
            except asyncio.IncompleteReadError:
                return Answer(status, headers, body, is_whole=False)
            return Answer(status, headers, body, is_whole=True)

    async def gone(self) -> bytes:
        """What still comes until the server closes; a reset counts as closing."""
        async with asyncio.timeout(BOUND_S):
            try:
                return await self.reader.read()
            except ConnectionResetError:
                return b""

    async def close(self) -> None:
        """Lets go of the socket, whatever its state."""
        self.writer.transport.abort()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()

    def leave(self) -> None:
        """Goes away, as a killed process does."""
        self.writer.transport.abort()


def post(body: Any = None, path: str = "/v1/chat/completions", **headers: str) -> bytes:
    """A request in one piece. Header names with `_` for `-`."""
    raw = body if isinstance(body, bytes) else json.dumps(CHAT if body is None else body).encode()
    given = {"host": "made", "content-type": "application/json", "content-length": str(len(raw))}
    given |= {name.replace("_", "-"): value for name, value in headers.items()}
    lines = "".join(f"{name}: {value}\r\n" for name, value in given.items() if value)
    return f"POST {path} HTTP/1.1\r\n{lines}\r\n".encode() + raw


def get(path: str, method: str = "GET", **headers: str) -> bytes:
    """A request without a body."""
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return f"{method} {path} HTTP/1.1\r\nhost: made\r\n{lines}\r\n".encode()


def said(text: str, **more: Any) -> dict[str, Any]:
    """A chat request with one message."""
    return {"model": "assistant", "messages": [{"role": "user", "content": text}], **more}


class Front:
    """One front end on one event loop."""

    def __init__(self, name: str) -> None:
        lane, loop = name.split("-")
        self.is_fast = lane == "fast"
        self._factory = uvloop.new_event_loop if loop == "uvloop" else asyncio.new_event_loop

    def run(
        self,
        scenario: Callable[[Site], Coroutine[Any, Any, None]],
        *,
        keys: dict[str, str] | None = None,
        **limits: Any,
    ) -> None:
        """Runs a scenario against a site of its own; leaves nothing behind."""
        with asyncio.Runner(loop_factory=self._factory) as runner:
            runner.run(self._run(scenario, Limits(**{"linger_s": 0.2, **limits}), keys))

    async def _run(self, scenario: Any, limits: Limits, keys: dict[str, str] | None) -> None:
        site = Site(limits, keys)
        server = Server(site.corridor, [site.socket], fast_lane=self.is_fast)
        started = asyncio.Event()
        serving = asyncio.create_task(
            server.serve_until(site.stop, now=site.now, drain_s=BOUND_S, started=started), name="server"
        )
        async with asyncio.timeout(BOUND_S):
            await started.wait()
            try:
                await scenario(site)
            finally:
                site.stop.set()
                site.now.set()
                await serving
                for wire in site.wires:
                    await wire.close()
        assert site.corridor.in_flight == 0
        assert site.corridor.held_bytes == 0
        assert server.connections == 0
