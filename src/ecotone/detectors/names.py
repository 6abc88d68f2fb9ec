"""The detector `names`: people, places and organisations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ecotone.values import Finding


class Names:
    """Sees nothing yet."""

    version = "0"

    def find(self, texts: Sequence[str]) -> list[list[Finding]]:
        """One list for each text."""
        return [[] for _ in texts]


def make(_settings: Mapping[str, Any]) -> Names:
    """The detector."""
    return Names()
