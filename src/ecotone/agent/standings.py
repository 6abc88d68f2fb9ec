"""What becomes of an asset at a site: on trial, lost, led elsewhere by hand; and what is reported of it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from ecotone.agent.figures import figures
from ecotone.agent.trials import Kept, Standing, Used, Wish
from ecotone.fleet import trial
from ecotone.values.fleet import AssetReport, AssetState

__all__ = ["SPEED", "by_hand", "good", "lost", "on_trial", "remembered", "reports", "used_of"]

SPEED: Final = "speed"
"""Why a version was refused that writes more slowly than was asked."""

FAILURES_TOLD_MAX: Final = 64

WITH_ENGINE: Final = frozenset({"model", "adapter"})
"""Kinds of assets that something runs: others are used at once, without a trial."""


def on_trial(standing: Standing, wish: Wish, now_s: float) -> Standing:
    """As soon as the version is used: on trial where terms are asked, and with what it would go back to."""
    former = good(standing)
    was = trial.Former()
    if former is not None:
        was = trial.Former(version=former.version, sha256=former.sha256, figures=former.figures)
    is_tried = wish.terms is not None and wish.kind in WITH_ENGINE
    used = Used(
        version=wish.version,
        sha256=wish.sha256,
        attempt=wish.attempt,
        state="trying" if is_tried else "good",
        since_s=now_s,
    )
    return Standing(
        kind=wish.kind,
        used=used,
        is_led=False,
        former=former,
        trial=trial.begin(wish, was, now_s) if is_tried else None,
        lost=standing.lost,
        orders=standing.orders,
    )


def lost(standing: Standing, why: str, state: AssetState, now_s: float) -> Standing:
    """As soon as the version in use has failed: the one before is used again, nothing where there is none."""
    done = figures(standing.counts, standing.hours)
    compared = None if standing.former is None else standing.former.figures
    failed = msgspec.structs.replace(standing.used, state=state, since_s=now_s, why=why, figures=done, before=compared)
    before = standing.former or Used(version="")
    return Standing(kind=standing.kind, used=before, is_led=False, lost=failed, orders=standing.orders)


def by_hand(standing: Standing, version: str, manifest: str, now_s: float) -> Standing | None:
    """Where somebody led `hub:NAME` elsewhere, that holds, and no trial goes on; None: it was removed."""
    used = used_of(version, manifest)
    if used is None:
        return None
    used = msgspec.structs.replace(used, since_s=now_s)
    return Standing(kind=standing.kind, used=used, former=good(standing), lost=standing.lost, orders=standing.orders)


def good(standing: Standing) -> Used | None:
    """The last version that was good, with what it did: what is gone back to. None: there is none."""
    if standing.used.state != "good":
        return standing.former
    if not standing.used.version:
        return None
    return msgspec.structs.replace(standing.used, figures=figures(standing.counts, standing.hours))


def used_of(version: str, manifest: str) -> Used | None:
    """A version that came otherwise; None where there is none."""
    return Used(version=version, sha256=manifest) if version else None


def reports(name: str, standing: Standing) -> list[AssetReport]:
    """Of one asset: the version in use, the one that failed last, the one that waits."""
    found = []
    used, lost, wish = standing.used, standing.lost, standing.ready
    if used.sha256:
        before = None if standing.former is None else standing.former.figures
        now = msgspec.structs.replace(used, figures=figures(standing.counts, standing.hours), before=before)
        found.append(_report(name, standing.kind, now))
    if lost is not None and lost.sha256 not in ("", used.sha256):
        found.append(_report(name, standing.kind, lost))
    if wish is not None and wish.sha256 not in [one.sha256 for one in found]:
        ready = Used(version=wish.version, sha256=wish.sha256, attempt=wish.attempt, state="ready")
        found.append(_report(name, standing.kind, ready))
    return found


def remembered(kept: Kept, told: Sequence[AssetReport]) -> list[AssetReport]:
    """Of what failed here before, the latest; without what is told already."""
    known = {one.sha256 for one in told}
    return [
        AssetReport(
            name=failure.name,
            version=failure.version,
            kind=kept.assets[failure.name].kind if failure.name in kept.assets else "model",
            sha256=failure.sha256,
            state="refused" if failure.why == SPEED else "failed",
            attempt=failure.attempt,
            why=failure.why,
        )
        for failure in kept.memory.failures[-FAILURES_TOLD_MAX:]
        if failure.sha256 not in known
    ]


def _report(name: str, kind: str, one: Used) -> AssetReport:
    return AssetReport(
        name=name,
        version=one.version,
        kind=kind,
        sha256=one.sha256,
        state=one.state,
        attempt=one.attempt,
        since_s=max(one.since_s, 0.0),
        why=one.why,
        figures=one.figures,
        before=one.before,
    )
