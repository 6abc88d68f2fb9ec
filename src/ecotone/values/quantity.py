"""The number that an answer comes to, with its unit, and when two such numbers are the same. Pure."""

from __future__ import annotations

import math
import re
import unicodedata
from typing import Final

import msgspec

from ecotone.values.normal import marked

CHARS_MAX: Final = 16_384
"""Of a text in which numbers are looked for: its end, where the result stands."""

TAIL_CHARS: Final = 200
"""Of a text that are read first; nearly always its last number stands there."""

RELATIVE: Final = 1e-6
"""Two numbers that differ by less are one: the noise of printing and reading."""

_DIGITS: Final = r"\d+(?:[.,'’   ]\d{3})+(?:[.,]\d+)?(?!\d)|\d+(?:[.,]\d+)?|[.]\d+"
_NUMBER: Final = re.compile(
    rf"(?P<front>[$€£¥₹]|(?:USD|EUR|GBP|CHF)\s)?\s?(?P<sign>(?<!\w)[-+−]\s?)?(?P<back>[$€£¥₹]\s?)?"
    rf"(?<![\w.])(?P<digits>{_DIGITS})(?P<exponent>[eE][-+]?\d{{1,3}}|\s?[×x·]\s?10\s?\^\s?\{{?[-−]?\d{{1,3}}\}}?)?"
    rf"(?:\s?/\s?(?P<under>\d+(?:[.,]\d+)?)(?![\d/]))?"
    rf"(?P<unit>\s?(?:%|‰|°[CF]?|[$€£¥₹]|[^\W\d_]{{1,12}}(?:[²³]|\^[23])?(?:/[^\W\d_]{{1,6}})?))?"
)
_FRACTION: Final = re.compile(r"\\[dt]?frac\s*\{\s*(-?\d+(?:\.\d+)?)\s*\}\s*\{\s*(\d+(?:\.\d+)?)\s*\}")
_TIMES_TEN: Final = re.compile(r"10\s?\^\s?\{?([-−]?\d{1,3})")
_NOISE: Final = re.compile(r"\\(?:text|mathrm|mathbf)\s*\{([^{}]*)\}|\\(?=[%$])|\\[,;! ]")

_UNITS: Final[dict[str, tuple[str, float]]] = {
    "%": ("%", 1.0), "percent": ("%", 1.0), "prozent": ("%", 1.0), "pct": ("%", 1.0), "‰": ("%", 0.1),
    "$": ("usd", 1.0), "usd": ("usd", 1.0), "dollar": ("usd", 1.0), "dollars": ("usd", 1.0),
    "cent": ("usd", 0.01), "cents": ("usd", 0.01),
    "€": ("eur", 1.0), "eur": ("eur", 1.0), "euro": ("eur", 1.0), "euros": ("eur", 1.0),
    "£": ("gbp", 1.0), "gbp": ("gbp", 1.0), "pounds": ("gbp", 1.0), "¥": ("jpy", 1.0), "₹": ("inr", 1.0),
    "mm": ("m", 1e-3), "cm": ("m", 1e-2), "m": ("m", 1.0), "km": ("m", 1e3), "meters": ("m", 1.0), "metres": ("m", 1.0),
    "meter": ("m", 1.0), "kilometers": ("m", 1e3), "kilometres": ("m", 1e3), "mile": ("m", 1609.344),
    "miles": ("m", 1609.344), "ft": ("m", 0.3048), "feet": ("m", 0.3048), "inches": ("m", 0.0254),
    "mg": ("g", 1e-3), "g": ("g", 1.0), "kg": ("g", 1e3), "grams": ("g", 1.0), "kilograms": ("g", 1e3),
    "ml": ("l", 1e-3), "l": ("l", 1.0), "liter": ("l", 1.0), "liters": ("l", 1.0), "litres": ("l", 1.0),
    "ms": ("s", 1e-3), "s": ("s", 1.0), "sec": ("s", 1.0), "second": ("s", 1.0), "seconds": ("s", 1.0),
    "min": ("s", 60.0), "minute": ("s", 60.0), "minutes": ("s", 60.0), "h": ("s", 3600.0), "hour": ("s", 3600.0),
    "hours": ("s", 3600.0), "day": ("s", 86400.0), "days": ("s", 86400.0),
    "°c": ("°c", 1.0), "°f": ("°f", 1.0),
}  # fmt: skip  # a table is read by its columns
"""What a unit measures, and how much of it. A word that is not here (`apples`) says nothing against another."""


class Quantity(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A number as it was written.

    Attributes:
        value: Without its unit's factor.
        decimals: Digits behind the point, without zeros at the end.
        digits: Significant ones.
        unit, factor: What it is measured in (`m`, `usd`, `%`; '' = nothing known), and how many of it one is.
    """

    value: float
    decimals: int = 0
    digits: int = 1
    unit: str = ""
    factor: float = 1.0


def quantity(text: str) -> Quantity | None:
    r"""The number that a text comes to: the one that it marks as its answer, else its last one; None without any.

    Reads signs, decimal points and commas, grouped thousands, exponents, `3/4`, `\frac{3}{4}`, currencies, percents.
    """
    answer = marked(text)
    found = numbers(answer) if answer else []
    if found:
        return found[0]
    found = numbers(text[-TAIL_CHARS:]) or numbers(text)
    return found[-1] if found else None


def numbers(text: str) -> list[Quantity]:
    """All numbers of a text, in order; of a text longer than `CHARS_MAX`, those of its end."""
    text = text[-CHARS_MAX:]
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text).replace("⁄", "/")
    text = _NOISE.sub(r"\1", _FRACTION.sub(r" \1/\2 ", text))
    return [read for found in _NUMBER.finditer(text) if (read := _quantity(found)) is not None]


def is_same(one: Quantity, other: Quantity) -> bool:
    """Whether two numbers are the same, as far as they were written out.

    - Units are converted where both are known; of different kinds, they differ. A percent is also its hundredth.
    - With at least two significant digits and a decimal on both sides, the one written shorter is the other, rounded.
    """
    if one.unit and other.unit and one.unit != other.unit:
        return False
    if one.unit and other.unit:
        scale, other_scale = one.factor, other.factor
    else:
        scale = other_scale = 1.0
    if _is_close(one, other, scale, other_scale):
        return True
    if "%" in (one.unit, other.unit) and one.unit != other.unit:
        return _is_close(one, other, *((0.01, 1.0) if one.unit else (1.0, 0.01)))
    return False


def _is_close(one: Quantity, other: Quantity, scale: float, other_scale: float) -> bool:
    a, b = one.value * scale, other.value * other_scale
    if math.isclose(a, b, rel_tol=RELATIVE, abs_tol=1e-12):
        return True
    rounded = [
        0.5 * 10.0**-each.decimals * size * (1 + 1e-9)
        for each, size in ((one, scale), (other, other_scale))
        if each.decimals and each.digits >= 2
    ]
    return len(rounded) == 2 and abs(a - b) <= max(rounded)


def _quantity(found: re.Match[str]) -> Quantity | None:
    glued = found["unit"] or ""
    if glued[:1].isalpha() and glued.casefold() not in _UNITS:
        # `1oE`, `2nd`: a number that letters go on without a blank is a part of a word.
        return None
    digits, decimals = _plain(found["digits"])
    value = float(f"{digits}e{_exponent(found['exponent'])}")
    if found["under"]:
        under = float(_plain(found["under"])[0])
        if not under:
            return None
        # A fraction is exact; written as a decimal it may be rounded.
        value, decimals = value / under, 12
    if found["sign"] and found["sign"][0] != "+":
        value = -value
    if not math.isfinite(value):
        return None
    unit, factor = _unit(found)
    # `5.0` is five, not something between 4.95 and 5.05.
    decimals -= len(digits) - len(digits.rstrip("0")) if decimals and not found["under"] else 0
    significant = len(digits.replace(".", "").lstrip("0")) if not found["under"] else 12
    return Quantity(value=value, decimals=decimals, digits=significant, unit=unit, factor=factor)


def _exponent(written: str | None) -> int:
    """Of `e-3` or `x 10^{-3}`; 0 where none is written."""
    if not written:
        return 0
    ten = _TIMES_TEN.search(written)
    return int((ten[1] if ten else written[1:]).replace("−", "-"))


def _unit(found: re.Match[str]) -> tuple[str, float]:
    for group in ("front", "back", "unit"):
        known = _UNITS.get((found[group] or "").strip().casefold())
        if known is not None:
            return known
    return "", 1.0


def _plain(written: str) -> tuple[str, int]:
    """(digits with a point at most, decimals) of a number with any grouping.

    One separator alone groups where three digits follow it and it is a comma, an apostrophe or a space; a point is
    decimal then. Of two kinds the last one is decimal.
    """
    marks = [char for char in written if not char.isdigit()]
    if not marks:
        return written, 0
    last = marks[-1]
    behind = len(written) - written.rfind(last) - 1
    is_decimal = last in ".," and marks.count(last) == 1 and (len(marks) > 1 or last == "." or behind != 3)
    if not is_decimal:
        return "".join(char for char in written if char.isdigit()), 0
    whole, _, part = written.rpartition(last)
    return "".join(char for char in whole if char.isdigit()) + "." + part, len(part)
