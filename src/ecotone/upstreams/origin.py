"""Where an upstream is: a URL of the configuration, taken apart once. Pure."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import urlsplit

import msgspec

from ecotone.upstreams.proxy import Proxy
from ecotone.values import ConfigError

_PATH: Final = re.compile(r"[!-~]*")
_UNIX: Final = re.compile(r"unix:(/[^:\x00-\x20\x7f]*)(?::(/[!-~]*))?")
_PORTS: Final = {"http": 80, "https": 443}
UNIX_PATH_BYTES_MAX: Final = 107
"""`sun_path` of Linux is 108 bytes with the closing zero."""


class Upstream(msgspec.Struct, frozen=True, kw_only=True):
    """One place to connect to, and how. Equal upstreams share their connections.

    Attributes:
        scheme: `http`, `https` or `unix`.
        host: Name or address, lower case, without brackets; for `unix` the path of the socket.
        port: 0 for `unix`.
        ca_file: PEM file of the only authorities to trust; None = the system's.
        connect_timeout_s: Limit on name, TCP and TLS together, seconds.
        public_address_is_ours: The operator's word that a public address is on the premises.
        proxy: Through which proxy; None: directly.
    """

    scheme: str
    host: str
    port: int = 0
    ca_file: str | None = None
    connect_timeout_s: float = 1.0
    public_address_is_ours: bool = False
    proxy: Proxy | None = None

    @property
    def origin(self) -> str:
        """`scheme://host:port`, the port always given; or `unix:PATH`."""
        if self.scheme == "unix":
            return f"unix:{self.host}"
        return f"{self.scheme}://{self._bracketed}:{self.port}"

    @property
    def authority(self) -> str:
        """Value of the `host` header (RFC 9112, 3.2): without the scheme's own port."""
        if self.scheme == "unix":
            return "localhost"
        return self._bracketed if self.port == _PORTS[self.scheme] else f"{self._bracketed}:{self.port}"

    @property
    def _bracketed(self) -> str:
        return f"[{self.host}]" if ":" in self.host else self.host


def locate(
    url: str,
    *,
    ca_file: str | None = None,
    connect_timeout_s: float = 1.0,
    public_address_is_ours: bool = False,
    proxy: Proxy | None = None,
) -> tuple[Upstream, str]:
    """The upstream of a base URL, and the URL's path without a last slash.

    `http://HOST[:PORT][/PATH]`, `https://…`, or `unix:/PATH/TO/SOCKET[:/PATH]` as nginx writes it.

    Raises:
        ConfigError: the URL is not one of these, or holds a user, a query or a fragment.
    """
    if any(sign <= " " or sign == "\x7f" for sign in url):  # the standard library would drop some of them in silence
        raise _wrong("no white space and no control characters")
    if not 0 < connect_timeout_s <= 60:
        raise ConfigError("config.upstream", "connect_timeout_s: more than 0 and at most 60 is needed")
    scheme, host, port, path = _take_apart_unix(url) if url.startswith("unix:") else _take_apart(url)
    upstream = Upstream(
        scheme=scheme,
        host=host,
        port=port,
        ca_file=ca_file,
        connect_timeout_s=connect_timeout_s,
        public_address_is_ours=public_address_is_ours,
        proxy=None if scheme == "unix" else proxy,
    )
    return upstream, path.rstrip("/")


def _take_apart_unix(url: str) -> tuple[str, str, int, str]:
    found = _UNIX.fullmatch(url)
    if found is None or len(found[1].encode()) > UNIX_PATH_BYTES_MAX:
        raise _wrong("write unix:/PATH/TO/SOCKET or unix:/PATH/TO/SOCKET:/v1, the socket's path at most 107 bytes")
    return "unix", found[1], 0, found[2] or ""


def _take_apart(url: str) -> tuple[str, str, int, str]:
    try:
        parts = urlsplit(url)
        port = parts.port
        host = parts.hostname or ""
        ascii_host = host if host.isascii() else host.encode("idna").decode("ascii")
    except ValueError as error:  # UnicodeError of a name that IDNA does not know is one, too
        raise _wrong("the host or the port is malformed") from error
    if parts.scheme not in _PORTS or not host:
        raise _wrong("write http://HOST[:PORT]/PATH, https://HOST[:PORT]/PATH or unix:/PATH/TO/SOCKET:/PATH")
    if "@" in parts.netloc:
        raise _wrong("no user or password in the URL; give the key by reference (key: env:NAME)")
    if "?" in url or "#" in url:
        raise _wrong("no query and no fragment in a base URL")
    if not _PATH.fullmatch(parts.path) or not re.fullmatch(r"[!-~]+", ascii_host):
        raise _wrong("percent-encode what is not plain ASCII in the path or host")
    return parts.scheme, ascii_host, _PORTS[parts.scheme] if port is None else port, parts.path


def _wrong(how_to_mend: str) -> ConfigError:
    # The URL itself is not repeated: it may hold a password.
    return ConfigError("config.upstream", f"url: {how_to_mend}")
