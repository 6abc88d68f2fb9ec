"""Checksums and calendars: what tells a number that means someone from a number that is only long.

Each takes the number with its separators and says whether it can be genuine. The rare ones are python-stdnum's.
"""

from __future__ import annotations

from collections.abc import Callable

from stdnum import verhoeff
from stdnum.br import cnpj as br_cnpj
from stdnum.br import cpf as br_cpf
from stdnum.ch import ssn as ch_ssn
from stdnum.cl import rut as cl_rut
from stdnum.cn import uscc as cn_uscc
from stdnum.cz import rc as cz_rc
from stdnum.de import idnr as de_idnr
from stdnum.es import dni as es_dni
from stdnum.es import nie as es_nie
from stdnum.fi import hetu as fi_hetu
from stdnum.fr import nir as fr_nir
from stdnum.gb import nhs as gb_nhs
from stdnum.it import codicefiscale as it_cf
from stdnum.mx import curp as mx_curp
from stdnum.pl import pesel as pl_pesel

Check = Callable[[str], bool]

_DOUBLED = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)

# Provinces in the first two digits of a Chinese resident id. Source: GB/T 2260.
_PROVINCES = frozenset(
    [
        "11",
        "12",
        "13",
        "14",
        "15",
        "21",
        "22",
        "23",
        "31",
        "32",
        "33",
        "34",
        "35",
        "36",
        "37",
        "41",
        "42",
        "43",
        "44",
        "45",
        "46",
        "50",
        "51",
        "52",
        "53",
        "54",
        "61",
        "62",
        "63",
        "64",
        "65",
        "71",
        "81",
        "82",
        "83",
    ]
)
_RIC_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_MONTH_DAYS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)

# Length of an IBAN by country. Source: SWIFT's IBAN registry.
_IBAN_LENGTHS = {
    part[:2]: int(part[2:])
    for part in [
        "AD24",
        "AE23",
        "AL28",
        "AT20",
        "AZ28",
        "BA20",
        "BE16",
        "BG22",
        "BH22",
        "BR29",
        "BY28",
        "CH21",
        "CR22",
        "CY28",
        "CZ24",
        "DE22",
        "DK18",
        "DO28",
        "EE20",
        "EG29",
        "ES24",
        "FI18",
        "FO18",
        "FR27",
        "GB22",
        "GE22",
        "GI23",
        "GL18",
        "GR27",
        "GT28",
        "HR21",
        "HU28",
        "IE22",
        "IL23",
        "IQ23",
        "IS26",
        "IT27",
        "JO30",
        "KW30",
        "KZ20",
        "LB28",
        "LC32",
        "LI21",
        "LT20",
        "LU20",
        "LV21",
        "LY25",
        "MC27",
        "MD24",
        "ME22",
        "MK19",
        "MR27",
        "MT31",
        "MU30",
        "NL18",
        "NO15",
        "PK24",
        "PL28",
        "PS29",
        "PT25",
        "QA29",
        "RO24",
        "RS22",
        "RU33",
        "SA24",
        "SC31",
        "SE24",
        "SI19",
        "SK24",
        "SM27",
        "ST25",
        "SV28",
        "TL23",
        "TN24",
        "TR26",
        "UA29",
        "VA22",
        "VG24",
        "XK20",
    ]
}


def digits_of(number: str) -> str:
    """Only the ASCII digits of it."""
    return "".join(c for c in number if "0" <= c <= "9")


def bare(number: str) -> str:
    """Letters and digits of it, upper-case."""
    return "".join(c for c in number if c.isalnum()).upper()


def luhn(number: str) -> bool:
    """Luhn's sum over the digits. Source: ISO/IEC 7812-1, annex B."""
    digits = [ord(c) - 48 for c in reversed(number) if "0" <= c <= "9"]
    return (sum(digits[::2]) + sum(_DOUBLED[d] for d in digits[1::2])) % 10 == 0


def card_brand(digits: str) -> bool:
    """The first digits and the length are those of a payment network."""
    two, size = digits[:2], len(digits)
    if digits[0] == "4":
        return size in (13, 16, 19)
    if "51" <= two <= "55" or "2221" <= digits[:4] <= "2720" or two == "22":
        return size == 16
    if two in ("34", "37"):
        return size == 15
    if two in ("36", "38", "39", "30"):
        return size in (14, 16)
    if two == "62":
        return 16 <= size <= 19
    if two in ("60", "64", "65", "35", "81"):
        return 16 <= size <= 19
    return two in ("50", "56", "57", "58", "59", "63", "66", "67", "68", "69") and size in (12, 13, 16, 18, 19)


def card(number: str) -> bool:
    """A payment card: a network's first digits, and Luhn."""
    digits = digits_of(number)
    return 12 <= len(digits) <= 19 and card_brand(digits) and luhn(digits) and len(set(digits)) > 1


def iban(number: str) -> bool:
    """ISO 7064 mod 97 of a number as long as its country's are."""
    value = bare(number)
    return int("".join(str(int(c, 36)) for c in value[4:] + value[:4])) % 97 == 1


def iban_length(country: str) -> int:
    """Places of an IBAN of that country; 0 where it has none."""
    return _IBAN_LENGTHS.get(country.upper(), 0)


def calendar(year: str, month: str, day: str) -> bool:
    """A day that exists; a year of two digits is taken as it is."""
    if len(year) == 4 and not "1900" <= year <= "2035":
        return False
    return "01" <= month <= "12" and 1 <= int(day) <= _MONTH_DAYS[int(month) - 1]


def ric(number: str) -> bool:
    """A Chinese resident id: province, birthday and check digit. Source: GB 11643-1999."""
    value = bare(number)
    if value[:2] not in _PROVINCES or not calendar(value[6:10], value[10:12], value[12:14]):
        return False
    return "10X98765432"[sum(w * int(c) for w, c in zip(_RIC_WEIGHTS, value[:17], strict=True)) % 11] == value[17]


def nino(number: str) -> bool:
    """A British National Insurance number's prefix is one that is given out. Source: HMRC, NIM39110."""
    first, second = number[0].upper(), number[1].upper()
    return (
        first not in "DFIQUV"
        and second not in "DFIOQUV"
        and first + second not in ("BG", "GB", "KN", "NK", "NT", "TN", "ZZ")
    )


def ssn(number: str) -> bool:
    """Not a number that is never given out (area 000, group 00, serial 0000). Source: SSA, POMS RM 10201.035."""
    digits = digits_of(number)
    return len(digits) == 9 and digits[:3] != "000" and digits[3:5] != "00" and digits[5:] != "0000"


def aadhaar(number: str) -> bool:
    """An Indian Aadhaar number: Verhoeff's sum."""
    digits = digits_of(number)
    return digits[0] not in "01" and bool(verhoeff.is_valid(digits))


def birthday_first(number: str) -> bool:
    """Six digits YYMMDD stand first (Korea, Malaysia)."""
    digits = digits_of(number)
    return calendar(digits[:2], digits[2:4], digits[4:6])


def personnummer(number: str) -> bool:
    """A Swedish personal number: birthday and Luhn over the last ten digits."""
    digits = digits_of(number)[-10:]
    return calendar(digits[:2], digits[2:4], digits[4:6]) and luhn(digits)


def rijksregister(number: str) -> bool:
    """A Belgian national number, born before or after 2000. Source: Royal Decree of 3 April 1984."""
    digits = digits_of(number)
    want = int(digits[9:])
    return want in (97 - int(digits[:9]) % 97, 97 - int("2" + digits[:9]) % 97)


def rentennummer(number: str) -> bool:
    """A German pension insurance number: the birthday in it exists, its check digit fits. Source: VKVV § 2."""
    value = bare(number)
    if not calendar(value[6:8], value[4:6], value[2:4]):
        return False
    expanded = f"{value[:8]}{ord(value[8]) - 64:02d}{value[9:11]}"
    weights = (2, 1, 2, 5, 7, 1, 2, 1, 2, 1, 2, 1)
    total = sum(sum(divmod(int(c) * w, 10)) for c, w in zip(expanded, weights, strict=False))
    return total % 10 == int(value[11])


def nric(number: str) -> bool:
    """A Singapore identity number. Source: the published check-letter tables."""
    value = bare(number)
    total = sum(int(c) * w for c, w in zip(value[1:8], (2, 7, 6, 5, 4, 3, 2), strict=True)) + (
        4 if value[0] in "TG" else 0
    )
    if value[0] == "M":
        return True
    return ("JZIHGFEDCBA" if value[0] in "ST" else "XWUTRQPNMLK")[total % 11] == value[8]


def ipv4(number: str) -> bool:
    """Four parts of at most 255, without leading zeros; not the machine itself (127.0.0.1)."""
    parts = number.split(".")
    if parts[0] == "127" or number == "0.0.0.0":  # noqa: S104 - nothing is bound: nobody is meant by these
        return False
    return all(len(p) == 1 or p[0] != "0" for p in parts) and all(int(p) <= 255 for p in parts)


# Digits of a number with its country code. Source: the national plans; others may have fifteen (ITU E.164).
_NATIONAL = {
    "1": 11, "7": 11, "31": 11, "33": 11, "34": 11, "44": 12, "32": 11, "41": 11, "45": 10, "47": 10, "48": 11,
    "55": 13, "86": 13, "91": 12, "81": 12, "82": 12, "39": 13, "49": 14, "43": 14, "46": 12, "351": 12, "852": 11,
}  # fmt: skip


def international(number: str) -> bool:
    """No more digits than the country has, and no decimal with a sign."""
    digits = digits_of(number)
    if number[1:].replace(".", "", 1) == digits and "." in number:
        return False
    local = digits if "+" in number else digits[2:]
    if len(set(digits)) < 3 or ("+" not in number and local[0] == "1" and len(local) != 11):
        return False
    most = next((_NATIONAL[local[:n]] for n in (1, 2, 3) if local[:n] in _NATIONAL), 15)
    return len(local) - ("(0)" in number) <= most


def bare_nanp(number: str) -> bool:
    """Ten digits that a North American number can be. Source: NANPA, NPA-NXX-XXXX with N from 2 to 9."""
    return number[1:3] != "11" and number[4:6] != "11" and not number.endswith("000") and len(set(number)) > 3


def trunk(number: str) -> bool:
    """A number of a country's own net, with its leading 0: not a date, not padded with zeros, not of 0 and 1 alone."""
    digits = digits_of(number)
    return len(set(digits)) > 2 and (digits[:3] != "000" or number[0] == "(") and digits != "0123456789"


def idnr_spaced(number: str) -> bool:
    """A German tax id with its check digit, in its usual groups (any eleven digits pass one time in ten)."""
    return " " in number and bool(de_idnr.is_valid(number))


dni: Check = es_dni.is_valid
uscc: Check = cn_uscc.is_valid
nie: Check = es_nie.is_valid
nir: Check = fr_nir.is_valid
codice_fiscale: Check = it_cf.is_valid
nhs: Check = gb_nhs.is_valid
cpf: Check = br_cpf.is_valid
cnpj: Check = br_cnpj.is_valid
pesel: Check = pl_pesel.is_valid
ahv: Check = ch_ssn.is_valid
hetu: Check = fi_hetu.is_valid
rut: Check = cl_rut.is_valid
rodne_cislo: Check = cz_rc.is_valid
curp: Check = mx_curp.is_valid
