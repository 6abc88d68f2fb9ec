"""Short exact answers: the same, or not. Pure."""

from __future__ import annotations

from typing import Final

from ecotone.checking.soundness import unsound
from ecotone.values.agreeing import answer_key
from ecotone.values.normal import normalised, offers, option, said
from ecotone.values.quality import Comparison, Question, Reply

NAME: Final = "match"


def match(question: Question, edge: Reply, cloud: Reply) -> Comparison | None:
    """0 where both come to the same answer, else 1.

    What an answer comes to is the option that it picks, where the question offers options; else the part that it marks
    as its answer (`The answer is X`, a box, `#### X`); else all of it. None where the cloud comes to nothing.
    """
    unread = unsound(NAME, edge, cloud)
    if unread is not None:
        return unread
    text, reference = said(edge.text), said(cloud.text)
    if reference and text.strip() == reference.strip():
        return Comparison(gap=0.0, checker=NAME)
    if offers(question.asked):
        wanted = option(reference)
        if wanted:
            return Comparison(gap=float(option(text) != wanted and not _names(question, wanted, text)), checker=NAME)
    wanted = answer_key(reference)
    if not wanted:
        return None
    return Comparison(gap=float(answer_key(text) != wanted), checker=NAME)


def _names(question: Question, letter: str, text: str) -> bool:
    """Whether an answer gives the option's own words in place of its letter."""
    for line in question.asked.splitlines():
        line = line.strip().lstrip("(")
        if line.startswith(letter) and line[1:2] in (")", ".", ":", "]"):
            words = normalised(line[2:])
            return bool(words) and words == normalised(text)
    return False
