"""Lists of names and of ordinary words. Made by scripts/names/build.py; nothing here was tuned to a test set."""

from __future__ import annotations

import hashlib
import importlib.resources
import re
from typing import Final

import msgspec

from ecotone.detectors import names_text

FILE: Final = "names_lists.txt"

# Words that stand in a name without being one.
PARTICLES: Final = frozenset(
    re.findall(
        r"\w+",
        "van von de der den del della di da dos das do la le les ter ten te zu zur zum vom bin ibn al el y e du af av"
        " st degli dei lo",
    )
)

NOT_NAMES: Final = frozenset(
    re.findall(
        r"\w+",
        # Small words that a sentence begins with.
        "a an the this that these those he she it they we you i his her their our my your its who what when where why"
        " how which is are was were am be been has have had do does did will would can could should may might must not"
        " no yes so for from with by to of in on at as and or but if then than there here also just only please can"
        " let see get go ok okay well oh ah ps re fw fwd"
        # Who is greeted or named in a form without being a person's name.
        " all team sir madam support customer client user everyone everybody friend friends folks guys colleague"
        " colleagues world hiring manager sales service help desk professor doctor prof dr mr mrs ms miss mx mister"
        " student students parents members member guest recruiter editor landlord tenant patient employee"
        " guten liebe lieber hallo herr frau herren damen kunde kundin kunden kollege kollegen kolleginnen zusammen"
        " alle madame monsieur mesdames messieurs tous toutes equipe équipe señor señora señores cliente clientes todos"
        " todas equipo signore signora signori tutti ditta heer mevrouw klant allemaal collega"
        " senior junior nurse engineer director officer president chairman secretary captain teacher lawyer judge"
        # What a letter ends with.
        " regards sincerely thanks cheers best love yours gruß grüße gruss danke merci gracias grazie bedankt saludos"
        " saluti cordialement atentamente amicalement groet groeten mfg lg"
        # Days and months.
        " monday tuesday wednesday thursday friday saturday sunday january february march april may june july august"
        " september october november december montag dienstag mittwoch donnerstag freitag samstag sonntag januar"
        " februar märz mai juni juli oktober dezember lundi mardi mercredi jeudi vendredi samedi dimanche lunes martes"
        " miércoles jueves viernes sábado domingo"
        # What comes up beside assistants and software.
        " chatgpt gpt claude gemini mistral llama python java javascript linux windows google apple microsoft amazon"
        " github docker kubernetes openai anthropic excel word outlook slack zoom internet",
    )
)
SMALL_WORDS: Final = NOT_NAMES.union(*names_text.STOPS.values())
COULD_BE_NAMES: Final = frozenset({"april", "may", "june", "august", "mai", "juni", "will", "claude", "word"})
ARTICLES: Final = frozenset(
    {"der", "den", "die", "das", "dem", "des", "la", "le", "les", "el", "los", "las", "y", "e", "lo"}
)
"""Particles that no name begins with where a text only leads to it."""


class Lists(msgspec.Struct, frozen=True):
    """Names and words in lower case.

    Attributes:
        given, family: Names that are no ordinary word.
        common: Given names that many bear.
        given_weak, family_weak: Names that are an ordinary word, a place or a brand too.
        words: Ordinary English words.
        digest: Eight hexadecimal digits of the file's SHA-256, for the detector's version.
    """

    given: frozenset[str]
    common: frozenset[str]
    given_weak: frozenset[str]
    family: frozenset[str]
    family_weak: frozenset[str]
    words: frozenset[str]
    digest: str

    def is_given(self, word: str) -> bool:
        """Whether the word is a given name and little else."""
        return word.casefold() in self.given

    def is_common(self, word: str) -> bool:
        """Whether the word is a given name that many bear, and little else."""
        return word.casefold() in self.common

    def is_name(self, word: str) -> bool:
        """Whether the word is a name and little else; each part of a double name counts."""
        folded = word.casefold().removesuffix("'s").removesuffix("’s")
        if folded in SMALL_WORDS:
            return False
        if folded in self.given or folded in self.family:
            return True
        return "-" in folded and any(part in self.given or part in self.family for part in folded.split("-"))

    def may_be_name(self, word: str) -> bool:
        """Whether the word is listed as a name at all."""
        folded = word.casefold()
        if folded in SMALL_WORDS and folded not in COULD_BE_NAMES:
            return False
        return self.is_name(word) or folded in self.given_weak or folded in self.family_weak

    def is_word(self, word: str) -> bool:
        """Whether the word is an ordinary one: no name, or more than a name."""
        folded = word.casefold()
        if len(folded) < 3 or folded in SMALL_WORDS or folded in self.given_weak or folded in self.family_weak:
            return True
        return folded in self.words or (folded.endswith("s") and folded[:-1] in self.words)


def read() -> Lists:
    """The lists that come with Ecotone."""
    content = importlib.resources.files("ecotone.detectors").joinpath(FILE).read_bytes()
    sections: dict[str, list[str]] = {}
    for line in content.decode().splitlines():
        if line.startswith("["):
            section = sections.setdefault(line.strip("[]"), [])
        elif not line.startswith("#"):
            section += line.split()
    given, family = (frozenset(sections[name]) for name in ("given", "family"))
    common = frozenset(name[1:] for name in given if name[0] == "+")
    return Lists(
        given=frozenset(name for name in given if name[0] not in "+~") | common,
        common=common,
        given_weak=_weak(given),
        family=frozenset(name for name in family if name[0] != "~"),
        family_weak=_weak(family),
        words=frozenset(sections["words"]),
        digest=hashlib.sha256(content).hexdigest()[:8],
    )


def _weak(section: frozenset[str]) -> frozenset[str]:
    return frozenset(name[1:] for name in section if name[0] == "~")
