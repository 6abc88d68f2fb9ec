"""What `ecotone report` says of each model name: counts while the ledger passes by, figures at the end."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Final

import msgspec

from ecotone.values.quality import Pair, Role, Step
from ecotone.weighing.cases import Case
from ecotone.weighing.clusters import Bring, Cluster, clusters, would_bring
from ecotone.weighing.comparable import Basis, comparable, of_era
from ecotone.weighing.frontier import Allowed, Point, allowed, frontier, pairs_needed
from ecotone.weighing.pairs import Pairs, Table, row
from ecotone.weighing.spread import Band, Histogram, mean_band

__all__ = ["Cost", "Latency", "Name", "Parity", "Promise", "Report", "StepTold", "Terms"]

STEPS_MAX: Final = 50
_WORDS_MAX: Final = 100
_MOVED: Final = 0.9
"""A cluster of which the edge answers more counts as moved."""
_MISSING_MAX: Final = 0.1
"""Where more of the pairs that were drawn are missing, each counts as the worst. The same rule as the certificate's."""
_GONE: Final = ("suspended", "voided")
_EVERY: Final = "…"


class Terms(msgspec.Struct, frozen=True):
    """What a name promises; `is_known` is False where nobody said, and the defaults stand."""

    loss_max: float = 0.02
    confidence: float = 0.95
    is_known: bool = True


class Latency(msgspec.Struct, frozen=True):
    """Seconds until the first byte and until the end of answers, as callers saw them; None without any."""

    answers: int
    ttft_s_p50: float | None
    ttft_s_p95: float | None
    total_s_p50: float | None
    total_s_p95: float | None
    total_s_mean: float | None


class Cost(msgspec.Struct, frozen=True):
    """US dollars, and bytes that left.

    Attributes:
        spent_usd: On all answers to callers.
        avoided_usd: Predicted cloud price of what the edge answered under the promise.
        shadows_usd: What finding out cost: answers checked in the cloud, and judges there.
        saved_usd: `avoided_usd` less `shadows_usd`.
    """

    spent_usd: float
    avoided_usd: float
    shadows_usd: float
    saved_usd: float
    egress_bytes: int


class Parity(msgspec.Struct, frozen=True):
    """What the edge's answers under the promise cost in quality, by pairs that were drawn to certify.

    Attributes:
        loss: Over all requests that the promise is about: what `loss_max` speaks of.
        selective: Mean gap of those that the edge answered.
        certify_pairs, learn_pairs: Compared so far.
        missing: Drawn to certify, and never compared; where they are many, `loss` counts each as the worst.
        is_kept: Whether the upper end of `loss` is within the promise; None where the band says neither.
    """

    loss: Band
    selective: Band
    certify_pairs: int
    learn_pairs: int
    missing: int
    is_kept: bool | None


class StepTold(msgspec.Struct, frozen=True):
    """A step of the ladder or of a certificate, and when it was taken."""

    at_ms: int
    step: Step


class Promise(msgspec.Struct, frozen=True):
    """How the promise stands.

    Attributes:
        state: By target and gate: the last thing that happened to its certificate, or `none`.
        supported: What the pairs on record would support now.
        pairs_needed: How many more of them until 5 % of the traffic could move; None: no number will do.
        basis: What `supported` stands on.
    """

    terms: Terms
    state: Mapping[str, str]
    supported: Allowed
    pairs_needed: int | None
    basis: Basis


class Report(msgspec.Struct, frozen=True):
    """All that is said of one model name.

    Attributes:
        requests: All, and by how they ended.
        placed: Answers by place: `edge`, `cloud`.
        why: Reason codes.
        eligible: Requests that the promise is about.
        moved: Of those, answered at the edge under the promise; `escalated`: asked there, and then the cloud.
        forced: Answers at the edge that a rule or a failure forced, or that nothing is promised for, by reason: apart.
        feedback: Number of callers' scores, and their mean.
        basis: Whose guesses the curve (`frontier`) and `bigger_edge` stand on.
    """

    requests: Mapping[str, int]
    placed: Mapping[str, int]
    why: Mapping[str, int]
    eligible: int
    moved: int
    escalated: int
    forced: Mapping[str, int]
    cost: Cost
    latency: Mapping[str, Latency]
    parity: Parity
    promise: Promise
    frontier: tuple[Point, ...]
    clusters: tuple[Cluster, ...]
    bigger_edge: tuple[Bring, ...]
    steps: tuple[StepTold, ...]
    feedback: Mapping[str, float]
    basis: Basis


class Name:
    """Counts of one model name."""

    def __init__(self) -> None:
        self.certify = Pairs()
        self.learned = 0
        self._requests: dict[str, int] = {"all": 0}
        self._placed: dict[str, int] = {}
        self._why: dict[str, int] = {}
        self._forced: dict[str, int] = {}
        self._eligible = self._moved = self._escalated = 0
        self._missing_moved = self._missing = 0
        self._spent_usd = self._avoided_usd = self._shadows_usd = 0.0
        self._egress_bytes = 0
        self._ttft: dict[str, Histogram] = {"edge": Histogram(), "cloud": Histogram()}
        self._total: dict[str, Histogram] = {"edge": Histogram(), "cloud": Histogram()}
        self._steps: deque[StepTold] = deque(maxlen=STEPS_MAX)
        self._state: dict[str, str] = {}
        self._standing: dict[str, Step] = {}
        self._era = 0
        self._parts: dict[str, float] = {}
        self._confidence = Terms().confidence
        self._scores = 0
        self._score_sum = 0.0

    def case(self, case: Case) -> None:
        """Counts one request. What the site asked by itself, to find out, only costs."""
        if case.placed.purpose:
            self._shadows_usd += case.ended.cost_usd if case.ended is not None else 0.0
            return
        at = case.answered_at
        _count(self._requests, "all")
        _count(self._requests, case.ended.ending if case.ended is not None else "unknown")
        _count(self._why, case.reason)
        self._eligible += case.is_promised
        self._escalated += case.is_escalated
        if at:
            _count(self._placed, at)
        if at == "edge" and not case.is_moved:
            _count(self._forced, case.reason)
        if case.is_moved:
            self._moved += 1
            cloud = case.placed.cloud
            self._avoided_usd += cloud.estimate.price_usd if cloud is not None else 0.0
        self._measured(case, at)
        if case.pair is not None:
            self.pair(case.pair, case)
        elif case.is_awaited:
            self._missing += 1
            self._missing_moved += case.is_moved

    def pair(self, pair: Pair, case: Case | None) -> None:
        """Counts a comparison; `case` is None where its request was given out before it came."""
        if pair.role != Role.CERTIFY:
            self.learned += 1
            return
        if case is None and self._missing:
            self._missing -= 1  # it was counted as missing when its request was given out
        one = row(pair, case, self._era)
        if one is not None:
            self.certify.add(one)

    def step(self, at_ms: int, step: Step) -> None:
        """Takes a step."""
        self._steps.append(StepTold(at_ms, step))
        where = f"{step.target} ({step.gate})"
        if step.what not in ("advanced", "fell_back"):
            self._state[where] = step.what if not step.why else f"{step.what}: {step.why}"
        if step.what == "certified":
            self._standing[step.target] = step
        elif step.what in _GONE:
            self._standing.pop(step.target, None)
            # With another model behind a name, older pairs are of something else.
            self._era += step.why.startswith("version.")
        if "loss_max" in step.figures:
            self._parts[step.target] = step.figures["loss_max"]
        self._confidence = step.figures.get("confidence", self._confidence)

    def feedback(self, score: float) -> None:
        """Takes a caller's score."""
        self._scores += 1
        self._score_sum += score

    def report(self, terms: Terms | None = None) -> Report:
        """The figures; terms that nobody gives are those of the last step, else the defaults."""
        terms = terms or self._said_terms()
        table = self.certify.table()
        base, basis = comparable(table, self._era)
        told = clusters(table, terms.confidence)
        return Report(
            requests=self._requests,
            placed=self._placed,
            why=self._why,
            eligible=self._eligible,
            moved=self._moved,
            escalated=self._escalated,
            forced=self._forced,
            cost=Cost(
                self._spent_usd,
                self._avoided_usd,
                self._shadows_usd,
                self._avoided_usd - self._shadows_usd,
                self._egress_bytes,
            ),
            latency={place: _latency(self._ttft[place], self._total[place]) for place in self._ttft},
            parity=self._parity(table, terms),
            promise=self._promise(table, terms),
            frontier=frontier(base, terms.confidence),
            clusters=told,
            bigger_edge=would_bring(base, _failing(told), terms.loss_max, terms.confidence) if len(base) else (),
            steps=tuple(self._steps),
            feedback=self._feedback(),
            basis=basis,
        )

    def _promise(self, table: Table, terms: Terms) -> Promise:
        """How the promise stands: by the certificate, where its own guesses are too few to find that again."""
        base, basis = comparable(of_era(table, self._era), self._era)
        supported = allowed(base, terms.loss_max, terms.confidence)
        needed = pairs_needed(base, terms.loss_max, terms.confidence)
        standing = next(iter(self._standing.values())) if len(self._standing) == 1 else None
        if standing is not None and basis.certificate != standing.certificate and self._is_under(standing, terms):
            said = standing.figures
            supported = Allowed(said["edge_share"], said["gap_max"], said["loss"])
            basis = Basis("certificate", int(said["pairs"]), standing.certificate)
            needed = 0
        return Promise(terms, self._state, supported, needed, basis)

    def _is_under(self, step: Step, terms: Terms) -> bool:
        """Whether a certificate proves these terms, and says all that is told of it."""
        said = step.figures
        is_told = {"edge_share", "gap_max", "loss", "pairs", "loss_max", "delta"} <= said.keys()
        return is_told and self._said_terms().loss_max <= terms.loss_max and said["delta"] <= 1 - terms.confidence

    def _measured(self, case: Case, at: str) -> None:
        """Time and money."""
        ended = case.ended
        if ended is None:
            return
        self._spent_usd += ended.cost_usd
        self._egress_bytes += ended.egress_bytes
        if at in self._total:
            self._total[at].add(ended.total_s)
            if ended.ttft_s is not None:
                self._ttft[at].add(ended.ttft_s)

    def _said_terms(self) -> Terms:
        """As certificates say: edge targets of one name share what it may lose."""
        loss_max = sum(self._parts.values()) if self._parts else Terms().loss_max
        return Terms(loss_max, self._confidence, is_known=bool(self._parts))

    def _parity(self, table: Table, terms: Terms) -> Parity:
        moved = table.is_moved
        loss = mean_band(moved * table.gap, table.weight, terms.confidence)
        if self._missing > _MISSING_MAX * (self._missing + len(table)):
            # At the worst each of them that the edge answered has gap 1.
            worst = self._missing_moved / (self._missing + len(table))
            high = min(1.0, loss.high * len(table) / (self._missing + len(table)) + worst)
            loss = Band(loss.mean, loss.low, max(high, loss.high), loss.n, f"{loss.method}, missing as the worst")
        is_kept = None
        if loss.n > 1:
            is_kept = True if loss.high <= terms.loss_max else False if loss.low > terms.loss_max else None
        return Parity(
            loss=loss,
            selective=mean_band(table.gap[moved], table.weight[moved], terms.confidence),
            certify_pairs=self.certify.count,
            learn_pairs=self.learned,
            missing=self._missing,
            is_kept=is_kept,
        )

    def _feedback(self) -> dict[str, float]:
        count = self._scores
        return {"count": count, "mean": self._score_sum / count} if count else {}


def _failing(told: tuple[Cluster, ...]) -> tuple[Cluster, ...]:
    """Those in which the edge is worse and that have not moved, the worst few."""
    return tuple(one for one in told if one.gap.mean > 0 and one.moved_share < _MOVED)[:4]


def _latency(ttft: Histogram, total: Histogram) -> Latency:
    return Latency(
        total.count,
        ttft.quantile(0.5),
        ttft.quantile(0.95),
        total.quantile(0.5),
        total.quantile(0.95),
        total.mean,
    )


def _count(counts: dict[str, int], word: str) -> None:
    """Bounded: words come out of a file."""
    word = word if word in counts or len(counts) < _WORDS_MAX else _EVERY
    counts[word] = counts.get(word, 0) + 1
