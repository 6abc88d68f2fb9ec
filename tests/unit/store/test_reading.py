"""Finding entries without reading all of a ledger."""

from __future__ import annotations

from pathlib import Path

import pytest

from ecotone.store import chain, find, last, reading

START_MS = 1_790_000_000_000


def request_id(at_ms: int, number: int = 0) -> str:
    return f"req-{at_ms:011x}{number:08x}"


def made(folder: Path, counts: list[int], step_ms: int = 1000, pad: int = 0) -> None:
    """Segments with so many entries each, one every `step_ms`, each of a request of its own."""
    prev, seq = chain.NOTHING, 0
    for count in counts:
        lines = []
        for _ in range(count):
            at_ms = START_MS + seq * step_ms
            body = b'{"request":"%b","pad":"%b"}' % (request_id(at_ms, seq).encode(), b"x" * pad)
            text, prev = chain.line(seq, at_ms, b"outcome" if seq % 7 == 0 else b"placed", body, prev)
            lines.append(text)
            seq += 1
        (folder / f"{seq - count:016d}.jsonl").write_bytes(b"".join(lines))


@pytest.mark.parametrize("pad", [0, 3000])
def test_every_entry_is_found_by_its_request(tmp_path: Path, pad: int) -> None:
    made(tmp_path, [900, 1, 700], pad=pad)
    for seq in range(0, 1601, 37):
        found = find(tmp_path, request_id(START_MS + seq * 1000, seq))
        assert [entry.seq for entry in found] == [seq]


def test_entries_far_later_are_not_looked_at(tmp_path: Path) -> None:
    made(tmp_path, [30_000], pad=200)
    wanted = request_id(START_MS + 29_999_000, 29_999)
    assert len(find(tmp_path, wanted)) == 1
    early = f"req-{START_MS:011x}" + wanted[15:]
    assert find(tmp_path, early, span_s=60.0) == []


def test_a_strange_id_is_looked_for_everywhere(tmp_path: Path) -> None:
    text, _ = chain.line(0, START_MS, b"placed", b'{"request":"my \\"id\\""}', chain.NOTHING)
    (tmp_path / "0000000000000000.jsonl").write_bytes(text + b'{"request":"my \\"id\\""')
    assert [entry.seq for entry in find(tmp_path, 'my "id"')] == [0]
    assert find(tmp_path, "req-none") == []


def test_an_id_in_another_place_is_no_find(tmp_path: Path) -> None:
    body = b'{"deep":{"request":"req-x"}}'
    (tmp_path / "0000000000000000.jsonl").write_bytes(chain.line(0, 1, b"placed", body, chain.NOTHING)[0])
    assert find(tmp_path, "req-x") == []


def test_the_time_of_an_id() -> None:
    assert reading.request_ms(request_id(START_MS)) == START_MS
    assert reading.request_ms("req-xyz") is None


def test_the_last_of_a_kind_is_looked_for_from_the_end(tmp_path: Path) -> None:
    made(tmp_path, [20, 5])
    assert last(tmp_path, "outcome").seq == 21
    assert last(tmp_path, "placed").seq == 24
    assert last(tmp_path, "egress") is None
    assert last(tmp_path, "outcome", bytes_max=500) is None
    (tmp_path / "0000000000000020.jsonl").unlink()
    assert last(tmp_path, "outcome").seq == 14


def test_lines_longer_than_a_probe_are_no_obstacle(tmp_path: Path) -> None:
    made(tmp_path, [12], step_ms=600_000, pad=200_000)
    for seq in range(12):
        assert len(find(tmp_path, request_id(START_MS + seq * 600_000, seq))) == 1


def test_damaged_lines_do_not_stop_a_search(tmp_path: Path) -> None:
    made(tmp_path, [3000], pad=300)
    path = tmp_path / "0000000000000000.jsonl"
    text = bytearray(path.read_bytes())
    text[len(text) // 2 : len(text) // 2 + 40_000] = b"\0" * 40_000
    path.write_bytes(text)
    assert len(find(tmp_path, request_id(START_MS + 1000, 1))) == 1
