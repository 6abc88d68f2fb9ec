"""Bounds of a ledger."""

from __future__ import annotations

import msgspec

__all__ = ["LedgerLimits"]


class LedgerLimits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Bounds of a ledger.

    Attributes:
        note_delay_s: Longest time before the write of a noted entry starts.
        group_bytes_max: One write takes no more, unless a single entry is larger.
        buffer_bytes_max: Entries that wait to be written; over it `refused.ledger`.
        segment_bytes_max: A segment that is this long is closed.
        retry_s: Pause between attempts to write after a failure.
        checkpoint_entries: After so many new entries a checkpoint is signed at once.
        checkpoint_s: With fewer, no two checkpoints are nearer to each other than this,
        checkpoint_soon_s: and none comes sooner after the first entry that it covers anew.
        keep_days: Closed segments whose last entry is older are removed; None = never.
    """

    note_delay_s: float = 0.2
    group_bytes_max: int = 256 << 10
    buffer_bytes_max: int = 8 << 20
    segment_bytes_max: int = 64 << 20
    retry_s: float = 0.5
    checkpoint_entries: int = 4096
    checkpoint_s: float = 10.0
    checkpoint_soon_s: float = 1.0
    keep_days: float | None = None
