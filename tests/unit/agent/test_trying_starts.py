"""Starts, kills, hands and orders: whatever happened, the next start goes on rightly."""

from __future__ import annotations

import contextlib
from pathlib import Path

import msgspec
import pytest
from tests.unit.agent.trying_site import PATIENT, QUICK, Make, Site, digest, wish

from ecotone.agent import orders, trials
from ecotone.agent.trying import Trying
from ecotone.values import ConfigError
from ecotone.values.fleet import Terms


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    return lambda *here: Site(tmp_path, monkeypatch, *here)


class Killed(BaseException):
    """SIGKILL, as far as one process can."""


@pytest.mark.parametrize("step", range(1, 9))
@pytest.mark.parametrize("is_failing", [False, True])
def test_a_site_that_is_killed_at_any_step_runs_what_is_kept_and_ends_the_same(
    make: Make, monkeypatch: pytest.MonkeyPatch, step: int, is_failing: bool
) -> None:
    site = make("a")
    site.shelf.here.add("b")
    left = step

    def counted() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            raise Killed

    plain, lead, back, follow = trials.write, site.shelf.lead, site.shelf.back, site.engines.follow

    def write(store: Path, kept: trials.Kept) -> None:
        counted()
        plain(store, kept)
        counted()

    with monkeypatch.context() as killing:
        killing.setattr(trials, "write", write)
        for name, does in (("lead", lead), ("back", back), ("follow", follow)):
            target = site.engines if name == "follow" else site.shelf
            killing.setattr(target, name, lambda *a, does=does: (counted(), does(*a))[1])
        if is_failing:
            site.engines.broken["b"] = "engine_start"
        site.trying.take(wish("b"))
        with contextlib.suppress(Killed):
            site.turn()
    site.start()
    version, _ = site.shelf.where("small")
    kept = trials.read(site.store).assets.get("small")
    assert version == ("a" if kept is None else kept.used.version)
    if is_failing and site.engines.running == "b":
        site.engines.sick.add("b")
    site.take("b")
    site.turn(4)
    site.engines.serve(9)
    site.turn()
    assert site.states() == ({"a": "good", "b": "failed"} if is_failing else {"b": "good"})
    assert site.shelf.led == {"small": "a" if is_failing else "b"}


def test_a_version_that_kills_the_site_is_gone_back_from_before_it_is_loaded_once_more(make: Make) -> None:
    site = make("a")
    site.take("b", PATIENT)
    for _ in range(PATIENT.boots_max - 1):
        site.start()
        assert site.engines.running == "b"
    site.start()
    assert site.engines.running == "a"
    assert (site.report("b").state, site.report("b").why) == ("failed", "boots")
    site.start()
    assert site.engines.running == "a"
    assert site.trying.refuses(wish("b")) == "failed"


def test_orderly_stops_are_no_boot_loop(make: Make) -> None:
    site = make("a")
    site.take("b", PATIENT)
    for _ in range(10):
        site.turn()
        site.trying.close()
        site.start()
    assert site.states() == {"b": "trying"}


def test_a_command_that_looks_is_no_start(make: Make) -> None:
    site = make("a")
    site.take("b", PATIENT)
    for _ in range(10):
        Trying.open(site.store, site.shelf, lambda: 0.0, is_start=False)
    assert site.kept().trial.boots == 0


def test_what_was_led_elsewhere_by_hand_holds_and_ends_the_trial(make: Make) -> None:
    site = make("a")
    site.take("b", PATIENT)
    site.shelf.led["small"] = "c"
    site.turn()
    assert site.states() == {"c": "good"}
    assert site.engines.running == "c"
    assert site.kept().former.version == "a"
    site.shelf.led["small"] = "d"
    site.start()
    assert site.states() == {"d": "good"}
    assert site.kept().former.version == "c"


def test_what_was_removed_is_forgotten(make: Make) -> None:
    site = make("a")
    site.take("b", PATIENT)
    site.shelf.led["small"] = ""
    site.turn()
    assert site.states() == {}
    site.take("c", PATIENT)
    site.shelf.led["small"] = ""
    site.start()
    assert site.states() == {}


def test_a_damaged_file_is_put_aside_and_what_is_used_stays(make: Make) -> None:
    site = make("a")
    site.take("b", PATIENT)
    trials.file(site.store).write_bytes(b"{torn")
    with pytest.raises(ConfigError, match="Move it away"):
        trials.read(site.store)
    site.start()
    assert site.engines.running == "b"
    assert site.states() == {}
    assert trials.file(site.store).with_suffix(".damaged").read_bytes() == b"{torn"
    assert trials.named(site.store) == set()


def test_a_start_that_cannot_be_counted_is_told_and_goes_on(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    site = make("a")
    site.take("b", PATIENT)

    def full(path: Path, content: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(trials, "replaced", full)
    assert "No space left" in site.start().troubles()[0]
    assert site.engines.running == "b"


def test_what_is_on_trial_or_waits_is_named(make: Make) -> None:
    site = make("a")
    site.take("b", PATIENT)
    orders.pin(site.store, "small", "b")
    site.take("c")
    assert trials.named(site.store) == {"small@a", "small@b", "small@c"}


def test_a_pin_holds_against_the_hub_until_it_is_taken_away(make: Make) -> None:
    site = make("a")
    orders.pin(site.store, "small", "a")
    site.turn()
    assert site.trying.pinned() == ("small@a",)
    assert site.trying.refuses(wish("b")) == "pinned"
    site.take("b")
    assert site.states() == {"a": "good", "b": "ready"}
    assert orders.unpin(site.store, "small")
    assert not orders.unpin(site.store, "small")
    site.turn()
    assert site.states() == {"b": "trying"}


def test_a_pin_to_another_version_that_is_here_switches_to_it(make: Make) -> None:
    site = make("a")
    site.shelf.here.add("b")
    orders.pin(site.store, "small", "b")
    site.turn()
    assert site.states() == {"b": "good"}
    assert site.engines.running == "b"
    orders.pin(site.store, "small", "z")
    assert site.turn() == ""
    assert site.engines.running == "b"


def test_a_pin_to_a_version_that_does_not_run_leaves_the_other_one(make: Make) -> None:
    site = make("a")
    site.shelf.here.add("b")
    site.engines.broken["b"] = "engine_start"
    orders.pin(site.store, "small", "b")
    assert "b does not start" in site.turn()
    assert site.engines.running == "a"
    assert site.shelf.led == {"small": "a"}
    follows = len(site.engines.follows)
    site.turn(5)
    assert len(site.engines.follows) == follows


def test_an_order_to_go_back_is_carried_out_once_and_remembered(make: Make) -> None:
    site = make("a")
    site.take("b", PATIENT)
    orders.go_back(site.store, "small")
    site.turn(3)
    assert (site.report("b").state, site.report("b").why) == ("failed", "local")
    assert site.engines.running == "a"
    site.take("b", PATIENT)
    assert site.engines.running == "a", "the hub's wish of the same attempt is not taken"
    site.start()
    site.turn()
    assert site.shelf.steps == ["lead b", "back a"]
    orders.go_back(site.store, "small")
    site.shelf.used = ["a"]
    site.turn(2)
    assert site.engines.running == "a", "there is nothing before it"


def test_orders_are_carried_out_where_no_site_runs(make: Make) -> None:
    site = make("a")
    site.take("b", QUICK)
    site.engines.serve(9)
    site.turn()
    site.trying.close()
    orders.go_back(site.store, "small")
    Trying.open(site.store, site.shelf, lambda: 5.0, is_start=False).obey()
    assert site.shelf.led == {"small": "a"}
    site.start()
    assert site.states() == {"a": "good", "b": "failed"}
    assert site.engines.running == "a"


def test_damaged_orders_are_told_and_change_nothing(make: Make) -> None:
    site = make("a")
    orders.pin(site.store, "small", "a")
    (site.store / "hub" / "orders.json").write_bytes(b"[]")
    assert "say again what shall be held fast" in site.turn()
    with pytest.raises(ConfigError) as damaged:
        orders.pin(site.store, "small", "a")
    assert damaged.value.code == "hub.orders"


def test_reports_are_of_all_that_is_known_and_hold_no_words(make: Make) -> None:
    site = make("a")
    site.engines.serve(30)
    site.turn()
    site.take("b", Terms(hours_min=0.0, requests_min=500))
    site.engines.serve(7)
    site.turn()
    report = site.report("b")
    assert report.sha256 == digest("b")
    assert report.figures.requests == 7
    assert report.figures.ttft_p95_ms == pytest.approx(100, rel=0.05)
    assert all(len(one.why) <= 64 for one in site.trying.reports())
    assert msgspec.json.decode(msgspec.json.encode(report)) is not None


def test_what_failed_here_is_reported_for_as_long_as_it_is_remembered(make: Make) -> None:
    site = make("a")
    site.engines.broken["b"] = "engine_start"
    site.engines.tok_s["c"] = [1.0]
    site.take("b", attempt=2)
    site.take("c", decode_tok_s_min=5.0)
    site.take("d")
    site.engines.serve(9)
    site.turn()
    assert site.states() == {"b": "failed", "c": "refused", "d": "good"}
    assert (site.report("b").attempt, site.report("b").why) == (2, "load")
    site.shelf.led["small"] = ""
    site.turn()
    assert site.states() == {"b": "failed", "c": "refused"}, "though the asset was removed"
    del site.engines.broken["b"]
    site.take("b", attempt=3)
    assert site.states() == {"b": "trying", "c": "refused"}
