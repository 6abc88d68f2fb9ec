"""Every door of a hub, of all its rooms, held against every role: nobody does what their role has not."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
from tests.hub.members import Machine
from tests.hub.served import OWNER, made

from ecotone.access import Act, Actor, Grant, Person, Role, may
from ecotone.hub import people_doors, releases_doors, status_doors
from ecotone.hub.releases_values import Start
from ecotone.hub.serving import Hub, opened
from ecotone.hub.sites_tokens import TokenAsked
from ecotone.hub.uploads import Begin
from ecotone.values import EcotoneError

DOORS = {**people_doors.DOORS, **releases_doors.DOORS, **status_doors.DOORS}
NOBODY = Actor(Person(name="nobody"), "key:1")
DIGEST = hashlib.sha256(b"").hexdigest()

NEEDS: dict[tuple[str, str], Act | None] = {
    ("GET", "/me"): None,
    ("GET", "/people"): "people.read",
    ("POST", "/people"): "people.change",
    ("DELETE", "/people/{name}"): "people.change",
    ("POST", "/people/{name}/keys"): "people.change",
    ("DELETE", "/keys/{id}"): "people.change",
    ("POST", "/people/{name}/grants"): "grant.change",
    ("DELETE", "/grants/{id}"): "grant.change",
    ("GET", "/tokens"): "site.enroll",
    ("POST", "/tokens"): "site.enroll",
    ("DELETE", "/tokens/{id}"): "site.enroll",
    ("GET", "/sites"): "fleet.read",
    ("GET", "/sites/{site}"): "fleet.read",
    ("PATCH", "/sites/{site}"): "site.label",
    ("POST", "/sites/{site}/revoke"): "site.revoke",
    ("POST", "/sites/{site}/assign"): "site.assign",
    ("GET", "/confinements"): "people.read",
    ("POST", "/confinements"): "grant.change",
    ("DELETE", "/confinements/{id}"): "grant.change",
    ("POST", "/releases"): "release.start",
    ("GET", "/releases"): "fleet.read",
    ("GET", "/releases/{id}"): "fleet.read",
    ("POST", "/releases/{id}/pause"): "release.pause",
    ("POST", "/releases/{id}/resume"): "release.resume",
    ("POST", "/releases/{id}/abort"): "release.abort",
    ("GET", "/pins"): "fleet.read",
    ("POST", "/pins/{site}/{name}"): "site.pin",
    ("DELETE", "/pins/{site}/{name}"): "site.pin",
    ("GET", "/sites/{site}/changes"): "fleet.read",
    ("GET", "/assets"): "asset.read",
    ("GET", "/uploads"): None,
    ("POST", "/uploads"): "asset.publish",
    ("DELETE", "/uploads/{id}"): "asset.publish",
    ("POST", "/publications"): "asset.publish",
    ("GET", "/publications"): None,
    ("GET", "/publications/{id}"): "asset.read",
    ("GET", "/publications/{id}/manifest"): "asset.publish",
    ("DELETE", "/publications/{id}"): "asset.publish",
    ("GET", "/publishers/{name}"): "asset.read",
    ("GET", "/work"): "fleet.read",
    ("GET", "/garbage"): "hub.collect",
    ("POST", "/garbage/collect"): "hub.collect",
    ("POST", "/sign"): "hub.sign",
    ("GET", "/status"): "fleet.read",
    ("GET", "/sites/{site}/report"): "fleet.read",
    ("GET", "/acts"): "acts.read",
}
"""Door -> the act that it needs: a table of its own, so that a door without a check, or a new one, is seen.

None: it tells somebody of themselves and of what they have brought alone.
"""
OWN = ("/uploads/", "/publications/")
"""What others have brought is not there for whoever asks."""

BODIES: dict[tuple[str, str], dict[str, Any]] = {
    ("POST", "/people"): {"name": "new"},
    ("POST", "/people/{name}/grants"): {"role": "reader"},
    ("POST", "/tokens"): {"site": "x"},
    ("PATCH", "/sites/{site}"): {"labels": {"a": "b"}},
    ("POST", "/sites/{site}/assign"): {"assets": ["smol@1"]},
    ("POST", "/confinements"): {"assets": ["models/none"]},
    ("POST", "/releases"): {"name": "smol", "version": "1"},
    ("POST", "/pins/{site}/{name}"): {"version": "1"},
    ("POST", "/uploads"): {"file": "a", "bytes": 0, "sha256": DIGEST},
    ("POST", "/publications"): {
        "about": {"name": "smol", "version": "9", "licence": "MIT"},
        "publisher": "models",
        "uploads": ["u-" + "0" * 12],
    },
}


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    folder: Path = tmp_path_factory.mktemp("doors")
    with opened(made(folder, f"sqlite:///{folder / 'state' / 'hub.db'}")) as at:
        at.prepare()
        yield at


def names(hub: Hub) -> dict[str, dict[str, str]]:
    """Something that is there, for each path with a name in it; made anew where it was taken."""
    known = hub.sites.get("clinic-7")
    if known is None or known.state == "revoked":
        _, token = hub.sites.tokens.new(OWNER, TokenAsked(site="clinic-7", again=known is not None))
        hub.sites.enroll(token, "clinic-7", Machine("clinic-7").public)
    if "bob" not in {known.name for known in hub.people.everyone(OWNER)}:
        hub.people.add(OWNER, "bob")
    running = [one for one in hub.releases.list(50, 0, "") if not one.ended_s]
    release = running[0] if running else hub.releases.start(OWNER, Start(name="smol", version="2"))
    if release.state == "paused":
        hub.releases.resume(OWNER, release.id)
    bob = next(one for one in hub.people.everyone(OWNER) if one.name == "bob")
    token_id, _ = hub.sites.tokens.new(OWNER, TokenAsked(site="y"))
    mine = hub.uploads.list(OWNER)
    upload = mine[0] if mine else hub.uploads.begin(OWNER, Begin(file="a", bytes=0, sha256=DIGEST))
    from ecotone.access import Confinement

    return {
        "/people/": {"name": "bob"},
        "/keys/": {"id": bob.keys[0].id if bob.keys else hub.people.key(OWNER, "bob")[0]},
        "/grants/": {"id": bob.grants[0].id if bob.grants else hub.people.grant(OWNER, "bob", Grant(role="reader"))},
        "/tokens/": {"id": token_id},
        "/confinements/": {"id": hub.sites.rules.confine(OWNER, Confinement(assets=("models/none",)))},
        "/releases/": {"id": release.id},
        "/uploads/": {"id": upload.id},
        "/pins/": {"site": "clinic-7", "name": "smol"},
        "/sites/": {"site": "clinic-7"},
        "/publishers/": {"name": "models"},
        "/publications/": {"id": "0" * 32},
    }


def ask(hub: Hub, door: tuple[str, str], actor: Actor) -> tuple[int, str]:
    """(status, code) of a door for somebody."""
    path = next((found for start, found in names(hub).items() if door[1].startswith(start)), {})
    try:
        status, _ = DOORS[door](hub, actor, dict(path), dict(BODIES.get(door, {})), {})
    except EcotoneError as error:
        return error.status, error.code
    return status, ""


def test_every_door_has_its_line_in_the_table() -> None:
    assert set(DOORS) == set(NEEDS)


@pytest.mark.parametrize("door", sorted(NEEDS), ids=" ".join)
def test_who_was_granted_nothing_gets_nothing(hub: Hub, door: tuple[str, str]) -> None:
    before = len([entry for entry in hub.acts.newest(500) if entry.body.get("actor") == NOBODY.name])
    status, code = ask(hub, door, NOBODY)
    if NEEDS[door] is None:
        assert status == 200
        return
    assert code == "hub.may" or (code == "hub.unknown" and door[1].startswith(OWN)), (status, code)
    after = len([entry for entry in hub.acts.newest(500) if entry.body.get("actor") == NOBODY.name])
    assert after == before, "nothing of it is in the ledger"


@pytest.mark.parametrize("role", sorted(get_args(Role)))
def test_each_role_gets_in_where_its_line_says_and_nowhere_else(hub: Hub, role: Role) -> None:
    somebody = Actor(Person(name=role, grants=(Grant(role=role),)), "key:1")
    for door, act in NEEDS.items():
        if act is None or door[0] == "DELETE":
            continue
        status, code = ask(hub, door, somebody)
        if may(somebody.person, act):
            assert code != "hub.may", (role, door)
        elif code != "hub.unknown" or not door[1].startswith(OWN):
            assert code == "hub.may", (role, door, status, code)


@pytest.mark.parametrize("door", sorted(releases_doors.UPLOADS), ids=" ".join)
def test_who_was_granted_nothing_brings_nothing(hub: Hub, door: tuple[str, str]) -> None:
    where = dict(next(found for start, found in names(hub).items() if door[1].startswith(start)))
    for who in (NOBODY, Actor(Person(name="pub", grants=(Grant(role="publisher"),)), "key:2")):
        with pytest.raises(EcotoneError) as found:
            releases_doors.UPLOADS[door](hub, who, where, {"upload-offset": "0"}, iter([b"x"]))
        assert found.value.code in ("hub.may", "hub.unknown"), "what others have brought is theirs"


def test_who_may_see_one_group_sees_nothing_of_another(hub: Hub) -> None:
    names(hub)
    for name, group in (("ship-1", "ships"), ("lab-1", "labs")):
        if hub.sites.get(name) is None:
            _, token = hub.sites.tokens.new(OWNER, TokenAsked(site=name, groups=(group,)))
            hub.sites.enroll(token, name, Machine(name).public)
    some = Actor(Person(name="eve", grants=(Grant(role="reader", groups=("ships",)),)), "key:1")
    for path in ("/sites", "/status"):
        _, value = DOORS["GET", path](hub, some, {}, {}, {})
        said = msgspec.json.encode(value).decode()
        assert "ship-1" in said
        assert "lab-1" not in said
        assert "clinic-7" not in said
    for path in ("/sites/{site}", "/sites/{site}/changes", "/sites/{site}/report"):
        with pytest.raises(EcotoneError) as found:
            DOORS["GET", path](hub, some, {"site": "lab-1"}, {}, {})
        assert found.value.code in ("hub.may", "hub.unknown")
