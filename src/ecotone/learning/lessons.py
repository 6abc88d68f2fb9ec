"""All that a site learns, over all model names: the port `ports.Learning`, and the doors for heavy work and storage.

What may happen at the same time: every method belongs to the event loop, but `Work.run`, which touches copies only and
may happen in any thread. A frozen rule is replaced by one assignment, so a guess sees the old one or the new one whole.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

from ecotone.learning import keeping, ladder, roles
from ecotone.learning.bounds import Floats
from ecotone.learning.certificate import HIGHEST
from ecotone.learning.course import Course, Promise, shown_figures
from ecotone.learning.ladder import Proof
from ecotone.learning.price import Price
from ecotone.learning.recalibration import Done, Work
from ecotone.learning.signals import Signals
from ecotone.learning.traits import Traits
from ecotone.values.quality import Gate, Guess, Pair, QualityTerms, Question, Reply, Role, Step
from ecotone.values.request import Mode

Signs = Callable[[Question, Reply], Floats]

NO_GUESS: Final = Guess(gap=1.0)
"""Of a target that nothing is learned of."""


class _Name:
    """One model name.

    Attributes:
        proof: What the evidence said when it was last looked at.
    """

    __slots__ = ("configured", "courses", "price", "proof", "rung", "terms")

    def __init__(self, terms: QualityTerms) -> None:
        self.terms = terms
        self.courses: dict[str, Course] = {}
        self.price = Price()
        self.configured: Mode | None = None
        self.rung = Mode.CLOUD
        self.proof = Proof.NONE

    def ceiling(self) -> float:
        """How much may be risked by price alone; the largest float where no share was asked for."""
        return HIGHEST if self.terms.cloud_share is None else self.price.value

    @property
    def mode(self) -> Mode:
        """The rung on which the name stands; `shadow` before anybody asked."""
        if self.terms.is_auto:
            return self.rung
        return ladder.by_hand(self.configured or Mode.SHADOW, self.proof)

    def share(self, placed: Mode) -> float:
        """Share of the requests that are drawn to certify.

        A name at the edge pays for each pair, with a certificate or without; on the other rungs only what a certificate
        lets pass is answered there.
        """
        is_paid = placed is Mode.EDGE or (placed is Mode.AUTO and self.look() in (Proof.SOME, Proof.ALL))
        most = self.terms.paid_share_max
        return max(course.share(most, is_free=not is_paid) for course in self.courses.values())

    def look(self) -> Proof:
        """What the evidence says now."""
        standing = [course.standing for course in self.courses.values() if course.standing is not None]
        if any(one.certificate.edge_share >= 1.0 for one in standing):
            return Proof.ALL
        if standing:
            return Proof.SOME
        return Proof.LOST if any(course.why for course in self.courses.values()) else Proof.NONE


class Lessons:
    """What a site has learned.

    The order at a start is: `load` what was kept, then `settle`; it takes back what no longer fits.
    """

    def __init__(self, secret: bytes, *, signs: Signs | None = None) -> None:
        """Args:
        secret: 16 to 64 bytes of this site: keys of groups are hashed with it.
        signs: What an answer shows of itself (`learning.signs`); without it, gates on answers learn nothing.
        """
        self._signals = Signals(secret)
        self._signs = signs
        self._names: dict[str, _Name] = {}
        self._waiting: dict[tuple[str, str], Course] = {}
        self._kept_names: dict[str, keeping.NameDump] = {}
        self._late: list[Step] = []

    # While a request waits.

    def terms(self, model: str) -> QualityTerms | None:
        """What this name promises; None where nothing is to be learned for it."""
        name = self._names.get(model)
        return None if name is None else name.terms

    def read(self, question: Question) -> Traits:
        """Takes the signals of a question."""
        return self._signals.of(question)

    def role(self, model: str, seed: int, placed: Mode) -> tuple[Role, float]:
        """What the pair of a request is for, drawn by its seed, and with which probability."""
        name = self._names.get(model)
        if name is None or placed is Mode.CLOUD or not name.courses:
            return Role.NONE, 1.0
        return roles.draw(seed, name.share(placed))

    def mode(self, model: str, configured: Mode) -> Mode:
        """The rung of the ladder on which the name stands now."""
        name = self._names.get(model)
        if name is None:
            return configured
        if name.configured is not configured:
            name.configured, name.rung = configured, configured
            if name.terms.is_auto:
                name.rung = ladder.TABLE[configured, Proof.NONE]
        return name.mode

    def guess(self, model: str, target: str, read: object) -> Guess:
        """What is predicted of this edge target before anybody answers."""
        name, course = self._course(model, target)
        return NO_GUESS if name is None or course is None else course.guess(_traits(read), name.ceiling())

    def guess_answer(self, model: str, target: str, read: object, question: Question, reply: Reply) -> Guess:
        """The same once the edge has answered."""
        name, course = self._course(model, target)
        if name is None or course is None or self._signs is None:
            return NO_GUESS
        return course.guess_answer(_traits(read), self._signs(question, reply), name.ceiling())

    # What comes back.

    def placed(self, model: str, target: str, guess: Guess, *, is_cloud: bool, read: object = None) -> None:
        """A learned decision was carried out: moves the price, and watches the traffic."""
        name, course = self._course(model, target)
        if name is None or course is None or course.standing is None:
            return
        if name.terms.cloud_share is not None:
            ceiling = course.standing.certificate.gap_max
            name.price.move(is_cloud=is_cloud, cloud_share=name.terms.cloud_share, ceiling=ceiling)
        if guess.certificate != course.standing.certificate.number:
            return
        why = course.placed(guess.gap, () if read is None else _traits(read).groups)
        if why:
            self._suspend(model, target, why)

    def add(
        self, pair: Pair, read: object, *, question: Question | None = None, reply: Reply | None = None, at_ms: int = 0
    ) -> Sequence[Step]:
        """Takes a labelled pair: to learn from, or to certify and watch with. What changed thereby."""
        name, course = self._course(pair.model, pair.target)
        if name is None or course is None or pair.role is Role.NONE:
            return self._steps()
        signs = None
        if name.terms.has_answer_gate and self._signs is not None and question is not None and reply is not None:
            signs = self._signs(question, reply)
        why = course.add(pair, _traits(read), signs)
        if why:
            self._suspend(pair.model, pair.target, why)
        return self._steps()

    def missed(self, model: str, target: str, role: Role) -> None:
        """A pair that was drawn will never come."""
        _, course = self._course(model, target)
        if course is not None:
            course.miss(role)

    def _suspend(self, model: str, target: str, why: str) -> None:
        """Suspends at once what was found to have drifted; the step is told with the next ones."""
        name = self._names[model]
        self._late.append(name.courses[target].suspend(why, _step(model, target, name.terms)))
        self._late.extend(self._climb(model, name))

    def _steps(self, steps: Sequence[Step] = ()) -> Sequence[Step]:
        """These, after those that were not told yet."""
        if not self._late:
            return steps
        late, self._late = self._late, []
        return [*late, *steps]

    def _climb(self, model: str, name: _Name) -> list[Step]:
        """Moves the name along the ladder, by what the evidence says now."""
        name.proof = name.look()
        old = name.rung
        if not name.terms.is_auto or name.configured is None:
            return []
        name.rung = ladder.TABLE[old, name.proof]
        if name.rung is old:
            return []
        what = "advanced" if ladder.is_up(old, name.rung) else "fell_back"
        return [Step(model=model, target="", what=what, why="evidence", mode_from=old, mode_to=name.rung)]

    # What the operator changes.

    def settle(
        self, names: Mapping[str, tuple[QualityTerms, Mapping[str, str], str]], *, at_ms: int = 0
    ) -> Sequence[Step]:
        """The names as they are now: what is no longer promised thereby."""
        steps: list[Step] = []
        old, self._names = self._names, {}
        for model, (terms, edges, cloud) in names.items():
            name = self._names[model] = old.get(model) or self._new_name(model, terms)
            name.terms = terms
            kept, name.courses = name.courses, {}
            for target, edge in edges.items():
                promise = _promise(terms, len(edges))
                course = kept.get(target) or self._waiting.pop((model, target), None)
                name.courses[target] = course or Course(edge, cloud, promise)
                if course is not None:
                    steps.extend(_fit_in(course, edge, cloud, promise, _step(model, target, terms)))
            steps.extend(self._climb(model, name))
        self._waiting.clear()
        self._kept_names.clear()
        return self._steps(steps)

    def _new_name(self, model: str, terms: QualityTerms) -> _Name:
        name = _Name(terms)
        kept = self._kept_names.get(model)
        if kept is not None:
            name.configured, name.rung, name.price = kept.configured, kept.rung, Price(kept.price)
        return name

    # Heavy work.

    def due(self) -> list[tuple[str, str]]:
        """(name, edge target) of which something should be fitted, or looked at, off the loop."""
        return [
            (model, target)
            for model, name in self._names.items()
            for target, course in name.courses.items()
            if course.is_due
        ]

    def prepare(self, model: str, target: str) -> Work:
        """Copies of all that heavy work needs. On the loop; then `Work.run` in any thread; then `finish` on the loop.

        Raises:
            KeyError: No such name or target.
        """
        return self._names[model].courses[target].prepare(model, target)

    def finish(self, done: Done, *, at_ms: int) -> Sequence[Step]:
        """Takes over what heavy work came to. What changed thereby; nothing where it became void meanwhile."""
        model, target = done.work.model, done.work.target
        name, course = self._course(model, target)
        if name is None or course is None:
            return ()
        steps = list(course.finish(done, at_ms, _step(model, target, name.terms)))
        return self._steps([*steps, *self._climb(model, name)])

    def recalibrate(self, model: str, target: str, at_ms: int) -> Sequence[Step]:
        """All three in one go: for benchmarks and tests, a second or two."""
        return self.finish(self.prepare(model, target).run(), at_ms=at_ms)

    # What is kept.

    def documents(self) -> list[tuple[str, str]]:
        """(name, edge target) of which there is something to keep; the target `''` stands for the name itself."""
        return [(model, target) for model, name in self._names.items() for target in ("", *name.courses)]

    def dump(self, model: str, target: str) -> bytes:
        """What `load` reads; no content in it.

        Raises:
            KeyError: No such name or target.
        """
        name = self._names[model]
        if target:
            return keeping.dump_course(name.courses[target])
        return keeping.dump_name(keeping.NameDump(name.configured, name.rung, name.price.value))

    def load(self, model: str, target: str, data: bytes) -> None:
        """Takes back what `dump` wrote; `settle` then decides what of it still fits.

        Raises:
            ValueError: It is something else, or broken: then this target starts anew.
        """
        if target:
            self._waiting[model, target] = keeping.load_course(data)
        else:
            self._kept_names[model] = keeping.load_name(data)

    # What is told.

    def figures(self, model: str) -> Mapping[str, Any]:
        """For `status`, metrics and `report`: what is promised, on what evidence, and how many pairs are wanting."""
        name = self._names.get(model)
        if name is None:
            return {}
        terms = name.terms
        return {
            "rung": str(name.mode),
            "proof": str(name.proof),
            "loss_max": terms.loss_max,
            "confidence": terms.confidence,
            "cloud_share": terms.cloud_share,
            "price": name.price.value if terms.cloud_share is not None else None,
            "targets": {
                target: _course_figures(course, name.share(name.mode)) for target, course in name.courses.items()
            },
        }

    def _course(self, model: str, target: str) -> tuple[_Name | None, Course | None]:
        name = self._names.get(model)
        return name, None if name is None else name.courses.get(target)


def _traits(read: object) -> Traits:
    """What `Lessons.read` gave out."""
    assert isinstance(read, Traits)
    return read


def _promise(terms: QualityTerms, targets: int) -> Promise:
    """An edge target's equal part of what its name promises."""
    gate = Gate.ANSWER if terms.has_answer_gate else Gate.PROMPT
    return Promise(gate=gate, loss_max=terms.loss_max / targets, delta=(1.0 - terms.confidence) / targets)


def _step(model: str, target: str, terms: QualityTerms) -> Callable[..., Step]:
    """Makes steps of this target's gate."""
    gate = Gate.ANSWER if terms.has_answer_gate else Gate.PROMPT
    return partial(_make_step, model, target, gate)


def _make_step(model: str, target: str, gate: Gate, what: str, **rest: Any) -> Step:
    return Step(model=model, target=target, gate=gate, what=what, **rest)


def _fit_in(course: Course, edge: str, cloud: str, promise: Promise, step: Callable[..., Step]) -> list[Step]:
    """Voids what a new version, or new terms, make worthless."""
    why = "version.edge" if course.edge != edge else "version.cloud" if course.cloud != cloud else ""
    is_new_model = bool(why)
    if not why and course.promise != promise:
        why = "terms"
    course.edge, course.cloud, course.promise = edge, cloud, promise
    taken = course.void(why, step, is_new_model=is_new_model) if why else None
    return [] if taken is None else [taken]


def _course_figures(course: Course, share: float) -> dict[str, Any]:
    standing, watch = course.standing, course.watch
    return {
        "gate": str(course.promise.gate),
        "loss_max": course.promise.loss_max,
        "certificate": None if standing is None else {
            "number": standing.certificate.number,
            "at_ms": standing.certificate.at_ms,
            **shown_figures(standing.certificate),
        },
        "suspended": course.why,
        "pairs_needed": course.needed,
        "learned": course.learned,
        "certifying": len(course.book.certify),
        "missing": course.missed,
        "looks": course.attempts,
        "share": share,
        "drift": None if watch is None else watch.figures(),
    }  # fmt: skip
