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

from ecotone.store import Ledger, LedgerLimits, chain, find, verify
from ecotone.store.disk import Disk
from ecotone.values import Permit, RefusalError

LIMITS = LedgerLimits(segment_bytes_max=1500, group_bytes_max=700, note_delay_s=0.0005, retry_s=0.0005)


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
        report = verify(store / "ledger")
        assert report.is_whole, report.bad
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
