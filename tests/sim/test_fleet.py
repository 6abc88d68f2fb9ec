"""Made fleets: what must hold holds in every history, the share on a bad version is small, and the checks can fail."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Any

import msgspec
import pytest

from ecotone.fleet import waves
from ecotone.fleet.memory import Memory
from ecotone.sim import fleet
from ecotone.sim.fleet import MUST_REACH, outcome, reached, run
from ecotone.sim.fleet_hub import MadeFleetHub
from ecotone.sim.fleet_links import DAY_S, HOUR_S, KINDS, NEVER, FleetLink
from ecotone.sim.fleet_site import FleetSite, Schedule
from ecotone.sim.fleet_world import AT_ONCE, NEW, OLD, Fault, Scenario, binomial, drawn_scenario, poisson

HISTORIES = 60
RARE = (("aarch64", 8),)
BAD = Scenario(name="bad", sites=1500, days=20, fault=Fault("errors", RARE))
AGAIN = Scenario(name="again", sites=60, days=12, fault=Fault("boots"), is_fixed=True)


def steps(seed: int, scenario: Scenario) -> list[Any]:
    return [(site.name, site.running.sha256, site.steps) for site in run(scenario, seed).sites]


def breaks(words: str, make: Callable[[int], Scenario] = drawn_scenario) -> bool:
    """Whether a history is found to be broken, in these words."""
    for seed in range(30):
        try:
            run(make(seed), seed)
        except AssertionError as error:
            if words in str(error):
                return True
    return False


def test_what_must_hold_holds_in_every_history_and_every_ending_is_reached() -> None:
    found: Counter[str] = Counter()
    for seed in range(HISTORIES):
        found += reached(run(drawn_scenario(seed), seed))
    assert not MUST_REACH - set(found)


def test_the_same_seed_is_the_same_history_and_wrong_clocks_change_nothing() -> None:
    scenario = msgspec.structs.replace(BAD, sites=300)
    assert steps(3, scenario) == steps(3, scenario)
    assert steps(3, scenario) != steps(4, scenario)
    assert steps(3, scenario) == steps(3, msgspec.structs.replace(scenario, has_wrong_clocks=False))


@pytest.mark.parametrize("kind", ["errors", "crashes", "latency", "boots"])
def test_a_version_that_is_bad_on_few_machines_reaches_few_sites(kind: Any) -> None:
    scenario = msgspec.structs.replace(BAD, fault=Fault(kind, RARE))
    waved = outcome(run(scenario, 1))
    at_once = outcome(run(msgspec.structs.replace(scenario, waves=AT_ONCE), 1))
    assert waved.state == at_once.state == "halted"
    assert waved.ever < 0.15
    assert waved.ever_hit < 0.2
    assert at_once.ever > 3 * waved.ever


def test_after_a_bad_version_a_good_one_reaches_all_that_can_have_it() -> None:
    history = run(msgspec.structs.replace(BAD, sites=400, days=60, is_fixed=True), 2)
    found = outcome(history)
    assert [release.standing.state for release in history.hub.releases] == ["halted", "done"]
    assert found.reached_hours["50%"] is not None
    assert found.reached_hours["99%"] is not None


def test_a_day_without_the_hub_costs_a_day_and_nothing_else() -> None:
    good = Scenario(name="good", sites=300, days=60)
    without, away = (outcome(run(msgspec.structs.replace(good, down=down), 1)) for down in ((), ((10.0, 34.0),)))
    assert without.state == away.state == "done"
    assert without.told == away.told
    assert 0 <= (away.ended_hours or 0) - (without.ended_hours or 0) <= 8 * 24


def test_a_site_that_heeds_no_pin_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    viewed = waves.view

    def heedless(*given: Any, **also: Any) -> Any:
        return msgspec.structs.replace(viewed(*given, **also), is_pinned=False)

    monkeypatch.setattr(waves, "view", heedless)
    assert not breaks(""), "a hub that does not know of the pin does no harm"
    monkeypatch.setattr(FleetSite, "_pinned", lambda self: ())
    assert breaks("holds its version fast, and took another")


def test_what_failed_is_tried_again_when_it_is_released_anew_and_not_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleet, "FIXED", NEW)
    tried = run(AGAIN, 1)
    attempts = {step.attempt for site in tried.sites for step in site.steps if step.what == "failed"}
    assert attempts == {0, 1}
    monkeypatch.setattr(waves, "attempt", lambda *given: 0)
    assert {step.attempt for site in run(AGAIN, 1).sites for step in site.steps} == {0}
    monkeypatch.setattr(Memory, "failed", lambda *given: None)
    assert not breaks("", lambda seed: AGAIN), "the hub knows where it failed, too"
    monkeypatch.setattr(
        waves, "_unsigned", lambda inside: tuple(one.site for one in inside if not (one.is_wished or one.is_pinned))
    )
    assert breaks("tried again what failed", lambda seed: AGAIN)


def test_a_site_that_stays_on_what_was_taken_back_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    take = FleetSite._take

    def deaf(self: FleetSite, generation: int, wishes: Any) -> None:
        if OLD in wishes and self.running != OLD:
            self.generation = generation
        else:
            take(self, generation, wishes)

    monkeypatch.setattr(FleetSite, "_take", deaf)
    assert breaks("knows that the version before is wanted")


def test_a_hub_that_signs_beyond_its_wave_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    decided = waves.decide

    def hasty(plan: Any, standing: Any, sites: Any, now_s: float) -> Any:
        found = decided(plan, standing, sites, now_s)
        return msgspec.structs.replace(found, wish_new=tuple(site.site for site in sites)) if found.wish_new else found

    monkeypatch.setattr(waves, "decide", hasty)
    assert breaks("wave was")


def test_a_hub_that_takes_nothing_back_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    decided = waves.decide

    def lazy(plan: Any, standing: Any, sites: Any, now_s: float) -> Any:
        found = decided(plan, standing, [] if standing.state == "rolling_back" else sites, now_s)
        return msgspec.structs.replace(found, wish_back=())

    monkeypatch.setattr(waves, "decide", lazy)
    assert breaks("is still wished what was halted")


def test_a_hub_that_signs_a_lower_generation_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    desired = MadeFleetHub.desired

    def restored(self: MadeFleetHub, site: str) -> Any:
        generation, wishes = desired(self, site)
        return (1, (OLD,)) if generation == 3 else (generation, wishes)

    monkeypatch.setattr(MadeFleetHub, "desired", restored)
    assert breaks("does not know its wish")


def test_links_are_up_when_they_say_so() -> None:
    weekly = next(kind for kind in KINDS if kind.name == "two hours a week")
    link = FleetLink(weekly, 0.0, down=((7 * DAY_S, 7 * DAY_S + HOUR_S),))
    assert link.is_up(HOUR_S)
    assert not link.is_up(3 * HOUR_S)
    assert link.next_up(3 * HOUR_S) == 7 * DAY_S + HOUR_S
    assert link.last_up(3 * HOUR_S) == 2 * HOUR_S
    assert link.last_up(HOUR_S) == HOUR_S
    assert link.up_s(0.0, 8 * DAY_S) == (3 * HOUR_S, 2)
    assert link.through(0.0, 10e6 / 8 * 3600) == HOUR_S
    assert link.through(0.0, 10e6 / 8 * 3600 * 2.5) == 7 * DAY_S + 1.5 * HOUR_S
    never = FleetLink(next(kind for kind in KINDS if kind.name == "never"), 0.0)
    assert (never.next_up(0.0), never.last_up(9.0), never.through(0.0, 1.0)) == (NEVER, 0.0, NEVER)


def test_what_never_happens_is_not_scheduled() -> None:
    seen: list[float] = []
    schedule = Schedule(5.0)
    schedule.at(NEVER, seen.append, 0.0)
    schedule.at(1.0, lambda: seen.append(schedule.now_s))
    schedule.run(10.0)
    assert (seen, schedule.now_s) == ([5.0], 10.0)


def test_dice() -> None:
    rng = Random(1)
    assert 9 < sum(poisson(rng, 10) for _ in range(400)) / 400 < 11
    assert 95 < sum(poisson(rng, 100) for _ in range(400)) / 400 < 105
    assert 1.5 < sum(binomial(rng, 20, 0.1) for _ in range(400)) / 400 < 2.5
    assert 7 < sum(binomial(rng, 80, 0.1) for _ in range(400)) / 400 < 9
    assert 75 < sum(binomial(rng, 800, 0.1) for _ in range(400)) / 400 < 85
