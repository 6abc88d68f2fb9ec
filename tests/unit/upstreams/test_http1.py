"""The HTTP/1.1 client against a scripted server: reuse, framing, back-pressure, abort."""

from __future__ import annotations

import asyncio

import pytest

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


def test_posts_and_reuses_the_connection(play):
    async def scene(stage):
        seen = []

        async def script(peer):
            while True:
                seen.append(await peer.request())
                peer.answer(b'{"a":1}')

        server = await stage.serve(script)
        pool = stage.pool(server)
        for n in range(3):
            sink = await stage.ask(pool, b'{"n":%d}' % n)
            assert (sink.status, sink.body, sink.is_ended) == (200, b'{"a":1}', True)
            assert sink.headers["content-type"] == "application/json"
        assert server.connections == 1
        assert [one.body for one in seen] == [b'{"n":0}', b'{"n":1}', b'{"n":2}']
        assert seen[0].line == "POST /v1/x HTTP/1.1"
        assert seen[0].headers == {
            "host": f"127.0.0.1:{server.port}",
            "accept-encoding": "identity",
            "content-type": "application/json",
            "content-length": "7",
        }
        assert pool.counts() == (0, 1, 1)

    play(scene)


def test_an_open_on_an_idle_connection_makes_no_task(play):
    async def scene(stage):
        server = await stage.serve(once(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi"))
        pool = stage.pool(server)
        await stage.ask(pool)
        tasks = asyncio.all_tasks()
        _, sink = stage.post(pool)
        assert asyncio.all_tasks() == tasks
        await sink.over

    play(scene)


def test_concurrent_requests_get_their_own_connections_and_keep_some(play):
    async def scene(stage):
        server = await stage.serve(once(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi"))
        pool = stage.pool(server, idle_max=2)
        sinks = [stage.post(pool)[1] for _ in range(5)]
        await asyncio.gather(*(sink.over for sink in sinks))
        assert server.connections == 5
        await stage.until(lambda: pool.counts() == (0, 2, 2))

    play(scene)


def test_the_sink_may_open_the_next_request_from_its_last_call(play):
    async def scene(stage):
        server = await stage.serve(once(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi"))
        pool = stage.pool(server)
        made = []
        _, sink = stage.post(pool)
        sink.on_end = lambda: made.append(stage.post(pool)[1])
        await sink.over
        await made[0].over
        assert made[0].body == b"hi"
        assert server.connections == 1

    play(scene)


ANSWERS = {
    "length": (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi", b"hi", True),
    "empty": (b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", b"", True),
    "chunked": (CHUNKED + b"2\r\nhi\r\n3\r\n ho\r\n0\r\n\r\n", b"hi ho", True),
    "chunk extension": (CHUNKED + b'2;a=b;c="d"\r\nhi\r\n0;x\r\n\r\n', b"hi", True),
    "trailers": (CHUNKED + b"2\r\nhi\r\n0\r\nx-sum: 1\r\nx-t: 2\r\n\r\n", b"hi", True),
    "100": (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi", b"hi", True),
    "103": (b"HTTP/1.1 103 Early\r\nlink: </x>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi", b"hi", True),
    "204": (b"HTTP/1.1 204 No Content\r\ncontent-length: 5\r\n\r\n", b"", True),
    "204 chunked": (b"HTTP/1.1 204 No Content\r\ntransfer-encoding: chunked\r\n\r\n", b"", True),
    "304": (b"HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n", b"", True),
    "redirect": (b"HTTP/1.1 302 Found\r\nlocation: http://other/\r\ncontent-length: 0\r\n\r\n", b"", True),
    "no reason": (b"HTTP/1.1 500\r\ncontent-length: 2\r\n\r\nno", b"no", True),
    "identity": (b"HTTP/1.1 200 OK\r\ncontent-encoding: identity\r\ncontent-length: 2\r\n\r\nhi", b"hi", True),
    "offer": (b"HTTP/1.1 200 OK\r\nupgrade: a\r\nconnection: upgrade\r\ncontent-length: 2\r\n\r\nhi", b"hi", True),
    "close": (b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nhi", b"hi", False),
    "1.0": (b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nhi", b"hi", False),
    "1.0 keep-alive": (b"HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 2\r\n\r\nhi", b"hi", True),
    "two answers": (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi" * 2, b"hi", False),
    "garbage after": (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhiGARBAGE", b"hi", False),
    "garbage after close": (b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nhi!", b"hi", False),
}  # fmt: skip


@pytest.mark.parametrize("case", ANSWERS)
def test_good_answers(play, case):
    answer, body, is_kept = ANSWERS[case]

    async def scene(stage):
        server = await stage.serve(once(answer))
        pool = stage.pool(server)
        for _ in range(2):
            sink = await stage.ask(pool)
            assert (sink.body, sink.is_ended, sink.error) == (body, True, None)
            assert "x-sum" not in sink.headers
            assert "link" not in sink.headers
            if not is_kept:
                await stage.until(lambda: pool.counts() == (0, 0, 0))
        assert server.connections == (1 if is_kept else 2)

    play(scene)


BAD = {
    "not HTTP": b"<html>what?</html>",
    "HTTP/2": b"HTTP/2 200 OK\r\n\r\n",
    "TE and CL": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 2\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
    "CL and TE": b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nhi",
    "bad length": b"HTTP/1.1 200 OK\r\ncontent-length: +2\r\n\r\nhi",
    "huge length": b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999\r\n\r\nhi",
    "gzip coding": b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\nhi",
    "gzip, chunked": b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
    "two codings": b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "bad chunk": CHUNKED + b"zz\r\nhi\r\n0\r\n\r\n",
    "obs-fold": b"HTTP/1.1 200 OK\r\nx: a\r\n b\r\ncontent-length: 2\r\n\r\nhi",
    "bare LF": b"HTTP/1.1 200 OK\ncontent-length: 2\n\nhi",
    "NUL": b"HTTP/1.1 200 OK\r\nx: a\0b\r\ncontent-length: 2\r\n\r\nhi",
    "space before colon": b"HTTP/1.1 200 OK\r\nx : a\r\ncontent-length: 2\r\n\r\nhi",
    "encoded body": b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 2\r\n\r\nhi",
    "upgrade": b"HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\nabc",
    "bare 101": b"HTTP/1.1 101 Switching\r\n\r\nabc",
    "big head": b"HTTP/1.1 200 OK\r\n" + b"".join(b"x-%d: %b\r\n" % (n, b"a" * 8000) for n in range(9)) + b"\r\n",
    "endless header": b"HTTP/1.1 200 OK\r\nx: " + b"a" * 200_000,
    "endless reason": b"HTTP/1.1 200 " + b"a" * 200_000,
    "many headers": b"HTTP/1.1 200 OK\r\n" + b"x: 1\r\n" * 200 + b"content-length: 0\r\n\r\n",
    "endless 1xx": b"HTTP/1.1 100 Continue\r\n\r\n" * 20_000,
    "endless extension": CHUNKED + b"2;" + b"a" * 300_000,
    "endless trailer": CHUNKED + b"2\r\nhi\r\n0\r\nx: " + b"a" * 300_000,
    "many trailers": CHUNKED + b"2\r\nhi\r\n0\r\n" + b"x: 1\r\n" * 200 + b"\r\n",
}


@pytest.mark.parametrize("case", BAD)
def test_bad_answers(play, case):
    async def scene(stage):
        async def script(peer):
            await peer.request()
            peer.send(BAD[case])
            await peer.gone()

        server = await stage.serve(script)
        pool = stage.pool(server)
        sink = await stage.ask(pool)
        assert sink.code == "bad_answer", sink.story
        assert f"http://127.0.0.1:{server.port}" in sink.error.message
        await stage.until(lambda: pool.counts() == (0, 0, 0))

    play(scene)


def test_head_has_no_body(play):
    async def scene(stage):
        server = await stage.serve(once(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n"))
        sink = await stage.ask(stage.pool(server), b"", method="HEAD")
        assert (sink.status, sink.body, sink.is_ended) == (200, b"", True)

    play(scene)


def test_get_sends_no_length(play):
    async def scene(stage):
        lines = []

        async def script(peer):
            lines.append((await peer.head()).raw)
            peer.answer()

        server = await stage.serve(script)
        assert (await stage.ask(stage.pool(server), b"", method="GET")).is_ended
        assert lines[0].startswith(b"GET /v1/x HTTP/1.1\r\n")
        assert b"content-length" not in lines[0]

    play(scene)


@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
def test_a_body_may_end_with_the_connection(play, version):
    async def scene(stage):
        server = await stage.serve(once(b"HTTP/%b 200 OK\r\n\r\nhello" % version, is_closed=True))
        sink = await stage.ask(stage.pool(server))
        assert (sink.body, sink.is_ended) == (b"hello", True)

    play(scene)


def test_a_reset_is_not_the_end_of_a_body(play):
    async def scene(stage):
        async def script(peer):
            await peer.request()
            peer.send(b"HTTP/1.1 200 OK\r\n\r\nhello")
            await may_reset.wait()
            peer.reset()

        may_reset = asyncio.Event()
        server = await stage.serve(script)
        _, sink = stage.post(stage.pool(server))
        sink.on_data = lambda chunk: may_reset.set()
        await sink.over
        assert (sink.body, sink.code) == (b"hello", "reset")

    play(scene)


@pytest.mark.parametrize(
    "part",
    [
        b"",
        b"HTT",
        b"HTTP/1.1 200 OK\r\ncontent-len",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhi",
        CHUNKED + b"2\r\nhi\r\n",
    ],
)
@pytest.mark.parametrize("how", ["close", "reset"])
def test_a_fresh_connection_closed_too_early_is_a_reset(play, part, how):
    async def scene(stage):
        async def script(peer):
            await peer.request()
            peer.send(part)
            await peer.writer.drain()
            getattr(peer, how)()

        server = await stage.serve(script)
        sink = await stage.ask(stage.pool(server))
        assert sink.code == "reset"
        assert (server.connections, server.requests) == (1, 1)

    play(scene)
