"""One request and its answer, on whatever connection carries it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping
from typing import Final, Protocol

from ecotone.ports import Sink
from ecotone.upstreams.headers import check_headers
from ecotone.upstreams.origin import Upstream
from ecotone.values import TargetError

ANSWER_BYTES_MAX: Final = 64 * 1024 * 1024
_PATH: Final = re.compile(r"/[!-~]*")


class Carrier(Protocol):
    """The connection, as far as an exchange needs it."""

    def pause(self) -> None:
        """Stops reading."""

    def resume(self) -> None:
        """Reads on."""

    def abort(self) -> None:
        """Closes at once; the exchange hears no more."""


class Head:
    """The head of a request but for the body's length, made once per target and path."""

    __slots__ = ("is_bodiless", "prefix")

    def __init__(self, method: str, upstream: Upstream, path: str, headers: Mapping[str, str]) -> None:
        """`headers` are all that goes out besides host, accept-encoding and content-length.

        Raises:
            ConfigError: a header would break the framing or smuggle another.
        """
        assert method in ("POST", "GET", "HEAD"), method
        assert _PATH.fullmatch(path), "a path of plain ASCII is needed"
        check_headers(headers)
        lines = [f"{method} {path} HTTP/1.1", f"host: {upstream.authority}", "accept-encoding: identity"]
        lines += [f"{name.lower()}: {value}" for name, value in headers.items()]
        lines.append("content-length: " if method == "POST" else "\r\n")
        self.prefix = "\r\n".join(lines).encode("ascii")
        self.is_bodiless = method == "HEAD"

    def join(self, body: bytes) -> bytes:
        """The whole request."""
        if self.prefix.endswith(b"\r\n"):
            assert not body
            return self.prefix
        return b"%b%d\r\n\r\n%b" % (self.prefix, len(body), body)


class Exchange:
    """One request and its answer; the `ports.Stream` that the corridor holds.

    Attributes:
        over: Called once, when the exchange is over in whichever way; before the sink's last call.
    """

    __slots__ = (
        "bytes_max", "connection", "is_bodiless", "is_over", "is_paused", "is_resent", "message", "over", "sink",
        "task",
    )  # fmt: skip

    def __init__(
        self, head: Head | None, message: bytes, sink: Sink, bytes_max: int | None, over: Callable[[], None] | None
    ) -> None:
        self.is_bodiless = head is not None and head.is_bodiless
        self.message = message
        self.sink = sink
        self.bytes_max = bytes_max
        self.over = over
        self.connection: Carrier | None = None
        self.task: asyncio.Task[None] | None = None
        self.is_over = False
        self.is_paused = False
        self.is_resent = False

    @classmethod
    def refused(cls, sink: Sink, error: TargetError, over: Callable[[], None] | None) -> Exchange:
        """An exchange that fails before anything was sent."""
        exchange = cls(None, b"", sink, None, over)
        exchange.fail_soon(error)
        return exchange

    def pause(self) -> None:
        """See `ports.Stream.pause`."""
        self.is_paused = True
        if self.connection is not None:
            self.connection.pause()

    def resume(self) -> None:
        """See `ports.Stream.resume`."""
        self.is_paused = False
        if self.connection is not None:
            self.connection.resume()

    def abort(self) -> None:
        """See `ports.Stream.abort`: the connection is closed at once unless the answer is complete."""
        if self.is_over:
            return
        self.end()
        if self.connection is not None:
            self.connection.abort()
        elif self.task is not None:
            self.task.cancel()
            self.task = None  # its error holds the frame that holds this

    def end(self) -> None:
        """Nothing more is to come. The sink's last call follows, or the exchange was aborted."""
        self.is_over = True
        if self.over is not None:
            self.over()

    def fail_soon(self, error: TargetError) -> None:
        """Fails as soon as the caller has its stream."""
        asyncio.get_running_loop().call_soon(self.fail, error)

    def fail(self, error: TargetError) -> None:
        """The sink's last call, unless it has had that."""
        if not self.is_over:
            self.end()
            self.sink.failed(error)
