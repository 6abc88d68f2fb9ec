"""Words by which an answer declines, or doubts itself, in a few languages. Pure.

Substrings and no regular expression: these are looked for in every answer, and fifty searches for a short string take a
tenth of the time that one pattern of fifty branches takes. Refusals are looked for at an answer's beginning only: later
on they are quoted more often than meant.
"""

from __future__ import annotations

from typing import Final

REFUSAL_CHARS: Final = 240
"""Of an answer's beginning that is read for a refusal."""

HEDGE_CHARS: Final = 2_048

_CANNOT: Final = (
    "i can't ", "i cannot ", "i can not ", "i'm unable to ", "i am unable to ", "i'm not able to ",
    "i am not able to ", "i won't ", "i will not ", "i must decline to ",
)  # fmt: skip  # a list of words reads best unwrapped
_DO: Final = (
    "help", "assist", "answer", "provide", "comply", "fulfil", "do that", "do this", "discuss", "access", "create",
    "generate", "give you", "offer", "support", "share", "write", "engage", "browse", "open", "see ", "view", "process",
)  # fmt: skip  # as above
_DECLINES: Final = (
    "as an ai language model", "as a language model", "i don't have access to", "i do not have access to",
    "i don't have the ability", "i do not have the ability", "ich kann dir dabei nicht", "ich kann ihnen dabei nicht",
    "ich kann dabei nicht", "ich kann das nicht", "ich kann das leider nicht", "ich kann diese anfrage nicht",
    "je ne peux pas vous aider", "je ne peux pas t'aider", "je ne peux pas répondre", "je ne peux pas fournir",
    "je ne suis pas en mesure", "no puedo ayudar", "no puedo responder", "no puedo proporcionar", "no puedo cumplir",
    "non posso aiutar", "non posso rispondere", "non posso fornire", "não posso ajudar", "não posso responder",
    "não posso fornecer", "я не могу помочь", "я не могу ответить", "я не могу предоставить", "我无法", "我不能提供",
    "我不能帮助", "我不能回答", "我不能协助", "お答えできません", "お手伝いできません", "対応できません",
)  # fmt: skip  # as above
_SORRY: Final = (
    ("i'm sorry", "i am sorry", "i'm afraid", "i apologize", "my apologies", "sorry, "),
    ("es tut mir leid", "tut mir leid"), ("je suis désolé",), ("lo siento",), ("mi dispiace",),
    ("desculpe", "sinto muito", "lamento"), ("извините", "к сожалению"), ("抱歉", "对不起", "很遗憾"),
    ("申し訳ありません", "申し訳ございません"), ("죄송",), ("آسف", "أعتذر", "عذرا"),
)  # fmt: skip  # as above
_NOT: Final = (
    ("i can't", "i cannot", "i can not", "unable to", "not able to", "i won't", "i don't have", "i do not have"),
    (" kann ich ", " ich kann ", " darf ich "), (" ne peux pas", " ne suis pas "), (" no puedo ", " no tengo acceso"),
    (" non posso ", " non sono in grado"), (" não posso ", " não consigo "), (" не могу ",),
    ("无法", "不能", "没有办法"), ("できません", "できかねます"), ("없습니다", "어렵습니다"),
    ("لا يمكنني", "لا أستطيع"),
)  # fmt: skip  # as above
"""An excuse counts with a 'cannot' of its own language behind it: 'I am sorry for your loss' declines nothing."""

_EXCUSES: Final = tuple(zip(_SORRY, _NOT, strict=True))

_DOUBTS: Final = (
    " i think", " i believe", " i guess", " i suppose", " i assume", " not sure", " not certain", " might be",
    " may be", " could be", " perhaps", " maybe", " possibly", " probably", " presumably", " it seems", " it appears",
    " it depends", " unclear", " don't know", " do not know", " vielleicht", " möglicherweise", " wahrscheinlich",
    " vermutlich", " ich glaube", " ich denke", " weiß nicht", " peut-être", " probablement", " je crois", " je pense",
    " quizás", " tal vez", " probablemente", " creo que", " no estoy segur", " forse ", " probabilmente", " credo che",
    " talvez", " provavelmente", " acho que", " возможно", " наверное", " вероятно", " не уверен",
    "也许", "可能", "大概", "或许", "不确定", "かもしれません", "おそらく", "たぶん", "아마",
)  # fmt: skip  # as above


def refuses(text: str) -> bool:
    """Whether a text begins by declining."""
    head = text[:REFUSAL_CHARS].casefold().replace("’", "'")
    for subject in _CANNOT:
        at = head.find(subject)
        if at >= 0 and head.startswith(_DO, at + len(subject)):
            return True
    for phrase in _DECLINES:
        if phrase in head:
            return True
    for sorry, cannot in _EXCUSES:
        if any(phrase in head for phrase in sorry) and any(phrase in head for phrase in cannot):
            return True
    return False


def hedges(text: str) -> int:
    """How often a text doubts itself, in its first `HEDGE_CHARS` characters."""
    head = " " + text[:HEDGE_CHARS].casefold().replace("’", "'").replace("\n", " ")
    doubts = 0
    for phrase in _DOUBTS:
        # `in` is the quicker question, and the answer is nearly always no.
        if phrase in head:
            doubts += head.count(phrase)
    return doubts
