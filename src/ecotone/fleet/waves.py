"""The hub's machine for one release: from what its sites told to the wishes that are to be signed next.

`decide` looks at levels: asked again with what is known now, it gives what is still to be done. It acts on what sites
told and on nothing else: a site that is silent is neither good nor bad.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Final, TypeVar

import msgspec

from ecotone.fleet.counting import SiteView, Tally, count, members, view
from ecotone.fleet.evidence import CLEARLY, Doubt, binomial_tail
from ecotone.fleet.release import Gate, Plan, Wave
from ecotone.fleet.standing import Event, Standing, moved
from ecotone.fleet.wish import Wish
from ecotone.values.fleet import AssetReport, Report

__all__ = [
    "BAD", "GATES", "Decision", "Gate", "Plan", "SiteView", "Standing", "Tally", "Wave", "abort", "attempt", "decide",
    "former", "pause", "resume", "start", "supersede", "view",
]  # fmt: skip

W = TypeVar("W", bound=Wish)


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be done now.

    Attributes:
        standing: Where the release stands. Stored before or after the wishes are signed: a second look gives the rest.
        wish_new: Sites for which the new version is to be signed.
        wish_back: Sites for which the version before is to be signed, or none where there was none.
    """

    standing: Standing
    wish_new: tuple[str, ...] = ()
    wish_back: tuple[str, ...] = ()
    tally: Tally = Tally()

    @property
    def why(self) -> str:
        """Code of what the release waits for, or of what ended it."""
        return self.standing.why


def start(plan: Plan, sites: Sequence[SiteView], now_s: float) -> Standing:
    """The release begins. Which sites belong to which wave is settled by their rank, for those that join later too."""
    ranks, limits = sorted(site.rank for site in sites), [0.0]
    for wave in plan.waves:
        limits.append(max(limits[-1], _limit(wave, ranks)))
    scouts = _scouts(plan, [site for site in sites if site.rank >= limits[1]], sites, now_s)
    draft = Standing(limits=tuple(limits[1:]), scouts=scouts, opened_s=(now_s,), since_s=now_s)
    return moved(draft, Event.START, "wave", now_s)


def pause(standing: Standing, now_s: float) -> Standing:
    """Nothing more is wished until it is resumed.

    Raises:
        ConfigError: `release.state`, here and below.
    """
    return moved(standing, Event.PAUSE, "asked", now_s)


def resume(standing: Standing, now_s: float) -> Standing:
    """It goes on; the time of its gate counts from now."""
    return msgspec.structs.replace(moved(standing, Event.RESUME, "wave", now_s), since_s=now_s)


def abort(standing: Standing, now_s: float, *, is_back: bool = True) -> Standing:
    """It ends. `is_back`: the version before is signed for all that have a wish for this one; else they keep theirs."""
    if not is_back or standing.state == "draft":
        return moved(standing, Event.ABORT, "asked", now_s)
    return msgspec.structs.replace(moved(standing, Event.WITHDRAW, "asked", now_s), ends="withdrawn")


def supersede(standing: Standing, now_s: float) -> Standing:
    """A newer release of the same asset takes its place. Where it is, it stays until that one comes by."""
    return moved(standing, Event.SUPERSEDED, "superseded", now_s)


def attempt(digests: Sequence[str], told: Iterable[AssetReport]) -> int:
    """The attempt at which a release of these manifests is not refused for what failed before.

    Args:
        told: What the release's sites tell of all their assets.
    """
    failed = (one.attempt + 1 for one in told if one.sha256 in digests and one.state in ("failed", "refused"))
    return max(failed, default=0)


def former(wished: Sequence[W], report: Report | None, kept: Sequence[W]) -> Sequence[W]:
    """What a site goes back to if what is about to be wished is bad: what is wished now, unless that is not good yet.

    Args:
        wished: What the director wants there now, of this asset.
        report: The site's newest.
        kept: What was remembered when that was signed.
    """
    told = {} if report is None else {(one.sha256, one.attempt): one.state for one in report.assets}
    states = {told.get((wish.sha256, wish.attempt)) for wish in wished} - {None}
    return wished if not states or "good" in states else kept


def decide(plan: Plan, standing: Standing, sites: Iterable[SiteView], now_s: float) -> Decision:
    """What is to be done now.

    Args:
        sites: Those of the release, each as `view` gives it.
        now_s: Unix seconds by the hub's clock; it may jump.
    """
    sites = list(sites)
    silent_before_s = now_s - plan.gate.silent_hours * 3600
    inside = members(plan, standing, sites)
    tally = count(inside, silent_before_s, plan.gate.bad_max)
    if standing.state in ("rolling", "waiting"):
        bad = _bad(plan.gate, tally)
        if bad:
            standing = moved(standing, Event.BAD, bad, now_s)
    if standing.state == "rolling_back":
        return _rolling_back(standing, inside, tally, now_s)
    if standing.state not in ("rolling", "waiting"):
        return Decision(standing=standing, tally=tally)
    new = _unsigned(inside)
    if new:
        if standing.state == "waiting":
            standing = moved(standing, Event.OPENED, standing.why, now_s)
        return Decision(standing=standing, wish_new=new[: plan.sites_per_look], tally=tally)
    standing = _through(plan, standing, tally, now_s)
    if standing.state == "rolling":
        inside = members(plan, standing, sites)
        tally, new = count(inside, silent_before_s, plan.gate.bad_max), _unsigned(inside)
    return Decision(standing=standing, wish_new=new[: plan.sites_per_look], tally=tally)


def _through(plan: Plan, standing: Standing, tally: Tally, now_s: float) -> Standing:
    """The standing once all of the open waves is signed: after a look at the gate of the last of them."""
    if standing.state == "rolling":
        standing = moved(standing, Event.SIGNED, standing.why, now_s)
    is_last = standing.wave + 1 >= len(standing.limits)
    open_s = max(0.0, now_s - standing.since_s)
    is_over = open_s >= plan.gate.hours_max * 3600
    lacks = [code for code, is_soft, holds in GATES if not ((is_soft and is_over) or holds(plan.gate, tally, is_last))]
    if open_s < plan.gate.hours_min * 3600:
        lacks.append("gate.hours")
    if lacks and is_over:
        return moved(standing, Event.STUCK, lacks[0], now_s)
    if lacks:
        return msgspec.structs.replace(standing, why=lacks[0])
    if is_last:
        return moved(standing, Event.PASSED, "gate.passed", now_s)
    return msgspec.structs.replace(
        moved(standing, Event.OPENED, "wave", now_s),
        wave=standing.wave + 1,
        opened_s=(*standing.opened_s, now_s),
        since_s=now_s,
    )


def _rolling_back(standing: Standing, inside: Sequence[SiteView], tally: Tally, now_s: float) -> Decision:
    back = tuple(site.site for site in inside if site.is_wished and not site.is_pinned)
    if not back:
        standing = moved(standing, Event(standing.ends), standing.why, now_s)
    return Decision(standing=standing, wish_back=back, tally=tally)


def _unsigned(inside: Sequence[SiteView]) -> tuple[str, ...]:
    """Sites of the open waves that have no wish for it yet: not where another version is held, nor where it failed."""
    return tuple(site.site for site in inside if not site.is_wished and not site.is_pinned and site.state != "failed")


def _limit(wave: Wave, ranks: Sequence[float]) -> float:
    """The rank below which sites belong to the wave: so that it holds as many of those that there are as it says."""
    if wave.group is not None:
        return 0.0
    if wave.share == 1.0:
        return 1.0
    n = wave.count if wave.count is not None else math.ceil((wave.share or 0.0) * len(ranks))
    if not ranks:
        return wave.share or 1.0
    return math.nextafter(ranks[min(n, len(ranks)) - 1], 2.0)


def _scouts(plan: Plan, outside: Sequence[SiteView], sites: Sequence[SiteView], now_s: float) -> tuple[str, ...]:
    """Sites of the kinds of machines that the first wave has too few of: the first in rank that are heard."""
    left = int(plan.scouts_share * len(sites)) if plan.waves[0].group is None else 0
    able: dict[str, list[str]] = {site.machine: [] for site in outside}
    for site in sorted(outside, key=lambda site: site.rank):
        if not site.is_pinned and site.heard_s >= now_s - plan.gate.silent_hours * 3600:
            able[site.machine].append(site.site)
    has, beyond = Counter(site.machine for site in sites), Counter(site.machine for site in outside)
    scouts: list[str] = []
    for turn in range(plan.gate.bad_max):
        for kind in sorted(able):
            nth = turn - (has[kind] - beyond[kind])
            if 0 <= nth < len(able[kind]) and len(scouts) < left:
                scouts.append(able[kind][nth])
    return tuple(scouts)


def _bad(gate: Gate, tally: Tally) -> str:
    """Code of what ends a release, or `''`."""
    if tally.failed >= gate.bad_max and tally.failed >= gate.bad_share * tally.used:
        return "bad.sites"
    code, doubt = tally.doubt
    if doubt is Doubt.CLEAR:
        return f"bad.{code}"
    is_bad_kind = any(_is_bad_kind(gate, used, failed) for _, used, failed in tally.classes)
    return "bad.class" if tally.doubted or is_bad_kind else ""


def _is_bad_kind(gate: Gate, used: int, failed: int) -> bool:
    return failed >= gate.bad_max and binomial_tail(failed, used, gate.bad_share) <= CLEARLY


def _enough(gate: Gate, tally: Tally) -> int:
    """Sites at which the trial must be over: fewer where there are not so many that can use it."""
    return max(1, min(gate.reports_min, tally.wished - tally.pinned - tally.refused))


def _is_decided(gate: Gate, tally: Tally, is_last: bool) -> bool:
    waited_for = tally.coming + tally.trying
    if is_last:
        return waited_for == 0
    return tally.decided >= gate.decided_share * (tally.decided + waited_for)


def _is_usable(gate: Gate, tally: Tally, is_last: bool) -> bool:
    return tally.refused <= gate.refused_share * (tally.used + tally.refused)


GATES: Final[tuple[tuple[str, bool, Callable[[Gate, Tally, bool], bool]], ...]] = (
    ("gate.refused", False, _is_usable),
    ("gate.reports", False, lambda gate, tally, _: tally.decided >= _enough(gate, tally)),
    ("gate.good", False, lambda gate, tally, _: tally.good >= gate.good_share * tally.decided),
    ("gate.doubt", False, lambda gate, tally, _: tally.doubt[1] < Doubt.LIKELY),
    ("gate.decided", True, _is_decided),
    ("gate.requests", True, lambda gate, tally, _: tally.sums.requests >= gate.requests_min),
)
"""(Code of what a wave lacks, whether time makes up for it in the end, what holds where it lacks nothing). A wave must
also be open for `hours_min`: `gate.hours`."""

BAD: Final = {
    "bad.sites": "`bad_max` sites failed, and `bad_share` of those that used it",
    "bad.class": "one kind of machine: `bad_max` sites failed, clearly more than `bad_share`, or the figures say so",
    "bad.crashes": "all sites together: engines crashed too often",
    "bad.errors": "all sites together: too many requests failed",
    "bad.latency": "all sites together: the first token came too late",
    "bad.parity": "all sites together: the quality is too low",
}
"""What ends a release and rolls it back."""
