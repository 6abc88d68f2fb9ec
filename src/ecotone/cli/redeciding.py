"""Decides recorded requests again, as another configuration would have."""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from ecotone import config as settings
from ecotone.cli.replay_rungs import NOTHING, Ladder, Moment
from ecotone.config.tree import LocalTarget, Model
from ecotone.flow.spend import Budgets, Spend
from ecotone.placement import decide
from ecotone.policy import Policy, constrain
from ecotone.values import Candidate, Findings, Mode, Place, Price, TargetSpec
from ecotone.values.quality import Step
from ecotone.weighing.cases import Case, Placed
from ecotone.weighing.frontier import allowed
from ecotone.weighing.pairs import Pairs, row
from ecotone.weighing.sides import Again

__all__ = ["Evidence", "Recorded", "Setting", "is_reproduced"]

FOLDS: Final = 2
"""A threshold for one half of the requests is proved with the pairs of the other half: else it would praise itself."""
_DAY_MS: Final = 86_400_000


def is_reproduced(placed: Placed) -> bool:
    """Invariant 9: the recorded values, decided again, give the recorded placement."""
    return decide(placed.ask, placed.candidates) == placed.placement


class Recorded:
    """What was decided, as it was."""

    name = "as recorded"
    notes: frozenset[str] = frozenset()

    def again(self, case: Case) -> Again:
        """The recorded placement."""
        placed = case.placed
        return Again(placed.placement, placed.candidates, case.edge)


class Evidence:
    """The pairs of a ledger, and the terms under which it was recorded: what other thresholds can be proved with."""

    def __init__(self) -> None:
        self._pairs: dict[tuple[str, str, bool], tuple[Pairs, ...]] = {}
        self._parts: dict[str, dict[str, float]] = {}
        self._confidence: dict[str, float] = {}
        self._moments: dict[str, list[Moment]] = {}

    def add(self, case: Case) -> None:
        """Takes one that was drawn to certify."""
        pair = case.pair
        if pair is None or pair.role != "certify":
            return
        # What was predicted of the prompt, and where there was a look at the answer, of that.
        for of_answer in (False, True) if pair.answer is not None else (False,):
            one = row(pair if of_answer else msgspec.structs.replace(pair, answer=None), case)
            if one is not None:
                key = pair.model, pair.target, of_answer
                folds = self._pairs.setdefault(key, tuple(Pairs() for _ in range(FOLDS)))
                folds[fold(pair.request)].add(one)

    def step(self, at_ms: int, step: Step) -> None:
        """Takes a step, and what it says of the terms: edge targets of one name share what it may lose."""
        self._moments.setdefault(step.model, []).append(Moment(at_ms, step))
        if "loss_max" in step.figures:
            self._parts.setdefault(step.model, {})[step.target] = step.figures["loss_max"]
        if "confidence" in step.figures:
            self._confidence[step.model] = step.figures["confidence"]

    def is_promised(self, model: str, loss_max: float, confidence: float) -> bool:
        """Whether these were the terms when the ledger was written, as far as its certificates say."""
        parts = self._parts.get(model)
        is_same = parts is not None and math.isclose(sum(parts.values()), loss_max)
        return is_same and self._confidence.get(model, confidence) == confidence

    def ladder(self, model: str, written: Mode, terms: tuple[float, float]) -> Ladder:
        """The rungs of a name that climbs by itself, under these terms."""
        is_promised = model not in self._parts or self.is_promised(model, *terms)
        return Ladder(model, written, self._moments.get(model, ()), is_promised=is_promised)

    def has_answers(self, model: str, target: str) -> bool:
        """Whether it was recorded with looks at this edge target's own answers."""
        return (model, target, True) in self._pairs

    def thresholds(self, model: str, target: str, terms: tuple[float, float], *, of_answer: bool) -> tuple[float, ...]:
        """By fold: the threshold that the pairs of the other folds prove under these terms."""
        folds = self._pairs.get((model, target, of_answer))
        if folds is None:
            return (NOTHING,) * FOLDS
        found = [allowed(folds[1 - index].table(), *terms).gap_max for index in range(FOLDS)]
        return tuple(NOTHING if gap_max is None else gap_max for gap_max in found)


def fold(request: str) -> int:
    """Which half a request is in; the same on every machine."""
    return zlib.crc32(request.encode("utf-8", "replace")) % FOLDS


class Setting:
    """One configuration.

    Placements depend on each other by what was spent on the day: so requests must come in the order of the ledger.

    Attributes:
        notes: What it asks for and the ledger cannot show.
    """

    def __init__(self, name: str, config: settings.Config, evidence: Evidence) -> None:
        """Takes what of a configuration decides."""
        from ecotone.runtime import build

        self.name = name
        self._policy: Policy = build.policy(config)[0]
        self._models: Mapping[str, Model] = settings.model_names(config)
        self._specs = {target: _spec(target, one) for target, one in config.targets.items()}
        self._budgets: Budgets = build.budgets(config)
        self._wait_s_max = config.overload.wait_s_max
        self._evidence = evidence
        self._spend = Spend()
        self.notes: set[str] = set()
        self._proved: dict[tuple[str, str, bool], tuple[float, ...]] = {}
        self._ladders: dict[str, Ladder] = {}

    def again(self, case: Case) -> Again:
        """The request, decided by this configuration. What it would cost is counted against the day's budgets."""
        placed = case.placed
        self._spend.turn(datetime.fromtimestamp(case.at_ms // _DAY_MS * _DAY_MS / 1000, UTC).date().isoformat())
        usd_left, bytes_left = self._spend.left(self._budgets)
        model = self._models.get(placed.model)
        names = () if model is None else model.targets
        known = {name: placed.candidate(name) for name in names}
        candidates = tuple(self._candidate(placed, model, one) for one in known.values() if model and one is not None)
        ask = msgspec.structs.replace(
            placed.ask,
            mode=self._rung(case, model),
            budget_usd_left=usd_left,
            budget_bytes_left=bytes_left,
            wait_s_max=self._wait_s_max,
        )
        again = Again(
            decide(ask, candidates),
            candidates,
            edge=_edge(candidates, case),
            unknown=tuple(name for name, one in known.items() if one is None),
        )
        return self._counted(placed, again, model)

    def _rung(self, case: Case, model: Model | None) -> Mode:
        """The mode as it is written, or the rung on which a name stands that climbs by itself."""
        if model is None:
            return Mode.AUTO
        if model.advance != "auto" or model.quality is None:
            return model.mode
        name = case.placed.model
        if name not in self._ladders:
            terms = model.quality.loss_max, model.quality.confidence
            self._ladders[name] = self._evidence.ladder(name, model.mode, terms)
            self.notes.add(self._ladders[name].note)
        return self._ladders[name].rung(case)

    def _counted(self, placed: Placed, again: Again, model: Model | None) -> Again:
        """With what it would spend counted, and what the ledger cannot know marked."""
        first = again.first
        if first is None or model is None:
            return again
        if first.at is Place.CLOUD:
            self._spend.settle(0.0, 0, first.estimate.price_usd, placed.ask.body_bytes)
            before = placed.candidate(next(iter(placed.placement.order), ""))
            was_cloud = before is not None and before.at is Place.CLOUD
            return msgspec.structs.replace(again, is_unlooked=bool(placed.pending) and not was_cloud)
        if again.is_held and model.mode is Mode.EDGE and model.advance != "auto":
            self.notes.add(
                f"{placed.model}: with `cascade` answers are looked at in mode `edge` too, where a certificate stands; "
                "the cloud answers in place of those that are unsure"
            )
        is_same = self._has_recorded_terms(placed.model, model)
        limit = None if is_same else self._threshold(placed, model, first.target, of_answer=True)
        return msgspec.structs.replace(again, answer_max=limit, is_recorded=is_same)

    def _candidate(self, placed: Placed, model: Model | None, before: Candidate) -> Candidate:
        """What was recorded of a target, with this configuration's policy, prices and thresholds."""
        spec, estimate = self._specs[before.target], before.estimate
        findings = Findings(placed.labels, pending=placed.pending)
        limit = constrain(self._policy, findings, spec, key=placed.key, model=placed.model)
        estimate = msgspec.structs.replace(
            estimate,
            price_usd=spec.price.cost_usd(placed.ask.prompt_tokens, estimate.output_tokens),
            **self._gates(placed, model, before),
        )
        return msgspec.structs.replace(before, at=spec.at, limit=limit, estimate=estimate)

    def _gates(self, placed: Placed, model: Model | None, before: Candidate) -> dict[str, Any]:
        """What this configuration makes of what was predicted of an edge target's answer."""
        estimate, target = before.estimate, before.target
        if model is None or model.quality is None or estimate.gap is None or self._specs[target].at is Place.CLOUD:
            return {"gap": None, "gap_max": None, "good": None, "is_held": False}
        is_same = self._has_recorded_terms(placed.model, model)
        is_held = model.cascade and self._evidence.has_answers(placed.model, target)
        if model.cascade and not is_held:
            self.notes.add(
                f"{placed.model}: the ledger holds no looks at answers of {target}; replayed without `cascade`"
            )
        if is_held:
            if is_same:
                return {}
            # With other terms nobody knows where asking the edge would have been in vain: it is asked, unless nothing
            # that it answers could be given.
            is_vain = self._threshold(placed, model, target, of_answer=True) == NOTHING
            return {"gap_max": NOTHING if is_vain else None, "is_held": True}
        if is_same and not self._evidence.has_answers(placed.model, target):
            return {}
        return {"gap_max": self._threshold(placed, model, target, of_answer=False), "is_held": False}

    def _has_recorded_terms(self, name: str, model: Model) -> bool:
        """Whether it promises what was promised when the ledger was written."""
        if model.quality is None:
            return True
        return self._evidence.is_promised(name, model.quality.loss_max, model.quality.confidence)

    def _threshold(self, placed: Placed, model: Model, target: str, *, of_answer: bool) -> float:
        """The threshold for this request that the other half's pairs prove under this configuration's terms."""
        assert model.quality is not None, "other terms than the recorded ones are terms"
        key = placed.model, target, of_answer
        if key not in self._proved:
            terms = model.quality.loss_max, model.quality.confidence
            self._proved[key] = self._evidence.thresholds(*key[:2], terms, of_answer=of_answer)
        return self._proved[key][fold(placed.request)]


def _edge(candidates: tuple[Candidate, ...], case: Case) -> str:
    """The edge target that a pair would have to be of: the recorded one where this configuration has it."""
    edges = [one.target for one in candidates if one.at is Place.EDGE]
    return case.edge if case.edge in edges else next(iter(edges), "")


def _spec(name: str, target: settings.Target) -> TargetSpec:
    if isinstance(target, LocalTarget):
        return TargetSpec(name=name, at=Place.EDGE, model=target.model)
    return TargetSpec(name=name, at=target.at, model=target.model, price=target.price or Price(), region=target.region)
