"""Whatever comes in whatever order: a site runs what it says that it runs, and tries nothing twice."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.agent.trying_site import PATIENT, QUICK, Site, digest

from ecotone.agent import orders, trials
from ecotone.values.fleet import Terms

VERSIONS = "abcdef"
BROKEN = "ef"
"""Versions that do not start."""

took = st.tuples(st.just("take"), st.sampled_from(VERSIONS), st.integers(0, 2), st.sampled_from([QUICK, PATIENT, None]))
served = st.tuples(st.just("serve"), st.sampled_from([0, 30]), st.integers(0, 3))
plain = st.sampled_from([("turn",), ("kill",), ("stop",), ("full",), ("back",), ("unpin",)])
pinned = st.tuples(st.just("pin"), st.sampled_from(VERSIONS))
by_hand = st.tuples(st.just("hand"), st.sampled_from("abcd"))
ways = st.lists(st.one_of(took, took, served, plain, plain, pinned, by_hand), max_size=14)


def act(site: Site, what: str, *more: object) -> None:
    """One thing that happens."""
    ACTS[what](site, *more)
    site.turn()


def take(site: Site, version: str, attempt: int, terms: Terms | None) -> None:
    site.take(version, terms, attempt=attempt)


def serve(site: Site, errors: int, crashes: int) -> None:
    if site.engines.running:
        site.engines.serve(40, errors=errors, crashes=crashes)


def kill(site: Site) -> None:
    site.start()
    site.engines.sick = set(BROKEN)


def stop(site: Site) -> None:
    site.trying.close()
    kill(site)


def hand(site: Site, version: str) -> None:
    site.shelf.here.add(version)
    site.shelf.led["small"] = version


ACTS: dict[str, Callable[..., object]] = {
    "take": take,
    "serve": serve,
    "kill": kill,
    "stop": stop,
    "hand": hand,
    "turn": lambda site: None,
    "full": lambda site: setattr(site.shelf, "refuses", 1),
    "pin": lambda site, version: orders.pin(site.store, "small", version),
    "unpin": lambda site: orders.unpin(site.store, "small"),
    "back": lambda site: orders.go_back(site.store, "small"),
}


@settings(max_examples=100, deadline=None)
@given(ways)
def test_a_site_runs_what_it_says_and_what_can_run(way: list[tuple[object, ...]]) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        site = Site(Path(folder), patch, "a")
        site.engines.broken = dict.fromkeys(BROKEN, "engine_start")
        for step in way:
            act(site, str(step[0]), *step[1:])
            assert site.engines.running in ("", *VERSIONS)
        orders.unpin(site.store, "small")
        site.shelf.refuses = 0
        site.turn(40)
        site.start()
        site.engines.sick = set(BROKEN)
        site.turn(40)
        led, _ = site.shelf.where("small")
        kept = trials.read(site.store).assets.get("small")
        assert site.engines.running == led
        assert kept is None or kept.used.version == led
        assert kept is None or led not in BROKEN


@settings(max_examples=100, deadline=None)
@given(st.lists(st.one_of(took, served, st.sampled_from([("turn",), ("kill",), ("stop",)])), max_size=14))
def test_what_failed_is_not_tried_again_at_its_attempt(way: list[tuple[object, ...]]) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        site = Site(Path(folder), patch, "a")
        site.engines.broken = dict.fromkeys(BROKEN, "engine_start")
        for step in way:
            memory, steps = site.trying._kept.memory, len(site.shelf.steps)
            act(site, str(step[0]), *step[1:])
            for led in site.shelf.steps[steps:]:
                how, _, version = led.partition(" ")
                if how == "lead" and step[0] == "take" and step[1] == version:
                    assert memory.failed(digest(version), int(str(step[2]))) is None, f"{version} was tried again"
        assert all(one.attempt <= 2 for one in site.trying.reports())
