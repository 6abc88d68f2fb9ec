"""The section `jobs`: work that may wait."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from ecotone.config.kinds import Hostish, Secret, Section, StoreKey


class Jobs(Section, frozen=True, kw_only=True):
    """Work that may wait: jobs, callers' files and batches."""

    concurrent: Annotated[int, Meta(ge=1, le=256, description="Jobs under way at a time.")] = 2
    keep_days: Annotated[
        float,
        Meta(
            gt=0,
            le=3650,
            description="Jobs that ended this long ago are removed with what they asked and how they were answered.",
        ),
    ] = 7.0
    disk_mb_max: Annotated[
        int, Meta(ge=16, le=1 << 24, description="Room on the disk, MiB; over it nothing new is taken (507).")
    ] = 4096
    free_mb_min: Annotated[
        int,
        Meta(ge=0, le=1 << 24, description="What stays free on the disk, MiB; below it nothing new is taken (507)."),
    ] = 256
    file_mb_max: Annotated[int, Meta(ge=1, le=1 << 20, description="Largest file of a caller, MiB; more is 413.")] = 200
    key: Annotated[
        StoreKey | None,
        Meta(
            description="Key under which all this is encrypted at rest, by reference: 32 bytes as 64 hex digits or "
            "base64. `keyring:SERVICE/NAME` is the system's keyring (needs `pip install keyring`; made there at the "
            "first start). Default: the file `store.key` in the store, made at the first start."
        ),
    ] = None
    webhook_hosts: Annotated[
        tuple[Hostish, ...],
        Meta(
            description="Host names that `Ecotone-Webhook` may be at, or below, besides local ones (`ward7`, `.local`, "
            "`.lan`, `.internal` ...) and addresses. Their addresses must be on the premises all the same."
        ),
    ] = ()
    webhook_secret: Annotated[
        Secret | None,
        Meta(
            description="What signs notices to `Ecotone-Webhook`, by reference. Default: the file `webhook.secret` in "
            "the store, made at the first start."
        ),
    ] = None
