"""One engine takes another's place while requests come: none fails, and the old one stays until the new one answers.

Where memory holds both, the new one is loaded beside the old one, which goes on serving. Where it does not, what the
old one has begun is served to its end, all else waits in its queue while the new one is loaded, and then goes over to
it. A new one that does not start or does not answer is given up, and the old one goes on.
"""

from __future__ import annotations

import asyncio
from typing import Final, Protocol

import msgspec

from ecotone.engines.asking import ask
from ecotone.engines.engine import Engine
from ecotone.engines.lifecycle import Event, State
from ecotone.engines.measuring import rate, trial
from ecotone.values import TargetError

__all__ = ["House", "prove", "replace"]

READY_S: Final = 120.0
"""Beyond what a start may take by itself: for other models that must make room."""

DRAIN_S: Final = 60.0
"""How long what the old one has begun may take where memory holds only one; then the switch is given up for now."""

SMOKE_S: Final = 30.0
"""Two short answers must be there within this time."""

SMOKE_TOKENS: Final = 16
_EMBEDDING: Final = b'{"input":"the quick brown fox"}'


class House(Protocol):
    """What a switch needs of the supervisor."""

    def must_fit(self, engine: Engine) -> None:
        """Finds that memory holds the engine, at least alone.

        Raises:
            TargetError: it does not.
        """

    def fits_beside(self, engine: Engine) -> bool:
        """Whether there is memory for the engine without unloading one that must stay."""

    async def next_change(self) -> None:
        """Something may have changed."""


async def replace(house: House, old: Engine, new: Engine) -> float:
    """See `Supervisor.replace`."""
    new.borrowed = old.tuned
    was_loaded = old.has_room
    old.is_kept = new.is_kept = True
    try:
        house.must_fit(new)
        if was_loaded and not house.fits_beside(new):
            await _make_way(house, old, new)
        tok_s = await prove(new)
    except BaseException:
        old.is_kept = False
        old.resume()
        if was_loaded:
            old.tell(Event.WANTED)
        raise
    finally:
        old.is_kept = new.is_kept = False
    old.hand_over(new)
    old.resume()
    return tok_s


async def prove(engine: Engine) -> float:
    """See `Supervisor.prove`."""
    await _ready(engine)
    return await _answering(engine)


async def _make_way(house: House, old: Engine, new: Engine) -> None:
    """The old engine is unloaded, and requests wait for the new one, whose file was found right before."""
    await new.check_file()
    old.pause()
    try:
        async with asyncio.timeout(DRAIN_S):
            while old.load()[0] or old.state is State.STARTING:
                await house.next_change()
    except TimeoutError as error:
        name = old.model.name
        raise TargetError("busy", f"{name}: requests took longer than {DRAIN_S:.0f} s, not switched now") from error
    old.tell(Event.UNLOAD)
    while old.state is State.DRAINING:
        await house.next_change()


async def _ready(new: Engine) -> None:
    """The new engine has started."""
    told: asyncio.Future[TargetError | None] = asyncio.get_running_loop().create_future()
    forget = new.when_ready(lambda error: None if told.done() else told.set_result(error))
    try:
        async with asyncio.timeout(READY_S + new.start_within_s):
            error = await told
    except TimeoutError as late:
        raise TargetError("engine_start", f"{new.model.name}: not ready in time") from late
    finally:
        forget()
    if error is not None:
        raise error


async def _answering(new: Engine) -> float:
    """Tokens a second of the new engine's first answers, which nobody waits for; 0 where it only embeds."""
    running = new.running
    if running is None:
        raise TargetError("engine_crashed", f"{new.model.name}: it died as soon as it was ready")
    try:
        async with asyncio.timeout(SMOKE_S):
            if new.model.embeddings:
                await ask(running.channel, "POST", "/v1/embeddings", running.key, _EMBEDDING)
                return 0.0
            return max([rate(await trial(running, SMOKE_TOKENS, seed))[1] for seed in (1, 2)])
    except TimeoutError as error:
        raise TargetError("engine_start", f"{new.model.name}: no answer within {SMOKE_S:.0f} s") from error
    except msgspec.DecodeError as error:
        raise TargetError("bad_answer", f"{new.model.name}: its first answer makes no sense") from error
