"""Assigning without a release: who may, where it may rest, and that it stands in the ledger before it is signed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.hub.members import Machine
from tests.hub.served import OWNER, made, publish

from ecotone.access import Actor, Confinement, Grant, Person
from ecotone.cli.root import ecotone
from ecotone.hub.people_doors import DOORS
from ecotone.hub.publications import About, Ask, Publications
from ecotone.hub.serving import Hub, opened
from ecotone.hub.sites_assigning import assign
from ecotone.hub.sites_tokens import TokenAsked
from ecotone.hub.uploads import Begin
from ecotone.values import ConfigError, RefusalError, RequestError


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    chosen = made(tmp_path, f"sqlite:///{tmp_path / 'state' / 'hub.db'}")
    with opened(chosen) as at:
        at.prepare()
        publish(at, "clinic-lm", "1", residency=("eu",))
        for name, region in (("eu-1", "eu"), ("far", "")):
            _, token = at.sites.tokens.new(OWNER, TokenAsked(site=name, groups=("clinics",), region=region))
            at.sites.enroll(token, name, Machine(name).public)
        yield at


def bob(*grants: Grant) -> Actor:
    return Actor(Person(name="bob", grants=grants), "key:1")


def refused(code: str, work: Callable[[], object]) -> None:
    with pytest.raises((RequestError, RefusalError, ConfigError)) as found:
        work()
    assert found.value.code == code


def test_what_is_assigned_is_written_down_and_signed(hub: Hub) -> None:
    generation = assign(hub, OWNER, "eu-1", [("clinic-lm", ""), ("smol", "1")])
    state = hub.wishes.state("eu-1")
    assert state is not None
    assert [(asset.name, asset.version) for asset in state.assets] == [("clinic-lm", "1"), ("smol", "1")]
    assert (hub.wishes.generation("eu-1"), hub.acts.newest(1)[0].body["act"]) == (generation, "site.assign")
    status, said = DOORS["POST", "/sites/{site}/assign"](hub, OWNER, {"site": "eu-1"}, {"assets": ["smol@2"]}, {})
    assert (status, said) == (200, {"generation": generation + 1})


def test_an_asset_of_a_region_is_not_assigned_elsewhere_by_anybody(hub: Hub) -> None:
    refused("hub.residency", lambda: assign(hub, OWNER, "far", [("clinic-lm", "1")]))
    hub.sites.rules.confine(OWNER, Confinement(assets=("models/smol",), groups=("ships",)))
    refused("hub.confined", lambda: assign(hub, OWNER, "far", [("smol", "1")]))
    assert hub.wishes.generation("far") == 0


def test_who_may_is_asked_of_each_asset_that_comes_or_goes(hub: Hub) -> None:
    some = bob(Grant(role="releaser", assets=("models/clinic-*",), groups=("clinics",), regions=("eu",)))
    assign(hub, some, "eu-1", [("clinic-lm", "1")])
    refused("hub.may", lambda: assign(hub, some, "eu-1", [("clinic-lm", "1"), ("smol", "1")]))
    assign(hub, OWNER, "eu-1", [("smol", "1")])
    refused("hub.may", lambda: assign(hub, some, "eu-1", [("clinic-lm", "1")]))
    refused("hub.may", lambda: assign(hub, bob(Grant(role="operator")), "eu-1", []))


def test_what_cannot_be_assigned_is_told(hub: Hub) -> None:
    refused("hub.unknown_site", lambda: assign(hub, OWNER, "nobody", []))
    refused("hub.unknown", lambda: assign(hub, OWNER, "eu-1", [("smol", "9")]))
    refused("hub.assign", lambda: assign(hub, OWNER, "eu-1", [("smol", "1"), ("smol", "2")]))
    hub.sites.revoke(OWNER, "far")
    refused("hub.revoked", lambda: assign(hub, OWNER, "far", []))


# `ecotone hub assign` and `publish`: the same questions, wherever they can be answered.


def command(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(ecotone, ["hub", *arguments])
    return done.exit_code, done.output


def test_the_command_asks_the_hub_that_has_enrolled_the_site(hub: Hub, tmp_path: Path) -> None:
    file = tmp_path / "hub.yaml"
    file.write_text(f"database: {{url: '{hub.settings.database.url}'}}\nobjects: {{region: us}}\n")
    where, config = str(hub.settings.folder), ("-c", str(file))
    code, said = command("assign", where, "far", "clinic-lm", *config)
    assert (code, "may only rest in eu" in said) == (1, True)
    code, said = command("assign", where, "far", "clinic-lm", *config, "--region", "eu")
    assert code == 1, "what the hub knows of its sites goes before what is said"
    code, said = command("assign", where, "eu-1", "clinic-lm", "smol@1", *config)
    assert (code, "generation 1" in said) == (0, True), said
    assert hub.acts.newest(1)[0].body["act"] == "site.assign"
    (tmp_path / "a.txt").write_text("a" * 1000)
    about = ("--name", "a", "--version", "1", "--licence", "MIT")
    key = ("--key", str(hub.settings.keys / "publisher-models.key"))
    code, said = command("publish", where, str(tmp_path / "a.txt"), *about, *key, *config, "--region", "eu")
    assert (code, "a@1 at this hub: it may only rest in eu" in said) == (1, True), said
    assert command("publish", where, str(tmp_path / "a.txt"), *about, *key, *config, "--region", "us")[0] == 0


def test_for_a_site_that_is_not_enrolled_the_command_is_told_where_it_stands(hub: Hub) -> None:
    where = str(hub.settings.folder)
    code, said = command("assign", where, "harbour-1", "clinic-lm")
    assert (code, "`--region` says where the site stands" in said) == (1, True)
    assert command("assign", where, "harbour-1", "smol")[0] == 0
    assert command("assign", where, "harbour-1", "clinic-lm", "--region", "eu")[0] == 0


def test_a_hub_takes_in_nothing_that_may_not_rest_where_its_objects_do(hub: Hub) -> None:
    def ask(region: str, *residency: str) -> object:
        rooms = (hub.database, hub.acts, hub.repositories, hub.uploads, hub.tasks)
        said = hub.uploads.begin(OWNER, Begin(file="a", bytes=0, sha256=hashlib.sha256(b"").hexdigest()))
        about = About(name="a", version="1", licence="MIT", residency=residency)
        return Publications(*rooms, region).begin(OWNER, Ask(about=about, publisher="models", uploads=(said.id,)))

    refused("hub.residency", lambda: ask("us", "eu"))
    assert ask("eu", "eu")
    assert ask("us")
    assert ask("", "eu"), "where the hub's region is not known its owner knows where it stands"
