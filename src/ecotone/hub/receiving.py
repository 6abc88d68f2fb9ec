"""Reports that came on a stick: taken in like those over the link, once it is proven whose they are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from sqlalchemy import select

from ecotone.delivery.bundle_reports import Brought
from ecotone.hub.database import Database
from ecotone.hub.tables_releases import reports as table

if TYPE_CHECKING:
    from ecotone.hub.serving import Hub

__all__ = ["Received", "acked_seq", "receive"]


class Received(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it.

    Attributes:
        reports: How many were in the file.
        acked_seq: The hub has the site's reports up to this one now: the next bundle for the site says so.
        ledger: Where the site's ledger was unpacked; empty: nowhere.
    """

    site: str
    reports: int
    acked_seq: int
    has_ledger: bool
    ledger: str = ""


def receive(hub: Hub, path: Path, ledger_to: Path | None = None) -> Received:
    """Takes a site's file in. A second time, or after a newer one, it changes nothing.

    Args:
        hub: The hub.
        path: What `ecotone bundle export --reports` wrote at the site.
        ledger_to: A new folder for the site's ledger, if there is one in the file.

    Raises:
        ConfigError: `hub.file`, `hub.report`.
        TrustError: `bundle.malformed`, `bundle.truncated`, `bundle.signature`, `bundle.other_hub`, `bundle.digest`.
        RequestError: `hub.unknown_site`.
        RefusalError: `hub.revoked`.
        StoreError: `hub.database`, `asset.io`, `asset.disk_full`.
    """
    with Brought(path) as brought:
        site = brought.heading.site
        brought.check(hub.settings.name, hub.sites.keys_of(site))
        reports = brought.reports()
        hub.acts.write(f"site:{site}", "report.carry", site, brought.digest, reports=len(reports))
        known = hub.reports.take(site, reports)
        has_ledger = brought.has_ledger
        unpacked = str(brought.unpack(ledger_to)) if ledger_to is not None and has_ledger else ""
    return Received(site=site, reports=len(reports), acked_seq=known, has_ledger=has_ledger, ledger=unpacked)


def acked_seq(database: Database, site: str) -> int:
    """The number up to which the hub has a site's reports; 0: none.

    Raises:
        StoreError: `hub.database`.
    """
    with database.read() as c:
        return int(c.execute(select(table.c.seq).where(table.c.site == site)).scalar() or 0)
