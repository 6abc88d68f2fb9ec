"""The queue when processes are killed, files are torn and disks fail: what was acknowledged is there, and ends once."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ecotone.store import Queue, QueueLimits
from ecotone.values import Ending, Endpoint, Job, JobFilter, JobState, RefusalError

ROUNDS = int(os.environ.get("ECOTONE_FAULT_ROUNDS", "6"))
KEY = b"k" * 32
LIMITS = QueueLimits(check_s=20.0, free_bytes_min=0)
FAR_MS = 10**15
ANSWER = Ending(state=JobState.ANSWERED, status=200, reason="edge.private", body=b"{}")


def job(name: str, **more: Any) -> Job:
    return Job(id=name, endpoint=Endpoint.CHAT, model="auto", created_at_ms=1000, deadline_at_ms=FAR_MS, **more)


def opened(store: Path, **more: Any) -> Queue:
    return Queue.open(store, KEY, limits=LIMITS, now_ms=2000, **more)


async def all_jobs(queue: Queue) -> dict[str, Job]:
    found: dict[str, Job] = {}
    after, has_more = "", True
    while has_more:
        page = await queue.page(JobFilter(after=after, is_oldest_first=True), limit=500)
        found |= {one.id: one for one in page.jobs}
        after, has_more = page.jobs[-1].id if page.jobs else "", page.has_more
    return found


# What a killed process does: it says on its standard output what was acknowledged to it, as soon as it was.
CHILD = textwrap.dedent("""
    import asyncio, os, random, sys
    from pathlib import Path
    from ecotone.store import Queue, QueueLimits
    from ecotone.values import Ending, Endpoint, Job, JobState

    dice = random.Random(int(sys.argv[2]))
    ANSWER = Ending(state=JobState.ANSWERED, status=200, reason="edge.private", body=b"{}")

    def say(*words):
        os.write(1, (" ".join(words) + "\\n").encode())

    async def putting(queue, number):
        for turn in range(10**6):
            names = [f"job-{sys.argv[2]}-{number}-{turn}-{index}" for index in range(dice.choice((1, 1, 5)))]
            jobs = [Job(id=name, endpoint=Endpoint.CHAT, model="auto", created_at_ms=1000, deadline_at_ms=10**15,
                        idempotency=name) for name in names]
            await queue.put([(one, os.urandom(dice.randrange(3000))) for one in jobs])
            say("put", *names)

    async def working(queue):
        while True:
            for leased in await queue.lease(3, now_ms=5000, lease_ms=10**9):
                match dice.randrange(4):
                    case 0:
                        say("try", leased.job.id)
                        if await queue.settle(leased.token, ANSWER, now_ms=5000):
                            say("end", leased.job.id)
                    case 1:
                        await queue.release(leased.token, now_ms=5000, not_before_ms=0, reason="fallback.reset")
                    case 2:
                        say("try", leased.job.id)
                        if await queue.cancel(leased.job.id, now_ms=5000) is JobState.CANCELLED:
                            say("end", leased.job.id)
            await asyncio.sleep(0)

    async def main():
        limits = QueueLimits(check_s=20.0, free_bytes_min=0)
        queue = Queue.open(Path(sys.argv[1]), b"k" * 32, limits=limits, now_ms=2000)
        say("up")
        await asyncio.gather(*(putting(queue, number) for number in range(3)), working(queue), working(queue))

    asyncio.run(main())
""")


def killed(store: Path, seed: int, after_s: float) -> list[list[str]]:
    """What a process said before it was killed."""
    child = subprocess.Popen([sys.executable, "-c", CHILD, str(store), str(seed)], stdout=subprocess.PIPE)
    try:
        assert child.stdout is not None
        first = child.stdout.readline()
        assert first == b"up\n"
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(after_s)
        assert child.poll() is None, "it ended by itself"
    finally:
        child.send_signal(signal.SIGKILL)
        out, _ = child.communicate()
    whole = out[: out.rfind(b"\n") + 1]
    return [line.split() for line in whole.decode().splitlines()]


def test_after_a_kill_all_that_was_acknowledged_is_there_and_nothing_ends_twice(tmp_path: Path) -> None:
    dice = random.Random(7)
    put: set[str] = set()
    ended: set[str] = set()
    tried: set[str] = set()
    for number in range(ROUNDS):
        said = killed(tmp_path, number, dice.uniform(0.02, 0.5))
        for verb, *names in said:
            assert not (verb == "end" and names[0] in ended), "it ended twice"
            {"put": put, "end": ended, "try": tried}[verb].update(names)

        async def look() -> None:
            queue = opened(tmp_path)
            assert queue.recovered.loss is None
            found = await all_jobs(queue)
            assert put <= set(found)
            for name in ended:
                assert found[name].state in (JobState.ANSWERED, JobState.CANCELLED)
            for name in set(found) - tried:
                assert found[name].state is JobState.WAITING
            status = queue.status()
            assert status.states[JobState.RUNNING] == 0
            assert sum(status.states.values()) == len(found)
            await ended_once(queue, found)
            # What ended as the process was killed counts from here on.
            ended.update(name for name, one in found.items() if one.ended_at_ms)
            await queue.close()

        asyncio.run(look())
    assert put
    assert ended


async def ended_once(queue: Queue, found: dict[str, Job]) -> None:
    """The events of each job are a way through the table, with one end at most."""
    last: dict[str, JobState] = {}
    since = 0
    while told := await queue.events(since, limit=1000):
        for event in told:
            before = last.get(event.job)
            assert (before is None) == (event.state is JobState.WAITING and before is None)
            assert before in (None, JobState.WAITING, JobState.RUNNING), f"{event} after {before}"
            last[event.job] = event.state
        since = told[-1].seq
    assert {name: one.state for name, one in found.items()} == last


@pytest.mark.parametrize("kind", ["truncated", "garbled", "zeroed"])
def test_a_torn_wal_loses_only_what_lies_behind_the_tear(tmp_path: Path, kind: str) -> None:
    """Nobody promises to outlive a medium that loses what it has synchronised; the rest must be whole all the same."""
    dice = random.Random(kind)

    async def fill() -> tuple[list[int], dict[str, bytes]]:
        queue = opened(tmp_path / "whole")
        sizes = []
        for index in range(12):
            await queue.put([(job(f"job-{index}-{part}"), os.urandom(900)) for part in range(3)])
            sizes.append((tmp_path / "whole" / "jobs.db-wal").stat().st_size)
        files = {name: (tmp_path / "whole" / name).read_bytes() for name in ("jobs.db", "jobs.db-wal")}
        await queue.close()
        return sizes, files

    async def look(store: Path, at: int) -> None:
        queue = opened(store)
        assert queue.recovered.loss is None
        found = await all_jobs(queue)
        for index, size in enumerate(sizes):
            parts = {f"job-{index}-{part}" for part in range(3)}
            assert parts <= set(found) or not parts & set(found), "half a transaction"
            assert size > at or parts <= set(found)
        assert [name for name in found if await queue.body(name) is None] == []
        await queue.put([(job("job-new"), b"x")])
        await queue.close()

    sizes, files = asyncio.run(fill())
    content = files["jobs.db-wal"]
    for number in range(ROUNDS * 3):
        store = tmp_path / str(number)
        store.mkdir()
        at = dice.randrange(len(content))
        behind = {"truncated": b"", "garbled": dice.randbytes(len(content) - at), "zeroed": bytes(len(content) - at)}
        (store / "jobs.db").write_bytes(files["jobs.db"])
        (store / "jobs.db-wal").write_bytes(content[:at] + behind[kind])
        asyncio.run(look(store, at))
        shutil.rmtree(store)


@pytest.mark.parametrize("size", [16, 512, 4096])
def test_a_first_page_that_was_torn_in_a_checkpoint_is_taken_from_the_wal(tmp_path: Path, size: int) -> None:
    """The power went while a checkpoint wrote into the file: all that it wrote stands in the WAL."""

    async def fill() -> None:
        queue = opened(tmp_path)
        await queue.put([(job("job-1"), b"x")])
        files = {name: (tmp_path / name).read_bytes() for name in ("jobs.db", "jobs.db-wal")}
        await queue.close()
        (tmp_path / "jobs.db").write_bytes(bytes(size) + files["jobs.db"][size:])
        (tmp_path / "jobs.db-wal").write_bytes(files["jobs.db-wal"])

    async def look() -> None:
        queue = opened(tmp_path)
        assert queue.recovered.loss is None
        assert set(await all_jobs(queue)) == {"job-1"}
        await queue.close()

    asyncio.run(fill())
    asyncio.run(look())


def broken(whole: bytes, what: str, dice: random.Random) -> bytes:
    """A file as a dying disk may leave it."""
    content = bytearray(whole)
    match what:
        case "header":
            content[:100] = bytes(100)
        case "pages":
            for _ in range(6):
                at = dice.randrange(1, len(content) // 4096) * 4096
                content[at : at + 4096] = dice.randbytes(4096)
        case "all":
            content[:] = dice.randbytes(len(content))
        case "short":
            del content[dice.randrange(5000, len(content) - 4096) :]
    return bytes(content)


@pytest.mark.parametrize("what", ["header", "pages", "all", "short"])
def test_a_broken_file_is_put_aside_and_what_can_be_read_goes_on(tmp_path: Path, what: str) -> None:
    dice = random.Random(what)
    kept: list[int] = []

    async def fill() -> None:
        queue = opened(tmp_path / "whole")
        for index in range(120):
            await queue.put([(job(f"job-{index}"), os.urandom(1500))])
        for leased in await queue.lease(20, now_ms=3000, lease_ms=1000):
            await queue.settle(leased.token, ANSWER, now_ms=3000)
        await queue.close()

    async def look(store: Path) -> None:
        queue = opened(store)
        found = await all_jobs(queue)
        loss = queue.recovered.loss
        if loss is None:  # only where what was hit is not part of any list: a body, which is sealed
            assert what == "pages"
        else:
            assert Path(loss.path).exists()
            assert loss.jobs == len(found)
            assert loss.is_lower_bound or loss.jobs + loss.lost == 120
        kept.append(len(found))
        for leased in await queue.lease(200, now_ms=3000, lease_ms=1000):
            assert await queue.settle(leased.token, ANSWER, now_ms=3000)
        assert queue.status().states[JobState.WAITING] == 0
        assert all(one.ended_at_ms for one in (await all_jobs(queue)).values())
        await queue.put([(job("job-new"), b"x")])
        await queue.close()
        again = opened(store)
        assert again.recovered.loss is None
        await again.close()

    asyncio.run(fill())
    whole = (tmp_path / "whole" / "jobs.db").read_bytes()
    for number in range(ROUNDS * 2):
        store = tmp_path / str(number)
        store.mkdir()
        (store / "jobs.db").write_bytes(broken(whole, what, dice))
        asyncio.run(look(store))
        shutil.rmtree(store)
    if what == "pages":  # where the page is hit from which all others hang, nothing is left, and that is told
        assert sum(number > 20 for number in kept) > len(kept) // 2


class Failing:
    """Connections whose commits fail while they are told to."""

    def __init__(self, code: int, *, is_kept: bool = False) -> None:
        self.code, self.is_failing, self.is_kept = code, False, is_kept

    def __call__(self, path: Path, *, busy_s: float) -> sqlite3.Connection:
        failing = self

        class Connection(sqlite3.Connection):
            def execute(self, sql: str, *rest: Any) -> sqlite3.Cursor:
                if failing.is_failing and sql == "COMMIT":
                    if failing.is_kept:
                        super().execute(sql, *rest)
                    error = sqlite3.OperationalError("disk I/O error")
                    error.sqlite_errorcode = failing.code
                    error.sqlite_errorname = "SQLITE_MADE"
                    raise error
                return super().execute(sql, *rest)

        connection = sqlite3.connect(
            path, timeout=busy_s, isolation_level=None, check_same_thread=False, factory=Connection
        )
        connection.execute("PRAGMA journal_mode = WAL")
        return connection


@pytest.mark.parametrize("code", [sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_IOERR_WRITE])
def test_a_failed_commit_refuses_all_of_its_group_and_heals(tmp_path: Path, code: int) -> None:
    faults = Failing(code)

    async def act() -> None:
        queue = opened(tmp_path, connect=faults)
        await queue.put([(job("job-0"), b"x")])
        faults.is_failing = True
        puts = (queue.put([(job(f"job-{number}"), b"x")]) for number in range(1, 9))
        told = await asyncio.gather(*puts, return_exceptions=True)
        expected = ("refused.store_full", 507) if code == sqlite3.SQLITE_FULL else ("refused.store", 503)
        for error in told:
            assert isinstance(error, RefusalError)
            assert (error.code, error.status) == expected
            assert error.retry_after_s
        assert queue.status().failure == "SQLITE_MADE"
        assert queue.status().states[JobState.WAITING] == 1
        assert set(await all_jobs(queue)) == {"job-0"}
        faults.is_failing = False
        await queue.put([(job("job-9"), b"x")])
        assert queue.status().failure == ""
        assert set(await all_jobs(queue)) == {"job-0", "job-9"}
        assert queue.status().states[JobState.WAITING] == 2
        await queue.close()

    asyncio.run(act())


def test_a_commit_that_was_kept_though_it_failed_may_be_repeated(tmp_path: Path) -> None:
    faults = Failing(sqlite3.SQLITE_IOERR_FSYNC, is_kept=True)

    async def act() -> None:
        queue = opened(tmp_path, connect=faults)
        faults.is_failing = True
        with pytest.raises(RefusalError):
            await queue.put([(job("job-1", idempotency="x"), b"x")])
        faults.is_failing = False
        assert await queue.put([(job("job-1", idempotency="x"), b"x")]) == ("job-1",)
        await queue.close()
        queue = opened(tmp_path)
        assert queue.status().states[JobState.WAITING] == 1
        await queue.close()

    asyncio.run(act())


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 8 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", place]).returncode:
        pytest.skip("mounting needs root")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", place], check=True)


async def filled(queue: Queue) -> tuple[list[str], RefusalError]:
    """Jobs that were accepted before the disk was full, and what the next one was told."""
    kept: list[str] = []
    while len(kept) < 1000:
        try:
            await queue.put([(job(f"job-{len(kept)}"), os.urandom(20_000))])
        except RefusalError as error:
            return kept, error
        kept.append(f"job-{len(kept)}")
    raise AssertionError("it was never full")


def test_a_full_disk_refuses_loses_nothing_and_heals(small_disk: Path) -> None:
    async def act() -> None:
        queue = opened(small_disk, free=lambda _: 1 << 40)  # the budget is blind: SQLite itself finds the disk full
        ballast = small_disk / "ballast"
        ballast.write_bytes(bytes(5 << 20))
        kept, told = await filled(queue)
        assert (told.code, told.status) == ("refused.store_full", 507)
        assert kept
        ballast.unlink()
        await queue.put([(job("job-last"), b"x")])
        assert set(await all_jobs(queue)) == {*kept, "job-last"}
        for leased in await queue.lease(1000, now_ms=3000, lease_ms=10):
            assert await queue.settle(leased.token, ANSWER, now_ms=3000)
        await queue.close()
        queue = opened(small_disk)
        assert queue.recovered.loss is None
        assert queue.status().states[JobState.ANSWERED] == len(kept) + 1
        await queue.close()

    asyncio.run(act())


def test_before_the_disk_is_full_it_is_refused_in_words(small_disk: Path) -> None:
    async def act() -> None:
        limits = QueueLimits(free_bytes_min=1 << 20)
        queue = Queue.open(small_disk, KEY, limits=limits, now_ms=1)
        accepted, told = await filled(queue)
        assert (told.code, told.status) == ("refused.store_full", 507)
        assert "nearly full" in told.message
        assert queue.status().failure == ""
        # What was accepted still ends: its answers have the room that is left.
        for leased in await queue.lease(len(accepted), now_ms=3000, lease_ms=10):
            assert await queue.settle(leased.token, ANSWER, now_ms=3000)
        await queue.close()

    asyncio.run(act())


def test_a_file_that_cannot_grow_refuses_and_heals(tmp_path: Path) -> None:
    """A limit of the process stands for a disk whose writes fail: SQLite gets EFBIG where it writes."""
    script = textwrap.dedent("""
        import asyncio, os, resource, signal, sys
        from pathlib import Path
        from tests.faults.test_queue import RefusalError, all_jobs, job, opened

        async def act():
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            queue = opened(Path(sys.argv[1]))
            soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
            resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, hard))
            kept, refused = [], 0
            for number in range(60):
                try:
                    await queue.put([(job(f"job-{number}"), os.urandom(20_000))])
                    kept.append(f"job-{number}")
                except RefusalError as error:
                    assert error.code in ("refused.store", "refused.store_full"), error.code
                    refused += 1
            assert kept and refused, (kept, refused)
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
            await queue.put([(job("job-last"), b"x")])
            assert set(await all_jobs(queue)) == {*kept, "job-last"}
            await queue.close()
            queue = opened(Path(sys.argv[1]))
            assert queue.recovered.loss is None
            assert set(await all_jobs(queue)) == {*kept, "job-last"}
            await queue.close()

        asyncio.run(act())
    """)
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], cwd=root, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
