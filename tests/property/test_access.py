"""Who may do what, for whatever was granted and denied."""

from __future__ import annotations

import itertools
from typing import get_args

from hypothesis import given
from hypothesis import strategies as st

from ecotone.access import (
    ACTS,
    ROLES,
    Act,
    Confinement,
    Good,
    Grant,
    Person,
    Place,
    Role,
    SessionKeys,
    Subject,
    matches,
    may,
    may_hold,
    may_somewhere,
    may_take,
)
from ecotone.access.proofs import Claims

assets = st.sampled_from(["models/a", "models/b-1", "policies/a"])
groups = st.sampled_from(["all", "clinics", "ships"])
regions = st.sampled_from(["eu", "us"])
patterns = st.sampled_from(["*", "models/*", "models/a", "c*", "clinics", "ships", "eu", "u*", "*s"])
some = st.lists(patterns, min_size=1, max_size=3).map(tuple)
grants = st.builds(
    Grant, role=st.sampled_from(get_args(Role)), assets=some, groups=some, regions=some, is_deny=st.booleans()
)
lists = st.lists(grants, max_size=5)
acts = st.sampled_from(get_args(Act))
subjects = st.builds(
    Subject,
    st.one_of(st.just(""), assets),
    st.lists(groups, max_size=3, unique=True).map(tuple),
    st.one_of(st.just(""), regions),
)
confinements = st.lists(st.builds(Confinement, assets=some, groups=some, regions=some), max_size=3)
places = st.builds(Place, st.just("s"), st.lists(groups, max_size=2).map(tuple), st.one_of(st.just(""), regions))
goods = st.builds(Good, assets, st.lists(regions, max_size=2).map(tuple))


def person(given: list[Grant]) -> Person:
    return Person(name="bob", grants=tuple(given))


@given(lists, grants, acts, subjects)
def test_a_denial_more_allows_nothing_more(held: list[Grant], one: Grant, act: Act, subject: Subject) -> None:
    denial = Grant(role=one.role, assets=one.assets, groups=one.groups, regions=one.regions, is_deny=True)
    if may(person([*held, denial]), act, subject):
        assert may(person(held), act, subject)


@given(lists, grants, acts, subjects)
def test_a_grant_more_takes_nothing_away(held: list[Grant], one: Grant, act: Act, subject: Subject) -> None:
    grant = Grant(role=one.role, assets=one.assets, groups=one.groups, regions=one.regions)
    if may(person(held), act, subject):
        assert may(person([*held, grant]), act, subject)


@given(lists, acts, subjects)
def test_nothing_is_allowed_that_no_grant_has_in_its_role(held: list[Grant], act: Act, subject: Subject) -> None:
    answer = may(person(held), act, subject)
    if answer:
        assert any(act in ROLES[grant.role] and not grant.is_deny for grant in held)
        assert may_somewhere(person(held), act)


@given(lists, acts, subjects)
def test_the_order_of_grants_matters_to_nobody(held: list[Grant], act: Act, subject: Subject) -> None:
    said = {
        bool(may(person(list(order)), act, subject)) for order in itertools.islice(itertools.permutations(held), 24)
    }
    assert len(said) == 1


@given(lists, acts, subjects)
def test_who_may_do_it_to_everything_may_do_it_to_anything(held: list[Grant], act: Act, subject: Subject) -> None:
    if may(person(held), act):
        assert may(person(held), act, subject)


@given(grants, acts, subjects)
def test_a_narrower_grant_allows_no_more(one: Grant, act: Act, subject: Subject) -> None:
    wide = Grant(role=one.role)
    if may(person([Grant(role=one.role, assets=one.assets, groups=one.groups, regions=one.regions)]), act, subject):
        assert may(person([wide]), act, subject)


@given(st.lists(grants.filter(lambda grant: grant.role != "owner"), max_size=6), subjects)
def test_nobody_but_an_owner_changes_who_may_do_what(held: list[Grant], subject: Subject) -> None:
    for act in ("people.change", "grant.change"):
        assert not may(person(held), act, subject)
    assert all(ACTS[act].about == "hub" for act in ("people.change", "grant.change"))


@given(places, goods, confinements, st.sets(st.sampled_from(["a", "b"])), st.sampled_from(["a", "b"]))
def test_what_is_served_is_wished_and_may_be_there(
    place: Place, good: Good, rules: list[Confinement], wished: set[str], sha256: str
) -> None:
    if may_take(place, good, sha256, wished, rules):
        assert sha256 in wished
        assert may_hold(place, good, rules)
        assert not good.residency or place.region in good.residency


@given(places, goods, confinements)
def test_confinements_only_ever_take_away(place: Place, good: Good, rules: list[Confinement]) -> None:
    if may_hold(place, good, rules):
        assert may_hold(place, good)


@given(st.text(alphabet="ab*", max_size=6), st.text(alphabet="ab", max_size=8))
def test_patterns_match_as_their_regular_expression(pattern: str, name: str) -> None:
    import re

    assert matches(pattern, name) == bool(re.fullmatch(re.escape(pattern).replace(r"\*", ".*"), name))


@given(st.text(max_size=80), st.integers(0, 79), st.floats(0, 2e9))
def test_a_token_that_was_changed_anywhere_is_none(put: str, at: int, now_s: float) -> None:
    keys = SessionKeys({"k1aa": b"k" * 32})
    token = keys.token(Claims(hub="h", site="s", generation=1, until_s=now_s + 1))
    changed = token[:at] + put + token[at + len(put) :]
    if changed != token:
        assert keys.claims(changed, "h", now_s) is None
