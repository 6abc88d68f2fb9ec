"""People at a hub: who they are by an API key or their issuer's token, and what they were granted."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, delete, select

from ecotone.access import (
    Act,
    Actor,
    Borne,
    Grant,
    Person,
    PersonName,
    api_key,
    borne,
    demand,
    digest,
    is_one_of,
    may_somewhere,
)
from ecotone.hub import tables_access
from ecotone.hub.acts import Acts
from ecotone.hub.database import Database
from ecotone.hub.oidc import Oidc
from ecotone.hub.tokens import Secrets, new_id, new_secret, put_in
from ecotone.values import RequestError

__all__ = ["Granted", "Key", "Known", "People"]

OF_ISSUER: Final = "oidc:"
"""How names begin of people whom the issuer knows; nobody is added here by such a name."""
GRANTS_MAX: Final = 256

_PEOPLE: Final = tables_access.people
_KEYS: Final = tables_access.person_keys
_GRANTS: Final = tables_access.grants


class Granted(msgspec.Struct, frozen=True, kw_only=True):
    """A grant as it was given. `until_s` in Unix seconds; 0: until it is taken."""

    id: str
    grant: Grant
    until_s: float
    made_by: str


class Key(msgspec.Struct, frozen=True, kw_only=True):
    """An API key, without its secret. `until_s` in Unix seconds; 0: until it is revoked."""

    id: str
    made_s: float
    until_s: float


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody whom the hub knows. Those of the issuer are here only if they were granted more than their roles."""

    name: str
    made_s: float
    made_by: str
    keys: list[Key]
    grants: list[Granted]


class People:
    """The people of a hub. Every change is asked of `access.may`, and is in the ledger before it holds."""

    def __init__(
        self,
        database: Database,
        acts: Acts,
        secrets: Secrets,
        oidc: Oidc | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Takes the issuer that people sign in at, if there is one, and the hub's clock."""
        self._database = database
        self._acts = acts
        self._secrets = secrets
        self._oidc = oidc
        self._clock = clock

    def authenticate(self, headers: Mapping[str, str]) -> Actor:
        """Who brings these headers (names in lower case), with the grants that hold now.

        Raises:
            RequestError: `hub.key`: no key or token, or none that holds here.
            RefusalError: `hub.issuer`: the issuer cannot be asked for its keys now.
        """
        kind, _, text = headers.get("authorization", "").partition(" ")
        text = text.strip()
        if kind.lower() != "bearer" or not text:
            raise RequestError("hub.key", "sign in first: send `Authorization: Bearer KEY`", status=401)
        shown = borne(text)
        if shown is not None and shown.kind == "api":
            return self._by_key(shown)
        if self._oidc is None or text.count(".") != 2:
            raise _unknown()
        person = self._oidc.person(text, self._clock())
        with self._database.read() as connection:
            given = self._granted(connection, person.name)
        return Actor(msgspec.structs.replace(person, grants=(*person.grants, *given)), "oidc")

    def sign_in(self) -> dict[str, str]:
        """Where `ecotone hub login` goes: issuer, client and scope; empty where people have keys only."""
        return {} if self._oidc is None else self._oidc.sign_in()

    def me(self, actor: Actor) -> dict[str, Any]:
        """What somebody may do, for themselves to read."""
        person = actor.person
        may = {name: bool(may_somewhere(person, act)) for name, act in _SHOWN.items()}
        roles = sorted({grant.role for grant in person.grants if not grant.is_deny})
        return {"who": person.name, "via": actor.via, "roles": roles, "grants": person.grants, "may": may}

    def everyone(self, actor: Actor) -> list[Known]:
        """Everybody whom the hub knows, with keys and grants.

        Raises:
            RefusalError: `hub.may`.
        """
        demand(actor, "people.read")
        with self._database.read() as connection:
            people = connection.execute(select(_PEOPLE).order_by(_PEOPLE.c.name)).mappings().all()
            keys = connection.execute(select(_KEYS).order_by(_KEYS.c.made_s)).mappings().all()
            given = connection.execute(select(_GRANTS).order_by(_GRANTS.c.made_s)).mappings().all()
        return [
            Known(
                name=person["name"],
                made_s=person["made_s"],
                made_by=person["made_by"],
                keys=[
                    Key(id=key["id"], made_s=key["made_s"], until_s=key["until_s"])
                    for key in keys
                    if key["person"] == person["name"]
                ],
                grants=[
                    Granted(
                        id=row["id"],
                        grant=msgspec.json.decode(row["grant"], type=Grant),
                        until_s=row["until_s"],
                        made_by=row["made_by"],
                    )
                    for row in given
                    if row["person"] == person["name"]
                ],
            )
            for person in people
        ]

    def add(self, actor: Actor, name: str) -> None:
        """Somebody new, who may do nothing yet.

        Raises:
            RequestError: `hub.person`: the name is taken, or cannot be one.
            RefusalError: `hub.may`.
        """
        demand(actor, "people.change")
        if name.startswith(OF_ISSUER) or not _is_name(name):
            raise RequestError(
                "hub.person", "this cannot be a person's name: letters, digits and `._@:/|+-`, and not `oidc:` first"
            )

        def work(connection: Connection) -> None:
            self._acts.write(actor.name, "person.add", f"person:{name}", at=connection)
            if not self._made(connection, actor, name):
                raise RequestError("hub.person", "there is somebody of this name already", status=409)

        self._database.run(work)

    def remove(self, actor: Actor, name: str) -> None:
        """Takes somebody out, with their keys and grants. Holds at the next request of theirs.

        Raises:
            RequestError: `hub.unknown_person`.
            RefusalError: `hub.may`.
        """
        demand(actor, "people.change")

        def work(connection: Connection) -> None:
            self._known(connection, name)
            self._acts.write(actor.name, "person.remove", f"person:{name}", at=connection)
            for table in (_KEYS, _GRANTS):
                connection.execute(delete(table).where(table.c.person == name))
            connection.execute(delete(_PEOPLE).where(_PEOPLE.c.name == name))

        self._database.run(work)

    def key(self, actor: Actor, name: str, until_s: float = 0.0) -> tuple[str, str]:
        """(id, key) of a new API key for somebody. The key is shown this once.

        Args:
            until_s: Unix seconds after which it is worth nothing; 0: it holds until it is revoked.

        Raises:
            RequestError: `hub.unknown_person`.
            RefusalError: `hub.may`.
        """
        demand(actor, "people.change")
        key_id, secret = new_id(), new_secret()
        kept = digest(self._secrets.pepper, Borne("api", key_id, secret))

        def work(connection: Connection) -> None:
            self._known(connection, name)
            self._acts.write(actor.name, "key.make", f"person:{name}", at=connection, key=key_id)
            row = {"id": key_id, "person": name, "digest": kept, "made_s": self._clock(), "until_s": until_s}
            connection.execute(_KEYS.insert().values(**row))

        self._database.run(work)
        return key_id, api_key(key_id, secret)

    def revoke_key(self, actor: Actor, key_id: str) -> None:
        """A key is worth nothing from the next request on.

        Raises:
            RequestError: `hub.unknown_key`.
            RefusalError: `hub.may`: it is somebody else's, and the actor may not change people.
        """
        with self._database.read() as connection:
            holder = connection.execute(select(_KEYS.c.person).where(_KEYS.c.id == key_id)).scalar()
        if holder != actor.person.name or not actor.via.startswith("key:"):
            demand(actor, "people.change")

        def work(connection: Connection) -> None:
            self._acts.write(actor.name, "key.revoke", f"person:{holder}", at=connection, key=key_id)
            if connection.execute(delete(_KEYS).where(_KEYS.c.id == key_id)).rowcount != 1:
                raise RequestError("hub.unknown_key", "there is no such key: see `ecotone hub people list`", status=404)

        self._database.run(work)

    def grant(self, actor: Actor, name: str, grant: Grant, until_s: float = 0.0) -> str:
        """Gives somebody a role within a scope, or denies it; the grant's id.

        Args:
            name: One of the hub's people, or `oidc:NAME` as the issuer names them.

        Raises:
            RequestError: `hub.unknown_person`; `hub.grants`: they have too many.
            RefusalError: `hub.may`.
        """
        demand(actor, "grant.change")
        raw, grant_id = msgspec.json.encode(grant), new_id()

        def work(connection: Connection) -> None:
            if name.startswith(OF_ISSUER) and _is_name(name.removeprefix(OF_ISSUER)):
                self._made(connection, actor, name)
            self._known(connection, name)
            if len(connection.execute(select(_GRANTS.c.id).where(_GRANTS.c.person == name)).all()) >= GRANTS_MAX:
                raise RequestError("hub.grants", f"somebody has at most {GRANTS_MAX} grants: take some first")
            said = hashlib.sha256(raw).hexdigest()
            self._acts.write(
                actor.name, "grant.give", f"person:{name}", said, at=connection, grant=grant_id,
                role=grant.role, is_deny=grant.is_deny,
            )  # fmt: skip
            row = {"id": grant_id, "person": name, "grant": raw.decode(), "until_s": until_s}
            connection.execute(_GRANTS.insert().values(**row, made_s=self._clock(), made_by=actor.name))

        self._database.run(work)
        return grant_id

    def take(self, actor: Actor, grant_id: str) -> None:
        """Takes a grant away; holds at the next request.

        Raises:
            RequestError: `hub.unknown_grant`.
            RefusalError: `hub.may`.
        """
        demand(actor, "grant.change")

        def work(connection: Connection) -> None:
            holder = connection.execute(select(_GRANTS.c.person).where(_GRANTS.c.id == grant_id)).scalar()
            if holder is None:
                raise RequestError(
                    "hub.unknown_grant", "there is no such grant: see `ecotone hub people list`", status=404
                )
            self._acts.write(actor.name, "grant.take", f"person:{holder}", at=connection, grant=grant_id)
            connection.execute(delete(_GRANTS).where(_GRANTS.c.id == grant_id))

        self._database.run(work)

    def _by_key(self, shown: Borne) -> Actor:
        with self._database.read() as connection:
            row = connection.execute(select(_KEYS).where(_KEYS.c.id == shown.id)).mappings().first()
            if row is None or not is_one_of(self._secrets.pepper, shown, row["digest"]):
                raise _unknown()
            if row["until_s"] and self._clock() >= row["until_s"]:
                raise _unknown()
            given = self._granted(connection, row["person"])
        return Actor(Person(name=row["person"], grants=given), f"key:{shown.id}")

    def _granted(self, connection: Connection, name: str) -> tuple[Grant, ...]:
        """What was granted to somebody and holds now."""
        asked = select(_GRANTS.c.grant, _GRANTS.c.until_s).where(_GRANTS.c.person == name)
        now_s = self._clock()
        return tuple(
            msgspec.json.decode(row.grant, type=Grant)
            for row in connection.execute(asked)
            if not row.until_s or now_s < row.until_s
        )

    def _made(self, connection: Connection, actor: Actor, name: str) -> bool:
        """Whether somebody of this name is new here."""
        row = {"name": name, "made_s": self._clock(), "made_by": actor.name}
        return put_in(connection, self._database.upsert(_PEOPLE, row, ["name"], only=()))

    def _known(self, connection: Connection, name: str) -> None:
        asked = select(_PEOPLE.c.name).where(_PEOPLE.c.name == name).with_for_update()
        if connection.execute(asked).scalar() is None:
            raise RequestError("hub.unknown_person", "there is nobody of this name here: add them first", status=404)


_SHOWN: Final[Mapping[str, Act]] = {
    "see": "fleet.read",
    "publish": "asset.publish",
    "release": "release.start",
    "pause": "release.pause",
    "enroll": "site.enroll",
    "revoke": "site.revoke",
    "audit": "acts.read",
    "govern": "people.change",
}
"""What the console asks of a person -> the act that it needs."""


def _is_name(name: str) -> bool:
    try:
        msgspec.convert(name, PersonName)
    except msgspec.ValidationError:
        return False
    return True


def _unknown() -> RequestError:
    return RequestError(
        "hub.key", "this key or token does not hold here: sign in anew, or ask for a new key", status=401
    )
