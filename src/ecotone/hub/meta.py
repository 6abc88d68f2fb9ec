"""The one place where the tables of a hub's database are gathered."""

from __future__ import annotations

from typing import Final

from sqlalchemy import MetaData

__all__ = ["metadata"]

metadata: Final = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)
"""Names of constraints are those of the house on every database, so that a migration can name them."""
