"""Counts what happened. One table, `METRICS`, says what there is; the objects and the reference are made from it.

Counting runs on the event loop for every request, so it is plain additions here; prometheus_client writes them out when
somebody asks (and is imported then: it takes longer than all the rest of the site).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

from ecotone.telemetry.logs import log_outcome
from ecotone.values import Condition, Endpoint, Outcome

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry
    from prometheus_client.core import Metric as Family

Labels = tuple[str, ...]

SERIES_MAX: Final = 5000
"""Label sets of one metric; what comes beyond is counted under `other`."""

OTHER: Final = "other"
"""Stands for a label that is not bounded, such as a model name that nobody serves."""


class Metric(msgspec.Struct, frozen=True):
    """One line of the table."""

    kind: Literal["counter", "gauge", "histogram"]
    labels: Labels
    help: str
    buckets: tuple[float, ...] = ()


_GEN_AI: Final = ("gen_ai_operation_name", "gen_ai_provider_name", "gen_ai_request_model")
_LONG_S: Final = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
_TTFT_S: Final = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
_TPOT_S: Final = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5)
_TOKENS: Final = tuple(float(4**n) for n in range(14))
_SHORT_S: Final = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1)

METRICS: Final[dict[str, Metric]] = {
    "gen_ai_server_request_duration_seconds": Metric(
        "histogram",
        (*_GEN_AI, "error_type"),
        "Seconds from a request's arrival to its end. The provider is the target that answered.",
        _LONG_S,
    ),
    "gen_ai_server_time_to_first_token_seconds": Metric(
        "histogram", _GEN_AI, "Seconds from a request's arrival to the first byte of its answer.", _TTFT_S
    ),
    "gen_ai_server_time_per_output_token_seconds": Metric(
        "histogram", _GEN_AI, "Seconds per token after the first one, for streams.", _TPOT_S
    ),
    "gen_ai_client_token_usage": Metric(
        "histogram", (*_GEN_AI, "gen_ai_token_type"), "Tokens in (`input`) and out (`output`) per request.", _TOKENS
    ),
    "ecotone_requests_total": Metric(
        "counter",
        ("model", "target", "placed", "ending", "reason"),
        "Requests that ended, by how and why; a model name that is not served counts as `other`.",
    ),
    "ecotone_attempts_total": Metric(
        "counter", ("target", "failure"), "Attempts at a target; `failure` is empty where it succeeded."
    ),
    "ecotone_attempt_duration_seconds": Metric("histogram", ("target",), "Seconds that attempts took.", _LONG_S),
    "ecotone_refused_total": Metric(
        "counter", ("code",), "Requests refused at the door (key, size, form, no room), by error code."
    ),
    "ecotone_overhead_seconds": Metric(
        "histogram", (), "Seconds from arrival to sending to the first target: what the site itself adds.", _SHORT_S
    ),
    "ecotone_egress_bytes_total": Metric("counter", ("target",), "Bytes of request bodies that left the site."),
    "ecotone_answer_bytes_total": Metric("counter", ("target",), "Bytes of answers given to callers."),
    "ecotone_cost_usd_total": Metric("counter", ("target",), "US dollars for billed attempts."),
    "ecotone_surrogates_total": Metric(
        "counter",
        ("target", "what"),
        "Surrogates in answers: `restored` to the value, or `left` as they came because that was not certain.",
    ),
    "ecotone_guard_refusals": Metric(
        "gauge", ("kind",), "What in this process, besides the doors, wanted to reach the network and was refused."
    ),
    "ecotone_breaker_state": Metric("gauge", ("target",), "A target's breaker: 0 closed, 1 half-open, 2 open."),
    "ecotone_aside_total": Metric(
        "counter",
        ("purpose", "target", "ending"),
        "Requests of the site's own that compare answers (`shadow`, `judge`); not among `ecotone_requests_total`.",
    ),
    "ecotone_promise": Metric(
        "gauge", ("model",), "1 while a model name's promise of quality stands on a certificate, else 0."
    ),
    "ecotone_pairs": Metric("gauge", ("model",), "Pairs of answers compared since the site learns for this name."),
    "ecotone_learning_usd": Metric("gauge", (), "US dollars today for comparing answers in the cloud."),
    "ecotone_link_state": Metric("gauge", ("target",), "The link to a target: 0 up, 1 degraded, 2 down."),
    "ecotone_site_link_state": Metric(
        "gauge", (), "The site's link, that of its cloud targets together: 0 up, 1 degraded, 2 down."
    ),
    "ecotone_hub": Metric(
        "gauge",
        ("state",),
        "1 for how a site that has joined stands with its hub: `starting`, `up`, `down`, `refused` (its key), `held` "
        "(by policy, a window or a budget).",
    ),
    "ecotone_hub_generation": Metric(
        "gauge", ("what",), "What the hub wants here: as it says (`wanted`), and as was verified (`verified`)."
    ),
    "ecotone_hub_reports_waiting": Metric("gauge", (), "Reports to the hub that have not gone."),
    "ecotone_jobs": Metric("gauge", ("state",), "Jobs by state; ended ones as long as they are kept."),
    "ecotone_in_flight": Metric("gauge", (), "Requests being served."),
    "ecotone_connections": Metric("gauge", (), "Open connections of callers."),
}
"""Every metric of `GET /metrics`, besides Python's own `process_*`."""

OPERATIONS: Final = {
    Endpoint.CHAT.value: "chat",
    Endpoint.COMPLETIONS.value: "text_completion",
    Endpoint.EMBEDDINGS.value: "embeddings",
}
"""OpenTelemetry's `gen_ai.operation.name` by endpoint."""

BREAKER: Final = {"closed": 0.0, "half_open": 1.0, "open": 2.0}
"""The value of `ecotone_breaker_state` by the breaker's state."""


class _Value:
    """One number of a counter or gauge."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0.0


class _Histogram:
    """One distribution."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def buckets(self) -> list[tuple[str, float]]:
        """Cumulative counts by upper bound, as Prometheus has them."""
        bounds = [*(str(bound) for bound in self.bounds), "+Inf"]
        seen, cumulative = 0, []
        for bound, count in zip(bounds, self.counts, strict=True):
            seen += count
            cumulative.append((bound, float(seen)))
        return cumulative


class _Cell:
    """What requests of one kind add to, found by one look-up."""

    __slots__ = ("answer", "cost", "duration", "egress", "requests", "tokens_in", "tokens_out", "tpot", "ttft")

    def __init__(self, metrics: Metrics, outcome: Outcome, model: str) -> None:
        target = outcome.target
        gen_ai = (OPERATIONS.get(outcome.endpoint, outcome.endpoint), target, model)
        count, spread = metrics.counter, metrics.histogram
        self.requests = count("ecotone_requests_total", (model, target, outcome.at, outcome.ending, outcome.reason))
        self.duration = spread("gen_ai_server_request_duration_seconds", (*gen_ai, outcome.failure))
        self.ttft = spread("gen_ai_server_time_to_first_token_seconds", gen_ai)
        self.tpot = spread("gen_ai_server_time_per_output_token_seconds", gen_ai)
        self.tokens_in = spread("gen_ai_client_token_usage", (*gen_ai, "input"))
        self.tokens_out = spread("gen_ai_client_token_usage", (*gen_ai, "output"))
        self.egress = count("ecotone_egress_bytes_total", (target,))
        self.answer = count("ecotone_answer_bytes_total", (target,))
        self.cost = count("ecotone_cost_usd_total", (target,))


class Metrics:
    """Counts outcomes (`ports.Telemetry`) and gives them as Prometheus text."""

    def __init__(self, log: Callable[[Outcome], None] | None = log_outcome) -> None:
        """`log` is told of each outcome too."""
        self._log = log
        self._values: dict[str, dict[Labels, _Value]] = {}
        self._histograms: dict[str, dict[Labels, _Histogram]] = {}
        self._cells: dict[tuple[str, ...], _Cell] = {}
        self._watched: dict[str, Callable[[], float | Mapping[str, float]]] = {}
        self._registry: CollectorRegistry | None = None
        self._overhead = self.histogram("ecotone_overhead_seconds", ())

    # ports.Telemetry

    def ended(self, outcome: Outcome) -> None:
        """See `ports.Telemetry.ended`."""
        if outcome.purpose:
            self._aside(outcome)
            return
        model = OTHER if outcome.failure == "model_not_found" else outcome.model
        key = (model, outcome.target, outcome.at, outcome.ending, outcome.reason, outcome.endpoint, outcome.failure)
        cell = self._cells.get(key)
        if cell is None:
            cell = self._cell(key, outcome, model)
        cell.requests.value += 1
        cell.duration.observe(outcome.total_s)
        if outcome.ttft_s is not None:
            cell.ttft.observe(outcome.ttft_s)
            if outcome.is_stream and outcome.output_tokens > 1 and outcome.ending == "answered":
                cell.tpot.observe((outcome.total_s - outcome.ttft_s) / (outcome.output_tokens - 1))
        if outcome.input_tokens:
            cell.tokens_in.observe(outcome.input_tokens)
        if outcome.output_tokens:
            cell.tokens_out.observe(outcome.output_tokens)
        cell.answer.value += outcome.answer_bytes
        cell.egress.value += outcome.egress_bytes
        cell.cost.value += outcome.cost_usd
        if outcome.overhead_s > 0:
            self._overhead.observe(outcome.overhead_s)
        if outcome.restored or outcome.unrestored:
            self.counter("ecotone_surrogates_total", (outcome.target, "restored")).value += outcome.restored
            self.counter("ecotone_surrogates_total", (outcome.target, "left")).value += outcome.unrestored
        if self._log is not None:
            self._log(outcome)

    def _aside(self, outcome: Outcome) -> None:
        """A request of the site's own: what left and what it cost counts as any other's, and nothing else."""
        self.counter("ecotone_aside_total", (outcome.purpose, outcome.target, outcome.ending)).value += 1
        self.counter("ecotone_egress_bytes_total", (outcome.target,)).value += outcome.egress_bytes
        self.counter("ecotone_cost_usd_total", (outcome.target,)).value += outcome.cost_usd

    def attempted(self, target: str, failure: str, took_s: float) -> None:
        """See `ports.Telemetry.attempted`."""
        self.counter("ecotone_attempts_total", (target, failure)).value += 1
        self.histogram("ecotone_attempt_duration_seconds", (target,)).observe(took_s)

    def condition(self, target: str, condition: Condition) -> None:
        """See `ports.Telemetry.condition`."""
        self.counter("ecotone_breaker_state", (target,)).value = BREAKER.get(condition.breaker, 2.0)

    # For the gateway and for runtime.

    def refused(self, code: str) -> None:
        """Counts a request that was refused at the door."""
        self.counter("ecotone_refused_total", (code,)).value += 1

    def watch(self, name: str, read: Callable[[], float | Mapping[str, float]]) -> None:
        """A gauge of the table is read by this when somebody asks; one with a label gives a number for each."""
        assert METRICS[name].kind == "gauge", name
        self._watched[name] = read

    def text(self) -> bytes:
        """All of it, in Prometheus's text format."""
        from prometheus_client import CollectorRegistry, generate_latest
        from prometheus_client.process_collector import ProcessCollector

        if self._registry is None:
            self._registry = CollectorRegistry()
            self._registry.register(self)
            ProcessCollector(registry=self._registry)
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Family]:
        """Everything, as prometheus_client wants it."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

        for name, metric in METRICS.items():
            if metric.kind == "histogram":
                spread = HistogramMetricFamily(name, metric.help, labels=metric.labels)
                for labels, histogram in self._histograms.get(name, {}).items():
                    spread.add_metric(labels, histogram.buckets(), histogram.total)
                yield spread
                continue
            make: Any = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
            family = make(name, metric.help, labels=metric.labels)
            for labels, value in self._numbers(name):
                family.add_metric(labels, value)
            yield family

    def _numbers(self, name: str) -> Iterator[tuple[Labels, float]]:
        """A counter's or gauge's label sets and values; what is watched counts more than what was told."""
        read = self._watched.get(name)
        if read is None:
            yield from ((labels, held.value) for labels, held in self._values.get(name, {}).items())
            return
        seen = read()
        if isinstance(seen, Mapping):
            yield from (((label,), value) for label, value in seen.items())
        else:
            yield (), seen

    def counter(self, name: str, labels: Labels) -> _Value:
        """The number of a counter or gauge with these labels; made at first use."""
        known = self._values.setdefault(name, {})
        held = known.get(labels)
        if held is None:
            held = known.setdefault(_bounded(labels, known), _Value())
        return held

    def histogram(self, name: str, labels: Labels) -> _Histogram:
        """The distribution with these labels; made at first use."""
        known = self._histograms.setdefault(name, {})
        held = known.get(labels)
        if held is None:
            held = known.setdefault(_bounded(labels, known), _Histogram(METRICS[name].buckets))
        return held

    def _cell(self, key: tuple[str, ...], outcome: Outcome, model: str) -> _Cell:
        cell = _Cell(self, outcome, model)
        if len(self._cells) < SERIES_MAX:
            self._cells[key] = cell
        return cell


def _bounded(labels: Labels, known: dict[Labels, Any]) -> Labels:
    return labels if len(known) < SERIES_MAX else (OTHER,) * len(labels)
