"""Signed notes, to the byte."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.store.made import SIGNER, made

from ecotone.store import merkle, notes

TREE = merkle.Tree()
for _number in range(5):
    TREE.append(b"%d" % _number)
RAW = SIGNER.note(5, TREE.root(), {"peaks": notes.joined(TREE.peaks)})


def test_a_note_is_read_back() -> None:
    note = notes.parse(RAW)
    assert note is not None
    assert (note.origin, note.size, note.root, note.raw) == (SIGNER.origin, 5, TREE.root(), RAW)
    assert [name for name, _ in note.signatures] == [SIGNER.origin]
    tree = note.tree()
    assert tree is not None
    assert (tree.size, tree.peaks) == (5, TREE.peaks)


@pytest.mark.parametrize(
    "bent",
    [
        b"",
        RAW[:-1],
        RAW + b"x",
        RAW + b"\n",
        RAW.replace(b"\n5\n", b"\n05\n"),
        RAW.replace(b"\n5\n", b"\n-5\n"),
        RAW.replace(b"=\n", b"\n", 1),
        RAW.replace(b"peaks ", b"peaks", 1),
        RAW.replace("— ".encode(), b"- "),
        RAW.replace(b"clinic", b"\xff", 1),
        RAW.replace(b"\n\n", b"\npeaks twice\n\n"),
        b"\n" + RAW,
        RAW[: RAW.index(b"\n\n") + 2],
        b"a\n1\n" + b"AAAA\n\n" + RAW.partition(b"\n\n")[2],
    ],
)
def test_what_is_not_a_note_to_the_byte_is_none(bent: bytes) -> None:
    assert notes.parse(bent) is None


def test_peaks_must_be_those_of_the_root() -> None:
    for more in (
        {},
        {"peaks": "x"},
        {"peaks": notes.joined(TREE.peaks[:1])},
        {"peaks": notes.joined(TREE.peaks[::-1])},
    ):
        note = notes.parse(SIGNER.note(5, TREE.root(), more))
        assert note is not None
        assert note.tree() is None


def test_kept_notes_may_stand_alone_or_together() -> None:
    other = SIGNER.note(6, b"r" * 32)
    assert [note.size for note in notes.parse_all(RAW) or []] == [5]
    assert [note.size for note in notes.parse_all(RAW + b"\n" + other + b"\n") or []] == [5, 6]
    assert notes.parse_all(RAW + b"\nrubbish") is None
    assert notes.parse_all(b"rubbish") is None
    assert notes.parse_all(b"") is None


def test_a_file_of_notes_is_read_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notes, "_BLOCK_BYTES", 700)
    made(tmp_path, 60)
    path = tmp_path / "checkpoints"
    found = list(notes.read(path))
    assert [note.size for _, note in found if note] == sorted([*range(3, 61, 3), *range(4, 60, 4)])
    assert found[-1][0] == path.stat().st_size
    assert [end for end, _ in notes.read(path, found[3][0])] == [end for end, _ in found[4:]]
    assert [end for end, _ in notes.read(path, 0, found[3][0])] == [end for end, _ in found[:4]]
    newest = notes.last(path, lambda _: True)
    assert newest is not None
    assert newest.size == 60
    for wanted in (3, 4, 30, 56):
        note = notes.last(path, lambda note, wanted=wanted: note.size == wanted)  # type: ignore[misc]
        assert note is not None
        assert note.size == wanted
    assert notes.last(path, lambda _: False) is None
    assert notes.end_of(path, lambda note: note.size <= 3) == found[0][0]
    assert notes.end_of(path, lambda _: False) == 0


def test_a_broken_end_is_told_and_a_huge_one_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "checkpoints"
    path.write_bytes(RAW + b"\n" + RAW[:50])
    assert [note is None for _, note in notes.read(path)] == [False, True]
    path.write_bytes(b"x" * (10 * notes.NOTE_BYTES_MAX))
    assert [note for _, note in notes.read(path)] == [None]
    path.write_bytes(b"x\n\ny\n\n" + RAW + b"\n")
    assert [note is None for _, note in notes.read(path)] == [True, False]


def test_a_note_that_is_being_written_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "checkpoints"
    content = RAW + b"\n" + SIGNER.note(6, b"r" * 32) + b"\n" + SIGNER.note(7, b"r" * 32) + b"\n"
    end = len(RAW) + 40
    path.write_bytes(content[:end])
    monkeypatch.setattr("ecotone.store.notes.time.sleep", lambda _: path.write_bytes(content))
    assert [note.size for _, note in notes.read(path, 0, end) if note] == [5, 6]
