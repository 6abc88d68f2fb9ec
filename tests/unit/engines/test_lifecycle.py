"""The table of an engine's life, and how many deaths are too many."""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from ecotone.engines.lifecycle import TABLE, Deaths, Effect, Event, Patience, State, picture, step

EVENTS = st.lists(st.sampled_from(Event), max_size=60)


@given(EVENTS)
def test_a_worker_runs_only_where_the_table_says_so(events):
    """Interprets the effects: at most one worker or measurement at a time, and none where there must be none."""
    state, has_worker, is_measuring = State.STOPPED, False, False
    for event in events:
        state, effects = step(state, event)
        for effect in effects:
            if effect is Effect.KILL:
                has_worker = False
            elif effect is Effect.SPAWN:
                assert not has_worker
                has_worker, is_measuring = True, False
            elif effect is Effect.MEASURE:
                assert not has_worker
                is_measuring = True
            elif effect is Effect.STOP_MEASURING:
                assert is_measuring
                is_measuring = False
        if event is Event.MEASURED or state is State.REFUSED:
            is_measuring = False
        assert has_worker == (state in (State.STARTING, State.READY, State.DRAINING))
        assert is_measuring == (state is State.MEASURING)


@given(EVENTS)
def test_requests_never_wait_for_an_engine_that_will_not_start(events):
    state = State.STOPPED
    for event in events:
        state, effects = step(state, event)
        if state in (State.CRASHED, State.REFUSED) and event is not Event.UNLOAD and effects:
            assert Effect.FAIL_WAITING in effects
        if state in (State.BACKING_OFF, State.CRASHED, State.REFUSED) and Effect.KILL in effects:
            assert Effect.BACK_OFF in effects or Effect.REST in effects, "something must end the state"


def test_every_state_can_be_reached_and_left():
    reached, edge = {State.STOPPED}, {State.STOPPED}
    while edge:
        edge = {step(state, event)[0] for state in edge for event in Event} - reached
        reached |= edge
    assert reached == set(State)
    for state in State:
        assert any(a is state and b is not state for (a, _), (b, _) in TABLE.items())


def test_unloading_ends_every_state_but_one_that_drains():
    for state in State:
        after = step(state, Event.UNLOAD)[0]
        assert after in (State.STOPPED, State.DRAINING), state


def test_the_picture_shows_every_change_of_state():
    drawn = picture().splitlines()
    assert drawn[0] == "stateDiagram-v2"
    assert "    ready --> backing_off: died" in drawn
    assert len(drawn) == 2 + sum(a is not b for (a, _), (b, _) in TABLE.items())


def test_a_single_death_costs_no_pause_and_more_of_them_ever_longer_ones():
    deaths = Deaths(Patience(deaths_max=9, first_s=1.0, most_s=3.0), Random(0))
    pauses = []
    for _ in range(5):
        assert deaths.add(10.0) is Event.DIED
        pauses.append(deaths.pause_s(10.0))
    assert pauses[0] == 0.0
    for pause_s, full_s in zip(pauses[1:], (1.0, 2.0, 3.0, 3.0), strict=True):
        assert full_s / 2 <= pause_s <= full_s


def test_deaths_are_too_many_within_a_window_and_forgotten_after_it():
    deaths = Deaths(Patience(deaths_max=3, window_s=10.0), Random(0))
    assert [deaths.add(at_s) for at_s in (0.0, 5.0, 9.0)] == [Event.DIED, Event.DIED, Event.DIED_TOO_OFTEN]
    deaths.forget()
    assert deaths.pause_s(9.0) == 0.0
    assert [deaths.add(at_s) for at_s in (0.0, 8.0, 16.0, 24.0)] == [Event.DIED] * 4
