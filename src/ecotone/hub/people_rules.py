"""Confinements: which assets go to which sites alone, whatever a role may do."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import msgspec
from sqlalchemy import Connection, delete, select

from ecotone.access import Actor, Confinement, demand
from ecotone.hub import tables_access
from ecotone.hub.acts import Acts
from ecotone.hub.database import Database
from ecotone.hub.tokens import new_id
from ecotone.values import RequestError

__all__ = ["Rule", "Rules"]

RULES_MAX = 1_000
_RULES = tables_access.confinements


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """A confinement, and who made it."""

    id: str
    rule: Confinement
    made_s: float
    made_by: str


class Rules:
    """The confinements of a hub."""

    def __init__(self, database: Database, acts: Acts, clock: Callable[[], float]) -> None:
        """See `Sites`."""
        self._database = database
        self._acts = acts
        self._clock = clock

    def all(self) -> tuple[Confinement, ...]:
        """As they are now."""
        with self._database.read() as connection:
            rows = connection.execute(select(_RULES.c.rule)).scalars()
            return tuple(msgspec.json.decode(row, type=Confinement) for row in rows)

    def listed(self, actor: Actor) -> list[Rule]:
        """With their ids.

        Raises:
            RefusalError: `hub.may`.
        """
        demand(actor, "people.read")
        with self._database.read() as connection:
            rows = connection.execute(select(_RULES).order_by(_RULES.c.made_s, _RULES.c.id)).mappings()
            return [
                Rule(
                    id=row["id"],
                    rule=msgspec.json.decode(row["rule"], type=Confinement),
                    made_s=row["made_s"],
                    made_by=row["made_by"],
                )
                for row in rows
            ]

    def confine(self, actor: Actor, rule: Confinement) -> str:
        """From now on these assets go to these sites alone; the confinement's id. What is there already stays there.

        Raises:
            RequestError: `hub.confinements`: there are too many.
            RefusalError: `hub.may`.
        """
        demand(actor, "grant.change")
        raw = msgspec.json.encode(rule)
        rule_id = new_id()

        def work(connection: Connection) -> None:
            if len(connection.execute(select(_RULES.c.id)).all()) >= RULES_MAX:
                raise RequestError("hub.confinements", f"there are {RULES_MAX} confinements, which is the most")
            said = hashlib.sha256(raw).hexdigest()
            self._acts.write(actor.name, "confinement.set", f"confinement:{rule_id}", said, at=connection)
            row = {"id": rule_id, "rule": raw.decode(), "made_s": self._clock(), "made_by": actor.name}
            connection.execute(_RULES.insert().values(**row))

        self._database.run(work)
        return rule_id

    def free(self, actor: Actor, rule_id: str) -> None:
        """Takes a confinement away.

        Raises:
            RequestError: `hub.unknown_confinement`.
            RefusalError: `hub.may`.
        """
        demand(actor, "grant.change")

        def work(connection: Connection) -> None:
            self._acts.write(actor.name, "confinement.lift", f"confinement:{rule_id}", at=connection)
            if connection.execute(delete(_RULES).where(_RULES.c.id == rule_id)).rowcount != 1:
                raise RequestError("hub.unknown_confinement", "there is no such confinement", status=404)

        self._database.run(work)
