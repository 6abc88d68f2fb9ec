"""Counts of one model file."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from ecotone.estimate.counts import Count
from ecotone.estimate.histogram import Histogram

small = st.integers(0, 1000)
histograms = st.dictionaries(st.integers(-80, 320), st.integers(1, 50), max_size=8).map(Histogram)
counts = st.builds(
    Count, requests=small, errors=small, ttft_ms=histograms, decode_tok_s=histograms, crashes=small, memory_bytes=small
)


@given(counts, counts)
def test_what_came_since_is_what_was_added(before: Count, since: Count) -> None:
    total = before.plus(since)
    found = total.minus(before)
    assert found.plus(Count()) == msgspec.structs.replace(since.plus(Count()), memory_bytes=total.memory_bytes)
    assert total.memory_bytes == max(before.memory_bytes, since.memory_bytes)


@given(counts, counts)
def test_what_is_taken_away_never_leaves_less_than_nothing(one: Count, other: Count) -> None:
    left = one.minus(other)
    assert min(left.requests, left.errors, left.crashes, *left.ttft_ms.counts.values(), 0) == 0


def test_quality_is_of_the_pairs_that_came_since() -> None:
    before, after = Count(pairs=4, quality=3.0), Count(pairs=6, quality=4.5)
    assert (after.minus(before).pairs, after.minus(before).quality) == (2, 1.5)
    assert (before.minus(after).pairs, before.minus(after).quality) == (0, 0.0)
    assert before.plus(after) == Count(pairs=10, quality=7.5)


@given(counts)
def test_it_is_kept_as_json(one: Count) -> None:
    assert msgspec.json.decode(msgspec.json.encode(one), type=Count) == one
