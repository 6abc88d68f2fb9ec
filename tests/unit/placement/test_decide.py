"""placement.decide: hard limits, order and reason, one sentence a test."""

from __future__ import annotations

import msgspec
import pytest

from ecotone.placement import decide
from ecotone.values import Ask, Candidate, Condition, Egress, Estimate, Limit, Mode, Place, Wish
from ecotone.values import reasons as why

FREE = Limit(Egress.FREE, "free")


def ask(**changes: object) -> Ask:
    base = Ask(mode=Mode.AUTO, wish=Wish.AUTO, prompt_tokens=100, output_tokens=50, body_bytes=400)
    return msgspec.structs.replace(base, **changes)


def edge(name: str = "small", **changes: object) -> Candidate:
    base = Candidate(target=name, at=Place.EDGE, limit=FREE, estimate=Estimate(), condition=Condition())
    return msgspec.structs.replace(base, **changes)


def cloud(name: str = "big", price_usd: float = 0.001, **changes: object) -> Candidate:
    estimate = Estimate(price_usd=price_usd)
    base = Candidate(target=name, at=Place.CLOUD, limit=FREE, estimate=estimate, condition=Condition())
    return msgspec.structs.replace(base, **changes)


NEVER = Limit(Egress.NEVER, "label secret")
DOWN = Condition("open", 4.0)
REPLACED = Limit(Egress.PSEUDONYMISE, "label person")
LATE = Estimate(total_s_p50=9.0, total_s_p95=12.0)
QUEUED = Estimate(wait_s=4.0, total_s_p50=6.0, total_s_p95=8.0)
BEHIND = Condition(in_flight=1, waiting=1)


@pytest.mark.parametrize(
    ("demand", "candidates", "order", "reason"),
    [
        (ask(), [edge(), cloud()], ("small", "big"), why.EDGE_CHEAPER),
        (ask(), [edge(), cloud(price_usd=0.0)], ("small", "big"), why.EDGE_GOOD_ENOUGH),
        (ask(), [edge()], ("small",), why.EDGE_PINNED),
        (ask(), [cloud(), edge()], ("big", "small"), why.CLOUD_BETTER),
        (ask(mode=Mode.CLOUD), [edge(), cloud()], ("big", "small"), why.CLOUD_BETTER),
        (ask(mode=Mode.SHADOW), [edge(), cloud()], ("big", "small"), why.CLOUD_BETTER),
        (ask(mode=Mode.EDGE), [cloud(), edge()], ("small", "big"), why.EDGE_PINNED),
        (ask(wish=Wish.EDGE), [cloud(), edge()], ("small",), why.EDGE_PINNED),
        (ask(wish=Wish.CLOUD), [edge(), cloud()], ("big", "small"), why.CLOUD_PINNED),
        (ask(wish=Wish.CLOUD, mode=Mode.EDGE), [edge(), cloud()], ("big", "small"), why.CLOUD_PINNED),
        (ask(wish=Wish.CLOUD), [edge(), cloud(limit=NEVER)], ("small",), why.EDGE_PRIVATE),
        (ask(), [cloud(limit=NEVER), edge()], ("small",), why.EDGE_PRIVATE),
        (ask(), [edge(), cloud(limit=NEVER)], ("small",), why.EDGE_PRIVATE),
        (ask(is_cloud_off=True), [cloud(), edge()], ("small",), why.EDGE_PINNED),
        (ask(), [cloud(limit=REPLACED), edge()], ("big", "small"), why.CLOUD_PSEUDONYMISED),
        (ask(), [cloud(condition=DOWN), edge()], ("small",), why.EDGE_OFFLINE),
        (ask(budget_usd_left=0.0), [cloud(), edge()], ("small",), why.EDGE_BUDGET),
        (ask(budget_bytes_left=399), [cloud(), edge()], ("small",), why.EDGE_BUDGET),
        (ask(is_link_closed=True), [cloud(), edge()], ("small",), why.EDGE_WINDOW),
        (ask(is_link_closed=True), [edge(), cloud()], ("small",), why.EDGE_CHEAPER),
        (ask(remaining_s=5.0), [cloud(estimate=LATE), edge()], ("small",), why.EDGE_FASTER),
        (ask(remaining_s=5.0), [edge(estimate=LATE), cloud()], ("big",), why.CLOUD_FASTER),
        (ask(remaining_s=5.0), [cloud(estimate=QUEUED), edge()], ("small",), why.EDGE_FASTER),
        (ask(remaining_s=5.0), [edge(estimate=QUEUED), cloud()], ("big",), why.CLOUD_CAPACITY),
        (ask(wait_s_max=3.0), [edge(estimate=QUEUED), cloud()], ("big",), why.CLOUD_CAPACITY),
        (ask(), [edge(lacks=("tools",)), cloud()], ("big",), why.CLOUD_CAPABILITY),
        (ask(), [edge(serves_endpoint=False), cloud()], ("big",), why.CLOUD_CAPABILITY),
        (ask(), [edge(context_tokens=99), cloud()], ("big",), why.CLOUD_CAPABILITY),
        (ask(), [edge(slots=1, condition=Condition(in_flight=1)), cloud()], ("big",), why.CLOUD_CAPACITY),
        (ask(), [edge(condition=DOWN), cloud()], ("big",), why.CLOUD_CAPACITY),
    ],
)
def test_order_and_reason(demand: Ask, candidates: list[Candidate], order: tuple[str, ...], reason: str) -> None:
    placed = decide(demand, candidates)
    assert placed.order == order
    assert placed.reason == reason
    assert placed.reason in why.REASONS


@pytest.mark.parametrize(
    ("demand", "candidate", "obstacle"),
    [
        (ask(), cloud(limit=NEVER), "policy"),
        (ask(is_cloud_off=True), cloud(), "no_cloud"),
        (ask(wish=Wish.EDGE), cloud(), "wish"),
        (ask(), edge(serves_endpoint=False), "endpoint"),
        (ask(), edge(lacks=("vision",)), "capability"),
        (ask(), edge(context_tokens=100), "context"),
        (ask(budget_usd_left=0.0005), cloud(), "budget"),
        (ask(budget_usd_left=-1.0), cloud(price_usd=0.0), "budget"),
        (ask(is_link_closed=True), cloud(), "window"),
        (ask(), edge(condition=DOWN), "unreachable"),
        (ask(), edge(slots=2, queue_max=3, condition=Condition(in_flight=2, waiting=3)), "capacity"),
        (ask(remaining_s=0.0), edge(), "deadline"),
        (ask(remaining_s=1.9), edge(estimate=QUEUED), "deadline"),
        (ask(remaining_s=2.1), edge(estimate=QUEUED), "overload"),
        (ask(remaining_s=3.9), edge(estimate=Estimate(wait_s=4.0)), "overload"),
        (ask(remaining_s=7.0), edge(estimate=QUEUED, queue_max=9, condition=BEHIND), "overload"),
        (ask(wait_s_max=3.9), edge(estimate=QUEUED), "overload"),
    ],
)
def test_the_only_target_lost_so_its_obstacle_is_the_refusal(demand: Ask, candidate: Candidate, obstacle: str) -> None:
    placed = decide(demand, [candidate])
    assert placed.order == ()
    assert placed.reason == f"refused.{obstacle}"
    assert [loss.obstacle for loss in placed.lost] == [obstacle]
    assert obstacle in why.OBSTACLES


def test_no_target_at_all_is_a_refusal() -> None:
    assert decide(ask(), []).reason == "refused.no_target"


def test_the_refusal_names_the_obstacle_that_is_nearest_to_being_lifted() -> None:
    placed = decide(ask(remaining_s=5.0), [cloud(limit=NEVER), edge(estimate=LATE)])
    assert placed.reason == "refused.deadline"


def test_a_half_open_breaker_may_be_tried() -> None:
    assert decide(ask(), [cloud(condition=Condition("half_open")), edge()]).order == ("big", "small")


def test_a_target_of_unknown_speed_is_not_held_to_the_deadline() -> None:
    assert decide(ask(remaining_s=0.1), [cloud()]).order == ("big",)


def test_the_first_in_line_is_held_to_what_is_likely_and_those_behind_it_to_what_is_sure() -> None:
    first, behind = edge(estimate=QUEUED), edge(estimate=QUEUED, queue_max=9, condition=BEHIND)
    assert decide(ask(remaining_s=7.0, wait_s_max=4.0), [first]).order == ("small",)
    assert decide(ask(remaining_s=7.0), [behind]).order == ()
    assert decide(ask(remaining_s=8.0), [behind]).order == ("small",)


def test_who_need_not_wait_is_not_held_to_the_pessimistic_time() -> None:
    late = Estimate(total_s_p50=4.0, total_s_p95=9.0)
    assert decide(ask(remaining_s=5.0, wait_s_max=0.1), [edge(estimate=late)]).order == ("small",)


def test_a_full_target_with_room_in_its_queue_is_taken() -> None:
    waiting = edge(slots=1, queue_max=2, condition=Condition(in_flight=1, waiting=1))
    assert decide(ask(), [waiting]).order == ("small",)


def test_the_edge_that_would_risk_too_much_is_first_for_want_of_anybody_else() -> None:
    risky = edge(estimate=Estimate(gap=0.4, gap_max=0.1))
    chosen = decide(ask(prompt_tokens=600), [risky, cloud(context_tokens=512)])
    assert (chosen.order, chosen.reason) == (("small",), why.EDGE_PINNED)
    able = edge(estimate=Estimate(gap=0.1, gap_max=0.1))
    assert decide(ask(prompt_tokens=600), [able, cloud(context_tokens=512)]).reason == why.EDGE_GOOD_ENOUGH
