"""Releases as a person looks at them: their waves, what each must show, and what the sites told."""

from __future__ import annotations

from typing import Final, Literal

import msgspec
from sqlalchemy import case, select

from ecotone.fleet.release import Gate, Wave
from ecotone.fleet.standing import ENDED
from ecotone.fleet.waves import Tally
from ecotone.hub import releases_rows
from ecotone.hub.database import Database
from ecotone.hub.releases_values import Release
from ecotone.hub.tables_releases import releases

__all__ = ["ReleaseRow", "WaveRow", "shown"]

SHOWN_MAX: Final = 20


class WaveRow(msgspec.Struct, frozen=True, kw_only=True):
    """One wave.

    Attributes:
        label: What it takes in, in words.
        is_: `through`, `open`, `stopped` (open, and the release does not go on), or `''`: its time has not come.
        opened_s: Unix seconds; 0: not yet.
    """

    label: str
    is_: Literal["through", "open", "stopped", ""] = msgspec.field(name="is", default="")
    opened_s: float = 0.0


class ReleaseRow(msgspec.Struct, frozen=True, kw_only=True):
    """One release; see `fleet.standing` for its states.

    Attributes:
        why: Code of what it waits for, or of what ended it.
        begun_s, ended_s: Unix seconds; 0: not yet.
        gate: What the open waves must show, in a sentence.
        tally: What the sites of the open waves told.
    """

    id: str
    name: str
    version: str
    state: str
    why: str
    by: str
    begun_s: float
    ended_s: float
    waves: tuple[WaveRow, ...]
    gate: str
    tally: Tally


def shown(database: Database) -> tuple[ReleaseRow, ...]:
    """The releases that go on, newest first, then those that ended last.

    Raises:
        StoreError: `hub.database`.
    """
    is_over = case((releases.c.state.in_(sorted(ENDED)), 1), else_=0)
    asked = select(releases).order_by(is_over, releases.c.created_s.desc(), releases.c.id).limit(SHOWN_MAX)
    with database.read() as c:
        return tuple(_row(releases_rows.read(row)) for row in c.execute(asked))


def _row(release: Release) -> ReleaseRow:
    same = ("id", "name", "version", "state", "why", "by", "ended_s", "tally")
    return ReleaseRow(
        **{field: getattr(release, field) for field in same},
        begun_s=release.created_s,
        waves=tuple(_wave(release, number) for number in range(len(release.plan.waves))),
        gate=_sentence(release.plan.gate),
    )


def _wave(release: Release, number: int) -> WaveRow:
    standing, opened = release.standing, release.standing.opened_s
    row = WaveRow(label=_label(release.plan.waves[number]), opened_s=opened[number] if number < len(opened) else 0.0)
    if number > standing.wave or not row.opened_s:
        return row
    if number < standing.wave or standing.state == "done":
        return msgspec.structs.replace(row, is_="through")
    return msgspec.structs.replace(row, is_="open" if standing.state in ("rolling", "waiting") else "stopped")


def _label(wave: Wave) -> str:
    if wave.group is not None:
        return f"group {wave.group}"
    if wave.count is not None:
        return f"{wave.count} sites"
    return f"{100 * (wave.share or 0):g} %"


def _sentence(gate: Gate) -> str:
    return (
        f"The next wave opens when {100 * gate.good_share:g} % of at least {gate.reports_min} decided sites "
        f"({100 * gate.decided_share:g} % of those that are heard) are good, after {gate.hours_min:g} h and "
        f"{gate.requests_min} requests. It is taken back at {gate.bad_max} failed sites, if they are "
        f"{100 * gate.bad_share:g} % of those that used it."
    )
