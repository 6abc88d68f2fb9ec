"""Answers that are none: before any checker reads what an answer says, it must have said something. Pure."""

from __future__ import annotations

import enum

from ecotone.values.normal import said
from ecotone.values.phrases import refuses
from ecotone.values.quality import Comparison, Reply


class State(enum.Enum):
    """What an answer is, before it is read."""

    PROPER = "proper"
    EMPTY = "empty"
    REFUSAL = "refusal"
    CUT = "cut"


def state(reply: Reply) -> State:
    """What an answer is. One that declines and is cut has declined."""
    if reply.is_refusal:
        return State.REFUSAL
    text = said(reply.text)
    if not reply.calls and not text.strip():
        # Filtered to nothing: the model was kept from answering.
        return State.REFUSAL if reply.finish == "content_filter" else State.EMPTY
    if not reply.calls and refuses(text):
        return State.REFUSAL
    return State.CUT if reply.finish in ("length", "content_filter") else State.PROPER


def unsound(checker: str, edge: Reply, cloud: Reply) -> Comparison | None:
    """The comparison, where one of the two is no answer; None where both say something that can be compared.

    - Nothing from the edge against something from the cloud: 1. The other way round: -1. Nothing from both: 0.
    - A refusal is the cloud's answer, as far as the edge's can agree with it: 0 where both decline, else 1; also where
      the edge answers what the cloud declines, for the promise is to do as the cloud does.
    - An answer cut short against a whole one: 1. Where the cloud's alone is cut, or both, what is there is compared: it
      is the caller's limit that cuts, and it cuts the more verbose model first.
    """
    at_edge, in_cloud = state(edge), state(cloud)
    if at_edge is State.EMPTY or in_cloud is State.EMPTY:
        return _judged(checker, float(at_edge is not State.EMPTY), float(in_cloud is not State.EMPTY))
    if at_edge is State.REFUSAL or in_cloud is State.REFUSAL:
        return Comparison(gap=float(at_edge is not in_cloud), checker=checker)
    if at_edge is State.CUT and in_cloud is State.PROPER:
        return _judged(checker, 0.0, 1.0)
    return None


def _judged(checker: str, edge: float, cloud: float) -> Comparison:
    return Comparison(gap=cloud - edge, checker=checker, edge=edge, cloud=cloud)
