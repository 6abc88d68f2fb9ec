"""Finds surrogates in an answer's text as it comes, in whatever pieces, and puts the originals back. Pure.

What is decided depends on the text alone and never on how it was cut: a piece of text is held back only as long as it
is the beginning of a surrogate, or a whole one that the next characters may still make another word.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Sequence
from typing import Final

import ahocorasick_rs
import msgspec

from ecotone.pseudonyms.folding import ENDING, Squeezed, fold, form, is_wordy, open_end, squeeze
from ecotone.pseudonyms.names import dressed
from ecotone.pseudonyms.nesting import Depth, Links
from ecotone.pseudonyms.vault import Row, is_grouped

_BEGIN_CHARS: Final = 4
_ESCAPES: Final = ("n", "r", "t", "b", "f")


class Counts(msgspec.Struct):
    """What became of the surrogates of one answer.

    Attributes:
        restored: Replaced by the original.
        left: Known, and left as they are: in a link, or cut off so that another one could have been meant.
        unknown: Of a surrogate's form, and of no value of this request.
    """

    restored: int = 0
    left: int = 0
    unknown: int = 0


class Forms:
    """All surrogates of one request, ready to be looked for. Shared by all channels of all attempts."""

    def __init__(self, rows: Sequence[Row], tag: str) -> None:
        """`tag`: what tagged surrogates share; empty where all are natural."""
        self.rows = {form(row.surrogate): row for row in rows}
        for row in rows:
            if not row.is_tagged and is_grouped(row.label, row.kind):
                plain = Row(_ungrouped(row.original), _ungrouped(row.surrogate), row.label)
                self.rows.setdefault(form(plain.surrogate), plain)
        self.sorted = sorted(self.rows)
        # What forms begin with, up to some signs: most words of an answer are told apart by that.
        self.begins = frozenset(known[:size] for known in self.sorted for size in range(1, _BEGIN_CHARS + 1))
        self.longest = max(map(len, self.sorted), default=0)
        self._search = ahocorasick_rs.AhoCorasick(self.sorted) if self.sorted else None
        self._mark = f"_{tag.lower()}" if tag else "\x00"
        words = {known.partition("_")[0] for known, row in self.rows.items() if row.is_tagged}
        self._like = re.compile(rf"(?:{'|'.join(map(re.escape, sorted(words)))}){self._mark}[0-9]") if words else None

    def hits(self, text: str) -> list[tuple[int, int, int]]:
        """(index in `sorted`, start, end) of all forms in a folded text, the leftmost first, of those the longest."""
        if self._search is None:
            return []
        found = self._search.find_matches_as_indexes(text, overlapping=True)
        return sorted(found, key=lambda hit: (hit[1], -hit[2])) if len(found) > 1 else found

    def row(self, index: int) -> Row:
        """The row of a hit."""
        return self.rows[self.sorted[index]]

    def may_go_on(self, text: str) -> bool:
        """Whether a form begins with this folded text, or is it."""
        at = bisect_left(self.sorted, text)
        return at < len(self.sorted) and self.sorted[at].startswith(text)

    def is_unsure(self, text: str, row: Row) -> bool:
        """Whether this form, were it cut off, could be the beginning of one that stands for something else."""
        for known in self.sorted[bisect_left(self.sorted, text) + 1 :]:
            if not known.startswith(text):
                return False
            other = self.rows[known]
            if not other.original.startswith(row.original) and not (other.is_part and other.original in row.original):
                return True
        return False

    def alike(self, text: str, before: str) -> int:
        """How many words of a folded text that follows `before` look like a tagged surrogate."""
        if self._like is None or self._mark not in text:
            return 0
        starts = (found.start() for found in self._like.finditer(text))
        return sum(not is_wordy((text[at - 1] if at else before) or " ") for at in starts)


class Channel:
    """One text that comes in pieces: what a choice says, a tool call's arguments, a whole answer at once."""

    __slots__ = (
        "_before",
        "_counts",
        "_depth",
        "_forms",
        "_held",
        "_is_cut",
        "_is_json",
        "_is_known",
        "_is_last",
        "_links",
    )

    def __init__(self, forms: Forms, counts: Counts, *, is_json: bool | None = None) -> None:
        """Args:
        is_json: The text is JSON's own source: originals are escaped to the depth where they stand. None: where its
            first character is a brace.
        """
        self._forms = forms
        self._counts = counts
        self._held = ""
        self._before = ""
        self._is_last = self._is_cut = False
        self._be(is_json=is_json is True)
        self._is_known = is_json is not None

    def feed(self, piece: str) -> str:
        """A further piece in, what is certain out."""
        text = self._held + piece
        if not self._is_known:
            begun = text.lstrip()
            if not begun:
                return piece
            self._be(is_json=begun[0] == "{")
        if text.isascii() and "\\" not in text:
            folded = fold(text)
            hits, open_at = self._forms.hits(folded), self._open(folded)
            if hits or open_at:
                return self._take(text, Squeezed(folded), hits, open_at)
            self._held = ""
            self._pass(text, folded)
            return text
        seen = squeeze(text[: open_end(text, is_json=self._is_json)], is_json=self._is_json)
        return self._take(text, seen, self._forms.hits(seen.text), self._open(seen.text))

    def _be(self, *, is_json: bool) -> None:
        self._is_known = True
        self._is_json = is_json
        self._links = Links(is_json=is_json)
        self._depth = Depth() if is_json else None

    def finish(self, *, is_cut: bool = False) -> str:
        """What is still held back. `is_cut`: the text may have ended in mid-word, so that nothing is guessed."""
        text = self._held
        if not text:
            return ""
        seen = squeeze(text, is_json=self._is_json)
        self._is_last, self._is_cut = True, is_cut
        return self._take(text, seen, self._forms.hits(seen.text), ())

    def _take(self, text: str, seen: Squeezed, hits: Sequence[tuple[int, int, int]], open_at: Sequence[int]) -> str:
        """Replaces what is certain and holds back the rest."""
        folded = seen.text
        made: list[str] = []
        past = past_written = 0
        for index, start, end in hits:
            if start < past:
                continue
            if any(past <= at <= start for at in open_at):
                break
            row = self._forms.row(index)
            if not self._stands(folded, start, end, row):
                continue
            begin, stop = seen.begin(start), seen.end(end)
            if not _is_named(row, text[begin:stop]):
                continue
            self._pass(text[past_written:begin], folded[past:start])
            made.append(text[past_written:begin])
            is_unsure = self._is_cut and end == len(folded) and self._forms.is_unsure(folded[start:end], row)
            made.append(self._restored(row, text[begin:stop], is_unsure=is_unsure))
            past, past_written = end, stop
            self._before = folded[max(0, end - 2) : end]
        return "".join((*made, self._rest(text, seen, (past, past_written), open_at)))

    def _rest(self, text: str, seen: Squeezed, past: tuple[int, int], open_at: Sequence[int]) -> str:
        """What follows the last surrogate, up to where something must be held back."""
        keep = next((at for at in open_at if at >= past[0]), len(seen.text))
        if keep < len(seen.text):
            ready = max(seen.begin(keep), past[1])
        else:
            ready = len(text) if self._is_last else open_end(text, is_json=self._is_json)
        rest = text[past[1] : ready]
        self._held = text[ready:]
        self._pass(rest, seen.text[past[0] : keep])
        return rest

    def _open(self, folded: str) -> list[int]:
        """Where something begins that further characters may make a surrogate, or another one."""
        forms = self._forms
        size = len(folded)
        found = []
        for at in range(max(0, size - forms.longest - 1), size):
            if folded[at : at + _BEGIN_CHARS] not in forms.begins or not self._begins(folded, at):
                continue
            tail = folded[at:]
            if forms.may_go_on(tail) or (tail[-1] == ENDING and tail[:-1] in forms.rows):
                found.append(at)
        return found

    def _begins(self, folded: str, at: int) -> bool:
        """Whether a word may begin here. An escape such as `\\n`, shown as it is written, is no word."""
        before = folded[at - 2 : at] if at > 1 else (self._before + folded[:at])[-2:]
        if not before or not is_wordy(before[-1]) or not is_wordy(folded[at]):
            return True
        return before[0] == "\\" and before[1:] in _ESCAPES

    def _stands(self, folded: str, start: int, end: int, row: Row) -> bool:
        """Whether a form stands here as a word of its own, endings aside."""
        if not self._begins(folded, start):
            return False
        after = folded[end : end + 2]
        if not after or not is_wordy(folded[end - 1]) or not is_wordy(after[0]):
            return True
        return after[0] == ENDING and (row.is_tagged or row.is_word) and not (len(after) > 1 and is_wordy(after[1]))

    def _restored(self, row: Row, written: str, *, is_unsure: bool) -> str:
        """The original in the surrogate's place, or the surrogate where that is not safe."""
        is_left = is_unsure or self._links.is_open()
        depth = self._depth.depth if self._depth is not None else 0
        self._pass(written)
        if is_left:
            self._counts.left += 1
            return written
        self._counts.restored += 1
        original = dressed(row.original, row.surrogate, written) if row.is_word else row.original
        for _ in range(depth):
            original = msgspec.json.encode(original).decode()[1:-1]
        return original

    def _pass(self, text: str, folded: str = "") -> None:
        """Text of the target's own has gone by; `folded`: without the surrogates that are known."""
        if text:
            self._links.feed(text)
            if self._depth is not None:
                self._depth.feed(text)
        if folded:
            self._counts.unknown += self._forms.alike(folded, self._before[-1:])
            self._before = (self._before + folded[-2:])[-2:]


def _is_named(row: Row, written: str) -> bool:
    """Whether a surrogate is meant and no ordinary word: a single word is a name only where it is written as one."""
    return not row.is_word or "_" in form(row.surrogate) or written == row.surrogate or not written[0].islower()


def _ungrouped(value: str) -> str:
    """A number without what stands between its digits."""
    return "".join(char for char in value if char.isalnum() or char == "+")
