"""What the durable queue costs: acceptance alone and in groups, a whole life of a job, start-up with many jobs.

    .venv/bin/python benchmarks/queue/run.py [--folder FOLDER] [--jobs 100000]

Each figure is the median of five runs on a fresh store; the disk is the one of the folder, and every accepted job is on
it before its caller knows. The same disk's bare synchronous write is the yardstick in the same run.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec

from ecotone.store import Queue, QueueLimits
from ecotone.values import Ending, Endpoint, Job, JobState

KEY = b"k" * 32
RUNS = 5
BODY_BYTES = 1000
LIMITS = QueueLimits(waiting_max=10**7, waiting_bytes_max=10**12, disk_bytes_max=10**12, free_bytes_min=0)
ANSWER = Ending(state=JobState.ANSWERED, status=200, reason="edge.private", body=b"x" * BODY_BYTES)


def job(number: int) -> Job:
    return Job(
        id=f"job-{number:09d}", endpoint=Endpoint.CHAT, model="auto", created_at_ms=1000 + number,
        deadline_at_ms=10**15, idempotency=f"once-{number}",
    )  # fmt: skip


def bare_fsync(folder: Path, n: int) -> float:
    """Synchronous writes of 4 KiB a second."""
    fd = os.open(folder / "bare", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    started_s = time.perf_counter()
    for _ in range(n):
        os.write(fd, bytes(4096))
        os.fdatasync(fd)
    took_s = time.perf_counter() - started_s
    os.close(fd)
    return n / took_s


async def alone(queue: Queue, n: int) -> None:
    """One caller, one job after the other."""
    for number in range(n):
        await queue.put([(job(number), bytes(BODY_BYTES))])


async def together(queue: Queue, n: int) -> None:
    """256 callers at the same time."""

    async def caller(first: int) -> None:
        for number in range(first, n, 256):
            await queue.put([(job(number), bytes(BODY_BYTES))])

    await asyncio.gather(*(caller(first) for first in range(256)))


async def batch(queue: Queue, n: int) -> None:
    """One call with all."""
    await queue.put([(job(number), bytes(BODY_BYTES)) for number in range(n)])


async def life(queue: Queue, n: int) -> None:
    """32 workers lease and settle what one call has put."""
    await batch(queue, n)

    async def worker() -> None:
        while leased := await queue.lease(1, now_ms=10**12, lease_ms=60_000):
            await queue.settle(leased[0].token, ANSWER, now_ms=10**12)

    await asyncio.gather(*(worker() for _ in range(32)))


def measured(folder: Path, act: Callable[[Queue, int], Awaitable[None]], n: int) -> list[float]:
    """Jobs a second, run by run."""
    rates = []
    for _ in range(RUNS):
        with tempfile.TemporaryDirectory(dir=folder) as store:

            async def run(store: str = store) -> float:
                queue = Queue.open(Path(store), KEY, limits=LIMITS)
                started_s = time.perf_counter()
                await act(queue, n)
                took_s = time.perf_counter() - started_s
                await queue.close()
                return n / took_s

            rates.append(asyncio.run(run()))
    return rates


def start_up(folder: Path, n: int) -> tuple[list[float], list[float], int]:
    """(Seconds to open a store with n jobs after a clean end, after a kill; bytes on the disk)."""
    clean, crashed, size = [], [], 0
    with tempfile.TemporaryDirectory(dir=folder) as store, tempfile.TemporaryDirectory(dir=folder) as other:

        async def fill() -> None:
            queue = Queue.open(Path(store), KEY, limits=LIMITS)
            for first in range(0, n, 1000):
                await queue.put([(job(number), bytes(BODY_BYTES)) for number in range(first, first + 1000)])
            await queue.lease(64, now_ms=10**12, lease_ms=60_000)
            for name in ("jobs.db", "jobs.db-wal"):
                (Path(other) / name).write_bytes((Path(store) / name).read_bytes())
            await queue.close()

        asyncio.run(fill())
        size = (Path(store) / "jobs.db").stat().st_size
        os.sync()
        for _ in range(RUNS):
            clean.append(_opened_s(Path(store)))
        crashed.append(_opened_s(Path(other)))
    return clean, crashed, size


def _opened_s(store: Path) -> float:
    async def run() -> float:
        started_s = time.perf_counter()
        queue = Queue.open(store, KEY, limits=LIMITS)
        took_s = time.perf_counter() - started_s
        await queue.close()
        return took_s

    return asyncio.run(run())


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--folder", type=Path, default=Path(__file__).parents[1] / ".work")
    asked.add_argument("--jobs", type=int, default=100_000)
    given = asked.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    rows = {
        "bare fdatasync, 4 KiB": [bare_fsync(given.folder, 300) for _ in range(RUNS)],
        "put, one caller": measured(given.folder, alone, 300),
        "put, 256 callers": measured(given.folder, together, 10_000),
        "put, one call": measured(given.folder, batch, 10_000),
        "lease + settle, 32 workers": measured(given.folder, life, 3_000),
    }
    for name, rates in rows.items():
        print(f"{name:28} {statistics.median(rates):10.0f} /s   ({min(rates):.0f} to {max(rates):.0f})")
    clean, crashed, size = start_up(given.folder, given.jobs)
    opened_s = f"{statistics.median(clean):.3f} s after a clean end, {crashed[0]:.3f} s after a kill"
    print(f"start-up, {given.jobs} jobs, {size >> 20} MB: {opened_s}")
    told = {"rates": rows, "clean_s": clean, "crashed_s": crashed, "bytes": size, "cpus": os.cpu_count()}
    (given.folder / "queue.json").write_bytes(msgspec.json.format(msgspec.json.encode(told)))


if __name__ == "__main__":
    main()
