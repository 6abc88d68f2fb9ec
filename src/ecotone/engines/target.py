"""A local model as a target of the corridor."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from ecotone import shaping
from ecotone.engines.asking import headers as worker_headers
from ecotone.engines.engine import Engine, Leaving
from ecotone.engines.needs import Channel
from ecotone.engines.tally import TAIL_BYTES
from ecotone.ports import Prepared, Sink, Stream
from ecotone.values import Endpoint, Permit, Place, Receipt, Request, RequestError, TargetError, TargetSpec

ERROR_BODY_BYTES_MAX: Final = 64 * 1024
_read: Final = msgspec.json.Decoder(dict[str, Any]).decode
_FAILURES: Final = {"engine": "http_500"}
"""Codes of `shaping.classify_error` that are not words of `TARGET_FAILURES`."""


class EngineTarget:
    """`ports.Target` over an engine. Several targets may share one engine, and so its queue."""

    def __init__(self, name: str, profile: shaping.Profile, engine: Engine) -> None:
        """Takes the target's name in the configuration, what is known of the model, and its engine.

        The profile's context, slots and embeddings are those that the engine runs with.
        """
        model = engine.model
        self._profile = msgspec.structs.replace(
            profile, context_tokens=model.context_tokens, slots=model.slots, has_embeddings=model.embeddings
        )
        self._engine = engine
        able = shaping.capabilities(self._profile)
        self._spec = TargetSpec(
            name=name,
            at=Place.EDGE,
            model=profile.name,
            capabilities=able,
            endpoints=tuple(
                endpoint.value
                for endpoint, word in (
                    (Endpoint.CHAT, "chat"),
                    (Endpoint.COMPLETIONS, "completions"),
                    (Endpoint.EMBEDDINGS, "embeddings"),
                )
                if word in able
            ),
            context_tokens=model.context_tokens,
            slots=model.slots,
            queue_max=model.queue_max,
        )

    @property
    def spec(self) -> TargetSpec:
        """See `ports.Target`."""
        return self._spec

    @property
    def origin(self) -> str:
        """See `ports.Target`: the worker's socket changes with each start, the name does not."""
        return f"unix:{self._spec.name}"

    @property
    def engine(self) -> Engine:
        """What runs the model."""
        return self._engine

    def prepare(self, request: Request) -> Prepared:
        """What the engine will be sent: `shaping.shape` as bytes.

        Raises:
            RequestError: the body is not a JSON object, or the request is malformed.
            TargetError: this model cannot do it.
        """
        try:
            body = _read(request.body)
        except msgspec.DecodeError as error:
            raise RequestError("request.json", "the body is not a JSON object") from error
        shaped = shaping.shape(self._profile, request.endpoint, body, request.id)
        return Prepared(
            path=shaped.path,
            body=msgspec.json.encode(shaped.payload),
            is_stream=shaped.is_stream,
            reply=None if shaped.is_plain else shaped.reply,
            is_usage_added=shaped.is_stream and not request.is_usage_asked,
        )

    def open(
        self, prepared: Prepared, sink: Sink, permit: Permit | None = None, receipt: Receipt | None = None
    ) -> Stream:
        """See `ports.Target`. Waits for a slot, and for the engine where it must be started first."""
        attempt = Attempt(self._engine, f"/v1{prepared.path}", prepared.body, sink)
        self._engine.enter(attempt)
        return attempt

    def probe(self, sink: Sink, permit: Permit | None = None, receipt: Receipt | None = None) -> Stream:
        """See `ports.Target`: starts the engine if need be, and says whether it is ready."""
        return Probe(self._engine, sink)

    def load(self) -> tuple[int, int]:
        """See `ports.Target`. A slot that works on for a caller who left counts as served."""
        return self._engine.load()


class Attempt:
    """One request at an engine: `ports.Stream` for the corridor, `ports.Sink` for the channel, a seat in the queue."""

    __slots__ = ("_body", "_engine", "_error_body", "_first_s", "_inner", "_is_heard", "_is_over", "_is_paused",
                 "_path", "_sink", "_status", "_tail", "_went_at_s")  # fmt: skip

    def __init__(self, engine: Engine, path: str, body: bytes, sink: Sink) -> None:
        self._engine = engine
        self._path = path
        self._body = body
        self._sink = sink
        self._inner: Stream | None = None
        self._status = 0
        self._error_body = b""
        self._is_heard = False
        self._is_over = False
        self._is_paused = False
        self._went_at_s = self._first_s = 0.0
        self._tail = b""

    # What the engine calls.

    def move(self, engine: Engine) -> None:
        """See `engine.Seat`."""
        self._engine = engine

    def go(self, channel: Channel, key: str) -> None:
        """See `engine.Seat`."""
        self._went_at_s = asyncio.get_running_loop().time()
        self._inner = channel.open("POST", self._path, worker_headers(key), self._body, self)
        if self._is_paused:
            self._inner.pause()

    def lose(self, error: TargetError) -> None:
        """See `engine.Seat`."""
        if self._is_over:
            return
        self._is_over = True
        self._engine.tally.failed(error.code)
        if self._inner is not None:
            self._inner.abort()
        self._sink.failed(error)

    # What the corridor calls.

    def pause(self) -> None:
        """See `ports.Stream`."""
        self._is_paused = True
        if self._inner is not None and not self._is_over:
            self._inner.pause()

    def resume(self) -> None:
        """See `ports.Stream`."""
        self._is_paused = False
        if self._inner is not None and not self._is_over:
            self._inner.resume()

    def abort(self) -> None:
        """See `ports.Stream`. In mid-answer the engine stops within 0.1 s; in prefill it may have to be replaced."""
        inner, self._inner = self._inner, None  # its sink is this
        if self._is_over:
            return
        self._is_over = True
        if inner is not None:
            inner.abort()
        self._engine.leave(self, Leaving.IN_ANSWER if self._is_heard else Leaving.IN_PREFILL)

    # What the channel calls.

    def head(self, status: int, headers: Mapping[str, str]) -> None:
        """See `ports.Sink`. The engine sends the head of a stream before it reads the prompt."""
        self._engine.heard()
        self._status = status
        if status == 200 and not self._is_over:
            self._sink.head(status, headers)

    def data(self, chunk: bytes) -> None:
        """See `ports.Sink`."""
        self._engine.heard()
        if not self._is_heard:
            self._is_heard = True
            self._first_s = asyncio.get_running_loop().time() - self._went_at_s
        if self._is_over:
            return
        if self._status == 200:
            self._tail = (self._tail + chunk)[-TAIL_BYTES:]
            self._sink.data(chunk)
        elif len(self._error_body) < ERROR_BODY_BYTES_MAX:
            self._error_body += chunk

    def ended(self) -> None:
        """See `ports.Sink`."""
        if self._is_over:
            return
        self._is_over = True
        self._engine.leave(self)
        if self._status == 200:
            self._engine.tally.answered(self._first_s, self._tail)
            self._sink.ended()
        else:
            self._explain()

    def failed(self, error: TargetError) -> None:
        """See `ports.Sink`. A private socket breaks only where the engine does."""
        if self._is_over:
            return
        self._is_over = True
        self._engine.leave(self, Leaving.BROKEN)
        self._engine.tally.failed("engine_crashed")
        name = self._engine.model.name
        self._sink.failed(TargetError("engine_crashed", f"{name}: the engine closed the connection"))

    def _explain(self) -> None:
        """What the engine refused: the caller's fault goes to the caller, all else to the next target."""
        code, message = shaping.classify_error(self._status, self._error_body)
        if code != "bad_request":
            code = _FAILURES.get(code, code)
            self._engine.tally.failed(code)
            self._sink.failed(TargetError(code, f"{self._engine.model.name}: {message}"))
            return
        error = {"message": message, "type": "invalid_request_error", "param": None, "code": "bad_request"}
        body = msgspec.json.encode({"error": error})
        self._sink.head(400, {"content-type": "application/json", "content-length": str(len(body))})
        self._sink.data(body)
        self._sink.ended()


class Probe:
    """Asks an engine whether it is ready."""

    def __init__(self, engine: Engine, sink: Sink) -> None:
        self._sink = sink
        self._forget: Callable[[], None] | None = engine.when_ready(self._told)

    def pause(self) -> None:
        """See `ports.Stream`: there is nothing to read."""

    def resume(self) -> None:
        """See `ports.Stream`: there is nothing to read."""

    def abort(self) -> None:
        """See `ports.Stream`. The engine starts all the same."""
        if self._forget is not None:
            self._forget()
            self._forget = None

    def _told(self, error: TargetError | None) -> None:
        self._forget = None
        if error is not None:
            self._sink.failed(error)
            return
        self._sink.head(200, {})
        asyncio.get_running_loop().call_soon(self._sink.ended)
