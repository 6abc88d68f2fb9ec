"""What sites report, on both databases: levels, doubled and late ones, history, and a hub that was restored."""

from __future__ import annotations

import itertools
import random
import threading

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from ecotone.hub.database import Database
from ecotone.hub.reports import CHANGES_MAX, Reports
from ecotone.hub.tables_releases import report_assets, report_changes, reports
from ecotone.values.fleet import AssetReport, Figures, Report, Traffic

NUMBERS = itertools.count()


class Floors:
    def __init__(self) -> None:
        self.at: dict[str, int] = {}
        self.raised: list[tuple[str, int]] = []

    def generation(self, site: str) -> int:
        return self.at.get(site, 0)

    def raise_floor(self, site: str, generation: int) -> bool:
        self.raised.append((site, generation))
        self.at[site] = generation
        return True


def asset(state: str = "trying", version: str = "2", **given: object) -> AssetReport:
    fields = {"name": "smol", "version": version, "kind": "model", "sha256": "a" * 64, "state": state, **given}
    return msgspec.convert(fields, AssetReport)


def report(seq: int, *assets: AssetReport, **given: object) -> Report:
    fields = {"site": "harbour-1", "seq": seq, "made_s": 1e9 + seq, "assets": assets, **given}
    return msgspec.convert(fields, Report, from_attributes=True)


@pytest.fixture
def floors() -> Floors:
    return Floors()


@pytest.fixture
def taking(database: Database, floors: Floors) -> Reports:
    return Reports(database, floors, lambda: 2e9)


def test_the_newest_counts_whatever_the_order(taking: Reports) -> None:
    assert taking.newest("harbour-1") is None
    assert taking.take("harbour-1", []) == 0
    assert taking.take("harbour-1", [report(3), report(1), report(2)]) == 3
    assert taking.take("harbour-1", [report(2), report(3)]) == 3
    raw = taking.newest("harbour-1")
    assert raw is not None
    assert msgspec.json.decode(raw, type=Report) == report(3)


def test_what_is_asked_of_many_stands_in_columns(taking: Reports, database: Database) -> None:
    traffic = Traffic(requests=10, at_edge=8, at_cloud=2, saved_usd=0.5)
    assets = asset("fetching", bytes_left=500), asset("good", version="1", figures=Figures(requests=7))
    taking.take("harbour-1", [report(1, *assets, traffic=traffic, trouble=("disk",), pinned=("smol@1",))])
    with database.read() as c:
        row = c.execute(select(reports)).mappings().one()
        rows = {one["version"]: one for one in c.execute(select(report_assets)).mappings()}
    assert (row["requests"], row["at_edge"], row["saved_usd"], row["bytes_left"]) == (10, 8, 0.5, 500)
    assert (row["trouble"], row["pinned"], row["came_s"]) == (1, '["smol@1"]', 2e9)
    assert rows["2"]["state"] == "fetching"
    assert rows["1"]["figures"] is not None
    assert rows["2"]["figures"] is None


def test_changes_of_state_are_remembered_and_repetitions_are_not(taking: Reports) -> None:
    states = ["fetching", "fetching", "ready", "trying", "trying", "failed"]
    taking.take("harbour-1", [report(seq, asset(state)) for seq, state in enumerate(states, 1)])
    assert [one["state"] for one in taking.changes("harbour-1")] == ["failed", "trying", "ready", "fetching"]
    taking.take("harbour-1", [report(7, asset("failed"))])
    assert len(taking.changes("harbour-1")) == 4
    taking.take("harbour-1", [report(8)])
    taking.take("harbour-1", [report(9, asset("good"))])
    assert taking.changes("harbour-1", limit=1)[0]["state"] == "good"
    assert taking.changes("other") == []


def test_history_is_bounded_for_each_site(taking: Reports, database: Database) -> None:
    batch = [report(seq, asset("trying" if seq % 2 else "good")) for seq in range(1, 2 * CHANGES_MAX)]
    taking.take("harbour-1", batch[:300])
    for one in batch[300:]:
        taking.take("harbour-1", [one])
    with database.read() as c:
        assert len(c.execute(select(report_changes)).all()) == CHANGES_MAX


def test_an_asset_that_is_not_told_any_more_is_gone(taking: Reports, database: Database) -> None:
    taking.take("harbour-1", [report(1, asset(), asset("good", version="1"))])
    taking.take("harbour-1", [report(2, asset("good"))])
    with database.read() as c:
        assert [row.version for row in c.execute(select(report_assets))] == ["2"]


def test_reports_of_another_site_are_not_taken(taking: Reports) -> None:
    assert taking.take("harbour-2", [report(5)]) == 0
    assert taking.newest("harbour-1") is None


def test_a_restored_hub_learns_what_sites_have_seen(taking: Reports, floors: Floors) -> None:
    floors.at["harbour-1"] = 4
    taking.take("harbour-1", [report(1, generation=4)])
    assert floors.raised == []
    taking.take("harbour-1", [report(2, generation=9)])
    assert floors.raised == [("harbour-1", 9)]
    taking.take("harbour-1", [report(3, generation=9)])
    assert floors.raised == [("harbour-1", 9)]


def test_sites_that_report_at_once_do_not_harm_each_other(database: Database, floors: Floors) -> None:
    taking = Reports(database, floors, lambda: 2e9)
    acks: dict[str, int] = {}

    def site(name: str) -> None:
        for seq in range(1, 6):
            acks[name] = taking.take(name, [report(seq, asset("trying" if seq % 2 else "good"), site=name)])

    threads = [threading.Thread(target=site, args=(f"s{n}",)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert acks == {f"s{n}": 5 for n in range(8)}


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    states=st.lists(st.sampled_from(["fetching", "ready", "trying", "good", "failed"]), min_size=1, max_size=8),
    seed=st.integers(0, 1000),
)
def test_lost_doubled_and_late_reports_end_the_same(database: Database, states: list[str], seed: int) -> None:
    """Whatever is lost, doubled or comes late: once the last one is in, the hub knows what the site told last."""
    dice = random.Random(seed)
    site = f"s{next(NUMBERS)}"
    every = [report(seq, asset(state), site=site) for seq, state in enumerate(states, 1)]
    sent = [one for one in every for _ in range(dice.choice([0, 1, 1, 2]))] + [every[-1]]
    dice.shuffle(sent)
    taking = Reports(database, Floors(), lambda: 2e9)
    while sent:
        batch, sent = sent[: dice.randint(1, 3)], sent[3:] if len(sent) > 3 else []
        taking.take(site, batch)
    assert taking.take(site, [every[-1]]) == len(states)
    with database.read() as c:
        row = c.execute(select(report_assets).where(report_assets.c.site == site)).one()
    assert row.state == states[-1]
