"""Which pieces of a request's text are replaced: what was found, and every other place where the same value stands.

Taint is by conversation: a detector that saw a value once and not the next time must not let it out (invariant 3).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import ahocorasick_rs
import msgspec

from ecotone.pseudonyms.folding import ENDING, Squeezed, form, is_apart
from ecotone.pseudonyms.names import is_common
from ecotone.pseudonyms.vault import Row, compact, is_grouped, is_words

SHORT_CHARS: Final = 3
"""Shorter values are replaced elsewhere only where they are written as names."""


class Span(msgspec.Struct, frozen=True, gc=False):
    """A piece of a segment's text that is replaced.

    Attributes:
        value: What it stands for, where that is written in escapes; else empty: it is what stands there.
    """

    start: int
    end: int
    label: str
    kind: str
    value: str = ""


def merge(spans: Iterable[Span]) -> list[Span]:
    """Sorted and apart: those that overlap become one over all of them, of the longest one's kind."""
    merged: list[Span] = []
    longest = 0
    for span in sorted(spans, key=lambda one: (one.start, -one.end)):
        size = span.end - span.start
        if not merged or span.start >= merged[-1].end:
            merged.append(span)
            longest = size
            continue
        last = merged[-1]
        if span.end > last.end or size > longest:
            of = span if size > longest else last
            merged[-1] = Span(last.start, max(last.end, span.end), of.label, of.kind)
        longest = max(longest, size)
    return merged


class Taint:
    """Finds known values in texts, whatever their case and the signs between their words."""

    def __init__(self, rows: Iterable[Row]) -> None:
        """Takes what is replaced."""
        forms: dict[str, Row] = {}
        for row in rows:
            forms.setdefault(form(row.original), row)
            if is_grouped(row.label, row.kind):
                forms.setdefault(compact(row.original), row)
        kept = {known: row for known, row in forms.items() if _can_recur(known)}
        self._rows = list(kept.values())
        self._search = ahocorasick_rs.AhoCorasick(list(kept)) if kept else None

    def find(self, text: str, seen: Squeezed) -> list[Span]:
        """Where the values stand in a text; longest first, none inside another."""
        if self._search is None:
            return []
        hits = sorted(
            self._search.find_matches_as_indexes(seen.text, overlapping=True), key=lambda hit: (hit[1], -hit[2])
        )
        found: list[Span] = []
        past = 0
        for index, start, end in hits:
            row = self._rows[index]
            if start < past or not _is_apart(seen.text, start, end, row):
                continue
            begin, stop = seen.begin(start), seen.end(end)
            written = text[begin:stop]
            if _is_meant(row, written):
                value = row.original if "\\" in written and "\\" not in row.original else ""
                found.append(Span(begin, stop, row.label, row.kind, value))
                past = end
        return found


def _can_recur(folded: str) -> bool:
    """Whether a value says enough that another place with the same characters means the same."""
    if folded.isascii():
        return len(folded) >= (4 if folded.isdigit() else 2)
    return len(folded) >= 2


def _is_apart(text: str, start: int, end: int, row: Row) -> bool:
    """Whether a value stands there as words of its own; a name may have the ending that the way back knows."""
    if is_apart(text, start, end):
        return True
    return (
        is_words(row.label, row.kind)
        and text[end : end + 1] == ENDING
        and is_apart(text[: end + 2], start, end + 1)
        and is_apart(text[:end], start, end)
    )


def _is_meant(row: Row, written: str) -> bool:
    """Whether these words are the value: ordinary words, short ones and parts of names only where written as names."""
    is_doubtful = row.is_part or is_common(row.original) or len(row.original) < SHORT_CHARS
    return not is_doubtful or written[0].isupper() or written == row.original
