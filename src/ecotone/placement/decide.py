"""One pure function of values: limits and estimates in, targets in order out, with a reason for each that lost.

How it decides, in full:

1. The model name's list gives the preference; mode `cloud` and `shadow`, and the caller's wish for the cloud, put the
   cloud targets first, mode `edge` the edge targets, each in the order written. In mode `auto` with a promise, an edge
   target goes behind the cloud's where its predicted loss is more than the promise lets it risk. The wish for the edge
   is a hard limit: whoever asks for the edge means that nothing leaves. The wish for the cloud is not: policy and the
   link win.
2. A target that breaks a hard limit loses, with the first obstacle that it meets (`obstacle` below).
3. Those left are tried in order of preference. The reason says why the first is first: if the most preferred target
   lost, its obstacle is the reason; else what the caller, the mode or the price say.
4. Nothing left is a refusal, and its word is the obstacle of the target that came nearest to being taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ecotone.values import Ask, Candidate, Egress, Loss, Mode, Place, Placement, Wish
from ecotone.values import reasons as why

_EDGE_BECAUSE: Final = {
    "policy": why.EDGE_PRIVATE,
    "no_cloud": why.EDGE_PINNED,
    "wish": why.EDGE_PINNED,
    "budget": why.EDGE_BUDGET,
    "window": why.EDGE_WINDOW,
    "unreachable": why.EDGE_OFFLINE,
    "deadline": why.EDGE_FASTER,
    "overload": why.EDGE_FASTER,
}
_CLOUD_BECAUSE: Final = {
    "endpoint": why.CLOUD_CAPABILITY,
    "capability": why.CLOUD_CAPABILITY,
    "context": why.CLOUD_CAPABILITY,
    "capacity": why.CLOUD_CAPACITY,
    "overload": why.CLOUD_CAPACITY,
    "unreachable": why.CLOUD_CAPACITY,
    "deadline": why.CLOUD_FASTER,
}
_NEARNESS: Final = {name: rank for rank, name in enumerate(why.OBSTACLES)}


def decide(ask: Ask, candidates: Sequence[Candidate]) -> Placement:
    """Targets to try, in order, and why each other one lost."""
    preferred = _by_preference(ask, candidates)
    lost: list[Loss] = []
    left: list[Candidate] = []
    for candidate in preferred:
        loss = obstacle(ask, candidate)
        if loss is None:
            left.append(candidate)
        else:
            lost.append(loss)
    if not left:
        return Placement((), f"refused.{_nearest(lost)}", tuple(lost))
    reason = _reason(ask, preferred, left, {loss.target: loss.obstacle for loss in lost})
    return Placement(tuple(candidate.target for candidate in left), reason, tuple(lost))


def obstacle(ask: Ask, candidate: Candidate) -> Loss | None:
    """The first hard limit that this target breaks, or None."""
    name = candidate.target
    if candidate.at is Place.CLOUD:
        held = _held_back(ask, candidate)
        if held is not None:
            return held
    if ask.wish is Wish.EDGE and candidate.at is Place.CLOUD:
        return Loss(name, "wish", "the caller asked for the edge")
    if not candidate.serves_endpoint:
        return Loss(name, "endpoint", "does not serve this endpoint")
    if candidate.lacks:
        return Loss(name, "capability", "lacks " + ", ".join(candidate.lacks))
    return _full_or_late(ask, candidate)


def _held_back(ask: Ask, candidate: Candidate) -> Loss | None:
    """What keeps a request from this cloud target, whatever the target could do."""
    name, limit = candidate.target, candidate.limit
    if limit.egress is Egress.NEVER:
        return Loss(name, "policy", limit.rule)
    if ask.is_cloud_off:
        return Loss(name, "no_cloud", "ECOTONE_NO_CLOUD=1")
    price_usd = candidate.estimate.price_usd
    if ask.budget_usd_left is not None and (ask.budget_usd_left <= 0 or price_usd > ask.budget_usd_left):
        return Loss(name, "budget", f"{price_usd:.6f} USD predicted, {max(0.0, ask.budget_usd_left):.6f} left today")
    if ask.budget_bytes_left is not None and ask.body_bytes > ask.budget_bytes_left:
        return Loss(name, "budget", f"{ask.body_bytes} bytes to send, {max(0, ask.budget_bytes_left)} left today")
    if ask.is_link_closed:
        return Loss(name, "window", "the link is closed until its next window")
    return None


def _full_or_late(ask: Ask, candidate: Candidate) -> Loss | None:
    """What the target's size, state and speed say."""
    name, state = candidate.target, candidate.condition
    context = candidate.context_tokens
    if context is not None and ask.prompt_tokens + min(ask.output_tokens, context // 4) > context:
        return Loss(name, "context", f"about {ask.prompt_tokens} tokens in, context {context}")
    if state.breaker == "open":
        return Loss(name, "unreachable", f"breaker open, next try in {state.retry_in_s:.1f} s")
    if state.in_flight >= candidate.slots and state.waiting >= candidate.queue_max:
        return Loss(name, "capacity", f"{state.in_flight} in service, {state.waiting} waiting")
    return _late(ask, candidate) or _queued_too_long(ask, candidate)


def _late(ask: Ask, candidate: Candidate) -> Loss | None:
    """Whether the deadline is too near for this target even if it had a slot free."""
    name, estimate, left_s = candidate.target, candidate.estimate, ask.remaining_s
    if left_s is None:
        return None
    if left_s <= 0:
        return Loss(name, "deadline", "the deadline has passed")
    work_s = 0.0 if estimate.total_s_p50 is None else estimate.total_s_p50 - estimate.wait_s
    return Loss(name, "deadline", f"{work_s:.3f} s predicted, {left_s:.3f} s left") if work_s > left_s else None


def _queued_too_long(ask: Ask, candidate: Candidate) -> Loss | None:
    """Whether the wait for a slot is too long, for the site's limit or for the deadline.

    Behind others the pessimistic time must do too. The first in line need only be likely: a slot must not be idle
    because of what the work before it might have taken.
    """
    name, estimate, left_s = candidate.target, candidate.estimate, ask.remaining_s
    wait_s = estimate.wait_s
    if ask.wait_s_max is not None and wait_s > ask.wait_s_max:
        return Loss(name, "overload", f"{wait_s:.1f} s to wait, at most {ask.wait_s_max:g} s")
    if left_s is None or not wait_s:
        return None
    total_s = estimate.total_s_p95 if candidate.condition.waiting else estimate.total_s_p50
    total_s = wait_s if total_s is None else total_s
    return Loss(name, "overload", f"{total_s:.3f} s with the wait, {left_s:.3f} s left") if total_s > left_s else None


def _by_preference(ask: Ask, candidates: Sequence[Candidate]) -> Sequence[Candidate]:
    wishes_cloud = ask.wish is Wish.CLOUD
    if ask.mode is Mode.AUTO and not wishes_cloud:
        if all(candidate.estimate.gap is None for candidate in candidates):
            return candidates
        return sorted(candidates, key=_caution)
    first = Place.EDGE if ask.mode is Mode.EDGE and not wishes_cloud else Place.CLOUD
    return sorted(candidates, key=lambda candidate: candidate.at is not first)


def _caution(candidate: Candidate) -> int:
    """0: may go first; 1: the cloud; 2: an edge target that would risk too much."""
    if candidate.at is Place.CLOUD:
        return 1
    return 2 if candidate.estimate.is_unsure else 0


def _reason(ask: Ask, preferred: Sequence[Candidate], left: Sequence[Candidate], lost: dict[str, str]) -> str:
    """Why the first target is first, as a code of `reasons.REASONS`."""
    chosen = left[0]
    is_edge = chosen.at is Place.EDGE
    if not is_edge and chosen.limit.egress is Egress.PSEUDONYMISE:
        return why.CLOUD_PSEUDONYMISED
    if not is_edge and ask.wish is Wish.CLOUD:
        return why.CLOUD_PINNED
    other = [candidate for candidate in preferred if candidate.at is not chosen.at]
    because = _EDGE_BECAUSE if is_edge else _CLOUD_BECAUSE
    for candidate in other:
        if candidate is preferred[0] or not is_edge or lost.get(candidate.target) in ("policy", "no_cloud", "wish"):
            code = because.get(lost.get(candidate.target, ""))
            if code is not None:
                return code
    if not is_edge:
        return why.CLOUD_BETTER
    # Whoever would risk too much is first for want of anybody else, not because it is good enough.
    if not other or ask.mode is Mode.EDGE or chosen.estimate.is_unsure:
        return why.EDGE_PINNED
    is_proved = ask.mode is Mode.AUTO and chosen.estimate.gap is not None
    if not is_proved and any(candidate.estimate.price_usd > chosen.estimate.price_usd for candidate in other):
        return why.EDGE_CHEAPER
    return why.EDGE_GOOD_ENOUGH


def _nearest(lost: Sequence[Loss]) -> str:
    """The obstacle furthest down the list of questions: the one that lifting would help most."""
    if not lost:
        return "no_target"
    return max(lost, key=lambda loss: _NEARNESS[loss.obstacle]).obstacle
