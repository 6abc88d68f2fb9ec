"""What a hub counts of its own web side. With several processes the counts of all are one (prometheus multiprocess)."""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, Literal

import msgspec
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from ecotone.values import RefusalError

__all__ = ["FOLDER_VARIABLE", "METRICS", "Metric", "Metrics", "forget_process"]

FOLDER_VARIABLE: Final = "PROMETHEUS_MULTIPROC_DIR"
"""Set before this module is imported, the processes of one hub count together in that folder."""

TRIES: Final = 10
AGAIN_S: Final = 0.02
_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metric(msgspec.Struct, frozen=True):
    """One metric: its kind, its help, its labels (never content)."""

    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...] = ()


METRICS: Final[Mapping[str, Metric]] = MappingProxyType(
    {
        "ecotone_hub_requests_total": Metric(
            "counter", "Requests by route and status; long-polls are counted when they end.", ("route", "status")
        ),
        "ecotone_hub_request_seconds": Metric(
            "histogram", "Time to the end of an answer, long-polls aside.", ("route",)
        ),
        "ecotone_hub_received_bytes_total": Metric("counter", "Bytes of request bodies."),
        "ecotone_hub_sent_bytes_total": Metric("counter", "Bytes of answers' bodies, by route.", ("route",)),
        "ecotone_hub_reports_total": Metric("counter", "Reports of sites: taken, or refused as unreadable.", ("what",)),
        "ecotone_hub_refused_total": Metric("counter", "Requests that were refused, by error code.", ("code",)),
        "ecotone_hub_waiting": Metric("gauge", "Sites that wait for news now."),
        "ecotone_hub_connections": Metric("gauge", "Connections that are open now."),
        "ecotone_hub_restarts_total": Metric("counter", "Serving processes that ended and were replaced."),
    }
)
"""Every metric of the hub's web side; the reference page is made from this."""


class Metrics:
    """The counters of one process."""

    def __init__(self) -> None:
        """All at zero."""
        self._registry: Final = CollectorRegistry()
        made = {name: self._made(name, metric) for name, metric in METRICS.items()}
        self.requests: Final[Counter] = made["ecotone_hub_requests_total"]
        self.seconds: Final[Histogram] = made["ecotone_hub_request_seconds"]
        self.received: Final[Counter] = made["ecotone_hub_received_bytes_total"]
        self.sent: Final[Counter] = made["ecotone_hub_sent_bytes_total"]
        self.reports: Final[Counter] = made["ecotone_hub_reports_total"]
        self.refused: Final[Counter] = made["ecotone_hub_refused_total"]
        self.waiting: Final[Gauge] = made["ecotone_hub_waiting"]
        self.connections: Final[Gauge] = made["ecotone_hub_connections"]
        self.restarts: Final[Counter] = made["ecotone_hub_restarts_total"]

    def text(self) -> bytes:
        """Prometheus text; of all processes of this hub on this machine. It may wait for a moment.

        Raises:
            RefusalError: `hub.busy`, 503.
        """
        if FOLDER_VARIABLE not in os.environ:
            return generate_latest(self._registry)
        for _ in range(TRIES):
            together = CollectorRegistry()
            try:
                MultiProcessCollector(together)  # type: ignore[no-untyped-call] # prometheus_client has no types there
                return generate_latest(together)
            except (struct.error, ValueError, RuntimeError):  # a process has begun a file, and not yet written its head
                time.sleep(AGAIN_S)
        raise RefusalError("hub.busy", "a process is just starting: come again", status=503, retry_after_s=1.0)

    def _made(self, name: str, metric: Metric) -> Any:
        if metric.kind == "counter":
            return Counter(name, metric.help, metric.labels, registry=self._registry)
        if metric.kind == "gauge":
            return Gauge(name, metric.help, metric.labels, registry=self._registry, multiprocess_mode="livesum")
        return Histogram(name, metric.help, metric.labels, registry=self._registry, buckets=_SECONDS)


def forget_process(pid: int) -> None:
    """A process has ended: what was open in it is no more."""
    mark_process_dead(pid)  # type: ignore[no-untyped-call] # prometheus_client has no types there
