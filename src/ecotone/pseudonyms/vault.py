"""The map of one request: each value that is replaced, and its surrogate; one to one. Lives as long as the answer."""

from __future__ import annotations

import re
from typing import Final

import msgspec

from ecotone.pseudonyms import natural
from ecotone.pseudonyms.document import refused
from ecotone.pseudonyms.folding import form
from ecotone.pseudonyms.names import choose, in_case_of, initial, is_common, name_parts, pieces, script
from ecotone.pseudonyms.scope import Dice
from ecotone.values import Surrogates

ROWS_MAX: Final = 5_000
"""About 0.1 ms each, on the event loop. Precedent: a list of 1,600 people with first and last names."""
ATTEMPTS_MAX: Final = 64
NATURAL_CHARS_MAX: Final = 120
"""Longer values become opaque words: as much of an answer may be held back as its longest surrogate is long."""
PART_CHARS_MIN: Final = 3
"""Shorter parts of names are words of too many texts."""
_TAGS: Final = tuple(first + second for first in "0123456789ABCDEF" for second in "ABCDEF")
"""A letter stands last, so that the ordinal that follows begins where the digits begin."""

_WORDS: Final = {
    "account": "ACCOUNT",
    "contact": "CONTACT",
    "national_id": "ID",
    "organisation": "ORG",
    "place": "PLACE",
    "bank_account": "ACCOUNT",
    "record_number": "RECORD",
    "date_of_birth": "DATE",
    "email": "EMAIL",
    "phone": "PHONE",
    "handle": "HANDLE",
    "iban": "IBAN",
    "ip": "IP",
    "mac": "MAC",
}
"""What a tagged surrogate says of its value: by kind, else by label."""

_GROUPED: Final = frozenset({"card", "account", "national_id"})
"""Labels whose values are the same however they are grouped."""

_ESCAPED: Final = re.compile(r'["\\\x00-\x1f]')
"""What JSON writes as escapes: a surrogate with such signs would not be the same at every depth."""

_WORDLIKE: Final = frozenset({"person", "place", "organisation", "address"})
"""Labels whose natural surrogates are words: they follow case and take endings."""


class Row(msgspec.Struct, frozen=True, gc=False):
    """One value and what stands for it.

    Attributes:
        original: As it was written where it was first met.
        surrogate: What the target reads.
        label, kind: What the value is.
        is_tagged: The surrogate is an opaque word; else it is a value of the same form.
        is_word: The surrogate is of words that may take another case or other signs between them; the original follows.
        is_part: A part of a name: replaced elsewhere only as it is written.
    """

    original: str
    surrogate: str
    label: str
    kind: str = ""
    is_tagged: bool = False
    is_word: bool = False
    is_part: bool = False


class Vault:
    """Gives each value its surrogate, in the order of first appearance.

    Attributes:
        rows: By what makes values the same.
        tag: What all tagged surrogates of this conversation share.
    """

    def __init__(self, style: Surrogates, dice: Dice, corpus: str) -> None:
        """Takes the whole text of the request, folded: no surrogate may occur in it."""
        self.rows: dict[str, Row] = {}
        self._style = style
        self._dice = dice
        self._corpus = corpus
        self._taken: set[str] = set()
        self._parts: dict[str, str] = {}
        self._counts: dict[str, int] = {}
        self.tag = self._choose_tag()

    def row(self, value: str, label: str, kind: str) -> Row:
        """The value's row; a new one where it is met for the first time.

        Raises:
            RefusalError: there are too many, or no surrogate for it.
        """
        key = self._key(value, label, kind)
        known = self.rows.get(key)
        if known is not None:
            return known
        if len(self.rows) >= ROWS_MAX:
            raise refused("too many values would be replaced")
        made = self._natural(value, label, kind) if self._style is Surrogates.NATURAL else None
        if made is None:
            row = Row(value, self._tagged(label, kind), label, kind, is_tagged=True)
        else:
            row = Row(value, made, label, kind, is_word=is_words(label, kind))
        self.rows[key] = row
        if label == "person" and is_words(label, kind):
            self._add_parts(row)
        return row

    def number(self, written: str, label: str) -> Row:
        """The row of a value that stands as a JSON number: another number of as many digits.

        Raises:
            RefusalError: it is not a whole number, or too short to be replaced by another one.
        """
        key = f"\x00{written}"
        known = self.rows.get(key)
        if known is not None:
            return known
        if not written.isdecimal() or not written.isascii() or len(written) < natural.NUMBER_DIGITS_MIN:
            raise refused("a number cannot be replaced with certainty")
        for attempt in range(ATTEMPTS_MAX):
            first = str(1 + self._dice.number(9, "number", written, attempt))
            surrogate = first + self._dice.digits(len(written) - 1, "digits", written, attempt)
            if self._is_free(surrogate):
                self._taken.add(surrogate)
                row = self.rows[key] = Row(written, surrogate, label, "number")
                return row
        raise refused("no surrogate is left for a number")

    def _choose_tag(self) -> str:
        """A tag that no word of the request's own text carries."""
        first = self._dice.number(len(_TAGS), "tag")
        for step in range(len(_TAGS)):
            tag = _TAGS[(first + step * 7) % len(_TAGS)]
            if re.search(rf"[a-z]_{tag.lower()}[0-9]", self._corpus) is None:
                return tag
        raise refused("the text holds words of every form that a surrogate could have")

    def _tagged(self, label: str, kind: str) -> str:
        word = _WORDS.get(kind) or _WORDS.get(label) or re.sub("[^A-Z]", "", label.upper())[:16] or "ITEM"
        count = self._counts[word] = self._counts.get(word, 0) + 1
        surrogate = f"{word}_{self.tag}{count}"
        self._taken.add(form(surrogate))
        return surrogate

    def _natural(self, value: str, label: str, kind: str) -> str | None:
        """A free value of the same kind; None where there is none to be had."""
        if label == "person" and is_words(label, kind):
            name = self._person(value)
            return None if _ESCAPED.search(name) else name
        for attempt in range(ATTEMPTS_MAX):
            made = natural.value(value, label, kind, self._dice, attempt)
            if made is None or len(made) > NATURAL_CHARS_MAX or _ESCAPED.search(made):
                return None
            # A number that another one's digits are would be the other one, once a model groups it anew.
            forms = {form(made), compact(made)} if is_grouped(label, kind) else {form(made)}
            if all(map(self._is_free, forms)):
                self._taken |= forms
                return made
        return None

    def _is_free(self, folded: str) -> bool:
        return folded not in self._taken and folded not in self._corpus

    def _person(self, value: str) -> str:
        """Another name of as many parts; each part has the same name wherever it stands."""
        kind = script(value)
        if kind in ("han", "hangul"):
            return self._name(value, kind)
        cut = pieces(value)
        last = max((at for at, (_, naming) in enumerate(cut) if naming), default=-1)
        if last < 0:
            return self._name(value, kind)
        has_given = sum(naming for _, naming in cut) > 1
        made = []
        for at, (piece, naming) in enumerate(cut):
            role = "surname" if at == last and has_given else "given"
            made.append(in_case_of(self._name(piece, f"{kind}.{role}"), piece) if naming else initial(piece))
        return "".join(made)

    def _name(self, part: str, role: str) -> str:
        """Another name for a part of a name: the same one wherever the part stands, and for no other part."""
        known = self._parts.get(part.lower())
        if known is not None:
            return known
        attempt = 0
        while True:
            made = choose(role, self._dice.number(1 << 40, "name", role, part.lower(), attempt), attempt)
            attempt += 1
            if self._is_free(form(made)):
                self._taken.add(form(made))
                self._parts[part.lower()] = made
                return made

    def _add_parts(self, row: Row) -> None:
        """Rows for the parts of a name that stand for it on their own, such as the surname."""
        parts = name_parts(row.original)
        if len(parts) < 2:
            return
        for part, letter in zip(parts, "ABCDEFGH", strict=False):
            key = self._key(part, "person", "person")
            if key in self.rows or len(part) < PART_CHARS_MIN or is_common(part):
                continue
            other = row.surrogate + letter if row.is_tagged else in_case_of(self._parts[part.lower()], part)
            self.rows[key] = Row(part, other, "person", "person", row.is_tagged, row.is_word, True)

    def _key(self, value: str, label: str, kind: str) -> str:
        """What makes two values the same."""
        if label == "secret":
            return value
        if is_grouped(label, kind):
            return compact(value)
        if self._style is Surrogates.NATURAL and is_words(label, kind):
            return form(value)
        return " ".join(value.lower().split())


def is_grouped(label: str, kind: str) -> bool:
    """Whether a value is the same however it is grouped: digits and letters count."""
    return label in _GROUPED or kind == "phone"


def compact(value: str) -> str:
    """A value's digits and letters."""
    return "".join(char for char in value.lower() if char.isalnum())


def is_words(label: str, kind: str) -> bool:
    """Whether a value is a name or an address: words, with what languages do to words."""
    return label in _WORDLIKE and kind != "date_of_birth"
