"""Copies of the queue: made beside a running site, checked, and put back."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from pathlib import Path

import pytest

from ecotone.store import Queue, QueueLimits, Sealer, backup, examined, restore
from ecotone.values import ConfigError, EcotoneError, Ending, Endpoint, Job, JobFilter, JobState, StoredFile

KEY = b"k" * 32
SEALER = Sealer(KEY)
LIMITS = QueueLimits(check_s=20.0, free_bytes_min=0)
ANSWER = Ending(state=JobState.ANSWERED, status=200, reason="edge.private", body=b"the answer")


def job(name: str) -> Job:
    return Job(id=name, endpoint=Endpoint.CHAT, model="auto", created_at_ms=1000, deadline_at_ms=10**15)


async def filled(store: Path) -> Queue:
    queue = Queue.open(store, KEY, limits=LIMITS, now_ms=2000)
    await queue.put([(job(f"job-{number}"), os.urandom(2000)) for number in range(300)])
    await queue.put_file(StoredFile(id="file-1", name="n", purpose="p", created_at_ms=1), b"content")
    [leased] = await queue.lease(1, now_ms=3000, lease_ms=1000)
    await queue.settle(leased.token, ANSWER, now_ms=3000)
    return queue


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store with a queue that nobody uses."""

    async def fill() -> None:
        await (await filled(tmp_path / "store")).close()

    asyncio.run(fill())
    return tmp_path / "store"


def test_a_copy_is_one_instant_and_nobody_waits_for_it(tmp_path: Path) -> None:
    async def act() -> None:
        queue = await filled(tmp_path / "store")
        copying = asyncio.create_task(
            asyncio.to_thread(backup, tmp_path / "store", tmp_path / "copy.db", pages=1, pause_s=0.005)
        )
        written = 0
        while not copying.done():
            await queue.put([(job(f"job-late-{written}"), b"x" * 5000)])
            written += 1
        copied = await copying
        assert written > 1, "the writer waited for the copy"
        assert copied.jobs < 300 + written
        assert copied.path == str(tmp_path / "copy.db")
        assert copied.size == (tmp_path / "copy.db").stat().st_size
        assert (tmp_path / "copy.db").stat().st_mode & 0o777 == 0o600
        await queue.close()
        found = examined(tmp_path / "copy.db", SEALER)
        assert found.is_whole
        assert sum(found.states.values()) == copied.jobs
        assert sorted(path.name for path in tmp_path.iterdir()) == ["copy.db", "store"]

    asyncio.run(act())


def test_a_copy_is_put_into_an_empty_store_and_works(store: Path, tmp_path: Path) -> None:
    backup(store, tmp_path / "copy.db")
    copied = restore(tmp_path / "copy.db", tmp_path / "new", SEALER)
    assert copied.jobs == 300
    assert (tmp_path / "new" / "jobs.db").stat().st_mode & 0o777 == 0o600

    async def look() -> None:
        queue = Queue.open(tmp_path / "new", KEY, limits=LIMITS, now_ms=2000)
        assert queue.recovered.loss is None
        assert await queue.answer("job-0") == b"the answer"
        assert await queue.read_file("file-1", 0, 99) == b"content"
        assert len((await queue.page(JobFilter(state=JobState.WAITING), limit=500)).jobs) == 299
        [leased] = await queue.lease(1, now_ms=3000, lease_ms=1000)
        assert await queue.settle(leased.token, ANSWER, now_ms=3000)
        await queue.close()

    asyncio.run(look())


def test_a_copy_is_never_put_over_a_queue_or_beside_a_site(store: Path, tmp_path: Path) -> None:
    backup(store, tmp_path / "copy.db")
    before = (store / "jobs.db").read_bytes()
    with pytest.raises(ConfigError, match="a queue already") as told:
        restore(tmp_path / "copy.db", store, SEALER)
    assert told.value.code == "store.restore"
    assert (store / "jobs.db").read_bytes() == before

    async def beside() -> None:
        queue = Queue.open(tmp_path / "new", KEY, limits=LIMITS, now_ms=2000)
        with pytest.raises(ConfigError, match="stop it first"):
            restore(tmp_path / "copy.db", tmp_path / "new", SEALER)
        await queue.close()

    asyncio.run(beside())


def test_what_is_no_good_copy_is_not_put_back(store: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    backup(store, copy)
    for spoil, sealer, code in (
        (lambda content: content, Sealer(bytes(32)), "store.key"),
        (lambda content: b"x" * 100 + content[100:], SEALER, "store.restore"),
        (lambda content: content[: len(content) // 2], SEALER, "store.restore"),
        (lambda _: b"", SEALER, "store.version"),
    ):
        spoiled = tmp_path / "spoiled.db"
        spoiled.write_bytes(spoil(copy.read_bytes()))
        with pytest.raises(ConfigError) as told:
            restore(spoiled, tmp_path / "new", sealer)
        assert told.value.code == code
        assert not (tmp_path / "new" / "jobs.db").exists()
    with pytest.raises(ConfigError, match="no such file"):
        restore(tmp_path / "none.db", tmp_path / "new", SEALER)


def test_a_copy_needs_a_queue_and_a_new_name(store: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no queue"):
        backup(tmp_path, tmp_path / "copy.db")
    (tmp_path / "copy.db").write_bytes(b"precious")
    with pytest.raises(ConfigError, match="is there already"):
        backup(store, tmp_path / "copy.db")
    assert (tmp_path / "copy.db").read_bytes() == b"precious"
    with pytest.raises(EcotoneError, match="free space") as told:
        backup(store, tmp_path / "no" / "folder" / "copy.db")
    assert told.value.code == "store.failed"


def test_an_examination_names_what_is_broken(store: Path, tmp_path: Path) -> None:
    path = store / "jobs.db"
    assert examined(path, None).is_whole
    assert examined(path, None).unreadable == {}
    found = examined(path, SEALER)
    assert found.is_whole
    assert found.states == {"answered": 1, "waiting": 299}
    with pytest.raises(ConfigError, match="another key"):
        examined(path, Sealer(bytes(32)))
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE bodies SET answer = zeroblob(50) WHERE answer IS NOT NULL")
        connection.execute("UPDATE pieces SET content = zeroblob(50)")
    connection.close()
    found = examined(path, SEALER)
    assert not found.is_whole
    assert {kind: number for kind, number in found.unreadable.items() if number} == {"answers": 1, "pieces": 1}
    with sqlite3.connect(path) as connection:
        [(root,)] = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'jobs_waiting'")
    connection.close()
    content = bytearray(path.read_bytes())
    content[(root - 1) * 4096 : root * 4096] = os.urandom(4096)
    path.write_bytes(content)
    assert not examined(path, SEALER).is_whole
    path.write_bytes(b"something else")
    assert examined(path, None).faults == ("it does not begin as SQLite's files do",)
    with pytest.raises(ConfigError, match="no queue"):
        examined(tmp_path / "none.db", None)
