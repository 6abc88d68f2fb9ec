"""`telemetry.outlet`: a stream that nobody reads stops nobody."""

from __future__ import annotations

import io
import json
import logging
import os
import select
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import pytest

from ecotone.telemetry import drain_logs, say, set_up_logs
from ecotone.telemetry.outlet import Outlet


class Pipe:
    """A pipe of one page, and what was read of it."""

    def __init__(self) -> None:
        import fcntl

        self.reader, writer = os.pipe()
        os.set_blocking(self.reader, False)
        fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
        self.out = os.fdopen(writer, "w")

    def read(self) -> bytes:
        try:
            return os.read(self.reader, 1 << 20)
        except BlockingIOError:
            return b""

    def close(self) -> None:
        self.out.close()
        if self.reader >= 0:
            os.close(self.reader)
            self.reader = -1


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    made = Pipe()
    yield made
    made.close()


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    kept, level = root.handlers[:], root.level
    yield
    logging.captureWarnings(False)
    root.handlers[:] = kept
    root.setLevel(level)


def test_lines_come_whole_and_in_order_however_slowly_somebody_reads(pipe: Pipe) -> None:
    outlet = Outlet(pipe.out)
    lines = [f"{number} " + "x" * (number * 37 % 900) for number in range(200)]
    outlet.write(lines)
    assert outlet.is_behind
    seen = b""
    while outlet.is_behind:
        piece = pipe.read()
        assert piece.endswith(b"\n"), "no line is cut"
        seen += piece
        outlet.flush()
    seen += pipe.read()
    assert seen.decode().splitlines() == lines
    assert outlet.lost == 0


def test_a_line_longer_than_the_pipe_comes_in_pieces(pipe: Pipe) -> None:
    outlet = Outlet(pipe.out)
    outlet.write(["y" * 10_000])
    seen = pipe.read()
    while outlet.is_behind:
        outlet.flush()
        seen += pipe.read()
    assert seen == b"y" * 10_000 + b"\n"


def test_beyond_the_bound_lines_are_lost_and_counted(pipe: Pipe) -> None:
    outlet = Outlet(pipe.out, unread_bytes_max=1000)
    outlet.write(["a" * 4000])
    assert (outlet.lost, outlet.is_behind) == (1, False), "it is longer than all that may wait"
    outlet.write(["b" * 99] * 60)
    assert outlet.is_behind
    kept = 60 + 1 - outlet.lost
    seen = pipe.read()
    outlet.flush()
    seen += pipe.read()
    assert seen == (b"b" * 99 + b"\n") * kept
    assert 5 < kept < 60


def test_a_reader_who_has_gone_takes_all_with_him(pipe: Pipe) -> None:
    outlet = Outlet(pipe.out)
    outlet.write(["c" * 3000, "d" * 3000])
    os.close(pipe.reader)
    pipe.reader = -1
    outlet.flush()
    assert (outlet.lost, outlet.is_behind) == (1, False)
    outlet.write(["e"])
    assert outlet.lost == 2


@pytest.mark.parametrize("kind", ["file", "memory", "closed"])
def test_what_never_makes_anybody_wait_is_written_at_once(tmp_path: Path, kind: str) -> None:
    out: TextIO = io.StringIO() if kind == "memory" else (tmp_path / "log").open("w")
    if kind == "closed":
        out.close()
    outlet = Outlet(out)
    outlet.write(["one", "two"])
    assert not outlet.is_behind
    if isinstance(out, io.StringIO):
        assert out.getvalue() == "one\ntwo\n"
    else:
        assert (tmp_path / "log").read_text() == ("" if kind == "closed" else "one\ntwo\n")
        out.close()


def test_where_streams_cannot_be_asked_they_are_written_as_they_are(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(select, "poll")
    Outlet(pipe.out).write(["there"])
    assert pipe.read() == b"there\n"


def test_a_log_that_nobody_reads_stops_nobody_and_says_later_what_was_lost(pipe: Pipe) -> None:
    set_up_logs("info", "json", pipe.out)
    for number in range(4000):
        logging.getLogger("ecotone").info("line %d %s", number, "z" * 60)
    drain_logs()
    told: list[str] = []
    rest = b""
    while piece := pipe.read():
        rest += piece
        drain_logs()
    told = [json.loads(line)["message"] for line in rest.splitlines()]
    (index,) = [
        index for index, words in enumerate(told) if words.endswith("lines of this log were lost: nobody read it")
    ]
    kept = [words for words in told if words.startswith("line ")]
    assert kept == [f"line {number} {'z' * 60}" for number in range(len(kept))]
    assert int(told[index].split()[0]) == 4000 - len(kept) > 0


def test_what_is_said_on_standard_output_may_be_lost(pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout", pipe.out)
    say("hello\nthere")
    assert pipe.read() == b"hello\nthere\n"
    os.set_blocking(pipe.out.fileno(), False)
    os.write(pipe.out.fileno(), bytes(4096))
    os.set_blocking(pipe.out.fileno(), True)
    say("nobody hears this")
    assert pipe.read() == bytes(4096)
