"""`ports.Target` as `UrlTarget` keeps it, through either door, over real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from ecotone.upstreams import EgressDoor, Options, PremisesDoor, Resolver, UrlTarget
from ecotone.values import (
    Endpoint,
    Features,
    Permit,
    Place,
    Receipt,
    Request,
    RequestError,
    TargetError,
    TargetSpec,
    binding,
)

BODY = b'{"model":"assistant","messages":[{"role":"user","content":"hi"}],"stream":false}'
STREAM = b'{"model":"assistant","messages":[{"role":"user","content":"hi"}],"stream":true}'
Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Calls:
    """A sink that lists its calls."""

    def __init__(self) -> None:
        self.calls: list[tuple[object, ...]] = []
        self.over = asyncio.Event()

    def head(self, status, headers):
        self.calls.append(("head", status, headers["content-type"]))

    def data(self, chunk):
        self.calls.append(("data", chunk))

    def ended(self):
        self.calls.append(("ended",))
        self.over.set()

    def failed(self, error):
        assert isinstance(error, TargetError)
        self.calls.append(("failed", error.code))
        self.over.set()


class World:
    """A target, its door and its server."""

    def __init__(self, place: Place, talk: Talk) -> None:
        self.place, self.talk = place, talk
        self.door = EgressDoor(lambda permit: permit.seal == b"seal", Resolver())
        if place is Place.EDGE:
            self.door = PremisesDoor(Resolver())
        self.seq = 0

    async def __aenter__(self) -> World:
        self.server = await asyncio.start_server(self.talk, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]
        spec = TargetSpec(name="big", at=self.place, model="large-1")
        url = f"http://127.0.0.1:{self.port}/v1"
        self.target = UrlTarget(spec, url, self.door, key="sk-1", options=Options(connect_timeout_s=0.5))
        return self

    async def __aexit__(self, *_: object) -> None:
        self.door.close()
        self.server.close()
        for _ in range(5):
            await asyncio.sleep(0)

    def open(self, request):
        prepared = self.target.prepare(request)
        self.seq += 1
        digest = binding("none", prepared.body)
        permit = Permit("r1", "big", self.target.origin, digest, "none", "all", b"seal")
        calls = Calls()
        if self.place is Place.EDGE:
            return self.target.open(prepared, calls, None, None), calls
        return self.target.open(prepared, calls, permit, Receipt(self.seq, b"seal")), calls


def request(body=BODY, *, is_stream=False):
    return Request(
        id="r1",
        endpoint=Endpoint.CHAT,
        model="assistant",
        body=body,
        is_stream=is_stream,
        is_usage_asked=False,
        features=Features(1),
        received_at_s=0.0,
    )


async def take(reader):
    head = await reader.readuntil(b"\r\n\r\n")
    return await reader.readexactly(int(head.rpartition(b"content-length: ")[2].split(b"\r\n")[0]))


HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
EVENTS = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


@pytest.fixture(params=list(Place))
def place(request: pytest.FixtureRequest) -> Place:
    return request.param


def play(scene: Awaitable[None]) -> None:
    asyncio.run(asyncio.wait_for(scene, 10))


def test_an_answer_is_head_data_ended(place):
    async def talk(reader, writer):
        assert b'"large-1"' in await take(reader)
        writer.write(HEAD + b"content-length: 2\r\n\r\n{}")
        writer.close()

    async def scene():
        async with World(place, talk) as world:
            assert world.target.origin == f"http://127.0.0.1:{world.port}"
            assert world.target.spec.at is place
            stream, calls = world.open(request())
            assert not calls.calls, "never before open returns"
            assert world.target.load() == (1, 0)
            await calls.over.wait()
            assert calls.calls == [("head", 200, "application/json"), ("data", b"{}"), ("ended",)]
            assert world.target.load() == (0, 0)
            stream.abort()
            stream.pause()
            stream.resume()
            assert len(calls.calls) == 3

    play(scene())


def test_failures_come_to_the_sink_and_never_as_exceptions(place):
    async def talk(reader, writer):
        await take(reader)
        writer.close()

    async def scene():
        async with World(place, talk) as world:
            _, calls = world.open(request())
            await calls.over.wait()
            assert calls.calls == [("failed", "reset")]
            world.server.close()
            await world.server.wait_closed()
            _, calls = world.open(request())
            assert not calls.calls
            await calls.over.wait()
            assert calls.calls == [("failed", "refused")]
            assert world.target.load() == (0, 0)

    play(scene())


def test_after_abort_no_call_comes_and_the_server_sees_the_end(place):
    async def talk(reader, writer):
        await take(reader)
        writer.write(EVENTS + b"3\r\nabc\r\n")
        assert await reader.read() == b""
        gone.set()
        writer.close()

    gone = asyncio.Event()

    async def scene():
        async with World(place, talk) as world:
            stream, calls = world.open(request(STREAM, is_stream=True))
            while len(calls.calls) < 2:
                await asyncio.sleep(0)
            stream.abort()
            stream.abort()
            assert world.target.load() == (0, 0)
            await gone.wait()
            assert calls.calls == [("head", 200, "text/event-stream"), ("data", b"abc")]

    play(scene())


def test_a_paused_stream_is_silent_until_it_is_resumed(place):
    async def talk(reader, writer):
        await take(reader)
        writer.write(EVENTS + b"3\r\nabc\r\n0\r\n\r\n")
        written.set()
        await reader.read()
        writer.close()

    written = asyncio.Event()

    async def scene():
        async with World(place, talk) as world:
            stream, calls = world.open(request(STREAM, is_stream=True))
            stream.pause()
            await written.wait()
            for _ in range(20):
                await asyncio.sleep(0)
            assert not calls.calls
            stream.resume()
            await calls.over.wait()
            assert calls.calls[-1] == ("ended",)

    play(scene())


def test_prepare_blames_whoever_is_to_blame(place):
    async def scene():
        async with World(place, lambda reader, writer: None) as world:
            assert world.target.prepare(request()).body == BODY.replace(b"assistant", b"large-1")
            with pytest.raises(RequestError):
                world.target.prepare(request(b"{"))

    play(scene())


def test_a_cloud_target_refuses_without_permit_and_receipt():
    async def talk(reader, writer):
        raise AssertionError("nothing may come")

    async def scene():
        async with World(Place.CLOUD, talk) as world:
            for permit, receipt in ((None, None), (None, Receipt(1, b"seal"))):
                calls = Calls()
                world.target.open(world.target.prepare(request()), calls, permit, receipt)
                await calls.over.wait()
                assert calls.calls == [("failed", "egress_refused")]
            assert world.target.load() == (0, 0)

    play(scene())
