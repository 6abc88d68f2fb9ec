"""The section `link` as operators write it."""

from __future__ import annotations

import pytest

from ecotone import config
from ecotone.config.link import days, minutes
from ecotone.runtime import build
from ecotone.values import ConfigError


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("daily", (0, 1, 2, 3, 4, 5, 6)),
        ("mon-fri", (0, 1, 2, 3, 4)),
        ("sat,sun", (5, 6)),
        ("fri-mon", (0, 4, 5, 6)),
        ("wed", (2,)),
        ("mon-tue,thu", (0, 1, 3)),
    ],
)
def test_days(text: str, found: tuple[int, ...]) -> None:
    assert days(text) == found


def test_times() -> None:
    assert [minutes(text) for text in ("00:00", "06:30", "23:59")] == [0, 390, 1_439]


def test_only_at_night_is_three_lines() -> None:
    tree = config.parse(
        "link:\n  timezone: Europe/Berlin\n  windows: [{from: 22:00, to: 06:00, egress_mb: 200}]\n", "x"
    )
    assert config.parse(config.render(tree), "x") == tree
    budgets = build.budgets(tree)
    [night] = budgets.windows._windows
    assert (night.days, night.from_min, night.to_min, night.bytes_max) == (tuple(range(7)), 1_320, 360, 200_000_000)
    assert not budgets.is_strict
    at_s = 1_795_640_400.0  # 2026-11-25 21:00 UTC: 22:00 in Berlin
    assert [budgets.windows.is_open(at_s + late_s) for late_s in (-1, 0, 28_799, 28_800)] == [False, True, True, False]


def test_without_the_section_everything_is_allowed() -> None:
    budgets = build.budgets(config.parse("site: a", "x"))
    assert not budgets.windows.is_metered
    assert not budgets.is_closed(0.0)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{windows: [{days: monday, from: 22:00, to: 06:00}]}", r"days: expected `daily`, or days such as"),
        ("{windows: [{from: '24:00', to: 06:00}]}", r"windows\[0\].from: expected a time of day such as `22:00`"),
        ("{windows: [{from: 6am, to: 06:00}]}", r"windows\[0\].from: expected a time of day"),
        ("{windows: [{to: 06:00}]}", r"from: missing: add `from: ...`"),
        ("{windows: [{from: 01:00, to: 06:00, egress_mb: -1}]}", r"egress_mb: is -1; must be at least 0"),
        ("{interactive: maybe}", r"interactive: expected one of allowed, refused"),
        ("{timezone: 'CET\\n'}", r"timezone: expected a time zone"),
    ],
)
def test_what_is_wrong_is_told_at_its_place(text: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        config.parse(f"link: {text}", "x")
