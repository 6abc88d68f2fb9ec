"""One pass over a ledger."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from tests.unit.store.made import made

from ecotone import store
from ecotone.store import chain
from ecotone.store.walking import Walk


def test_entries_of_the_kinds_asked_for_pass_by_in_order(tmp_path: Path) -> None:
    made(tmp_path, 10)
    read: list[int] = []
    walk = Walk(tmp_path, ["egress"], advanced=read.append)
    seqs = [entry.seq for entry in walk]
    lines = [line for path in sorted(tmp_path.glob("*.jsonl")) for line in path.read_bytes().splitlines()]
    assert seqs == [seq for seq, line in enumerate(lines) if b'"kind":"egress"' in line]
    assert sum(read) == walk.size_bytes == sum(path.stat().st_size for path in tmp_path.glob("*.jsonl"))
    assert (walk.entries, walk.unreadable) == (10, 0)


def test_a_span_of_time_is_half_open(tmp_path: Path) -> None:
    made(tmp_path, 10)
    times = {entry.seq: entry.at_ms for entry in Walk(tmp_path, ["egress", "checkpoint"])}
    walk = Walk(tmp_path, ["egress", "checkpoint"], since_ms=times[2], until_ms=times[7])
    assert [entry.seq for entry in walk] == [2, 3, 4, 5, 6]


def test_single_segments_are_read_as_given(tmp_path: Path) -> None:
    made(tmp_path, 10)
    segments = sorted(tmp_path.glob("*.jsonl"))
    assert [entry.seq for entry in Walk(segments[1:2], ["egress", "checkpoint"])] == [4, 5, 6, 7]


def test_what_is_no_entry_is_counted_and_passed_over(tmp_path: Path) -> None:
    made(tmp_path, 4)
    (path,) = tmp_path.glob("*.jsonl")
    whole = path.read_bytes()
    path.write_bytes(
        b"\n" + b"x" * (3 * chain.LINE_BYTES_MAX) + b"\n" + whole + b'{"v":1,"seq":9,"at_ms":1,"kind":"egress","bo'
    )
    walk = Walk(tmp_path, ["egress", "checkpoint"])
    assert [entry.seq for entry in walk] == [0, 1, 2, 3]
    assert walk.unreadable >= 3


def test_a_ledger_can_be_walked_while_it_is_written(tmp_path: Path) -> None:
    async def write() -> list[str]:
        ledger = store.Ledger.open(tmp_path, "clinic-7")
        ledger.note("placed", {"request": "r1"})
        await ledger.flush()
        seen = [bytes(entry.body).decode() for entry in Walk(tmp_path / store.FOLDER, ["placed"])]
        ledger.close()
        return seen

    assert asyncio.run(write()) == ['{"request":"r1"}']


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Walk(tmp_path / "none", ["egress"])
