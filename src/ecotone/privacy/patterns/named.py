"""Values that mean someone only because a word in front says so: account, record, passport, date of birth, code."""

from __future__ import annotations

import re

from ecotone.privacy.patterns import checks
from ecotone.privacy.patterns.context import HARMLESS, linked
from ecotone.privacy.patterns.form import Form
from ecotone.privacy.patterns.hit import Hit
from ecotone.privacy.patterns.numbers import Row

_MONTHS = (
    "jan(?:uary|uar|vier)?|feb(?:ruary|ruar)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?"
    "|sep(?:t(?:ember)?)?|oct(?:ober)?"
    "|nov(?:ember)?|dec(?:ember)?|märz|mai|juni|juli|okt(?:ober)?|dez(?:ember)?|févr(?:ier)?|mars|avril|juin"
    "|juillet|août"
    "|septembre|octobre|novembre|décembre|enero|febrero|marzo|abril|mayo|junio|julio|agosto|septiembre|octubre"
    "|noviembre"
    "|diciembre|gennaio|febbraio|aprile|maggio|giugno|luglio|settembre|ottobre|novembre|dicembre|januari"
    "|februari|maart|mei"
    "|augustus|janeiro|fevereiro|março|maio|junho|julho|setembro|outubro|dezembro"
)
_DATE = Form(
    r"(?:19|20)[0-9]{2} ?[-/.年] ?[01]?[0-9] ?[-/.月] ?[0-3]?[0-9]日?"
    r"|[0-3]?[0-9] ?([-/.]) ?[0-3]?[0-9] ?\1 ?(?:19|20)?[0-9]{2}(?![0-9])"
    rf"|[0-3]?[0-9](?:st|nd|rd|th|\.|er|º|°)?[ -](?:of |de |del )?(?:{_MONTHS})\.?,?[ -](?:de |del )?(?:19"
    rf"|20)?[0-9]{{2}}(?![0-9])"
    rf"|(?:{_MONTHS})\.?[ -][0-3]?[0-9](?:st|nd|rd|th)?,?[ -]+(?:19|20)[0-9]{{2}}(?![0-9])"
    r"|(?:19|20)[0-9]{6}(?![0-9])"
    r"|(?:19|20)[0-9]{2}年(?:[01]?[0-9]月)?",
    re.IGNORECASE,
)
_DATE_FRONT = 18
"""How far the year's run may stand behind the start of its date, code points."""

_VALUE = Form(r"[A-Za-z0-9]+(?:[-/.:·][A-Za-z0-9]+)*(?: [A-Z]?[0-9]{2,}[A-Z]?\b)*")
_FRONT = Form(r"[A-Za-z0-9/.:·-]*\Z")
_SERIES = Form(r"\b[A-Z]{1,3} \Z")
_YEAR = Form(r"(?:19|20)[0-9]{2}s?\Z")
_MONEY = Form(
    r"\s?(?:%|€|\$|£|¥|元|万|usd|eur|euros?|dollars?|people|users|years?|days?|hours?|次|人|个|天|年)", re.IGNORECASE
)

# kind, fewest digits, fewest and most letters and digits in all
_SHAPES = {
    "account": ("bank_account", 5, 5, 34),
    "iban": ("iban", 10, 12, 34),
    "passport": ("passport", 5, 6, 12),
    "licence": ("driver_licence", 4, 5, 20),
    "record": ("record_number", 4, 4, 24),
    "national_id": ("national_id", 5, 6, 22),
    "ssn": ("us_ssn", 4, 4, 12),
    "code": ("secret.code", 4, 4, 8),
    "handle": ("handle", 5, 5, 12),
    "card": ("card", 12, 12, 19),
}


def find(text: str, rows: list[Row]) -> list[Hit]:
    """A hit for each row of digits that a word in front explains."""
    hits = []
    for row in rows:
        if not row.meaning or row.meaning == HARMLESS:
            continue
        start = row.digits
        hit = (
            _birth(text, start, row.gap)
            if row.meaning == "birth"
            else _value(text, start, row.last, row.meaning, row.gap)
        )
        if hit is not None:
            hits.append(hit)
    return hits


def _birth(text: str, start: int, gap: int) -> Hit | None:
    front = max(start - gap, start - _DATE_FRONT, 0)
    found = _DATE.search(text, front, start + 24)
    if found is None or found.start() > start or not linked(text, start - gap, found.start()):
        return None
    return Hit(found.start(), found.end(), "date_of_birth", 0.85)


def _value(text: str, start: int, end: int, meaning: str, gap: int) -> Hit | None:
    if meaning not in _SHAPES:
        return None
    kind, digits_min, signs_min, signs_max = _SHAPES[meaning]
    front = max(start - gap, 0)
    left = _FRONT.search(text, front, start)
    first = left.start() if left is not None else start
    series = _SERIES.search(text, front, first)
    if series is not None:
        first = series.start()
    while first < start and not text[first].isalnum():
        first += 1
    if not linked(text, front, first):
        return None
    found = _VALUE.match(text, first, min(len(text), max(end, first + 4) + 24))
    assert found is not None, "it starts with a letter or a digit"
    value = found.group()
    size = len(checks.bare(value))
    if len(checks.digits_of(value)) < digits_min or not signs_min <= size <= signs_max:
        return None
    if _YEAR.match(value) is not None or _MONEY.match(text, found.end()) is not None:
        return None
    return Hit(first, found.end(), kind, 0.8)
