"""What an operator sees: metrics and logs, without content and without secrets."""

from ecotone.telemetry.logs import log_outcome, set_up_logs
from ecotone.telemetry.metrics import METRICS, Metric, Metrics

__all__ = ["METRICS", "Metric", "Metrics", "log_outcome", "set_up_logs"]
