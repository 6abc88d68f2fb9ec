"""What an answer comes to, as a key: two answers with one key are one answer. Pure."""

from __future__ import annotations

import re
from typing import Final

from ecotone.values.normal import marked, normalised, said
from ecotone.values.quantity import numbers

NUMBER_WORDS_MAX: Final = 4
"""An answer of more words is not a number with its unit, though it may hold one."""

EXACT_CHARS_MAX: Final = 600
"""A longer text is prose, of which two are never the same but by the letter; only its blanks and its case are put
aside."""

_LITERAL: Final = re.compile(r"\[.*\]|\{.*\}|\(.*,.*\)", re.DOTALL)


def answer_key(text: str) -> str:
    """What a text comes to: its marked answer, else all of it, normalised; `''` where nothing is left.

    A number alone, with a unit at most, is taken by its value: `1,000`, `1000.0` and `= 1000 apples` are one.
    Of a list or a mapping as programs write them (`[1, 2]`) only blanks and the kind of quotes are put aside.
    """
    text = said(text)
    answer = marked(text) or text
    literal = answer.strip().strip("`").strip()
    if is_literal(literal):
        return "".join(literal.split()).replace('"', "'")
    if len(answer) > EXACT_CHARS_MAX:
        return " ".join(answer.casefold().split())
    found = normalised(answer)
    if len(found) <= 64 and found.count(" ") < NUMBER_WORDS_MAX:
        read = numbers(answer)
        if len(read) == 1 and _is_number_alone(found):
            only = read[0]
            unit = only.unit
            return f"{only.value * (only.factor if unit else 1.0):.9g}{unit}"
    return found


def is_literal(text: str) -> bool:
    """Whether a text is a list, a mapping or a tuple as programs write them: of these every mark counts."""
    return _LITERAL.fullmatch(text) is not None


def _is_number_alone(answer: str) -> bool:
    """A number first, with no more than its unit behind it."""
    return answer.lstrip("=- ")[:1].isdigit()
