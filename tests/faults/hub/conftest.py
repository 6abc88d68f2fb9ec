"""Databases are those of the hub's own tests."""

from tests.hub.conftest import database_url, postgres_server, postgres_url

__all__ = ["database_url", "postgres_server", "postgres_url"]
