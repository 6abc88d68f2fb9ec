"""What is asked of a release, and what is shown of one."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Sequence
from typing import Annotated, Any, Final, TypeVar

import msgspec
from msgspec import Meta

from ecotone.fleet.waves import Gate, Plan, Standing, Tally, Wave
from ecotone.trust.agreeing import Asset
from ecotone.values import RequestError
from ecotone.values.fleet import Name, SiteName, Terms, Version

__all__ = ["Base", "Pin", "Release", "Scope", "Start", "asked", "base", "digest", "new_id"]

Group = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9-]{0,39}\Z")]
Base = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")]
"""A version as people see it: without what tells its variants apart."""

_Waves = Annotated[tuple[Wave, ...], Meta(min_length=1, max_length=32)]
_T = TypeVar("_T", bound=msgspec.Struct)

_DEFAULTS: Final = {field.name: field.default for field in msgspec.structs.fields(Plan)}
SITES_NAMED_MAX: Final = 10_000


class Scope(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Sites that a release goes over: these, and all of these groups; with neither all sites.

    A site that is enrolled later, or gets a label later, belongs to it too.
    """

    sites: Annotated[tuple[SiteName, ...], Meta(max_length=SITES_NAMED_MAX)] = ()
    groups: Annotated[tuple[Group, ...], Meta(max_length=64)] = ()

    def has(self, site: str, groups: Sequence[str]) -> bool:
        """Whether a site belongs to it."""
        if not self.sites and not self.groups:
            return True
        return site in self.sites or any(group in groups for group in self.groups)


class Start(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which version is released, to whom, and how carefully.

    Attributes:
        version: `2` stands for all its published variants (`2`, `2+q8`, `2+q4`); a site takes the best one that its
            machine runs.
        variants: Those to use, best first. Default: all, largest first.
        decode_tok_s_min: Tokens a second that a machine must reach with a variant; 0: any.
        terms: What it must show at a site.
    """

    name: Name
    version: Base
    scope: Scope = Scope()
    waves: _Waves = _DEFAULTS["waves"]
    gate: Gate = Gate()
    terms: Terms = Terms()
    variants: Annotated[tuple[Version, ...], Meta(max_length=16)] = ()
    decode_tok_s_min: Annotated[float, Meta(ge=0, le=1e6)] = 0.0


class Release(msgspec.Struct, frozen=True, kw_only=True):
    """A release as it stands.

    Attributes:
        by: Who started it.
        looked_s: When the hub last looked at what its sites tell, Unix seconds; `ended_s`: 0 while it goes on.
        residency: Regions in which all variants may rest; empty: anywhere.
        variants: The assets that are wished, best first.
        standing: Its state, wave and since when.
        tally: What the sites of its open waves told at the last look.
    """

    id: str
    name: str
    version: str
    state: str
    why: str
    by: str
    created_s: float
    looked_s: float
    ended_s: float
    looks: int
    scope: Scope
    residency: tuple[str, ...]
    plan: Plan
    variants: tuple[Asset, ...]
    standing: Standing
    tally: Tally

    @property
    def kind(self) -> str:
        """Of the asset."""
        return self.variants[0].kind


class Pin(msgspec.Struct, frozen=True, kw_only=True):
    """An asset that the hub holds fast at a site."""

    site: str
    name: str
    version: str
    by: str
    at_s: float


def base(version: str) -> str:
    """The version that people see, of a variant's."""
    return version.split("+", 1)[0]


def new_id(letter: str) -> str:
    """A new name that nothing had before."""
    return f"{letter}-{uuid.uuid4().hex[:12]}"


def asked(kind: type[_T], body: Any) -> _T:
    """What somebody sent, as it must be.

    Raises:
        RequestError: `hub.asked`: where it is wrong.
    """
    try:
        return msgspec.convert(body, kind)
    except msgspec.ValidationError as error:
        raise RequestError("hub.asked", f"this cannot be done as it was asked: {error}") from error


def digest(value: object) -> str:
    """SHA-256 of a request, for the ledger."""
    return hashlib.sha256(msgspec.json.encode(value)).hexdigest()
