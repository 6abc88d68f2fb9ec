"""The breaker's table, its clockwork, and the rule that a caller never pays for a probe."""

from __future__ import annotations

import pytest

from ecotone.flow.breaker import (
    AT_ONCE,
    NO_FAULT,
    PROBED_S_MAX,
    TABLE,
    TRIED_S_MAX,
    UNREACHABLE,
    Breaker,
    BreakerSettings,
    Event,
    State,
    picture,
)
from ecotone.values.reasons import TARGET_FAILURES


class Driven(Breaker):
    """A breaker whose attempts follow each other: each end comes with the newest ticket."""

    newest = 1

    def admit(self, now_s: float) -> int:
        ticket = super().admit(now_s)
        self.newest = ticket or self.newest
        return ticket

    def begin_probe(self) -> int:
        self.newest = super().begin_probe()
        return self.newest

    def works(self) -> None:
        self.worked(self.newest)

    def leaves(self) -> None:
        self.left(self.newest)

    def fails(self, failure: str, now_s: float, retry_after_s: float | None = None) -> None:
        self.failed(self.newest, failure, now_s, retry_after_s)


def breaker(failures: int = 3) -> Driven:
    return Driven(BreakerSettings(failures=failures, open_s=1.0, open_s_max=8.0))


def test_the_table_is_total_but_for_due_which_only_an_open_breaker_knows() -> None:
    missing = {(state, event) for state in State for event in Event} - set(TABLE)
    assert missing == {(State.CLOSED, Event.DUE), (State.HALF_OPEN, Event.DUE)}


def test_every_class_of_failure_it_names_exists() -> None:
    assert set(TARGET_FAILURES) >= (AT_ONCE | NO_FAULT | UNREACHABLE)


@pytest.mark.parametrize("failure", sorted(AT_ONCE))
def test_one_failure_that_would_repeat_opens_it(failure: str) -> None:
    one = breaker()
    one.fails(failure, 0.0)
    assert one.state is State.OPEN
    assert one.condition(0.5, in_flight=1, waiting=2).breaker == "open"
    assert not one.admit(0.5)


@pytest.mark.parametrize("failure", sorted(set(TARGET_FAILURES) - AT_ONCE - NO_FAULT))
def test_other_failures_open_it_only_in_a_row(failure: str) -> None:
    one = breaker()
    one.fails(failure, 0.0)
    one.fails(failure, 0.0)
    one.works()
    one.fails(failure, 0.0)
    one.fails(failure, 0.0)
    assert one.state is State.CLOSED
    one.fails(failure, 0.0)
    assert one.state is State.OPEN


@pytest.mark.parametrize("failure", sorted(NO_FAULT))
def test_what_says_nothing_about_health_never_opens_it(failure: str) -> None:
    one = breaker(failures=1)
    for _ in range(10):
        one.fails(failure, 0.0)
    assert one.state is State.CLOSED


def test_half_open_lets_exactly_one_through_and_its_end_decides() -> None:
    one = breaker(failures=1)
    one.fails("http_503", 0.0)
    assert not one.admit(0.99)
    assert one.condition(1.0, in_flight=0, waiting=0).breaker == "half_open"
    assert one.admit(1.0)
    assert not one.admit(1.0)
    assert one.condition(1.0, in_flight=0, waiting=0).breaker == "open"
    one.works()
    assert one.state is State.CLOSED
    assert one.admit(1.0)


def test_a_caller_who_leaves_gives_the_place_back() -> None:
    one = breaker(failures=1)
    one.fails("http_503", 0.0)
    assert one.admit(1.0)
    one.leaves()
    assert one.state is State.HALF_OPEN
    assert one.admit(1.0)


def test_the_pause_doubles_up_to_its_limit_and_shrinks_again_with_calm_alone() -> None:
    one, now_s, pauses = breaker(failures=1), 0.0, []
    for _ in range(6):
        assert one.admit(now_s)
        one.fails("rate_limited", now_s)
        pauses.append(one.condition(now_s, in_flight=0, waiting=0).retry_in_s)
        now_s += pauses[-1]
    assert pauses == [1.0, 2.0, 4.0, 8.0, 8.0, 8.0]
    assert one.admit(now_s)
    one.works()
    one.fails("rate_limited", now_s)
    assert one.condition(now_s, in_flight=0, waiting=0).retry_in_s == 8.0, "one answer is not calm"
    now_s += 8.0 + 3 * 4.0
    assert one.admit(now_s)
    one.works()
    one.fails("rate_limited", now_s)
    assert one.condition(now_s, in_flight=0, waiting=0).retry_in_s == 4.0, (
        "three times half of the longest pause: 5 - 3 = 2"
    )
    now_s += 4.0 + 100.0
    assert one.admit(now_s)
    one.works()
    one.fails("rate_limited", now_s)
    assert one.condition(now_s, in_flight=0, waiting=0).retry_in_s == 1.0


def test_retry_after_is_kept_and_bounded() -> None:
    one = breaker()
    one.fails("rate_limited", 0.0, 3.0)
    assert not one.admit(2.9)
    assert one.admit(3.0)
    two = breaker()
    two.fails("rate_limited", 0.0, 1e9)
    assert two.admit(80.0)


@pytest.mark.parametrize("failure", sorted(UNREACHABLE))
def test_no_caller_pays_for_finding_out_that_an_unreachable_target_is_back(failure: str) -> None:
    one = breaker()
    one.fails(failure, 0.0)
    assert not one.probe_due(0.9)
    assert one.probe_due(1.0)
    assert not one.admit(100.0)
    assert one.condition(100.0, in_flight=0, waiting=0).breaker == "open"
    one.begin_probe()
    assert not one.probe_due(100.0)
    assert not one.admit(100.0)
    one.fails(failure, 100.0)
    assert one.state is State.OPEN
    one.begin_probe()
    one.works()
    assert one.admit(100.0)


def test_a_late_end_of_an_older_attempt_changes_nothing_while_open() -> None:
    one = breaker(failures=1)
    one.fails("http_503", 0.0)
    one.works()
    assert one.state is State.OPEN
    one.fails("http_503", 0.5)
    assert one.condition(0.5, in_flight=0, waiting=0).retry_in_s == 0.5


def test_the_picture_is_drawn_from_the_table() -> None:
    drawn = picture()
    assert "closed --> open: failed_too_often" in drawn
    assert "half_open --> closed: worked" in drawn


@pytest.mark.parametrize("end", ["worked", "left", "failed"])
def test_an_attempt_older_than_the_opening_has_no_say_while_half_open(end: str) -> None:
    one = Breaker(BreakerSettings(failures=1))
    old, first = one.admit(0.0), one.admit(0.0)
    one.failed(first, "rate_limited", 0.0)
    trial = one.admit(5.0)
    assert trial
    if end == "failed":
        one.failed(old, "reset", 5.0)
    else:
        getattr(one, end)(old)
    assert one.state is State.HALF_OPEN
    assert not one.admit(5.0)
    one.worked(trial)
    assert one.state is State.CLOSED


def test_a_target_that_comes_and_goes_is_tried_less_and_less() -> None:
    one, now_s, pauses = breaker(), 0.0, []
    for _ in range(4):
        assert one.admit(now_s)
        one.fails("first_byte_timeout", now_s)
        pauses.append(one.condition(now_s, in_flight=0, waiting=0).retry_in_s)
        now_s += pauses[-1]
        one.begin_probe()
        one.works()
    assert pauses == [1.0, 2.0, 3.0, 3.0], "a probe asks, so it may ask more often"
    assert one.admit(now_s)
    one.works()
    one.fails("first_byte_timeout", now_s + 100.0)
    assert one.condition(now_s + 100.0, in_flight=0, waiting=0).retry_in_s == 1.0


@pytest.mark.parametrize(("failure", "longest_s"), [("connect_timeout", PROBED_S_MAX), ("http_503", TRIED_S_MAX)])
def test_one_outage_however_long_is_tried_at_short_intervals(failure: str, longest_s: float) -> None:
    one, now_s, pauses = breaker(failures=1), 0.0, []
    for _ in range(200):
        ticket = one.begin_probe() if one.needs_probe else one.admit(now_s)
        assert ticket
        one.failed(ticket, failure, now_s)
        pauses.append(one.condition(now_s, in_flight=0, waiting=0).retry_in_s)
        now_s += pauses[-1] + 1.0
    assert pauses[0] == 1.0
    assert set(pauses[2:]) == {longest_s}


def test_a_first_pause_that_an_operator_made_longer_is_kept() -> None:
    one = Breaker(BreakerSettings(open_s=30.0, open_s_max=120.0))
    one.failed(one.admit(0.0), "dns", 0.0)
    assert one.condition(0.0, in_flight=0, waiting=0).retry_in_s == 30.0
