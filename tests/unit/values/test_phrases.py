"""Words by which an answer declines, or doubts itself."""

from __future__ import annotations

import pytest

from ecotone.values.phrases import REFUSAL_CHARS, hedges, refuses


@pytest.mark.parametrize(
    "text",
    [
        "I'm sorry, but I can’t help with that.",
        "I cannot assist you.",
        "My apologies, but I cannot.",
        "As an AI language model, I have no feelings.",
        "I don't have access to the internet.",
        "Es tut mir leid, aber das kann ich nicht.",
        "Je suis désolé, mais je ne peux pas.",
        "Lo siento, pero no puedo hacer eso.",
        "Я не могу помочь с этим.",
        "对不起，我无法回答。",
        "申し訳ありませんが、お手伝いできません。",
        "죄송합니다. 도와드릴 수 없습니다.",
        "عذرا، لا يمكنني ذلك",
    ],
)
def test_answers_that_decline(text: str) -> None:
    assert refuses(text)


@pytest.mark.parametrize(
    "text",
    [
        "I am sorry for your loss.",
        "I can't believe how good this is.",
        "Sorry, the shop is closed today.",
        "Paris.",
        "",
        "x" * REFUSAL_CHARS + "I cannot help you.",
    ],
)
def test_answers_that_do_not(text: str) -> None:
    assert not refuses(text)


def test_doubts_are_counted() -> None:
    assert hedges("I think it is Paris. Perhaps\nmaybe Rome.") == 3
    assert hedges("可能是巴黎") == 1
    assert hedges("It is Paris.") == 0
