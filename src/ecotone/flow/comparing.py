"""Compares an edge answer with a cloud answer: by a checker, else by a target that judges."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from ecotone.checking import judge
from ecotone.flow.site import Site
from ecotone.values import Endpoint, Request
from ecotone.values.quality import Comparison, Question, Reply
from ecotone.wire.reply import reply
from ecotone.wire.request import Head, decode

JUDGE: Final = "judge"

Ask = Callable[[Request, str], Awaitable[bytes | None]]
"""Sends a judge's request to a target; its answer, or None where there is none."""


async def compare(
    site: Site, request: Request, question: Question, answers: tuple[Reply, Reply], ask: Ask
) -> Comparison | None:
    """How the edge's answer compares with the cloud's; None where nobody can tell.

    Args:
        answers: The edge's, and the cloud's.
    """
    name = site.model(request.model)
    if name.check != JUDGE:
        check = site.checkers.get(name.check)
        found = None if check is None else await site.offload(lambda: check(question, *answers))
        if found is not None:
            return found
    if not name.judge or name.judge not in site.targets:
        return None
    bodies = judge.asks(question, *answers, model=request.model)
    return await _judged(request, bodies, name.judge, ask)


async def _judged(request: Request, bodies: Sequence[bytes], target: str, ask: Ask) -> Comparison | None:
    """Asked twice, with the answers swapped: a judge that only likes what stands first says nothing."""
    said: list[Reply] = []
    for body in bodies:
        answer = await ask(decode(Endpoint.CHAT, body, _head(request)), target)
        if answer is None:
            return None
        said.append(reply(Endpoint.CHAT, answer))
    return judge.verdict(*said)


def _head(request: Request) -> Head:
    """What holds for the caller's words holds for the judge's question, which repeats them."""
    return Head(
        id=request.id, received_at_s=request.received_at_s, seed=request.seed, key=request.key, labels=request.labels
    )
