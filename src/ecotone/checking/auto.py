"""The checker that fits a question and its answers. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from ecotone.checking.calls import calls
from ecotone.checking.code import code
from ecotone.checking.contract import Compare
from ecotone.checking.fields import fields
from ecotone.checking.match import match
from ecotone.checking.numbers import numbers
from ecotone.checking.similar import similar
from ecotone.values.agreeing import is_literal
from ecotone.values.normal import marked, offers, option, said
from ecotone.values.quality import Comparison, Question, Reply
from ecotone.values.quantity import numbers as numbers_in
from ecotone.values.structure import code_in, has_json, json_in

SHORT_WORDS: Final = 8
"""An answer of at most so many words is right or wrong as a whole; a longer one is compared by what it says."""

CHECKERS: Final[Mapping[str, Compare]] = {
    "match": match,
    "json": fields,
    "numbers": numbers,
    "code": code,
    "calls": calls,
    "similar": similar,
}
"""The built-in checkers by the names that the configuration and the ledger use. `auto` picks one of them."""

LITERAL_CHARS_MAX: Final = 200
"""JSON that was not asked for and is no longer is an answer like any other short one: right or wrong."""

_COUNTED: Final = re.compile(
    r"\bhow (?:many|much|long|far|old|fast|tall)\b|\b(?:calculate|compute|evaluate|solve)\b|\bwhat is \d|\bwhat percent"
    r"|\bwas ist \d|\bwie ?viele?\b|\bberechne|\bcombien\b|\bcalcule|\bcuánt[oa]s?\b|\bquant[oiae]s?\b|\bсколько\b"
    r"|多少|几个|计算|いくつ|いくら|몇 ",
    re.IGNORECASE,
)
UNIT_LETTERS_MAX: Final = 24
"""Letters beside the number of a short answer: its unit, or `It is ... years`."""

_TAIL_CHARS: Final = 1_000
"""Of a question's end that is read for what is asked: instructions and examples stand before it."""


def auto(question: Question, edge: Reply, cloud: Reply) -> Comparison | None:
    """The comparison by the first checker of `pick` that can judge these two; None where none can."""
    for name in pick(question, cloud):
        found = CHECKERS[name](question, edge, cloud)
        if found is not None:
            return found
    return None


def against(question: Question, given: Reply, reference: str) -> float | None:
    """Quality of an answer in [0, 1] beside what it should have been (a correction by the caller); None = unknown."""
    found = auto(question, given, Reply(text=reference, finish="stop"))
    return None if found is None else min(1.0, 1.0 - found.gap)


def pick(question: Question, cloud: Reply) -> tuple[str, ...]:
    """Names of the checkers that fit, best first. The cloud's answer says what kind of answer is due."""
    text = said(cloud.text)
    found: list[str] = []
    # Where tools are offered, `calls` passes on what neither side calls for.
    if cloud.calls or question.tools:
        found.append("calls")
    if question.form or (len(text) > LITERAL_CHARS_MAX and has_json(json_in(text))):
        found.append("json")
    if code_in(text):
        found.append("code")
    if not found or found == ["calls"]:
        found.append(_of_words(question, text))
    return (*found, "similar")


def _of_words(question: Question, text: str) -> str:
    """The checker for an answer in words."""
    if offers(question.asked) and option(text):
        return "match"
    answer = marked(text)
    is_short = is_literal(answer or text.strip()) or (len(text.split()) <= SHORT_WORDS and len(text) <= 100)
    if (answer or is_short or _COUNTED.search(question.asked[-_TAIL_CHARS:])) and _is_number(answer or text, is_short):
        return "numbers"
    return "match" if answer or is_short else "similar"


def _is_number(answer: str, is_short: bool) -> bool:
    """Whether an answer, or its end, is a number and not a sentence which holds one."""
    if is_literal(answer.strip()):
        return False
    found = numbers_in(answer)
    if not is_short:
        return bool(found)
    if answer.count("=") == 1:
        # `17 + 25 = 42`
        found = numbers_in(answer.partition("=")[2])
    return len(found) == 1 and sum(char.isalpha() for char in answer) <= UNIT_LETTERS_MAX
