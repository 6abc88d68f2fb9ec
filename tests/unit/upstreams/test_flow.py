"""The HTTP/1.1 client over time: stale and idle connections, sizes, back-pressure, abort."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from ecotone.upstreams import http1
from ecotone.upstreams.http1 import Pool
from ecotone.upstreams.origin import Upstream

UPSTREAM = Upstream(scheme="http", host="a.test", port=80)

CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


def once(answer: bytes, *, is_closed: bool = False):
    """A script that answers every request with the same bytes."""

    async def script(peer):
        while True:
            await peer.request()
            peer.send(answer)
            if is_closed:
                return

    return script


# Stale connections: counted at the server.


@pytest.mark.parametrize("how", ["close", "reset"])
def test_a_stale_connection_is_retried_once_on_a_fresh_one(play, how):
    async def scene(stage):
        async def script(peer):
            await peer.request()
            peer.answer()
            if server.connections == 1:
                await peer.request()
                getattr(peer, how)()
            else:
                await peer.gone()

        server = await stage.serve(script)
        pool = stage.pool(server)
        assert (await stage.ask(pool)).is_ended
        assert (await stage.ask(pool)).is_ended
        assert (server.connections, server.requests) == (2, 3)

    play(scene)


def test_never_more_than_one_stale_and_one_fresh(play):
    async def scene(stage):
        async def script(peer):
            if server.connections <= 3:
                await peer.request()
                peer.answer()
            await peer.request()

        server = await stage.serve(script)
        pool = stage.pool(server)
        firsts = [stage.post(pool)[1] for _ in range(3)]
        await asyncio.gather(*(sink.over for sink in firsts))
        assert pool.counts()[2] == 3
        sink = await stage.ask(pool)
        assert sink.code == "reset"
        assert (server.connections, server.requests) == (4, 5)

    play(scene)


@pytest.mark.parametrize(
    "part", [b"H", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n"]
)
def test_no_retry_once_a_byte_came(play, part):
    async def scene(stage):
        async def script(peer):
            await peer.request()
            peer.answer()
            await peer.request()
            peer.send(part)

        server = await stage.serve(script)
        pool = stage.pool(server)
        assert (await stage.ask(pool)).is_ended
        assert (await stage.ask(pool)).code == "reset"
        assert (server.connections, server.requests) == (1, 2)

    play(scene)


def test_an_idle_connection_that_ends_is_dropped(play):
    async def scene(stage):
        server = await stage.serve(once(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi", is_closed=True))
        pool = stage.pool(server)
        for n in range(3):
            assert (await stage.ask(pool)).is_ended
            await stage.until(lambda: pool.counts() == (0, 0, 0))
            assert server.requests == n + 1

    play(scene)


def test_an_idle_connection_that_talks_is_dropped(play):
    async def scene(stage):
        async def script(peer):
            await peer.request()
            peer.answer()
            await may_talk.wait()
            peer.send(b"HTTP/1.1 408 Too late\r\ncontent-length: 0\r\n\r\n")
            await peer.gone()

        may_talk = asyncio.Event()
        pool = stage.pool(await stage.serve(script))
        assert (await stage.ask(pool)).is_ended
        assert pool.counts() == (0, 1, 1)
        may_talk.set()
        await stage.until(lambda: pool.counts() == (0, 0, 0))

    play(scene)


def test_idle_connections_are_closed_after_their_time(play):
    async def scene(stage):
        pool = stage.pool(await stage.serve(once(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi")), idle_s=0.05)
        sinks = [stage.post(pool)[1] for _ in range(3)]
        await asyncio.gather(*(sink.over for sink in sinks))
        assert pool.counts()[2] == 3
        await stage.until(lambda: pool.counts() == (0, 0, 0))
        assert (await stage.ask(pool)).is_ended
        await stage.until(lambda: pool.counts() == (0, 0, 0))

    play(scene)


def test_a_closed_pool_finishes_what_is_under_way_and_takes_no_more(play):
    async def scene(stage):
        async def script(peer):
            await peer.request()
            await may_answer.wait()
            peer.answer()
            await peer.gone()

        may_answer = asyncio.Event()
        server = await stage.serve(script)
        pool = stage.pool(server)
        _, sink = stage.post(pool)
        await stage.until(lambda: server.requests == 1)
        pool.close()
        late = await stage.ask(pool)
        assert late.code == "busy"
        may_answer.set()
        await sink.over
        assert sink.is_ended
        await stage.until(lambda: pool.counts() == (0, 0, 0))

    play(scene)


# Sizes, back-pressure, abort.


def test_an_answer_is_bounded_by_its_announced_length(play):
    async def scene(stage):
        pool = stage.pool(await stage.serve(once(b"HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\n" + b"a" * 11)))
        sink = await stage.ask(pool, bytes_max=10)
        assert (sink.code, sink.body, sink.status) == ("bad_answer", b"", 0)
        assert (await stage.ask(pool, bytes_max=11)).is_ended
        assert (await stage.ask(pool, bytes_max=None)).is_ended

    play(scene)


def test_an_answer_is_bounded_as_it_comes(play):
    async def scene(stage):
        pool = stage.pool(await stage.serve(once(CHUNKED + b"8\r\naaaaaaaa\r\n" * 3 + b"0\r\n\r\n")))
        sink = await stage.ask(pool, bytes_max=20)
        assert (sink.code, sink.body) == ("bad_answer", b"a" * 16)
        assert (await stage.ask(pool, bytes_max=24)).is_ended

    play(scene)


def test_big_bodies_go_both_ways(play):
    async def scene(stage):
        async def script(peer):
            while True:
                peer.answer((await peer.request()).body)

        server = await stage.serve(script)
        pool = stage.pool(server)
        body = bytes(range(256)) * 8192
        for _ in range(2):
            assert (await stage.ask(pool, body)).body == body
        assert server.connections == 1

    play(scene)


def test_an_answer_before_the_body_was_sent_counts_and_the_connection_goes(play):
    async def scene(stage):
        async def script(peer):
            await peer.head()
            peer.send(b"HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\n\r\nno")
            await may_read.wait()
            await peer.gone()

        may_read = asyncio.Event()
        pool = stage.pool(await stage.serve(script))
        sink = await stage.ask(pool, b"a" * 64_000_000)
        may_read.set()
        assert (sink.status, sink.body, sink.is_ended) == (413, b"no", True)
        await stage.until(lambda: pool.counts() == (0, 0, 0))

    play(scene)


def test_a_paused_reader_holds_the_server_back(play):
    async def scene(stage):
        sent = 0

        async def script(peer):
            nonlocal sent
            await peer.request()
            peer.writer.transport.set_write_buffer_limits(0)
            peer.send(CHUNKED)
            for _ in range(1000):
                peer.send(b"10000\r\n" + b"a" * 65536 + b"\r\n")
                await peer.writer.drain()
                sent += 65536
            peer.send(b"0\r\n\r\n")

        pool = stage.pool(await stage.serve(script))
        exchange, sink = stage.post(pool)
        got = 0
        paused_at = 0

        def take(chunk):
            nonlocal got, paused_at
            got += len(chunk)
            sink.body = b""
            if got > 1_000_000 and not paused_at:
                paused_at = got
                exchange.pause()

        sink.on_data = take
        await stage.until(lambda: paused_at > 0)
        before = -1
        while sent != before:  # until the kernel's buffers are full
            before = sent
            for _ in range(50):
                await asyncio.sleep(0.001)
        assert got - paused_at <= 262144 + 65536, "what one read had brought"
        assert sent < 40_000_000
        exchange.resume()
        await sink.over
        assert sink.is_ended
        assert got == 1000 * 65536

    play(scene)


def test_pausing_before_the_connection_and_ending_while_paused(play):
    async def scene(stage):
        server = await stage.serve(once(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi"))
        pool = stage.pool(server)
        exchange, sink = stage.post(pool)
        exchange.pause()
        await stage.until(lambda: server.requests == 1)
        assert not sink.began.done()
        exchange.resume()
        sink.on_data = lambda chunk: exchange.pause()
        await sink.over
        exchange.pause()
        exchange.resume()
        assert (await stage.ask(pool)).is_ended
        assert server.connections == 1

    play(scene)


@pytest.mark.parametrize("when", ["before the head", "in mid-answer", "from head", "from data"])
def test_abort_closes_the_connection_at_once(play, when):
    async def scene(stage):
        loop = asyncio.get_running_loop()
        took_s = []

        async def script(peer):
            await peer.request()
            waiting.set()
            if when != "before the head":
                peer.send(CHUNKED + b"2\r\nhi\r\n2\r\nho\r\n")
            await peer.gone()
            took_s.append(loop.time() - aborted_at)
            gone.set()

        pool = stage.pool(await stage.serve(script))
        for _ in range(3):
            waiting, gone, over = asyncio.Event(), asyncio.Event(), []
            aborted_at = 0.0
            exchange, sink = stage.post(pool, over=lambda over=over: over.append(1))

            def abort(exchange=exchange):
                nonlocal aborted_at
                aborted_at = loop.time()
                exchange.abort()
                exchange.abort()

            if when == "from head":
                sink.on_head = abort
            elif when == "from data":
                sink.on_data = lambda chunk: abort()
            else:
                await (waiting.wait() if when == "before the head" else sink.began)
                abort()
            await gone.wait()
            assert not sink.over.done()
            assert over == [1]
            if when == "from data":
                assert sink.body == b"hi"
        assert min(took_s) < 0.05
        assert pool.counts() == (0, 0, 0)

    play(scene)


def test_abort_after_the_end_is_harmless(play):
    async def scene(stage):
        server = await stage.serve(once(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi"))
        pool = stage.pool(server)
        exchange, sink = stage.post(pool)
        await sink.over
        exchange.abort()
        exchange.pause()
        exchange.resume()
        assert (await stage.ask(pool)).is_ended
        assert server.connections == 1

    play(scene)


def test_over_is_called_once_whichever_way_it_ends(play):
    async def scene(stage):
        over = []
        server = await stage.serve(once(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi"))
        pool = stage.pool(server)
        await stage.ask(pool, over=lambda: over.append("ended"))
        server.script = once(b"nonsense")
        pool.close()
        pool = stage.pool(server)
        await stage.ask(pool, over=lambda: over.append("failed"))
        assert over == ["ended", "failed"]

    play(scene)


class Dials:
    """A dialler of one's own: no sockets needed."""

    def __init__(self, dial):
        self.dial = dial


class Wire(asyncio.Transport):
    """A transport that goes nowhere."""

    is_closed = False

    def write(self, data):
        raise AssertionError("nothing is to be sent")

    def is_closing(self):
        return self.is_closed

    def abort(self):
        self.is_closed = True


def test_a_connection_that_comes_too_late_or_dead_is_not_used(play):
    async def scene(stage):
        wires = []
        may_come = asyncio.Event()
        is_dead = False

        async def dial(upstream, make):
            with contextlib.suppress(asyncio.CancelledError):
                await may_come.wait()
            connection = make()
            wires.append(Wire())
            wires[-1].is_closed = is_dead
            connection.connection_made(wires[-1])
            return connection

        pool = Pool(UPSTREAM, Dials(dial))
        exchange, sink = stage.post(pool)
        await asyncio.sleep(0)
        exchange.abort()
        await stage.until(lambda: pool.counts()[0] == 0)
        assert wires[0].is_closed
        assert not sink.over.done()
        may_come.set()
        is_dead = True
        _, sink = stage.post(pool)
        await sink.over
        assert sink.code == "reset"

    play(scene)


def test_connections_are_bounded(play, monkeypatch):
    monkeypatch.setattr(http1, "CONNECTIONS_MAX", 3)

    async def scene(stage):
        async def dial(upstream, make):
            await asyncio.Event().wait()

        pool = Pool(UPSTREAM, Dials(dial))
        waiting = [stage.post(pool)[0] for _ in range(3)]
        sink = await stage.ask(pool)
        assert sink.code == "busy"
        for exchange in waiting:
            exchange.abort()
        await stage.until(lambda: pool.counts() == (0, 0, 0))

    play(scene)


def test_dropping_idle_connections_makes_the_next_one_new(play):
    async def scene(stage):
        server = await stage.serve(once(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi"))
        pool = stage.pool(server)
        for n in range(3):
            assert (await stage.ask(pool)).is_ended
            assert server.connections == n + 1
            pool.drop_idle()
        assert pool.counts()[2] == 0

    play(scene)
