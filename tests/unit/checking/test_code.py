"""Answers that hold code."""

from __future__ import annotations

import pytest
from tests.unit.checking.made import ask, say

from ecotone.checking.code import code
from ecotone.values.quality import Comparison

ADD = "def add(a, b):\n    return a + b\n"
DOCUMENTED = 'def add(a,b):  # adds\n    """Adds."""\n    return a+b\n'
OTHER = "import re\n\nclass Shop:\n    prices = {}\n    def __init__(self, name):\n        self.name = name\n"
BROKEN = "def add(a, b:\n    return"


def fenced(text: str, language: str = "python") -> str:
    return f"Here it is:\n```{language}\n{text}```\n"


def gap(edge: str, cloud: str) -> float:
    found = code(ask(), say(edge), say(cloud))
    assert found is not None
    assert found.checker == "code"
    return found.gap


@pytest.mark.parametrize("edge", [ADD, fenced(ADD), fenced(DOCUMENTED), fenced(ADD, "py"), fenced(ADD, "")])
def test_form_comments_and_documents_say_nothing(edge: str) -> None:
    assert gap(edge, fenced(ADD)) == 0.0


def test_a_document_alone_is_an_empty_body() -> None:
    assert gap(fenced('class A:\n    """Nothing."""\n'), fenced("class A:\n    pass\n")) == 0.0


def test_the_less_alike_the_wider_the_gap() -> None:
    near = gap(fenced("def add(a, b):\n    total = a + b\n    return total\n"), fenced(ADD))
    assert 0.0 < near < gap(fenced(OTHER), fenced(ADD)) == 1.0


@pytest.mark.parametrize(("edge", "cloud", "wide"), [(BROKEN, ADD, 1.0), (ADD, BROKEN, -1.0)])
def test_code_that_does_not_parse_loses(edge: str, cloud: str, wide: float) -> None:
    found = code(ask(), say(fenced(edge)), say(fenced(cloud)))
    assert found == Comparison(gap=wide, checker="code", edge=float(wide < 0), cloud=float(wide > 0))


def test_words_where_code_is_due() -> None:
    assert gap("You add them.", fenced(ADD)) == 1.0


def test_where_nothing_can_be_told_it_says_so() -> None:
    assert code(ask(), say(fenced(ADD)), say("You add them.")) is None
    assert code(ask(), say(fenced(BROKEN)), say(fenced(BROKEN))) is None


def test_other_languages_are_compared_without_their_comments() -> None:
    assert gap(fenced("let x = 1; // one\n", "js"), fenced("let x = 1; /* uno */\n", "js")) == 0.0
    assert gap(fenced('{"a": 1}\n', "json"), fenced('{"a":1}\n', "json")) == 0.0


def test_code_nested_too_deeply_to_be_printed_is_compared_as_it_stands() -> None:
    deep = "x = " + "+".join("1" * 900) + "\n"
    assert gap(fenced(deep), fenced(deep)) == 0.0


def test_a_comment_that_never_ends_and_code_too_long_to_parse_are_read_all_the_same() -> None:
    assert gap(fenced("let x = 1; /* uno\n", "js"), fenced("let x = 1;\n", "js")) == 0.0
    long = "x = 1  # one\n" * 4_000
    assert gap(fenced(long), fenced(long.replace("one", "uno"))) == 0.0


def test_no_answer_against_code() -> None:
    assert code(ask(), say(""), say(fenced(ADD))) == Comparison(gap=1.0, checker="code", edge=0.0, cloud=1.0)
