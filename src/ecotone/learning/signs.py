"""Signs of an answer: what the edge's own answer says of how good it is. Pure, without a model.

Measured (RESEARCH-routing.md, 3.4): the strongest evidence there is. Nothing here says that an answer is good or bad;
the learner finds out which sign means what at this site, so that a sign only has to say the same of the same answer.
"""

from __future__ import annotations

import math
import re
import unicodedata
import zlib
from collections import Counter
from collections.abc import Sequence
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from ecotone.values.agreeing import answer_key
from ecotone.values.json_schema import violation
from ecotone.values.normal import marked, offers, option, said
from ecotone.values.phrases import hedges, refuses
from ecotone.values.quality import Question, Reply
from ecotone.values.quantity import quantity
from ecotone.values.structure import code_in, has_json, json_in, parses

CHARS_MAX: Final = 1_024
"""Of an answer's beginning and of its end each, that are read word by word; what lies between is not."""

CODE_CHARS_MAX: Final = 2_048
"""Of a piece of code that is parsed; more would cost a millisecond."""

UNSURE_NATS: Final = 0.6931
"""A token less likely than one half."""

LOW: Final = -10.0
"""Below it, all log probabilities say the same: the model did not expect this token."""

MARGIN_MAX: Final = 10.0

NAMES: Final = (
    "has_logprobs",  # 1 where they came; the next five are 0 where they did not
    "logprob_mean",
    "logprob_min",
    "logprob_p10",
    "logprob_first",
    "unsure_share",  # tokens less likely than one half
    "has_margins",
    "margin_mean",
    "margin_p10",
    "margin_min",
    "tokens_log",  # log(1 + tokens), estimated where the target does not say
    "length_ratio_log",  # log of the answer's characters per character asked
    "is_short",  # at most three words
    "is_empty",
    "is_cut",  # by the limit on tokens, or by a filter
    "ends_open",  # without a mark that ends a sentence, a block or an object
    "refuses",
    "hedges",  # doubts per 1 + log of its words
    "repeats",  # share of its 4-grams of words that stood there before
    "compression",  # bytes after zlib over bytes before; little = it repeats itself
    "echo",  # share of its words that the question has as well
    "script_differs",  # most letters are of another script than the question's
    "form_asked",
    "form_kept",  # JSON was asked for and given, by its schema
    "calls",  # it calls tools
    "calls_sound",  # all of them are offered, with arguments that are JSON
    "is_marked",  # it marks its answer: `The answer is X`, a box, `#### X`
    "has_number",  # it comes to a number
    "picks_option",  # 1 where options are offered and it picks one, -1 where it does not, 0 where none are
    "has_code",
    "code_parses",  # 1 yes, -1 no, 0 nobody can tell
)
"""What each number of `signs` is."""

AGREEMENT_NAMES: Final = ("has_others", "agree_share", "is_majority", "kinds")
"""What each number of `agreement` is: others were asked; the share of them that comes to the same answer; no other
answer is more frequent; different answers per answer."""

_WORD: Final = re.compile(r"\w+")
_ENDS: Final = (".", "!", "?", "}", "]", ")", "`", '"', "”", "»", "。", "!", "?", "…", ":", "|", "*", "$", "؟", "।")


def signs(question: Question, reply: Reply) -> NDArray[np.float64]:
    """The signs of one answer, in the order of `NAMES`: shape (31,), every number finite and within a few tens.

    At most 300 µs at the median on one core (answers of 150 tokens with log probabilities).
    """
    text = said(reply.text)
    read = text if len(text) <= 2 * CHARS_MAX else text[:CHARS_MAX] + text[-CHARS_MAX:]
    words = _WORD.findall(read.casefold())
    row = [
        *_chances(reply),
        *_size(question, reply, text, words),
        *_manner(question, reply, read, words),
        *_form(question, reply, text),
        *_substance(question, read, text),
    ]
    return np.array(row, dtype=np.float64)


def agreement(reply: Reply, others: Sequence[Reply]) -> NDArray[np.float64]:
    """How far further answers to the same question agree, in the order of `AGREEMENT_NAMES`: shape (4,).

    Two answers agree where they come to the same (`values.agreeing`), so that this says much of short exact answers and
    nothing of prose.

    Args:
        others: Further samples of the model, or answers of a second one; none gives zeros.
    """
    if not others:
        return np.zeros(len(AGREEMENT_NAMES))
    own = answer_key(reply.text)
    keys = [answer_key(other.text) for other in others]
    counted = Counter([own, *keys])
    is_majority = bool(own) and counted[own] == max(counted.values())
    share = keys.count(own) / len(keys) if own else 0.0
    return np.array([1.0, share, float(is_majority), len(counted) / (1 + len(keys))])


def _chances(reply: Reply) -> list[float]:
    """From `has_logprobs` to `margin_min`."""
    row = [0.0] * 10
    if reply.logprobs:
        known = np.maximum(np.array(reply.logprobs), LOW)
        tenth = np.partition(known, len(known) // 10)[len(known) // 10]
        unsure = np.count_nonzero(known < -UNSURE_NATS) / len(known)
        row[:6] = [1.0, float(known.mean()), float(known.min()), float(tenth), float(known[0]), unsure]
    if reply.margins:
        ahead = np.minimum(np.array(reply.margins), MARGIN_MAX)
        tenth = np.partition(ahead, len(ahead) // 10)[len(ahead) // 10]
        row[6:] = [1.0, float(ahead.mean()), float(tenth), float(ahead.min())]
    return row


def _size(question: Question, reply: Reply, text: str, words: list[str]) -> list[float]:
    """From `tokens_log` to `ends_open`."""
    tokens = reply.tokens or len(text) / 4
    stripped = text.rstrip()
    return [
        math.log1p(tokens),
        math.log((len(text) + 1) / (len(question.asked) + 1)),
        float(0 < len(words) <= 3),
        float(not stripped and not reply.calls),
        float(reply.finish in ("length", "content_filter")),
        float(bool(stripped) and not stripped.endswith(_ENDS)),
    ]


def _manner(question: Question, reply: Reply, read: str, words: list[str]) -> list[float]:
    """From `refuses` to `script_differs`."""
    raw = read.encode("utf-8", "replace")
    packed = min(1.5, len(zlib.compress(raw, 1)) / len(raw)) if raw else 1.0
    asked = set(_WORD.findall(question.asked[:CHARS_MAX].casefold()))
    kinds = set(words)
    return [
        float(reply.is_refusal or refuses(read)),
        hedges(read) / (1 + math.log1p(len(words))),
        _repeats(words),
        packed,
        len(kinds & asked) / len(kinds) if kinds else 0.0,
        float(_script(read) != _script(question.asked) and bool(words)),
    ]


def _repeats(words: list[str]) -> float:
    if len(words) < 5:
        return 0.0
    grams = list(zip(words, words[1:], words[2:], words[3:], strict=False))
    return 1.0 - len(set(grams)) / len(grams)


def _script(text: str) -> str:
    """The script of most letters, by the first word of their Unicode names: `LATIN`, `CJK`; `''` without letters."""
    head = text[:160]
    if head.isascii():
        return "LATIN"
    counted = Counter(unicodedata.name(char, "").partition(" ")[0] for char in head if char.isalpha())
    return counted.most_common(1)[0][0] if counted else "LATIN"


def _form(question: Question, reply: Reply, text: str) -> list[float]:
    """From `form_asked` to `calls_sound`."""
    is_kept = bool(question.form) and _keeps(question, text)
    sound = bool(reply.calls) and all(
        (not question.tools or name in question.tools) and has_json(json_in(arguments or "{}", is_strict=True))
        for name, arguments in reply.calls
    )
    return [float(bool(question.form)), float(is_kept), float(bool(reply.calls)), float(sound)]


def _keeps(question: Question, text: str) -> bool:
    value = json_in(text, is_strict=True)
    if not has_json(value):
        return False
    if not question.schema:
        return question.form != "json_object" or isinstance(value, dict)
    try:
        return violation(msgspec.json.decode(question.schema), value) is None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return True


def _substance(question: Question, read: str, text: str) -> list[float]:
    """From `is_marked` to `code_parses`."""
    picks = 0.0
    if offers(question.asked[:CHARS_MAX]):
        picks = 1.0 if option(read) else -1.0
    pieces = code_in(text)
    known = [parses(piece) for piece in pieces if len(piece.text) <= CODE_CHARS_MAX]
    parse = -1.0 if False in known else float(True in known)
    return [float(bool(marked(read))), float(quantity(read) is not None), picks, float(bool(pieces)), parse]
