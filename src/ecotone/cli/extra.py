"""Whether what signed delivery needs is installed."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Final

from ecotone.values import ConfigError

_PACKAGES: Final = ("tuf", "securesystemslib", "blake3", "pyfastcdc")
_SERVER: Final = ("dbos", "joserfc", "obstore", "psycopg", "sqlalchemy", "starlette")


def signed_delivery() -> None:
    """Says how to get the packages that the commands of a hub need, and plain requests do not.

    Raises:
        ConfigError: `hub.extra`.
    """
    missing = [name for name in _PACKAGES if find_spec(name) is None]
    if missing:
        raise ConfigError("hub.extra", f"{', '.join(missing)} is not installed: `pip install 'ecotone[hub]'`")


def server() -> None:
    """As `signed_delivery`, for what serves a fleet.

    Raises:
        ConfigError: `hub.extra`.
    """
    signed_delivery()
    missing = [name for name in _SERVER if find_spec(name) is None]
    if missing:
        raise ConfigError("hub.extra", f"{', '.join(missing)} is not installed: `pip install 'ecotone[server]'`")
