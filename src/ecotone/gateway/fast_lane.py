"""The fast lane: the three hot routes by callbacks, straight from the parser to the corridor; all else is ASGI.

Measured in RESEARCH-http, section 4: ASGI costs 65 microseconds of CPU a request that this saves. It leans on uvicorn's
private class; `fast_lane: false` serves the same through ASGI.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from ecotone.gateway.caller import CallerSide, header_lines
from ecotone.gateway.connection import Connection
from ecotone.gateway.corridor import HOT_PATHS, Corridor
from ecotone.values import EcotoneError, Endpoint
from ecotone.wire.request import Head

_HOT = {path.encode(): endpoint for path, endpoint in HOT_PATHS.items()}
_JOIN_BYTES_MAX = 64 * 1024
"""Up to this size a body is copied behind its head, to be sent in one piece."""


class _Nobody:
    """Stands where uvicorn keeps the event that wakes an ASGI application."""

    def set(self) -> None:
        """Nobody waits."""


class Exchange(CallerSide):
    """One request of the fast lane and its answer.

    For uvicorn's queue it is a cycle too: `response_complete`, `response_started`, `keep_alive`, `disconnected` and
    `message_event` are read and set there.
    """

    __slots__ = (
        "_body_left",
        "_held",
        "_is_chunked",
        "_lane",
        "chunks",
        "disconnected",
        "endpoint",
        "error",
        "expects",
        "head",
        "headers",
        "is_http_10",
        "is_whole",
        "keep_alive",
        "response_complete",
    )
    message_event = _Nobody()

    def __init__(self, lane: FastLane, endpoint: Endpoint, headers: list[tuple[bytes, bytes]]) -> None:
        super().__init__()
        self._lane = lane
        self._held = b""
        self._is_chunked = False
        self._body_left = 0
        self.endpoint = endpoint
        self.headers = headers
        self.head: Head | None = None
        self.error: EcotoneError | None = None
        self.chunks: list[bytes] = []
        self.expects = False
        self.is_whole = False
        self.is_http_10 = False
        self.keep_alive = True
        self.response_complete = False
        self.disconnected = False

    @property
    def response_started(self) -> bool:
        """Whether the head of the answer was sent."""
        return self.is_begun

    def begin(self, status: int, headers: Sequence[tuple[str, str]], *, is_stream: bool, length: int | None) -> None:
        """See `ports.Caller.begin`. The head of an answer in one piece waits for its body, to go with it."""
        if self.is_over:
            return
        lines = header_lines(headers)
        self.is_begun, self.is_stream = True, is_stream
        if length is not None:
            self._body_left = length
            lines = f"{lines}content-length: {length}\r\n"
        elif self.is_http_10:
            self.keep_alive = False
        else:
            self._is_chunked = True
            lines += "transfer-encoding: chunked\r\n"
        if not self.keep_alive:
            lines += "connection: close\r\n"
        head = b"%b%b\r\n" % (STATUS_LINE[status], lines.encode("latin-1", "replace"))
        if length:
            self._held = head
        else:
            self._lane.transport.write(head)

    def write(self, chunk: bytes) -> None:
        """See `ports.Caller.write`."""
        if self.is_over or not chunk:
            return
        transport = self._lane.transport
        if self._is_chunked:
            transport.write(b"%x\r\n%b\r\n" % (len(chunk), chunk))
            return
        self._body_left -= len(chunk)
        if self._held:
            if len(chunk) <= _JOIN_BYTES_MAX:
                chunk = self._held + chunk
            else:
                transport.write(self._held)
            self._held = b""
        transport.write(chunk)

    def finish(self) -> None:
        """See `ports.Caller.finish`."""
        if self.is_over:
            return
        self.is_over = self.response_complete = True
        if self._is_chunked:
            self._lane.transport.write(b"0\r\n\r\n")
        elif self._held:
            self._lane.transport.write(self._held)
        if self._body_left > 0 and self.keep_alive:
            self.keep_alive = False
        self._lane.answered(self)

    def cut(self) -> None:
        """See `ports.Caller.cut`: the connection ends without the last chunk, or short of the announced length."""
        if self.is_over:
            return
        self.is_over = self.response_complete = True
        if self._held:
            self._lane.transport.write(self._held)
        self.keep_alive = False
        self._lane.answered(self)

    # What the lane calls.

    def open(self) -> None:
        """It is this request's turn: is it let in?"""
        self.is_slow = self._lane.flow.write_paused
        declared = None
        for name, value in self.headers:
            if name == b"content-length":
                declared = int(value)
        corridor = self._lane.corridor
        try:
            self.head = corridor.admit(self.headers, declared)
            self.request = self.head.id
        except EcotoneError as error:
            self.error = error

    def add(self, chunk: bytes) -> None:
        """Some bytes of the body."""
        if self.error is not None or self.is_over:
            return
        try:
            self._lane.corridor.take(self, len(chunk))
            self.chunks.append(chunk)
        except EcotoneError as error:
            self.error = error

    def go(self) -> None:
        """It is this request's turn, and it is whole: serve it."""
        if self.is_over:
            return
        corridor = self._lane.corridor
        chunks, self.chunks = self.chunks, []
        if self.error is None:
            body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
            try:
                assert self.head is not None, "opened first"
                corridor.start(self.endpoint, body, self.head, self)
            except EcotoneError as error:
                self.error = error
        if self.error is not None:
            corridor.release(self)
            corridor.refuse(self, self.error)

    def left(self) -> None:
        """See `CallerSide.left`."""
        self.response_complete = True
        super().left()
        if self.task is None:
            self._lane.corridor.release(self)


class FastLane(Connection):
    """A connection on which the hot routes go past ASGI."""

    @property
    def corridor(self) -> Corridor:
        """The gateway's core."""
        return self._corridor

    # What the parser calls.

    def on_message_begin(self) -> None:
        """A request begins; what ASGI needs is made only where it is needed."""
        self._in_head = self._in_message = True
        self.url = b""
        self.headers = []
        self.expect_100_continue = False

    def on_headers_complete(self) -> None:
        """A request's head is whole: which lane?"""
        endpoint = _HOT.get(self.url)
        if endpoint is None or self.parser.get_method() != b"POST":
            self._to_asgi()
            return
        self._check_head()
        if self._offers_upgrade():
            return
        exchange = Exchange(self, endpoint, self.headers)
        exchange.is_http_10 = self.parser.get_http_version() == "1.0"
        exchange.keep_alive = not exchange.is_http_10 and self.parser.should_keep_alive()
        exchange.expects = self.expect_100_continue
        self.cycle = exchange  # type: ignore[assignment] # an exchange is a cycle to uvicorn
        self._bind_cycle()
        if self._active is None and not self.pipeline:
            self._active = exchange
            exchange.open()
        else:
            self.pipeline.appendleft((exchange, None))  # type: ignore[arg-type] # as above, and nobody runs ASGI for it

    def on_body(self, body: bytes) -> None:
        """Some bytes of a body."""
        if isinstance(self.cycle, Exchange):
            self.cycle.add(body)
        else:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """A request is whole."""
        exchange: Any = self.cycle
        if self._is_upgrade or not isinstance(exchange, Exchange):
            super().on_message_complete()
            return
        self._in_message = False
        exchange.is_whole = True
        if exchange is self._active:
            exchange.go()

    def _to_asgi(self) -> None:
        url, headers, expects = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.url, self.headers, self.expect_100_continue = url, headers, expects
        self.scope["headers"] = headers
        super().on_headers_complete()

    # What the connection calls.

    def after_feed(self) -> None:
        """A body that is still to come is refused, or asked for."""
        exchange: Any = self._active
        if isinstance(exchange, Exchange) and not exchange.is_whole:
            self._invite(exchange)

    def pause_writing(self) -> None:
        """The caller reads too slowly: whoever writes must wait."""
        super().pause_writing()
        if isinstance(self._active, Exchange):
            self._active.fell_behind()

    def resume_writing(self) -> None:
        """The caller has caught up."""
        super().resume_writing()
        if isinstance(self._active, Exchange):
            self._active.caught_up()

    def abandon(self, cycle: Any) -> None:
        """Tells a request that its caller has left."""
        if isinstance(cycle, Exchange):
            cycle.left()
        else:
            super().abandon(cycle)

    def answered(self, exchange: Exchange) -> None:
        """An answer has ended: on to the next request, or good-bye."""
        if not exchange.is_whole:
            self.hang_up()
        elif not exchange.keep_alive:
            self.transport.close()
        self.on_response_complete()

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        if not isinstance(cycle, Exchange):
            super()._start_asgi_task(cycle, app)
            return
        self._active = cycle
        cycle.open()
        if cycle.is_whole:
            cycle.go()
        else:
            self._invite(cycle)

    def _invite(self, exchange: Exchange) -> None:
        """Answers `Expect: 100-continue`, or refuses without reading the body."""
        if exchange.error is not None:
            exchange.keep_alive = False
            self._corridor.refuse(exchange, exchange.error)
        elif exchange.expects:
            exchange.expects = False
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
