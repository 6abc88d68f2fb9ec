"""The local models of a site: their files, their engines, and the way to the workers' sockets."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from ecotone import assets, engines, shaping
from ecotone import config as settings
from ecotone.delivery import versions
from ecotone.estimate import Prior, Speeds
from ecotone.estimate.counts import Count
from ecotone.ports import Target
from ecotone.runtime.switching import AbsentTarget, Both, Switched, Wanted
from ecotone.upstreams import WorkerChannel
from ecotone.values import EcotoneError

LOOK_EVERY_S: Final = 1.0
CLOSE_S: Final = 2.0
AGAIN_S: Final = 30.0
AGAIN_S_MAX: Final = 3600.0
"""A switch that failed, and that nobody judges, is tried again after so long, then after twice as long, and so on."""

ANSWERS_MIN: Final = 20
"""So many answers tell how fast an engine writes that was not measured."""

_TROUBLED: Final = frozenset({"crashed", "backing_off", "refused"})

log = logging.getLogger("ecotone.engines")


class Local:
    """Assets and engines behind the local targets. Lives as long as the process; reloads share its engines.

    Attributes:
        on_model: Told of each target which model it runs: as `live` begins, and whenever that changes.
        quality: Takes a target and its model; gives how many answers were compared, and the sum of their quality.
    """

    def __init__(self, config: settings.Config, store: Path, speeds: Speeds) -> None:
        """Opens the asset store and makes the supervisor; fetches and starts nothing.

        Raises:
            ConfigError: the folder for sockets cannot be used.
        """
        self.on_model: Callable[[str, str], None] = lambda target, model: None
        self.quality: Callable[[str, str], tuple[int, float]] = lambda target, model: (0, 0.0)
        self._config = config
        self._store = store
        self._assets = assets.open_store(store)
        self._speeds = speeds
        memory_mb = config.engines.memory_mb
        self._supervisor = engines.Supervisor(
            WorkerChannel,
            engines.Settings(
                folder=store / "run",
                tunings=store / "engines.json",
                memory_bytes=None if memory_mb is None else memory_mb << 20,
                is_measured=config.engines.measure,
                limits=engines.Limits(drain_s=CLOSE_S),
            ),
            progress=lambda line: log.info("%s", line),
        )
        self._targets: dict[str, Switched] = {}
        self._given: dict[str, settings.LocalTarget] = {}
        self._proposed: dict[str, settings.LocalTarget] = {}
        self._pending: dict[str, Wanted] = {}
        self._coming: set[engines.Model] = set()
        self._again: dict[str, tuple[float, float]] = {}
        self._refused: dict[str, str] = {}
        self._switching = asyncio.Lock()
        self._told: set[tuple[str, str]] = set()

    def target(self, name: str, target: settings.LocalTarget) -> Target:
        """The target of a local model. One whose file is not on this machine fails at each request and says why.

        One that is there already stays the same object; what is new about it is taken in by `settle`.

        Raises:
            ConfigError: the model's name or digest cannot be understood.
        """
        wanted = self._wanted(target)
        self._proposed[name] = target
        known = self._targets.get(name)
        if known is None:
            known = self._targets[name] = Switched(name, self._made(name, target, wanted))
            self._given[name] = target
        return known

    async def live(self) -> None:
        """Starts the models before anybody asks, hands what was measured to the estimates, and switches engines."""
        for model in self._models():
            self._supervisor.warm(model)
        for name, target in self._targets.items():
            self.on_model(name, target.spec.model)
        while True:
            for name, target in self._targets.items():
                self._tell(name, target)
            now_s = asyncio.get_running_loop().time()
            if due := [name for name in self._pending if self._again.get(name, (0.0, 0.0))[0] <= now_s]:
                await self._go_over_by_itself(due)
            await asyncio.sleep(LOOK_EVERY_S)

    async def settle(self, config: settings.Config) -> None:
        """After a reload: targets lead to where they should now, as soon as the engines for it answer."""
        names = {name for name, target in config.targets.items() if isinstance(target, settings.LocalTarget)}
        self._given = {name: self._proposed.get(name, given) for name, given in self._given.items() if name in names}
        self._proposed = {}
        self._targets = {name: target for name, target in self._targets.items() if name in names}
        for mind in (self._pending, self._refused, self._again):
            mind.clear()
        for name in self._targets:
            if self._arrange(name):
                self._supervisor.warm(self._model_of(name))
        self._supervisor.keep(self._models())

    async def follow(self, name: str) -> float:
        """See `agent.needs.Engines`."""
        users = self._users(name)
        fresh = [user for user in users if self._arrange(user)]
        try:
            rates = [await self._supervisor.prove(self._model_of(user)) for user in fresh]
            return min([*rates, *await self._go_over([user for user in users if user in self._pending])], default=0.0)
        finally:
            for user in users:
                self._pending.pop(user, None)

    async def prove(self, name: str) -> float:
        """See `agent.needs.Engines`."""
        users = [user for user in self._users(name) if self._targets[user].engine is not None]
        return min([await self._supervisor.prove(self._model_of(user)) for user in users], default=0.0)

    def seen(self, name: str) -> Count | None:
        """See `agent.needs.Engines`."""
        for user in self._users(name):
            engine = self._targets[user].engine
            if engine is not None:
                engine.rss_bytes()
                pairs, quality = self.quality(user, engine.model.name)
                return msgspec.structs.replace(engine.tally.now, pairs=pairs, quality=quality)
        return None

    def trouble(self, name: str) -> str:
        """See `agent.needs.Engines`."""
        for user in self._users(name):
            engine = self._targets[user].engine
            if engine is not None and engine.state in _TROUBLED:
                return engine.why
        return ""

    def read_bytes_s(self) -> float:
        """See `agent.needs.Engines`: by what was measured at its start, else by what its answers took."""
        rates = [0.0]
        for engine in [target.engine for target in self._targets.values() if target.engine is not None]:
            now = engine.tally.now.decode_tok_s
            if engine.measured is not None:
                rates.append(engine.measured.best.decode_tok_s * engine.model.file_bytes)
            elif now.total >= ANSWERS_MIN:
                rates.append(now.quantile(0.5) * engine.model.file_bytes)
        return max(rates)

    def troubles(self) -> list[str]:
        """What an operator should look at."""
        found = [f"{name}: {target.why}" for name, target in self._targets.items() if target.why]
        found += [f"{name}: {why}" for name, why in self._refused.items()]
        for engine in self._supervisor.status().engines:
            if engine.state in _TROUBLED:
                found.append(f"{engine.model}: {engine.state.replace('_', ' ')}: {engine.why}")
        return found

    def machine(self) -> dict[str, Any]:
        """The machine and the engine's version, for `ecotone status`."""
        status = self._supervisor.status()
        machine = status.machine
        return {
            "cpu": machine.cpu,
            "cores": machine.cores,
            "memory_bytes": machine.memory_bytes,
            "models_bytes_max": status.memory_bytes,
            "engine": f"xllamacpp {status.engine_version}",
        }

    def status(self) -> dict[str, Any]:
        """Each model's engine, for `ecotone status`; a further engine of the same model is `NAME#2`."""
        rows: dict[str, Any] = {}
        count: Counter[str] = Counter()
        for engine in self._supervisor.status().engines:
            row = msgspec.to_builtins(engine)
            measured = row.pop("measured")
            name, best = row.pop("model"), measured["best"] if measured else {}
            count[name] += 1
            rows[name if count[name] == 1 else f"{name}#{count[name]}"] = {
                **{key: value for key, value in row.items() if key != "settings"},
                **row["settings"],
                "prefill_tokens_per_s": best.get("prefill_tok_s"),
                "decode_tokens_per_s": best.get("decode_tok_s"),
            }
        return rows

    async def close(self) -> None:
        """Stops all workers; none is left behind."""
        await self._supervisor.close()

    # Within.

    def _wanted(self, target: settings.LocalTarget) -> Wanted | None:
        """What the target leads to; None where that is not on this machine."""
        asset = self._assets.resolve(target.model, target.sha256)
        adapter = None if target.adapter is None else self._assets.resolve(target.adapter)
        if asset is None or (adapter is None) is not (target.adapter is None):
            return None
        name = self._called(asset) if adapter is None else f"{self._called(asset)}+{self._called(adapter)}"
        asset = msgspec.structs.replace(asset, name=name)
        model = self._model(asset, adapter, target)
        profile = shaping.profile_for(
            asset.name,
            context_tokens=model.context_tokens,
            has_template=asset.has_chat_template is not False,
            slots=model.slots,
            has_embeddings=model.embeddings,
        )
        if target.tools != "auto":
            profile = msgspec.structs.replace(profile, tools=target.tools)
        return Wanted(asset, adapter, model, profile)

    @contextlib.contextmanager
    def _held(self, wanted: Wanted) -> Iterator[engines.Held]:
        """See `engines.Hold`."""
        with self._assets.hold(wanted.asset) as held:
            if wanted.adapter is None:
                yield held
                return
            with self._assets.hold(wanted.adapter) as adapter:
                yield Both(held, adapter)

    def _called(self, asset: assets.Asset) -> str:
        """How the model calls itself in answers: of a hub's with its version, as another version is another model."""
        if not asset.name.startswith("hub:"):
            return asset.name
        name, slash, file = asset.name.removeprefix("hub:").partition("/")
        found = versions.in_force(self._store, name)  # of NAME@VERSION there is none
        return asset.name if found is None else f"hub:{name}@{found.version}{slash}{file}"

    def _made(
        self, name: str, target: settings.LocalTarget, wanted: Wanted | None
    ) -> engines.EngineTarget | AbsentTarget:
        if wanted is None:
            lacks = target.model
            if target.adapter is not None and self._assets.resolve(lacks, target.sha256) is not None:
                lacks = target.adapter
            why = f"{lacks} is not on this machine: ecotone models pull {lacks}"
            return AbsentTarget(name, target.model, why)
        engine = self._supervisor.engine(wanted.model, functools.partial(self._held, wanted))
        return engines.EngineTarget(name, wanted.profile, engine)

    def _arrange(self, name: str) -> bool:
        """Finds out what the target should lead to. Whether it leads to another engine at once, as it had none.

        Where it has one, that goes on, and the change is pending.
        """
        target, given = self._targets[name], self._given[name]
        wanted, engine = self._wanted(given), target.engine
        self._pending.pop(name, None)
        if wanted is not None and engine is not None and engine.model != wanted.model:
            self._pending[name] = wanted
            return False
        target.inner = self._made(name, given, wanted)
        if wanted is not None:
            self.on_model(name, wanted.model.name)
        return engine is None and wanted is not None

    async def _go_over(self, names: Sequence[str]) -> list[float]:
        """The targets lead to what is pending; tokens a second of each.

        Raises:
            EcotoneError: one of them could not, and those that come after it did not either; they go on as before.
        """
        rates = []
        async with self._switching:
            for name in names:
                wanted, target = self._pending.get(name), self._targets.get(name)
                if wanted is None or target is None or target.engine is None:
                    continue  # it was taken out of the configuration meanwhile, or leads there already
                self._coming = {wanted.model}
                try:
                    hold = functools.partial(self._held, wanted)
                    rates.append(await self._supervisor.replace(target.engine.model, wanted.model, hold))
                finally:
                    self._coming = set()
                if self._targets.get(name) is target:
                    target.inner = self._made(name, self._given[name], wanted)
                    self.on_model(name, wanted.model.name)
                if self._pending.get(name) is wanted:  # and not yet another one
                    del self._pending[name]
                log.info("%s: %s is another file now, %s", name, wanted.model.name, wanted.model.digest[:12])
            self._supervisor.keep(self._models())
        return rates

    async def _go_over_by_itself(self, names: Sequence[str]) -> None:
        """As `_go_over`, where nobody waits for it: what fails is told, and tried again later and later."""
        try:
            await self._go_over(names)
        except EcotoneError as error:
            for name in [name for name in names if name in self._pending]:
                pause_s = min(2 * self._again.get(name, (0.0, AGAIN_S / 2))[1], AGAIN_S_MAX)
                self._again[name] = (asyncio.get_running_loop().time() + pause_s, pause_s)
                self._refused[name] = f"kept the model that runs, as the new one does not: {error.message}"
                log.error("%s: %s", name, self._refused[name])  # noqa: TRY400 - the trace says nothing to an operator
        else:
            for name in names:
                self._refused.pop(name, None)
                self._again.pop(name, None)

    def _models(self) -> set[engines.Model]:
        """What is to be run: what the targets lead to, and what is about to be."""
        running = {target.engine.model for target in self._targets.values() if target.engine is not None}
        return running | self._coming

    def _model_of(self, name: str) -> engines.Model:
        engine = self._targets[name].engine
        assert engine is not None
        return engine.model

    def _users(self, name: str) -> list[str]:
        """The targets that lead to whatever version of an asset is in force."""
        refs = (f"hub:{name}", f"hub:{name}/")
        return [
            user
            for user, given in self._given.items()
            if user in self._targets
            and any(ref == refs[0] or ref.startswith(refs[1]) for ref in (given.model, given.adapter or ""))
        ]

    def _tell(self, name: str, target: Switched) -> None:
        """Hands the estimates what was measured of the engine, once."""
        engine = target.engine
        if engine is None or engine.measured is None or (name, engine.model.digest) in self._told:
            return
        self._told.add((name, engine.model.digest))
        best = engine.measured.best
        self._speeds.give_prior(name, Prior(best.prefill_tok_s, best.decode_tok_s))

    def _model(self, asset: assets.Asset, adapter: assets.Asset | None, target: settings.LocalTarget) -> engines.Model:
        context_tokens = target.context_tokens or engines.Model(name="", digest="", file_bytes=0).context_tokens
        if asset.context_tokens is not None:
            context_tokens = min(context_tokens, asset.context_tokens)
        idle_unload_s = self._config.engines.idle_unload_s if target.idle_unload_s is None else target.idle_unload_s
        given = {"slots": target.slots, "threads": target.threads, "batch": target.batch}
        return engines.Model(
            name=asset.name,
            digest=asset.digest,
            file_bytes=asset.bytes,
            adapter_digest="" if adapter is None else adapter.digest,
            adapter_bytes=0 if adapter is None else adapter.bytes,
            context_tokens=context_tokens,
            queue_max=target.queue_max,
            cache_type=target.cache_type,
            embeddings=target.embeddings,
            idle_unload_s=idle_unload_s,
            **{key: value for key, value in given.items() if value is not None},
        )


def missing(config: settings.Config, store: Path) -> list[tuple[str, str | None]]:
    """(model, sha256) of local models, and of their adapters, that are not on this machine."""
    shelf = assets.open_store(store)
    local = [target for target in config.targets.values() if isinstance(target, settings.LocalTarget)]
    wanted = [(target.model, target.sha256) for target in local]
    wanted += [(target.adapter, None) for target in local if target.adapter is not None]
    return [(ref, sha256) for ref, sha256 in wanted if shelf.resolve(ref, sha256) is None]


def fetch(models: list[tuple[str, str | None]], store: Path) -> None:
    """Fetches models that are missing, telling each step; one that cannot be had now is told and left out."""
    shelf = assets.open_store(store)
    for model, sha256 in models:
        try:
            shelf.pull(model, sha256, progress=assets.LineProgress())
        except EcotoneError as error:
            log.error("%s cannot be fetched now: %s", model, error.message)  # noqa: TRY400 - the trace tells no more
