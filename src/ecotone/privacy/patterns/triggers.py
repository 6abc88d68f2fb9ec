"""Words that make it worth looking around: one gate for all of them, and whoever knows what each means."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import re2

from ecotone.privacy.patterns.hit import Hit
from ecotone.privacy.patterns.numbers import options

Look = Callable[[str, int, int], Hit | None]
"""Looks around a word at this span of the folded text."""

_REMEMBERED_MAX = 4096


class Trigger(NamedTuple):
    """Words as an alternation of RE2, and who looks when one stands there."""

    words: bytes
    look: Look


class Triggers:
    """One pass for all words. Built once."""

    def __init__(self, triggers: Sequence[Trigger]) -> None:
        chosen = options()
        self._gate = re2.compile(b"(?i)" + b"|".join(trigger.words for trigger in triggers), chosen)
        self._owners: list[tuple[Any, Look]] = [
            (re2.compile(b"(?i)" + trigger.words, chosen), trigger.look) for trigger in triggers
        ]
        self._known: dict[bytes, Look] = {}

    def find(self, text: str, raw: bytes) -> list[Hit]:
        """The hits in the folded text; `raw` is the same as Latin-1. What a hit covers is not looked at again."""
        hits: list[Hit] = []
        taken = 0
        for m in self._gate.finditer(raw):
            start, end = m.span()
            if start < taken:
                continue
            look = self._known.get(raw[start:end]) or self._owner(raw[start:end])
            hit = look(text, start, end)
            if hit is not None:
                hits.append(hit)
                taken = hit.end
        return hits

    def _owner(self, word: bytes) -> Look:
        if len(self._known) >= _REMEMBERED_MAX:
            self._known.clear()
        look = next(look for form, look in self._owners if form.fullmatch(word) is not None)
        self._known[word] = look
        return look
