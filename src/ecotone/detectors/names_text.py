"""A text cut up for the detector `names`: scripts, prose apart from code, and a guess at the language."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

import msgspec
import re2

CHUNK_CHARS: Final = 900
"""A model sees at most so much at once; a chunk ends with a line, or with a sentence where a line is longer."""

LINE_CHARS: Final = 300
"""Of a line, as much is looked at to tell code from prose."""

HAN: Final = re2.compile(r"\p{Han}")
HAN_WORD: Final = re2.compile(r"\p{Han}{2,}")
OTHER: Final = re2.compile(
    r"(\p{Cyrillic}{3,})|([\p{Hiragana}\p{Katakana}ー]{2,})|(\p{Hangul}{2,})|(\p{Arabic}{3,})|(\p{Hebrew}{3,})"
    r"|(\p{Greek}{3,})|([\p{Devanagari}\p{Bengali}\p{Tamil}\p{Telugu}\p{Gujarati}]{2,})|(\p{Thai}{3,})"
    r"|([\p{Armenian}\p{Georgian}\p{Khmer}\p{Lao}\p{Myanmar}\p{Ethiopic}\p{Sinhala}]{2,})"
)
SCRIPTS: Final = ("cyrillic", "ja", "ko", "arabic", "hebrew", "greek", "indic", "thai", "other")

_STARTS: Final = (
    r"def |class \w+\W|import \w|from [\w.]+ import|return\b|@\w+|#include|public |private |const |let \w|var \w"
    r"|function\b|func |fn |if ?\(|for ?\(|while ?\(|elif |try:|except\b|>>>|\$ |//|/\*|\*/|</?[a-z!]"
    r"|SELECT\b|INSERT\b"
    r"|UPDATE\b|CREATE\b|[\]})]+[;,]?\s*$"
)
_CODE: Final = re2.compile(
    rf"^\s*(?:{_STARTS})"
    r"|[{;]\s*$|==|!=|=>|->|::|&&|\|\||\+\+|\w\(\)|\w\[\w*\]|\w\.\w+\(|\w_\w.*[(=]|\)\s*:\s*$|</\w|\s=\s.*[(\[\"'{]"
)
_STRONG: Final = re2.compile(
    r"(?m)^\s*(?:def \w+\(|class \w+[:(]|import \w+|from \w[\w.]* import|#include|function \w+\(|>>> )"
)
_FENCE: Final = re.compile(r"^\s*(?:```|~~~)")
_SENTENCE: Final = re.compile(r"(?<=[.!?;])\s+")
_WORD: Final = re.compile(r"[^\W\d_]+")

# Small words of one language only; a letter that English does not have counts as one.
_STOP: Final = {
    "en": "the and of to that for you it with on are this be have my your not or from we what a i if can would should"
    " has had were will his her their they he she but there about which who how when where do does did",
    "de": "der die das und ist nicht ich sie mit für auf den dem ein eine einen einem einer eines im zu von wir bitte"
    " wird sich auch des wurde wurden bei nach aus zum zur über oder aber wie nur noch am um vom durch ihr sind hat",
    "fr": "le la les et est des une dans pour que vous je il pas sur avec au aux ce cette qui du nous votre mon sont"
    " été mais ou par plus elle ne se son ses leur",
    "es": "el los las y es que en por para con una se su mi como pero más está al usted lo un sus fue muy o ha no le"
    " este esta tengo",
    "it": "il gli e che di per con una del della non sono un mi alla nel dal ho suo si come più questo questa anche ha"
    " le da ma della delle",
    "nl": "het een en niet ik je met voor op dat zijn wij aan uw mijn bij ook naar om wordt deze heeft maar van dit nog"
    " er",
}
_EXTRA: Final = {
    "de": re.compile("[äöüß]"), "fr": re.compile("[àâçèêëîïôùûœ]"), "es": re.compile("[ñ¿¡áíóú]"),
    "it": re.compile("[àèìòù]"), "nl": re.compile("ij"),
}  # fmt: skip


def _own(language: str) -> frozenset[str]:
    others = {word for name, words in _STOP.items() if name != language for word in words.split()}
    return frozenset(_STOP[language].split()) - others


STOPS: Final = {name: _own(name) for name in _STOP}


class Entity(msgspec.Struct, frozen=True):
    """What a model saw, offsets into the text."""

    label: str
    start: int
    end: int
    confidence: float


class Chunk(msgspec.Struct, frozen=True):
    """Part of a text.

    Attributes:
        start: Where it starts in the text.
        language: Of `en de fr es it nl`; `en` where nothing speaks for another.
    """

    text: str
    start: int
    language: str


def language(text: str) -> str:
    """The language that most of the text's small words belong to; `en` where nothing speaks for another."""
    words = [word.lower() for word in _WORD.findall(text)]
    counts = {name: sum(word in stops for word in words) for name, stops in STOPS.items()}
    if not text.isascii():
        for name, letters in _EXTRA.items():
            counts[name] += min(2, sum(1 for word in words if letters.search(word) and word.islower()))
    best = max(counts, key=lambda name: counts[name])
    return best if counts[best] > counts["en"] else "en"


def prose(text: str) -> Iterator[Chunk]:
    """What of the text is written for people, in chunks: no code, nothing in fences, nothing without a capital."""
    is_code_text = bool(_STRONG.search(text))
    parts: list[str] = []
    start, size = 0, 0
    for at, line, is_prose in _lines(text, is_code_text):
        if parts and (not is_prose or size + len(line) > CHUNK_CHARS):
            yield from _chunk("".join(parts), start)
            parts, size = [], 0
        if is_prose:
            if not parts:
                start = at
            parts.append(line)
            size += len(line)
    if parts:
        yield from _chunk("".join(parts), start)


def is_code(line: str) -> bool:
    """Whether a line looks like code, a command or markup rather than a sentence."""
    return bool(_CODE.search(line[:LINE_CHARS]))


def other_scripts(text: str) -> list[str]:
    """Scripts in the text, other than Latin and Han, that hold words."""
    if text.isascii():
        return []
    return sorted({SCRIPTS[match.lastindex - 1] for match in OTHER.finditer(text) if match.lastindex})


def _chunk(text: str, start: int) -> Iterator[Chunk]:
    if text.islower() or not any(char.isupper() for char in text):
        return
    yield Chunk(text, start, language(text))


def _lines(text: str, is_code_text: bool) -> Iterator[tuple[int, str, bool]]:
    """(start, line with its end, whether it is prose); very long lines in pieces."""
    at, is_fenced = 0, False
    for line in text.splitlines(keepends=True):
        if _FENCE.match(line):
            is_fenced = not is_fenced
            yield at, line, False
        else:
            is_prose = not (is_fenced or (is_code_text and line[:1].isspace()) or is_code(line))
            for offset, piece in _pieces(line):
                yield at + offset, piece, is_prose
        at += len(line)


def _pieces(line: str) -> Iterator[tuple[int, str]]:
    if len(line) <= CHUNK_CHARS:
        yield 0, line
        return
    start = 0
    ends = [match.end() for match in _SENTENCE.finditer(line)] + [len(line)]
    for index, end in enumerate(ends):
        is_last = index + 1 == len(ends)
        if is_last or ends[index + 1] - start > CHUNK_CHARS:
            for cut in range(start, end, CHUNK_CHARS):
                yield cut, line[cut : min(cut + CHUNK_CHARS, end)]
            start = end
