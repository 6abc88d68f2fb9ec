"""Short codes behind a word, which no run of digits gives away: `CVV 321`, `licence plate 7ABC123`."""

from __future__ import annotations

import re

from ecotone.privacy.patterns.form import Form
from ecotone.privacy.patterns.hit import Hit

PHRASE_WORDS = rb"\b(?:seed|recovery|backup|mnemonic|secret recovery) (?:phrase|words)\b|\bmnemonic\b"
SECRET_WORDS = (
    rb"\bcvv2?\b|\bcvc2?\b|\bcsc\b|\b(?:gate|door|alarm|entry|lock|safe|keypad|access|security) code\b|\bpin(?: code"
    rb"| number)?\b"
)
PLATE_WORDS = (
    rb"\b(?:licen[cs]e|number) plate\b|\bplate (?:no|number)\b|\blicen[cs]e tag\b|\bkennzeichen\b|\btarga\b"
    rb"|\bkenteken\b"
    rb"|\bimmatriculation\b|\bmatr\xedcula\b"
)
NUMBER_WORDS = (
    rb"\b(?:case|docket|file|policy|claim|member|patient|customer|client|employee|student|licen[cs]e"
    rb"|passport) (?:no|number|id)\b"
    rb"|\bmrn\b|\bf\xfchrerschein\b|\bpermis de conduire\b|\brijbewijs\b"
)

_LINK = r"(?: ?(?:no|number|code|nr|num)\b)?\.?(?: (?:is|was|ist|est|es|now)\b)?[ \t]{0,2}[:#=]{0,2}[ \t]{0,2}[(\"'“]?"
_SECRET = Form(_LINK + r"([0-9]{3,8})(?![0-9A-Za-z.,%:/-]?[0-9A-Za-z])", re.IGNORECASE)
_CODE = Form(_LINK + r"([A-Z0-9]{1,6}(?:[-·. ]?[A-Z0-9]{1,10}){0,3})(?![A-Za-z0-9])", re.IGNORECASE)
_PHRASE = Form(r"(?: (?:is|are))?[ \t]{0,2}[:=]?[ \t\n\"'“]{0,3}((?:[a-z]{3,8}[ ,\n]{1,2}){11,23}[a-z]{3,8})\b")


def secret_code(text: str, start: int, end: int) -> Hit | None:
    """The digits behind the word."""
    found = _SECRET.match(text, end)
    return None if found is None else Hit(found.start(1), found.end(1), "secret.code", 0.8)


def phrase(text: str, start: int, end: int) -> Hit | None:
    """The twelve to twenty-four words behind the word."""
    found = _PHRASE.match(text, end)
    return None if found is None else Hit(found.start(1), found.end(1), "secret.phrase", 0.9)


def plate(text: str, start: int, end: int) -> Hit | None:
    """The number plate behind the word."""
    return _code(text, end, "vehicle_plate", 0.85)


def number(text: str, start: int, end: int) -> Hit | None:
    """The number behind the word, if letters stand among its digits."""
    return _code(text, end, "record_number", 0.65)


def _code(text: str, end: int, kind: str, sure: float) -> Hit | None:
    found = _CODE.match(text, end)
    if found is None:
        return None
    # Words of the sentence behind the code have no digits, and are not two or three capitals.
    parts = re.split("([ ])", found[1])
    while parts and not (any(c.isdigit() for c in parts[-1]) or (parts[-1].isupper() and len(parts[-1]) <= 3)):
        parts.pop()
    value = "".join(parts)
    if sum(c.isdigit() for c in value) < 2 or len(value) < 5 or (kind == "vehicle_plate" and not value.isupper()):
        return None
    return Hit(found.start(1), found.start(1) + len(value), kind, sure)
