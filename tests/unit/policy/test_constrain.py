"""Labels and rules to limits: the strictest word wins, and what nobody knows stays."""

from __future__ import annotations

import pytest

from ecotone.policy import DEFAULT_LABELS, Policy, Rule, constrain
from ecotone.values import Egress, Place, TargetSpec

EDGE = TargetSpec(name="small", at=Place.EDGE, model="m")
EU = TargetSpec(name="big", at=Place.CLOUD, model="m", region="eu")
US = TargetSpec(name="us", at=Place.CLOUD, model="m", region="us")
NOWHERE = TargetSpec(name="where", at=Place.CLOUD, model="m")


def word(policy: Policy, labels: tuple[str, ...], spec: TargetSpec, key: str = "", model: str = "") -> Egress:
    return constrain(policy, labels, spec, key=key, model=model).egress


def test_the_edge_is_always_free() -> None:
    assert word(Policy(rules=(Rule("policy[0]", Egress.NEVER),)), ("secret",), EDGE) is Egress.FREE


def test_without_labels_and_rules_all_may_pass_and_the_policy_says_so_in_words() -> None:
    assert word(Policy(), (), EU) is Egress.FREE
    assert "may leave" in Policy().says


@pytest.mark.parametrize("label", sorted(DEFAULT_LABELS))
def test_defaults_hold_without_configuration(label: str) -> None:
    assert word(Policy(), (label,), EU) is DEFAULT_LABELS[label]


def test_a_label_nobody_knows_stays() -> None:
    limit = constrain(Policy(), ("blue",), EU)
    assert (limit.egress, limit.rule) == (Egress.NEVER, "label blue")


def test_the_configuration_overrides_a_label_in_words() -> None:
    assert word(Policy(labels={"person": Egress.FREE}), ("person",), EU) is Egress.FREE


def test_the_strictest_label_wins() -> None:
    policy = Policy(labels={"person": Egress.PSEUDONYMISE})
    assert word(policy, ("person", "place"), EU) is Egress.PSEUDONYMISE
    assert word(policy, ("person", "secret"), EU) is Egress.NEVER


def test_the_first_matching_rule_speaks_and_can_only_tighten() -> None:
    rules = (Rule("policy[0]", Egress.FREE, key="open"), Rule("policy[1]", Egress.NEVER))
    policy = Policy(rules=rules)
    assert word(policy, (), EU, key="open") is Egress.FREE
    assert word(policy, (), EU) is Egress.NEVER
    assert word(policy, ("secret",), EU, key="open") is Egress.NEVER
    assert "unless a rule" in policy.says


def test_a_region_rule_matches_a_target_whose_region_nobody_gave() -> None:
    policy = Policy(rules=(Rule("policy[0]", Egress.NEVER, to_region=("us",)),))
    assert [word(policy, (), spec) for spec in (EU, US, NOWHERE)] == [Egress.FREE, Egress.NEVER, Egress.NEVER]


@pytest.mark.parametrize("condition", [{"key": "k"}, {"label": "place"}, {"model": "m1"}, {"target": "big"}])
def test_each_condition_matches_only_its_own(condition: dict[str, str]) -> None:
    policy = Policy(rules=(Rule("policy[0]", Egress.NEVER, **condition),))
    assert word(policy, ("place",), EU, key="k", model="m1") is Egress.NEVER
    assert word(policy, (), US, key="other", model="m2") is Egress.FREE
