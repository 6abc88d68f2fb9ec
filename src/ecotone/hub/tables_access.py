"""Tables of people, their keys and grants; of sites, their keys and enrolment tokens."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Boolean, Column, Float, Index, String, Table, Text

from ecotone.hub.meta import metadata

__all__ = ["challenges_used", "confinements", "enrol_tokens", "grants", "people", "person_keys", "sites"]

people: Final = Table(
    "people",
    metadata,
    Column("name", String(128), primary_key=True),
    Column("made_s", Float, nullable=False),
    Column("made_by", String(128), nullable=False),
)
"""The hub's own people, and those of the issuer (`oidc:NAME`) who were granted more than their roles give."""

person_keys: Final = Table(
    "person_keys",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("person", String(128), nullable=False),
    # Keyed digest of the secret (`access.bearing`).
    Column("digest", String(64), nullable=False),
    Column("made_s", Float, nullable=False),
    # Unix seconds; 0: until it is revoked.
    Column("until_s", Float, nullable=False),
    Index("ix_person_keys_person", "person"),
)
"""API keys. A revoked one is removed: the ledger remembers it."""

grants: Final = Table(
    "grants",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("person", String(128), nullable=False),
    # JSON of `access.Grant`.
    Column("grant", Text, nullable=False, quote=True),
    Column("until_s", Float, nullable=False),
    Column("made_s", Float, nullable=False),
    Column("made_by", String(128), nullable=False),
    Index("ix_grants_person", "person"),
)

confinements: Final = Table(
    "confinements",
    metadata,
    Column("id", String(32), primary_key=True),
    # JSON of `access.Confinement`.
    Column("rule", Text, nullable=False),
    Column("made_s", Float, nullable=False),
    Column("made_by", String(128), nullable=False),
)

sites: Final = Table(
    "sites",
    metadata,
    Column("name", String(40), primary_key=True),
    # `enrolled` or `revoked`.
    Column("state", String(10), nullable=False),
    # Base64 of the public key, and of the one that will take its place once it was used.
    Column("key", String(44), nullable=False),
    Column("next_key", String(44), nullable=False),
    Column("key_generation", BigInteger, nullable=False),
    Column("key_since_s", Float, nullable=False),
    # JSON: a list of names, without `all`; a mapping.
    Column("groups", Text, nullable=False, quote=True),
    Column("labels", Text, nullable=False),
    Column("region", String(64), nullable=False),
    Column("token", String(32), nullable=False),
    Column("enrolled_s", Float, nullable=False),
    # When its last session began; 0: never.
    Column("seen_s", Float, nullable=False),
    Column("why", Text, nullable=False),
)

enrol_tokens: Final = Table(
    "enrol_tokens",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("digest", String(64), nullable=False),
    # A site's name or a pattern of them.
    Column("site", String(128), nullable=False),
    Column("groups", Text, nullable=False, quote=True),
    Column("labels", Text, nullable=False),
    Column("region", String(64), nullable=False),
    Column("uses_left", BigInteger, nullable=False),
    # Whether a site that is there already may come again with a new key.
    Column("is_again", Boolean, nullable=False),
    Column("until_s", Float, nullable=False),
    Column("made_s", Float, nullable=False),
    Column("made_by", String(128), nullable=False),
)

challenges_used: Final = Table(
    "challenges_used",
    metadata,
    # SHA-256 of the challenge, hex.
    Column("challenge", String(64), primary_key=True),
    Column("until_s", Float, nullable=False),
    Index("ix_challenges_used_until_s", "until_s"),
)
"""Challenges that were answered, until they are good no longer: each is good once, at whichever process."""
