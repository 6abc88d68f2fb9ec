"""The ledger when disks and processes fail: nothing leaves unrecorded, nothing durable is lost, the chain holds."""

from __future__ import annotations

import asyncio
import ctypes
import errno
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from ecotone.store import Ledger, LedgerLimits, Trust, verify
from ecotone.store.disk import Disk
from ecotone.values import ConfigError, Permit, Receipt, RefusalError

ROUNDS = int(os.environ.get("ECOTONE_KILL_ROUNDS", "8"))
PATIENT = LedgerLimits(retry_s=3600.0, note_delay_s=0.001)


class FailingDisk(Disk):
    """Fails where it is told to; `part` of the bytes arrive all the same, as they do in life.

    Attributes:
        fails: Names of the operations that fail now.
    """

    def __init__(self, number: int, part: float) -> None:
        self.number, self.part = number, part
        self.fails: set[str] = set()

    def create(self, path: Path) -> int:
        self._check("create")
        return super().create(path)

    def reopen(self, path: Path) -> int:
        self._check("reopen")
        return super().reopen(path)

    def append(self, fd: int, content: bytes) -> None:
        if "append" in self.fails:  # asked once: the test may heal the disk while the writer's thread is in here
            super().append(fd, content[: round(len(content) * self.part)])
            raise OSError(self.number, os.strerror(self.number))
        super().append(fd, content)

    def cut(self, path: Path, size: int) -> None:
        self._check("cut")
        super().cut(path, size)

    def remove(self, path: Path) -> None:
        self._check("remove")
        super().remove(path)

    def sync_folder(self, path: Path) -> None:
        self._check("sync_folder")
        super().sync_folder(path)

    def _check(self, operation: str) -> None:
        if operation in self.fails:
            raise OSError(self.number, os.strerror(self.number))


async def permitted(ledger: Ledger, number: int) -> Receipt:
    permit = Permit(f"req-{number}", "big", "https://cloud:443", "ab" * 32, "none", "rule", b"seal")
    return await ledger.permit(permit, body_bytes=1, labels=(), region=None)


async def healed(ledger: Ledger) -> int:
    """Flushes until it holds; how often it was refused: a write that had begun before the disk was whole again may
    still refuse those who wait for it."""
    for refused in range(20):
        try:
            await ledger.flush()
        except RefusalError:
            continue
        return refused
    raise AssertionError("the disk is whole, and the ledger still refuses")


def entries(store: Path) -> list[tuple[int, str, dict]]:
    """(seq, kind, body) of all that is on the disk."""
    lines = [line for path in sorted((store / "ledger").glob("*.jsonl")) for line in path.read_bytes().splitlines()]
    return [(item["seq"], item["kind"], item["body"]) for item in map(msgspec.json.decode, lines)]


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC, errno.EROFS])
@pytest.mark.parametrize("part", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("fails", [{"append"}, {"append", "cut", "remove"}, {"append", "create"}, {"sync_folder"}])
@pytest.mark.parametrize("segment_bytes_max", [1, 1 << 20])
def test_a_failed_write_refuses_and_heals(
    tmp_path: Path, number: int, part: float, fails: set[str], segment_bytes_max: int
) -> None:
    disk = FailingDisk(number, part)

    async def run() -> None:
        limits = LedgerLimits(retry_s=3600.0, segment_bytes_max=segment_bytes_max)
        ledger = Ledger.open(tmp_path, "s", disk=disk, limits=limits)
        good = [await permitted(ledger, 0)]
        noted = ledger.note("placed", {"request": "req-1"})
        disk.fails = fails
        results = await asyncio.gather(*(permitted(ledger, index) for index in range(1, 6)), return_exceptions=True)
        if fails != {"sync_folder"} or segment_bytes_max == 1:
            for result in results:
                assert isinstance(result, RefusalError)
                assert (result.code, result.status, result.retry_after_s) == ("refused.ledger", 503, 1.0)
            with pytest.raises(RefusalError):
                ledger.note("placed", {"request": "req-6"})
            for _ in range(3):
                with pytest.raises(RefusalError):
                    await ledger.flush()
            assert ledger.status().failure == os.strerror(number)
        disk.fails = set()
        still_refused = await healed(ledger)
        good.append(await permitted(ledger, 7))
        assert ledger.status().failure == ""
        assert ledger.close() == 0
        written = {seq: (kind, body) for seq, kind, body in entries(tmp_path)}
        assert written[noted] == ("placed", {"request": "req-1"})
        for receipt in good:
            assert written[receipt.seq][0] == "egress"
        left = {body["request"] for kind, body in written.values() if kind == "egress"}
        asked = {f"req-{index}" for index, result in enumerate(results, 1) if isinstance(result, Receipt)}
        assert left == {"req-0", "req-7"} | asked
        if not asked:
            recovered = [body for kind, body in written.values() if kind == "recovered"]
            assert [(body["why"], body["error"]) for body in recovered] == [("write_failed", os.strerror(number))]
            assert recovered[0]["refused"] == 9 + still_refused

    asyncio.run(asyncio.wait_for(run(), 20))
    report = verify(tmp_path / "ledger")
    assert report.is_whole, report.bad


def test_it_heals_by_itself(tmp_path: Path) -> None:
    disk = FailingDisk(errno.EIO, 0.3)

    async def run() -> None:
        ledger = Ledger.open(tmp_path, "s", disk=disk, limits=LedgerLimits(retry_s=0.001))
        disk.fails = {"append"}
        with pytest.raises(RefusalError):
            await permitted(ledger, 1)
        disk.fails = set()
        while ledger.status().failure:
            await asyncio.sleep(0)
        await permitted(ledger, 2)
        ledger.close()

    asyncio.run(asyncio.wait_for(run(), 20))
    assert verify(tmp_path / "ledger").is_whole


def test_a_disk_that_fails_until_the_end_loses_only_what_was_never_promised(tmp_path: Path) -> None:
    disk = FailingDisk(errno.EIO, 0.5)

    async def run() -> Receipt:
        ledger = Ledger.open(tmp_path, "s", disk=disk, limits=PATIENT)
        receipt = await permitted(ledger, 1)
        disk.fails = {"append", "cut"}
        with pytest.raises(RefusalError):
            await permitted(ledger, 2)
        assert ledger.close() == 1
        return receipt

    receipt = asyncio.run(run())
    ledger = Ledger.open(tmp_path, "s")
    ledger.close()
    written = {seq: kind for seq, kind, _ in entries(tmp_path)}
    assert written[receipt.seq] == "egress"
    assert "recovered" in written.values()
    assert verify(tmp_path / "ledger").is_whole


def test_a_site_that_starts_on_a_failing_disk_refuses_until_it_heals(tmp_path: Path) -> None:
    Ledger.open(tmp_path, "s").close()
    disk = FailingDisk(errno.EIO, 0.0)
    disk.fails = {"reopen"}

    async def run() -> None:
        ledger = Ledger.open(tmp_path, "s", disk=disk, limits=PATIENT)
        with pytest.raises(RefusalError):
            await permitted(ledger, 1)
        disk.fails = set()
        await ledger.flush()
        await permitted(ledger, 2)
        assert ledger.close() == 0

    asyncio.run(run())
    assert verify(tmp_path / "ledger").is_whole


def test_a_torn_tail_is_cut_at_every_byte(tmp_path: Path) -> None:
    ledger = Ledger.open(tmp_path / "whole", "s")
    ledger.note("outcome", {"request": "req-1"})
    ledger.close()
    path = next((tmp_path / "whole" / "ledger").glob("*.jsonl"))
    whole = path.read_bytes()
    start = whole[:-1].rfind(b"\n") + 1
    folder = tmp_path / "torn" / "ledger"
    folder.mkdir(parents=True)
    copy = folder / path.name
    for end in range(start + 1, len(whole)):
        copy.write_bytes(whole[:end])
        (folder / "checkpoints").unlink(missing_ok=True)
        assert verify(folder).bad.why == "torn" if end % 50 == 0 else True
        ledger = Ledger.open(tmp_path / "torn", "s")
        assert ledger.close() == 0
        report = verify(folder)
        assert report.is_whole, report.bad
        kinds = {kind: body for _, kind, body in entries(tmp_path / "torn")}
        assert kinds["recovered"] == {
            "why": "torn_tail",
            "segment": path.name,
            "cut_bytes": end - start,
            "cut_lines": 0,
            "saved": f"{path.name}.{start}.torn",
        }
        assert (folder / kinds["recovered"]["saved"]).read_bytes() == whole[start:end]
        assert copy.read_bytes().startswith(whole[:start])


@pytest.mark.parametrize("rubbish", [bytes(512), b"\n\xff{" * 170 + b"xx", b""])
def test_a_write_of_which_only_the_end_came_to_the_disk_is_cut_whole(tmp_path: Path, rubbish: bytes) -> None:
    """Many entries are one write, and a disk may have the last sector of it and not the first."""
    ledger = Ledger.open(tmp_path, "s")
    ledger.note("outcome", {"request": "req-1"})
    ledger.close()
    path = next((tmp_path / "ledger").glob("*.jsonl"))
    (tmp_path / "ledger" / "checkpoints").unlink()  # the site died before it signed one over these
    lines = path.read_bytes().splitlines(keepends=True)
    at = len(b"".join(lines[:-2])) + 20
    path.write_bytes(path.read_bytes()[:at] + rubbish + path.read_bytes()[at + 30 :])
    torn = path.read_bytes()[at - 20 :]
    Ledger.open(tmp_path, "s").close()
    report = verify(tmp_path / "ledger")
    assert report.is_whole, report.bad
    (recovered,) = [body for _, kind, body in entries(tmp_path) if kind == "recovered"]
    assert (recovered["why"], recovered["cut_bytes"]) == ("torn_tail", len(torn))
    assert recovered["cut_lines"] == torn.count(b"\n") >= 2
    assert (tmp_path / "ledger" / recovered["saved"]).read_bytes() == torn


def test_what_a_checkpoint_covers_was_durable_and_is_not_cut_when_it_is_damaged(tmp_path: Path) -> None:
    ledger = Ledger.open(tmp_path, "s")
    ledger.note("outcome", {"request": "req-1"})
    ledger.close()
    path = next((tmp_path / "ledger").glob("*.jsonl"))
    path.write_bytes(path.read_bytes().replace(b"req-1", b"req-2"))
    Ledger.open(tmp_path, "s").close()
    report = verify(tmp_path / "ledger")
    assert (report.bad.why, report.bad.seq) == ("changed", 2)
    assert not report.side_files


@pytest.mark.parametrize("rest", [b"", b'{"v":1,"se', b"\0" * 5000])
def test_a_segment_that_was_only_begun_is_removed(tmp_path: Path, rest: bytes) -> None:
    Ledger.open(tmp_path, "s").close()
    (tmp_path / "ledger" / "0000000000000003.jsonl").write_bytes(rest)
    Ledger.open(tmp_path, "s").close()
    report = verify(tmp_path / "ledger")
    assert report.is_whole
    assert report.segments == 1
    assert len(report.side_files) == (1 if rest else 0)


def test_a_damaged_last_entry_is_kept_aside_and_told(tmp_path: Path) -> None:
    Ledger.open(tmp_path, "s").close()
    path = next((tmp_path / "ledger").glob("*.jsonl"))
    path.write_bytes(path.read_bytes().replace(b'"refused":0', b'"refused":1'))
    Ledger.open(tmp_path, "s").close()
    recovered = [body for _, kind, body in entries(tmp_path) if kind == "recovered"]
    assert recovered[0]["cut_lines"] == 1
    assert b'"refused":1' in (tmp_path / "ledger" / recovered[0]["saved"]).read_bytes()
    assert (recovered[1]["why"], recovered[1]["first_seq"], recovered[1]["size"]) == ("behind_checkpoint", 2, 3)
    report = verify(tmp_path / "ledger")
    assert (report.bad.why, report.bad.seq) == ("lost", 2), "a signed checkpoint covered it: the loss is told for ever"
    assert report.attested.size == report.entries, "and all the rest is verified"


def test_without_room_for_the_side_file_half_a_line_is_cut_and_a_whole_one_is_not(tmp_path: Path) -> None:
    Ledger.open(tmp_path, "s").close()
    path = next((tmp_path / "ledger").glob("*.jsonl"))
    disk = FailingDisk(errno.ENOSPC, 0.0)
    disk.fails = {"append"}
    with path.open("ab") as file:
        file.write(b"garbage\n")
    with pytest.raises(ConfigError, match=r"store\.path"):
        Ledger.open(tmp_path, "s", disk=disk)
    path.write_bytes(path.read_bytes()[:-1])
    ledger = Ledger.open(tmp_path, "s", disk=disk, limits=PATIENT)
    disk.fails = set()
    ledger.close()
    assert [body["saved"] for _, kind, body in entries(tmp_path) if kind == "recovered"] == [""]
    assert verify(tmp_path / "ledger").is_whole


def test_a_folder_of_rubbish_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "ledger").mkdir()
    for seq in range(3):
        (tmp_path / "ledger" / f"{seq:016d}.jsonl").write_bytes(b"rubbish\n")
    with pytest.raises(ConfigError, match=r"store\.ledger"):
        Ledger.open(tmp_path, "s")


WRITER = """
import asyncio, sys
from pathlib import Path
from ecotone.store import Ledger, LedgerLimits
from ecotone.values import Permit

async def main():
    limits = LedgerLimits(segment_bytes_max=20000, note_delay_s=0.001, checkpoint_entries=9)
    ledger = Ledger.open(Path(sys.argv[1]), "s", limits=limits)
    print("ready", flush=True)
    async def one(index):
        while True:
            ledger.note("placed", {"request": f"req-{index}", "pad": "x" * 100})
            permit = Permit(f"req-{index}", "t", "https://c:443", "ab" * 32, "none", "r", b"s")
            receipt = await ledger.permit(permit, body_bytes=1, labels=(), region=None)
            print(receipt.seq, index, flush=True)
    await asyncio.gather(*(one(index) for index in range(8)))

asyncio.run(main())
"""


@pytest.mark.parametrize("round_number", range(ROUNDS))
def test_every_receipt_survives_a_kill(tmp_path: Path, round_number: int) -> None:
    """One store, killed three times in a row at instants that the seed chooses."""
    rng = random.Random(round_number)
    receipts: dict[int, str] = {}
    for _ in range(3):
        command = [sys.executable, "-c", WRITER, str(tmp_path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            assert writer.stdout.readline() == "ready\n"
            said = [writer.stdout.readline() for _ in range(rng.randrange(0, 400))]
            for _ in range(rng.randrange(0, 20_000)):  # an instant between two receipts
                pass
            writer.send_signal(signal.SIGKILL)
            said += writer.stdout.read().splitlines(keepends=True)
            for line in said:
                if line.endswith("\n"):
                    seq, index = line.split()
                    receipts[int(seq)] = index
        before = verify(tmp_path / "ledger")
        assert before.is_whole or before.bad.why == "torn" or "what follows" in before.bad.detail, before.bad
    Ledger.open(tmp_path, "s").close()
    report = verify(tmp_path / "ledger", trust=Trust(((tmp_path / "site.pub").read_bytes(),)))
    assert report.is_whole, report.bad
    assert (report.attested.size, report.attested.is_signed) == (report.entries, True)
    written = {seq: (kind, body) for seq, kind, body in entries(tmp_path)}
    assert sorted(written) == list(range(report.entries))
    for seq, index in receipts.items():
        kind, body = written[seq]
        assert (kind, body["request"]) == ("egress", f"req-{index}")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB of its own."""
    libc = ctypes.CDLL(None, use_errno=True)
    path = tmp_path / "disk"
    path.mkdir()
    if libc.mount(b"ecotone-test", os.fsencode(path), b"tmpfs", 0, b"size=1m") != 0:
        pytest.skip(f"mount is not permitted here: {os.strerror(ctypes.get_errno())}")
    try:
        yield path
    finally:
        assert libc.umount2(os.fsencode(path), 2) == 0


def test_a_full_disk_refuses_and_heals_when_there_is_room(small_disk: Path) -> None:
    async def run() -> None:
        ledger = Ledger.open(small_disk, "s", limits=LedgerLimits(retry_s=0.001, segment_bytes_max=100_000))
        ballast = small_disk / "ballast"
        ballast.write_bytes(b"x" * 500_000)
        receipts = []
        with pytest.raises(RefusalError, match="No space left"):  # noqa: PT012
            for number in range(100_000):
                receipts.append(await permitted(ledger, number))
        with pytest.raises(RefusalError):
            ledger.note("placed", {"request": "req-x"})
        with pytest.raises(RefusalError):
            await permitted(ledger, 1)
        assert len(receipts) > 100
        ballast.unlink()
        while ledger.status().failure:
            await asyncio.sleep(0)
        receipts += [await permitted(ledger, number) for number in range(10)]
        assert ledger.close() == 0
        written = {seq: kind for seq, kind, _ in entries(small_disk)}
        assert all(written[receipt.seq] == "egress" for receipt in receipts)
        assert list(written.values()).count("egress") == len(receipts)
        assert list(written.values()).count("recovered") == 1

    asyncio.run(asyncio.wait_for(run(), 60))
    report = verify(small_disk / "ledger")
    assert report.is_whole, report.bad


def test_a_site_can_start_and_stop_on_a_full_disk(small_disk: Path) -> None:
    Ledger.open(small_disk, "s").close()
    with (small_disk / "ballast").open("wb", buffering=0) as ballast, pytest.raises(OSError, match="No space left"):  # noqa: PT012
        while True:
            ballast.write(b"x" * 4096)

    async def run() -> None:
        ledger = Ledger.open(small_disk, "s", limits=LedgerLimits(retry_s=0.001))
        with pytest.raises(RefusalError):  # noqa: PT012
            for number in range(100):
                await permitted(ledger, number)
        assert ledger.close() > 0

    asyncio.run(asyncio.wait_for(run(), 20))
    assert verify(small_disk / "ledger").is_whole
