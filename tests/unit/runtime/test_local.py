"""Local targets whose files change: real workers, the fake engine, versions as a hub's deliveries leave them."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Literal

import pytest
from tests.unit.engines.world import FAKE, Answer, request

from ecotone import assets
from ecotone import config as settings
from ecotone.delivery import versions
from ecotone.estimate import Speeds
from ecotone.runtime import local as room
from ecotone.runtime.local import Local
from ecotone.runtime.switching import AbsentTarget, Shelf, Switched, opened
from ecotone.values import EcotoneError, TargetError

TEXT = """
site: ward
engines: {measure: false}
targets:
  small: {engine: llama.cpp, model: "hub:smol", context_tokens: 1024}
models:
  assistant: {targets: [small]}
"""


def put(store: Path, version: str, how: str, *, is_used: bool = False, name: str = "smol") -> None:
    """A version is here; its content says how the fake engine starts."""
    content = f"{how} {name} {version}".encode()
    sha256 = hashlib.sha256(content).hexdigest()
    (store / "come").write_bytes(content)
    state: Literal["used", "ready"] = "used" if is_used else "ready"
    fresh = versions.Installed(name=name, version=version, manifest=sha256, files={"m.gguf": sha256}, state=state)
    with versions.locked(store):
        versions.remember(store, fresh)
    refs = fresh.pinned_refs | (fresh.refs if is_used else {})
    assets.open_store(store).adopt([assets.Arrival(store / "come", sha256, tuple(refs))])


class Ward:
    """A site's local part."""

    def __init__(self, store: Path, text: str = TEXT) -> None:
        self.store, self.config = store, settings.parse(text, "x")
        self.local = Local(self.config, store, Speeds())
        self.models: list[tuple[str, str]] = []
        self.local.on_model = lambda target, model: self.models.append((target, model))
        self.targets = {name: self.local.target(name, given) for name, given in self.config.targets.items()}

    async def ask(self, name: str = "small", words: str = "say 2") -> Answer:
        """A whole answer."""
        target, answer = self.targets[name], Answer()
        target.open(target.prepare(request(words)), answer, None, None)
        await asyncio.wait_for(asyncio.shield(answer.over), 20)
        return answer

    async def reload(self, text: str = TEXT) -> None:
        """As `Running.reload` does it."""
        self.config = settings.parse(text, "x")
        self.targets = {name: self.local.target(name, given) for name, given in self.config.targets.items()}
        await self.local.settle(self.config)

    def runs(self) -> list[str]:
        return sorted(row["state"] + " " + name for name, row in self.local.status().items())

    async def until(self, is_so: Callable[[], object]) -> None:
        async with asyncio.timeout(20):
            while not is_so():
                await asyncio.sleep(0.01)


Scene = Callable[[Ward], Coroutine[Any, Any, None]]


@pytest.fixture
def play(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    monkeypatch.setenv("PYTHONPATH", str(FAKE))
    monkeypatch.setattr(room, "LOOK_EVERY_S", 0.02)
    monkeypatch.setattr(room, "AGAIN_S", 0.1)

    def run(scene: Scene, text: str = TEXT, *, is_living: bool = True) -> None:
        async def whole() -> None:
            ward = Ward(tmp_path, text)
            living = asyncio.ensure_future(ward.local.live() if is_living else asyncio.sleep(0))
            try:
                await scene(ward)
            finally:
                living.cancel()
                await asyncio.gather(living, return_exceptions=True)
                await ward.local.close()

        asyncio.run(asyncio.wait_for(whole(), 60))

    return run


def test_it_follows_to_the_version_in_force_and_calls_itself_so(play: Callable[..., None], tmp_path: Path) -> None:
    put(tmp_path, "1", "starts", is_used=True)
    put(tmp_path, "2", "starts")

    async def scene(ward: Ward) -> None:
        target = ward.targets["small"]
        assert isinstance(target, Switched)
        assert target.spec.model == "hub:smol@1"
        assert (await ward.ask()).code == ""
        seen = ward.local.seen("smol")
        assert seen is not None
        assert seen.requests == 1
        versions.switch(tmp_path, "smol", "2")
        assert await ward.local.follow("smol") > 0
        assert ward.targets["small"] is target
        assert target.spec.model == "hub:smol@2"
        assert target.origin == "unix:small"
        assert (await ward.ask()).code == ""
        now = ward.local.seen("smol")
        assert now is not None
        assert now.requests == 1, "its own"
        await ward.until(lambda: ward.runs() == ["ready hub:smol@2"])
        assert await ward.local.follow("smol") == 0.0, "it is there"
        assert ward.models[-1] == ("small", "hub:smol@2")
        assert await ward.local.prove("smol") > 0
        assert ward.local.trouble("smol") == ""

    play(scene)


def test_a_reload_goes_over_as_soon_as_the_new_engine_answers(play: Callable[..., None], tmp_path: Path) -> None:
    put(tmp_path, "1", "starts", is_used=True)
    put(tmp_path, "2", "slow 0.3")

    async def scene(ward: Ward) -> None:
        await ward.ask()
        versions.switch(tmp_path, "smol", "2")
        await ward.reload()
        assert ward.targets["small"].spec.model == "hub:smol@1"
        await ward.until(lambda: ward.targets["small"].spec.model == "hub:smol@2")
        await ward.until(lambda: ward.runs() == ["ready hub:smol@2"])
        await ward.reload(TEXT.replace("context_tokens: 1024", "context_tokens: 512"))
        await ward.until(lambda: ward.targets["small"].spec.context_tokens == 512)
        assert (await ward.ask()).code == ""

    play(scene)


def test_who_follows_while_another_switch_goes_on_comes_to_the_newest(
    play: Callable[..., None], tmp_path: Path
) -> None:
    put(tmp_path, "1", "starts", is_used=True)
    put(tmp_path, "2", "slow 0.5")
    put(tmp_path, "3", "starts")

    async def scene(ward: Ward) -> None:
        await ward.ask()
        versions.switch(tmp_path, "smol", "2")
        await ward.reload()
        await asyncio.sleep(0.2)
        versions.switch(tmp_path, "smol", "3")
        await ward.local.follow("smol")
        assert ward.targets["small"].spec.model == "hub:smol@3"
        await ward.until(lambda: ward.runs() == ["ready hub:smol@3"])

    play(scene)


def test_a_target_that_goes_while_its_engine_is_switched(play: Callable[..., None], tmp_path: Path) -> None:
    more = TEXT.replace("models:", '  twin: {engine: llama.cpp, model: "hub:smol", context_tokens: 512}\nmodels:')
    put(tmp_path, "1", "starts", is_used=True)
    put(tmp_path, "2", "slow 0.3")

    async def scene(ward: Ward) -> None:
        await ward.ask("twin")
        versions.switch(tmp_path, "smol", "2")
        await ward.reload(more)
        await asyncio.sleep(0.1)
        await ward.reload(TEXT)
        await ward.until(lambda: ward.runs() == ["ready hub:smol@2"])
        assert (await ward.ask()).code == ""

    play(scene, more)


def test_one_that_does_not_start_leaves_the_old_one_and_is_tried_again(
    play: Callable[..., None], tmp_path: Path
) -> None:
    put(tmp_path, "1", "starts", is_used=True)
    put(tmp_path, "2", "fails")

    async def scene(ward: Ward) -> None:
        await ward.ask()
        versions.switch(tmp_path, "smol", "2")
        with pytest.raises(TargetError, match="ended while it loaded"):
            await ward.local.follow("smol")
        assert (await ward.ask()).code == ""
        assert ward.runs() == ["ready hub:smol@1"]
        await ward.reload()
        await ward.until(lambda: "kept the model that runs" in "".join(ward.local.troubles()))
        assert (await ward.ask()).code == ""
        put(tmp_path, "3", "starts", is_used=True)
        await ward.reload()
        await ward.until(lambda: ward.targets["small"].spec.model == "hub:smol@3")
        assert ward.local.troubles() == []

    play(scene)


def test_a_file_that_comes_later_and_goes_again(play: Callable[..., None], tmp_path: Path) -> None:
    async def scene(ward: Ward) -> None:
        target = ward.targets["small"]
        assert "is not on this machine" in ward.local.troubles()[0]
        with pytest.raises(TargetError):
            target.prepare(request("hello"))
        assert ward.local.seen("smol") is None
        assert target.load() == (0, 0)
        answer = Answer()
        target.probe(answer, None, None).abort()
        await asyncio.wait_for(asyncio.shield(answer.over), 5)
        assert answer.code == "engine_start"
        put(tmp_path, "1", "starts", is_used=True)
        assert await ward.local.follow("smol") > 0
        assert (await ward.ask()).code == ""
        versions.withdraw(tmp_path, "smol")
        assert await ward.local.follow("smol") == 0.0
        assert ward.local.troubles()
        await ward.reload()
        await ward.until(lambda: ward.runs() == [])
        put(tmp_path, "1", "starts", is_used=True)
        await ward.reload()
        await ward.until(lambda: ward.runs() == ["ready hub:smol@1"])

    play(scene)


def test_targets_that_share_an_engine_go_over_together_and_others_stay(
    play: Callable[..., None], tmp_path: Path
) -> None:
    text = TEXT.replace(
        "models:",
        '  twin: {engine: llama.cpp, model: "hub:smol", context_tokens: 1024}\n'
        '  held: {engine: llama.cpp, model: "hub:smol@1", context_tokens: 1024}\nmodels:',
    )
    put(tmp_path, "1", "starts", is_used=True)
    put(tmp_path, "2", "starts")

    async def scene(ward: Ward) -> None:
        for name in ("small", "twin", "held"):
            assert (await ward.ask(name)).code == ""
        versions.switch(tmp_path, "smol", "2")
        await ward.local.follow("smol")
        assert [ward.targets[name].spec.model for name in ("small", "twin", "held")] == [
            "hub:smol@2", "hub:smol@2", "hub:smol@1",
        ]  # fmt: skip
        await ward.until(lambda: ward.runs() == ["ready hub:smol@1", "ready hub:smol@2"])
        await ward.reload(TEXT)
        await ward.until(lambda: ward.runs() == ["ready hub:smol@2"])

    play(scene, text)


def test_an_adapter_comes_with_its_model_and_is_followed_like_one(play: Callable[..., None], tmp_path: Path) -> None:
    put(tmp_path, "1", "starts", is_used=True)
    put(tmp_path, "2", "starts", name="style")
    put(tmp_path, "3", "fails", name="style")

    async def scene(ward: Ward) -> None:
        assert "hub:style is not on this machine" in ward.local.troubles()[0]
        assert room.missing(ward.config, tmp_path) == [("hub:style", None)]
        versions.switch(tmp_path, "style", "2")
        assert await ward.local.follow("style") > 0
        assert ward.targets["small"].spec.model == "hub:smol@1+hub:style@2"
        assert (await ward.ask()).code == ""
        seen = ward.local.seen("style")
        assert seen is not None
        assert seen.requests == 1
        versions.switch(tmp_path, "style", "3")
        with pytest.raises(TargetError):
            await ward.local.follow("style")
        assert (await ward.ask()).code == ""
        assert ward.runs() == ["ready hub:smol@1+hub:style@2"]

    play(scene, TEXT.replace('model: "hub:smol",', 'model: "hub:smol", adapter: "hub:style",'))


def test_trouble_of_an_engine_is_told_by_the_name_of_its_asset(play: Callable[..., None], tmp_path: Path) -> None:
    put(tmp_path, "1", "fails", is_used=True)

    async def scene(ward: Ward) -> None:
        await ward.until(lambda: ward.local.trouble("smol"))
        assert ward.local.trouble("other") == ""
        assert "hub:smol@1" in ward.local.troubles()[0]

    play(scene)


def test_what_answers_took_says_how_fast_the_machine_reads(play: Callable[..., None], tmp_path: Path) -> None:
    put(tmp_path, "1", "starts", is_used=True)
    account = b'"prompt_ms":10.0,"x":1,"predicted_n":20,"predicted_ms":1000.0'

    async def scene(ward: Ward) -> None:
        await ward.ask()
        assert ward.local.read_bytes_s() == 0.0
        engine = ward.targets["small"].engine  # type: ignore[attr-defined]  # it is a Switched
        for _ in range(20):
            engine.tally.answered(0.1, account)
        assert ward.local.read_bytes_s() == pytest.approx(20 * engine.model.file_bytes, rel=0.05)

    play(scene)


def test_a_measurement_is_handed_to_the_estimates_once(play: Callable[..., None], tmp_path: Path) -> None:
    put(tmp_path, "1", "starts quick", is_used=True)

    async def scene(ward: Ward) -> None:
        await ward.until(lambda: ward.local.read_bytes_s() > 0)
        await ward.until(lambda: ward.local._told)
        assert len(ward.local._told) == 1

    play(scene, TEXT.replace("measure: false", "measure: true"))


def test_the_shelf_is_what_trials_see(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    assert shelf.where("smol") == shelf.before("smol") == ("", "")
    put(tmp_path, "1", "starts", is_used=True)
    put(tmp_path, "2", "starts")
    one, two = shelf.manifest("smol", "1"), shelf.manifest("smol", "2")
    assert shelf.where("smol") == ("1", one)
    assert shelf.before("smol") == ("", "")
    shelf.lead("smol", "2")
    assert shelf.where("smol") == ("2", two)
    assert shelf.before("smol") == ("1", one)
    shelf.back("smol", "1")
    assert shelf.where("smol") == ("1", one)
    shelf.back("smol", "")
    assert shelf.where("smol") == ("", "")
    assert shelf.manifest("smol", "9") == ""
    with pytest.raises(EcotoneError):
        shelf.lead("smol", "9")
    assert opened(tmp_path, lambda: 0.0).reports() == ()


def test_an_absent_target_cannot_be_opened() -> None:
    absent = AbsentTarget("small", "hub:smol", "it is not here")
    assert absent.origin == "unix:small"
    with pytest.raises(TargetError, match="it is not here"):
        absent.open(None, None, None, None)  # type: ignore[arg-type]  # it looks at none of them
