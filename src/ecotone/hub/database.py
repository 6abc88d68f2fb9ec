"""A hub's database: SQLite in one file, or PostgreSQL, behind the same few verbs."""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import sqlalchemy.orm  # noqa: F401 - DBOS brings it in, in a thread of its own; a query meanwhile meets it half made
from sqlalchemy import Connection, Engine, Executable, Table, create_engine, event, make_url, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError, DBAPIError, InterfaceError, OperationalError, PendingRollbackError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from ecotone.assets import StoreError, files
from ecotone.hub import migrations
from ecotone.values import ConfigError

__all__ = ["LOCK_WAIT_S", "Database", "Held"]

LOCK_WAIT_S: Final = 30.0
BUSY_S: Final = 30.0
STATEMENT_S: Final = 60
CONNECT_S: Final = 10
CONNECTIONS: Final = 8
"""Of one process, kept open; a server has room for 100 as a rule, and several processes may share it."""
MORE_CONNECTIONS: Final = 14
"""In a rush, closed after it. More than `limits.threads` in all, so that who holds one and needs another gets it."""
LOCKS: Final = 1
MORE_LOCKS: Final = 7
"""Connections of locks: who holds one must not wait for one."""
TRIES: Final = 6
_NAME: Final = re.compile(r"[a-z][a-z0-9_.:-]{0,80}")
_AGAIN: Final = frozenset({"40001", "40P01"})
"""SQLSTATE of what PostgreSQL undid so that others could go on: serialisation failure, deadlock."""
_WRITES: Final = "ecotone_writes"

_T = TypeVar("_T")


class Held:
    """A lock that is held."""

    def __init__(self, connection: Connection | None) -> None:
        self._connection = connection

    def check(self) -> None:
        """Asks whether it is held still: a lock at a server is lost with the connection to it.

        Raises:
            StoreError: `hub.busy`.
        """
        if self._connection is None:
            return
        try:
            self._connection.execute(text("SELECT 1"))
        except DBAPIError as error:
            raise _lost() from error


class Database:
    """Open to all threads of a process. Another process opens its own."""

    def __init__(self, url: URL) -> None:
        """See `open`."""
        self.url: Final = url
        self.dialect: Final = url.get_backend_name()
        self.engine: Final = _sqlite(url) if self.dialect == "sqlite" else _postgres(url, CONNECTIONS, MORE_CONNECTIONS)
        self._locks: Final = None if self.dialect == "sqlite" else _postgres(url, LOCKS, MORE_LOCKS)

    @classmethod
    def open(cls, url: str) -> Database:
        """The database; its tables are made, or led forward to this version.

        Args:
            url: `sqlite:////srv/hub.db`, the path of such a file, or `postgresql://USER@HOST/NAME`.

        Raises:
            ConfigError: `hub.database`: that is no such URL; `hub.schema`: a newer Ecotone made it.
            StoreError: `hub.database`: it cannot be reached; `hub.busy`.
        """
        database = cls(_parsed(url))
        try:
            with database.lock("schema"), database.begin() as connection:
                migrations.migrate(connection)
        except BaseException:
            database.close()
            raise
        return database

    @contextlib.contextmanager
    def begin(self) -> Iterator[Connection]:
        """One transaction that may write: all of it, durable at the end, or nothing.

        Raises:
            StoreError: `hub.database`.
        """
        with _told(self.url), self.engine.connect() as plain:
            connection = plain.execution_options(**{_WRITES: True})
            with connection.begin():
                yield connection

    @contextlib.contextmanager
    def read(self) -> Iterator[Connection]:
        """One transaction that only reads: it waits for nobody.

        Raises:
            StoreError: `hub.database`.
        """
        with _told(self.url), self.engine.connect() as plain:
            connection = plain.execution_options(**{_WRITES: False})
            with connection.begin():
                yield connection

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """As `read`, and all that is read is of one instant, however much is written meanwhile.

        Raises:
            StoreError: `hub.database`.
        """
        with _told(self.url), self.engine.connect() as plain:
            level = {} if self.dialect == "sqlite" else {"isolation_level": "REPEATABLE READ"}
            connection = plain.execution_options(**{_WRITES: False, **level})
            with connection.begin():
                yield connection

    def run(self, work: Callable[[Connection], _T]) -> _T:
        """`work` in one transaction, again where the database asks for it; what it gives.

        `work` may be called several times, and only the last counts: it must do nothing but speak to the database.

        Raises:
            StoreError: `hub.database`; it may then be done or not, if the connection was lost at the very end.
        """
        for number in range(TRIES):
            is_over = False
            try:
                with self.engine.connect() as plain:
                    connection = plain.execution_options(**{_WRITES: True})
                    with connection.begin():
                        result = work(connection)
                        is_over = True
            except PoolTimeoutError as error:
                raise _crowded() from error
            except DBAPIError as error:
                if number + 1 == TRIES or not _may_again(error, is_over=is_over):
                    if isinstance(error, OperationalError | InterfaceError):
                        raise _failure(self.url, error) from error
                    raise
                time.sleep(random.uniform(0.01, 0.05) * 2**number)  # noqa: S311 - so that two do not meet again
            else:
                return result
        raise AssertionError("the last try returns or raises")

    @contextlib.contextmanager
    def lock(self, name: str, wait_s: float = LOCK_WAIT_S) -> Iterator[Held]:
        """Nobody else holds the lock of this name meanwhile: no thread, process or machine on this database.

        A holder that dies holds it no more. It may not be taken again by who has it.

        Raises:
            StoreError: `hub.busy`, after so many seconds, or at the end if it was lost meanwhile; `hub.database`.
        """
        assert _NAME.fullmatch(name), f"{name!r} cannot be the name of a lock"
        held = self._file_lock(name, wait_s) if self._locks is None else self._server_lock(name, wait_s)
        with held as one:
            yield one

    def hold(self, connection: Connection, name: str) -> None:
        """A lock as `lock`, for a transaction that writes and until its end: nobody else holds this name meanwhile."""
        if self.dialect == "postgresql":  # SQLite has one writer at a time anyway
            connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": _number(f"in:{name}")})

    def upsert(
        self,
        table: Table,
        values: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        keys: Sequence[str],
        only: Sequence[str] | None = None,
    ) -> Executable:
        """The statement that puts in rows, or takes their values where one of these keys is there.

        Args:
            only: The columns that are taken; None: all that are given and no keys. `()`: a row that is there stays.
        """
        rows = [values] if isinstance(values, Mapping) else list(values)
        make = sqlite.insert if self.dialect == "sqlite" else postgresql.insert
        made = make(table).values([dict(row) for row in rows])
        names = [name for name in rows[0] if name not in keys] if only is None else list(only)
        if not names:
            return made.on_conflict_do_nothing(index_elements=list(keys))
        return made.on_conflict_do_update(
            index_elements=list(keys), set_={name: getattr(made.excluded, name) for name in names}
        )

    def close(self) -> None:
        """Lets go of all connections."""
        self.engine.dispose()
        if self._locks is not None:
            self._locks.dispose()

    @contextlib.contextmanager
    def _file_lock(self, name: str, wait_s: float) -> Iterator[Held]:
        folder = Path(f"{self.url.database}.locks")
        with files.durably(f"locking {folder}"):
            files.folder(folder)
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(files.locked(folder / f"{name}.lock", wait_s))
            except StoreError as error:
                raise _busy(name, wait_s) from error
            yield Held(None)

    @contextlib.contextmanager
    def _server_lock(self, name: str, wait_s: float) -> Iterator[Held]:
        assert self._locks is not None
        with _told(self.url), self._locks.connect() as connection, connection.begin():
            # Held by a transaction, so that it also works through a pool of connections between here and the server.
            connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
            connection.execute(text(f"SET LOCAL lock_timeout = {max(1, int(wait_s * 1000))}"))
            try:
                connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": _number(name)})
            except OperationalError as error:
                if getattr(error.orig, "sqlstate", "") == "55P03":
                    raise _busy(name, wait_s) from error
                raise
            yield Held(connection)


def _number(name: str) -> int:
    """By which PostgreSQL knows a lock."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), signed=True)


def _parsed(url: str) -> URL:
    try:
        made = make_url(url if "://" in url else f"sqlite:///{Path(url).absolute()}")
    except ArgumentError as error:
        raise ConfigError("hub.database", "the database's URL is none: give postgresql://USER@HOST/NAME") from error
    if made.get_backend_name() == "sqlite":
        if not made.database or made.database == ":memory:":
            raise ConfigError("hub.database", "SQLite needs a file: sqlite:////srv/hub.db")
        return made.set(drivername="sqlite+pysqlite", database=str(Path(made.database).absolute()))
    if made.get_backend_name() == "postgresql":
        return made.set(drivername="postgresql+psycopg")
    raise ConfigError("hub.database", f"'{made.get_backend_name()}' is no database of a hub: SQLite or PostgreSQL is")


def _sqlite(url: URL) -> Engine:
    assert url.database is not None
    with files.durably(f"opening {url.database}"):
        files.folder(Path(url.database).parent)
        # For its owner alone: what it holds of keys is hashed, and who is known here is nobody's business.
        os.close(os.open(url.database, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    engine = create_engine(
        url,
        hide_parameters=True,
        pool_size=CONNECTIONS,
        max_overflow=MORE_CONNECTIONS,
        pool_timeout=BUSY_S,
        connect_args={"timeout": BUSY_S, "check_same_thread": False},
    )

    @event.listens_for(engine, "connect")
    def connected(connection: Any, _record: object) -> None:
        connection.isolation_level = None  # BEGIN is said below, and nowhere else
        # FULL: an act is on the disk before it takes effect.
        for said in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON", "wal_autocheckpoint = 1000"):
            connection.execute(f"PRAGMA {said}").close()

    @event.listens_for(engine, "begin")
    def begun(connection: Connection) -> None:
        is_writing = connection.get_execution_options().get(_WRITES, True)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if is_writing else "BEGIN")

    return engine


def _postgres(url: URL, size: int, more: int) -> Engine:
    engine = create_engine(
        url,
        hide_parameters=True,
        pool_size=size,
        max_overflow=more,
        pool_timeout=BUSY_S,
        pool_pre_ping=True,
        connect_args={
            "connect_timeout": CONNECT_S,
            "application_name": "ecotone-hub",
            "keepalives_idle": 30,
            "keepalives_interval": 10,
            "keepalives_count": 3,
        },
    )
    settings = {
        "statement_timeout": f"{STATEMENT_S}s",
        "lock_timeout": f"{int(BUSY_S)}s",
        "idle_in_transaction_session_timeout": f"{2 * STATEMENT_S}s",
        "synchronous_commit": "on",
        "TimeZone": "UTC",
    }

    @event.listens_for(engine, "connect")
    def connected(connection: Any, _record: object) -> None:
        with connection.cursor() as cursor:
            for name, value in settings.items():
                cursor.execute("SELECT set_config(%s, %s, false)", (name, value))
        connection.commit()

    return engine


def _may_again(error: DBAPIError, *, is_over: bool) -> bool:
    """Whether nothing of the transaction can have been done, and it may go better next time."""
    if getattr(error.orig, "sqlstate", None) in _AGAIN:
        return True
    if error.connection_invalidated:
        return not is_over
    return "database is locked" in str(error.orig)


@contextlib.contextmanager
def _told(url: URL) -> Iterator[None]:
    try:
        yield
    except (OperationalError, InterfaceError) as error:
        raise _failure(url, error) from error
    except PendingRollbackError as error:
        raise _lost() from error
    except PoolTimeoutError as error:
        raise _crowded() from error


def _failure(url: URL, error: DBAPIError) -> StoreError:
    said = str(error.orig).splitlines()
    where = url.render_as_string(hide_password=True)
    return StoreError(
        "hub.database",
        f"the hub's database {where} cannot do that: {said[0][:300] if said else type(error.orig).__name__}. Look "
        "whether it runs, has room, and lets this user in",
    )


def _crowded() -> StoreError:
    return StoreError("hub.busy", f"no connection to the hub's database became free within {BUSY_S:.0f} s: come again")


def _lost() -> StoreError:
    return StoreError("hub.busy", "the connection that holds a lock was lost, and another may have it: do it again")


def _busy(name: str, wait_s: float) -> StoreError:
    return StoreError("hub.busy", f"another process has held the hub's lock '{name}' for {wait_s:.0f} s: wait for it")
