"""Understand and decide: from a request to a placement, and the ledger entry that lets it be replayed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from ecotone import placement, privacy
from ecotone.flow.lessons import Lesson, lesson, with_guesses
from ecotone.flow.looking import look_on
from ecotone.flow.site import Site
from ecotone.policy import constrain
from ecotone.ports import Target
from ecotone.values import (
    Ask,
    Candidate,
    DeadlineError,
    EcotoneError,
    Egress,
    Estimate,
    Findings,
    Limit,
    Placement,
    PlacementError,
    RefusalError,
    Request,
    RequestError,
)
from ecotone.values import reasons as why

_TIMES: Final = ("ttft_s_p50", "ttft_s_p95", "total_s_p50", "total_s_p95")


class Plan(msgspec.Struct, frozen=True):
    """What was decided for one request, and all that it was decided from."""

    ask: Ask
    candidates: tuple[Candidate, ...]
    placement: Placement
    findings: Findings

    @property
    def labels(self) -> tuple[str, ...]:
        """Of the conversation, as far as it was looked at."""
        return self.findings.labels

    def limit(self, target: str) -> Limit:
        """Policy's word on a target of this plan."""
        return self._candidate(target).limit

    def price_usd(self, target: str) -> float:
        """Predicted price at a target of this plan."""
        return self._candidate(target).estimate.price_usd

    def total_s_p50(self, target: str) -> float | None:
        """Predicted time at a target of this plan."""
        return self._candidate(target).estimate.total_s_p50

    def work_s(self, target: str) -> float:
        """Predicted time at a target of this plan, without the wait for a slot; 0 where nothing was measured."""
        estimate = self._candidate(target).estimate
        return 0.0 if estimate.total_s_p50 is None else estimate.total_s_p50 - estimate.wait_s

    def ttft_s_p95(self, target: str) -> float | None:
        """Predicted time to the first token at a target of this plan, pessimistic."""
        return self._candidate(target).estimate.ttft_s_p95

    def slow_s(self, target: str, *, is_stream: bool) -> float | None:
        """Seconds after which a target of this plan is slower than itself (p95); None where nothing was measured."""
        estimate = self._candidate(target).estimate
        return estimate.ttft_s_p95 if is_stream else estimate.total_s_p95

    def is_held(self, target: str, after: Sequence[str]) -> bool:
        """Whether its answer is to be held back, and looked at, with these targets to come after it."""
        estimate = self._candidate(target).estimate
        return estimate.is_held and not estimate.is_unsure and any(self.at(name) == "cloud" for name in after)

    def at(self, target: str) -> str:
        """`edge` or `cloud`."""
        return self._candidate(target).at.value

    def _candidate(self, target: str) -> Candidate:
        return next(candidate for candidate in self.candidates if candidate.target == target)


class PlacedEntry(msgspec.Struct, frozen=True, omit_defaults=True):
    """The ledger's decision entry: replaying `ask` and `candidates` through `placement.decide` gives `placement`."""

    request: str
    model: str
    endpoint: str
    key: str
    labels: tuple[str, ...]
    policy: str
    found: dict[str, int]
    missing: tuple[str, ...]
    pending: tuple[str, ...]
    ask: Ask
    candidates: tuple[Candidate, ...]
    placement: Placement
    needs: tuple[str, ...] = ()
    purpose: str = ""


def plan(site: Site, request: Request, findings: Findings, lesson: Lesson | None = None) -> Plan:
    """Constrains, predicts and decides. Reads state, changes none.

    Args:
        lesson: What is predicted of the answers' quality; None where nobody learns that.

    Raises:
        RequestError: unknown model name (404).
    """
    name = site.model(request.model)
    now_s = site.clock.now_s()
    candidates = tuple(_candidate(site, request, findings, site.targets[target], now_s) for target in name.targets)
    mode = name.mode if site.learning is None else site.learning.mode(name.name, name.mode)
    remaining_s = None if request.deadline_at_s is None else request.deadline_at_s - now_s
    if lesson is not None:
        candidates = with_guesses(site, candidates, lesson, remaining_s)
    site.spend.turn(site.today())
    usd_left, bytes_left = site.spend.left(site.budgets)
    ask = Ask(
        mode=mode,
        wish=request.wish,
        prompt_tokens=request.features.prompt_tokens,
        output_tokens=request.features.output_tokens_max or 0,
        body_bytes=len(request.body),
        remaining_s=remaining_s,
        budget_usd_left=usd_left,
        budget_bytes_left=bytes_left,
        is_cloud_off=site.is_cloud_off,
        is_link_closed=site.budgets.is_closed(site.clock.wall_s()),
        seed=request.seed,
        wait_s_max=site.load.wait_s_max,
        role="" if lesson is None else lesson.role.value,
        role_share=1.0 if lesson is None else lesson.share,
    )
    return Plan(ask, candidates, placement.decide(ask, candidates), findings)


def _candidate(site: Site, request: Request, findings: Findings, target: Target, now_s: float) -> Candidate:
    spec = target.spec
    active, waiting = target.load()
    waiting += site.load.ahead(spec.name, request.key)
    known, needs = spec.capabilities, request.features.needs
    limit = constrain(site.policy, findings, spec, key=request.key, model=request.model)
    if limit.egress is Egress.PSEUDONYMISE:
        # Probabilities of surrogates' pieces say nothing of the values that stand there in the end.
        known = (frozenset(needs) if known is None else known) - {"logprobs"}
    return Candidate(
        target=spec.name,
        at=spec.at,
        limit=limit,
        estimate=_estimate(site, request, target, (active, waiting, spec.slots)),
        condition=site.breakers[spec.name].condition(now_s, in_flight=active, waiting=waiting),
        lacks=() if known is None else tuple(need for need in needs if need not in known),
        serves_endpoint=request.endpoint.value in spec.endpoints,
        context_tokens=spec.context_tokens,
        slots=spec.slots,
        queue_max=spec.queue_max,
    )


def _estimate(site: Site, request: Request, target: Target, queue: tuple[int, int, int]) -> Estimate:
    """Predicted times; the wait for a slot by what slots were held for lately, where that was measured."""
    spec, wait_s = target.spec, site.load.wait_s(target.spec.name, request.key)
    estimate = site.speeds.predict(
        spec.name,
        prompt_tokens=request.features.prompt_tokens,
        output_tokens_max=request.features.output_tokens_max,
        price=spec.price,
        queue=(0, 0, 1) if wait_s else queue,
    )
    if not wait_s:
        return estimate
    times = {name: getattr(estimate, name) for name in _TIMES}
    later = {name: time_s + wait_s for name, time_s in times.items() if time_s is not None}
    return msgspec.structs.replace(estimate, wait_s=wait_s, **later)


def entry(site: Site, request: Request, decided: Plan) -> PlacedEntry:
    """The decision entry of a plan."""
    return PlacedEntry(
        request.id,
        request.model,
        request.endpoint.value,
        request.key,
        decided.labels,
        site.policy_version,
        counts(decided.findings),
        decided.findings.missing,
        decided.findings.pending,
        decided.ask,
        decided.candidates,
        decided.placement,
        request.features.needs,
        request.purpose,
    )


def counts(findings: Findings) -> dict[str, int]:
    """How much of each kind was found; no content."""
    found: dict[str, int] = {}
    for _, one in findings.spots:
        found[one.kind] = found.get(one.kind, 0) + 1
    return found


async def explain(site: Site, request: Request) -> dict[str, Any]:
    """Where this request would go now and why, without running it: the answer of `POST /v1/explain`.

    Raises:
        RequestError: unknown model name (404).
    """
    taught = lesson(site, request)
    decided = plan(site, request, privacy.inspect(request, site.look), taught)
    if any(decided.limit(name).is_open for name in decided.placement.order):
        decided = plan(site, request, await look_on(site, request, decided.findings, site.waits.look_s), taught)
    chosen = decided.placement
    lost = {loss.target: loss for loss in chosen.lost}
    targets = []
    for candidate in decided.candidates:
        loss = lost.get(candidate.target)
        row: dict[str, Any] = {
            "target": candidate.target,
            "at": candidate.at.value,
            "place_in_order": None if loss else chosen.order.index(candidate.target) + 1,
            "lost_because": loss.obstacle if loss else None,
            "meaning": why.OBSTACLES[loss.obstacle] if loss else None,
            "detail": loss.detail if loss else None,
            "limit": msgspec.structs.asdict(candidate.limit),
            "estimate": msgspec.structs.asdict(candidate.estimate),
            "condition": msgspec.structs.asdict(candidate.condition),
        }
        targets.append(row)
    return {
        "object": "ecotone.explanation",
        "model": request.model,
        "placed": decided.at(chosen.order[0]) if chosen.order else "refused",
        "target": chosen.order[0] if chosen.order else None,
        "reason": chosen.reason,
        "meaning": meaning(chosen.reason),
        "order": list(chosen.order),
        "labels": list(decided.labels),
        "found": counts(decided.findings),
        "detectors_missing": list(decided.findings.missing),
        "ask": msgspec.structs.asdict(decided.ask),
        "targets": targets,
    }


def retell(request: str, entries: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Why a past request was placed as it was: the answer of `GET /v1/explain/ID`, out of the ledger's own entries.

    Args:
        entries: The request's entries, each with `seq`, `kind`, `at_ms`, `hash` and `body`. None are None.
    """
    if not entries:
        return None
    bodies = {entry["kind"]: entry["body"] for entry in entries}
    placed, outcome = bodies.get("placed"), bodies.get("outcome")
    reason = (outcome or {}).get("reason") or ((placed or {}).get("placement") or {}).get("reason", "")
    return {
        "object": "ecotone.explanation",
        "request": request,
        "reason": reason,
        "meaning": meaning(reason),
        "placed": placed,
        "egress": [entry["body"] for entry in entries if entry["kind"] == "egress"],
        "outcome": outcome,
        "entries": [{name: entry[name] for name in ("seq", "kind", "at_ms", "hash")} for entry in entries],
    }


def meaning(reason: str) -> str:
    """A reason code in words."""
    kind, _, word = reason.partition(".")
    if kind == "fallback":
        return f"the targets before it failed, the last because: {why.TARGET_FAILURES.get(word, word)}"
    if kind == "refused":
        return f"no target could take it; nearest: {why.OBSTACLES.get(word, word)}"
    return why.REASONS.get(reason, reason)


def overload(
    site: Site, decided: Plan, full: Sequence[str], key: str, *, message: str, code: str = "refused.overload"
) -> RefusalError:
    """The error where only slots are wanting: 429, and when one of these targets has a place again.

    Args:
        full: The targets, in order; the first is the one that the request would wait for.
    """
    limit_s, left_s = site.load.wait_s_max, decided.ask.remaining_s
    if left_s is not None:
        limit_s = min(limit_s, left_s - decided.work_s(full[0]))
    retry_after_s = site.load.retry_s(full[0], key, limit_s, site.clock.now_s())
    return RefusalError(code, message, status=429, retry_after_s=retry_after_s)


_FULL: Final = frozenset({"capacity", "overload"})
_STATUS: Final = {"policy": 403, "no_cloud": 403, "wish": 403}
_YET: Final = frozenset({"starting", "busy"})
"""Why a detector has yet to look."""
_AGAIN: Final = frozenset({"late", "crashed"})
"""Why a detector could not look that may at the next try; or this very text is too much for it."""
UNSEEN: Final = "refused.unseen"
LOOK_AGAIN_S: Final = 1.0


def refusal(site: Site, decided: Plan, key: str = "") -> EcotoneError:
    """The error for a placement with an empty order: says every target's reason, and when to try again."""
    reason = decided.placement.reason
    word = reason.partition(".")[2]
    told = "; ".join(f"{loss.target}: {loss.obstacle} ({loss.detail})" for loss in decided.placement.lost)
    message = f"No target can take this request now. {told}"
    if decided.findings.missing:
        message += f". Not looked at, so it stays: {', '.join(decided.findings.missing)}"
    whys = {one.rpartition(": ")[2] for one in decided.findings.missing}
    if word == "policy" and whys & (_YET | _AGAIN):
        # Policy has not said no: nobody could say what is in it.
        return PlacementError(UNSEEN if whys <= _YET else reason, message, retry_after_s=LOOK_AGAIN_S)
    if word in _STATUS:
        return RefusalError(reason, message, status=403)
    if word == "context":
        return RequestError("context_length_exceeded", message, param="messages")
    if word in ("capability", "endpoint"):
        return RequestError(reason, message)
    if word == "budget":
        return RefusalError(reason, message, status=429, retry_after_s=86_400.0 - site.clock.wall_s() % 86_400.0)
    if word == "window":
        wall_s = site.clock.wall_s()
        return PlacementError(reason, message, retry_after_s=max(1.0, site.budgets.windows.opens_at_s(wall_s) - wall_s))
    if word == "deadline":
        return DeadlineError(reason, message)
    if word in _FULL:
        full = [loss.target for loss in decided.placement.lost if loss.obstacle in _FULL]
        return overload(site, decided, full, key, message=message, code=reason)
    wait_s = min((candidate.condition.retry_in_s for candidate in decided.candidates), default=0.0)
    return PlacementError(reason, message, retry_after_s=max(1.0, wait_s))
