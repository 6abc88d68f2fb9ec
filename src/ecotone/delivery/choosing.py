"""Of several variants of an asset the one that this machine runs, where a command takes it and no site decides."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ecotone.agent import trials
from ecotone.engines.machine import machine
from ecotone.fleet.variants import Variant, choose
from ecotone.transfer import Manifest
from ecotone.trust import Assigned
from ecotone.values import ConfigError, TrustError
from ecotone.values.fleet import MachineReport

__all__ = ["one_of_each"]

Offered = tuple[Assigned, Manifest]


def one_of_each(offered: Sequence[Offered], store: Path) -> list[Offered]:
    """Of each name the first variant that fits the memory and is fast enough, as far as that was measured here.

    A name of which there is one variant is not judged: it is what the hub wants here.

    Raises:
        TrustError: `delivery.variant`: this machine can run none of them.
    """
    names = dict.fromkeys(assigned.asset.name for assigned, _ in offered)
    return [_first([one for one in offered if one[0].asset.name == name], store) for name in names]


def _first(some: Sequence[Offered], store: Path) -> Offered:
    if len(some) == 1:
        return some[0]
    try:
        kept = trials.read(store)
    except ConfigError:
        kept = trials.Kept()
    here = machine()
    report = MachineReport(
        memory_bytes=here.memory_bytes, models_bytes=here.budget_bytes, read_bytes_s=kept.read_bytes_s
    )
    chosen = choose([_variant(*one) for one in some], report, kept.tok_s, here.flags)
    if chosen.variant is None:
        lacks = ", ".join(f"{version} ({lack})" for version, lack in chosen.why)
        raise TrustError(
            "delivery.variant",
            f"this machine can run no variant of {some[0][0].asset.name}: {lacks}. Let the hub want a smaller one, "
            f"or name one: `ecotone models pull hub:{some[0][0].asset.name}@VERSION`",
        )
    return next(one for one in some if one[0].asset.sha256 == chosen.variant.sha256)


def _variant(assigned: Assigned, manifest: Manifest) -> Variant:
    asset = assigned.asset
    return Variant(
        version=asset.version,
        sha256=asset.sha256,
        bytes=manifest.bytes if asset.kind == "model" else 0,
        memory_bytes=manifest.requires.memory_bytes,
        cpu=manifest.requires.cpu,
        decode_tok_s_min=asset.decode_tok_s_min,
    )
