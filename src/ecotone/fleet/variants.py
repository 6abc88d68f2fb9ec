"""Which variant of a version a site takes: the best that its machine holds, and writes as fast as asked.

A machine writes an answer as fast as it reads the weights, once for each token: speed = bytes a second / bytes.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Literal

import msgspec

from ecotone.values.fleet import MachineReport

__all__ = ["Chosen", "Variant", "choose", "predicted_tok_s"]

Lack = Literal["memory", "cpu", "speed"]


class Variant(msgspec.Struct, frozen=True, kw_only=True):
    """One form of a version, such as a quantisation.

    Attributes:
        version: With its `+variant`.
        sha256: Of its manifest.
        bytes: Of its weights.
        memory_bytes: What its manifest requires; 0: its weights and no more is known.
        cpu: Features of the processor that it requires.
        decode_tok_s_min: Tokens a second of one answer that are asked; 0: any.
    """

    version: str
    sha256: str
    bytes: int
    memory_bytes: int = 0
    cpu: tuple[str, ...] = ()
    decode_tok_s_min: float = 0.0


class Chosen(msgspec.Struct, frozen=True):
    """The variant, or None; and of each that was passed over what the machine lacks for it."""

    variant: Variant | None
    why: tuple[tuple[str, Lack], ...]


def choose(
    variants: Sequence[Variant], machine: MachineReport, measured: Mapping[str, float], cpu: Collection[str] = ()
) -> Chosen:
    """The first that fits.

    Args:
        variants: The best first.
        machine: As it measured itself.
        measured: Tokens a second that variants really reached here, by the SHA-256 of their manifest: it beats what is
            predicted.
        cpu: Features of its processor.
    """
    passed: list[tuple[str, Lack]] = []
    for variant in variants:
        lack = _lack(variant, machine, measured, cpu)
        if lack is None:
            return Chosen(variant, tuple(passed))
        passed.append((variant.version, lack))
    return Chosen(None, tuple(passed))


def predicted_tok_s(variant: Variant, machine: MachineReport) -> float | None:
    """Tokens a second that the machine should reach with it; None where it has not measured itself."""
    if machine.read_bytes_s <= 0 or variant.bytes <= 0:
        return None
    return machine.read_bytes_s / variant.bytes


def _lack(variant: Variant, machine: MachineReport, measured: Mapping[str, float], cpu: Collection[str]) -> Lack | None:
    room = machine.models_bytes or machine.memory_bytes
    if room and max(variant.memory_bytes, variant.bytes) > room:
        return "memory"
    if not set(variant.cpu) <= set(cpu):
        return "cpu"
    reached = measured.get(variant.sha256)
    if reached is None:
        reached = predicted_tok_s(variant, machine)
    return "speed" if reached is not None and reached < variant.decode_tok_s_min else None
