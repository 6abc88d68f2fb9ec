"""How links are said to be: the table, the damping, what traffic tells."""

from __future__ import annotations

import re

import pytest

from ecotone.flow.breaker import LOST, UNREACHABLE, Breaker, BreakerSettings
from ecotone.flow.link import CALM_S, CALM_S_MAX, LINE_MAX, TABLE, Event, Link, Links, Sight, State, picture, sight
from ecotone.values import Place
from ecotone.values.reasons import TARGET_FAILURES

WELL = Sight(is_reachable=True)
GONE = Sight(is_reachable=False)


class Watched:
    """A link that is looked at ten times a second."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.link = Link(self.now_s)

    def see(self, what: Sight, seconds: float) -> State:
        for _ in range(round(seconds * 10)):
            self.now_s += 0.1
            self.link.look(what, self.now_s)
        return self.link.state


def test_every_state_can_be_reached_and_left_and_down_is_left_through_degraded_alone() -> None:
    assert set(TABLE.values()) == set(State)
    assert {before for before, _ in TABLE} == set(State)
    assert {after for (before, _), after in TABLE.items() if before is State.DOWN} == {State.DEGRADED}
    assert {event for _, event in TABLE} == set(Event)


def test_a_link_that_is_lost_is_down_at_once_and_up_only_after_a_time_of_calm() -> None:
    one = Watched()
    assert one.see(WELL, 1) is State.UP
    assert one.see(GONE, 0.1) is State.DOWN
    assert one.see(GONE, 600) is State.DOWN
    assert one.see(WELL, 0.1) is State.DEGRADED
    assert one.see(WELL, CALM_S - 0.3) is State.DEGRADED
    assert one.see(WELL, 0.4) is State.UP
    assert one.link.flaps == 1


def test_one_that_comes_and_goes_stays_degraded_for_longer_each_time_and_is_forgiven_after_long_calm() -> None:
    one, needed_s = Watched(), []
    for _ in range(7):
        one.see(GONE, 1)
        began_s = one.now_s
        while one.see(WELL, 0.1) is not State.UP:
            pass
        needed_s.append(round(one.now_s - began_s))
    assert needed_s == [5, 10, 20, 40, 80, 80, 80]
    assert one.link.flaps == 5
    one.see(WELL, 6 * 2 * CALM_S_MAX)
    assert one.link.flaps == 0
    one.see(GONE, 1)
    assert one.see(WELL, CALM_S + 0.1) is State.UP


def test_flaps_of_a_second_and_a_half_are_one_long_trouble() -> None:
    one = Watched()
    seen = set()
    for _ in range(20):
        seen.add(one.see(GONE, 1.5))
        seen.add(one.see(WELL, 1.5))
    assert seen == {State.DOWN, State.DEGRADED}


def test_lost_first_bytes_make_it_poor_until_a_minute_has_passed() -> None:
    one = Watched()
    one.see(Sight(is_reachable=True, heard=100, lost=7), 2)
    assert (one.link.state, one.link.loss) == (State.UP, None), "what was before is not counted"
    one.see(Sight(is_reachable=True, heard=110, lost=7), 2)
    assert (one.link.state, one.link.loss) == (State.UP, 0.0)
    assert one.see(Sight(is_reachable=True, heard=110, lost=8), 2) is State.UP, "one is none"
    assert one.see(Sight(is_reachable=True, heard=111, lost=10), 2) is State.DEGRADED
    assert one.link.loss == pytest.approx(3 / 14)
    assert one.see(Sight(is_reachable=True, heard=911, lost=10), 3) is State.DEGRADED, "not calm for long enough"
    assert one.see(Sight(is_reachable=True, heard=911, lost=10), 3) is State.UP, "3 of 804 are few"
    assert one.see(Sight(is_reachable=True, heard=911, lost=10), 61) is State.UP
    assert one.link.loss is None


def test_counts_that_begin_anew_are_no_loss() -> None:
    one = Watched()
    one.see(Sight(is_reachable=True, heard=50, lost=9), 2)
    one.see(WELL, 2)
    assert (one.link.state, one.link.loss) == (State.UP, None)


def test_long_round_trips_make_it_poor() -> None:
    one = Watched()
    assert one.see(Sight(is_reachable=True, rtt_s=0.65), 2) is State.UP, "a satellite"
    assert one.see(Sight(is_reachable=True, rtt_s=2.0), 1) is State.DEGRADED
    assert one.see(Sight(is_reachable=True, rtt_s=0.1), CALM_S + 0.2) is State.UP


def test_the_line_shows_the_worst_of_each_ten_seconds_of_ten_minutes() -> None:
    one = Watched()
    one.see(WELL, 25)
    one.see(GONE, 0.1)
    one.see(WELL, 30)
    assert re.fullmatch("██+▁▄?██+", one.link.line())
    one.see(WELL, 1_000)
    assert one.link.line() == "█" * LINE_MAX


def test_the_site_is_down_where_no_cloud_target_can_be_reached_and_degraded_where_one_is_not_well() -> None:
    links, now_s = Links(), 0.0

    def see(**reachable: bool) -> State:
        nonlocal now_s
        now_s += 6.0
        seen = {name: (Place.EDGE if name == "ward" else Place.CLOUD, Sight(up)) for name, up in reachable.items()}
        links.look(seen, now_s)
        assert links.site is not None
        return links.site.state

    assert see(a=True, b=True, ward=True) is State.UP
    assert see(a=True, b=True, ward=False) is State.UP, "the premises are not the site's link"
    assert see(a=False, b=True, ward=True) is State.DEGRADED
    assert see(a=False, b=False, ward=True) is State.DOWN
    assert links.weights() == {"a": 2.0, "b": 2.0, "ward": 0.0}
    assert links.site_weight() == 2.0
    assert see(a=True, b=True, ward=True) is State.DEGRADED, "back, for a short while only"
    assert see(a=True, b=True, ward=True) is State.UP
    assert links.said("a", now_s) == {"state": "up", "for_s": 0.0, "flaps": 1, "loss": None}
    told = links.site_said(now_s)
    assert told is not None
    assert (told["state"], told["flaps"], told["last_10_min"]) == ("up", 1, "█▁▄")
    links.look({}, now_s)
    assert (links.site, links.site_said(now_s), links.site_weight(), links.said("a", now_s)) == (None, None, 0.0, {})


def test_a_breaker_tells_what_the_link_lost_and_what_only_the_target_refused() -> None:
    one = Breaker(BreakerSettings(failures=3))
    assert sight(one, None) == Sight(is_reachable=True)
    one.hear()
    one.failed(one.admit(0.0), "http_503", 0.0)
    one.failed(one.admit(0.0), "reset", 0.0)
    assert sight(one, 0.2) == Sight(is_reachable=True, heard=1, lost=1, rtt_s=0.2)
    one.failed(one.admit(0.0), "rate_limited", 0.0)
    assert (one.state, sight(one, None).is_reachable) == ("open", True), "who says no is there"
    two = Breaker(BreakerSettings())
    two.failed(two.admit(0.0), "connect_timeout", 0.0)
    assert sight(two, None) == Sight(is_reachable=False, lost=1)
    two.begin_probe()
    assert not sight(two, None).is_reachable, "until the probe is answered"


def test_every_failure_that_counts_as_lost_exists() -> None:
    assert set(TARGET_FAILURES) > LOST
    assert (UNREACHABLE | {"reset"}) - {"engine_start"} == LOST


def test_the_picture_is_drawn_from_the_table() -> None:
    assert "down --> degraded: back" in picture()
    assert picture().count("-->") == len(TABLE) + 1
