"""The fleet in figures, for whoever draws curves: counted by the database when it is asked for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily
from prometheus_client.registry import Collector
from sqlalchemy import func, select

from ecotone.hub.database import Database
from ecotone.hub.status import Ask, fleet
from ecotone.hub.tables_releases import releases
from ecotone.hub.web_metrics import Metric

__all__ = ["METRICS", "text"]

METRICS: Final[Mapping[str, Metric]] = MappingProxyType(
    {
        "ecotone_fleet_sites": Metric(
            "gauge", "Sites by health: fine, trouble, unknown (not heard for an hour), revoked.", ("health",)
        ),
        "ecotone_fleet_sites_behind": Metric("gauge", "Sites that have not verified yet what the hub wants there."),
        "ecotone_fleet_bytes_left": Metric("gauge", "Bytes that sites still have to fetch, as they told last."),
        "ecotone_fleet_requests": Metric(
            "gauge",
            "Requests at all sites as they told last, by where they went: edge, cloud, deferred, refused, failed.",
            ("to",),
        ),
        "ecotone_fleet_egress_bytes": Metric("gauge", "Bytes of bodies that left the sites, as they told last."),
        "ecotone_fleet_cloud_usd": Metric("gauge", "US dollars for cloud targets, as the sites told last."),
        "ecotone_fleet_saved_usd": Metric("gauge", "US dollars that the edge saved, as the sites told last."),
        "ecotone_fleet_releases": Metric("gauge", "Releases by state.", ("state",)),
    }
)
"""Every metric of the fleet; the reference page is made from this."""
_OTHERS: Final = ("deferred", "refused", "failed")


def text(database: Database, now_s: float) -> bytes:
    """Prometheus text.

    Raises:
        StoreError: `hub.database`.
    """
    found = fleet(database, now_s, Ask(limit=0))
    with database.read() as c:
        states = c.execute(select(releases.c.state, func.count()).group_by(releases.c.state)).all()
    # Families, not gauges: a gauge of one of several processes would be kept in a file, and counted again.
    families = {name: GaugeMetricFamily(name, metric.help, labels=metric.labels) for name, metric in METRICS.items()}
    for health in ("fine", "trouble", "unknown", "revoked"):
        families["ecotone_fleet_sites"].add_metric([health], getattr(found.counts, health))
    totals = found.totals
    for to, name in (("edge", "at_edge"), ("cloud", "at_cloud"), *((same, same) for same in _OTHERS)):
        families["ecotone_fleet_requests"].add_metric([to], getattr(totals, name))
    for state, count in states:
        families["ecotone_fleet_releases"].add_metric([state], count)
    families["ecotone_fleet_sites_behind"].add_metric([], totals.behind)
    for name in ("bytes_left", "egress_bytes", "cloud_usd", "saved_usd"):
        families[f"ecotone_fleet_{name}"].add_metric([], getattr(totals, name))
    registry = CollectorRegistry()
    registry.register(_Found(families.values()))
    return generate_latest(registry)


class _Found(Collector):
    """What was counted already."""

    def __init__(self, families: Iterable[GaugeMetricFamily]) -> None:
        self._families: Final = list(families)

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """See `Collector`."""
        return self._families
