"""Whatever somebody sends to the doors of people and sites: an answer, or a refusal that has a code; never a crash."""

from __future__ import annotations

import contextlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.hub.members import OWNER, Machine, Members

from ecotone.access import Actor, Grant, Person
from ecotone.hub.database import Database
from ecotone.hub.people_doors import DOORS
from ecotone.values import ConfigError, RefusalError, RequestError

words = st.one_of(
    st.sampled_from(
        ["ann", "clinic-7", "models/*", "*", "eu", "", "oidc:x", "ffff", "a" * 200, "a\x00b", "\ud800", "%", "'; --"]
    ),
    st.text(max_size=12).filter(lambda text: text.isprintable() or not text),
)
values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(), words),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(words, inner, max_size=3)),
    max_leaves=6,
)
NAMES = ["name", "role", "assets", "groups", "regions", "region", "labels", "site", "uses", "hours", "again", "days",
         "is_deny", "why"]  # fmt: skip
bodies = st.dictionaries(st.one_of(st.sampled_from(NAMES), words), values, max_size=5)
queries = st.dictionaries(st.sampled_from(["find", "group", "offset", "limit"]), words, max_size=4)
actors = st.sampled_from([OWNER, Actor(Person(name="bob", grants=(Grant(role="operator", groups=("c*",)),)), "key:1")])


@pytest.fixture
def hub(database: Database, tmp_path: Path) -> Any:
    members = Members(database, tmp_path / "keys")
    return SimpleNamespace(people=members.people, sites=members.sites, clock=members.clock, acts=members.acts)


SETTINGS = settings(
    max_examples=300,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


@SETTINGS
@given(st.sampled_from(sorted(DOORS)), words, bodies, queries, actors)
def test_a_door_answers_or_refuses(
    hub: Any, door: tuple[str, str], name: str, body: dict[str, Any], query: dict[str, str], actor: Actor
) -> None:
    if door[1].endswith("/assign"):
        return
    with contextlib.suppress(RequestError, RefusalError, ConfigError):
        _, value = DOORS[door](hub, actor, {"name": name, "id": name, "site": name}, body, query)
        assert msgspec.json.encode(value)


@SETTINGS
@given(words, words, words, st.one_of(st.none(), words))
def test_what_a_stranger_sends_opens_nothing(hub: Any, one: str, two: str, three: str, four: str | None) -> None:
    sites = hub.sites
    for ask in (
        lambda: sites.enroll(one, two, three),
        lambda: sites.enroll(one, "clinic-7", Machine("x").public),
        lambda: sites.session(one, two, three, four),
        lambda: sites.session("clinic-7", sites.challenge("clinic-7").challenge, three, four),
        lambda: sites.authenticate(one),
        lambda: hub.people.authenticate({"authorization": f"Bearer {one}"}),
    ):
        with pytest.raises((RequestError, RefusalError)):
            ask()
    assert sites.challenge(one).challenge
