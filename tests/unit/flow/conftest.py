"""A stage for scripted targets; what must hold after every scene is checked when the test is over."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ecotone.sim.scripted import ScriptedTarget, Stage

from .yard import Yard


@pytest.fixture
def stage() -> Iterator[Callable[..., Stage]]:
    """Makes stages; at the end nothing may be left running, held or ended twice."""
    made: list[Stage] = []

    def make(*targets: ScriptedTarget, **changes: Any) -> Stage:
        made.append(Stage(*targets, **changes))
        return made[-1]

    yield make
    for one in made:
        one.close()
        assert one.left_over() == []


@pytest.fixture
def yard() -> Iterator[Callable[..., Yard]]:
    """Makes yards; at the end nothing may be left running."""
    made: list[Yard] = []

    def make(*targets: ScriptedTarget, **changes: Any) -> Yard:
        made.append(Yard(*targets, **changes))
        return made[-1]

    yield make
    for one in made:
        one.close()
