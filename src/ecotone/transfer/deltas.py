"""A segment as its difference to an earlier one: XOR, then zstd.

Of two versions of a quantised tensor most bytes are equal after a light fine-tune, so that their XOR is mostly zeros.
No general compressor sees that: the weights themselves look like noise.

Source: ZipLLM (NSDI '26), BitX; figures of this house in benchmarks/transfer.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from ecotone.values import TrustError

__all__ = ["applied", "made"]

WORTH: Final = 0.9
"""A delta is kept only below this share of its segment."""

_LEVEL: Final = 3
_WINDOW_LOG_MAX: Final = 21


def made(fresh: bytes, base: bytes) -> bytes | None:
    """The delta that leads from `base` to `fresh`, of the same length; None where it is not worth having."""
    from backports import zstd

    patch = zstd.compress(_xor(fresh, base), level=_LEVEL)
    return patch if len(patch) < WORTH * len(fresh) else None


def applied(patch: bytes, base: bytes) -> bytes:
    """What the delta leads to from `base`. The caller holds it against the segment's digest.

    Memory stays at a few times the segment, whatever the patch claims.

    Raises:
        TrustError: `delivery.delta`, if it is none, or is of another length.
    """
    from backports import zstd

    options: dict[int, int] = {zstd.DecompressionParameter.window_log_max: _WINDOW_LOG_MAX}
    try:
        difference = zstd.ZstdDecompressor(options=options).decompress(patch, max_length=len(base) + 1)
    except zstd.ZstdError as error:
        raise TrustError("delivery.delta", "a delta cannot be unpacked: the whole segment is fetched") from error
    if len(difference) != len(base):
        raise TrustError("delivery.delta", "a delta is of another length: the whole segment is fetched")
    return _xor(difference, base)


def _xor(one: bytes, other: bytes) -> bytes:
    return np.bitwise_xor(np.frombuffer(one, np.uint8), np.frombuffer(other, np.uint8)).tobytes()
