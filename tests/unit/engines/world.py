"""A supervisor over the fake engine: real processes, real sockets, no model."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from random import Random
from typing import Any

from ecotone import shaping
from ecotone.engines import Engine, EngineTarget, Limits, Machine, Model, Patience, Settings, Supervisor
from ecotone.upstreams import WorkerChannel
from ecotone.values import Endpoint, Features, Request, TargetError, TrustError

MACHINE = Machine(cores=2, memory_bytes=8 << 30, cpu="made", flags=(), arch="x86_64")
FAKE = Path(__file__).parent / "fake_engine"
MIB = 1 << 20


class Held:
    """A model file whose digest is right."""

    def __init__(self, path: Path, fd: int) -> None:
        self.path, self.fds = path, (fd,)

    def confirm(self) -> None:
        if "changed" in self.path.read_text():
            raise TrustError("asset.changed", "the file was changed while it loaded")


class Answer:
    """A sink that keeps all."""

    def __init__(self) -> None:
        self.status = 0
        self.body = b""
        self.headers: Any = {}
        self.error: TargetError | None = None
        self.over = asyncio.get_running_loop().create_future()
        self.first = asyncio.get_running_loop().create_future()
        self.over_at_s = 0.0

    def head(self, status: int, headers: Any) -> None:
        assert not self.over.done()
        self.status, self.headers = status, headers

    def data(self, chunk: bytes) -> None:
        assert self.status
        assert not self.over.done()
        self.body += chunk
        if not self.first.done():
            self.first.set_result(None)

    def ended(self) -> None:
        self._end(None)

    def failed(self, error: TargetError) -> None:
        self._end(error)

    def _end(self, error: TargetError | None) -> None:
        self.first.cancel()
        self.error = error
        self.over_at_s = asyncio.get_running_loop().time()
        self.over.set_result(None)

    @property
    def code(self) -> str:
        return "" if self.error is None else self.error.code


def request(words: str, **fields: Any) -> Request:
    body = {"model": "m", "messages": [{"role": "user", "content": words}], **fields}
    return Request(
        id="r1",
        endpoint=Endpoint.CHAT,
        model="m",
        body=json.dumps(body).encode(),
        is_stream=True,
        is_usage_asked=False,
        features=Features(1),
        received_at_s=0.0,
    )


class World:
    """A supervisor and a folder for its models."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.folder = folder
        self.lines: list[str] = []
        self.holds = 0
        settings.setdefault("is_measured", False)
        settings.setdefault("patience", Patience(first_s=0.02, rest_s=0.3))
        self.supervisor = Supervisor(
            WorkerChannel,
            Settings(folder=folder / "run", **settings),
            dice=Random(1),
            progress=self.lines.append,
            machine=MACHINE,
        )

    def engine(self, how: str = "starts", name: str = "tiny", **fields: Any) -> Engine:
        """An engine whose model file says how it starts; `how` may be rewritten later with `become`."""
        model = self.model(how, name, **fields)
        return self.supervisor.engine(model, lambda: self._hold(name))

    def model(self, how: str = "starts", name: str = "tiny", **fields: Any) -> Model:
        """A model of that file, which nothing runs yet."""
        self.become(how, name)
        return Model(name=name, digest=name, file_bytes=100 * MIB, context_tokens=1024, **fields)

    async def replace(self, old: Engine, model: Model) -> tuple[Engine, float]:
        """The model's engine in the old one's place, and tokens a second."""
        tok_s = await self.supervisor.replace(old.model, model, lambda: self._hold(model.digest))
        new = self.supervisor.engine(model, lambda: self._hold(model.digest))
        self.supervisor.keep([new.model])
        return new, tok_s

    def become(self, how: str, name: str = "tiny") -> None:
        (self.folder / f"{name}.gguf").write_text(how)

    @contextlib.contextmanager
    def _hold(self, name: str) -> Iterator[Held]:
        self.holds += 1
        path = self.folder / f"{name}.gguf"
        if "forged" in path.read_text():
            raise TrustError("asset.digest", "the digest is wrong")
        with path.open("rb") as file:
            yield Held(path, file.fileno())

    def target(self, engine: Engine, name: str = "small") -> EngineTarget:
        return EngineTarget(name, shaping.profile_for(engine.model.name, context_tokens=1024), engine)

    def ask(self, engine: Engine, words: str = "say 2") -> tuple[Any, Answer]:
        target, answer = self.target(engine), Answer()
        return target.open(target.prepare(request(words)), answer), answer

    async def told(self, engine: Engine, words: str = "say 2") -> Answer:
        _, answer = self.ask(engine, words)
        await asyncio.wait_for(asyncio.shield(answer.over), 10)
        return answer

    async def until(self, is_so: Callable[[], bool], within_s: float = 10.0) -> None:
        """Polls: for what has no event."""
        async with asyncio.timeout(within_s):
            while not is_so():
                await asyncio.sleep(0.005)


Scene = Callable[[World], Coroutine[Any, Any, None]]
FAST = Limits(health_every_s=0.05, health_within_s=1.0, prefill_grace_s=0.15, starve_s=0.2, room_s=2.0, drain_s=5.0)


def play(folder: Path, scene: Scene, runner: Any = asyncio.run, **settings: Any) -> None:
    """Runs a scene in a loop of its own; afterwards no worker is left, alive or dead."""
    settings.setdefault("limits", FAST)

    async def whole() -> None:
        world = World(folder, **settings)
        try:
            await scene(world)
        finally:
            pids = [engine.pid for engine in world.supervisor.status().engines if engine.pid]
            await world.supervisor.close(0)
            assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()], "workers are left"
            assert not list((folder / "run").glob("*/*"))

    runner(asyncio.wait_for(whole(), 30))
