from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.trust.made_hub import World


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A hub with two versions, the newer of which a site shall have."""
    made = World(tmp_path / "hub")
    made.publish("smol", "1")
    made.publish("smol", "2")
    made.assign("harbour", "smol@2")
    return made
