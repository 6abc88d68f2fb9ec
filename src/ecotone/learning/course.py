"""What is learned, and what is promised, of one edge target under one model name."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from ecotone.learning import roles
from ecotone.learning.bounds import Floats
from ecotone.learning.certificate import HIGHEST, LOWEST, Certificate, Terms
from ecotone.learning.learner import Learner
from ecotone.learning.recalibration import Done, Frozen, Work, level_delta
from ecotone.learning.rows import CERTIFY_MAX, Labelled, Lessonbook
from ecotone.learning.traits import Traits
from ecotone.learning.watch import Base, Watch
from ecotone.values.quality import Gate, Guess, Pair, Role, Step

FIRST_LOOK: Final = 300
"""Pairs to certify with before the first look, and before the first after a suspension: with fewer, two points can
hardly be shown even of an edge that never fails."""

NEXT_LOOK: Final = 100
"""Further pairs after which it is asked again whether a look is hopeful."""

RENEW: Final = 500
RENEW_MAX: Final = 1_500
"""Further pairs after which a certificate that stands is made anew: as many as it rests on, within these bounds. Each
look makes the next one harder, so they come ever more rarely."""

KEEP_AFTER_DRIFT: Final = 300
"""Rows that are still learned from when they no longer agree with what comes: the newest."""

_KEEP_OLD: Final = 0.9
_NO_SHARE: Final = -1.0


class Promise(msgspec.Struct, frozen=True, kw_only=True):
    """What one edge target has to keep: its part of its name's terms.

    Attributes:
        loss_max, delta: Its part of the loss, and of the probability of being wrong.
    """

    gate: Gate
    loss_max: float
    delta: float


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """A certificate, and the frozen rule that it is about. Replaced as a whole, by one assignment."""

    certificate: Certificate
    frozen: Frozen
    base: Base


class Course:
    """One edge target under one name. Its methods belong to one thread; only `Work.run` may happen in another.

    Attributes:
        edge, cloud: Versions of the two models that the evidence is about.
        standing: The certificate in force, or None.
        why: Why the promise is suspended, or `''`.
        attempts: Looks that were taken at pairs: each makes the next one harder.
        epoch: Changes whenever what was known became void.
        needed: About how many more pairs it would take; None where that is not known, or none would do.
        learned, arrived, missed: Pairs learned from; pairs to certify with that came, and that never did.
        seen, at_look: Pairs to certify with since the promise was begun; and how many of them make a look due.
        numbered: Certificates so far.
    """

    __slots__ = (
        "_is_stale",
        "answer",
        "arrived",
        "at_look",
        "attempts",
        "book",
        "cloud",
        "edge",
        "epoch",
        "learned",
        "missed",
        "needed",
        "numbered",
        "promise",
        "prompt",
        "seen",
        "standing",
        "watch",
        "why",
    )  # fmt: skip

    def __init__(self, edge: str, cloud: str, promise: Promise) -> None:
        self.edge, self.cloud, self.promise = edge, cloud, promise
        self.epoch = 0
        self.numbered = 0
        self.attempts = 0
        self.why = ""
        self._start()

    def _start(self) -> None:
        self.book = Lessonbook()
        self.prompt = Learner()
        self.answer: Learner | None = None
        self.standing: Standing | None = None
        self.watch: Watch | None = None
        self.learned = self.arrived = self.missed = self.seen = 0
        self.at_look = FIRST_LOOK
        self._is_stale = False
        self.needed: int | None = None

    # What is asked while a request waits.

    def guess(self, traits: Traits, price: float) -> Guess:
        """What is predicted from the prompt, and how much may be risked on it."""
        standing = self.standing
        gap, sd, good = (self.prompt if standing is None else standing.frozen.prompt).guess(traits)
        if self.promise.gate is Gate.ANSWER:
            if standing is None:
                return Guess(gap=gap, sd=sd, good=good, skip_above=LOWEST)
            skip_above = standing.frozen.skip_above if standing.frozen.knows(traits) else LOWEST
            return Guess(gap=gap, sd=sd, good=good, skip_above=skip_above, certificate=standing.certificate.number)
        if standing is None:
            return Guess(gap=gap, sd=sd, good=good)
        shown = standing.certificate
        gap_max = min(shown.gap_max, price) if standing.frozen.knows(traits) else LOWEST
        return Guess(gap=gap, sd=sd, good=good, gap_max=gap_max, certificate=shown.number)

    def guess_answer(self, traits: Traits, signs: Floats, price: float) -> Guess:
        """What is predicted once the edge has answered, and how much may be risked on it."""
        standing = self.standing
        if standing is not None and standing.frozen.answer is not None and standing.frozen.answer.signs == len(signs):
            gap, sd, good = standing.frozen.answer.guess(traits, signs)
            shown = standing.certificate
            return Guess(gap=gap, sd=sd, good=good, gap_max=min(shown.gap_max, price), certificate=shown.number)
        if self.answer is not None and self.answer.signs == len(signs):
            gap, sd, good = self.answer.guess(traits, signs)
        else:
            gap, sd, good = self.prompt.guess(traits)
        return Guess(gap=gap, sd=sd, good=good)

    def share(self, most: float, *, is_free: bool) -> float:
        """Share of the requests whose pairs are to certify.

        Args:
            most: Largest share that may be paid for.
            is_free: Nothing is placed at the edge, so that no pair costs anything.
        """
        if is_free:
            return roles.SHARE_FREE
        if self.standing is None:
            return most
        shown = self.standing.certificate
        return roles.share_standing(shown.edge_share, shown.loss_max, shown.loss, shown.pairs, most)

    # What comes back.

    def placed(self, gap: float, groups: tuple[int, ...]) -> str:
        """A request was placed; why the promise should be suspended, or `''`."""
        if self.watch is None:
            return ""
        self.watch.placed(gap, groups)
        return self.watch.why()

    def miss(self, role: Role) -> None:
        """A pair that was drawn will never come."""
        if role is Role.CERTIFY:
            self.missed += 1

    def add(self, pair: Pair, traits: Traits, signs: Floats | None) -> str:
        """Takes a pair; why the promise should be suspended, or `''`."""
        gap = min(1.0, max(-1.0, pair.comparison.gap))
        certifies = pair.role is Role.CERTIFY
        if certifies and self.promise.gate is Gate.ANSWER and signs is None:
            self.missed += 1
            return ""
        self._compare(pair, traits, signs, gap)
        packed = b"" if signs is None else signs.tobytes()
        if certifies:
            self.arrived += 1
            self.seen += 1
            self.book.certify.append(Labelled(traits, gap, packed, self.book.next_number()))
            if self.arrived > CERTIFY_MAX:
                # The older half of what came, and of what did not, no longer counts.
                self.arrived, self.missed = self.arrived // 2, self.missed // 2
        else:
            foreseen = self._learn(traits, gap, signs)
            row = Labelled(traits, gap, packed, self.book.next_number(), foreseen)
            self.book.learn(row, is_plain=self.standing is None)
        return "" if self.watch is None else self.watch.why()

    def _learn(self, traits: Traits, gap: float, signs: Floats | None) -> float:
        """Learns one label; what the gate would have predicted before."""
        self.learned += 1
        foreseen = self.prompt.guess(traits)[0]
        self.prompt.learn(traits, gap)
        if self.promise.gate is Gate.PROMPT or signs is None:
            return foreseen
        if self.answer is None or self.answer.signs != len(signs):
            self.answer = Learner(len(signs))
        foreseen = self.answer.guess(traits, signs)[0]
        self.answer.learn(traits, gap, signs)
        return foreseen

    def _compare(self, pair: Pair, traits: Traits, signs: Floats | None, gap: float) -> None:
        """Holds a pair against the certificate that stands."""
        standing, watch = self.standing, self.watch
        if standing is None or watch is None:
            return
        guess = pair.guess
        is_same = guess is not None and guess.certificate == standing.certificate.number
        prompt_gap = guess.gap if guess is not None and is_same else standing.frozen.prompt.guess(traits)[0]
        score = standing.frozen.score(traits, signs, prompt_gap)
        is_edge = score <= standing.certificate.gap_max
        watch.compared(score, gap, traits.groups, is_edge=is_edge, certifies=pair.role is Role.CERTIFY)

    # What voids it.

    def suspend(self, why: str, step: Callable[..., Step]) -> Step:
        """Takes the promise back: new evidence is wanted. What disagrees with it is no longer learned from."""
        figures = {} if self.watch is None else self.watch.figures()
        number = 0 if self.standing is None else self.standing.certificate.number
        self.standing, self.watch, self.why = None, None, why
        self.epoch += 1
        self.book.forget(KEEP_AFTER_DRIFT if why in ("drift.loss", "drift.calibration") else self.book.number + 1)
        self.arrived = self.missed = self.seen = 0
        self.at_look = FIRST_LOOK
        self._is_stale = True
        return step("suspended", why=why, certificate=number, figures=figures)

    def void(self, why: str, step: Callable[..., Step], *, is_new_model: bool) -> Step | None:
        """Takes back what no longer fits: the promise; and with a new model, all that was learned. None where there
        was nothing to take back."""
        had = self.standing is not None or (is_new_model and self.book.number > 0)
        number = 0 if self.standing is None else self.standing.certificate.number
        self.epoch += 1
        if is_new_model:
            # A new model is a new promise: its looks are counted from the first.
            self.attempts, self.why = 0, "" if number == 0 else why
            self._start()
        elif self.standing is not None:
            self.standing, self.watch, self.why = None, None, why
            self.at_look = 0
        else:
            self.at_look = min(self.at_look, FIRST_LOOK)
        return step("voided", why=why, certificate=number) if had else None

    def resume(
        self, standing: Standing | None, watch: Watch | None, *, at_look: int, why: str, needed: int | None
    ) -> None:
        """Goes on where a former life of the process ended. The learners are fitted anew from the rows."""
        self.standing, self.watch = standing, watch
        self.at_look, self.why, self.needed = at_look, why, needed
        self._is_stale = self.book.number > 0

    # Heavy work.

    @property
    def is_due(self) -> bool:
        """It is time for a fit, or for a look."""
        return self._is_fit or self._is_look

    @property
    def _is_fit(self) -> bool:
        return self._is_stale or self.prompt.is_due or (self.answer is not None and self.answer.is_due)

    @property
    def _is_look(self) -> bool:
        return len(self.book.certify) >= FIRST_LOOK and self.seen >= self.at_look

    def prepare(self, model: str, target: str) -> Work:
        """Copies of all that a fit and a look need."""
        return Work(
            model=model,
            target=target,
            epoch=self.epoch,
            number=self.book.number,
            gate=self.promise.gate,
            rows=self.book.rows(),
            plain=self.book.plain(),
            certify=list(self.book.certify),
            missing=self.missed,
            terms=Terms(self.promise.loss_max, level_delta(self.promise.delta, self.attempts + 1)),
            is_fit=self._is_fit,
            is_look=self._is_look,
            is_standing=self.standing is not None,
        )

    def finish(self, done: Done, at_ms: int, step: Callable[..., Step]) -> Sequence[Step]:
        """Takes over what heavy work came to; nothing where it became void meanwhile."""
        work = done.work
        if work.epoch != self.epoch:
            return ()
        if done.prompt is not None:
            self.prompt, self.answer, self._is_stale = done.prompt, done.answer, False
            for row in self.book.rows():
                if row.number > work.number:
                    self._catch_up(row)
        if not work.is_look:
            return ()
        self.needed = done.pairs_needed
        self.attempts += done.was_look
        if done.certificate is None or done.frozen is None or done.base is None:
            wait = max(NEXT_LOOK, len(work.certify) // 3) if done.was_look else NEXT_LOOK
            self.at_look = self.seen + (self._renew() if work.is_standing else wait)
            figures = {"pairs": float(len(work.certify)), "looks": float(self.attempts)}
            if self.needed is not None:
                figures["pairs_needed"] = float(self.needed)
            return () if work.is_standing or not done.was_look else (step("not_yet", figures=figures),)
        return self._stand(done.certificate, done.frozen, done.base, at_ms, step)

    def _stand(
        self, shown: Certificate, frozen: Frozen, base: Base, at_ms: int, step: Callable[..., Step]
    ) -> Sequence[Step]:
        self.at_look = self.seen + self._renew()
        share = _NO_SHARE if self.standing is None else self.standing.certificate.edge_share
        if shown.edge_share < _KEEP_OLD * share:
            return ()
        self.numbered += 1
        shown = msgspec.structs.replace(shown, number=self.numbered, at_ms=at_ms)
        self.standing = Standing(certificate=shown, frozen=frozen, base=base)
        self.watch = Watch(base, shown.loss_max)
        self.why, self.needed = "", None
        return (step("certified", certificate=shown.number, figures=shown_figures(shown)),)

    def _renew(self) -> int:
        return min(RENEW_MAX, max(RENEW, len(self.book.certify)))

    def _catch_up(self, row: Labelled) -> None:
        """A row came while the learners were fitted in another thread."""
        self.prompt.learn(row.traits, row.gap)
        signs = row.vector
        if self.answer is not None and signs is not None and len(signs) == self.answer.signs:
            self.answer.learn(row.traits, row.gap, signs)


def shown_figures(shown: Certificate) -> dict[str, float]:
    """A certificate's numbers, all of them finite."""
    names = (
        "gap_max", "loss", "loss_bound", "harm", "harm_bound", "selective", "edge_share", "pairs", "missing",
        "loss_max", "delta",
    )  # fmt: skip
    values = {name: float(getattr(shown, name)) for name in names}
    assert all(math.isfinite(value) for value in values.values())
    values["is_all"] = float(shown.gap_max >= HIGHEST)
    return values
