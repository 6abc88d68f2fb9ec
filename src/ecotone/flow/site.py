"""What the corridor works with: one frozen view of the site, replaced as a whole on reload."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

from ecotone.estimate import Speeds
from ecotone.flow.admission import Load
from ecotone.flow.breaker import Breaker
from ecotone.flow.hedging import Hedges
from ecotone.flow.spend import Budgets, Spend
from ecotone.policy import Mint, Policy
from ecotone.ports import Clock, Inspector, Journal, Target, Telemetry
from ecotone.ports.learning import Learning
from ecotone.privacy import Look
from ecotone.values import Mode, RequestError
from ecotone.values.quality import Comparison, Question, Reply

if TYPE_CHECKING:
    from ecotone.flow.lessons import Errand

Checker = Callable[[Question, Reply, Reply], Comparison | None]
"""Compares an edge answer with a cloud answer; None where it cannot tell."""

Offload = Callable[[Callable[[], Comparison | None]], Awaitable[Comparison | None]]
"""Does work that takes its time (a checker may take milliseconds) where it stops nobody."""


async def at_once(work: Callable[[], Comparison | None]) -> Comparison | None:
    """Does it here and now: where nobody waits."""
    return work()


class ModelName(msgspec.Struct, frozen=True):
    """A name that applications ask for, and the targets behind it in order of preference.

    Attributes:
        is_continued: An answer that breaks off in the cloud is continued at the edge.
        check: Name of the checker that compares answers.
        judge: Target that judges where the checker cannot tell, or `''`.
    """

    name: str
    targets: tuple[str, ...]
    mode: Mode = Mode.AUTO
    is_continued: bool = False
    check: str = "auto"
    judge: str = ""


class Waits(msgspec.Struct, frozen=True):
    """Limits on waiting, seconds, and on an answer in one piece, bytes.

    Attributes:
        first_byte_s: From sending to the first content, per attempt, where the target streams.
        whole_s: From sending to the whole answer, per attempt, where it does not.
        idle_s: Between two pieces of a stream.
        total_s: The whole request, where the caller gave no deadline.
        keep_alive_s: Silence after which a stream's caller gets a comment line.
        look_s: For the dear detectors to look at what is new in a conversation.
    """

    first_byte_s: float = 60.0
    whole_s: float = 120.0
    idle_s: float = 30.0
    total_s: float = 600.0
    keep_alive_s: float = 15.0
    look_s: float = 1.0
    answer_bytes_max: int = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """All that `serve` reads. State (speeds, breakers, spend, hedges, load) outlives a reload; the rest is replaced.

    Attributes:
        offload: Does what takes its time; in a thread, in a site that serves.
        take_errand: Told of each answer that may teach, and whether its pair of answers is to be made.
    """

    clock: Clock
    journal: Journal
    telemetry: Telemetry
    mint: Mint
    targets: Mapping[str, Target]
    names: Mapping[str, ModelName]
    breakers: Mapping[str, Breaker]
    speeds: Speeds
    spend: Spend
    today: Callable[[], str]
    policy: Policy = field(default_factory=Policy)
    policy_version: str = ""
    look: Look = field(default_factory=Look)
    inspector: Inspector | None = None
    surrogate_secret: bytes = b""
    budgets: Budgets = field(default_factory=Budgets)
    waits: Waits = field(default_factory=Waits)
    hedges: Hedges = field(default_factory=lambda: Hedges(0.0))
    load: Load = field(default_factory=Load)
    learning: Learning | None = None
    take_errand: Callable[[Errand, bool], None] | None = None
    checkers: Mapping[str, Checker] = field(default_factory=dict)
    offload: Offload = at_once
    is_cloud_off: bool = False

    def model(self, name: str) -> ModelName:
        """The model name's entry.

        Raises:
            RequestError: no such name (404, `model_not_found`), naming those that exist.
        """
        found = self.names.get(name)
        if found is None:
            names = ", ".join(sorted(self.names)[:50])
            shown = name if len(name) <= 80 else name[:80] + "..."
            message = f"The model {shown!r} does not exist here. Models of this site: {names}"
            raise RequestError("model_not_found", message, status=404, param="model")
        return found
