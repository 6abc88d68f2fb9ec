"""The site's own log on standard error: JSON lines, or text on a terminal. No content, no secrets.

One line for each request at `info`, from its outcome; the rest comes through `logging` as usual.
"""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime
from typing import Any, Final, TextIO

import msgspec

from ecotone.values import Outcome

REQUESTS: Final = "ecotone.request"
"""The logger of the line that each request gets."""

MODEL_CHARS_MAX: Final = 64
"""A model name comes from the caller; so much of it is logged."""

_QUIET: Final = ("asyncio", "uvicorn", "httpx", "httpcore")
"""Libraries that are heard from `warning` on."""


def set_up_logs(level: str, form: str, stream: TextIO | None = None) -> None:
    """Sends all logging, and Python's warnings, to one stream. Calling it again replaces what was set up.

    Args:
        level: `debug`, `info`, `warning` or `error`.
        form: `text`, `json`, or `auto`: text where the stream is a terminal.
        stream: Standard error by default.
    """
    out = stream or sys.stderr
    is_text = form == "text" or (form == "auto" and out.isatty())
    handler = logging.StreamHandler(out)
    handler.setFormatter(_Text() if is_text else _Json())
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level.upper())
    for name in _QUIET:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
    logging.captureWarnings(True)


def log_outcome(outcome: Outcome) -> None:
    """Writes the line of one request."""
    logger = logging.getLogger(REQUESTS)
    if not logger.isEnabledFor(logging.INFO):
        return
    # Made here and not by logger.info: looking for the calling line is half of what a line costs.
    record = logging.LogRecord(REQUESTS, logging.INFO, "", 0, "request", None, None)
    record.fields = _fields(outcome)
    logger.handle(record)


def _fields(outcome: Outcome) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "id": outcome.request,
        "endpoint": outcome.endpoint,
        "model": outcome.model[:MODEL_CHARS_MAX],
        "target": outcome.target,
        "placed": outcome.at,
        "reason": outcome.reason,
        "ending": outcome.ending,
        "status": outcome.status,
        "total_ms": round(outcome.total_s * 1e3, 3),
        "overhead_ms": round(outcome.overhead_s * 1e3, 3),
        "input_tokens": outcome.input_tokens,
        "output_tokens": outcome.output_tokens,
    }
    if outcome.ttft_s is not None:
        fields["ttft_ms"] = round(outcome.ttft_s * 1e3, 3)
    if outcome.failure:
        fields["failure"] = outcome.failure
    if outcome.key:
        fields["key"] = outcome.key
    if outcome.egress_bytes:
        fields["egress_bytes"] = outcome.egress_bytes
        fields["cost_usd"] = round(outcome.cost_usd, 9)
    if outcome.attempts:
        fields["failed_attempts"] = [f"{attempt.target}={attempt.failure}" for attempt in outcome.attempts]
    return fields


class _Json(logging.Formatter):
    """One JSON object per line."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line.update(getattr(record, "fields", {}))
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line).decode()


class _Text(logging.Formatter):
    """For a person at a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        at = datetime.fromtimestamp(record.created).astimezone().strftime("%H:%M:%S")
        words = f"{at} {record.levelname.lower():7} {record.name.removeprefix('ecotone.')}: {record.getMessage()}"
        fields: dict[str, Any] = getattr(record, "fields", {})
        told = " ".join(f"{name}={_plain(value)}" for name, value in fields.items() if value not in ("", 0, []))
        if told:
            words = f"{words} {told}"
        if record.exc_info:
            words = f"{words}\n{self.formatException(record.exc_info)}"
        return words


def _plain(value: Any) -> str:
    """A value without control characters, which a terminal would obey."""
    text = ",".join(value) if isinstance(value, list) else str(value)
    return text if text.isprintable() else ascii(text)
