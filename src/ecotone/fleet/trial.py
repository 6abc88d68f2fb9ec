"""The life of one version at a site, and its trial: tables, shared by the real site and the simulation of a fleet.

`TABLE` is the life of a version, `VERDICTS` what is done about what speaks against one on trial. No clock is read:
hours are those that the version was used, so that a clock that jumps neither ends a trial nor prolongs it.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Literal

import msgspec

from ecotone.fleet.evidence import Doubt, at_site, worst
from ecotone.fleet.wish import Wish
from ecotone.values.fleet import Amount, AssetState, Count, Digest, Figures, Name, Terms, Why

__all__ = [
    "SETTLED_HOURS", "TABLE", "VERDICTS", "Event", "Failed", "Former", "Good", "Keep", "Phase", "Trial", "Verdict",
    "begin", "boot", "judge", "observed", "picture", "step", "stopped",
]  # fmt: skip

SETTLED_HOURS: Final = 0.25
"""A start of the site counts no more once the version was used for so long after it: a site that is switched off each
evening is no site that cannot start."""


class Event(enum.StrEnum):
    """What can happen to a version at a site.

    `begun`: parts of it are fetched. `arrived`: it is here whole, checked. `switched`: it is used, on trial. `used`: it
    is used, and no trial was asked. `passed`, `failed`: its trial is over. `refused`: it cannot be used here. `again`:
    it is wanted at a higher attempt.
    """

    BEGUN = "begun"
    ARRIVED = "arrived"
    SWITCHED = "switched"
    USED = "used"
    PASSED = "passed"
    FAILED = "failed"
    REFUSED = "refused"
    AGAIN = "again"


_E = Event

TABLE: Final[Mapping[tuple[AssetState, Event], AssetState]] = MappingProxyType(
    {
        ("wanted", _E.BEGUN): "fetching",
        ("wanted", _E.ARRIVED): "ready",
        ("wanted", _E.REFUSED): "refused",
        ("fetching", _E.ARRIVED): "ready",
        ("fetching", _E.REFUSED): "refused",
        ("ready", _E.SWITCHED): "trying",
        ("ready", _E.USED): "good",
        ("ready", _E.REFUSED): "refused",
        ("trying", _E.PASSED): "good",
        ("trying", _E.FAILED): "failed",
        ("failed", _E.AGAIN): "wanted",
        ("refused", _E.AGAIN): "wanted",
    }
)
"""(state, event) -> next state. Only `again` leads out of `failed` and `refused`: nothing is tried twice by itself."""


def step(state: AssetState, event: Event) -> AssetState | None:
    """The next state, or None: the event came late, and nothing changes."""
    return TABLE.get((state, event))


def picture() -> str:
    """The table as a Mermaid state diagram."""
    lines = ["stateDiagram-v2", "    [*] --> wanted"]
    return "\n".join(lines + [f"    {a} --> {b}: {event}" for (a, event), b in TABLE.items()])


class Former(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a site goes back to: the last version that was good there. `version` is `''` where there was none.

    Attributes:
        sha256: Of its manifest.
        figures: What it did, to compare with; None: nothing is known.
    """

    version: str = ""
    sha256: str = ""
    figures: Figures | None = None


class Trial(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One version on trial. It is stored before each thing that it is to survive.

    Attributes:
        sha256, attempt: Of the wish: both are remembered if it fails.
        begun_s: By the site's reckoning; shown, and not counted with.
        boots: Starts of the site since it began that have come to no good yet.
        boot_hours: Hours that it had been used for at the last of them.
        figures: Its own, since it began.
    """

    name: Name
    version: str
    sha256: Digest
    attempt: Count
    terms: Terms
    former: Former = Former()
    begun_s: Amount = 0.0
    boots: Count = 0
    boot_hours: Amount = 0.0
    figures: Figures = Figures()


class Keep(msgspec.Struct, frozen=True):
    """The trial goes on. `why`: what it waits for: `hours`, `requests`, or the code of what speaks against it."""

    why: Why


class Good(msgspec.Struct, frozen=True):
    """The trial is over, the version stays. `why`: `terms`; `hours_max` where that is all that was waited for."""

    why: Why


class Failed(msgspec.Struct, frozen=True):
    """The trial is over, the version before is used again. `why`: what spoke against it."""

    why: Why


Verdict = Keep | Good | Failed


class Phase(enum.Enum):
    """How far a trial is: before `hours_min` and `requests_min`, after both, after `hours_max`."""

    YOUNG = enum.auto()
    RIPE = enum.auto()
    OLD = enum.auto()


_P, _D = Phase, Doubt

VERDICTS: Final[Mapping[tuple[Doubt, Phase], Literal["keep", "good", "failed"]]] = MappingProxyType(
    {
        (_D.NONE, _P.YOUNG): "keep",
        (_D.NONE, _P.RIPE): "good",
        (_D.NONE, _P.OLD): "good",
        (_D.SLIGHT, _P.YOUNG): "keep",
        (_D.SLIGHT, _P.RIPE): "keep",
        (_D.SLIGHT, _P.OLD): "good",
        (_D.LIKELY, _P.YOUNG): "keep",
        (_D.LIKELY, _P.RIPE): "keep",
        (_D.LIKELY, _P.OLD): "failed",
        (_D.CLEAR, _P.YOUNG): "failed",
        (_D.CLEAR, _P.RIPE): "failed",
        (_D.CLEAR, _P.OLD): "failed",
    }
)
"""(How surely something speaks against it, how far the trial is) -> what is done. A trial is looked at thousands of
times: only what is clear may end it at any look, what is likely only at the last."""


def begin(wish: Wish, former: Former, now_s: float) -> Trial:
    """The trial of a version that is about to be used.

    Args:
        wish: It, with terms; without any there is no trial, and nobody begins one.
        former: The last version that was good. While another one is on trial: the one that it would go back to.
        now_s: Unix seconds by the site's reckoning.
    """
    assert wish.terms is not None
    return Trial(
        name=wish.name,
        version=wish.version,
        sha256=wish.sha256,
        attempt=wish.attempt,
        terms=wish.terms,
        former=former,
        begun_s=max(0.0, now_s),
    )


def boot(trial: Trial) -> Trial:
    """The site starts: to be stored before any engine is loaded, so that a start that kills the site is counted."""
    return msgspec.structs.replace(trial, boots=trial.boots + 1, boot_hours=trial.figures.hours)


def stopped(trial: Trial) -> Trial:
    """The site was stopped in order: its starts have come to an end."""
    return msgspec.structs.replace(trial, boots=0, boot_hours=trial.figures.hours)


def observed(trial: Trial, figures: Figures) -> Trial:
    """The trial with the version's figures since it began. Older ones that come late change nothing."""
    if figures.hours < trial.figures.hours:
        return trial
    crashes = max(figures.crashes, trial.figures.crashes)
    settled = figures.hours - trial.boot_hours >= SETTLED_HOURS
    return msgspec.structs.replace(
        trial, figures=msgspec.structs.replace(figures, crashes=crashes), boots=0 if settled else trial.boots
    )


def judge(trial: Trial) -> Verdict:
    """What is to be done about it now."""
    if trial.boots >= trial.terms.boots_max:
        return Failed("boots")
    code, doubt = worst(at_site(trial.figures, trial.former.figures, trial.terms))
    phase, lacks = _phase(trial)
    said = VERDICTS[doubt, phase]
    if said == "failed":
        return Failed(code)
    if said == "good":
        return Good("hours_max" if lacks or doubt else "terms")
    return Keep(code if doubt else lacks)


def _phase(trial: Trial) -> tuple[Phase, str]:
    """(How far it is, what it lacks of `hours_min` and `requests_min`)."""
    figures, terms = trial.figures, trial.terms
    lacks = "hours" if figures.hours < terms.hours_min else "requests" if figures.requests < terms.requests_min else ""
    if figures.hours >= terms.hours_max:
        return Phase.OLD, lacks
    return (Phase.YOUNG if lacks else Phase.RIPE), lacks
