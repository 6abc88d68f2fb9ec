"""The door to what a running site learns: shut, and nearly free, until a model name asks for it.

What learns brings numpy along, so it is loaded only then (`runtime.lessons`).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from ecotone import config as settings
from ecotone import flow
from ecotone.ports.learning import Learning
from ecotone.store import Ledger, State
from ecotone.store.documents import Documents
from ecotone.store.examples import Examples
from ecotone.values import Mode
from ecotone.wire.feedback import Feedback

if TYPE_CHECKING:
    from ecotone.flow.lessons import Errand
    from ecotone.flow.site import Checker
    from ecotone.runtime.lessons import Room


def learning_names(config: settings.Config) -> dict[str, settings.Model]:
    """Model names for which something is learned: those that promise or compare, and have both places."""
    found = {}
    for name, model in config.models.items():
        places = {config.targets[target].at for target in model.targets}
        is_asked = model.quality is not None or model.mode is Mode.SHADOW
        if is_asked and len(places) > 1 and model.mode is not Mode.CLOUD:
            found[name] = model
    return found


class Teaching:
    """Learning of a running site, as long as the process lives."""

    def __init__(self, documents: Documents, examples: Examples, state: State, ledger: Ledger, secret: bytes) -> None:
        """Loads nothing yet.

        Args:
            secret: Keys the hashes that stand for words.
        """
        self._parts = documents, examples, state, ledger, secret
        self._ledger = ledger
        self._room: Room | None = None
        self._open = asyncio.Event()
        self._begun: tuple[Callable[[], flow.Site], Callable[[], settings.Config]] | None = None

    # For the composition.

    def arrange(self, config: settings.Config) -> Learning | None:
        """The learning for this configuration; None where no model name asks for it."""
        if not learning_names(config):
            return None
        if self._room is None:
            # A fit is small: threads that spin for each other make it a hundred times slower on a busy machine.
            os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
            from ecotone.runtime.lessons import Room

            self._room = Room(*self._parts)
            if self._begun is not None:
                self._room.begin(*self._begun)
            self._open.set()
        return self._room.arrange(config)

    def checkers(self, config: settings.Config) -> Mapping[str, Checker]:
        """Who compares answers, by name; after `arrange`.

        Raises:
            ConfigError: a name that no checker has, or a plug-in that cannot be loaded.
        """
        return {} if self._room is None else self._room.checkers(config)

    def begin(self, current: Callable[[], flow.Site], config: Callable[[], settings.Config]) -> None:
        """From now on there is a site."""
        self._begun = current, config
        if self._room is not None:
            self._room.begin(current, config)

    def take(self, errand: Errand, is_pair: bool) -> None:
        """An answer was given that may teach (`Site.take_errand`)."""
        assert self._room is not None, "no errand without a lesson"
        self._room.take(errand, is_pair)

    def changed(self, target: str, model: str) -> None:
        """The target runs this model from now on: where it was another one, what was learned of that is void."""
        if self._room is not None:
            self._room.changed(target, model)

    def quality(self, target: str, model: str) -> tuple[int, float]:
        """Answers of the target's model that were compared in this process, and the sum of their quality (1 = as good
        as the cloud's).
        """
        return (0, 0.0) if self._room is None else self._room.quality(target, model)

    async def live(self) -> None:
        """Works until cancelled."""
        await self._open.wait()
        assert self._room is not None, "it is open"
        await self._room.live()

    async def close(self) -> None:
        """Keeps what was learned."""
        if self._room is not None:
            await self._room.close()

    # For the gateway.

    async def feedback(self, said: Feedback, key: str | None) -> bool | None:
        """See `gateway.Doors.feedback`.

        Raises:
            EcotoneError: the ledger cannot be written.
        """
        owner = None if self._room is None else self._room.owner(said.request)
        if owner is None:
            await self._ledger.flush()
            entries = await asyncio.to_thread(self._ledger.find, said.request)
            bodies = [entry.body for entry in entries if entry.kind == "outcome"]
            owner = next((str(body.get("key", "")) for body in bodies if not body.get("purpose")), None)
        if owner is None or key not in (None, owner):
            return None
        if self._room is not None:
            return await self._room.give(said)
        told = {"request": said.request, "score": said.score, "has_correction": said.correction is not None}
        self._ledger.note("feedback", {**told, "target": said.target, "is_learned": False})
        return False

    # For status and metrics.

    def status(self) -> dict[str, Any]:
        """For `GET /admin/status`: by model name."""
        return {} if self._room is None else self._room.status()

    def shadows(self) -> dict[str, Any]:
        """For `GET /admin/status`: what comparing takes."""
        return {} if self._room is None else self._room.shadows()

    def promises(self) -> dict[str, float]:
        """For the metric: 1 while a name's promise stands on a certificate at any of its edge targets."""
        return {
            name: float(any(gate["certificate"] for gate in figures["targets"].values()))
            for name, figures in self.status().items()
        }

    def pairs(self) -> dict[str, float]:
        """For the metric: pairs compared, by name."""
        return {
            name: float(sum(gate["learned"] + gate["certifying"] for gate in figures["targets"].values()))
            for name, figures in self.status().items()
        }

    def usd(self) -> float:
        """For the metric: US dollars today."""
        return float(self.shadows().get("usd_today", 0.0))

    def troubles(self) -> list[str]:
        """What an operator should look at."""
        return [
            f"models.{name}: the promise for {target} is suspended ({gate['suspended']}): the cloud answers instead"
            for name, figures in self.status().items()
            for target, gate in figures["targets"].items()
            if gate["suspended"]
        ]
