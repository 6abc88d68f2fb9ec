"""Dates in the forms that they are written in."""

from __future__ import annotations

import pytest

from ecotone.pseudonyms.dates import moved


@pytest.mark.parametrize(
    ("written", "days", "wanted"),
    [
        ("2024-02-28", 2, "2024-03-01"),
        ("2023/12/31", 1, "2024/01/01"),
        ("2000.1.1", -1, "1999.12.31"),
        ("1980年3月12日", 30, "1980年4月11日"),
        ("19800312", 366, "19810313"),
        ("12.03.1980", -12, "29.02.1980"),
        ("3.4.80", 1, "4.4.80"),
        ("03/04/1980", 1, "03/05/1980"),
        ("25/04/1980", 10, "05/05/1980"),
        ("04/25/1980", 10, "05/05/1980"),
        ("1-2-39", 1, "2-2-39"),
        ("12 March 1980", 30, "11 April 1980"),
        ("12th of March, 1980", 1, "13th of March, 1980"),
        ("12. März 1980", 60, "11. Mai 1980"),
        ("1er mars 1980", 31, "1er avril 1980"),
        ("12 de marzo de 1980", 30, "11 de abril de 1980"),
        ("March 12, 1980", -12, "February 29, 1980"),
        ("MAR 12 1980", 30, "APR 11 1980"),
        ("1600-03-01", -1, "1600-02-29"),
    ],
)
def test_moved_and_written_the_same_way(written: str, days: int, wanted: str) -> None:
    assert moved(written, days) == wanted
    if len(written) == len(wanted) and "1er" not in written and "25/" not in written:
        assert moved(wanted, -days) == written


@pytest.mark.parametrize("written", ["2024-13-01", "2024-01-32", "12 Foo 1980", "yesterday", "0-0-0", "12/1980"])
def test_no_date(written: str) -> None:
    assert moved(written, 1) is None
