"""Names, lifetimes and bounds of what is signed."""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import Final

CATALOGUE: Final = "catalogue"
DIRECTOR: Final = "director"

FOLDERS: Final = MappingProxyType(
    {
        "model": "models",
        "adapter": "adapters",
        "dataset": "datasets",
        "policy": "policies",
        "labels": "labels",
        "prior": "priors",
    }
)
"""Kind of asset -> the first part of its target's path, which is what a publisher is trusted for."""

NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
VERSION: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+_-]{0,63}")
ROLE: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
"""A publisher, or a site."""

ISSUED_AT: Final = "issued_at"
"""Signed in every role, Unix seconds: what the time floor is made of."""

GRADE: Final = "grade"
ONLINE: Final = "online"
BUNDLE: Final = "bundle"
"""Grades of a timestamp: what a link may bring, and what only a stick may."""

DAY_S: Final = 86_400.0
LIFETIME_S: Final = MappingProxyType(
    {
        "root": 730 * DAY_S,
        "targets": 400 * DAY_S,
        "publisher": 400 * DAY_S,
        "snapshot": 200 * DAY_S,
        ONLINE: 7 * DAY_S,
        BUNDLE: 180 * DAY_S,
    }
)
"""How long what is signed holds. A snapshot outlives every timestamp that names it."""

CLOCK_SLACK_S: Final = 3 * DAY_S
"""How far a signed instant may lie ahead of a plausible clock and still raise the floor wholly."""

RELEASED_S: Final = 1_795_600_000.0
"""When this version was made (November 2026): no earlier clock is right."""

VERSIONS_FROM_S: Final = 1_795_600_000.0
"""From when versions of metadata are counted (`writing.next_version`). Never to be changed: sites remember them."""

ROOT_BYTES_MAX: Final = 512_000
TIMESTAMP_BYTES_MAX: Final = 16_384
SNAPSHOT_BYTES_MAX: Final = 2_000_000
TARGETS_BYTES_MAX: Final = 5_000_000
DOCUMENT_BYTES_MAX: Final = 16 << 20
"""Longest target: a manifest. As `transfer` has it; siblings do not know each other."""

ROOTS_MAX: Final = 64
"""Most rotations of a root that are followed at once."""

ASSETS_MAX: Final = 256
"""Most assets of one site."""


def metadata(repository: str, file: str) -> str:
    """Where metadata lies in a hub's folder."""
    return f"{repository}/metadata/{file}"


def target(repository: str, path: str, sha256: str) -> str:
    """Where a target lies: with its digest before its name, so that no version is ever overwritten."""
    folder, _, name = path.rpartition("/")
    return f"{repository}/targets/{folder}/{sha256}.{name}"


def asset_path(kind: str, name: str, version: str) -> str:
    """The target of one version of an asset in the catalogue."""
    return f"{FOLDERS[kind]}/{name}@{version}"


def site_path(site: str) -> str:
    """The target of a site in the director."""
    return f"sites/{site}.json"
