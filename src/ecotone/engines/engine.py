"""One model: its queue, its worker and the life of both. The supervisor owns all engines; targets put requests in."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import enum
from collections.abc import Callable, Sequence
from random import Random
from typing import Any, Final, Protocol

from ecotone.engines.child import Worker
from ecotone.engines.eviction import Loaded
from ecotone.engines.launching import Launch, Running, launch
from ecotone.engines.leftovers import Leftovers
from ecotone.engines.lifecycle import Deaths, Effect, Event, Patience, State, step
from ecotone.engines.machine import Machine
from ecotone.engines.needs import Channel, Hold, Progress
from ecotone.engines.settings import Model, Tuned, guess_bytes
from ecotone.engines.tally import Tally
from ecotone.engines.tuning import Measured
from ecotone.values import EcotoneError, TargetError, TrustError

WAIT_MAX_S: Final = 1.0
"""A request waits for a restart that is due within this time; else it fails at once, with `retry_after_s`."""

WORK_MIN: Final = 0.02
"""Share of a core that a working engine uses at least; one that is stopped or locked up uses none. (A worker that
waits for its model's pages from a slow disk works as well.)"""

DOUBT_S: Final = 0.25
"""After a broken connection nothing is sent for so long: the death of the worker is told some milliseconds later."""


class Leaving(enum.Enum):
    """How a request ends: served or never sent; its caller gone in mid-answer, or in prefill, where the worker does
    not notice; the connection closed by the worker, which is probably dead."""

    DONE = enum.auto()
    IN_ANSWER = enum.auto()
    IN_PREFILL = enum.auto()
    BROKEN = enum.auto()


class Seat(Protocol):
    """A request, as the engine sees it: `target.Attempt`."""

    def go(self, channel: Channel, key: str) -> None:
        """A slot is free and the worker ready: send."""

    def lose(self, error: TargetError) -> None:
        """The engine cannot serve it."""

    def move(self, engine: Engine) -> None:
        """Another engine will serve it; it was never sent."""


class World(Protocol):
    """What an engine needs of its supervisor."""

    machine: Machine
    launch: Launch
    patience: Patience
    dice: Random
    progress: Progress

    async def room(self, engine: Engine) -> None:
        """Returns when there is memory for the engine.

        Raises:
            TargetError: there will be none (`engine_start`).
        """

    def changed(self, engine: Engine, event: Event | None) -> None:
        """The engine's state or load changed."""

    def tally(self, digest: str) -> Tally:
        """The counts of a model file, the same for as long as the process lives."""

    def mourn(self, end: asyncio.Future[Any]) -> None:
        """Something was told to end: a killed worker, a cancelled task. The supervisor waits for it before it ends."""

    async def measure(self, model: Model, hold: Hold) -> Measured | None:
        """Measures settings for the model and keeps them; None where that was not possible.

        Raises:
            TrustError: the digest is wrong.
        """


class Engine:
    """One model. All its methods are called from the event loop.

    Attributes:
        state: Where it is in `lifecycle.TABLE`.
        measured: What was measured of this model on this machine, if anything was.
        used_at_s: When the last request ended, or the model became ready.
        heard_at_s: The last sign of life of the worker.
        starts, crashes, recycled: Counts.
        why: The last failure, in words.
        tally: Counts of what its file did, over all engines of it.
        borrowed: Settings of the engine that it replaces: it runs with them until it was measured itself.
        is_kept: It may not be unloaded in favour of another: it is part of a switch (see `switching`).
    """

    def __init__(self, model: Model, hold: Hold, world: World, measured: Measured | None = None) -> None:
        """Nothing is started before something is wanted."""
        self.model = model
        self.state = State.STOPPED
        self.measured = measured
        self.used_at_s = 0.0
        self.heard_at_s = 0.0
        self.starts = self.crashes = self.recycled = 0
        self.why = ""
        self.tally = world.tally(model.digest + model.adapter_digest)
        self.borrowed: Tuned | None = None
        self.is_kept = False
        self.running: Running | None = None
        self.has_room = False
        self._hold = hold
        self._world = world
        self._loop = asyncio.get_running_loop()
        self._active: set[Seat] = set()
        self._waiting: collections.deque[Seat] = collections.deque()
        self._doubt_until_s = 0.0
        self._work_s = self._work_at_s = 0.0
        self._probes: list[Callable[[TargetError | None], None]] = []
        self._deaths = Deaths(world.patience, world.dice)
        self._error = TargetError("engine_start", f"{model.name}: not started")
        self._due: asyncio.TimerHandle | None = None
        self._due_at_s = 0.0
        self._task: asyncio.Task[None] | None = None
        self._leftovers = Leftovers(self, world.launch.limits.prefill_grace_s, world.mourn)
        self._rss_bytes = 0
        self._is_closing = False
        self._is_paused = False

    # What targets call.

    def load(self) -> tuple[int, int]:
        """(requests at the worker, requests waiting)."""
        return len(self._active) + self._leftovers.count, len(self._waiting)

    def enter(self, seat: Seat) -> None:
        """Gives the request a slot as soon as one is free and the worker is ready, first come first served.

        A full queue, or an engine that cannot start soon, loses it; never before this returns.
        """
        if len(self._active) + self._leftovers.count + len(self._waiting) >= self.model.slots + self.model.queue_max:
            busy = TargetError("busy", f"{self.model.name}: {len(self._waiting)} requests are waiting", status=503)
            self._loop.call_soon(seat.lose, busy)
            return
        late = self._late()
        if late is not None:
            self._loop.call_soon(seat.lose, late)
            return
        self._waiting.append(seat)
        self.used_at_s = self._loop.time()
        if self.state is State.READY:
            self._admit()
        elif not self._is_paused:
            self._loop.call_soon(self.tell, Event.WANTED)

    def leave(self, seat: Seat, how: Leaving = Leaving.DONE) -> None:
        """The request is over, served or not."""
        with contextlib.suppress(ValueError):
            self._waiting.remove(seat)
        if seat not in self._active:
            return
        self._active.discard(seat)
        self.used_at_s = self._loop.time()
        if how is Leaving.BROKEN:
            self._doubt_until_s = self.used_at_s + DOUBT_S
            self._loop.call_later(DOUBT_S, self.freed)
        if how is Leaving.IN_PREFILL:
            self._leftovers.add()
        elif how is Leaving.IN_ANSWER:
            self._leftovers.suspect()
        self.freed()

    def when_ready(self, tell: Callable[[TargetError | None], None]) -> Callable[[], None]:
        """Starts the engine if need be, and tells once how that went. Returns what cancels the telling."""
        self._probes.append(tell)
        if self.state is State.READY:
            self._loop.call_soon(self._tell_probes)
        elif not self._is_paused:
            self._loop.call_soon(self.tell, Event.WANTED)

        def forget() -> None:
            with contextlib.suppress(ValueError):
                self._probes.remove(tell)

        return forget

    def silent_s(self) -> float:
        """Seconds since the worker's last sign of life: a byte, or work. Looked at now."""
        now_s = self._loop.time()
        if self.running is not None:
            work_s = self.running.worker.work_s()
            if work_s - self._work_s >= WORK_MIN * (now_s - self._work_at_s):
                self.heard_at_s = now_s
            self._work_s, self._work_at_s = work_s, now_s
        return now_s - self.heard_at_s

    def heard(self) -> None:
        """The worker gave a sign of life."""
        self.heard_at_s = self._loop.time()

    def served(self) -> int:
        """Requests at the worker whose callers are there."""
        return len(self._active)

    # What a switch calls.

    def pause(self) -> None:
        """No request is sent to the worker any more, and none starts it: they wait. `resume` ends that."""
        self._is_paused = True

    def resume(self) -> None:
        """Goes on as if there had been no pause."""
        self._is_paused = False
        if self.state is State.READY:
            self._admit()
        else:
            self._see_who_waits()

    def hand_over(self, other: Engine) -> None:
        """Whoever waits here, waits there from now on, in the same order."""
        waiting, self._waiting = self._waiting, collections.deque()
        probes, self._probes = self._probes, []
        other.take_over(waiting, probes)

    def take_over(self, waiting: Sequence[Seat], probes: Sequence[Callable[[TargetError | None], None]]) -> None:
        """See `hand_over`. They had their places: a full queue turns none of them away."""
        for seat in waiting:
            seat.move(self)
        self._waiting.extend(waiting)
        self._probes.extend(probes)
        self.resume()

    async def check_file(self) -> None:
        """Finds the model file to be what it should be; takes as long as reading it.

        Raises:
            TrustError: its digest is wrong.
            EcotoneError: it cannot be read.
        """

        def check() -> None:
            with self._hold():
                pass

        await asyncio.to_thread(check)

    # What the supervisor calls.

    @property
    def requests(self) -> int:
        """All requests, waiting ones included."""
        return len(self._active) + self._leftovers.count + len(self._waiting)

    @property
    def start_within_s(self) -> float:
        """Seconds that a start may take."""
        return self._world.launch.limits.start_within_s(self.model.file_bytes)

    @property
    def tuned(self) -> Tuned:
        """The settings that it runs with, or would."""
        default = self.borrowed or Tuned(threads=self._world.machine.threads)
        return self.model.settled(default if self.measured is None else self.measured.tuned)

    def needed_bytes(self) -> int:
        """Memory that it will take: as seen before, else guessed."""
        seen = self._rss_bytes or (0 if self.measured is None else self.measured.best.rss_bytes)
        return seen or guess_bytes(self.model)

    def rss_bytes(self) -> int:
        """The worker's resident memory now; 0 without one."""
        if self.running is None:
            return 0
        found = self.running.worker.rss_bytes()
        self._rss_bytes = max(found, self._rss_bytes)
        self.tally.weighed(found)
        return found

    def loaded(self) -> Loaded | None:
        """How it counts against the memory budget; None where it holds none."""
        if not self.has_room:
            return None
        return Loaded(
            name=self.name,
            bytes=self.rss_bytes() or self.needed_bytes(),
            requests=self.requests,
            used_at_s=self.used_at_s,
            idle_unload_s=self.model.idle_unload_s,
            is_settled=self.state is State.READY and not self.is_kept,
            is_going=self.state is State.DRAINING,
        )

    @property
    def name(self) -> str:
        """Names it among all engines: two settings of one model are two engines."""
        return f"{self.model.name}#{id(self):x}"

    def tell(self, event: Event) -> None:
        """Something happened: takes the step in the table and does what it says."""
        self.state, effects = step(self.state, event)
        if event is Event.DUE:
            self._due = None
        for effect in effects:
            self._effects[effect](self)
        self._world.changed(self, event)

    def recycle(self, why: str) -> None:
        """Replaces the worker: it hangs, or works for nobody."""
        self.recycled += 1
        self.why = why
        self._error = TargetError("engine_crashed", f"{self.model.name}: {why}; it is being restarted")
        self.tell(Event.RECYCLE)

    def close(self) -> None:
        """Stops at once: requests fail, the worker is killed. The supervisor waits until it is reaped."""
        self._error = TargetError("engine_crashed", f"{self.model.name}: the gateway is stopping")
        self._is_closing = True
        if self._due is not None:
            self._due.cancel()
        self._kill()
        self._fail_active()
        self._fail_waiting()
        self.state = State.STOPPED

    # Requests.

    def _late(self) -> TargetError | None:
        """Why a request need not wait: the next start is too far away."""
        if self._is_closing:
            return TargetError("engine_crashed", f"{self.model.name}: the gateway is stopping")
        due_in_s = self._due_at_s - self._loop.time()
        if self.state not in (State.BACKING_OFF, State.CRASHED, State.REFUSED) or due_in_s <= WAIT_MAX_S:
            return None
        return TargetError(self._error.code, self._error.message, retry_after_s=due_in_s)

    def _admit(self) -> None:
        """Sends as many waiting requests as there are free slots."""
        assert self.running is not None
        if self._loop.time() < self._doubt_until_s or self._is_paused:
            return
        if not self._active:
            self.heard_at_s = self._loop.time()
        while self._waiting and len(self._active) + self._leftovers.count < self.model.slots:
            seat = self._waiting.popleft()
            self._active.add(seat)
            seat.go(self.running.channel, self.running.key)
        self._tell_probes()

    def freed(self) -> None:
        """A slot became free."""
        if self.state is State.READY:
            self._admit()
        elif self.state is State.DRAINING and not self._active and not self._leftovers.count:
            self._loop.call_soon(self.tell, Event.DRAINED)
        self._world.changed(self, None)

    def _tell_probes(self, error: TargetError | None = None) -> None:
        probes, self._probes = self._probes, []
        for tell in probes:
            tell(error)

    # Effects.

    def _kill(self) -> None:
        running, self.running = self.running, None
        if running is not None:
            running.stop()
            self._world.mourn(running.worker.gone)
        if self._task is not asyncio.current_task():
            self._stop_task()
        self._leftovers.forget()
        self._doubt_until_s = 0.0
        self.has_room = False

    def _spawn(self) -> None:
        self._task = self._loop.create_task(self._start())

    def _measure(self) -> None:
        self._task = self._loop.create_task(self._find_settings())

    def _stop_task(self) -> None:
        if self._task is not None:
            self._task.cancel()
            self._world.mourn(self._task)
            self._task = None
        self.has_room = False

    def _fail_active(self) -> None:
        active, self._active = self._active, set()
        for seat in active:
            seat.lose(self._error)

    def _fail_waiting(self) -> None:
        waiting, self._waiting = self._waiting, collections.deque()
        for seat in waiting:
            seat.lose(self._error)
        self._tell_probes(self._error)

    def _back_off(self) -> None:
        self._set_due(self._deaths.pause_s(self._loop.time()))

    def _rest(self) -> None:
        self._deaths.forget()
        self._set_due(self._world.patience.rest_s)

    def _set_due(self, pause_s: float) -> None:
        if self._due is not None:
            self._due.cancel()
        self._due_at_s = self._loop.time() + pause_s
        self._due = self._loop.call_later(pause_s, self.tell, Event.DUE)

    def _drain(self) -> None:
        self.freed()

    def _see_who_waits(self) -> None:
        if (self._waiting or self._probes) and not self._is_paused:
            self._loop.call_soon(self.tell, Event.WANTED)

    _effects: Final[dict[Effect, Callable[[Engine], None]]] = {
        Effect.KILL: _kill,
        Effect.SPAWN: _spawn,
        Effect.MEASURE: _measure,
        Effect.STOP_MEASURING: _stop_task,
        Effect.ADMIT: _admit,
        Effect.FAIL_ACTIVE: _fail_active,
        Effect.FAIL_WAITING: _fail_waiting,
        Effect.BACK_OFF: _back_off,
        Effect.REST: _rest,
        Effect.DRAIN: _drain,
        Effect.SETTLE: _see_who_waits,
    }

    # Starting.

    async def _start(self) -> None:
        """From room in memory to a worker that is ready; each failure becomes an event."""
        began_s = self._loop.time()
        try:
            await self._world.room(self)
            self.has_room = True
            self.starts += 1
            self.running = await self._launch()
        except TrustError as error:
            self._refuse(error)
        except (EcotoneError, OSError) as error:
            self.why = error.message if isinstance(error, EcotoneError) else str(error)
            self._error = TargetError("engine_start", f"{self.model.name}: {self.why}")
            self.tell(self._deaths.add(self._loop.time()))
        else:
            self.used_at_s = self._loop.time()
            self._world.progress(f"{self.model.name}: ready in {self._loop.time() - began_s:.2f} s")
            self.tell(Event.STARTED)

    async def _launch(self) -> Running:
        """A ready worker. A file that was touched meanwhile (linked by a backup) is checked and loaded once more."""
        for last in (False, False, True):
            try:
                return await launch(self._world.launch, self.model, self.tuned, self._hold, self._lost)
            except TrustError as error:
                if last or error.code != "asset.changed":
                    raise
        raise AssertionError("the last turn returns or raises")

    async def _find_settings(self) -> None:
        try:
            await self._world.room(self)
            self.has_room = True
            self.measured = await self._world.measure(self.model, self._hold) or self.measured
        except TrustError as error:
            self._refuse(error)
            return
        except TargetError as error:
            self._world.progress(f"{self.model.name}: not measured: {error.message}")
        self.has_room = False
        self.tell(Event.MEASURED)

    def _refuse(self, error: TrustError) -> None:
        self.why = error.message
        self.has_room = False
        self._error = TargetError("engine_start", f"{self.model.name}: refused: {error.message}")
        self.tell(Event.DIGEST_WRONG)

    def _lost(self, worker: Worker) -> None:
        """The worker is dead and reaped."""
        if self.running is None or self.running.worker is not worker:
            return  # we killed it
        self.crashes += 1
        self.tally.crashed()
        self.why = worker.why()
        self._error = TargetError("engine_crashed", f"{self.model.name}: the engine died ({self.why})")
        self.tell(self._deaths.add(self._loop.time()))
