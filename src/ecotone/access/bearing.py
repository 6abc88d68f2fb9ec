"""Secrets that are borne: enrolment tokens of sites and API keys of people. Only digests of them are kept.

An enrolment token is `eco1.ID.SECRET`, an API key `eco_ID_SECRET`: the id says which to revoke when one has leaked. A
secret has 256 random bits, so that no slow hash is needed; the digest is keyed, so that who can write to the database
cannot put in a secret of their own.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from typing import Final

import msgspec

from ecotone.access.proofs import same

__all__ = ["Borne", "api_key", "borne", "digest", "enrolment_token", "is_one_of"]

_ENROLMENT: Final = re.compile(r"eco1\.([a-z0-9]{4,32})\.([A-Za-z0-9_-]{43})")
_API_KEY: Final = re.compile(r"eco_([a-z0-9]{4,32})_([A-Za-z0-9_-]{43})")
_PEPPER_BYTES_MIN: Final = 32


class Borne(msgspec.Struct, frozen=True):
    """A secret that somebody has presented."""

    kind: str
    id: str
    secret: str

    def __repr__(self) -> str:
        return f"Borne({self.kind!r}, {self.id!r}, '...')"


def enrolment_token(key_id: str, secret: str) -> str:
    """The text of an enrolment token."""
    return f"eco1.{key_id}.{secret}"


def api_key(key_id: str, secret: str) -> str:
    """The text of a person's API key."""
    return f"eco_{key_id}_{secret}"


def borne(text: str) -> Borne | None:
    """What a text is by its form; None where it is neither. It may still be unknown, run out or revoked."""
    if found := _ENROLMENT.fullmatch(text):
        return Borne("enrolment", found[1], found[2])
    if found := _API_KEY.fullmatch(text):
        return Borne("api", found[1], found[2])
    return None


def digest(pepper: bytes, secret: Borne) -> str:
    """What is kept of a secret, 64 hex digits."""
    assert len(pepper) >= _PEPPER_BYTES_MIN
    return hmac.digest(pepper, f"{secret.kind}\n{secret.id}\n{secret.secret}".encode(), hashlib.sha256).hex()


def is_one_of(pepper: bytes, secret: Borne, kept: str) -> bool:
    """Whether this is the secret that the digest was made of."""
    return same(digest(pepper, secret), kept)
