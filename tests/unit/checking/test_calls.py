"""Tool calls."""

from __future__ import annotations

import pytest
from tests.unit.checking.made import ask, call, say

from ecotone.checking.calls import NAME_SHARE, calls
from ecotone.values.quality import Comparison, Reply

WEATHER, PLACE = ("weather", '{"city": "Paris", "days": 2}'), ("place", '{"name": "Rome"}')
ASKED = ask(tools=("place", "weather"))


@pytest.mark.parametrize(
    ("edge", "cloud", "gap"),
    [
        (call(WEATHER), call(WEATHER), 0.0),
        (call(("weather", '{"days":2,"city":"paris"}')), call(WEATHER), 0.0),
        (call(WEATHER, PLACE), call(PLACE, WEATHER), 0.0),
        (call(("weather", '{"city": "Rome", "days": 2}')), call(WEATHER), 1 - (NAME_SHARE + (1 - NAME_SHARE) / 2)),
        (call(PLACE), call(WEATHER), 1.0),
        (call(WEATHER), call(WEATHER, PLACE), 0.5),
        (call(WEATHER, WEATHER), call(WEATHER), 0.5),
        (call(WEATHER, PLACE, WEATHER), call(WEATHER, WEATHER, PLACE), 0.0),
        (call(("weather", '{"city": ')), call(WEATHER), 1.0),
        (call(("invented", "{}")), call(WEATHER), 1.0),
        (say("It is sunny."), call(WEATHER), 1.0),
        (call(WEATHER), say("It is sunny."), 1.0),
    ],
)
def test_how_far_calls_agree(edge: Reply, cloud: Reply, gap: float) -> None:
    assert calls(ASKED, edge, cloud) == Comparison(gap=pytest.approx(gap), checker="calls")


def test_calls_that_nobody_can_carry_out_are_judged_one_by_one() -> None:
    broken = call(("invented", "{}"))
    assert calls(ASKED, call(WEATHER), broken) == Comparison(gap=-1.0, checker="calls", edge=1.0, cloud=0.0)
    assert calls(ASKED, broken, broken) == Comparison(gap=0.0, checker="calls", edge=0.0, cloud=0.0)


def test_a_call_without_arguments_has_none() -> None:
    assert calls(ask(), call(("now", "")), call(("now", "{}"))) == Comparison(gap=0.0, checker="calls")


def test_where_neither_calls_it_cannot_judge() -> None:
    assert calls(ASKED, say("a"), say("b")) is None


def test_no_answer_against_a_call() -> None:
    assert calls(ASKED, say(""), call(WEATHER)) == Comparison(gap=1.0, checker="calls", edge=0.0, cloud=1.0)
