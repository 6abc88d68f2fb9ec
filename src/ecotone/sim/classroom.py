"""Learning in a made afternoon: gates that guess at random, second answers beside the callers', judges, and reloads."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import Callable, Sequence
from random import Random
from typing import Final, Protocol

import msgspec

from ecotone import flow
from ecotone.flow.breaker import Breaker, BreakerSettings
from ecotone.flow.lessons import LOWEST, Errand
from ecotone.flow.shadowing import Shadows, ShadowTerms
from ecotone.ports.learning import Read
from ecotone.sim.backlog import Backlog
from ecotone.sim.learning import MadeLearning
from ecotone.sim.time import VirtualClock
from ecotone.sim.watched import ASIDE, WHO
from ecotone.sim.world import Link, MadeJournal, MadeTarget, Nature
from ecotone.values import Mode, Place, Price, TargetSpec
from ecotone.values.quality import Comparison, Guess, Pair, Question, Reply, Role, Step

CHECKER: Final = "made"
HIGHEST: Final = 1.7976931348623157e308
LIMITS: Final = (LOWEST, 0.1, 0.4, 0.8, HIGHEST)
REST_S: Final = 0.5
"""Where nothing is under way for so long, whatever can be compared is compared."""

REST_S_MAX: Final = 15.0
"""Some wait for the cloud for ever."""

RELOADS: Final = ("off", "on", "another", "mode", "rung", "drop", "judge")


class DrawnRead:
    """The signals of a question: nothing but what was guessed of it, so that each request is another one."""

    def __init__(self) -> None:
        self.guesses: dict[str, Guess] = {}


class DrawnLearning(MadeLearning):
    """Guesses anything of anything, and keeps what it said.

    Attributes:
        judged: For each text of an edge answer that it was shown: whether it may be given.
        shares: Certify, and learn; else a request has no role.
    """

    def __init__(self, seed: int, *, has_answer_gate: bool) -> None:
        super().__init__(has_answer_gate=has_answer_gate)
        self._rng = Random(seed)  # noqa: S311 - a made world, not a secret
        self._seed = seed
        self.judged: dict[str, bool] = {}
        self.shares = self._rng.choice(((0.5, 0.5), (0.9, 0.05)))

    def read(self, question: Question) -> Read:
        """See `ports.Learning.read`."""
        return DrawnRead()

    def role(self, model: str, seed: int, placed: Mode) -> tuple[Role, float]:
        """See `ports.Learning.role`: by the request's seed and nothing else."""
        drawn, left = Random(f"{self._seed} {model} {seed}").random(), 1.0  # noqa: S311 - as above
        for role, share in zip((Role.CERTIFY, Role.LEARN), self.shares, strict=True):
            if drawn < share:
                return role, share
            drawn, left = drawn - share, left - share
        return Role.NONE, left

    def guess(self, model: str, target: str, read: Read) -> Guess:
        """See `ports.Learning.guess`."""
        assert isinstance(read, DrawnRead)
        found = read.guesses.get(target)
        if found is None:
            gap, limit = self._rng.uniform(-0.2, 1.0), self._rng.choice(LIMITS)
            found = Guess(gap=gap, good=max(0.0, 1.0 - gap), gap_max=limit, skip_above=limit, certificate=1)
            read.guesses[target] = found
        return found

    def guess_answer(self, model: str, target: str, read: Read, question: Question, reply: Reply) -> Guess:
        """See `ports.Learning.guess_answer`."""
        gap = self._rng.uniform(-0.2, 1.0)
        self.judged[reply.text] = gap <= 0.4
        return Guess(gap=gap, gap_max=0.4, certificate=1)

    def add(
        self, pair: Pair, read: Read, *, question: Question | None = None, reply: Reply | None = None, at_ms: int = 0
    ) -> Sequence[Step]:
        """See `ports.Learning.add`."""
        super().add(pair, read, question=question, reply=reply, at_ms=at_ms)
        if self._rng.random() < 0.9:
            return ()
        return [Step(model=pair.model, target=pair.target, what="suspended", why="drift.loss")]


class Kept(msgspec.Struct):
    """One comparison, as it was made."""

    errand: Errand
    seen: Comparison
    replies: tuple[Reply, Reply]


class WatchedShadows(Shadows):
    """Second answers as they are, with a record of what was asked of them.

    Attributes:
        taken: Errands that were not refused at once.
        waiting_max, bytes_max: The most that ever waited.
        is_dead: Its process has ended.
        crashed: What ended it.
    """

    taken = 0
    waiting_max = 0
    is_dead = False
    crashed: BaseException | None = None

    def take(self, errand: Errand) -> None:
        """See `Shadows.take`."""
        before = self.waiting + self.dropped
        super().take(errand)
        self.taken += self.waiting + self.dropped - before
        self.waiting_max = max(self.waiting_max, self.waiting)


class Room(Protocol):
    """What of a history concerns learning."""

    site: flow.Site
    targets: dict[str, MadeTarget]
    journal: MadeJournal
    backlog: Backlog | None


class Classroom:
    """All that a history has to do with learning.

    Attributes:
        learnings: All that there ever were: a reload may bring another one.
        shadows: Of the process now, and of each one before.
        kept: What was compared.
        asked: What was to be compared, whether or not anybody could.
        shown: Errands that the corridor handed on, and whether their pair was to be made.
        reloads: (virtual instant, what) to come.
        befell: What came true of them.
        judge: A target that only judges; None where there is none.
    """

    def __init__(self, seed: int, clock: VirtualClock, start_s: float) -> None:
        self.rng = rng = Random(f"classroom {seed}")  # noqa: S311 - a made world, not a secret
        self.clock = clock
        self.learnings = [self._drawn()]
        self.shadows: list[WatchedShadows] = []
        self.tasks: list[asyncio.Task[None]] = []
        self.kept: list[Kept] = []
        self.asked: list[tuple[Question, Reply, Reply]] = []
        self.shown: list[tuple[Errand, bool]] = []
        self.terms = ShadowTerms(rng.choice((0.0, 0.5, 1.0, 1.0, 1.0)), rng.choice((0.0, 0.003, 1.0, 1.0)),
                                 rng.choice((0, 700, 1_000_000, 1_000_000)))  # fmt: skip
        self.reloads = sorted((start_s + rng.uniform(0, 25), rng.choice(RELOADS)) for _ in range(rng.choice((0, 0, 2))))
        self.befell: list[str] = []
        self.judge: MadeTarget | None = None
        self._undecided = rng.choice((0.0, 0.1, 0.5))
        self.history: Room

    # What the history calls.

    def arrange(self, history: Room) -> None:
        """Puts learning into a site: from now on it is taught."""
        self.history, rng = history, self.rng
        site, name = history.site, history.site.names["auto"]
        history.targets |= {} if self.judge is None else {self.judge.spec.name: self.judge}
        judges = [*name.targets, *([self.judge.spec.name] * 3 if self.judge is not None else ())]
        check = rng.choice((CHECKER, CHECKER, "judge"))
        mode = rng.choice((Mode.AUTO, Mode.AUTO, Mode.SHADOW, Mode.EDGE)) if history.backlog is None else name.mode
        name = msgspec.structs.replace(name, mode=mode, check=check, judge=rng.choice(("", *judges)))
        history.site = dataclasses.replace(
            site,
            targets=dict(history.targets),
            breakers={**{one: Breaker(BreakerSettings()) for one in history.targets}, **site.breakers},
            names={**site.names, "auto": name},
            learning=self.learnings[-1],
            checkers={CHECKER: self._compare},
            offload=self._later,
        )
        self.begin()

    def begin(self) -> None:
        """A process begins: it knows nothing of what waited in the one before."""
        history = self.history
        shadows = WatchedShadows(
            lambda: history.site,
            Random(self.rng.getrandbits(32)),  # noqa: S311 - as above
            lambda: self.terms,
            lambda errand, seen, replies: self.kept.append(Kept(errand, seen, replies)),
        )
        if self.shadows:
            before = self.shadows[-1]
            shadows.day, shadows.usd, shadows.tokens = before.day, before.usd, before.tokens
        self.shadows.append(shadows)
        history.site = dataclasses.replace(
            history.site, take_errand=lambda errand, is_pair: self._take(shadows, errand, is_pair)
        )
        self.tasks.append(asyncio.get_running_loop().create_task(self._live(shadows)))

    def kill(self) -> None:
        """The process ends, and what it had under way with it."""
        self.shadows[-1].is_dead = True
        self.tasks[-1].cancel()

    async def befall(self) -> None:
        """The reloads, when they are due."""
        for at_s, what in self.reloads:
            await asyncio.sleep(max(0.0, at_s - self.clock.now_s()))
            self._reload(what)

    async def rest(self) -> None:
        """Until all is compared, or nothing more can be."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(REST_S_MAX):
                is_quiet = False
                while not is_quiet:
                    before = len(self.history.journal.entries)
                    await asyncio.sleep(REST_S)
                    is_still = before == len(self.history.journal.entries)
                    is_quiet = is_still and not self.shadows[-1].waiting and not self._is_at_work()
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    # Within.

    def _drawn(self) -> DrawnLearning:
        return DrawnLearning(self.rng.getrandbits(32), has_answer_gate=self.rng.random() < 0.5)

    def _is_at_work(self) -> bool:
        return any(target.active for target in self.history.targets.values())

    def _take(self, shadows: WatchedShadows, errand: Errand, is_pair: bool) -> None:
        self.shown.append((errand, is_pair))
        if is_pair:
            shadows.take(errand)

    async def _live(self, shadows: WatchedShadows) -> None:
        WHO.set(("", ASIDE))
        try:
            await shadows.forever()
        except Exception as error:  # noqa: BLE001 - the check of the history says what it was
            shadows.crashed = error

    def _compare(self, question: Question, edge: Reply, cloud: Reply) -> Comparison | None:
        self.asked.append((question, edge, cloud))
        if self.rng.random() < self._undecided:
            return None
        return Comparison(gap=self.rng.choice((-1.0, 0.0, 0.5, 1.0)), checker=CHECKER)

    async def _later(self, work: Callable[[], Comparison | None]) -> Comparison | None:
        await asyncio.sleep(self.rng.choice((0.0, 0.01, 1.0)))
        return work()

    def _reload(self, what: str) -> None:
        """The site is another one from here on; whoever is on the way sees the one before."""
        history, rng = self.history, self.rng
        site, name = history.site, history.site.names["auto"]
        self.befell.append(what)
        if what == "off":
            history.site = dataclasses.replace(site, learning=None)
        elif what in ("on", "another"):
            if what == "another":
                self.learnings.append(self._drawn())
            history.site = dataclasses.replace(site, learning=self.learnings[-1])
        elif what == "judge":
            name = msgspec.structs.replace(name, judge="", check=CHECKER)
            gone = frozenset({self.judge.spec.name}) if self.judge is not None else frozenset()
            self._rename(name, gone - frozenset(name.targets))
        elif history.backlog is not None:
            # What jobs may hope for is drawn once.
            return
        elif what == "mode":
            self._rename(msgspec.structs.replace(name, mode=rng.choice(tuple(Mode))), frozenset())
        elif what == "rung":
            self.learnings[-1].rung = rng.choice((None, Mode.SHADOW, Mode.AUTO, Mode.EDGE))
        elif what == "drop":
            self._drop()

    def _drop(self) -> None:
        """A target goes."""
        site = self.history.site
        name, kept = site.names["auto"], site.names["one"].targets
        gone = frozenset(self.rng.sample(name.targets, 1)) - frozenset(kept)
        left = tuple(one for one in name.targets if one not in gone)
        if left:
            self._rename(msgspec.structs.replace(name, targets=left), gone)

    def _rename(self, name: flow.ModelName, gone: frozenset[str]) -> None:
        site = self.history.site
        if name.judge in gone:
            name = msgspec.structs.replace(name, judge="")
        targets = {one: target for one, target in site.targets.items() if one not in gone}
        self.history.site = dataclasses.replace(site, targets=targets, names={**site.names, "auto": name})


def drawn_judge(rng: Random, asked_by: dict[str, str], link: Link) -> MadeTarget:
    """A target that only judges."""
    at = rng.choice((Place.EDGE, Place.CLOUD))
    spec = TargetSpec(
        name="judge9", at=at, model="wise", price=Price(1.0, 4.0) if at is Place.CLOUD else Price(),
        slots=1 if at is Place.EDGE else 64,
    )  # fmt: skip
    nature = Nature(ttft_s=rng.choice((0.05, 0.5)), trouble=rng.choice((0.0, 0.0, 0.2)))
    return MadeTarget(spec, nature, link, rng.getrandbits(64), asked_by)
