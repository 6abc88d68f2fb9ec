"""One history of a fleet: thousands of sites, one hub, releases; what decides is `fleet` itself, the rest is made."""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import Final

import msgspec

from ecotone.fleet.standing import ENDED
from ecotone.sim.fleet_checks import check
from ecotone.sim.fleet_hub import Load, MadeFleetHub, Release
from ecotone.sim.fleet_links import DAY_S, HOUR_S, drawn
from ecotone.sim.fleet_site import FleetSite, Schedule
from ecotone.sim.fleet_world import NEW, Scenario, is_hit, nature

__all__ = ["MUST_REACH", "START_S", "FleetHistory", "Outcome", "outcome", "reached", "run"]

START_S: Final = 1.8e9
FIXED: Final = tuple(
    msgspec.structs.replace(
        variant, version=f"3{variant.version[1:]}", sha256={"a": "c", "b": "d"}[variant.sha256[0]] * 64
    )
    for variant in NEW
)
MUST_REACH: Final = frozenset(
    {f"release.{state}" for state in ("rolling", "waiting", "paused", "halted", "rolling_back", "done", "aborted")}
    | {f"site.{what}" for what in ("fetching", "ready", "trying", "good", "failed", "refused", "back")}
)
SHARES: Final = (0.5, 0.9, 0.99)
POLL_S: Final = 55.0
SESSION_S: Final = 900.0
REPORT_S: Final = 900.0


class FleetHistory(msgspec.Struct, kw_only=True):
    """What was made, and what came of it."""

    scenario: Scenario
    seed: int
    sites: list[FleetSite]
    hub: MadeFleetHub
    end_s: float


class Outcome(msgspec.Struct, kw_only=True):
    """What a history comes to.

    Attributes:
        ever, ever_hit: Share of the sites that ever used the first version; of those on whose machines it is bad.
        hit_hours: Hours of use of a bad version, over all sites.
        ended_hours: From the start of the first release to its end; None: it has none yet.
        first_bad_hours: From the start to the first site that found it bad.
        reached_hours: Hours until so large a share of the sites that can have it were on the last version for good.
        can: Sites that can have it: the link comes up, the machine can run it, nobody holds another.
        load: What the releases asked of the hub.
        idle_requests_per_s: What sites that wait for news ask of it all the time.
        busiest_s: Most requests in one second because of the releases.
        busiest_mbit_s: Most of parts of versions in an hour, as a rate.
    """

    scenario: str
    seed: int
    sites: int
    state: str
    why: str
    wave: int
    ever: float
    ever_hit: float
    hit_hours: float
    ended_hours: float | None
    first_bad_hours: float | None
    reached_hours: dict[str, float | None]
    can: int
    told: dict[str, int]
    shared: str
    idle_requests_per_s: float
    busiest_s: int
    busiest_mbit_s: float
    requests: int
    report_bytes: int
    pack_bytes: float


def run(scenario: Scenario, seed: int) -> FleetHistory:
    """A history, checked.

    Raises:
        AssertionError: Something befell a site that must not.
    """
    schedule, rng = Schedule(START_S), Random(seed)  # noqa: S311 - a made world, not a secret
    down = tuple((START_S + from_h * HOUR_S, START_S + to_h * HOUR_S) for from_h, to_h in scenario.down)
    sites = []
    for number in range(scenario.sites):
        drawn_nature = nature(rng, has_wrong_clocks=scenario.has_wrong_clocks)
        link = drawn(rng, START_S - 100 * DAY_S, down)
        sites.append(FleetSite(f"site-{number}", scenario, drawn_nature, link, schedule))
    hub = MadeFleetHub(scenario, sites, schedule, seed)
    for site in sites:
        site.begin(hub, (*NEW, *FIXED), seed=seed)
    hub.begin()
    hub.release("r1", NEW)
    schedule.at(START_S + 1, hub.look)
    if scenario.pause is not None:
        schedule.at(START_S + scenario.pause[0] * HOUR_S, hub.pause)
        schedule.at(START_S + scenario.pause[1] * HOUR_S, hub.resume)
    if scenario.abort is not None:
        schedule.at(START_S + scenario.abort * HOUR_S, hub.abort)
    if scenario.is_fixed:
        schedule.at(START_S + HOUR_S, _fix, hub, schedule)
    end_s = START_S + scenario.days * DAY_S
    schedule.run(end_s)
    history = FleetHistory(scenario=scenario, seed=seed, sites=sites, hub=hub, end_s=end_s)
    check(history.sites, hub, end_s)
    return history


def reached(history: FleetHistory) -> Counter[str]:
    """The states that its releases went through, and what befell its sites."""
    found = Counter(f"release.{state}" for release in history.hub.releases for _, state, *_ in release.log)
    return found + Counter(f"site.{step.what}" for site in history.sites for step in site.steps)


def outcome(history: FleetHistory) -> Outcome:
    """What it comes to."""
    scenario, hub, sites = history.scenario, history.hub, history.sites
    first, last = hub.releases[0], hub.releases[-1]
    hit = [site for site in sites if is_hit(scenario.fault, site.nature.machine)]
    ever = {site.name for site in sites if _instants(site, "trying", first)}
    bad = [at_s for site in sites for at_s in _instants(site, "failed", first)]
    can = [site for site in sites if _can(site, history.end_s)]
    good = sorted(min(instants) for site in can if (instants := _instants(site, "good", last)))
    begun_s = last.log[0][0]
    ended_s = next((at_s for at_s, state, *_ in first.log if state in ENDED), None)
    load: Load = hub.load
    return Outcome(
        scenario=scenario.name,
        seed=history.seed,
        sites=len(sites),
        state=last.standing.state,
        why=last.standing.why,
        wave=last.standing.wave,
        ever=len(ever) / len(sites),
        ever_hit=sum(site.name in ever for site in hit) / max(1, len(hit)),
        hit_hours=sum(site.hit_hours for site in sites),
        ended_hours=None if ended_s is None else (ended_s - START_S) / HOUR_S,
        first_bad_hours=(min(bad) - START_S) / HOUR_S if bad else None,
        reached_hours={
            f"{share:.0%}": (good[n] - begun_s) / HOUR_S if (n := int(share * len(can))) < len(good) else None
            for share in SHARES
        },
        can=len(can),
        told=dict(Counter(site.state for site in sites if site.wish is not None)),
        shared=first.tally.shared,
        idle_requests_per_s=sum(_idle_requests(site, history.end_s) for site in sites) / (history.end_s - START_S),
        busiest_s=max(load.by_second.values(), default=0),
        busiest_mbit_s=max(load.by_hour_bytes.values(), default=0) * 8 / HOUR_S / 1e6,
        requests=load.requests,
        report_bytes=load.report_bytes,
        pack_bytes=load.pack_bytes,
    )


def _fix(hub: MadeFleetHub, schedule: Schedule) -> None:
    """Another version: a day after the first was halted, or three days after the start, however that stands."""
    first = hub.releases[0].standing
    is_time = schedule.now_s - (first.changed_s if first.state == "halted" else START_S + 2 * DAY_S) >= DAY_S
    if is_time and first.state != "rolling_back":
        hub.release("r2", FIXED)
    else:
        schedule.at(schedule.now_s + HOUR_S, _fix, hub, schedule)


def _instants(site: FleetSite, what: str, release: Release) -> list[float]:
    return [step.at_s for step in site.steps if step.what == what and step.sha256 in release.plan.digests]


def _can(site: FleetSite, end_s: float) -> bool:
    """Whether a site can have a new version at all: by its link, its machine, and whoever holds another one fast."""
    fits = site.nature.machine.memory_bytes >= NEW[-1].memory_bytes and (
        site.nature.machine.read_bytes_s >= NEW[-1].bytes * NEW[-1].decode_tok_s_min
    )
    return fits and not site.nature.is_pinned and site.link.next_up(START_S) < end_s


def _idle_requests(site: FleetSite, end_s: float) -> float:
    """Requests of a site that only waits: questions for news, sessions (two each), reports."""
    up_s, spells = site.link.up_s(START_S, end_s)
    return up_s / POLL_S + 2 * (up_s / SESSION_S + spells) + up_s / REPORT_S
