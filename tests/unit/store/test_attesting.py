"""The tree and the checkpoints that a running ledger keeps."""

from __future__ import annotations

import asyncio
import errno
from pathlib import Path

import msgspec
import pytest
from tests.unit.store.made import SEED, made

from ecotone.store import Ledger, LedgerLimits, Report, Trust, chain, notes, verify
from ecotone.store.disk import Disk
from ecotone.store.segments import listed
from ecotone.values import ConfigError, Permit

DAY_S = 86_400.0
SOON = LedgerLimits(checkpoint_s=0.0, checkpoint_soon_s=0.0, note_delay_s=0.001)
NEVER = LedgerLimits(checkpoint_s=3600.0, checkpoint_soon_s=3600.0)


def report(store: Path) -> Report:
    """Verified with the store's own key."""
    return verify(store / "ledger", trust=Trust(((store / "site.pub").read_bytes(),)))


def checkpoints(store: Path) -> list[notes.Note]:
    path = store / "ledger" / "checkpoints"
    return (notes.parse_all(path.read_bytes()) or []) if path.exists() else []


def entries(store: Path, kind: str) -> list[dict]:
    rows = [msgspec.json.decode(text) for path in listed(store / "ledger") for text in path.read_bytes().splitlines()]
    return [row["body"] for row in rows if row["kind"] == kind]


async def permitted(ledger: Ledger, number: int) -> None:
    permit = Permit(f"req-{number}", "big", "https://cloud:443", "ab" * 32, "none", "rule", b"seal")
    await ledger.permit(permit, body_bytes=1, labels=("person",), region="eu", replaced={"person": number})


def test_an_end_is_signed_and_the_next_start_repeats_it_in_the_chain(tmp_path: Path) -> None:
    for _ in range(3):
        Ledger.open(tmp_path, "s", limits=NEVER).close()
    made_of = report(tmp_path)
    assert made_of.is_whole, made_of.bad
    assert (made_of.attested.size, made_of.attested.checkpoints) == (made_of.entries, 3)
    assert [body["size"] for body in entries(tmp_path, "checkpoint")] == [
        note.size for note in checkpoints(tmp_path)[:2]
    ]


def test_checkpoints_come_by_count_and_by_time_and_when_asked_for(tmp_path: Path) -> None:
    async def run(limits: LedgerLimits, store: Path) -> int:
        ledger = Ledger.open(store, "s", limits=limits)
        for number in range(12):
            await permitted(ledger, number)
        while limits is SOON and (not checkpoints(store) or checkpoints(store)[-1].size < 14):
            await asyncio.sleep(0.001)
        before = len(checkpoints(store))
        raw = await ledger.checkpoint()
        assert (store / "ledger" / "checkpoints").read_bytes().endswith(raw + b"\n")
        assert await ledger.checkpoint() == raw, "nothing is new"
        assert ledger.status().signing == ""
        ledger.close()
        assert report(store).is_whole, report(store).bad
        assert report(store).attested.size == report(store).entries
        return before

    by_count = msgspec.structs.replace(NEVER, checkpoint_entries=4)
    assert asyncio.run(run(by_count, tmp_path / "count")) >= 2
    assert asyncio.run(run(SOON, tmp_path / "time")) >= 1
    assert asyncio.run(run(NEVER, tmp_path / "never")) == 0


def test_a_ledger_of_before_goes_on_and_is_signed_from_then_on(tmp_path: Path) -> None:
    """Lines of version 1, as they were written before there were keys."""
    folder = tmp_path / "ledger"
    lines = made(folder, 9)
    (folder / "checkpoints").unlink()
    for path in listed(folder):
        path.write_bytes(path.read_bytes())
    prev, old = chain.NOTHING, []
    for seq, _ in enumerate(lines):
        text, prev = chain.line(seq, 1000 * seq, b"placed", b'{"request":"r"}', prev)
        old.append(text)
    for path in listed(folder):
        first = int(path.name[:16])
        path.write_bytes(b"".join(old[first : first + 4]))
    Ledger.open(tmp_path, "s").close()
    assert report(tmp_path).is_whole, report(tmp_path).bad
    assert report(tmp_path).attested.size == report(tmp_path).entries == 11
    assert b"".join(path.read_bytes() for path in listed(folder)).startswith(b"".join(old))
    first = checkpoints(tmp_path)[0].tree()
    assert first is not None, "the next start goes on from its peaks"


def test_segments_begin_with_peaks(tmp_path: Path) -> None:
    async def run() -> None:
        ledger = Ledger.open(tmp_path, "s", limits=msgspec.structs.replace(NEVER, segment_bytes_max=1000))
        for number in range(12):
            await permitted(ledger, number)
        ledger.close()

    asyncio.run(run())
    firsts = [int(path.name[:16]) for path in listed(tmp_path / "ledger")]
    peaks = [note.size for note in checkpoints(tmp_path) if note.tree() is not None]
    assert peaks == firsts[1:]
    assert report(tmp_path).is_whole, report(tmp_path).bad


@pytest.mark.parametrize("part", [0.0, 0.5])
def test_a_disk_without_room_for_a_checkpoint_keeps_the_ledger_going(tmp_path: Path, part: float) -> None:
    class NoNotes(Disk):
        is_full = True

        def append(self, fd: int, content: bytes) -> None:
            if self.is_full and b'{"v":' not in content[:5]:
                super().append(fd, content[: round(len(content) * part)])
                raise OSError(errno.ENOSPC, "No space left on device")
            super().append(fd, content)

    Ledger.open(tmp_path, "s").close()
    disk = NoNotes()
    limits = msgspec.structs.replace(NEVER, checkpoint_entries=2)

    async def run() -> None:
        ledger = Ledger.open(tmp_path, "s", limits=limits, disk=disk)
        for number in range(6):
            await permitted(ledger, number)
        await ledger.flush()
        assert ledger.status().signing == "No space left on device"
        disk.is_full = False
        for number in range(6):
            await permitted(ledger, number)
        await ledger.checkpoint()
        assert ledger.status().signing == ""
        ledger.close()

    asyncio.run(run())
    assert report(tmp_path).is_whole, report(tmp_path).bad
    assert report(tmp_path).attested.size == report(tmp_path).entries


def test_a_checkpoint_that_a_crash_tore_is_put_aside(tmp_path: Path) -> None:
    for _ in range(2):
        Ledger.open(tmp_path, "s").close()
    path = tmp_path / "ledger" / "checkpoints"
    path.write_bytes(path.read_bytes()[:-20])
    assert not report(tmp_path).is_whole
    Ledger.open(tmp_path, "s").close()
    assert report(tmp_path).is_whole, report(tmp_path).bad
    assert report(tmp_path).side_files
    assert entries(tmp_path, "recovered") == []


@pytest.mark.parametrize("how", ["other", "headless", "behind"])
def test_a_start_tells_what_does_not_fit(tmp_path: Path, how: str) -> None:
    async def run() -> None:
        ledger = Ledger.open(tmp_path, "s", limits=NEVER)
        await ledger.checkpoint()
        for number in range(4):
            await permitted(ledger, number)
        ledger.close()

    asyncio.run(run())
    folder = tmp_path / "ledger"
    (path,) = listed(folder)
    lines = path.read_bytes().splitlines(keepends=True)
    if how == "behind":
        path.write_bytes(b"".join(lines[:-1]))
    elif how == "headless":
        path.rename(folder / f"{1:016d}.jsonl").write_bytes(b"".join(lines[1:]))
        (folder / "checkpoints").unlink()
    else:
        prev = msgspec.json.decode(lines[1])["hash"].encode()
        for seq in range(2, len(lines)):
            lines[seq], prev = chain.line(seq, 5, b"placed", b"{}", prev)
        path.write_bytes(b"".join(lines))
    ledger = Ledger.open(tmp_path, "s")
    is_dumb = how != "behind"
    assert (ledger.status().signing != "") == is_dumb
    ledger.close()
    why = {"behind": "behind_checkpoint", "headless": "headless", "other": "other_root"}[how]
    assert [body["why"] for body in entries(tmp_path, "recovered")] == [why]
    assert not report(tmp_path).is_whole


def test_what_is_too_old_goes_while_the_site_runs(tmp_path: Path) -> None:
    now_s = [20_000 * DAY_S]
    limits = msgspec.structs.replace(SOON, keep_days=2, segment_bytes_max=400)

    def opened() -> Ledger:
        return Ledger.open(tmp_path, "s", limits=limits, wall_s=lambda: now_s[0])

    async def run(count: int) -> None:
        ledger = opened()
        for number in range(count):
            await permitted(ledger, number)
            now_s[0] += DAY_S / 4
        ledger.close()

    asyncio.run(run(40))
    asyncio.run(run(1))
    asyncio.run(run(1))
    found = report(tmp_path)
    assert found.is_whole, found.bad
    removed = found.attested.removed
    assert removed is not None
    assert found.first_at_ms > (now_s[0] - 4 * DAY_S) * 1000
    assert found.first_seq == removed.first_seq > 20
    assert entries(tmp_path, "pruned")[-1]["first_seq"] == removed.first_seq
    assert checkpoints(tmp_path)[-1].size == found.last_seq + 1


def test_a_failing_removal_does_not_stop_the_ledger(tmp_path: Path) -> None:
    class Fails(Disk):
        def remove(self, path: Path) -> None:
            raise OSError(errno.EIO, "made")

    now_s = [20_000 * DAY_S]
    for _ in range(3):
        Ledger.open(tmp_path, "s", wall_s=lambda: now_s[0]).close()
        now_s[0] += 5 * DAY_S

    async def run() -> None:
        limits = msgspec.structs.replace(SOON, keep_days=1)
        ledger = Ledger.open(tmp_path, "s", limits=limits, wall_s=lambda: now_s[0], disk=Fails())
        while ledger.status().signing != "made":
            await permitted(ledger, 1)
        ledger.close()

    asyncio.run(asyncio.wait_for(run(), 20))
    assert report(tmp_path).is_whole, report(tmp_path).bad


def test_a_damaged_site_key_stops_the_start_and_lets_the_store_go(tmp_path: Path) -> None:
    (tmp_path / "site.key").write_bytes(b"short")
    for _ in range(2):
        with pytest.raises(ConfigError, match=r"store\.site_key"):
            Ledger.open(tmp_path, "s")
    (tmp_path / "site.key").write_bytes(SEED)
    Ledger.open(tmp_path, "s").close()
    assert report(tmp_path).attested.is_signed


def test_a_new_key_goes_on_with_the_old_ledger(tmp_path: Path) -> None:
    Ledger.open(tmp_path, "s").close()
    old = (tmp_path / "site.pub").read_bytes()
    (tmp_path / "site.key").unlink()
    Ledger.open(tmp_path, "s").close()
    new = (tmp_path / "site.pub").read_bytes()
    assert old != new
    folder = tmp_path / "ledger"
    found = verify(folder, trust=Trust((old, new)))
    assert found.is_whole, found.bad
    assert found.attested.size == found.entries
    for key in (old, new):
        bad = verify(folder, trust=Trust((key,))).bad
        assert bad is not None
        assert bad.why == "checkpoint"


def test_a_site_that_is_renamed_keeps_its_key(tmp_path: Path) -> None:
    for site in ("s", "clinic 7"):
        Ledger.open(tmp_path, site).close()
    assert report(tmp_path).is_whole, report(tmp_path).bad
    assert [note.origin.partition("/")[0] for note in checkpoints(tmp_path)] == ["s", "clinic_7"]


def test_a_key_from_elsewhere_signs_and_is_not_kept(tmp_path: Path) -> None:
    Ledger.open(tmp_path, "s", site_key=SEED).close()
    assert report(tmp_path).attested.is_signed
    assert not (tmp_path / "site.key").exists()
