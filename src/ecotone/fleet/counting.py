"""What the reports of a release's sites come to: which count, and what they say."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from ecotone.fleet.accepting import is_pinned_otherwise
from ecotone.fleet.evidence import Compared, Doubt, added, compared, in_all, pooled, worst
from ecotone.fleet.release import Plan, rank
from ecotone.fleet.standing import Standing
from ecotone.fleet.wish import Wish
from ecotone.values.fleet import AssetReport, AssetState, MachineReport, Report

__all__ = ["CLASSES_TOLD", "SiteView", "Tally", "count", "machine_class", "members", "view"]

CLASSES_TOLD: Final = 16
"""Kinds of machines that a tally names, those with most failures first."""

_MOST: Final[tuple[AssetState, ...]] = ("failed", "trying", "good", "ready", "fetching", "wanted", "refused")
"""Of several variants at one site the first of these is the site's state."""

_USED: Final = frozenset({"trying", "good", "failed"})


class SiteView(msgspec.Struct, frozen=True, kw_only=True):
    """What a hub knows of one site, as far as one release is concerned.

    Attributes:
        rank: Its place in the order of the release.
        machine: Kind of its machine, such as `x86_64/16g`; `''`: it has not told.
        is_wished: The director wants this version there, at this attempt.
        is_pinned: Somebody holds another version fast, there or at the hub.
        heard_s: When its last report came, Unix seconds by the hub's clock; 0: never.
        state: Of this version there, at this attempt, as it told; None: it has not told.
        compared: Its figures beside the version before's, while it is used or after.
    """

    site: str
    rank: float
    groups: tuple[str, ...] = ()
    machine: str = ""
    is_wished: bool = False
    is_pinned: bool = False
    heard_s: float = 0.0
    state: AssetState | None = None
    why: str = ""
    compared: Compared | None = None


class Tally(msgspec.Struct, frozen=True, kw_only=True):
    """The sites of the open waves, counted.

    Attributes:
        sites: All of them.
        wished: Those for which a wish is signed. The rest of the counts is of these.
        pinned, silent: Held at another version; not heard for a long time before they had decided.
        coming: It is wanted, fetched or ready there, or the site has not told yet.
        trying, good, failed, refused: As they told.
        sums: Of the figures of all that used it.
        doubt: (Code, how surely) of what speaks most against it in the figures of all, `''` for nothing.
        classes: (Kind of machine, sites that used it, those of them that failed), most failures first.
        doubted: (Kind of machine, code) of what speaks clearly against it in the figures of all sites of that kind.
        whys: (Code, sites) of what failed and was refused.
        shared: The kind of machine that all failed sites have and not all others; `''`: there is none.
    """

    sites: int = 0
    wished: int = 0
    pinned: int = 0
    silent: int = 0
    coming: int = 0
    trying: int = 0
    good: int = 0
    failed: int = 0
    refused: int = 0
    sums: Compared = Compared()
    doubt: tuple[str, Doubt] = ("", Doubt.NONE)
    classes: tuple[tuple[str, int, int], ...] = ()
    doubted: tuple[tuple[str, str], ...] = ()
    whys: tuple[tuple[str, int], ...] = ()
    shared: str = ""

    @property
    def used(self) -> int:
        """Sites that used it."""
        return self.trying + self.good + self.failed

    @property
    def decided(self) -> int:
        """Sites at which its trial is over."""
        return self.good + self.failed


def view(  # noqa: PLR0913 - all that a hub knows of a site, most of it by name
    plan: Plan,
    site: str,
    wished: Sequence[Wish],
    report: Report | None,
    *,
    heard_s: float = 0.0,
    groups: Sequence[str] = (),
    is_pinned: bool = False,
) -> SiteView:
    """What the hub knows of a site.

    Args:
        wished: What the director wants there now.
        report: The newest; None: there is none.
        heard_s: When it came, Unix seconds by the hub's clock.
        groups: Of the site.
        is_pinned: Somebody at the hub holds the asset fast there.
    """
    told = None if report is None else _told(plan, report)
    figures = told.figures if told is not None and told.state in _USED else None
    before = told.before if told is not None else None
    return SiteView(
        site=site,
        rank=rank(plan.id, site),
        groups=tuple(groups),
        machine="" if report is None else machine_class(report.machine),
        is_wished=any(
            wish.name == plan.name and wish.sha256 in plan.digests and wish.attempt == plan.attempt for wish in wished
        ),
        is_pinned=is_pinned or (report is not None and is_pinned_otherwise(plan.name, plan.version, report.pinned)),
        heard_s=0.0 if report is None else heard_s,
        state=None if told is None else told.state,
        why="" if told is None else told.why,
        compared=None if figures is None else compared(figures, before, plan.terms),
    )


def machine_class(machine: MachineReport) -> str:
    """Kind of a machine: its processor's architecture and its memory, rounded up to a power of two of GiB."""
    if not machine.arch and not machine.memory_bytes:
        return ""
    gibs = max(1.0, machine.memory_bytes / (1 << 30))
    return f"{machine.arch or 'unknown'}/{1 << math.ceil(math.log2(gibs) - 0.1)}g"


def members(plan: Plan, standing: Standing, sites: Iterable[SiteView]) -> list[SiteView]:
    """The sites of the waves that are open: by rank, as scouts, by group, and all that have a wish already."""
    limit = max((standing.limits[: standing.wave + 1]), default=0.0)
    scouts, groups = frozenset(standing.scouts), {wave.group for wave in plan.waves[: standing.wave + 1]} - {None}
    return [
        site
        for site in sites
        if site.rank < limit or site.is_wished or site.site in scouts or not groups.isdisjoint(site.groups)
    ]


def count(inside: Sequence[SiteView], silent_before_s: float, said_by: int) -> Tally:
    """The sites of the open waves, counted.

    Args:
        inside: As `members` gives them.
        silent_before_s: A site that was heard last before this instant is not waited for.
        said_by: Sites that it takes to say something against the version.
    """
    states: Counter[str] = Counter(_count_as(site, silent_before_s) for site in inside if site.is_wished)
    told = [site for site in inside if site.is_wished and site.state is not None and not site.is_pinned]
    whys = Counter(site.why for site in told if site.state in ("failed", "refused"))
    classes = _classes([site for site in told if site.state in _USED])
    parts = _by_kind(told)
    together = [part for kind in parts.values() for part in kind]
    code, doubt = worst(in_all(pooled(together, said_by - 1)))
    clear = {kind: worst(in_all(pooled(of_kind, said_by - 1))) for kind, of_kind in parts.items()}
    return Tally(
        sites=len(inside),
        wished=states.total(),
        sums=added(together),
        doubt=(code, doubt) if doubt else ("", doubt),
        classes=classes[:CLASSES_TOLD],
        doubted=tuple((kind, code) for kind, (code, doubt) in sorted(clear.items()) if doubt is Doubt.CLEAR),
        whys=tuple(whys.most_common()),
        shared=classes[0][0] if [failed > 0 for _, _, failed in classes].count(True) == 1 < len(classes) else "",
        **states,
    )


def _count_as(site: SiteView, silent_before_s: float) -> str:
    """Name of the count to which a site belongs that is wished."""
    if site.is_pinned:
        return "pinned"
    if site.state in ("good", "failed", "refused"):
        return site.state
    if site.heard_s < silent_before_s:
        return "silent"
    return "trying" if site.state == "trying" else "coming"


def _told(plan: Plan, report: Report) -> AssetReport | None:
    """What a site tells of this version at this attempt; of a good one at any: it is not tried again where it runs."""
    told = [
        asset
        for asset in report.assets
        if asset.name == plan.name
        and asset.sha256 in plan.digests
        and (
            asset.attempt == plan.attempt
            or asset.state == "good"
            or (asset.state == "failed" and asset.attempt > plan.attempt)
        )
    ]
    return min(told, key=lambda asset: _MOST.index(asset.state), default=None)


def _by_kind(told: Sequence[SiteView]) -> dict[str, list[Compared]]:
    """The figures of the sites of each kind of machine."""
    parts: dict[str, list[Compared]] = {}
    for site in told:
        if site.compared is not None:
            parts.setdefault(site.machine, []).append(site.compared)
    return parts


def _classes(used: Sequence[SiteView]) -> tuple[tuple[str, int, int], ...]:
    """(Kind of machine, sites that used it, those that failed), most failures first."""
    all_of, failed = Counter(site.machine for site in used), Counter(s.machine for s in used if s.state == "failed")
    return tuple(sorted(((kind, n, failed[kind]) for kind, n in all_of.items()), key=lambda row: (-row[2], row[0])))
