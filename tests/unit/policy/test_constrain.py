"""Labels and rules to limits: the strictest word wins, and what nobody knows stays."""

from __future__ import annotations

import pytest

from ecotone.policy import DEFAULT_LABELS, Policy, Rule, constrain
from ecotone.values import Egress, Findings, Limit, Place, TargetSpec

EDGE = TargetSpec(name="small", at=Place.EDGE, model="m")
EU = TargetSpec(name="big", at=Place.CLOUD, model="m", region="eu")
US = TargetSpec(name="us", at=Place.CLOUD, model="m", region="us")
NOWHERE = TargetSpec(name="where", at=Place.CLOUD, model="m")


def word(policy: Policy, labels: tuple[str, ...], spec: TargetSpec, key: str = "", model: str = "") -> Egress:
    return constrain(policy, Findings(labels), spec, key=key, model=model).egress


def test_the_edge_is_always_free() -> None:
    assert word(Policy(rules=(Rule("policy[0]", Egress.NEVER),)), ("secret",), EDGE) is Egress.FREE


def test_without_labels_and_rules_all_may_pass_and_the_policy_says_so_in_words() -> None:
    assert word(Policy(), (), EU) is Egress.FREE
    assert "may leave" in Policy().says


@pytest.mark.parametrize("label", sorted(DEFAULT_LABELS))
def test_defaults_hold_without_configuration(label: str) -> None:
    assert word(Policy(), (label,), EU) is DEFAULT_LABELS[label]


def test_a_label_nobody_knows_stays() -> None:
    limit = constrain(Policy(), Findings(("blue",)), EU)
    assert (limit.egress, limit.rule) == (Egress.NEVER, "label blue")


def test_the_configuration_overrides_a_label_in_words() -> None:
    assert word(Policy(labels={"person": Egress.FREE}), ("person",), EU) is Egress.FREE


def test_the_strictest_label_wins() -> None:
    policy = Policy(labels={"person": Egress.PSEUDONYMISE})
    assert word(policy, ("person", "place"), EU) is Egress.PSEUDONYMISE
    assert word(policy, ("person", "secret"), EU) is Egress.NEVER


def test_the_first_matching_rule_speaks_and_can_only_tighten() -> None:
    rules = (Rule("policy[0]", Egress.FREE, key="open"), Rule("policy[1]", Egress.PSEUDONYMISE))
    policy = Policy(rules=rules)
    assert word(policy, (), EU, key="open") is Egress.FREE
    assert word(policy, (), EU) is Egress.PSEUDONYMISE
    assert word(policy, ("secret",), EU, key="open") is Egress.NEVER
    assert "unless a rule" in policy.says


def test_never_beats_every_other_rule_wherever_it_stands() -> None:
    rules = (Rule("policy[0]", Egress.FREE, key="open"), Rule("policy[1]", Egress.NEVER, label="place"))
    limit = constrain(Policy(rules=rules), Findings(("place",)), EU, key="open")
    assert limit == Limit(Egress.NEVER, "policy[1]")


def test_what_must_be_replaced_is_named_label_by_label() -> None:
    policy = Policy(labels={"person": Egress.PSEUDONYMISE, "contact": Egress.PSEUDONYMISE})
    limit = constrain(policy, Findings(("contact", "person", "place")), EU)
    assert limit == Limit(Egress.PSEUDONYMISE, "label contact", ("contact", "person"))


def test_a_rule_that_pseudonymises_means_its_label_or_without_one_all_that_was_found() -> None:
    rules = (Rule("policy[0]", Egress.PSEUDONYMISE, label="date"), Rule("policy[1]", Egress.PSEUDONYMISE, key="k"))
    policy = Policy(rules=rules)
    assert constrain(policy, Findings(("date", "place")), EU, key="k").replace == ("date",)
    assert constrain(policy, Findings(("amount", "place")), EU, key="k").replace == ("amount", "place")


def test_what_cannot_be_replaced_does_not_go_pseudonymised() -> None:
    policy = Policy(labels={"medical": Egress.PSEUDONYMISE, "person": Egress.PSEUDONYMISE})
    limit = constrain(policy, Findings(("medical", "person"), loose=("medical",)), EU)
    assert limit.egress is Egress.NEVER
    assert "medical" in limit.rule


def test_until_all_detectors_have_looked_a_limit_is_open() -> None:
    policy = Policy(labels={"person": Egress.PSEUDONYMISE})
    for labels in ((), ("person",)):
        assert constrain(policy, Findings(labels, pending=("names",)), EU).is_open
    assert not constrain(policy, Findings(()), EU).is_open


def test_a_region_rule_matches_a_target_whose_region_nobody_gave() -> None:
    policy = Policy(rules=(Rule("policy[0]", Egress.NEVER, to_region=("us",)),))
    assert [word(policy, (), spec) for spec in (EU, US, NOWHERE)] == [Egress.FREE, Egress.NEVER, Egress.NEVER]


@pytest.mark.parametrize("condition", [{"key": "k"}, {"label": "place"}, {"model": "m1"}, {"target": "big"}])
def test_each_condition_matches_only_its_own(condition: dict[str, str]) -> None:
    policy = Policy(rules=(Rule("policy[0]", Egress.NEVER, **condition),))
    assert word(policy, ("place",), EU, key="k", model="m1") is Egress.NEVER
    assert word(policy, (), US, key="other", model="m2") is Egress.FREE
