"""Notices: signed, bounded in time, and never to a public address."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
from collections.abc import Awaitable, Callable

import pytest

from ecotone.upstreams import Resolver, Webhooks, check_url, webhook
from ecotone.upstreams.webhook import signature
from ecotone.values import RequestError

Scene = Callable[[Webhooks, int, list[bytes]], Awaitable[None]]


def play(scene: Scene, answer: bytes, *, is_silent: bool = False) -> None:
    """Runs a scene beside a receiver that answers everything with these bytes."""

    async def run() -> None:
        seen: list[bytes] = []

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                seen.append(head + await reader.readexactly(length))
                if is_silent:
                    await reader.read()
                writer.write(answer)
                await writer.drain()
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        hooks = Webhooks(Resolver(), b"secret")
        async with server:
            await scene(hooks, server.sockets[0].getsockname()[1], seen)
        hooks._door.close()

    asyncio.run(run())


def test_a_notice_is_signed_and_says_that_it_is_relayed() -> None:
    async def scene(hooks: Webhooks, port: int, seen: list[bytes]) -> None:
        assert await hooks.tell(f"http://127.0.0.1:{port}/a/b/?c=d", b'{"id":1}', 1_800_000_000) == 204
        head, _, body = seen[0].partition(b"\r\n\r\n")
        assert head.startswith(b"POST /a/b/?c=d HTTP/1.1\r\n")
        assert body == b'{"id":1}'
        digest = hmac.new(b"secret", b'1800000000.{"id":1}', hashlib.sha256).hexdigest()
        assert f"\r\necotone-signature: t=1800000000,v1={digest}".encode() in head
        assert b"\r\nvia: 1.1 ecotone" in head
        assert await hooks.tell(f"http://127.0.0.1:{port}", b"{}", 1) == 204
        assert seen[1].startswith(b"POST / HTTP/1.1\r\n")

    play(scene, b"HTTP/1.1 204 No Content\r\n\r\n")


@pytest.mark.parametrize("status", [200, 302, 410, 503])
def test_what_the_receiver_says_is_told_and_redirects_are_not_followed(status: int) -> None:
    async def scene(hooks: Webhooks, port: int, seen: list[bytes]) -> None:
        assert await hooks.tell(f"http://127.0.0.1:{port}/", b"{}", 1) == status
        assert len(seen) == 1

    play(scene, b"HTTP/1.1 %d X\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 2\r\n\r\nok" % status)


@pytest.mark.parametrize("answer", [b"", b"no http\r\n\r\n"])
def test_a_receiver_that_breaks_off_said_nothing(answer: bytes) -> None:
    async def scene(hooks: Webhooks, port: int, seen: list[bytes]) -> None:
        assert await hooks.tell(f"http://127.0.0.1:{port}/", b"{}", 1) == 0

    play(scene, answer)


def test_a_receiver_that_is_silent_or_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook, "CONNECT_S", 0.1)
    monkeypatch.setattr(webhook, "ANSWER_S", 0.1)

    async def scene(hooks: Webhooks, port: int, seen: list[bytes]) -> None:
        assert await hooks.tell(f"http://127.0.0.1:{port}/", b"{}", 1) == 0
        assert await hooks.tell("http://127.0.0.1:1/", b"{}", 1) == 0

    play(scene, b"", is_silent=True)


@pytest.mark.parametrize(
    "url", ["http://1.1.1.1/", "http://[2606:4700::1111]/", "ftp://x/", "http://x y/", "unix:/s:/x"]
)
def test_what_is_not_on_the_premises_is_never_called(url: str) -> None:
    async def scene(hooks: Webhooks, port: int, seen: list[bytes]) -> None:
        assert await hooks.tell(url, b"{}", 1) == 0

    play(scene, b"")


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:9/x?y",
        "https://ward.hospital.local/hook",
        "http://ward7:8080/",
        "http://[fd00::1]/",
        "http://10.1.2.3",
    ],
)
def test_urls_that_may_be_called(url: str) -> None:
    check_url(url)


@pytest.mark.parametrize(
    "url",
    [
        "http://1.1.1.1/",
        "https://[2606:4700::1111]:8443/x",
        "unix:/run/x.sock",
        "http://u:p@10.0.0.1/",
        "http://",
        "http://words.example.org/",
    ],
)
def test_urls_that_may_not(url: str) -> None:
    with pytest.raises(RequestError) as caught:
        check_url(url)
    assert caught.value.param == "Ecotone-Webhook"
    assert "u:p" not in caught.value.message


def test_names_that_the_operator_gave() -> None:
    for url in ("http://example.org/", "http://his.example.org./"):
        check_url(url, ("example.org",))
    for url in ("http://badexample.org/", "http://example.org.evil.com/", "http://1.1.1.1/"):
        with pytest.raises(RequestError):
            check_url(url, ("example.org",))


def test_a_signature() -> None:
    assert signature(b"k", 7, b"x") == "t=7,v1=" + hmac.new(b"k", b"7.x", hashlib.sha256).hexdigest()


def test_receivers_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook, "RECEIVERS_MAX", 2)

    async def scene(hooks: Webhooks, port: int, seen: list[bytes]) -> None:
        first = hooks._door
        for name in ("127.0.0.1", "127.0.0.1", "localhost", "127.0.0.2"):
            await hooks.tell(f"http://{name}:{port}/", b"{}", 1)
        assert hooks._door is not first
        assert len(hooks._known) == 1

    play(scene, b"HTTP/1.1 204 No Content\r\n\r\n")
