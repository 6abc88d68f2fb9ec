"""The life of a version at a site, and its trial."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import msgspec
import pytest
from tests.unit.fleet.made import OLD, Wished, figures

from ecotone.fleet import trial
from ecotone.fleet.evidence import Doubt
from ecotone.fleet.trial import TABLE, VERDICTS, Event, Failed, Former, Good, Keep, Phase, Trial, step
from ecotone.values.fleet import AssetState, Figures

FORMER = Former(version="1", sha256=OLD, figures=figures(1000, 10, hours=500))
PAGE = Path(__file__).parents[3] / "docs" / "explanation" / "releases.md"


def tried(given: Figures) -> Trial:
    return trial.observed(trial.begin(Wished(), FORMER, 5.0), given)


def test_the_tables_name_every_state_every_doubt_and_every_phase() -> None:
    states = set(get_args(AssetState))
    assert {state for state, _ in TABLE} | set(TABLE.values()) == states
    assert {event for _, event in TABLE} == set(Event)
    assert set(VERDICTS) == {(doubt, phase) for doubt in Doubt for phase in Phase}


def test_what_failed_or_was_refused_is_left_only_by_a_new_attempt() -> None:
    for state in ("failed", "refused"):
        assert [event for event in Event if step(state, event) is not None] == [Event.AGAIN]
    assert step("good", Event.FAILED) is None


def test_the_picture_in_the_docs_is_drawn_from_the_table() -> None:
    assert trial.picture() in PAGE.read_text()


def test_more_doubt_is_never_a_better_verdict_and_only_what_is_clear_ends_a_trial_early() -> None:
    order = ("good", "keep", "failed")
    for phase in Phase:
        said = [order.index(VERDICTS[doubt, phase]) for doubt in Doubt]
        assert said == sorted(said)
    for phase in (Phase.YOUNG, Phase.RIPE):
        assert [doubt for doubt in Doubt if VERDICTS[doubt, phase] == "failed"] == [Doubt.CLEAR]


def test_a_trial_begins_with_nothing_and_survives_as_json() -> None:
    begun = trial.begin(Wished(attempt=3), FORMER, -1.0)
    assert (begun.begun_s, begun.boots, begun.attempt, begun.former) == (0.0, 0, 3, FORMER)
    assert msgspec.json.decode(msgspec.json.encode(begun), type=Trial) == begun
    assert trial.judge(begun) == Keep("hours")


@pytest.mark.parametrize(
    ("given", "verdict"),
    [
        (figures(49, hours=0.5), Keep("hours")),
        (figures(49, hours=1), Keep("requests")),
        (figures(50, hours=1), Good("terms")),
        (figures(50, 4, hours=1), Keep("errors")),
        (figures(300, 3, hours=2), Good("terms")),
        (figures(0, hours=72), Good("hours_max")),
        (figures(3, 1, hours=72), Good("hours_max")),
        (figures(3, 2, hours=72), Failed("errors")),
        (figures(50, 5, hours=71), Keep("errors")),
        (figures(50, 5, hours=72), Failed("errors")),
        (figures(20, 10, hours=0.01), Failed("errors")),
        (figures(0, crashes=3, hours=0.01), Failed("crashes")),
    ],
)
def test_verdicts(given: Figures, verdict: object) -> None:
    assert trial.judge(tried(given)) == verdict


def test_a_site_that_starts_again_and_again_goes_back() -> None:
    once = trial.boot(tried(figures(0, hours=0.01)))
    assert trial.judge(once) == Keep("hours")
    twice = trial.boot(once)
    assert trial.judge(trial.boot(twice)) == Failed("boots")


def test_a_site_that_is_switched_off_each_evening_is_no_boot_loop() -> None:
    one = tried(figures(0, hours=0.0))
    for day in range(20):
        one = trial.boot(one)
        one = trial.observed(one, figures(day, hours=day * 8 + 7.5))
        assert one.boots == 0
    assert trial.stopped(trial.boot(one)).boots == 0


def test_a_start_that_has_not_settled_counts() -> None:
    one = trial.boot(tried(figures(0, hours=2)))
    assert trial.observed(one, figures(9, hours=2.2)).boots == 1
    assert trial.observed(one, figures(9, hours=2.25)).boots == 0


def test_older_figures_change_nothing_and_crashes_never_get_fewer() -> None:
    one = tried(figures(10, hours=3, crashes=2))
    assert trial.observed(one, figures(9, hours=2)) == one
    assert trial.observed(one, figures(11, hours=4)).figures.crashes == 2
    assert trial.observed(one, figures(11, hours=3)).figures.requests == 11
