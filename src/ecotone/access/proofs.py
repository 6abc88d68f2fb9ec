"""Proofs of who asks: signatures of sites, challenges that are good once, and session tokens. Bytes in, values out.

A site proves that it has its key by signing a challenge of the hub. It needs no clock for that, and no certificate that
could have run out while it was away. What it gets is a token that every process of the hub can check by itself.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from ecotone.values import RequestError
from ecotone.values.fleet import SiteName

__all__ = [
    "CHALLENGE_S", "KEY_BYTES", "SESSION_S", "SIGNATURE_BYTES", "Claims", "SessionKeys", "is_key", "is_signed",
    "plain_key", "raw_key", "session_message",
]  # fmt: skip

CHALLENGE_S: Final = 120.0
"""A challenge is good for so long, by the hub's clock."""
SESSION_S: Final = 900.0
KEY_BYTES: Final = 32
SIGNATURE_BYTES: Final = 64
SECRET_BYTES_MIN: Final = 32
TOKEN_CHARS_MAX: Final = 512
NONCE_BYTES_MIN: Final = 16

_SESSION: Final = b"ecotone-session-v1\n"
_OF_SESSION: Final = "ecs1"
_OF_CHALLENGE: Final = "ecc1"
_WEAK: Final = frozenset(
    {
        bytes(32),
        bytes([1]) + bytes(31),
        b"\xec" + b"\xff" * 30 + b"\x7f",
        bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"),
        bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85"),
        bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"),
        bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa"),
    }
)
"""Points of small order: who has no key can sign under them. Source: Chalkias et al., Taming the many EdDSAs, 2020."""


class Claims(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a session token says.

    Attributes:
        hub: The hub's name.
        generation: Of the site's key: a token is worth nothing once the key has been replaced.
        until_s: Unix seconds by the hub's clock.
    """

    hub: str
    site: SiteName
    generation: Annotated[int, Meta(ge=1)]
    until_s: float


class SessionKeys:
    """Secrets that tokens and challenges are made with, the newest first. The ones before it still check."""

    __slots__ = ("_keys", "_newest")

    def __init__(self, keys: Mapping[str, bytes]) -> None:
        """Takes id -> secret, the newest first.

        Raises:
            ValueError: there is none, or one is too short to be a secret.
        """
        if not keys or any(len(secret) < SECRET_BYTES_MIN for secret in keys.values()):
            raise ValueError(f"session keys of at least {SECRET_BYTES_MIN} bytes are needed")
        self._keys = dict(keys)
        self._newest = next(iter(self._keys))

    def token(self, claims: Claims) -> str:
        """A token that says this, for whoever has one of these keys."""
        said = f"{_OF_SESSION}.{self._newest}.{_text(msgspec.json.encode(claims))}"
        return f"{said}.{self._mac(self._newest, said)}"

    def claims(self, token: str, hub: str, now_s: float) -> Claims | None:
        """What a token says; None where it is not of this hub, has run out, or was made by somebody else."""
        if len(token) > TOKEN_CHARS_MAX or not (said := self._checked(token, _OF_SESSION)):
            return None
        try:
            claims = msgspec.json.decode(_raw(said), type=Claims)
        except (msgspec.DecodeError, ValueError):
            return None
        is_good = claims.hub == hub and now_s < claims.until_s <= now_s + SESSION_S
        return claims if is_good else None

    def challenge(self, site: str, nonce: bytes, now_s: float) -> str:
        """A challenge for a site. Nothing of it has to be kept until it is answered.

        Args:
            nonce: At least 16 random bytes.
        """
        assert len(nonce) >= NONCE_BYTES_MIN
        until_s = now_s + CHALLENGE_S
        payload = b"%d\n%b\n%b" % (int(until_s), _bytes(site), nonce)
        said = f"{_OF_CHALLENGE}.{self._newest}.{_text(payload)}"
        return f"{said}.{self._mac(self._newest, said)}"

    def challenge_until_s(self, challenge: str, site: str, now_s: float) -> float | None:
        """Until when a challenge for this site is good, Unix seconds; None where it is none, or no longer."""
        if len(challenge) > TOKEN_CHARS_MAX or not (said := self._checked(challenge, _OF_CHALLENGE)):
            return None
        until, for_site, _ = _raw(said).split(b"\n", 2)
        is_good = for_site == _bytes(site) and now_s < int(until) <= now_s + CHALLENGE_S
        return float(until) if is_good else None

    def _checked(self, text: str, kind: str) -> str:
        """The payload of what one of these keys has made; `''` for all else."""
        said, _, mac = text.rpartition(".")
        parts = said.split(".")
        if len(parts) != 3 or parts[0] != kind or parts[1] not in self._keys:
            return ""
        return parts[2] if same(mac, self._mac(parts[1], said)) else ""

    def _mac(self, key: str, said: str) -> str:
        return _text(hmac.digest(self._keys[key], _bytes(said), hashlib.sha256))


def same(one: str, other: str) -> bool:
    """Whether two secrets are equal, in a time that tells nothing of where they differ."""
    return hmac.compare_digest(_bytes(one), _bytes(other))


def session_message(site: str, challenge: str, next_key: str | None = None) -> bytes:
    """What a site signs to begin a session.

    Args:
        next_key: The site's next public key in base64, where it changes its key.
    """
    message = _SESSION + _bytes(site) + b"\n" + _bytes(challenge)
    return message if next_key is None else message + b"\n" + _bytes(next_key)


def plain_key(text: str) -> str:
    """The one way in which this key is written in base64, so that two texts are two keys; raises as `raw_key`."""
    return base64.b64encode(raw_key(text)).decode()


def raw_key(text: str) -> bytes:
    """The 32 bytes of a site's public key.

    Raises:
        RequestError: `hub.site_key`: it is none, or one under which anybody can sign.
    """
    raw = _decoded(text)
    if not is_key(raw):
        raise RequestError(
            "hub.site_key", "this is no public key of a site: give the base64 of an Ed25519 key, 32 bytes"
        )
    return raw


def is_key(raw: bytes) -> bool:
    """Whether this may be a public key of a site."""
    return len(raw) == KEY_BYTES and raw not in _WEAK


def is_signed(public: bytes, signature: str, message: bytes) -> bool:
    """Whether the holder of a key has signed this.

    Args:
        public: 32 bytes.
        signature: Base64 of 64 bytes.
    """
    # It takes 40 ms to import, and most of what this room decides needs none of it.
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    raw = _decoded(signature)
    if len(raw) != SIGNATURE_BYTES or not is_key(public):
        return False
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(raw, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def _decoded(text: str) -> bytes:
    """Bytes of base64; none where it is not."""
    if len(text) > TOKEN_CHARS_MAX:
        return b""
    try:
        return base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        return b""


def _bytes(text: str) -> bytes:
    """Of any text that somebody may send, also of one that is none."""
    return text.encode("utf-8", "surrogatepass")


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _raw(text: str) -> bytes:
    """Back from `_text`, of what was checked to have been made by it."""
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
