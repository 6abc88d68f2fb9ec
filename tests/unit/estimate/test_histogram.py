"""Quantiles of counts in logarithmic buckets."""

from __future__ import annotations

import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecotone.estimate.histogram import HIGHEST, LOWEST, Histogram, bucket

values = st.lists(st.floats(min_value=0.01, max_value=1e9), min_size=1, max_size=60)


def seen(some: list[float]) -> Histogram:
    found = Histogram()
    for value in some:
        found = found.with_(value)
    return found


@given(values, st.sampled_from([0.01, 0.5, 0.95, 1.0]))
def test_a_quantile_is_right_to_a_bucket(some: list[float], share: float) -> None:
    right = sorted(some)[max(math.ceil(share * len(some)) - 1, 0)]
    assert seen(some).quantile(share) == pytest.approx(right, rel=0.05)


@given(values, values)
def test_what_is_added_can_be_taken_away(some: list[float], more: list[float]) -> None:
    both = seen(some).plus(seen(more))
    assert both == seen([*some, *more]).plus(Histogram())
    assert both.minus(seen(some)) == seen(more).plus(Histogram())
    assert both.total == len(some) + len(more)


def test_nothing_has_the_quantile_0_and_odd_values_fall_into_the_outer_buckets() -> None:
    assert Histogram().quantile(0.95) == 0.0
    assert bucket(0.0) == bucket(-3.0) == bucket(math.nan) == bucket(1e-9) == LOWEST
    assert bucket(math.inf) == bucket(1e30) == HIGHEST


def test_it_is_kept_as_json() -> None:
    found = seen([3.0, 3.0, 80.0])
    assert msgspec.json.decode(msgspec.json.encode(found), type=Histogram) == found
