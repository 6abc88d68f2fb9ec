"""The site's key: Ed25519, made at a store's first start, and what is signed and checked with it."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Final

from ecotone.store import notes
from ecotone.store.disk import Disk
from ecotone.values import ConfigError

# `cryptography` takes 40 ms to import, and most commands never sign: it is imported where it is used.

__all__ = ["KEY", "PUBLIC", "Signer", "Verifier", "origin_of", "site_key", "verifier_key"]

KEY: Final = "site.key"
"""File of the private key in the store, for its user only."""
PUBLIC: Final = "site.pub"
"""File of the public key beside it, which belongs to whoever checks."""

_ED25519: Final = b"\x01"
"""Type of the signatures. Source: https://c2sp.org/signed-note."""
_RAW_BYTES: Final = 32
_VERIFIER_KEY: Final = re.compile(r"([^\s+]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/]+=*)")
_NAME: Final = re.compile(r"[^A-Za-z0-9._-]+")
_NO_MORE: Final = MappingProxyType[str, str]({})


def fingerprint(public: bytes) -> str:
    """16 hex digits by which a public key (32 bytes) is known."""
    return hashlib.sha256(public).hexdigest()[:16]


def origin_of(site: str, public: bytes) -> str:
    """Who signs: the site's name, as far as a note may name it, and its key's fingerprint."""
    return f"{_NAME.sub('_', site)[:64] or 'site'}/{fingerprint(public)}"


def verifier_key(site: str, key: bytes) -> str:
    """A site's public key as tools for C2SP notes take it: name, key id, key.

    Raises:
        ConfigError: `store.public_key`: it is none.
    """
    public = _public(key)
    origin = origin_of(site, public)
    return f"{origin}+{_key_id(origin, public).hex()}+{base64.b64encode(_ED25519 + public).decode()}"


def _key_id(name: str, public: bytes) -> bytes:
    """Source: https://c2sp.org/signed-note."""
    return hashlib.sha256(name.encode() + b"\n" + _ED25519 + public).digest()[:4]


class Signer:
    """Speaks for one site.

    Attributes:
        origin: Name of the site and fingerprint of its key, as they stand in every note.
        public: The public key, 32 bytes.
    """

    def __init__(self, key: bytes, site: str) -> None:
        """Takes a private key as PEM (PKCS #8), or its 32 bytes.

        Raises:
            ConfigError: `store.site_key`: it is not an Ed25519 key.
        """
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        try:
            is_raw = len(key) == _RAW_BYTES
            found = Ed25519PrivateKey.from_private_bytes(key) if is_raw else load_pem_private_key(key, None)
        except (ValueError, TypeError) as error:
            raise _no_key() from error
        if not isinstance(found, Ed25519PrivateKey):
            raise _no_key()
        self._key = found
        self.public = found.public_key().public_bytes_raw()
        self.origin = origin_of(site, self.public)

    def note(self, size: int, root: bytes, more: Mapping[str, str] = _NO_MORE, *, about: str = "") -> bytes:
        """A signed note; `about` sets it apart from a checkpoint (`#pruned`)."""
        text = notes.text_of(self.origin + about, size, root, more)
        signature = _key_id(self.origin, self.public) + self._key.sign(text)
        return notes.signed(text, self.origin, signature)

    def pem(self) -> bytes:
        """The public key as PEM."""
        return _pem(self.public)


class Verifier:
    """Checks notes with the public keys that somebody trusts."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        """Takes public keys as PEM, as C2SP verifier keys, or as their 32 bytes.

        Raises:
            ConfigError: `store.public_key`: one of them is none of these.
        """
        self._keys = {fingerprint(public): public for public in map(_public, keys)}

    def is_signed(self, note: notes.Note, about: str = "") -> bool:
        """Whether one of the keys signed the note, as a statement of this kind."""
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        for name, blob in note.signatures:
            public = self._keys.get(name.rpartition("/")[2])
            if public is None or note.origin != name + about or blob[:4] != _key_id(name, public):
                continue
            try:
                Ed25519PublicKey.from_public_bytes(public).verify(blob[4:], note.text)
            except InvalidSignature:
                continue
            return True
        return False


def site_key(store: Path, disk: Disk, site: str, key: bytes | None = None) -> Signer:
    """The signer of a store; its key pair is new at the first start. `site.pub` is always that of the key in use.

    Args:
        key: A private key from elsewhere, as `Signer` takes it; then the store keeps none.

    Raises:
        ConfigError: `store.site_key`: the private key is damaged.
        OSError: it cannot be read or written.
    """
    path, public = store / KEY, store / PUBLIC
    if key is None and not path.exists():
        disk.save(path, _new_pem())
    try:
        signer = Signer(key if key is not None else path.read_bytes(), site)
    except ConfigError as error:
        mend = f"{path}: {error.message}; restore it, or remove it for a new one"
        message = mend if key is None else f"the given site key: {error.message}"
        raise ConfigError("store.site_key", message) from error
    if not public.exists() or public.read_bytes() != signer.pem():
        disk.save(public, signer.pem())
    return signer


def _new_pem() -> bytes:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    return Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _pem(public: bytes) -> bytes:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return Ed25519PublicKey.from_public_bytes(public).public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def _public(key: bytes) -> bytes:
    """The 32 bytes of a public key, however it is written."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    if len(key) == _RAW_BYTES:
        return key
    match = _VERIFIER_KEY.fullmatch(key.decode("ascii", "replace").strip())
    try:
        if match is not None:
            blob = base64.b64decode(match[3], validate=True)
            if blob[:1] == _ED25519 and len(blob) == _RAW_BYTES + 1 and _key_id(match[1], blob[1:]).hex() == match[2]:
                return blob[1:]
        else:
            found = load_pem_public_key(key)
            if isinstance(found, Ed25519PublicKey):
                return found.public_bytes_raw()
    except (ValueError, TypeError, binascii.Error):
        pass
    message = "not a site's public key: it is PEM or a verifier key, as `ecotone ledger key` prints them"
    raise ConfigError("store.public_key", message)


def _no_key() -> ConfigError:
    return ConfigError("store.site_key", "not an Ed25519 private key in PEM or of 32 bytes")
