"""The shape of a hub's database is led forward with all that is in it, whole or not at all; a newer one is refused."""

from __future__ import annotations

import pytest
from sqlalchemy import Column, Connection, Float, Integer, MetaData, Table, Text, inspect, select, text

from ecotone.hub import migrations, tables
from ecotone.hub.database import Database
from ecotone.values import ConfigError

SITES = [{"site": f"site-{n}", "generation": n, "at_s": float(n)} for n in range(1, 40)]


@pytest.fixture
def older(database: Database) -> Database:
    """Of version 1, with some rows."""
    with database.begin() as connection:
        connection.execute(tables.floors.insert(), SITES)
    return database


def later() -> tuple[Table, Table, tuple[migrations.Step, ...]]:
    """Two versions after this one: a column more, then another table that is filled from the first."""
    metadata = MetaData()
    floors = Table(
        "hub_floors",
        metadata,
        Column("site", Text, primary_key=True),
        Column("generation", Integer, nullable=False),
        Column("at_s", Float, nullable=False),
        Column("by", Text, nullable=False, server_default="report"),
    )
    seen = Table("hub_seen", metadata, Column("site", Text, primary_key=True), Column("n", Integer))

    def column(connection: Connection) -> None:
        migrations.add_column(connection, floors, "by")

    def table(connection: Connection) -> None:
        seen.create(connection)
        connection.execute(seen.insert().from_select(["site", "n"], select(floors.c.site, floors.c.generation)))

    return floors, seen, (*migrations.STEPS, column, table)


def version(database: Database) -> int:
    with database.read() as connection:
        return migrations.version(connection)


def test_a_new_database_is_of_the_newest_version(database: Database) -> None:
    assert version(database) == migrations.LATEST
    with database.read() as connection:
        assert set(inspect(connection).get_table_names()) >= set(tables.metadata.tables)
    with database.begin() as connection:
        assert migrations.migrate(connection) == migrations.LATEST, "there is nothing to do"


def test_what_is_in_an_older_one_is_kept(older: Database) -> None:
    floors, seen, steps = later()
    with older.begin() as connection:
        assert migrations.migrate(connection, steps) == migrations.LATEST
    assert version(older) == migrations.LATEST + 2
    with older.read() as connection:
        assert connection.execute(select(floors.c.by).distinct()).scalars().all() == ["report"]
        rows = connection.execute(select(seen.c.site, seen.c.n).order_by(seen.c.n))
        assert [(row.site, row.n) for row in rows] == [(row["site"], row["generation"]) for row in SITES]
    with older.begin() as connection:
        steps[-2](connection)  # a column that is there is no harm
    with pytest.raises(ConfigError, match=r"hub\.schema.*newer Ecotone"), older.begin() as connection:
        migrations.migrate(connection)


def test_a_step_that_fails_leaves_all_as_it_was(older: Database) -> None:
    floors, _, steps = later()

    def broken(connection: Connection) -> None:
        connection.execute(text("DELETE FROM hub_floors"))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), older.begin() as connection:
        migrations.migrate(connection, (*steps, broken))
    assert version(older) == migrations.LATEST
    with older.read() as connection:
        names = {column["name"] for column in inspect(connection).get_columns("hub_floors")}
        assert names == {"site", "generation", "at_s"}
        assert not inspect(connection).has_table("hub_seen")
        assert len(connection.execute(select(floors.c.site)).all()) == len(SITES)
    with older.begin() as connection:
        migrations.migrate(connection, steps)
    assert version(older) == migrations.LATEST + 2
