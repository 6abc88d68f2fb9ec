"""Takes the answer of one attempt and passes it to the caller; decides when the answer has begun.

The commit point: the first *content* (not the head, not a role-only event) commits the answer to this target. Until
then everything is held back, so that any failure can still go to the next target; from then on a failure is a final
error event (invariant 4).
"""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Callable, Mapping
from typing import Final, Protocol

import msgspec

from ecotone.flow.verdict import judge_status
from ecotone.ports import Clock, Prepared, Scheduled, Stream
from ecotone.values import Endpoint, Request, TargetError
from ecotone.wire import sse
from ecotone.wire.aggregate import Aggregate
from ecotone.wire.answer import Usage, check_whole, glimpse, words
from ecotone.wire.reply import without_logprobs

ERROR_BODY_BYTES_MAX: Final = 64 * 1024
HELD_BYTES_MAX: Final = 256 * 1024
KEPT_BYTES_MAX: Final = 1024 * 1024
"""Largest answer that is kept for comparing, or held back."""

LATE: Final = "late"
"""The request's own deadline passed after the answer had begun: no failure of the target's."""

LINGER_S: Final = 1.0
"""How long the target may take to end its transfer after [DONE], so that the connection can be used again."""


class Shape(enum.Enum):
    """How the target's body becomes the caller's."""

    JSON = "json"
    EVENTS = "events"
    EVENTS_TO_JSON = "events_to_json"
    ERROR = "error"


class Front(Protocol):
    """The caller's side as the relay sees it: `flow.answer.Answer`."""

    def commit(self, *, is_stream: bool, length: int | None) -> None:
        """The answer begins: sends the head if it has not gone yet.

        Raises:
            TargetError: another attempt's answer has begun (`outrun`).
        """

    def write(self, block: bytes) -> None:
        """Sends bytes of the answer."""

    def finish(self) -> None:
        """The answer is whole."""


class Limits(msgspec.Struct, frozen=True, gc=False):
    """What bounds one attempt.

    Attributes:
        first_by_s: Instant by which the first content must come.
        until_s: Instant by which all must be over: the request's deadline.
        idle_s: Longest silence between two pieces, seconds.
        bytes_max: Largest answer, in one piece or as a stream.
        keeps_text: Another target may have to write on from where this one ends.
        keeps_answer: The whole answer is kept, as far as it is not too large, so that it can be compared.
    """

    first_by_s: float
    until_s: float
    idle_s: float
    bytes_max: int
    keeps_text: bool = False
    keeps_answer: bool = False


def _nobody() -> None:
    """Where nobody is told."""


class Relay:
    """One attempt's sink.

    Attributes:
        settled: Done when the attempt ended; holds a TargetError where it failed, else None.
        is_committed: Whether the caller was given content of this attempt.
        is_whole: Whether the caller was given the whole answer; nothing that follows can spoil it.
        has_paused: Whether a slow caller held it up, so that its pace says nothing about the target.
        failure: Why it failed, or None.
        status: The target's HTTP status.
        error_body: The target's error body where the request itself was rejected.
        usage: As the target gave it, else None.
        on_head: Called when the target begins to answer, whatever it says.
        verdict: With it the answer is held back until it is whole, and given only if this says so; else the attempt
            fails (`unsure`), and `release` can still give it.
        is_stripped: Log probabilities were asked of the target and not by the caller.
        answer: The whole answer in one piece, where `Limits.keeps_answer` or `verdict` asks for it.
    """

    def __init__(self, request: Request, prepared: Prepared, front: Front, clock: Clock, limits: Limits) -> None:
        """`limits`: how long is waited and how much is taken; see `Limits`."""
        self._request = request
        self._prepared = prepared
        self._front = front
        self._clock = clock
        self._limits = limits
        self.settled: asyncio.Future[TargetError | None] = asyncio.get_running_loop().create_future()
        self.is_committed = False
        self.is_whole = False
        self.has_paused = False
        self.failure: TargetError | None = None
        self.status = 0
        self.error_body = b""
        self.usage: Usage | None = None
        self._said: list[str] | None = [] if limits.keeps_text else None
        self.on_head: Callable[[], None] = _nobody
        self.verdict: Callable[[bytes], bool] | None = None
        self.is_stripped = False
        self.answer: bytes | None = None
        self._tape: Aggregate | None = Aggregate(request.endpoint) if limits.keeps_answer else None
        self._tape_bytes = 0
        self.answer_bytes = 0
        self.events = 0
        self.began_at_s = clock.now_s()
        self.first_at_s: float | None = None
        self.last_at_s = self.began_at_s
        self._shape = Shape.JSON
        self._chunks: list[bytes] = []
        self._size = 0
        self._splitter = sse.Splitter()
        self._aggregate: Aggregate | None = None
        self._is_finished = False
        self._is_paused = False
        self._stream: Stream | None = None
        self._timer: Scheduled | None = clock.call_at(limits.first_by_s, self._too_late)

    @property
    def text(self) -> str | None:
        """What was passed to the caller, where `Limits.keeps_text` asks for it; None where it is not only text."""
        return None if self._said is None else "".join(self._said)

    # What flow calls.

    def watch(self, stream: Stream) -> None:
        """Gives the attempt, for back-pressure."""
        self._stream = stream

    def pause(self) -> None:
        """The caller reads slowly: stop reading from the target (from the commit on; what is held back is bounded)."""
        self._is_paused = self.has_paused = True
        if self._stream is not None and self.is_committed:
            self._stream.pause()

    def resume(self) -> None:
        """The caller has caught up."""
        self._is_paused = False
        self.last_at_s = self._clock.now_s()
        if self._stream is not None:
            self._stream.resume()

    def close(self) -> None:
        """Stops the timers; nothing is taken any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self.settled.done():
            self.settled.cancel()
        # The attempt holds this sink, and so does whoever judges: without the circles all go at once, and do not wait
        # for the collector.
        self._stream = self.verdict = None

    # What the target calls (ports.Sink).

    def head(self, status: int, headers: Mapping[str, str]) -> None:
        """See `ports.Sink.head`."""
        self.status = status
        self.on_head()
        failure = judge_status(status, headers)
        if failure is not None and failure.code != "rejected":
            self._settle(failure)
        elif failure is not None:
            self._shape = Shape.ERROR
        elif not self._prepared.is_stream:
            self._shape = Shape.JSON
        elif "event-stream" not in headers.get("content-type", "").lower():
            self._settle(TargetError("bad_answer", "a stream was asked for, and something else came"))
        elif self._request.is_stream:
            self._shape = Shape.EVENTS
        else:
            self._shape = Shape.EVENTS_TO_JSON
            self._aggregate = Aggregate(self._request.endpoint)

    def data(self, chunk: bytes) -> None:
        """See `ports.Sink.data`."""
        if self.is_whole or self.settled.done():
            return
        self.last_at_s = self._clock.now_s()
        if self.answer_bytes > self._limits.bytes_max:
            self._settle(TargetError("bad_answer", f"an answer of more than {self._limits.bytes_max} bytes"))
            return
        is_read = self._prepared.reply is not None or self._said is not None or self._tape is not None
        if self._shape is Shape.EVENTS and self.is_committed and not is_read:
            self._pass_on(chunk)
            return
        try:
            self._take(chunk)
        except TargetError as error:
            self._settle(error)

    def ended(self) -> None:
        """See `ports.Sink.ended`."""
        if self.is_whole or self.settled.done():
            self._settle(None)
            return
        try:
            self._conclude()
        except TargetError as error:
            self._settle(error)
        else:
            self._settle(None)

    def failed(self, error: TargetError) -> None:
        """See `ports.Sink.failed`."""
        self._settle(error)

    # Within.

    def _take(self, chunk: bytes) -> None:
        if self._shape is Shape.JSON or self._shape is Shape.ERROR:
            self._collect(chunk)
            return
        block = self._splitter.feed(chunk)
        if block:
            for payload in sse.payloads(block):
                self._take_payload(payload)

    def _collect(self, chunk: bytes) -> None:
        if not self._chunks and self._timer is not None:
            self._timer.cancel()
            self._watch_rest()
        self._size += len(chunk)
        if self._shape is Shape.ERROR and self._size > ERROR_BODY_BYTES_MAX:
            raise TargetError("rejected", f"HTTP {self.status}, with more to say than is read")
        if self._size > self._limits.bytes_max:
            raise TargetError("bad_answer", f"an answer of more than {self._limits.bytes_max} bytes")
        self._chunks.append(chunk)

    def _take_payload(self, payload: bytes) -> None:
        """One event from the target, through its reply form, to the caller or the aggregate."""
        if self.is_whole:
            return
        if payload.strip() == b"[DONE]":
            self._finish_events()
            return
        reply = self._prepared.reply
        for made in (payload,) if reply is None else reply.feed(payload):
            self._give(made)

    def _give(self, payload: bytes) -> None:
        seen = glimpse(payload)
        if seen.error is not None:
            raise TargetError("error_event", "the target's stream carried an error")
        if seen.usage is not None:
            self.usage = seen.usage
        self._is_finished = self._is_finished or seen.is_finish
        self.events += seen.has_content
        if self.first_at_s is None and seen.has_content:
            self._await_idle()
        payload = self._noted(payload)
        if self._aggregate is not None:
            self._size += len(payload)
            if self._size > self._limits.bytes_max:
                raise TargetError("bad_answer", f"an answer of more than {self._limits.bytes_max} bytes")
            self._aggregate.add(payload)
        elif not (seen.is_usage_only and self._prepared.is_usage_added):
            if self._said is not None:
                said = words(payload)
                if said is None:
                    self._said = None
                else:
                    self._said.append(said)
            self._send(sse.event(payload), has_content=seen.has_content or seen.is_finish)

    def _noted(self, payload: bytes) -> bytes:
        """Keeps an event for comparing, and gives it as the caller is to get it.

        What is larger than is kept is not compared, and what is held back may not be larger.
        """
        if self._tape is not None:
            self._tape_bytes += len(payload)
            if self._tape_bytes <= KEPT_BYTES_MAX:
                self._tape.add(payload)
            else:
                self._tape = None
                if self.verdict is not None:
                    raise TargetError("unsure", f"an answer of more than {KEPT_BYTES_MAX} bytes is not held back")
        return without_logprobs(payload) if self.is_stripped else payload

    def _weigh(self, whole: bytes) -> None:
        """Whether an answer that was held back may be given.

        Raises:
            TargetError: it may not (`unsure`).
        """
        self.answer = whole if len(whole) <= KEPT_BYTES_MAX else None
        if self.verdict is not None and not self.verdict(whole):
            raise TargetError("unsure", "its answer is not sure enough")

    def _send(self, block: bytes, *, has_content: bool) -> None:
        """To the caller, or held back until there is content."""
        if self.is_committed:
            self.answer_bytes += len(block)
            self._front.write(block)
            return
        self._chunks.append(block)
        self._size += len(block)
        if self.verdict is not None:
            return
        if has_content or self._size > HELD_BYTES_MAX:
            if self.first_at_s is None:
                self._await_idle()
            self._commit(b"".join(self._chunks))
            self._chunks.clear()

    def _commit(self, block: bytes, length: int | None = None) -> None:
        if self.first_at_s is None:
            self.first_at_s = self._clock.now_s()
        self._front.commit(is_stream=self._shape is Shape.EVENTS, length=length)
        self.is_committed = True
        self.answer_bytes += len(block)
        self._front.write(block)
        if self._is_paused and self._stream is not None:
            self._stream.pause()

    def _pass_on(self, chunk: bytes) -> None:
        """The hot path of a stream that has begun: whole events go on unread unless they may matter."""
        try:
            block = self._splitter.feed(chunk)
            if not block:
                return
            if _is_worth_reading(block):
                for payload in sse.payloads(block):
                    self._take_payload(payload)
                return
        except TargetError as error:
            self._settle(error)
            return
        self.events += 1
        self.answer_bytes += len(block)
        self._front.write(block)

    def _finish_events(self) -> None:
        """The target said [DONE], or ended cleanly after a finish reason: the answer is whole."""
        if self._prepared.reply is not None:
            for made in self._prepared.reply.finish():
                self._give(made)
        if not self.events and not self._is_finished:
            raise TargetError("empty_stream", "the stream ended without content")
        if self._aggregate is not None:
            self._chunks = [self._aggregate.whole()]
        else:
            self._chunks.append(sse.DONE)
        if self._tape is not None:
            self._weigh(self._tape.whole())
        self.release()
        self._linger()

    def release(self) -> None:
        """Gives the caller what is held back of a whole answer, and ends it."""
        body = b"".join(self._chunks)
        self._chunks = []
        if self.is_committed:
            self.answer_bytes += len(body)
            self._front.write(body)
        else:
            self._commit(body, None if self._shape is Shape.EVENTS else len(body))
        self._finish()

    def _finish(self) -> None:
        self.is_whole = True
        self._front.finish()

    def _conclude(self) -> None:
        """The target's body is complete by HTTP's rules; is the answer?"""
        if self._shape is Shape.ERROR:
            self.error_body = self._restored(b"".join(self._chunks))
            raise TargetError("rejected", f"HTTP {self.status}")
        if self._shape is Shape.JSON:
            body = b"".join(self._chunks)
            self.usage = check_whole(self._request.endpoint, body)
            body = self._restored(body)
            self._chunks = [without_logprobs(body) if self.is_stripped else body]
            if self._limits.keeps_answer:
                self._weigh(body)
            self.release()
            return
        self._take_rest()
        if self.is_whole:
            return
        # Of several choices one may have finished without the others: only [DONE] speaks for all.
        if not self._is_finished or "n" in self._request.features.needs:
            begun = self.is_committed or self.events > 0
            raise TargetError("reset" if begun else "empty_stream", "the stream ended before the answer was whole")
        self._finish_events()

    def _restored(self, body: bytes) -> bytes:
        """A body in one piece, in the form that the caller expects."""
        reply = self._prepared.reply
        return body if reply is None else reply.whole(body)

    def _take_rest(self) -> None:
        """An event that no blank line ended; where it is cut short, it was never sent (WHATWG HTML, 9.2.6)."""
        for payload in sse.payloads(self._splitter.rest()):
            try:
                self._take_payload(payload)
            except TargetError as error:
                if error.code != "bad_answer":
                    raise

    def _linger(self) -> None:
        assert self._timer is not None, "armed until the attempt is settled"
        self._timer.cancel()
        self._timer = self._clock.call_at(self._clock.now_s() + LINGER_S, lambda: self._settle(None))

    def _await_idle(self) -> None:
        """The first content came: from waiting for it to watching for a stall."""
        self.first_at_s = self._clock.now_s()
        assert self._timer is not None, "armed until the attempt is settled"
        self._timer.cancel()
        self._timer = self._clock.call_at(self._due_s(), self._check)

    def _watch_rest(self) -> None:
        """A body in one piece has begun to come: its rest may not stall either, and the next target needs its time."""
        now_s, idle_s = self._clock.now_s(), self._limits.idle_s
        self._timer = None
        if now_s >= self._limits.first_by_s:
            self._too_late()
        elif now_s - self.last_at_s >= idle_s:
            self._settle(TargetError("idle_timeout", f"nothing for {idle_s:g} s in the midst of a body"))
        else:
            self._timer = self._clock.call_at(min(self.last_at_s + idle_s, self._limits.first_by_s), self._watch_rest)

    def _due_s(self) -> float:
        """When to look next at an answer that has begun."""
        quiet_since_s = self._clock.now_s() if self._is_paused else self.last_at_s
        return min(quiet_since_s + self._limits.idle_s, self._limits.until_s)

    def _check(self) -> None:
        """Re-arms itself as long as there is time and data came (or the caller made us pause)."""
        due_s, now_s = self._due_s(), self._clock.now_s()
        self._timer = None
        if due_s > now_s:
            self._timer = self._clock.call_at(due_s, self._check)
        elif now_s >= self._limits.until_s:
            self._settle(TargetError(LATE, "the deadline passed in mid-answer"))
        else:
            self._settle(TargetError("idle_timeout", f"nothing for {self._limits.idle_s:g} s in mid-answer"))

    def _too_late(self) -> None:
        self._timer = None
        waited_s = self._clock.now_s() - self.began_at_s
        self._settle(TargetError("first_byte_timeout", f"no answer began within {waited_s:.3g} s"))

    def _settle(self, error: TargetError | None) -> None:
        if not self.settled.done():
            self.failure = None if self.is_whole else error
            self.settled.set_result(self.failure)


def _is_worth_reading(block: bytes) -> bool:
    """Whether events of an answer that flows may matter to the corridor; all others pass unread."""
    return (
        b"[DONE]" in block
        or b'"usage":{' in block
        or b'"usage": {' in block
        or b'"error"' in block
        or b'"finish_reason":"' in block
        or b'"finish_reason": "' in block
    )


def tokens(relay: Relay, request: Request) -> tuple[int, int]:
    """(in, out) tokens that the target will count: its own word, else what was seen.

    A prompt counts where an answer began, and where the target was still at work when it was left: a cloud bills that
    too, and a budget must not be drained by callers who go away. Output without the target's word is one token per
    event seen: a lower bound.
    """
    usage = relay.usage or Usage()
    is_begun = relay.is_committed or relay.events > 0
    is_left_at_work = relay.status < 300 and (relay.failure is None or relay.failure.code == "first_byte_timeout")
    counted_in = request.features.prompt_tokens if is_begun or is_left_at_work else 0
    counted_out = 0 if request.endpoint is Endpoint.EMBEDDINGS else relay.events
    return int(max(usage.prompt_tokens or 0, 0)) or counted_in, int(max(usage.completion_tokens or 0, 0)) or counted_out
