"""The measuring instrument: a raw TCP server that follows a script, a sink that remembers, both event loops."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
import subprocess
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import uvloop

from ecotone.upstreams.connect import Dialler, Resolver
from ecotone.upstreams.exchange import Head
from ecotone.upstreams.http1 import Pool
from ecotone.upstreams.origin import Upstream
from ecotone.values import TargetError

LIMIT_S = 10.0
"""A scene that takes longer hangs."""


class Recorder:
    """A sink that writes down what it is told, and checks the order of the calls."""

    def __init__(self, loop: asyncio.AbstractEventLoop | None = None) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = b""
        self.chunks = 0
        self.error: TargetError | None = None
        self.is_ended = False
        loop = loop or asyncio.get_running_loop()
        self.began: asyncio.Future[None] = loop.create_future()
        self.over: asyncio.Future[None] = loop.create_future()
        self.on_data: Callable[[bytes], None] = lambda chunk: None
        self.on_head: Callable[[], None] = lambda: None
        self.on_end: Callable[[], None] = lambda: None

    def head(self, status: int, headers: Any) -> None:
        assert not self.status
        assert not self.over.done()
        self.status, self.headers = status, dict(headers)
        self.began.set_result(None)
        self.on_head()

    def data(self, chunk: bytes) -> None:
        assert self.status
        assert chunk
        assert not self.over.done()
        self.body += chunk
        self.chunks += 1
        self.on_data(chunk)

    def ended(self) -> None:
        assert self.status
        self.is_ended = True
        self.over.set_result(None)
        self.on_end()

    def failed(self, error: TargetError) -> None:
        self.error = error
        self.over.set_result(None)

    @property
    def code(self) -> str:
        return self.error.code if self.error else ""

    @property
    def story(self) -> tuple[Any, ...]:
        """What happened, regardless of how the bytes were cut."""
        return self.status, tuple(self.headers.items()), self.body, self.is_ended, self.code


class Peer:
    """The server's end of one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, server: Server) -> None:
        self.reader, self.writer, self.server = reader, writer, server

    async def head(self) -> SimpleNamespace:
        raw = await self.reader.readuntil(b"\r\n\r\n")
        self.server.requests += 1
        line, *lines = raw.decode("ascii").split("\r\n")[:-2]
        headers = dict(one.split(": ", 1) for one in lines)
        return SimpleNamespace(line=line, headers=headers, raw=raw, body=b"")

    async def request(self) -> SimpleNamespace:
        seen = await self.head()
        seen.body = await self.reader.readexactly(int(seen.headers.get("content-length", "0")))
        return seen

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    def answer(self, body: bytes = b"{}", head: bytes = b"content-type: application/json\r\n") -> None:
        self.send(b"HTTP/1.1 200 OK\r\n%bcontent-length: %d\r\n\r\n%b" % (head, len(body), body))

    def close(self) -> None:
        self.writer.close()

    def reset(self) -> None:
        """An RST instead of a FIN."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def gone(self) -> None:
        """Returns when the client has closed."""
        with contextlib.suppress(ConnectionError):
            while await self.reader.read(65536):
                pass


Script = Callable[[Peer], Awaitable[None]]


class Server:
    """Runs a script on every connection and counts."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.connections = 0
        self.requests = 0
        self.problems: list[BaseException] = []
        self.idle = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: list[asyncio.StreamWriter] = []

    async def start(self, *, context: ssl.SSLContext | None = None, path: str | None = None) -> Server:
        if path is not None:
            self.server = await asyncio.start_unix_server(self._accept, path)
            return self
        self.server = await asyncio.start_server(self._accept, "127.0.0.1", 0, ssl=context)
        self.port: int = self.server.sockets[0].getsockname()[1]
        return self

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.append(writer)
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self.script(Peer(reader, writer, self))
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        except AssertionError as problem:
            self.problems.append(problem)
        finally:
            self._tasks.discard(task)
            writer.close()

    async def stop(self) -> None:
        self.server.close()
        for task in self._tasks:
            task.cancel()
        for writer in self._writers:
            writer.transport.abort()
        for _ in range(5):
            await asyncio.sleep(0)
        if self.problems:
            raise self.problems[0]


class Stage:
    """What a scene works with; everything it opens is closed at the end."""

    def __init__(self, tls: SimpleNamespace, tmp_path: Path) -> None:
        self.tls = tls
        self.tmp_path = tmp_path
        self.resolver = Resolver()
        self.servers: list[Server] = []
        self.pools: list[Pool] = []
        self.loud: list[dict[str, Any]] = []
        self.recorder = Recorder

    async def serve(self, script: Script, *, is_tls: bool = False, path: str | None = None) -> Server:
        server = await Server(script).start(context=self.tls.server if is_tls else None, path=path)
        self.servers.append(server)
        return server

    def pool(self, where: Server | Upstream, *, resolver: Resolver | None = None, **options: Any) -> Pool:
        upstream = where if isinstance(where, Upstream) else Upstream(scheme="http", host="127.0.0.1", port=where.port)
        pool = Pool(upstream, Dialler(resolver or self.resolver), **options)
        self.pools.append(pool)
        return pool

    def post(self, pool: Pool, body: bytes = b'{"q":1}', sink: Recorder | None = None, **options: Any) -> Any:
        """(exchange, sink) of a request under way."""
        sink = sink or Recorder()
        head = Head(options.pop("method", "POST"), pool.upstream, "/v1/x", {"content-type": "application/json"})
        return pool.open(head, body, sink, **options), sink

    async def ask(self, pool: Pool, body: bytes = b'{"q":1}', **options: Any) -> Recorder:
        """The sink when all is over."""
        _, sink = self.post(pool, body, **options)
        await sink.over
        return sink

    async def until(self, holds: Callable[[], bool]) -> None:
        """Lets the loop turn until something holds."""
        while not holds():
            await asyncio.sleep(0.001)

    async def close(self) -> None:
        for pool in self.pools:
            pool.close()
        for server in self.servers:
            await server.stop()
        for _ in range(5):
            await asyncio.sleep(0)


Scene = Callable[[Stage], Awaitable[None]]


@pytest.fixture(scope="session")
def tls(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """A self-signed certificate for localhost and 127.0.0.1, made now."""
    folder = tmp_path_factory.mktemp("tls")
    key, certificate = folder / "key.pem", folder / "cert.pem"
    subprocess.run(
        (
            f"openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout {key} "
            f"-out {certificate} -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost,IP:127.0.0.1"
        ).split(),
        check=True,
        capture_output=True,
    )
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate, key)
    server.set_alpn_protocols(["h2", "http/1.1"])
    return SimpleNamespace(server=server, ca_file=str(certificate))


@pytest.fixture(params=["asyncio", "uvloop"])
def play(request: pytest.FixtureRequest, tls: SimpleNamespace, tmp_path: Path) -> Iterator[Callable[[Scene], None]]:
    """Runs a scene on each loop, bounded, and checks that no callback raised."""
    factory = asyncio.new_event_loop if request.param == "asyncio" else uvloop.new_event_loop

    def run(scene: Scene) -> None:
        async def whole() -> None:
            stage = Stage(tls, tmp_path)
            asyncio.get_running_loop().set_exception_handler(lambda _, context: stage.loud.append(context))
            try:
                async with asyncio.timeout(LIMIT_S):
                    await scene(stage)
            finally:
                await stage.close()
            assert not stage.loud, stage.loud

        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(whole())

    return run
