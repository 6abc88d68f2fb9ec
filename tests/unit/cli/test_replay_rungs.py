"""Where a name with `advance: auto` would have stood."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from tests.unit.weighing.made_cases import BIG, SMALL, placed

from ecotone.cli.replay_rungs import NOTHING, Ladder, Moment
from ecotone.values import Mode
from ecotone.values.quality import Step
from ecotone.weighing.cases import Case

UNSURE = msgspec.structs.replace(SMALL, estimate=msgspec.structs.replace(SMALL.estimate, gap_max=NOTHING))


def at(at_ms: int, what: str, **said: Any) -> Moment:
    return Moment(at_ms, Step(model="assistant", target=said.pop("target", "small"), what=what, **said))


def seen(at_ms: int, mode: Mode = Mode.AUTO, *, is_certified: bool = True) -> Case:
    one = placed(candidates=(SMALL if is_certified else UNSURE, BIG))
    return Case(at_ms, msgspec.structs.replace(one, ask=msgspec.structs.replace(one.ask, mode=mode)))


def ladder(*moments: Moment, written: Mode = Mode.SHADOW, is_promised: bool = True) -> Ladder:
    return Ladder("assistant", written, moments, is_promised=is_promised)


CLIMBED = (
    at(100, "certified", figures={"edge_share": 0.6}),
    at(100, "advanced", target="", mode_from="shadow", mode_to="auto"),
    at(200, "voided", why="version.edge"),
    at(200, "fell_back", target="", mode_from="auto", mode_to="shadow"),
)


def test_it_stands_where_the_site_stood() -> None:
    one = ladder(*CLIMBED)
    assert "where the site stood; it moved 2 times" in one.note
    assert [one.rung(seen(when, mode)) for when, mode in ((50, Mode.SHADOW), (150, Mode.AUTO))] == ["shadow", "auto"]
    # The entry's own rung counts: a request may have been decided just before the step was written.
    assert one.rung(seen(101, Mode.SHADOW)) is Mode.SHADOW


def test_who_begins_elsewhere_climbs_by_the_certificates() -> None:
    one = ladder(*CLIMBED, written=Mode.EDGE)
    assert [one.rung(seen(when, Mode.CLOUD)) for when in (50, 100, 150, 250)] == ["edge", "auto", "auto", "shadow"]
    assert "from `edge`" in one.note


def test_all_targets_certificates_count() -> None:
    whole = {"edge_share": 1.0}
    one = ladder(
        at(100, "certified"),
        at(150, "not_yet"),
        at(200, "certified", target="ward", figures=whole),
        at(300, "suspended", target="ward"),
        at(400, "suspended"),
        at(500, "certified", figures=whole),
        at(600, "certified", figures=whole),
    )
    found = [one.rung(seen(when, Mode.CLOUD)) for when in (99, 100, 200, 300, 400, 500, 600)]
    assert found == ["shadow", "auto", "edge", "auto", "shadow", "auto", "edge"]


def test_what_is_lost_first_had_been_won_before() -> None:
    one = ladder(at(100, "suspended", why="drift.loss"))
    assert [one.rung(seen(when)) for when in (99, 100)] == ["auto", "shadow"]


@pytest.mark.parametrize("moments", [(), (at(100, "not_yet"),)])
def test_without_steps_the_decision_itself_shows_a_certificate(moments: tuple[Moment, ...]) -> None:
    one = ladder(*moments)
    assert one.rung(seen(1, is_certified=True)) is Mode.AUTO
    assert one.rung(seen(1, is_certified=False)) is Mode.SHADOW
    assert "`auto` where a certificate stood at the request, else `shadow`" in one.note


def test_another_promise_has_a_threshold_of_its_own() -> None:
    one = ladder(*CLIMBED, is_promised=False)
    assert one.rung(seen(1, Mode.SHADOW)) is Mode.AUTO
