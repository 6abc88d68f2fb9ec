"""A joined site's two conversations with its hub: is there anything new, and this is how I am.

Both go on for ever, whatever the hub does. A hub that is silent, gone or wrong costs the site nothing: each try has its
limit, the pauses between tries grow to some minutes, and what waits for the link's return begins at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any, Final, Literal, Protocol

import msgspec

from ecotone.agent.outbox import Counts, Make, Outbox, Waiting
from ecotone.values import EcotoneError, RefusalError, TargetError

__all__ = ["Habits", "Line", "Talk", "ago", "instant"]

PAUSE_S_MIN: Final = 1.0
PAUSE_S_MAX: Final = 300.0
HELD_S: Final = 30.0
"""So often it is looked whether policy, a window or a budget lets messages go again."""
SETTLE_S: Final = 1.0
"""Changes that come together are told together."""
GAP_S: Final = 5.0
"""Between two reports of changes at least."""
QUICK_S: Final = 1.0
"""A hub that answers sooner than this does not hold its answer back: the next question waits, longer each time."""
QUICK_S_MAX: Final = 60.0
SEQ_STEP_MAX: Final = 1 << 24
"""A hub that claims to know reports so far ahead of ours is not believed: numbers have an end."""
GENERATION_STEP_MAX: Final = 1 << 20
"""So far above what was verified a hub may announce; it believes a site as far (`hub.wishes.FLOOR_STEP_MAX`), and its
next wish is above that. What says more is not believed: nobody has signed it, and the site would wait for ever."""
LONG_S: Final = 3600.0
"""A hub that was not heard for so long is worth a line in the log, and another one each day."""
DAY_S: Final = 86_400.0

State = Literal["starting", "up", "down", "refused", "held"]
"""`refused`: the hub does not know this site's key, or has revoked it. `held`: policy, a window, a budget or
ECOTONE_NO_CLOUD keeps messages here."""

log = logging.getLogger("ecotone.hub")


def instant(wall_s: float) -> str:
    """A time as a person reads it, UTC."""
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(wall_s))


def ago(seconds: float) -> str:
    """How long ago something was, in words."""
    if seconds < 120:
        return f"{max(0.0, seconds):.0f} s ago"
    minutes = seconds / 60
    return f"{minutes:.0f} min ago" if minutes < 120 else f"{minutes / 60:.0f} h ago"


class Line(Protocol):
    """What `agent.link.Link` does."""

    def desired(self, after: int, wait_s: float) -> Awaitable[int | None]:
        """See `Link.desired`."""

    def report(self, raws: list[bytes]) -> Awaitable[tuple[int, int]]:
        """See `Link.report`."""

    def forget(self) -> None:
        """See `Link.forget`."""


class Habits(msgspec.Struct, frozen=True, kw_only=True):
    """How often is talked.

    Attributes:
        is_reporting: Whether reports go at all.
        every_s: Between two reports where nothing changes.
        bytes_per_day: Most that reports take in a UTC day, as they are written, before they are packed.
        wait_s: How long the hub may hold back its answer.
        pause_s: Between two questions.
    """

    is_reporting: bool = True
    every_s: float = 900.0
    bytes_per_day: int = 2_000_000
    wait_s: float = 55.0
    pause_s: float = 0.0


class Times(Protocol):
    """Time."""

    def now_s(self) -> float:
        """Monotonic seconds."""

    def wall_s(self) -> float:
        """Unix seconds; may jump."""


class Talk:
    """See the module.

    Attributes:
        generation: The newest that the hub has told of; its signature has yet to be looked at.
        state, why: How it stands with the hub, and the code of what is wrong.
    """

    def __init__(self, line: Line, outbox: Outbox, look: Callable[[], Make], times: Times, dice: Random) -> None:
        """Says nothing yet.

        Args:
            look: Takes in how the site is now, on the loop; what it gives then writes the report, in a thread.
            dice: For the pauses.
        """
        self.generation = 0
        self.state: State = "starting"
        self.why = ""
        self.on_news: Callable[[int], None] = lambda _: None
        self.verified: Callable[[], int] = lambda: 0
        self.habits: Callable[[], Habits] = Habits
        self._line, self._outbox, self._look, self._times, self._dice = line, outbox, look, times, dice
        self._heard_s = times.now_s()
        self._heard_wall_s: float | None = None
        self._acked_wall_s: float | None = None
        self._told_s = self._heard_s
        self._is_told = False
        self._stir = asyncio.Event()
        self._changed = asyncio.Event()
        self._failures = 0
        self._counts = Counts()
        self._outbox_failure = ""
        self._day, self._day_bytes, self._is_over_budget = 0, 0, False

    # What others call.

    def stir(self) -> None:
        """The link is back: nobody waits any longer before the next try."""
        self._stir.set()

    def changed(self) -> None:
        """Something of which the hub should know soon."""
        self._changed.set()

    @property
    def waiting(self) -> int:
        """Reports that have not gone."""
        return self._counts.waiting

    def status(self) -> dict[str, Any]:
        """For `ecotone status`."""
        now_s = self._times.now_s()
        counts = self._counts
        return {
            "state": self.state,
            "why": self.why or None,
            "heard_ago_s": None if self._heard_wall_s is None else round(now_s - self._heard_s, 1),
            "last_ack": None if self._acked_wall_s is None else instant(self._acked_wall_s),
            "outbox": {
                "waiting": counts.waiting,
                "waiting_bytes": counts.bytes,
                "dropped": counts.dropped,
                "last_seq": counts.last_seq,
                "acked_seq": counts.acked_seq,
                "is_over_budget": self._is_over_budget,
                "failure": self._outbox_failure or None,
            },
        }

    def troubles(self) -> list[str]:
        """What an operator should look at."""
        found = []
        silent_s = self._times.now_s() - self._heard_s
        if self.state == "refused":
            found.append(f"the hub does not take this site ({self.why}): `ecotone enroll URL TOKEN` with a new token")
        elif self.state == "down" and silent_s > LONG_S:
            found.append(f"the hub was not heard for {silent_s / 3600:.0f} h ({self.why}): what runs goes on")
        if self._outbox_failure:
            found.append(f"reports to the hub cannot be kept: {self._outbox_failure}")
        return found

    async def watch(self) -> None:
        """Asks for news for ever."""
        quick = 0
        while True:
            habits = self.habits()
            began_s = self._times.now_s()
            try:
                found = await self._line.desired(self.generation, habits.wait_s)
                if found is not None and found > self.verified() + GENERATION_STEP_MAX:
                    raise TargetError("bad_answer", f"the hub announces {found}: no hub has come so far")
            except (TargetError, RefusalError) as error:
                await self._rest(self._failed(error))
                continue
            self._heard()
            if found is not None and found > self.generation:
                self.generation = found
                self.on_news(found)
            quick = quick + 1 if self._times.now_s() - began_s < QUICK_S else 0
            pause_s = min(QUICK_S * 2.0 ** min(quick - 1, 20), QUICK_S_MAX) if quick else 0.0
            await self._rest(max(habits.pause_s, pause_s))

    async def report(self) -> None:
        """Reports for ever: at the start, at each change, and now and then."""
        due_s = self._times.now_s()
        self._changed.set()
        while True:
            habits = self.habits()
            is_change = self._changed.is_set()
            if habits.is_reporting and (is_change or self._times.now_s() >= due_s):
                if is_change:
                    await asyncio.sleep(SETTLE_S)
                self._changed.clear()
                await self._write("state" if is_change else "level")
                due_s = self._times.now_s() + habits.every_s
            pause_s = await self._send() if habits.is_reporting else HELD_S
            left_s = max(0.0, due_s - self._times.now_s()) if habits.is_reporting else HELD_S
            await asyncio.sleep(min(GAP_S, left_s))
            await self._rest(max(0.0, min(pause_s, left_s) - GAP_S), self._changed)

    # Within.

    async def _write(self, kind: Literal["state", "level"]) -> None:
        """A report waits; where the disk refuses, the next one is tried."""
        try:
            await asyncio.to_thread(self._outbox.put, self._look(), kind, self._times.wall_s())
            self._counts = await asyncio.to_thread(self._outbox.counts)
            self._outbox_failure = ""
        except EcotoneError as error:
            self._outbox_failure = error.message

    async def _send(self) -> float:
        """Sends what waits, the oldest first; how long to wait before the next try."""
        while True:
            try:
                waiting = await asyncio.to_thread(self._outbox.unsent)
                if not waiting:
                    return self.habits().every_s
                if self._is_spent(waiting):
                    self._is_over_budget = True
                    return HELD_S
                self._is_over_budget = False
                await asyncio.to_thread(self._outbox.sending, waiting, self._times.wall_s())
                self._day_bytes += sum(len(one.raw) for one in waiting)
                acked, entry = await self._line.report([one.raw for one in waiting])
                if not waiting[0].seq <= acked <= waiting[-1].seq + SEQ_STEP_MAX:
                    raise TargetError("bad_answer", f"the hub acknowledges report {acked} of {waiting[-1].seq}")
                await asyncio.to_thread(self._outbox.acked, acked, entry)
                self._counts = await asyncio.to_thread(self._outbox.counts)
            except (TargetError, RefusalError) as error:
                return self._failed(error)
            except EcotoneError as error:
                self._outbox_failure = error.message
                return HELD_S
            self._heard()
            self._acked_wall_s = self._times.wall_s()
            if acked > waiting[-1].seq and len(waiting) == 1:
                # The hub has newer ones of a time that this store has forgotten: what is told now goes above them.
                self._changed.set()

    def _is_spent(self, waiting: list[Waiting]) -> bool:
        """Whether the day's bytes are used up; one report may always go. A clock that is set back begins no new day."""
        day = int(self._times.wall_s() // DAY_S)
        if day > self._day:
            self._day, self._day_bytes = day, 0
        return self._day_bytes > 0 and self._day_bytes + len(waiting[0].raw) > self.habits().bytes_per_day

    def _heard(self) -> None:
        """The hub has spoken."""
        now_s = self._times.now_s()
        if self._is_told:
            log.info("the hub is heard again, after %.1f h", (now_s - self._heard_s) / 3600)
        self._is_told = False
        self._heard_s = self._told_s = now_s
        self._heard_wall_s = self._times.wall_s()
        self._failures = 0
        self.state, self.why = "up", ""

    def _failed(self, error: TargetError | RefusalError) -> float:
        """Takes a failure in; how long to wait before the next try, seconds."""
        now_s = self._times.now_s()
        self.why = error.code
        if isinstance(error, RefusalError):
            self.state = "held"
            return HELD_S
        self._line.forget()
        is_refused = error.code in ("unauthorised", "forbidden", "no_model")
        if is_refused and self.state != "refused":
            log.warning("the hub does not take this site: %s", error.message)
        self.state = "refused" if is_refused else "down"
        since_s = now_s - self._told_s
        if since_s > (DAY_S if self._is_told else LONG_S):
            self._is_told, self._told_s = True, now_s
            log.warning("the hub was not heard for %.1f h: %s", (now_s - self._heard_s) / 3600, error.message)
        self._failures += 1
        pause_s = min(PAUSE_S_MAX, PAUSE_S_MIN * 2.0 ** min(self._failures, 20)) * self._dice.uniform(0.5, 1.0)
        return max(pause_s, error.retry_after_s or 0.0)

    async def _rest(self, pause_s: float, also: asyncio.Event | None = None) -> None:
        """Waits, and no longer where the link is back, or `also` is set."""
        if pause_s <= 0:
            return
        waits = [asyncio.ensure_future(event.wait()) for event in (self._stir, also) if event is not None]
        try:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait(waits, timeout=pause_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in waits:
                one.cancel()
        self._stir.clear()
