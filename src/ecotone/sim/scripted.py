"""Targets that follow a script to the letter, and a stage for them: a test of the corridor reads as a conversation."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from random import Random
from typing import Any, Final

import msgspec

from ecotone import flow
from ecotone.estimate import Speeds
from ecotone.flow.breaker import Breaker, BreakerSettings
from ecotone.flow.spend import Budgets, Spend
from ecotone.policy import Mint
from ecotone.ports import Prepared, Reply, Sink
from ecotone.sim.time import VirtualClock, VirtualLoop
from ecotone.sim.world import Link, MadeCaller, MadeJournal, MadeStream, MadeTelemetry
from ecotone.values import (
    Endpoint,
    Features,
    Mode,
    Outcome,
    Permit,
    Place,
    Price,
    Receipt,
    Request,
    TargetError,
    TargetSpec,
)
from ecotone.wire import sse

Step = tuple[float, Callable[[Sink], None]]
"""Seconds after the step before, and what the target then does."""

EVENTS: Final = "text/event-stream"
PAID: Final = Price(1_000.0, 2_000.0)
"""US dollars per million tokens: a thousandth of a dollar per token in, two per token out."""

SILENCE: Final[tuple[Step, ...]] = ()
"""A connection on which nothing ever comes."""


def head(
    status: int = 200, kind: str = EVENTS, headers: Mapping[str, str] | None = None, *, after_s: float = 0.0
) -> Step:
    """Status and headers."""
    given = {"content-type": kind, **(headers or {})}
    return after_s, lambda sink: sink.head(status, given)


def data(chunk: bytes, *, after_s: float = 0.0) -> Step:
    """Some body bytes."""
    return after_s, lambda sink: sink.data(chunk)


def ended(*, after_s: float = 0.0) -> Step:
    """The body is complete."""
    return after_s, lambda sink: sink.ended()


def failed(code: str, *, after_s: float = 0.0) -> Step:
    """The attempt fails with this class of `reasons.TARGET_FAILURES`."""
    return after_s, lambda sink: sink.failed(TargetError(code, "scripted"))


def chunk(content: str | None = None, *, finish: str | None = None, index: int = 0, **delta: Any) -> bytes:
    """One event of a chat stream."""
    told = delta if content is None else {"content": content, **delta}
    return event({"choices": [{"index": index, "delta": told, "finish_reason": finish}]})


def event(value: Any) -> bytes:
    """One event with this value as JSON."""
    return sse.event(msgspec.json.encode(value))


def stream(*words: str, gap_s: float = 0.1, usage: tuple[int, int] | None = None) -> tuple[Step, ...]:
    """A whole answer as a stream; `usage` is (prompt, completion) tokens."""
    told = None if usage is None else {"prompt_tokens": usage[0], "completion_tokens": usage[1]}
    last = chunk(finish="stop") + (b"" if told is None else event({"choices": [], "usage": told})) + sse.DONE
    pieces = (chunk(role="assistant", content=""), *(chunk(word) for word in words))
    return head(after_s=gap_s), *(data(piece, after_s=gap_s) for piece in pieces), data(last), ended()


def whole(text: str = "whole", *, after_s: float = 0.1, usage: Any = None) -> tuple[Step, ...]:
    """A whole answer in one piece."""
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    body = msgspec.json.encode({"choices": [choice], "usage": usage})
    return head(kind="application/json; charset=utf-8", after_s=after_s), data(body), ended()


def status(code: int, body: bytes = b"{}", headers: Mapping[str, str] | None = None) -> tuple[Step, ...]:
    """An answer with this status."""
    return head(code, "application/json", headers), data(body), ended()


class ScriptedTarget:
    """Plays one script for each attempt, the last one again and again.

    Attributes:
        sent: (permit, receipt) of each attempt.
        bodies: What each attempt got.
        opened: The stream of each attempt.
    """

    def __init__(self, name: str, *scripts: Iterable[Step], at: Place = Place.CLOUD, **spec: Any) -> None:
        self._spec = TargetSpec(name=name, at=at, model=f"{name}-1", **spec)
        self._scripts = [list(script) for script in scripts] or [[]]
        self.reply: Callable[[], Reply] | None = None
        self.is_always_stream = False
        self.probe_script: Iterable[Step] = ()
        self.active = self.aborted = self.probes = 0
        self.sent: list[tuple[Permit | None, Receipt | None]] = []
        self.bodies: list[bytes] = []
        self.opened: list[MadeStream] = []

    @property
    def spec(self) -> TargetSpec:
        """See `ports.Target.spec`."""
        return self._spec

    @property
    def origin(self) -> str:
        """See `ports.Target.origin`."""
        return f"https://{self._spec.name}.test:443"

    def prepare(self, request: Request) -> Prepared:
        """See `ports.Target.prepare`."""
        return Prepared(
            path=f"/{request.endpoint.value}",
            body=request.body,
            is_stream=request.is_stream or self.is_always_stream,
            reply=None if self.reply is None else self.reply(),
            is_usage_added=not request.is_usage_asked,
        )

    def open(self, prepared: Prepared, sink: Sink, permit: Permit | None, receipt: Receipt | None) -> MadeStream:
        """See `ports.Target.open`."""
        script = self._scripts[min(len(self.sent), len(self._scripts) - 1)]
        self.sent.append((permit, receipt))
        self.bodies.append(prepared.body)
        self.active += 1
        self.opened.append(MadeStream(self, sink, list(script)))
        return self.opened[-1]

    def probe(self, sink: Sink, permit: Permit | None, receipt: Receipt | None) -> MadeStream:
        """See `ports.Target.probe`."""
        self.probes += 1
        self.active += 1
        return MadeStream(self, sink, list(self.probe_script))

    def load(self) -> tuple[int, int]:
        """See `ports.Target.load`."""
        return self.active, 0


class Listening(MadeTelemetry):
    """Telemetry that also keeps attempts and breaker states."""

    def __init__(self) -> None:
        super().__init__()
        self.attempts: list[tuple[str, str]] = []
        self.conditions: list[tuple[str, str]] = []

    def attempted(self, target: str, failure: str, took_s: float) -> None:
        """See `ports.Telemetry.attempted`."""
        self.attempts.append((target, failure))

    def condition(self, target: str, condition: Any) -> None:
        """See `ports.Telemetry.condition`."""
        self.conditions.append((target, condition.breaker))


class Stage:
    """A site of scripted targets on a virtual loop of its own; close it after use.

    Attributes:
        caller: What the last request's caller got.
    """

    def __init__(
        self,
        *targets: ScriptedTarget,
        mode: Mode = Mode.AUTO,
        disk_full: tuple[tuple[float, float], ...] = (),
        failures: int = 3,
        **site: Any,
    ) -> None:
        self.loop = VirtualLoop()
        self.telemetry = Listening()
        self.journal = MadeJournal(Random(0), Link(disk_full))  # noqa: S311 - a made world, not a secret
        self.targets = targets
        self.caller = MadeCaller()
        self.callers: list[MadeCaller] = []
        names = tuple(target.spec.name for target in targets)
        given: Mapping[str, Any] = {
            "clock": VirtualClock(self.loop),
            "journal": self.journal,
            "telemetry": self.telemetry,
            "mint": Mint(b"0" * 32),
            "targets": {target.spec.name: target for target in targets},
            "names": {"auto": flow.ModelName("auto", names, mode)},
            "breakers": {name: Breaker(BreakerSettings(failures=failures)) for name in names},
            "speeds": Speeds(),
            "spend": Spend("2027-01-15"),
            "today": lambda: "2027-01-15",
        }
        self.site = flow.Site(**{**given, **site})

    def request(self, **changes: Any) -> Request:
        """A streamed chat request that arrives now."""
        base = Request(
            id=f"req-{len(self.callers)}",
            endpoint=Endpoint.CHAT,
            model="auto",
            body=b'{"model":"auto"}',
            is_stream=True,
            is_usage_asked=False,
            features=Features(10),
            received_at_s=self.loop.now_s,
        )
        return msgspec.structs.replace(base, **changes)

    def serve(
        self, request: Request | None = None, *, caller: MadeCaller | None = None, leaves_after_s: float | None = None
    ) -> Outcome:
        """Serves one request to its end and gives its outcome; the caller may leave after some seconds."""
        return self.loop.run_until_complete(self.serving(request, caller=caller, leaves_after_s=leaves_after_s))

    async def serving(
        self, request: Request | None = None, *, caller: MadeCaller | None = None, leaves_after_s: float | None = None
    ) -> Outcome:
        """See `serve`."""
        request = self.request() if request is None else request
        self.caller = MadeCaller() if caller is None else caller
        self.callers.append(self.caller)
        task = self.loop.create_task(flow.serve(request, self.caller, self.site))
        if leaves_after_s is not None:
            self.loop.call_later(leaves_after_s, task.cancel)
        await asyncio.wait({task})
        if not task.cancelled() and (error := task.exception()) is not None:
            raise error
        return next(outcome for outcome in self.telemetry.outcomes if outcome.request == request.id)

    def later(self, seconds: float) -> None:
        """Lets time pass."""
        self.loop.run_until_complete(asyncio.sleep(seconds))

    def left_over(self) -> list[str]:
        """What must not be there when all is served: work under way, money held, a request without its one end."""
        held = self.site.spend.left(Budgets(0.0, 0))
        kept = (-self.site.spend.usd, -self.site.spend.egress_bytes)
        return [
            *(f"{target.spec.name} still at work" for target in self.targets if target.active),
            *(f"{name}: a slot is held or waited for" for name in self.site.load.left_over()),
            *(f"held: {held}, spent: {kept}" for _ in range(1) if held != kept),
            *(f"{one.begun} heads, {one.finished} ends, {one.cuts} cuts" for one in self.callers if one.ends > 1),
            *("an outcome too few or too many" for _ in range(1) if len(self.telemetry.outcomes) != len(self.callers)),
        ]

    def close(self) -> None:
        """Closes the loop."""
        self.loop.close()
