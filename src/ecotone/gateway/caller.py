"""What both front ends share of `ports.Caller`: back-pressure, leaving, and an end by the gateway's own word."""

from __future__ import annotations

import abc
import asyncio
from collections.abc import Callable, Sequence

from ecotone.values import EcotoneError
from ecotone.wire.errors import encode_error, encode_error_event, error_headers


def header_lines(headers: Sequence[tuple[str, str]]) -> str:
    """The headers as they go over the wire.

    Raises:
        ValueError: a line break in one: it would be another header, or the body.
    """
    lines = "".join([f"{name}: {value}\r\n" for name, value in headers])
    if lines.count("\n") != len(headers) or lines.count("\r") != len(headers) or "\0" in lines:
        raise ValueError("a header with a line break in it")
    return lines


class CallerSide(abc.ABC):
    """One caller. Whatever is called after the end, or after the caller left, does nothing.

    Attributes:
        task: Runs the corridor for this caller, from `Corridor.start` on.
        body_bytes: Size of the request body, as long as it is held.
        request: The request's id, once it has one.
        is_over: The answer has ended, cleanly or not, or the caller has left.
    """

    __slots__ = ("_pause", "_resume", "body_bytes", "is_begun", "is_over", "is_slow", "is_stream", "request", "task")

    def __init__(self) -> None:
        self.task: asyncio.Task[None] | None = None
        self.body_bytes = 0
        self.request = ""
        self.is_begun = False
        self.is_stream = False
        self.is_over = False
        self.is_slow = False
        self._pause: Callable[[], None] | None = None
        self._resume: Callable[[], None] | None = None

    @abc.abstractmethod
    def begin(self, status: int, headers: Sequence[tuple[str, str]], *, is_stream: bool, length: int | None) -> None:
        """See `ports.Caller.begin`."""

    @abc.abstractmethod
    def write(self, chunk: bytes) -> None:
        """See `ports.Caller.write`."""

    @abc.abstractmethod
    def finish(self) -> None:
        """See `ports.Caller.finish`."""

    @abc.abstractmethod
    def cut(self) -> None:
        """See `ports.Caller.cut`."""

    def on_flow(self, pause: Callable[[], None] | None, resume: Callable[[], None] | None) -> None:
        """See `ports.Caller.on_flow`; a caller that is slow already says so at once."""
        self._pause, self._resume = pause, resume
        if pause is not None and self.is_slow:
            pause()

    def fell_behind(self) -> None:
        """The caller reads too slowly."""
        if not self.is_slow:
            self.is_slow = True
            if self._pause is not None:
                self._pause()

    def caught_up(self) -> None:
        """The caller has read what was written."""
        if self.is_slow:
            self.is_slow = False
            if self._resume is not None:
                self._resume()

    def left(self) -> None:
        """The caller went away: its task is cancelled. After the end of the answer this changes nothing."""
        if not self.is_over:
            self.is_over = True
            if self.task is not None:
                self.task.cancel()

    def end_with(self, error: EcotoneError, extra: Sequence[tuple[str, str]] = ()) -> None:
        """Ends by the gateway's word: an error object before the head; after it a cut, in streams with an event."""
        if self.is_over:
            return
        if self.is_begun:
            if self.is_stream:
                self.write(encode_error_event(error))
            self.cut()
            return
        body = encode_error(error)
        headers = [*error_headers(error), *extra]
        if self.request:
            headers.append(("Ecotone-Id", self.request))
        self.begin(error.status, headers, is_stream=False, length=len(body))
        self.write(body)
        self.finish()
