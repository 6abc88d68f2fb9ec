"""A site that has joined a hub: asks what is wanted, delivers it, and says how it is, beside all that it serves.

Nothing of this is loaded in a site that has not joined, and nothing of it is waited for by a caller. A hub that is
silent or gone for ever changes nothing of what runs.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any, Final, Literal, Protocol

from ecotone import __version__, flow
from ecotone import config as settings
from ecotone.agent import telling
from ecotone.agent.deliveries import Chosen, Deliveries, Known
from ecotone.agent.errands import Job, Offer
from ecotone.agent.identity import Identity
from ecotone.agent.link import Link
from ecotone.agent.outbox import Make, Outbox
from ecotone.agent.talking import Habits, Talk, instant
from ecotone.agent.tally import Ears, Save, Tally, Totals, dearest
from ecotone.agent.trials import Wish
from ecotone.config.hub import Hub
from ecotone.engines.machine import machine
from ecotone.fleet.variants import Variant, choose
from ecotone.flow.reporting import Answer, Message, leave, tell
from ecotone.ports import Telemetry
from ecotone.runtime.tending import tended
from ecotone.store import State
from ecotone.upstreams import EgressDoor, Proxy
from ecotone.upstreams.hub import HubWire
from ecotone.values import EcotoneError, Place, Price, RefusalError, TargetError
from ecotone.values.fleet import PINNED, AssetReport, MachineReport, Report

__all__ = ["Begun", "Joined", "Trials", "View"]

KNOWN: Final = "hub-known"
"""The document that says what was verified last."""
TRAFFIC: Final = "hub-traffic"
SAVE_EVERY_S: Final = 60.0
USED: Final = frozenset({"ready", "trying", "good"})
"""A version in one of these states is here: nothing is fetched for it."""

log = logging.getLogger("ecotone.hub")


class Trials(Protocol):
    """What becomes of a version that is here: `agent.trying.Trying`."""

    on_change: Callable[[], None]

    def take(self, wish: Wish, /) -> None:
        """It shall be used."""

    def refuses(self, wish: Wish, /) -> str:
        """Why it shall not be fetched at all, or `''`."""

    def reports(self) -> tuple[AssetReport, ...]:
        """Where the versions stand that it knows."""

    def pinned(self) -> tuple[str, ...]:
        """NAME@VERSION of what somebody here holds fast."""

    def read_bytes_s(self) -> float:
        """Bytes of weights a second; 0: not measured."""

    def tok_s(self) -> dict[str, float]:
        """Tokens a second that versions reached here, by the SHA-256 of their manifests."""


class Begun:
    """What a joined site has before it serves: its name at the hub, and what it counts.

    Attributes:
        name: Its name there.
        tally: Told of each request that ends.
    """

    def __init__(self, name: str, store: Path, state: State) -> None:
        """Reads what was counted before."""
        self.name, self.store, self.state = name, store, state
        self.tally = Tally(state.read(TRAFFIC, Totals) or Totals())

    def ears(self, metrics: Telemetry) -> Telemetry:
        """Metrics as ever, and the tally."""
        return Ears(metrics, (self.tally.ended,))

    def save(self) -> None:
        """Keeps what was counted. Blocks; a disk that refuses is tried again."""
        with contextlib.suppress(EcotoneError):
            self.state.write(TRAFFIC, self.tally.totals)


class View(Protocol):
    """The running site, as far as its hub may know of it: `runtime.running.Running`."""

    site: flow.Site
    config: settings.Config

    @property
    def egress(self) -> EgressDoor:
        """The one way out."""

    def proxy_to(self, url: str) -> Proxy | None:
        """The proxy through which an address is reached.

        Raises:
            ConfigError: its credentials cannot be read.
        """

    def trouble_codes(self) -> list[str]:
        """What is wrong, without words."""

    def link_state(self) -> Literal["up", "degraded", "down", "unknown"]:
        """Of the site's link: `up`, `degraded`, `down`, `unknown`."""


class Joined:
    """See the module."""

    def __init__(self, begun: Begun, view: View, trials: Trials) -> None:
        """Reads what was kept; connects to nothing. To be made on the loop.

        Raises:
            ConfigError: `hub.identity`: the site's key cannot be read.
        """
        dice = Random()  # noqa: S311 - jitter, not a secret
        clock = view.site.clock
        self._begun, self._view, self._trials = begun, view, trials
        self._boot = 0
        self._machine = machine()
        self._wire: tuple[tuple[Hub, Proxy | None], HubWire] | None = None
        self._outbox = Outbox(begun.store / "hub" / "outbox.sqlite")
        self._link = Link(self._ask, Identity.load(begun.store), begun.name, clock.now_s)
        self._talk = Talk(self._link, self._outbox, self._look, clock, dice)
        self._deliveries = Deliveries(self, clock, dice, begun.state.read(KNOWN, Known))
        self._talk.habits = self._habits
        self._talk.generation = self._deliveries.known.generation
        self._talk.verified = lambda: self._deliveries.known.generation
        self._talk.on_news = self._deliveries.wanted
        self._deliveries.on_change = self._talk.changed
        trials.on_change = self._changed

    async def live(self) -> None:
        """Works until cancelled."""
        with contextlib.suppress(EcotoneError):
            self._boot = await asyncio.to_thread(self._outbox.began)
        async with asyncio.TaskGroup() as group:
            for worker in (self._talk.watch, self._talk.report, self._deliveries.live, self._save_forever):
                group.create_task(tended(worker, "the hub", log))

    def stir(self) -> None:
        """A target is back, so the link is: the hub is asked at once."""
        self._talk.stir()

    def status(self) -> dict[str, Any]:
        """For `GET /admin/status`."""
        hub = self._hub()
        return {
            "url": None if hub is None else hub.url,
            "joined": self._begun.name,
            **self._talk.status(),
            "reports": "off" if hub is None or hub.reports == "off" else "on",
            "generation": self._talk.generation,
            **self._deliveries.status(),
            "assets": [_row(one) for one in self._assets()],
            "pinned": list(self._trials.pinned()),
        }

    def troubles(self) -> list[str]:
        """What an operator should look at."""
        return [*self._talk.troubles(), *self._deliveries.troubles()]

    def states(self) -> dict[str, float]:
        """For the metric: 1 for the state in which it stands with its hub."""
        return {self._talk.state: 1.0}

    def generations(self) -> dict[str, float]:
        """For the metric: what is wanted, and what was verified."""
        wanted, verified = self._talk.generation, self._deliveries.known.generation
        return {"wanted": float(wanted), "verified": float(verified)}

    def waiting(self) -> float:
        """For the metric: reports that have not gone."""
        return float(self._talk.waiting)

    # What deliveries ask of the site (`agent.deliveries.Shop`).

    def job(self) -> Job:
        """See `Shop.job`."""
        hub, view = self._hub(), self._view
        assert hub is not None, "the site may talk with its hub"
        proxy, given = view.proxy_to(hub.url), view.config.proxy
        kbit = hub.kbit_per_s_max
        local = [one for one in view.config.targets.values() if isinstance(one, settings.LocalTarget)]
        named = [name for one in local for name in (one.model, one.adapter) if name is not None]
        return Job(
            store=str(self._begun.store),
            url=hub.url,
            ca_file=hub.ca_file,
            mirrors=hub.mirrors,
            bytes_per_s=None if kbit is None else kbit * 125,
            in_use=(*named, *_lists(view.config)),
            proxy="" if proxy is None else proxy.url,
            direct=() if given is None else given.direct,
        )

    def is_open(self) -> bool:
        """See `Shop.is_open`."""
        hub, view = self._hub(), self._view
        if hub is None or hub.deliver != "auto" or view.site.is_cloud_off:
            return False
        wall_s = view.site.clock.wall_s()
        windows = view.site.budgets.windows
        return not view.site.budgets.is_closed(wall_s) and (not hub.in_windows or windows.is_open(wall_s))

    async def session(self) -> str:
        """See `Shop.session`."""
        site, wire = self._way()
        session = await self._link.session()
        await leave(site, wire, "hub.fetch", b"")
        return session.token

    async def renewed(self) -> str:
        """See `Shop.renewed`."""
        self._link.forget()
        return (await self._link.session()).token

    def choose(self, offers: Sequence[Offer]) -> Chosen:
        """See `Shop.choose`: of each name the first variant that the machine can run, unless one is here already."""
        here = {one.sha256: one.attempt for one in self._trials.reports() if one.state in USED}
        take: list[Offer] = []
        passed: list[tuple[Offer, str]] = []
        for name in dict.fromkeys(offer.name for offer in offers):
            some = [offer for offer in offers if offer.name == name]
            refused = [(one, self._trials.refuses(_wish(one))) for one in some]
            open_to = [one for one, why in refused if not why]
            is_here = next((one for one in open_to if here.get(one.sha256, -1) >= one.attempt), None)
            if is_here is not None:
                passed.append((is_here, ""))
                continue
            chosen, lacks = self._first(open_to)
            if chosen is not None:
                take.append(chosen)
            elif some:
                codes = {one.sha256: why for one, why in refused if why} | lacks
                passed.append((some[-1], codes.get(some[-1].sha256, "")))
        return Chosen(tuple(take), tuple(passed))

    def verified(self, known: Known) -> None:
        """See `Shop.verified`."""
        with contextlib.suppress(EcotoneError):
            self._begun.state.write(KNOWN, known)

    def ready(self, offer: Offer) -> None:
        """See `Shop.ready`."""
        self._trials.take(_wish(offer))

    # Within.

    def _first(self, offers: Sequence[Offer]) -> tuple[Offer | None, dict[str, str]]:
        """The first that this machine can run, and what it lacks for each other one."""
        variants = [
            Variant(
                version=one.version,
                sha256=one.sha256,
                bytes=one.bytes if one.kind == "model" else 0,
                memory_bytes=one.memory_bytes,
                cpu=one.cpu,
                decode_tok_s_min=one.decode_tok_s_min,
            )
            for one in offers
        ]
        chosen = choose(variants, self._machine_report(), self._trials.tok_s(), self._machine.flags)
        by_version = dict(chosen.why)
        lacks = {one.sha256: str(by_version[one.version]) for one in offers if one.version in by_version}
        if chosen.variant is None:
            return None, lacks
        return next(one for one in offers if one.sha256 == chosen.variant.sha256), lacks

    def _hub(self) -> Hub | None:
        return self._view.config.hub

    def _way(self) -> tuple[flow.Site, HubWire]:
        """The site and the way to the hub as the configuration is now.

        Raises:
            RefusalError: `refused.policy`: the configuration names no hub any more.
        """
        view, hub = self._view, self._hub()
        if hub is None:
            raise RefusalError("refused.policy", "the configuration names no hub any more: nothing goes there")
        proxy = view.proxy_to(hub.url)
        if self._wire is None or self._wire[0] != (hub, proxy):
            made = HubWire(hub.url, view.egress, region=hub.region, ca_file=hub.ca_file, proxy=proxy)
            self._wire = (hub, proxy), made
            self._link.forget()
        return view.site, self._wire[1]

    async def _ask(self, message: Message) -> Answer:
        before = self._wire
        site, wire = self._way()
        if before is not None and before[1] is not wire and "authorization" in message.headers:
            raise TargetError("reset", "the hub has another address now: a token is for the one that gave it")
        return await tell(site, wire, message)

    def _habits(self) -> Habits:
        hub = self._hub()
        if hub is None:
            return Habits(is_reporting=False)
        return Habits(
            is_reporting=hub.reports == "on",
            every_s=hub.report_minutes * 60,
            bytes_per_day=hub.report_kb_per_day * 1000,
            wait_s=hub.poll_s,
            pause_s=hub.pause_s,
        )

    def _changed(self) -> None:
        """A version here stands elsewhere: the hub is told, and the wish is looked at once more where one failed."""
        self._talk.changed()
        if any(self._is_missing(offer.name) for offer in self._deliveries.known.offers):
            self._deliveries.again()

    def _is_missing(self, name: str) -> bool:
        """Whether nothing that is wanted of this name is here, and something of it might be taken."""
        some = [offer for offer in self._deliveries.known.offers if offer.name == name]
        return bool(self.choose(some).take) and not any(
            one.name == name for one in self._deliveries.reports() if one.state in ("wanted", "fetching")
        )

    def _look(self) -> Make:
        """How the site is now."""
        view, deliveries = self._view, self._deliveries
        self._begun.tally.saved = _saved(view.config)
        wall_s = max(view.site.clock.wall_s(), deliveries.known.floor_s)
        figures = None if self._wire is None else self._wire[1].link()
        rtt_s = figures.rtt_s_p50 if figures is not None else None
        bytes_per_s = figures.bytes_per_s_p50 if figures is not None else None
        troubles = [*view.trouble_codes(), deliveries.trouble]
        return telling.written(
            Report(
                site=self._begun.name,
                seq=1,
                boot=self._boot,
                made_s=wall_s,
                software=__version__,
                generation=deliveries.known.generation,
                fresh_s=deliveries.known.issued_s,
                assets=self._assets(),
                machine=self._machine_report(),
                traffic=self._begun.tally.traffic(wall_s),
                link=self._link_state(),
                rtt_ms=0.0 if rtt_s is None else round(rtt_s * 1e3, 1),
                kbit_per_s=0.0 if bytes_per_s is None else round(bytes_per_s / 125, 1),
                trouble=telling.codes(troubles),
                pinned=tuple(one for one in self._trials.pinned() if re.match(PINNED, one)),
            )
        )

    def _link_state(self) -> Literal["up", "degraded", "down", "unknown"]:
        """Of the site's link; where it has no cloud target, of that to the hub."""
        found = self._view.link_state()
        if found != "unknown" or self._talk.state == "starting":
            return found
        return "up" if self._talk.state == "up" else "down"

    def _assets(self) -> tuple[AssetReport, ...]:
        return telling.merged(self._deliveries.reports(), self._trials.reports())

    def _machine_report(self) -> MachineReport:
        found, view = self._machine, self._view
        given_mb = view.config.engines.memory_mb
        try:
            disk = os.statvfs(self._begun.store)
            free_bytes = disk.f_bavail * disk.f_frsize
        except OSError:
            free_bytes = 0
        return MachineReport(
            cores=found.cores,
            memory_bytes=found.memory_bytes,
            models_bytes=found.budget_bytes if given_mb is None else given_mb << 20,
            disk_free_bytes=free_bytes,
            arch=telling.arch(),
            read_bytes_s=self._trials.read_bytes_s(),
        )

    async def _save_forever(self) -> None:
        while True:
            await asyncio.sleep(SAVE_EVERY_S)
            await asyncio.to_thread(self._begun.save)


def _wish(offer: Offer) -> Wish:
    return Wish(
        name=offer.name,
        version=offer.version,
        kind=offer.kind,
        sha256=offer.sha256,
        attempt=offer.attempt,
        terms=offer.terms,
        decode_tok_s_min=offer.decode_tok_s_min,
    )


def _row(one: AssetReport) -> dict[str, Any]:
    return {
        "name": one.name,
        "version": one.version,
        "state": one.state,
        "why": one.why or None,
        "left_bytes": one.bytes_left or None,
        "since": instant(one.since_s),
    }


def _lists(config: settings.Config) -> list[str]:
    """Lists of words and examples that a hub brings."""
    named = [terms.file for terms in config.privacy.terms] + [config.privacy.topic_examples]
    return [one for one in named if one is not None and one.startswith("hub:")]


def _saved(config: settings.Config) -> Save:
    """See `tally.Save`, by the prices of the configuration."""
    prices: dict[str, Callable[[int, int], float]] = {}
    for name, model in settings.model_names(config).items():
        targets = [config.targets[target] for target in model.targets]
        found = [one.price for one in targets if one.at is Place.CLOUD and isinstance(one, settings.UrlTarget)]
        known = [price for price in found if price is not None]
        if known:
            prices[name] = functools.partial(_most, known)
    return dearest(prices)


def _most(prices: Sequence[Price], taken: int, given: int) -> float:
    """What so many tokens in and out cost at the dearest, US dollars."""
    return max(price.cost_usd(taken, given) for price in prices)
