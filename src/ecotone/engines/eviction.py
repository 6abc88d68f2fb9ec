"""Which models to unload so that a needed one fits into memory, and which have been idle for too long. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec


class Loaded(msgspec.Struct, frozen=True, kw_only=True):
    """A model in memory, or about to be.

    Attributes:
        bytes: Measured where it runs, guessed where it starts.
        requests: At the worker and waiting for it.
        used_at_s: When the last request ended, or the model became ready.
        idle_unload_s: Seconds without a request after which it goes; 0 = never.
        is_settled: Ready: it may be unloaded. One that starts, measures or drains may not.
        is_going: It drains, or is being killed: its memory will be free.
    """

    name: str
    bytes: int
    requests: int
    used_at_s: float
    idle_unload_s: float = 0.0
    is_settled: bool = True
    is_going: bool = False

    @property
    def is_free(self) -> bool:
        """Whether it may be unloaded without harm to a request."""
        return self.is_settled and self.requests == 0


class Room(msgspec.Struct, frozen=True):
    """What to do for a model that is needed.

    Attributes:
        fits: It may start when `unload` are gone.
        unload: Idle models, the longest unused first; empty where even all of them would not make room.
        hold_back: Busy models that must take no further request so that the needed one gets its turn.
    """

    fits: bool
    unload: tuple[str, ...] = ()
    hold_back: tuple[str, ...] = ()


def make_room(needed_bytes: int, budget_bytes: int, loaded: Sequence[Loaded], *, is_starving: bool) -> Room:
    """What to unload for `needed_bytes` more.

    Never a model with requests. No more than needed: one that would fit again after a later, larger one went is kept.
    Where the idle ones do not suffice and `is_starving`, busy ones are named to be drained, the longest unused first.
    """
    over = sum(model.bytes for model in loaded) + needed_bytes - budget_bytes
    if over <= 0:
        return Room(fits=True)
    over -= sum(model.bytes for model in loaded if model.is_going)
    if over <= 0:  # what is going already will make room
        return Room(fits=False)
    order = sorted(loaded, key=lambda model: (model.used_at_s, model.name))
    free = [model for model in order if model.is_free]
    unload = _enough(over, free)
    if unload is not None:
        return Room(fits=True, unload=unload)
    if not is_starving:
        return Room(fits=False)
    busy = [model for model in order if model.is_settled and not model.is_free]
    hold_back = _enough(over - sum(model.bytes for model in free), busy)
    if hold_back is None:
        return Room(fits=False)
    return Room(fits=False, unload=tuple(model.name for model in free), hold_back=hold_back)


def _enough(over: int, order: Sequence[Loaded]) -> tuple[str, ...] | None:
    """The first of `order` that together have `over` bytes, without those that prove unnecessary; None: too few."""
    chosen: list[Loaded] = []
    for model in order:
        if over <= 0:
            break
        chosen.append(model)
        over -= model.bytes
    if over > 0:
        return None
    for model in tuple(chosen):
        if over + model.bytes <= 0:
            chosen.remove(model)
            over += model.bytes
    return tuple(model.name for model in chosen)


def idle(loaded: Sequence[Loaded], now_s: float) -> tuple[str, ...]:
    """Models that nobody has used for longer than they may stay."""
    return tuple(
        model.name
        for model in loaded
        if model.is_free and model.idle_unload_s > 0 and now_s - model.used_at_s >= model.idle_unload_s
    )
