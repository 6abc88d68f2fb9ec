"""Which headers a target may be configured to send. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from ecotone.values import ConfigError

_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE: Final = re.compile(r"[!-~](?:[ \t!-~]*[!-~])?")
_OURS: Final = frozenset(
    {
        "accept-encoding", "connection", "content-length", "expect", "host", "keep-alive", "proxy-connection", "te",
        "trailer", "transfer-encoding", "upgrade",
    }
)  # fmt: skip
"""The framing and the connection belong to the client."""

HEADER_BYTES_MAX: Final = 8192


def check_headers(headers: Mapping[str, str]) -> None:
    """Accepts headers that stay what they are: no line break, no framing, no name twice.

    Raises:
        ConfigError: one does not; the message names it and never holds its value.
    """
    seen: set[str] = set()
    for name, value in headers.items():
        if not _NAME.fullmatch(name):
            raise ConfigError("config.upstream", "headers: a name must be an HTTP token (RFC 9110, 5.6.2)")
        if name.lower() in _OURS:
            raise ConfigError("config.upstream", f"headers.{name}: this header belongs to the connection")
        if name.lower() in seen:
            raise ConfigError("config.upstream", f"headers.{name}: given twice (the key gives `authorization`)")
        if len(value) > HEADER_BYTES_MAX or not _VALUE.fullmatch(value):
            raise ConfigError("config.upstream", f"headers.{name}: the value must be plain ASCII, in one line")
        seen.add(name.lower())
