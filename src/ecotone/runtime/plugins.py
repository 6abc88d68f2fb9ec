"""Checkers of answers: those of the house, and plug-ins found by entry point."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Final

from ecotone.checking import CHECKERS, GROUP, Embedded, Guarded, auto
from ecotone.flow.site import Checker
from ecotone.values import ConfigError, TrustError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

JUDGE: Final = "judge"
EMBEDDING: Final = "embedding"
BUILT_IN: Final[dict[str, Checker]] = {"auto": auto, **CHECKERS}


def checkers(wanted: Collection[str]) -> dict[str, Checker]:
    """The checkers of these names.

    Raises:
        ConfigError: a name that none has, or a plug-in that cannot be loaded.
    """
    return {name: _checker(name) for name in sorted(set(wanted) - {JUDGE})}


def _checker(name: str) -> Checker:
    if name in BUILT_IN:
        return BUILT_IN[name]
    return _embedding() if name == EMBEDDING else _plugin(name)


def _embedding() -> Checker:
    """Likeness by the static embedding that `topics` uses: 32 MB in this process, where a model name asks for it.

    Raises:
        ConfigError: its package is not installed, or not the one that is known.
    """
    import numpy as np

    from ecotone.detectors.topics_embedding import DIMENSIONS, load_embedding

    try:
        loaded = load_embedding()
    except (ModuleNotFoundError, TrustError) as error:
        raise ConfigError("config.invalid", f"models: compare.check: embedding: {error}") from error

    def embed(texts: Sequence[str]) -> NDArray[np.float32]:
        """The mean of each text's tokens."""
        tokens = [loaded.table[loaded.tokens(text)] for text in texts]
        return np.stack([one.mean(axis=0) if len(one) else np.zeros(DIMENSIONS, np.float32) for one in tokens])

    return Guarded(EMBEDDING, Embedded(embed)).compare


def _plugin(name: str) -> Checker:
    points = tuple(importlib.metadata.entry_points(group=GROUP, name=name))
    if len(points) != 1:
        others = sorted({point.name for point in importlib.metadata.entry_points(group=GROUP)})
        why = "no checker has this name" if not points else "several packages bring one of this name"
        known = ", ".join([*BUILT_IN, EMBEDDING, JUDGE, *others])
        raise ConfigError("config.invalid", f"models: compare.check: {name!r}: {why}; there are: {known}")
    try:
        return Guarded(name, points[0].load()({})).compare
    except Exception as error:
        words = f"models: compare.check: the plug-in {name!r} cannot be loaded: {type(error).__name__}"
        raise ConfigError("config.invalid", words) from error
