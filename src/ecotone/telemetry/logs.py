"""The site's own log on standard error: JSON lines, or text on a terminal. No content, no secrets.

One line for each request at `info`, from its outcome; the rest comes through `logging` as usual.
"""

from __future__ import annotations

import functools
import logging
import sys
import time
from datetime import UTC, datetime
from typing import Any, Final, TextIO

import msgspec

from ecotone.telemetry.outlet import Outlet
from ecotone.values import Outcome

REQUESTS: Final = "ecotone.request"
"""The logger of the line that each request gets."""

HELD_S: Final = 0.1
HELD_MAX: Final = 256

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
    handler = Lines(out, _Text() if is_text else _Json())
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level.upper())
    for name in _QUIET:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
    logging.captureWarnings(True)


class Lines(logging.Handler):
    """Writes lines together: what is said within `HELD_S`, at most `HELD_MAX` lines; from `warning` on at once.

    Somebody must call `drain_logs` now and then, or the last lines wait for the next one.
    """

    def __init__(self, out: TextIO, form: logging.Formatter) -> None:
        super().__init__()
        self.setFormatter(form)
        self._outlet = Outlet(out)
        self._lost = 0
        self._held: list[str] = []
        self._drained_s = 0.0

    def emit(self, record: logging.LogRecord) -> None:
        """Takes one record."""
        try:
            self.take(self.format(record), is_urgent=record.levelno >= logging.WARNING)
        except (ValueError, TypeError):
            self.handleError(record)

    def take(self, line: str, *, is_urgent: bool = False) -> None:
        """Takes one line that is made already."""
        held = self._held
        held.append(line)
        now_s = time.monotonic()
        if is_urgent or len(held) >= HELD_MAX or now_s - self._drained_s >= HELD_S:
            self._drained_s = now_s
            self.drain()

    def drain(self) -> None:
        """Writes what is held, as far as somebody reads. A log that cannot be written is no reason to fail or to wait.

        Lines that were lost are told of once there is a reader again.
        """
        held, self._held = self._held, []
        outlet = self._outlet
        if outlet.is_behind:
            outlet.flush()
        if outlet.lost > self._lost and not outlet.is_behind:
            words = f"{outlet.lost - self._lost} lines of this log were lost: nobody read it"
            self._lost = outlet.lost
            held.insert(0, self.format(logging.LogRecord(__name__, logging.WARNING, "", 0, words, None, None)))
        if held:
            outlet.write(held)

    def close(self) -> None:
        """Writes what is held."""
        self.drain()
        super().close()


def say(words: str) -> None:
    """Says something on standard output, if somebody reads it."""
    Outlet(sys.stdout).write([words])


def drain_logs() -> None:
    """Writes the lines that are held."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, Lines):
            handler.drain()


def log_outcome(outcome: Outcome) -> None:
    """Writes the line of one request."""
    logger = logging.getLogger(REQUESTS)
    if not logger.isEnabledFor(logging.INFO):
        return
    fields = _fields(outcome)
    handlers = logging.getLogger().handlers
    only = handlers[0] if len(handlers) == 1 else None
    if isinstance(only, Lines) and isinstance(only.formatter, _Json):
        # The hot path: a LogRecord and its way through `logging` would cost three times as much.
        only.take(_json_line(time.time(), "info", REQUESTS, "request", fields))
        return
    record = logging.LogRecord(REQUESTS, logging.INFO, "", 0, "request", None, None)
    record.fields = fields
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
        fields: dict[str, Any] = dict(getattr(record, "fields", {}))
        if record.exc_info:
            fields["trace"] = self.formatException(record.exc_info)
        return _json_line(record.created, record.levelname.lower(), record.name, record.getMessage(), fields)


def _json_line(at_s: float, level: str, logger: str, message: str, fields: dict[str, Any]) -> str:
    line = {"time": _instant(at_s), "level": level, "logger": logger, "message": message, **fields}
    return msgspec.json.encode(line).decode()


def _instant(at_s: float) -> str:
    """RFC 3339 in UTC with milliseconds."""
    whole = int(at_s)
    return f"{_second(whole)}.{int((at_s - whole) * 1000):03d}+00:00"


@functools.lru_cache(4)
def _second(whole_s: int) -> str:
    return datetime.fromtimestamp(whole_s, UTC).strftime("%Y-%m-%dT%H:%M:%S")


class _Text(logging.Formatter):
    """For a person at a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        at = datetime.fromtimestamp(record.created).astimezone().strftime("%H:%M:%S")
        # Words of others may be in it: they begin no line of their own, and a terminal obeys none of them.
        said = "".join(letter if letter.isprintable() else " " for letter in record.getMessage())
        words = f"{at} {record.levelname.lower():7} {record.name.removeprefix('ecotone.')}: {said}"
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
