"""Which checker fits."""

from __future__ import annotations

import pytest
from tests.unit.checking.made import ask, call, say

from ecotone.checking import CHECKERS, against, auto, pick
from ecotone.values.quality import Question, Reply

LONG = "The river rises in the hills and crosses the plain before it meets the sea."


@pytest.mark.parametrize(
    ("question", "cloud", "checker"),
    [
        (ask(tools=("f",)), call(("f", "{}")), "calls"),
        (ask(), call(("f", "{}")), "calls"),
        (ask(form="json_object"), say('{"a": 1}'), "json"),
        (ask(), say('{"a": "' + "x" * 200 + '"}'), "json"),
        (ask(), say("[1, 2]"), "match"),
        (ask(), say("```python\nx = 1\n```"), "code"),
        (ask("Which?\nA. cat\nB. dog"), say("B"), "match"),
        (ask("Which?\nA. cat\nB. dog"), say("42"), "numbers"),
        (ask(), say("42"), "numbers"),
        (ask(), say("It was in 1969."), "numbers"),
        (ask(), say("17 + 25 = 42."), "numbers"),
        (ask(), say("x = 3, y = 4"), "match"),
        (ask(), say("Between 3 and 4"), "match"),
        (ask("How many eggs?"), say(LONG + " So 7 are left over in the end."), "numbers"),
        (ask("How many eggs?"), say(LONG), "similar"),
        (ask(), say(LONG + " The answer is 7."), "numbers"),
        (ask(), say(LONG + " The answer is Paris."), "match"),
        (ask(), say("Paris"), "match"),
        (ask(), say("The answer is [1, 2]"), "match"),
        (ask("How many?"), say("Thirty 1 " + "x" * 30), "match"),
        (ask(), say(LONG + " It was in 1969."), "similar"),
        (ask(), say("3 " + LONG), "similar"),
    ],
)
def test_question_and_answer_say_which(question: Question, cloud: Reply, checker: str) -> None:
    found = auto(question, cloud, cloud)
    assert found is not None
    assert (found.checker, found.gap) == (checker, 0.0)
    assert pick(question, cloud)[0] in (checker, "calls")


def test_what_one_cannot_judge_the_next_one_does() -> None:
    # Tools were offered and none was called.
    found = auto(ask(tools=("f",)), say("Rome"), say("Paris"))
    assert found is not None
    assert (found.checker, found.gap) == ("match", 1.0)
    # The code of neither parses, and so words are all there is.
    broken = say("```python\ndef f(:\n```")
    found = auto(ask(), broken, broken)
    assert found is not None
    assert found.checker == "similar"


def test_where_nobody_can_judge_nothing_is_said() -> None:
    assert auto(ask(), call(("f", "{}")), say("...")) is None
    assert against(ask(), call(("f", "{}")), "...") is None


@pytest.mark.parametrize(("given", "quality"), [("paris", 1.0), ("Rome", 0.0), ("", 0.0)])
def test_a_correction_is_what_the_answer_should_have_been(given: str, quality: float) -> None:
    assert against(ask(), say(given), "Paris") == quality


def test_every_checker_has_the_name_under_which_it_is_known() -> None:
    for name, compare in CHECKERS.items():
        found = compare(ask(), say(""), call(("f", "{}")))
        assert found is not None
        assert (found.checker, found.gap) == (name, 1.0)
