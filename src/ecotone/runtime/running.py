"""A running site: one frozen `flow.Site` at a time, replaced as a whole by a reload."""

from __future__ import annotations

import asyncio
import os
import time
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

from ecotone import __version__, flow
from ecotone import config as settings
from ecotone.agent.trying import Trying
from ecotone.flow.admission import Load
from ecotone.flow.hedging import Hedges
from ecotone.flow.link import Links, State, sight
from ecotone.policy import Mint
from ecotone.ports import Caller, Target, Telemetry
from ecotone.runtime import build
from ecotone.runtime.clock import Calendar, LoopClock
from ecotone.runtime.inputs import Inputs
from ecotone.runtime.inspecting import Inspecting
from ecotone.runtime.local import Local
from ecotone.runtime.memory import Memory
from ecotone.runtime.teaching import Teaching
from ecotone.runtime.working import Working
from ecotone.store import Ledger
from ecotone.telemetry import BREAKER, Metrics
from ecotone.upstreams import EgressDoor, Guard, PremisesDoor, Proxy, Resolver, UrlTarget
from ecotone.values import ConfigError, Place, Request

if TYPE_CHECKING:
    # Only a site that has joined a hub loads this.
    from ecotone.runtime.joined import Joined

LinkState = Literal["up", "degraded", "down", "unknown"]
OWNER: Final = "ecotone"
_LINK_STATES: Final[dict[State, LinkState]] = {State.UP: "up", State.DEGRADED: "degraded", State.DOWN: "down"}
FIXED: Final = ("site", "listen", "store", "ledger", "limits", "fast_lane", "log")
FIXED_JOBS: Final = ("disk_mb_max", "free_mb_min", "file_mb_max", "key", "webhook_secret")
"""Sections that a running site does not change; a reload says so."""


class Parts(msgspec.Struct, frozen=True):
    """The shells that live as long as the process."""

    clock: LoopClock
    ledger: Ledger
    metrics: Metrics
    memory: Memory
    local: Local
    inspecting: Inspecting
    guard: Guard
    surrogate_secret: bytes
    working: Working
    teaching: Teaching
    telemetry: Telemetry
    trying: Trying


class Running:
    """The site as the gateway, the prober and the commands see it.

    Attributes:
        site: The view that new requests work with; those under way keep the one that they began with.
        joined: The site's side of its hub; None where it has joined none.
        unjoined: Why there is none though it had joined one, or `''`.
    """

    def __init__(self, inputs: Inputs, config: settings.Config, parts: Parts) -> None:
        """Builds the first view.

        Raises:
            ConfigError: a secret cannot be read, or a target cannot be used.
        """
        self._inputs = inputs
        self._parts = parts
        self._calendar = Calendar()
        self._mint = Mint(os.urandom(32))
        self._resolver = Resolver(leave=parts.guard.leave)
        self._doors = EgressDoor(self._mint.verify, self._resolver), PremisesDoor(self._resolver)
        self._hedges = Hedges(config.hedging.share)
        self._load = Load(config.overload.wait_s_max)
        self._links = Links()
        self._began_s = time.time()
        self._reloads = 0
        self._last_reload = ""
        self.joined: Joined | None = None
        self.unjoined = ""
        self.config = config
        self.keys = inputs.key_ring(config)
        self.site = self._build(config)
        self._note_config("started")

    async def serve(self, request: Request, caller: Caller) -> None:
        """Answers one request; the gateway's door to the corridor."""
        await flow.serve(request, caller, self.site)

    async def reload(self) -> dict[str, Any]:
        """Reads the configuration again and takes it whole, or keeps the old one. Says what happened.

        Raises:
            ConfigError: the new configuration is wrong; the old one stays, and the ledger says so.
        """
        try:
            config = self._inputs.load()
            keys = self._inputs.key_ring(config)
            site = self._build(config)
        except ConfigError as error:
            self._last_reload = f"kept the old configuration: {error.message}"
            self._parts.ledger.note("config", {"what": "rejected", "problems": len(error.problems)})
            raise
        if config == self.config:
            # Secrets may have changed behind the same references.
            self.keys, self.site = keys, site
            await self._parts.local.settle(config)
            await self._parts.inspecting.settle()
            return {"reloaded": False, "message": "nothing changed"}
        fixed = [name for name in FIXED if getattr(config, name) != getattr(self.config, name)]
        jobs, old = config.jobs, self.config.jobs
        fixed += [f"jobs.{name}" for name in FIXED_JOBS if getattr(jobs, name) != getattr(old, name)]
        self.config, self.keys, self.site = config, keys, site
        self._reloads += 1
        self._note_config("reloaded")
        self._last_reload = "took the new configuration"
        if fixed:
            self._last_reload += f"; restart for: {', '.join(fixed)}"
        await self._parts.local.settle(config)
        await self._parts.inspecting.settle()
        return {"reloaded": True, "message": self._last_reload}

    @property
    def resolver(self) -> Resolver:
        """Names to addresses, with the guard's leave."""
        return self._resolver

    @property
    def egress(self) -> EgressDoor:
        """The one way out."""
        return self._doors[0]

    def proxy_to(self, url: str) -> Proxy | None:
        """The proxy through which an address in the cloud is reached; None: directly.

        Raises:
            ConfigError: its credentials cannot be read.
        """
        return build.proxy_for(url, self.config, self._inputs.secret)

    def is_back(self) -> None:
        """A target can be reached again: what waited for the link waits no longer."""
        self._parts.working.stir()
        if self.joined is not None:
            self.joined.stir()

    def models(self) -> list[dict[str, Any]]:
        """`GET /v1/models`: the names that applications may ask for."""
        return [
            {"id": name, "object": "model", "created": int(self._began_s), "owned_by": OWNER}
            for name in self.site.names
        ]

    async def explain(self, request: Request) -> dict[str, Any]:
        """`POST /v1/explain`: where this request would go now, without running it."""
        return await flow.explain(self.site, request)

    async def explain_past(self, request: str) -> dict[str, Any] | None:
        """`GET /v1/explain/ID`: the ledger's entries of a request, or None where there is none."""
        ledger = self._parts.ledger
        await ledger.flush()
        entries = await asyncio.to_thread(ledger.find, request)
        return flow.retell(request, [msgspec.to_builtins(entry) for entry in entries])

    def not_ready(self) -> list[str]:
        """Why no request can be served; empty where one can. Asks nobody outside the process."""
        if any(self._is_usable(name) for name in self.site.targets):
            return []
        return ["no target can be reached", *self.troubles()]

    def troubles(self) -> list[str]:
        """What an operator should look at, though requests may still be served."""
        found = []
        failure = self._parts.ledger.status().failure
        if failure:
            found.append(f"the ledger cannot be written ({failure}): nothing may leave the site")
        signing = self._parts.ledger.status().signing
        if signing:
            found.append(f"the ledger is not signed: {signing}")
        for name, breaker in self.site.breakers.items():
            if breaker.state != "closed":
                found.append(f"{name}: breaker {breaker.state} after {breaker.last_failure}")
        found += [f"detector {missing}: what it should look at stays" for missing in self.site.look.missing]
        found += self._parts.working.troubles()
        found += self._parts.teaching.troubles()
        found += self._parts.trying.troubles()
        found += [] if self.joined is None else self.joined.troubles()
        found += [f"the hub is not asked: {self.unjoined}"] if self.unjoined else []
        return [*found, *self._parts.inspecting.troubles(), *self._parts.local.troubles()]

    def trouble_codes(self) -> list[str]:
        """The same as far as a hub may know of it: stable codes, and no name or word of the site's."""
        status, parts = self._parts.ledger.status(), self._parts
        found = {
            "ledger": status.failure,
            "ledger.signing": status.signing,
            "target.unreachable": any(breaker.state != "closed" for breaker in self.site.breakers.values()),
            "detector": self.site.look.missing or parts.inspecting.troubles(),
            "queue": parts.working.troubles(),
            "learning": parts.teaching.troubles(),
            "engine": parts.local.troubles(),
            "versions": parts.trying.troubles(),
        }
        return [code for code, is_wrong in found.items() if is_wrong]

    def status(self) -> dict[str, Any]:
        """`GET /admin/status`: site, link, engines, queue and budgets in one screen."""
        config, site = self.config, self.site
        usd_left, bytes_left = site.spend.left(site.budgets)
        return {
            "site": config.site,
            "version": __version__,
            "up_s": round(time.time() - self._began_s, 1),
            "privacy": self.privacy(),
            "detectors": self._parts.inspecting.status(),
            "detectors_missing": list(site.look.missing),
            "cloud": "off (ECOTONE_NO_CLOUD=1)" if site.is_cloud_off else "allowed",
            "configuration": {
                "policy": site.policy_version,
                "reloads": self._reloads,
                "last_reload": self._last_reload,
            },
            "link": self._site_link_status(),
            "strain": round(site.load.strain(), 2),
            "targets": {name: self._target_status(name) for name in site.targets},
            "models": {
                name: {"mode": model.mode.value, "targets": list(model.targets)} for name, model in site.names.items()
            },
            "machine": self._parts.local.machine(),
            "engines": self._parts.local.status(),
            "today": {
                "day": site.spend.day,
                "cloud_usd": round(site.spend.usd, 6),
                "cloud_usd_left": usd_left,
                "egress_bytes": site.spend.egress_bytes,
                "egress_bytes_left": bytes_left,
            },
            "jobs": self._parts.working.status(),
            **self._learning_status(),
            **({} if self.joined is None else {"hub": self.joined.status()}),
            "ledger": self._ledger_status(),
            "troubles": self.troubles(),
        }

    def privacy(self) -> str:
        """In words, who looks, and what may leave."""
        if self.site.is_cloud_off:
            return "the cloud is off (ECOTONE_NO_CLOUD=1)"
        names = self.config.privacy.detectors
        who = f"{', '.join(names)} look at what might leave" if names else "no detector looks"
        return f"{who}; {self.site.policy.says}"

    def breaker_states(self) -> dict[str, float]:
        """For the metric: 0 closed, 1 half-open, 2 open, by target."""
        return {name: BREAKER[breaker.state.value] for name, breaker in self.site.breakers.items()}

    def look_at_links(self) -> None:
        """Takes in how the links to all servers elsewhere are now; called some times a second."""
        site, seen = self.site, {}
        for name, target in site.targets.items():
            if isinstance(target, UrlTarget) and not (site.is_cloud_off and target.spec.at is Place.CLOUD):
                seen[name] = target.spec.at, sight(site.breakers[name], target.link().rtt_s_p50)
        self._links.look(seen, self._parts.clock.now_s())

    def link_states(self) -> dict[str, float]:
        """For the metric: 0 up, 1 degraded, 2 down, by target."""
        return self._links.weights()

    def link_state(self) -> LinkState:
        """How the site reaches the world, by its cloud targets; `unknown` where it has none."""
        site = self._links.site
        return "unknown" if site is None else _LINK_STATES[site.state]

    def site_link_state(self) -> float:
        """For the metric: the same for the site."""
        return self._links.site_weight()

    def close(self) -> None:
        """Drops idle connections."""
        for door in self._doors:
            door.close()

    def _build(self, config: settings.Config) -> flow.Site:
        policy, version = build.policy(config)
        self._hedges.share = config.hedging.share
        self._load.wait_s_max = config.overload.wait_s_max
        is_cloud_off = self._inputs.is_cloud_off()
        breakers = build.breaker_settings(config)
        targets: dict[str, Target] = {}
        for name, target in config.targets.items():
            if isinstance(target, settings.UrlTarget):
                targets[name] = build.url_target(name, target, config, self._doors, self._inputs.secret)
            else:
                targets[name] = self._parts.local.target(name, target)
        memory = self._parts.memory
        return flow.Site(
            clock=self._parts.clock,
            journal=self._parts.ledger,
            telemetry=self._parts.telemetry,
            mint=self._mint,
            targets=targets,
            names=build.names(config),
            breakers={name: memory.breaker(name, config.targets[name], breakers) for name in targets},
            speeds=memory.speeds,
            spend=memory.spend,
            today=self._calendar.today,
            policy=policy,
            policy_version=version,
            look=self._parts.inspecting.arrange(config, is_cloud_off=is_cloud_off),
            inspector=self._parts.inspecting,
            surrogate_secret=self._parts.surrogate_secret,
            budgets=build.budgets(config),
            waits=build.waits(config),
            hedges=self._hedges,
            load=self._load,
            learning=self._parts.teaching.arrange(config),
            take_errand=self._parts.teaching.take,
            offload=asyncio.to_thread,
            checkers=self._parts.teaching.checkers(config),
            is_cloud_off=is_cloud_off,
        )

    def _note_config(self, what: str) -> None:
        site = self.site
        self._parts.ledger.note(
            "config",
            {
                "what": what,
                "version": __version__,
                "policy": site.policy_version,
                "says": site.policy.says,
                "cloud_off": site.is_cloud_off,
                "targets": {name: target.spec.at.value for name, target in site.targets.items()},
            },
        )

    def _is_usable(self, name: str) -> bool:
        is_off = self.site.is_cloud_off and self.site.targets[name].spec.at is Place.CLOUD
        return not is_off and self.site.breakers[name].state != "open"

    def _target_status(self, name: str) -> dict[str, Any]:
        target, breaker = self.site.targets[name], self.site.breakers[name]
        active, waiting = target.load()
        waiting += self.site.load.waiting(name)
        condition = breaker.condition(self._parts.clock.now_s(), in_flight=active, waiting=waiting)
        return {
            "at": target.spec.at.value,
            "model": target.spec.model,
            "breaker": condition.breaker,
            "last_failure": breaker.last_failure or None,
            "in_flight": active,
            "waiting": waiting,
            **self.site.speeds.summary(name),
            **({"link": self._link_status(name, target)} if isinstance(target, UrlTarget) else {}),
        }

    def _site_link_status(self) -> dict[str, Any] | None:
        """The site's link, and its windows where it is metered; None: there is no cloud target, or the cloud is off."""
        site, wall_s = self.site, self._parts.clock.wall_s()
        said = self._links.site_said(self._parts.clock.now_s())
        windows = site.budgets.windows
        if said is None or not windows.is_metered:
            return said
        found = windows.at(wall_s)
        sent = site.spend.window_bytes if found is not None and found[1] == site.spend.window else 0
        return {**said, "window": "closed" if found is None else "open", "window_egress_bytes": sent}

    def _link_status(self, name: str, target: UrlTarget) -> dict[str, Any]:
        return {**self._links.said(name, self._parts.clock.now_s()), **msgspec.to_builtins(target.link())}

    def _learning_status(self) -> dict[str, Any]:
        """What is promised, and what finding out takes; nothing where no model name learns."""
        teaching = self._parts.teaching
        return {"quality": teaching.status(), "comparing": teaching.shadows()} if self.site.learning is not None else {}

    def _ledger_status(self) -> dict[str, Any]:
        status = self._parts.ledger.status()
        return {
            "entries": status.next_seq,
            "durable": status.durable.seq + 1,
            "failure": status.failure or None,
            "refused": status.refused,
            "signing": status.signing or "as it should",
        }
