"""A ledger of made traffic, written by the ledger itself: an edge that is good at chat, and bad at code."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any

import msgspec

from ecotone import placement, store
from ecotone.flow.accounts import OutcomeEntry
from ecotone.flow.planning import PlacedEntry
from ecotone.values import Ask, Candidate, Condition, Egress, Estimate, Limit, Mode, Place, Wish
from ecotone.values.quality import Comparison, Guess, Pair, Role, Step

SITE = """\
site: clinic-7
targets:
  small: {url: "http://127.0.0.1:9/v1", model: small-1, at: edge}
  big: {url: "https://api.example.com/v1", model: big-1, at: cloud, region: eu,
        price: {input_usd_per_mtok: 1.0, output_usd_per_mtok: 4.0}}
models:
  assistant: {targets: [small, big], mode: auto, quality: {loss_max: 0.02, confidence: 0.95}}
"""
"""The configuration under which it was recorded."""
NO_CERTIFICATE = -1.7976931348623157e308
CLOUD_USD = (400 * 1.0 + 200 * 4.0) / 1e6


class Traffic(msgspec.Struct):
    """What is made, and what is true of it.

    Attributes:
        count: Requests.
        certify: Share that is drawn to certify.
        gap_max: The certificate's threshold; None: none stands.
        bad: Probability that the edge fails at code; at chat it is `good`.
        private: Share that may not leave.
        missing: Share of the pairs that never came.
        cascade: The edge always answers first, and its answer shows whether it is good.
        skips: With `cascade`: no certificate stands, so the edge is not even asked.
    """

    count: int = 1500
    certify: float = 0.3
    gap_max: float | None = 0.1
    bad: float = 0.5
    good: float = 0.01
    private: float = 0.1
    missing: float = 0.0
    cascade: bool = False
    skips: bool = False
    seed: int = 1


def write(folder: Path, traffic: Traffic) -> dict[str, float]:
    """Writes the ledger of a store; the truth about what passed: sums over all eligible requests."""
    return asyncio.run(_write(folder, traffic))


async def _write(folder: Path, traffic: Traffic) -> dict[str, float]:
    dice, now_s = random.Random(traffic.seed), [1_790_000_000.0]
    ledger = store.Ledger.open(folder, "clinic-7", wall_s=lambda: now_s[0])
    ledger.note("config", {"what": "started", "targets": {"small": "edge", "big": "cloud"}})
    truth = {"eligible": 0.0, "moved": 0.0, "lost": 0.0, "all_edge": 0.0, "certify": 0.0}
    figures = {"loss_max": 0.02, "confidence": 0.95, "loss_bound": 0.018, "edge_share": 0.5, "pairs": 900.0}
    ledger.note("step", Step(model="assistant", target="small", what="certified", certificate=1, figures=figures))
    for number in range(traffic.count):
        now_s[0] += 20.0
        _request(ledger, traffic, dice, number, truth)
        if number % 200 == 0:
            await ledger.flush()
    why = "drift.loss"
    ledger.note("step", Step(model="assistant", target="small", what="suspended", why=why, figures={"e_value": 31.0}))
    ledger.note("feedback", {"request": "req-1", "model": "assistant", "score": 1.0})
    ledger.note("feedback", {"request": "req-2", "model": "assistant", "score": 0.0})
    ledger.close()
    return truth


def _request(ledger: store.Ledger, traffic: Traffic, dice: random.Random, number: int, truth: dict[str, float]) -> None:
    request, is_code = f"req-{number}", dice.random() < 0.4
    rate = traffic.bad if is_code else traffic.good
    gap = 1.0 if dice.random() < rate else 0.0
    guess = Guess(
        gap=min(1.0, max(-1.0, rate + dice.gauss(0, 0.03))),
        good=1 - rate,
        gap_max=1.0
        if traffic.cascade and not traffic.skips
        else NO_CERTIFICATE
        if traffic.gap_max is None
        else traffic.gap_max,
    )
    looked = Guess(gap=(0.8 if gap else 0.1) + dice.uniform(-0.1, 0.3), gap_max=0.3) if traffic.cascade else None
    is_private = dice.random() < traffic.private
    role = Role.CERTIFY if dice.random() < traffic.certify else Role.LEARN
    share = traffic.certify if role is Role.CERTIFY else 1.0 - traffic.certify
    ask = Ask(
        mode=Mode.AUTO, wish=Wish.AUTO, prompt_tokens=400, output_tokens=0, body_bytes=2000, seed=number,
        role=role.value, role_share=share,
    )  # fmt: skip
    candidates = _candidates(guess, is_private=is_private, is_held=traffic.cascade)
    placed = placement.decide(ask, candidates)
    labels = ("medical",) if is_private else ()
    entry = PlacedEntry(
        request, "assistant", "chat/completions", "code" if is_code else "chat", labels, "p1", {}, (), (), ask,
        candidates, placed,
    )  # fmt: skip
    ledger.note("placed", entry)
    at = "edge" if placed.order[0] == "small" else "cloud"
    edge_s, cloud_s = dice.uniform(0.2, 0.4), dice.uniform(0.8, 1.2)
    reason, total_s = placed.reason, edge_s if at == "edge" else cloud_s
    if looked is not None and at == "edge" and not is_private and looked.gap > 0.3:
        reason, at, total_s = "escalated.unsure", "cloud", edge_s + cloud_s
    ledger.note("outcome", _outcome(request, reason, at, total_s))
    truth["eligible"] += not is_private
    truth["moved"] += at == "edge" and not is_private
    truth["lost"] += gap if at == "edge" and not is_private else 0.0
    truth["all_edge"] += 0.0 if is_private else gap
    truth["certify"] += role is Role.CERTIFY and not is_private
    if is_private or (role is Role.LEARN and at == "edge") or dice.random() < traffic.missing:
        return
    pair = Pair(
        request=request, model="assistant", target="small", reference="big", role=role, share=share, placed=at,
        comparison=Comparison(gap=gap, checker="match"), guess=guess, answer=looked, edge_s=edge_s, cloud_s=cloud_s,
        cloud_usd=CLOUD_USD,
    )  # fmt: skip
    if at == "edge":
        shadow: dict[str, Any] = msgspec.to_builtins(entry) | {"request": f"{request}-s", "purpose": "shadow"}
        shadow["ask"] = {**shadow["ask"], "role": ""}
        ledger.note("placed", shadow)
        ended = msgspec.to_builtins(_outcome(f"{request}-s", "cloud.better", "cloud", cloud_s))
        ledger.note("outcome", ended | {"purpose": "shadow"})
    ledger.note("compared", pair)


def _candidates(guess: Guess, *, is_private: bool, is_held: bool) -> tuple[Candidate, ...]:
    limit = Limit(Egress.NEVER, "label medical") if is_private else Limit(Egress.FREE, "no label, no rule: free")
    edge = Estimate(
        ttft_s_p50=0.1, total_s_p50=0.3, total_s_p95=0.5, output_tokens=200, gap=guess.gap, gap_max=guess.gap_max,
        good=guess.good, is_held=is_held,
    )  # fmt: skip
    cloud = Estimate(ttft_s_p50=0.4, total_s_p50=1.0, total_s_p95=1.5, price_usd=CLOUD_USD, output_tokens=200)
    return (
        Candidate(
            target="small", at=Place.EDGE, limit=Limit(Egress.FREE, "edge"), estimate=edge, condition=Condition()
        ),
        Candidate(target="big", at=Place.CLOUD, limit=limit, estimate=cloud, condition=Condition()),
    )


def _outcome(request: str, reason: str, at: str, total_s: float) -> OutcomeEntry:
    return OutcomeEntry(
        request=request, model="assistant", endpoint="chat/completions", key="", ending="answered", reason=reason,
        status=200, target="small" if at == "edge" else "big", at=at, ttft_s=total_s / 3, total_s=total_s,
        input_tokens=400, output_tokens=200, cost_usd=CLOUD_USD if at == "cloud" else 0.0,
        egress_bytes=2000 if at == "cloud" else 0,
    )  # fmt: skip
