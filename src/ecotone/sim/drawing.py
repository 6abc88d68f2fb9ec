"""What is drawn for a made site and its afternoon: targets, links, policy, detectors, budgets."""

from __future__ import annotations

from random import Random

import msgspec

from ecotone.flow.spend import Budgets
from ecotone.flow.windows import DAY_MIN, Window, Windows
from ecotone.policy import Policy, Rule
from ecotone.privacy import Look
from ecotone.sim.detectors import DEAR, see_card
from ecotone.sim.time import START_WALL_S
from ecotone.sim.world import Link, Nature
from ecotone.values import Egress, Place, Price, Request, Surrogates, TargetSpec, Wish

LABELS = ("secret", "medical", "person", "place")


def drawn_labels(rng: Random) -> tuple[str, ...]:
    """Labels that a caller sends along: none, mostly."""
    return tuple(sorted(rng.sample(LABELS, rng.choice((0, 0, 0, 0, 1, 2)))))


def drawn_look(rng: Random) -> Look:
    """Nobody, the quick detector, both, or one that is not there."""
    return rng.choice(
        (
            Look(),
            Look({"quick": see_card}),
            Look({"quick": see_card}, (DEAR,)),
            Look({"quick": see_card}, (DEAR,)),
            Look({"quick": see_card}, missing=("absent",)),
        )
    )


def drawn_budgets(rng: Random) -> Budgets:
    """Of money and bytes; and now and then a metered link, which is open now, or in twenty minutes."""
    usd, size = rng.choice((None, None, 0.0005)), rng.choice((None, None, 2_000))
    if rng.random() < 0.8:
        return Budgets(usd, size)
    from_min = rng.choice((0, 20)) + int(START_WALL_S // 60) % DAY_MIN
    window = Window(tuple(range(7)), from_min, from_min + 60, rng.choice((None, 100)))
    return Budgets(usd, size, Windows((window,)), is_strict=rng.random() < 0.3)


def drawn_link(rng: Random, start_s: float, share_cut: float) -> Link:
    """A way that is cut for about this share of the time."""
    cuts, at_s = [], start_s
    while share_cut and at_s < start_s + 30:
        begin = at_s + rng.uniform(0, 10)
        at_s = begin + rng.expovariate(1 / (20 * share_cut))
        cuts.append((begin, at_s))
    return Link(tuple(cuts))


def drawn_targets(rng: Random) -> list[tuple[TargetSpec, Nature]]:
    """One to four targets, at either place."""
    drawn = []
    for index in range(rng.randint(1, 4)):
        is_edge = rng.random() < 0.5
        spec = TargetSpec(
            name=f"{'edge' if is_edge else 'cloud'}{index}",
            surrogates=rng.choice(tuple(Surrogates)),
            at=Place.EDGE if is_edge else Place.CLOUD,
            model=f"m{index}",
            price=Price() if is_edge or rng.random() < 0.2 else Price(1.0, 4.0),
            region=None if is_edge else rng.choice((None, "eu", "us")),
            capabilities=frozenset({"stream"}) if is_edge and rng.random() < 0.3 else None,
            context_tokens=rng.choice((None, 512)),
            slots=rng.choice((1, 2)) if is_edge else 64,
            queue_max=rng.choice((0, 4)) if is_edge else 0,
        )
        nature = Nature(
            ttft_s=rng.choice((0.05, 0.5, 2.0)),
            gap_s=rng.choice((0.005, 0.2)),
            trouble=rng.choice((0.0, 0.0, 0.2, 0.9)),
        )
        drawn.append((spec, nature))
    return drawn


def drawn_policy(rng: Random) -> Policy:
    """What policy says of persons, places and a key."""
    rules = []
    if rng.random() < 0.3:
        rules.append(Rule("policy[0]", Egress.NEVER, key="research"))
    if rng.random() < 0.3:
        rules.append(Rule("policy[1]", Egress.NEVER, label="place", to_region=("us",)))
    return Policy(labels={"person": rng.choice((Egress.NEVER, Egress.PSEUDONYMISE, Egress.FREE))}, rules=tuple(rules))


def plain(request: Request) -> Request:
    """The same, with nothing about it that decides where it goes."""
    features = msgspec.structs.replace(request.features, prompt_tokens=50, needs=("stream",) * request.is_stream)
    return msgspec.structs.replace(request, model="auto", labels=(), key="", wish=Wish.AUTO, features=features)


def asking_logprobs(request: Request) -> Request:
    """The same, from a caller that wants log probabilities itself."""
    body = msgspec.json.encode(msgspec.json.decode(request.body) | {"logprobs": True})
    features = msgspec.structs.replace(request.features, needs=(*request.features.needs, "logprobs"))
    return msgspec.structs.replace(request, body=body, features=features)
