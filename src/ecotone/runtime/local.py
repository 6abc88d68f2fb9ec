"""The local models of a site: their files, their engines, and the way to the workers' sockets."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from pathlib import Path
from typing import Any, Final

import msgspec

from ecotone import assets, engines, shaping
from ecotone import config as settings
from ecotone.estimate import Prior, Speeds
from ecotone.ports import Prepared, Sink, Stream, Target
from ecotone.upstreams import WorkerChannel
from ecotone.values import EcotoneError, Permit, Place, Receipt, Request, TargetError, TargetSpec

LOOK_EVERY_S: Final = 1.0
CLOSE_S: Final = 2.0
_TROUBLED: Final = frozenset({"crashed", "backing_off", "refused"})

log = logging.getLogger("ecotone.engines")


class Local:
    """Assets and engines behind the local targets. Lives as long as the process; reloads share its engines."""

    def __init__(self, config: settings.Config, store: Path, speeds: Speeds) -> None:
        """Opens the asset store and makes the supervisor; fetches and starts nothing.

        Raises:
            ConfigError: the folder for sockets cannot be used.
        """
        self._config = config
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
        self._targets: dict[str, engines.EngineTarget] = {}
        self._absent: dict[str, str] = {}
        self._told: set[tuple[str, str]] = set()

    def target(self, name: str, target: settings.LocalTarget) -> Target:
        """The target of a local model. One whose file is not on this machine fails at each request and says why.

        Raises:
            ConfigError: the model's name or digest cannot be understood.
        """
        self._absent.pop(name, None)
        asset = self._assets.resolve(target.model, target.sha256)
        if asset is None:
            self._targets.pop(name, None)
            self._absent[name] = f"{target.model} is not on this machine: ecotone models pull {target.model}"
            return AbsentTarget(name, target.model, self._absent[name])
        model = self._model(asset, target)
        engine = self._supervisor.engine(model, lambda: self._assets.hold(asset))
        profile = shaping.profile_for(
            asset.name,
            context_tokens=model.context_tokens,
            has_template=asset.has_chat_template is not False,
            slots=model.slots,
            has_embeddings=model.embeddings,
        )
        if target.tools != "auto":
            profile = msgspec.structs.replace(profile, tools=target.tools)
        made = self._targets[name] = engines.EngineTarget(name, profile, engine)
        return made

    async def live(self) -> None:
        """Starts the models before anybody asks, then hands what was measured to the estimates."""
        for target in list(self._targets.values()):
            self._supervisor.warm(target.engine.model)
        while True:
            for name, target in self._targets.items():
                measured, mark = target.engine.measured, (name, target.engine.model.digest)
                if measured is not None and mark not in self._told:
                    self._told.add(mark)
                    best = measured.best
                    self._speeds.give_prior(name, Prior(best.prefill_tok_s, best.decode_tok_s))
            await asyncio.sleep(LOOK_EVERY_S)

    async def settle(self, config: settings.Config) -> None:
        """After a reload: engines that no target uses any more finish and go."""
        names = {name for name, target in config.targets.items() if isinstance(target, settings.LocalTarget)}
        self._targets = {name: target for name, target in self._targets.items() if name in names}
        self._supervisor.keep([target.engine.model for target in self._targets.values()])

    def troubles(self) -> list[str]:
        """What an operator should look at."""
        found = [f"{name}: {why}" for name, why in self._absent.items()]
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

    def _model(self, asset: assets.Asset, target: settings.LocalTarget) -> engines.Model:
        context_tokens = target.context_tokens or engines.Model(name="", digest="", file_bytes=0).context_tokens
        if asset.context_tokens is not None:
            context_tokens = min(context_tokens, asset.context_tokens)
        idle_unload_s = self._config.engines.idle_unload_s if target.idle_unload_s is None else target.idle_unload_s
        given = {"slots": target.slots, "threads": target.threads, "batch": target.batch}
        return engines.Model(
            name=asset.name,
            digest=asset.digest,
            file_bytes=asset.bytes,
            context_tokens=context_tokens,
            queue_max=target.queue_max,
            cache_type=target.cache_type,
            embeddings=target.embeddings,
            idle_unload_s=idle_unload_s,
            **{key: value for key, value in given.items() if value is not None},
        )


class AbsentTarget:
    """A local model whose file is not here: every attempt fails at once, and the next target may try."""

    def __init__(self, name: str, model: str, why: str) -> None:
        self._spec = TargetSpec(name=name, at=Place.EDGE, model=model)
        self._why = why

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
        raise TargetError("engine_start", self._why)

    def open(self, prepared: Prepared, sink: Sink, permit: Permit | None, receipt: Receipt | None) -> Stream:
        """See `ports.Target`; not reached, since `prepare` fails."""
        raise TargetError("engine_start", self._why)

    def probe(self, sink: Sink, permit: Permit | None, receipt: Receipt | None) -> Stream:
        """See `ports.Target`: it is still not here (a reload looks again)."""
        asyncio.get_running_loop().call_soon(sink.failed, TargetError("engine_start", self._why))
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


def missing(config: settings.Config, store: Path) -> list[tuple[str, str | None]]:
    """(model, sha256) of local models that are not on this machine."""
    shelf = assets.open_store(store)
    local = [target for target in config.targets.values() if isinstance(target, settings.LocalTarget)]
    return [(target.model, target.sha256) for target in local if shelf.resolve(target.model, target.sha256) is None]


def fetch(models: list[tuple[str, str | None]], store: Path) -> None:
    """Fetches models that are missing, telling each step; one that cannot be had now is told and left out."""
    shelf = assets.open_store(store)
    for model, sha256 in models:
        try:
            shelf.pull(model, sha256, progress=assets.LineProgress())
        except EcotoneError as error:
            log.error("%s cannot be fetched now: %s", model, error.message)  # noqa: TRY400 - the trace tells no more
