"""Answers that come to a number. Pure."""

from __future__ import annotations

from typing import Final

from ecotone.checking.soundness import unsound
from ecotone.values.normal import said
from ecotone.values.quality import Comparison, Question, Reply
from ecotone.values.quantity import is_same, quantity

NAME: Final = "numbers"


def numbers(question: Question, edge: Reply, cloud: Reply) -> Comparison | None:
    """0 where both come to the same number, else 1; None where the cloud comes to none.

    The number is the one that an answer marks (`The answer is 7`, a box, `#### 7`), else its last. Units are converted,
    thousands' separators read, a shorter decimal is the longer one rounded (`values.quantity`).
    """
    unread = unsound(NAME, edge, cloud)
    if unread is not None:
        return unread
    wanted = quantity(said(cloud.text))
    if wanted is None:
        return None
    found = quantity(said(edge.text))
    return Comparison(gap=float(found is None or not is_same(found, wanted)), checker=NAME)
