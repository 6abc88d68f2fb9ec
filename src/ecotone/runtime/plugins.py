"""Checkers of answers: those of the house, and plug-ins found by entry point."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Collection
from typing import Final

from ecotone.checking import CHECKERS, GROUP, Guarded, auto
from ecotone.flow.site import Checker
from ecotone.values import ConfigError

JUDGE: Final = "judge"
BUILT_IN: Final[dict[str, Checker]] = {"auto": auto, **CHECKERS}


def checkers(wanted: Collection[str]) -> dict[str, Checker]:
    """The checkers of these names.

    Raises:
        ConfigError: a name that none has, or a plug-in that cannot be loaded.
    """
    return {name: BUILT_IN[name] if name in BUILT_IN else _plugin(name) for name in sorted(set(wanted) - {JUDGE})}


def _plugin(name: str) -> Checker:
    points = tuple(importlib.metadata.entry_points(group=GROUP, name=name))
    if len(points) != 1:
        others = sorted({point.name for point in importlib.metadata.entry_points(group=GROUP)})
        why = "no checker has this name" if not points else "several packages bring one of this name"
        known = ", ".join([*BUILT_IN, JUDGE, *others])
        raise ConfigError("config.invalid", f"models: compare.check: {name!r}: {why}; there are: {known}")
    try:
        return Guarded(name, points[0].load()({})).compare
    except Exception as error:
        words = f"models: compare.check: the plug-in {name!r} cannot be loaded: {type(error).__name__}"
        raise ConfigError("config.invalid", words) from error
