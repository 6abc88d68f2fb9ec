"""Signing anew, daily, that nothing is newer: by the hub itself while it runs, with an alarm where that cannot be."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Any, Final, Protocol

import msgspec
from securesystemslib.signer import CryptoSigner
from sqlalchemy import update
from tuf.api.metadata import Metadata

from ecotone.delivery.hub_folder import Hub
from ecotone.delivery.repository import Repository
from ecotone.hub.acts import Acts
from ecotone.hub.database import Database
from ecotone.hub.tables_releases import publications
from ecotone.hub.work_tasks import Next, Step
from ecotone.trust import terms, writing
from ecotone.values import ConfigError

__all__ = ["RESIGN", "Due", "Resigning", "due"]

log = logging.getLogger(__name__)

RESIGN: Final = "resign"
"""Kind of the task that signs anew."""
EVERY_S: Final = terms.DAY_S
_SOON_DAYS: Final = {"timestamp": 5.0, "snapshot": 30.0, "root": 90.0}
_SOON_DAYS_ELSE: Final = 60.0


class Due(msgspec.Struct, frozen=True, kw_only=True):
    """Until when what one role has signed holds.

    Attributes:
        repository: `catalogue` or `director`.
        expires_s: Unix seconds.
        is_overdue: It should have been signed anew: by the hub itself (`timestamp`, `snapshot`), or by whoever has the
            key.
        is_expired: Sites on a link take nothing new any more. What runs there goes on.
    """

    repository: str
    role: str
    expires_s: float
    is_overdue: bool
    is_expired: bool


class Refreshing(Protocol):
    """What signs anew, as `hub.wishes.Wishes` does."""

    def refresh(self, signers: Iterable[CryptoSigner] = ()) -> list[str]:
        """Signs timestamps anew, and what ends soon; gives which repositories."""
        ...


class Resigning:
    """The job `resign`."""

    def __init__(
        self,
        database: Database,
        acts: Acts,
        wishes: Refreshing,
        online: Callable[[], CryptoSigner | None],
        clock: Callable[[], float],
    ) -> None:
        """`online` gives the catalogue's online key; None: it is not here."""
        self._database: Final = database
        self._acts: Final = acts
        self._wishes: Final = wishes
        self._online: Final = online
        self._clock: Final = clock

    def __call__(self, step: Step, subject: str) -> Next:
        """Signs anew, and is due again in a day."""
        step("act", lambda: self._acts.write("hub", "hub.sign", "timestamps"))
        done = step("sign", self.sign)
        if terms.CATALOGUE in done:
            step("announced", self.announced)
        if len(done) < 2:
            missing = ({terms.CATALOGUE, terms.DIRECTOR} - set(done)).pop()
            raise ConfigError(
                "hub.keys",
                f"the {missing} was not signed anew, as its key is not here: 7 days after the last time sites take "
                "nothing new any more. `ecotone hub sign` does it by hand where the key is",
            )
        return Next(EVERY_S)

    def sign(self) -> list[str]:
        """Signs; gives which repositories.

        Raises:
            ConfigError: `hub.keys`: no key is here.
        """
        online = self._online()
        return sorted(self._wishes.refresh([] if online is None else [online]))

    def announced(self) -> int:
        """What waited for the online key is announced by this; gives how many."""
        with self._database.begin() as c:
            waiting = update(publications).where(publications.c.state == "written")
            return int(c.execute(waiting.values(state="announced", touched_s=self._clock())).rowcount)


def due(hub: Hub, now_s: float) -> list[Due]:
    """What of both repositories ends when, soonest first.

    Args:
        hub: The signed repositories.
        now_s: Unix seconds.

    Raises:
        ConfigError: `hub.folder`: there is none.
    """
    found = []
    for repository in (hub.catalogue, hub.director):
        for role in ("root", "targets", *writing.delegates(repository.targets), "snapshot"):
            found.append(_due(repository, role, repository.content(role), now_s))
        stamp = repository.timestamp()
        found.append(_of(repository.name, "timestamp", stamp.expires.timestamp(), now_s))
    return sorted(found, key=lambda one: (one.expires_s, one.repository, one.role))


def _due(repository: Repository, role: str, raw: bytes, now_s: float) -> Due:
    metadata: Metadata[Any] = Metadata.from_bytes(raw)
    return _of(repository.name, role, metadata.signed.expires.timestamp(), now_s)


def _of(repository: str, role: str, expires_s: float, now_s: float) -> Due:
    soon_s = _SOON_DAYS.get(role, _SOON_DAYS_ELSE) * terms.DAY_S
    return Due(
        repository=repository,
        role=role,
        expires_s=expires_s,
        is_overdue=expires_s - now_s < soon_s,
        is_expired=expires_s <= now_s,
    )
