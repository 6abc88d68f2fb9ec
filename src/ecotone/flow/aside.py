"""A request of the site's own, beside a caller's: the corridor's whole way, at one target, for nobody's bill.

It passes the same policy, the same permit and the same ledger as any other: what may not leave does not leave for the
sake of learning either.
"""

from __future__ import annotations

import dataclasses
from typing import Final

import msgspec

from ecotone.flow.draining import Caller
from ecotone.flow.hedging import Hedges
from ecotone.flow.serving import serve
from ecotone.flow.site import ModelName, Site
from ecotone.values import Mode, Outcome, Request, Wish

ANSWER_BYTES_MAX: Final = 1024 * 1024


async def aside(
    site: Site, request: Request, target: str, *, purpose: str, name: str, limit_s: float
) -> tuple[Outcome, bytes]:
    """Asks one target; how it ended, and the answer in one piece.

    Args:
        request: What to ask; its labels and its key hold here too.
        purpose: `shadow` or `judge`.
        name: The id that it goes by.
        limit_s: Seconds from now by which it is over.
    """
    now_s = site.clock.now_s()
    own = msgspec.structs.replace(
        request,
        id=name,
        purpose=purpose,
        wish=Wish.AUTO,
        is_debug=False,
        received_at_s=now_s,
        deadline_at_s=now_s + limit_s,
    )
    caller = Caller(ANSWER_BYTES_MAX)
    outcome = await serve(own, caller, _only(site, request.model, target))
    return outcome, b"" if caller.is_too_large else caller.body


def _only(site: Site, model: str, target: str) -> Site:
    """The site as such a request sees it: one target, and nothing to learn from it."""
    names: dict[str, ModelName] = dict(site.names)
    names[model] = msgspec.structs.replace(names[model], targets=(target,), mode=Mode.AUTO, is_continued=False)
    return dataclasses.replace(site, names=names, learning=None, take_errand=None, hedges=Hedges(0.0))
