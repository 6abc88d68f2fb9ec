"""`telemetry.logs`: one line per request, without content; JSON, or text on a terminal."""

from __future__ import annotations

import io
import json
import logging
import warnings
from collections.abc import Iterator

import msgspec
import pytest

from ecotone.telemetry import drain_logs, log_outcome, set_up_logs
from ecotone.values import Attempt, Outcome

OUTCOME = Outcome(
    request="req-1",
    model="assistant",
    endpoint="chat/completions",
    key="research",
    ending="answered",
    reason="fallback.dns",
    status=200,
    target="small",
    at="edge",
    ttft_s=0.25,
    total_s=1.5,
    input_tokens=10,
    attempts=(Attempt("big", "dns", 0.1),),
)


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    kept, level = root.handlers[:], root.level
    yield
    logging.captureWarnings(False)
    root.handlers[:] = kept
    root.setLevel(level)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_request_is_one_json_line_with_its_figures() -> None:
    out = io.StringIO()
    set_up_logs("info", "auto", out)
    log_outcome(OUTCOME)
    line = json.loads(out.getvalue())
    assert out.getvalue().count("\n") == 1
    assert line.pop("time").endswith("+00:00")
    assert line == {
        "level": "info",
        "logger": "ecotone.request",
        "message": "request",
        "id": "req-1",
        "endpoint": "chat/completions",
        "model": "assistant",
        "target": "small",
        "placed": "edge",
        "reason": "fallback.dns",
        "ending": "answered",
        "status": 200,
        "total_ms": 1500.0,
        "overhead_ms": 0.0,
        "ttft_ms": 250.0,
        "input_tokens": 10,
        "output_tokens": 0,
        "key": "research",
        "failed_attempts": ["big=dns"],
    }


def test_lines_are_written_together_and_warnings_at_once() -> None:
    out = io.StringIO()
    set_up_logs("info", "json", out)
    for _ in range(3):
        log_outcome(OUTCOME)
    logging.getLogger("ecotone").info("held too")
    assert out.getvalue().count("\n") < 4
    drain_logs()
    assert out.getvalue().count("\n") == 4
    log_outcome(OUTCOME)
    logging.getLogger("ecotone").warning("now")
    assert [json.loads(line)["message"] for line in out.getvalue().splitlines()][-2:] == ["request", "now"]


def test_money_and_egress_stand_there_where_something_left() -> None:
    out = io.StringIO()
    set_up_logs("info", "json", out)
    log_outcome(msgspec.structs.replace(OUTCOME, egress_bytes=5, cost_usd=0.25, failure="left", ttft_s=None))
    line = json.loads(out.getvalue())
    assert (line["egress_bytes"], line["cost_usd"], line["failure"]) == (5, 0.25, "left")
    assert "ttft_ms" not in line


def test_on_a_terminal_it_is_text_for_a_person() -> None:
    out = Terminal()
    set_up_logs("info", "auto", out)
    log_outcome(OUTCOME)
    logging.getLogger("ecotone.gateway").warning("slow %s", "disk")
    first, second = out.getvalue().splitlines()
    assert "request: request id=req-1" in first
    assert "failed_attempts=big=dns" in first
    assert "output_tokens" not in first
    assert second.endswith("warning gateway: slow disk")


def test_a_model_name_is_cut_and_cannot_steer_a_terminal() -> None:
    out = io.StringIO()
    set_up_logs("info", "text", out)
    log_outcome(msgspec.structs.replace(OUTCOME, model="\x1b[2J" + "x" * 500))
    assert "\x1b" not in out.getvalue()
    assert len(out.getvalue()) < 500


def test_the_level_holds_and_libraries_are_quiet() -> None:
    out = io.StringIO()
    set_up_logs("warning", "json", out)
    log_outcome(OUTCOME)
    logging.getLogger("ecotone").info("not this")
    assert out.getvalue() == ""
    set_up_logs("debug", "json", out)
    logging.getLogger("uvicorn.error").info("nor this")
    logging.getLogger("asyncio").debug("nor this")
    assert out.getvalue() == ""
    logging.getLogger("ecotone").debug("this")
    assert json.loads(out.getvalue())["message"] == "this"


def test_pythons_warnings_and_traces_are_logged_too() -> None:
    out = io.StringIO()
    set_up_logs("info", "json", out)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(True)
        warnings.warn("old", DeprecationWarning, stacklevel=1)
    try:
        raise ValueError("why")
    except ValueError:
        logging.getLogger("ecotone").exception("it failed")
    first, second = (json.loads(line) for line in out.getvalue().splitlines())
    assert (first["level"], first["logger"]) == ("warning", "py.warnings")
    assert "ValueError: why" in second["trace"]
    out = Terminal()
    set_up_logs("info", "auto", out)
    try:
        raise ValueError("why")
    except ValueError:
        logging.getLogger("ecotone").exception("it failed")
    assert "ValueError: why" in out.getvalue()
