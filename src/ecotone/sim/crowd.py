"""A crowd before one target of known capacity, on virtual time: what it gets done when too many come."""

from __future__ import annotations

import asyncio
from collections import Counter
from random import Random

import msgspec

from ecotone.flow.admission import Load
from ecotone.sim.scripted import ScriptedTarget, Stage, Step, stream
from ecotone.sim.world import MadeCaller
from ecotone.values import Place


class Crowd(msgspec.Struct, frozen=True, kw_only=True):
    """Who comes, and to what.

    Attributes:
        rate: Requests per second that come, a Poisson process; of each, one key.
        seconds: How long they come.
        slots, service_s: The target's capacity is slots / service_s requests per second.
        spread: Shape of the service times (gamma): 1 = exponential, large = all alike.
        deadline_s: Each caller's.
        shares: Keys, and how much of the rate each sends.
        retries: How often a caller that is refused comes back when it was told to.
    """

    rate: float
    seconds: float = 240.0
    slots: int = 4
    service_s: float = 1.0
    spread: float = 4.0
    queue_max: int = 256
    wait_s_max: float = 30.0
    deadline_s: float | None = 10.0
    shares: dict[str, float] = msgspec.field(default_factory=lambda: {"": 1.0})
    retries: int = 0


class Tally(msgspec.Struct):
    """What became of them.

    Attributes:
        good: Answered within the deadline, by key.
        refused_at_once: Told to come back within a millisecond.
        late: Neither: their time was wasted.
        firsts_s: For each key, the time to its answer of each request that was answered.
        tries: How often each caller that was served had come.
        wasted: Attempts at the target that were stopped before their end.
    """

    came: int = 0
    good: Counter[str] = msgspec.field(default_factory=Counter)
    refused_at_once: int = 0
    late: int = 0
    firsts_s: dict[str, list[float]] = msgspec.field(default_factory=dict)
    tries: Counter[int] = msgspec.field(default_factory=Counter)
    wasted: int = 0


def run(crowd: Crowd, seed: int) -> Tally:
    """Lets the crowd come, and waits until the last has gone. The same seed, the same crowd."""
    rng = Random(seed)  # noqa: S311 - a made world, not a secret
    target = ScriptedTarget("edge", *_scripts(crowd, rng), at=Place.EDGE, slots=crowd.slots, queue_max=crowd.queue_max)
    stage = Stage(target, load=Load(crowd.wait_s_max))
    tally = Tally()
    try:
        stage.loop.run_until_complete(_live(crowd, stage, rng, tally))
        tally.wasted = target.aborted
        left = stage.left_over()
    finally:
        stage.close()
    assert not left, left
    return tally


def _scripts(crowd: Crowd, rng: Random) -> list[tuple[Step, ...]]:
    """Answers of several words; enough of them that none comes twice soon."""
    words, draws = 6, 4096
    times_s = [rng.gammavariate(crowd.spread, crowd.service_s / crowd.spread) for _ in range(draws)]
    return [stream(*("word " * words).split(), gap_s=time_s / (words + 2)) for time_s in times_s]


async def _live(crowd: Crowd, stage: Stage, rng: Random, tally: Tally) -> None:
    tasks, end_s = [], stage.loop.now_s + crowd.seconds
    keys, weights = list(crowd.shares), list(crowd.shares.values())
    while stage.loop.now_s < end_s:
        await asyncio.sleep(rng.expovariate(crowd.rate))
        tasks.append(asyncio.ensure_future(_come(crowd, stage, rng.choices(keys, weights)[0], tally)))
    await asyncio.gather(*tasks)


async def _come(crowd: Crowd, stage: Stage, key: str, tally: Tally) -> None:
    """One caller, who comes back as often as it may when it is told to."""
    tally.came += 1
    for tried in range(1, crowd.retries + 2):
        began_s, caller = stage.loop.now_s, MadeCaller()
        deadline_at_s = None if crowd.deadline_s is None else began_s + crowd.deadline_s
        outcome = await stage.serving(stage.request(key=key, deadline_at_s=deadline_at_s), caller=caller)
        took_s = stage.loop.now_s - began_s
        if outcome.ending == "answered":
            tally.good[key] += 1
            tally.tries[tried] += 1
            tally.firsts_s.setdefault(key, []).append(took_s)
            return
        if caller.status != 429 or took_s > 0.001:
            tally.late += 1
            return
        if tried <= crowd.retries:
            await asyncio.sleep(float(caller.headers["retry-after"]))
    tally.refused_at_once += 1
