"""Street addresses: English, German, French, Spanish, Italian, Dutch and Portuguese forms."""

from __future__ import annotations

import re

from ecotone.privacy.patterns.form import Form
from ecotone.privacy.patterns.hit import Hit

_BACK = 64
_REACH = 120
"""How far an address may go in front of and behind its telling word, code points."""

# Words behind the name (12 Main Street); of the first kind even where all is in small letters.
_PLAIN_WAYS = "street|avenue|boulevard|lane|road|highway|parkway|blvd|ave|rd|ln|hwy|pkwy"
_CAPITAL_WAYS = (
    "st|drive|dr|court|ct|place|pl|way|terrace|ter|circle|cir|square|sq|trail|trl|loop|close|crescent|cres"
    "|gardens|row|mews"
    "|walk|alley|plaza|plz|pike|turnpike|route|rte|green|hill|grove|parade|quay|view|expressway|crossing|ridge"
    "|run|path"
)
# Compounds and words behind the name, then a number (Hauptstraße 5, Kerkstraat 12).
_COMPOUND = (
    rb"(?:stra(?:ss|\xdf)e|str\.|gasse|weg|allee|platz|ring|damm|ufer|chaussee|markt|steig|stieg|straat|laan"
    rb"|plein|gracht|kade|dijk"
    rb"|singel|steeg|plaats|hof|pad|dreef|baan|boulevard|gatan|v\xe4gen|gade|vej)[ ,]{1,2}[0-9]"
)
# Words in front of the name (12 rue de la Paix, Calle Mayor 5, Via Roma 10).
_FRONT = (
    rb"\brue\b|\bboulevard\b|\bbd\b|\bchemin\b|\ball\xe9e\b|\bimpasse\b|\bquai\b|\bcours\b|\bfaubourg\b"
    rb"|\bruelle\b|\bcalle\b|\bc/|\bavenida\b"
    rb"|\bavda\b|\bpaseo\b|\bplaza\b|\bcamino\b|\bcarrer\b|\bronda\b|\btraves\xeda\b|\bpasaje\b|\bcuesta\b"
    rb"|\bglorieta\b|\bvia\b|\bviale\b|\bpiazza\b"
    rb"|\bcorso\b|\bvicolo\b|\blargo\b|\bpiazzale\b|\bstrada\b|\bcontrada\b|\bborgo\b|\bincrocio\b|\brotonda\b"
    rb"|\bstretto\b|\bcanale\b|\brua\b"
    rb"|\btravessa\b|\bpra\xe7a\b|\bavenue\b|\bplace\b|\bacceso\b|\bvial\b|\brambla\b|\balameda\b"
    rb"|\burbanizaci\xf3n\b|\bca\xf1ada\b|\bpasadizo\b|\bcallej\xf3n\b"
)
_UNIT_WORDS = rb"\b(?:suite|apt|apartment|ste|unit|po box|p\.o\. box|postfach|apartado|casella postale)\b"
WORDS = (
    rb"\b(?:"
    + _PLAIN_WAYS.encode()
    + rb"|"
    + _CAPITAL_WAYS.encode()
    + rb")\b|"
    + _COMPOUND
    + rb"|"
    + _FRONT
    + rb"|"
    + _UNIT_WORDS
)

_CAPITALS = frozenset(_CAPITAL_WAYS.split("|"))
_UNIT = (
    r"(?:,?[ \n]{1,2}(?:suite|apt\.?|apartment|ste\.?|unit|floor|fl\.?|room|rm\.?|#|flat|bldg\.?"
    r"|building)[ ]?#?[A-Za-z]?[0-9]{1,5}[A-Za-z]?\b)?"
)
_ZIP = (
    r"(?:,?[ \n]{1,3}(?:[A-Z][\w'.-]{1,20}[ ]){0,3}[A-Z][\w'.-]{1,20}"
    r",?[ \n]{1,2}[A-Z]{2},?[ \n]{1,2}[0-9]{5}(?:-[0-9]{4})?\b"
    r"|,?[ \n]{1,3}(?:[A-Z][\w'.-]{1,20}[ ,]{1,2}){0,4}[A-Z]{1,2}[0-9][0-9A-Z]? [0-9][A-Z]{2}\b"
    r"|,?[ \n]{1,3}(?:[A-Z][\w'.-]{1,20}[ ]){0,2}[A-Z][\w'.-]{1,20},[ \n][A-Z]{2}\b)?"
)
_TOWN = (
    r"[,;]?[ \n]{1,3}(?:[A-Z]{1,2}-)?[0-9]{4,5}(?:[ ]?[A-Z]{2}\b)?,?(?:[ ]{1,2}(?:[A-ZÀ-Þ'][\w'’.-]{0,24}|de|la"
    r"|le|les|du|des|del|di|der|am"
    r"|an|bei|im|in|aan|den|sur|sous|en|el|dell'\w{1,20}|do|da|\([A-Z]{2}\))){0,6}"
)
_EUROPEAN_TOWN = rf"(?:{_TOWN}|[ ]?,[ ](?:[A-ZÀ-Þ][\w'’.-]{{1,24}}[ ]?){{1,3}},[ ][0-9]{{5}}\b)?"
_NUMBER_FRONT = r"(?<![\w.,/-])[0-9]{1,6}[A-Za-z]?(?:[-/][0-9]{1,4}[A-Za-z]?)?,?"
_ENGLISH = Form(
    rf"{_NUMBER_FRONT}[ ](?:[NSEW]\.?[ ]|North[ ]|South[ ]|East[ ]|West[ ])?(?:(?:[A-ZÀ-Þ][\w'’.-]{{0,20}}"
    rf"|[0-9]{{1,3}}(?:st|nd|rd|th))[ ]){{1,4}}"
    rf"(?:{_PLAIN_WAYS}|{_CAPITAL_WAYS})\b\.?(?:[ ](?:NE|NW|SE|SW|N|S|E|W)\b)?{_UNIT}{_ZIP}".replace(
        f"(?:{_PLAIN_WAYS}|{_CAPITAL_WAYS})", f"(?i:{_PLAIN_WAYS}|{_CAPITAL_WAYS})"
    )
)
_ENGLISH_SMALL = Form(
    rf"(?<![\w.,/-])[0-9]{{1,5}}[ ](?:[a-z][\w'’.-]{{1,20}}[ ]){{1,3}}(?:street|avenue|boulevard|lane|road|blvd"
    rf"|ave|rd)\b{_UNIT}"
)
_DIGIT = Form(r"(?<![\w.,/-])[0-9]{1,6}")
_COMPOUND_HEAD = Form(r"(?:(?:[A-ZÀ-Þ][\w'’.-]{1,20}|van|de|der|den|het|am|an|zur|zum|von|im|in|'t)[ ]){1,2}\Z")
_COMPOUND_FORM = Form(
    r"(?:[\w'’.-]{1,24}[ ]){0,2}[\w'’.-]{0,60}?"
    r"(?:(?<=[a-zß-])ring(?=[ ,]{1,2}[0-9]{1,4}[a-z]?(?:[,.](?![0-9])|[;\n)/]|\Z))|"
    r"(?:stra(?:ss|ß)e|str\.|gasse|weg|allee|platz|damm|ufer|chaussee|markt|steig|stieg|straat|laan|plein"
    r"|gracht|kade|dijk|singel|steeg"
    r"|plaats|hof|pad|dreef|baan|boulevard|gatan|vägen|gade|vej))"
    rf"[ ,]{{1,2}}[0-9]{{1,5}}[ ]?[a-zA-Z]?(?:[-/][0-9]{{1,4}}[a-z]?)?\b{_EUROPEAN_TOWN}",
    re.IGNORECASE,
)
_JOINING = r"de|la|le|les|du|des|d'|l'|del|della|dei|delle|degli|di|da|do|dos|das|las|los|el|san|santa|saint|sainte|y|e"
_NAME = rf"(?:(?:{_JOINING})[ ]?|(?:[A-ZÀ-Þ]|[dlDL]['’])[\w'’.-]{{0,24}}[ ]?){{1,6}}"
_NUMBER_FIRST = Form(
    rf"(?<![\w.,/-])[0-9]{{1,4}}(?:[ ]?(?:bis|ter|[A-D]))?,?[ ](?i:rue|boulevard|bd|chemin|allée|impasse|quai"
    rf"|cours|faubourg|ruelle|avenue|place)\.?[ ]{_NAME}"
    rf"{_EUROPEAN_TOWN}"
)
_NUMBER_LAST = Form(
    r"(?i:rue|boulevard|bd|chemin|allée|impasse|quai|cours|faubourg|ruelle|avenue|place|calle|c/|avenida|avda"
    r"|paseo|plaza|camino|carrer|ronda|travesía|pasaje"
    r"|cuesta|glorieta|via|viale|piazza|corso|vicolo|largo|piazzale|strada|contrada|borgo|incrocio|rotonda"
    r"|stretto|canale|rua|travessa|praça|acceso|vial"
    r"|rambla|alameda|urbanización|cañada|pasadizo|callejón)\.?[ ]?"
    rf"{_NAME}(?:{_TOWN}|,?[ ](?:n[.º°]?[ ]?|nº[ ]?|núm\.?[ ]|s/n)?[0-9]{{1,5}}(?:[ ]?(?:[A-Za-z]\b|bis"
    rf"|piso[ ]?[0-9]{{1,2}}))?"
    rf"(?:,?[ ](?:[Pp]iso|[Aa]pt\.?|[Aa]ppartamento|esc\.?|[Pp]uerta|interno"
    rf"|bloque)[ ]?[0-9A-Z]{{1,4}}[ºª]?)*{_EUROPEAN_TOWN})"
)
_UNIT_FORM = Form(
    r"(?:suite|apt\.?|apartment|ste\.?|unit)[ ]#?[A-Z]?[0-9]{1,4}[A-Za-z]?\b|(?:po box|p\.o\. box|postfach"
    r"|apartado|casella postale)[ ]{1,2}[0-9]{1,6}\b",
    re.IGNORECASE,
)


def around(text: str, start: int, end: int) -> Hit | None:
    """The address around the word at this span."""
    word = text[start:end]
    if word[-1].isdigit():
        found = _compound(text, start, end)
    elif word.lower() in _CAPITALS and not word[0].isupper():
        return None
    else:
        found = _UNIT_FORM.match(text, start, end + 16) or _numbered(text, start, end)
    return None if found is None else Hit(found.start(), found.end(), "street_address", 0.6)


def _numbered(text: str, start: int, end: int) -> re.Match[str] | None:
    digit = _DIGIT.search(text, max(0, start - _BACK), start)
    while digit is not None:
        for form in (_ENGLISH, _ENGLISH_SMALL, _NUMBER_FIRST):
            found = form.match(text, digit.start(), end + _REACH)
            if found is not None and found.end() > start:
                return found
        digit = _DIGIT.search(text, digit.end(), start)
    return _NUMBER_LAST.match(text, start, end + _REACH)


def _compound(text: str, start: int, end: int) -> re.Match[str] | None:
    first = start
    while first and start - first < _BACK and (text[first - 1].isalnum() or text[first - 1] in "-'’."):
        first -= 1
    head = _COMPOUND_HEAD.search(text, max(0, first - 32), first)
    return _COMPOUND_FORM.match(text, first if head is None else head.start(), end + _REACH)
