"""Made detectors: one that sees a planted card at once, one that sees a planted person later, or not in time."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from random import Random
from typing import Final

import msgspec

from ecotone.ports import Looked
from ecotone.values import Finding

DEAR: Final = "dear"
_CARD: Final = re.compile(r"card-[0-9a-f-]+\b")
_PERSON: Final = re.compile(r"Jane-[0-9a-f-]+\b")


def planted(request: str, *, card: bool, person: bool) -> str:
    """What the caller of this request says."""
    number = request.removeprefix("req-")
    return " ".join(["hello", *[f"card-{number}"] * card, *[f"Jane-{number}"] * person])


def echoed(body: bytes) -> tuple[str, str]:
    """(what a target says back of these bytes, what its caller should read then): all words but the greeting."""
    sent = msgspec.json.decode(body)
    number = str(sent["request"]).removeprefix("req-")
    said = str(sent["messages"][-1]["content"]).removeprefix("hello").strip()
    card, person = f"card-{number}", f"Jane-{number}"
    other = said.removeprefix(card).strip()
    return said, said[: len(said) - len(other)] + person if other else said


def see_card(text: str) -> list[Finding]:
    """The quick one."""
    return [Finding("card", "card", *found.span(), 1.0, "quick") for found in _CARD.finditer(text)]


class MadeInspector:
    """The dear one: takes its time, is late, or fails."""

    def __init__(self, rng: Random) -> None:
        self._rng = Random(rng.getrandbits(64))  # noqa: S311 - a made world, not a secret
        self._trouble = rng.choice((0.0, 0.0, 0.3))

    async def look(self, texts: Sequence[str], detectors: Sequence[str], *, limit_s: float) -> Looked:
        """See `ports.Inspector.look`."""
        takes_s = self._rng.expovariate(1 / 0.02)
        nothing = ((),) * len(texts)
        if takes_s > limit_s or self._rng.random() < self._trouble / 2:
            await asyncio.sleep(limit_s)
            return Looked(nothing, ((DEAR, "late"),))
        await asyncio.sleep(takes_s)
        if self._rng.random() < self._trouble / 2:
            return Looked(nothing, ((DEAR, "crashed"),))
        return Looked(tuple(tuple(self._see(text)) for text in texts))

    @staticmethod
    def _see(text: str) -> list[Finding]:
        return [Finding("person", "person", *found.span(), 0.9, DEAR) for found in _PERSON.finditer(text)]
