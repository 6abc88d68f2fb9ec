"""Forty-odd figures of a prompt that a person would also look at: length, symbols, script, code, task words.

They are counted with a handful of passes that run in C: one table look-up over the bytes, one split into words, set
intersections, and substring counts. No regular expression sees the whole text.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

HEAD_CHARS: Final = 1_200
TAIL_CHARS: Final = 800
"""What is looked at of a long prompt: its instructions stand at one of its ends. Precedent: RESEARCH-routing.md 3.5."""

FIGURE_MAX: Final = 8.0
"""Bound of every figure: one word of 2,000 letters is not a prompt a hundred times as long."""

_BYTE_CLASSES: Final = (
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZ",
    b"0123456789",
    b" \t",
    b"\n\r",
    b"?",
    b"!",
    b".",
    b",",
    b":;",
    b"()",
    b"[]{}",
    b"<>=|&~",
    b"+-*/^%",
    b"\\",
    b"$",
    b"_",
    b"\"'",
    b"`#@",
    bytes(range(0xC2, 0xCC)),  # letters with accents
    bytes(range(0xCC, 0xD6)),  # Greek, Cyrillic, Armenian
    bytes(range(0xD6, 0xE1)),  # Hebrew, Arabic, the scripts of India, Thai
    b"\xe2",  # dashes, quotes, mathematical symbols
    b"\xe1" + bytes(range(0xE3, 0xF0)),  # Chinese, Japanese, Korean
    bytes(range(0xF0, 0xF5)),  # pictures
)
_CLASSES: Final = len(_BYTE_CLASSES) + 1

_CUES: Final = {
    "when": "when year date century wann quand cuando",
    "who": "who whom whose person wer qui quien",
    "where": "where city country capital located wo ou donde",
    "which": "which following choose option correct best true false statement except welche lequel cual",
    "how_many": (
        "many much total each every per cost price percent half twice times remaining left altogether wieviel combien"
    ),
    "why": "why because reason explain cause warum pourquoi erklaere explique describe",
    "write": (
        "write essay story poem letter email blog article "
        "paragraph create compose draft generate schreibe redige escribe"
    ),
    "summary": "summarize summarise summary tldr shorten key points zusammenfassung resume",
    "translate": "translate translation english german french spanish chinese uebersetze traduis",
    "extract": "extract classify label category sentiment entities json csv table format list positive negative",
    "code": (
        "python function code def return class import javascript java sql bug implement program algorithm string array"
    ),
    "lists": "list lists tuple tuples dictionary elements sort integers given index sublist",
    "mathematics": (
        "prove find compute solve equation integer value sum product angle triangle polynomial probability let frac"
    ),
    "science": (
        "energy mass reaction compound atom electron temperature cell protein gene plant water species acid force"
    ),
    "law": "court law contract plaintiff defendant state act rights legal statute case liable",
    "medicine": "patient disease treatment blood symptoms diagnosis drug clinical doctor medical",
    "business": "company market firm price bank tax income cost investment management trade demand",
    "rewrite": "rewrite rephrase correct improve edit proofread fix grammar convert change",
    "chat": "hi hello thanks thank please you your can could would me my tell help want",
    "negation": "not no never none without except neither nor least unless cannot",
    "logic": "if then all some either must implies exactly only house clue clues assume therefore",
    "steps": "step steps think carefully reasoning explanation detailed answer final boxed question options",
    "function_words": "the of and to a in is that it for on as with was by at from this be are",
}
_CUE_OF: Final[dict[bytes, int]] = {}
for _index, _words in enumerate(_CUES.values()):
    for _word in _words.split():
        _CUE_OF.setdefault(_word.encode(), _index)
_CUE_WORDS: Final = frozenset(_CUE_OF)

_CODE: Final = (
    b"def ",
    b"return",
    b"import ",
    b"class ",
    b"();",
    b"print(",
    b"assert",
    b"```",
    b"</",
    b" = ",
    b"\n    ",
)
_OPTIONS: Final = (b"\nA", b"\nB", b"\nC", b"\nD", b"\n1", b"\n- ", b"\n(")

NAMES: Final = (
    "log_chars",
    "log_chars_above_5",
    "log_chars_above_7",
    "turns",
    "log_around",
    "has_more",
    "tools",
    "json",
    "words",
    "word_length",
    "word_spread",
    "word_longest",
    "long_words",
    "new_words",
    "numbers",
    "lines",
    "line_length",
    "questions",
    "ends_in_question",
    "ends_in_colon",
    "code",
    "code_log",
    "options",
    *(f"class_{index}" for index in range(_CLASSES - 1)),
    *(f"cue_{name}" for name in _CUES),
)
HAND: Final = len(NAMES)
"""Figures of one prompt."""

_table = np.zeros(256, np.uint8)
for _index, _members in enumerate(_BYTE_CLASSES, 1):
    _table[list(_members)] = _index
_TABLE: Final = bytes(_table)

_WORDS: Final = bytes(
    byte + 32 if 65 <= byte <= 90 else byte if byte >= 128 or chr(byte).isalnum() else 32 for byte in range(256)
)
"""Lower case, and a space for all that is no letter or digit."""


def cap(text: str) -> bytes:
    """The ends of a text, at most `HEAD_CHARS` + `TAIL_CHARS` characters, as UTF-8; lone surrogates become `?`."""
    if len(text) > HEAD_CHARS + TAIL_CHARS:
        text = text[:HEAD_CHARS] + "\n" + text[-TAIL_CHARS:]
    return text.encode("utf-8", "replace")


def words(data: bytes) -> list[bytes]:
    """Words of a capped text, in lower case (ASCII)."""
    return data.translate(_WORDS).split()


def look(data: bytes, found: Sequence[bytes], around: tuple[int, int, int, bool, bool]) -> npt.NDArray[np.float32]:
    """The figures of a prompt, float32 (HAND,); most lie in [0, 3].

    Args:
        data: What `cap` made of it.
        found: What `words` made of that.
        around: Characters of the prompt in full, of the rest of the conversation, messages; tools offered, JSON asked.
    """
    figures = _sizes(around)
    figures += _shape(data, found)
    counts = np.bincount(np.frombuffer(data.translate(_TABLE), np.uint8), minlength=_CLASSES)[1:]
    cues = [0] * len(_CUES)
    seen = _CUE_WORDS.intersection(found)
    for word in seen:
        cues[_CUE_OF[word]] += 1
    out = np.empty(HAND, np.float32)
    first = len(figures)
    out[:first] = figures
    out[first : first + _CLASSES - 1] = counts
    out[first + _CLASSES - 1 :] = cues
    tail = out[first:]
    tail[: _CLASSES - 1] *= 4.0 / (len(data) + 1.0)
    tail[_CLASSES - 1 :] *= 0.25
    np.sqrt(tail, out=tail)
    np.minimum(out, FIGURE_MAX, out=out)
    return out


def _sizes(around: tuple[int, int, int, bool, bool]) -> list[float]:
    """How much is asked, and around what."""
    chars, others, turns, has_tools, is_json = around
    length = math.log(chars + 1.0)
    return [
        length / 4.0,
        max(0.0, length - 5.0) / 2.0,
        max(0.0, length - 7.0) / 2.0,
        math.log(max(1, turns)),
        math.log(others + 1.0) / 4.0,
        float(others > 0),
        float(has_tools),
        float(is_json),
    ]


def _shape(data: bytes, found: Sequence[bytes]) -> list[float]:
    """Words, lines, code and options."""
    count = len(found)
    if count:
        lengths = np.fromiter(map(len, found), np.float64, count)
        mean = float(lengths.sum()) / count
        spread = math.sqrt(max(0.0, float(lengths @ lengths) / count - mean * mean))
        longest = float(lengths.max())
        long = float(np.count_nonzero(lengths > 8.0)) / count
        new = len(set(found)) / count
        numbers = sum(map(bytes.isdigit, found))
    else:
        mean = spread = longest = long = new = 0.0
        numbers = 0
    lines = data.count(b"\n") + 1
    code = sum(map(data.count, _CODE))
    end = data.rstrip()[-1:]
    return [
        math.log(count + 1.0) / 3.0,
        mean / 5.0,
        spread / 3.0,
        math.log(longest + 1.0) / 2.0,
        long * 3.0,
        new,
        math.log(numbers + 1.0),
        math.log(lines) / 2.0,
        math.log(len(data) / lines + 1.0) / 4.0,
        math.log(data.count(b"?") + 1.0),
        float(end == b"?"),
        float(end == b":"),
        float(code > 0),
        math.log(code + 1.0) / 2.0,
        math.log(sum(map(data.count, _OPTIONS)) + 1.0),
    ]
