"""Made targets, links, callers and a made ledger: the ports of `flow`, without any I/O.

Every made answer carries the name of its target and attempt in each piece of text, so that a caller can tell whether
an answer was stitched together.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence
from random import Random
from types import MappingProxyType
from typing import Any, Final, Protocol

import msgspec

from ecotone.ports import Prepared, Sink
from ecotone.sim.detectors import echoed
from ecotone.values import (
    Condition,
    Outcome,
    Permit,
    Place,
    Receipt,
    RefusalError,
    Request,
    TargetError,
    TargetSpec,
)
from ecotone.wire import sse

TTFT_S_MAX = 3.0
"""Made answers begin within this; silence is a trouble of its own."""

CONNECT_FAILURES = ("dns", "refused", "connect_timeout", "tls", "reset")
STATUSES = (301, 400, 401, 403, 404, 408, 413, 422, 429, 500, 502, 503, 504)
ODDITIES = ("not_json", "no_choices", "empty_stream", "error_event", "silence", "cut", "stall", "wrong_type", "no_done")


class Link(msgspec.Struct, frozen=True):
    """When the way to the cloud is cut: pairs of (from, to), virtual seconds."""

    cuts: tuple[tuple[float, float], ...] = ()

    def is_up(self, now_s: float) -> bool:
        """Whether bytes pass now."""
        return not any(begin <= now_s < end for begin, end in self.cuts)


class Nature(msgspec.Struct, frozen=True):
    """How a made target behaves.

    Attributes:
        connect_s, ttft_s, gap_s: Means of exponential times.
        trouble: Share of attempts that go wrong in some way.
        tokens: Most content events of one answer.
    """

    connect_s: float = 0.02
    ttft_s: float = 0.2
    gap_s: float = 0.02
    trouble: float = 0.2
    tokens: int = 12


ATTEMPT: Final = re.compile(r"(?:edge|cloud|judge)\d+\.\d+")
"""Names of attempts, as they stand in every made answer."""

VERDICTS: Final = ('{"better": "A"}', '{"better": "B"}', '{"better": "tie"}', "maybe")
_LOGPROBS: Final = {
    "content": [{"token": "x", "logprob": -0.1, "top_logprobs": [{"logprob": -0.1}, {"logprob": -2.5}]}]
}


class Arrival(msgspec.Struct, frozen=True):
    """Bytes that came to a made target.

    Attributes:
        at_s: Virtual instant.
        request: Id of the caller's request that they are for, or about.
        purpose: `''`, `shadow` or `judge`.
    """

    at_s: float
    request: str
    permit: Permit | None
    receipt: Receipt | None
    purpose: str = ""


class Busy(Protocol):
    """A made target, as far as its streams count for it."""

    active: int
    aborted: int


class MadeStream:
    """One attempt at a made target: a chain of timers that calls the sink."""

    def __init__(self, target: Busy, sink: Sink, steps: list[tuple[float, Callable[[Sink], None]]]) -> None:
        self._target = target
        self._sink = sink
        self._steps = steps
        self._is_paused = False
        self._is_over = False
        self._handle: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        self._next()

    @property
    def is_paused(self) -> bool:
        """Whether nobody reads."""
        return self._is_paused

    def pause(self) -> None:
        """See `ports.Stream.pause`."""
        self._is_paused = True
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def resume(self) -> None:
        """See `ports.Stream.resume`."""
        if self._is_paused:
            self._is_paused = False
            self._next()

    def abort(self) -> None:
        """See `ports.Stream.abort`."""
        if not self._is_over:
            self._over()
            self._target.aborted += 1

    def _next(self) -> None:
        if self._steps and not self._is_paused and not self._is_over and self._handle is None:
            self._handle = self._loop.call_later(self._steps[0][0], self._fire)

    def _fire(self) -> None:
        self._handle = None
        _, step = self._steps.pop(0)
        if not self._steps:
            self._over()
        step(self._sink)
        self._next()

    def _over(self) -> None:
        self._is_over = True
        self._target.active -= 1
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None


class MadeTarget:
    """A target whose every answer is drawn from a seeded `Random`.

    Attributes:
        served: For each attempt id: the full text that a whole answer of it has.
        received: Each attempt that got bytes.
        bodies: Those bytes, by request id.
        asked_by: For each attempt id of any target that shares this: the request's. A judge is asked about attempts.
    """

    def __init__(
        self, spec: TargetSpec, nature: Nature, link: Link, seed: int, asked_by: dict[str, str] | None = None
    ) -> None:
        self._spec = spec
        self.nature = nature
        self._link = link
        self._rng = Random(seed)  # noqa: S311 - a made world, not a secret
        self.active = 0
        self.active_max = 0
        self.aborted = 0
        self.attempts = 0
        self.served: dict[str, str] = {}
        self.received: list[Arrival] = []
        self.bodies: dict[str, list[bytes]] = {}
        self.asked_by: dict[str, str] = {} if asked_by is None else asked_by

    @property
    def spec(self) -> TargetSpec:
        """See `ports.Target.spec`."""
        return self._spec

    @property
    def origin(self) -> str:
        """See `ports.Target.origin`."""
        return f"https://{self._spec.name}.test:443"

    def prepare(self, request: Request) -> Prepared:
        """See `ports.Target.prepare`. Engine-like targets always stream."""
        is_stream = request.is_stream or self._spec.at is Place.EDGE
        added = is_stream and not request.is_usage_asked
        return Prepared(path=f"/{request.purpose}", body=request.body, is_stream=is_stream, is_usage_added=added)

    def load(self) -> tuple[int, int]:
        """See `ports.Target.load`."""
        return min(self.active, self._spec.slots), max(0, self.active - self._spec.slots)

    def probe(self, sink: Sink, permit: Permit | None, receipt: Receipt | None) -> MadeStream:
        """See `ports.Target.probe`."""
        self._arrive()
        down = not self._link.is_up(asyncio.get_running_loop().time())
        if down and self._spec.at is Place.CLOUD:
            return MadeStream(self, sink, [(1.0, _failing("connect_timeout"))])
        return MadeStream(self, sink, [(0.01, lambda to: to.head(200, {}))])

    def open(self, prepared: Prepared, sink: Sink, permit: Permit | None, receipt: Receipt | None) -> MadeStream:
        """See `ports.Target.open`."""
        if self.active >= self._spec.slots + self._spec.queue_max:
            self._arrive()
            return MadeStream(self, sink, [(0.0, _failing("busy"))])
        self._arrive()
        now_s = asyncio.get_running_loop().time()
        connect_s = self._rng.expovariate(1 / self.nature.connect_s)
        if self._spec.at is Place.CLOUD and not self._link.is_up(now_s):
            failure = self._rng.choice(CONNECT_FAILURES)
            return MadeStream(self, sink, [(min(connect_s * 50, 1.0), _failing(failure))])
        if self._rng.random() < self.nature.trouble / 3:
            return MadeStream(self, sink, [(min(connect_s, 1.0), _failing(self._rng.choice(CONNECT_FAILURES)))])
        request = self._asker(prepared.body)
        self.received.append(Arrival(now_s, request, permit, receipt, prepared.path[1:]))
        self.bodies.setdefault(request, []).append(prepared.body)
        self.asked_by[f"{self._spec.name}.{self.attempts}"] = request
        return MadeStream(self, sink, self._script(prepared, connect_s))

    def _asker(self, body: bytes) -> str:
        """Whose request this is; a judge is told of answers that were made for it."""
        asked = msgspec.json.decode(body)
        if "request" in asked:
            return str(asked["request"])
        about = {self.asked_by[name] for name in ATTEMPT.findall(body.decode())}
        assert len(about) == 1, f"answers to {sorted(about)} are compared"
        return about.pop()

    def _arrive(self) -> None:
        self.attempts += 1
        self.active += 1
        self.active_max = max(self.active_max, self.active)

    def _script(self, prepared: Prepared, connect_s: float) -> list[tuple[float, Callable[[Sink], None]]]:
        rng, nature = self._rng, self.nature
        attempt = f"{self._spec.name}.{self.attempts}"
        oddity = ""
        if rng.random() < nature.trouble:
            if rng.random() < 0.5:
                status = rng.choice(STATUSES)
                headers = {"retry-after": "3"} if rng.random() < 0.5 else {}
                body = b'{"error": {"message": "made", "type": "made", "code": "made"}}'
                return [
                    (connect_s, lambda to: to.head(status, headers)),
                    (0.0, lambda to: to.data(body)),
                    (0.0, lambda to: to.ended()),
                ]
            oddity = rng.choice(ODDITIES)
        asked = msgspec.json.decode(prepared.body)
        words = [f"{attempt}-{index} " for index in range(rng.randint(1, nature.tokens))]
        said, read = echoed(prepared.body) if "request" in asked else ("", "")
        if "request" not in asked:
            words = [rng.choice(VERDICTS)]
        self.served[attempt] = "".join([*words, read])
        cut = rng.randrange(len(said) + 1)
        words += [piece for piece in (said[:cut], said[cut:]) if piece]
        ttft_s = min(connect_s + rng.expovariate(1 / nature.ttft_s), TTFT_S_MAX)
        told = {"logprobs": _LOGPROBS} if asked.get("logprobs") else {}
        if not prepared.is_stream:
            return _json_script(attempt, words, ttft_s, oddity, told)
        gaps = [rng.expovariate(1 / nature.gap_s) for _ in words]
        return _stream_script(attempt, words, [ttft_s, *gaps], oddity, (rng, told))


def _failing(failure: str) -> Callable[[Sink], None]:
    return lambda to: to.failed(TargetError(failure, "made"))


def _json_script(
    attempt: str, words: list[str], ttft_s: float, oddity: str, told: Mapping[str, Any]
) -> list[tuple[float, Callable[[Sink], None]]]:
    message = {"role": "assistant", "content": "".join(words)}
    choice = {"index": 0, "message": message, "finish_reason": "stop", **told}
    whole = {"id": attempt, "model": attempt, "choices": [choice]}
    usage = {"prompt_tokens": 7, "completion_tokens": len(words)}
    body = msgspec.json.encode(whole | {"usage": usage})
    if oddity == "not_json":
        body = b"<html>It works!</html>"
    elif oddity == "no_choices":
        body = b'{"id": "x"}'
    head = (ttft_s, lambda to: to.head(200, {"content-type": "application/json"}))
    if oddity in ("silence", "stall"):
        return [head, (1e6, _failing("reset"))]
    if oddity == "cut":
        return [head, (0.0, lambda to: to.data(body[:20])), (0.0, _failing("reset"))]
    return [head, (0.0, lambda to: to.data(body)), (0.0, lambda to: to.ended())]


def _stream_script(
    attempt: str, words: list[str], gaps: list[float], oddity: str, made: tuple[Random, Mapping[str, Any]]
) -> list[tuple[float, Callable[[Sink], None]]]:
    rng, told = made

    def chunk(delta: dict[str, Any], finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        if delta.get("content"):
            choice |= told
        return sse.event(msgspec.json.encode({"id": attempt, "model": attempt, "choices": [choice]}))

    kind = "text/html" if oddity == "wrong_type" else "text/event-stream"
    steps: list[tuple[float, Callable[[Sink], None]]] = [
        (gaps[0] / 2, lambda to: to.head(200, {"content-type": kind})),
        (0.0, lambda to: to.data(chunk({"role": "assistant", "content": ""}))),
    ]
    if oddity == "silence":
        return [*steps, (1e6, _failing("reset"))]
    if oddity == "error_event":
        return [*steps, (0.0, lambda to: to.data(b'data: {"error": {"message": "made"}}\n\n')), (0.0, _end)]
    if oddity == "empty_stream":
        return [*steps, (0.0, _end)]
    broken_at = rng.randrange(len(words) + 1) if oddity in ("cut", "stall", "not_json") else None
    for index, word in enumerate(words):
        if index == broken_at:
            return [*steps, *_break(oddity)]
        pieces = _torn(chunk({"content": word}), rng)
        steps.append((gaps[index], _sending(pieces[0])))
        steps += [(0.0, _sending(piece)) for piece in pieces[1:]]
    usage = {"prompt_tokens": 7, "completion_tokens": len(words)}
    last = chunk({}, "stop") + sse.event(msgspec.json.encode({"choices": [], "usage": usage}))
    steps.append((0.0, _sending(last if oddity == "no_done" else last + sse.DONE)))
    return [*steps, (0.0, _end)]


def _break(oddity: str) -> list[tuple[float, Callable[[Sink], None]]]:
    if oddity == "cut":
        return [(0.0, _sending(b'data: {"choices": [{"de')), (0.0, _end)]
    if oddity == "stall":
        return [(1e6, _failing("reset"))]
    return [(0.0, _sending(b'data: {"usage":{ this is not JSON\n\n')), (0.0, _end)]


def _torn(block: bytes, rng: Random) -> list[bytes]:
    """The same bytes, cut anywhere."""
    cut = rng.randrange(len(block) + 1)
    return [piece for piece in (block[:cut], block[cut:]) if piece]


def _sending(piece: bytes) -> Callable[[Sink], None]:
    return lambda to: to.data(piece)


def _end(to: Sink) -> None:
    to.ended()


class MadeCaller:
    """Records what it gets, in order; may read slowly. Leaving is the history's job (it cancels the task)."""

    def __init__(self, *, is_slow: bool = False) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = b""
        self.begun = self.finished = self.cuts = 0
        self.is_slow = is_slow
        self._resume: Callable[[], None] | None = None
        self._pause: Callable[[], None] | None = None

    @property
    def ends(self) -> int:
        """How often it was told that nothing more comes."""
        return self.finished + self.cuts

    def begin(self, status: int, headers: Sequence[tuple[str, str]], *, is_stream: bool, length: int | None) -> None:
        """See `ports.Caller.begin`."""
        assert not self.begun, "two heads"
        self.begun += 1
        self.status = status
        self.headers = {name.lower(): value for name, value in headers}

    def write(self, chunk: bytes) -> None:
        """See `ports.Caller.write`."""
        assert self.begun, "body before head"
        assert not self.finished, "body after the end"
        assert not self.cuts, "body after the cut"
        self.body += chunk
        if self.is_slow and self._pause is not None and self._resume is not None:
            self._pause()
            asyncio.get_running_loop().call_later(0.5, self._caught_up, self._resume)

    def finish(self) -> None:
        """See `ports.Caller.finish`."""
        self.finished += 1

    def cut(self) -> None:
        """See `ports.Caller.cut`."""
        self.cuts += 1

    def on_flow(self, pause: Callable[[], None] | None, resume: Callable[[], None] | None) -> None:
        """See `ports.Caller.on_flow`."""
        self._pause, self._resume = pause, resume

    def _caught_up(self, resume: Callable[[], None]) -> None:
        if self._resume == resume:
            resume()


class MadeJournal:
    """A ledger in memory whose disk is full in some spans of time.

    Attributes:
        durable: Seals of permits whose entry was durable, with the instant.
    """

    def __init__(self, rng: Random, full: Link) -> None:
        self._rng = rng
        self._full = full
        self.entries: list[tuple[str, Any]] = []
        self.durable: dict[bytes, float] = {}

    def note(self, kind: str, entry: Mapping[str, Any] | msgspec.Struct) -> int:
        """See `ports.Journal.note`."""
        self.entries.append((kind, msgspec.json.decode(msgspec.json.encode(entry))))
        return len(self.entries)

    async def permit(
        self,
        permit: Permit,
        *,
        body_bytes: int,
        labels: Sequence[str],
        region: str | None,
        replaced: Mapping[str, int] = MappingProxyType({}),
    ) -> Receipt:
        """See `ports.Journal.permit`."""
        await asyncio.sleep(self._rng.expovariate(1000))
        now_s = asyncio.get_running_loop().time()
        if not self._full.is_up(now_s):
            raise RefusalError("refused.ledger", "the made disk is full", status=503)
        entry = {"request": permit.request, "labels": list(labels), "replaced": dict(replaced)}
        self.entries.append(("egress", entry))
        self.durable[permit.seal] = now_s
        return Receipt(len(self.entries), permit.seal)


class MadeTelemetry:
    """Keeps the outcomes."""

    def __init__(self) -> None:
        self.outcomes: list[Outcome] = []

    def ended(self, outcome: Outcome) -> None:
        """See `ports.Telemetry.ended`."""
        self.outcomes.append(outcome)

    def attempted(self, target: str, failure: str, took_s: float) -> None:
        """See `ports.Telemetry.attempted`."""

    def condition(self, target: str, condition: Condition) -> None:
        """See `ports.Telemetry.condition`."""
