"""A made site of a fleet: the real machine of `fleet` on virtual time, behind a link that is mostly down."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Sequence
from random import Random
from typing import Any, Final, Protocol

import msgspec

from ecotone.fleet import trial
from ecotone.fleet.accepting import Here, Skip, accept
from ecotone.fleet.memory import Failure, Memory, remember
from ecotone.fleet.trial import Event, Failed, Former, Good, Trial
from ecotone.fleet.variants import Variant, choose
from ecotone.sim.fleet_links import HOUR_S, NEVER, FleetLink
from ecotone.sim.fleet_world import DELTA_SHARE, FULL_SHARE, OLD, Nature, Scenario, Wished, before, grown, is_hit
from ecotone.values.fleet import AssetReport, AssetState, Report

__all__ = ["FleetHub", "FleetSite", "Schedule", "Step"]

REPORT_HOURS, GO_ON_HOURS = 6.0, 24.0
"""A site that has something under way tells so at least so often; and what a version does after its trial."""

REBOOT_HOURS: Final = 480.0
BOOT_S: Final = 120.0
RETRY_S: Final = 600.0
LOST, DOUBLED, LATE = 0.03, 0.06, 0.08
"""Reports that are lost, that come twice, that come hours after the next."""


class Schedule:
    """What is to happen when, on virtual time."""

    def __init__(self, now_s: float) -> None:
        self.now_s = now_s
        self._heap: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._count = itertools.count()

    def at(self, when_s: float, call: Callable[..., None], *args: Any) -> None:
        """Calls it then; never, where that is never."""
        if when_s < NEVER:
            heapq.heappush(self._heap, (max(when_s, self.now_s), next(self._count), call, args))

    def run(self, until_s: float) -> None:
        """All that happens before an instant."""
        while self._heap and self._heap[0][0] < until_s:
            self.now_s, _, call, args = heapq.heappop(self._heap)
            call(*args)
        self.now_s = until_s


class Step(msgspec.Struct, frozen=True):
    """One thing that befell a site, for those who check."""

    at_s: float
    what: str
    sha256: str
    attempt: int
    generation: int


class FleetHub(Protocol):
    """What a site sees of its hub."""

    def desired(self, site: str) -> tuple[int, tuple[Wished, ...]]:
        """What is signed for a site: (generation, assets)."""

    def receive(self, site: str, raw: bytes) -> None:
        """A report has come."""

    def is_open(self, sha256: str) -> bool:
        """Whether a release of it has not ended."""

    def fetched(self, site: str, count: float, from_s: float, to_s: float) -> None:
        """So many bytes are fetched between two instants."""


class FleetSite:
    """One site.

    Attributes:
        running: What is used.
        wish, state, why: The version that is wanted last, and where it stands; None: nothing but what runs is wanted.
        steps: All that befell it.
        hit_hours: It used a version that is bad here for so long.
    """

    def __init__(self, name: str, scenario: Scenario, nature: Nature, link: FleetLink, schedule: Schedule) -> None:
        self.name, self.nature, self.link = name, nature, link
        self.steps: list[Step] = []
        self.running: Wished = OLD
        self.wish: Wished | None = None
        self.state: AssetState = "wanted"
        self.why = ""
        self.trial: Trial | None = None
        self.memory = Memory()
        self.generation = 0
        self.hit_hours = 0.0
        self._scenario, self._schedule = scenario, schedule
        self._hub: FleetHub
        self._rng: Random
        self._variants: dict[str, Variant]
        self._former = Former(version=OLD.version, sha256=OLD.sha256, figures=before(nature))
        self._good = OLD
        self._turn = self._seq = self._boot = 0
        self._is_telling = False

    def begin(self, hub: FleetHub, variants: Sequence[Variant], *, seed: int) -> None:
        """Its hub, the variants that there are of all versions, and its dice."""
        self._hub, self._variants = hub, {variant.sha256: variant for variant in variants}
        self._rng = Random(f"{seed} {self.name}")  # noqa: S311 - a made world, not a secret

    def contact(self) -> None:
        """It asks what is desired; where it cannot, as soon as it can."""
        if not self.link.is_up(self._schedule.now_s):
            self._schedule.at(self._soon(), self.contact)
            return
        generation, wishes = self._hub.desired(self.name)
        if generation != self.generation:
            self._take(generation, wishes)
        self.tell()

    def report(self) -> Report:
        """All that it tells."""
        self._seq += 1
        told = [AssetReport(name=OLD.name, version=OLD.version, kind="model", sha256=OLD.sha256, state="good")]
        told += [
            AssetReport(
                name=failure.name,
                version=failure.version,
                kind="model",
                sha256=failure.sha256,
                state="failed",
                attempt=failure.attempt,
                why=failure.why,
            )
            for failure in self.memory.failures
            if self.wish is None or failure.sha256 != self.wish.sha256
        ]
        if self.wish is not None:
            told.append(
                AssetReport(
                    name=self.wish.name,
                    version=self.wish.version,
                    kind="model",
                    sha256=self.wish.sha256,
                    state=self.state,
                    attempt=self.wish.attempt,
                    why=self.why,
                    figures=self.trial.figures if self.trial is not None else None,
                    before=self.trial.former.figures if self.trial is not None else None,
                )
            )
        return Report(
            site=self.name,
            seq=self._seq,
            boot=self._boot,
            made_s=max(0.0, self._clock_s()),
            generation=self.generation,
            assets=tuple(told),
            machine=self.nature.machine,
            pinned=self._pinned(),
        )

    def tell(self) -> None:
        """A report, as soon as the link is up: lost, doubled and late ones too."""
        if not self._is_telling:
            self._is_telling = True
            self._schedule.at(self._soon(), self._send)

    def _send(self) -> None:
        self._is_telling = False
        now_s, raw = self._schedule.now_s, msgspec.json.encode(self.report())
        fate = self._rng.random()
        if fate >= LOST:
            late_s = self._rng.uniform(0, 6 * HOUR_S) if DOUBLED < fate < LATE else 0.0
            self._schedule.at(now_s + late_s, self._hub.receive, self.name, raw)
        if fate < DOUBLED:
            self._schedule.at(now_s + self._rng.uniform(0, RETRY_S), self._hub.receive, self.name, raw)
        if fate < LOST or DOUBLED < fate < LATE:
            self._schedule.at(now_s + RETRY_S, self.tell)

    def _keep_telling(self, turn: int) -> None:
        if turn == self._turn and self.state in ("fetching", "trying"):
            self.tell()
            self._schedule.at(self._schedule.now_s + REPORT_HOURS * HOUR_S, self._keep_telling, turn)

    def _take(self, generation: int, wishes: tuple[Wished, ...]) -> None:
        here = Here(
            memory=self.memory,
            pinned=self._pinned(),
            generation=self.generation,
            running=(self.running.sha256,),
        )
        verdicts = {wish.sha256: accept(wish, generation, here) for wish in wishes}
        self.generation = max(self.generation, generation)
        if self.wish is not None and self.wish not in wishes and self.wish.sha256 != self.running.sha256:
            self._forget()
        if Skip("running") in verdicts.values():
            return
        takes = [wish for wish in wishes if not isinstance(verdicts[wish.sha256], Skip)]
        if OLD in takes:
            self._step("back", OLD)
            self.running, self._good = OLD, OLD
            self._forget()
        elif takes:
            self._fetch(takes)

    def _fetch(self, wishes: list[Wished]) -> None:
        self._forget()
        chosen = choose([self._variants[wish.sha256] for wish in wishes], self.nature.machine, {}).variant
        self.wish = next((wish for wish in wishes if chosen is not None and wish.sha256 == chosen.sha256), wishes[-1])
        self.state, self.why = "wanted", ""
        if chosen is None:
            self._move(Event.REFUSED, "machine")
            return
        self._move(Event.BEGUN)
        count = chosen.bytes * (DELTA_SHARE if self._rng.random() < 0.9 else FULL_SHARE)
        done_s = self.link.through(self._schedule.now_s, count)
        self._hub.fetched(self.name, count, self._schedule.now_s, done_s)
        self._schedule.at(done_s, self._arrived, self._turn)
        self._keep_telling(self._turn)

    def _arrived(self, turn: int) -> None:
        if turn != self._turn or self.wish is None:
            return
        self._move(Event.ARRIVED)
        self.trial = trial.begin(self.wish, self._former, self._clock_s())
        self.running = self.wish
        self._move(Event.SWITCHED)
        is_dead = self._fault() == "boots"
        self._schedule.at(self._schedule.now_s + (BOOT_S if is_dead else 360.0), self._look, turn, 0.1)

    def _look(self, turn: int, hours: float) -> None:
        """The trial, after so many hours more. It survives whatever happens as what was stored of it."""
        if turn != self._turn or self.trial is None or self.wish is None:
            return
        running, fault = msgspec.json.decode(msgspec.json.encode(self.trial), type=Trial), self._fault()
        if fault == "boots":
            hours = 0.0
            running = trial.boot(running)
            self._boot += 1
        elif self._rng.random() < hours / REBOOT_HOURS:
            running = trial.boot(trial.stopped(running) if self._rng.random() < 0.5 else running)
            self._boot += 1
        if fault is not None:
            self.hit_hours += max(hours, BOOT_S / HOUR_S)
        self.trial = trial.observed(running, grown(self._rng, running.figures, self.nature, fault, hours))
        verdict = trial.judge(self.trial)
        if isinstance(verdict, Good):
            self._good = self.wish
            self._former = Former(version=self.wish.version, sha256=self.wish.sha256, figures=self.trial.figures)
            self._move(Event.PASSED)
            self._schedule.at(self._schedule.now_s + GO_ON_HOURS * HOUR_S, self._go_on, turn)
        elif isinstance(verdict, Failed):
            self.memory = remember(
                self.memory,
                Failure(
                    name=self.wish.name,
                    version=self.wish.version,
                    sha256=self.wish.sha256,
                    attempt=self.wish.attempt,
                    why=verdict.why,
                ),
            )
            self.running = self._good
            self._move(Event.FAILED, verdict.why)
        else:
            hours = 0.1 if self.trial.figures.hours < 1.2 else 1.0
            next_s = BOOT_S if fault == "boots" else hours * HOUR_S
            self._schedule.at(self._schedule.now_s + next_s, self._look, turn, hours)

    def _go_on(self, turn: int) -> None:
        """It is used on after its trial, and tells what it does as long as anybody counts it."""
        if turn != self._turn or self.trial is None or self.wish is None or not self._hub.is_open(self.wish.sha256):
            return
        fault = self._fault()
        self.hit_hours += GO_ON_HOURS if fault is not None else 0.0
        figures = grown(self._rng, self.trial.figures, self.nature, fault, GO_ON_HOURS)
        self.trial = trial.observed(self.trial, figures)
        self.tell()
        self._schedule.at(self._schedule.now_s + GO_ON_HOURS * HOUR_S, self._go_on, turn)

    def _move(self, event: Event, why: str = "") -> None:
        state = trial.step(self.state, event)
        assert state is not None, f"{self.name}: {event} in {self.state}"
        assert self.wish is not None
        self.state, self.why = state, why
        self._step(state, self.wish)
        if state != "ready":
            self.tell()

    def _forget(self) -> None:
        """What was under way is no longer wanted."""
        if self.trial is not None and self.running.sha256 != self._good.sha256:
            self._step("left", self.running)
            self.running = self._good
        self._turn += 1
        self.wish, self.trial = None, None

    def _step(self, what: str, wish: Wished) -> None:
        self.steps.append(Step(self._schedule.now_s, what, wish.sha256, wish.attempt, self.generation))

    def _fault(self) -> Any:
        fault = self._scenario.fault
        is_bad = self.wish is not None and self.wish.version.startswith("2") and is_hit(fault, self.nature.machine)
        return fault.kind if is_bad and fault is not None else None

    def _pinned(self) -> tuple[str, ...]:
        return (f"{OLD.name}@{OLD.version}",) if self.nature.is_pinned else ()

    def _clock_s(self) -> float:
        """What its clock says."""
        return self._schedule.now_s + self.nature.clock_off_s

    def _soon(self) -> float:
        """When it next reaches its hub: after a while of its own, where many come at the same time."""
        now_s = self._schedule.now_s
        up_s = self.link.next_up(now_s)
        return up_s if up_s <= now_s else up_s + self._rng.uniform(0, 300)
