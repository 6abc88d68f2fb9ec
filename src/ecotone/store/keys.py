"""Keys: those of callers, hashed at rest, and the store's own digest key."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from ecotone.store.disk import Disk
from ecotone.values import ConfigError

__all__ = ["KeyRing", "digest_key", "new_key"]

_PREFIX: Final = "sha256:"
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_DIGEST_KEY_BYTES: Final = 32


def new_key(name: str) -> tuple[str, str]:
    """(secret for the caller, digest for the configuration) of a new API key with 256 random bits.

    The name stands in the secret, so that a leaked one says which to revoke.

    Raises:
        ConfigError: `keys.name`: the name cannot stand in a header.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError("keys.name", f"keys: {name!r}: use up to 64 letters, digits, `.`, `_` and `-`")
    secret = f"eco_{name}_{secrets.token_urlsafe(32)}"
    return secret, _PREFIX + hashlib.sha256(secret.encode()).hexdigest()


class KeyRing:
    """Which key a caller presented. Holds digests only."""

    __slots__ = ("_names",)

    def __init__(self, keys: Mapping[str, str]) -> None:
        """Takes name → secret, or name → `sha256:` and 64 hex digits.

        Raises:
            ConfigError: `keys.empty`, `keys.digest`, `keys.twice`, with the key's name.
        """
        self._names: dict[bytes, str] = {}
        for name, value in keys.items():
            if value.startswith(_PREFIX):
                if not _DIGEST.fullmatch(value):
                    raise ConfigError("keys.digest", f"keys.{name}: after `sha256:` come 64 lower-case hex digits")
                digest = bytes.fromhex(value.removeprefix(_PREFIX))
            elif value.strip():
                digest = hashlib.sha256(value.encode()).digest()
            else:
                raise ConfigError("keys.empty", f"keys.{name}: the key is empty")
            other = self._names.setdefault(digest, name)
            if other != name:
                raise ConfigError("keys.twice", f"keys.{name}: the same key as keys.{other}")

    def __len__(self) -> int:
        return len(self._names)

    def check(self, presented: str) -> str | None:
        """Name of the presented key, or None. What it takes says nothing about the keys: only digests are compared."""
        return self._names.get(hashlib.sha256(presented.encode("utf-8", "surrogatepass")).digest())


def digest_key(store: Path, disk: Disk) -> bytes:
    """The secret under which the ledger's digests are made; new at a store's first start, outside its ledger.

    Whoever destroys it makes the digests meaningless, and the chain stays whole.

    Raises:
        ConfigError: `store.key`: the file is damaged.
        OSError: it cannot be read or written.
    """
    path = store / "ledger.key"
    if not path.exists():
        disk.save(path, os.urandom(_DIGEST_KEY_BYTES))
    key = path.read_bytes()
    if len(key) != _DIGEST_KEY_BYTES:
        raise ConfigError("store.key", f"{path}: not {_DIGEST_KEY_BYTES} bytes; restore it, or remove it for a new one")
    return key
