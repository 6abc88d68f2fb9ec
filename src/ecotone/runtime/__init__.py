"""Composes the real shells into a site. Door: `run`. The only room that reads files and the environment."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["run"]


def run(path: Path | None, environ: Mapping[str, str], flags: Mapping[str, Any]) -> int:
    """Runs a site until it is told to stop; see `runtime.run.run`. Imports the shells only when called."""
    from ecotone.runtime.run import run as run_site

    return run_site(path, environ, flags)
