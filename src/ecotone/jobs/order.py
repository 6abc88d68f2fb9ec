"""Which job goes first, and when one that failed is tried again. Pure: instants are arguments, dice are passed."""

from __future__ import annotations

from typing import Final, Protocol

import msgspec

from ecotone.values.job import PRIORITY_MAX, Job

__all__ = ["AGEING_MS", "DEFER_MS_MAX", "STARVATION_MS_MAX", "Backoff", "Dice", "is_due", "pause_ms", "rank_ms"]

AGEING_MS: Final = 600_000
"""A job that waits gains one step of priority in this time, milliseconds."""

STARVATION_MS_MAX: Final = PRIORITY_MAX * AGEING_MS
"""The bound: no job goes before another one that was accepted this much earlier, milliseconds, whatever their
priorities."""

DEFER_MS_MAX: Final = 3_600_000
"""No job is put off for longer than this without being looked at again, milliseconds. One that seems to be shows that
the clock went back."""


class Dice(Protocol):
    """A seeded `random.Random`, as far as it is needed."""

    def random(self) -> float:
        """From 0 up to, not including, 1."""


def rank_ms(job: Job) -> int:
    """The place of a job in the order: the lowest goes first.

    All jobs age at the same rate, so which of two goes first never changes while they wait: `priority + waited /
    AGEING_MS` at any instant orders them as this number does, which an index can hold.
    """
    return job.created_at_ms - min(max(job.priority, 0), PRIORITY_MAX) * AGEING_MS


def is_due(not_before_ms: int, now_ms: int) -> bool:
    """Whether a waiting job may be looked at now."""
    return not_before_ms <= now_ms or not_before_ms > now_ms + DEFER_MS_MAX


class Backoff(msgspec.Struct, frozen=True):
    """How often a job is begun, and how long it rests in between.

    Attributes:
        attempts_max: So often it is begun; this also ends a job that kills whoever works on it.
        first_ms, most_ms: The pause after the first attempt; it doubles up to the most. Half of it is kept, the
            other half is jitter.
    """

    attempts_max: int = 8
    first_ms: int = 2_000
    most_ms: int = 600_000


def pause_ms(attempts: int, backoff: Backoff, dice: Dice, *, asked_ms: int = 0) -> int | None:
    """Milliseconds until a job that was begun `attempts` times is tried again; None: it is not.

    Args:
        asked_ms: What the target asked for (`Retry-After`); the pause is not shorter, within `DEFER_MS_MAX`.
    """
    if attempts >= backoff.attempts_max:
        return None
    full_ms = min(backoff.first_ms << max(attempts - 1, 0), backoff.most_ms)
    pause = round(full_ms * (0.5 + 0.5 * dice.random()))
    return max(pause, min(asked_ms, DEFER_MS_MAX))
