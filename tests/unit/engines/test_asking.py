"""Small questions to a worker."""

from __future__ import annotations

import asyncio

import pytest

from ecotone.engines import asking
from ecotone.values import TargetError


class Channel:
    """Answers as told."""

    def __init__(self, play):
        self.play, self.is_aborted = play, False

    def open(self, method, path, headers, body, sink):
        assert headers["authorization"] == "Bearer k"
        asyncio.get_running_loop().call_soon(self.play, sink)
        return self

    def abort(self):
        self.is_aborted = True


def ask(play):
    async def whole():
        channel = Channel(play)
        try:
            return await asking.ask(channel, "GET", "/x", "k")
        finally:
            assert channel.is_aborted

    return asyncio.run(whole())


def test_a_good_answer_is_its_body():
    def play(sink):
        sink.head(200, {})
        sink.data(b"a")
        sink.data(b"b")
        sink.ended()
        sink.ended()

    assert ask(play) == b"ab"


def test_anything_else_is_an_error():
    def refused(sink):
        sink.head(500, {})
        sink.ended()

    def large(sink):
        sink.head(200, {})
        for _ in range(3):
            sink.data(b"x" * (asking.ANSWER_BYTES_MAX // 2))
        sink.ended()
        sink.failed(TargetError("reset", ""))

    def broken(sink):
        sink.failed(TargetError("reset", "closed"))

    for play in (refused, large, broken):
        with pytest.raises(TargetError):
            ask(play)
