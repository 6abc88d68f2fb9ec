"""A hub's private keys: one file each, made here and meant to be carried away."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from securesystemslib.signer import CryptoSigner

from ecotone.assets import files
from ecotone.values import ConfigError

__all__ = ["beside", "every", "made", "read", "written"]

_KEY_BYTES_MAX: Final = 8_192


def beside(hub: Path) -> Path:
    """The folder of keys that belongs to a hub's folder: beside it, as what is in it is public."""
    whole = hub.absolute()
    return whole.with_name(f"{whole.name}.keys")


def made() -> CryptoSigner:
    """A new key (Ed25519)."""
    return CryptoSigner.generate_ed25519()


def written(signer: CryptoSigner, path: Path) -> Path:
    """The key in a new file that its owner alone can read (PKCS #8, PEM, not encrypted).

    Raises:
        ConfigError: `hub.keys`, if there is such a file.
        StoreError: `asset.io`, `asset.disk_full`.
    """
    pem = signer.private_bytes
    with files.durably(f"writing {path}"):
        files.folder(path.parent)
        try:
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except FileExistsError as error:
            raise ConfigError("hub.keys", f"{path} is there already, and a key is never written over") from error
        with open(fd, "wb") as file:
            file.write(pem)
            file.flush()
            os.fsync(fd)
        files.sync_folder(path.parent)
    return path


def read(path: Path) -> CryptoSigner:
    """The key in a file.

    Raises:
        ConfigError: `hub.keys`.
    """
    try:
        with path.open("rb") as file:
            key = serialization.load_pem_private_key(file.read(_KEY_BYTES_MAX), None)
    except OSError as error:
        raise ConfigError("hub.keys", f"the key {path} cannot be read: {error.strerror}") from error
    except (ValueError, TypeError) as error:
        raise ConfigError("hub.keys", f"{path} is no private key without a password (PEM)") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigError("hub.keys", f"{path} is no Ed25519 key")
    return CryptoSigner(key)


def every(paths: Iterable[Path]) -> list[CryptoSigner]:
    """Several, each once."""
    found = {signer.public_key.keyid: signer for signer in map(read, paths)}
    return list(found.values())
