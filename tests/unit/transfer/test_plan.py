"""A plan fetches what is missing, by the shortest way that the site can go, in few requests."""

from __future__ import annotations

import pytest

from ecotone.transfer import Delta, Manifest, Part, Segment, plan

ONE, TWO, THREE, BASE, OTHER = (digit * 64 for digit in "12345")
PACK, PATCHES = "a" * 64, "b" * 64
MANIFEST = Manifest(
    name="m", version="2", kind="model", licence="MIT", packs=(PACK, PATCHES),
    parts=(
        Part(
            path="m", bytes=3500, blake3=ONE, sha256=ONE, format="text",
            segments=(
                Segment(ONE, 1000, 0, 0),
                Segment(TWO, 1000, 0, 1000, (Delta(BASE, 1, 0, 50), Delta(OTHER, 1, 50, 20))),
                Segment(ONE, 1000, 0, 0),
                Segment(THREE, 500, 0, 9000, (Delta(BASE, 1, 100, 600),)),
            ),
        ),
    ),
)  # fmt: skip


def test_a_site_that_has_nothing_fetches_each_segment_once() -> None:
    found = plan(MANIFEST, set())
    assert [get.blake3 for get in found.gets] == [ONE, TWO, THREE]
    assert found.fetch_bytes == 2500
    assert [(one.offset, one.length) for one in found.ranges] == [(0, 2000), (9000, 500)]


def test_what_is_here_is_copied() -> None:
    found = plan(MANIFEST, {ONE, THREE})
    assert found.copies == (ONE, THREE)
    assert [get.blake3 for get in found.gets] == [TWO]


def test_the_shortest_delta_whose_base_is_here_is_taken() -> None:
    assert [get.base for get in plan(MANIFEST, {BASE}).gets] == ["", "", BASE]
    found = plan(MANIFEST, {ONE, THREE, BASE, OTHER})
    assert [(get.base, get.pack, get.offset, get.length) for get in found.gets] == [(OTHER, PATCHES, 50, 20)]


def test_a_delta_longer_than_its_segment_is_not_taken() -> None:
    assert next(get for get in plan(MANIFEST, {BASE}).gets if get.blake3 == THREE).base == ""


def test_a_delta_that_failed_is_not_tried_again() -> None:
    assert plan(MANIFEST, {ONE, THREE, OTHER}, without_deltas={TWO}).gets[0].base == ""


@pytest.mark.parametrize("length", [400_000, 1 << 20])
def test_a_request_stays_short_enough_to_be_worth_repeating(length: int) -> None:
    segments = tuple(Segment(f"{n:064x}", length, 0, n * length) for n in range(60))
    part = Part(path="m", bytes=60 * length, blake3=ONE, sha256=ONE, format="text", segments=segments)
    long = Manifest(name="m", version="1", kind="model", licence="MIT", packs=(PACK,), parts=(part,))
    ranges = plan(long, set()).ranges
    assert sum(one.length for one in ranges) == 60 * length
    assert max(one.length for one in ranges) <= 16 << 20
    assert len(ranges) == -(-60 // ((16 << 20) // length))
