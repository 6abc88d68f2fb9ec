"""What holds of a ledger whatever happens to it."""

from __future__ import annotations

import asyncio
import errno
import os
import tempfile
from pathlib import Path

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.store import made as signed
from tests.unit.store.test_retention import pruned

from ecotone.store import Ledger, LedgerLimits, Trust, chain, find, notes, verify
from ecotone.store.disk import Disk
from ecotone.values import Permit, RefusalError

LIMITS = LedgerLimits(
    segment_bytes_max=1500, group_bytes_max=700, note_delay_s=0.0005, retry_s=0.0005, checkpoint_entries=3
)
KEYED = Trust((signed.SIGNER.public,))


class MortalDisk(Disk):
    """Fails for a while, or for ever (which is a crash, as the ledger sees it) after so many writes.

    Attributes:
        left: Writes until the next failure.
    """

    def __init__(self) -> None:
        self.left = 1 << 60
        self.part = 0.0
        self.is_dead = False

    def append(self, fd: int, content: bytes) -> None:
        self.left -= 1
        if self.left < 0:
            super().append(fd, content[: int(len(content) * self.part)])
            self.left = 1 << 60
            raise OSError(errno.EIO, "made")
        self._live()
        super().append(fd, content)

    def cut(self, path: Path, size: int) -> None:
        self._live()
        super().cut(path, size)

    def remove(self, path: Path) -> None:
        self._live()
        super().remove(path)

    def _live(self) -> None:
        if self.is_dead:
            raise OSError(errno.EIO, "dead")


step = st.one_of(
    st.tuples(st.just("note"), st.integers(0, 300)),
    st.tuples(st.just("permits"), st.integers(1, 6)),
    st.tuples(st.just("flush"), st.just(0)),
    st.tuples(st.just("fail"), st.integers(0, 3)),
    st.tuples(st.just("crash"), st.integers(0, 1)),
    st.tuples(st.just("reopen"), st.just(0)),
)


class History:
    """One store, its ledgers one after the other, and what was promised."""

    def __init__(self, store: Path, part: float) -> None:
        self.store, self.part = store, part
        self.promised: dict[int, str] = {}
        self.refused: set[str] = set()
        self.count = 0
        self.open()

    def open(self) -> None:
        self.disk = MortalDisk()
        self.disk.part = self.part
        self.ledger = Ledger.open(self.store, "s", limits=LIMITS, disk=self.disk)

    async def permit(self) -> None:
        self.count += 1
        request = f"req-{self.count}"
        permit = Permit(request, "t", "https://c:443", "ab" * 32, "none", "r", b"s")
        try:
            receipt = await self.ledger.permit(permit, body_bytes=1, labels=(), region=None)
        except RefusalError:
            self.refused.add(request)
        else:
            assert receipt.seq not in self.promised
            self.promised[receipt.seq] = request

    async def step(self, what: str, size: int) -> None:
        try:
            if what == "note":
                self.ledger.note("placed", {"request": "noted", "pad": "x" * size})
            elif what == "permits":
                await asyncio.gather(*(self.permit() for _ in range(size)))
            elif what == "flush":
                await self.ledger.flush()
        except RefusalError:
            return
        if what == "fail":
            self.disk.left = size
        elif what == "crash":
            self.disk.left, self.disk.is_dead = size, True
            await self.permit()
            await self.permit()
        if what in ("crash", "reopen"):
            self.ledger.close()
            self.open()


def lines(folder: Path) -> list[bytes]:
    return b"".join(path.read_bytes() for path in sorted(folder.glob("*.jsonl"))).splitlines(keepends=True)


@settings(max_examples=60, deadline=None)
@given(st.lists(step, max_size=25), st.floats(0, 1))
def test_whatever_fails_every_receipt_is_in_the_ledger_and_the_chain_is_whole(
    steps: list[tuple[str, int]], part: float
) -> None:
    async def run(store: Path) -> None:
        history = History(store, part)
        for what, size in steps:
            await history.step(what, size)
        history.ledger.close()
        Ledger.open(store, "s").close()
        report = verify(store / "ledger", trust=Trust(((store / "site.pub").read_bytes(),)))
        assert report.is_whole, report.bad
        assert report.attested.size == report.entries
        written = [msgspec.json.decode(line) for line in lines(store / "ledger")]
        assert [item["seq"] for item in written] == list(range(len(written)))
        for seq, request in history.promised.items():
            assert (written[seq]["kind"], written[seq]["body"]["request"]) == ("egress", request)
            assert [entry.seq for entry in find(store / "ledger", request)] == [seq]
        assert len({item["body"].get("request") for item in written if item["kind"] == "egress"}) == sum(
            item["kind"] == "egress" for item in written
        )

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(asyncio.wait_for(run(Path(folder)), 30))


def made(folder: Path, bodies: list[dict[str, int]], per_segment: int) -> chain.Head:
    """A good ledger; its head."""
    prev, parts = chain.NOTHING, []
    for seq, body in enumerate(bodies):
        text, prev = chain.line(seq, 10 * seq, b"placed", msgspec.json.encode(body), prev)
        parts.append(text)
    for first in range(0, len(parts), per_segment):
        (folder / f"{first:016d}.jsonl").write_bytes(b"".join(parts[first : first + per_segment]))
    return chain.Head(len(bodies) - 1, prev.decode())


bodies = st.lists(st.dictionaries(st.sampled_from("abc"), st.integers(0, 99), max_size=2), min_size=2, max_size=12)


def pick(data: st.DataObject, folder: Path) -> tuple[Path, bytes]:
    path = data.draw(st.sampled_from(sorted(folder.glob("*.jsonl"))))
    return path, path.read_bytes()


@settings(max_examples=300, deadline=None)
@given(bodies, st.integers(1, 6), st.data())
def test_any_changed_byte_is_found(bodies: list[dict[str, int]], per_segment: int, data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        head = made(folder, bodies, per_segment)
        assert verify(folder, known=[head]).is_whole
        path, text = pick(data, folder)
        at = data.draw(st.integers(0, len(text) - 1))
        other = data.draw(st.integers(1, 255))
        path.write_bytes(text[:at] + bytes([text[at] ^ other]) + text[at + 1 :])
        bad = verify(folder).bad
        assert bad is not None
        assert bad.file == path.name
        assert bad.line == text[:at].count(b"\n") + 1


@settings(max_examples=150, deadline=None)
@given(bodies, st.integers(1, 6), st.data())
def test_any_dropped_entry_is_found(bodies: list[dict[str, int]], per_segment: int, data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        head = made(folder, bodies, per_segment)
        path, text = pick(data, folder)
        rows = text.splitlines(keepends=True)
        del rows[data.draw(st.integers(0, len(rows) - 1))]
        path.write_bytes(b"".join(rows))
        bad = verify(folder, known=[head]).bad
        assert bad is not None
        assert bad.why in ("dropped", "empty")


@settings(max_examples=150, deadline=None)
@given(bodies, st.data())
def test_any_two_swapped_entries_are_found(bodies: list[dict[str, int]], data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        made(folder, bodies, 100)
        path, text = pick(data, folder)
        rows = text.splitlines(keepends=True)
        one = data.draw(st.integers(0, len(rows) - 2))
        two = data.draw(st.integers(one + 1, len(rows) - 1))
        rows[one], rows[two] = rows[two], rows[one]
        path.write_bytes(b"".join(rows))
        bad = verify(folder).bad
        assert bad is not None
        assert (bad.why, bad.seq, bad.line) == ("reordered", one, one + 1)


@settings(max_examples=80, deadline=None)
@given(bodies, st.integers(1, 6), st.data())
def test_any_truncation_is_found(bodies: list[dict[str, int]], per_segment: int, data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        head = made(folder, bodies, per_segment)
        path, text = pick(data, folder)
        os.truncate(path, data.draw(st.integers(0, len(text) - 1)))
        bad = verify(folder, known=[head]).bad
        assert bad is not None
        assert bad.why in ("torn", "dropped", "empty")


shape = st.tuples(st.integers(2, 24), st.integers(1, 7), st.integers(1, 9), st.integers(0, 5))
"""Entries, entries of a segment (a day each), entries between checkpoints, and days that retention has removed."""


def whole(folder: Path, how: tuple[int, int, int, int]) -> None:
    """A signed ledger that verifies."""
    count, per_segment, every, days = how
    signed.made(folder, count, per_segment, every)
    pruned(folder, days)
    report = verify(folder, trust=KEYED)
    assert report.is_whole, report.bad
    assert (report.last_seq, report.attested.size, report.attested.is_signed) == (count - 1, count, True)


@settings(max_examples=300, deadline=None)
@given(shape, st.data())
def test_any_changed_byte_of_any_file_of_a_signed_ledger_is_found(
    how: tuple[int, int, int, int], data: st.DataObject
) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        whole(folder, how)
        path = data.draw(st.sampled_from(sorted(folder.iterdir())))
        text = path.read_bytes()
        at = data.draw(st.integers(0, len(text) - 1))
        other = data.draw(st.integers(1, 255))
        path.write_bytes(text[:at] + bytes([text[at] ^ other]) + text[at + 1 :])
        assert verify(folder, trust=KEYED).bad is not None


@settings(max_examples=200, deadline=None)
@given(shape, st.sampled_from(["drop", "repeat", "swap", "cut", "cut segment", "cut head"]), st.data())
def test_any_entries_that_are_dropped_repeated_swapped_or_cut_off_are_found(
    how: tuple[int, int, int, int], what: str, data: st.DataObject
) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        whole(folder, how)
        paths = sorted(folder.glob("*.jsonl"))
        rows = [text for path in paths for text in path.read_bytes().splitlines(keepends=True)]
        one = data.draw(st.integers(0, len(rows) - 1))
        if what == "drop":
            del rows[one]
        elif what == "repeat":
            rows.insert(data.draw(st.integers(0, len(rows))), rows[one])
        elif what == "swap":
            two = data.draw(st.integers(0, len(rows) - 1).filter(lambda two: two != one or len(rows) == 1))
            rows[one], rows[two] = rows[two], rows[one]
        elif what == "cut":
            rows = rows[:one]
        for path in paths:
            path.unlink()
        paths[0].write_bytes(b"".join(rows))
        if what == "cut segment":
            paths[0].unlink()
        elif what == "cut head":
            paths[0].unlink()
            paths[0].with_name(f"{99:016d}.jsonl").write_bytes(b"".join(rows[one + 1 :]))
        is_same = what == "swap" and len(rows) == 1
        assert (verify(folder, trust=KEYED).bad is None) == is_same


@settings(max_examples=100, deadline=None)
@given(shape, st.data())
def test_no_checkpoint_can_be_taken_away_forged_or_put_in(how: tuple[int, int, int, int], data: st.DataObject) -> None:
    """But for the newest, which nothing repeats yet: against its loss a copy of it kept elsewhere helps."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        whole(folder, how)
        path = folder / "checkpoints"
        every = notes.parse_all(path.read_bytes()) or []
        one = data.draw(st.integers(0, len(every) - 1))
        note = every[one]
        what = data.draw(st.sampled_from(["take", "forge", "repeat", "foreign", "kept"]))
        root = data.draw(st.sampled_from([note.root, b"x" * 32]))
        put = {
            "take": [],
            "forge": [signed.OTHER.note(note.size, b"x" * 32)],
            "repeat": [note.raw, note.raw],
            "foreign": [signed.OTHER.note(note.size, root, note.more)],
            "kept": [note.raw],
        }[what]
        raws = [item.raw for item in every[:one]] + put + [item.raw for item in every[one + 1 :]]
        path.write_bytes(b"".join(raw + b"\n" for raw in raws))
        start = verify(folder, trust=KEYED).first_seq
        sizes = [item.size for item in every]
        repeated = {msgspec.json.decode(text)["body"].get("size") for text in lines(folder)}
        is_claimed = note.size in repeated and sizes.count(note.size) == 1 and note.size >= start
        if what in ("take", "kept"):
            assert (verify(folder, trust=KEYED).bad is not None) == (what == "take" and is_claimed)
        else:
            assert verify(folder, trust=KEYED).bad is not None
