"""A site as people and the hub's other rooms see it, and what may be written to its labels."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, TypeAlias

import msgspec
from msgspec import Meta
from sqlalchemy import Connection, RowMapping, func, select

from ecotone.access import ALL, Actor, Place, Subject, demand_somewhere, may, raw_key
from ecotone.hub import tables_access
from ecotone.values import RequestError

__all__ = ["EVERY", "Labels", "Page", "Row", "Site", "SiteActor", "actor", "group_names", "page", "site"]

EVERY: Final = "all"
"""The group that each site is in."""
PAGE_MAX: Final = 1_000

Group = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9-]{0,39}\Z")]
Region = Annotated[str, Meta(pattern=r"^([a-z0-9][a-z0-9-]{0,39})?\Z")]
Text = Annotated[str, Meta(max_length=64)]

Row: TypeAlias = RowMapping | Mapping[str, Any]
"""A row of a table, by names of columns."""

_SITES: Final = tables_access.sites


class SiteActor(msgspec.Struct, frozen=True, kw_only=True):
    """A site that asks, proven by its session."""

    site: str
    groups: tuple[str, ...]
    region: str
    labels: dict[str, str]
    key_generation: int

    @property
    def place(self) -> Place:
        """As `access` asks for it."""
        return Place(self.site, self.groups, self.region)


class Site(msgspec.Struct, frozen=True, kw_only=True):
    """A site.

    Attributes:
        groups: With `all`.
        fingerprint: 16 hex digits of its key's SHA-256.
        is_changing_key: Whether it has told its next key, and not used it yet.
        seen_s: When its last session began, Unix seconds; 0: never.
        why: Why it was revoked.
    """

    name: str
    state: Literal["enrolled", "revoked"]
    groups: tuple[str, ...]
    region: str
    labels: dict[str, str]
    fingerprint: str
    key_generation: int
    key_since_s: float
    is_changing_key: bool
    enrolled_s: float
    seen_s: float
    why: str

    @property
    def subject(self) -> Subject:
        """As `access.may` asks for it."""
        return Subject(groups=self.groups, region=self.region)

    @property
    def place(self) -> Place:
        """As `access.may_hold` asks for it."""
        return Place(self.name, self.groups, self.region)


class Page(msgspec.Struct, frozen=True):
    """Some of the sites, and how many there are in all."""

    sites: list[Site]
    total: int


class Labels(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What operators say of a site; None leaves as it is."""

    groups: Annotated[tuple[Group, ...], Meta(max_length=16)] | None = None
    region: Region | None = None
    labels: Annotated[dict[Group, Text], Meta(max_length=16)] | None = None

    @classmethod
    def of(cls, groups: tuple[str, ...] | None, region: str | None, labels: Mapping[str, str] | None) -> Labels:
        """Checks them.

        Raises:
            RequestError: `hub.site_labels`.
        """
        try:
            return msgspec.convert({"groups": groups, "region": region, "labels": labels}, cls)
        except msgspec.ValidationError as error:
            raise RequestError(
                "hub.site_labels",
                f"groups, regions and names of labels are small letters, digits and '-', at most 40, and 16 of them: "
                f"{error}",
            ) from error

    def subjects(self, site: Site) -> list[Subject]:
        """What must be allowed beside the site as it is: each group that it comes into or leaves, and its new region.

        Whoever may do things to one group cannot bring a site into another's.
        """
        region = site.region if self.region is None else self.region
        groups = set(site.groups if self.groups is None else group_names(self.groups))
        changed = groups ^ set(site.groups)
        moved = [Subject(groups=tuple(sorted(groups)), region=region)] if region != site.region else []
        return [Subject(groups=(group,), region=region) for group in sorted(changed)] + moved

    def values(self) -> dict[str, Any]:
        """As the row has them."""
        given: dict[str, Any] = {}
        if self.groups is not None:
            given["groups"] = msgspec.json.encode(sorted(set(self.groups) - {EVERY})).decode()
        if self.labels is not None:
            given["labels"] = msgspec.json.encode(self.labels, order="deterministic").decode()
        return given if self.region is None else {**given, "region": self.region}


def group_names(groups: tuple[str, ...] | list[str]) -> tuple[str, ...]:
    """With the group that each site is in."""
    return tuple(sorted({*groups, EVERY}))


def site(row: Row) -> Site:
    """What a row says."""
    return Site(
        name=row["name"],
        state=row["state"],
        groups=group_names(msgspec.json.decode(row["groups"], type=list[str])),
        region=row["region"],
        labels=msgspec.json.decode(row["labels"], type=dict[str, str]),
        fingerprint=hashlib.sha256(raw_key(row["key"])).hexdigest()[:16],
        key_generation=row["key_generation"],
        key_since_s=row["key_since_s"],
        is_changing_key=bool(row["next_key"]),
        enrolled_s=row["enrolled_s"],
        seen_s=row["seen_s"],
        why=row["why"],
    )


def actor(row: Row) -> SiteActor:
    """The site of a row, as one who asks."""
    return SiteActor(
        site=row["name"],
        groups=group_names(msgspec.json.decode(row["groups"], type=list[str])),
        region=row["region"],
        labels=msgspec.json.decode(row["labels"], type=dict[str, str]),
        key_generation=row["key_generation"],
    )


def page(connection: Connection, who: Actor, find: str, group: str, part: tuple[int, int]) -> Page:
    """Sites by name that somebody may see; see `Sites.page`."""
    offset, limit = max(0, part[0]), min(max(1, part[1]), PAGE_MAX)
    asked = select(_SITES).order_by(_SITES.c.name)
    if find:
        asked = asked.where(_SITES.c.name.contains(find, autoescape=True))
    if group and group != EVERY:
        asked = asked.where(_SITES.c.groups.contains(f'"{group}"', autoescape=True))
    if may(who.person, "fleet.read", ALL):
        total = connection.execute(select(func.count()).select_from(asked.order_by(None).subquery())).scalar_one()
        rows = connection.execute(asked.offset(offset).limit(limit)).mappings()
        return Page([site(row) for row in rows], total)
    demand_somewhere(who, "fleet.read")
    seen = [
        one for one in map(site, connection.execute(asked).mappings()) if may(who.person, "fleet.read", one.subject)
    ]
    return Page(seen[offset : offset + limit], len(seen))
