"""People at a hub, on SQLite and on PostgreSQL: keys, grants, and that every change is asked for and written down."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import pytest
from sqlalchemy import text
from tests.hub.members import NOW_S, OWNER, Machine, Members, bearing

from ecotone.access import ROLES, Actor, Grant, Role, Subject, demand, may
from ecotone.cli.hub_people import ROLES as OF_COMMANDS
from ecotone.hub.database import Database
from ecotone.hub.people_doors import DOORS
from ecotone.values import RefusalError, RequestError


@pytest.fixture
def members(database: Database, tmp_path: Path) -> Members:
    return Members(database, tmp_path / "hub.keys")


def refused(code: str, work: Callable[[], object]) -> int:
    with pytest.raises((RequestError, RefusalError)) as found:
        work()
    assert found.value.code == code
    return found.value.status


def test_somebody_with_a_key_is_known_with_what_was_granted(members: Members) -> None:
    bob = members.actor("bob", Grant(role="releaser", groups=("clinics",)))
    assert (bob.name, bob.via.startswith("key:")) == ("person:bob", True)
    demand(bob, "release.start", Subject("models/a", ("clinics",), "eu"))
    refused("hub.may", lambda: demand(bob, "release.start"))
    assert members.written() == ["person.add", "grant.give", "key.make"]


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": ""},
        {"authorization": "Bearer"},
        {"authorization": "Bearer "},
        {"authorization": "Basic YTpi"},
        {"authorization": "Bearer nonsense"},
        {"authorization": "Bearer a.b.c"},
        {"authorization": "Bearer eco_ffff_" + "x" * 43},
        {"authorization": "Bearer é"},
    ],
)
def test_who_brings_no_key_that_holds_is_nobody(members: Members, headers: dict[str, str]) -> None:
    assert refused("hub.key", lambda: members.people.authenticate(headers)) == 401


def test_only_digests_are_kept_and_they_need_the_hubs_own_secret(members: Members, tmp_path: Path) -> None:
    members.people.add(OWNER, "bob")
    _, key = members.people.key(OWNER, "bob")
    token = members.token()
    with members.database.read() as connection:
        rows = str(connection.execute(text("SELECT * FROM person_keys")).all())
        rows += str(connection.execute(text("SELECT * FROM enrol_tokens")).all())
        rows += str(connection.execute(text("SELECT * FROM hub_acts")).all())
    assert key.split("_", 2)[2] not in rows
    assert token.split(".")[2] not in rows
    elsewhere = Members(members.database, tmp_path / "other.keys")
    refused("hub.key", lambda: elsewhere.people.authenticate(bearing(key)))


def test_a_key_and_a_grant_run_out(members: Members) -> None:
    members.people.add(OWNER, "bob")
    members.people.grant(OWNER, "bob", Grant(role="reader"))
    members.people.grant(OWNER, "bob", Grant(role="owner"), until_s=NOW_S + 60)
    _, key = members.people.key(OWNER, "bob", until_s=NOW_S + 120)
    assert may(members.people.authenticate(bearing(key)).person, "people.change")
    members.clock.now_s += 60
    bob = members.people.authenticate(bearing(key))
    assert not may(bob.person, "people.change")
    assert may(bob.person, "fleet.read")
    members.clock.now_s += 60
    refused("hub.key", lambda: members.people.authenticate(bearing(key)))


def test_what_is_taken_holds_at_the_next_request_at_every_process(members: Members) -> None:
    other = members.other()
    members.people.add(OWNER, "bob")
    grant = members.people.grant(OWNER, "bob", Grant(role="owner"))
    key_id, key = members.people.key(OWNER, "bob")
    assert may(other.people.authenticate(bearing(key)).person, "people.change")
    members.people.take(OWNER, grant)
    assert not may(other.people.authenticate(bearing(key)).person, "people.change")
    members.people.revoke_key(OWNER, key_id)
    refused("hub.key", lambda: other.people.authenticate(bearing(key)))
    _, second = members.people.key(OWNER, "bob")
    members.people.remove(OWNER, "bob")
    refused("hub.key", lambda: other.people.authenticate(bearing(second)))
    assert members.people.everyone(OWNER) == []


def test_somebody_may_revoke_a_key_of_their_own(members: Members) -> None:
    bob, eve = members.actor("bob"), members.actor("eve")
    refused("hub.may", lambda: members.people.revoke_key(eve, bob.via.removeprefix("key:")))
    members.people.revoke_key(bob, bob.via.removeprefix("key:"))
    assert [len(known.keys) for known in members.people.everyone(OWNER)] == [0, 1]
    refused("hub.may", lambda: members.people.revoke_key(eve, "ffff"))


def test_nobody_but_an_owner_changes_people(members: Members) -> None:
    members.people.add(OWNER, "bob")
    for role in set(get_args(Role)) - {"owner"}:
        who = members.actor(role, Grant(role=role))
        for change in (
            functools.partial(members.people.add, who, "x"),
            functools.partial(members.people.remove, who, "bob"),
            functools.partial(members.people.key, who, "bob"),
            functools.partial(members.people.grant, who, role, Grant(role="owner")),
            functools.partial(members.people.take, who, "ffff"),
        ):
            assert refused("hub.may", change) == 403
    scoped = members.actor("scoped", Grant(role="owner", groups=("clinics",)))
    refused("hub.may", lambda: members.people.grant(scoped, "scoped", Grant(role="owner")))


def test_people_are_seen_by_owners_and_auditors(members: Members) -> None:
    auditor, reader = members.actor("aud", Grant(role="auditor")), members.actor("rea", Grant(role="reader"))
    known = members.people.everyone(auditor)
    assert [(one.name, len(one.keys), one.grants[0].grant.role) for one in known] == [
        ("aud", 1, "auditor"),
        ("rea", 1, "reader"),
    ]
    refused("hub.may", lambda: members.people.everyone(reader))


def test_what_is_wrong_is_told(members: Members) -> None:
    people = members.people
    people.add(OWNER, "bob")
    assert refused("hub.person", lambda: people.add(OWNER, "bob")) == 409
    for name in ("", "oidc:ann", "a b", "ann\n", "x" * 129):
        refused("hub.person", functools.partial(people.add, OWNER, name))
    assert refused("hub.unknown_person", lambda: people.key(OWNER, "eve")) == 404
    refused("hub.unknown_person", lambda: people.remove(OWNER, "eve"))
    refused("hub.unknown_person", lambda: people.grant(OWNER, "eve", Grant(role="reader")))
    refused("hub.unknown_person", lambda: people.grant(OWNER, "oidc:", Grant(role="reader")))
    refused("hub.unknown_key", lambda: people.revoke_key(OWNER, "ffff"))
    refused("hub.unknown_grant", lambda: people.take(OWNER, "ffff"))
    assert members.written() == ["person.add"], "what was refused was not done, and is not in the ledger"


def test_an_act_that_cannot_be_written_is_not_done(members: Members, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> int:
        raise OSError("no space left")

    monkeypatch.setattr(members.acts, "write", full)
    with pytest.raises(OSError, match="no space"):
        members.people.add(OWNER, "bob")
    with pytest.raises(OSError, match="no space"):
        members.token()
    monkeypatch.undo()
    assert members.people.everyone(OWNER) == []
    assert members.sites.tokens.all(OWNER) == []


def test_what_stands_in_the_ledger_is_whole(members: Members) -> None:
    bob = members.actor("bob", Grant(role="operator"))
    members.enrolled()
    members.sites.revoke(bob, "clinic-7", "lost")
    assert members.acts.verify().is_whole
    last = members.acts.tail()[-1].body
    assert (last["actor"], last["act"], last["subject"]) == ("person:bob", "site.revoke", "site:clinic-7")
    assert len(last["digest"]) == 64


def test_the_commands_know_the_same_roles() -> None:
    assert set(OF_COMMANDS) == set(ROLES)


# The doors: what `/admin` and the commands call.


@pytest.fixture
def hub(members: Members) -> Any:
    return SimpleNamespace(people=members.people, sites=members.sites, clock=members.clock)


def ask(
    hub: Any, method: str, path: str, body: dict[str, Any] | None = None, actor: Actor = OWNER, **names: str
) -> Any:
    template, _, query = path.partition("?")
    said = dict(part.split("=") for part in query.split("&")) if query else {}
    return DOORS[method, template](hub, actor, names, body or {}, said)


def test_all_of_it_goes_through_the_doors(hub: Any, members: Members) -> None:
    assert ask(hub, "POST", "/people", {"name": "bob"}) == (201, {"name": "bob"})
    status, made = ask(hub, "POST", "/people/{name}/keys", {"days": 1}, name="bob")
    given = {"role": "operator", "groups": ["clinics"], "days": 2}
    _, grant = ask(hub, "POST", "/people/{name}/grants", given, name="bob")
    bob = members.people.authenticate(bearing(made["key"]))
    assert status == 201
    assert bob.person.grants == (Grant(role="operator", groups=("clinics",)),)
    _, me = ask(hub, "GET", "/me", actor=bob)
    assert (me["who"], me["roles"]) == ("bob", ["operator"])
    assert {name for name, may_it in me["may"].items() if may_it} == {"see", "pause", "enroll", "revoke"}
    assert len(ask(hub, "GET", "/people")[1]["people"]) == 1
    asked = {"site": "clinic-*", "groups": ["clinics"], "uses": 2}
    status, token = ask(hub, "POST", "/tokens", asked, bob)
    assert status == 201
    assert [one.id for one in ask(hub, "GET", "/tokens", actor=bob)[1]["tokens"]] == [token["id"]]
    members.sites.enroll(token["token"], "clinic-7", Machine("clinic-7").public)
    assert ask(hub, "GET", "/sites?find=clinic&limit=5", actor=bob)[1].total == 1
    assert ask(hub, "GET", "/sites/{site}", actor=bob, site="clinic-7")[1].groups == ("all", "clinics")
    assert ask(hub, "PATCH", "/sites/{site}", {"labels": {"a": "b"}}, bob, site="clinic-7")[1].labels == {"a": "b"}
    assert ask(hub, "POST", "/sites/{site}/revoke", {"why": "x"}, bob, site="clinic-7")[1].state == "revoked"
    assert ask(hub, "DELETE", "/tokens/{id}", actor=bob, id=token["id"])[0] == 204
    _, rule = ask(hub, "POST", "/confinements", {"assets": ["models/*"], "regions": ["eu"]})
    assert ask(hub, "GET", "/confinements")[1]["confinements"][0].id == rule["id"]
    assert ask(hub, "DELETE", "/confinements/{id}", id=rule["id"])[0] == 204
    assert ask(hub, "DELETE", "/grants/{id}", id=grant["id"])[0] == 204
    assert ask(hub, "DELETE", "/keys/{id}", id=made["id"])[0] == 204
    assert ask(hub, "DELETE", "/people/{name}", name="bob")[0] == 204


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/people", {}),
        ("POST", "/people", {"name": "a", "role": "owner"}),
        ("POST", "/people/{name}/keys", {"days": 0}),
        ("POST", "/people/{name}/grants", {"role": "king"}),
        ("POST", "/people/{name}/grants", {"role": "reader", "groups": []}),
        ("POST", "/people/{name}/grants", {"role": "reader", "groups": ["a b"]}),
        ("POST", "/tokens", {"site": "A"}),
        ("POST", "/tokens", {"site": "a", "uses": 0}),
        ("POST", "/confinements", {}),
        ("PATCH", "/sites/{site}", {"state": "enrolled"}),
    ],
)
def test_a_body_that_says_something_else_is_refused(hub: Any, method: str, path: str, body: dict[str, Any]) -> None:
    assert refused("hub.body", lambda: ask(hub, method, path, body, name="bob", site="a")) == 400


def test_texts_that_no_database_holds_are_refused(hub: Any) -> None:
    deep: Any = "x"
    for _ in range(600):
        deep = [deep]
    for body in ({"name": "a\x00"}, {"a\x00": 1}, {"name": ["\ud800"]}, {"name": deep}):
        assert refused("hub.body", functools.partial(ask, hub, "POST", "/people", body)) == 400
    refused("hub.body", lambda: ask(hub, "GET", "/sites?find=a\x00"))
    refused("hub.body", lambda: ask(hub, "GET", "/sites/{site}", site="\udcff"))


def test_a_query_that_is_no_number_and_a_site_that_is_not_there(hub: Any) -> None:
    refused("hub.query", lambda: ask(hub, "GET", "/sites?limit=many"))
    assert refused("hub.unknown_site", lambda: ask(hub, "GET", "/sites/{site}", site="x")) == 404


def test_no_door_lets_somebody_in_who_was_granted_nothing(hub: Any, members: Members) -> None:
    members.enrolled()
    nobody = members.actor("nobody")
    bodies = {
        "/people": {"name": "x"},
        "/people/{name}/grants": {"role": "owner"},
        "/tokens": {"site": "x"},
        "/confinements": {"assets": ["*"]},
        "/sites/{site}": {"region": "eu"},
        "/sites/{site}/assign": {"assets": ["smol"]},
    }
    names = {"name": "nobody", "id": "ffff", "site": "clinic-7"}
    before = members.written()
    for method, path in DOORS:
        if path in ("/me", "/tokens/{id}"):  # a token that is not there says so; one that is there is asked of below
            continue
        body = bodies.get(path, {}) if method in ("POST", "PATCH") else {}
        refused("hub.may", functools.partial(ask, hub, method, path, body, nobody, **names))
    token = members.sites.tokens.all(OWNER)
    made = members.token().split(".")[1]
    refused("hub.may", lambda: ask(hub, "DELETE", "/tokens/{id}", actor=nobody, id=made))
    assert len(members.sites.tokens.all(OWNER)) == len(token) + 1
    assert members.written() == [*before, "token.make"]
