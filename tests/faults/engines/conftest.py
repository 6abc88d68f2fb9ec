"""The real engine and the starter model."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest
from tests.unit.engines.world import Answer, request

from ecotone import assets, engines, shaping
from ecotone.upstreams import WorkerChannel

ROOT = Path(__file__).parents[3]
STORE = Path(os.environ.get("ECOTONE_TEST_STORE", ROOT / ".venv" / ".ecotone-test-store"))


@pytest.fixture(scope="session")
def asset() -> assets.Asset:
    """The starter model's file."""
    found = assets.open_store(STORE).resolve("smollm2-135m")
    if found is None:
        pytest.skip(f"the starter model is not in {STORE}: `make test` fetches it")
    return found


class Site:
    """A supervisor over real workers."""

    def __init__(self, folder: Path, **settings: object) -> None:
        self.store = assets.open_store(STORE)
        settings.setdefault("is_measured", False)
        self.supervisor = engines.Supervisor(WorkerChannel, engines.Settings(folder=folder / "run", **settings))

    def target(self, asset: assets.Asset, hold=None, **fields: object) -> engines.EngineTarget:
        """A target of one thread: other work goes on beside the tests."""
        name = str(fields.pop("name", asset.name))
        model = engines.Model(name=name, digest=asset.digest, file_bytes=asset.bytes, **{"threads": 1, **fields})
        engine = self.supervisor.engine(model, hold or (lambda: self.store.hold(asset)))
        return engines.EngineTarget(name, shaping.profile_for(name, context_tokens=2048), engine)

    def ask(self, target: engines.EngineTarget, words: str, **fields: object):
        """(stream, answer)."""
        answer = Answer()
        fields = {"max_tokens": 8, "temperature": 0, **fields}
        return target.open(target.prepare(request(words, **fields)), answer), answer

    async def told(self, target: engines.EngineTarget, words: str = "Hello!", **fields: object) -> Answer:
        """A whole answer."""
        _, answer = self.ask(target, words, **fields)
        await asyncio.wait_for(asyncio.shield(answer.over), 60)
        return answer


@pytest.fixture
def site(tmp_path: Path):
    """Plays a scene with a site: `site(coroutine function, **settings)`."""

    def play(acts, **settings):
        async def whole():
            made = Site(tmp_path, **settings)
            try:
                await acts(made)
            finally:
                await made.supervisor.close(0)

        asyncio.run(asyncio.wait_for(whole(), 120))

    return play
