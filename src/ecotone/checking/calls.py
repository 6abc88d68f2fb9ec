"""Tool calls: the same tools with the same arguments. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from ecotone.checking.fields import agreement
from ecotone.checking.soundness import unsound
from ecotone.values.quality import Comparison, Question, Reply
from ecotone.values.structure import has_json, json_in

NAME: Final = "calls"

NAME_SHARE: Final = 0.25
"""What a call of the right tool with all arguments wrong is worth: it is nearly as useless as none."""

CALLS_MAX: Final = 32
"""Calls of one answer that are compared; the pairing is quadratic."""

_Call = tuple[str, str]


def calls(question: Question, edge: Reply, cloud: Reply) -> Comparison | None:
    """1 less how far the edge's calls agree with the cloud's; None where neither calls.

    - Calls are paired by name and then by how far their arguments agree; order says nothing. A call too many counts as
      much as one that is missing.
    - A call of a tool that was not offered, or whose arguments are no JSON, is worth nothing. Where that befalls all
      of one side's calls and none of the other's, the two are judged one by one: 1 or -1.
    - Text against a call: 1, for the caller's program waits for the other.
    """
    if not edge.calls and not cloud.calls:
        return None
    unread = unsound(NAME, edge, cloud)
    if unread is not None:
        return unread
    mine, theirs = (_readable(question, one.calls) for one in (edge, cloud))
    if cloud.calls and not theirs:
        # Of the edge's calls nothing is known but that they can be carried out.
        good = float(bool(mine))
        return Comparison(gap=-good, checker=NAME, edge=good, cloud=0.0)
    share = _paired(mine, theirs) / max(len(edge.calls), len(cloud.calls))
    return Comparison(gap=1.0 - min(1.0, share), checker=NAME)


def _readable(question: Question, given: Sequence[_Call]) -> list[tuple[str, Any]]:
    """(name, arguments) of the calls that can be carried out."""
    found = []
    for name, arguments in given[:CALLS_MAX]:
        # No arguments at all are written as '' by some servers.
        value = json_in(arguments or "{}", is_strict=True)
        if has_json(value) and (not question.tools or name in question.tools):
            found.append((name, value))
    return found


def _paired(mine: list[tuple[str, Any]], theirs: list[tuple[str, Any]]) -> float:
    """The worth of the best pairs, taken greedily."""
    scored = sorted(
        (
            (NAME_SHARE + (1 - NAME_SHARE) * agreement(mine[i][1], theirs[j][1]), -i, -j)
            for i in range(len(mine))
            for j in range(len(theirs))
            if mine[i][0] == theirs[j][0]
        ),
        reverse=True,
    )
    worth, used, met = 0.0, set[int](), set[int]()
    for score, i, j in scored:
        if i not in used and j not in met:
            used.add(i)
            met.add(j)
            worth += score
    return worth
