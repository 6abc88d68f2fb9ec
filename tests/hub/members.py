"""A hub's people and sites for tests, with a clock that is set by hand."""

from __future__ import annotations

import base64
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ecotone import access
from ecotone.hub.acts import Acts
from ecotone.hub.database import Database
from ecotone.hub.people import People
from ecotone.hub.sites import Session, Sites
from ecotone.hub.sites_tokens import TokenAsked
from ecotone.hub.tokens import Secrets

NOW_S = 1_800_000_000.0
OWNER = access.owner("ann")


class Clock:
    """What time it is at the hub."""

    def __init__(self) -> None:
        self.now_s = NOW_S

    def __call__(self) -> float:
        return self.now_s


class Members:
    """All of it, over one database. Another one over the same folder is another process of the hub."""

    def __init__(self, database: Database, keys: Path, clock: Clock | None = None) -> None:
        self.clock = clock or Clock()
        self.database = database
        self.keys = keys
        self.acts = Acts(database)
        self.secrets = Secrets.at(keys)
        self.sites = Sites(database, self.acts, self.secrets, "hub-1", self.clock)
        self.people = People(database, self.acts, self.secrets, None, self.clock)

    def other(self) -> Members:
        """Another process, on the same database and keys."""
        return Members(self.database, self.keys, self.clock)

    def token(self, site: str = "clinic-7", **asked: object) -> str:
        """An enrolment token."""
        return self.sites.tokens.new(OWNER, TokenAsked(site=site, **asked))[1]  # type: ignore[arg-type] # by the tests

    def enrolled(self, name: str = "clinic-7", **asked: object) -> Machine:
        """A site that has joined."""
        machine = Machine(name)
        self.sites.enroll(self.token(name, **asked), name, machine.public)
        return machine

    def written(self) -> list[str]:
        """The acts of the ledger so far."""
        return [str(entry.body["act"]) for entry in self.acts.tail() if entry.kind == "act"]

    def actor(self, name: str, *grants: access.Grant) -> access.Actor:
        """Somebody with these grants, signed in by key."""
        self.people.add(OWNER, name)
        for grant in grants:
            self.people.grant(OWNER, name, grant)
        return self.people.authenticate(bearing(self.people.key(OWNER, name)[1]))


class Machine:
    """A site's side."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.key = Ed25519PrivateKey.generate()

    @property
    def public(self) -> str:
        """As the hub hears it."""
        return base64.b64encode(self.key.public_key().public_bytes_raw()).decode()

    def sign(self, challenge: str, next_key: str | None = None) -> str:
        """The signature for a session."""
        return base64.b64encode(self.key.sign(access.session_message(self.name, challenge, next_key))).decode()

    def session(self, sites: Sites, next_key: str | None = None) -> Session:
        """A session."""
        challenge = sites.challenge(self.name).challenge
        return sites.session(self.name, challenge, self.sign(challenge, next_key), next_key)


def bearing(key: str) -> dict[str, str]:
    """The headers of who has this key."""
    return {"authorization": f"Bearer {key}"}
