"""Who may do what, as a person reads it in the table of roles."""

from __future__ import annotations

from typing import get_args

import pytest

from ecotone import access
from ecotone.access import ACTS, ROLES, Act, Actor, Grant, Person, Role, Subject, demand, may, may_somewhere
from ecotone.values import RefusalError

CLINIC = Subject("models/clinic-7b", ("all", "clinics"), "eu")


def person(*grants: Grant) -> Person:
    return Person(name="bob", grants=grants)


def test_every_role_and_every_act_has_its_line_in_the_tables() -> None:
    assert set(ROLES) == set(get_args(Role))
    assert set(ACTS) == set(get_args(Act))
    assert all(what.words for what in ACTS.values())
    assert all({"fleet.read", "asset.read"} <= acts for acts in ROLES.values())


@pytest.mark.parametrize(
    ("role", "act", "is_allowed"),
    [
        ("owner", "grant.change", True),
        ("publisher", "asset.publish", True),
        ("publisher", "release.start", False),
        ("releaser", "release.start", True),
        ("releaser", "asset.publish", False),
        ("operator", "release.pause", True),
        ("operator", "release.abort", True),
        ("operator", "release.start", False),
        ("operator", "release.resume", False),
        ("operator", "site.revoke", True),
        ("operator", "people.change", False),
        ("auditor", "acts.read", True),
        ("auditor", "site.label", False),
        ("reader", "fleet.read", True),
        ("reader", "acts.read", False),
    ],
)
def test_a_role_may_what_its_line_says(role: Role, act: Act, is_allowed: bool) -> None:
    assert bool(may(person(Grant(role=role)), act, CLINIC)) is is_allowed


def test_nobody_may_anything_that_was_not_granted() -> None:
    for act in get_args(Act):
        answer = may(person(), act, CLINIC)
        assert not answer
        assert answer.code == "role"
    assert "owner, releaser have" in may(person(), "release.start").why


def test_a_grant_is_held_against_what_the_act_is_about() -> None:
    narrow = person(Grant(role="releaser", assets=("models/clinic-*",), groups=("clinics",), regions=("eu",)))
    assert may(narrow, "release.start", CLINIC)
    for other in (
        Subject("models/ship-7b", ("clinics",), "eu"),
        Subject("models/clinic-7b", ("ships",), "eu"),
        Subject("models/clinic-7b", ("clinics",), "us"),
        Subject("", ("clinics",), "eu"),
        Subject("models/clinic-7b", (), "eu"),
        Subject("models/clinic-7b", ("clinics",), ""),
        Subject(),
    ):
        answer = may(narrow, "release.start", other)
        assert not answer
        assert answer.code == "scope"
    assert may(narrow, "fleet.read", Subject(groups=("clinics",), region="eu")), "no asset is seen in that"
    assert may(narrow, "asset.read", Subject("models/clinic-1")), "and no site in this"
    assert not may(narrow, "asset.read", Subject("models/ship-1"))


def test_what_concerns_all_of_a_hub_takes_a_grant_without_narrowing() -> None:
    assert may(person(Grant(role="operator")), "hub.collect")
    for narrowed in ({"assets": ("models/*",)}, {"groups": ("a",)}, {"regions": ("eu",)}):
        assert not may(person(Grant(role="owner", **narrowed)), "people.change")  # type: ignore[arg-type] # one of three


def test_a_denial_beats_every_grant_within_its_scope_alone() -> None:
    bob = person(Grant(role="releaser"), Grant(role="releaser", groups=("ships",), is_deny=True))
    assert may(bob, "release.start", CLINIC)
    answer = may(bob, "release.start", Subject("models/a", ("all", "ships"), "eu"))
    assert not answer
    assert answer.code == "denied"
    assert not may(bob, "release.start"), "everything has the ships in it"
    assert not may(bob, "release.start", Subject("models/a")), "and so has every site"
    assert may(bob, "asset.read", Subject("models/a")), "that is about no site"
    eve = person(Grant(role="reader"), Grant(role="reader", assets=("models/a",), is_deny=True))
    assert not may(eve, "asset.read", Subject("models/a"))
    assert may(eve, "fleet.read", CLINIC), "and that about no asset"


def test_a_denial_of_what_concerns_all_of_a_hub_has_no_scope() -> None:
    bob = person(Grant(role="owner"), Grant(role="operator", groups=("ships",), is_deny=True))
    assert not may(bob, "hub.sign")
    assert may(bob, "people.change"), "an operator may not do that anyway"


def test_demand_goes_on_or_says_who_can_mend_it() -> None:
    bob = Actor(person(Grant(role="reader", groups=("clinics",))), "key:1")
    demand(bob, "fleet.read", CLINIC, CLINIC)
    for subjects in ((), (CLINIC, Subject(groups=("ships",))), (Subject(region="eu"),)):
        with pytest.raises(RefusalError, match=r"bob may `fleet.read`, and not on") as found:
            demand(bob, "fleet.read", *subjects)
        assert (found.value.code, found.value.status) == ("hub.may", 403)
    with pytest.raises(RefusalError, match="An owner can give one"):
        demand(bob, "site.revoke", CLINIC)


def test_lists_are_for_who_may_see_some_of_them() -> None:
    some = Actor(person(Grant(role="reader", groups=("clinics",))), "key:1")
    access.demand_somewhere(some, "fleet.read")
    assert not may_somewhere(some.person, "site.revoke")
    denied = person(Grant(role="reader", is_deny=True))
    assert not may_somewhere(denied, "fleet.read")
    with pytest.raises(RefusalError):
        access.demand_somewhere(Actor(denied, "key:1"), "fleet.read")


def test_who_holds_the_hubs_own_keys_may_all() -> None:
    ann = access.owner("local:ann")
    assert ann.name == "person:local:ann"
    for act in get_args(Act):
        demand(ann, act)
        demand(ann, act, CLINIC)


@pytest.mark.parametrize(
    ("pattern", "name", "is_match"),
    [
        ("*", "", True),
        ("*", "models/a", True),
        ("models/a", "models/a", True),
        ("models/a", "models/ab", False),
        ("models/*", "models/a", True),
        ("models/*", "policies/a", False),
        ("*-7b", "models/clinic-7b", True),
        ("a*b*c", "aXbYc", True),
        ("a*b*c", "aXc", False),
        ("ab*bc", "abc", False),
        ("a*a", "a", False),
        ("**", "x", True),
        ("", "", True),
    ],
)
def test_a_star_stands_for_anything(pattern: str, name: str, is_match: bool) -> None:
    assert access.matches(pattern, name) is is_match
