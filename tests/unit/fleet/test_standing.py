"""The states of a release, and what people may do with one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import get_args

import msgspec
import pytest
from tests.unit.fleet.made import fleet, plan

from ecotone.fleet import waves
from ecotone.fleet.standing import ENDED, TABLE, Event, Standing, State, moved, picture
from ecotone.values.errors import ConfigError

PAGE = Path(__file__).parents[3] / "docs" / "explanation" / "releases.md"


def in_state(state: State) -> Standing:
    return msgspec.structs.replace(waves.start(plan(), fleet(3), 10.0), state=state)


def test_the_table_names_every_state_and_every_event() -> None:
    assert {state for state, _ in TABLE} | set(TABLE.values()) == set(get_args(State))
    assert {event for _, event in TABLE} == set(Event)


def test_a_release_that_has_ended_can_only_be_taken_back() -> None:
    assert {event for state, event in TABLE if state in ENDED} == {Event.WITHDRAW}
    assert not [event for state, event in TABLE if state == "halted"]


def test_what_is_taken_back_is_so_to_its_end() -> None:
    assert {event for state, event in TABLE if state == "rolling_back"} == {Event.BACK, Event.WITHDRAWN}


def test_the_picture_in_the_docs_is_drawn_from_the_table() -> None:
    assert picture() in PAGE.read_text()


@pytest.mark.parametrize(
    ("state", "act", "result"),
    [
        ("rolling", waves.pause, "paused"),
        ("waiting", waves.pause, "paused"),
        ("paused", waves.resume, "rolling"),
        ("waiting", waves.abort, "rolling_back"),
        ("done", waves.abort, "rolling_back"),
        ("draft", waves.abort, "aborted"),
        ("paused", waves.supersede, "aborted"),
        ("rolling", waves.supersede, "aborted"),
    ],
)
def test_acts(state: State, act: Callable[[Standing, float], Standing], result: State) -> None:
    found = act(in_state(state), 99.0)
    assert (found.state, found.changed_s) == (result, 99.0)


def test_an_abort_that_leaves_it_where_it_is() -> None:
    assert waves.abort(in_state("waiting"), 99.0, is_back=False).state == "aborted"
    assert waves.abort(in_state("waiting"), 99.0).ends == "withdrawn"


def test_the_time_of_a_gate_counts_from_when_it_is_resumed() -> None:
    assert waves.resume(in_state("paused"), 99.0).since_s == 99.0


@pytest.mark.parametrize(
    ("state", "act"),
    [
        ("halted", waves.resume),
        ("halted", waves.abort),
        ("rolling_back", waves.supersede),
        ("done", waves.pause),
        ("draft", waves.pause),
    ],
)
def test_what_cannot_be_done_is_told_with_what_can(state: State, act: Callable[[Standing, float], Standing]) -> None:
    with pytest.raises(ConfigError, match=f"a release that is '{state}'") as caught:
        act(in_state(state), 99.0)
    assert caught.value.code == "release.state"


def test_a_standing_survives_as_json() -> None:
    standing = moved(in_state("waiting"), Event.BAD, "bad.sites", 99.0)
    assert msgspec.json.decode(msgspec.json.encode(standing), type=Standing) == standing
