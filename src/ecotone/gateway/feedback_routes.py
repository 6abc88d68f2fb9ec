"""`POST /v1/feedback`: what a caller says of an answer."""

from __future__ import annotations

from collections.abc import Mapping

from ecotone.gateway.asking import Ask, Route, Told, json
from ecotone.gateway.corridor import Corridor
from ecotone.values import RequestError
from ecotone.wire.feedback import decode


class FeedbackRoutes:
    """The route of one gateway."""

    def __init__(self, corridor: Corridor) -> None:
        self._corridor = corridor
        self.exact: Mapping[str, Mapping[str, Route]] = {"/v1/feedback": {"POST": self._give}}
        self.below: Mapping[str, Mapping[str, Route]] = {}

    async def _give(self, ask: Ask) -> Told:
        said = decode(await ask.read())
        taken = await self._corridor.doors.feedback(said, self._corridor.seen_by(ask.key))
        if taken is None:
            words = "id: the ledger here knows no request of this id that this key may speak about."
            raise RequestError("request.id", words, status=404, param="id")
        return json({"object": "ecotone.feedback", "id": said.request, "learned": taken}, 202)
