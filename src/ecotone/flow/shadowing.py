"""Second answers in silence: what went to the cloud also runs at the idle edge, and a few the other way, to compare.

What the cloud answered costs nothing to run at the edge, and teaches almost all there is to learn (a *free shadow*).
What the edge answered is checked in the cloud only as often as the promise needs it (a *paid* one), within a budget of
its own. Neither the caller nor the caller's bill sees any of it, and all of it gives way to those who wait.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from ecotone.flow.aside import aside
from ecotone.flow.comparing import JUDGE, compare
from ecotone.flow.lessons import Errand, with_signs
from ecotone.flow.prospects import held, is_free
from ecotone.flow.site import Site
from ecotone.jobs.order import Dice
from ecotone.values import EcotoneError, Outcome, Place, Request
from ecotone.values.quality import Comparison, Pair, Reply, Role, Step
from ecotone.wire.reply import reply
from ecotone.wire.request import in_one_piece, mint_id

LOOK_EVERY_S: Final = 0.1
GIVE_WAY_EVERY_S: Final = 0.05
LIMIT_S: Final = 120.0
"""For one second answer, and for a judge's."""

WAITING_MAX: Final = 256
WAITING_BYTES_MAX: Final = 16 * 1024 * 1024
"""What waits for a second answer is in memory only, and is no loss but one lesson."""

TRIES_MAX: Final = {Role.LEARN: 2, Role.CERTIFY: 12}
"""So often a second answer is begun. One for certifying is worth more: a pair that never comes counts against it."""
OUTPUT_TOKENS_GUESS: Final = 256
PREFIX: Final = "5ad0e5"
"""Of the ids of such requests."""


class ShadowTerms(msgspec.Struct, frozen=True):
    """How much may be compared; see `config.Learning`."""

    shadow_share: float = 1.0
    usd_per_day: float = 1.0
    tokens_per_day: int = 1_000_000


def _keep_nothing(errand: Errand, seen: Comparison, replies: tuple[Reply, Reply]) -> None:
    """Where nobody wants to see what compared badly."""


class Shadows:
    """Runs second answers, compares, and gives the pairs to the learning.

    Attributes:
        done, dropped: Pairs that were compared, and those that were drawn and never will be.
        usd, tokens: What paid ones took on `day`.
    """

    def __init__(
        self,
        current: Callable[[], Site],
        dice: Dice,
        terms: Callable[[], ShadowTerms],
        keep: Callable[[Errand, Comparison, tuple[Reply, Reply]], None] = _keep_nothing,
    ) -> None:
        """Args:
        current: Gives the site as it is now; a reload replaces it.
        dice: Draws which free shadows for learning are run, where not all are.
        keep: Told of each comparison, with its content, before the learning is.
        """
        self._current = current
        self._dice = dice
        self._terms = terms
        self._keep = keep
        self._waiting: dict[Place, deque[Errand]] = {Place.EDGE: deque(), Place.CLOUD: deque()}
        self._bytes = 0
        self._counter = 0
        self._wake = {place: asyncio.Event() for place in self._waiting}
        self.done = 0
        self.dropped = 0
        self.day = ""
        self.usd = 0.0
        self.tokens = 0

    @property
    def waiting(self) -> int:
        """Errands that wait for a second answer."""
        return sum(len(line) for line in self._waiting.values())

    def take(self, errand: Errand) -> None:
        """Takes a request that was answered; at once, and without waiting for anything (`Site.take_errand`)."""
        lesson, share = errand.lesson, self._terms().shadow_share
        is_paid = errand.outcome.target == lesson.edge
        if lesson.role is Role.LEARN and (is_paid or self._dice.random() >= share):
            return
        if not share and not is_paid:
            return
        place = Place.CLOUD if is_paid else Place.EDGE
        self._waiting[place].append(errand)
        self._bytes += _size(errand)
        while self.waiting > WAITING_MAX or self._bytes > WAITING_BYTES_MAX:
            self._drop(self._least())
        self._wake[place].set()

    async def forever(self) -> None:
        """Until cancelled; what waits then is lost, and no loss."""
        async with asyncio.TaskGroup() as group:
            for place in self._waiting:
                group.create_task(self._work(place))

    # Which one, and whether it is time.

    def _least(self) -> Errand:
        """The errand that is missed least: the oldest one for learning alone, else the oldest of all."""
        every = [errand for line in self._waiting.values() for errand in line]
        return next((errand for errand in every if errand.lesson.role is Role.LEARN), every[0])

    def _drop(self, errand: Errand) -> None:
        for line in self._waiting.values():
            if errand in line:
                line.remove(errand)
                self._bytes -= _size(errand)
        self._missed(errand)

    def _missed(self, errand: Errand) -> None:
        self.dropped += 1
        learning = self._current().learning
        # None: a reload took all promises away meanwhile.
        if learning is not None:
            learning.missed(errand.outcome.model, errand.lesson.edge, errand.lesson.role)

    async def _work(self, place: Place) -> None:
        line, wake = self._waiting[place], self._wake[place]
        while True:
            wake.clear()
            while line and self._is_time(line[0], place):
                errand = line.popleft()
                self._bytes -= _size(errand)
                try:
                    await self._run(errand, place)
                except EcotoneError:
                    # What a ledger or a store refuses costs a lesson.
                    self._missed(errand)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_EVERY_S if line else None):
                    await wake.wait()

    def _is_time(self, errand: Errand, place: Place) -> bool:
        """Whether a second answer harms nobody now."""
        site, lesson = self._current(), errand.lesson
        name = site.names.get(errand.outcome.model)
        if site.learning is None or name is None:
            return True
        if name.check == JUDGE and _is_cloud(site, name.judge) and held(site) is not None:
            # Nobody could tell before the link's next window.
            return False
        if lesson.reply is not None and place is Place.EDGE:
            # There is nothing to run: the answer was held back, and is kept.
            return True
        target = lesson.edge if place is Place.EDGE else lesson.reference
        return target not in site.targets or (site.load.allows_shadows() and is_free(site, target, 0))

    # One errand.

    async def _run(self, errand: Errand, place: Place) -> None:
        site, lesson = self._current(), errand.lesson
        name = site.names.get(errand.outcome.model)
        if site.learning is None or name is None or not {lesson.edge, lesson.reference} <= set(name.targets):
            self._missed(errand)
            return
        second = await self._second(site, errand, place)
        if second is None:
            return
        answer, outcome = second
        assert errand.answer is not None
        bodies = (answer, errand.answer) if place is Place.EDGE else (errand.answer, answer)
        endpoint = errand.request.endpoint
        replies = reply(endpoint, bodies[0]), reply(endpoint, bodies[1])
        seen = await compare(site, errand.request, lesson.question, replies, self._ask)
        if seen is None:
            self._missed(errand)
            return
        pair = _pair(errand, seen, outcome, place)
        self._keep(errand, seen, replies)
        # What is in no ledger is not learned from: nobody could tell why it is promised.
        site.journal.note("compared", pair)
        self.done += 1
        self._learn(site, errand, pair, replies[0])

    async def _second(self, site: Site, errand: Errand, place: Place) -> tuple[bytes, Outcome | None] | None:
        """The other answer of the pair; None where there is none, which is then counted, or it is put back."""
        lesson = errand.lesson
        if place is Place.EDGE and lesson.reply is not None:
            return lesson.reply, None
        target = lesson.edge if place is Place.EDGE else lesson.reference
        request = msgspec.structs.replace(errand.request, body=in_one_piece(errand.request.body), is_stream=False)
        if place is Place.EDGE:
            request, _ = with_signs(request, site.targets[target].spec)
        elif not self._can_pay(site, request, target):
            self._missed(errand)
            return None
        told = await self._ask_aside(site, request, target, "shadow", is_polite=place is Place.EDGE)
        if told is None:
            errand.tries += 1
            if errand.tries >= TRIES_MAX[lesson.role]:
                self._missed(errand)
            else:
                self._waiting[place].appendleft(errand)
                self._bytes += _size(errand)
            return None
        outcome, answer = told
        if outcome.ending != "answered" or not answer:
            self._missed(errand)
            return None
        return answer, outcome

    async def _ask_aside(
        self, site: Site, request: Request, target: str, purpose: str, *, is_polite: bool
    ) -> tuple[Outcome, bytes] | None:
        """One request of our own; None where it gave way to those who wait."""
        self._counter += 1
        name = mint_id(int(site.clock.wall_s() * 1e3), PREFIX, self._counter)
        task = asyncio.ensure_future(aside(site, request, target, purpose=purpose, name=name, limit_s=LIMIT_S))
        try:
            while not task.done():
                await asyncio.wait([task], timeout=GIVE_WAY_EVERY_S if is_polite else None)
                if is_polite and not task.done() and self._is_in_the_way(target):
                    return None
        finally:
            task.cancel()
            await asyncio.wait([task])
        outcome, answer = task.result()
        if outcome.egress_bytes:
            self._pay(site, outcome)
        return outcome, answer

    async def _ask(self, request: Request, target: str) -> bytes | None:
        """A judge's answer (`comparing.Ask`), when it harms nobody; None where there is none in time."""
        latest_s = self._current().clock.now_s() + LIMIT_S
        while (site := self._current()).clock.now_s() < latest_s:
            if target not in site.targets or request.model not in site.names:
                # A reload took it away meanwhile.
                return None
            is_cloud = _is_cloud(site, target)
            if is_cloud and (held(site) is not None or not self._can_pay(site, request, target)):
                return None
            if is_cloud or is_free(site, target, 0):
                told = await self._ask_aside(site, request, target, "judge", is_polite=not is_cloud)
                if told is not None:
                    return told[1] if told[0].ending == "answered" else None
            await asyncio.sleep(LOOK_EVERY_S)
        return None

    def _is_in_the_way(self, target: str) -> bool:
        """Whether anybody else wants this target. It counts the second answer itself, as served or as waiting."""
        site = self._current()
        found = site.targets.get(target)
        return found is None or sum(found.load()) + site.load.waiting(target) > 1

    # What it costs, and what it teaches.

    def _can_pay(self, site: Site, request: Request, target: str) -> bool:
        terms, price = self._terms(), site.targets[target].spec.price
        day = site.today()
        if day > self.day:
            self.day, self.usd, self.tokens = day, 0.0, 0
        tokens_in = request.features.prompt_tokens
        usd = price.cost_usd(tokens_in, OUTPUT_TOKENS_GUESS)
        return (
            self.usd + usd <= terms.usd_per_day
            and self.tokens + tokens_in + OUTPUT_TOKENS_GUESS <= terms.tokens_per_day
        )

    def _pay(self, site: Site, outcome: Outcome) -> None:
        # As with jobs, a metered window's own budget counts what could have waited.
        site.spend.defer(site.budgets, site.clock.wall_s(), outcome.egress_bytes)
        self.usd += outcome.cost_usd
        self.tokens += outcome.input_tokens + outcome.output_tokens

    def _learn(self, site: Site, errand: Errand, pair: Pair, edge: Reply) -> None:
        learning = site.learning
        assert learning is not None
        lesson = errand.lesson
        at_ms = int(site.clock.wall_s() * 1e3)
        steps = learning.add(pair, lesson.read, question=lesson.question, reply=edge, at_ms=at_ms)
        # It has changed, whether or not that can be written down.
        with contextlib.suppress(EcotoneError):
            note_steps(site, steps)


def _is_cloud(site: Site, target: str) -> bool:
    """Whether a target is there, and in the cloud."""
    return target in site.targets and site.targets[target].spec.at is Place.CLOUD


def note_steps(site: Site, steps: Sequence[Step]) -> None:
    """What changed in what is promised, to the ledger."""
    for step in steps:
        site.journal.note("step", step)


def _pair(errand: Errand, seen: Comparison, second: Outcome | None, place: Place) -> Pair:
    lesson, first = errand.lesson, errand.outcome
    other_s = lesson.edge_s if second is None else second.total_s
    other_usd = 0.0 if second is None else second.cost_usd
    edge = (other_s, other_usd) if place is Place.EDGE else (first.total_s, first.cost_usd)
    cloud = (first.total_s, first.cost_usd) if place is Place.EDGE else (other_s, other_usd)
    return Pair(
        request=first.request,
        model=first.model,
        target=lesson.edge,
        reference=lesson.reference,
        comparison=seen,
        role=lesson.role,
        share=lesson.share,
        placed=first.at,
        guess=lesson.guesses.get(lesson.edge),
        answer=lesson.answer_guess,
        edge_s=edge[0],
        cloud_s=cloud[0],
        edge_usd=edge[1],
        cloud_usd=cloud[1],
    )


def _size(errand: Errand) -> int:
    return len(errand.request.body) + len(errand.answer or b"") + len(errand.lesson.reply or b"")
