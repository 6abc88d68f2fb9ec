"""What a request holds that may be protected. One door: `inspect`.

No detector is built yet (it is the next piece of work): labels come from the caller's `Ecotone-Labels` alone, and a
detector that the configuration asks for and that is not there counts as label `unknown`, which stays at the site.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from ecotone.values import Request

UNKNOWN = "unknown"
"""The label of a request that a detector should have looked at and could not."""

Detector = Callable[[Request], tuple[str, ...]]
"""Gives the labels that it found. Pure; raising counts as `unknown`."""


class Findings(msgspec.Struct, frozen=True, gc=False):
    """Labels of a request, sorted and without repetition, and who looked.

    Attributes:
        missing: Detectors that were asked for and are not installed or failed.
    """

    labels: tuple[str, ...]
    missing: tuple[str, ...] = ()


def inspect(request: Request, wanted: tuple[str, ...], installed: Mapping[str, Detector]) -> Findings:
    """Labels of the request: the caller's own, and what each wanted detector adds. Never removes one."""
    if not wanted:
        return Findings(request.labels)
    labels = set(request.labels)
    missing = []
    for name in wanted:
        detector = installed.get(name)
        if detector is None:
            missing.append(name)
            continue
        try:
            labels.update(detector(request))
        except Exception:  # noqa: BLE001 - fail closed: whatever a detector does wrong, the data stays
            missing.append(name)
    if missing:
        labels.add(UNKNOWN)
    return Findings(tuple(sorted(labels)), tuple(missing))
