"""What one request may teach: its signals, the role that its pair of answers has, and what is predicted of the edge.

A pair is an edge answer and a cloud answer to the same question. The role is drawn by the request's seed before
anything is decided, so that the pairs for certifying are a plain sample of the traffic, wherever the request went.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import msgspec

from ecotone.flow.site import Site
from ecotone.ports.learning import Read
from ecotone.values import (
    Candidate,
    Egress,
    Endpoint,
    Estimate,
    Mode,
    Outcome,
    Place,
    Request,
    TargetSpec,
    Wish,
)
from ecotone.values import reasons as why
from ecotone.values.quality import Guess, Question, Role
from ecotone.wire.question import question
from ecotone.wire.reply import reply, with_logprobs

if TYPE_CHECKING:
    from ecotone.flow.planning import Plan

LOWEST: Final = -1.7976931348623157e308
"""Nothing may be risked."""

UNSURE: Final = "unsure"
"""The edge's own answer was not sure enough."""

TOP: Final = 2
"""The most likely tokens at each place, whose distance is a sign."""

_BY_QUALITY: Final = frozenset({why.EDGE_GOOD_ENOUGH, why.CLOUD_BETTER})
_APART: Final = frozenset({"n", "logprobs", "vision", "audio", "video", "file"})
"""Requests that ask for these are not compared: no checker reads such answers."""


class Lesson(msgspec.Struct):
    """What is known of one request for learning.

    Attributes:
        question: Content; gone with the request.
        read: Its signals.
        edge: The edge target that its pair is about.
        reference: The cloud target that this one is compared with.
        role, share: What the pair is for, and the probability with which that was drawn (and this edge target).
        guesses: What is predicted, by edge target.
        answer_guess: What was predicted once the edge had answered.
        reply: The edge's answer in one piece, where it came already (and was held back).
        edge_s: Seconds that it took.
    """

    question: Question
    read: Read
    edge: str
    reference: str
    role: Role
    share: float
    guesses: dict[str, Guess]
    answer_guess: Guess | None = None
    reply: bytes | None = None
    edge_s: float = 0.0

    def concerns(self, target: str) -> bool:
        """Whether an answer of this target is one of the pair."""
        return bool(self.role) and target in (self.edge, self.reference)


def lesson(site: Site, request: Request) -> Lesson | None:
    """What a request may teach; None where its model name learns nothing, or it is not one to compare answers to.

    Raises:
        RequestError: unknown model name (404).
    """
    learning = site.learning
    if learning is None or request.purpose:
        return None
    name = site.model(request.model)
    if learning.terms(name.name) is None or name.mode is Mode.CLOUD:
        return None
    edges = [target for target in name.targets if site.targets[target].spec.at is Place.EDGE]
    clouds = [target for target in name.targets if site.targets[target].spec.at is Place.CLOUD]
    if not edges or not clouds or not _is_comparable(request):
        return None
    asked = question(request.endpoint, request.body, model=request.model, key=request.key)
    read = learning.read(asked)
    edge = edges[request.seed % len(edges)]
    role, share = learning.role(name.name, request.seed, learning.mode(name.name, name.mode))
    guesses = {target: learning.guess(name.name, target, read) for target in edges}
    return Lesson(asked, read, edge, clouds[0], role, share / len(edges), guesses)


def _is_comparable(request: Request) -> bool:
    if request.endpoint is Endpoint.EMBEDDINGS or request.wish is not Wish.AUTO:
        return False
    return not _APART.intersection(request.features.needs)


def with_guesses(
    site: Site, candidates: Sequence[Candidate], lesson: Lesson, remaining_s: float | None
) -> tuple[Candidate, ...]:
    """The candidates with what is predicted of their answers' quality.

    An edge target's answer is held back where the name has a gate on answers, and there is time for the cloud after it.
    """
    assert site.learning is not None
    terms = site.learning.terms(lesson.question.model)
    has_gate = terms is not None and terms.has_answer_gate
    clouds = [one.estimate for one in candidates if one.at is Place.CLOUD]
    made = []
    for candidate in candidates:
        guess = lesson.guesses.get(candidate.target)
        if guess is not None:
            estimate = candidate.estimate
            is_held = has_gate and _is_time(estimate, clouds, remaining_s)
            gap_max = (guess.skip_above if is_held else LOWEST) if has_gate else guess.gap_max
            estimate = msgspec.structs.replace(
                estimate, gap=guess.gap, gap_max=gap_max, good=guess.good, is_held=is_held
            )
            candidate = msgspec.structs.replace(candidate, estimate=estimate)
        made.append(candidate)
    return tuple(made)


def _is_time(edge: Estimate, clouds: Sequence[Estimate], remaining_s: float | None) -> bool:
    """Whether an edge target may answer first and a cloud target still after it, by what is predicted."""
    if remaining_s is None:
        return True
    after_s = min((one.total_s_p95 for one in clouds if one.total_s_p95 is not None), default=0.0)
    return (edge.total_s_p95 or 0.0) + after_s <= remaining_s


def with_signs(request: Request, spec: TargetSpec) -> tuple[Request, bool]:
    """The request as an edge target gets it whose own answer is to be looked at: with log probabilities.

    Whether they were added.
    """
    known = spec.capabilities
    if "logprobs" in request.features.needs or (known is not None and "logprobs" not in known):
        return request, False
    body = with_logprobs(request.body, TOP)
    return msgspec.structs.replace(request, body=body), body is not request.body


def is_sure(site: Site, request: Request, lesson: Lesson, target: str, answer: bytes, took_s: float) -> bool:
    """Whether an edge target's answer may be given, by what it shows itself."""
    assert site.learning is not None
    read = reply(request.endpoint, answer)
    guess = site.learning.guess_answer(request.model, target, lesson.read, lesson.question, read)
    if target == lesson.edge:
        lesson.answer_guess, lesson.reply, lesson.edge_s = guess, answer, took_s
    return guess.gap <= guess.gap_max


class Errand(msgspec.Struct):
    """A request that was answered, and may be answered a second time elsewhere, to compare.

    Attributes:
        answer: What the caller got, in one piece; None where it was not kept.
        labels: Of the conversation; `unknown` among them where a detector has yet to look.
        tries: How often the second answer was begun.
    """

    request: Request
    lesson: Lesson
    outcome: Outcome
    answer: bytes | None
    labels: tuple[str, ...] = ()
    tries: int = 0


def learn_from(site: Site, errand: Errand, decided: Plan) -> None:
    """Tells the learning where a request went, and hands on what may be compared.

    What a rule put at the edge (privacy, an outage, a deadline) is no sample of what the gate decides, and makes no
    pair.
    """
    lesson, outcome, placed = errand.lesson, errand.outcome, decided.placement
    assert site.learning is not None
    if not placed.order:
        return
    is_by_quality = placed.reason in _BY_QUALITY
    if decided.ask.mode is Mode.EDGE:
        is_by_quality = placed.reason == why.EDGE_PINNED
    if is_by_quality and decided.ask.mode in (Mode.AUTO, Mode.EDGE):
        is_cloud = decided.at(placed.order[0]) == Place.CLOUD.value
        guess = lesson.guesses[lesson.edge]
        site.learning.placed(outcome.model, lesson.edge, guess, is_cloud=is_cloud, read=lesson.read)
    if outcome.ending != "answered" or site.take_errand is None:
        return
    is_either = outcome.target in (lesson.edge, lesson.reference) and errand.answer is not None
    both = {lesson.edge, lesson.reference} <= set(placed.order)
    may_go = both and decided.limit(lesson.reference).egress is Egress.FREE
    is_open = any(one.limit.is_open for one in decided.candidates)
    errand.labels = (*decided.labels, *(("unknown",) if is_open else ()))
    site.take_errand(errand, bool(lesson.role) and is_by_quality and is_either and may_go)
