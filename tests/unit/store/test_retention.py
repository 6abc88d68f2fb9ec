"""Removal by age: what remains can be verified, and only what a signed note names may be missing."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.store.made import DAY_MS, OTHER, SIGNER, made

from ecotone.store import Question, Trust, answered, notes, retention, verify
from ecotone.store.disk import Disk
from ecotone.store.signing import Verifier

KEYED = Trust((SIGNER.public,))
NOW_MS = 100 * DAY_MS


def pruned(folder: Path, days: int) -> retention.Removed | None:
    """Removes the segments of the first days."""
    keep = retention.first_to_keep(folder, days * DAY_MS)
    return retention.prune(folder, keep, SIGNER, Disk(), NOW_MS) if keep is not None else None


def test_what_remains_verifies_and_says_what_is_gone(tmp_path: Path) -> None:
    made(tmp_path, 22)
    (tmp_path / "0000000000000004.jsonl.10.torn").write_bytes(b"{")
    before = verify(tmp_path, trust=KEYED)
    removed = pruned(tmp_path, 2)
    assert removed == retention.Removed(8, removed.prev if removed else "", 0, DAY_MS + 7000, NOW_MS)
    assert sorted(path.name for path in tmp_path.iterdir())[:3] == [f"{seq:016d}.jsonl" for seq in (8, 12, 16)]
    for trust in (KEYED, Trust()):
        report = verify(tmp_path, trust=trust)
        assert report.is_whole, report.bad
        assert (report.first_seq, report.last_seq, report.attested.removed) == (8, 21, removed)
        assert report.attested.note == before.attested.note
        assert report.attested.unchecked > 0
    again = pruned(tmp_path, 4)
    assert again is not None
    assert (again.first_seq, again.from_ms, again.until_ms) == (16, 0, 3 * DAY_MS + 15_000)
    assert verify(tmp_path, trust=KEYED).is_whole
    assert pruned(tmp_path, 4) is None
    assert pruned(tmp_path, 99) is not None, "the open segment stays"
    assert verify(tmp_path, trust=KEYED).first_seq == 20


def test_a_kept_checkpoint_of_what_is_gone_still_fits_or_is_said_to_be_unchecked(tmp_path: Path) -> None:
    made(tmp_path, 22)
    outside = notes.parse_all((tmp_path / "checkpoints").read_bytes()) or []
    pruned(tmp_path, 2)
    report = verify(tmp_path, trust=Trust(KEYED.keys, (), tuple(outside)))
    assert report.is_whole, report.bad
    forged = notes.parse(OTHER.note(1, b"x" * 32))
    assert forged is not None
    bad = verify(tmp_path, trust=Trust(KEYED.keys, (), (forged,))).bad
    assert bad is not None
    assert bad.why == "checkpoint"


@pytest.mark.parametrize("how", ["no note", "rubbish", "of another site", "older note", "changed note", "checkpoint"])
def test_a_missing_beginning_without_a_note_is_a_fault(tmp_path: Path, how: str) -> None:
    made(tmp_path, 22)
    pruned(tmp_path, 1)
    path = tmp_path / "pruned"
    old = path.read_bytes()
    pruned(tmp_path, 2)
    note = notes.parse(path.read_bytes())
    assert note is not None
    if how == "no note":
        path.unlink()
    else:
        path.write_bytes({
            "rubbish": b"rubbish",
            "of another site": OTHER.note(note.size, note.root, note.more, about=retention.ABOUT),
            "older note": old,
            "changed note": note.raw.replace(b"prev ", b"prev f", 1),
            "checkpoint": SIGNER.note(note.size, note.root, note.more),
        }[how])  # fmt: skip
    bad = verify(tmp_path, trust=KEYED).bad
    assert bad is not None
    assert bad.why in ("dropped", "checkpoint")


def test_a_removal_that_was_interrupted_is_finished_and_verifies_meanwhile(tmp_path: Path) -> None:
    class Dies(Disk):
        def remove(self, path: Path) -> None:
            if path.name.startswith("0000000000000004"):
                raise OSError(5, "made")
            super().remove(path)

    made(tmp_path, 22)
    keep = retention.first_to_keep(tmp_path, 3 * DAY_MS)
    assert keep is not None
    with pytest.raises(OSError, match="made"):
        retention.prune(tmp_path, keep, SIGNER, Dies(), NOW_MS)
    report = verify(tmp_path, trust=KEYED)
    assert (report.is_whole, report.first_seq) == (True, 12)
    retention.finish(tmp_path, Verifier([OTHER.public]), Disk())
    assert (tmp_path / "0000000000000004.jsonl").exists()
    retention.finish(tmp_path, Verifier([SIGNER.public]), Disk())
    assert not (tmp_path / "0000000000000004.jsonl").exists()
    assert verify(tmp_path, trust=KEYED).first_seq == 12


def test_a_ledger_that_does_not_fit_its_checkpoints_is_not_pruned(tmp_path: Path) -> None:
    made(tmp_path, 22)
    first = tmp_path / "0000000000000004.jsonl"
    lines = first.read_bytes().splitlines(keepends=True)
    first.write_bytes(b"".join(lines[:-1]))
    assert pruned(tmp_path, 2) is None
    assert first.exists()


@pytest.mark.parametrize("is_signed", [True, False])
def test_the_tree_is_found_from_the_nearest_signed_peaks(tmp_path: Path, is_signed: bool) -> None:
    made(tmp_path, 22)
    verifier = Verifier([SIGNER.public if is_signed else OTHER.public])
    every = notes.parse_all((tmp_path / "checkpoints").read_bytes()) or []
    for note in every:
        tree = retention.tree_at(tmp_path, note.size, verifier, note)
        assert tree is not None
        assert tree.root() == note.root
    wrong = notes.parse(SIGNER.note(21, b"x" * 32))
    assert retention.tree_at(tmp_path, 22, verifier, wrong) is None
    assert retention.tree_at(tmp_path, 21, verifier, wrong) is None
    assert retention.tree_at(tmp_path, 23, verifier) is None


def test_old_checkpoints_go_when_they_are_half_of_their_file(tmp_path: Path) -> None:
    made(tmp_path, 22)
    path = tmp_path / "checkpoints"
    length = path.stat().st_size
    retention.behead(path, 4, Disk())
    assert path.stat().st_size == length
    retention.behead(path, 16, Disk())
    left = notes.parse_all(path.read_bytes()) or []
    assert left[0].size == 16
    assert path.stat().st_mode & 0o777 == 0o600
    pruned(tmp_path, 4)
    report = verify(tmp_path, trust=KEYED)
    assert report.is_whole, report.bad
    retention.behead(path, 99, Disk())
    assert path.read_bytes() == b""


def test_an_answer_says_when_it_asks_for_what_was_removed(tmp_path: Path) -> None:
    made(tmp_path, 22)
    whole = answered(tmp_path, Question(), KEYED)
    pruned(tmp_path, 2)
    later = answered(tmp_path, Question(since_ms=2 * DAY_MS), KEYED)
    assert (later.is_complete, later.is_signed, later.gaps) == (True, True, [])
    part = answered(tmp_path, Question(), KEYED)
    assert part.count < whole.count
    assert part.is_complete is False
    assert part.gaps == ["the entries 0 to 7 were removed by retention"]
