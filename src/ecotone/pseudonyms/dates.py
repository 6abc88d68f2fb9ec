"""Dates as they are written, moved by some days and written the same way. Pure; without a calendar of the system."""

from __future__ import annotations

import re
from typing import Final

from ecotone.pseudonyms.names import in_case_of

_LISTS: Final = tuple(
    names.split()
    for names in (
        "January February March April May June July August September October November December",
        "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec",
        "Januar Februar März April Mai Juni Juli August September Oktober November Dezember",
        "janvier février mars avril mai juin juillet août septembre octobre novembre décembre",
        "enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre",
        "gennaio febbraio marzo aprile maggio giugno luglio agosto settembre ottobre novembre dicembre",
        "januari februari maart april mei juni juli augustus september oktober november december",
    )
)
_MONTHS: Final = {name.lower(): number for names in _LISTS for number, name in enumerate(names, 1)}

_YEAR_FIRST: Final = re.compile(r"(\d{4})(\s?[-/.年]\s?)(\d{1,2})(\s?[-/.月]\s?)(\d{1,2})(日?)", re.ASCII)
_YEAR_LAST: Final = re.compile(r"(\d{1,2})(\s?[-/.]\s?)(\d{1,2})(\s?[-/.]\s?)(\d{4}|\d{2})", re.ASCII)
_COMPACT: Final = re.compile(r"((?:19|20)\d\d)(\d\d)(\d\d)", re.ASCII)
_DAY_NAMED: Final = re.compile(r"(\d{1,2})((?:st|nd|rd|th|\.|er)?(?: of| de)? )([^\W\d]{3,12})(\.?,?(?: de)? )(\d{4})")
_NAMED_DAY: Final = re.compile(r"([^\W\d]{3,12})(\.? )(\d{1,2})((?:st|nd|rd|th)?,? )(\d{4})")


def moved(written: str, days: int) -> str | None:
    """The date so many days later; None where it is not a date in a form that is known."""
    if found := _YEAR_FIRST.fullmatch(written):
        return _put(found, (1, 3, 5), days)
    if found := _COMPACT.fullmatch(written):
        return _put(found, (1, 2, 3), days)
    if found := _YEAR_LAST.fullmatch(written):
        first, second = int(found[1]), int(found[3])
        is_month_first = second > 12 or ("/" in found[2] and first <= 12)
        return _put(found, (5, 1, 3) if is_month_first else (5, 3, 1), days)
    if found := _DAY_NAMED.fullmatch(written):
        return _put(found, (5, 3, 1), days)
    if found := _NAMED_DAY.fullmatch(written):
        return _put(found, (5, 1, 3), days)
    return None


def _put(found: re.Match[str], places: tuple[int, int, int], days: int) -> str | None:
    """The match with another date at the places of year, month and day."""
    groups = list(found.groups())
    year, month, day = (groups[place - 1] for place in places)
    number = int(month) if month.isdigit() else _MONTHS.get(month.lower(), 0)
    full_year = int(year) + (0 if len(year) == 4 else 2000 if int(year) < 40 else 1900)
    if not 1 <= number <= 12 or not 1 <= int(day) <= 31:
        return None
    new_year, new_month, new_day = _date(_day_number(full_year, number, int(day)) + days)
    groups[places[0] - 1] = f"{new_year:04d}"[-len(year) :]
    groups[places[1] - 1] = _same_width(new_month, month) if month.isdigit() else _month_like(month, number, new_month)
    groups[places[2] - 1] = _same_width(new_day, day)
    return "".join(groups)


def _same_width(number: int, written: str) -> str:
    """Two digits where two were written."""
    return f"{number:02d}" if len(written) == 2 else str(number)


def _month_like(written: str, old: int, new: int) -> str:
    """A month's name in the language, length and case of another one."""
    names = next(names for names in _LISTS if names[old - 1].lower() == written.lower())
    name = names[new - 1]
    return in_case_of(name.capitalize(), written)


def _day_number(year: int, month: int, day: int) -> int:
    """Days since 0000-03-01. Source: H. Hinnant, chrono-compatible low-level date algorithms, `days_from_civil`."""
    year -= month <= 2
    era, of_era = divmod(year, 400)
    of_year = (153 * (month - 3 if month > 2 else month + 9) + 2) // 5 + day - 1
    return era * 146097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year


def _date(number: int) -> tuple[int, int, int]:
    """Year, month and day of a day's number. Source: as above, `civil_from_days`."""
    era, of_era = divmod(number, 146097)
    year_of_era = (of_era - of_era // 1460 + of_era // 36524 - of_era // 146096) // 365
    of_year = of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    month_from_march = (5 * of_year + 2) // 153
    day = of_year - (153 * month_from_march + 2) // 5 + 1
    month = month_from_march + 3 if month_from_march < 10 else month_from_march - 9
    return year_of_era + era * 400 + (month <= 2), month, day
