"""What the edge's own answer says of how good it is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ecotone.learning.signs import AGREEMENT_NAMES, LOW, MARGIN_MAX, NAMES, agreement, signs
from ecotone.values import Endpoint
from ecotone.values.quality import Question, Reply

OPTIONS = "Which?\nA. cat\nB. dog"


def ask(asked: str = "Where is the Louvre?", **more: Any) -> Question:
    return Question(endpoint=Endpoint.CHAT, model="assistant", asked=asked, **more)


def seen(reply: Reply, question: Question | None = None) -> dict[str, float]:
    row = signs(question or ask(), reply)
    assert row.shape == (len(NAMES),) == (31,)
    assert row.dtype == np.float64
    assert np.isfinite(row).all()
    assert np.abs(row).max() < 100
    return dict(zip(NAMES, row.tolist(), strict=True))


def say(text: str = "", **more: Any) -> Reply:
    return Reply(**{"text": text, "finish": "stop"} | more)


def test_log_probabilities_are_summed_up() -> None:
    found = seen(say("x", logprobs=(-0.5, -0.1, -3.0, -99.0)))
    assert found["has_logprobs"] == 1.0
    assert found["logprob_mean"] == pytest.approx((-0.5 - 0.1 - 3.0 + LOW) / 4)
    assert (found["logprob_min"], found["logprob_p10"], found["logprob_first"]) == (LOW, LOW, -0.5)
    assert (found["unsure_share"], found["has_margins"], found["margin_mean"]) == (0.5, 0.0, 0.0)


def test_margins_are_summed_up() -> None:
    found = seen(say("x", logprobs=(-0.1,) * 3, margins=(0.5, 50.0, 2.5)))
    assert (found["has_margins"], found["margin_min"], found["margin_p10"]) == (1.0, 0.5, 0.5)
    assert found["margin_mean"] == pytest.approx((0.5 + MARGIN_MAX + 2.5) / 3)


def test_without_them_it_says_so() -> None:
    found = seen(say("x"))
    assert all(found[name] == 0.0 for name in NAMES[:10])


def test_size_and_end() -> None:
    found = seen(say("In Paris.", tokens=4), ask("x" * 19))
    assert found["tokens_log"] == pytest.approx(np.log(5))
    assert found["length_ratio_log"] == pytest.approx(np.log(10 / 20))
    assert (found["is_short"], found["is_empty"], found["is_cut"], found["ends_open"]) == (1.0, 0.0, 0.0, 0.0)
    cut = seen(say("It is in the city of", finish="length"))
    assert (cut["is_short"], cut["is_cut"], cut["ends_open"]) == (0.0, 1.0, 1.0)
    assert cut["tokens_log"] == pytest.approx(np.log1p(20 / 4))


def test_nothing_said() -> None:
    found = seen(say(" "))
    assert (found["is_empty"], found["is_short"], found["compression"], found["echo"]) == (1.0, 0.0, 1.5, 0.0)
    assert seen(say("<think>hm</think>"))["is_empty"] == 1.0
    assert seen(say(""))["compression"] == 1.0
    assert seen(say("", calls=(("f", "{}"),)))["is_empty"] == 0.0


def test_manners() -> None:
    assert seen(say("I cannot help with that."))["refuses"] == 1.0
    assert seen(say("No.", is_refusal=True))["refuses"] == 1.0
    assert seen(say("Paris."))["refuses"] == 0.0
    assert (
        seen(say("Perhaps in Paris, maybe in Rome."))["hedges"]
        > seen(say("In Paris and not in Rome."))["hedges"]
        == 0.0
    )


def test_an_answer_that_repeats_itself_is_seen_twice() -> None:
    loop = seen(say("it is in the city and " * 40))
    fine = seen(say("The Louvre is a museum of art in Paris, and its glass pyramid was built in the eighties by Pei."))
    assert loop["repeats"] > 0.9 > 0.1 > fine["repeats"] == 0.0
    assert loop["compression"] < 0.2 < 0.6 < fine["compression"]


def test_the_questions_own_words_are_an_echo() -> None:
    assert seen(say("Where is the Louvre?"))["echo"] == 1.0
    assert seen(say("Paris"))["echo"] == 0.0


@pytest.mark.parametrize(
    ("asked", "text", "differs"),
    [
        ("卢浮宫在哪里?", "在巴黎。", 0.0),
        ("卢浮宫在哪里?", "In Paris.", 1.0),
        ("Where?", "В Париже.", 1.0),
        ("Где?", "В Париже.", 0.0),
        ("Où ça ?", "À Paris", 0.0),
        ("—", "Paris", 0.0),
        ("卢浮宫?", "", 0.0),
    ],
)
def test_another_script_than_the_questions(asked: str, text: str, differs: float) -> None:
    assert seen(say(text), ask(asked))["script_differs"] == differs


@pytest.mark.parametrize(
    ("question", "text", "kept"),
    [
        (ask(form="json_object"), '{"a": 1}', 1.0),
        (ask(form="json_object"), "[1]", 0.0),
        (ask(form="json_object"), "words", 0.0),
        (ask(form="json_schema"), "[1]", 1.0),
        (ask(form="json_schema", schema=b'{"type": "object"}'), "[1]", 0.0),
        (ask(form="json_schema", schema=b'{"type": "object"}'), "{}", 1.0),
        (ask(form="json_schema", schema=b"{"), "[1]", 1.0),
    ],
)
def test_a_form_that_was_asked_for_is_kept_or_not(question: Question, text: str, kept: float) -> None:
    found = seen(say(text), question)
    assert (found["form_asked"], found["form_kept"]) == (1.0, kept)
    assert seen(say(text))["form_asked"] == 0.0


def test_calls_are_sound_where_they_can_be_carried_out() -> None:
    question = ask(tools=("f",))
    for call, is_sound in ((("f", ""), 1.0), (("g", "{}"), 0.0), (("f", "{"), 0.0)):
        assert seen(say(calls=(("f", "{}"), call)), question)["calls_sound"] == is_sound
    assert seen(say("x"), question)["calls"] == seen(say("x"), question)["calls_sound"] == 0.0
    assert seen(say(calls=(("any", "{}"),)))["calls_sound"] == 1.0


def test_substance() -> None:
    found = seen(say("The answer is 42."))
    assert (found["is_marked"], found["has_number"], found["picks_option"], found["has_code"]) == (1.0, 1.0, 0.0, 0.0)
    assert [seen(say(text), ask(OPTIONS))["picks_option"] for text in ("B", "a dog")] == [1.0, -1.0]
    pieces = ("x = 1", "x =", "x = '" + "a" * 3_000 + "'")
    rows = [seen(say(f"```python\n{piece}\n```")) for piece in pieces]
    assert [(row["has_code"], row["code_parses"]) for row in rows] == [(1.0, 1.0), (1.0, -1.0), (1.0, 0.0)]


def test_of_a_long_answer_beginning_and_end_are_read() -> None:
    found = seen(say("I cannot help you. " + "word " * 9_000 + "The answer is 7."))
    assert found["refuses"] == found["has_number"] == found["is_marked"] == 1.0


def test_the_same_answer_has_the_same_signs() -> None:
    reply = say("Perhaps 42.", logprobs=(-0.1, -0.7), margins=(1.0, 2.0))
    assert (signs(ask(), reply) == signs(ask(), reply)).all()


@pytest.mark.parametrize(
    ("own", "others", "row"),
    [
        ("18", [], (0, 0, 0, 0)),
        ("18", ["The answer is 18.", "18.0"], (1, 1, 1, 1 / 3)),
        ("18", ["19", "18", "20"], (1, 1 / 3, 1, 3 / 4)),
        ("18", ["19", "19"], (1, 0, 0, 2 / 3)),
        ("", ["", ""], (1, 0, 0, 1 / 3)),
    ],
)
def test_how_far_several_answers_agree(own: str, others: list[str], row: tuple[float, ...]) -> None:
    found = agreement(say(own), [say(other) for other in others])
    assert found.shape == (len(AGREEMENT_NAMES),)
    assert found.tolist() == pytest.approx(row)
