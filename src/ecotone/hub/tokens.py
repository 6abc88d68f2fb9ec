"""The hub's own secrets for tokens: files in its folder of keys, the same for every process of it."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import threading
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, Executable

from ecotone.access import SessionKeys
from ecotone.assets import files
from ecotone.values import ConfigError

__all__ = ["PEPPER", "SESSIONS", "Secrets", "new_id", "new_secret", "put_in"]

SESSIONS: Final = "sessions.key"
"""A line for each secret, `ID HEX`, the newest first. Losing it ends all sessions, and nothing else."""
PEPPER: Final = "pepper.key"
"""What digests of API keys and enrolment tokens are made with. Losing it makes all of them worthless."""

SECRET_BYTES: Final = 32
FORMER_KEPT: Final = 1
_FILE_BYTES_MAX: Final = 8_192
_LINE: Final = re.compile(r"([a-z0-9]{4,32}) ([0-9a-f]{64})")


class Secrets:
    """What tokens are made and checked with. A change of the file of sessions is seen at once."""

    def __init__(self, folder: Path) -> None:
        """Use `at`."""
        self._folder = folder
        self._lock = threading.Lock()
        self._stamp = (0, 0)
        self._sessions: SessionKeys | None = None
        self.pepper: Final = _pepper(folder / PEPPER)

    @classmethod
    def at(cls, folder: Path) -> Secrets:
        """Those of the hub whose keys lie in this folder; made where there are none yet.

        Raises:
            ConfigError: `hub.keys`: a file is damaged or cannot be read.
            StoreError: it cannot be written.
        """
        with files.durably(f"making {folder}"):
            files.folder(folder)
        _made(folder / PEPPER, secrets.token_hex(SECRET_BYTES) + "\n")
        _made(folder / SESSIONS, _line())
        found = cls(folder)
        assert found.sessions is not None
        return found

    @property
    def sessions(self) -> SessionKeys:
        """The secrets of sessions, as the file has them now.

        Raises:
            ConfigError: `hub.keys`.
        """
        path = self._folder / SESSIONS
        try:
            seen = path.stat()
        except OSError as error:
            raise _unreadable(path, str(error.strerror)) from error
        with self._lock:
            if self._sessions is None or self._stamp != (seen.st_mtime_ns, seen.st_ino):
                self._sessions = _sessions(path)
                self._stamp = (seen.st_mtime_ns, seen.st_ino)
            return self._sessions

    def renew_sessions(self) -> None:
        """From now on tokens are made with a new secret; the one before it still checks.

        Twice within 15 minutes ends the sessions that are older; sites then begin new ones by themselves.

        Raises:
            ConfigError: `hub.keys`.
            StoreError: it cannot be written.
        """
        path = self._folder / SESSIONS
        kept = _lines(path)[: 1 + FORMER_KEPT]
        with files.durably(f"writing {path}"):
            files.written(
                path, (_line() + "".join(f"{name} {secret}\n" for name, secret in kept[:FORMER_KEPT])).encode()
            )


def new_id() -> str:
    """A name for a key, token or grant that nobody has had before."""
    return secrets.token_hex(5)


def new_secret() -> str:
    """256 random bits as 43 letters."""
    return secrets.token_urlsafe(SECRET_BYTES)


def put_in(connection: Connection, insert: Executable) -> bool:
    """Whether a row is new: an `upsert` with `only=()`, which leaves one that is there."""
    return connection.execute(insert, execution_options={"preserve_rowcount": True}).rowcount == 1


def _line() -> str:
    return f"{new_id()} {secrets.token_hex(SECRET_BYTES)}\n"


def _made(path: Path, content: str) -> None:
    """The file holds this, unless there is one: of several processes that start at once, one makes it."""
    if path.exists():
        return
    fresh = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}.new")
    with files.durably(f"writing {path}"):
        try:
            fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with open(fd, "w", encoding="ascii") as file:
                file.write(content)
                file.flush()
                os.fsync(fd)
            with contextlib.suppress(FileExistsError):
                path.hardlink_to(fresh)
            files.sync_folder(path.parent)
        finally:
            fresh.unlink(missing_ok=True)


def _pepper(path: Path) -> bytes:
    found = _text(path).strip()
    if not re.fullmatch(r"[0-9a-f]{64}", found):
        raise _unreadable(path, "it does not hold 64 hex digits")
    return bytes.fromhex(found)


def _sessions(path: Path) -> SessionKeys:
    return SessionKeys({name: bytes.fromhex(secret) for name, secret in _lines(path)})


def _lines(path: Path) -> list[tuple[str, str]]:
    found = [_LINE.fullmatch(line) for line in _text(path).splitlines()]
    if not found or None in found:
        raise _unreadable(path, "its lines are not `ID HEX`")
    return [(line[1], line[2]) for line in found if line is not None]


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(_FILE_BYTES_MAX).decode("ascii", "replace")
    except OSError as error:
        raise _unreadable(path, str(error.strerror)) from error


def _unreadable(path: Path, why: str) -> ConfigError:
    return ConfigError("hub.keys", f"{path} cannot be used: {why}. Restore it from a copy of the hub's keys")
