"""The port `Inspector` over one supervised worker: what hangs is killed, what dies is restarted, nothing is raised.

One task owns the worker's life: start, looks one after another, end, a pause, the next start. A caller waits for its
own look until its own limit and not longer, whatever the worker does.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from ecotone.detectors import contract, messages
from ecotone.detectors.child import Child, GoneError
from ecotone.detectors.messages import Look, Ready, Seen, Setup
from ecotone.ports import Looked
from ecotone.values import Finding


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """How much the worker may take before it is killed, and how much may wait for it.

    Attributes:
        load_s: For loading all models; a cold disk and a busy machine count.
        grace_s: Beyond a look's own limit before the worker counts as hung. Python code is stopped at the limit, so
            that only native code gets here.
        waiting_max: Looks that may wait; a further one is refused at once (`busy`).
        chars_max: Of one look's texts; a longer one is refused at once (`too_long`).
        pause_s, pause_s_max: Before a restart after the second death in a row; doubled for each one more.
    """

    load_s: float = 60.0
    grace_s: float = 1.0
    waiting_max: int = 64
    chars_max: int = 2_000_000
    pause_s: float = 0.5
    pause_s_max: float = 30.0


DEFAULTS: Final = Limits()


class Status(msgspec.Struct, frozen=True):
    """How the worker is, for `ecotone status`.

    Attributes:
        state: `starting`, `ready`, `pausing` (it died and will be restarted) or `closed`.
        pid: Of the process, or None.
        restarts: How often it was started again.
        load_s: Seconds that its last start took.
        versions: Of each detector that is there.
        failed: Of each other one, why (`absent`, `broken`) and the class and place of the error.
        isolation: `namespace` or `hook`: what keeps the worker off the network.
        died: How it last ended: `crashed`, `hung`, `nonsense` or empty.
    """

    state: str
    pid: int | None
    restarts: int
    load_s: float
    versions: Mapping[str, str]
    failed: Mapping[str, tuple[str, str]]
    isolation: str
    died: str


class _Job:
    """A look that waits or is under way."""

    def __init__(self, look: tuple[tuple[str, ...], tuple[str, ...]], end_s: float) -> None:
        self.texts, self.detectors = look
        self.end_s = end_s
        self.seen: dict[str, Seen] = {}
        self.why = "late"  # of a detector that did not answer
        self.done = asyncio.Event()


class Inspectors:
    """Detectors in a worker process; implements `ports.Inspector`.

        inspectors = Inspectors(("names", "topics"), settings)
        inspectors.start()                                  # loads in the background
        looked = await inspectors.look(texts, ("names",), limit_s=0.06)
        await inspectors.close()

    Words in `Looked.missing`: `starting`, `late`, `crashed`, `failed`, `bad_answer`, `busy`, `too_long`, `absent`,
    `broken`, `closed`, and `no_model:LANGUAGE` where a detector cannot judge one of the texts.
    """

    def __init__(self, detectors: Sequence[str], settings: Mapping[str, Any], limits: Limits = DEFAULTS) -> None:
        """Starts nothing.

        Args:
            detectors: Names of all that a look may ask for.
            settings: What detectors need to know, as `make` takes it. Plain values; paths are sent as text.
        """
        self._setup = Setup(tuple(dict.fromkeys(detectors)), messages.plain(settings))
        self._limits = limits
        self._jobs: collections.deque[_Job] = collections.deque()
        self._work = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._child: Child | None = None
        self._ready: Ready | None = None
        self._greeted = asyncio.Event()
        self._state = "closed"
        self._starts = 0
        self._load_s = 0.0
        self._died = ""

    def start(self) -> None:
        """Starts the worker and the task that keeps it, and returns at once. From the event loop's thread."""
        assert self._task is None, "started twice"
        self._state = "starting"
        self._task = asyncio.get_running_loop().create_task(self._keep(), name="detectors")

    async def wait_ready(self, limit_s: float) -> bool:
        """Whether the worker was ready within the limit."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._greeted.wait(), limit_s)
        return self._ready is not None

    async def close(self) -> None:
        """Ends the worker; what waits gets `closed`. Idempotent."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        self._state = "closed"
        self._drop("closed")

    def status(self) -> Status:
        """How the worker is now."""
        ready = self._ready
        return Status(
            self._state,
            self._child.pid if self._child is not None else None,
            max(0, self._starts - 1),
            self._load_s,
            ready.versions if ready else {},
            ready.failed if ready else {},
            ready.isolation if ready else "",
            self._died,
        )

    async def look(self, texts: Sequence[str], detectors: Sequence[str], *, limit_s: float) -> Looked:
        """Looks at some texts; see `ports.Inspector`. Never raises but for cancellation."""
        asked = tuple(dict.fromkeys(detectors))
        if not texts or not asked:
            return Looked(((),) * len(texts))
        refused = self._refused(texts)
        if refused:
            return Looked(((),) * len(texts), tuple((name, refused) for name in asked))
        job = _Job((messages.sendable(texts), asked), asyncio.get_running_loop().time() + limit_s)
        self._jobs.append(job)
        self._work.set()
        try:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(job.done.wait(), max(0.0, limit_s))
        finally:
            with contextlib.suppress(ValueError):
                self._jobs.remove(job)
        return _looked(job, len(texts))

    def _refused(self, texts: Sequence[str]) -> str:
        if self._state == "closed":
            return "closed"
        if self._state != "ready":
            return "starting" if not self._died else self._died_word()
        if len(self._jobs) >= self._limits.waiting_max:
            return "busy"
        return "too_long" if sum(map(len, texts)) > self._limits.chars_max else ""

    def _died_word(self) -> str:
        return "late" if self._died == "hung" else "crashed"

    # The worker's life.

    async def _keep(self) -> None:
        deaths = 0
        while True:
            answered = await self._live()
            deaths = 1 if answered else deaths + 1
            self._drop(self._died_word())
            if deaths > 1:
                self._state = "pausing"
                pause_s = min(self._limits.pause_s * 2.0 ** min(deaths - 2, 16), self._limits.pause_s_max)
                await asyncio.sleep(pause_s)
            self._state = "starting"

    async def _live(self) -> bool:
        """One worker's life from start to end; whether it ever answered."""
        self._starts += 1
        self._ready, answered = None, False
        try:
            child = self._child = Child()
        except OSError:
            self._died = "crashed"
            return False
        try:
            async with asyncio.timeout(self._limits.load_s):
                ready = await child.greet(self._setup)
            self._ready, self._load_s, self._state = ready, ready.load_s, "ready"
            self._greeted.set()
            while True:
                answered = await self._next(child) or answered
        except TimeoutError:
            self._died = "hung"
        except GoneError:
            self._died = "crashed"
        finally:
            self._state, self._ready = "starting", None
            self._greeted.clear()
            child.kill()
            await _outlive(child)
            self._child = None
        return answered

    async def _next(self, child: Child) -> bool:
        """Waits for a look and has it done; whether the worker answered.

        Raises:
            TimeoutError: the worker hangs.
            GoneError: it died.
        """
        job = await self._taken(child)
        left_s = job.end_s - asyncio.get_running_loop().time()
        if left_s <= 0:
            job.done.set()
            return False
        number = id(job)
        try:
            async with asyncio.timeout(left_s + self._limits.grace_s):
                await child.ask(Look(number, job.texts, job.detectors, left_s))
                for name in job.detectors:
                    seen = await child.answer()
                    if (seen.number, seen.detector) != (number, name):
                        raise GoneError("an answer to something else")
                    job.seen[name] = _believed(seen, job.texts)
        except GoneError:
            job.why = "crashed"
            raise
        finally:
            job.done.set()
        return True

    async def _taken(self, child: Child) -> _Job:
        """The next look.

        Raises:
            GoneError: the worker died meanwhile.
        """
        while not self._jobs:
            self._work.clear()
            work = asyncio.ensure_future(self._work.wait())
            try:
                await asyncio.wait((work, child.gone), return_when=asyncio.FIRST_COMPLETED)
            finally:
                work.cancel()
            if child.gone.done():
                raise GoneError("idle")
        return self._jobs.popleft()

    def _drop(self, why: str) -> None:
        """Tells everyone who waits that nothing comes."""
        while self._jobs:
            job = self._jobs.popleft()
            job.why = why
            job.done.set()


async def _outlive(child: Child) -> None:
    """Waits until a killed worker is reaped, cancelled or not: the kernel does not take long."""
    is_cancelled = False
    while not child.gone.done():
        try:
            await asyncio.shield(child.gone)
        except asyncio.CancelledError:
            is_cancelled = True
    if is_cancelled:
        raise asyncio.CancelledError


def _believed(seen: Seen, texts: tuple[str, ...]) -> Seen:
    """The answer, checked here too: a detector may have broken the worker's own check."""
    if seen.why:
        return seen
    try:
        contract.checked(texts, seen.found, seen.detector)
    except contract.DetectorError as error:
        return Seen(seen.number, seen.detector, why=error.why, cause=error.cause)
    return seen


def _looked(job: _Job, count: int) -> Looked:
    found: list[list[Finding]] = [[] for _ in range(count)]
    missing: dict[tuple[str, str], None] = {}
    for name in job.detectors:
        seen = job.seen.get(name)
        if seen is None or seen.why:
            missing[(name, seen.why if seen else job.why)] = None
            continue
        for into, each in zip(found, seen.found, strict=True):
            into.extend(each)
            missing.update({(name, one.kind): None for one in each if one.label == contract.LABEL_UNKNOWN})
    return Looked(tuple(map(tuple, found)), tuple(missing))
