"""Enrolment tokens: made for one site or a pattern of names, shown once, counted down, revoked."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta
from sqlalchemy import Connection, delete, select

from ecotone.access import Actor, Borne, Subject, demand, demand_somewhere, digest, enrolment_token, may
from ecotone.hub import tables_access
from ecotone.hub.acts import Acts
from ecotone.hub.database import Database
from ecotone.hub.sites_shown import EVERY, Labels, Row, group_names
from ecotone.hub.tokens import Secrets, new_id, new_secret
from ecotone.values import RequestError

__all__ = ["Token", "TokenAsked", "Tokens"]

HOURS: Final = 72.0
HOURS_MAX: Final = 24.0 * 366

_TOKENS: Final = tables_access.enrol_tokens


class TokenAsked(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A token that somebody wants.

    Attributes:
        site: The name of the site that it is for, or a pattern of names such as `clinic-*`.
        groups, region, labels: What the sites that come by it have.
        uses: So many sites may come by it.
        hours: For so long it is good.
        again: For a site that is there already, and comes with a new key: after a theft, or with a new disk.
    """

    site: Annotated[str, Meta(pattern=r"^[a-z0-9*][a-z0-9*-]{0,39}\Z")]
    groups: tuple[str, ...] = ()
    region: str = ""
    labels: dict[str, str] = {}
    uses: Annotated[int, Meta(ge=1, le=100_000)] = 1
    hours: Annotated[float, Meta(gt=0, le=HOURS_MAX)] = HOURS
    again: bool = False


class Token(msgspec.Struct, frozen=True, kw_only=True):
    """A token, without its secret."""

    id: str
    site: str
    groups: tuple[str, ...]
    region: str
    uses_left: int
    again: bool
    until_s: float
    made_s: float
    made_by: str


class Tokens:
    """The enrolment tokens of a hub."""

    def __init__(self, database: Database, acts: Acts, secrets: Secrets, clock: Callable[[], float]) -> None:
        """See `Sites`."""
        self._database = database
        self._acts = acts
        self._secrets = secrets
        self._clock = clock

    def new(self, actor: Actor, asked: TokenAsked) -> tuple[str, str]:
        """(id, token) of a new one. The token is shown this once.

        Raises:
            RequestError: `hub.site_labels`, `hub.token_again`, `hub.unknown_site`.
            RefusalError: `hub.may`: it must hold for each group, and the region.
        """
        labels = Labels.of(asked.groups, asked.region, asked.labels)
        if asked.again and ("*" in asked.site or asked.uses != 1 or asked.groups or asked.region or asked.labels):
            raise RequestError(
                "hub.token_again",
                "a token for a site that is there is for one name and one use, and the site keeps its groups, region "
                "and labels",
            )
        token_id, secret = new_id(), new_secret()
        now_s = self._clock()
        row: dict[str, Any] = {
            "id": token_id,
            "digest": digest(self._secrets.pepper, Borne("enrolment", token_id, secret)),
            "site": asked.site,
            **labels.values(),
            "uses_left": asked.uses,
            "is_again": asked.again,
            "until_s": now_s + asked.hours * 3600,
            "made_s": now_s,
            "made_by": actor.name,
        }

        def work(connection: Connection) -> None:
            if asked.again:
                row.update(_there(connection, asked.site))
            demand(actor, "site.enroll", *_subjects(row))
            said = hashlib.sha256(msgspec.json.encode(asked, order="deterministic")).hexdigest()
            self._acts.write(actor.name, "token.make", f"token:{token_id}", said, at=connection, uses=asked.uses)
            connection.execute(_TOKENS.insert().values(**row))

        self._database.run(work)
        return token_id, enrolment_token(token_id, secret)

    def all(self, actor: Actor) -> list[Token]:
        """Those that are neither used up nor revoked nor have run out, as far as the actor may make such.

        Raises:
            RefusalError: `hub.may`, for who may see none.
        """
        demand_somewhere(actor, "site.enroll")
        asked = select(_TOKENS).where(_TOKENS.c.until_s > self._clock(), _TOKENS.c.uses_left > 0)
        with self._database.read() as connection:
            rows = connection.execute(asked.order_by(_TOKENS.c.made_s)).mappings().all()
        return [_token(row) for row in rows if all(may(actor.person, "site.enroll", one) for one in _subjects(row))]

    def revoke(self, actor: Actor, token_id: str) -> None:
        """Nobody comes by it any more. Sites that came stay.

        Raises:
            RequestError: `hub.unknown_token`.
            RefusalError: `hub.may`.
        """

        def work(connection: Connection) -> None:
            row = connection.execute(select(_TOKENS).where(_TOKENS.c.id == token_id)).mappings().first()
            if row is None:
                raise RequestError(
                    "hub.unknown_token", "there is no such token: see `ecotone hub token list`", status=404
                )
            demand(actor, "site.enroll", *_subjects(row))
            self._acts.write(actor.name, "token.revoke", f"token:{token_id}", at=connection)
            connection.execute(delete(_TOKENS).where(_TOKENS.c.id == token_id))

        self._database.run(work)


def _there(connection: Connection, name: str) -> Row:
    """Groups and region of the site that comes again: whoever may enrol such may make its token."""
    sites = tables_access.sites
    found = connection.execute(select(sites.c.groups, sites.c.region).where(sites.c.name == name)).mappings().first()
    if found is None:
        raise RequestError("hub.unknown_site", "no site of this name is enrolled here", status=404)
    return found


def _subjects(row: Row) -> list[Subject]:
    """What must be allowed for a token: each group that sites come into by it."""
    groups = msgspec.json.decode(row["groups"], type=list[str]) or [EVERY]
    return [Subject(groups=(group,), region=row["region"]) for group in groups]


def _token(row: Row) -> Token:
    return Token(
        id=row["id"],
        site=row["site"],
        groups=group_names(msgspec.json.decode(row["groups"], type=list[str])),
        region=row["region"],
        uses_left=row["uses_left"],
        again=row["is_again"],
        until_s=row["until_s"],
        made_s=row["made_s"],
        made_by=row["made_by"],
    )
