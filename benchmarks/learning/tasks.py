"""The traffic: small applications, each with a prompt of its own, items without end, and the right answer by code.

An item is built from its parts, so the right answer is known and no two runs need the same items. What a person would
call an easy task for a small model is among them, and what is none; nothing here is told to the site.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

MODEL = "assistant"


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


_PEOPLE = _words(
    "Anna Ben Carla David Elena Felix Greta Hugo Irene Jonas Karla Leo Maria Nina Oscar Paula Robert "
    "Sofia Tomas Vera Walter Yara Albert Beatrice Conrad Diana Edgar Flora Georg Helena Igor Julia Kevin "
    "Lara Martin Nora Otto Petra"
)
_CITIES = _words(
    "Paris London Berlin Madrid Rome Vienna Dublin Lisbon Oslo Prague Warsaw Athens Milan Geneva Hamburg "
    "Boston Chicago Denver Seattle Toronto Sydney Tokyo Cairo Mumbai Delhi Moscow Zurich Munich Naples "
    "Porto"
)
_THINGS = _words(
    "blender kettle lamp backpack headphones keyboard jacket tent mattress chair watch camera phone "
    "printer heater toaster mug bicycle speaker desk"
)
_GOOD = (
    "works perfectly and looks beautiful",
    "is the best one I ever had",
    "is wonderful, I love it",
    "arrived early and is a joy to use",
    "is excellent and worth every cent",
    "makes me happy every day, great quality",
    "is fantastic, highly recommended",
    "is superb, five stars",
)
_BAD = (
    "broke after two days",
    "is a terrible waste of money",
    "is awful and I hate it",
    "stopped working and nobody helps",
    "is the worst one I ever had",
    "was damaged and smells horrible",
    "is useless, do not buy it",
    "is cheap rubbish, very disappointing",
)
_SINCE = (
    "last week",
    "in May",
    "yesterday",
    "for my sister",
    "online",
    "two months ago",
    "on a trip",
    "for the office",
)
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_SPELT = _words(
    "banana strawberry elephant mississippi cucumber telephone parallel assistant committee raspberry "
    "balloon possession tomorrow necessary umbrella pepper coffee bookkeeper address success alligator "
    "butterfly"
)
_TOPICS: Mapping[str, Sequence[str]] = {
    "sports": (
        "The striker scored twice and the team won the cup final in {city}",
        "The tennis champion lost her match in {city} in three sets",
        "The goalkeeper of {city} saved a penalty in the last minute of the game",
        "The coach from {city} praised his players after the basketball game",
    ),
    "weather": (
        "Heavy rain and strong wind are expected in {city} tonight",
        "A heat wave brings 38 degrees and sunshine to {city}",
        "Snow and ice are forecast for {city} at the weekend",
        "Fog in the morning, then clear skies and mild temperatures in {city}",
    ),
    "food": (
        "This restaurant in {city} bakes fresh bread and serves soup with herbs",
        "The chef from {city} shares his recipe for tomato sauce with garlic",
        "Add butter, flour and eggs, then bake the cake as they do in {city}",
        "The best pizza of {city} has thin crust and lots of cheese",
    ),
    "money": (
        "The bank in {city} raised its interest rates and shares fell",
        "Investors in {city} bought bonds as the stock market dropped",
        "The company from {city} reported profits and pays a higher dividend",
        "Inflation in {city} rose and prices went up, the central bank said",
    ),
}


@dataclass(frozen=True)
class Item:
    """One request of an application.

    Attributes:
        gold: The right answer, lower case, as `is_right` compares it.
    """

    task: str
    system: str
    text: str
    gold: str

    def body(self) -> dict[str, Any]:
        """The request as an application sends it: few examples before the item, since that is what suits a model of
        this size best (RESEARCH-engines.md, section 8). Greedy, so that it has one answer."""
        prompt = f"{self.system}\n\n{self.text}"
        return {"model": MODEL, "prompt": prompt, "temperature": 0, "max_tokens": TOKENS_MAX, "stop": ["\n"]}

    def is_right(self, said: str) -> bool:
        """Whether an answer is the right one: its first line, without case, quotes and the full stop."""
        line = next((line for line in said.strip().splitlines() if line.strip()), "")
        return line.strip().strip(".\"'`* ").lower() == self.gold


TOKENS_MAX = 12
Make = Callable[[random.Random], tuple[str, str]]


def _sentiment(dice: random.Random) -> tuple[str, str]:
    gold = dice.choice(("positive", "negative"))
    ends = _GOOD if gold == "positive" else _BAD
    text = f"I bought this {dice.choice(_THINGS)} {dice.choice(_SINCE)}. It {dice.choice(ends)}."
    return f"Review: {text}\nSentiment:", gold


def _topic(dice: random.Random) -> tuple[str, str]:
    gold = dice.choice(sorted(_TOPICS))
    return f"Text: {dice.choice(_TOPICS[gold]).format(city=dice.choice(_CITIES))}.\nTopic:", gold


def _ticket(dice: random.Random) -> tuple[str, str]:
    gold = f"{dice.choice('ABCDEFGHK')}{dice.randrange(1000, 9999)}"
    text = dice.choice(
        (
            "Hello, my order {gold} has not come yet. {name}",
            "The parcel of order {gold} was open when it arrived in {city}.",
            "Please cancel order {gold}, I ordered it twice. Regards, {name}",
            "{name} here. Where is order {gold}? I live in {city}.",
        )
    )
    filled = text.format(gold=gold, name=dice.choice(_PEOPLE), city=dice.choice(_CITIES))
    return f"Message: {filled}\nOrder:", gold.lower()


def _city(dice: random.Random) -> tuple[str, str]:
    gold = dice.choice(_CITIES)
    text = dice.choice(
        (
            "{name} moved to {gold} with her two children.",
            "On {day} {name} flies to {gold} to see a friend.",
            "The meeting with {name} takes place in {gold} on {day}.",
            "{name} opened a small bakery in {gold} in 2019.",
        )
    )
    filled = text.format(gold=gold, name=dice.choice(_PEOPLE), day=dice.choice(_DAYS))
    return f"Text: {filled}\nCity:", gold.lower()


def _sum(dice: random.Random) -> tuple[str, str]:
    one, two = dice.randrange(11, 89), dice.randrange(11, 89)
    return f"{one} + {two} =", str(one + two)


def _product(dice: random.Random) -> tuple[str, str]:
    one, two = dice.randrange(3, 12), dice.randrange(3, 13)
    return f"{one} * {two} =", str(one * two)


def _weekday(dice: random.Random) -> tuple[str, str]:
    day, after = dice.randrange(7), dice.randrange(1, 4)
    return f"Which day comes {after} days after {_DAYS[day]}?", _DAYS[(day + after) % 7].lower()


def _letters(dice: random.Random) -> tuple[str, str]:
    word = dice.choice(_SPELT)
    letter = dice.choice(sorted(set(word)))
    return f"How often is the letter {letter} in {word}?", str(word.count(letter))


def _change(dice: random.Random) -> tuple[str, str]:
    name, each, number = dice.choice(_PEOPLE), dice.randrange(2, 9), dice.randrange(2, 9)
    return f"{name} buys {number} tickets. Each ticket costs {each} euros. How many euros in all?", str(each * number)


_SHOTS = 4
_KINDS: Mapping[str, tuple[str, Make]] = {
    "sentiment": ("You label reviews of a shop as positive or negative. Answer with one word.", _sentiment),
    "topic": ("You sort texts into sports, weather, food or money. Answer with one word.", _topic),
    "order": ("You read messages of customers and give the order number. Answer with it alone.", _ticket),
    "city": ("You find the city that a text speaks of. Answer with its name alone.", _city),
    "sum": ("You add two numbers. Answer with the number alone.", _sum),
    "product": ("You multiply two numbers. Answer with the number alone.", _product),
    "weekday": ("You know the days of the week. Answer with the day alone.", _weekday),
    "letters": ("You count letters in words. Answer with the number alone.", _letters),
    "tickets": ("You work out what is to pay. Answer with the number alone.", _change),
}
NAMES = tuple(_KINDS)


def _system(name: str) -> str:
    """An application's system prompt, with examples: always the same ones."""
    what, make = _KINDS[name]
    dice = random.Random(f"shots {name}")
    shots = [make(dice) for _ in range(_SHOTS)]
    return what + "\n\n" + "\n\n".join(f"{text} {gold}" for text, gold in shots)


class Traffic:
    """Requests without end, applications mixed by chance; the same ones for the same seed."""

    def __init__(self, seed: str, names: Sequence[str] = NAMES) -> None:
        self._dice = random.Random(seed)
        self._names = names
        self._systems = {name: _system(name) for name in names}

    def next(self) -> Item:
        """The next one."""
        name = self._dice.choice(self._names)
        text, gold = _KINDS[name][1](self._dice)
        return Item(name, self._systems[name], text, gold)
