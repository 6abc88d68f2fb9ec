"""One look at a text: a few gates, then a check of each hit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import blake2b
from types import MappingProxyType

from ecotone.privacy.fold import fold
from ecotone.privacy.patterns import codes, context, encoded, keys, named, net, numbers, places, places_zh, spoken
from ecotone.privacy.patterns.context import WORDS, Words
from ecotone.privacy.patterns.encoded import Text
from ecotone.privacy.patterns.families import FAMILIES
from ecotone.privacy.patterns.form import Form
from ecotone.privacy.patterns.hit import Hit, settle, weight
from ecotone.privacy.patterns.keys import Keys
from ecotone.privacy.patterns.net import Net
from ecotone.privacy.patterns.numbers import Numbers
from ecotone.privacy.patterns.triggers import Trigger, Triggers
from ecotone.privacy.patterns.vendors import VENDORS
from ecotone.privacy.terms import Terms
from ecotone.values.finding import Finding

NAME = "patterns"
SEGMENT_END = "\x1e"
_NONE: Mapping[str, Iterable[str]] = MappingProxyType({})


_CODE_VERSION = "1"


class Patterns:
    """Finds what has a form, or a telling word in front. Never raises for a text; no finding crosses `\\x1e`.

    Args:
        terms: A site's own terms by label.
    """

    version: str
    """Changes with the tables of rules (and by hand, with the code that reads them); says nothing of a site's terms."""

    def __init__(self, terms: Mapping[str, Iterable[str]] = _NONE) -> None:
        self.version = _version()
        words = Words()
        self._numbers = Numbers(words)
        self._net = Net(words)
        self._keys = Keys(self._net)
        self._triggers = Triggers(
            (
                Trigger(codes.PHRASE_WORDS, codes.phrase),
                Trigger(codes.SECRET_WORDS, codes.secret_code),
                Trigger(codes.PLATE_WORDS, codes.plate),
                Trigger(codes.NUMBER_WORDS, codes.number),
                Trigger(spoken.WORDS, spoken.behind),
                Trigger(net.HANDLE_WORDS, net.named_handle),
                Trigger(net.SPELLED_WORDS, net.spelled_email),
                Trigger(places.WORDS, places.around),
            )
        )
        self._terms = Terms(terms)
        for room in (codes, context, encoded, keys, named, net, numbers, places, places_zh, spoken):
            for form in vars(room).values():
                if isinstance(form, Form):
                    form.compile()

    def find(self, text: str) -> list[Finding]:
        """Findings of one text, sorted, without overlap, counted in code points of the text as it was written."""
        folded = fold(text)
        plain = folded.text
        raw = plain.encode("latin-1", "replace")
        hits, texts = self._look(plain, raw)
        for start, end, inner in texts:
            within, _ = self._look(inner, inner.encode("latin-1", "replace"))
            if within:
                worst = max(within, key=weight)
                hits.append(Hit(start, end, worst.kind, worst.sure, worst.named))
        found = []
        for hit in settle([h for h in hits if SEGMENT_END not in plain[h.start : h.end]]):
            start, end = folded.written(hit.start, hit.end)
            found.append(Finding(hit.label, hit.kind, start, end, hit.sure, NAME))
        return found

    def _look(self, plain: str, raw: bytes) -> tuple[list[Hit], list[Text]]:
        hits, rows = self._numbers.find(plain, raw)
        hits += named.find(plain, rows)
        keys, texts = self._keys.find(plain, raw)
        hits += keys
        hits += self._triggers.find(plain, raw)
        if "@" in plain:
            hits += self._net.find(plain)
        if not plain.isascii():
            hits += spoken.after_chinese_words(plain)
            hits += net.chinese_handles(plain)
            hits += places_zh.addresses(plain)
            hits += places_zh.plates(plain)
        if len(self._terms):
            hits += [Hit(start, end, "term", 1.0, label) for start, end, label in self._terms.find(plain)]
        return hits, texts


def _version() -> str:
    rules = ([family[:2] for family in FAMILIES], VENDORS, WORDS, spoken.WORDS, net.HANDLE_WORDS, places.WORDS)
    return f"{_CODE_VERSION}.{blake2b(repr(rules).encode(), digest_size=4).hexdigest()}"
