"""The tables of wishes, acts and what the database says of itself; those of other rooms are added to them here."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Column, Float, Index, Integer, LargeBinary, Table, Text

from ecotone.hub import tables_access, tables_releases  # noqa: F401 - imported for the tables that they add
from ecotone.hub.meta import metadata

__all__ = ["acts", "checkpoints", "counters", "floors", "metadata", "schema", "wishes"]

schema: Final = Table(
    "hub_schema",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("version", Integer, nullable=False),
)
"""One row: the version of all tables (`migrations`)."""

counters: Final = Table(
    "hub_counters",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", BigInteger, nullable=False),
)
"""Numbers that only go up. `wishes`: with each set of wishes, so that one look tells that something is new."""

wishes: Final = Table(
    "hub_wishes",
    metadata,
    Column("site", Text, primary_key=True),
    Column("generation", BigInteger, nullable=False),
    # The site's document, as the director signed it.
    Column("document", LargeBinary, nullable=False),
    Column("why", Text, nullable=False),
    Column("at_s", Float, nullable=False),
    # The value of the counter `wishes` at the set that brought it.
    Column("change", BigInteger, nullable=False),
    Index("ix_hub_wishes_change", "change"),
)
"""What the director has announced for each site: what a long-poll looks at. The director's own files are the truth."""

floors: Final = Table(
    "hub_floors",
    metadata,
    Column("site", Text, primary_key=True),
    Column("generation", BigInteger, nullable=False),
    Column("at_s", Float, nullable=False),
)
"""Generations that sites know and this database does not: it was restored from a copy that is older than they are."""

acts: Final = Table(
    "hub_acts",
    metadata,
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("at_ms", BigInteger, nullable=False),
    # The line as it is exported, newline included: what its hash is of.
    Column("line", LargeBinary, nullable=False),
)
"""The hub's ledger: one line of `store.chain` a row."""

checkpoints: Final = Table(
    "hub_checkpoints",
    metadata,
    Column("size", BigInteger, primary_key=True, autoincrement=False),
    Column("note", LargeBinary, nullable=False),
)
"""Signed notes over the first `size` acts (`store.notes`), with the peaks of the tree."""
