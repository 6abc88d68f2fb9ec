"""One SQLite file in WAL: a writer thread that commits in groups, and a reader beside it.

All calls that arrive while a group is being committed go into the next one: one synchronous write for all of them.
Each is a savepoint of its own, so that one that is refused undoes itself alone. If the transaction as a whole fails,
each call is tried alone, so that a large one that finds the disk full does not spoil the small ones beside it.
Nobody is told of success before the commit is durable; after a failure the next group tries anew.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import queue
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

import msgspec

from ecotone.store.queue_limits import QueueLimits
from ecotone.store.queue_tally import QueueTally
from ecotone.values import RefusalError

__all__ = ["Connect", "Database", "closed", "closed_safely", "connect", "keep_wal", "refusal"]

T = TypeVar("T")

RETRY_AFTER_S: Final = 1.0
_EVERYBODYS: Final = frozenset(
    {sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_BUSY}
)
"""Codes of failures that do not come from one call of a group: trying each alone would only cost time."""
FULL_RETRY_AFTER_S: Final = 60.0
KEPT: Final = "-wal-kept"
"""What the second name of a WAL ends in."""
_WAL_BYTES_MAX: Final = 64 << 20
"""After a checkpoint the WAL is cut to this."""


class Connect(Protocol):
    """Opens the file; tests put faults there."""

    def __call__(self, path: Path, *, busy_s: float) -> sqlite3.Connection:
        """An open connection."""


class _Command(msgspec.Struct, gc=False):
    """One call on its way to the disk."""

    work: Callable[[sqlite3.Connection], Any]
    future: asyncio.Future[Any]
    value: Any = None
    error: BaseException | None = None


def connect(path: Path, *, busy_s: float) -> sqlite3.Connection:
    """A connection that commits durably, and only when told to.

    Raises:
        sqlite3.Error: the file, or the disk.
    """
    try:
        keep_wal(path)
    except OSError as error:  # without its WAL the file is not what was acknowledged
        raise sqlite3.OperationalError("the WAL cannot get its name back") from error
    connection = sqlite3.connect(path, timeout=busy_s, isolation_level=None, check_same_thread=False)
    try:
        if not connection.execute("PRAGMA page_count").fetchone()[0]:
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA journal_size_limit = {_WAL_BYTES_MAX}")
        # What a broken or hostile file holds besides tables is not trusted.
        connection.execute("PRAGMA trusted_schema = OFF")
        connection.execute("PRAGMA cell_size_check = ON")
    except sqlite3.Error:
        closed_safely(connection, path)
        raise
    return connection


def closed_safely(connection: sqlite3.Connection, path: Path) -> None:
    """Closes a connection that could not be opened properly, and keeps the WAL.

    Where SQLite cannot make its index of the WAL (`-shm`), and then can open it for reading only, it takes the WAL for
    empty as it closes, and removes it, with all that was committed there. So a second name holds it. Where all of it
    had been copied into the file, that it is there again changes nothing.
    """
    wal, kept = path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}{KEPT}")
    with contextlib.suppress(OSError):
        kept.hardlink_to(wal)
    connection.close()
    with contextlib.suppress(OSError):
        keep_wal(path)


def keep_wal(path: Path) -> None:
    """If a WAL is held by a second name only, it has its own again.

    Raises:
        OSError: the disk.
    """
    wal, kept = path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}{KEPT}")
    if kept.exists():
        if wal.exists():
            kept.unlink()
        else:
            kept.rename(wal)


def refusal(error: BaseException) -> RefusalError:
    """What a caller is told of a failure of the file or the disk."""
    if _is_full(error):
        message = "The site's disk is full, so nothing can be queued; what was accepted is safe."
        return RefusalError("refused.store_full", message, status=507, retry_after_s=FULL_RETRY_AFTER_S)
    return closed(getattr(error, "sqlite_errorname", type(error).__name__))


def closed(why: str) -> RefusalError:
    """Nothing can be written now."""
    message = f"The site's queue cannot be written now: {why}."
    return RefusalError("refused.store", message, status=503, retry_after_s=RETRY_AFTER_S)


class Database:
    """The file, its writer thread and its reader thread. `write`, `read` and `close` belong to one event loop.

    Attributes:
        failure: Why the last group failed, or `''`.
        groups, commands: Transactions that were committed, and calls in them.
        seen: The tally as it was after the last commit.
    """

    def __init__(
        self,
        path: Path,
        tally: QueueTally,
        limits: QueueLimits,
        *,
        opened: sqlite3.Connection,
        connect: Connect = connect,
    ) -> None:
        self.failure = ""
        self.groups = 0
        self.commands = 0
        self.seen = tally.save()
        self.on_commit: Callable[[], None] = lambda: None
        self._path, self._tally, self._limits, self._connect = path, tally, limits, connect
        self._writing: sqlite3.Connection | None = opened
        self._reading: sqlite3.Connection | None = None
        self._waiting: queue.SimpleQueue[_Command | None] = queue.SimpleQueue()
        self._is_closed = False
        self._readers = ThreadPoolExecutor(1, thread_name_prefix="queue-reader")
        self._thread = threading.Thread(target=self._run, name="queue-writer", daemon=True)
        self._thread.start()

    async def write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Does something in a transaction; returns when it is durable. `work` may run more than once.

        Raises:
            RefusalError: see `ports.Queue`; and whatever `work` raises, which then undoes itself.
        """
        if self._is_closed:
            raise closed("it is closed")
        if self._waiting.qsize() >= self._limits.commands_max:
            raise closed("too many calls wait")
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waiting.put(_Command(work, future))
        return await future

    async def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Asks something of what is committed. Raises `RefusalError` where the file cannot be read."""
        if self._is_closed:
            raise closed("it is closed")
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._read, work)

    async def close(self) -> None:
        """Writes what waits, and lets go of the file."""
        if not self._is_closed:
            self._is_closed = True
            # The writer lets go last: then SQLite puts all into one file.
            await asyncio.get_running_loop().run_in_executor(self._readers, self._stop_reading)
            await asyncio.to_thread(self._readers.shutdown)
            self._waiting.put(None)
            await asyncio.to_thread(self._thread.join)

    def disk_bytes(self) -> int:
        """What the file takes on the disk, with its WAL."""
        return sum(_size(self._path.with_name(self._path.name + suffix)) for suffix in ("", "-wal"))

    def _read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """In the reader thread."""
        try:
            if self._reading is None:
                self._reading = self._connect(self._path, busy_s=self._limits.busy_s)
                self._reading.execute("PRAGMA query_only = ON")
            return work(self._reading)
        except sqlite3.Error as error:
            self._stop_reading()
            raise refusal(error) from error

    def _stop_reading(self) -> None:
        """In the reader thread: lets go of the file."""
        if self._reading is not None:
            self._reading.close()
            self._reading = None

    def _run(self) -> None:
        """The thread: group after group."""
        group: list[_Command] = []
        try:
            while group := self._take():
                self._commit(group)
                self._answer(group)
        finally:
            # Also where a defect ends the thread: nobody may wait for ever.
            self._is_closed = True
            while not self._waiting.empty():
                command = self._waiting.get()
                group += [command] if command is not None else []
            for command in group:
                command.error = command.error or closed("its writer has ended")
            self._answer(group)
            self._let_go()

    def _take(self) -> list[_Command]:
        """All calls that wait, at least one; none when all is over."""
        group: list[_Command] = []
        command = self._waiting.get()
        while command is not None:
            group.append(command)
            if len(group) >= self._limits.group_max:
                return group
            try:
                command = self._waiting.get_nowait()
            except queue.Empty:
                return group
        self._waiting.put(None)  # for the next time
        return group

    def _commit(self, group: list[_Command]) -> None:
        """Each call of a group has its value or its error afterwards."""
        failed = self._attempt(group)
        if failed is not None and _is_full(failed) and self._make_room():
            failed = self._attempt(group)
        if failed is not None and len(group) > 1 and _code(failed) not in _EVERYBODYS:
            for command in group:
                failed = self._attempt([command])
                command.error = refusal(failed) if failed is not None else command.error
        elif failed is not None:
            for command in group:
                command.error = refusal(failed)

    def _make_room(self) -> bool:
        """On a full disk: what the WAL holds goes into the file, and its room is free again; whether that worked."""
        try:
            if self._writing is None:
                return False
            [busy, _, _] = self._writing.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        except sqlite3.Error:
            return False
        return not busy

    def _attempt(self, group: list[_Command]) -> sqlite3.Error | None:
        """One transaction; why it failed as a whole."""
        before = self._tally.save()
        try:
            if self._writing is None:
                self._writing = self._connect(self._path, busy_s=self._limits.busy_s)
            self._writing.execute("BEGIN IMMEDIATE")
            for command in group:
                self._one(self._writing, command)
            self._writing.execute("COMMIT")
        except sqlite3.Error as error:
            self.failure = getattr(error, "sqlite_errorname", type(error).__name__)
            self._tally.restore(before)
            self._roll_back(error)
            return error
        self.failure = ""
        self.groups += 1
        self.commands += len(group)
        self.seen = self._tally.save()
        return None

    def _one(self, connection: sqlite3.Connection, command: _Command) -> None:
        """One call in its savepoint. What SQLite itself raises fails the whole transaction."""
        before = self._tally.save()
        connection.execute("SAVEPOINT command")
        command.value = command.error = None
        try:
            command.value = command.work(connection)
        except sqlite3.Error:
            raise
        except Exception as error:  # noqa: BLE001 - a supervisor: whoever asked is told, and the others go on
            command.error = error
            self._tally.restore(before)
            connection.execute("ROLLBACK TO command")
        connection.execute("RELEASE command")

    def _roll_back(self, error: sqlite3.Error) -> None:
        """Nothing of the transaction counts. After anything but a full disk the file is opened anew."""
        if self._writing is not None:
            with contextlib.suppress(sqlite3.Error):
                if self._writing.in_transaction:
                    self._writing.execute("ROLLBACK")
            if not _is_full(error):
                self._let_go()

    def _let_go(self) -> None:
        if self._writing is not None:
            with contextlib.suppress(sqlite3.Error):
                self._writing.close()
            self._writing = None

    def _answer(self, group: list[_Command]) -> None:
        """Tells all of a group, in the loop that asked."""
        if group:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits
                group[0].future.get_loop().call_soon_threadsafe(self._complete, group)

    def _complete(self, group: list[_Command]) -> None:
        for command in group:
            if command.future.done():
                continue
            if command.error is None:
                command.future.set_result(command.value)
            else:
                command.future.set_exception(command.error)
        self.on_commit()


def _code(error: BaseException) -> int:
    """SQLite's primary code of an error."""
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def _is_full(error: BaseException) -> bool:
    return _code(error) == sqlite3.SQLITE_FULL


def _size(path: Path) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0
