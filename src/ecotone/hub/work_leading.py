"""Who of a hub's processes does its own work: whoever holds a lock that dies with its holder."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator
from typing import Final

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from ecotone.assets import StoreError
from ecotone.hub.database import Database

__all__ = ["leading"]

LOCK: Final = "work"


@contextlib.contextmanager
def leading(database: Database) -> Iterator[Callable[[], None]]:
    """This process leads meanwhile; gives what looks whether it still does.

    On PostgreSQL the lock is the session's and no transaction's: one that is open for weeks would keep rows from being
    cleaned up, and would never let an index be made beside it.

    Raises:
        StoreError: `hub.busy`: another process leads. What is given raises it when the connection was lost.
    """
    if database.dialect == "sqlite":
        with database.lock(LOCK, wait_s=0.0) as held:
            yield held.check
        return
    number = int.from_bytes(hashlib.blake2b(b"leading:work", digest_size=8).digest(), signed=True)
    with _told():
        connection = database.engine.connect().execution_options(isolation_level="AUTOCOMMIT")
    try:
        with _told():
            is_first = connection.execute(text("SELECT pg_try_advisory_lock(:number)"), {"number": number}).scalar()
        if not is_first:
            raise StoreError("hub.busy", "another process of the hub does its work")
        yield lambda: _check(connection)
    finally:
        # Closed and not given back to the pool: the lock goes with it, whatever state it is in.
        connection.invalidate()
        connection.close()


def _check(connection: Connection) -> None:
    with _told():
        connection.execute(text("SELECT 1"))


@contextlib.contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except DBAPIError as error:
        raise StoreError(
            "hub.busy", "the connection that holds the lock of the hub's work was lost: another process may have it"
        ) from error
