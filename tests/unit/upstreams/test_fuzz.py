"""However the bytes are cut, the same answer means the same story; garbage never raises out of a callback."""

from __future__ import annotations

import asyncio
import random

import pytest

from ecotone.upstreams.exchange import Exchange, Head
from ecotone.upstreams.http1 import Connection, Pool
from ecotone.upstreams.origin import Upstream

UPSTREAM = Upstream(scheme="http", host="a.test", port=80)
HEAD = Head("POST", UPSTREAM, "/v1/x", {})
WORDS = [
    b"HTTP/1.1 200 OK\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.0 500\r\n",
    b"HTTP/1.1 204 No\r\n",
    b"\r\n",
    b"\n",
    b"content-length: 5\r\n",
    b"content-length: 0\r\n",
    b"transfer-encoding: chunked\r\n",
    b"connection: close\r\n",
    b"5\r\nhello\r\n",
    b"0\r\n\r\n",
    b"0\r\n",
    b"x-a: b\r\n",
    b"hello",
    b"\0",
    b"\xff\xfe",
    b" ",
    b"5;ext\r\n",
    b"HTTP/1.1 ",
    b"upgrade: x\r\n",
    b"content-encoding: gzip\r\n",
    b"HTTP/1.1 101 Sw\r\n\r\n",
    b"transfer-encoding: gzip\r\n",
]

VALID = {
    "length": b"HTTP/1.1 200 OK\r\ncontent-type: a\r\ncontent-length: 11\r\n\r\nhello world",
    "chunked": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n2\r\n w\r\n0\r\nx: y\r\n\r\n",
    "interim": b"HTTP/1.1 103 Hint\r\nlink: x\r\n\r\nHTTP/1.1 200 OK\r\na: 1\r\na: 2\r\ncontent-length: 2\r\n\r\nhi",
    "no body": b"HTTP/1.1 204 No\r\nx: y\r\n\r\n",
    "excess": b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhiHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi",
    "until eof": b"HTTP/1.1 200 OK\r\n\r\nhello world",
    "cut": b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\nhello world",
    "too long": b"HTTP/1.1 200 OK\r\ncontent-length: 5000\r\n\r\nhello world",
    "encoded": b"HTTP/1.1 200 OK\r\ncontent-encoding: br\r\ncontent-length: 2\r\n\r\nhi",
    "upgrade": b"HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\nabc",
    "both": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 2\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
}


class Wire(asyncio.Transport):
    """A transport that goes nowhere."""

    def __init__(self):
        super().__init__()
        self.is_closed = False
        self.is_paused = False

    def write(self, data):
        assert not self.is_closed

    def is_closing(self):
        return self.is_closed

    def abort(self):
        self.is_closed = True

    def pause_reading(self):
        assert not self.is_closed
        self.is_paused = True

    def resume_reading(self):
        assert not self.is_closed
        self.is_paused = False

    def get_write_buffer_size(self):
        return 0


class Sink:
    """Remembers; checks the order of the calls."""

    def __init__(self):
        self.status, self.headers, self.body, self.last = 0, {}, b"", ""

    def head(self, status, headers):
        assert not self.status
        assert not self.last
        self.status, self.headers = status, dict(headers)

    def data(self, chunk):
        assert self.status
        assert not self.last
        self.body += chunk

    def ended(self):
        assert self.status
        assert not self.last
        self.last = "ended"

    def failed(self, error):
        assert not self.last
        self.last = error.code

    @property
    def story(self):
        return self.status, self.headers, self.body, self.last


def tell(chunks):
    """The sink's story and whether the connection was kept, of bytes cut like this and then an end."""
    pool = Pool(UPSTREAM, None)
    connection = Connection(pool)
    wire = Wire()
    connection.connection_made(wire)
    sink = Sink()
    over = []
    exchange = Exchange(HEAD, b"x", sink, 1000, lambda: over.append(1))
    connection.start(exchange)
    for chunk in chunks:
        if wire.is_closed:
            break
        connection.data_received(chunk)
    is_kept = not wire.is_closed
    if is_kept:
        connection.eof_received()
    connection.connection_lost(None)
    pool.close()
    assert sink.last
    assert over == [1]
    return sink.story, is_kept


def cut(data, dice):
    """The bytes in pieces."""
    chunks = []
    while data:
        size = dice.choice([1, 2, 3, 7, 20, 1000])
        chunks.append(data[:size])
        data = data[size:]
    return chunks


@pytest.mark.parametrize("case", VALID)
def test_every_cut_of_an_answer_tells_the_same_story(case):
    async def scene():
        data = VALID[case]
        whole = tell([data])
        for at in range(1, len(data)):
            assert tell([data[:at], data[at:]]) == whole, at
        assert tell([data[n : n + 1] for n in range(len(data))]) == whole
        dice = random.Random(case)
        for _ in range(50):
            assert tell(cut(data, dice)) == whole

    asyncio.run(scene())


def test_garbage_never_raises_and_is_told_the_same_however_it_is_cut():
    async def scene():
        dice = random.Random(20260101)
        endings = set()
        for _ in range(3000):
            if dice.random() < 0.2:
                data = dice.randbytes(dice.randrange(1, 60))
            elif dice.random() < 0.5:
                data = b"".join(dice.choices(WORDS, k=dice.randrange(1, 12)))
            else:
                mutable = bytearray(dice.choice(list(VALID.values())))
                for _ in range(dice.randrange(1, 4)):
                    mutable[dice.randrange(len(mutable))] = dice.randrange(256)
                data = bytes(mutable)
            whole, _ = tell([data])
            story, _ = tell(cut(data, dice))
            assert story == whole, data
            endings.add(whole[3])
        assert endings == {"ended", "reset", "bad_answer"}

    asyncio.run(scene())


def test_a_sink_may_abort_anywhere():
    async def scene():
        dice = random.Random(7)
        for data in VALID.values():
            for where in ("head", "data"):
                pool = Pool(UPSTREAM, None)
                connection = Connection(pool)
                connection.connection_made(Wire())
                sink = Sink()
                exchange = Exchange(HEAD, b"x", sink, 1000, None)
                taken = getattr(sink, where)

                def take(*args, taken=taken, exchange=exchange):
                    taken(*args)
                    exchange.abort()

                setattr(sink, where, take)
                connection.start(exchange)
                for chunk in cut(data, dice):
                    connection.data_received(chunk)
                is_aborted = sink.status and (where == "head" or sink.body)
                assert not (is_aborted and sink.last)
                connection.connection_lost(None)
                pool.close()

    asyncio.run(scene())


def test_a_bug_in_the_sink_is_not_hidden():
    async def scene():
        pool = Pool(UPSTREAM, None)
        connection = Connection(pool)
        connection.connection_made(Wire())
        sink = Sink()
        sink.data = lambda chunk: 1 / 0
        connection.start(Exchange(HEAD, b"x", sink, None, None))
        with pytest.raises(ZeroDivisionError):
            connection.data_received(VALID["length"])
        connection.connection_lost(None)
        assert sink.last == "reset"
        pool.close()

    asyncio.run(scene())
