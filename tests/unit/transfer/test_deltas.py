"""A delta leads to the segment or is refused; it cannot make the site unpack without end."""

from __future__ import annotations

import random

import pytest
from backports import zstd

from ecotone.transfer import deltas
from ecotone.values import TrustError

DICE = random.Random(3)
BASE = DICE.randbytes(100_000)


def test_a_delta_leads_to_the_segment_and_is_short_where_little_changed() -> None:
    fresh = bytearray(BASE)
    for at in range(0, len(fresh), 100):
        fresh[at] ^= 1
    patch = deltas.made(bytes(fresh), BASE)
    assert patch is not None
    assert len(patch) < 0.05 * len(fresh)
    assert deltas.applied(patch, BASE) == fresh


def test_a_delta_that_saves_little_is_not_made() -> None:
    assert deltas.made(DICE.randbytes(100_000), BASE) is None


@pytest.mark.parametrize(
    "patch",
    [b"", b"not zstd", zstd.compress(bytes(10)), zstd.compress(bytes(100 << 20)), zstd.compress(bytes(100_000))[:-4]],
)
def test_a_delta_that_is_none_is_refused(patch: bytes) -> None:
    with pytest.raises(TrustError, match=r"delivery\.delta"):
        deltas.applied(patch, BASE)


def test_a_delta_that_asks_for_much_memory_is_refused() -> None:
    options = {zstd.CompressionParameter.window_log: 27, zstd.CompressionParameter.content_size_flag: 0}
    packer = zstd.ZstdCompressor(options=options)
    patch = packer.compress(DICE.randbytes(3 << 20)) + packer.flush()
    with pytest.raises(TrustError, match=r"delivery\.delta"):
        deltas.applied(patch, DICE.randbytes(3 << 20))
