"""A made hub of a fleet: it keeps the newest report of each site, asks the real `fleet.waves`, and signs wishes."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Sequence
from random import Random
from typing import Final

import msgspec

from ecotone.fleet import waves
from ecotone.fleet.standing import ENDED, Standing
from ecotone.fleet.variants import Variant
from ecotone.fleet.waves import Plan, SiteView, Tally
from ecotone.sim.fleet_links import HOUR_S, NEVER
from ecotone.sim.fleet_site import FleetSite, Schedule
from ecotone.sim.fleet_world import NAME, OLD, Scenario, Wished
from ecotone.values.errors import ConfigError
from ecotone.values.fleet import Report, decode_report

__all__ = ["Load", "MadeFleetHub", "Promise", "Release"]

LOOK_S, BUSY_S, QUIET_S = 900.0, 60.0, 3600.0
"""Between two looks at a release, seconds; while wishes are left to sign; where nothing was told, or for long."""

YOUNG_S: Final = 2 * 86400.0
"""So long a wave is looked at often."""

DIES: Final = 0.02
"""Share of the looks in which the hub dies when it has stored where the release stands, and signed a part."""

REFRESH_BYTES: Final = 20_000
REQUEST_BYTES: Final = 700
RANGE_BYTES: Final = 16 << 20
"""Of a look at what is signed (metadata, manifest apart), of headers of one request and its answer, and of one request
for a part of a version."""


class Release(msgspec.Struct, kw_only=True):
    """A release, as the hub keeps it.

    Attributes:
        wishes: What is signed for its sites.
        log: (Instant, state, wave, why) of every change.
    """

    plan: Plan
    wishes: tuple[Wished, ...]
    standing: Standing
    views: dict[str, SiteView]
    tally: Tally = Tally()
    log: list[tuple[float, str, int, str]] = []


class Promise(msgspec.Struct, frozen=True):
    """What was signed for a site, when, and of which release: `''` for the way back."""

    at_s: float
    wishes: tuple[Wished, ...]
    release: str = ""


class Load(msgspec.Struct, kw_only=True):
    """What the hub was asked because of releases; looks for news that bring none are counted apart."""

    requests: int = 0
    report_bytes: int = 0
    reports: int = 0
    pack_bytes: float = 0.0
    by_second: Counter[int] = msgspec.field(default_factory=Counter)
    by_hour_bytes: Counter[int] = msgspec.field(default_factory=Counter)


class MadeFleetHub:
    """The hub.

    Attributes:
        signed, signed_s: Of each site: (generation, assets) that the director wants there, and since when.
        promised: Of each site: all that was ever signed there, by generation.
    """

    def __init__(self, scenario: Scenario, sites: Sequence[FleetSite], schedule: Schedule, seed: int) -> None:
        self.signed: dict[str, tuple[int, tuple[Wished, ...]]] = {site.name: (1, (OLD,)) for site in sites}
        self.promised = {site.name: {1: Promise(0.0, (OLD,))} for site in sites}
        self.signed_s = dict.fromkeys(self.signed, schedule.now_s)
        self.releases: list[Release] = []
        self.load = Load()
        self._scenario, self._schedule = scenario, schedule
        self._sites = {site.name: site for site in sites}
        self._reports: dict[str, Report] = {}
        self._heard_s: dict[str, float] = {}
        self._former: dict[str, tuple[Wished, ...]] = {}
        self._rng = Random(f"{seed} hub")  # noqa: S311 - a made world, not a secret
        self._looked_s, self._is_news = 0.0, True

    def begin(self) -> None:
        """What it knew of each site before."""
        for site in self._sites.values():
            heard_s = site.link.last_up(self._schedule.now_s)
            if heard_s > 0:
                self._reports[site.name], self._heard_s[site.name] = site.report(), heard_s
            site.generation = 1

    def release(self, name: str, variants: Sequence[Variant]) -> Release:
        """Starts a release of a version: it takes the place of the one before."""
        scenario, now_s = self._scenario, self._schedule.now_s
        for older in self.releases:
            if older.standing.state not in (*ENDED, "rolling_back"):
                self._stand(older, waves.supersede(older.standing, now_s))
        digests = tuple(variant.sha256 for variant in variants)
        told = [asset for report in self._reports.values() for asset in report.assets]
        plan = Plan(
            id=name,
            name=NAME,
            version=variants[0].version.partition("+")[0],
            digests=digests,
            attempt=waves.attempt(digests, told),
            waves=scenario.waves,
            gate=scenario.gate,
            terms=scenario.terms,
            scouts_share=scenario.scouts_share,
        )
        wishes = tuple(
            Wished(
                version=variant.version,
                sha256=variant.sha256,
                attempt=plan.attempt,
                terms=plan.terms,
                decode_tok_s_min=variant.decode_tok_s_min,
            )
            for variant in variants
        )
        made = Release(plan=plan, wishes=wishes, standing=Standing(), views={})
        made.views = {site: self._view(made, site) for site in self._sites}
        self.releases.append(made)
        self._stand(made, waves.start(plan, list(made.views.values()), now_s))
        return made

    def desired(self, site: str) -> tuple[int, tuple[Wished, ...]]:
        """See `FleetHub.desired`. A session, the question, and what is signed."""
        self._asked(7)
        self.load.report_bytes += REFRESH_BYTES
        return self.signed[site]

    def receive(self, site: str, raw: bytes) -> None:
        """See `FleetHub.receive`: only the newest counts, whenever it comes."""
        self._asked(1)
        self.load.reports += 1
        self.load.report_bytes += len(raw)
        report, known = decode_report(raw, site), self._reports.get(site)
        if known is None or report.seq > known.seq:
            self._reports[site] = report
        self._heard_s[site] = self._schedule.now_s
        self._changed(site)

    def is_open(self, sha256: str) -> bool:
        """See `FleetHub.is_open`."""
        return any(sha256 in release.plan.digests and release.standing.state not in ENDED for release in self.releases)

    def fetched(self, site: str, count: float, from_s: float, to_s: float) -> None:
        """See `FleetHub.fetched`."""
        self.load.pack_bytes += count
        self.load.requests += round(count / RANGE_BYTES) + 1
        if to_s < NEVER:
            hours = range(int(from_s // HOUR_S), int(to_s // HOUR_S) + 1)
            for hour in hours:
                self.load.by_hour_bytes[hour] += round(count / len(hours))

    def look(self) -> None:
        """A look at each release, unless the hub is down; and when the next one is."""
        now_s, is_left = self._schedule.now_s, False
        is_down = any(from_s <= now_s < to_s for from_s, to_s in self._down())
        if not is_down and (self._is_news or now_s - self._looked_s >= QUIET_S):
            self._looked_s, self._is_news = now_s, False
            open_ = [release for release in self.releases if release.standing.state not in ENDED]
            is_left = sum(self._look(release) for release in open_) > 0
        is_young = any(now_s - release.standing.since_s < YOUNG_S for release in self.releases)
        self._schedule.at(now_s + (BUSY_S if is_left else LOOK_S if is_young else QUIET_S), self.look)

    def pause(self) -> None:
        """Somebody pauses what rolls."""
        for release in self.releases:
            if release.standing.state in ("rolling", "waiting"):
                self._stand(release, waves.pause(release.standing, self._schedule.now_s))

    def resume(self) -> None:
        """Somebody resumes what was paused."""
        for release in self.releases:
            if release.standing.state == "paused":
                self._stand(release, waves.resume(release.standing, self._schedule.now_s))

    def abort(self) -> None:
        """Somebody takes back what was released first, wherever it stands."""
        with contextlib.suppress(ConfigError):
            self._stand(self.releases[0], waves.abort(self.releases[0].standing, self._schedule.now_s))

    def _look(self, release: Release) -> bool:
        """Whether there may be more to sign."""
        found = waves.decide(release.plan, release.standing, release.views.values(), self._schedule.now_s)
        dies = self._rng.random() < DIES
        part = self._rng.random() if dies else 1.0
        release.tally = found.tally
        self._stand(release, found.standing)
        todo = [(site, release.wishes) for site in found.wish_new]
        todo += [(site, self._former.get(site, (OLD,))) for site in found.wish_back]
        for site, wishes in todo[: round(part * len(todo))]:
            if wishes is release.wishes:
                kept = self._former.get(site, (OLD,))
                self._former[site] = tuple(waves.former(self.signed[site][1], self._reports.get(site), kept))
            self._sign(site, wishes, release.plan.id if wishes is release.wishes else "")
        return bool(todo)

    def _sign(self, site: str, wishes: tuple[Wished, ...], release: str) -> None:
        generation, _ = self.signed[site]
        self.signed[site] = (generation + 1, wishes)
        self.promised[site][generation + 1] = Promise(self._schedule.now_s, wishes, release)
        self.signed_s[site] = self._schedule.now_s
        self._changed(site)
        one = self._sites[site]
        self._schedule.at(one.link.next_up(self._schedule.now_s + self._rng.uniform(0, 3)), one.contact)

    def _changed(self, site: str) -> None:
        self._is_news = True
        for release in self.releases:
            if release.standing.state not in ENDED:
                release.views[site] = self._view(release, site)

    def _view(self, release: Release, site: str) -> SiteView:
        return waves.view(
            release.plan,
            site,
            self.signed[site][1],
            self._reports.get(site),
            heard_s=self._heard_s.get(site, 0.0),
        )

    def _stand(self, release: Release, standing: Standing) -> None:
        told = (standing.state, standing.wave, standing.why)
        if not release.log or release.log[-1][1:] != told:
            release.log.append((self._schedule.now_s, *told))
        release.standing = msgspec.json.decode(msgspec.json.encode(standing), type=Standing)

    def _asked(self, requests: int) -> None:
        self.load.requests += requests
        self.load.report_bytes += requests * REQUEST_BYTES
        self.load.by_second[int(self._schedule.now_s)] += requests

    def _down(self) -> tuple[tuple[float, float], ...]:
        return next(iter(self._sites.values())).link.down
