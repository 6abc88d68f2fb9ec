"""Regular expressions that compile at first use, so that an import does nothing.

Python's own engine looks only at hits of a gate, in windows of bounded length: it may take quadratic time, of little.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any


class Form:
    """A pattern of Python's `re`, compiled when first asked."""

    match: Callable[..., re.Match[str] | None]
    search: Callable[..., re.Match[str] | None]
    fullmatch: Callable[..., re.Match[str] | None]
    finditer: Callable[..., Iterator[re.Match[str]]]

    def __init__(self, pattern: str, flags: int = 0) -> None:
        self._pattern = pattern
        self._flags = flags

    def __getattr__(self, name: str) -> Any:
        if name not in ("match", "search", "fullmatch", "finditer"):
            raise AttributeError(name)
        self.compile()
        return vars(self)[name]

    def compile(self) -> None:
        """Compiles it now, so that no request waits for it."""
        compiled = re.compile(self._pattern, self._flags)
        self.match, self.search = compiled.match, compiled.search
        self.fullmatch, self.finditer = compiled.fullmatch, compiled.finditer
