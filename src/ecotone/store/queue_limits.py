"""Bounds of a queue."""

from __future__ import annotations

import msgspec

__all__ = ["QueueLimits"]


class QueueLimits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Bounds of a queue.

    Attributes:
        waiting_max, waiting_bytes_max: Jobs that have not ended, and the bytes of their bodies; over it
            `refused.queue_full`.
        body_bytes_max: Of one job.
        files_max: Callers' files.
        file_bytes_max: Of one of them.
        disk_bytes_max: What the file may use on the disk before nothing new is taken; what was taken still ends.
        free_bytes_min: What stays free on the disk: for answers, the ledger, and the rest of the machine.
        events_max: So many changes of state are remembered.
        commands_max: Calls that wait for the writer; over it `refused.store`.
        group_max: Calls in one transaction.
        check_s: At start the file is checked for so long, seconds; a longer file is checked in part.
        busy_s: So long another process (a backup) may hold the file, seconds.
    """

    waiting_max: int = 100_000
    waiting_bytes_max: int = 1 << 30
    body_bytes_max: int = 32 << 20
    files_max: int = 10_000
    file_bytes_max: int = 200 << 20
    disk_bytes_max: int = 4 << 30
    free_bytes_min: int = 256 << 20
    events_max: int = 200_000
    commands_max: int = 10_000
    group_max: int = 256
    check_s: float = 0.3
    busy_s: float = 5.0
