"""Patterns of names: `*` stands for any characters, all others for themselves."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

__all__ = ["ANY", "ANYTHING", "matches", "matches_one"]

ANY: Final = "*"
ANYTHING: Final = (ANY,)


def matches(pattern: str, name: str) -> bool:
    """Whether the whole name is of the pattern. Linear in the name for each `*`; `/` is a character like others."""
    first, *rest = pattern.split(ANY)
    if not rest:
        return name == first
    if not name.startswith(first):
        return False
    *middle, last = rest
    at = len(first)
    for part in middle:
        found = name.find(part, at)
        if found < 0:
            return False
        at = found + len(part)
    return len(name) - at >= len(last) and name.endswith(last)


def matches_one(patterns: Iterable[str], name: str) -> bool:
    """Whether the name is of one of the patterns."""
    return any(matches(pattern, name) for pattern in patterns)
