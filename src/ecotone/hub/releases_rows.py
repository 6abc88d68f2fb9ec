"""Releases as they lie in the database."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from sqlalchemy import select, update
from sqlalchemy.engine import Connection

from ecotone.fleet.standing import ENDED
from ecotone.fleet.waves import Plan, Standing, Tally
from ecotone.hub.releases_values import Release, Scope
from ecotone.hub.tables_releases import releases
from ecotone.trust.agreeing import Asset
from ecotone.values import ConfigError

__all__ = ["LOCK", "LOCK_WAIT_S", "found", "put", "read", "row_of", "text"]

LOCK: Final = "releases"
"""Held while a release changes its state, and while its wishes are signed: after a pause nothing more is signed."""
LOCK_WAIT_S: Final = 60.0

_PLAIN: Final = ("id", "name", "version", "state", "why", "by", "created_s", "looked_s", "ended_s", "looks")


def text(value: Any) -> str:
    """A value as it lies in a column."""
    return msgspec.json.encode(value).decode()


def read(row: Any) -> Release:
    """A release out of its row."""
    return Release(
        **{field: getattr(row, field) for field in _PLAIN},
        scope=msgspec.json.decode(row.scope, type=Scope),
        residency=msgspec.json.decode(row.residency, type=tuple[str, ...]),
        plan=msgspec.json.decode(row.plan, type=Plan),
        variants=msgspec.json.decode(row.variants, type=tuple[Asset, ...]),
        standing=msgspec.json.decode(row.standing, type=Standing),
        tally=msgspec.json.decode(row.tally, type=Tally),
    )


def row_of(release: Release) -> dict[str, Any]:
    """The row of a release."""
    rich = ("scope", "residency", "plan", "variants", "standing", "tally")
    plain = {field: getattr(release, field) for field in _PLAIN}
    state = {"state": release.standing.state, "why": release.standing.why}
    return {**plain, **state, **{field: text(getattr(release, field)) for field in rich}}


def found(connection: Connection, release: str) -> Release:
    """One release.

    Raises:
        ConfigError: `hub.unknown`.
    """
    row = connection.execute(select(releases).where(releases.c.id == release)).first()
    if row is None:
        raise ConfigError("hub.unknown", f"there is no release '{release}': `ecotone hub release list` shows them")
    return read(row)


def put(connection: Connection, release: str, standing: Standing, now_s: float, **more: Any) -> None:
    """Where the release stands now; `more` columns with it."""
    ended_s = now_s if standing.state in ENDED else 0.0
    values = {"standing": text(standing), "state": standing.state, "why": standing.why, "ended_s": ended_s, **more}
    connection.execute(update(releases).where(releases.c.id == release).values(values))
