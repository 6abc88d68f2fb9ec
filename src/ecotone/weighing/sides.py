"""One configuration against what was recorded: its share, loss, cost and latency, each request at a time.

Where a configuration sends a request the way it went, what happened is known. Where it does not, a model says what
would have happened (the recorded estimates), and the requests whose answers were compared correct the model
(`doubly_robust`). The loss of quality is never seen but in such pairs.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from ecotone.values import Candidate, Estimate, Place, Placement
from ecotone.values.quality import Pair, Role
from ecotone.weighing.cases import Case
from ecotone.weighing.doubly_robust import Estimator, Quantiles
from ecotone.weighing.spread import Band, Histogram, share_band

__all__ = ["Again", "Difference", "Outcome", "Side", "Sides", "Told"]


class Again(msgspec.Struct, frozen=True, gc=False):
    """A request decided again.

    Attributes:
        edge: The edge target in question: a pair says something of it if it is of this one.
        answer_max: With an answer that is held back: it is given where its predicted gap is at most this.
        unknown: Targets of the configuration of which the ledger says nothing; they were left out.
        is_unlooked: It would go to the cloud, and not all detectors have looked at it: they might hold it back.
        is_recorded: Its thresholds are those that were in force.
    """

    placement: Placement
    candidates: tuple[Candidate, ...]
    edge: str = ""
    answer_max: float | None = None
    unknown: tuple[str, ...] = ()
    is_unlooked: bool = False
    is_recorded: bool = True

    @property
    def first(self) -> Candidate | None:
        """Who would be asked first; None where it is refused."""
        order = self.placement.order
        return next((one for one in self.candidates if order and one.target == order[0]), None)

    @property
    def is_held(self) -> bool:
        """Whether that one's answer is looked at before it is given.

        As a site does it: only where it may be risked by what was asked, and a cloud target comes after it. A name in
        mode `edge` asks the edge all the same, and gives what it answers.
        """
        first = self.first
        if first is None or first.at is Place.CLOUD or first.estimate.is_unsure or not first.estimate.is_held:
            return False
        clouds = {one.target for one in self.candidates if one.at is Place.CLOUD}
        return not clouds.isdisjoint(self.placement.order[1:])


class Outcome(msgspec.Struct, frozen=True, gc=False):
    """One request's part in an estimate: model, truth less model where it is known, and how far they may lie apart."""

    model: float
    gained: float | None = None
    reach: tuple[float, float] = (0.0, 0.0)


class Parts(msgspec.Struct, gc=False):
    """What one request gives to one configuration; None where it says nothing of that."""

    loss: Outcome | None = None
    edge: Outcome | None = None
    cost_usd: Outcome | None = None
    total_s: Outcome | None = None


class Told(msgspec.Struct, frozen=True):
    """The figures of one configuration.

    Attributes:
        requests: Callers' requests that were decided again.
        edge_share, refused_share: Of those.
        loss: Mean loss of quality against the cloud, over the requests that the promise is about; None without them.
        cost_usd, total_s: Mean of one request.
        total_s_p50: Median, seconds.
        refusals: By obstacle.
        changed: Requests that would go first to another target than they did.
        notes: What the figures do not see.
    """

    name: str
    requests: int
    edge_share: Band | None
    refused_share: Band
    loss: Band | None
    cost_usd: Band | None
    total_s: Band | None
    total_s_p50: Band | None
    refusals: Mapping[str, int]
    changed: int
    notes: tuple[str, ...]


class Difference(msgspec.Struct, frozen=True):
    """One configuration less the first one, request by request: narrower than two bands side by side."""

    name: str
    against: str
    edge_share: Band | None
    loss: Band | None
    cost_usd: Band | None
    total_s: Band | None


class Side:
    """One configuration."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.requests = 0
        self._edge = Estimator()
        self._loss = Estimator(is_bounded=True)
        self._cost = Estimator()
        self._total = Estimator()
        self._median = Quantiles()
        self._edges = 0
        self._changed = 0
        self._held = 0
        self._kept = [1, 2]
        self._refusals: dict[str, int] = {}
        self._unknown: dict[str, int] = {}
        self._unlooked = self._unmeasured = self._unpaired = 0

    def add(self, case: Case, again: Again, seen: Mapping[str, Histogram]) -> Parts:
        """Takes one request.

        Args:
            seen: Seconds of answers so far, by target: for what no estimate is recorded.
        """
        self.requests += 1
        for target in again.unknown:
            self._unknown[target] = self._unknown.get(target, 0) + 1
        self._unlooked += again.is_unlooked
        before = case.placed.placement.order
        self._changed += again.placement.order[:1] != before[:1]
        first = again.first
        if first is None:
            word = again.placement.reason.partition(".")[2]
            self._refusals[word] = self._refusals.get(word, 0) + 1
            return self._refused(case)
        parts = _Case(case, again, first, self._kept[0] / self._kept[1]).parts(seen)
        self._held += again.is_held
        self._edges += first.at is Place.EDGE
        self._learn(case, again)
        self._unmeasured += parts.total_s is None and case.ended is not None
        is_moved = case.is_promised and first.at is Place.EDGE
        self._unpaired += is_moved and first.target != again.edge
        self._take(parts, case)
        return parts

    def told(self, confidence: float) -> Told:
        """The figures."""
        share = share_band(self._edges, self.requests, confidence) if self.requests else None
        return Told(
            name=self.name,
            requests=self.requests,
            edge_share=self._edge.band(confidence) if self._held else share,
            refused_share=share_band(sum(self._refusals.values()), self.requests, confidence),
            loss=self._loss.band(confidence),
            cost_usd=self._cost.band(confidence),
            total_s=self._total.band(confidence),
            total_s_p50=self._median.quantile(0.5, confidence),
            refusals=self._refusals,
            changed=self._changed,
            notes=self._notes(),
        )

    def _refused(self, case: Case) -> Parts:
        """Nobody answers: it costs nothing, and loses nothing of what is promised; refusals are counted."""
        pair = case.pair if case.pair is not None and case.pair.role == Role.CERTIFY else None
        nothing = Outcome(0.0, None if pair is None else 0.0)
        parts = Parts(
            loss=nothing if case.is_promised else None,
            edge=nothing,
            cost_usd=nothing if case.ended is not None else None,
        )
        self._take(parts, case)
        return parts

    def _take(self, parts: Parts, case: Case) -> None:
        drawn = draw(case)
        for estimator, part in (
            (self._loss, parts.loss),
            (self._edge, parts.edge),
            (self._cost, parts.cost_usd),
            (self._total, parts.total_s),
        ):
            if part is not None:
                estimator.add(part.model, part.gained, drawn, part.reach)
        if parts.total_s is not None:
            gained = parts.total_s.gained
            self._median.add(parts.total_s.model, None if gained is None else parts.total_s.model + gained, drawn)

    def _learn(self, case: Case, again: Again) -> None:
        """How often answers that were held back were given, as far as that was seen."""
        if again.is_held and case.answered_at and case.placed.placement.order[:1] == again.placement.order[:1]:
            self._kept[0] += case.answered_at == "edge"
            self._kept[1] += 1

    def _notes(self) -> tuple[str, ...]:
        said = [f"target {name}: nothing is recorded of it; it was left out" for name in sorted(self._unknown)]
        for count, words in (
            (self._unlooked, "would go to the cloud before all detectors had looked: they might hold some back"),
            (self._unmeasured, "have no recorded time at that target: latency leaves them out"),
            (self._unpaired, "would move to a target with which no answers were compared: their loss is a guess"),
        ):
            if count:
                said.append(f"{count} requests {words}")
        return tuple(said)


class Sides:
    """Some configurations side by side, the first one being what the others are held against."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self.sides = tuple(Side(name) for name in names)
        self._apart = {name: _Apart() for name in names[1:]}
        self._seen: dict[str, Histogram] = {}

    def add(self, case: Case, again: tuple[Again, ...]) -> None:
        """Takes one request, decided by each configuration."""
        parts = [side.add(case, one, self._seen) for side, one in zip(self.sides, again, strict=True)]
        for apart, other in zip(self._apart.values(), parts[1:], strict=True):
            apart.add(parts[0], other, draw(case))
        if case.answered_at and case.ended is not None:
            self._seen.setdefault(case.ended.target, Histogram()).add(case.ended.total_s)

    def told(self, confidence: float) -> tuple[tuple[Told, ...], tuple[Difference, ...]]:
        """The figures of each, and of each but the first its difference to the first."""
        first = self.sides[0].name
        return (
            tuple(side.told(confidence) for side in self.sides),
            tuple(apart.told(name, first, confidence) for name, apart in self._apart.items()),
        )


class _Apart:
    """Differences of two configurations."""

    def __init__(self) -> None:
        self._estimators = {
            "edge": Estimator(),
            "loss": Estimator(is_bounded=True),
            "cost_usd": Estimator(),
            "total_s": Estimator(),
        }

    def add(self, first: Parts, other: Parts, share: float | None) -> None:
        """Takes one request."""
        for name, estimator in self._estimators.items():
            one, two = getattr(first, name), getattr(other, name)
            if one is not None and two is not None:
                has_both = one.gained is not None and two.gained is not None
                gained = two.gained - one.gained if has_both else None
                reach = _reach_apart(one, two)
                estimator.add(two.model - one.model, gained, share, reach)

    def told(self, name: str, against: str, confidence: float) -> Difference:
        """The figures."""
        bands = {word: estimator.band(confidence) for word, estimator in self._estimators.items()}
        return Difference(name, against, bands["edge"], bands["loss"], bands["cost_usd"], bands["total_s"])


def _reach_apart(one: Outcome, two: Outcome) -> tuple[float, float]:
    """How far the difference may lie from its model. Both would lose the same where both use the same target."""
    if one.reach == two.reach and one.model == two.model:
        return 0.0, 0.0
    return two.reach[0] - one.reach[1], two.reach[1] - one.reach[0]


def draw(case: Case) -> float | None:
    """With which probability a request was drawn to show both answers; None where it could not be.

    Only of those that were drawn to certify it matters how likely that was: of the others the estimates only need to
    know that they could have been.
    """
    return case.placed.ask.role_share if case.is_promised else None


class _Case:
    """One request under one configuration."""

    def __init__(self, case: Case, again: Again, first: Candidate, kept: float) -> None:
        """Begins.

        Args:
            kept: How often answers that were held back are given; 1 where none is held back.
        """
        self._case, self._again, self._first = case, again, first
        self._is_edge = first.at is Place.EDGE
        self._is_held = again.is_held
        pair = case.pair
        is_mine = pair is not None and pair.role == Role.CERTIFY and pair.target == again.edge
        self._pair = pair if is_mine else None
        order = case.placed.placement.order
        self._is_same = order[:1] == (first.target,) and (not self._is_held or again.is_recorded)
        self._stays = self._stay_share(kept)

    def parts(self, seen: Mapping[str, Histogram]) -> Parts:
        """What it gives."""
        pair = self._pair
        truth = None if pair is None else self._stays_by(pair)
        return Parts(
            loss=self._loss(truth) if self._case.is_promised else None,
            edge=Outcome(self._stays, None if truth is None else truth - self._stays),
            cost_usd=self._cost(truth),
            total_s=self._time(truth, seen),
        )

    def _stay_share(self, kept: float) -> float:
        """1 where the edge answers in the end, 0 where the cloud does; between where only a model knows."""
        if not self._is_edge:
            return 0.0
        if not self._is_held:
            return 1.0
        if self._is_same and self._case.answered_at:
            return float(self._case.answered_at == "edge")
        return kept

    def _stays_by(self, pair: Pair) -> float:
        """The same, by what the pair shows."""
        limit = self._again.answer_max
        if not self._is_held or pair.answer is None:
            return self._stays
        return float(pair.answer.gap <= (pair.answer.gap_max if limit is None else limit))

    def _loss(self, truth: float | None) -> Outcome:
        known = self._case.placed.candidate(self._first.target)
        gap = known.estimate.gap if known is not None else None
        model = self._stays * (gap or 0.0)
        reach = (-1.0 - model, 1.0 - model) if self._is_edge else (0.0, 0.0)
        if self._pair is None or truth is None:
            return Outcome(model, None, reach)
        return Outcome(model, truth * self._pair.comparison.gap - model, reach)

    def _cost(self, truth: float | None) -> Outcome | None:
        """US dollars. A pair's cloud price is put on the configuration's prices."""
        ended, pair = self._case.ended, self._pair
        if ended is None:
            return None
        cloud = self._cloud()
        if self._is_same:
            return Outcome(ended.cost_usd, None if pair is None else 0.0)
        price_usd = cloud.price_usd if cloud is not None else 0.0
        edge_usd = self._first.estimate.price_usd if self._is_edge else 0.0
        model = edge_usd + (1 - self._stays) * price_usd
        if pair is None or truth is None:
            return Outcome(model)
        before = self._case.placed.candidate(pair.reference)
        recorded_usd = before.estimate.price_usd if before is not None else 0.0
        cloud_usd = pair.cloud_usd * price_usd / recorded_usd if recorded_usd else price_usd
        return Outcome(model, (edge_usd if self._is_edge else 0.0) + (1 - truth) * cloud_usd - model)

    def _time(self, truth: float | None, seen: Mapping[str, Histogram]) -> Outcome | None:
        """Seconds until the answer is whole; None where nothing is known of it."""
        ended, pair = self._case.ended, self._pair
        if ended is None or not self._case.answered_at:
            return None
        if self._is_same:
            return Outcome(ended.total_s, None if pair is None else 0.0)
        edge_s = _seconds(self._first.target, self._first.estimate, seen) if self._is_edge else 0.0
        cloud = self._cloud()
        name = self._cloud_name()
        cloud_s = 0.0 if self._stays == 1.0 else _seconds(name, cloud, seen)
        if edge_s is None or cloud_s is None:
            return None
        model = edge_s + (1 - self._stays) * cloud_s
        if pair is None or truth is None:
            return Outcome(model)
        if (self._is_edge and not pair.edge_s) or (truth < 1 and not pair.cloud_s):
            return Outcome(model)  # nobody measured it
        return Outcome(model, (pair.edge_s if self._is_edge else 0.0) + (1 - truth) * pair.cloud_s - model)

    def _cloud_name(self) -> str:
        """The cloud target that answers where the edge does not."""
        if not self._is_edge:
            return self._first.target
        clouds = {one.target for one in self._again.candidates if one.at is Place.CLOUD}
        return next((name for name in self._again.placement.order if name in clouds), "")

    def _cloud(self) -> Estimate | None:
        name = self._cloud_name()
        return next((one.estimate for one in self._again.candidates if one.target == name), None)


def _seconds(target: str, estimate: Estimate | None, seen: Mapping[str, Histogram]) -> float | None:
    """What an answer there takes: as was estimated, else as was seen so far."""
    if estimate is not None and estimate.total_s_p50 is not None:
        return estimate.total_s_p50
    return seen[target].quantile(0.5) if target in seen else None
