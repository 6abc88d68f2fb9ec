"""Entries against signed checkpoints: every way to tamper with either is found."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from tests.unit.store.made import OTHER, SIGNER, made

from ecotone.store import Report, Trust, chain, notes, verify
from ecotone.store.signing import Signer

KEYED = Trust((SIGNER.pem(),))
COUNT = 22


def segment(folder: Path, index: int) -> Path:
    return sorted(folder.glob("*.jsonl"))[index]


def kept(folder: Path) -> tuple[notes.Note, ...]:
    """All checkpoints, as somebody has them who copied the file."""
    return tuple(notes.parse_all((folder / "checkpoints").read_bytes()) or ())


def rewritten(folder: Path, signer: Signer | None = None) -> None:
    """Somebody with access to the disk writes another, whole history; without `signer` he keeps the checkpoints."""
    old = (folder / "checkpoints").read_bytes()
    for path in folder.glob("*.jsonl"):
        path.unlink()
    prev, parts = chain.NOTHING, []
    for seq in range(COUNT):
        text, prev = chain.line(seq, 5, b"placed", b"{}", prev)
        parts.append(text)
    if signer is None:
        (folder / f"{0:016d}.jsonl").write_bytes(b"".join(parts))
        (folder / "checkpoints").write_bytes(old)
    else:
        made(folder, COUNT, signer=signer)


def split(folder: Path) -> list[bytes]:
    return (folder / "checkpoints").read_bytes().split(b"\n\n")


def without_notes(folder: Path, *gone: int) -> None:
    """Takes checkpoints out of their file, by position."""
    parts = split(folder)[:-1]
    pairs = [parts[at : at + 2] for at in range(0, len(parts), 2)]
    left = [b"\n\n".join(pair) + b"\n\n" for at, pair in enumerate(pairs) if at not in {g % len(pairs) for g in gone}]
    (folder / "checkpoints").write_bytes(b"".join(left))


def test_a_whole_ledger_is_signed_to_its_end(tmp_path: Path) -> None:
    made(tmp_path, COUNT)
    report = verify(tmp_path, trust=KEYED)
    assert report.is_whole, report.bad
    attested = report.attested
    assert (attested.is_signed, attested.checkpoints, attested.size) == (True, 13, COUNT)
    assert attested.note == kept(tmp_path)[-1].raw.decode()
    assert verify(tmp_path).attested.is_signed is False
    assert verify(tmp_path).attested.size == COUNT
    assert verify(tmp_path, trust=Trust((OTHER.public, SIGNER.public), (), kept(tmp_path))).attested.checkpoints == 26


def test_an_old_ledger_without_checkpoints_is_whole_and_not_signed(tmp_path: Path) -> None:
    made(tmp_path, 3)
    (tmp_path / "checkpoints").unlink()
    report = verify(tmp_path, trust=KEYED)
    assert report.is_whole
    assert (report.attested.is_signed, report.attested.size, report.attested.note) == (False, 0, "")


MUTATIONS: dict[str, tuple[Callable[[Path], object], str, bool]] = {
    # what is done -> (how, the word for it, whether it shows without the key)
    "cut at an entry": (
        lambda f: segment(f, -1).write_bytes(segment(f, -1).read_bytes().split(b"\n")[0] + b"\n"), "dropped", True),
    "cut at a segment": (lambda f: segment(f, -1).unlink(), "dropped", True),
    "cut to nothing": (lambda f: [path.unlink() for path in f.glob("*.jsonl")], "empty", True),
    "head removed": (lambda f: segment(f, 0).unlink(), "dropped", True),
    "rewritten": (rewritten, "changed", True),
    "rewritten and signed by another": (lambda f: rewritten(f, OTHER), "checkpoint", False),
    "checkpoint removed": (lambda f: without_notes(f, 0), "checkpoint", True),
    "checkpoint in the middle removed": (lambda f: without_notes(f, 2), "checkpoint", True),
    "last two checkpoints removed": (lambda f: without_notes(f, -1, -2), "checkpoint", True),
    "all checkpoints removed": (lambda f: (f / "checkpoints").unlink(), "checkpoint", True),
    "checkpoint torn": (
        lambda f: (f / "checkpoints").write_bytes((f / "checkpoints").read_bytes()[:-1]), "checkpoint", True),
    "checkpoint twice": (
        lambda f: (f / "checkpoints").write_bytes(
            (f / "checkpoints").read_bytes() + kept(f)[-1].raw + b"\n"), "checkpoint", True),
    "checkpoints swapped": (
        lambda f: (f / "checkpoints").write_bytes(b"".join(note.raw + b"\n" for note in kept(f)[::-1])),
        "checkpoint", True),
    "checkpoint of another site": (
        lambda f: (f / "checkpoints").write_bytes(
            (f / "checkpoints").read_bytes()
            + OTHER.note(COUNT, kept(f)[-1].root) + b"\n"), "checkpoint", False),
    "checkpoint forged": (
        lambda f: (f / "checkpoints").write_bytes(
            (f / "checkpoints").read_bytes().replace(b"\n22\n", b"\n23\n")), "dropped", True),
    "rubbish": (lambda f: (f / "checkpoints").write_bytes(b"rubbish\n\n" * 9), "checkpoint", True),
}  # fmt: skip


@pytest.mark.parametrize("name", MUTATIONS)
def test_tampering_is_found(tmp_path: Path, name: str) -> None:
    how, why, is_seen_without_key = MUTATIONS[name]
    made(tmp_path, COUNT)
    how(tmp_path)
    bad = verify(tmp_path, trust=KEYED).bad
    assert bad is not None
    assert bad.why in (why, "checkpoint")
    assert (verify(tmp_path).bad is not None) == is_seen_without_key


def test_a_ledger_that_was_cut_with_its_checkpoints_shows_against_one_kept_elsewhere(tmp_path: Path) -> None:
    made(tmp_path / "whole", COUNT)
    outside = kept(tmp_path / "whole")[-1:]
    made(tmp_path / "short", 12)
    assert verify(tmp_path / "short", trust=KEYED).is_whole
    for trust in (Trust((), (), outside), Trust(KEYED.keys, (), outside)):
        bad = verify(tmp_path / "short", trust=trust).bad
        assert bad is not None
        assert (bad.why, bad.seq) == ("dropped", 12)
        assert verify(tmp_path / "whole", trust=trust).is_whole


def test_a_kept_checkpoint_counts_for_single_segments_from_the_start(tmp_path: Path) -> None:
    made(tmp_path, COUNT)
    outside = kept(tmp_path)
    paths = sorted(tmp_path.glob("*.jsonl"))
    report = verify(paths, trust=Trust(KEYED.keys, (), outside[-1:]))
    assert (report.is_whole, report.attested.size, report.attested.is_signed) == (True, COUNT, True)
    assert verify(paths[1:], trust=KEYED).attested.size == 0
    forged = notes.parse(OTHER.note(COUNT, outside[-1].root))
    other = notes.parse(SIGNER.note(COUNT, b"x" * 32))
    beyond = notes.parse(OTHER.note(COUNT + 1, b"x" * 32))
    for note, why in ((forged, "checkpoint"), (other, "changed"), (beyond, "checkpoint")):
        assert note is not None
        bad = verify(paths, trust=Trust(KEYED.keys, (), (note,))).bad
        assert bad is not None
        assert bad.why == why


def repeating(folder: Path, body: dict[str, object], kind: bytes = b"checkpoint") -> Report:
    """A ledger whose chain itself says something."""
    lines = made(folder, 6, per_segment=100)
    prev = msgspec.json.decode(lines[-1])["hash"].encode()
    text, _ = chain.line(6, 9000, kind, msgspec.json.encode(body), prev)
    path = segment(folder, -1)
    path.write_bytes(path.read_bytes() + text)
    return verify(folder, trust=KEYED)


@pytest.mark.parametrize("body", [{"size": 7, "root": "x"}, {"size": "x"}, {}, {"size": 5, "root": "x"}, {"size": 3}])
def test_an_entry_that_repeats_no_checkpoint_is_found(tmp_path: Path, body: dict[str, object]) -> None:
    bad = repeating(tmp_path, body).bad
    assert bad is not None
    assert bad.why == "checkpoint"


def test_what_a_site_found_at_its_start_is_told_at_the_end(tmp_path: Path) -> None:
    report = repeating(tmp_path, {"why": "behind_checkpoint", "first_seq": 3, "size": 5}, b"recovered")
    assert report.bad is not None
    assert (report.bad.why, report.bad.seq, report.entries) == ("lost", 3, 7)
    assert repeating(tmp_path, {"why": "torn_tail"}, b"recovered").is_whole
    report = repeating(tmp_path, {"why": "headless"}, b"recovered")
    assert report.bad is not None
    assert report.bad.seq == 0


def test_checkpoints_that_come_while_it_reads_are_no_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A site goes on writing: entries repeat a checkpoint that was not there when the pass began."""
    made(tmp_path, COUNT, per_segment=100)
    path = tmp_path / "checkpoints"
    whole = path.read_bytes()
    early = whole.index(b"\n\n", whole.index(b"\n\n") + 2) + 2
    path.write_bytes(whole[:early])

    def visit(_text: bytes, link: chain.Link, _tree: object) -> None:
        if link.seq == 5:
            path.write_bytes(whole)

    report = verify(tmp_path, trust=KEYED, visit=visit)
    assert report.is_whole, report.bad
    assert report.attested.size == 3
    monkeypatch.setattr("ecotone.store.checking._SEEN_MAX", 2)
    report = verify(tmp_path, trust=KEYED)
    assert report.is_whole, report.bad
