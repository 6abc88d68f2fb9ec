"""What an operator sees: metrics and logs, without content and without secrets."""

from ecotone.telemetry.logs import drain_logs, log_outcome, set_up_logs
from ecotone.telemetry.metrics import METRICS, Metric, Metrics

__all__ = ["METRICS", "Metric", "Metrics", "drain_logs", "log_outcome", "set_up_logs"]
