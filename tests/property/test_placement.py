"""Invariants of a placement, over all values."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from ecotone.placement import decide
from ecotone.values import Ask, Candidate, Condition, Egress, Estimate, Limit, Mode, Place, Placement, Wish

seconds = st.none() | st.floats(0, 100)
candidates = st.builds(
    Candidate,
    target=st.text("abc", min_size=1, max_size=3),
    at=st.sampled_from(Place),
    limit=st.builds(Limit, st.sampled_from(Egress), st.just("rule")),
    estimate=st.builds(
        Estimate, wait_s=st.floats(0, 50), total_s_p50=seconds, total_s_p95=seconds, price_usd=st.floats(0, 1)
    ),
    condition=st.builds(
        Condition,
        st.sampled_from(("closed", "half_open", "open")),
        st.floats(0, 9),
        st.integers(0, 4),
        st.integers(0, 4),
    ),
    lacks=st.sampled_from(((), ("tools",))),
    serves_endpoint=st.booleans(),
    context_tokens=st.none() | st.integers(1, 5000),
    slots=st.integers(1, 4),
    queue_max=st.integers(0, 4),
)
fleets = st.lists(candidates, max_size=5, unique_by=lambda candidate: candidate.target)
asks = st.builds(
    Ask,
    mode=st.sampled_from(Mode),
    wish=st.sampled_from(Wish),
    prompt_tokens=st.integers(0, 5000),
    output_tokens=st.integers(0, 500),
    body_bytes=st.integers(0, 10_000),
    remaining_s=seconds,
    budget_usd_left=st.none() | st.floats(-1, 1),
    budget_bytes_left=st.none() | st.integers(-10, 10_000),
    is_cloud_off=st.booleans(),
    wait_s_max=seconds,
)


@given(asks, fleets)
def test_every_target_is_either_in_the_order_or_lost_with_a_reason(ask: Ask, fleet: list[Candidate]) -> None:
    placed = decide(ask, fleet)
    assert sorted([*placed.order, *(loss.target for loss in placed.lost)]) == sorted(one.target for one in fleet)


@given(asks, fleets)
def test_no_order_holds_a_cloud_target_that_policy_the_switch_or_the_wish_forbids(
    ask: Ask, fleet: list[Candidate]
) -> None:
    by_name = {one.target: one for one in fleet}
    for name in decide(ask, fleet).order:
        one = by_name[name]
        if one.at is Place.CLOUD:
            assert one.limit.egress is not Egress.NEVER
            assert not ask.is_cloud_off
            assert ask.wish is not Wish.EDGE


@given(asks, fleets)
def test_the_reason_tells_the_place_of_the_first_target(ask: Ask, fleet: list[Candidate]) -> None:
    placed = decide(ask, fleet)
    kind = placed.reason.partition(".")[0]
    assert kind == ("refused" if not placed.order else next(c.at.value for c in fleet if c.target == placed.order[0]))


@given(asks, fleets)
def test_a_decision_replays_from_its_ledger_entry(ask: Ask, fleet: list[Candidate]) -> None:
    wire = msgspec.json.encode((ask, fleet, decide(ask, fleet)))
    again_ask, again_fleet, placed = msgspec.json.decode(wire, type=tuple[Ask, list[Candidate], Placement])
    assert decide(again_ask, again_fleet) == placed


@given(asks, fleets)
def test_nobody_is_sent_to_wait_longer_than_it_may(ask: Ask, fleet: list[Candidate]) -> None:
    by_name = {one.target: one for one in fleet}
    for name in decide(ask, fleet).order:
        wait_s = by_name[name].estimate.wait_s
        assert ask.wait_s_max is None or wait_s <= ask.wait_s_max


@given(asks, fleets)
def test_tightening_policy_never_adds_a_target(ask: Ask, fleet: list[Candidate]) -> None:
    tight = [msgspec.structs.replace(one, limit=Limit(Egress.NEVER, "tight")) for one in fleet]
    assert set(decide(ask, tight).order) <= set(decide(ask, fleet).order)
