"""`telemetry.metrics`: what is counted, what it is called, and that labels are bounded."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from ecotone.telemetry import METRICS, Metrics, metrics
from ecotone.values import Condition, Outcome

ANSWERED = Outcome(
    request="req-1",
    model="assistant",
    endpoint="chat/completions",
    key="",
    ending="answered",
    reason="cloud.better",
    status=200,
    target="big",
    at="cloud",
    is_stream=True,
    ttft_s=0.2,
    total_s=1.2,
    overhead_s=0.0003,
    input_tokens=100,
    output_tokens=11,
    cost_usd=0.5,
    egress_bytes=700,
    answer_bytes=900,
)
GEN_AI = {"gen_ai_operation_name": "chat", "gen_ai_provider_name": "big", "gen_ai_request_model": "assistant"}


def changed(**more: Any) -> Outcome:
    return msgspec.structs.replace(ANSWERED, **more)


def samples(counted: Metrics) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """What a Prometheus server would read."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(counted.text().decode())
        for sample in family.samples
    }


def value(counted: Metrics, name: str, **labels: str) -> float | None:
    return samples(counted).get((name, frozenset(labels.items())))


def test_an_outcome_is_counted_under_every_name_that_it_touches() -> None:
    counted = Metrics(log=None)
    counted.ended(ANSWERED)
    counted.ended(changed(total_s=0.9))
    labels = {"model": "assistant", "target": "big", "placed": "cloud", "ending": "answered", "reason": "cloud.better"}
    assert value(counted, "ecotone_requests_total", **labels) == 2
    assert value(counted, "ecotone_egress_bytes_total", target="big") == 1400
    assert value(counted, "ecotone_cost_usd_total", target="big") == 1.0
    assert value(counted, "ecotone_answer_bytes_total", target="big") == 1800
    duration = "gen_ai_server_request_duration_seconds"
    assert value(counted, f"{duration}_count", **GEN_AI, error_type="") == 2
    assert value(counted, f"{duration}_sum", **GEN_AI, error_type="") == pytest.approx(2.1)
    assert value(counted, f"{duration}_bucket", **GEN_AI, error_type="", le="0.64") == 0
    assert value(counted, f"{duration}_bucket", **GEN_AI, error_type="", le="1.28") == 2
    assert value(counted, f"{duration}_bucket", **GEN_AI, error_type="", le="+Inf") == 2
    assert value(counted, "gen_ai_server_time_to_first_token_seconds_sum", **GEN_AI) == pytest.approx(0.4)
    # 1.0 s and 0.7 s for the ten tokens after the first.
    assert value(counted, "gen_ai_server_time_per_output_token_seconds_sum", **GEN_AI) == pytest.approx(0.17)
    assert value(counted, "gen_ai_client_token_usage_sum", **GEN_AI, gen_ai_token_type="input") == 200
    assert value(counted, "gen_ai_client_token_usage_sum", **GEN_AI, gen_ai_token_type="output") == 22
    assert value(counted, "ecotone_overhead_seconds_count") == 2


def test_a_request_without_an_answer_has_no_first_token() -> None:
    counted = Metrics(log=None)
    counted.ended(changed(ending="failed", failure="dns", ttft_s=None, output_tokens=0, input_tokens=0, overhead_s=0.0))
    found = {name for (name, _), number in samples(counted).items() if number and name.endswith("_count")}
    assert found == {"gen_ai_server_request_duration_seconds_count"}
    assert value(counted, "gen_ai_server_request_duration_seconds_count", **GEN_AI, error_type="dns") == 1


@pytest.mark.parametrize("change", [{"is_stream": False}, {"output_tokens": 1}, {"ending": "left"}])
def test_time_per_token_is_taken_from_whole_streams_only(change: dict[str, Any]) -> None:
    counted = Metrics(log=None)
    counted.ended(changed(**change))
    assert value(counted, "gen_ai_server_time_per_output_token_seconds_count", **GEN_AI) == 0


def test_attempts_refusals_and_breakers_are_counted() -> None:
    counted = Metrics(log=None)
    counted.attempted("big", "", 0.5)
    counted.attempted("big", "dns", 0.1)
    counted.refused("auth.missing_key")
    counted.condition("big", Condition(breaker="open"))
    assert value(counted, "ecotone_attempts_total", target="big", failure="dns") == 1
    assert value(counted, "ecotone_attempts_total", target="big", failure="") == 1
    assert value(counted, "ecotone_attempt_duration_seconds_count", target="big") == 2
    assert value(counted, "ecotone_refused_total", code="auth.missing_key") == 1
    assert value(counted, "ecotone_breaker_state", target="big") == 2
    counted.condition("big", Condition(breaker="closed"))
    assert value(counted, "ecotone_breaker_state", target="big") == 0


def test_surrogates_are_counted_by_what_became_of_them() -> None:
    counted = Metrics(log=None)
    counted.ended(changed(restored=2, unrestored=1))
    counted.ended(changed(restored=1))
    assert value(counted, "ecotone_surrogates_total", target="big", what="restored") == 3
    assert value(counted, "ecotone_surrogates_total", target="big", what="left") == 1


def test_requests_of_the_sites_own_are_counted_apart() -> None:
    counted = Metrics(log=None)
    counted.ended(changed(purpose="shadow", target="big", cost_usd=0.25, egress_bytes=100))
    assert value(counted, "ecotone_aside_total", purpose="shadow", target="big", ending="answered") == 1
    assert value(counted, "ecotone_cost_usd_total", target="big") == 0.25
    assert value(counted, "ecotone_egress_bytes_total", target="big") == 100
    assert b"ecotone_requests_total{" not in counted.text()


def test_watched_gauges_are_read_when_somebody_asks() -> None:
    counted = Metrics(log=None)
    now = {"in_flight": 3.0}
    counted.watch("ecotone_in_flight", lambda: now["in_flight"])
    counted.watch("ecotone_breaker_state", lambda: {"big": 2.0, "small": 0.0})
    assert value(counted, "ecotone_in_flight") == 3
    now["in_flight"] = 4.0
    assert value(counted, "ecotone_in_flight") == 4
    assert value(counted, "ecotone_breaker_state", target="small") == 0


def test_a_model_name_that_nobody_serves_is_no_label() -> None:
    counted = Metrics(log=None)
    for number in range(50):
        counted.ended(changed(model=f"made-up-{number}", failure="model_not_found", ending="refused", target=""))
    names = {dict(labels).get("model") for name, labels in samples(counted) if name == "ecotone_requests_total"}
    assert names == {"other"}


def test_label_sets_are_bounded_whatever_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "SERIES_MAX", 20)
    counted = Metrics(log=None)
    for number in range(200):
        counted.ended(changed(reason=f"reason.{number}", target=f"t{number}"))
        counted.refused(f"code.{number}")
    found = samples(counted)
    refused = {labels: number for (name, labels), number in found.items() if name == "ecotone_refused_total"}
    assert len(refused) == 21
    assert refused[frozenset({("code", "other")})] == 180
    requests = {labels: number for (name, labels), number in found.items() if name == "ecotone_requests_total"}
    assert len(requests) == 21
    assert sum(requests.values()) == 200


def test_the_table_and_the_text_agree() -> None:
    counted = Metrics(log=None)
    counted.ended(changed(restored=2, unrestored=1))
    counted.attempted("big", "", 0.5)
    counted.refused("a")
    counted.condition("big", Condition())
    counted.watch("ecotone_in_flight", lambda: 0.0)
    counted.watch("ecotone_connections", lambda: 0.0)
    counted.watch("ecotone_guard_refusals", lambda: {"connect": 1.0})
    counted.watch("ecotone_jobs", lambda: {"waiting": 1.0})
    counted.watch("ecotone_link_state", lambda: {"big": 2.0})
    counted.watch("ecotone_site_link_state", lambda: 1.0)
    counted.watch("ecotone_promise", lambda: {"assistant": 1.0})
    counted.watch("ecotone_pairs", lambda: {"assistant": 9.0})
    counted.watch("ecotone_learning_usd", lambda: 0.5)
    counted.watch("ecotone_hub", lambda: {"up": 1.0})
    counted.watch("ecotone_hub_generation", lambda: {"wanted": 3.0})
    counted.watch("ecotone_hub_reports_waiting", lambda: 2.0)
    counted.ended(changed(purpose="shadow"))
    families = {family.name: family for family in text_string_to_metric_families(counted.text().decode())}
    for name, metric in METRICS.items():
        family = families.pop(name.removesuffix("_total"))
        assert (family.type, family.documentation) == (metric.kind, metric.help)
        assert family.samples, name
        labels = {label for sample in family.samples for label in sample.labels} - {"le"}
        assert labels == set(metric.labels)
        assert (metric.kind == "histogram") == bool(metric.buckets)
        assert metric.kind != "counter" or name.endswith("_total")
    assert all(name.startswith("process_") for name in families), families


def test_each_outcome_is_passed_on_to_the_log() -> None:
    told: list[Outcome] = []
    Metrics(log=told.append).ended(ANSWERED)
    assert told == [ANSWERED]
