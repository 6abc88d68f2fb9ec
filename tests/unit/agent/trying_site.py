"""A made site for trials: versions in memory, engines that do as they are told, and a clock that is set by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ecotone.agent import trials, trying
from ecotone.agent.trials import Wish
from ecotone.agent.trying import Trying
from ecotone.assets import StoreError
from ecotone.estimate.counts import Count
from ecotone.estimate.histogram import Histogram
from ecotone.values import TargetError
from ecotone.values.fleet import AssetReport, Terms

QUICK = Terms(hours_min=0.0, requests_min=5, hours_max=1.0)
PATIENT = Terms(hours_min=1.0, requests_min=50)


def digest(version: str) -> str:
    return version[0] * 64 if version else ""


def wish(version: str, terms: Terms | None = QUICK, **more: Any) -> Wish:
    return Wish(name="small", version=version, kind="model", sha256=digest(version), terms=terms, **more)


class Shelf:
    """Versions that are here."""

    def __init__(self, *here: str) -> None:
        self.here = set(here)
        self.led = {"small": here[0]} if here else {}
        self.used = list(here[:1])
        self.steps: list[str] = []
        self.refuses = 0

    def where(self, name: str) -> tuple[str, str]:
        version = self.led.get(name, "")
        return version, digest(version)

    def before(self, name: str) -> tuple[str, str]:
        others = [version for version in self.used if version != self.led.get(name)]
        return (others[-1], digest(others[-1])) if others else ("", "")

    def manifest(self, name: str, version: str) -> str:
        return digest(version) if version in self.here else ""

    def lead(self, name: str, version: str) -> None:
        self._lead("lead", name, version)

    def back(self, name: str, version: str) -> None:
        self._lead("back", name, version)

    def _lead(self, how: str, name: str, version: str) -> None:
        if self.refuses:
            self.refuses -= 1
            raise StoreError("asset.disk_full", "the disk is full")
        self.steps.append(f"{how} {version}")
        self.led[name] = version
        self.used.append(version)


class Engines:
    """What runs them: broken versions do not start; `counts` by version."""

    def __init__(self, shelf: Shelf) -> None:
        self.shelf = shelf
        self.broken: dict[str, str] = {}
        self.sick: set[str] = set()
        self.tok_s: dict[str, list[float]] = {}
        self.counts: dict[str, Count] = {}
        self.running = shelf.led.get("small", "")
        self.rate = 0.0
        self.follows: list[str] = []

    async def follow(self, name: str) -> float:
        version = self.shelf.led.get(name, "")
        self.follows.append(version)
        await asyncio.sleep(0)
        if version in self.broken:
            raise TargetError(self.broken[version], f"{version} does not start")
        self.running = version
        return await self.prove(name)

    async def prove(self, name: str) -> float:
        some = self.tok_s.get(self.running, [0.0])
        return some.pop(0) if len(some) > 1 else some[0]

    def seen(self, name: str) -> Count | None:
        return self.counts.get(self.running) if self.running else None

    def trouble(self, name: str) -> str:
        return "it does not start" if self.running in self.sick else ""

    def read_bytes_s(self) -> float:
        return self.rate

    def serve(
        self, requests: int, errors: int = 0, ms: float = 100.0, crashes: int = 0, quality: float | None = None
    ) -> None:
        """Requests at the version that runs now; all compared with the cloud where a quality is given."""
        more = Count(
            requests=requests,
            errors=errors,
            ttft_ms=_times(ms, requests),
            crashes=crashes,
            memory_bytes=1000,
            pairs=0 if quality is None else requests,
            quality=0.0 if quality is None else requests * quality,
        )
        self.counts[self.running] = self.counts.get(self.running, Count()).plus(more)


def _times(ms: float, times: int) -> Histogram:
    one = Histogram().with_(ms)
    return Histogram(dict.fromkeys(one.counts, times)) if times else Histogram()


class Site:
    """A store, a shelf, engines, and as many starts as a test wants."""

    def __init__(self, store: Path, monkeypatch: pytest.MonkeyPatch, *here: str) -> None:
        self.store, self.shelf = store, Shelf(*here)
        self.engines = Engines(self.shelf)
        self.now_s, self.monotonic_s = 1000.0, 0.0
        self.changes = 0
        monkeypatch.setattr(trying, "monotonic", lambda: self.monotonic_s)
        self.start()

    def start(self) -> Trying:
        """A start of the site; what ran before was killed."""
        self.engines.counts, self.engines.running = {}, self.shelf.led.get("small", "")
        self.trying = Trying.open(self.store, self.shelf, lambda: self.now_s)
        self.engines.running = self.shelf.led.get("small", "")
        self.trying.on_change = self._changed
        return self.trying

    def _changed(self) -> None:
        self.changes += 1

    def turn(self, times: int = 1) -> str:
        """Looks, as `live` does every two seconds."""
        self.trying._engines = self.engines

        async def turns() -> str:
            for _ in range(times):
                self.now_s += 2
                self.monotonic_s += 2
                self.trying._trouble = await self.trying._turn(self.engines)
            return self.trying._trouble

        return asyncio.run(turns())

    def take(self, version: str, terms: Terms | None = QUICK, **more: Any) -> str:
        """The version came, and is looked at."""
        self.shelf.here.add(version)
        self.trying.take(wish(version, terms, **more))
        return self.turn()

    def states(self) -> dict[str, str]:
        return {report.version: report.state for report in self.trying.reports()}

    def report(self, version: str) -> AssetReport:
        (found,) = [report for report in self.trying.reports() if report.version == version]
        return found

    def kept(self) -> trials.Standing:
        return trials.read(self.store).assets["small"]


Make = Callable[..., Site]
