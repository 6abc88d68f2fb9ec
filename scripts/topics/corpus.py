"""The training text of `topics`: our own sentences in `text/`, unfolded.

A file is `LANGUAGE.LABEL.HAND.txt`; the label `none` is ordinary work. A line is a family: `{slot}` stands for any of
the words in `LANGUAGE.slots.txt` (`@slot: one | two`), `\\n` for a line break, `[hr,legal] ` in front for other labels
than the file's. `LANGUAGE.wraps.txt` holds requests around a text, `{text}`.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent / "text"
LABELS = ("medical", "legal", "financial", "hr", "private_mail")
VARIANTS = 6
_OWN = re.compile(r"\[([a-z_]+(?:,[a-z_]+)*)\] ")
_SLOT = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True)
class Sample:
    """One text to learn from: its labels (none: ordinary), its language, its file and its family."""

    text: str
    labels: frozenset[str]
    language: str
    file: str
    family: int


def read(folder: Path = FOLDER, *, seed: int = 7, variants: int = VARIANTS) -> list[Sample]:
    """Unfolds all files, the same for the same seed."""
    samples: list[Sample] = []
    for path in sorted(folder.glob("*.*.*.txt")):
        language, label, _hand, _ = path.name.split(".")
        slots = _slots(folder / f"{language}.slots.txt")
        dice = random.Random(f"{seed}:{path.name}")
        for number, line in enumerate(_lines(path)):
            labels, template = _labels(line, label)
            texts = sorted({_fill(template, slots, dice) for _ in range(variants)})
            samples += [Sample(text, labels, language, path.name, number) for text in texts]
    return samples


def vary(samples: list[Sample], folder: Path = FOLDER, *, seed: int = 7) -> list[Sample]:
    """The samples and of each a changed one: wrapped in a request, joined with ordinary text, cut or mistyped."""
    dice = random.Random(f"{seed}:vary")
    wraps = {path.name.split(".")[0]: _lines(path) for path in sorted(folder.glob("*.wraps.txt"))}
    ordinary: dict[str, list[Sample]] = {}
    for one in samples:
        if not one.labels:
            ordinary.setdefault(one.language, []).append(one)
    changed = []
    for one in samples:
        way, text = dice.random(), one.text
        if way < 0.25 and not one.labels:
            text = _piece(text, dice)
        elif way < 0.4:
            text = dice.choice(wraps[one.language]).replace("\\n", "\n").replace("{text}", text)
        elif way < 0.8:
            other = dice.choice(ordinary[one.language]).text
            text = dice.choice([f"{other}\n{text}", f"{text}\n\n{other}", f"{text} {other}"])
        else:
            text = _mistyped(text, dice)
        changed.append(Sample(text, one.labels, one.language, one.file, one.family))
    return samples + changed


def _lines(path: Path) -> list[str]:
    lines = (line.strip() for line in path.read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line and not line.startswith(("#", "@"))]


def _slots(path: Path) -> dict[str, list[str]]:
    slots = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("@"):
            name, _, words = line[1:].partition(":")
            slots[name.strip()] = [word.strip() for word in words.split("|")]
    return slots


def _labels(line: str, label: str) -> tuple[frozenset[str], str]:
    own = _OWN.match(line)
    names = own[1].split(",") if own else [label]
    if not set(names) <= {*LABELS, "none"}:
        raise ValueError(f"unknown label: {names}")
    return frozenset(names) - {"none"}, line[own.end() :] if own else line


def _fill(template: str, slots: dict[str, list[str]], dice: random.Random) -> str:
    text = template
    for _ in range(3):  # a slot's words may hold slots
        text = _SLOT.sub(lambda found: dice.choice(slots[found[1]]), text)
    return text.replace("\\n", "\n")


def _piece(text: str, dice: random.Random) -> str:
    """One to eight neighbouring words: a value in a form, a title, half a sentence."""
    words = text.split() if " " in text else list(text)
    at = dice.randrange(len(words))
    glue = " " if " " in text else ""
    return glue.join(words[at : at + dice.randint(1, 8)])


def _mistyped(text: str, dice: random.Random) -> str:
    letters = list(text)
    for _ in range(1 + len(letters) // 40):
        at = dice.randrange(len(letters))
        if letters[at].isalpha() and at + 1 < len(letters):
            if dice.random() < 0.5:
                letters[at], letters[at + 1] = letters[at + 1], letters[at]
            else:
                letters[at] = ""
    return "".join(letters)
