"""What a text says once its clothes are off: case, punctuation, markdown, and the words around an answer. Pure.

Two rooms need the same answer to 'do these say the same': `checking`, which compares answers, and `learning`, whose
signs ask whether several answers of one model agree.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

CHARS_MAX: Final = 16_384
"""Of a text that is normalised; what is longer is no short exact answer and is compared by other means."""

ANSWER_CHARS_MAX: Final = 400
"""Of an answer that stands behind a mark. What is longer is an explanation."""

_THOUGHT: Final = re.compile(r"\A\s*<think(?:ing)?>.*?(?:</think(?:ing)?>|\Z)", re.DOTALL | re.IGNORECASE)
_LINK: Final = re.compile(r"\[([^\[\]]{1,200})\]\([^()\s]{1,400}\)")
_FRONT: Final = re.compile(r"^[ \t]{0,8}(?:#{1,6}|>|[*+-])[ \t]+", re.MULTILINE)
"""Marks at the front of a line: heading, quotation, item of a list."""

_LATEX: Final = re.compile(r"\\(?:text|mathrm|mathbf|textbf|operatorname)\s*\{([^{}]*)\}|\\[,;:! ]|\\(?:left|right)\b")
_DASHES: Final = str.maketrans(dict.fromkeys("‐‑‒–—−", "-"))
_GROUPED: Final = re.compile(r"(?<=\d)[,'’   ](?=\d{3}(?!\d))")
_PUNCTUATION: Final = re.compile(
    r"[.,:](?!\d)|(?<!\d)[,:]"  # inside a number they stay
    r"|[*/&@](?!\w)|(?<!\w)[*/&@]"  # inside a word or a term they stay
    r"|-(?!\d)|(?<=[^\W\d])-(?=\d)"  # a sign of a number stays
    r"|(?<!\w)#|(?<!\d)%"
)
_JOINED: Final = str.maketrans("", "", "'\"`‘’‚‛“”„‟«»‹›´_~$\\")
_APART: Final = str.maketrans(dict.fromkeys("!?;()[]{}|", " "))
_ARTICLE: Final = re.compile(r"\b(?:a|an|the)\s+(?=\S)")
_ARTICLE_FIRST: Final = re.compile(
    r"\A(?:der|die|das|ein|eine|le|la|les|un|une|el|los|las|una|il|lo|o|os|as|um|uma)\s+"
)
_TERM: Final = re.compile(r"(?<=\w)[ \t]+([-+=<>^*/])[ \t]+(?=[\w(-])|(?<=\d)[ \t]+(?=%)")

_IS: Final = re.compile(r"[\s*_]*(?:is|are|would be|ist|lautet|est|es|è|é|:|=)[ \t*_]*:?[ \t*_]*\n?[ \t]*(?=\S)")
_COLON: Final = re.compile(r"\s*(?:[:::—=-]|是|为|為)[ \t]*\n?[ \t]*(?=\S)")
_BLANK: Final = re.compile(r"[ \t]*:?[ \t]*\n?[ \t]*(?=\S)")
_MARKS: Final = (
    ("answer", _IS), ("option", _IS), ("choice", _IS), ("result", _IS), ("solution", _IS), ("antwort", _IS),
    ("lösung", _IS), ("ergebnis", _IS), ("réponse", _IS), ("respuesta", _IS), ("respuesta correcta", _IS),
    ("solución", _IS), ("risposta", _IS), ("risposta corretta", _IS), ("resposta", _IS), ("resposta correta", _IS),
    ("ответ", _COLON), ("答案", _COLON), ("答えは", _BLANK), ("정답은", _BLANK), ("####", _BLANK),
)  # fmt: skip  # a list of words reads best unwrapped
"""A word, and what must stand between it and the answer. Found as substrings first: one pattern of all these branches
takes a hundred times as long."""

_TRIES_MAX: Final = 8
"""Places of one word that are looked at, from the end."""

_TAGGED: Final = re.compile(r"<answer>\s*(.{1,400}?)\s*</answer>", re.DOTALL | re.IGNORECASE)
_SENTENCE: Final = re.compile(r"(?:[.!?](?=\s+\S)|[。!?])|\n")
_OPTION: Final = re.compile(
    r"\A(?i:option|choice|answer|antwort|réponse|respuesta|вариант|选项)?[\s:(\[]*"
    r"(?!A\s+(?!is\b|because\b|since\b)[a-z])([A-J])(?:[\s).\]:,-]|\Z)"
)
_OFFER: Final = re.compile(r"(?:^|[\n(\s])\(?([A-J])[).:\]]\s*\S")


def said(text: str) -> str:
    """The text without the thoughts that some models write before it."""
    return _THOUGHT.sub("", text, count=1) if text.lstrip()[:6].lower() == "<think" else text


def normalised(text: str) -> str:
    """The text in small letters and single spaces, without punctuation, quotes, markdown and articles.

    Numbers keep their signs, points and percents, terms their operators: `-5`, `3.5`, `50%`, `x+1`, `c++`, `2/3`.
    Grouping of thousands goes. At most `CHARS_MAX` characters are read.
    """
    text = text[:CHARS_MAX]
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text).translate(_DASHES)
    text = _LATEX.sub(r"\1", _FRONT.sub("", _LINK.sub(r"\1", text)))
    text = _TERM.sub(r"\1", text.casefold().translate(_JOINED)).translate(_APART)
    text = _PUNCTUATION.sub(" ", _GROUPED.sub("", text))
    if not text.isascii():
        text = _plain(text)
    return _ARTICLE_FIRST.sub("", " ".join(_ARTICLE.sub("", text).split()))


def marked(text: str) -> str:
    r"""The part of a text that it marks as its answer, or `''`: `\boxed{}`, `#### X`, `The answer is X`, `<answer>`.

    The last mark counts: an answer that was thought over stands last.
    """
    boxed = _boxed(text)
    if boxed:
        return boxed
    tagged = _TAGGED.findall(text) if "</" in text else ()
    if tagged:
        return str(tagged[-1])
    end = _mark_end(text)
    if not end:
        return ""
    rest = text[end : end + ANSWER_CHARS_MAX].lstrip(' *_`"“')
    stop = _SENTENCE.search(rest)
    return (rest[: stop.start()] if stop else rest).strip(' *_`"”.')


def option(text: str) -> str:
    """The letter that a text picks (`(B)`, `B.`, `Option B`, `**B**: because`), or `''`.

    Means something only where the question offers options: see `offers`.
    """
    answer = (marked(text) or text).strip().lstrip("*_`\"'“ ")
    found = _OPTION.match(answer.replace("**", "").replace("\\text", "").replace("{", "(").replace("}", ")"))
    return found[1] if found else ""


def offers(asked: str) -> bool:
    """Whether a question lists options by letters: at least A and B, each with a text behind it."""
    letters = set(_OFFER.findall(asked))
    return "A" in letters and "B" in letters


def _mark_end(text: str) -> int:
    """Where the last mark of an answer ends; 0 without one."""
    low = text.lower()
    if len(low) != len(text):
        # A few letters grow when they are made small, and then places differ.
        low = text
    end = 0
    for word, link in _MARKS:
        at = len(low)
        for _ in range(_TRIES_MAX):
            at = low.rfind(word, 0, at)
            if at < 0:
                break
            found = link.match(low, at + len(word))
            if found is not None and not low[max(0, at - 1) : at].isalpha():
                end = max(end, found.end())
                break
    return end


def _boxed(text: str) -> str:
    r"""What stands in the last `\boxed{}` whose braces are closed."""
    at = text.rfind("\\boxed{")
    if at < 0:
        return ""
    depth, start = 1, at + len("\\boxed{")
    for end in range(start, min(len(text), start + ANSWER_CHARS_MAX)):
        depth += (text[end] == "{") - (text[end] == "}")
        if depth == 0:
            return text[start:end].strip()
    return ""


def _plain(text: str) -> str:
    """Without what Unicode calls punctuation; marks that belong to a letter stay."""
    strange = {char for char in set(text) if char > "\x7f" and unicodedata.category(char)[0] in "PZC"}
    return text.translate(dict.fromkeys(map(ord, strange), " ")) if strange else text
