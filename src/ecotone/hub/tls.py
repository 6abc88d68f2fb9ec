"""TLS 1.3 from two files that may be renewed at any time: new connections have the new certificate, none is cut."""

from __future__ import annotations

import logging
import ssl
from pathlib import Path
from typing import Final

from ecotone.hub.settings import Tls
from ecotone.values import ConfigError

__all__ = ["Certificates"]

LOOK_EVERY_S: Final = 5.0
log = logging.getLogger("ecotone.hub")


class Certificates:
    """The context for listeners. Each handshake takes the certificate that was read last.

    Attributes:
        context: What listeners are given; it stays the same.
    """

    def __init__(self, files: Tls) -> None:
        """Reads both files.

        Raises:
            ConfigError: `hub.tls`.
        """
        self._files: Final = files
        self._seen = self._state()
        self._current = self._read()
        self.context: Final = self._read()
        self.context.sni_callback = self._chosen

    def refresh(self) -> bool:
        """Reads the files anew if they have changed; whether that is used now.

        What cannot be used is said, and the old certificate stays: a half-written file is read again at the next look.
        """
        seen = self._state()
        if seen == self._seen:
            return False
        try:
            self._current = self._read()
        except ConfigError as error:
            log.warning("%s; the certificate from before is used on", error.message)
            return False
        self._seen = seen
        log.info("the certificate was renewed: new connections have it")
        return True

    def _chosen(self, connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        connection.context = self._current

    def _state(self) -> tuple[tuple[int, int, int], ...]:
        found = []
        for name in (self._files.cert, self._files.key):
            try:
                stat = Path(name).expanduser().stat()
            except OSError:
                found.append((0, 0, 0))
            else:
                found.append((stat.st_mtime_ns, stat.st_size, stat.st_ino))
        return tuple(found)

    def _read(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.set_alpn_protocols(["http/1.1"])
        cert, key = (Path(name).expanduser() for name in (self._files.cert, self._files.key))
        try:
            # Without a password to ask for: a hub that starts by itself has nobody to tell it.
            context.load_cert_chain(cert, key, password=lambda: "")
        except OSError as error:  # `SSLError` is one
            why = error.reason if isinstance(error, ssl.SSLError) else error.strerror
            raise ConfigError(
                "hub.tls",
                f"tls: {cert} and {key} are no certificate and its key without a password (PEM): {why or error}",
            ) from error
        return context
