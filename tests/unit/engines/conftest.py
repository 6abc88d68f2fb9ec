"""The fake engine stands in the real one's place."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from tests.unit.engines.world import FAKE, play


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Plays a scene with the fake engine: `scene(coroutine function, **settings)`."""
    monkeypatch.setenv("PYTHONPATH", str(FAKE))

    def run(acts, runner=asyncio.run, **settings):
        play(tmp_path, acts, runner, **settings)

    return run
