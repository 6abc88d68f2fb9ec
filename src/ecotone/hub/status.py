"""The fleet in one look, for a person: its sites, what runs there, how stale it is, and what it brings.

The database counts; only the sites of one page are looked at one by one. What a site's health is, `fleet.silence` says:
a site that is silent is unknown since then, which is no trouble.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta
from sqlalchemy import ColumnElement, and_, case, func, literal, or_, select, tuple_
from sqlalchemy.engine import Connection, RowMapping
from sqlalchemy.sql import FromClause

from ecotone.fleet.silence import SILENT_S, health
from ecotone.hub.database import Database
from ecotone.hub.tables import wishes
from ecotone.hub.tables_access import sites
from ecotone.hub.tables_releases import report_assets, reports
from ecotone.values.fleet import AssetReport, Report

__all__ = ["Ask", "AssetRow", "Counts", "Fleet", "Scope", "SiteRow", "Totals", "VersionRow", "fleet", "scope_of"]

VERSIONS_MAX: Final = 200
_PLAIN: Final = r"^[^\x00-\x1f]*\Z"
_TOLD: Final = (
    "requests", "at_edge", "at_cloud", "deferred", "refused", "failed", "egress_bytes", "cloud_usd", "saved_usd",
    "bytes_left", "dropped",
)  # fmt: skip

Health = Literal["fine", "trouble", "unknown", "revoked"]
Scope = frozenset[tuple[str, str]]
"""The sites that somebody may see, by what their rows say of (groups, region)."""


class Ask(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which sites to show.

    Attributes:
        find: Part of a site's name, or the whole name of a group or region.
        health: Only those.
        asset: `NAME` or `NAME@VERSION`: only sites that tell of it.
        offset, limit: Which of those found.
    """

    find: Annotated[str, Meta(max_length=100, pattern=_PLAIN)] = ""
    health: Literal["", "fine", "trouble", "unknown", "revoked"] = ""
    asset: Annotated[str, Meta(max_length=140, pattern=_PLAIN)] = ""
    offset: Annotated[int, Meta(ge=0, le=1 << 31)] = 0
    limit: Annotated[int, Meta(ge=0, le=1000)] = 100


class AssetRow(msgspec.Struct, frozen=True, kw_only=True):
    """One version at one site; see `values.fleet.AssetReport`."""

    name: str
    version: str
    kind: str
    state: str
    why: str
    attempt: int
    since_s: float
    bytes_left: int


class SiteRow(msgspec.Struct, frozen=True, kw_only=True):
    """One site.

    Attributes:
        health: `unknown` says nothing of the site: it was not heard for an hour.
        heard_s: When its newest report came, Unix seconds by the hub's clock; 0: never.
        why: Codes of its trouble, or of what it told last.
        wanted: Generation that the hub wants there. generation: The newest that the site has verified.
        stale_s: So old is what it has verified, seconds, as it said when it was heard; None: nothing yet.
        bytes_left: Still to be fetched there.
    """

    site: str
    health: Health
    heard_s: float
    why: tuple[str, ...]
    groups: tuple[str, ...]
    region: str
    software: str
    link: str
    wanted: int
    generation: int
    stale_s: float | None
    bytes_left: int
    requests: int
    at_edge: int
    at_cloud: int
    saved_usd: float
    assets: tuple[AssetRow, ...]
    pinned: tuple[str, ...]


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    """How many sites are how; those that were revoked are counted apart."""

    fine: int = 0
    trouble: int = 0
    unknown: int = 0
    revoked: int = 0


class Totals(msgspec.Struct, frozen=True, kw_only=True):
    """What the newest reports of all enrolled sites say together; see `values.fleet.Traffic`.

    Attributes:
        behind: Sites that have not verified yet what the hub wants there.
    """

    requests: int = 0
    at_edge: int = 0
    at_cloud: int = 0
    deferred: int = 0
    refused: int = 0
    failed: int = 0
    egress_bytes: int = 0
    cloud_usd: float = 0.0
    saved_usd: float = 0.0
    bytes_left: int = 0
    dropped: int = 0
    behind: int = 0


class VersionRow(msgspec.Struct, frozen=True, kw_only=True):
    """A version, and at how many sites it stands how."""

    name: str
    version: str
    kind: str
    sites: dict[str, int]


class Fleet(msgspec.Struct, frozen=True, kw_only=True):
    """What `fleet` found.

    Attributes:
        now_s: By the hub's clock, Unix seconds.
        found: How many sites match; `sites` are those of the page, trouble first.
        silent_s: A site that was not heard for so long is unknown.
    """

    now_s: float
    counts: Counts
    totals: Totals
    versions: tuple[VersionRow, ...]
    found: int
    offset: int
    sites: tuple[SiteRow, ...]
    silent_s: float = SILENT_S


def fleet(database: Database, now_s: float, ask: Ask | None = None, scope: Scope | None = None) -> Fleet:
    """The fleet as the hub knows it.

    Args:
        database: The hub's.
        now_s: By the hub's clock, Unix seconds.
        ask: Which sites to show; by default the first hundred. Counts and totals are of all in the scope.
        scope: As `scope_of` gives it; None: all sites.

    Raises:
        StoreError: `hub.database`.
    """
    ask = ask or Ask()
    how, inside = _health(now_s), _inside(scope)
    with database.snapshot() as c:
        rows = c.execute(select(how.label("how"), func.count()).select_from(_JOINED).where(*inside).group_by(how)).all()
        wanted = [*inside, *_matching(ask, how)]
        found = c.execute(select(func.count()).select_from(_JOINED).where(*wanted)).scalar_one()
        return Fleet(
            now_s=now_s,
            counts=Counts(**{str(state): int(count) for state, count in rows}),
            totals=_totals(c, inside),
            versions=_versions(c, inside),
            found=int(found),
            offset=ask.offset,
            sites=_page(c, ask, wanted, how, now_s),
        )


def scope_of(database: Database, may_see: Callable[[tuple[str, ...], str], bool]) -> Scope:
    """The sites of which `may_see` says so of their groups and region.

    Raises:
        StoreError: `hub.database`.
    """
    with database.read() as c:
        kinds = c.execute(select(sites.c.groups, sites.c.region).distinct()).all()
    return frozenset((groups, region) for groups, region in kinds if may_see(_groups(groups), region))


_BAD: Final = (
    select(report_assets.c.site).where(report_assets.c.state.in_(["failed", "refused"])).distinct().subquery("bad")
)
_JOINED: Final[FromClause] = (
    sites.outerjoin(reports, reports.c.site == sites.c.name)
    .outerjoin(wishes, wishes.c.site == sites.c.name)
    .outerjoin(_BAD, _BAD.c.site == sites.c.name)
)
_IS_ENROLLED: Final = sites.c.state == "enrolled"


def _health(now_s: float) -> ColumnElement[Any]:
    """`fleet.silence.health` in the database's words."""
    return case(
        (~_IS_ENROLLED, literal("revoked")),
        (reports.c.came_s.is_(None), literal("unknown")),
        (now_s - reports.c.came_s > SILENT_S, literal("unknown")),
        (or_(reports.c.trouble > 0, _BAD.c.site.is_not(None)), literal("trouble")),
        else_=literal("fine"),
    )


def _inside(scope: Scope | None) -> list[ColumnElement[bool]]:
    return [] if scope is None else [tuple_(sites.c.groups, sites.c.region).in_(sorted(scope))]


def _matching(ask: Ask, how: ColumnElement[Any]) -> list[ColumnElement[bool]]:
    wanted: list[ColumnElement[bool]] = []
    if ask.find:
        group = sites.c.groups.contains(msgspec.json.encode(ask.find).decode(), autoescape=True)
        wanted.append(or_(sites.c.name.contains(ask.find, autoescape=True), group, sites.c.region == ask.find))
    if ask.health:
        wanted.append(how == ask.health)
    if ask.asset:
        name, _, version = ask.asset.partition("@")
        of = [report_assets.c.name == name, *([report_assets.c.version == version] if version else [])]
        wanted.append(sites.c.name.in_(select(report_assets.c.site).where(*of)))
    return wanted


def _totals(c: Connection, inside: list[ColumnElement[bool]]) -> Totals:
    columns = [func.coalesce(func.sum(reports.c[name]), 0).label(name) for name in _TOLD]
    is_behind = and_(wishes.c.generation.is_not(None), wishes.c.generation > func.coalesce(reports.c.generation, 0))
    columns.append(func.coalesce(func.sum(case((is_behind, 1), else_=0)), 0).label("behind"))
    row = c.execute(select(*columns).select_from(_JOINED).where(_IS_ENROLLED, *inside)).mappings().one()
    kinds = {field.name: field.type for field in msgspec.structs.fields(Totals)}
    return Totals(**{name: kinds[name](value) for name, value in row.items()})


def _versions(c: Connection, inside: list[ColumnElement[bool]]) -> tuple[VersionRow, ...]:
    of = (report_assets.c.name, report_assets.c.version, report_assets.c.kind)
    joined = report_assets.join(sites, and_(sites.c.name == report_assets.c.site, _IS_ENROLLED))
    said = select(*of, report_assets.c.state, func.count().label("n")).select_from(joined).where(*inside)
    rows = c.execute(said.group_by(*of, report_assets.c.state).order_by(*of).limit(VERSIONS_MAX * 7)).all()
    found: dict[tuple[str, str, str], dict[str, int]] = defaultdict(dict)
    for name, version, kind, state, count in rows:
        found[name, version, kind][state] = int(count)
    made = [VersionRow(name=key[0], version=key[1], kind=key[2], sites=value) for key, value in found.items()]
    return tuple(made[:VERSIONS_MAX])


def _page(
    c: Connection, ask: Ask, wanted: list[ColumnElement[bool]], how: ColumnElement[Any], now_s: float
) -> tuple[SiteRow, ...]:
    rank = case((how == "trouble", 0), (how == "unknown", 1), (how == "fine", 2), else_=3)
    found = select(sites.c.name).select_from(_JOINED).where(*wanted)
    names = c.execute(found.order_by(rank, sites.c.name).limit(ask.limit).offset(ask.offset)).scalars().all()
    columns = (sites.c.name, sites.c.state, sites.c.groups, sites.c.region, reports.c.came_s, reports.c.raw)
    said = select(*columns, wishes.c.generation.label("wanted")).select_from(_JOINED).where(sites.c.name.in_(names))
    rows = {row["name"]: row for row in c.execute(said).mappings()}
    return tuple(_site(rows[name], now_s) for name in names)


def _site(row: RowMapping, now_s: float) -> SiteRow:
    report, heard_s = _report(row["raw"]), float(row["came_s"] or 0.0)
    found = health(report, heard_s, now_s)
    said = report or Report(site="none", seq=1, made_s=0.0)
    return SiteRow(
        site=row["name"],
        health=found.state if row["state"] == "enrolled" else "revoked",
        heard_s=heard_s,
        why=found.why,
        groups=_groups(row["groups"]),
        region=row["region"] or "",
        software=said.software,
        link=said.link,
        wanted=int(row["wanted"] or 0),
        generation=said.generation,
        stale_s=max(said.made_s - said.fresh_s, 0.0) if said.fresh_s else None,
        bytes_left=sum(asset.bytes_left for asset in said.assets),
        requests=said.traffic.requests,
        at_edge=said.traffic.at_edge,
        at_cloud=said.traffic.at_cloud,
        saved_usd=said.traffic.saved_usd,
        assets=tuple(_asset(asset) for asset in said.assets),
        pinned=said.pinned,
    )


def _report(raw: str | None) -> Report | None:
    """The report; one that this version cannot read any more stands for none, with a trouble that says so."""
    if raw is None:
        return None
    try:
        return msgspec.json.decode(raw, type=Report)
    except msgspec.DecodeError:
        return Report(site="unreadable", seq=1, made_s=0.0, trouble=("hub.report",))


def _groups(text: str) -> tuple[str, ...]:
    return tuple(msgspec.json.decode(text, type=list[str]))


def _asset(asset: AssetReport) -> AssetRow:
    return AssetRow(**{name: getattr(asset, name) for name in AssetRow.__struct_fields__})
