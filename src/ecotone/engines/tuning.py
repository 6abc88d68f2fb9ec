"""Which settings a model runs best with on a machine: a pure choice over measurements, and the file that keeps them."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from ecotone.engines.settings import Model, Tuned

PROMPT_TOKENS: Final = 256
ANSWER_TOKENS: Final = 64
"""The request by whose time settings are compared."""

THREADS_GAIN_MIN: Final = 1.25
"""All cores must be this much faster than all but one: the engine's barriers spin, and collapse when anything else
runs (RESEARCH-engines, section 5: 86 to 33 tokens/s with one busy process beside it)."""

OTHER_GAIN_MIN: Final = 1.10
"""Smaller gains are noise."""

BUSY_LOSS_MAX: Final = 1.25
"""With one busy process beside it, more threads must not be slower than this many times the default."""

KEPT_BYTES_MAX: Final = 1 << 20


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """What one variant did.

    Attributes:
        load_s: Seconds to load.
        rss_bytes: Resident memory after the requests.
        busy_request_s: As `request_s`, with one busy process beside it; None where that was not measured.
    """

    tuned: Tuned
    prefill_tok_s: float
    decode_tok_s: float
    load_s: float
    rss_bytes: int
    busy_request_s: float | None = None

    @property
    def request_s(self) -> float:
        """Seconds for the request that settings are compared by."""
        return request_s(self.prefill_tok_s, self.decode_tok_s)


def request_s(prefill_tok_s: float, decode_tok_s: float) -> float:
    """Seconds for the request that settings are compared by."""
    return PROMPT_TOKENS / prefill_tok_s + ANSWER_TOKENS / decode_tok_s


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept of a measurement: the chosen sample, when and how long it was measured, and all samples."""

    best: Sample
    took_s: float
    samples: tuple[Sample, ...] = ()

    @property
    def tuned(self) -> Tuned:
        """The settings chosen."""
        return self.best.tuned


def variants(model: Model, cores: int) -> list[Tuned]:
    """What to measure, the safe default first, each of the others with one setting changed; configured ones stay."""
    base = model.settled(Tuned(threads=max(cores - 1, 1)))
    others = (
        Tuned(threads=cores, batch=base.batch, cache_type=base.cache_type),
        Tuned(threads=base.threads, batch=256, cache_type=base.cache_type),
        Tuned(threads=base.threads, batch=base.batch, cache_type="q8_0"),
    )
    found = [base]
    for other in others:
        settled = model.settled(other)
        if settled not in found:
            found.append(settled)
    return found


def choose(samples: Sequence[Sample]) -> Sample:
    """The sample to run with: the first, unless another is clearly faster; of several that are, the fastest."""
    base = samples[0]
    better = [sample for sample in samples[1:] if _is_better(sample, base)]
    return min(better, key=lambda sample: sample.request_s, default=base)


def _is_better(sample: Sample, base: Sample) -> bool:
    """More threads must gain a quarter and stand a busy neighbour; anything else must gain a tenth."""
    gain = base.request_s / sample.request_s
    if sample.tuned.threads <= base.tuned.threads:
        return gain >= OTHER_GAIN_MIN
    if sample.busy_request_s is None or base.busy_request_s is None:
        return False
    return gain >= THREADS_GAIN_MIN and sample.busy_request_s <= base.busy_request_s * BUSY_LOSS_MAX


class Tunings:
    """Measurements by model, machine and engine version, in one JSON file that is replaced as a whole."""

    def __init__(self, path: Path | None, fingerprint: str, engine_version: str) -> None:
        """`path` None keeps nothing. What cannot be read is as if it were not there: it is measured again."""
        self._path = path
        self._suffix = f"{fingerprint}/{engine_version}"
        self._kept: dict[str, Measured] = {}
        if path is not None:
            with contextlib.suppress(OSError, msgspec.DecodeError), path.open("rb") as file:
                self._kept = msgspec.json.decode(file.read(KEPT_BYTES_MAX), type=dict[str, Measured])

    def get(self, digest: str) -> Measured | None:
        """What was measured of this model on this machine with this engine."""
        return self._kept.get(f"{digest}/{self._suffix}")

    def put(self, digest: str, measured: Measured) -> None:
        """Keeps a measurement.

        Raises:
            OSError: the disk refused; the measurement holds until the process ends.
        """
        self._kept[f"{digest}/{self._suffix}"] = measured
        if self._path is None:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        fd, name = tempfile.mkstemp(prefix=f".{self._path.name}.", dir=self._path.parent)
        try:
            with os.fdopen(fd, "wb") as file:
                file.write(msgspec.json.format(msgspec.json.encode(self._kept), indent=1))
                file.flush()
                os.fsync(file.fileno())
            os.replace(name, self._path)
        except OSError:
            Path(name).unlink(missing_ok=True)
            raise
