"""Checkers of answers: those of the house, and plug-ins found by entry point."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Collection
from typing import Final

from ecotone.flow.site import Checker
from ecotone.values import ConfigError

GROUP: Final = "ecotone.checkers"
JUDGE: Final = "judge"


def checkers(wanted: Collection[str]) -> dict[str, Checker]:
    """The checkers of these names.

    Raises:
        ConfigError: a name that none has, or a plug-in that cannot be loaded.
    """
    from ecotone import checking

    found: dict[str, Checker] = {}
    for name in sorted(wanted):
        if name in checking.CHECKERS:
            found[name] = checking.CHECKERS[name]
        elif name != JUDGE:
            found[name] = _plugin(name)
    return found


def _plugin(name: str) -> Checker:
    from ecotone import checking

    points = tuple(importlib.metadata.entry_points(group=GROUP, name=name))
    if len(points) != 1:
        known = ", ".join(
            [*checking.CHECKERS, JUDGE, *sorted(p.name for p in importlib.metadata.entry_points(group=GROUP))]
        )
        why = "no checker has this name" if not points else "several packages bring one of this name"
        raise ConfigError("config.invalid", f"models: compare.check: {name!r}: {why}; there are: {known}")
    try:
        return checking.plugin(name, points[0].load())
    except Exception as error:
        words = f"models: compare.check: the plug-in {name!r} cannot be loaded: {type(error).__name__}"
        raise ConfigError("config.invalid", words) from error
