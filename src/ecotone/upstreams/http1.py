"""An HTTP/1.1 client for configured upstreams: keep-alive pools over protocol callbacks.

The hot path has no task and no future: `Pool.open` writes to an idle connection at once, and the parser's callbacks
push into the sink. Only a new connection takes a task. Never a redirect, never a proxy from the environment.

A request on a reused connection that is closed before any byte of an answer is sent once more, on a fresh connection:
the server had closed while idle (RFC 9110, 9.2.2 and RFC 9112, 9.3.1). Never more than one stale and one fresh.
Where the link died while a connection was kept, nothing closes it: `Pool.watch` sees that nothing arrives any more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, Protocol, cast

import httptools

from ecotone.ports import Sink
from ecotone.upstreams.exchange import ANSWER_BYTES_MAX, Exchange, Head
from ecotone.upstreams.origin import Upstream
from ecotone.upstreams.vitals import Delivery, LinkRecord, delivery
from ecotone.values import TargetError

HEAD_BYTES_MAX: Final = 64 * 1024
"""All header sections of one answer, interim answers included; the same again for chunk extensions and trailers."""

HEADERS_MAX: Final = 128
IDLE_S: Final = 30.0
IDLE_MAX: Final = 128
CONNECTIONS_MAX: Final = 2048


class Dials(Protocol):
    """Makes new connections: `connect.Dialler`, or a made one in tests."""

    def dial(self, upstream: Upstream, make: Callable[[], Connection], /) -> Awaitable[Connection]:
        """A connected protocol.

        Raises:
            TargetError: no connection.
        """


class Pool:
    """The connections to one upstream; one event loop, no locks."""

    def __init__(self, upstream: Upstream, dialler: Dials, *, idle_s: float = IDLE_S, idle_max: int = IDLE_MAX) -> None:
        """Idle connections are kept `idle_s` seconds, the most recently used first in use, at most `idle_max`."""
        self.upstream = upstream
        self.link = LinkRecord()
        self._dialler = dialler
        self._idle_s = idle_s
        self._idle_max = idle_max
        self._idle: list[Connection] = []
        self._connections: set[Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._sweep: asyncio.TimerHandle | None = None
        self._watch: asyncio.TimerHandle | None = None
        self._is_closed = False

    def open(
        self,
        head: Head,
        body: bytes,
        sink: Sink,
        *,
        bytes_max: int | None = ANSWER_BYTES_MAX,
        over: Callable[[], None] | None = None,
    ) -> Exchange:
        """Starts a request; at once and without a task where a connection is idle.

        The sink is never called before this returns. `bytes_max` bounds the answer's body as it travels; None for a
        stream that is passed on as it comes. `over` is called once at the end, however it ends.
        """
        exchange = Exchange(head, head.join(body), sink, bytes_max, over)
        while self._idle:
            connection = self._idle.pop()
            if not connection.is_closing():
                connection.start(exchange)
                return exchange
        if self._is_closed or len(self._connections) + len(self._tasks) >= CONNECTIONS_MAX:
            why = "the gateway is stopping" if self._is_closed else f"{CONNECTIONS_MAX} connections are in use"
            exchange.fail_soon(TargetError("busy", f"{self.upstream.origin}: {why}"))
            return exchange
        self._dial(exchange)
        return exchange

    def counts(self) -> tuple[int, int, int]:
        """(connections being made, open connections, those of them that are idle)."""
        return len(self._tasks), len(self._connections), len(self._idle)

    def close(self) -> None:
        """Drops idle connections and takes no new request; answers under way go on to their end."""
        self._is_closed = True
        self.drop_idle()

    def drop_idle(self) -> None:
        """Closes the idle connections; the next request makes a new one."""
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None
        for connection in self._idle:
            connection.abort()
        self._idle.clear()

    # What connections call.

    def resend(self, exchange: Exchange) -> None:
        """The reused connection was stale: once more, on a fresh one."""
        exchange.is_resent = True
        self._dial(exchange)

    def release(self, connection: Connection, now_s: float) -> bool:
        """Takes back a connection whose answer is complete; False where it must be closed."""
        if self._is_closed or len(self._idle) >= self._idle_max:
            return False
        connection.idle_at_s = now_s
        self._idle.append(connection)
        if self._sweep is None:
            self._sweep = connection.loop.call_later(self._idle_s, self._drop_old)
        return True

    def watch(self, loop: asyncio.AbstractEventLoop) -> None:
        """A request was sent: sees to it that a dead link is found out within the connect limit."""
        if self._watch is None and self.upstream.scheme != "unix":
            self._watch = loop.call_later(self.upstream.connect_timeout_s, self._look, loop)

    def lose(self, connection: Connection) -> None:
        """The connection is closed."""
        self._connections.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)

    # Within.

    def _dial(self, exchange: Exchange) -> None:
        task = asyncio.get_running_loop().create_task(self._connect(exchange))
        exchange.task = task
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connect(self, exchange: Exchange) -> None:
        try:
            connection = await self._dialler.dial(self.upstream, lambda: Connection(self))
        except TargetError as error:
            exchange.task = None
            exchange.fail(error)
            return
        exchange.task = None
        self._connections.add(connection)
        if connection.is_closing():
            self._connections.discard(connection)
            exchange.fail(TargetError("reset", f"{self.upstream.origin}: closed as soon as it was opened"))
        elif exchange.is_over:
            connection.abort()
        else:
            connection.start(exchange)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        """Fails the requests that no longer arrive; one timer for all, set for the one that is due first."""
        self._watch = None
        limit_s, now_s = self.upstream.connect_timeout_s, loop.time()
        dues_s = [connection.check(limit_s, now_s) for connection in tuple(self._connections)]
        due_s = min((due_s for due_s in dues_s if due_s is not None), default=None)
        if due_s is not None and self._watch is None:
            self._watch = loop.call_at(due_s, self._look, loop)

    def _drop_old(self) -> None:
        """Closes connections idle for too long; they lie oldest first."""
        self._sweep = None
        if not self._idle:
            return
        now_s = self._idle[0].loop.time()
        old = 0
        while old < len(self._idle) and self._idle[old].idle_at_s + self._idle_s <= now_s + 1e-3:
            self._idle[old].abort()
            old += 1
        del self._idle[:old]
        if self._idle:
            due_s = self._idle[0].idle_at_s + self._idle_s
            self._sweep = self._idle[0].loop.call_at(due_s, self._drop_old)


class Connection(asyncio.Protocol):
    """One connection, one exchange at a time. Its methods are called by the loop and the parser."""

    def __init__(self, pool: Pool) -> None:
        self.loop = asyncio.get_running_loop()
        self.idle_at_s = 0.0
        self._asked_at_s = 0.0
        self._head_at_s = 0.0
        self._pool = pool
        self._exchange: Exchange | None = None
        self._is_reused = False
        self._is_eof = False
        self._reset()
        self._parser = httptools.HttpResponseParser(self)

    def _reset(self) -> None:
        """Ready for the next answer."""
        self._headers: dict[str, str] = {}
        self._header_count = 0
        self._head_bytes = 0
        self._quiet_bytes = 0
        self._body_bytes = 0
        self._is_heard = False
        self._is_delivered = False
        self._is_head_done = False
        self._is_head_counted = False
        self._is_interim = False
        self._is_until_eof = False
        self._is_complete = False
        self._is_kept = False
        self._error: TargetError | None = None

    # What the pool and the exchange call.

    def start(self, exchange: Exchange) -> None:
        """Sends the request."""
        self._exchange = exchange
        exchange.connection = self
        self._asked_at_s = self.loop.time()
        self._transport.write(exchange.message)
        self._pool.watch(self.loop)
        if exchange.is_paused:
            self._transport.pause_reading()

    def pause(self) -> None:
        """Stops reading."""
        if self._exchange is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def resume(self) -> None:
        """Reads on."""
        if self._exchange is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def abort(self) -> None:
        """Closes at once; the exchange hears no more."""
        self._exchange = None
        self._transport.abort()

    def check(self, limit_s: float, now_s: float) -> float | None:
        """Fails the exchange where its request does not arrive; when to look again, or None.

        Only until the first byte of an answer: from then on the relay watches for silence.
        """
        exchange = self._exchange
        if exchange is None or self._is_heard or self._is_delivered or self._transport.is_closing():
            return None
        if now_s < self._asked_at_s + limit_s - 1e-3:
            return self._asked_at_s + limit_s
        found = delivery(self._transport.get_extra_info("socket"), limit_s)
        if found is Delivery.GOING or (found is Delivery.ALL and self._transport.get_write_buffer_size()):
            self._asked_at_s = now_s
            return now_s + limit_s
        if found is Delivery.NONE:
            # What was kept beside it leads nowhere either.
            self._pool.drop_idle()
            words = f"nothing arrived there for {limit_s:g} s: the link is dead"
            self._fail(exchange, TargetError("connect_timeout", f"{self._pool.upstream.origin}: {words}"))
        self._is_delivered = True
        return None

    def is_closing(self) -> bool:
        """Whether it is closed or about to be."""
        return self._is_eof or self._transport.is_closing()

    # What the loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are not of that class

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        exchange = self._exchange
        if exchange is None:
            self._transport.abort()  # nobody asked
            return
        self._is_heard = True
        body_bytes = self._body_bytes
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserCallbackError as error:
            if self._error is None and not self._is_complete:
                raise error.__context__ or error from None  # the sink's own, a bug
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._error = self._error or self._bad(f"not HTTP: {error}")
            self._is_kept = False
        if exchange is not self._exchange:
            return  # aborted by the sink
        if self._is_complete:
            self._finish(exchange)
        elif self._error is not None:
            self._fail(exchange, self._error)
        elif body_bytes == self._body_bytes:
            self._count_quiet(exchange, len(data))
        else:
            self._quiet_bytes = 0

    def eof_received(self) -> None:
        """See `asyncio.Protocol`. The transport closes itself.

        Neither loop tells whether TLS said goodbye, so a body that ends with the connection can have been cut by an
        attacker (RFC 9112, 9.8). The relay finds out: it wants whole JSON, or a finish reason.
        """
        self._is_eof = True

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self._pool.lose(self)
        del self._parser  # it holds this connection's methods
        exchange, self._exchange = self._exchange, None
        if exchange is None:
            return
        exchange.connection = None
        if self._is_until_eof and self._is_eof and exc is None:
            exchange.end()
            exchange.sink.ended()
        elif self._is_reused and not self._is_heard and not exchange.is_resent:
            self._pool.resend(exchange)
        else:
            when = "in mid-answer" if self._is_head_done else "before an answer came"
            exchange.fail(TargetError("reset", f"{self._pool.upstream.origin}: the connection was closed {when}"))

    # What the parser calls.

    def on_message_begin(self) -> None:
        """A second answer to one request is not an answer: what follows is thrown away with the connection."""
        if self._is_complete:
            self._is_kept = False
            raise ValueError("more than one answer")

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header, or one trailer (which is not passed on)."""
        self._header_count += 1
        self._head_bytes += len(name) + len(value) + 4
        if self._header_count > HEADERS_MAX or self._head_bytes > HEAD_BYTES_MAX:
            raise self._stop(f"more than {HEADERS_MAX} headers or {HEAD_BYTES_MAX} bytes of them")
        if self._is_head_done:
            return
        key = name.decode("latin-1").lower()
        text = value.decode("latin-1").strip()
        headers = self._headers
        headers[key] = f"{headers[key]}, {text}" if key in headers else text

    def on_headers_complete(self) -> None:
        """The head is whole: judges the framing and passes the head on."""
        exchange = self._exchange
        status = self._parser.get_status_code()
        headers = self._headers
        if exchange is None:
            return
        if status < 200:
            if status == 101:
                raise self._stop("an upgrade that was not asked for")
            self._is_interim = True
            return
        if headers.get("content-encoding", "identity").lower() not in ("identity", ""):
            raise self._stop("an encoded body, though identity was asked for")
        coding = headers.get("transfer-encoding")
        if coding is not None and coding.lower() != "chunked":
            raise self._stop("an unknown transfer-encoding")
        length = headers.get("content-length")
        is_bodiless = exchange.is_bodiless or status in (204, 304)
        if length is not None and not is_bodiless:
            self._bound(exchange, int(length))
        self._is_head_done = True
        self._head_at_s = self.loop.time()
        self._is_until_eof = length is None and coding is None and not is_bodiless
        exchange.sink.head(status, headers)
        if exchange.is_bodiless:
            # The parser would wait for a body that is not to come: the answer ends, and the connection with it.
            self._is_complete = True
            raise ValueError("no body follows")

    def on_body(self, body: bytes) -> None:
        """Body bytes, the transfer-encoding removed."""
        exchange = self._exchange
        if exchange is None:
            return
        self._body_bytes += len(body)
        if exchange.bytes_max is not None:
            self._bound(exchange, self._body_bytes)
        exchange.sink.data(body)

    def on_message_complete(self) -> None:
        """The answer is complete, or an interim one is over."""
        if self._is_interim:
            self._is_interim = False
            self._headers = {}
            return
        self._is_complete = True
        self._is_kept = self._parser.should_keep_alive()

    # Within.

    def _bound(self, exchange: Exchange, body_bytes: int) -> None:
        if exchange.bytes_max is not None and body_bytes > exchange.bytes_max:
            raise self._stop(f"an answer of more than {exchange.bytes_max} bytes")

    def _count_quiet(self, exchange: Exchange, size: int) -> None:
        """Bounds what comes in a row without being body: a head, chunk extensions, trailers."""
        self._quiet_bytes += size
        if self._is_head_done and not self._is_head_counted:
            self._is_head_counted = True
            self._quiet_bytes = 0
        if self._quiet_bytes > HEAD_BYTES_MAX:
            self._fail(exchange, self._bad(f"more than {HEAD_BYTES_MAX} bytes of header"))

    def _finish(self, exchange: Exchange) -> None:
        """The answer is whole. The connection is used again where both sides are ready for that."""
        self._exchange = None
        exchange.connection = None
        transport = self._transport
        now_s = self.loop.time()
        self._pool.link.answered(transport.get_extra_info("socket"), now_s, self._body_bytes, now_s - self._head_at_s)
        # A body that the server answered without reading to its end makes the connection useless.
        is_kept = self._is_kept and not transport.is_closing() and not transport.get_write_buffer_size()
        if is_kept and exchange.is_paused:
            transport.resume_reading()
        if is_kept:
            self._is_reused = True
            self._reset()
            is_kept = self._pool.release(self, now_s)
        if not is_kept:
            transport.abort()
        exchange.end()
        exchange.sink.ended()

    def _fail(self, exchange: Exchange, error: TargetError) -> None:
        self._exchange = None
        exchange.connection = None
        self._transport.abort()
        exchange.fail(error)

    def _bad(self, why: str) -> TargetError:
        return TargetError("bad_answer", f"{self._pool.upstream.origin}: {why}")

    def _stop(self, why: str) -> TargetError:
        """Remembers why, and stops the parser by being raised."""
        self._error = self._bad(why)
        return self._error
