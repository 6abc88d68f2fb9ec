"""The shape of a hub's database, version by version. A version that was ever released is never edited."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from sqlalchemy import Column, Connection, Table, inspect, select, text
from sqlalchemy.schema import CreateColumn

from ecotone.hub import tables
from ecotone.values import ConfigError

__all__ = ["LATEST", "STEPS", "Step", "add_column", "migrate", "version"]

Step = Callable[[Connection], None]


def add_column(connection: Connection, table: Table, column: str) -> None:
    """The table has the column, as `tables` declares it: it may be empty, or has a default."""
    if column not in {found["name"] for found in inspect(connection).get_columns(table.name)}:
        declared: Column[object] = table.c[column]
        said = CreateColumn(declared).compile(dialect=connection.dialect)
        connection.execute(text(f"ALTER TABLE {table.name} ADD COLUMN {said}"))


STEPS: Final[Sequence[Step]] = ()
"""What leads from version n+1 to n+2, n being the place; tables that are new are made by `migrate` itself."""

LATEST: Final = len(STEPS) + 1


def version(connection: Connection) -> int:
    """The version of a database's shape; 0 where it holds nothing of a hub."""
    if not inspect(connection).has_table(tables.schema.name):
        return 0
    return int(connection.execute(select(tables.schema.c.version)).scalar() or 0)


def migrate(connection: Connection, steps: Sequence[Step] = STEPS) -> int:
    """Makes the tables, or leads them forward, all in the transaction of the connection; the version that it had.

    Raises:
        ConfigError: `hub.schema`: a newer Ecotone made it.
    """
    had, latest = version(connection), len(steps) + 1
    if had > latest:
        raise ConfigError(
            "hub.schema",
            f"the hub's database is of version {had}, and this Ecotone reads up to {latest}: use the newer Ecotone "
            "again, or restore the copy from before it",
        )
    if had == latest:
        return had
    tables.metadata.create_all(connection)
    for step in steps[had - 1 :] if had else ():
        step(connection)
    connection.execute(tables.schema.delete())
    connection.execute(tables.schema.insert().values(id=1, version=latest))
    return had
