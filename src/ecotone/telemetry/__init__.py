"""What an operator sees: metrics and logs, without content and without secrets."""

from ecotone.telemetry.logs import drain_logs, log_outcome, say, set_up_logs
from ecotone.telemetry.metrics import BREAKER, METRICS, Metric, Metrics

__all__ = ["BREAKER", "METRICS", "Metric", "Metrics", "drain_logs", "log_outcome", "say", "set_up_logs"]
