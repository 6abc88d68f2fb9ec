"""What a joined site takes of a wish, and when it may ask for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ecotone import config as settings
from ecotone.agent.errands import Offer
from ecotone.agent.identity import Enrolment
from ecotone.agent.link import Session
from ecotone.agent.trials import Wish
from ecotone.flow.reporting import Message
from ecotone.flow.spend import Budgets
from ecotone.flow.windows import Window, Windows
from ecotone.runtime.joined import Begun, Joined
from ecotone.sim.scripted import Stage
from ecotone.store import State
from ecotone.upstreams import EgressDoor, Resolver
from ecotone.values import Outcome, RefusalError, TargetError
from ecotone.values.fleet import AssetReport, decode_report

SMALL = Offer(name="m", version="1+q4", kind="model", sha256="4" * 64, bytes=10 << 20)
LARGE = Offer(name="m", version="1+q8", kind="model", sha256="8" * 64, bytes=20 << 20)
LIST = Offer(name="words", version="3", kind="labels", sha256="9" * 64, bytes=1 << 60)
TEXT = """
hub: {url: 'https://hub.example.org', region: eu, kbit_per_s_max: 800}
engines: {memory_mb: 64}
targets:
  a: {engine: llama.cpp, model: 'hub:m'}
  big: {url: 'https://api.example.com/v1', model: m, at: cloud, price: {input_usd_per_mtok: 1, output_usd_per_mtok: 2}}
"""


class Trials:
    """Versions that fail and are pinned as told."""

    def __init__(self) -> None:
        self.on_change: Callable[[], None] = lambda: None
        self.taken: list[Wish] = []
        self.refused: dict[str, str] = {}
        self.known: tuple[AssetReport, ...] = ()
        self.speeds: dict[str, float] = {}
        self.rate = 0.0

    def take(self, wish: Wish) -> None:
        self.taken.append(wish)

    def refuses(self, wish: Wish) -> str:
        return self.refused.get(wish.sha256, "")

    def reports(self) -> tuple[AssetReport, ...]:
        return self.known

    def pinned(self) -> tuple[str, ...]:
        return ("m@1+q8", "no pin at all")

    def read_bytes_s(self) -> float:
        return self.rate

    def tok_s(self) -> dict[str, float]:
        return self.speeds


class View:
    """A running site."""

    def __init__(self, stage: Stage) -> None:
        self.site = stage.site
        self.config = settings.parse(TEXT, "ecotone.yaml")
        self.link: Any = "unknown"

    @property
    def egress(self) -> EgressDoor:
        return EgressDoor(self.site.mint.verify, Resolver())

    def proxy_to(self, url: str) -> None:
        return None

    def trouble_codes(self) -> list[str]:
        return ["engine"]

    def link_state(self) -> Any:
        return self.link


class Scene:
    def __init__(self, store: Path, stage: Stage) -> None:
        Enrolment.begun(store, "eco1.a.b").done()
        self.begun = Begun("clinic-7", store, State(store))
        self.view, self.trials = View(stage), Trials()
        self.joined = Joined(self.begun, self.view, self.trials)

    def takes(self, *offers: Offer) -> list[str]:
        return [offer.version for offer in self.joined.choose(offers).take]

    def passed(self, *offers: Offer) -> list[tuple[str, str]]:
        return [(offer.version, why) for offer, why in self.joined.choose(offers).passed]


@pytest.fixture
def scene(tmp_path: Path) -> Any:
    stage = Stage()

    async def make() -> Scene:
        return Scene(tmp_path, stage)

    yield stage.loop.run_until_complete(make())
    stage.close()


def report(offer: Offer, state: Any, attempt: int = 0) -> AssetReport:
    return AssetReport(
        name=offer.name, version=offer.version, kind="model", sha256=offer.sha256, state=state, attempt=attempt
    )


def test_the_first_variant_that_the_machine_runs_is_taken(scene: Scene) -> None:
    assert scene.takes(LARGE, SMALL, LIST) == ["1+q8", "3"]
    huge = msgspec.structs.replace(LARGE, bytes=65 << 20)
    assert scene.takes(huge, SMALL) == ["1+q4"]
    assert scene.passed(huge) == [("1+q8", "memory")]
    assert scene.passed(msgspec.structs.replace(LARGE, cpu=("no_such_thing",))) == [("1+q8", "cpu")]


def test_speed_is_predicted_until_it_was_measured(scene: Scene) -> None:
    scene.trials.rate = 400 << 20  # 20 tokens a second of the large one, 40 of the small one
    quick = [msgspec.structs.replace(one, decode_tok_s_min=30.0) for one in (LARGE, SMALL)]
    assert scene.takes(*quick) == ["1+q4"]
    scene.trials.speeds = {LARGE.sha256: 31.0}
    assert scene.takes(*quick) == ["1+q8"]
    scene.trials.speeds = {LARGE.sha256: 29.0, SMALL.sha256: 5.0}
    assert scene.takes(*quick) == []
    assert scene.passed(*quick) == [("1+q4", "speed")]


def test_what_failed_or_is_pinned_gives_way_to_the_next_variant_or_to_nothing(scene: Scene) -> None:
    scene.trials.refused = {LARGE.sha256: "failed"}
    assert scene.takes(LARGE, SMALL) == ["1+q4"]
    scene.trials.refused[SMALL.sha256] = "pinned"
    assert scene.takes(LARGE, SMALL) == []
    assert scene.passed(LARGE, SMALL) == [("1+q4", "pinned")]


@pytest.mark.parametrize("state", ["ready", "trying", "good"])
def test_what_is_here_is_not_fetched_again(scene: Scene, state: str) -> None:
    scene.trials.known = (report(SMALL, state),)
    assert scene.takes(LARGE, SMALL) == []
    assert scene.passed(LARGE, SMALL) == [("1+q4", "")]
    assert scene.takes(msgspec.structs.replace(SMALL, attempt=1)) == ["1+q4"]


def test_what_failed_is_fetched_again_only_where_it_is_wanted_anew(scene: Scene) -> None:
    scene.trials.known = (report(SMALL, "failed"),)
    assert scene.takes(SMALL) == ["1+q4"]  # it is the trials that refuse it


def test_what_is_ready_is_handed_over_with_its_terms(scene: Scene) -> None:
    scene.joined.ready(msgspec.structs.replace(SMALL, attempt=3, decode_tok_s_min=2.0))
    (wish,) = scene.trials.taken
    assert (wish.name, wish.version, wish.attempt, wish.decode_tok_s_min) == ("m", "1+q4", 3, 2.0)


def test_deliveries_keep_to_the_link_and_to_policy(scene: Scene) -> None:
    site, config = scene.view.site, scene.view.config
    assert scene.joined.is_open()
    closed = Windows([Window((0,), 0, 1)])
    scene.view.site = _with(site, budgets=Budgets(windows=closed))
    assert scene.joined.is_open()  # windows are for work that can wait: the hub's only where it says so
    assert config.hub is not None
    scene.view.config = msgspec.structs.replace(config, hub=msgspec.structs.replace(config.hub, in_windows=True))
    assert not scene.joined.is_open()
    scene.view.config = config
    scene.view.site = _with(site, budgets=Budgets(windows=closed, is_strict=True))
    assert not scene.joined.is_open()
    scene.view.site = _with(site, is_cloud_off=True)
    assert not scene.joined.is_open()
    scene.view.site = site
    scene.view.config = msgspec.structs.replace(config, hub=msgspec.structs.replace(config.hub, deliver="command"))
    assert not scene.joined.is_open()
    scene.view.config = msgspec.structs.replace(config, hub=None)
    assert not scene.joined.is_open()


def _with(site: Any, **changes: Any) -> Any:
    import dataclasses

    return dataclasses.replace(site, **changes)


def test_the_job_holds_no_secret_of_the_site(scene: Scene) -> None:
    job = scene.joined.job()
    assert (job.url, job.bytes_per_s, job.in_use, job.token) == ("https://hub.example.org", 100_000, ("hub:m",), "")


def test_a_report_says_how_the_site_is_and_no_more(scene: Scene) -> None:
    scene.trials.known = (report(SMALL, "good"),)
    scene.begun.tally.saved = lambda outcome: 0.0
    made = scene.joined._look()
    scene.begun.tally.ended(
        Outcome(request="r", model="auto", endpoint="chat/completions", key="ann", ending="answered",
                reason="edge.cheaper", status=200, at="edge", input_tokens=1_000_000, output_tokens=1_000_000)
    )  # fmt: skip
    assert scene.begun.tally.totals.saved_usd == 3.0
    found = decode_report(made(5, 2), "clinic-7")
    assert (found.seq, found.dropped, found.trouble, found.pinned) == (5, 2, ("engine",), ("m@1+q8",))
    assert found.machine.models_bytes == 64 << 20
    assert [one.version for one in found.assets] == ["1+q4"]
    assert b"ann" not in made(5, 2)


def test_a_configuration_without_a_hub_keeps_everything_here(scene: Scene) -> None:
    scene.view.config = msgspec.structs.replace(scene.view.config, hub=None)
    with pytest.raises(RefusalError) as caught:
        asyncio.run(scene.joined.session())
    assert caught.value.code == "refused.policy"
    assert scene.joined.status()["url"] is None
    assert scene.joined.status()["reports"] == "off"


def test_totals_are_kept_over_a_restart(scene: Scene, tmp_path: Path) -> None:
    scene.begun.tally.totals.requests = 41
    scene.begun.save()
    assert Begun("clinic-7", tmp_path, State(tmp_path)).tally.totals.requests == 41


def test_a_token_goes_only_to_the_hub_that_gave_it(scene: Scene) -> None:
    config = scene.view.config
    assert config.hub is not None
    scene.joined._way()
    scene.joined._link._session = given = Session("t", 1e9)
    scene.joined._way()
    assert scene.joined._link._session is given
    moved = msgspec.structs.replace(config.hub, url="https://other.example.org")
    scene.view.config = msgspec.structs.replace(config, hub=moved)
    message = Message(kind="hub.watch", method="GET", path="/v1/x", headers=given.headers)
    with pytest.raises(TargetError, match="another address"):
        asyncio.run(scene.joined._ask(message))
    _, wire = scene.joined._way()
    assert wire.origin == "https://other.example.org:443"
    assert scene.joined._link._session is None
