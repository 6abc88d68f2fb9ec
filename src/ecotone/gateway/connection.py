"""uvicorn's HTTP connection with limits: on time, on size, on order; and errors in OpenAI's form.

uvicorn parses, and runs ASGI. What it leaves open is closed here: a head or a body that never ends, a caller that reads
nothing, requests sent ahead without bound, a caller that leaves while it has sent ahead, and a refusal that is lost
because the caller was still writing.

It leans on uvicorn's private class; the minor version is pinned (ADR 0001).
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import math
import sys
from typing import Any

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.server import ServerState

from ecotone.gateway.corridor import Corridor
from ecotone.values import EcotoneError, RefusalError, RequestError
from ecotone.wire.errors import encode_error, error_headers

try:
    import fcntl
    import termios
except ImportError:  # Windows tells nothing
    fcntl = None  # type: ignore[assignment] # there is no fcntl on Windows

AHEAD_BYTES_MAX = 64 * 1024
"""Bytes that are held of requests sent ahead before reading stops."""

_UPGRADING = frozenset({b"upgrade", b"http2-settings"})
"""Headers, and words of `Connection`, that offer another protocol."""


class Wait(enum.Enum):
    """What a connection is waiting for; each but `ANSWER` has a limit."""

    HEAD = "head"
    BODY = "body"
    ANSWER = "answer"
    READER = "reader"
    IDLE = "idle"
    END = "end"


class Connection(HttpToolsProtocol):
    """One caller's connection; its requests are served one at a time, in order."""

    def __init__(self, corridor: Corridor, config: Config, state: ServerState) -> None:
        super().__init__(config=config, server_state=state, app_state={})
        self.access_log = False
        self._corridor = corridor
        self._limits = corridor.limits
        self._active: Any = None
        """The cycle whose turn it is: uvicorn's, or an `Exchange` of the fast lane."""
        self._in_head = False
        self._in_message = False
        self._is_deaf = False
        """Nothing more is read: what comes is thrown away."""
        self._is_ending = False
        """Nothing more is answered."""
        self._is_upgrade = False
        self._is_last = False
        """The connection ends with the answer under way."""
        self._fault: EcotoneError | None = None
        self._fresh_bytes = 0
        self._head_bytes = 0
        self._ahead: list[bytes] = []
        self._ahead_bytes = 0
        self._wait = Wait.HEAD
        self._due_s = math.inf
        self._body_due_s = math.inf
        self._unread_bytes = 0
        self._timer: asyncio.TimerHandle | None = None
        self._timer_s = math.inf

    # What the transport calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Takes the caller in, or says at once that there is no room."""
        super().connection_made(transport)  # type: ignore[arg-type] # uvicorn narrows what asyncio promises
        self._expect(Wait.HEAD, self._limits.head_s)
        if len(self.connections) > 2 * self._limits.connections_max:
            self._drop()
        elif len(self.connections) > self._limits.connections_max:
            words = f"{self._limits.connections_max} connections are open here already."
            self._tell(RefusalError("refused.connections", words, status=503, retry_after_s=1.0))

    def connection_lost(self, exc: Exception | None) -> None:
        """The caller is gone, and so is the work for it."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for cycle in {self._active, self.cycle, *(cycle for cycle, _ in self.pipeline)} - {None}:
            self.abandon(cycle)
        self._active = None
        self.pipeline.clear()
        self._ahead.clear()
        self._is_deaf = self._is_ending = True
        super().connection_lost(exc)
        self.cycle = None  # type: ignore[assignment] # each holds the other, and the request; uvicorn asks for None

    def eof_received(self) -> None:
        """The caller closed its side: nobody waits for an answer any more. The transport closes itself."""
        if self._active is not None and not self._active.response_complete:
            self.abandon(self._active)

    def data_received(self, data: bytes) -> None:
        """Bytes of requests; those sent ahead wait until it is their turn."""
        if self._is_deaf:
            return
        if self._is_busy():
            self._ahead.append(data)
            self._ahead_bytes += len(data)
            if self._ahead_bytes > AHEAD_BYTES_MAX:
                self.flow.pause_reading()
            return
        self._feed(data)

    def pause_writing(self) -> None:
        """The caller reads too slowly."""
        super().pause_writing()
        self._unread_bytes = self._unread()
        self._expect(Wait.READER, self._limits.caller_stall_s)

    def resume_writing(self) -> None:
        """The caller has caught up."""
        super().resume_writing()
        if self._wait is Wait.READER:
            self._settle()

    def shutdown(self) -> None:
        """The site stops: this connection ends with the answer under way."""
        self._is_last = True
        if self._is_ending or (self._active is None and not self.pipeline and not self._in_message):
            self.transport.close()
        for cycle in (self._active, self.cycle):
            if cycle is not None:
                cycle.keep_alive = False

    # What the parser calls.

    def on_message_begin(self) -> None:
        """A request begins."""
        self._in_head = self._in_message = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """A request's head is whole."""
        self._check_head()
        if not self._offers_upgrade():
            super().on_headers_complete()
            self._bind_cycle()

    def on_message_complete(self) -> None:
        """A request is whole."""
        if not self._is_upgrade:
            self._in_message = False
            super().on_message_complete()

    def on_response_complete(self) -> None:
        """An answer is whole: it is the next request's turn."""
        self._active = None
        self.server_state.total_requests += 1
        if self._is_ending:
            return
        if self.transport.is_closing():
            self._watch_end()
        elif self.pipeline or self._ahead:
            self.loop.call_soon(self._next)
        else:
            # A large body may have stopped it, and its last piece was taken without asking for more.
            self.flow.resume_reading()
            self._settle()

    # For the fast lane.

    def abandon(self, cycle: Any) -> None:
        """Tells a request that its caller has left."""
        cycle.disconnected = True
        cycle.message_event.set()

    def has_begun(self, cycle: Any) -> bool:
        """Whether the head of an answer was sent."""
        return bool(cycle.response_started)

    def after_feed(self) -> None:
        """All callbacks for some bytes have run."""

    def hang_up(self) -> None:
        """Ends the connection in such a way that what was written arrives, though not all was read."""
        if self.transport.is_closing():
            return
        self._is_deaf = self._is_ending = True
        if self.transport.can_write_eof():
            self.transport.write_eof()
            self._expect(Wait.END, self._limits.linger_s)
        else:
            self.transport.close()
            self._watch_end()

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        self._active = cycle
        super()._start_asgi_task(cycle, app)

    # Within.

    def _is_busy(self) -> bool:
        """Whether further bytes must wait: the request under way is whole, or others stand before them."""
        return bool(self._active is not None and not self._in_message) or bool(self.pipeline or self._ahead)

    def _feed(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        self._fresh_bytes = len(data)
        was_alone = self._in_head or not self._in_message
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._read_again(data[upgrade.args[0] :])
            return
        except httptools.HttpParserError:
            self._fail(self._fault or RequestError("request.http", "This is not an HTTP/1.1 request."))
        if self._in_head and was_alone:
            self._head_bytes += len(data)
            if self._head_bytes > self._limits.header_bytes_max:
                self._fail(self._too_long())
        if self._is_ending:
            return
        self.after_feed()
        if self.pipeline and not self._in_message:
            # uvicorn stops reading here, and would not notice then that the caller leaves.
            self.flow.resume_reading()
        self._settle()

    def _offers_upgrade(self) -> bool:
        """Whether the caller offers another protocol; `_read_again` follows then, and nothing is made of it here."""
        self._is_upgrade = self.parser.should_upgrade()
        return self._is_upgrade

    def _read_again(self, rest: bytes) -> None:
        """Declines an upgrade as HTTP allows: serves the request as if it were not offered (RFC 9110, 7.8).

        llhttp skips the body and stops for good, so a new parser reads the head again, without the offer. Java's
        HttpClient offers HTTP/2 in this way with its first POST.
        """
        method = self.parser.get_method()
        self._is_upgrade = self._in_message = False
        if method == b"CONNECT":
            self._fail(RequestError("request.method", "CONNECT is not served here.", status=405))
            return
        lines = [b"%b %b HTTP/1.1" % (method, self.url)]
        for name, value in self.headers:
            if name == b"connection":
                kept = [word for word in value.split(b",") if word.strip().lower() not in _UPGRADING]
                value = b",".join(kept) or b"keep-alive"
            if name not in _UPGRADING:
                lines.append(b"%b: %b" % (name, value))
        self.parser = httptools.HttpRequestParser(self)
        self._feed(b"%b\r\n\r\n%b" % (b"\r\n".join(lines), rest))

    def _next(self) -> None:
        if self._is_ending:
            return
        if self._active is None and self.pipeline:
            cycle, app = self.pipeline.pop()
            self._start_asgi_task(cycle, app)
        if self._ahead and not self.pipeline and (self._active is None or self._in_message):
            data = b"".join(self._ahead)
            self._ahead.clear()
            self._ahead_bytes = 0
            self.flow.resume_reading()
            self._feed(data)

    def _check_head(self) -> None:
        self._in_head = False
        if self._head_bytes + self._fresh_bytes > self._limits.header_bytes_max:
            size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
            if size > self._limits.header_bytes_max:
                self._fault = self._too_long()
                raise ValueError(self._fault.message)
        self._head_bytes = 0
        if len(self.pipeline) >= self._limits.pipelined_max:
            self._fault = RequestError("request.pipeline", "Too many requests were sent ahead.", status=429)
            raise ValueError(self._fault.message)

    def _bind_cycle(self) -> None:
        """What holds for a request of any lane once it is known."""
        if self._is_last:
            self.cycle.keep_alive = False
        self._body_due_s = self.loop.time() + self._limits.body_s

    def _be_deaf(self) -> None:
        """No more is read; what stands in the queue is still answered, then the connection ends."""
        self._is_deaf = True
        self._in_head = self._in_message = False
        if self.cycle is not None:
            self.cycle.keep_alive = False

    def _fail(self, error: EcotoneError) -> None:
        """The caller broke the protocol or a limit of it."""
        active = self._active
        if self._is_ending:
            return
        if active is None or active.response_complete:
            self._tell(error)
        elif self._in_message and not self._in_head and active is self.cycle:
            has_begun = self.has_begun(active)
            self.abandon(active)
            if has_begun:
                self.transport.close()
                self._watch_end()
            else:
                self._tell(error)
        else:
            # Earlier requests are being answered; what follows them is not read any more.
            self._be_deaf()

    def _tell(self, error: EcotoneError) -> None:
        """Answers for the connection itself, and ends it."""
        self._is_deaf = True
        self._corridor.doors.refused(error.code)
        body = encode_error(error)
        headers = [*error_headers(error), ("content-length", str(len(body))), ("connection", "close")]
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
        self.transport.write(b"%b%b\r\n%b" % (STATUS_LINE[error.status], lines.encode("latin-1"), body))
        self.hang_up()

    def _too_long(self) -> RequestError:
        words = f"The request line and headers are longer than {self._limits.header_bytes_max} bytes."
        return RequestError("request.header_too_large", words, status=431)

    # Time.

    def _settle(self) -> None:
        """Works out what is waited for now."""
        if self._wait is Wait.READER and self.flow.write_paused:
            return
        if self._in_head:
            if self._wait is not Wait.HEAD:
                self._expect(Wait.HEAD, self._limits.head_s)
        elif self._in_message:
            self._expect(Wait.BODY, min(self._limits.body_idle_s, max(0.0, self._body_due_s - self.loop.time())))
        elif self._active is not None or self.pipeline or self._ahead:
            self._wait, self._due_s = Wait.ANSWER, math.inf
        else:
            self._expect(Wait.IDLE, self._limits.keep_alive_s)

    def _watch_end(self) -> None:
        """The connection closes as soon as the caller has read all; it may not take for ever."""
        self._unread_bytes = self._unread()
        self._expect(Wait.READER, self._limits.caller_stall_s)

    def _unread(self) -> int:
        """Bytes that the caller has not taken: ours, and the system's own as far as it tells.

        The system asks for more only when a good part of its buffer (a megabyte or more) is free; a reader that is
        merely slow is seen in what the peer has acknowledged (SIOCOUTQ, tcp(7)).
        """
        unread = self.transport.get_write_buffer_size()
        connected = self.transport.get_extra_info("socket")
        if fcntl is not None and connected is not None and connected.fileno() >= 0:
            with contextlib.suppress(OSError):
                unread += int.from_bytes(fcntl.ioctl(connected.fileno(), termios.TIOCOUTQ, bytes(4)), sys.byteorder)
        return unread

    def _expect(self, wait: Wait, within_s: float) -> None:
        """Sets the limit on a wait. The timer is left to run where it comes early: it looks again then."""
        self._wait = wait
        self._due_s = self.loop.time() + within_s
        if self._timer is None or self._due_s < self._timer_s:
            self._arm()

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_s = self._due_s
        self._timer = self.loop.call_at(self._due_s, self._look)

    def _look(self) -> None:
        self._timer = None
        if self._due_s == math.inf:
            return
        # uvloop's clock counts whole milliseconds and may fire a fraction of one early.
        if self._due_s > self.loop.time() + 0.002:
            self._arm()
            return
        self._too_late()

    def _too_late(self) -> None:
        """A wait has passed its limit."""
        if self._wait is Wait.READER:
            unread = self._unread()
            if unread < self._unread_bytes:
                self._unread_bytes = unread
                self._expect(Wait.READER, self._limits.caller_stall_s)
            else:
                self._drop()
        elif self._wait is Wait.END:
            self._drop()
        elif self._wait is Wait.IDLE or not self._in_message:
            self.transport.close()
            self._watch_end()
        else:
            what = "headers" if self._in_head else "body"
            words = f"The request's {what} did not arrive in time."
            self._fail(RequestError("request.timeout", words, status=408))

    def _drop(self) -> None:
        if self._active is not None and not self._active.response_complete:
            self.abandon(self._active)
        self.transport.abort()
