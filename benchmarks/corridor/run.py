"""CPU of the corridor alone: `flow.serve` with a target, a caller and a ledger that do nothing, on uvloop.

    .venv/bin/python benchmarks/corridor/run.py [--patterns] [--profile] [--learning]

`--learning` measures instead what a learned decision adds, on the prompts of the routing benchmark: the same requests
at a name that promises a quality and at one that does not, in turns.

Prints µs of CPU per request for an answer in one piece and µs per chunk of a stream. No sockets: what is measured is
understanding, deciding, permits, the relay and the entries' encoding.
"""

from __future__ import annotations

import asyncio
import cProfile
import dataclasses
import pstats
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
import uvloop

from ecotone import flow
from ecotone.estimate import Speeds
from ecotone.flow.breaker import Breaker, BreakerSettings
from ecotone.flow.spend import Spend
from ecotone.learning import Lessons
from ecotone.policy import Mint
from ecotone.ports import Prepared, Sink
from ecotone.privacy import Look
from ecotone.privacy.patterns import Patterns
from ecotone.values import Endpoint, Features, Mode, Permit, Place, Receipt, Request, TargetSpec
from ecotone.values.quality import Comparison, Pair, QualityTerms, Role
from ecotone.wire.question import question

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


def learned(prompts: Sequence[str]) -> Lessons:
    """Lessons that have learned from six hundred pairs, as a site has after an hour."""
    lessons = Lessons(b"k" * 32)
    lessons.settle({"assistant": (QualityTerms(), {"small": "1"}, "1")})
    for number, prompt in enumerate(prompts[:600]):
        asked = question(Endpoint.CHAT, body(prompt, number), model="assistant", key="")
        pair = Pair(
            request=str(number), model="assistant", target="small", reference="up",
            comparison=Comparison(gap=float(len(prompt) % 3 == 0), checker="match"), role=Role.LEARN,
        )  # fmt: skip
        lessons.add(pair, lessons.read(asked))
    for model, target in lessons.due():
        lessons.recalibrate(model, target, 0)
    return lessons


def body(prompt: str, number: int) -> bytes:
    """One chat request about something."""
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": prompt}]
    return msgspec.json.encode({"model": "assistant", "messages": messages, "seed": number})


async def compare(prompts: Sequence[str], lessons: Lessons | None, bodies: Sequence[bytes]) -> list[float]:
    """µs of CPU of each request."""
    cloud, edge = Target(Place.CLOUD), Target(Place.EDGE)
    edge.spec = TargetSpec(name="small", at=Place.EDGE, model="s")
    where = dataclasses.replace(
        site(cloud),
        targets={"small": edge, "up": cloud},
        names={"assistant": flow.ModelName("assistant", ("small", "up"), Mode.CLOUD if lessons is None else Mode.AUTO)},
        breakers={"small": Breaker(BreakerSettings()), "up": Breaker(BreakerSettings())},
        learning=lessons,
    )
    loop = asyncio.get_running_loop()
    took: list[float] = []
    for number, one in enumerate(bodies):
        request = Request(
            id=f"req-{number}", endpoint=Endpoint.CHAT, model="assistant", body=one, is_stream=False,
            is_usage_asked=False, features=Features(250, 200), received_at_s=loop.time(), seed=number,
        )  # fmt: skip
        began_s = time.thread_time()
        await loop.create_task(flow.serve(request, Caller(), where))
        took.append((time.thread_time() - began_s) * 1e6)
    return took


def learning(path: Path) -> None:
    """What a learned decision adds to a request."""
    if path.is_file():
        import pyarrow.parquet

        prompts = pyarrow.parquet.read_table(path, columns=["prompt"])["prompt"].to_pylist()[:3000]
    else:
        print(f"{path} is not there: made prompts in its place", file=sys.stderr)
        words = SAID.decode().split()
        prompts = [" ".join(words[number % 7 : 12 + number % 90]) + f" {number}?" for number in range(3000)]
    lessons = learned(prompts)
    bodies = [body(prompt, number) for number, prompt in enumerate(prompts[600:])]
    plain = [uvloop.run(compare(prompts, None, bodies)) for _ in range(3)]
    taught = [uvloop.run(compare(prompts, lessons, bodies)) for _ in range(3)]
    without = [min(each) for each in zip(*plain, strict=True)]
    extra = sorted(min(each) - base for each, base in zip(zip(*taught, strict=True), without, strict=True))
    p50, p99 = extra[len(extra) // 2], extra[int(len(extra) * 0.99)]
    median = statistics.median(without)
    print(f"without: {median:.0f} µs a request; a learned decision adds {p50:.0f} µs (p50), {p99:.0f} µs (p99)")


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
    if "--learning" in sys.argv:
        learning(Path(__file__).parents[3] / "shared/data/routing/llmrouter_9models.parquet")
        return
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
