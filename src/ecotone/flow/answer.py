"""The caller's side of one request, over all attempts: head, headers, keep-alive comments, errors."""

from __future__ import annotations

from typing import Protocol

from ecotone.ports import Caller, Clock, Scheduled
from ecotone.values import EcotoneError, Request
from ecotone.wire import sse
from ecotone.wire.errors import encode_error, encode_error_event, retry_after_header

_JSON = ("content-type", "application/json")
_EVENTS = (("content-type", "text/event-stream; charset=utf-8"), ("cache-control", "no-cache"))


class Paced(Protocol):
    """Whoever fills the answer, as far as the caller's pace concerns it: a relay."""

    def pause(self) -> None:
        """The caller reads slowly."""

    def resume(self) -> None:
        """The caller has caught up."""


class Answer:
    """Sends exactly one answer or one error, whatever the attempts do.

    Attributes:
        reason: The reason code so far; a fallback changes it.
        target, at: Who answers, as far as is known when the head goes.
        status: What the caller was told; 0 before the head.
        is_over: Whether `finish`, `reject` or `fail` was called.
    """

    def __init__(self, request: Request, caller: Caller, clock: Clock, keep_alive_s: float) -> None:
        self._request = request
        self._caller = caller
        self._clock = clock
        self._keep_alive_s = keep_alive_s
        self._timer: Scheduled | None = None
        self._wrote_at_s = request.received_at_s
        self.debug: list[tuple[str, str]] = []
        self.reason = ""
        self.target = ""
        self.at = ""
        self.status = 0
        self.first_at_s: float | None = None
        self.is_over = False
        if request.is_stream:
            self._timer = clock.call_at(request.received_at_s + keep_alive_s, self._keep_alive)

    def attach(self, relay: Paced | None) -> None:
        """Whose reading stops when the caller reads slowly."""
        if relay is None:
            self._caller.on_flow(None, None)
        else:
            self._caller.on_flow(relay.pause, relay.resume)

    def commit(self, *, is_stream: bool, length: int | None) -> None:
        """See `relay.Front.commit`."""
        self.first_at_s = self._clock.now_s()
        if self.status == 0:
            self._begin(200, _EVENTS if is_stream else (_JSON,), is_stream=is_stream, length=length)

    def write(self, block: bytes) -> None:
        """See `relay.Front.write`."""
        self._wrote_at_s = self._clock.now_s()
        self._caller.write(block)

    def finish(self) -> None:
        """See `relay.Front.finish`."""
        self._end()
        self._caller.finish()

    def reject(self, status: int, body: bytes) -> None:
        """Passes on a target's own error object; only before the head."""
        self._error(status, body, ())

    def fail(self, error: EcotoneError) -> None:
        """Tells the caller: as an error object before the head, as a final event and a cut after it."""
        if self.is_over:
            return
        if self.status == 0:
            extra: tuple[tuple[str, str], ...] = ()
            if error.retry_after_s is not None:
                extra = (("retry-after", retry_after_header(error.retry_after_s)),)
            self._error(error.status, encode_error(error), extra)
            return
        self._end()
        if self._request.is_stream:
            self._caller.write(encode_error_event(error))
        self._caller.cut()

    def close(self) -> None:
        """Stops the timer and lets go of the relay; idempotent."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _error(self, status: int, body: bytes, extra: tuple[tuple[str, str], ...]) -> None:
        self._end()
        self._begin(status, (_JSON, *extra), is_stream=False, length=len(body))
        self._caller.write(body)
        self._caller.finish()

    def _begin(self, status: int, headers: tuple[tuple[str, str], ...], *, is_stream: bool, length: int | None) -> None:
        self.status = status
        own = [("Ecotone-Id", self._request.id), ("Ecotone-Reason", self.reason)]
        if self.target:
            own += [("Ecotone-Placed", self.at), ("Ecotone-Target", self.target)]
        if self._request.is_debug:
            own += self.debug
        self._caller.begin(status, [*headers, *own], is_stream=is_stream, length=length)

    def _end(self) -> None:
        assert not self.is_over, "an answer ends once"
        self.is_over = True
        self.close()

    def _keep_alive(self) -> None:
        now_s = self._clock.now_s()
        due_s = self._wrote_at_s + self._keep_alive_s
        if now_s >= due_s:
            if self.status == 0:
                self._begin(200, _EVENTS, is_stream=True, length=None)
            self.write(sse.KEEP_ALIVE)
            due_s = now_s + self._keep_alive_s
        self._timer = self._clock.call_at(due_s, self._keep_alive)
