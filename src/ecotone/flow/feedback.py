"""What callers say of answers: kept as evidence, and learned from where it is about the edge.

Feedback comes from whoever likes to give it, so it is no sample of the traffic: it teaches, and never certifies.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from ecotone.flow.lessons import Errand
from ecotone.flow.shadowing import note_steps
from ecotone.flow.site import Site
from ecotone.values.quality import Comparison, Pair, Reply, Role
from ecotone.wire.feedback import Feedback
from ecotone.wire.reply import reply

REMEMBERED_MAX: Final = 4096
REMEMBERED_BYTES_MAX: Final = 16 * 1024 * 1024
CHECKER: Final = "feedback"


class Feedbacks:
    """The answers of late, in memory only, so that what is said of them finds what they were."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, Errand] = OrderedDict()
        self._bytes = 0

    def remember(self, errand: Errand) -> None:
        """An answer was given."""
        self._known[errand.request.id] = errand
        self._bytes += _size(errand)
        while len(self._known) > REMEMBERED_MAX or self._bytes > REMEMBERED_BYTES_MAX:
            _, oldest = self._known.popitem(last=False)
            self._bytes -= _size(oldest)

    def owner(self, request: str) -> str | None:
        """Name of the key that asked; None where the answer is not remembered."""
        errand = self._known.get(request)
        return None if errand is None else errand.request.key

    async def give(self, site: Site, said: Feedback) -> bool:
        """Takes feedback into the ledger, and learns from it where it can; whether it did."""
        errand = self._known.get(said.request)
        target = said.target or (errand.outcome.target if errand is not None else "")
        pair = None if errand is None else await _pair(site, errand, said, target)
        told = {
            "request": said.request,
            "model": "" if errand is None else errand.outcome.model,
            "target": target,
            "score": said.score,
            "has_correction": said.correction is not None,
            "is_learned": pair is not None,
        }
        site.journal.note("feedback", told)
        if pair is None or errand is None or site.learning is None:
            return False
        lesson = errand.lesson
        answer = reply(errand.request.endpoint, errand.answer or b"")
        at_ms = int(site.clock.wall_s() * 1e3)
        site.journal.note("compared", pair)
        note_steps(site, site.learning.add(pair, lesson.read, question=lesson.question, reply=answer, at_ms=at_ms))
        return True


async def _pair(site: Site, errand: Errand, said: Feedback, target: str) -> Pair | None:
    """The pair that feedback stands for: the edge's answer against what it should have been."""
    lesson = errand.lesson
    if target != lesson.edge or errand.outcome.target != target or site.learning is None:
        return None
    seen = await _compared(site, errand, said)
    if seen is None:
        return None
    return Pair(
        request=said.request,
        model=errand.outcome.model,
        target=lesson.edge,
        reference=lesson.reference,
        comparison=seen,
        role=Role.LEARN,
        placed=errand.outcome.at,
        guess=lesson.guesses.get(lesson.edge),
        answer=lesson.answer_guess,
        edge_s=errand.outcome.total_s,
    )


async def _compared(site: Site, errand: Errand, said: Feedback) -> Comparison | None:
    if said.score is not None:
        return Comparison(gap=1.0 - said.score, checker=CHECKER, edge=said.score, cloud=1.0)
    check = site.checkers.get(site.model(errand.outcome.model).check)
    if check is None or errand.answer is None or said.correction is None:
        return None
    should = Reply(text=said.correction, finish="stop")
    given = reply(errand.request.endpoint, errand.answer)
    seen = await site.offload(lambda: check(errand.lesson.question, given, should))
    return None if seen is None else Comparison(gap=seen.gap, checker=CHECKER, edge=seen.edge, cloud=seen.cloud)


def _size(errand: Errand) -> int:
    return len(errand.request.body) + len(errand.answer or b"")
