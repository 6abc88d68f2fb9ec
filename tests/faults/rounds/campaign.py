"""Rounds of trouble: a site runs, something happens to it under load, it is killed; and again, over the same store."""

from __future__ import annotations

import contextlib
import errno
import os
import random
import shutil
import signal
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
from tests.e2e.conftest import Upstream, poll
from tests.faults.rounds import checks, tears
from tests.faults.rounds.callers import CHAT, Books, Crowd, body_of
from tests.faults.rounds.shim import build
from tests.faults.rounds.site import Home, Orphans, RoundSite

HOUR_S: Final = 3600.0
ENGINE: Final = "engines/worker"
KINDS: Final = (
    "kill", "power", "EIO", "ENOSPC", "lying disk", "clock", "engine killed", "engine hung", "full pipe", "sick start",
)  # fmt: skip
ROUNDS_MAX: Final = {False: 45, True: 5}
"""After so many rounds an honest (a lying) store has done its work, and another one begins: a ledger that names what
was changed in it is not verified beyond that."""


class Round(msgspec.Struct):
    """One round, as it is reported.

    Attributes:
        store: Which store it was in.
        ready_s: From the process's making until it said that it is well and which models it has.
        orphans: Processes that outlived the killed site; `gone_s`: until the last one was gone.
        torn: What was torn afterwards.
        failed_calls: Of the disk's, in this round.
        recovered_s: From the engine's trouble to its next answer, where the round waited for that.
        forgiven: What a lying disk took away.
    """

    number: int
    kind: str
    store: str
    ready_s: float = 0.0
    orphans: int = 0
    gone_s: float = 0.0
    torn: list[str] = []
    failed_calls: int = 0
    recovered_s: float | None = None
    forgiven: dict[str, int] = {}
    fault: str = ""


class Place:
    """A home with the books of its callers."""

    def __init__(self, campaign: Campaign, name: str, *, is_lying: bool, has_names: bool) -> None:
        self.name, self.is_lying = name, is_lying
        folder = campaign.folder / name
        self.home = Home(folder, campaign.library, campaign.urls, campaign.dice, has_names=has_names)
        self.books = Books()
        self.evidence = checks.Evidence()
        self.rounds = 0


class Campaign:
    """All rounds of one seed.

    Attributes:
        patience: Share of rounds that wait: for all workers before the trouble, for another engine after it.
        rounds: What happened.
        baselines: Seconds to readiness of a site that nothing befalls, in between.
        stores: What each store said at its end.
        faults: What must not be; empty where all is well.
    """

    def __init__(self, folder: Path, seed: int, patience: float) -> None:
        self.folder, self.dice, self.patience = folder, random.Random(seed), patience
        self.library = build(folder)
        self.big, self.ward = Upstream(), Upstream()
        self.big.behaviour = self.ward.behaviour = "echo"
        self.big.gap_s = 0.003
        self.urls = {"big": self.big.url, "ward": self.ward.url}
        self.rounds: list[Round] = []
        self.baselines: list[float] = []
        self.stores: list[dict[str, Any]] = []
        self.faults: list[str] = []
        self._seen_bodies = 0
        self._quiet = Home(folder / "quiet", self.library, self.urls, self.dice)
        self._places: dict[bool, Place] = {}
        self._made = {True: 0, False: 0}

    def close(self) -> None:
        """Stops the instruments."""
        self.big.close()
        self.ward.close()

    def run(self, count: int, told: Callable[[Round], None] = lambda _: None) -> None:
        """So many rounds, each kind as often as every other; what is left of the stores' work is done at the end."""
        with Orphans().watched() as orphans:
            kinds = [kind for _ in range(count // len(KINDS) + 1) for kind in self._shuffled()][:count]
            for number, kind in enumerate(kinds):
                if number % max(10, count // 10) == 0:
                    self._baseline(orphans)
                place = self._place(is_lying=kind == "lying disk")
                self.rounds.append(self._round(number, kind, place, orphans))
                told(self.rounds[-1])
                if place.rounds >= ROUNDS_MAX[place.is_lying]:
                    self._finish(self._places.pop(place.is_lying), orphans)
            for place in self._places.values():
                self._finish(place, orphans)

    def _bodies(self) -> list[bytes]:
        """What the cloud got since this was asked; one site lives at a time."""
        found = self.big.raw[self._seen_bodies :]
        self._seen_bodies += len(found)
        return found

    def _shuffled(self) -> list[str]:
        return self.dice.sample(KINDS, len(KINDS))

    def _place(self, *, is_lying: bool) -> Place:
        if is_lying not in self._places:
            number = self._made[is_lying]
            self._made[is_lying] += 1
            name = f"{'lying' if is_lying else 'honest'}-{number}"
            # Every other store has a detector that takes its time to load.
            self._places[is_lying] = Place(self, name, is_lying=is_lying, has_names=number % 2 == int(is_lying))
        return self._places[is_lying]

    def _baseline(self, orphans: Orphans) -> None:
        """A site that nothing befalls."""
        site = RoundSite(self._quiet)
        try:
            self.baselines.append(site.ready_s())
        finally:
            code = site.end(signal.SIGTERM)
        orphans.gone_s()
        assert code == 0, f"a quiet site ended with {code}: {site.words()[-500:]}"

    def _round(self, number: int, kind: str, place: Place, orphans: Orphans) -> Round:
        told = Round(number, kind, place.name)
        place.rounds += 1
        known = len(place.books.faults)
        failed = sum(place.home.shim.failures().values())
        try:
            self._play(told, place, orphans)
        except AssertionError as error:
            told.fault = str(error)[:600]
            self.faults.append(f"round {number} ({kind}): {told.fault}")
        finally:
            place.home.shim.fail(0.0)
        told.failed_calls = sum(place.home.shim.failures().values()) - failed
        self.faults += [f"{fault} ({kind})" for fault in place.books.faults[known:]]
        return told

    def _play(self, told: Round, place: Place, orphans: Orphans) -> None:
        site = self._start(told, place, orphans)
        crowd = Crowd(site, place.books, told.number, self.dice.getrandbits(32))
        try:
            told.ready_s = site.ready_s()
            place.home.shim.fail(0.0)
            poll(lambda: not site.status()["ledger"]["failure"], "the ledger heals", 10)
            checks.well(place.home, place.evidence)
            answered = _answered(place.books)
            if (
                self.dice.random() < self.patience
            ):  # else detectors and engine are still being loaded as the trouble comes
                poll(lambda: _asks(site, "away"), "detectors are ready, and the cloud answers", 60)
                poll(lambda: _asks(site, "local"), "the engine is ready, and answers", 60)
            crowd.begin()
            self._trouble(told, place, site)
            threading.Event().wait(self.dice.uniform(0.1, 0.8))
            if told.kind == "full pipe":
                poll(lambda: _answered(place.books) > answered, "answers in spite of a full pipe", 20)
        finally:
            crowd.killed()
            words = site.words()
            site.end(signal.SIGKILL)
            crowd.join()
            place.home.shim.fail(0.0)
        told.orphans, told.gone_s = orphans.gone_s()
        self._kept(place, "the kill")
        self._tear(told, place)
        self._kept(place, f"the kill and torn {told.torn}")
        checks.no_gap(place.home, self._bodies(), place.evidence)
        assert "Traceback" not in words, f"a trace in the log: ...{words[words.index('Traceback') :][:1500]}"
        assert "a worker on the queue failed" not in words, f"a worker failed: {_line(words, 'a worker on')}"

    def _start(self, told: Round, place: Place, orphans: Orphans) -> RoundSite:
        """Its process; where the disk is sick, it may say what is the matter and end, and is started anew."""
        if told.kind != "sick start":
            return RoundSite(place.home, is_pipe=told.kind == "full pipe")
        place.home.shim.fail(self.dice.choice((0.01, 0.05, 0.3)))
        site = RoundSite(place.home)
        with contextlib.suppress(AssertionError):
            site.ready_s()
        if site.process.poll() is None:
            return site
        place.home.shim.fail(0.0)
        code, words = site.process.returncode, site.words()
        orphans.gone_s()
        self._kept(place, "a start that was refused")
        assert code == 2, f"a sick disk at the start: exit {code}, {words[-1500:]}"
        assert "check owner" in words, f"a sick disk at the start: {words[-600:]}"
        assert "Traceback" not in words, f"a sick disk at the start: {words[-1500:]}"
        told.torn.append("start refused")
        return RoundSite(place.home)

    def _trouble(self, told: Round, place: Place, site: RoundSite) -> None:
        """What befalls the site before it is killed."""
        dice, shim = self.dice, place.home.shim
        threading.Event().wait(dice.uniform(0.05, 0.4))
        match told.kind:
            case "EIO" | "ENOSPC":
                for _ in range(dice.randrange(1, 4)):
                    shim.fail(dice.choice((0.02, 0.1, 0.5, 1.0)), getattr(errno, told.kind))
                    threading.Event().wait(dice.uniform(0.05, 0.4))
                    shim.fail(0.0)
                    threading.Event().wait(dice.uniform(0.0, 0.3))
                shim.fail(dice.choice((0.0, 0.1, 1.0)), getattr(errno, told.kind))
            case "clock":
                for _ in range(dice.randrange(1, 4)):
                    shim.jump(dice.choice((-1, 1)) * dice.uniform(HOUR_S, 20 * HOUR_S))
                    threading.Event().wait(dice.uniform(0.1, 0.5))
            case "engine killed":
                told.recovered_s = self._hit(site, signal.SIGKILL)
            case "engine hung":
                told.recovered_s = self._hit(site, signal.SIGSTOP)

    def _hit(self, site: RoundSite, how: signal.Signals) -> float | None:
        """Hits the engine's worker; now and then waits until another one answers. How long that took."""
        poll(lambda: _asks(site, "local"), "the engine answers", 60)
        (pid,) = site.workers(ENGINE)
        began_s = time.monotonic()
        os.kill(pid, how)
        if self.dice.random() >= self.patience:
            return None
        poll(lambda: pid not in site.workers(ENGINE) and _asks(site, "local"), "another engine answers", 60)
        return time.monotonic() - began_s

    def _kept(self, place: Place, after: str) -> None:
        """While no site runs: what was acknowledged is in the files. Where it is not, they are kept aside.

        Raises:
            AssertionError: something is not.
        """
        missing = checks.missing(tears.snapshot(place.home), place.books)
        if missing:
            shutil.copytree(place.home.store, self.folder / f"{place.name}-round-{len(self.rounds)}", ignore=_no_assets)
            place.books.lost |= missing  # told once
        assert not missing, f"{len(missing)} jobs that were acknowledged are gone after {after}: {sorted(missing)[:3]}"

    def _tear(self, told: Round, place: Place) -> None:
        if place.is_lying:
            before = tears.snapshot(place.home)
            told.torn += tears.lie(place.home, self.dice)
            told.forgiven = checks.forgive(before, tears.snapshot(place.home), place.books, place.evidence)
        elif told.kind == "power" or self.dice.random() < 0.3:
            told.torn += tears.lose_power(place.home, self.dice)
        else:
            place.home.shim.forget()

    @contextlib.contextmanager
    def _told_of(self, place: Place) -> Iterator[None]:
        """What a check finds at a store's end is told, and the next check is made."""
        try:
            yield
        except AssertionError as error:
            self.faults.append(f"{place.name}: {str(error)[:800]}")

    def _finish(self, place: Place, orphans: Orphans) -> None:
        """The last start of a store: all that was acknowledged ends."""
        home = place.home
        told: dict[str, Any] = {"store": place.name, "rounds": place.rounds, "failed_calls": home.shim.failures()}
        home.shim.jump(0.0)
        site = RoundSite(home)
        with self._told_of(place):
            site.ready_s()
            checks.well(home, place.evidence)
            told["ends"] = checks.ended(site, place.books)
        with self._told_of(place):
            code = site.end(signal.SIGTERM)
            assert code == 0, f"it ended with {code}: {site.words()[-500:]}"
        site.end(signal.SIGKILL)
        with self._told_of(place):
            told["orphans"], _ = orphans.gone_s()
        with self._told_of(place):
            checks.no_gap(home, self._bodies(), place.evidence)
        with self._told_of(place):
            checks.commands(home, place.evidence)
        home.shim.close()
        books = place.books
        told |= {
            "jobs": len(books.jobs), "batches": len(books.batches), "events": len(books.events),
            "bodies": place.evidence.bodies, "lost by the medium": len(books.lost), "callers": dict(books.ends),
            "slowest_answer_s": round(books.slow_s, 3),
        }  # fmt: skip
        self.stores.append(told)


def _answered(books: Books) -> int:
    return sum(count for how, count in books.ends.items() if how.endswith(("answered", "whole")))


def _no_assets(folder: str, names: list[str]) -> set[str]:
    """Sockets, and the models."""
    del folder
    return {"assets", "run"} & set(names)


def _asks(site: RoundSite, name: str) -> bool:
    """Whether a model answers now."""
    return site.ask("POST", CHAT, body_of(name, "Say hello.") | {"max_tokens": 2})[0] == 200


def _line(words: str, about: str) -> str:
    at = words.index(about)
    return words[max(0, at - 200) : at + 1200]


def summary(campaign: Campaign) -> dict[str, Any]:
    """Figures by kind of trouble, and of all."""
    kinds: dict[str, Any] = {}
    for kind in KINDS:
        rounds = [one for one in campaign.rounds if one.kind == kind]
        if rounds:
            ready = [one.ready_s for one in rounds if one.ready_s]
            recovered = [one.recovered_s for one in rounds if one.recovered_s is not None]
            kinds[kind] = {
                "rounds": len(rounds),
                "ready_s_p50": round(statistics.median(ready), 3) if ready else None,
                "ready_s_max": round(max(ready), 3) if ready else None,
                "orphans_gone_ms_max": round(max(one.gone_s for one in rounds) * 1e3, 1),
                "failed_calls": sum(one.failed_calls for one in rounds),
                "recovered_s": [round(one, 2) for one in sorted(recovered)],
                "torn": sum(bool(one.torn) for one in rounds),
                "faults": sum(bool(one.fault) for one in rounds),
            }
    ready = sorted(one.ready_s for one in campaign.rounds if one.ready_s)
    return {
        "rounds": len(campaign.rounds),
        "kinds": kinds,
        "ready_s": {"p50": statistics.median(ready), "p95": ready[int(len(ready) * 0.95)], "max": ready[-1]},
        "undisturbed_ready_s": {"p50": statistics.median(campaign.baselines), "max": max(campaign.baselines)},
        "stores": campaign.stores,
        "faults": campaign.faults,
    }


@contextlib.contextmanager
def campaign(folder: Path, seed: int, *, patience: float = 0.5) -> Iterator[Campaign]:
    """The rounds of one seed; the instruments stop at the end."""
    made = Campaign(folder, seed, patience)
    try:
        yield made
    finally:
        made.close()
