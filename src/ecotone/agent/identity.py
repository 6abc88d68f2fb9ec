"""Who a site is at its hub: one Ed25519 key in `<store>/hub/identity.key`, and the bodies that prove it.

A site changes its key now and then. The next key is on the disk before the hub hears of it, and the old one is kept
until a session that the next one signed was granted: whatever reply is lost, one of the two is good. The keys before
it are kept too, for a hub that was restored from a copy and knows no later one: it hears which key is good now.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
from pathlib import Path
from typing import Any, Final

from ecotone.access import session_message
from ecotone.agent import joined_file
from ecotone.values import ConfigError

# `cryptography` takes 40 ms to import, and a site without a hub needs none of this: it is imported where it is used.

__all__ = ["ENROLLING", "FORMER", "FORMER_MAX", "KEY", "NEXT", "Enrolment", "Identity"]

KEY: Final = "identity.key"
NEXT: Final = "identity.next"
FORMER: Final = "identity.former"
FORMER_MAX: Final = 2
"""So many keys before the one in force are kept: two months and more, at one a month."""
ENROLLING: Final = "identity.enrolling"
"""A key that the hub may not know yet, and the SHA-256 of the token that it is for."""
_SEED_BYTES: Final = 32


class Identity:
    """A site's keys. Private bytes are never shown."""

    def __init__(self, store: Path, seeds: tuple[bytes, ...], former: tuple[bytes, ...] = ()) -> None:
        """The key, and the next one where there is one, as seeds of 32 bytes. Use `load` or `Enrolment.done`.

        Args:
            former: Those before it, the newest first.
        """
        self._store = store
        self._seeds = seeds
        self._former = former

    @classmethod
    def load(cls, store: Path) -> Identity:
        """The site's keys.

        Raises:
            ConfigError: `hub.identity`: there is none, or it is damaged; `store.path`.
        """
        first = _read(store / "hub" / KEY)
        if first is None:
            raise ConfigError("hub.identity", "this site has no key yet: join a hub first (`ecotone enroll URL TOKEN`)")
        following = _read(store / "hub" / NEXT)
        # The same twice: it had taken its place when the site was killed.
        seeds = (first,) if following in (None, first) else (first, following or b"")
        return cls(store, seeds, tuple(seed for seed in _former(store / "hub" / FORMER) if seed not in seeds))

    @property
    def public(self) -> bytes:
        """The public key, 32 bytes."""
        return _public(self._seeds[0])

    @property
    def is_changing(self) -> bool:
        """Whether there is a next key that the hub may know already."""
        return len(self._seeds) > 1

    @property
    def formers(self) -> int:
        """How many keys before this one are kept."""
        return len(self._former)

    def sign(self, message: bytes) -> bytes:
        """The key's signature, 64 bytes."""
        return _sign(self._seeds[0], message)

    def session_body(self, site: str, challenge: str, *, is_changing: bool = False) -> dict[str, Any]:
        """What is posted to `/v1/sites/{site}/session`.

        Args:
            is_changing: Whether the hub has asked for a new key (`rotate`): it is made, and told with this one's
                signature.

        Raises:
            ConfigError: `store.path`: the new key cannot be written; nothing was told.
        """
        if is_changing and not self.is_changing:
            seed = os.urandom(_SEED_BYTES)
            _write(joined_file.folder(self._store) / NEXT, seed)
            self._seeds = (self._seeds[0], seed)
        following = _text(_public(self._seeds[1])) if is_changing else None
        body = {"challenge": challenge, "signature": _text(self.sign(session_message(site, challenge, following)))}
        return body if following is None else {**body, "next_key": following}

    def next_body(self, site: str, challenge: str) -> dict[str, Any]:
        """As `session_body`, signed with the next key: if the hub takes it, `promote`.

        It is tried first where there is one: the hub then forgets the old key.
        """
        assert self.is_changing
        return {"challenge": challenge, "signature": _text(_sign(self._seeds[1], session_message(site, challenge)))}

    def former_body(self, site: str, challenge: str, number: int = 0) -> dict[str, Any]:
        """As `session_body`, signed with a key before this one (0: the last), and naming this one as the next.

        For a hub that knows none later, as it was restored from a copy: it then takes this one at the next session. A
        hub that was not restored refuses it, as it must.
        """
        following = _text(self.public)
        signature = _sign(self._former[number], session_message(site, challenge, following))
        return {"challenge": challenge, "signature": _text(signature), "next_key": following}

    def promote(self) -> None:
        """The next key takes the place of the old one, which is only kept for `former_body`: the hub has taken it.

        Raises:
            ConfigError: `store.path`: it cannot be written; it is tried again at the next session.
        """
        if not self.is_changing:
            return
        folder = joined_file.folder(self._store)
        former = (self._seeds[0], *self._former)[:FORMER_MAX]
        _write(folder / FORMER, b"".join(former))
        _write(folder / KEY, self._seeds[1])
        _remove(folder / NEXT)
        self._seeds, self._former = (self._seeds[1],), former


class Enrolment:
    """A site that joins, or joins again: with a new key, which counts once the hub has taken it.

    A key that the site has is not touched before `done`, so that a wrong token harms nothing; and the same token brings
    the same key, so that it can be sent again when a reply was lost.
    """

    def __init__(self, store: Path, seed: bytes) -> None:
        """Use `begun`."""
        self._store = store
        self._seed = seed

    @classmethod
    def begun(cls, store: Path, token: str) -> Enrolment:
        """With the key that was made for this token, or a new one, which is on the disk.

        Raises:
            ConfigError: `store.path`.
        """
        path = joined_file.folder(store) / ENROLLING
        of_token = hashlib.sha256(token.encode()).digest()
        kept = path.read_bytes() if path.is_file() else b""
        if len(kept) == 2 * _SEED_BYTES and kept[_SEED_BYTES:] == of_token:
            return cls(store, kept[:_SEED_BYTES])
        seed = os.urandom(_SEED_BYTES)
        _write(path, seed + of_token)
        return cls(store, seed)

    def body(self, token: str, site: str) -> dict[str, Any]:
        """What is posted to `/v1/enroll`."""
        return {"token": token, "site": site, "key": _text(_public(self._seed))}

    def done(self) -> Identity:
        """The hub has taken it: this is the site's key now, and those before it are gone.

        Raises:
            ConfigError: `store.path`: the same token may be used again then.
        """
        folder = joined_file.folder(self._store)
        _remove(folder / NEXT)
        _remove(folder / FORMER)
        _write(folder / KEY, self._seed)
        _remove(folder / ENROLLING)
        return Identity.load(self._store)


def _read(path: Path) -> bytes | None:
    try:
        with path.open("rb") as file:
            seed = file.read(_SEED_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigError("hub.identity", f"{path} cannot be read: {error.strerror}; check its owner") from error
    if len(seed) != _SEED_BYTES:
        raise ConfigError(
            "hub.identity", f"{path} is no key (32 bytes): restore it, or remove it and join again with a new token"
        )
    return seed


def _former(path: Path) -> list[bytes]:
    """The keys before; none where they cannot be read: nothing but a restored hub ever asks for them."""
    try:
        with path.open("rb") as file:
            kept = file.read(FORMER_MAX * _SEED_BYTES)
    except OSError:
        return []
    whole = len(kept) - len(kept) % _SEED_BYTES
    return [kept[at : at + _SEED_BYTES] for at in range(0, whole, _SEED_BYTES)]


def _write(path: Path, seed: bytes) -> None:
    """Durable and whole, for this user only."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            os.fchmod(fd, 0o600)
            os.write(fd, seed)
            os.fsync(fd)
        finally:
            os.close(fd)
        fresh.replace(path)
        _sync(path.parent)
    except OSError as error:
        raise ConfigError("store.path", f"{path}: {error}; check owner, rights and free space") from error
    finally:
        with contextlib.suppress(OSError):
            fresh.unlink(missing_ok=True)


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
        _sync(path.parent)
    except OSError as error:
        raise ConfigError("store.path", f"{path}: {error}; check owner and rights") from error


def _sync(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _public(seed: bytes) -> bytes:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()


def _sign(seed: bytes, message: bytes) -> bytes:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return Ed25519PrivateKey.from_private_bytes(seed).sign(message)


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
