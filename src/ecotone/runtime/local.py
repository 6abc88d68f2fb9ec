"""The local models of a site."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from ecotone import config as settings
from ecotone.estimate import Speeds
from ecotone.ports import Target
from ecotone.store import State
from ecotone.values import ConfigError


class Local:
    """Supervisor and assets behind local targets."""

    def __init__(self, config: settings.Config, store: Path, state: State, speeds: Speeds) -> None:
        self._config = config

    def target(self, name: str, target: settings.LocalTarget) -> Target:
        raise ConfigError("config.invalid", f"targets.{name}: engines are not there yet")

    def troubles(self) -> list[str]:
        return []

    def machine(self) -> dict[str, Any]:
        return {}

    def status(self) -> dict[str, Any]:
        return {}

    async def settle(self, config: settings.Config) -> None:
        pass

    async def live(self) -> None:
        await asyncio.Event().wait()

    async def close(self) -> None:
        pass
