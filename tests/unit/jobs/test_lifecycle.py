"""The table of moves."""

from __future__ import annotations

import pytest

from ecotone.jobs.lifecycle import EVENT_OF, TABLE, Event, picture, step
from ecotone.values import ENDED, JobState


def test_nothing_leaves_an_end() -> None:
    assert not {state for state, _ in TABLE} & ENDED
    for state in ENDED:
        assert all(step(state, event) is None for event in Event)


def test_every_state_is_reached_and_left_or_an_end() -> None:
    assert set(TABLE.values()) == set(JobState)
    assert {state for state, _ in TABLE} | ENDED == set(JobState)


@pytest.mark.parametrize("event", [Event.ANSWERED, Event.FAILED, Event.REFUSED, Event.RELEASED, Event.LAPSED])
def test_nobody_ends_or_gives_back_what_nobody_holds(event: Event) -> None:
    assert step(JobState.WAITING, event) is None


def test_a_held_job_is_not_taken_up_again() -> None:
    assert step(JobState.RUNNING, Event.LEASED) is None
    assert step(JobState.RUNNING, Event.LAPSED) is JobState.WAITING


def test_each_end_has_its_event() -> None:
    assert set(EVENT_OF) == ENDED
    for state, event in EVENT_OF.items():
        assert step(JobState.RUNNING, event) is state


def test_the_picture_is_drawn_from_the_table() -> None:
    drawn = picture().splitlines()
    assert drawn[:2] == ["stateDiagram-v2", "    [*] --> waiting"]
    for (before, event), after in TABLE.items():
        assert f"    {before} --> {after}: {event}" in drawn
    assert len(drawn) == 2 + len(TABLE) + len(ENDED)
