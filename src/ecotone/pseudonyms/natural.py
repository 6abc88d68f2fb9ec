"""Surrogates of the same form as their values, out of what is reserved for examples or belongs to nobody. Pure.

They keep what a schema or a program may check (an address has an `@`, a card's digits add up, a number has as many
digits), and tell nothing of the value but that form.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from ecotone.pseudonyms import dates
from ecotone.pseudonyms.names import script
from ecotone.pseudonyms.scope import Dice

NUMBER_DIGITS_MIN: Final = 5
"""Shorter numbers have too few others of their length."""
_CHANGED_MIN: Final = 4
"""With fewer signs changed, a scrambled value would still tell the value."""

_MAILBOXES: Final = ("mail", "inbox", "contact", "user", "box", "desk")
_MAIL_DOMAINS: Final = ("example.com", "example.org", "example.net")
"""Source: RFC 2606, section 3."""

_NETS: Final = ("192.0.2", "198.51.100", "203.0.113")
"""Source: RFC 5737."""

_AREAS: Final = (
    "202",
    "303",
    "404",
    "503",
    "602",
    "701",
    "802",
    "907",
    "212",
    "313",
    "415",
    "512",
    "614",
    "713",
    "816",
)
_CARD_BINS: Final = {"3": "378282", "5": "555555", "6": "601111", "2": "222300"}
"""What the card networks' own test numbers begin with; all others as Visa's."""

_STREETS: Final = ("Ferngate", "Millbourne", "Ashlar", "Quenby", "Thornwick", "Larkhill", "Orvane", "Selwick", "Tamsin")
_TOWNS: Final = (
    "Northvale", "Eastmere", "Port Alder", "Wexcombe", "Lindholt", "Marrowby", "Casterton Vale", "Ostbrook", "Velden",
    "Harrowgate End", "Silverholt", "Brackwater", "Tarnfeld", "Ravensmoor", "Quillham", "Sandrow", "Yarnwick",
)  # fmt: skip
_HAN_TOWNS: Final = ("云川", "临沂湾", "青岚", "洛溪", "宁枫", "安澜", "海棠湾", "星野")
_FIRMS: Final = (
    "Ostrava Lumen", "Brindle & Vane", "Kestrel Loom", "Talverra", "Norvane", "Quillmark", "Ambershade", "Corvantis",
    "Feldspar Nine", "Helmora", "Juniper Cask", "Lorvento", "Merrowtech", "Pellucid Arc", "Rivenstone", "Solvanta",
)  # fmt: skip
_FIRM_FORM: Final = re.compile(
    r"(?:,? (?:GmbH(?: & Co\. KG)?|AG|KG|UG|SE|e\.V\.|Ltd\.?|Limited|LLC|LLP|Inc\.?|Corp\.?|Corporation|Company|Co\.|"
    r"plc|S\.?A\.?S?|SARL|S\.?L\.?|S\.?r\.?l\.?|S\.?p\.?A\.?|B\.?V\.?|N\.?V\.?|Group|University|Hospital|Bank))+$|"
    r"(?:有限)?公司$|集团$|银行$|医院$|大学$"
)
_GERMAN_STREET: Final = re.compile(r"(?i)stra(?:ß|ss)e|str\.|weg\b|platz\b|gasse\b|allee\b")


def value(written: str, label: str, kind: str, dice: Dice, attempt: int) -> str | None:
    """Another value of this kind; None where there is none to be had. The same for the same question."""
    roll = _Roll(dice, _plain(written) or written, attempt)
    make = None if label == "secret" else next((make for name, make in _BY_KIND if name in kind), None)
    make = make or _BY_LABEL.get(label)
    if make is not None:
        return make(written, roll)
    return scrambled(written, roll) if any(char.isdigit() for char in written) else None


class _Roll:
    """The dice for one value and attempt."""

    def __init__(self, dice: Dice, key: str, attempt: int) -> None:
        self._dice = dice
        self._key = key
        self.attempt = attempt

    def number(self, below: int, name: str = "") -> int:
        """From 0 to `below` - 1."""
        return self._dice.number(below, "value", self._key, self.attempt, name)

    def digits(self, count: int) -> str:
        """So many."""
        return self._dice.digits(count, "value", self._key, self.attempt)

    def pick(self, choices: tuple[str, ...], name: str = "pick") -> str:
        """One of them."""
        return choices[self.number(len(choices), name)]

    def shift_days(self) -> int:
        """The same for all dates of a conversation, as long as no moved date stands in the text."""
        days = 30 + self._dice.number(331, "days", self.attempt)
        return days if self._dice.number(2, "direction", self.attempt) else -days


def _email(written: str, roll: _Roll) -> str | None:
    if "@" not in written:
        return scrambled(written, roll)
    return f"{roll.pick(_MAILBOXES)}{1000 + roll.number(9000)}@{roll.pick(_MAIL_DOMAINS, 'domain')}"


def _phone(written: str, roll: _Roll) -> str | None:
    main = re.split(r"(?i)\s*(?:x|ext|#|durchwahl|分机)", written, maxsplit=1)[0]
    digits = _digits(main)
    if len(digits) < 7:
        return scrambled(written, roll)
    made = _phone_prefix(main, digits, roll)
    made = made[: len(digits)] + roll.digits(max(0, len(digits) - len(made)))
    extension = "".join(
        str(roll.number(10, f"x{at}")) if char.isdecimal() else char for at, char in enumerate(written[len(main) :])
    )
    return refilled(main, made) + extension


def _phone_prefix(written: str, digits: str, roll: _Roll) -> str:
    """The digits of a number that nobody has, but for the last ones; where no such range is known, with zeros.

    Source: NANPA, 555 line numbers; Bundesnetzagentur, Arcep and Ofcom, numbers for drama use.
    """
    size = len(digits)
    is_international = written.lstrip().startswith(("+", "00"))
    code = digits[2:] if digits.startswith("00") and is_international else digits
    lead = digits[: size - len(code)]
    if size == 7:
        return "55501"
    is_mobile_cn = size == 11 and re.match(r"1[3-9]", digits) is not None and written.strip().isdecimal()
    if (size == 10 and digits[0] in "23456789") or (size == 11 and digits[0] == "1" and not is_mobile_cn):
        return f"{digits[: size - 10]}{roll.pick(_AREAS, 'area')}55501"
    if is_mobile_cn:
        return "1000000"
    if is_international:
        known = {"49": "493023125", "33": "3319900", "44": "442079460", "86": "861000000"}
        made = known.get(code[:2], code[:2] + "000")
        return lead + (f"{made[:2]}0{made[2:]}" if "(0)" in written else made)
    if size == 10 and re.match(r"0\d[ .-]?\d\d[ .-]?\d\d", written.strip()):
        return "019900"
    return "03023125" if digits[0] == "0" else digits[:2] + "000"


def _ip(written: str, roll: _Roll) -> str | None:
    address, slash, bits = written.partition("/")
    if ":" in address:
        return (
            f"2001:db8:{roll.number(65536, 'a'):x}:{roll.number(65536, 'b'):x}::{1 + roll.number(65535):x}{slash}{bits}"
        )
    return f"{roll.pick(_NETS)}.{1 + roll.number(254)}{slash}{bits}"


def _mac(written: str, roll: _Roll) -> str | None:
    # Source: RFC 7042, 2.1.2: the block for documentation.
    made = f"00005e0053{roll.number(256):02x}"
    return refilled(written, made.upper() if written.isupper() else made)


def _handle(written: str, roll: _Roll) -> str | None:
    return f"{'@' if written.startswith('@') else ''}user{10000 + roll.number(90000)}"


def _card(written: str, roll: _Roll) -> str | None:
    digits = _digits(written)
    if len(digits) < 12:
        return scrambled(written, roll)
    body = _CARD_BINS.get(digits[0], "400000") + roll.digits(len(digits) - 7)
    return refilled(written, body + luhn_digit(body))


def _iban(written: str, roll: _Roll) -> str | None:
    plain = _plain(written).upper()
    if re.fullmatch(r"[A-Z]{2}\d\d[A-Z0-9]{10,30}", plain) is None:
        return scrambled(written, roll)
    bank, account = plain[4:8], scrambled(plain[8:], roll, changed_min=0) or ""
    body = "".join("0" if char.isdigit() else "X" for char in bank) + account
    number = int("".join(str(int(char, 36)) for char in f"{body}{plain[:2]}00"))
    return refilled(written, f"{plain[:2]}{98 - number % 97:02d}{body}")


def _national(written: str, roll: _Roll) -> str | None:
    """Of the same form, with what no office gives out where that is known."""
    made = scrambled(written, roll)
    digits = "".join(char for char in made or "" if char.isdecimal())
    if made is None or not digits:
        return made
    plain = _plain(written)
    if plain.isdecimal() and len(plain) == 9:
        return refilled(written, f"9{digits[1:3]}0{digits[4:]}")  # US: no number begins with 9 and has a group below 10
    if re.fullmatch(r"\d{17}[\dXx]", plain):
        return refilled(written, "00" + _plain(made)[2:])  # CN: no region is 00
    if re.fullmatch(r"\d{8}[A-Za-z]", plain):
        return refilled(written, _plain(made)[:8] + "U")  # ES: U is no check letter
    return made


def _date(written: str, roll: _Roll) -> str | None:
    return dates.moved(written, roll.shift_days()) or scrambled(written, roll)


def _address(written: str, roll: _Roll) -> str | None:
    if not any(char.isalpha() for char in written):
        return scrambled(written, roll)
    number = 1 + roll.number(899, "house")
    if script(written) in ("han", "hangul"):
        return f"{roll.pick(_HAN_TOWNS)}路{number}号"
    street = roll.pick(_STREETS)
    return f"{street}weg {number}" if _GERMAN_STREET.search(written) else f"{number} {street} Road"


def _place(written: str, roll: _Roll) -> str | None:
    return roll.pick(_HAN_TOWNS) + "市" if script(written) == "han" else roll.pick(_TOWNS)


def _organisation(written: str, roll: _Roll) -> str | None:
    form = _FIRM_FORM.search(written)
    name = roll.pick(_HAN_TOWNS) if script(written) == "han" else roll.pick(_FIRMS)
    return name + (form[0] if form else "")


def _secret(written: str, roll: _Roll) -> str | None:
    """Of the same length and classes of signs; what tells the kind (`sk-`, `https://`) stays."""
    prefix = re.match(
        r"[a-z][a-z0-9+.-]*://|(?:[A-Za-z]{2,8}[_-]){1,3}(?=\w{12})|(?:AKIA|ASIA|AIza|eyJ)(?=\w{12})", written
    )
    kept = prefix[0] if prefix else ""
    made = scrambled(written[len(kept) :], roll)
    return None if made is None else kept + made


def scrambled(written: str, roll: _Roll, *, changed_min: int = _CHANGED_MIN) -> str | None:
    """Each letter and digit by another one of its class, all else as it is; None where too little would change."""
    number = roll.number(1 << 120, f"scramble {len(written)}") if len(written) < 24 else 0
    made, changed = [], 0
    for at, char in enumerate(written):
        base, size = _class(char)
        if size == 0:
            made.append(char)
            continue
        if len(written) >= 24:
            number = roll.number(1 << 120, f"scramble {at}") if at % 16 == 0 or number == 0 else number
        number, digit = divmod(number, size)
        made.append(chr(base + digit))
        changed += 1
    is_telling = changed < changed_min or any(char.isalnum() and not _class(char)[1] for char in written)
    return None if changed_min and is_telling else "".join(made)


def _class(char: str) -> tuple[int, int]:
    """(first, how many) of the signs of this one's class; none for what is no letter or digit of ASCII."""
    if "0" <= char <= "9":
        return 48, 10
    if "a" <= char <= "z":
        return 97, 26
    return (65, 26) if "A" <= char <= "Z" else (0, 0)


def refilled(written: str, signs: str) -> str:
    """The signs in the places of the written letters and digits, what stands between them as it was."""
    left = iter(signs)
    return "".join(next(left, "") if char.isalnum() else char for char in written)


def luhn_digit(body: str) -> str:
    """The digit that makes the sum right. Source: ISO/IEC 7812-1, annex B."""
    total = 0
    for at, char in enumerate(reversed(body)):
        digit = int(char) * (2 - at % 2)
        total += digit - 9 if digit > 9 else digit
    return str(-total % 10)


def _digits(written: str) -> str:
    """The decimal digits, whatever script they are written in, as ASCII's."""
    return "".join(str(int(char)) for char in written if char.isdecimal())


def _plain(written: str) -> str:
    return "".join(char for char in written if char.isalnum())


_Make = Callable[[str, _Roll], "str | None"]
_BY_KIND: Final[tuple[tuple[str, _Make], ...]] = (
    ("email", _email),
    ("phone", _phone),
    ("fax", _phone),
    ("iban", _iban),
    ("mac", _mac),
    ("ip", _ip),
    ("handle", _handle),
    ("birth", _date),
)
_BY_LABEL: Final[dict[str, _Make]] = {
    "card": _card,
    "national_id": _national,
    "date": _date,
    "address": _address,
    "place": _place,
    "organisation": _organisation,
    "secret": _secret,
}
