"""The durable queue beyond its port's contract (`tests/contract/test_queue.py`): keys, shapes, groups, damage."""

from __future__ import annotations

import asyncio
import hashlib
import os
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from ecotone.store import Queue, QueueLimits, migrations
from ecotone.store.database import connect
from ecotone.store.disk import Disk
from ecotone.store.opening import check
from ecotone.store.queue_jobs import DAMAGED
from ecotone.store.salvage import is_pending, quarantine
from ecotone.values import (
    Batch,
    ConfigError,
    Ending,
    Endpoint,
    Job,
    JobFilter,
    JobState,
    RefusalError,
    StoredFile,
)

KEY = b"k" * 32
LIMITS = QueueLimits(check_s=20.0, free_bytes_min=0)
FAR_MS = 10**15
ANSWER = Ending(state=JobState.ANSWERED, status=200, reason="edge.private", body=b"the answer")


def job(name: str, **more: Any) -> Job:
    return Job(id=name, endpoint=Endpoint.CHAT, model="auto", created_at_ms=1000, **({"deadline_at_ms": FAR_MS} | more))


def opened(store: Path, **more: Any) -> Queue:
    return Queue.open(store, more.pop("key", KEY), **({"limits": LIMITS, "now_ms": 2000} | more))


def play(store: Path, act: Callable[[Queue], Awaitable[None]], **more: Any) -> None:
    """One life of a queue."""

    async def life() -> None:
        queue = opened(store, **more)
        try:
            await act(queue)
        finally:
            await queue.close()

    asyncio.run(asyncio.wait_for(life(), 20))


def edited(store: Path, *statements: str) -> None:
    """Changes the file behind the queue's back."""
    with sqlite3.connect(store / "jobs.db") as connection:
        for statement in statements:
            connection.execute(statement)
    connection.close()


async def some(queue: Queue) -> None:
    """One job of each kind, a file and a batch."""
    batch = Batch(id="batch-1", endpoint="e", input_file="file-1", created_at_ms=1, expires_at_ms=2)
    await queue.put([(job("job-1", key="a", idempotency="once"), b"first"), (job("job-2"), b"second")], batch)
    await queue.put([(job("job-3", custom_id="patient 7"), b"third")])
    await queue.put_file(StoredFile(id="file-1", name="n.jsonl", purpose="batch", created_at_ms=1), b"content" * 99_999)
    [leased] = await queue.lease(1, now_ms=3000, lease_ms=1000)
    await queue.settle(leased.token, ANSWER, now_ms=3000)


async def still_there(queue: Queue) -> None:
    """What `some` has put."""
    assert await queue.answer("job-1") == b"the answer"
    assert await queue.body("job-2") == b"second"


def test_nothing_of_what_was_said_lies_open_on_the_disk(tmp_path: Path) -> None:
    async def act(queue: Queue) -> None:
        await some(queue)
        for path in tmp_path.iterdir():
            content = path.read_bytes()
            for words in (b"first", b"third", b"the answer", b"contentcontent", b"patient 7", b"n.jsonl", b"once"):
                assert words not in content, path.name
            assert path.stat().st_mode & 0o077 == 0, path.name

    play(tmp_path, act)


def test_a_restart_finds_everything_and_who_worked_is_gone(tmp_path: Path) -> None:
    async def first(queue: Queue) -> None:
        await some(queue)
        assert [one.job.id for one in await queue.lease(1, now_ms=3000, lease_ms=10**9)] == ["job-2"]
        await queue.begin_file(StoredFile(id="file-2", name="half", purpose="batch", created_at_ms=1))
        await queue.append_file("file-2", b"x")

    async def second(queue: Queue) -> None:
        assert (queue.recovered.released, queue.recovered.unfinished, queue.recovered.had_version) == (1, 1, 2)
        assert await queue.answer("job-1") == b"the answer"
        waiting = await queue.get("job-2")
        assert waiting is not None
        assert (waiting.state, waiting.attempts) == (JobState.WAITING, 1)
        assert await queue.read_file("file-1", 0, 14) == b"contentcontent"
        assert await queue.file("file-2") is None
        assert await queue.batch("batch-1") is not None
        assert (await queue.events(0, limit=99))[-1].job == "job-2"
        assert await queue.put([(job("job-9", key="a", idempotency="once"), b"")]) == ("job-1",)

    play(tmp_path, first)
    play(tmp_path, second)


def test_another_key_is_refused_in_words_and_changes_nothing(tmp_path: Path) -> None:
    play(tmp_path, some)
    before = (tmp_path / "jobs.db").read_bytes()
    with pytest.raises(ConfigError, match="another key sealed the queue") as told:
        opened(tmp_path, key=b"z" * 32)
    assert told.value.code == "store.key"
    assert (tmp_path / "jobs.db").read_bytes() == before
    play(tmp_path, still_there)


def test_without_the_files_own_word_for_its_key_its_jobs_tell(tmp_path: Path) -> None:
    play(tmp_path, some)
    edited(tmp_path, "DELETE FROM meta")
    with pytest.raises(ConfigError, match="another key"):
        opened(tmp_path, key=b"z" * 32)
    play(tmp_path, still_there)


def test_only_one_process_has_the_queue(tmp_path: Path) -> None:
    async def act(_queue: Queue) -> None:
        with pytest.raises(ConfigError) as told:
            opened(tmp_path)
        assert told.value.code == "store.locked"

    play(tmp_path, act)


def test_a_folder_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    (tmp_path / "store").write_bytes(b"a file")
    with pytest.raises(ConfigError) as told:
        opened(tmp_path / "store")
    assert told.value.code == "store.path"


def test_a_file_of_a_newer_ecotone_is_refused(tmp_path: Path) -> None:
    play(tmp_path, some)
    edited(tmp_path, f"PRAGMA user_version = {migrations.LATEST + 1}")
    with pytest.raises(ConfigError, match="newer Ecotone") as told:
        opened(tmp_path)
    assert told.value.code == "store.version"


@pytest.mark.parametrize("version", range(1, migrations.LATEST + 1))
def test_a_file_of_every_older_version_is_led_forward(tmp_path: Path, version: int) -> None:
    play(tmp_path, some)
    old = tmp_path / "old"
    old.mkdir()
    with sqlite3.connect(old / "jobs.db", isolation_level=None) as made:
        migrations.migrate(made, to=version)
        made.execute("ATTACH ? AS new", (str(tmp_path / "jobs.db"),))
        for (table,) in made.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name != 'sqlite_sequence'"
        ):
            made.execute(f"INSERT INTO {table} SELECT * FROM new.{table}")
    made.close()

    async def look(queue: Queue) -> None:
        assert queue.recovered.had_version == version
        assert queue.recovered.loss is None
        assert await queue.answer("job-1") == b"the answer"
        assert await queue.body("job-3") == b"third"
        assert await queue.read_file("file-1", 0, 7) == b"content"
        told = {event.job: event.state for event in await queue.events(0, limit=99)}
        assert told == {"job-1": JobState.ANSWERED, "job-2": JobState.WAITING, "job-3": JobState.WAITING}
        [leased] = await queue.lease(1, now_ms=3000, lease_ms=1000)
        assert await queue.settle(leased.token, ANSWER, now_ms=3000)
        assert queue.status().events == (await queue.events(0, limit=99))[-1].seq

    play(old, look)


def test_a_shape_that_was_released_is_never_edited() -> None:
    digests = [hashlib.sha256("\n".join(shape).encode()).hexdigest()[:16] for shape in migrations.MIGRATIONS]
    assert digests == ["223d863ba73ce585", "917754040536f7ec"], "add a version in place of editing one"


def test_a_migration_that_fails_leaves_the_version_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migrations, "MIGRATIONS", (migrations.MIGRATIONS[0], ("CREATE TABLE more (x)", "no statement")))
    with sqlite3.connect(tmp_path / "x.db", isolation_level=None) as made:
        with pytest.raises(sqlite3.OperationalError):
            migrations.migrate(made)
        assert migrations.version(made) == 1
        assert made.execute("SELECT count(*) FROM sqlite_master WHERE name = 'more'").fetchone() == (0,)
    made.close()


def test_many_calls_share_a_transaction_and_one_that_fails_spoils_none(tmp_path: Path) -> None:
    limits = QueueLimits(free_bytes_min=0, body_bytes_max=10)

    async def act(queue: Queue) -> None:
        bodies = [b"x" * (20 if number == 7 else 1) for number in range(50)]
        calls = (queue.put([(job(f"job-{number}"), body)]) for number, body in enumerate(bodies))
        told = await asyncio.gather(*calls, return_exceptions=True)
        assert [type(one) for one in told].count(tuple) == 49
        status = queue.status()
        assert (status.commands, status.states[JobState.WAITING]) == (50, 49)
        assert status.groups < 25
        assert len(await queue.events(0, limit=99)) == 49

    play(tmp_path, act, limits=limits)


def test_groups_and_what_waits_for_them_are_bounded(tmp_path: Path) -> None:
    async def act(queue: Queue) -> None:
        calls = (queue.put([(job(f"job-{number}"), b"x")]) for number in range(40))
        told = await asyncio.gather(*calls, return_exceptions=True)
        refused = [one for one in told if isinstance(one, RefusalError)]
        assert refused
        assert {(one.code, one.status) for one in refused} == {("refused.store", 503)}
        assert queue.status().groups >= 2
        assert queue.status().states[JobState.WAITING] == 40 - len(refused)

    play(tmp_path, act, limits=QueueLimits(free_bytes_min=0, commands_max=10, group_max=3))


def test_a_defect_in_one_call_is_its_callers_alone(tmp_path: Path) -> None:
    async def act(queue: Queue) -> None:
        wrong: Any = object()
        told = await asyncio.gather(
            queue.put([(job("job-1"), wrong)]), queue.put([(job("job-2"), b"")]), return_exceptions=True
        )
        assert isinstance(told[0], TypeError)
        assert told[1] == ("job-2",)

    play(tmp_path, act)


def test_after_the_end_everything_is_refused(tmp_path: Path) -> None:
    async def life() -> None:
        queue = opened(tmp_path)
        follower = asyncio.create_task(queue.changed(0))
        await asyncio.sleep(0)
        late = asyncio.create_task(queue.put([(job("job-1"), b"x")]))
        await asyncio.sleep(0)
        await queue.close()
        await queue.close()
        assert await late == ("job-1",)
        assert await follower >= 1
        for call in (queue.put([]), queue.get("job-1"), queue.changed(10**9)):
            with pytest.raises(RefusalError) as told:
                await call
            assert (told.value.code, told.value.status) == ("refused.store", 503)

    asyncio.run(asyncio.wait_for(life(), 20))


def test_who_leaves_before_the_answer_harms_nobody(tmp_path: Path) -> None:
    async def act(queue: Queue) -> None:
        leaving = asyncio.create_task(queue.put([(job("job-1"), b"x")]))
        await asyncio.sleep(0)
        leaving.cancel()
        await queue.put([(job("job-2"), b"x")])
        assert await queue.get("job-1") is not None

    play(tmp_path, act)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE bodies SET ask = zeroblob(40)",
        "DELETE FROM bodies",
        "UPDATE jobs SET facts = zeroblob(40)",
        "UPDATE bodies SET seq = -seq; UPDATE bodies SET seq = 3 + seq",
    ],
)
def test_a_job_that_can_no_longer_be_read_ends_with_the_reason(tmp_path: Path, statement: str) -> None:
    async def fill(queue: Queue) -> None:
        await queue.put([(job("job-1"), b"first"), (job("job-2"), b"second")])

    async def look(queue: Queue) -> None:
        assert [one.id for one in await queue.due(9, now_ms=3000)] == ["job-1", "job-2"]
        assert await queue.label("job-1", ["person"]) == ("facts" not in statement)
        assert await queue.lease(9, now_ms=3000, lease_ms=1000) == ()
        for name in ("job-1", "job-2"):
            ended = await queue.get(name)
            assert ended is not None
            assert (ended.state, ended.reason, ended.status) == (JobState.FAILED, DAMAGED, 500)
            assert b"can no longer be read" in (await queue.answer(name) or b"")
        assert queue.status().waiting_bytes == 0

    play(tmp_path, fill)
    edited(tmp_path, *statement.split("; "))
    play(tmp_path, look)


def test_what_was_changed_behind_the_queues_back_is_not_given_out(tmp_path: Path) -> None:
    play(tmp_path, some)
    edited(
        tmp_path,
        "UPDATE bodies SET answer = zeroblob(40)",
        "UPDATE pieces SET content = zeroblob(40) WHERE start > 0",
        "UPDATE batches SET facts = zeroblob(40)",
    )

    async def look(queue: Queue) -> None:
        assert await queue.answer("job-1") is None
        assert await queue.read_file("file-1", 0, 7) == b"content"
        assert await queue.read_file("file-1", 0, 700_000) is None
        assert await queue.batch("batch-1") is None
        assert await queue.batches(limit=9) == ()

    play(tmp_path, look)
    edited(tmp_path, "DELETE FROM pieces WHERE start > 0", "UPDATE jobs SET facts = x'00' WHERE id = 'job-1'")

    async def again(queue: Queue) -> None:
        assert await queue.read_file("file-1", 0, 700_000) is None
        known = await queue.get("job-1")
        assert known is not None
        assert (known.state, known.status) == (JobState.ANSWERED, 200)
        page = await queue.page(JobFilter(), limit=9)
        assert len(page.jobs) == 3

    play(tmp_path, again)
    edited(tmp_path, "UPDATE files SET facts = zeroblob(40)")

    async def last(queue: Queue) -> None:
        assert await queue.file("file-1") is None
        assert await queue.files(limit=9) == ()

    play(tmp_path, last)


def test_over_its_share_of_the_disk_nothing_new_is_taken(tmp_path: Path) -> None:
    async def act(queue: Queue) -> None:
        await queue.put([(job("job-1"), b"x" * 1000)])
        for call in (
            queue.put([(job("job-2"), b"x" * 400_000)]),
            queue.put_file(StoredFile(id="file-1", name="n", purpose="p", created_at_ms=1), b"x" * 400_000),
        ):
            with pytest.raises(RefusalError) as told:
                await call
            assert (told.value.code, told.value.status) == ("refused.store_full", 507)
            assert told.value.retry_after_s
        await queue.put([(job("job-3"), b"x" * 1000)])
        assert await queue.file("file-1") is None

    play(tmp_path, act, limits=QueueLimits(free_bytes_min=0, disk_bytes_max=300_000))


def test_near_the_end_of_the_disk_nothing_new_is_taken(tmp_path: Path) -> None:
    room = 1 << 30

    async def act(queue: Queue) -> None:
        nonlocal room
        await queue.put([(job("job-1"), b"x")])
        room = 1 << 20
        with pytest.raises(RefusalError, match="nearly full"):
            await queue.put([(job("job-2"), b"x")])
        assert await queue.put([(job("job-1"), b"x")]) == ("job-1",)
        with pytest.raises(RefusalError, match="nearly full"):
            await queue.put([(job("job-1"), b"x"), (job("job-2"), b"x")])
        [leased] = await queue.lease(1, now_ms=3000, lease_ms=1000)
        assert await queue.settle(leased.token, ANSWER, now_ms=3000)
        room = 1 << 30
        await queue.put([(job("job-2"), b"x")])

    play(tmp_path, act, limits=QueueLimits(free_bytes_min=1 << 20), free=lambda _: room)


def test_room_that_is_no_longer_used_goes_back_to_the_disk(tmp_path: Path) -> None:
    async def act(queue: Queue) -> None:
        await queue.put([(job(f"job-{number}"), os.urandom(3000)) for number in range(1200)])
        await asyncio.gather(*(queue.cancel(f"job-{number}", now_ms=3000) for number in range(1200)))
        assert await queue.delete_ended(4000, now_ms=4000) == 1200
        assert sum(queue.status().states.values()) == 0

    play(tmp_path, act)
    assert (tmp_path / "jobs.db").stat().st_size < 1_000_000


def test_the_oldest_events_are_forgotten(tmp_path: Path) -> None:
    async def act(queue: Queue) -> None:
        await queue.put([(job(f"job-{number}"), b"") for number in range(30)])
        await queue.delete_ended(0, now_ms=1)
        assert [event.job for event in await queue.events(0, limit=99)] == [f"job-{number}" for number in range(20, 30)]

    play(tmp_path, act, limits=QueueLimits(free_bytes_min=0, events_max=10))


def test_more_than_one_step_is_taken(tmp_path: Path) -> None:
    async def act(queue: Queue) -> None:
        await queue.put([(job(f"job-{number}", deadline_at_ms=5000), b"") for number in range(1500)])
        await queue.defer([f"job-{number}" for number in range(1300)], not_before_ms=4000, reason="deferred.offline")
        assert await queue.hasten("deferred.offline") == 1300
        assert len(await queue.expire_due(now_ms=5000)) == 1500

    play(tmp_path, act)


def test_a_check_that_has_no_time_says_so(tmp_path: Path) -> None:
    async def fill(queue: Queue) -> None:
        await queue.put([(job(f"job-{number}"), os.urandom(2000)) for number in range(3000)])

    play(tmp_path, fill)
    assert check(tmp_path / "jobs.db", -1.0) == ("", False)
    assert check(tmp_path / "jobs.db", 60.0) == ("", True)
    assert check(tmp_path / "none.db", 60.0) == ("", True)


def test_damage_that_the_first_check_had_no_time_for_is_found_when_it_is_met(tmp_path: Path) -> None:
    play(tmp_path, some)
    path = tmp_path / "jobs.db"
    content = bytearray(path.read_bytes())
    content[100:4096] = bytes(4096 - 100)  # the list of tables
    path.write_bytes(content)

    async def look(queue: Queue) -> None:
        assert queue.recovered.loss is not None
        assert queue.recovered.loss.is_lower_bound
        await queue.put([(job("job-new"), b"x")])

    play(tmp_path, look, limits=QueueLimits(check_s=-1.0, free_bytes_min=0))


def test_a_broken_file_gives_back_what_can_be_read(tmp_path: Path) -> None:
    async def fill(queue: Queue) -> None:
        await some(queue)
        await queue.put([(job(f"job-x{number}"), os.urandom(600)) for number in range(200)])

    play(tmp_path, fill)
    path = tmp_path / "jobs.db"
    with sqlite3.connect(path) as connection:
        [(root,)] = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'jobs_waiting'")
        [(leaf,)] = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'events_of'")
    connection.close()
    content = bytearray(path.read_bytes())
    for page in (root, leaf):
        content[(page - 1) * 4096 : page * 4096] = os.urandom(4096)
    path.write_bytes(content)

    async def look(queue: Queue) -> None:
        loss = queue.recovered.loss
        assert loss is not None
        assert (loss.jobs, loss.lost, loss.is_lower_bound) == (203, 0, False)
        assert loss.path == str(tmp_path / "jobs.db.broken-1")
        assert Path(loss.path).read_bytes() == bytes(content)
        assert await queue.answer("job-1") == b"the answer"
        assert await queue.read_file("file-1", 0, 7) == b"content"
        assert await queue.batch("batch-1") is not None
        assert len(await queue.lease(300, now_ms=3000, lease_ms=1000)) == 202

    play(tmp_path, look)
    assert not is_pending(path)
    content[:16] = bytes(16)
    path.write_bytes(content)

    async def again(queue: Queue) -> None:
        loss = queue.recovered.loss
        assert loss is not None
        assert loss.path.endswith("jobs.db.broken-2")
        assert loss.is_lower_bound

    play(tmp_path, again)


class Interrupted(Exception):
    pass


class Crashing(Disk):
    """Ends the process (so to say) before its n-th change of a name."""

    def __init__(self, after: int) -> None:
        self.left = after

    def _count(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise Interrupted

    def move(self, path: Path, to: Path) -> None:
        self._count()
        super().move(path, to)

    def remove(self, path: Path) -> None:
        self._count()
        super().remove(path)


@pytest.mark.parametrize("after", range(10))
def test_a_salvage_that_was_interrupted_is_gone_on_with(tmp_path: Path, after: int) -> None:
    async def fill(queue: Queue) -> None:
        await some(queue)
        # A crash: what is only in the WAL counts too.
        (tmp_path / "crashed").mkdir()
        for name in ("jobs.db", "jobs.db-wal"):
            (tmp_path / "crashed" / name).write_bytes((tmp_path / name).read_bytes())

    play(tmp_path, fill)
    store = tmp_path / "crashed"
    before = [(store / name).read_bytes() for name in ("jobs.db", "jobs.db-wal")]
    try:
        quarantine(store / "jobs.db", Crashing(after))
    except Interrupted:
        assert is_pending(store / "jobs.db")

    async def look(queue: Queue) -> None:
        assert len((await queue.page(JobFilter(), limit=9)).jobs) == 3
        assert await queue.answer("job-1") == b"the answer"

    play(store, look)
    assert not is_pending(store / "jobs.db")
    assert (store / "jobs.db.broken-1").read_bytes() == before[0]
    assert (store / "jobs.db.broken-1-wal").read_bytes() == before[1]
    assert not list(store.glob("*.broken-2*"))


def test_a_file_without_rights_is_no_broken_file(tmp_path: Path) -> None:
    play(tmp_path, some)
    failing: Any = None

    def refused(path: Path, *, busy_s: float) -> sqlite3.Connection:
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorcode = sqlite3.SQLITE_IOERR
        raise error

    failing = refused
    with pytest.raises(ConfigError) as told:
        opened(tmp_path, connect=failing)
    assert told.value.code == "store.path"
    assert (tmp_path / "jobs.db").exists()
    assert not list(tmp_path.glob("*.broken-*"))


def test_a_commit_is_on_the_disk_before_it_is_told(tmp_path: Path) -> None:
    with connect(tmp_path / "x.db", busy_s=1.0) as made:
        told = [made.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous", "auto_vacuum")]
    made.close()
    assert told == ["wal", 2, 2]  # FULL: the WAL is synchronised with every commit; incremental


def test_a_reader_that_fails_is_told_and_tries_anew(tmp_path: Path) -> None:
    is_failing = False

    def sometimes(path: Path, *, busy_s: float) -> sqlite3.Connection:
        if is_failing:
            error = sqlite3.OperationalError("unable to open database file")
            error.sqlite_errorcode = sqlite3.SQLITE_CANTOPEN
            error.sqlite_errorname = "SQLITE_CANTOPEN"
            raise error
        return connect(path, busy_s=busy_s)

    async def act(queue: Queue) -> None:
        nonlocal is_failing
        is_failing = True
        with pytest.raises(RefusalError, match="SQLITE_CANTOPEN"):
            await queue.get("job-1")
        is_failing = False
        assert await queue.get("job-1") is None

    play(tmp_path, act, connect=sometimes)
