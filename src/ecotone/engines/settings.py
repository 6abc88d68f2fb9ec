"""What a model is run with. Pure."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

CacheType = Literal["f16", "q8_0", "q4_0"]

MIB: Final = 1 << 20
CONTEXT_TOKENS: Final = 2048
"""Default context of a slot: the key-value cache is allocated in advance, 23 kB a token for the starter model."""

SLOTS_MAX: Final = 2
"""Default: on two cores more streams at a time buy little and cost first tokens (RESEARCH-engines, section 3)."""


class Tuned(msgspec.Struct, frozen=True, kw_only=True):
    """The settings that a measurement may choose.

    Attributes:
        threads: CPU threads.
        batch: Prompt tokens handled in one step.
        cache_type: Number format of the key-value cache.
    """

    threads: int
    batch: int = 512
    cache_type: CacheType = "f16"


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """A model to run, and what was decided about it in the configuration. Equal models share a worker.

    Attributes:
        name: The asset's own name; the engine's alias.
        digest: SHA-256 of the file: measured settings are kept by it.
        file_bytes: Size of the file.
        context_tokens: Of one slot: prompt and answer together.
        slots: Requests decoded side by side.
        queue_max: Requests that may wait for a slot.
        threads, batch, cache_type: As configured; None where a measurement may choose.
        embeddings: Serve embeddings too (mean pooling).
        idle_unload_s: Seconds without a request after which it is unloaded; 0 = never.
        adapter_digest, adapter_bytes: Of the adapter that is loaded with it; empty and 0: none.
    """

    name: str
    digest: str
    file_bytes: int
    context_tokens: int = CONTEXT_TOKENS
    slots: int = SLOTS_MAX
    queue_max: int = 32
    threads: int | None = None
    batch: int | None = None
    cache_type: CacheType | None = None
    embeddings: bool = False
    idle_unload_s: float = 900.0
    adapter_digest: str = ""
    adapter_bytes: int = 0

    def settled(self, found: Tuned) -> Tuned:
        """The settings to run with: the configured ones, else those found."""
        return Tuned(
            threads=self.threads or found.threads,
            batch=self.batch or found.batch,
            cache_type=self.cache_type or found.cache_type,
        )


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Limits and manners of all workers.

    Attributes:
        start_s: From spawning to ready; `start_s_per_gib` more for each GiB of the file.
        room_s: How long a model may wait for memory that others use.
        starve_s: How long a model waits before busy ones are drained in its favour.
        drain_s: For requests under way at shutdown.
        prefill_grace_s: After a caller left in prefill: how long its slot may stay busy before the worker is replaced.
        health_every_s, health_within_s: While requests are under way: how often the worker is looked at, and how long
            it may give no sign of life (neither a byte nor work on the CPU) before it is replaced.
        cache_ram_mib: The engine's cache of prompts in memory.
        nice, oom_score_adj: Of the worker: lower priority, and the first to go when memory is short.
        address_space_bytes_max: RLIMIT_AS of the worker; None for none.
    """

    start_s: float = 30.0
    start_s_per_gib: float = 30.0
    room_s: float = 60.0
    starve_s: float = 5.0
    drain_s: float = 30.0
    prefill_grace_s: float = 0.4
    health_every_s: float = 1.0
    health_within_s: float = 4.0
    cache_ram_mib: int = 64
    nice: int = 0
    oom_score_adj: int = 600
    address_space_bytes_max: int | None = None

    def start_within_s(self, file_bytes: int) -> float:
        """How long a model of this size may take to start."""
        return self.start_s + self.start_s_per_gib * file_bytes / (1 << 30)


class WorkerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The line that a worker is sent; see `worker.params`. Holds the worker's key: never logged."""

    alias: str
    socket: str
    key: str
    n_ctx: int
    slots: int
    threads: int
    batch: int
    cache_type: str
    cache_ram_mib: int
    no_extra_bufts: bool
    embeddings: bool
    nice: int
    oom_score_adj: int
    address_space_bytes_max: int | None
    warmup: bool = True

    def __repr__(self) -> str:
        return f"WorkerSettings(alias={self.alias!r})"


def worker_settings(
    model: Model, tuned: Tuned, limits: Limits, *, is_x86: bool, socket: str, key: str
) -> WorkerSettings:
    """What a worker of this model is sent.

    `no_extra_bufts`: repacked copies of the weights cost a third of the memory and most of the load time, and bring
    nothing on the AVX2 wheel (RESEARCH-engines, section 1); on ARM they are what makes it fast.
    """
    return WorkerSettings(
        alias=model.name,
        socket=socket,
        key=key,
        n_ctx=model.context_tokens * model.slots,
        slots=model.slots,
        threads=tuned.threads,
        batch=tuned.batch,
        cache_type=tuned.cache_type,
        cache_ram_mib=limits.cache_ram_mib,
        no_extra_bufts=is_x86,
        embeddings=model.embeddings,
        nice=limits.nice,
        oom_score_adj=limits.oom_score_adj,
        address_space_bytes_max=limits.address_space_bytes_max,
    )


def guess_bytes(model: Model) -> int:
    """Memory that a model will need before it was ever measured, bytes: file, key-value cache, and the rest.

    A token of cache is taken for 32 KiB and 1/65,536 of the file: 33 KiB for 98 MB (measured 23), 49 KiB for 1.1 GB
    (28), 104 KiB for 4.7 GB (128).
    """
    token_bytes = 32 * 1024 + model.file_bytes // 65_536
    return (
        int((model.file_bytes + model.adapter_bytes) * 1.05)
        + model.context_tokens * model.slots * token_bytes
        + 80 * MIB
    )
