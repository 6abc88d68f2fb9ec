"""What a copy of a ledger proves."""

from __future__ import annotations

from pathlib import Path

import pytest

from ecotone.store import Head, chain, verify


def made(folder: Path, counts: list[int]) -> list[Path]:
    """Segments with so many entries each."""
    prev, seq, paths = chain.NOTHING, 0, []
    for count in counts:
        paths.append(folder / f"{seq:016d}.jsonl")
        lines = []
        for _ in range(count):
            text, prev = chain.line(seq, 1000 + seq, b"placed", b'{"n":%d}' % seq, prev)
            lines.append(text)
            seq += 1
        paths[-1].write_bytes(b"".join(lines))
    return paths


def test_a_whole_ledger_gives_its_head(tmp_path: Path) -> None:
    made(tmp_path, [3, 2, 4])
    (tmp_path / "0000000000000003.jsonl.10.torn").write_bytes(b"{")
    report = verify(tmp_path)
    assert report.is_whole
    assert (report.segments, report.entries, report.first_seq, report.last_seq) == (3, 9, 0, 8)
    assert (report.first_at_ms, report.last_at_ms, report.head.seq) == (1000, 1008, 8)
    assert report.side_files == ("0000000000000003.jsonl.10.torn",)
    assert verify(tmp_path, known=[report.head]).is_whole


def test_single_segments_may_be_checked_in_any_order(tmp_path: Path) -> None:
    paths = made(tmp_path, [3, 2, 4])
    assert verify(paths[1]).entries == 2
    assert verify([paths[2], paths[1]]).entries == 6
    assert verify([paths[0], paths[2]]).bad.why == "dropped"
    copy = paths[1].rename(tmp_path / "copy.txt")
    assert verify(copy).first_seq == 3
    assert verify([copy, paths[2]]).last_seq == 8


def test_a_segment_whose_first_entry_was_dropped_is_told_by_its_name(tmp_path: Path) -> None:
    path = made(tmp_path, [3, 3])[1]
    path.write_bytes(path.read_bytes().split(b"\n", 1)[1])
    bad = verify(path).bad
    assert (bad.why, bad.seq, bad.line, bad.file) == ("dropped", 3, 1, path.name)


def test_a_missing_segment_is_told(tmp_path: Path) -> None:
    paths = made(tmp_path, [3, 2, 4])
    paths[1].unlink()
    bad = verify(tmp_path).bad
    assert (bad.file, bad.line, bad.seq, bad.why) == (paths[2].name, 1, 3, "dropped")
    paths[0].unlink()
    assert verify(tmp_path).bad.why == "dropped"


@pytest.mark.parametrize("other", [4, 7])
def test_swapped_entries_are_told_from_dropped_ones(tmp_path: Path, other: int) -> None:
    paths = made(tmp_path, [6, 4])
    lines = b"".join(path.read_bytes() for path in paths).splitlines(keepends=True)
    lines[2], lines[other] = lines[other], lines[2]
    paths[0].write_bytes(b"".join(lines[:6]))
    paths[1].write_bytes(b"".join(lines[6:]))
    bad = verify(tmp_path).bad
    assert (bad.file, bad.line, bad.seq, bad.why) == (paths[0].name, 3, 2, "reordered")


def test_a_cut_or_rewritten_end_is_told_by_a_head_kept_elsewhere(tmp_path: Path) -> None:
    path = made(tmp_path, [5])[0]
    head = verify(tmp_path).head
    whole = path.read_bytes()
    path.write_bytes(b"".join(whole.splitlines(keepends=True)[:4]))
    assert verify(tmp_path).is_whole
    bad = verify(tmp_path, known=[head]).bad
    assert (bad.why, bad.seq) == ("dropped", 4)
    path.write_bytes(whole)
    bad = verify(tmp_path, known=[Head(2, "f" * 64)]).bad
    assert (bad.why, bad.seq, bad.line) == ("changed", 2, 3)


def test_a_torn_end_is_told(tmp_path: Path) -> None:
    path = made(tmp_path, [5])[0]
    path.write_bytes(path.read_bytes()[:-10])
    report = verify(tmp_path)
    assert (report.bad.why, report.bad.line, report.last_seq) == ("torn", 5, 3)


def test_a_line_without_end_does_not_fill_the_memory(tmp_path: Path) -> None:
    path = made(tmp_path, [2])[0]
    with path.open("ab") as file:
        file.truncate(path.stat().st_size + (64 << 20))
    assert verify(tmp_path).bad.why == "torn"


def test_nothing_is_not_whole(tmp_path: Path) -> None:
    assert verify(tmp_path).bad.why == "empty"
    with pytest.raises(FileNotFoundError):
        verify([])
    with pytest.raises(FileNotFoundError):
        verify(tmp_path / "nowhere")
