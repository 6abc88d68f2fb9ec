"""Names by what stands around them, and by lists: titles, greetings, signatures, forms, "my name is".

In English, German, French, Spanish, Italian and Dutch. Patterns are RE2's: linear in the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

import msgspec
import re2

from ecotone.detectors import names_text
from ecotone.detectors.names_lists import ARTICLES, PARTICLES, Lists

NAME_CHARS: Final = 100
"""Behind what announces a name, as much is looked at."""

WORDS_MAX: Final = 5
"""Particles included: a longer run of capitals is a headline."""

_WORD: Final = r"\p{Lu}[\p{L}\p{M}]*(?:['’\-]\p{L}[\p{L}\p{M}]*)*"
_PART: Final = rf"(?:\p{{Lu}}\.|(?:St|Jr|Sr|Ph|Th|Chr|Wm)\.|{_WORD})"
_SPACE: Final = r"[ \x{a0}]{1,2}"
_SMALL: Final = (
    rf"(?:(?:(?:van|von|zu|auf) d(?:e[rnm]?|ie)|van 't|de l(?:a|as|os)|van|von|de|del|della|di|da|dos|das|do|du|degli"
    rf"|dei|la|le|lo|ter|ten|te|zu|bin|ibn|al|el|y|e|af|av|st){_SPACE}|[dl]')"
)
_NAME: Final = rf"{_SMALL}*{_PART}(?:{_SPACE}{_SMALL}*{_PART})*"
_ANY_WORD: Final = r"\p{L}[\p{L}\p{M}'’\-]*"
_ANY: Final = rf"{_ANY_WORD}(?:{_SPACE}{_ANY_WORD})*"

_TITLES: Final = (
    r"Mr|Mrs|Ms|Miss|Mx|Dr|Prof|Professor|Doctor|Sir|Dame|Lord|Lady|Judge|Justice|Senator|Nurse|Detective|Officer|Rev"
    r"|Reverend|Father|Sister|Captain|Sergeant|Sgt|Cpt|Lt|Herr|Herrn|Frau|Fräulein|Familie|Monsieur|Madame|Mme|Mlle"
    r"|Mademoiselle|Maître|Docteur|Señor|Señora|Señorita|Sr|Sra|Srta|Don|Doña|Doctora|Signor|Signora|Signorina|Sig"
    r"|Sig\.ra|Dott|Dott\.ssa|Avv|Dottoressa|Dhr|Mevr|Mw|Mevrouw|Meneer|De heer|Dokter"
)
_GREETS: Final = (
    r"dear|hi|hello|hey|good (?:morning|afternoon|evening)|hallo|liebe[rs]?|sehr geehrte[rs]?|guten (?:tag|morgen)"
    r"|guten abend|moin|servus|bonjour|bonsoir|chère?|salut|hola|buen[oa]s (?:días|tardes|noches)|estimad[oa]"
    r"|querid[oa]|ciao|buongiorno|gentile|gentilissim[oa]|egregi[oa]|car[oa]|beste|geachte|dag|goedemorgen|goedendag"
)
_CLOSES: Final = (
    r"(?:(?:best|kind|warm|many|with|kindest|warmest)(?: kind| best| warm)? (?:regards|wishes|thanks)|regards|sincerely"
    r"|(?:yours|very) (?:sincerely|truly|faithfully)|sincerely yours|thanks|thank you|many thanks|cheers|best|love"
    r"|yours|respectfully|mit (?:freundlichen|besten|herzlichen|lieben) grüßen|(?:viele|liebe|beste|herzliche"
    r"|freundliche) grüße|gruß|grüße|mfg|lg|vg|cordialement|bien cordialement|bien à vous|amicalement"
    r"|sincères salutations|(?:un )?saludos?(?: cordiales)?|atentamente|un abrazo|saluti"
    r"|(?:cordiali|distinti) saluti|un abbraccio"
    r"|met vriendelijke groeten?|vriendelijke groeten?|groet(?:en|jes)?|hartelijke groet|mvg)"
)
_FIELDS: Final = (
    r"(?:(?:full|first|last|middle|given|family|maiden|legal|birth|patient|client|customer|employee|applicant|candidate"
    r"|tenant|guest|passenger|student|user|account(?: holder)?|cardholder|contact|father|mother|spouse|parent|guardian"
    r"|emergency contact|beneficiary|payee|recipient|sender)(?:'?s)?[ _\-]?name|name|surname|patient|cardholder"
    r"|account holder|card holder|beneficiary|applicant|tenant|landlord|employee|customer|client|recipient|sender"
    r"|contact(?: person)?|emergency contact|attn|attention|signed(?: by)?|from|to|cc|bcc|next of kin|physician|doctor"
    r"|attending|witness|plaintiff|defendant|candidate|nominee|insured|policyholder|spouse|manager|assigned to|reporter"
    r"|vor- und nachname|vorname|nachname|familienname|kundin|kunde|patientin|ansprechpartner(?:in)?|absender"
    r"|empfänger|kontoinhaber(?:in)?|mieter(?:in)?|versicherter?|mitarbeiter(?:in)?|von|an|arzt"
    r"|nom(?: de famille)?|prénom|nom et prénom|titulaire|destinataire|expéditeur|bénéficiaire|locataire|salarié"
    r"|nombre(?: completo)?|apellidos?|paciente|titular|remitente|destinatario|empleado|inquilino|solicitante"
    r"|nome(?: completo)?|cognome|nome e cognome|paziente|intestatario|mittente|dipendente|inquilino"
    r"|naam|voornaam|achternaam|patiënt|klant|ontvanger|afzender|rekeninghouder|werknemer|huurder)"
)
_SAYS: Final = (
    r"(?:full |first |last |legal |middle |maiden |sur|family |given )?name(?: is|'s|’s| was)|your name\?|calls? me"
    r"|called me|named|goes by"
    r"|mein name ist|ich heiße|ich heisse|er heißt|sie heißt|je m'appelle|je m’appelle|mon nom est|il s'appelle"
    r"|elle s'appelle|me llamo|mi nombre es|se llama|mi chiamo|il mio nome è|si chiama|mijn naam is|ik heet|hij heet"
)
_KIN: Final = (
    r"wife|husband|spouse|partner|son|daughter|brother|sister|mother|father|mom|mum|dad|uncle|aunt|cousin|nephew|niece"
    r"|boss|manager|supervisor|colleague|coworker|co-worker|friend|girlfriend|boyfriend|fiancée?|neighbou?r|landlord"
    r"|teacher|doctor|therapist|lawyer|client|patient|assistant|roommate|ex"
    r"|frau|mann|sohn|tochter|bruder|schwester|mutter|vater|chef|chefin|kollege|kollegin|freund|freundin|nachbar"
    r"|femme|mari|fils|fille|frère|sœur|mère|père|collègue|ami|amie|esposa|esposo|marido|hijo|hija|hermano|hermana"
    r"|madre|padre|jefe|amigo|amiga|moglie|marito|figlio|figlia|fratello|sorella|collega|vrouw|man|zoon|dochter|broer"
    r"|zus|moeder|vader|vriend|vriendin"
)
_TELLS: Final = (
    r"ask|tell|told|call|called|email|emailed|contact|meet|met|with|from|by|for|thank|invite|remind|and|owed to|pay"
    r"|mit|von|für|bei|frag|avec|de|par|pour|à|con|para|por|per|da|met|van|voor"
)

_OPTIONS: Final = re2.Options()
_OPTIONS.log_errors = False
_OPTIONS.max_mem = 32 << 20


def _compiled(pattern: str) -> Any:
    return re2.compile(pattern, options=_OPTIONS)


# What announces a name; the name begins where the match ends.
_TITLED: Final = _compiled(rf"(?i)\b(?:(?:{_TITLES})\.?{_SPACE})+")
_SAID: Final = _compiled(rf"(?i)\b(?:{_SAYS}):?\s{{1,2}}")
_AM: Final = _compiled(
    rf"(?i)\b(?:i am|i'm|i’m|this is|it's|ich bin|hier ist|je suis|c'est|ici|soy|habla|sono|ik ben|met){_SPACE}"
)
_GREETED: Final = _compiled(rf"(?:^|\n|[.!?>:\"“]\s)[ \t]*(?i:{_GREETS})[ ,]{{1,2}}(?:(?:{_TITLES})\.?{_SPACE})*")
_SIGNED: Final = _compiled(rf"(?i)(?:^|\n|[.!?,]\s)[ \t]*{_CLOSES}[ \t]*[,.!]?[ \t]*\n\s*[-–—]*[ \t]?")
_FIELD: Final = _compiled(rf"(?i)(?:^|[\n,;|(\[{{\"'*•\t-]|\.\s)[ \t]*{_FIELDS}[\"'*]*\s?[:=：][ \t\"'*]*")
_KINNED: Final = _compiled(rf"(?i)\b(?:{_KIN}),?{_SPACE}(?:(?:is|was|named|called|heißt|s'appelle){_SPACE})?")
_CONTRACTED: Final = ("'m", "’m", "'ll", "’ll", "'re", "’re", "'ve", "’ve", "'d", "’d", "n't", "n’t")
_KINNED_SMALL: Final = _compiled(rf"\b(?:my|his|her|our|their){_SPACE}(?:{_KIN}),?{_SPACE}")
_TOLD: Final = _compiled(rf"\b(?:{_TELLS}){_SPACE}")

_AFTER_GREETING: Final = re.compile(r"[ \t]*(?:[,!:;.\n–-]|$)")
_AFTER_SIGNATURE: Final = re.compile(r"[ \t]*[,.]?[ \t]*(?:\n|$)")
_CAPITALS: Final = _compiled(_NAME)
_WORDS: Final = _compiled(_ANY)
_SMALL_WORD: Final = _compiled(r"\p{Ll}[\p{Ll}\-]+")
_ITEM: Final = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")
_ENUMERATION: Final = re.compile(
    r"\b[^\W\d_][\w'’-]{1,30}(?:(?:, ?| (?:and|und|et|y|e|en|or|&) |, (?:and|or) )[^\W\d_][\w'’-]{1,30}\b){1,200}"
)
_JOINTS: Final = frozenset({"and", "und", "et", "y", "e", "en", "or"})
_SPEAKS: Final = re.compile(
    r"\b([A-ZÀ-Þ][a-zß-ÿ]{2,30}) (?:said|says|asked|asks|shouted|replied|replies|told|tells|wrote|writes|smiled|nodded"
    r"|laughed|whispered|answered|lives|works|sagte|fragte|antwortete|schrieb|a dit|dijo|ha detto|zei)\b"
)
_SPOKEN: Final = re.compile(
    r"[,.!?][\\\\]?[\"”’'»] (?:said|says|asked|asks|replied|wrote|sagte|fragte|dijo|dit) ([A-ZÀ-Þ]?[^\W\d_]{2,30})\b"
)
_TITLED_SMALL: Final = re.compile(r"\b(?:mr|mrs|ms|dr|prof|herr|frau|sra?)\.? (?=[^\W\d_A-Z]{3,30}\b)")
_COMMA: Final = _compiled(rf"\b({_SMALL}*)({_WORD}),{_SPACE}({_WORD})\b")
_BEFORE_COMMA: Final = re.compile(r"[^\W\d_][ \xa0]$")
_LIKE_A_NAME: Final = re.compile(r"[^\W\d_][^\W\d_A-Z]+(?:[ \xa0'’-]+[^\W\d_][^\W\d_A-Z]+)*")
_NAMELY: Final = re.compile(r"name|nom|apellid|naam|prénom", re.IGNORECASE)


class Guess(msgspec.Struct, frozen=True):
    """A name that a rule saw, offsets into the text that it looked at."""

    start: int
    end: int
    confidence: float


class Rules:
    """The rules over one set of lists."""

    def __init__(self, lists: Lists) -> None:
        """Keeps the lists."""
        self._lists = lists

    def find(self, text: str) -> list[Guess]:
        """Names in the text; they may overlap."""
        looks = (self._capitals, self._runs, self._enumerated, self._alone, self._small)
        return [guess for look in looks for guess in look(text)]

    def _capitals(self, text: str) -> Iterator[Guess]:
        """What stands in a place where a name stands, written with a capital."""
        for pattern, after, confidence in _SURE:
            for span in _announced(pattern, _CAPITALS, text, after):
                yield from self._trimmed(text, span, confidence)
        for pattern in (_FIELD, _AM, _KINNED):
            for span in _announced(pattern, _CAPITALS, text):
                for guess in self._trimmed(text, span, 0.8):
                    name = text[guess.start : guess.end]
                    is_named = pattern is _FIELD and _NAMELY.search(text[max(0, span[0] - 12) : span[0]])
                    if self._is_likely(name) or (is_named and _LIKE_A_NAME.fullmatch(name)):
                        yield guess
        yield from self._turned(text)

    def _turned(self, text: str) -> Iterator[Guess]:
        """The family name first: `van Dijk, Pieter`."""
        for match in _COMMA.finditer(text):
            if match[2].casefold() not in self._lists.family or self._lists.is_given(match[2]):
                continue
            start, end = match.span()
            after = text[end : end + 2]
            goes_on = after == ", " or (after[:1] in " \xa0" and after[1:].isupper())
            is_alone = not goes_on and not _BEFORE_COMMA.search(text[max(0, start - 2) : start])
            if is_alone and self._lists.is_given(match[3]):
                yield Guess(start, end, 0.6)

    def _runs(self, text: str) -> Iterator[Guess]:
        """Words with capitals that the lists know: a given name and what follows it."""
        for match in _CAPITALS.finditer(text):
            words = _words(text, match.span())
            at = 0
            while at < len(words) - 1:
                near = words[at : at + WORDS_MAX]
                step = 1
                if self._is_pair(text[slice(*near[0])], [text[slice(*word)] for word in near[1:]]):
                    yield from self._trimmed(text, (near[0][0], near[-1][1]), 0.8)
                    step = len(near)
                at += step

    def _is_pair(self, given: str, rest: list[str]) -> bool:
        first = next((word for word in rest if word.casefold() not in PARTICLES), "")
        if len(given) < 2 or len(first) < 2 or (given.isupper() and len(given) > 2 and not first.isupper()):
            return False
        if self._lists.is_given(given):
            return self._lists.is_name(first) or not self._lists.is_word(first) or len(first.rstrip(".")) == 1
        return self._lists.may_be_name(given) and first.casefold() in self._lists.family

    def _enumerated(self, text: str) -> Iterator[Guess]:
        """Single words between commas, `and` before the last, where most are given names: the others are too."""
        for match in _ENUMERATION.finditer(text):
            words = [one.span() for one in _ITEM.finditer(text, match.start(), match.end())]
            words = [word for word in words if text[slice(*word)].casefold() not in PARTICLES | _JOINTS]
            given = sum(self._lists.is_given(text[slice(*word)]) for word in words)
            known = sum(self._lists.is_name(text[slice(*word)]) for word in words)
            is_small = not words or text[slice(*words[0])].islower()
            if (known < 2 and not given) or (is_small and given < 3) or 2 * known < len(words):
                continue
            if len(words) == 2 and known < 2 and "," in match[0]:
                continue
            for word in words:
                if self._lists.may_be_name(text[slice(*word)]) or not self._lists.is_word(text[slice(*word)]):
                    yield Guess(*word, 0.6)

    def _alone(self, text: str) -> Iterator[Guess]:
        """Common given names that stand alone; in lower case only where the line does not care for capitals."""
        for match in _ITEM.finditer(text):
            word = match[0].removesuffix("'s").removesuffix("’s")
            if len(word) < 3 or not self._lists.is_common(word) or not _is_free(text, match.start(), match.end()):
                continue
            if word[0].isupper() and (word[1:].islower() or "-" in word):
                yield Guess(match.start(), match.start() + len(word), 0.6)
            elif word.islower() and len(word) > 3 and _is_careless(text, match.start()):
                yield from self._small_name(text, match.start(), match.start() + len(word))
        for match in (*_SPEAKS.finditer(text), *_SPOKEN.finditer(text)):
            if not self._lists.is_word(match[1]):
                yield Guess(*match.span(1), 0.5)

    def _small_name(self, text: str, start: int, end: int) -> Iterator[Guess]:
        """A given name in lower case and the family name behind it, if that is no ordinary word."""
        after = _ITEM.match(text, end + 1) if text[end : end + 1] == " " else None
        if after and len(after[0]) > 2 and (self._lists.is_name(after[0]) or not self._lists.is_word(after[0])):
            yield Guess(start, after.end() - 2 * after[0].endswith(("'s", "’s")), 0.5)
        else:
            yield Guess(start, end, 0.5)

    def _small(self, text: str) -> Iterator[Guess]:
        """Names in lower case, where the place or two listed names side by side tell."""
        for pattern in (_SAID, _FIELD):
            for span in _announced(pattern, _WORDS, text):
                yield from self._leading(text, span, 0.7)
        for match in _TITLED_SMALL.finditer(text):
            word = _ITEM.match(text, match.end())
            if word and (self._lists.may_be_name(word[0]) or not self._lists.is_word(word[0])):
                yield from self._small_name(text, *word.span())
        for start, end in _announced(_KINNED_SMALL, _WORDS, text):
            first = _words(text, (start, end))[0]
            if self._lists.is_given(text[slice(*first)]):
                yield Guess(*first, 0.6)
        for span in _announced(_TOLD, _WORDS, text):
            words = _words(text, span)[:2]
            if (
                len(words) > 1
                and self._lists.is_given(text[slice(*words[0])])
                and self._lists.is_name(text[slice(*words[1])])
            ):
                yield Guess(words[0][0], words[1][1], 0.6)
        yield from self._small_pairs(text)

    def _small_pairs(self, text: str) -> Iterator[Guess]:
        before: tuple[int, int] | None = None
        for match in _SMALL_WORD.finditer(text):
            start, end = match.span()
            if before is not None and start == before[1] + 1 and text[before[1]] == " ":
                given, family = text[slice(*before)], match[0]
                if len(given) > 2 and len(family) > 3 and given in self._lists.given and family in self._lists.family:
                    yield Guess(before[0], end, 0.5)
            before = (start, end)

    def _leading(self, text: str, span: tuple[int, int], confidence: float) -> Iterator[Guess]:
        """The leading words that are listed names, and one unlisted one between or behind them."""
        kept = 0
        words = _words(text, span)
        for index, (start, end) in enumerate(words):
            word = text[start:end]
            if self._lists.is_name(word) or (index and word.casefold() in PARTICLES):
                kept = index + 1 if word.casefold() not in PARTICLES else kept
            elif index and self._lists.may_be_name(word) and kept == index:
                kept = index + 1
            else:
                break
        if kept:
            yield Guess(words[0][0], words[kept - 1][1], confidence)

    def _is_likely(self, name: str) -> bool:
        """Whether words with capitals, in a place where a name may stand, are a name."""
        words = [word for word in name.replace("\xa0", " ").split() if word.casefold() not in PARTICLES]
        if any(self._lists.is_name(word.rstrip(".")) for word in words):
            return True
        plain = [word for word in words if self._lists.is_word(word.rstrip("."))]
        return len(words) > 1 and not plain

    def _trimmed(self, text: str, span: tuple[int, int], confidence: float) -> Iterator[Guess]:
        """The span without ordinary words around it; nothing where nothing is left."""
        words = _words(text, span)
        genitive = next((n for n, word in enumerate(words) if text[slice(*word)].endswith(("'s", "’s"))), len(words))
        words = words[: genitive + 1]
        if text[span[0] - 1 : span[0]].isalpha():
            words = words[1:]  # the end of a longer word looked like a particle
        while words and self._is_edge(text[slice(*words[0])]):
            words = words[1:]
        while words and self._is_tail(text[slice(*words[-1])], len(words)):
            words = words[:-1]
        if words and any(len(text[slice(*word)].rstrip(".")) > 1 for word in words):
            start, end = words[0][0], words[-1][1]
            end -= text[start:end].endswith(("'s", "’s")) * 2
            yield Guess(start, end, confidence)

    def _is_edge(self, word: str) -> bool:
        bare = word.rstrip(".")
        if bare in ARTICLES or bare.casefold().endswith(_CONTRACTED):
            return True
        return self._lists.is_word(bare) and not self._lists.may_be_name(bare)

    def _is_tail(self, word: str, count: int) -> bool:
        bare = word.rstrip(".")
        if bare.casefold() in PARTICLES:
            return True
        return self._is_edge(word) and (count > 1 or not self._lists.may_be_name(bare))


_SURE: Final = (
    (_TITLED, None, 0.9),
    (_SAID, None, 0.9),
    (_GREETED, _AFTER_GREETING, 0.85),
    (_SIGNED, _AFTER_SIGNATURE, 0.85),
)


def _announced(pattern: Any, name: Any, text: str, after: re.Pattern[str] | None = None) -> Iterator[tuple[int, int]]:
    """Where a name begins right behind the pattern, and something that may follow a name follows it."""
    for match in pattern.finditer(text):
        at = match.end()
        found = name.match(text[at : at + NAME_CHARS])
        if found is None:
            continue
        words = _words(text, (at, at + found.end()))[:WORDS_MAX]
        end = at + found.end() if len(words) < WORDS_MAX else words[-1][1]
        if after is None or after.match(text, end):
            yield at, words[-1][1]


def _is_free(text: str, start: int, end: int) -> bool:
    """Whether the word is no part of a path, an address or an identifier."""
    if text[start - 1 : start] in _GLUE and text[max(0, start - 2) : start] not in _ESCAPED:
        return False
    return text[end : end + 1] not in _GLUE or text[end : end + 2] in _STOPS


def _is_careless(text: str, at: int) -> bool:
    """Whether the line around has no capital letter."""
    start, end = text.rfind("\n", 0, at) + 1, text.find("\n", at)
    line = text[max(start, at - 200) : min(end if end >= 0 else len(text), at + 200)]
    return line == line.lower() and not names_text.is_code(line)


_GLUE: Final = frozenset("@_/\\.#$%=+<>")
_STOPS: Final = frozenset({".", ". ", ".\n", '."', ".)", ".'", ".\\", "\\'", '\\"', "\\n"})
_ESCAPED: Final = frozenset({"\\'", '\\"'})


def _words(text: str, span: tuple[int, int]) -> list[tuple[int, int]]:
    """Where the words of a part of a text stand; a full stop behind a long word is no part of it."""
    words, at = [], span[0]
    for piece in text[slice(*span)].replace("\xa0", " ").split(" "):
        if piece:
            end = at + len(piece)
            words.append((at, end - (piece.endswith(".") and len(piece) > 2)))
        at += len(piece) + 1
    return words
