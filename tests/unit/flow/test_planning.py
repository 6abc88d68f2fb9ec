"""From a request to a placement, in words and for the ledger."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from ecotone import flow, placement, privacy
from ecotone.flow.planning import entry, meaning, refusal, retell
from ecotone.flow.spend import Budgets, Spend
from ecotone.flow.windows import Window, Windows
from ecotone.policy import Policy, Rule
from ecotone.sim.scripted import PAID, ScriptedTarget, Stage
from ecotone.sim.time import START_WALL_S
from ecotone.values import Egress, Features, Place, Request, RequestError, Wish
from ecotone.values.reasons import OBSTACLES

Make = Callable[..., Stage]


def both(**spec: Any) -> tuple[ScriptedTarget, ScriptedTarget]:
    return ScriptedTarget("small", at=Place.EDGE, **spec), ScriptedTarget("big", price=PAID, **spec)


def planned(one: Stage, request: Request) -> flow.Plan:
    return flow.plan(one.site, request, privacy.inspect(request, one.site.look))


def explained(one: Stage, request: Request) -> dict[str, Any]:
    return one.loop.run_until_complete(flow.explain(one.site, request))


def test_a_plan_knows_each_of_its_targets(stage: Make) -> None:
    one = stage(*both())
    plan = planned(one, one.request())
    assert plan.placement.order == ("small", "big")
    assert (plan.at("small"), plan.at("big")) == ("edge", "cloud")
    assert plan.limit("big").egress is Egress.FREE
    assert plan.price_usd("big") == pytest.approx(0.01 + 256 * 0.002)
    assert plan.total_s_p50("big") is None
    assert plan.ttft_s_p95("big") is None


def test_a_name_that_does_not_exist_is_a_404_that_names_those_that_do(stage: Make) -> None:
    one = stage(*both())
    with pytest.raises(RequestError) as told:
        planned(one, one.request(model="x" * 200))
    assert (told.value.status, told.value.param) == (404, "model")
    assert "auto" in told.value.message
    assert len(told.value.message) < 200


def test_a_target_of_unknown_capabilities_is_taken_to_have_them_all(stage: Make) -> None:
    tools = Features(10, needs=("stream", "tools"))
    one = stage(ScriptedTarget("small", capabilities=frozenset({"stream"})), ScriptedTarget("big"))
    placed = planned(one, one.request(features=tools)).placement
    assert placed.order == ("big",)
    assert placed.lost[0].detail == "lacks tools"


def test_what_is_spent_and_held_today_counts_and_a_new_day_starts_again(stage: Make) -> None:
    days = iter(("2027-01-15", "2027-01-16"))
    one = stage(*both(), today=lambda: next(days), spend=Spend("2027-01-15", usd=0.9), budgets=Budgets(1.0, 1000))
    one.site.spend.hold(0.05, 100)
    ask = planned(one, one.request()).ask
    assert ask.budget_usd_left == pytest.approx(0.05)
    assert ask.budget_bytes_left == 900
    assert planned(one, one.request()).ask.budget_usd_left == pytest.approx(0.95)
    one.site.spend.settle(0.05, 100, 0.0, 0)


def test_the_decision_entry_replays_and_holds_no_content(stage: Make) -> None:
    one = stage(*both(), policy_version="v1")
    request = one.request(body=b'{"secret":"content"}', key="research", labels=("place",))
    made = msgspec.json.encode(entry(one.site, request, planned(one, request)))
    assert b"content" not in made.replace(b"context", b"")
    kept = msgspec.json.decode(made, type=flow.PlacedEntry)
    assert placement.decide(kept.ask, kept.candidates) == kept.placement
    assert (kept.key, kept.labels, kept.policy) == ("research", ("place",), "v1")


def test_explain_says_for_each_target_where_it_stands_or_why_it_lost(stage: Make) -> None:
    one = stage(*both())
    told = explained(one, one.request(labels=("secret",)))
    assert (told["placed"], told["target"], told["reason"]) == ("edge", "small", "edge.private")
    assert told["meaning"] == "policy keeps this request at the site"
    small, big = told["targets"]
    assert (small["place_in_order"], small["lost_because"], small["meaning"]) == (1, None, None)
    assert (big["place_in_order"], big["lost_because"]) == (None, "policy")
    assert big["meaning"] == OBSTACLES["policy"]
    assert msgspec.json.encode(told)
    assert one.journal.entries == []


def test_explain_of_a_refusal_names_no_target(stage: Make) -> None:
    one = stage(ScriptedTarget("big"))
    told = explained(one, one.request(wish=Wish.EDGE))
    assert (told["placed"], told["target"], told["order"]) == ("refused", None, [])
    assert told["meaning"] == "no target could take it; nearest: the caller asked for the edge"


def test_reason_codes_that_are_built_have_a_meaning_too() -> None:
    assert meaning("fallback.dns").endswith("the name could not be resolved")
    assert meaning("cloud.pinned") == "the caller asks for the cloud"
    assert meaning("something.new") == "something.new"


NEVER = Policy(rules=(Rule("policy[0]", Egress.NEVER),))
MINUTE = int(START_WALL_S // 60) % 1_440
"""Of the day at which a stage begins."""
CLOSED = Budgets(windows=Windows([Window(tuple(range(7)), MINUTE + 30, MINUTE + 40)]), is_strict=True)
"""Opens in half an hour."""
OLD = Features(5_000, output_tokens_max=10)


@pytest.mark.parametrize(
    ("word", "status", "site", "spec", "asked"),
    [
        ("policy", 403, {"policy": NEVER}, {}, {}),
        ("no_cloud", 403, {"is_cloud_off": True}, {}, {}),
        ("wish", 403, {}, {}, {"wish": Wish.EDGE}),
        ("endpoint", 400, {}, {"endpoints": ("embeddings",)}, {}),
        ("capability", 400, {}, {"capabilities": frozenset()}, {"features": Features(1, needs=("tools",))}),
        ("context", 400, {}, {"context_tokens": 512}, {"features": OLD}),
        ("budget", 429, {"budgets": Budgets(0.0)}, {}, {}),
        ("window", 503, {"budgets": CLOSED}, {}, {}),
        ("capacity", 429, {}, {"slots": 0}, {}),
        ("deadline", 504, {}, {}, {"deadline_at_s": -1.0}),
    ],
)
def test_a_refusal_has_the_status_of_who_can_act_on_it(
    stage: Make, word: str, status: int, site: dict[str, Any], spec: dict[str, Any], asked: dict[str, Any]
) -> None:
    one = stage(ScriptedTarget("big", **spec), **site)
    outcome = one.serve(one.request(**asked))
    assert (outcome.ending, outcome.reason, one.caller.status) == ("refused", f"refused.{word}", status)
    error = msgspec.json.decode(one.caller.body)["error"]
    assert f"big: {word}" in error["message"]
    assert error["code"] == ("context_length_exceeded" if word == "context" else f"refused.{word}")
    assert ("retry-after" in one.caller.headers) == (status in (429, 503))
    assert outcome.attempts == ()


def test_a_spent_budget_is_back_at_the_next_midnight_utc(stage: Make) -> None:
    one = stage(ScriptedTarget("big"), budgets=Budgets(0.0))
    error = refusal(one.site, planned(one, one.request()))
    assert error.retry_after_s is not None
    assert (one.site.clock.wall_s() + error.retry_after_s) % 86_400 == 0


def test_a_closed_link_opens_with_its_next_window(stage: Make) -> None:
    one = stage(ScriptedTarget("big"), budgets=CLOSED)
    error = refusal(one.site, planned(one, one.request()))
    assert error.retry_after_s == pytest.approx(30 * 60 - START_WALL_S % 60)
    one.later(31 * 60)
    assert planned(one, one.request()).placement.order == ("big",)


def test_an_unreachable_target_is_worth_another_try_when_its_breaker_lets_one_through(stage: Make) -> None:
    one = stage(ScriptedTarget("big"))
    breaker = one.site.breakers["big"]
    breaker.failed(breaker.admit(0.0), "rate_limited", 0.0, 20.0)
    error = refusal(one.site, planned(one, one.request()))
    assert (error.code, error.status, error.retry_after_s) == ("refused.unreachable", 503, 20.0)


def test_a_model_name_without_targets_is_refused_in_words(stage: Make) -> None:
    one = stage(names={"auto": flow.ModelName("auto", ())})
    error = refusal(one.site, planned(one, one.request()))
    assert (error.code, error.retry_after_s) == ("refused.no_target", 1.0)


def told(seq: int, kind: str, **body: object) -> dict[str, Any]:
    return {"seq": seq, "kind": kind, "at_ms": 1, "hash": "h", "body": body, "previous": "g"}


def test_a_past_request_is_told_from_its_ledger_entries() -> None:
    entries = [
        told(1, "placed", placement={"reason": "cloud.better"}),
        told(2, "egress", target="big"),
        told(3, "egress", target="other"),
        told(4, "outcome", reason="fallback.dns"),
    ]
    answer = retell("req-1", entries)
    assert answer is not None
    assert (answer["request"], answer["reason"]) == ("req-1", "fallback.dns")
    assert answer["egress"] == [{"target": "big"}, {"target": "other"}]
    assert [set(entry) for entry in answer["entries"]] == [{"seq", "kind", "at_ms", "hash"}] * 4


def test_a_request_still_under_way_has_the_reason_of_its_placement() -> None:
    answer = retell("req-1", [told(1, "placed", placement={"reason": "cloud.better"})])
    assert answer is not None
    assert (answer["reason"], answer["outcome"]) == ("cloud.better", None)


def test_a_request_without_entries_is_unknown() -> None:
    assert retell("req-1", []) is None
    refused = retell("req-1", [told(1, "outcome", reason="refused.model_not_found")])
    assert refused is not None
    assert refused["placed"] is None
