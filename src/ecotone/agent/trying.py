"""New versions at a site: used on trial, judged here, and gone back from without anybody's help.

Each step is durable before it is taken, so that a site that is killed at any instant goes on rightly when it starts:
`trials.json` says what shall be used, then `hub:NAME` leads there, then the engine is changed. A start is counted
before any engine is loaded: a version that kills the site is gone back from after `boots_max` starts for nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Final

import msgspec

from ecotone.agent import orders, standings, trials
from ecotone.agent.figures import figures
from ecotone.agent.needs import Engines, Shelf
from ecotone.agent.standings import used_of
from ecotone.agent.trials import Kept, Standing, Used, Wish
from ecotone.estimate.counts import Count
from ecotone.fleet import trial
from ecotone.fleet.accepting import Here, Take, accept
from ecotone.fleet.memory import Failure, remember
from ecotone.values import ConfigError, EcotoneError
from ecotone.values.fleet import AssetReport, AssetState

__all__ = ["Trying"]

LOOK_S: Final = 2.0
SAVE_S: Final = 30.0
QUIET_SAVE_S: Final = 300.0
"""The same where nothing is on trial: a disk that wears is not written for a count."""

SICK_LOOKS: Final = 3
"""A version does not run here when that was seen at so many looks, one after the other."""

AGAIN_S: Final = 30.0
"""A switch that could not be made now, as memory is short or the disk is full, is tried again after so long."""

PROOFS: Final = 3
"""A version that writes too slowly may show so often that it does not: other work is in its way as well."""

LOCAL: Final = "local"
"""Why somebody at the site went back."""

log = logging.getLogger("ecotone.hub")


class Trying:
    """See the module.

    Attributes:
        on_change: Called at each change of a version's state.
    """

    def __init__(self, store: Path, shelf: Shelf, now_s: Callable[[], float], kept: Kept) -> None:
        """See `open`."""
        self.on_change: Callable[[], None] = lambda: None
        self._store, self._shelf, self._now_s = store, shelf, now_s
        self._kept = kept
        self._engines: Engines | None = None
        self._orders = orders.Orders()
        self._stamp: tuple[int, int, int] | None = None
        self._inbox: list[Wish] = []
        self._marks: dict[str, tuple[Count, float]] = {}
        self._later: dict[str, float] = {}
        self._behind: set[str] = set()
        self._sick: dict[str, int] = {}
        self._news = asyncio.Event()
        self._saved_s = monotonic()
        self._trouble = ""

    @classmethod
    def open(cls, store: Path, shelf: Shelf, now_s: Callable[[], float], *, is_start: bool = True) -> Trying:
        """What was kept, healed: before any engine is loaded.

        A start on trial is counted, and one too many goes back. Where the site was killed in the middle of a step, the
        step is done. Where somebody led `hub:NAME` elsewhere meanwhile, that holds.

        Args:
            store: The site's store folder.
            shelf: See there.
            now_s: Unix seconds by the site's reckoning.
            is_start: Whether the site starts; a command only looks.
        """
        try:
            kept = trials.read(store)
        except ConfigError as error:
            log.error("%s", error.message)  # noqa: TRY400 - the trace says nothing to an operator
            with contextlib.suppress(OSError):
                trials.file(store).replace(trials.file(store).with_suffix(".damaged"))
            kept = Kept()
        made = cls(store, shelf, now_s, kept)
        try:
            made._read_orders()
            made._begin(is_start=is_start)
        except (EcotoneError, OSError) as error:
            made._trouble = made._told(error)
        return made

    # What others call.

    def take(self, wish: Wish) -> None:
        """The version is here whole, and shall be used. Returns at once; `live` does it."""
        self._inbox.append(wish)
        self._news.set()

    def refuses(self, wish: Wish) -> str:
        """Why a version shall not even be fetched: `pinned`, `failed`; or `''`."""
        said = accept(wish, 0, Here(memory=self._kept.memory, pinned=self.pinned()))
        if isinstance(said, Take):
            return ""
        return "pinned" if said.why == "pinned" else "failed"

    def pinned(self) -> tuple[str, ...]:
        """NAME@VERSION of what somebody at the site holds fast."""
        return tuple(f"{name}@{version}" for name, version in sorted(self._orders.pinned.items()))

    def reports(self) -> tuple[AssetReport, ...]:
        """Where the versions stand that are used, wait to be, or failed, for as long as that is remembered."""
        found: list[AssetReport] = []
        for name, standing in sorted(self._kept.assets.items()):
            found += standings.reports(name, standing)
        return (*found, *standings.remembered(self._kept, found))

    def tok_s(self) -> dict[str, float]:
        """Tokens a second that versions really wrote here, by the SHA-256 of their manifests."""
        return dict(self._kept.tok_s)

    def read_bytes_s(self) -> float:
        """Bytes of weights that this machine reads a second while it writes an answer; 0: not measured."""
        return self._kept.read_bytes_s

    def troubles(self) -> list[str]:
        """What an operator should look at."""
        found = [self._trouble] if self._trouble else []
        for name, standing in sorted(self._kept.assets.items()):
            lost = standing.lost
            if lost is not None and lost.since_s >= standing.used.since_s:
                found.append(f"hub:{name}: {lost.version} {lost.state} here ({lost.why})")
        return found

    def close(self) -> None:
        """The site stops in order: this start has come to an end. Blocks for one small write."""
        for name, standing in self._kept.assets.items():
            stopped = None if standing.trial is None else trial.stopped(standing.trial)
            self._mind(name, msgspec.structs.replace(self._counted(name, standing), trial=stopped))
        if self._kept.assets:
            with contextlib.suppress(OSError):
                trials.write(self._store, self._kept)

    async def live(self, engines: Engines) -> None:
        """Switches, judges and goes back until it is cancelled."""
        self._engines = engines
        while True:
            self._trouble = await self._turn(engines)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), LOOK_S)
            self._news.clear()

    def obey(self) -> None:
        """Carries out what was ordered where no site runs: only where `hub:NAME` leads is changed.

        Raises:
            EcotoneError, OSError: It cannot be done now.
        """
        self._read_orders()
        for name, ordered in self._ordered():
            self._kept = self._with(name, ordered)
            trials.write(self._store, self._kept)
            self._led(name, ordered)
            trials.write(self._store, self._kept)

    # At the start.

    def _begin(self, *, is_start: bool) -> None:
        fresh: dict[str, Standing] = {}
        for name, standing in self._kept.assets.items():
            healed = self._healed(name, standing)
            if healed is not None and healed.trial is not None and is_start:
                healed = self._booted(name, healed, healed.trial)
            if healed is not None:
                fresh[name] = healed
        if fresh != self._kept.assets:
            self._kept = msgspec.structs.replace(self._kept, assets=fresh)
            trials.write(self._store, self._kept)
        for name, standing in fresh.items():
            if not standing.is_led:
                self._led(name, standing)
        if self._kept.assets != fresh:
            trials.write(self._store, self._kept)

    def _healed(self, name: str, standing: Standing) -> Standing | None:
        version, manifest = self._shelf.where(name)
        is_elsewhere = version != standing.used.version
        is_gone = bool(standing.used.version) and not self._shelf.manifest(name, standing.used.version)
        if is_elsewhere and (standing.is_led or is_gone):
            return self._by_hand(name, standing, version, manifest)
        return standing

    def _booted(self, name: str, standing: Standing, tried: trial.Trial) -> Standing:
        """With this start counted, which may be one too many."""
        booted = trial.boot(tried)
        verdict = trial.judge(booted)
        if not isinstance(verdict, trial.Failed):
            return msgspec.structs.replace(standing, trial=booted)
        log.error("hub:%s %s failed here (%s): going back", name, standing.used.version, verdict.why)
        return self._lost(name, standing, verdict.why, "failed")

    def _by_hand(self, name: str, standing: Standing, version: str, manifest: str) -> Standing | None:
        log.warning("hub:%s leads to %s by somebody's hand", name, version or "nothing")
        return standings.by_hand(standing, version, manifest, self._now_s())

    def _led(self, name: str, standing: Standing) -> None:
        """`hub:NAME` leads to what is used; blocks. That this is done is remembered, and kept with the next write."""
        is_back = (
            standing.lost is not None and standing.trial is None and standing.lost.since_s >= standing.used.since_s
        )
        lead = self._shelf.back if is_back or not standing.used.version else self._shelf.lead
        lead(name, standing.used.version)
        self._mind(name, msgspec.structs.replace(standing, is_led=True))

    # A turn.

    async def _turn(self, engines: Engines) -> str:
        """Everything that is due; what could not be done, in words, is tried again."""
        said = ""
        try:
            if self._stamp != orders.stamp(self._store):
                self._read_orders()
            for name, ordered in self._ordered():
                await self._order(name, ordered, engines)
            while self._inbox:
                await self._note(self._inbox[0])
                del self._inbox[0]
        except (EcotoneError, OSError) as error:
            said = self._told(error)
        for name in list(self._kept.assets):
            try:
                await self._use(name, engines)
                await self._look(name, engines)
            except (EcotoneError, OSError) as error:
                said = self._told(error)
        rate = engines.read_bytes_s()
        if rate and rate != self._kept.read_bytes_s:
            self._kept = msgspec.structs.replace(self._kept, read_bytes_s=rate)
        is_tried = any(one.trial is not None for one in self._kept.assets.values())
        if self._kept.assets and monotonic() >= self._saved_s + (SAVE_S if is_tried else QUIET_SAVE_S):
            with contextlib.suppress(OSError):
                await self._write(self._kept)
        return said

    async def _note(self, wish: Wish) -> None:
        """A version that is here waits to be used; of one name only the latest wish does."""
        standing = self._kept.assets.get(wish.name) or self._found(wish.name, wish.kind)
        used = standing.used
        ready: Wish | None = wish
        if used.sha256 == wish.sha256:
            used, ready = msgspec.structs.replace(used, attempt=max(used.attempt, wish.attempt)), None
        if (standing.used, standing.ready) != (used, ready):
            await self._write(self._with(wish.name, msgspec.structs.replace(standing, used=used, ready=ready)))
            self.on_change()

    async def _use(self, name: str, engines: Engines) -> None:
        """Uses what waits for it."""
        standing = self._kept.assets[name]
        wish = standing.ready
        self._mind(name, standing := self._counted(name, standing))
        if wish is None or self._later.get(name, 0.0) > monotonic():
            return
        refused = self.refuses(wish)
        if refused == "pinned":
            return
        here = await asyncio.to_thread(self._shelf.manifest, name, wish.version)
        if refused or not here:
            await self._write(self._with(name, msgspec.structs.replace(standing, ready=None)))
            return
        fresh = standings.on_trial(self._counted(name, standing), wish, self._now_s())
        try:
            tok_s = await self._change(name, fresh, engines)
        except EcotoneError as error:
            if error.code == "busy" or self._kept.assets[name] == standing:
                self._later[name] = monotonic() + AGAIN_S
                await self._undo(name, standing, engines)
                raise
            log.warning("hub:%s %s does not run here: %s", name, wish.version, error.message)
            await self._fail(name, "load", "failed", engines)
            return
        await self._check_speed(name, wish, tok_s, engines)

    async def _check_speed(self, name: str, wish: Wish, tok_s: float, engines: Engines) -> None:
        """A version that writes more slowly than was asked is not used: another variant of it may be."""
        for _ in range(PROOFS):
            if 0 < tok_s < wish.decode_tok_s_min:
                with contextlib.suppress(EcotoneError):  # its trial will show that
                    tok_s = max(tok_s, await engines.prove(name))
        if tok_s > 0:
            known = {**self._kept.tok_s, wish.sha256: tok_s}
            self._kept = msgspec.structs.replace(self._kept, tok_s=dict(list(known.items())[-1024:]))
        if 0 < tok_s < wish.decode_tok_s_min:
            await self._fail(name, standings.SPEED, "refused", engines)

    async def _look(self, name: str, engines: Engines) -> None:
        """Judges a version on trial."""
        standing = self._kept.assets[name]
        version, manifest = await asyncio.to_thread(self._shelf.where, name)
        if standing.is_led and version != standing.used.version:
            await self._accept(name, self._by_hand(name, standing, version, manifest), engines)
            return
        if name in self._behind:
            await self._follow(name, engines)
        if standing.trial is None:
            return
        is_idle = standing.counts.requests == standing.counts.errors
        self._sick[name] = self._sick.get(name, 0) + 1 if is_idle and engines.trouble(name) else 0
        if self._sick[name] >= SICK_LOOKS:
            await self._fail(name, "load", "failed", engines)
            return
        observed = trial.observed(standing.trial, figures(standing.counts, standing.hours))
        self._mind(name, msgspec.structs.replace(standing, trial=observed))
        verdict = trial.judge(observed)
        if isinstance(verdict, trial.Failed):
            await self._fail(name, verdict.why, "failed", engines)
        elif isinstance(verdict, trial.Good):
            used = msgspec.structs.replace(standing.used, state="good", since_s=self._now_s(), why="")
            log.info("hub:%s %s is good here (%s)", name, used.version, verdict.why)
            await self._write(self._with(name, msgspec.structs.replace(standing, used=used, trial=None)))
            self.on_change()

    async def _accept(self, name: str, standing: Standing | None, engines: Engines) -> None:
        """What was done by hand holds, and is run."""
        if standing is not None:
            await self._change(name, standing, engines)
            return
        left = {other: one for other, one in self._kept.assets.items() if other != name}
        await self._write(msgspec.structs.replace(self._kept, assets=left))
        await self._follow(name, engines)

    async def _fail(self, name: str, why: str, state: AssetState, engines: Engines) -> None:
        """The version before is used again, and this one is remembered."""
        standing = self._counted(name, self._kept.assets[name])
        log.error("hub:%s %s failed here (%s): going back", name, standing.used.version, why)
        await self._change(name, self._lost(name, standing, why, state), engines)

    def _lost(self, name: str, standing: Standing, why: str, state: AssetState) -> Standing:
        """As `standings.lost`; the failure is in the memory from now on."""
        used = standing.used
        if used.sha256:
            failure = Failure(name=name, version=used.version, sha256=used.sha256, attempt=used.attempt, why=why)
            self._kept = msgspec.structs.replace(self._kept, memory=remember(self._kept.memory, failure))
        return standings.lost(standing, why, state, self._now_s())

    # Orders of the local administrator.

    async def _order(self, name: str, ordered: Standing, engines: Engines) -> None:
        """Carries one out; where what was ordered does not run, all stays as it is for a while."""
        standing = self._kept.assets.get(name) or self._found(name, ordered.kind)
        try:
            await self._change(name, ordered, engines)
        except EcotoneError:
            self._later[name] = monotonic() + AGAIN_S
            await self._undo(name, standing, engines)
            raise

    def _read_orders(self) -> None:
        self._stamp = orders.stamp(self._store)
        self._orders = orders.read(self._store)

    def _ordered(self) -> list[tuple[str, Standing]]:
        """What must change so that all orders are carried out."""
        changed = []
        for name, times in self._orders.back.items():
            standing = self._kept.assets.get(name) or self._found(name, "model")
            if times <= standing.orders:
                continue
            former = standing.former or used_of(*self._shelf.before(name))
            if former is None or not standing.used.version:
                standing = msgspec.structs.replace(standing, orders=times)
                self._kept = self._with(name, standing)
                continue
            given = msgspec.structs.replace(self._counted(name, standing), former=former, orders=times)
            changed.append((name, self._lost(name, given, LOCAL, "failed")))
        for name, version in self._orders.pinned.items():
            standing = self._kept.assets.get(name) or self._found(name, "model")
            is_later = self._later.get(name, 0.0) > monotonic()
            if standing.used.version == version or name in dict(changed) or is_later:
                continue
            if manifest := self._shelf.manifest(name, version):
                wish = Wish(name=name, version=version, kind=standing.kind, sha256=manifest)
                changed.append((name, standings.on_trial(self._counted(name, standing), wish, self._now_s())))
        return changed

    # Steps.

    async def _change(self, name: str, standing: Standing, engines: Engines) -> float:
        """Makes it so: kept, then led to, then run. Tokens a second of what runs then; 0 where that is not known.

        Raises:
            EcotoneError: of the shelf (nothing has changed), or of what should run.
        """
        before = self._kept
        await self._write(self._with(name, standing))
        try:
            await asyncio.to_thread(self._led, name, standing)
        except EcotoneError:
            self._kept = before
            raise
        self.on_change()
        try:
            tok_s = await self._follow(name, engines)
        finally:
            self._marks[name] = (engines.seen(name) or Count(), monotonic())
        with contextlib.suppress(OSError):  # that it is led there is kept with the next write
            await self._write(self._kept)
        return tok_s

    async def _follow(self, name: str, engines: Engines) -> float:
        """What uses the asset runs what it leads to; where that fails on the way back, it is tried at each look."""
        self._behind.discard(name)
        try:
            return await engines.follow(name)
        except EcotoneError:
            if name in self._kept.assets and self._kept.assets[name].trial is None:
                self._behind.add(name)
            raise

    async def _undo(self, name: str, standing: Standing, engines: Engines) -> None:
        """As it was before a switch that could not be made now."""
        with contextlib.suppress(EcotoneError, OSError):
            await self._change(name, msgspec.structs.replace(standing, is_led=False), engines)

    async def _write(self, kept: Kept) -> None:
        """Durable, and then true."""
        await asyncio.to_thread(trials.write, self._store, kept)
        self._kept = kept
        self._saved_s = monotonic()

    def _with(self, name: str, standing: Standing) -> Kept:
        return msgspec.structs.replace(self._kept, assets={**self._kept.assets, name: standing})

    def _mind(self, name: str, standing: Standing) -> None:
        """As `_with`, kept with the next write."""
        self._kept = self._with(name, standing)

    def _found(self, name: str, kind: str) -> Standing:
        """Of an asset that came here otherwise."""
        used = used_of(*self._shelf.where(name)) or Used(version="")
        return Standing(kind=kind, used=msgspec.structs.replace(used, since_s=self._now_s()))

    def _counted(self, name: str, standing: Standing) -> Standing:
        """With what was counted since the last time."""
        if self._engines is None:
            return standing
        now_s, seen = monotonic(), self._engines.seen(name) or Count()
        since, since_s = self._marks.get(name, (Count(), now_s))
        self._marks[name] = (seen, now_s)
        counts = standing.counts.plus(seen.minus(since))
        hours = standing.hours + (now_s - since_s) / 3600
        return msgspec.structs.replace(standing, counts=counts, hours=hours)

    def _told(self, error: EcotoneError | OSError) -> str:
        """What could not be done now, in words; logged once."""
        said = f"versions from the hub: {error.message if isinstance(error, EcotoneError) else error}"
        if said != self._trouble:
            log.error("%s", said)
        return said
