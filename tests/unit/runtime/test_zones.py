"""Time zones of the world, as the core asks for them."""

from __future__ import annotations

import time

import pytest

from ecotone.runtime.zones import offset
from ecotone.values import ConfigError

WINTER_S, SUMMER_S = 1_795_608_000.0, 1_782_000_000.0


def test_a_zone_knows_its_summer() -> None:
    berlin = offset("Europe/Berlin")
    assert (berlin(WINTER_S), berlin(SUMMER_S)) == (3_600, 7_200)
    assert offset("UTC")(SUMMER_S) == 0


def test_local_is_the_machines_own() -> None:
    assert offset("local")(SUMMER_S) == time.localtime(SUMMER_S).tm_gmtoff


@pytest.mark.parametrize("zone", ["Mars/Base", "a/../../etc/passwd", "Europe/"])
def test_a_zone_that_is_not_known_is_told(zone: str) -> None:
    with pytest.raises(ConfigError, match=r"link\.timezone.*is not known"):
        offset(zone)
