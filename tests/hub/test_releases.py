"""Releases at a hub, on both databases: waves, gates, the way back, pauses, pins, latecomers and who may."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from tests.hub.rollout import OWNER, QUICK, Rollout, Scope, Wave, now

from ecotone.access import Confinement, Grant
from ecotone.hub.database import Database
from ecotone.hub.releases_values import Start, asked
from ecotone.values import ConfigError, RefusalError, RequestError

HALVES = (Wave(count=2), Wave(share=0.5), Wave(share=1.0))


@pytest.fixture
def rollout(database: Database, tmp_path: Path) -> Rollout:
    made = Rollout(database, tmp_path)
    made.shelf.publish("smol", "1")
    made.shelf.publish("smol", "2")
    return made


def test_a_release_goes_wave_by_wave_and_is_done(rollout: Rollout) -> None:
    rollout.enroll(8)
    release = rollout.look(rollout.start("1", *HALVES))
    assert (release.state, len(rollout.wished("1"))) == ("waiting", 2)
    # Nothing moves while nobody tells anything.
    assert rollout.look(release).standing == release.standing
    sizes = []
    for _ in range(3):
        rollout.tell()
        release = rollout.look(release)
        sizes.append(len(rollout.wished("1")))
    assert sizes == [4, 8, 8]
    assert release.state == "done"
    assert release.ended_s == rollout.clock()
    assert (release.tally.good, release.tally.wished) == (8, 8)
    assert rollout.acts()[-1] == "release.done"
    assert rollout.acts().count("release.wish") == 3
    wish = rollout.at("s0")[0]
    assert (wish.terms, wish.attempt) == (release.plan.terms, 0)


def test_bad_sites_halt_it_and_all_go_back_to_what_they_had(rollout: Rollout) -> None:
    rollout.enroll(8)
    rollout.everywhere("1")
    before = {site: rollout.at(site) for site in rollout.wished()}
    rollout.behave = lambda site, asset: "failed" if asset.version == "2" else "good"
    release = rollout.look(rollout.start("2", Wave(count=4), Wave(share=1.0)))
    hit = rollout.wished("2")
    assert len(hit) == 4
    rollout.tell(*hit[:2])
    assert rollout.look(release).state == "waiting"
    rollout.tell()
    release = rollout.look(release)
    assert (release.state, release.why) == ("halted", "bad.sites")
    assert rollout.wished("2") == []
    assert {site: rollout.at(site) for site in rollout.wished()} == before
    assert rollout.acts()[-3:] == ["release.back", "release.rolling_back", "release.halted"]
    # Nothing is wished for it any more, whoever tells what.
    rollout.tell()
    assert rollout.look(release).state == "halted"
    assert rollout.once(release).in_s is None


def test_a_site_that_had_nothing_goes_back_to_nothing_and_other_assets_stay(rollout: Rollout) -> None:
    rollout.enroll(3)
    names = rollout.shelf.publish("names", "7")
    rollout.wishes.set({"s0": [names]}, "by hand")
    release = rollout.look(rollout.start("1"))
    assert [one.name for one in rollout.at("s0")] == ["names", "smol"]
    rollout.behave = lambda site, asset: "failed" if asset.name == "smol" else "good"
    rollout.tell()
    assert rollout.look(release).state == "halted"
    assert rollout.at("s0") == (names,)
    assert rollout.at("s1") == ()


def test_what_failed_is_released_again_at_a_higher_attempt(rollout: Rollout) -> None:
    rollout.enroll(3)
    rollout.behave = lambda site, asset: "failed"
    release = rollout.look(rollout.start("1"))
    rollout.tell()
    rollout.look(release)
    rollout.behave = lambda site, asset: "good"
    again = rollout.start("1")
    assert again.plan.attempt == 1
    rollout.look(again)
    rollout.tell()
    assert rollout.look(again).state == "done"


def test_silent_sites_are_wished_and_never_counted(rollout: Rollout) -> None:
    rollout.enroll(6)
    rollout.everywhere("1")
    rollout.silent = {"s0", "s1"}
    release = rollout.look(rollout.start("2"))
    rollout.tell()
    release = rollout.look(release)
    assert release.state == "waiting"
    rollout.clock.now_s += 73 * 3600
    rollout.tell()
    release = rollout.look(release)
    assert (release.state, release.tally.good, release.tally.silent) == ("done", 4, 2)
    # They have the wish: they take it when they come back.
    assert len(rollout.wished("2")) == 6


def test_pause_stops_the_signing_and_resume_goes_on(rollout: Rollout) -> None:
    rollout.enroll(8)
    release = rollout.look(rollout.start("1", *HALVES))
    rollout.tell()
    assert rollout.releases.pause(OWNER, release.id).state == "paused"
    assert rollout.look(release).state == "paused"
    assert len(rollout.wished("1")) == 2
    with pytest.raises(ConfigError) as found:
        rollout.releases.pause(OWNER, release.id)
    assert found.value.code == "release.state"
    assert rollout.releases.resume(OWNER, release.id).state == "rolling"
    rollout.look(release)
    assert len(rollout.wished("1")) == 4
    assert [act for act in rollout.acts() if act in ("release.pause", "release.resume")] == [
        "release.pause",
        "release.resume",
    ]


def test_a_pause_between_looking_and_signing_holds(rollout: Rollout) -> None:
    """Whatever was decided before: after a pause has returned nothing is signed, and it stays paused."""
    rollout.enroll(4)
    release = rollout.start("1")

    def paused_meanwhile(name: str, function: object) -> object:
        value = function()  # type: ignore[operator] # a step's function
        if name == "note_wishes":
            rollout.releases.pause(OWNER, release.id)
        return value

    rollout.looking(paused_meanwhile, release.id)
    assert rollout.wished("1") == []
    assert rollout.releases.show(release.id).state == "paused"
    rollout.releases.resume(OWNER, release.id)
    rollout.look(release)
    assert len(rollout.wished("1")) == 4


@pytest.mark.parametrize("is_back", [True, False])
def test_abort_takes_it_back_or_leaves_it(rollout: Rollout, is_back: bool) -> None:
    rollout.enroll(4)
    rollout.everywhere("1")
    release = rollout.look(rollout.start("2", Wave(count=2), Wave(share=1.0)))
    rollout.releases.abort(OWNER, release.id, is_back=is_back)
    release = rollout.look(release)
    assert release.state == "aborted"
    assert len(rollout.wished("2")) == (0 if is_back else 2)
    assert len(rollout.wished("1")) == (4 if is_back else 2)


def test_a_newer_release_ends_one_that_is_stuck(rollout: Rollout) -> None:
    rollout.enroll(4)
    rollout.everywhere("1")
    rollout.shelf.publish("smol", "3")
    stuck = rollout.look(rollout.start("2", Wave(count=2), Wave(share=1.0)))
    newer = rollout.start("3")
    assert (rollout.releases.show(stuck.id).state, rollout.releases.show(stuck.id).why) == ("aborted", "superseded")
    rollout.look(stuck)
    rollout.look(newer)
    rollout.tell()
    assert rollout.look(newer).state == "done"
    assert len(rollout.wished("3")) == 4
    # What it goes back to is what was known good, and not what the other release had left there untried.
    with rollout.database.read() as c:
        kept = rollout.looking._kept(c, "smol")
    assert {assets[0].version for assets in kept.values()} == {"1", "2"} or {
        assets[0].version for assets in kept.values()
    } == {"1"}


def test_who_is_enrolled_later_joins_a_release_that_goes_on_and_one_that_is_done(rollout: Rollout) -> None:
    rollout.enroll(2)
    release = rollout.look(rollout.start("1"))
    rollout.enroll(1, "late")
    release = rollout.look(release)
    assert rollout.wished("1") == ["late0", "s0", "s1"]
    rollout.tell()
    assert rollout.look(release).state == "done"
    rollout.enroll(1, "later")
    rollout.look(release)
    assert "later0" in rollout.wished("1")
    newer = rollout.everywhere("2")
    assert rollout.once(release).in_s is None
    assert rollout.once(newer).in_s == 60


def test_pins_hold_at_the_hub_and_at_the_site(rollout: Rollout) -> None:
    rollout.enroll(3)
    rollout.everywhere("1")
    pin = rollout.releases.pin(OWNER, "s0", "smol")
    assert (pin.version, pin.by) == ("1", "person:ann")
    rollout.report("s1", pinned=("smol@1",))
    release = rollout.look(rollout.start("2"))
    assert rollout.wished("2") == ["s2"]
    rollout.tell("s2")
    assert rollout.look(release).state == "done"
    assert [one.site for one in rollout.releases.pins()] == ["s0"]
    assert rollout.releases.unpin(OWNER, "s0", "smol")
    assert not rollout.releases.unpin(OWNER, "s0", "smol")
    assert rollout.acts().count("site.pin") == rollout.acts().count("site.unpin") == 1


@pytest.mark.parametrize(
    ("site", "name", "version", "code"),
    [("nobody", "smol", "", "hub.unknown"), ("s0", "other", "", "hub.unknown"), ("s0", "smol", "2", "hub.pin")],
)
def test_what_is_not_wished_there_cannot_be_pinned(
    rollout: Rollout, site: str, name: str, version: str, code: str
) -> None:
    rollout.enroll(1)
    rollout.everywhere("1")
    with pytest.raises(ConfigError) as found:
        rollout.releases.pin(OWNER, site, name, version)
    assert found.value.code == code


def test_variants_are_wished_largest_first_or_as_asked(rollout: Rollout) -> None:
    rollout.enroll(1)
    rollout.shelf.publish("smol", "4+q4", size=400)
    rollout.shelf.publish("smol", "4+q8", size=800)
    rollout.look(rollout.start("4", decode_tok_s_min=5.0))
    assert [(one.version, one.decode_tok_s_min) for one in rollout.at("s0")] == [("4+q8", 5.0), ("4+q4", 5.0)]
    rollout.look(rollout.start("4", variants=("4+q4",)))
    assert [one.version for one in rollout.at("s0")] == ["4+q4"]
    with pytest.raises(ConfigError) as found:
        rollout.start("4", variants=("4+q2",))
    assert found.value.code == "hub.unknown"


def test_it_goes_to_who_is_asked_for_and_no_further(rollout: Rollout) -> None:
    rollout.enroll(2, "eu", groups='["clinics"]', region="eu")
    rollout.enroll(2, "us", groups='["clinics"]', region="us")
    rollout.enroll(1, "x")
    rollout.shelf.publish("smol", "5", residency=("eu",))
    rollout.look(rollout.start("1", scope=Scope(sites=("x0",))))
    assert rollout.wished() == ["x0"]
    release = rollout.look(rollout.start("5", scope=Scope(groups=("clinics",))))
    assert rollout.wished("5") == ["eu0", "eu1"]
    assert release.residency == ("eu",)
    with pytest.raises(RefusalError) as found:
        rollout.start("5", scope=Scope(sites=("us0",)))
    assert found.value.code == "hub.residency"
    for scope in (Scope(sites=("nobody",)), Scope(groups=("none",))):
        with pytest.raises(ConfigError) as unknown:
            rollout.start("1", scope=scope)
        assert unknown.value.code == "hub.unknown"


def test_confined_assets_stay_where_they_are_confined_to(rollout: Rollout) -> None:
    rollout.enroll(1, "a", groups='["clinics"]')
    rollout.enroll(1, "b")
    rollout.members.sites.rules.confine(OWNER, Confinement(assets=("models/smol",), groups=("clinics",)))
    rollout.look(rollout.start("1"))
    assert rollout.wished() == ["a0"]


def test_a_site_that_left_the_group_is_still_taken_back(rollout: Rollout) -> None:
    rollout.enroll(4, groups='["first"]')
    release = rollout.look(rollout.start("1", scope=Scope(groups=("first",))))
    rollout.members.sites.label(OWNER, "s0", groups=())
    rollout.behave = lambda site, asset: "failed"
    rollout.tell()
    assert rollout.look(release).state == "halted"
    assert rollout.wished("1") == []


def test_who_may(rollout: Rollout) -> None:
    rollout.enroll(1, "a", groups='["clinics"]')
    rollout.enroll(1, "b")
    bob = rollout.members.actor("bob", Grant(role="releaser", groups=("clinics",)))
    start = Start(name="smol", version="1", gate=QUICK)
    with pytest.raises(RefusalError) as found:
        rollout.releases.start(bob, start)
    assert found.value.code == "hub.may"
    mine = rollout.releases.start(bob, msgspec.structs.replace(start, scope=Scope(groups=("clinics",))))
    rollout.releases.pause(bob, mine.id)
    theirs = rollout.start("1")
    with pytest.raises(RefusalError):
        rollout.releases.pause(bob, theirs.id)
    reader = rollout.members.actor("eve", Grant(role="reader"))
    for forbidden in (
        lambda: rollout.releases.abort(reader, theirs.id),
        lambda: rollout.releases.pin(reader, "a0", "smol"),
        lambda: rollout.releases.unpin(reader, "a0", "smol"),
    ):
        with pytest.raises(RefusalError):
            forbidden()
    assert "site.pin" not in rollout.acts()


def test_unknown_and_malformed(rollout: Rollout) -> None:
    with pytest.raises(ConfigError) as found:
        rollout.releases.show("r-000000000000")
    assert found.value.code == "hub.unknown"
    with pytest.raises(RequestError) as wrong:
        asked(Start, {"name": "smol", "version": "1", "waves": []})
    assert "waves" in wrong.value.message
    assert rollout.releases.list() == []


def test_they_are_listed_newest_first(rollout: Rollout) -> None:
    rollout.enroll(1)
    first = rollout.start("1")
    second = rollout.start("2")
    assert [one.id for one in rollout.releases.list()] == [second.id, first.id]
    assert [one.id for one in rollout.releases.list(limit=1, offset=1, name="smol")] == [first.id]
    assert rollout.releases.list(name="other") == []


def test_a_step_that_is_done_twice_changes_nothing(rollout: Rollout) -> None:
    rollout.enroll(4)

    def twice(name: str, function: object) -> object:
        function()  # type: ignore[operator] # a step's function
        return now(name, function)  # type: ignore[arg-type]

    release = rollout.start("1")
    rollout.looking(twice, release.id)
    assert len(rollout.wishes.signings) == 1
    assert rollout.acts().count("release.wish") == 1
    assert rollout.releases.show(release.id).looks == 1


def test_the_same_version_released_again_goes_back_to_what_was_before_the_first(rollout: Rollout) -> None:
    rollout.enroll(3)
    rollout.everywhere("1")
    rollout.everywhere("2")
    again = rollout.look(rollout.start("2"))
    assert len(rollout.wishes.signings) == 2
    rollout.releases.abort(OWNER, again.id)
    assert rollout.look(again).state == "aborted"
    assert rollout.wished("1") == ["s0", "s1", "s2"]
    assert rollout.wished("2") == []


def test_what_a_newer_release_would_go_back_to_is_not_taken_back_under_it(rollout: Rollout) -> None:
    rollout.enroll(3)
    older = rollout.everywhere("1")
    newer = rollout.look(rollout.start("2"))
    with pytest.raises(ConfigError) as found:
        rollout.releases.abort(OWNER, older.id)
    assert found.value.code == "release.state"
    assert newer.id in found.value.message
    rollout.releases.abort(OWNER, newer.id)
    rollout.look(newer)
    rollout.releases.abort(OWNER, older.id)
    assert rollout.look(older).state == "aborted"
    assert rollout.wished() == []


def test_a_release_that_is_being_taken_back_is_waited_for(rollout: Rollout) -> None:
    rollout.enroll(3)
    bad = rollout.look(rollout.start("1"))
    rollout.releases.abort(OWNER, bad.id)
    with pytest.raises(ConfigError) as found:
        rollout.start("2")
    assert found.value.code == "release.state"
    rollout.look(bad)
    rollout.start("2")


def test_a_pin_holds_a_version_that_is_taken_back_everywhere_else(rollout: Rollout) -> None:
    rollout.enroll(4)
    rollout.everywhere("1")
    release = rollout.look(rollout.start("2"))
    rollout.releases.pin(OWNER, "s0", "smol", "2")
    rollout.behave = lambda site, asset: "failed"
    rollout.tell("s0", "s1", "s2")
    assert rollout.look(release).state == "halted"
    assert rollout.wished("2") == ["s0"]
    assert rollout.wished("1") == ["s1", "s2", "s3"]
