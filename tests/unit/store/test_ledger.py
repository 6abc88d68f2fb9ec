"""The ledger as the corridor uses it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from ecotone.store import Ledger, LedgerLimits, Trust, verify
from ecotone.store.disk import Disk
from ecotone.values import ConfigError, Permit, Receipt, RefusalError

DAY_S = 86_400.0
START_S = 20_000 * DAY_S
CALM = LedgerLimits(checkpoint_s=3600.0, checkpoint_soon_s=3600.0)
"""No checkpoint comes while the test counts entries and writes."""


class GatedDisk(Disk):
    """Writes only while its gate is open; says when a write has begun."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.begun = threading.Event()
        self.writes = 0

    def append(self, fd: int, content: bytes) -> None:
        self.begun.set()
        assert self.gate.wait(10)
        super().append(fd, content)
        self.writes += 1


def permit(number: int = 0) -> Permit:
    return Permit(f"req-{number}", "big", "https://cloud:443", "ab" * 32, "none", "rule", b"seal%d" % number)


async def permitted(ledger: Ledger, number: int = 0) -> Receipt:
    return await ledger.permit(permit(number), body_bytes=number, labels=("person",), region="eu")


def entries(store: Path) -> list[tuple[str, dict]]:
    """(kind, body) of all that is on the disk."""

    lines = [
        line for path in sorted((store / "ledger").glob("*.jsonl")) for line in path.read_bytes().splitlines() if line
    ]
    return [(item["kind"], item["body"]) for item in map(msgspec.json.decode, lines)]


def clock(*times_s: float) -> Callable[[], float]:
    """Gives these times, then the last one for ever."""
    left = list(times_s)
    return lambda: left.pop(0) if len(left) > 1 else left[0]


def test_a_receipt_means_that_the_entry_is_on_the_disk(tmp_path: Path) -> None:
    async def run() -> None:
        ledger = Ledger.open(tmp_path, "clinic-7", limits=CALM)
        receipt = await permitted(ledger, 3)
        kind, body = entries(tmp_path)[receipt.seq]
        assert receipt == Receipt(2, b"seal3")
        assert kind == "egress"
        digest = body.pop("digest")
        assert len(digest) == 64
        assert digest != "ab" * 32
        assert body == {
            "request": "req-3",
            "target": "big",
            "origin": "https://cloud:443",
            "region": "eu",
            "transform": "none",
            "rule": "rule",
            "labels": ["person"],
            "body_bytes": 3,
        }
        assert ledger.close() == 0

    asyncio.run(run())
    assert [kind for kind, _ in entries(tmp_path)] == ["genesis", "opened", "egress", "closed"]
    assert entries(tmp_path)[0][1]["site"] == "clinic-7"
    assert entries(tmp_path)[0][1]["origin"].startswith("clinic-7/")
    assert verify(tmp_path / "ledger").is_whole
    assert (tmp_path / "ledger").stat().st_mode & 0o777 == 0o700
    for path in (tmp_path / "ledger").iterdir():
        assert path.stat().st_mode & 0o777 == 0o600


def test_entries_that_came_during_a_write_share_the_next_one(tmp_path: Path) -> None:
    async def run() -> None:
        disk = GatedDisk()
        ledger = Ledger.open(tmp_path, "s", disk=disk, limits=CALM)
        await ledger.flush()
        disk.gate.clear()
        disk.begun.clear()
        first = asyncio.ensure_future(permitted(ledger))
        await asyncio.to_thread(disk.begun.wait, 10)
        others = [asyncio.ensure_future(permitted(ledger, number)) for number in range(1, 65)]
        noted = ledger.note("placed", {"request": "req-1"})
        await asyncio.sleep(0)
        before = disk.writes
        disk.gate.set()
        receipts = await asyncio.gather(first, *others)
        assert disk.writes == before + 2
        assert [receipt.seq for receipt in receipts[:1]] + [noted] == [2, 3]
        assert [receipt.seq for receipt in receipts[1:]] == list(range(4, 68))
        ledger.close()

    asyncio.run(run())
    assert verify(tmp_path / "ledger").entries == 69


def test_a_note_is_durable_soon_without_anybody_asking(tmp_path: Path) -> None:
    disk = GatedDisk()
    ledger = Ledger.open(tmp_path, "s", disk=disk, limits=LedgerLimits(note_delay_s=0.01))
    ledger.note("outcome", {"request": "req-1"})
    assert disk.begun.wait(10)
    ledger.close()


def test_many_notes_do_not_wait_for_the_delay(tmp_path: Path) -> None:
    disk = GatedDisk()
    limits = LedgerLimits(note_delay_s=3600.0, group_bytes_max=2000)
    ledger = Ledger.open(tmp_path, "s", disk=disk, limits=limits)
    for number in range(100):
        ledger.note("outcome", {"request": f"req-{number}"})
    assert disk.begun.wait(10)
    assert ledger.close() == 0
    assert disk.writes > 1


def test_a_ledger_goes_on_where_it_stopped(tmp_path: Path) -> None:
    for _ in range(3):
        ledger = Ledger.open(tmp_path, "s")
        ledger.note("outcome", {"request": "req-1", "day_usd": 0.5})
        ledger.close()
    ledger = Ledger.open(tmp_path, "s")
    assert ledger.last("outcome").body["day_usd"] == 0.5
    assert len(ledger.find("req-1")) == 3
    ledger.close()
    ledger.close()
    report = verify(tmp_path / "ledger")
    assert report.is_whole
    assert report.segments == 1
    assert [kind for kind, _ in entries(tmp_path)].count("genesis") == 1


def test_two_sites_cannot_write_one_ledger(tmp_path: Path) -> None:
    ledger = Ledger.open(tmp_path, "s")
    with pytest.raises(ConfigError, match=r"store\.locked.*process \d+"):
        Ledger.open(tmp_path, "s")
    ledger.close()
    Ledger.open(tmp_path, "s").close()


def test_a_store_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"store\.path"):
        Ledger.open(tmp_path / "file", "s")
    (tmp_path / "ledger.key").write_text("short")
    for _ in range(2):  # the lock was let go
        with pytest.raises(ConfigError, match=r"store\.key"):
            Ledger.open(tmp_path, "s")


def test_segments_end_at_their_size_and_the_chain_crosses_them(tmp_path: Path) -> None:
    async def run() -> None:
        ledger = Ledger.open(tmp_path, "s", limits=LedgerLimits(segment_bytes_max=600))
        for number in range(10):
            await permitted(ledger, number)
        ledger.close()

    asyncio.run(run())
    report = verify(tmp_path / "ledger")
    assert report.is_whole
    assert [kind for kind, _ in entries(tmp_path)].count("egress") == 10
    assert report.segments > 4
    assert report.attested.size == report.entries


@pytest.mark.parametrize(
    ("times_s", "segments", "order"),
    [
        ((START_S, START_S + DAY_S), 2, "later"),
        ((START_S + 3600, START_S + 3600 - 59), 1, "same"),
        ((START_S + 3600, START_S + 1800), 2, "earlier"),
    ],
)
def test_a_new_day_or_a_clock_set_back_begins_a_segment(
    tmp_path: Path, times_s: tuple[float, float], segments: int, order: str
) -> None:
    first_s, second_s = times_s
    ledger = Ledger.open(tmp_path, "s", wall_s=clock(first_s))
    ledger.note("placed", {})
    ledger.close()
    ledger = Ledger.open(tmp_path, "s", wall_s=clock(first_s, second_s))
    ledger.note("placed", {})
    ledger.close()
    report = verify(tmp_path / "ledger")
    assert report.is_whole
    assert report.segments == segments
    change_ms = report.last_at_ms - report.first_at_ms
    assert order == ("same" if change_ms == 0 else "later" if change_ms > 0 else "earlier")


def test_the_buffer_is_bounded(tmp_path: Path) -> None:
    async def run() -> None:
        disk = GatedDisk()
        ledger = Ledger.open(tmp_path, "s", disk=disk, limits=LedgerLimits(buffer_bytes_max=5000))
        disk.gate.clear()
        taken = 0
        with pytest.raises(RefusalError) as caught:  # noqa: PT012
            while True:
                ledger.note("outcome", {"request": "req-1"})
                taken += 1
        assert 100 < taken < 500
        assert (caught.value.code, caught.value.status, caught.value.retry_after_s) == ("refused.ledger", 503, 1.0)
        with pytest.raises(RefusalError):
            await permitted(ledger)
        disk.gate.set()
        await ledger.flush()
        assert (await permitted(ledger)).seq == taken + 2
        assert ledger.status().refused == 2
        assert ledger.status().buffered_bytes == 0
        ledger.close()

    asyncio.run(run())
    assert verify(tmp_path / "ledger").is_whole


def test_a_permit_whose_request_ended_is_void(tmp_path: Path) -> None:
    async def run() -> None:
        disk = GatedDisk()
        ledger = Ledger.open(tmp_path, "s", disk=disk)
        await ledger.flush()
        disk.gate.clear()
        disk.begun.clear()
        kept = asyncio.ensure_future(permitted(ledger, 1))
        await asyncio.to_thread(disk.begun.wait, 10)
        left = asyncio.ensure_future(permitted(ledger, 2))
        await asyncio.sleep(0)
        left.cancel()
        await asyncio.sleep(0)
        disk.gate.set()
        await kept
        await ledger.flush()
        ledger.close()

    asyncio.run(run())
    kinds = [(kind, body.get("request")) for kind, body in entries(tmp_path)]
    assert ("egress", "req-1") in kinds
    assert ("voided", "req-2") in kinds


def test_nothing_is_taken_after_the_end(tmp_path: Path) -> None:
    async def run() -> None:
        ledger = Ledger.open(tmp_path, "s")
        ledger.close()
        with pytest.raises(RefusalError, match="closed"):
            ledger.note("placed", {})
        with pytest.raises(RefusalError):
            await permitted(ledger)
        with pytest.raises(RefusalError):
            await ledger.flush()

    asyncio.run(run())


def test_closing_does_not_wait_for_a_dead_disk(tmp_path: Path) -> None:
    disk = GatedDisk()
    ledger = Ledger.open(tmp_path, "s", disk=disk)
    ledger.note("placed", {})
    disk.gate.clear()
    assert ledger.close(limit_s=0.01) >= 0
    disk.gate.set()


def test_a_defect_of_the_writer_lets_nobody_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Defect(Disk):
        def create(self, path: Path) -> int:
            raise ValueError("a defect")

    seen: list[str] = []
    monkeypatch.setattr(threading, "excepthook", lambda args: seen.append(str(args.exc_value)))

    async def run() -> None:
        ledger = Ledger.open(tmp_path, "s", disk=Defect())
        waiting = [asyncio.ensure_future(permitted(ledger, number)) for number in range(3)]
        for result in await asyncio.gather(*waiting, return_exceptions=True):
            assert isinstance(result, RefusalError)
        with pytest.raises(RefusalError):
            ledger.note("placed", {})
        ledger.close()

    asyncio.run(asyncio.wait_for(run(), 10))
    assert seen == ["a defect"]


@pytest.mark.parametrize("kind", ["", "Placed", 'a"b', "a b", "x" * 65])
def test_a_kind_is_a_word(tmp_path: Path, kind: str) -> None:
    ledger = Ledger.open(tmp_path, "s")
    with pytest.raises(AssertionError):
        ledger.note(kind, {})
    ledger.close()


def test_a_ledger_can_be_read_and_verified_while_it_is_written(tmp_path: Path) -> None:
    async def run() -> None:
        limits = LedgerLimits(segment_bytes_max=20_000, checkpoint_entries=7)
        ledger = Ledger.open(tmp_path, "s", limits=limits)
        trust = Trust(((tmp_path / "site.pub").read_bytes(),))
        is_over = False

        async def write(first: int) -> None:
            number = first
            while not is_over:
                receipt = await permitted(ledger, number)
                assert [entry.seq for entry in ledger.find(f"req-{number}")] == [receipt.seq]
                number += 4

        await ledger.flush()
        writers = [asyncio.ensure_future(write(number)) for number in range(4)]
        for _ in range(10):
            report = await asyncio.to_thread(verify, tmp_path / "ledger", trust=trust)
            assert report.is_whole, report.bad
        is_over = True
        await asyncio.gather(*writers)
        ledger.close()

    asyncio.run(asyncio.wait_for(run(), 60))


def test_a_loop_that_is_never_idle_gives_way_to_the_writer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a permit waits, the loop thread pauses now and then; after the answer it does so no longer."""
    pauses: list[float] = []
    disk = GatedDisk()
    ledger = Ledger.open(tmp_path, "s", disk=disk)

    async def run() -> None:
        await ledger.flush()
        disk.gate.clear()
        waiting = asyncio.ensure_future(permitted(ledger))
        while len(pauses) < 2:
            await asyncio.sleep(0)
        disk.gate.set()
        await waiting
        while ledger._watched is not None:
            await asyncio.sleep(0)

    monkeypatch.setattr("ecotone.store.ledger.time.sleep", pauses.append)
    for _ in range(2):  # the second time on another loop
        pauses.clear()
        asyncio.run(asyncio.wait_for(run(), 20))
    ledger.close()
