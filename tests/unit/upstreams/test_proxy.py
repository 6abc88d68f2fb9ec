"""Through a proxy: one CONNECT, then TLS with the target; what the proxy itself says is never taken for its word."""

from __future__ import annotations

import asyncio
import base64
import socket

import pytest

from ecotone.upstreams.connect import Resolver
from ecotone.upstreams.origin import Upstream, locate
from ecotone.upstreams.proxy import ANSWER_BYTES_MAX, Proxy


class Middle:
    """A proxy: a measuring instrument that lets through, or does what its script says.

    Attributes:
        heads: What it was asked.
    """

    def __init__(self, port: int, script: bytes | None = None) -> None:
        self.heads: list[str] = []
        self._port, self._script = port, script
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: list[asyncio.StreamWriter] = []

    async def start(self) -> Middle:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def _serve(self, reader, writer):
        self._tasks.add(asyncio.current_task())
        self._writers.append(writer)
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            self.heads.append(head.decode())
            if self._script is not None:
                writer.write(self._script)
                await writer.drain()
                if self._script:
                    await reader.read()
                return
            near_reader, near_writer = await asyncio.open_connection("127.0.0.1", self._port)
            self._writers.append(near_writer)
            writer.write(b"HTTP/1.1 200 Connection established\r\nvia: middle\r\n\r\n")
            await asyncio.gather(self._pump(reader, near_writer), self._pump(near_reader, writer))
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    async def _pump(self, reader, writer):
        try:
            while piece := await reader.read(65536):
                writer.write(piece)
                await writer.drain()
        except OSError:
            pass
        writer.close()

    async def stop(self):
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for writer in self._writers:
            writer.transport.abort()
        for _ in range(5):
            await asyncio.sleep(0)


def nobody(host, port):
    """No name but the proxy's is ever looked up here."""
    assert host == "middle.example", host
    return [(socket.AF_INET, ("127.0.0.1", port))]


async def answers(peer):
    while True:
        await peer.request()
        peer.answer()


def proxy(middle, credentials=""):
    return Proxy(host="middle.example", port=middle.port, credentials=credentials)


def test_tls_is_spoken_with_the_target_and_its_name_is_looked_up_by_the_proxy(play):
    async def scene(stage):
        server = await stage.serve(answers, is_tls=True)
        middle = await Middle(server.port).start()
        where = Upstream(scheme="https", host="localhost", port=server.port, ca_file=stage.tls.ca_file,
                         connect_timeout_s=5.0, proxy=proxy(middle, "ann:p w"))  # fmt: skip
        sink = await stage.ask(stage.pool(where, resolver=Resolver(nobody)))
        assert sink.status == 200
        again = await stage.ask(stage.pool(where, resolver=Resolver(nobody)))
        assert again.status == 200
        head = middle.heads[0]
        assert head.startswith(f"CONNECT localhost:{server.port} HTTP/1.1\r\n")
        assert base64.b64encode(b"ann:p w").decode() in head
        await middle.stop()

    play(scene)


def test_a_proxy_that_looks_into_tls_is_found_out(play):
    async def scene(stage):
        server = await stage.serve(answers, is_tls=True)
        middle = await Middle(server.port).start()
        where = Upstream(scheme="https", host="another.example", port=443, ca_file=stage.tls.ca_file,
                         connect_timeout_s=5.0, proxy=proxy(middle))  # fmt: skip
        sink = await stage.ask(stage.pool(where, resolver=Resolver(nobody)))
        assert sink.code == "tls"
        await middle.stop()

    play(scene)


@pytest.mark.parametrize(
    ("script", "code", "words"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "refused", "other credentials"),
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", "refused", "answers 403"),
        (b"HTTP/1.1 302 Found\r\nlocation: http://login/\r\n\r\n", "refused", "answers 302"),
        (b"220 smtp.example ESMTP\r\n\r\n", "refused", "nonsense"),
        (b"HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", "reset", "mouth"),
        (b"x" * (ANSWER_BYTES_MAX + 1), "reset", "no answer"),
        (b"", "reset", "no answer"),
    ],
)
def test_what_is_no_tunnel_is_none(play, script, code, words):
    async def scene(stage):
        middle = await Middle(0, script).start()
        where = Upstream(scheme="http", host="target.example", port=80, connect_timeout_s=5.0,
                         proxy=proxy(middle, "ann:secret"))  # fmt: skip
        sink = await stage.ask(stage.pool(where, resolver=Resolver(nobody)))
        assert sink.code == code
        assert words in sink.error.message
        assert "secret" not in sink.error.message
        assert "secret" not in repr(where)
        await middle.stop()

    play(scene)


def test_a_proxy_that_is_not_there_or_silent_has_its_word(play):
    async def scene(stage):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            gone = Proxy(host="middle.example", port=free.getsockname()[1])
        where = Upstream(scheme="http", host="target.example", port=80, connect_timeout_s=5.0, proxy=gone)
        assert (await stage.ask(stage.pool(where, resolver=Resolver(nobody)))).code == "refused"

        def unknown(host, port):
            raise socket.gaierror(socket.EAI_NONAME, "unknown")

        assert (await stage.ask(stage.pool(where, resolver=Resolver(unknown)))).code == "dns"
        with socket.create_server(("127.0.0.1", 0)) as silent:
            quiet = Proxy(host="middle.example", port=silent.getsockname()[1])
            where = Upstream(scheme="http", host="target.example", port=80, connect_timeout_s=0.2, proxy=quiet)
            assert (await stage.ask(stage.pool(where, resolver=Resolver(nobody)))).code == "connect_timeout"

    play(scene)


def test_addresses_are_written_as_they_should():
    found = Proxy(host="fe80::1", port=3128, credentials="a b:c@d:e")
    assert found.url == "http://a%20b:c%40d%3Ae@[fe80::1]:3128"
    assert repr(found) == "Proxy(fe80::1:3128)"
    assert Proxy(host="p", port=1).url == "http://p:1"
    assert locate("unix:/run/x.sock:/v1", proxy=found)[0].proxy is None
    assert locate("https://x/v1", proxy=found)[0].proxy is found


def test_a_target_with_an_ipv6_address_is_bracketed(play):
    async def scene(stage):
        middle = await Middle(0, b"HTTP/1.1 403 no\r\n\r\n").start()
        where = Upstream(scheme="http", host="2001:db8::1", port=80, connect_timeout_s=5.0, proxy=proxy(middle))
        await stage.ask(stage.pool(where, resolver=Resolver(nobody)))
        assert middle.heads[0].startswith("CONNECT [2001:db8::1]:80 ")
        await middle.stop()

    play(scene)
