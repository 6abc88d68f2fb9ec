"""Parts of names, and other names for them. Pure."""

from __future__ import annotations

import re
from typing import Final

from ecotone.pseudonyms.wordlists import (
    COMMON,
    CYRILLIC_GIVEN,
    CYRILLIC_SURNAMES,
    GIVEN,
    HAN_GIVEN,
    HAN_SURNAMES,
    HANGUL_NAMES,
    PARTICLES,
    SURNAMES,
    SYLLABLES,
    TITLES,
)

_WORD: Final = re.compile(r"[^\W\d_]+(?:['’.\-][^\W\d_]+)*\.?")
_SIGNS: Final = re.compile(r"[\s_\-\u2010-\u2015]+")
_HAN: Final = re.compile("[\u3400-\u9fff\uf900-\ufaff\u3040-\u30ff]")
_CYRILLIC: Final = re.compile("[\u0400-\u052f]")
_HANGUL: Final = re.compile("[\uac00-\ud7af]")


INVENT_FROM: Final = 12
"""After so many names that are taken, one is invented."""


def is_common(word: str) -> bool:
    """Whether a name is an ordinary word too."""
    return word.lower() in COMMON


def script(value: str) -> str:
    """`han`, `hangul`, `cyrillic` or `latin`, which stands for all others."""
    for name, pattern in (("hangul", _HANGUL), ("han", _HAN), ("cyrillic", _CYRILLIC)):
        if pattern.search(value):
            return name
    return "latin"


def pieces(value: str) -> list[tuple[str, bool]]:
    """A name cut into pieces, each with whether it is a word that names: no title, no initial, no `von`."""
    cut: list[tuple[str, bool]] = []
    at = 0
    for found in _WORD.finditer(value):
        if found.start() > at:
            cut.append((value[at : found.start()], False))
        word = found[0].rstrip(".")
        naming = len(word) > 1 and word.lower() not in TITLES and word.lower() not in PARTICLES
        cut.append((word, naming))
        at = found.start() + len(word)
    if at < len(value):
        cut.append((value[at:], False))
    return cut


def name_parts(value: str) -> list[str]:
    """The words of a name that may stand for it by themselves; none where the script sets no blanks."""
    if script(value) in ("han", "hangul"):
        return []
    return [word for word, naming in pieces(value) if naming]


def invented(number: int) -> str:
    """A name that nobody has, for when the lists are used up."""
    made = ""
    for _ in range(4):
        number, at = divmod(number, len(SYLLABLES))
        made += SYLLABLES[at]
    return made.capitalize() + "n"


def in_case_of(made: str, written: str) -> str:
    """A word in the case of another one."""
    if written.isupper() and len(written) > 1:
        return made.upper()
    return made.lower() if written.islower() else made


def dressed(made: str, model: str, written: str) -> str:
    """What stands for `model`, as `written` differs from it: all capitals, all small, other signs between the words."""
    if written == model:
        return made
    if (written.isupper() and not model.isupper()) or (written.islower() and not model.islower()):
        made = in_case_of(made, written)
    signs = _SIGNS.findall(written)
    if "\\" in written or signs == _SIGNS.findall(model) or len(signs) != len(_SIGNS.findall(made)):
        return made
    left = iter(signs)
    return _SIGNS.sub(lambda _: next(left), made)


_LISTS: Final = {
    "latin.given": GIVEN,
    "latin.surname": SURNAMES,
    "cyrillic.given": CYRILLIC_GIVEN,
    "cyrillic.surname": CYRILLIC_SURNAMES,
    "hangul": HANGUL_NAMES,
    "latin": GIVEN,
    "cyrillic": CYRILLIC_GIVEN,
}


def choose(role: str, number: int, attempt: int) -> str:
    """A name for a role, by a number; after some attempts an invented one."""
    if attempt >= INVENT_FROM:
        return invented(number)
    if role == "han":
        number, at = divmod(number, len(HAN_SURNAMES))
        return HAN_SURNAMES[at] + HAN_GIVEN[number % len(HAN_GIVEN)]
    names = _LISTS[role]
    return names[number % len(names)]


def initial(piece: str) -> str:
    """What stands for a piece that names nobody by itself: another initial for an initial, all else as it is."""
    if len(piece) == 1 and piece.isascii() and piece.isalpha():
        return "X" if piece.isupper() else "x"
    return piece
