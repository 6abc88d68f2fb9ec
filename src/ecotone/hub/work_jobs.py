"""All work that a hub does by itself, put together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ecotone.delivery import hub_keys
from ecotone.hub.collecting import COLLECT, Collecting
from ecotone.hub.publications import PUBLISH
from ecotone.hub.publishing import Publishing
from ecotone.hub.releases import LOOK
from ecotone.hub.releases_look import Looking
from ecotone.hub.resigning import RESIGN, Resigning
from ecotone.hub.work import Work
from ecotone.hub.work_tasks import Job

if TYPE_CHECKING:
    from securesystemslib.signer import CryptoSigner

    from ecotone.hub.serving import Hub

__all__ = ["collecting", "work"]

_STANDING: Final = {RESIGN: 2.0, COLLECT: 900.0}
_ALONE: Final = frozenset({PUBLISH, COLLECT})


def work(hub: Hub) -> Work:
    """The work of a hub; it begins with `start`, in any of its processes."""

    def online() -> CryptoSigner | None:
        path = hub.settings.keys / "online.key"
        return hub_keys.read(path) if path.exists() else None

    database, acts, clock = hub.database, hub.acts, hub.clock
    scratch = hub.settings.state / "work"
    jobs: dict[str, Job] = {
        LOOK: Looking(database, acts, hub.fleet, hub.wishes),
        PUBLISH: Publishing(database, acts, hub.repositories, hub.uploads, online, scratch=scratch),
        COLLECT: collecting(hub),
        RESIGN: Resigning(database, acts, hub.wishes, online, clock),
    }
    return Work(database, jobs, clock, standing=_STANDING, alone=_ALONE)


def collecting(hub: Hub) -> Collecting:
    """What removes the hub's garbage; to look at it too."""
    return Collecting(hub.database, hub.acts, hub.repositories, hub.uploads, hub.fleet)
