"""Sites at a hub: enrolment by token, sessions by a signed challenge, keys that change, and revocation at once."""

from __future__ import annotations

import hashlib
import secrets as dice
import time
from collections.abc import Callable
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, delete, select, update

from ecotone.access import (
    CHALLENGE_S,
    SESSION_S,
    Actor,
    Borne,
    Claims,
    borne,
    demand,
    is_one_of,
    is_signed,
    matches,
    plain_key,
    raw_key,
    session_message,
)
from ecotone.hub import sites_shown, tables_access
from ecotone.hub.acts import Acts
from ecotone.hub.database import Database
from ecotone.hub.people_rules import Rules
from ecotone.hub.sites_shown import Page, Row, Site, SiteActor
from ecotone.hub.sites_tokens import Tokens
from ecotone.hub.tables_releases import reports
from ecotone.hub.tokens import Secrets, put_in
from ecotone.values import RefusalError, RequestError
from ecotone.values.fleet import SiteName

__all__ = ["KEY_AGE_S", "Challenge", "Enrolled", "Page", "Session", "Site", "SiteActor", "Sites"]

KEY_AGE_S: Final = 30 * 86_400.0
"""A key of this age is asked to be changed at the next session. No key ever runs out: a site may be off for years."""
NONCE_BYTES: Final = 24
PURGE_S: Final = 60.0

_SITES: Final = tables_access.sites
_TOKENS: Final = tables_access.enrol_tokens
_USED: Final = tables_access.challenges_used


class Enrolled(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to an enrolment."""

    site: str
    hub: str
    now_s: float


class Challenge(msgspec.Struct, frozen=True, kw_only=True):
    """What a site shall sign; good once, for two minutes."""

    challenge: str
    now_s: float


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """A session.

    Attributes:
        rotate: The site's key is old enough to be changed.
    """

    token: str
    expires_in_s: float
    now_s: float
    rotate: bool


class Sites:
    """The sites of a hub. All state is in the database: any process may answer any request."""

    def __init__(
        self, database: Database, acts: Acts, secrets: Secrets, hub: str, clock: Callable[[], float] = time.time
    ) -> None:
        """Takes the hub's name, which every token says, and the hub's clock: no site's clock matters."""
        self._database = database
        self._acts = acts
        self._secrets = secrets
        self._hub = hub
        self._clock = clock
        self._purged_s = 0.0
        self.rules: Final = Rules(database, acts, clock)
        self.tokens: Final = Tokens(database, acts, secrets, clock)

    # What sites ask.

    def enroll(self, token: str, site: str, key: str) -> Enrolled:
        """Takes a site in, with its public key in base64. The same token, site and key again is the same answer.

        Raises:
            RequestError: `hub.site_name`, `hub.site_key`; `hub.token`: unknown, used, run out or for another site.
            RefusalError: `hub.site_taken`.
        """
        if not _is_name(site):
            raise RequestError(
                "hub.site_name", "this cannot be the name of a site: give small letters, digits and '-', at most 40"
            )
        key = plain_key(key)
        now_s = self._clock()
        shown = borne(token)
        if shown is None or shown.kind != "enrolment":
            raise _no_token()
        with self._database.read() as connection:
            self._open_token(connection, shown, site, now_s)
        self._database.run(lambda c: self._enroll(c, shown, site, key, now_s))
        return Enrolled(site=site, hub=self._hub, now_s=now_s)

    def challenge(self, site: str) -> Challenge:
        """Something for a site to sign. Nothing is kept of it, and it says nothing of whether there is such a site."""
        now_s = self._clock()
        made = self._secrets.sessions.challenge(site[:64], dice.token_bytes(NONCE_BYTES), now_s)
        return Challenge(challenge=made, now_s=now_s)

    def session(self, site: str, challenge: str, signature: str, next_key: str | None = None) -> Session:
        """A session for who has signed the challenge with the site's key, or with its next one.

        Args:
            signature: Base64, of `access.session_message`.
            next_key: The public key that shall take the place of this one, base64. It does once it has signed.

        Raises:
            RequestError: `hub.session`: not signed by this site, or the challenge is used or too old;
                `hub.site_key`.
            RefusalError: `hub.revoked`.
        """
        now_s = self._clock()
        until_s = self._secrets.sessions.challenge_until_s(challenge, site, now_s)
        if until_s is None or not _is_name(site):
            raise _no_session()
        following = None if next_key is None else plain_key(next_key)
        asked = _Asked(site, challenge, until_s, following, (signature, session_message(site, challenge, next_key)))
        seen = self._signer(asked)
        self._purge(now_s)
        row = self._database.run(lambda c: self._session(c, asked, seen, now_s))
        claims = Claims(hub=self._hub, site=site, generation=row["key_generation"], until_s=now_s + SESSION_S)
        is_old = now_s - row["key_since_s"] > KEY_AGE_S
        token = self._secrets.sessions.token(claims)
        return Session(token=token, expires_in_s=SESSION_S, now_s=now_s, rotate=is_old)

    def authenticate(self, token: str) -> SiteActor:
        """Which site brings this token: looked up at each request, so that a revocation holds at once.

        Raises:
            RequestError: `hub.session`.
            RefusalError: `hub.revoked`.
        """
        claims = self._secrets.sessions.claims(token, self._hub, self._clock())
        if claims is None:
            raise _no_session()
        with self._database.read() as connection:
            row = connection.execute(select(_SITES).where(_SITES.c.name == claims.site)).mappings().first()
        if row is None or row["key_generation"] != claims.generation:
            raise _no_session()
        if row["state"] != "enrolled":
            raise _revoked(claims.site)
        return sites_shown.actor(row)

    # What the hub's other rooms ask.

    def get(self, name: str) -> Site | None:
        """A site, enrolled or revoked."""
        with self._database.read() as connection:
            row = connection.execute(select(_SITES).where(_SITES.c.name == name)).mappings().first()
        return None if row is None else sites_shown.site(row)

    def named(self, names: list[str] | None = None) -> dict[str, Site]:
        """Enrolled sites by name: these, or all."""
        asked = select(_SITES).where(_SITES.c.state == "enrolled").order_by(_SITES.c.name)
        with self._database.read() as connection:
            rows = connection.execute(asked if names is None else asked.where(_SITES.c.name.in_(names))).mappings()
            return {row["name"]: sites_shown.site(row) for row in rows}

    def keys_of(self, name: str) -> list[bytes]:
        """The public keys that an enrolled site may sign with: its own, and the next one where it changes it.

        Raises:
            RequestError: `hub.unknown_site`.
            RefusalError: `hub.revoked`.
        """
        with self._database.read() as connection:
            row = _found(connection, name)
        if row["state"] != "enrolled":
            raise _revoked(name)
        return [raw_key(key) for key in (row["key"], row["next_key"]) if key]

    # What people ask.

    def page(self, actor: Actor, find: str = "", group: str = "", offset: int = 0, limit: int = 100) -> Page:
        """Sites by name that the actor may see.

        Args:
            find: A part of the name.

        Raises:
            RefusalError: `hub.may`.
        """
        with self._database.read() as connection:
            return sites_shown.page(connection, actor, find, group, (offset, limit))

    def label(
        self,
        actor: Actor,
        name: str,
        groups: tuple[str, ...] | None = None,
        region: str | None = None,
        labels: dict[str, str] | None = None,
    ) -> Site:
        """Changes what is given of a site's groups, region and labels; None leaves as it is.

        Raises:
            RequestError: `hub.unknown_site`, `hub.site_labels`.
            RefusalError: `hub.may`: it must hold for the site as it is and for each group and region it gets.
        """
        change = sites_shown.Labels.of(groups, region, labels)

        def work(connection: Connection) -> Site:
            row = _found(connection, name)
            site = sites_shown.site(row)
            demand(actor, "site.label", site.subject, *change.subjects(site))
            values = change.values()
            self._acts.write(actor.name, "site.label", f"site:{name}", _digest(values), at=connection)
            connection.execute(update(_SITES).where(_SITES.c.name == name).values(**values))
            return sites_shown.site({**row, **values})

        return self._database.run(work)

    def revoke(self, actor: Actor, name: str, why: str = "") -> Site:
        """Serves a site nothing more, from the next request on. Its name can be enrolled again, by a token for that.

        Raises:
            RequestError: `hub.unknown_site`.
            RefusalError: `hub.may`.
        """

        def work(connection: Connection) -> Site:
            row = _found(connection, name)
            site = sites_shown.site(row)
            demand(actor, "site.revoke", site.subject)
            if site.state == "revoked":
                return site
            values = {"state": "revoked", "next_key": "", "why": why[:500]}
            self._acts.write(actor.name, "site.revoke", f"site:{name}", _digest({"why": why}), at=connection)
            connection.execute(update(_SITES).where(_SITES.c.name == name).values(**values))
            return sites_shown.site({**row, **values})

        return self._database.run(work)

    def renew_sessions(self, actor: Actor) -> None:
        """Makes tokens with a new secret from now on; twice ends all sessions at once, and sites begin new ones.

        Raises:
            ConfigError: `hub.keys`.
            RefusalError: `hub.may`.
            StoreError: it cannot be written.
        """
        demand(actor, "hub.sign")
        self._acts.write(actor.name, "sessions.renew", "hub")
        self._secrets.renew_sessions()

    def _enroll(self, connection: Connection, shown: Borne, site: str, key: str, now_s: float) -> None:
        token, there = self._open_token(connection, shown, site, now_s), _row(connection, site)
        if there is not None and (there["key"], there["token"], there["state"]) == (key, shown.id, "enrolled"):
            return
        taken = update(_TOKENS).where(_TOKENS.c.id == shown.id, _TOKENS.c.uses_left > 0)
        if connection.execute(taken.values(uses_left=_TOKENS.c.uses_left - 1)).rowcount != 1:
            raise _no_token()
        if there is not None and not token["is_again"]:
            raise _taken(site)
        if there is not None and there["state"] == "revoked" and there["key"] == key:
            raise RequestError("hub.site_key", "this key was revoked: join with a new one (`ecotone enroll` makes it)")
        generation = 1 if there is None else there["key_generation"] + 1
        self._acts.write(
            f"token:{shown.id}", "site.enroll", f"site:{site}", _digest(key), at=connection, key_generation=generation
        )
        values = {"state": "enrolled", "key": key, "next_key": "", "key_generation": generation, "key_since_s": now_s}
        values |= {"token": shown.id, "enrolled_s": now_s, "why": ""}
        if there is not None:
            connection.execute(update(_SITES).where(_SITES.c.name == site).values(**values))
            # Who had the key before may have counted its reports up to the end: they begin anew with the new one.
            connection.execute(update(reports).where(reports.c.site == site).values(seq=0))
            return
        values |= {"name": site, "groups": token["groups"], "labels": token["labels"], "region": token["region"]}
        if not put_in(connection, self._database.upsert(_SITES, {**values, "seen_s": 0.0}, ["name"], only=())):
            raise _taken(site)

    def _open_token(self, connection: Connection, shown: Borne, site: str, now_s: float) -> Row:
        """The row of a token that is for this site, and has not run out. It may have been used up."""
        token = connection.execute(select(_TOKENS).where(_TOKENS.c.id == shown.id)).mappings().first()
        if token is None or not is_one_of(self._secrets.pepper, shown, token["digest"]):
            raise _no_token()
        if now_s >= token["until_s"] or not matches(token["site"], site):
            raise _no_token()
        return token

    def _signer(self, asked: _Asked) -> Row:
        """The site's row, if the site has signed; nothing is written or held for who has not."""
        with self._database.read() as connection:
            row = connection.execute(select(_SITES).where(_SITES.c.name == asked.site)).mappings().first()
        if row is None or not any(key and is_signed(raw_key(key), *asked.signed) for key in _keys(row)):
            raise _no_session()
        if row["state"] != "enrolled":
            raise _revoked(asked.site)
        return row

    def _session(self, connection: Connection, asked: _Asked, seen: Row, now_s: float) -> dict[str, Any]:
        row = _row(connection, asked.site)
        if row is None or row["state"] != seen["state"] or _keys(row) != _keys(seen):
            raise _no_session()
        used = {"challenge": hashlib.sha256(asked.challenge.encode()).hexdigest(), "until_s": asked.until_s}
        if not put_in(connection, self._database.upsert(_USED, used, ["challenge"], only=())):
            raise _no_session()
        values: dict[str, Any] = {"seen_s": now_s}
        if not is_signed(raw_key(row["key"]), *asked.signed):
            values |= {"key": row["next_key"], "next_key": "", "key_since_s": now_s}
            values["key_generation"] = row["key_generation"] + 1
            self._write_key(connection, asked.site, "site.key_changed", row["next_key"], values["key_generation"])
        now = {**row, **values}
        if asked.next_key is not None and asked.next_key not in _keys(now):
            values["next_key"] = asked.next_key
            self._write_key(connection, asked.site, "site.key_next", asked.next_key, now["key_generation"] + 1)
        connection.execute(update(_SITES).where(_SITES.c.name == asked.site).values(**values))
        return {**now, **values}

    def _write_key(self, connection: Connection, site: str, act: str, key: str, generation: int) -> None:
        self._acts.write(f"site:{site}", act, f"site:{site}", _digest(key), at=connection, key_generation=generation)

    def _purge(self, now_s: float) -> None:
        """Forgets challenges that are too old to be answered; now and then."""
        if now_s - self._purged_s > PURGE_S:
            self._purged_s = now_s
            self._database.run(lambda c: c.execute(delete(_USED).where(_USED.c.until_s < now_s - CHALLENGE_S)))


class _Asked(msgspec.Struct, frozen=True):
    """A session that is asked for. `signed`: the signature (base64), and what it must be of."""

    site: str
    challenge: str
    until_s: float
    next_key: str | None
    signed: tuple[str, bytes]


def _row(connection: Connection, name: str) -> dict[str, Any] | None:
    """The row of a site, held against others who would change it."""
    found = connection.execute(select(_SITES).where(_SITES.c.name == name).with_for_update()).mappings().first()
    return None if found is None else dict(found)


def _found(connection: Connection, name: str) -> dict[str, Any]:
    found = connection.execute(select(_SITES).where(_SITES.c.name == name)).mappings().first()
    if found is None:
        raise RequestError("hub.unknown_site", "no site of this name is enrolled here", status=404)
    return dict(found)


def _keys(row: Row) -> tuple[str, str]:
    return row["key"], row["next_key"]


def _is_name(site: str) -> bool:
    try:
        msgspec.convert(site, SiteName)
    except msgspec.ValidationError:
        return False
    return True


def _digest(value: object) -> str:
    return hashlib.sha256(msgspec.json.encode(value, order="deterministic")).hexdigest()


def _no_session() -> RequestError:
    return RequestError(
        "hub.session", "this is no session of a site here: ask for a challenge and sign it anew", status=401
    )


def _no_token() -> RequestError:
    return RequestError(
        "hub.token",
        "this token is not known here, was used or revoked, has run out, or is for another site: ask for a new one "
        "(`ecotone hub token new`)",
        status=401,
    )


def _taken(site: str) -> RefusalError:
    return RefusalError(
        "hub.site_taken",
        f"there is a site '{site}' already. If it is this one, it joins again by a token for that: `ecotone hub token "
        f"new --again --site {site}`",
        status=409,
    )


def _revoked(site: str) -> RefusalError:
    return RefusalError(
        "hub.revoked",
        f"'{site}' was revoked: nothing is served to it. Join again by a new token of the hub's operators; what the "
        "site has goes on running",
    )
