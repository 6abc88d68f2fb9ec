"""What lies on the disk encrypted: AES-256-GCM, each piece bound to the row and column that it belongs to.

The key is given by the operator, or a file in the store, or lies in the system's keyring. Everything else is derived
from it, so that one key is all that there is to keep and to destroy.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import importlib
import os
from pathlib import Path
from typing import Any, Final

from ecotone.store.disk import Disk
from ecotone.values import ConfigError

# `cryptography` takes 40 ms to import, and most commands never seal: it is imported where it is used.

__all__ = ["KEY", "Sealer", "UnsealError", "keep_key", "key"]

KEY: Final = "store.key"
"""File of the key in the store, for its user only, where none is given."""
KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12
"""Random: AES-GCM under one key is good for 2^32 pieces then. Source: NIST SP 800-38D, 8.3."""
KEYRING: Final = b"keyring:"
"""What is given begins so where it is not the key but its place in the system's keyring: `keyring:SERVICE/NAME`."""
_MEND: Final = "give 32 bytes, 64 hex digits, or base64 of 32 bytes: `openssl rand -base64 32` makes some"


class UnsealError(Exception):
    """A piece was changed, belongs elsewhere, or was sealed with another key."""


class Sealer:
    """Seals and unseals. May be used by several threads."""

    def __init__(self, master: bytes) -> None:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        assert len(master) == KEY_BYTES, "`key` makes no other"
        self._aes = AESGCM(_derived(master, b"seal"))
        self._digest_key = _derived(master, b"digest")

    def seal(self, content: bytes, *about: str) -> bytes:
        """The sealed piece; only the same `about` (row, column) opens it."""
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._aes.encrypt(nonce, content, _joined(about))

    def unseal(self, sealed: bytes, *about: str) -> bytes:
        """What was sealed.

        Raises:
            UnsealError: it is not what was sealed here.
        """
        from cryptography.exceptions import InvalidTag

        try:
            return self._aes.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], _joined(about))
        except (InvalidTag, ValueError) as error:
            raise UnsealError(about[-1]) from error

    def digest(self, text: str) -> bytes:
        """16 bytes that stand for a caller's words where only equality matters."""
        return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16, key=self._digest_key).digest()


def key(store: Path, given: bytes | None, *, disk: Disk | None = None, may_make: bool = True) -> bytes:
    """The store's key, 32 bytes: what is given, or lies in the system's keyring, or a file made at first start.

    Args:
        given: As `env:` or `file:` gave it: raw, hex or base64; or `keyring:SERVICE/NAME`.
        may_make: Whether a key is made where there is none yet.

    Raises:
        ConfigError: `store.key`: it is damaged, or there is none. `store.keyring`: there is no keyring, or it refuses.
        OSError: the file cannot be read or written.
    """
    if given is not None and given.startswith(KEYRING):
        return _of_keyring(given.removeprefix(KEYRING).decode("utf-8", "replace"), may_make)
    if given is not None:
        return _parsed(given, "store.key")
    path = store / KEY
    if not path.exists():
        if not may_make:
            raise ConfigError("store.key", f"{path}: the key of this store is missing; put it back")
        (disk or Disk()).save(path, os.urandom(KEY_BYTES))
    found = path.read_bytes()
    if len(found) != KEY_BYTES:
        raise ConfigError("store.key", f"{path}: not {KEY_BYTES} bytes; restore it: without it the jobs are unreadable")
    return found


def keep_key(store: Path, master: bytes, *, disk: Disk | None = None) -> bool:
    """Puts a key into the store's file where there is none; whether it did.

    Raises:
        OSError: the disk.
    """
    path = store / KEY
    if path.exists():
        return False
    (disk or Disk()).save(path, master)
    return True


def _parsed(given: bytes, where: str) -> bytes:
    if len(given) == KEY_BYTES:
        return given
    text = given.strip()
    try:
        found = bytes.fromhex(text.decode("ascii")) if len(text) == 2 * KEY_BYTES else base64.b64decode(text, b"-_")
    except (ValueError, binascii.Error) as error:
        raise ConfigError("store.key", f"{where}: not a key; {_MEND}") from error
    if len(found) != KEY_BYTES:
        raise ConfigError("store.key", f"{where}: {len(found)} bytes long; {_MEND}")
    return found


def _of_keyring(place: str, may_make: bool) -> bytes:
    """The key in the system's keyring at `SERVICE/NAME`; made there at first start."""
    service, _, name = place.partition("/")
    try:
        keyring: Any = importlib.import_module("keyring")
    except ImportError as error:
        raise ConfigError(
            "store.keyring", "store.key: the package `keyring` is missing: pip install keyring"
        ) from error
    try:
        kept = keyring.get_password(service, name)
        if kept is None and not may_make:
            raise ConfigError("store.key", f"store.key: the system's keyring has no key {name!r} of {service!r}")
        if kept is None:
            kept = base64.b64encode(os.urandom(KEY_BYTES)).decode()
            keyring.set_password(service, name, kept)
    except keyring.errors.KeyringError as error:
        message = f"store.key: the system's keyring refuses ({type(error).__name__}); unlock it, or use a file"
        raise ConfigError("store.keyring", message) from error
    return _parsed(kept.encode(), "the system's keyring")


def _derived(master: bytes, purpose: bytes) -> bytes:
    return hashlib.blake2b(digest_size=KEY_BYTES, key=master, person=purpose).digest()


def _joined(about: tuple[str, ...]) -> bytes:
    return "\x00".join(about).encode()
