"""Waves: who belongs to them, what opens the next one, what ends a release."""

from __future__ import annotations

import msgspec
import pytest
from tests.unit.fleet.made import HOUR_S, NEW, OLD, OTHER, Wished, figures, fleet, plan, report, site, told

from ecotone.fleet import waves
from ecotone.fleet.counting import machine_class, members, view
from ecotone.fleet.evidence import compared
from ecotone.fleet.release import Gate, Plan, Wave, rank
from ecotone.fleet.standing import Standing
from ecotone.fleet.waves import BAD, SiteView, decide, start
from ecotone.values.fleet import Figures, MachineReport, Terms

T0 = 1e9
LATER = T0 + 5 * HOUR_S


def begun(given: Plan, sites: list[SiteView]) -> Standing:
    """After the first look: the wishes of the first wave are signed."""
    return decide(given, start(given, sites, T0), sites, T0).standing


def signed(sites: list[SiteView], names: tuple[str, ...]) -> list[SiteView]:
    return [msgspec.structs.replace(one, is_wished=one.is_wished or one.site in names) for one in sites]


def now(sites: list[SiteView], now_s: float) -> list[SiteView]:
    """All of them were heard just now."""
    return [msgspec.structs.replace(one, heard_s=now_s) for one in sites]


def test_a_wave_holds_as_many_sites_as_it_says() -> None:
    given = plan(Wave(count=4), Wave(share=0.3), Wave(share=1.0))
    sites = fleet(50)
    standing = start(given, sites, T0)
    for wave, n in ((0, 4), (1, 15), (2, 50)):
        at = msgspec.structs.replace(standing, wave=wave)
        assert [one.site for one in members(given, at, sites)] == [one.site for one in sites[:n]]


def test_a_site_that_joins_moves_no_other() -> None:
    given = plan(Wave(share=0.2), Wave(share=1.0))
    sites = fleet(30)
    standing = start(given, sites, T0)
    before = {one.site for one in members(given, standing, sites)}
    joined = [*sites, *(site(f"new{number}") for number in range(300))]
    after = {one.site for one in members(given, standing, joined)}
    assert before <= after
    assert not (after - before) & {one.site for one in sites}
    assert 30 <= len(after - before) <= 100


def test_each_release_begins_with_others() -> None:
    first = sorted(range(50), key=lambda n: rank("a", f"s{n}"))[:5]
    assert first != sorted(range(50), key=lambda n: rank("b", f"s{n}"))[:5]
    assert 0 <= rank("a", "s") < 1


def test_a_group_is_a_wave() -> None:
    given = plan(Wave(group="brave"), Wave(share=1.0))
    sites = [site("a"), site("b", groups=("brave", "x")), site("c")]
    standing = start(given, sites, T0)
    assert decide(given, standing, sites, T0).wish_new == ("b",)
    assert decide(given, msgspec.structs.replace(standing, wave=1), sites, T0).wish_new == ("a", "b", "c")


@pytest.mark.parametrize("n", [0, 1, 2])
def test_a_small_fleet_has_waves_too(n: int) -> None:
    given = plan(Wave(count=1), Wave(share=0.5), Wave(share=1.0))
    standing = start(given, fleet(n), T0)
    assert len(decide(given, standing, fleet(n), T0).wish_new) == min(n, 1)
    assert standing.limits[-1] == 1.0
    assert start(plan(Wave(share=0.5)), [], T0).limits == (0.5,)


def test_the_first_wave_is_signed_and_the_rest_waits() -> None:
    sites = fleet(20)
    first = decide(plan(), start(plan(), sites, T0), sites, T0)
    assert first.wish_new == tuple(one.site for one in sites[:4])
    assert (first.standing.state, first.why, first.wish_back) == ("rolling", "wave", ())
    second = decide(plan(), first.standing, signed(sites, first.wish_new), T0)
    assert (second.standing.state, second.wish_new, second.why) == ("waiting", (), "gate.reports")


def test_the_same_look_again_gives_the_same() -> None:
    sites = fleet(20, "good", "good", "trying")
    standing = begun(plan(), sites)
    assert decide(plan(), standing, sites, LATER) == decide(plan(), standing, sites, LATER)


def test_a_gate_is_passed_and_the_next_wave_signed_at_once() -> None:
    sites = now(fleet(20, "good", "good", "good", "good"), LATER)
    found = decide(plan(), begun(plan(), sites), sites, LATER)
    assert (found.standing.state, found.standing.wave, found.standing.opened_s) == ("rolling", 1, (T0, LATER))
    assert len(found.wish_new) == 16


@pytest.mark.parametrize(
    ("states", "gate", "why"),
    [
        (("good", "trying", "trying", "trying"), Gate(), "gate.reports"),
        (("good", "good", "good", "failed"), Gate(), "gate.good"),
        (("good", "good", "trying", "trying"), Gate(reports_min=2), "gate.decided"),
        (("good", "good", "good", "fetching"), Gate(decided_share=0.6, requests_min=301), "gate.requests"),
        (("good", "good", "good", "fetching"), Gate(decided_share=0.6, hours_min=6, requests_min=300), "gate.hours"),
        (("good", "refused", "refused", "fetching"), Gate(), "gate.refused"),
        (("good", "good", "good", "fetching"), Gate(decided_share=0.6, requests_min=300), "wave"),
        (("good", "good", "good", "refused"), Gate(requests_min=300), "wave"),
    ],
)
def test_what_a_wave_lacks(states: tuple[str, ...], gate: Gate, why: str) -> None:
    given = plan(gate=gate)
    sites = now(fleet(20, *states), LATER)  # type: ignore[arg-type] # states, spelled out
    found = decide(given, begun(given, sites), sites, LATER)
    assert found.why == why
    assert bool(found.wish_new) is (why == "wave")


def erring(*errors: int, requests: int = 100) -> list[SiteView]:
    """Good sites of a first wave, and how many of their requests failed."""
    sites = now(fleet(20, *["good"] * len(errors)), LATER)
    for index, failed in enumerate(errors):
        seen = compared(figures(requests, failed), figures(1000), Terms())
        sites[index] = msgspec.structs.replace(sites[index], compared=seen)
    return sites


def test_what_speaks_against_all_together_holds_the_wave() -> None:
    given = plan(Wave(count=10), Wave(share=1.0))
    for errors, why in (([2] * 10, "wave"), ([4] * 6 + [3] * 4, "gate.doubt"), ([6] * 10, "bad.errors")):
        sites = erring(*errors)
        assert decide(given, begun(given, sites), sites, LATER).why == why


def test_what_fewer_sites_than_it_takes_say_ends_nothing_be_it_true_or_a_lie() -> None:
    given = plan(Wave(count=10), Wave(share=1.0))
    for errors, why in (([50, 50] + [1] * 8, "wave"), ([50] * 3 + [1] * 7, "bad.errors")):
        sites = erring(*errors)
        assert decide(given, begun(given, sites), sites, LATER).why == why
    liar = compared(Figures(hours=1, requests=1 << 53, errors=1 << 53, crashes=1 << 50), figures(1000), Terms())
    sites = erring(*[1] * 10)
    sites[3] = msgspec.structs.replace(sites[3], compared=liar)
    assert decide(given, begun(given, sites), sites, LATER).why == "wave"


def test_a_site_that_claims_very_much_hides_nothing() -> None:
    given = plan(Wave(count=10), Wave(share=1.0))
    before = figures(1000, ttft_p50_ms=100, ttft_p95_ms=200, parity=0.9, pairs=1000)
    praise = Figures(hours=1, requests=1 << 53, ttft_p95_ms=20, parity=2.0, pairs=1 << 53)
    sites = erring(*[20] * 10)
    sites[3] = msgspec.structs.replace(sites[3], compared=compared(praise, before, Terms()))
    assert decide(given, begun(given, sites), sites, LATER).why == "bad.errors"


def test_sites_that_are_silent_are_not_waited_for_and_say_nothing() -> None:
    sites = fleet(20, "good", "good", "wanted", "trying")
    heard = [msgspec.structs.replace(one, heard_s=0.0 if index in (2, 3) else LATER) for index, one in enumerate(sites)]
    standing = begun(plan(), sites)
    assert decide(plan(), standing, now(sites, LATER), LATER).why == "gate.decided"
    found = decide(plan(), standing, heard, LATER)
    assert found.standing.wave == 1
    assert found.tally.silent == 2


def test_where_nobody_is_heard_nothing_happens_until_a_person_looks() -> None:
    sites = signed(fleet(20), tuple(one.site for one in fleet(20)[:4]))
    standing = begun(plan(), sites)
    for days in range(14):
        found = decide(plan(), standing, sites, T0 + days * 24 * HOUR_S)
        standing = found.standing
        assert (found.wish_new, found.wish_back, standing.state) == ((), (), "waiting")
    found = decide(plan(), standing, sites, T0 + 14 * 24 * HOUR_S)
    assert (found.standing.state, found.why, found.wish_new) == ("paused", "gate.reports", ())


def test_time_makes_up_for_requests_and_for_slow_links_but_for_no_failure() -> None:
    late = T0 + 15 * 24 * HOUR_S
    slow = now(fleet(20, "good", "good", "fetching", "fetching"), late)
    given = plan(gate=Gate(reports_min=2, requests_min=10_000))
    assert decide(given, begun(given, slow), slow, late).standing.wave == 1
    bad = now(fleet(20, "good", "good", "failed", "fetching"), late)
    found = decide(given, begun(given, bad), bad, late)
    assert (found.standing.state, found.why) == ("paused", "gate.good")


def test_the_last_wave_waits_for_all_that_are_heard() -> None:
    given = plan(Wave(share=1.0))
    sites = now(fleet(6, *["good"] * 5, "fetching"), LATER)
    assert decide(given, begun(given, sites), sites, LATER).why == "gate.decided"
    sites = now(fleet(6, *["good"] * 6), LATER)
    done = decide(given, begun(given, sites), sites, LATER)
    assert (done.standing.state, done.why) == ("done", "gate.passed")
    again = decide(given, done.standing, [*sites, site("new")], LATER + 1)
    assert (again.standing, again.wish_new) == (done.standing, ())


def test_bad_sites_end_it_and_all_that_have_it_go_back() -> None:
    sites = now(fleet(20, "good", "failed", "failed", "failed"), LATER)
    found = decide(plan(), begun(plan(), sites), sites, LATER)
    assert (found.standing.state, found.why, found.wish_new) == ("rolling_back", "bad.sites", ())
    assert found.wish_back == tuple(one.site for one in sites[:4])
    back = [msgspec.structs.replace(one, is_wished=False) for one in sites]
    halted = decide(plan(), found.standing, back, LATER)
    assert (halted.standing.state, halted.why, halted.wish_back) == ("halted", "bad.sites", ())
    assert decide(plan(), halted.standing, back, LATER).wish_new == ()


def test_few_bad_ones_of_many_do_not_end_it() -> None:
    sites = now(fleet(200, *["failed"] * 3, *["good"] * 150), LATER)
    sites = [
        msgspec.structs.replace(one, machine="x86_64/16g" if index > 2 else f"m{index}")
        for index, one in enumerate(sites)
    ]
    given = plan(Wave(share=1.0), gate=Gate(bad_max=3, bad_share=0.02))
    assert decide(given, begun(given, sites), sites, LATER).standing.state == "rolling"
    given = plan(Wave(share=1.0), gate=Gate(bad_max=3, bad_share=0.01))
    assert decide(given, begun(given, sites), sites, LATER).why == "bad.sites"


def test_bad_ones_of_one_kind_of_machine_end_it_and_are_named() -> None:
    sites = now(fleet(200, *["failed"] * 3, *["good"] * 150), LATER)
    sites[:3] = [msgspec.structs.replace(one, machine="armv7l/2g") for one in sites[:3]]
    found = decide(plan(Wave(share=1.0)), begun(plan(Wave(share=1.0)), sites), sites, LATER)
    assert found.why == "bad.class"
    assert found.tally.shared == "armv7l/2g"
    assert found.tally.classes == (("armv7l/2g", 3, 3), ("x86_64/16g", 150, 0))


def test_what_no_site_found_alone_ends_it() -> None:
    sites = [
        msgspec.structs.replace(one, state="trying" if one.state else None, heard_s=LATER) for one in erring(*[7] * 4)
    ]
    found = decide(plan(), begun(plan(), sites), sites, LATER)
    assert found.why == "bad.errors"
    assert found.why in BAD
    assert len(found.wish_back) == 4


def test_what_shows_on_one_kind_of_machine_and_failed_nowhere_ends_it() -> None:
    sites = now(fleet(200, *["good"] * 150), LATER)
    shaky = compared(figures(100, 5), figures(1000), Terms())
    sites[:10] = [msgspec.structs.replace(one, machine="armv7l/2g", compared=shaky) for one in sites[:10]]
    given = plan(Wave(share=1.0))
    found = decide(given, begun(given, sites), sites, LATER)
    assert (found.why, found.tally.failed) == ("bad.class", 0)
    assert found.tally.doubted == (("armv7l/2g", "errors"),)


def test_what_is_pinned_keeps_what_it_has() -> None:
    sites = fleet(4, None, "failed", "failed", "failed")
    sites[0] = msgspec.structs.replace(sites[0], is_pinned=True)
    sites[1] = msgspec.structs.replace(sites[1], is_pinned=True)
    standing = start(plan(), sites, T0)
    assert decide(plan(), standing, sites, T0).wish_new == ()
    assert decide(plan(), waves.abort(standing, T0), sites, T0).wish_back == tuple(one.site for one in sites[2:])


def test_where_it_failed_it_is_not_wanted_again() -> None:
    sites = [msgspec.structs.replace(one, is_wished=False) for one in fleet(4, "failed", "refused")]
    assert sites[0].site not in decide(plan(), start(plan(), sites, T0), sites, T0).wish_new
    assert sites[1].site in decide(plan(), start(plan(), sites, T0), sites, T0).wish_new


@pytest.mark.parametrize("state", ["draft", "paused", "halted", "done", "aborted"])
def test_nothing_is_wished_where_nothing_rolls(state: str) -> None:
    sites = fleet(9, "failed", "failed", "failed")
    standing = msgspec.structs.replace(start(plan(), sites, T0), state=state)
    found = decide(plan(), standing, sites, T0)
    assert (found.wish_new, found.wish_back, found.standing) == ((), (), standing)


def test_a_site_that_joins_an_open_wave_is_signed_at_the_next_look() -> None:
    sites = now(fleet(4, "good", "good", "good", "trying"), LATER)
    standing = begun(plan(Wave(share=1.0)), sites)
    assert standing.state == "waiting"
    found = decide(plan(Wave(share=1.0)), standing, [*sites, site("new")], LATER)
    assert (found.standing.state, found.wish_new) == ("rolling", ("new",))


def test_a_clock_that_goes_back_opens_nothing() -> None:
    sites = now(fleet(20, "good", "good", "good", "good"), LATER)
    found = decide(plan(), begun(plan(), sites), sites, T0 - 1e6)
    assert (found.why, found.wish_new) == ("gate.hours", ())


def test_plans_that_make_no_sense_are_refused() -> None:
    for given in ({}, {"share": 0.5, "count": 2}):
        with pytest.raises(ValueError, match="one of share, count and group"):
            Wave(**given)
    with pytest.raises(ValueError, match="cannot end before it may"):
        Gate(hours_min=5, hours_max=4)
    assert msgspec.json.decode(msgspec.json.encode(plan()), type=Plan) == plan()


def test_a_view_is_what_the_site_told_of_this_version_at_this_attempt() -> None:
    given = msgspec.structs.replace(plan(), attempt=2)
    mine = told("trying", attempt=2, figures=figures(), before=figures(1000))
    seen = view(given, "s", [Wished(attempt=2)], report(mine, told("failed", sha256=OLD)), heard_s=7.0, groups=("g",))
    assert seen == SiteView(
        site="s",
        rank=rank("r1", "s"),
        groups=("g",),
        machine="x86_64/16g",
        is_wished=True,
        heard_s=7.0,
        state="trying",
        compared=compared(figures(), figures(1000), Terms()),
    )
    assert view(given, "s", [Wished(attempt=1)], report(told("failed", attempt=1))).state is None
    assert view(given, "s", [Wished(name="x", attempt=2)], None, heard_s=7.0).heard_s == 0.0
    assert view(given, "s", [], report(told("failed", attempt=3, why="load"))).why == "load"
    assert view(given, "s", [], report(told("good", attempt=1))).state == "good", "it runs: it is not tried again"
    assert not view(given, "s", [Wished(sha256=OLD, attempt=2)], None).is_wished


def test_of_several_variants_the_one_that_failed_speaks() -> None:
    both = report(told("refused", why="speed"), told("good", sha256=OTHER, figures=figures()))
    assert view(plan(), "s", [], both).state == "good"
    assert view(plan(), "s", [], report(told("failed"), told("good", sha256=OTHER))).state == "failed"


def test_pins_of_the_site_and_of_the_hub() -> None:
    assert view(plan(), "s", [], report(pinned=("ward@1",))).is_pinned
    assert not view(plan(), "s", [], report(pinned=("ward@2",))).is_pinned
    assert view(plan(), "s", [], None, is_pinned=True).is_pinned


@pytest.mark.parametrize(
    ("machine", "kind"),
    [
        (MachineReport(), ""),
        (MachineReport(arch="aarch64", memory_bytes=7_900_000_000), "aarch64/8g"),
        (MachineReport(arch="x86_64", memory_bytes=33 << 30), "x86_64/32g"),
        (MachineReport(memory_bytes=1), "unknown/1g"),
    ],
)
def test_kinds_of_machines(machine: MachineReport, kind: str) -> None:
    assert machine_class(machine) == kind


def test_what_is_gone_back_to_is_the_last_that_was_good() -> None:
    now_, kept = [Wished(version="2")], [Wished(version="1", sha256=OLD)]
    assert waves.former(now_, None, kept) == now_
    assert waves.former(now_, report(), kept) == now_
    assert waves.former(now_, report(told("good")), kept) == now_
    for state in ("wanted", "trying", "failed", "refused"):
        assert waves.former(now_, report(told(state)), kept) == kept


def test_a_release_needs_a_higher_attempt_than_what_failed() -> None:
    said = [told("failed", attempt=2), told("refused", sha256=OTHER, attempt=3), told("failed", sha256=OLD, attempt=9)]
    assert waves.attempt((NEW, OTHER), said) == 4
    assert waves.attempt((NEW,), [told("good", attempt=7)]) == 0


def test_the_first_wave_has_some_of_each_kind_of_machine() -> None:
    rare = {index: kind for kind, first in (("a/2g", 60), ("b/4g", 70)) for index in range(first, first + 5)}
    sites = [
        msgspec.structs.replace(one, machine=rare.get(index, one.machine), heard_s=T0)
        for index, one in enumerate(fleet(200))
    ]
    sites[60] = msgspec.structs.replace(sites[60], is_pinned=True)
    sites[61] = msgspec.structs.replace(sites[61], heard_s=0.0)
    standing = start(plan(Wave(share=0.02), Wave(share=1.0)), sites, T0)
    assert standing.scouts == tuple(sites[index].site for index in (62, 70, 63, 71, 64, 72))
    inside = members(plan(Wave(share=0.02), Wave(share=1.0)), standing, sites)
    assert len(inside) == 4 + 6
    few = plan(Wave(share=0.02), Wave(share=1.0), scouts_share=0.01)
    assert len(start(few, sites, T0).scouts) == 2
    assert start(plan(Wave(group="brave"), Wave(share=1.0)), sites, T0).scouts == ()


def test_a_look_signs_no_more_than_it_may() -> None:
    given = plan(Wave(share=1.0), sites_per_look=8)
    sites = fleet(20)
    standing, looks = start(given, sites, T0), []
    for _ in range(4):
        found = decide(given, standing, sites, T0)
        standing, sites = found.standing, signed(sites, found.wish_new)
        looks.append(len(found.wish_new))
    assert looks == [8, 8, 4, 0]
    assert standing.state == "waiting"


def test_a_gate_without_hours_opens_at_once() -> None:
    given = plan(gate=Gate(hours_min=0, requests_min=0, reports_min=1))
    sites = now(fleet(20, "good", "good", "good", "good"), T0)
    assert decide(given, begun(given, sites), sites, T0).standing.wave == 1
