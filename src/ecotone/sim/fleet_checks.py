"""What must hold in every history of a fleet, from what befell its sites and from what was signed for them."""

from __future__ import annotations

from collections.abc import Sequence

from ecotone.fleet.release import rank
from ecotone.sim.fleet_hub import MadeFleetHub, Release
from ecotone.sim.fleet_links import DAY_S
from ecotone.sim.fleet_site import FleetSite, Step
from ecotone.sim.fleet_world import OLD

__all__ = ["check"]

SETTLE_S = DAY_S
"""After what was signed last a site has so long, its link being up, to be where it shall be."""


def check(sites: Sequence[FleetSite], hub: MadeFleetHub, end_s: float) -> None:
    """Holds a whole history against what must hold.

    Raises:
        AssertionError: With the site and what befell it.
    """
    for site in sites:
        _never_runs_what_was_not_signed(site, hub)
        _never_goes_below(site)
        _never_tries_again_what_failed(site)
        _runs_what_it_shall(site, hub, end_s)
    for release in hub.releases:
        _signs_only_open_waves(release, hub)
        _signs_nothing_after_the_end(release, hub)


def _never_runs_what_was_not_signed(site: FleetSite, hub: MadeFleetHub) -> None:
    promised = hub.promised[site.name]
    for step in site.steps:
        signed = {(wish.sha256, wish.attempt) for wish in promised[step.generation].wishes}
        if step.what in ("fetching", "trying", "back"):
            assert _subject(step) in signed, f"{site.name} did what its newest wish does not say: {step}"
    if site.nature.is_pinned:
        assert not site.steps, f"{site.name} holds its version fast, and took another: {site.steps}"


def _never_goes_below(site: FleetSite) -> None:
    generations = [step.generation for step in site.steps]
    assert generations == sorted(generations), f"{site.name} went back to an older wish: {site.steps}"


def _never_tries_again_what_failed(site: FleetSite) -> None:
    failed: dict[str, int] = {}
    for step in site.steps:
        if step.what in ("fetching", "trying"):
            assert step.attempt > failed.get(step.sha256, -1), f"{site.name} tried again what failed: {step}"
        if step.what == "failed":
            failed[step.sha256] = step.attempt


def _runs_what_it_shall(site: FleetSite, hub: MadeFleetHub, end_s: float) -> None:
    """It runs what is signed for it, or the last that was good where that failed or has not arrived yet."""
    generation, wishes = hub.signed[site.name]
    used = [step for step in site.steps if step.what in ("trying", "failed", "left", "back")]
    last_good = next((s.sha256 for s in reversed(site.steps) if s.what in ("good", "back")), OLD.sha256)
    is_new = bool(used) and used[-1].what == "trying"
    expected = used[-1].sha256 if is_new else last_good
    assert site.running.sha256 == expected, f"{site.name} runs {site.running.sha256[:4]}, not {expected[:4]}"
    if OLD in wishes and site.generation == generation:
        assert site.running == OLD, f"{site.name} knows that the version before is wanted, and runs another"
    if site.link.next_up(hub.signed_s[site.name]) + SETTLE_S < end_s:
        assert site.generation == generation, f"{site.name} had its link, and does not know its wish"


def _signs_only_open_waves(release: Release, hub: MadeFleetHub) -> None:
    """No site has a wish before its wave was open."""
    standing = release.standing
    for site, promised in hub.promised.items():
        first_s = min((one.at_s for one in promised.values() if one.release == release.plan.id), default=None)
        if first_s is None:
            continue
        place = rank(release.plan.id, site)
        wave = next(wave for wave, limit in enumerate(standing.limits) if place < limit)
        wave = 0 if site in standing.scouts else wave
        assert wave <= standing.wave, f"{site} got a wish of {release.plan.id}, and its wave was never open"
        assert first_s >= standing.opened_s[wave], f"{site} got a wish of {release.plan.id} before its wave was open"


def _signs_nothing_after_the_end(release: Release, hub: MadeFleetHub) -> None:
    if release.standing.state != "halted":
        return
    for site, promised in hub.promised.items():
        now = promised[hub.signed[site][0]]
        assert now.release != release.plan.id, f"{site} is still wished what was halted"


def _subject(step: Step) -> tuple[str, int]:
    return step.sha256, step.attempt
