"""The fleet as Prometheus reads it."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families
from tests.hub.fleets import NOW_S, enrolled, report, told
from tests.hub.test_status_doors import released

from ecotone.hub.database import Database
from ecotone.hub.status_metrics import METRICS, text
from ecotone.values.fleet import Traffic


def read(database: Database) -> dict[tuple[str, str], float]:
    families = text_string_to_metric_families(text(database, NOW_S).decode())
    return {
        (sample.name, next(iter(sample.labels.values()), "")): sample.value
        for family in families
        for sample in family.samples
    }


def test_every_figure_is_that_of_the_fleet(database: Database) -> None:
    enrolled(database, "a", "b")
    traffic = Traffic(
        requests=10, at_edge=6, at_cloud=1, deferred=1, refused=1, failed=1, egress_bytes=9, saved_usd=0.5
    )
    told(database, NOW_S, report("a", traffic=traffic, trouble=("disk",)))
    released(database, "waiting")
    found = read(database)
    assert {name for name, _ in found} == set(METRICS)
    assert {label: value for (name, label), value in found.items() if name == "ecotone_fleet_sites"} == {
        "fine": 0,
        "trouble": 1,
        "unknown": 1,
        "revoked": 0,
    }
    assert found["ecotone_fleet_requests", "edge"] == 6
    assert sum(value for (name, _), value in found.items() if name == "ecotone_fleet_requests") == 10
    assert found["ecotone_fleet_releases", "waiting"] == 1
    assert (found["ecotone_fleet_egress_bytes", ""], found["ecotone_fleet_saved_usd", ""]) == (9, 0.5)


def test_a_hub_without_sites_has_figures_too(database: Database) -> None:
    found = read(database)
    assert set(found.values()) == {0.0}
