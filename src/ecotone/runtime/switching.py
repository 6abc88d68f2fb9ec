"""A local target whose engine changes underneath it, and the site's files as `agent.trying` sees them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import msgspec

from ecotone import assets, engines, shaping
from ecotone.agent.trying import Trying
from ecotone.delivery import versions
from ecotone.ports import Prepared, Sink, Stream, Target
from ecotone.values import Permit, Place, Receipt, Request, TargetError, TargetSpec

__all__ = ["AbsentTarget", "Shelf", "Switched", "Wanted", "opened"]


class Wanted(msgspec.Struct, frozen=True):
    """What a target of the configuration leads to now.

    Attributes:
        asset: The model file.
        adapter: The file of its adapter; None: it has none.
        model: As it is to be run.
        profile: What is known of it.
    """

    asset: assets.Asset
    adapter: assets.Asset | None
    model: engines.Model
    profile: shaping.Profile


class Both:
    """See `engines.Held`: a model file and its adapter's."""

    def __init__(self, model: assets.Held, adapter: assets.Held) -> None:
        """Takes the checked files; who gave them closes them."""
        self._files = model, adapter

    @property
    def fds(self) -> tuple[int, ...]:
        """See `engines.Held`."""
        return tuple(one.fd for one in self._files)

    def confirm(self) -> None:
        """See `engines.Held`."""
        for one in self._files:
            one.confirm()


class Switched:
    """A local target for as long as it is configured. Requests that have begun stay where they are.

    Attributes:
        inner: What serves requests that come now.
    """

    def __init__(self, name: str, inner: engines.EngineTarget | AbsentTarget) -> None:
        """Takes its name in the configuration, and what serves at first."""
        self._origin = f"unix:{name}"
        self.inner = inner

    @property
    def why(self) -> str:
        """Why its file is not here; `''` where it is."""
        return self.inner.why if isinstance(self.inner, AbsentTarget) else ""

    @property
    def engine(self) -> engines.Engine | None:
        """What runs the model; None where its file is not here."""
        return self.inner.engine if isinstance(self.inner, engines.EngineTarget) else None

    @property
    def spec(self) -> TargetSpec:
        """See `ports.Target`."""
        return self.inner.spec

    @property
    def origin(self) -> str:
        """See `ports.Target`."""
        return self._origin

    def prepare(self, request: Request) -> Prepared:
        """See `ports.Target`."""
        return self.inner.prepare(request)

    def open(self, prepared: Prepared, sink: Sink, permit: Permit | None, receipt: Receipt | None) -> Stream:
        """See `ports.Target`. What was prepared for the version before is the same for the next."""
        return self._target.open(prepared, sink, permit, receipt)

    def probe(self, sink: Sink, permit: Permit | None, receipt: Receipt | None) -> Stream:
        """See `ports.Target`."""
        return self._target.probe(sink, permit, receipt)

    def load(self) -> tuple[int, int]:
        """See `ports.Target`."""
        return self.inner.load()

    @property
    def _target(self) -> Target:
        return self.inner


class AbsentTarget:
    """A local model whose file is not here: every attempt fails at once, and the next target may try."""

    def __init__(self, name: str, model: str, why: str) -> None:
        """Takes its name in the configuration, the model, and what to tell of it."""
        self._spec = TargetSpec(name=name, at=Place.EDGE, model=model)
        self.why = why

    @property
    def spec(self) -> TargetSpec:
        """See `ports.Target`."""
        return self._spec

    @property
    def origin(self) -> str:
        """See `ports.Target`."""
        return f"unix:{self._spec.name}"

    def prepare(self, request: Request) -> Prepared:
        """See `ports.Target`."""
        raise TargetError("engine_start", self.why)

    def open(self, prepared: Prepared, sink: Sink, permit: Permit | None, receipt: Receipt | None) -> Stream:
        """See `ports.Target`; not reached, since `prepare` fails."""
        raise TargetError("engine_start", self.why)

    def probe(self, sink: Sink, permit: Permit | None, receipt: Receipt | None) -> Stream:
        """See `ports.Target`: it is still not here (a reload looks again)."""
        asyncio.get_running_loop().call_soon(sink.failed, TargetError("engine_start", self.why))
        return _Nothing()

    def load(self) -> tuple[int, int]:
        """See `ports.Target`."""
        return 0, 0


class _Nothing:
    """An attempt that is over."""

    def pause(self) -> None:
        """Nothing to pause."""

    def resume(self) -> None:
        """Nothing to resume."""

    def abort(self) -> None:
        """Nothing to stop."""


class Shelf:
    """See `agent.needs.Shelf`: the versions in the site's store. Its methods block for small files."""

    def __init__(self, store: Path) -> None:
        """Nothing is read yet."""
        self._store = store

    def where(self, name: str) -> tuple[str, str]:
        """See `agent.needs.Shelf`."""
        found = versions.in_force(self._store, name)
        return ("", "") if found is None else (found.version, found.manifest)

    def before(self, name: str) -> tuple[str, str]:
        """See `agent.needs.Shelf`."""
        now = versions.in_force(self._store, name)
        used = [one for one in versions.versions(self._store) if one.name == name and one.state == "used"]
        others = [one for one in used if one != now and versions.is_whole(one, self._store)]
        return (others[-1].version, others[-1].manifest) if others else ("", "")

    def manifest(self, name: str, version: str) -> str:
        """See `agent.needs.Shelf`."""
        for one in versions.versions(self._store):
            if (one.name, one.version) == (name, version) and versions.is_whole(one, self._store):
                return one.manifest
        return ""

    def lead(self, name: str, version: str) -> None:
        """See `agent.needs.Shelf`."""
        versions.switch(self._store, name, version, is_followed=True)

    def back(self, name: str, version: str) -> None:
        """See `agent.needs.Shelf`."""
        if version:
            versions.switch_back(self._store, name, version, is_followed=True)
        else:
            versions.withdraw(self._store, name)


def opened(store: Path, now_s: Callable[[], float], *, is_start: bool = True) -> Trying:
    """The site's trials, healed and with this start counted: before any engine is made. See `Trying.open`."""
    return Trying.open(store, Shelf(store), now_s, is_start=is_start)
