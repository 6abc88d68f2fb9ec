"""Made fleets: rows of sites, reports and wishes, put straight into a hub's database."""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import insert

from ecotone.hub.database import Database
from ecotone.hub.reports import Reports
from ecotone.hub.settings import Settings
from ecotone.hub.tables import wishes
from ecotone.hub.tables_access import sites
from ecotone.values.fleet import AssetReport, AssetState, MachineReport, Report, Traffic

NOW_S = 1_800_000_000.0
PUBLIC = Ed25519PrivateKey.from_private_bytes(bytes(32)).public_key().public_bytes_raw()
STATES: tuple[AssetState, ...] = ("wanted", "fetching", "ready", "trying", "good", "failed", "refused")


class NoFloors:
    """Wishes that know of no generation above a report's."""

    def generation(self, site: str) -> int:
        return 1 << 50

    def raise_floor(self, site: str, generation: int) -> bool:
        raise AssertionError("no site is above")


def enrolled(database: Database, *names: str, **fields: Any) -> None:
    empty = {column.name: column.type.python_type() for column in sites.columns}
    key = base64.b64encode(PUBLIC).decode()
    said = {**empty, "state": "enrolled", "key": key, "groups": "[]", "labels": "{}", **fields}
    with database.begin() as c:
        c.execute(insert(sites), [{**said, "name": name} for name in names])


def wished(database: Database, site: str, generation: int) -> None:
    with database.begin() as c:
        c.execute(insert(wishes), [_wish(site, generation)])


def _wish(site: str, generation: int) -> dict[str, Any]:
    empty = {column.name: column.type.python_type() for column in wishes.columns}
    return {**empty, "site": site, "generation": generation}


def asset(name: str = "smol", version: str = "1", state: AssetState = "good", **fields: Any) -> AssetReport:
    return AssetReport(name=name, version=version, kind="model", sha256="a" * 64, state=state, **fields)


def report(site: str, assets: Sequence[AssetReport] = (), **fields: Any) -> Report:
    said: dict[str, Any] = {"seq": 1, "made_s": NOW_S, "generation": 3, "fresh_s": NOW_S - 60, "link": "up"}
    return Report(site=site, assets=tuple(assets), **{**said, **fields})


def told(database: Database, heard_s: float, *reports: Report) -> None:
    for one in reports:
        Reports(database, NoFloors(), lambda: heard_s).take(one.site, [one])


def crowd(database: Database, count: int, now_s: float = NOW_S, seed: int = 1) -> None:
    """`count` sites such as there are: most are fine, some are silent, few are in trouble."""
    dice = random.Random(seed)
    names = [f"site-{number:05}" for number in range(count)]
    enrolled(database, *names, groups='["clinics"]', region="eu")
    reported = []
    for name in names[: count * 95 // 100]:
        state: AssetState = "failed" if dice.random() < 0.02 else "good"
        assets = [asset("smol", "2", state, why="latency" if state == "failed" else ""), asset("words", "7")]
        traffic = Traffic(requests=1000, at_edge=900, at_cloud=100, egress_bytes=50_000, saved_usd=1.5)
        machine = MachineReport(cores=4, memory_bytes=8 << 30, arch="x86_64")
        reported.append(report(name, assets, traffic=traffic, machine=machine, software="0.9.0"))
    _bulk(database, reported, now_s, dice)


def _bulk(database: Database, reported: Sequence[Report], now_s: float, dice: random.Random) -> None:
    from ecotone.hub import reports as room
    from ecotone.hub.tables_releases import report_assets
    from ecotone.hub.tables_releases import reports as table

    heard = {one.site: now_s - (7200 if dice.random() < 0.03 else 30) for one in reported}
    rows = [room._row(one, heard[one.site]) for one in reported]
    of = [room._asset_row(one.site, each, now_s) for one in reported for each in one.assets]
    with database.begin() as c:
        c.execute(insert(table), rows)
        c.execute(insert(report_assets), of)
        c.execute(insert(wishes), [_wish(one.site, 3) for one in reported])


def plain(value: msgspec.Struct) -> Any:
    return msgspec.to_builtins(value)


def hub_yaml(settings: Settings, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The configuration of a hub as its operators write it: the database's address is a reference."""
    monkeypatch.setenv("TEST_HUB_DATABASE", settings.database_url())
    file = folder / "hub.yaml"
    said = {"folder": str(settings.folder), "state": str(settings.state), "database": {"url": "env:TEST_HUB_DATABASE"}}
    file.write_text(json.dumps(said))
    return file
