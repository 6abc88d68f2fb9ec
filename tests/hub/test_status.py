"""The fleet in one look: what the database counts is what the rooms say of each site."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest
from sqlalchemy import update
from tests.hub import fleets
from tests.hub.fleets import NOW_S, asset, enrolled, report, told, wished

from ecotone.fleet.silence import SILENT_S, health
from ecotone.hub.database import Database
from ecotone.hub.status import Ask, fleet, scope_of
from ecotone.hub.tables_releases import reports
from ecotone.values.fleet import Traffic


def shown(database: Database, **ask: Any) -> list[str]:
    return [row.site for row in fleet(database, NOW_S, Ask(**ask)).sites]


def test_a_hub_without_sites_says_so(database: Database) -> None:
    found = fleet(database, NOW_S)
    assert (found.found, found.sites, found.versions) == (0, (), ())
    assert (found.counts.fine, found.counts.unknown, found.totals.requests) == (0, 0, 0)


def test_each_site_is_told_with_what_it_reported(database: Database) -> None:
    enrolled(database, "harbour-1", groups='["clinics","north"]', region="eu")
    wished(database, "harbour-1", 7)
    assets = [asset(version="2", state="fetching", bytes_left=500, attempt=2), asset(version="1")]
    traffic = Traffic(requests=10, at_edge=7, at_cloud=3, saved_usd=0.5)
    told(database, NOW_S - 100, report("harbour-1", assets, traffic=traffic, software="0.9.1", pinned=("smol@1",)))
    (row,) = fleet(database, NOW_S).sites
    assert (row.site, row.health, row.heard_s, row.why) == ("harbour-1", "fine", NOW_S - 100, ())
    assert (row.groups, row.region, row.software, row.link) == (("clinics", "north"), "eu", "0.9.1", "up")
    assert (row.wanted, row.generation, row.stale_s, row.bytes_left) == (7, 3, 60.0, 500)
    assert (row.requests, row.at_edge, row.at_cloud, row.saved_usd, row.pinned) == (10, 7, 3, 0.5, ("smol@1",))
    assert [(one.version, one.state, one.attempt) for one in row.assets] == [("2", "fetching", 2), ("1", "good", 0)]


def test_a_silent_site_is_unknown_since_then_and_is_no_trouble(database: Database) -> None:
    enrolled(database, "never", "silent", "heard")
    told(database, NOW_S - SILENT_S - 1, report("silent", [asset(state="failed", why="crashes")]))
    told(database, NOW_S - SILENT_S, report("heard"))
    found = fleet(database, NOW_S)
    assert msgspec.to_builtins(found.counts) == {"fine": 1, "trouble": 0, "unknown": 2, "revoked": 0}
    by = {row.site: row for row in found.sites}
    assert (by["never"].health, by["never"].heard_s, by["never"].stale_s) == ("unknown", 0.0, None)
    assert (by["silent"].health, by["silent"].why) == ("unknown", ("failed.crashes",))


def test_a_revoked_site_is_counted_apart_and_its_traffic_no_more(database: Database) -> None:
    enrolled(database, "gone", state="revoked")
    enrolled(database, "there")
    for name in ("gone", "there"):
        told(database, NOW_S, report(name, [asset()], traffic=Traffic(requests=5)))
    found = fleet(database, NOW_S)
    assert (found.counts.revoked, found.counts.fine, found.totals.requests) == (1, 1, 5)
    assert [row.health for row in found.sites] == ["fine", "revoked"]
    assert found.versions[0].sites == {"good": 1}


def test_totals_and_versions_are_of_all_sites_whatever_is_looked_for(database: Database) -> None:
    enrolled(database, "a", "b", "c")
    traffic = Traffic(requests=10, at_edge=9, at_cloud=1, egress_bytes=1000, cloud_usd=0.25, saved_usd=2.5)
    told(database, NOW_S, report("a", [asset(), asset("words", "3")], traffic=traffic))
    told(database, NOW_S, report("b", [asset(version="2", state="trying", bytes_left=7)], traffic=traffic, dropped=4))
    wished(database, "a", 3)
    wished(database, "b", 4)
    wished(database, "c", 1)
    found = fleet(database, NOW_S, Ask(find="nobody"))
    assert found.sites == ()
    totals = found.totals
    assert (totals.requests, totals.at_edge, totals.at_cloud, totals.egress_bytes) == (20, 18, 2, 2000)
    assert (totals.cloud_usd, totals.saved_usd, totals.bytes_left, totals.dropped) == (0.5, 5.0, 7, 4)
    assert totals.behind == 2  # `b` has not verified generation 4, `c` never told that it has anything
    assert [(one.name, one.version, one.sites) for one in found.versions] == [
        ("smol", "1", {"good": 1}),
        ("smol", "2", {"trying": 1}),
        ("words", "3", {"good": 1}),
    ]


def test_sites_are_found_by_name_group_region_health_and_asset(database: Database) -> None:
    enrolled(database, "harbour-1", "harbour-2", groups='["clinics"]', region="eu")
    enrolled(database, "inland", groups='["ships","clinics-old"]', region="us")
    told(database, NOW_S, report("harbour-1", [asset()]))
    told(database, NOW_S, report("harbour-2", [asset(version="2", state="refused", why="disk")]))
    assert shown(database, find="harb") == ["harbour-2", "harbour-1"]
    assert shown(database, find="clinics") == ["harbour-2", "harbour-1"]
    assert shown(database, find="us") == ["inland"]
    assert shown(database, health="trouble") == ["harbour-2"]
    assert shown(database, health="unknown") == ["inland"]
    assert shown(database, asset="smol") == ["harbour-2", "harbour-1"]
    assert shown(database, asset="smol@2") == ["harbour-2"]
    assert shown(database, asset="smol@9") == []
    assert shown(database, find="harb", health="fine") == ["harbour-1"]


@pytest.mark.parametrize("find", ["%", "_", "'; DROP TABLE sites; --", "\\", '"', "h%r"])
def test_what_is_looked_for_is_a_text_and_no_pattern(database: Database, find: str) -> None:
    enrolled(database, "harbour-1")
    assert shown(database, find=find) == []
    assert shown(database, find="harbour-1") == ["harbour-1"]


def test_pages_give_every_site_once(database: Database) -> None:
    enrolled(database, *(f"s{number:02}" for number in range(23)))
    told(database, NOW_S, report("s05", trouble=("disk",)), report("s07"))
    pages = [shown(database, offset=offset, limit=10) for offset in (0, 10, 20)]
    assert [len(page) for page in pages] == [10, 10, 3]
    assert sorted(site for page in pages for site in page) == [f"s{number:02}" for number in range(23)]
    assert (pages[0][0], pages[2][2]) == ("s05", "s07")  # trouble first, what is fine last
    assert fleet(database, NOW_S, Ask(limit=0)).found == 23


@pytest.mark.parametrize("seed", range(3))
def test_the_database_counts_as_the_room_says_of_each_site(database: Database, seed: int) -> None:
    dice = random.Random(seed)
    said = {}
    for number in range(40):
        name = f"s{number}"
        enrolled(database, name)
        if dice.random() < 0.9:
            states = dice.choices(fleets.STATES, k=dice.randrange(4))
            assets = [asset(version=str(at), state=state) for at, state in enumerate(states)]
            trouble = ("disk",) if dice.random() < 0.1 else ()
            made, heard_s = report(name, assets, trouble=trouble), NOW_S - dice.choice([0, 30, SILENT_S, SILENT_S + 1])
            told(database, heard_s, made)
            said[name] = health(made, heard_s, NOW_S).state
        else:
            said[name] = health(None, 0.0, NOW_S).state
    found = fleet(database, NOW_S)
    assert {row.site: row.health for row in found.sites} == said
    for state in ("fine", "trouble", "unknown"):
        assert getattr(found.counts, state) == sum(one == state for one in said.values())
        assert sorted(shown(database, health=state)) == sorted(name for name, one in said.items() if one == state)


def test_who_may_see_only_some_sites_is_told_of_these_alone(database: Database) -> None:
    enrolled(database, "a", groups='["clinics"]', region="eu")
    enrolled(database, "b", groups='["ships"]', region="eu")
    enrolled(database, "c", groups="[]", region="")
    for name in ("a", "b", "c"):
        told(database, NOW_S, report(name, [asset(version=f"of-{name}")], traffic=Traffic(requests=1)))
    scope = scope_of(database, lambda groups, region: "clinics" in groups and region == "eu")
    found = fleet(database, NOW_S, scope=scope)
    assert ([row.site for row in found.sites], found.counts.fine, found.totals.requests) == (["a"], 1, 1)
    assert [one.version for one in found.versions] == ["of-a"]
    nothing = fleet(database, NOW_S, scope=scope_of(database, lambda groups, region: False))
    assert (nothing.sites, nothing.counts.fine, nothing.totals.requests, nothing.versions) == ((), 0, 0, ())


def test_a_report_that_cannot_be_read_any_more_is_a_trouble_and_no_end(database: Database) -> None:
    enrolled(database, "a", "b")
    told(database, NOW_S, report("a"), report("b"))
    with database.begin() as c:
        c.execute(update(reports).values(raw='{"type": "of-another-time"}').where(reports.c.site == "a"))
    rows = {row.site: row for row in fleet(database, NOW_S).sites}
    assert (rows["a"].health, rows["a"].why, rows["b"].health) == ("trouble", ("hub.report",), "fine")
