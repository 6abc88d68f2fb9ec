"""The ladder that a model name climbs from the cloud to the edge: one table; `docs/explanation/learning.md` draws it.

By hand, the configuration says the rung, and proof only decides what may pass on it. With `advance: auto` the name
climbs by itself, a rung for each proof, and comes down as soon as the proof is gone.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from ecotone.values.request import Mode


class Proof(enum.StrEnum):
    """What the evidence says of a name.

    `none`: nothing is promised. `some`: every edge target's certificate that stands lets some requests pass, and at
    least one does stand. `all`: one lets all of them pass. `lost`: what was promised no longer holds.
    """

    NONE = "none"
    SOME = "some"
    ALL = "all"
    LOST = "lost"


TABLE: Final[Mapping[tuple[Mode, Proof], Mode]] = MappingProxyType(
    {
        (Mode.CLOUD, Proof.NONE): Mode.SHADOW,
        (Mode.CLOUD, Proof.SOME): Mode.SHADOW,
        (Mode.CLOUD, Proof.ALL): Mode.SHADOW,
        (Mode.CLOUD, Proof.LOST): Mode.SHADOW,
        (Mode.SHADOW, Proof.NONE): Mode.SHADOW,
        (Mode.SHADOW, Proof.SOME): Mode.AUTO,
        (Mode.SHADOW, Proof.ALL): Mode.AUTO,
        (Mode.SHADOW, Proof.LOST): Mode.SHADOW,
        (Mode.AUTO, Proof.NONE): Mode.AUTO,
        (Mode.AUTO, Proof.SOME): Mode.AUTO,
        (Mode.AUTO, Proof.ALL): Mode.EDGE,
        (Mode.AUTO, Proof.LOST): Mode.SHADOW,
        (Mode.EDGE, Proof.NONE): Mode.EDGE,
        (Mode.EDGE, Proof.SOME): Mode.AUTO,
        (Mode.EDGE, Proof.ALL): Mode.EDGE,
        (Mode.EDGE, Proof.LOST): Mode.SHADOW,
    }
)
"""(rung, proof) -> next rung, with `advance: auto`. Where nothing was ever promised on a rung that somebody chose, the
name stays there."""

_HEIGHT: Final = MappingProxyType({Mode.CLOUD: 0, Mode.SHADOW: 1, Mode.AUTO: 2, Mode.EDGE: 3})


def is_up(old: Mode, new: Mode) -> bool:
    """True where `new` is nearer to the edge."""
    return _HEIGHT[new] > _HEIGHT[old]


def by_hand(configured: Mode, proof: Proof) -> Mode:
    """The rung where the configuration alone decides: as it says, but never `edge` on a promise that was lost.

    In mode `auto` each request is placed by what it may risk, and without a certificate that is nothing.
    """
    return Mode.AUTO if configured is Mode.EDGE and proof is Proof.LOST else configured


def picture() -> str:
    """The table as a Mermaid state diagram."""
    lines = ["stateDiagram-v2", "    [*] --> shadow"]
    lines += [f"    {old} --> {new}: {proof}" for (old, proof), new in TABLE.items() if old is not new]
    return "\n".join(lines)
