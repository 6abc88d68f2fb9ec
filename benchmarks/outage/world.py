"""Measuring instruments: an OpenAI-compatible server that misbehaves as told, the link before it, a name server."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import socket
import ssl
import struct
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

WORDS = [f"w{number} " for number in range(12)]
TEXT = "".join(WORDS)
PORTAL = b"<!DOCTYPE html><html><body>Welcome to the guest network. Please accept the terms.</body></html>"
HANG_S = 60.0


@dataclass
class Server:
    """Answers with `WORDS`, after `first_s`, a word every `gap_s`.

    It writes on where the last message is the assistant's. `behaviour`: `ok`, `503`, `429`, `portal`, `stall`.

    Attributes:
        seen: How often each request (named by its user message's first word) arrived.
        answered_at_s: Instants of complete answers.
    """

    first_s: float = 0.02
    gap_s: float = 0.01
    behaviour: str = "ok"
    seen: dict[str, int] = field(default_factory=dict)
    answered_at_s: list[float] = field(default_factory=list)
    turns: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, kept alive."""
        try:
            while await self._one(reader, writer):
                pass
        except (OSError, asyncio.IncompleteReadError, ssl.SSLError, asyncio.LimitOverrunError):
            pass
        finally:
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        _, _, rest = head.partition(b"content-length:")
        body = await reader.readexactly(int(rest.partition(b"\r\n")[0])) if rest else b""
        asked: dict[str, Any] = json.loads(body) if body else {}
        if asked:
            name = next(one["content"] for one in asked["messages"] if one["role"] == "user").partition(" ")[0]
            self.seen[name] = self.seen.get(name, 0) + 1
        if self.behaviour != "ok" and await self._misbehave(asked, writer):
            return True
        if not asked:
            _send(writer, 200, b'{"object":"list","data":[]}')
            return True
        await asyncio.sleep(self.first_s)
        await self._answer(asked, writer)
        return True

    async def _misbehave(self, asked: dict[str, Any], writer: asyncio.StreamWriter) -> bool:
        """True where that was the answer."""
        if self.behaviour == "503":
            _send(writer, 503, b'{"error":{"message":"overloaded","type":"server_error","param":null,"code":null}}')
        elif self.behaviour == "429":
            error = b'{"error":{"message":"slow down","type":"rate_limit","param":null,"code":"rate_limit"}}'
            _send(writer, 429, error, more="retry-after: 2\r\n")
        elif self.behaviour == "portal":
            self.turns += 1
            if self.turns % 2:
                _send(writer, 200, PORTAL, "text/html")
            else:
                _send(writer, 302, b"", "text/html", "location: http://portal.example/login\r\n")
        else:
            return False
        await writer.drain()
        return True

    async def _answer(self, asked: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        last = asked["messages"][-1]
        said = last["content"] if last["role"] == "assistant" else ""
        words = TEXT[len(said) :].split(" ")[:-1]
        base = {"id": "c1", "created": 1, "model": asked["model"]}
        usage = {"prompt_tokens": 9, "completion_tokens": len(words), "total_tokens": 9 + len(words)}
        if not asked.get("stream"):
            await asyncio.sleep(self.gap_s * len(words))
            message = {"role": "assistant", "content": "".join(f"{word} " for word in words)}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            whole = json.dumps(base | {"object": "chat.completion", "choices": [choice], "usage": usage}).encode()
            if self.behaviour == "stall":
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: ")
                writer.write(b"%d\r\n\r\n%b" % (len(whole), whole[:40]))
                await asyncio.sleep(HANG_S)
            _send(writer, 200, whole)
            self.answered_at_s.append(time.monotonic())
            return
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        chunk = base | {"object": "chat.completion.chunk"}
        for number, word in enumerate(words):
            if self.behaviour == "stall" and number == 4:
                await asyncio.sleep(HANG_S)
            delta = {"role": "assistant", "content": f"{word} "} if number == 0 else {"content": f"{word} "}
            _event(writer, chunk | {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]})
            await writer.drain()
            await asyncio.sleep(self.gap_s)
        _event(writer, chunk | {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
        if (asked.get("stream_options") or {}).get("include_usage"):
            _event(writer, chunk | {"choices": [], "usage": usage})
        writer.write(b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n")
        await writer.drain()
        self.answered_at_s.append(time.monotonic())


def _event(writer: asyncio.StreamWriter, event: dict[str, Any]) -> None:
    data = b"data: " + json.dumps(event).encode() + b"\n\n"
    writer.write(b"%x\r\n%b\r\n" % (len(data), data))


def _send(
    writer: asyncio.StreamWriter, status: int, body: bytes, kind: str = "application/json", more: str = ""
) -> None:
    head = f"HTTP/1.1 {status} Made\r\ncontent-type: {kind}\r\n{more}content-length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)


class Link:
    """The TCP proxy at the boundary. Port 1 in `ports` is the true server's, 2 that of one with a wrong certificate.

    Attributes:
        delay_s: One way.
        resets: Share of new connections that are reset: at once, after the request, or in the answer.
        is_dark: Takes connections and bytes, and passes nothing on.
        is_false: Leads to the wrong certificate; with `portal_every`, each so manieth connection only.
        accepted: Connections taken.
    """

    def __init__(self, connect: Callable[[int], Awaitable[Pair]], ports: tuple[int, int], seed: int) -> None:
        self._connect = connect
        self._ports = ports
        self._dice = random.Random(seed)
        self._open: set[asyncio.StreamWriter] = set()
        self.delay_s = 0.0
        self.resets = 0.0
        self.is_dark = False
        self.is_false = False
        self.false_every = 1
        self.accepted = 0

    def calm(self) -> None:
        """As if nothing had been; connections that a trouble has spoilt are gone."""
        if self.is_dark or self.is_false:
            self.drop()
        self.delay_s, self.resets, self.is_dark, self.is_false, self.false_every = 0.0, 0.0, False, False, 1

    def drop(self) -> None:
        """Resets all connections, as a router does that starts anew."""
        for writer in list(self._open):
            _reset(writer)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection from the site."""
        self.accepted += 1
        is_false = self.is_false and self.accepted % self.false_every == 0
        fate = self._dice.choice(("accept", "asked", "answer")) if self._dice.random() < self.resets else ""
        if fate == "accept":
            _reset(writer)
            return
        try:
            far_reader, far_writer = await self._connect(self._ports[is_false])
        except OSError:
            _reset(writer)
            return
        self._open |= {writer}
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pump(reader, far_writer, writer, 600 if fate == "asked" else None))
                group.create_task(self._pump(far_reader, writer, writer, 2500 if fate == "answer" else None))
        except* (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            self._open.discard(writer)
            for one in (writer, far_writer):
                one.close()

    async def _pump(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, near: asyncio.StreamWriter, left: int | None
    ) -> None:
        """One way; after so many bytes the connection is reset."""
        queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        sender = asyncio.create_task(self._send_on(queue, sink))
        try:
            while data := await source.read(65536):
                if left is not None:
                    left -= len(data)
                    if left < 0:
                        sender.cancel()
                        _reset(near)
                        return
                if not self.is_dark:
                    queue.put_nowait((time.monotonic() + self.delay_s, data))
        except BaseException:
            sender.cancel()
            raise
        queue.put_nowait((time.monotonic() + self.delay_s, b""))
        await sender

    async def _send_on(self, queue: asyncio.Queue[tuple[float, bytes]], sink: asyncio.StreamWriter) -> None:
        while True:
            due_s, data = await queue.get()
            await asyncio.sleep(due_s - time.monotonic())
            if not data:
                if not self.is_dark:
                    sink.close()
                return
            sink.write(data)
            await sink.drain()


Pair = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def _reset(writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError, AttributeError):
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


class Names(asyncio.DatagramProtocol):
    """A name server: all names are `address`; silent where `is_dead`."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.is_dead = False
        self.asked = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.DatagramProtocol`."""
        self._transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        """See `asyncio.DatagramProtocol`."""
        self.asked += 1
        if self.is_dead:
            return
        end = data.index(b"\0", 12) + 5
        is_a = data[end - 4 : end - 2] == b"\0\1"
        record = b"\xc0\x0c\0\1\0\1\0\0\0\1\0\4" + socket.inet_aton(self.address) if is_a else b""
        counts = b"\x81\x80\0\1" + struct.pack(">H", is_a) + b"\0\0\0\0"
        self._transport.sendto(data[:2] + counts + data[12:end] + record, addr)  # type: ignore[attr-defined]
