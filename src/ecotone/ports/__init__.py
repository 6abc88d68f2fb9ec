"""What the corridor (`flow`) needs of the world. Shells implement these; the simulator does too.

Bytes are *pushed*: a target calls its `Sink` from the event loop, the sink writes to the `Caller`. Nothing here
is an async generator, and no method blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Protocol

import msgspec

from ecotone.ports.queue import Queue, QueueStatus
from ecotone.values import Condition, Finding, Outcome, Permit, Receipt, Request, TargetError, TargetSpec

__all__ = [
    "Caller",
    "Clock",
    "Inspector",
    "Journal",
    "Looked",
    "Prepared",
    "Queue",
    "QueueStatus",
    "Reply",
    "Scheduled",
    "Sink",
    "Stream",
    "Target",
    "Telemetry",
]


class Scheduled(Protocol):
    """A callback that is due at an instant."""

    def cancel(self) -> None:
        """The callback will not run."""


class Clock(Protocol):
    """Monotonic time of the event loop that the corridor runs on, real or virtual."""

    def now_s(self) -> float:
        """Seconds since an arbitrary start."""

    def wall_s(self) -> float:
        """Seconds since the Unix epoch; may jump."""

    def call_at(self, at_s: float, callback: Callable[[], None]) -> Scheduled:
        """Runs `callback` once at `at_s` on `now_s`'s scale."""


class Reply(Protocol):
    """Turns a target's own events into the events that the caller's API promises (sans-I/O)."""

    def feed(self, event: bytes) -> Sequence[bytes]:
        """JSON of one event in, JSON of zero or more events out."""

    def finish(self) -> Sequence[bytes]:
        """What is still held back, at the end of the target's stream."""

    def whole(self, body: bytes) -> bytes:
        """The same for a body in one piece: an answer or an error object, JSON in, JSON out."""


class Looked(msgspec.Struct, frozen=True, gc=False):
    """What the dear detectors saw in some texts.

    Attributes:
        found: For each text in order, what was seen in it, by all detectors.
        missing: Detectors that are not there, not ready, failed or took too long, each with a word why, such as
            `("names", "late")`. What they would have seen is not known.
    """

    found: tuple[tuple[Finding, ...], ...]
    missing: tuple[tuple[str, str], ...] = ()


class Inspector(Protocol):
    """The dear detectors (names, topics, plug-ins), wherever they run."""

    async def look(self, texts: Sequence[str], detectors: Sequence[str], *, limit_s: float) -> Looked:
        """Looks at some texts. Never raises for what a detector does or does not: that comes as `missing`.

        Args:
            limit_s: Seconds from now by which the answer is there; what is not done by then is `missing` (`late`).
        """


class Prepared(msgspec.Struct, kw_only=True):
    """The exact bytes that would go to a target for a request.

    Attributes:
        path: Path below the target's base URL, such as `/chat/completions`.
        body: The bytes to send; a permit is bound to them.
        is_stream: Whether the target will answer with server-sent events.
        reply: Transformer of the events, or None where they pass unchanged.
        is_usage_added: True where usage was asked of the target and not by the caller.
        transform: What was done to the caller's words before these bytes were made: `none`, or `pseudonymise:` and a
            digest of the transformation. The permit binds it to the bytes.
    """

    path: str
    body: bytes
    is_stream: bool
    reply: Reply | None = None
    is_usage_added: bool = False
    transform: str = "none"


class Sink(Protocol):
    """Takes one attempt's answer. All calls come from the event loop; exactly one of `ended`, `failed` is last.

    After the corridor has called `Stream.abort`, no further call comes.
    """

    def head(self, status: int, headers: Mapping[str, str]) -> None:
        """Status and headers (lower-case names) of the target's answer."""

    def data(self, chunk: bytes) -> None:
        """Some body bytes, transfer-encoding removed."""

    def ended(self) -> None:
        """The body is complete by the protocol's own rule (length, last chunk, or clean close)."""

    def failed(self, error: TargetError) -> None:
        """The attempt failed; nothing follows."""


class Stream(Protocol):
    """One attempt under way."""

    def pause(self) -> None:
        """Stop reading from the target: the caller reads slowly."""

    def resume(self) -> None:
        """Read on."""

    def abort(self) -> None:
        """Stop the work at the target at once. Idempotent; harmless after the end."""


class Target(Protocol):
    """A model at a place."""

    @property
    def spec(self) -> TargetSpec:
        """What the target is; constant between reloads."""

    @property
    def origin(self) -> str:
        """`scheme://host:port` (or `unix:NAME`) that `open` sends to."""

    def prepare(self, request: Request) -> Prepared:
        """The bytes that this target would be sent.

        Raises:
            TargetError: this target cannot express the request; the next one may.
            RequestError: no target can.
        """

    def open(self, prepared: Prepared, sink: Sink, permit: Permit | None, receipt: Receipt | None) -> Stream:
        """Starts one attempt. Never raises for what the network does: that comes as `sink.failed`.

        A cloud target refuses (failure `egress_refused`) without a permit and a receipt that match the bytes.
        """

    def probe(self, sink: Sink, permit: Permit | None, receipt: Receipt | None) -> Stream:
        """Asks whether the target is there, with an empty body; any HTTP answer means yes. As `open` otherwise."""

    def load(self) -> tuple[int, int]:
        """(requests being served, requests waiting for a slot), by the target's own count."""


class Caller(Protocol):
    """The caller's side of one request. `flow` calls `begin` once, then `write`, then `finish` or `cut`.

    When the caller goes away the task that runs `flow.serve` is cancelled.
    """

    def begin(self, status: int, headers: Sequence[tuple[str, str]], *, is_stream: bool, length: int | None) -> None:
        """Sends the head. Header names as they should appear; `content-type` included by the corridor."""

    def write(self, chunk: bytes) -> None:
        """Sends body bytes; never blocks. See `on_flow` for back-pressure."""

    def finish(self) -> None:
        """The answer is complete."""

    def cut(self) -> None:
        """Ends without a clean end, so that the caller's client sees the truncation."""

    def on_flow(self, pause: Callable[[], None] | None, resume: Callable[[], None] | None) -> None:
        """Whom to tell when the caller reads too slowly, and again when it has caught up. `None` detaches."""


class Journal(Protocol):
    """The append-only ledger, as the corridor sees it. Entries hold no content."""

    def note(self, kind: str, entry: Mapping[str, Any] | msgspec.Struct) -> int:
        """Appends an entry; durable soon (with the next group). Returns its position.

        Raises:
            RefusalError: the ledger cannot be written (`refused.ledger`); nothing may leave then.
        """

    async def permit(
        self,
        permit: Permit,
        *,
        body_bytes: int,
        labels: Sequence[str],
        region: str | None,
        replaced: Mapping[str, int] = MappingProxyType({}),
    ) -> Receipt:
        """Appends the entry for an egress and returns only when it is durable (invariant 2).

        Args:
            labels: Of the conversation, as it stands at the site.
            replaced: How many values of each label were replaced by surrogates before they went.

        Raises:
            RefusalError: the ledger cannot be written; nothing may leave.
        """


class Telemetry(Protocol):
    """Where an outcome is counted. Must be cheap and must not raise."""

    def ended(self, outcome: Outcome) -> None:
        """Counts one request that ended."""

    def attempted(self, target: str, failure: str, took_s: float) -> None:
        """Counts one attempt; `failure` is `''` where it succeeded."""

    def condition(self, target: str, condition: Condition) -> None:
        """A target's breaker changed its state."""
