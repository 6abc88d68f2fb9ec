"""The process that is killed: it takes a version in, switches to it, and judges it or goes back.

    python program.py MANIFEST HUB STORES STRIDE SCENARIO kill|full

It forks a child for each n-th file operation; the child dies there (or its disk is full from there on). The first that
comes to its end says how many operations there are.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3]))

from tests.faults.switch.instrument import Journal

from ecotone.agent.trials import Wish
from ecotone.agent.trying import Trying
from ecotone.assets import StoreError, open_store
from ecotone.delivery.fetch import FolderSource
from ecotone.delivery.install import collect, install
from ecotone.estimate.counts import Count
from ecotone.runtime.switching import Shelf
from ecotone.transfer import Manifest, decode
from ecotone.values import EcotoneError, TargetError
from ecotone.values.fleet import Terms

TERMS = Terms(hours_min=0.0, requests_min=3, hours_max=1.0)


class Engines:
    """Loads what `hub:small` leads to, checked, as an engine does; version 2 is broken where the scenario says so."""

    def __init__(self, store: Path, *, is_bad: bool) -> None:
        self.store, self.is_bad = store, is_bad
        self.requests = 0
        self.why = ""

    async def follow(self, name: str) -> float:
        shelf = open_store(self.store)
        asset = shelf.resolve(f"hub:{name}")
        if asset is None:
            raise TargetError("engine_start", "nothing is here")
        shelf.checked_path(asset)
        if self.is_bad and Shelf(self.store).where(name)[0] == "2":
            raise TargetError("engine_start", "it does not start")
        self.requests, self.why = self.requests + 9, ""
        return 0.0

    async def start(self) -> None:
        """What is in force is loaded as the site starts: there is nothing else that could go on."""
        try:
            await self.follow("small")
        except EcotoneError as error:
            self.why = error.message

    async def prove(self, name: str) -> float:
        return 0.0

    def seen(self, name: str) -> Count:
        return Count(requests=self.requests)

    def trouble(self, name: str) -> str:
        return self.why

    def read_bytes_s(self) -> float:
        return 0.0


def wish(manifest: Manifest, sha256: str) -> Wish:
    return Wish(name=manifest.name, version=manifest.version, kind="model", sha256=sha256, terms=TERMS)


def play(manifest: Manifest, hub: Path, store: Path, scenario: str) -> Trying:
    """The whole way; what cannot be done now is told by the site, and tried again by whoever plays it again."""
    trying = Trying.open(store, Shelf(store), time.time)
    engines = Engines(store, is_bad=scenario == "bad")
    try:
        install(manifest, [FolderSource(hub)], store, is_switched=False)
    except StoreError as error:
        return told(trying, error)
    trying.take(wish(manifest, Shelf(store).manifest("small", "2")))
    trying._engines = engines

    async def turns() -> None:
        await engines.start()
        for _ in range(5):
            trying._later.clear()
            trying._trouble = await trying._turn(engines)
            engines.requests += 0 if engines.why else 9

    asyncio.run(turns())
    trying.close()
    try:
        collect(store)
    except StoreError as error:
        return told(trying, error)
    return trying


def told(trying: Trying, error: StoreError) -> Trying:
    """A disk that refuses has a code of its own."""
    if error.code not in ("asset.disk_full", "asset.io"):
        raise error
    return trying


def main() -> None:
    manifest, hub, stores = decode(Path(sys.argv[1]).read_bytes()), Path(sys.argv[2]), Path(sys.argv[3])
    stride, scenario, how = int(sys.argv[4]), sys.argv[5], sys.argv[6]
    play(manifest, hub, stores / "rehearsal", scenario)  # all is imported before anything is counted
    last = 0
    while True:
        last += stride
        store = stores / str(last)
        if not store.exists():
            sys.exit("more operations than there are stores")
        child = os.fork()
        if child == 0:
            journal = Journal(store, last, is_refused=how == "full")
            journal.begin()
            try:
                play(manifest, hub, store, scenario)
            except BaseException as error:  # noqa: BLE001 - a child that fails otherwise is a fault, and says so
                os.write(2, f"{last}: {type(error).__name__}: {error}\n".encode())
                os._exit(3)
            os._exit(0 if journal.left > 0 else 4)
        _, status = os.waitpid(child, 0)
        if os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0:
            print(last - stride)
            return
        is_right = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        if how == "full":
            is_right = os.WIFEXITED(status) and os.WEXITSTATUS(status) == 4
        if not is_right:
            sys.exit(f"at operation {last}: status {status}")


if __name__ == "__main__":
    main()
