"""Windows of a metered link: local time, nights, weeks, and the two odd days of a year."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecotone.flow.windows import DAY_MIN, Window, Windows

BERLIN = ZoneInfo("Europe/Berlin")
EVERY_DAY = tuple(range(7))
NIGHTS = Window(EVERY_DAY, 22 * 60, 6 * 60)


def offset(zone: ZoneInfo) -> Callable[[float], int]:
    def of(wall_s: float) -> int:
        gap = datetime.fromtimestamp(wall_s, zone).utcoffset()
        assert gap is not None
        return int(gap.total_seconds())

    return of


def unix(text: str, zone: ZoneInfo = BERLIN) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=zone).timestamp()


def berlin(*windows: Window) -> Windows:
    return Windows(windows, offset(BERLIN))


def test_without_windows_it_is_always_open() -> None:
    free = Windows()
    assert not free.is_metered
    assert free.is_open(1e9)
    assert free.opens_at_s(1e9) == 1e9
    assert free.at(1e9) is None


@pytest.mark.parametrize(
    ("text", "is_open"),
    [
        ("2026-11-25T21:59:59", False),
        ("2026-11-25T22:00:00", True),
        ("2026-11-25T23:59:59", True),
        ("2026-11-26T00:00:00", True),
        ("2026-11-26T05:59:59", True),
        ("2026-11-26T06:00:00", False),
    ],
)
def test_a_night_is_open_across_midnight(text: str, is_open: bool) -> None:
    assert berlin(NIGHTS).is_open(unix(text)) is is_open


@pytest.mark.parametrize(
    ("text", "is_open"),
    [
        ("2026-11-27T23:00:00", True),  # Friday night
        ("2026-11-28T05:00:00", True),  # which ends on Saturday
        ("2026-11-28T23:00:00", False),  # Saturday night
        ("2026-11-29T05:00:00", False),
        ("2026-11-30T05:00:00", False),  # Monday morning: Sunday's night is none
        ("2026-11-30T22:30:00", True),
    ],
)
def test_a_night_belongs_to_the_day_on_which_it_begins(text: str, is_open: bool) -> None:
    assert berlin(Window((0, 1, 2, 3, 4), 22 * 60, 6 * 60)).is_open(unix(text)) is is_open


def test_a_night_of_sunday_goes_on_into_the_next_week_and_equal_times_are_a_whole_day() -> None:
    assert berlin(Window((6,), 22 * 60, 6 * 60)).is_open(unix("2026-11-30T05:59:00"))
    whole = berlin(Window((5,), 8 * 60, 8 * 60))
    assert whole.is_open(unix("2026-11-28T08:00:00"))
    assert whole.is_open(unix("2026-11-29T07:59:59"))
    assert not whole.is_open(unix("2026-11-29T08:00:00"))


def test_the_next_opening_is_known_to_the_minute_an_hour_ahead() -> None:
    one = berlin(NIGHTS)
    assert one.opens_at_s(unix("2026-11-25T21:17:23")) == unix("2026-11-25T22:00:00")
    assert one.opens_at_s(unix("2026-11-25T21:17:59")) == unix("2026-11-25T22:00:00")
    assert one.opens_at_s(unix("2026-11-25T12:00:30")) == unix("2026-11-25T13:00:00"), "looked at again then"
    assert one.opens_at_s(unix("2026-11-25T22:00:01")) == unix("2026-11-25T22:00:01")


def test_each_time_that_it_is_open_has_a_name_of_its_own() -> None:
    one = berlin(NIGHTS, Window(EVERY_DAY, 12 * 60, 13 * 60, 5))
    evening, morning = one.at(unix("2026-11-25T22:30:00")), one.at(unix("2026-11-26T05:30:00"))
    assert evening is not None
    assert evening == morning
    noon, next_evening = one.at(unix("2026-11-26T12:30:00")), one.at(unix("2026-11-26T22:30:00"))
    assert noon is not None
    assert noon[0].bytes_max == 5
    assert next_evening is not None
    assert len({evening[1], noon[1], next_evening[1]}) == 3


def test_the_day_of_23_hours_opens_when_the_skipped_hour_would_have() -> None:
    """On 2026-03-29 the clock goes from 02:00 to 03:00."""
    one = berlin(Window(EVERY_DAY, 150, 210))
    assert not one.is_open(unix("2026-03-29T01:59:59"))
    assert one.opens_at_s(unix("2026-03-29T01:30:00")) == unix("2026-03-29T01:59:59") + 1
    assert one.is_open(unix("2026-03-29T03:00:00"))
    assert not one.is_open(unix("2026-03-29T03:30:00"))


def test_the_hour_that_comes_twice_is_open_twice_and_one_window() -> None:
    """On 2026-10-25 the clock goes from 03:00 to 02:00."""
    one = berlin(Window(EVERY_DAY, 120, 180, 100))
    began_s = unix("2026-10-25T02:00:00")
    first, second = one.at(began_s + 60), one.at(began_s + 3_660)
    assert first is not None
    assert first == second
    assert not one.is_open(began_s + 7_200)


def test_a_clock_that_jumps_hours_both_ways_is_followed() -> None:
    one = berlin(NIGHTS)
    seen = [one.is_open(unix(text)) for text in ("2026-11-25T12:00", "2026-11-25T23:00", "2026-11-25T12:00")]
    assert seen == [False, True, False]
    assert one.opens_at_s(unix("2026-11-25T21:30:00")) == unix("2026-11-25T22:00:00")
    assert one.opens_at_s(unix("2026-11-25T11:30:00")) == unix("2026-11-25T12:30:00")
    assert one.opens_at_s(unix("2026-11-25T21:30:00")) == unix("2026-11-25T22:00:00")


@given(
    day=st.integers(0, 6),
    from_min=st.integers(0, DAY_MIN - 1),
    to_min=st.integers(0, DAY_MIN - 1),
    wall_s=st.integers(0, 4_000_000_000),
    zone=st.sampled_from(["Europe/Berlin", "America/St_Johns", "Asia/Kathmandu", "Australia/Lord_Howe", "UTC"]),
)
def test_it_opens_when_it_says_and_not_before(day: int, from_min: int, to_min: int, wall_s: int, zone: str) -> None:
    one = Windows([Window((day,), from_min, to_min)], offset(ZoneInfo(zone)))
    opens_s = one.opens_at_s(wall_s)
    assert wall_s <= opens_s <= wall_s + 3_600
    if opens_s == wall_s:
        assert one.is_open(wall_s)
        return
    assert not any(one.is_open(at_s) for at_s in range(wall_s, int(opens_s), 60))
    local = datetime.fromtimestamp(opens_s, ZoneInfo(zone))
    if one.is_open(opens_s) and zone == "UTC":
        assert (local.weekday(), local.hour * 60 + local.minute) == (day, from_min)
