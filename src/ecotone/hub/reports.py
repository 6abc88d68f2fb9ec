"""What sites report: the newest of each is kept, and when the state of an asset there changed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

import msgspec
from sqlalchemy import delete, insert, select
from sqlalchemy.engine import Connection

from ecotone.hub.database import Database
from ecotone.hub.tables_releases import report_assets, report_changes, reports
from ecotone.values.fleet import AssetReport, Report

__all__ = ["CHANGES_MAX", "Floors", "Reports"]

CHANGES_MAX: Final = 200
"""Changes of state that are remembered of one site."""


class Floors(Protocol):
    """Generations of wishes, as `hub.wishes.Wishes` keeps them."""

    def generation(self, site: str) -> int:
        """The newest wish's; 0: none."""
        ...

    def raise_floor(self, site: str, generation: int) -> bool:
        """The next wish of the site is above this one."""
        ...


class Reports:
    """Takes reports in. A report is a level: the one with the highest `seq` counts, and silence changes nothing."""

    def __init__(self, database: Database, floors: Floors, clock: Callable[[], float]) -> None:
        """`clock` gives Unix seconds."""
        self._database: Final = database
        self._floors: Final = floors
        self._clock: Final = clock

    def take(self, site: str, batch: Sequence[Report]) -> int:
        """Takes a site's reports in, durably; gives the highest `seq` that is known of it. Doubled ones harm nothing.

        Args:
            site: Who brings them; the caller has seen to it that it is who it says.
            batch: Oldest first or in any order.

        Raises:
            StoreError: The database failed: nothing was taken, and the site sends them again.
        """
        ordered = sorted((one for one in batch if one.site == site), key=lambda one: one.seq)
        seq = self._database.run(lambda c: self._taken(c, site, ordered))
        newest = ordered[-1] if ordered else None
        if newest is not None and newest.generation > self._floors.generation(site):
            # This hub was restored from a copy older than what the site has seen.
            self._floors.raise_floor(site, newest.generation)
        return seq

    def newest(self, site: str) -> bytes | None:
        """The site's newest report as JSON, all of it; None where it never reported."""
        with self._database.read() as c:
            raw = c.execute(select(reports.c.raw).where(reports.c.site == site)).scalar()
        return None if raw is None else str(raw).encode()

    def changes(self, site: str, limit: int = 50) -> list[dict[str, Any]]:
        """The last changes of state of assets there, newest first."""
        found = select(report_changes).where(report_changes.c.site == site)
        with self._database.read() as c:
            rows = c.execute(found.order_by(report_changes.c.number.desc()).limit(limit)).mappings()
            return [dict(row) for row in rows]

    def _taken(self, c: Connection, site: str, ordered: Sequence[Report]) -> int:
        known = c.execute(select(reports.c.seq).where(reports.c.site == site)).scalar()
        fresh = [one for one in ordered if known is None or one.seq > known]
        if not fresh:
            return int(known or 0)
        rows = c.execute(select(report_assets).where(report_assets.c.site == site)).mappings()
        had = {(row["name"], row["version"]): dict(row) for row in rows}
        now_s = self._clock()
        changes: list[dict[str, Any]] = []
        have = had
        for report in fresh:
            have = _following(report, have, now_s, changes)
        self._put_assets(c, site, had, have)
        if changes:
            c.execute(insert(report_changes), changes[-CHANGES_MAX:])
            self._bound(c, site)
        c.execute(self._database.upsert(reports, _row(fresh[-1], now_s), ["site"]))
        return fresh[-1].seq

    def _put_assets(self, c: Connection, site: str, had: _Assets, have: _Assets) -> None:
        for name, version in had.keys() - have.keys():
            gone = (report_assets.c.name == name) & (report_assets.c.version == version)
            c.execute(delete(report_assets).where(report_assets.c.site == site, gone))
        changed = [row for key, row in sorted(have.items()) if had.get(key) != row]
        if changed:
            c.execute(self._database.upsert(report_assets, changed, ["site", "name", "version"]))

    def _bound(self, c: Connection, site: str) -> None:
        mine = select(report_changes.c.number).where(report_changes.c.site == site)
        last = c.execute(mine.order_by(report_changes.c.number.desc()).offset(CHANGES_MAX).limit(1)).scalar()
        if last is not None:
            c.execute(delete(report_changes).where(report_changes.c.site == site, report_changes.c.number <= last))


_Assets = dict[tuple[str, str], dict[str, Any]]


def _following(report: Report, had: _Assets, now_s: float, changes: list[dict[str, Any]]) -> _Assets:
    """The rows that follow from the report; what changed its state is added to `changes`."""
    have: _Assets = {}
    for asset in report.assets:
        row = _asset_row(report.site, asset, now_s)
        before = had.get((asset.name, asset.version))
        if before is not None and _state(before) == _state(row):
            row["came_s"] = before["came_s"]
        else:
            fields = ("site", "name", "version", "attempt", "state", "why")
            changes.append({"at_s": now_s, **{field: row[field] for field in fields}})
        have[asset.name, asset.version] = row
    return have


def _state(row: dict[str, Any]) -> tuple[Any, ...]:
    return row["state"], row["attempt"], row["sha256"], row["why"]


def _asset_row(site: str, asset: AssetReport, now_s: float) -> dict[str, Any]:
    return {
        "site": site,
        "name": asset.name,
        "version": asset.version,
        "kind": asset.kind,
        "sha256": asset.sha256,
        "attempt": asset.attempt,
        "state": asset.state,
        "why": asset.why,
        "since_s": float(asset.since_s),
        "came_s": now_s,
        "bytes_left": asset.bytes_left,
        "figures": _json(asset.figures),
        "before": _json(asset.before),
    }


def _row(report: Report, now_s: float) -> dict[str, Any]:
    same = ("site", "seq", "boot", "made_s", "generation", "fresh_s", "software", "link", "dropped")
    traffic = (
        "requests", "at_edge", "at_cloud", "deferred", "refused", "failed", "egress_bytes", "cloud_usd", "saved_usd",
    )  # fmt: skip
    return {
        **{field: getattr(report, field) for field in same},
        **{field: getattr(report.traffic, field) for field in traffic},
        "came_s": now_s,
        "arch": report.machine.arch,
        "memory_bytes": report.machine.memory_bytes,
        "bytes_left": sum(asset.bytes_left for asset in report.assets),
        "trouble": len(report.trouble),
        "pinned": msgspec.json.encode(report.pinned).decode(),
        "raw": msgspec.json.encode(report).decode(),
    }


def _json(value: msgspec.Struct | None) -> str | None:
    return None if value is None else msgspec.json.encode(value).decode()
