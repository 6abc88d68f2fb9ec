"""All engines of a site: memory between them, idle ones, hung ones, and the end of all."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.metadata
import os
import stat
import tempfile
from collections.abc import Collection
from pathlib import Path
from random import Random
from typing import Any, Final

import msgspec

from ecotone.engines import eviction, switching
from ecotone.engines.engine import Engine
from ecotone.engines.launching import REAP_S_MAX, Launch
from ecotone.engines.lifecycle import Event, Patience, State
from ecotone.engines.machine import Machine
from ecotone.engines.machine import machine as this_machine
from ecotone.engines.measuring import measure
from ecotone.engines.needs import Connect, Hold, Progress
from ecotone.engines.settings import MIB, Limits, Model, Tuned
from ecotone.engines.tally import Tally
from ecotone.engines.tuning import Measured, Tunings
from ecotone.values import ConfigError, TargetError

SOCKET_PATH_BYTES_MAX: Final = 107
"""`sun_path` of Linux is 108 bytes with the closing zero."""

LOOK_EVERY_S: Final = 0.25
FILE_CHARS: Final = 12

QUIET_S: Final = 20.0
"""A model that was wanted before it could be measured is measured after so long without a request."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What a supervisor is told.

    Attributes:
        folder: For the workers' sockets: made with mode 0700; where the path is too long, one below the system's
            folder for temporary files.
        tunings: File that keeps measured settings; None keeps none.
        memory_bytes: For all models together; None = six tenths of the machine's.
        is_measured: Whether settings are measured at all.
        limits, patience: See there.
    """

    folder: Path
    tunings: Path | None = None
    memory_bytes: int | None = None
    is_measured: bool = True
    limits: Limits = Limits()
    patience: Patience = Patience()


class EngineStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One engine, for `ecotone status`.

    Attributes:
        file: The beginning of its file's SHA-256, of its adapter's where it has one.
        slots_used: Requests at the worker. waiting: Requests in the queue.
        load_s: Seconds that the last load took; None before the first.
        why: The last failure in words, or `''`.
        measured: What was measured on this machine; None if nothing was.
    """

    model: str
    file: str
    state: str
    pid: int | None
    rss_bytes: int
    needed_bytes: int
    slots: int
    slots_used: int
    waiting: int
    context_tokens: int
    settings: Tuned
    measured: Measured | None
    load_s: float | None
    starts: int
    crashes: int
    recycled: int
    idle_s: float
    why: str


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """Machine, memory and engines."""

    machine: Machine
    engine_version: str
    memory_bytes: int
    engines: tuple[EngineStatus, ...]


class Supervisor:
    """The engines of a site. Made and used in one event loop; `close` must be awaited.

    Attributes:
        machine: What it runs on.
        budget_bytes: Memory for all models together.
    """

    def __init__(
        self,
        connect: Connect,
        settings: Settings,
        *,
        dice: Random | None = None,
        progress: Progress = lambda line: None,
        machine: Machine | None = None,
    ) -> None:
        """Makes the folder for sockets; starts no engine.

        Args:
            connect: Makes HTTP channels to workers.
            dice: For the jitter of back-offs.
            progress: Takes lines for whoever watches: measuring, starting, failures. They hold no content.
            machine: Instead of the real one.

        Raises:
            ConfigError: the folder cannot be used.
        """
        self.machine = machine or this_machine()
        self.budget_bytes = settings.memory_bytes or self.machine.budget_bytes
        self.patience = settings.patience
        self.dice = dice or Random()  # noqa: S311 - it is jitter, not a secret
        self.progress = progress
        self.launch = Launch(connect, socket_folder(settings.folder), settings.limits, self.machine.is_x86)
        self._settings = settings
        self._version = engine_version()
        self._tunings = Tunings(settings.tunings, self.machine.fingerprint, self._version)
        self._loop = asyncio.get_running_loop()
        self._engines: dict[Model, Engine] = {}
        self._leaving: set[Engine] = set()
        self._tallies: dict[str, Tally] = {}
        self._queue: list[Engine] = []
        self._change = asyncio.Event()
        self._tick: asyncio.TimerHandle | None = None
        self._mourned: set[asyncio.Future[Any]] = set()
        self._is_closed = False

    def engine(self, model: Model, hold: Hold) -> Engine:
        """The engine of a model; equal models share one. Nothing is started before it is wanted.

        Args:
            hold: Checks the model file and holds it open; called before every load.
        """
        assert not self._is_closed
        found = self._engines.get(model)
        if found is None:
            found = self._engines[model] = Engine(model, hold, self, self._tunings.get(model.digest))
        return found

    def keep(self, models: Collection[Model]) -> None:
        """After a reload: engines of other models finish what they serve, and go."""
        for model in [model for model in self._engines if model not in models]:
            engine = self._engines.pop(model)
            self._leaving.add(engine)
            if not engine.requests:
                engine.tell(Event.UNLOAD)

    async def replace(self, old: Model, model: Model, hold: Hold) -> float:
        """The model's engine is ready, has answered, and has the requests that waited for the old one's.

        The old one serves until then, and what it has begun to its end; `keep` lets it go. See `switching`.

        Returns:
            Tokens a second that it wrote; 0 where that is not known.

        Raises:
            TargetError: it does not start or does not answer: it is gone, and the old one is as it was.
            EcotoneError: its file is not what it should be, or cannot be read.
        """
        is_new = model not in self._engines
        engine = self.engine(model, hold)
        try:
            return await switching.replace(self, self._engines[old], engine)
        except BaseException:
            if is_new:
                del self._engines[model]
                engine.close()
            raise

    async def prove(self, model: Model) -> float:
        """The model's engine is ready and has answered; tokens a second that it wrote, 0 where that is not known.

        Raises:
            TargetError: it does not start or does not answer.
        """
        return await switching.prove(self._engines[model])

    def must_fit(self, engine: Engine) -> None:
        """See `switching.House`."""
        needed = engine.needed_bytes()
        if needed > self.budget_bytes:
            why = f"needs about {needed // MIB} MiB, and {self.budget_bytes // MIB} MiB are for models"
            raise TargetError("engine_start", f"{why}: raise engines.memory_mb, or lower its context_tokens or slots")

    def fits_beside(self, engine: Engine) -> bool:
        """See `switching.House`."""
        loaded = [found for other in self._others(engine).values() if (found := other.loaded()) is not None]
        return eviction.make_room(engine.needed_bytes(), self.budget_bytes, loaded, is_starving=False).fits

    async def next_change(self) -> None:
        """See `switching.House`."""
        await self._next_change()

    def warm(self, model: Model) -> None:
        """Starts a model's engine before anybody asks for it; measures settings first where none are kept."""
        engine = self._engines[model]
        is_due = self._settings.is_measured and engine.measured is None and engine.state is State.STOPPED
        engine.tell(Event.MEASURE if is_due else Event.WANTED)

    def in_use(self) -> set[str]:
        """Digests of the models that are configured or still run."""
        return {engine.model.digest for engine in (*self._engines.values(), *self._leaving)}

    def status(self) -> Status:
        """Machine, memory and engines now."""
        return Status(
            machine=self.machine,
            engine_version=self._version,
            memory_bytes=self.budget_bytes,
            engines=tuple(self._describe(engine) for engine in (*self._engines.values(), *self._leaving)),
        )

    async def close(self, drain_s: float | None = None) -> None:
        """Lets requests finish up to a limit, then stops all workers and waits until they are reaped.

        Args:
            drain_s: Instead of `Limits.drain_s`.
        """
        self._is_closed = True
        until_s = self._loop.time() + (self.launch.limits.drain_s if drain_s is None else drain_s)
        engines = [*self._engines.values(), *self._leaving]
        while any(engine.requests for engine in engines) and self._loop.time() < until_s:
            await self._next_change()
        if self._tick is not None:
            self._tick.cancel()
        for engine in engines:
            engine.close()
        if self._mourned:
            await asyncio.wait(set(self._mourned), timeout=REAP_S_MAX)
        with contextlib.suppress(OSError):
            self.launch.folder.rmdir()

    # What engines call.

    async def room(self, engine: Engine) -> None:
        """See `engine.World`. First come, first served among those that wait for memory."""
        self.must_fit(engine)
        needed, limits = engine.needed_bytes(), self.launch.limits
        began_s = self._loop.time()
        self._queue.append(engine)
        try:
            while not (self._queue[0] is engine and self._try_room(engine, needed, began_s)):
                if self._loop.time() - began_s > limits.room_s:
                    why = f"other models were busy for {limits.room_s:.0f} s"
                    raise TargetError("engine_start", f"{why}, and there is no memory for another {needed // MIB} MiB")
                await self._next_change()
            engine.has_room = True
        finally:
            self._queue.remove(engine)
            self._notify()

    def mourn(self, end: asyncio.Future[Any]) -> None:
        """See `engine.World`."""
        if not end.done():
            self._mourned.add(end)
            end.add_done_callback(self._mourned.discard)

    def changed(self, engine: Engine, event: Event | None) -> None:
        """See `engine.World`."""
        self._notify()
        if engine in self._leaving and not engine.requests:
            if engine.state is State.STOPPED:
                self._leaving.discard(engine)
            elif engine.state is not State.DRAINING:
                self._loop.call_soon(engine.tell, Event.UNLOAD)
        if self._tick is None and not self._is_closed:
            self._tick = self._loop.call_later(self._every_s, self._look)

    def tally(self, digest: str) -> Tally:
        """See `engine.World`."""
        return self._tallies.setdefault(digest, Tally())

    async def measure(self, model: Model, hold: Hold) -> Measured | None:
        """See `engine.World`."""
        self.progress(f"{model.name}: first start on this machine: measuring which settings suit it")
        found = await measure(self.launch, model, hold, self.machine.cores, self.progress)
        if found is not None:
            try:
                self._tunings.put(model.digest, found)
            except OSError as error:
                self.progress(f"{model.name}: the measured settings cannot be kept: {error.strerror}")
        return found

    # Within.

    @property
    def _every_s(self) -> float:
        return self.launch.limits.health_every_s

    def _try_room(self, engine: Engine, needed: int, began_s: float) -> bool:
        others = self._others(engine)
        loaded = [found for other in others.values() if (found := other.loaded()) is not None]
        is_starving = self._loop.time() - began_s > self.launch.limits.starve_s
        plan = eviction.make_room(needed, self.budget_bytes, loaded, is_starving=is_starving)
        for name in (*plan.unload, *plan.hold_back):
            others[name].tell(Event.UNLOAD)
        return plan.fits and not plan.unload

    def _others(self, engine: Engine) -> dict[str, Engine]:
        return {other.name: other for other in (*self._engines.values(), *self._leaving) if other is not engine}

    def _notify(self) -> None:
        change, self._change = self._change, asyncio.Event()
        change.set()

    async def _next_change(self) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._change.wait(), LOOK_EVERY_S)

    def _look(self) -> None:
        """Once a second while an engine is loaded: idle ones go, hung ones are replaced."""
        self._tick = None
        now_s = self._loop.time()
        engines = {engine.name: engine for engine in (*self._engines.values(), *self._leaving)}
        loaded = [found for engine in engines.values() if (found := engine.loaded()) is not None]
        for name in eviction.idle(loaded, now_s):
            engines[name].tell(Event.UNLOAD)
        for engine in engines.values():
            self._check(engine, now_s)
        if any(engine.state is not State.STOPPED for engine in engines.values()):
            self._tick = self._loop.call_later(self._every_s, self._look)

    def _check(self, engine: Engine, now_s: float) -> None:
        if engine.running is None:
            return
        if not engine.load()[0]:
            if self._is_measurable(engine, now_s):
                engine.tell(Event.MEASURE)
            return
        silent_s = engine.silent_s()
        if silent_s > self.launch.limits.health_within_s:
            engine.tally.crashed()
            engine.recycle(f"it gave no sign of life for {silent_s:.1f} s")

    def _is_measurable(self, engine: Engine, now_s: float) -> bool:
        return (
            self._settings.is_measured
            and engine.measured is None
            and engine.state is State.READY
            and not engine.requests
            and now_s - engine.used_at_s > QUIET_S
        )

    def _describe(self, engine: Engine) -> EngineStatus:
        used, waiting = engine.load()
        running = engine.running
        return EngineStatus(
            model=engine.model.name,
            file=(engine.model.adapter_digest or engine.model.digest)[:FILE_CHARS],
            state=engine.state.value,
            pid=None if running is None else running.worker.pid,
            rss_bytes=engine.rss_bytes(),
            needed_bytes=engine.needed_bytes(),
            slots=engine.model.slots,
            slots_used=used,
            waiting=waiting,
            context_tokens=engine.model.context_tokens,
            settings=engine.tuned,
            measured=engine.measured,
            load_s=None if running is None else running.ready.load_s,
            starts=engine.starts,
            crashes=engine.crashes,
            recycled=engine.recycled,
            idle_s=0.0 if used or waiting or running is None else self._loop.time() - engine.used_at_s,
            why=engine.why,
        )


def engine_version() -> str:
    """The installed engine's version; `''` without one."""
    try:
        return importlib.metadata.version("xllamacpp")
    except importlib.metadata.PackageNotFoundError:
        return ""


def socket_folder(wanted: Path) -> Path:
    """A folder of this process's own with mode 0700, below `wanted`, short enough for socket paths.

    Folders of processes that are gone are removed.

    Raises:
        ConfigError: it cannot be made, or belongs to somebody else.
    """
    try:
        wanted.mkdir(parents=True, exist_ok=True, mode=0o700)
        _sweep(wanted)
        folder = wanted / str(os.getpid())
        if len(os.fsencode(folder)) + len("/0123456789abcdef.sock") > SOCKET_PATH_BYTES_MAX:
            return Path(tempfile.mkdtemp(prefix="ecotone-"))
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
            raise ConfigError("config.engines", f"{folder} belongs to somebody else")
        folder.chmod(0o700)
    except OSError as error:
        raise ConfigError(
            "config.engines", f"{wanted}: no folder for the engines' sockets: {error.strerror}"
        ) from error
    return folder


def _sweep(folder: Path) -> None:
    """Removes what gateways that were killed have left."""
    for old in folder.iterdir():
        if not old.name.isdigit() or Path(f"/proc/{old.name}").exists():
            continue
        with contextlib.suppress(OSError):
            for path in old.glob("*.sock"):
                path.unlink(missing_ok=True)
            old.rmdir()
