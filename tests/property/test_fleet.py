"""Trials and waves, whatever happens: no wish where nothing rolls, silence says nothing, what failed stays so."""

from __future__ import annotations

import contextlib
from random import Random
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from tests.unit.fleet.made import HOUR_S, NEW, OLD, Wished, plan, report, told

from ecotone.fleet import trial, waves
from ecotone.fleet.accepting import Here, Skip, Take, accept
from ecotone.fleet.counting import members
from ecotone.fleet.evidence import Doubt, at_site, binomial_tail, poisson_tail
from ecotone.fleet.memory import Failure, Memory, remember
from ecotone.fleet.release import Gate, Wave
from ecotone.fleet.standing import ENDED, Standing
from ecotone.fleet.variants import Variant, choose
from ecotone.values.errors import ConfigError
from ecotone.values.fleet import Figures, MachineReport, Report, Terms

PLAN = plan(
    Wave(count=2),
    Wave(group="brave"),
    Wave(share=0.5),
    Wave(share=1.0),
    gate=Gate(hours_min=2, requests_min=50, reports_min=2, hours_max=100, silent_hours=24),
)
STATES = ("wanted", "fetching", "ready", "trying", "good", "failed", "refused")
COUNTS = st.integers(0, 400)
HOURS = st.floats(0, 100, allow_nan=False)


def some_figures(rng: Random) -> Figures:
    requests = rng.choice((0, 10, 100, 1000))
    return Figures(hours=rng.uniform(0, 90), requests=requests, errors=rng.randint(0, max(1, requests // 50)))


@st.composite
def figures_of(draw: st.DrawFn) -> Figures:
    requests = draw(COUNTS)
    return Figures(
        hours=draw(HOURS),
        requests=requests,
        errors=draw(st.integers(0, requests)),
        ttft_p50_ms=draw(st.floats(1, 500)),
        ttft_p95_ms=draw(st.floats(1, 2000)),
        parity=draw(st.none() | st.floats(0, 1)),
        pairs=draw(COUNTS),
        crashes=draw(st.integers(0, 4)),
        memory_bytes=draw(COUNTS),
    )


class Releasing(RuleBasedStateMachine):
    """A hub that crashes between signing and storing, sites that tell what they like, people who interfere."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 1e9
        self.reports: dict[str, Report | None] = {f"s{n}": None for n in range(5)}
        self.heard: dict[str, float] = {}
        self.wished: dict[str, list[Wished]] = {site: [Wished(version="1", sha256=OLD)] for site in self.reports}
        self.pinned: set[str] = set()
        self.standing = waves.start(PLAN, self.views(), self.now_s)
        self.was_in: set[str] = set()
        self.wave = 0
        self.ever_failed: set[str] = set()

    def views(self) -> list[waves.SiteView]:
        return [
            waves.view(
                PLAN, site, self.wished[site], seen, heard_s=self.heard.get(site, 0.0),
                groups=("brave",) if site.endswith("3") else (), is_pinned=site in self.pinned,
            )
            for site, seen in self.reports.items()
        ]  # fmt: skip

    @rule(signed=st.floats(0, 1), is_stored=st.booleans())
    def look(self, signed: float, is_stored: bool) -> None:
        """A look at it; the hub may die when a part is signed, and before or after it has stored where it stands."""
        views = self.views()
        before, found = self.standing, waves.decide(PLAN, self.standing, views, self.now_s)
        if found.wish_new:
            assert found.standing.state == "rolling", found
        if found.wish_back:
            assert found.standing.state == "rolling_back", found
        assert not set(found.wish_new) & (self.pinned | self.ever_failed)
        assert not set(found.wish_back) & self.pinned
        again = waves.decide(PLAN, found.standing, views, self.now_s)
        assert (again.wish_new, again.wish_back) == (found.wish_new, found.wish_back), "a second look gives the same"
        kept = msgspec.json.decode(msgspec.json.encode(before), type=Standing)
        assert waves.decide(PLAN, kept, views, self.now_s) == found, "it can be replayed from what is stored"
        failed = sum(view.is_wished and view.state == "failed" and not view.is_pinned for view in views)
        used = sum(view.is_wished and view.state in ("failed", "good", "trying") for view in views)
        if before.state in ("rolling", "waiting") and failed >= max(3, 0.02 * used):
            assert found.standing.state in ("rolling_back", "halted"), "bad sites stop it"
        todo = [(site, Wished()) for site in found.wish_new]
        todo += [(site, Wished(version="1", sha256=OLD)) for site in found.wish_back]
        done = todo[: round(signed * len(todo))]
        for site, wish in done:
            self.wished[site] = [wish]
        if is_stored:
            self.standing = found.standing

    @rule(site=st.integers(0, 4), state=st.sampled_from(STATES), seed=st.integers(0, 99))
    def tell(self, site: int, state: Any, seed: int) -> None:
        """A site tells something; nothing but what was wished there is ever used, and a failure is for ever."""
        name, rng = f"s{site}", Random(seed)
        if (self.wished[name][0].sha256 != NEW and state not in ("wanted", "refused")) or name in self.ever_failed:
            return
        if state == "failed":
            self.ever_failed.add(name)
        given = some_figures(rng) if state in ("trying", "good", "failed") else None
        before = Figures(hours=500, requests=2000, errors=4)
        self.reports[name] = report(told(state, figures=given, before=before), site=name)
        self.heard[name] = self.now_s

    @rule(hours=st.floats(0.1, 60))
    def time_passes(self, hours: float) -> None:
        self.now_s += hours * HOUR_S

    @rule()
    def the_clock_is_set_back(self) -> None:
        self.now_s -= 10 * HOUR_S

    @rule(site=st.integers(0, 4), is_on=st.booleans())
    def pin(self, site: int, is_on: bool) -> None:
        (self.pinned.add if is_on else self.pinned.discard)(f"s{site}")

    @rule(site=st.integers(0, 4))
    def somebody_assigns_the_old_one(self, site: int) -> None:
        self.wished[f"s{site}"] = [Wished(version="1", sha256=OLD)]

    @precondition(lambda self: len(self.reports) < 9)
    @rule()
    def join(self) -> None:
        name = f"late{len(self.reports)}"
        self.reports[name], self.wished[name] = None, []

    @rule(act=st.sampled_from((waves.pause, waves.resume, waves.abort, waves.supersede)))
    def somebody_acts(self, act: Any) -> None:
        with contextlib.suppress(ConfigError):
            self.standing = act(self.standing, self.now_s)

    @invariant()
    def waves_only_grow(self) -> None:
        inside = {view.site for view in members(PLAN, self.standing, self.views())}
        signed = {site for site, wish in self.wished.items() if wish and wish[0].sha256 == NEW}
        assert signed <= inside
        ranked = {view.site for view in self.views() if view.rank < self.standing.limits[self.standing.wave]}
        assert self.was_in <= ranked
        assert self.standing.wave >= self.wave
        self.was_in, self.wave = ranked, self.standing.wave

    @invariant()
    def what_has_ended_stays_so(self) -> None:
        if self.standing.state in ENDED:
            found = waves.decide(PLAN, self.standing, self.views(), self.now_s + 1e7)
            assert (found.wish_new, found.wish_back, found.standing) == ((), (), self.standing)


TestReleasing = Releasing.TestCase
TestReleasing.settings = settings(max_examples=100, stateful_step_count=50, deadline=None)


@given(
    st.lists(st.tuples(st.sampled_from((None, *STATES)), st.booleans()), min_size=1, max_size=30),
    st.integers(0, 3),
    st.integers(0, 2**32),
)
@settings(deadline=None)
def test_silence_is_never_bad_nor_good(sites: list[tuple[Any, bool]], wave: int, seed: int) -> None:
    rng, now_s = Random(seed), 1e9
    views = []
    for number, (state, _) in enumerate(sites):
        given_ = some_figures(rng) if state in ("trying", "good", "failed") else None
        seen = None if state is None else report(told(state, figures=given_), site=f"s{number}")
        views.append(waves.view(PLAN, f"s{number}", [Wished()], seen, heard_s=now_s))
    silent = [
        msgspec.structs.replace(view, heard_s=0.0) if is_silent else view
        for view, (_, is_silent) in zip(views, sites, strict=True)
    ]
    begun = waves.start(PLAN, views, now_s - 50 * HOUR_S)
    standing = msgspec.structs.replace(begun, wave=wave, state="waiting")
    heard, unheard = (waves.decide(PLAN, standing, given_, now_s) for given_ in (views, silent))
    assert (heard.standing.state == "rolling_back") is (unheard.standing.state == "rolling_back")
    assert heard.wish_back == unheard.wish_back
    for count in ("good", "failed", "refused", "wished", "sums", "doubt", "classes", "doubted", "whys"):
        assert getattr(heard.tally, count) == getattr(unheard.tally, count), "levels are no older for being old"


@given(
    figures_of(),
    figures_of() | st.none(),
    st.lists(st.sampled_from(("boot", "stop", "look")), max_size=8),
)
def test_a_trial_ends_when_it_may_and_the_same_after_a_restart(
    now_: Figures, before: Figures | None, befell: list[str]
) -> None:
    running = trial.begin(Wished(), trial.Former(version="1", sha256=OLD, figures=before), 1.0)
    for what in befell:
        if what == "boot":
            running = trial.boot(running)
        elif what == "stop":
            running = trial.stopped(running)
        else:
            running = trial.observed(running, now_)
    running = msgspec.json.decode(msgspec.json.encode(running), type=trial.Trial)
    verdict = trial.judge(running)
    if isinstance(verdict, trial.Good):
        assert running.figures.hours >= running.terms.hours_min
        assert (
            running.figures.requests >= running.terms.requests_min or running.figures.hours >= running.terms.hours_max
        )
        assert running.boots < running.terms.boots_max
    if running.boots >= running.terms.boots_max or running.figures.crashes >= running.terms.crashes_max:
        assert isinstance(verdict, trial.Failed)


@given(figures_of(), figures_of() | st.none())
def test_more_errors_are_never_a_better_version(now_: Figures, before: Figures | None) -> None:
    order = [
        at_site(msgspec.structs.replace(now_, errors=errors), before, Terms())["errors"]
        for errors in range(0, now_.requests + 1, max(1, now_.requests // 20))
    ]
    assert order == sorted(order)


@given(st.integers(0, 300), st.integers(0, 300), st.floats(0, 1), st.floats(0, 200))
def test_tails_are_chances(k: int, n: int, share: float, mean: float) -> None:
    k = min(k, n)
    assert 0.0 <= binomial_tail(k, n, share) <= 1.0
    assert 0.0 <= poisson_tail(k, mean) <= 1.0
    if k < n:
        assert binomial_tail(k + 1, n, share) <= binomial_tail(k, n, share) + 1e-9


def test_good_versions_pass_and_bad_ones_fail_at_the_rates_that_are_promised() -> None:
    rng, before = Random(1), Figures(hours=500, requests=5000, errors=50)

    def verdict(share: float) -> trial.Verdict:
        running = trial.begin(Wished(), trial.Former(version="1", sha256=OLD, figures=before), 0.0)
        errors = 0
        for request in range(1, 2001):
            errors += rng.random() < share
            running = trial.observed(running, Figures(hours=request / 25, requests=request, errors=errors))
            said = trial.judge(running)
            if not isinstance(said, trial.Keep):
                return said
        raise AssertionError("hours_max is over")

    good = [verdict(0.01) for _ in range(300)]
    bad = [verdict(0.20) for _ in range(100)]
    assert sum(isinstance(said, trial.Failed) for said in good) <= 3
    assert sum(isinstance(said, trial.Failed) for said in bad) >= 95


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4)), max_size=12), st.integers(0, 3), st.integers(0, 5))
def test_what_failed_is_taken_only_at_a_higher_attempt(fails: list[tuple[int, int]], which: int, attempt: int) -> None:
    memory = Memory()
    for number, tried in fails:
        memory = remember(
            memory, Failure(name="ward", version="2", sha256=f"{number:064x}", attempt=tried, why="errors")
        )
    wish = Wished(sha256=f"{which:064x}", attempt=attempt)
    highest = max((tried for number, tried in fails if number == which), default=-1)
    assert accept(wish, 1, Here(memory=memory)) == (Take() if attempt > highest else Skip("failed_before"))


@given(
    st.lists(st.tuples(st.integers(1, 100), st.integers(0, 200), st.integers(0, 50)), min_size=1, max_size=6),
    st.integers(0, 200),
    st.integers(0, 1000),
)
def test_the_chosen_variant_is_the_first_that_fits(given_: list[tuple[int, int, int]], memory: int, speed: int) -> None:
    variants = [
        Variant(version=f"2+{n}", sha256=f"{n:064x}", bytes=size, memory_bytes=need, decode_tok_s_min=least)
        for n, (size, need, least) in enumerate(given_)
    ]
    machine = MachineReport(memory_bytes=memory, read_bytes_s=speed)
    fits = [
        one
        for one in variants
        if (not memory or max(one.bytes, one.memory_bytes) <= memory)
        and (not speed or speed / one.bytes >= one.decode_tok_s_min)
    ]
    found = choose(variants, machine, {})
    assert found.variant == (fits[0] if fits else None)
    assert len(found.why) == (variants.index(fits[0]) if fits else len(variants))


def test_the_worst_doubt_is_the_largest_number() -> None:
    assert sorted(Doubt) == [Doubt.NONE, Doubt.SLIGHT, Doubt.LIKELY, Doubt.CLEAR]
