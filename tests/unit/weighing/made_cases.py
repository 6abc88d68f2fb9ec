"""Requests by hand."""

from __future__ import annotations

from typing import Any

from ecotone.values import Ask, Candidate, Condition, Egress, Estimate, Limit, Loss, Mode, Place, Placement, Wish
from ecotone.values.quality import Comparison, Guess, Pair, Role
from ecotone.weighing.cases import Case, Ended, Placed

FREE = Limit(Egress.FREE, "free")


def candidate(target: str, at: Place, **estimate: Any) -> Candidate:
    return Candidate(target=target, at=at, limit=FREE, estimate=Estimate(**estimate), condition=Condition())


SMALL = candidate("small", Place.EDGE, gap=0.1, gap_max=0.2, total_s_p50=0.3)
BIG = candidate("big", Place.CLOUD, price_usd=0.002, total_s_p50=1.0)


def placed(
    request: str = "r1", role: str = "certify", order: tuple[str, ...] = ("small", "big"), **said: Any
) -> Placed:
    ask = Ask(
        mode=Mode.AUTO, wish=Wish.AUTO, prompt_tokens=said.pop("tokens", 100), output_tokens=0, body_bytes=10,
        role=role, role_share=said.pop("share", 0.5) if role else 1.0,
    )  # fmt: skip
    reason = said.pop("reason", "edge.good_enough" if order[:1] == ("small",) else "cloud.better")
    lost: tuple[Loss, ...] = said.pop("lost", ())
    said = {"candidates": (SMALL, BIG), "endpoint": "chat/completions", **said}
    return Placed(request, "assistant", ask, placement=Placement(order, reason, lost), **said)


def ended(request: str = "r1", at: str = "edge", **said: Any) -> Ended:
    said = {"ending": "answered", "total_s": 0.3, "target": {"edge": "small", "cloud": "big"}.get(at, ""), **said}
    return Ended(request, at=at, **said)


def pair(request: str = "r1", gap: float = 0.0, role: Role = Role.CERTIFY, **said: Any) -> Pair:
    said = {"guess": Guess(gap=0.1), "share": 0.5, "placed": "edge", "target": "small", **said}
    return Pair(
        request=request, model="assistant", reference="big", role=role, comparison=Comparison(gap=gap, checker="match"),
        **said,
    )  # fmt: skip


def case(at: str = "edge", gap: float | None = None, **said: Any) -> Case:
    order = ("small", "big") if at == "edge" else ("big", "small")
    one = placed(order=order, **said)
    reason = one.placement.reason
    return Case(1, one, ended(at=at, reason=reason), None if gap is None else pair(gap=gap, placed=at))
