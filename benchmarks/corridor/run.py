"""CPU of the corridor alone: `flow.serve` with a target, a caller and a ledger that do nothing, on uvloop.

    .venv/bin/python benchmarks/corridor/run.py [--patterns] [--profile]

Prints µs of CPU per request for an answer in one piece and µs per chunk of a stream. No sockets: what is measured is
understanding, deciding, permits, the relay and the entries' encoding.
"""

from __future__ import annotations

import asyncio
import cProfile
import pstats
import statistics
import sys
import time
from collections.abc import Sequence

import msgspec
import uvloop

from ecotone import flow
from ecotone.estimate import Speeds
from ecotone.flow.breaker import Breaker, BreakerSettings
from ecotone.flow.spend import Spend
from ecotone.policy import Mint
from ecotone.ports import Prepared, Sink
from ecotone.privacy import Look
from ecotone.privacy.patterns import Patterns
from ecotone.values import Endpoint, Features, Permit, Place, Receipt, Request, TargetSpec

SAID = b"Explain in plain words how a heat pump works, and why it needs less power than it gives. " * 9
BODY = (
    b'{"model":"assistant","messages":[{"role":"system","content":"Be brief."},{"role":"user","content":"%%d %b"}]}'
    % SAID
)
ANSWER = msgspec.json.encode(
    {
        "id": "c1",
        "object": "chat.completion",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "x" * 800}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 200, "completion_tokens": 200},
    }
)
CHUNK = b'data: {"id":"c1","choices":[{"index":0,"delta":{"content":"word "},"finish_reason":null}]}\n\n'
LAST = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'


class Clock:
    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.now_s = self._loop.time
        self.wall_s = time.time

    def call_at(self, at_s: float, callback: object) -> asyncio.TimerHandle:
        return self._loop.call_at(at_s, callback)


class Stream:
    def pause(self) -> None: ...
    def resume(self) -> None: ...
    def abort(self) -> None: ...


class Target:
    origin = "https://up.test:443"

    def __init__(self, at: Place) -> None:
        self.spec = TargetSpec(name="up", at=at, model="m")
        self.chunks = 0

    def prepare(self, request: Request) -> Prepared:
        return Prepared(path="/chat/completions", body=request.body, is_stream=request.is_stream)

    def load(self) -> tuple[int, int]:
        return 0, 0

    def open(self, prepared: Prepared, sink: Sink, permit: Permit | None, receipt: Receipt | None) -> Stream:
        asyncio.get_running_loop().call_soon(self._answer, sink, prepared.is_stream)
        return Stream()

    def _answer(self, sink: Sink, is_stream: bool) -> None:
        if not is_stream:
            sink.head(200, {"content-type": "application/json"})
            sink.data(ANSWER)
        else:
            sink.head(200, {"content-type": "text/event-stream"})
            for _ in range(self.chunks):
                sink.data(CHUNK)
            sink.data(LAST)
        sink.ended()


class Caller:
    def begin(self, status: int, headers: Sequence[tuple[str, str]], *, is_stream: bool, length: int | None) -> None:
        assert status == 200

    def write(self, chunk: bytes) -> None: ...
    def finish(self) -> None: ...
    def cut(self) -> None:
        raise AssertionError("cut")

    def on_flow(self, pause: object, resume: object) -> None: ...


class Journal:
    encode = staticmethod(msgspec.json.Encoder().encode)

    def note(self, kind: str, entry: object) -> int:
        self.encode(entry)
        return 1

    async def permit(
        self, permit: Permit, *, body_bytes: int, labels: Sequence[str], region: str | None, replaced: object = None
    ) -> Receipt:
        self.encode((permit.request, permit.target, permit.digest, body_bytes, labels, region))
        return Receipt(1, permit.seal)


class Telemetry:
    def ended(self, outcome: object) -> None: ...
    def attempted(self, target: str, failure: str, took_s: float) -> None: ...
    def condition(self, target: str, condition: object) -> None: ...


def site(target: Target) -> flow.Site:
    return flow.Site(
        clock=Clock(),
        journal=Journal(),
        telemetry=Telemetry(),
        mint=Mint(b"k" * 32),
        targets={"up": target},
        names={"assistant": flow.ModelName("assistant", ("up",))},
        breakers={"up": Breaker(BreakerSettings())},
        speeds=Speeds(),
        spend=Spend("2026-01-01"),
        today=lambda: "2026-01-01",
        look=Look({"patterns": Patterns().find}) if "--patterns" in sys.argv else Look(),
    )


async def measure(at: Place, *, is_stream: bool, chunks: int, rounds: int) -> float:
    """µs of CPU per request."""
    target = Target(at)
    target.chunks = chunks
    where = site(target)
    loop = asyncio.get_running_loop()
    began_s = time.process_time()
    for number in range(rounds):
        request = Request(
            id=f"req-{number}",
            endpoint=Endpoint.CHAT,
            model="assistant",
            body=BODY % number,
            is_stream=is_stream,
            is_usage_asked=False,
            features=Features(250, 200),
            received_at_s=loop.time(),
        )
        await loop.create_task(flow.serve(request, Caller(), where))
    return (time.process_time() - began_s) / rounds * 1e6


def main() -> None:
    rounds = 2000
    profile = cProfile.Profile() if "--profile" in sys.argv else None
    for at in (Place.EDGE, Place.CLOUD):
        if profile:
            profile.enable()
        whole = [uvloop.run(measure(at, is_stream=False, chunks=0, rounds=rounds)) for _ in range(5)]
        if profile:
            profile.disable()
        few = [uvloop.run(measure(at, is_stream=True, chunks=1, rounds=rounds)) for _ in range(3)]
        many = [uvloop.run(measure(at, is_stream=True, chunks=101, rounds=rounds // 4)) for _ in range(3)]
        chunk_us = (statistics.median(many) - statistics.median(few)) / 100
        spread = f"{min(whole):.1f}-{max(whole):.1f}"
        print(f"{at}: {statistics.median(whole):.1f} µs a request ({spread}), {chunk_us:.2f} µs a chunk")
    if profile:
        pstats.Stats(profile).sort_stats("tottime").print_stats(35)


if __name__ == "__main__":
    main()
