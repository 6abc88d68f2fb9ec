"""The learning of a running site: shut until a model name asks, kept over restarts, and void for another model."""

from __future__ import annotations

import asyncio
import importlib
import importlib.metadata
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from ecotone import config as settings
from ecotone.flow.lessons import Errand, Lesson
from ecotone.runtime.plugins import checkers
from ecotone.runtime.teaching import Teaching, learning_names
from ecotone.store import Ledger, State
from ecotone.store.documents import Documents
from ecotone.store.examples import Examples
from ecotone.values import ConfigError, Endpoint, Features, Outcome, Request
from ecotone.values.quality import Comparison, Guess, Pair, Question, Reply, Role
from ecotone.wire.feedback import Feedback

KEY = b"k" * 32
TEXT = """
site: school
targets:
  small: {engine: llama.cpp, model: smollm2-135m}
  big: {url: https://api.example.com/v1, model: large-1, at: cloud}
models:
  assistant: {targets: [small, big], mode: shadow, quality: {loss_max: 0.1, confidence: 0.9}, advance: auto}
"""
ASKED = Question(endpoint=Endpoint.CHAT, model="assistant", asked="How much is 2 and 2?")


def config(text: str = TEXT) -> settings.Config:
    return settings.parse(text, "x")


class School:
    def __init__(self, folder: Path) -> None:
        self.ledger = Ledger.open(folder, "school")
        self.examples = Examples(folder, KEY)
        self.teaching = Teaching(Documents(folder, KEY), self.examples, State(folder), self.ledger, b"s" * 32)
        self.config = config()
        self.site: Any = SimpleNamespace(
            learning=self.teaching.arrange(self.config), journal=self.ledger, checkers={}, names={},
            clock=SimpleNamespace(wall_s=lambda: 1_800_000_000.0), targets={},
        )  # fmt: skip
        self.teaching.begin(lambda: self.site, lambda: self.config)

    def pair(self, number: int = 1, gap: float = 0.0) -> Pair:
        seen = Comparison(gap=gap, checker="match")
        return Pair(
            request=f"req-{number}", model="assistant", target="small", reference="big", comparison=seen,
            role=Role.LEARN if number % 2 else Role.CERTIFY, share=0.5,
        )  # fmt: skip

    def errand(self, *, answer: bytes | None = b"{}") -> Errand:
        learning = self.site.learning
        read = learning.read(ASKED)
        lesson = Lesson(ASKED, read, "small", "big", Role.LEARN, 0.5, {"small": Guess(gap=0.1)})
        request = Request(
            id="req-9", endpoint=Endpoint.CHAT, model="assistant", body=b"{}", is_stream=False, is_usage_asked=False,
            features=Features(5), received_at_s=0.0,
        )  # fmt: skip
        outcome = Outcome(
            request="req-9", model="assistant", endpoint="chat/completions", key="", ending="answered", reason="",
            status=200, target="small", at="edge",
        )  # fmt: skip
        return Errand(request, lesson, outcome, answer)


@pytest.fixture
def school(tmp_path: Path) -> Any:
    made: list[School] = []

    def make() -> School:
        if made:
            made[-1].ledger.close()
        made.append(School(tmp_path))
        return made[-1]

    yield make
    made[-1].ledger.close()


def test_only_names_that_promise_or_compare_and_have_both_places_learn() -> None:
    text = TEXT.replace("models:", "models:\n  plain: {targets: [small, big]}\n  lone: {targets: [big], quality: {}}")
    assert list(learning_names(config(text))) == ["assistant"]
    assert learning_names(config(TEXT.replace("mode: shadow", "mode: cloud"))) == {}


def test_it_stays_shut_until_a_name_asks(tmp_path: Path) -> None:
    ledger = Ledger.open(tmp_path, "school")
    teaching = Teaching(Documents(tmp_path, KEY), Examples(tmp_path, KEY), State(tmp_path), ledger, b"s" * 32)
    plain = config(TEXT[: TEXT.index("models:")])
    assert teaching.arrange(plain) is None
    assert teaching.checkers(plain) == {}
    assert (teaching.status(), teaching.shadows(), teaching.usd(), teaching.troubles()) == ({}, {}, 0.0, [])
    site: Any = SimpleNamespace(learning=None, clock=SimpleNamespace(wall_s=lambda: 1_800_000_000.0))
    teaching.begin(lambda: site, config)

    async def later() -> None:
        living = asyncio.ensure_future(teaching.live())
        await asyncio.sleep(0)
        assert teaching.arrange(config()) is not None
        await asyncio.sleep(0.01)
        living.cancel()
        await asyncio.wait([living])
        await teaching.close()

    asyncio.run(later())
    assert "auto" in teaching.checkers(config())
    ledger.close()


def test_what_was_learned_outlives_a_restart(school: Any) -> None:
    one = school()
    read = one.site.learning.read(ASKED)
    for number in range(1, 9):
        one.site.learning.add(one.pair(number), read)
    assert one.teaching.pairs() == {"assistant": 8.0}
    assert one.teaching.promises() == {"assistant": 0.0}
    asyncio.run(one.teaching.close())
    two = school()
    gate = two.teaching.status()["assistant"]["targets"]["small"]
    assert (gate["learned"], gate["certifying"]) == (4, 4)


def test_what_cannot_be_read_is_learned_anew(school: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    one = school()
    one.site.learning.add(one.pair(), one.site.learning.read(ASKED))
    asyncio.run(one.teaching.close())
    documents = Documents(tmp_path, KEY)
    for path in sorted((tmp_path / "sealed").glob("lessons-*")):
        documents.write(path.name.split(".")[0], b"nonsense")
    assert school().teaching.pairs() == {"assistant": 0.0}
    assert "is learned anew" in caplog.text


def test_another_model_at_a_target_voids_what_was_learned(school: Any) -> None:
    one = school()
    read = one.site.learning.read(ASKED)
    one.site.learning.add(one.pair(), read)
    room = one.teaching._room
    replies = Reply(text="4", model="small-1"), Reply(text="4", model="large-1")
    room._noted(one.errand(), Comparison(gap=0.0, checker="match"), replies)
    one.site.learning.add(one.pair(), read)
    room._noted(one.errand(), Comparison(gap=0.0, checker="match"), replies)
    assert one.teaching.pairs() == {"assistant": 1.0}, "the same names change nothing"
    other = replies[0], Reply(text="4", model="large-2")
    room._noted(one.errand(), Comparison(gap=0.0, checker="match"), other)
    assert one.teaching.pairs() == {"assistant": 0.0}


def test_a_switch_to_another_version_voids_what_was_learned_and_so_does_the_way_back(school: Any) -> None:
    one = school()
    one.teaching.changed("small", "hub:smol@1")  # nothing was learned of it yet
    read, room = one.site.learning.read(ASKED), one.teaching._room
    replies = Reply(text="4", model="hub:smol@1"), Reply(text="4", model="large-1")
    for version in ("2", "1"):
        room._noted(one.errand(), Comparison(gap=0.0, checker="match"), replies)
        one.site.learning.add(one.pair(), read)
        one.teaching.changed("small", replies[0].model)
        assert one.teaching.pairs() == {"assistant": 1.0}, "the same version changes nothing"
        one.teaching.changed("small", f"hub:smol@{version}")
        assert one.teaching.pairs() == {"assistant": 0.0}
        assert one.teaching.quality("small", replies[0].model) == (1, 1.0)
        replies = Reply(text="4", model=f"hub:smol@{version}"), replies[1]


def test_examples_are_kept_only_where_the_configuration_says_so(school: Any) -> None:
    one = school()
    room, bad = one.teaching._room, Comparison(gap=1.0, checker="match")
    room._noted(one.errand(), bad, (Reply(text="5"), Reply(text="4")))
    assert list(room._bad) == []
    one.config = config(TEXT + "learning: {examples: true}\n")
    room._noted(one.errand(), bad, (Reply(text="5"), Reply(text="4")))
    labelled = one.errand()
    labelled.labels = ("person",)
    room._noted(labelled, bad, (Reply(text="5"), Reply(text="4")))

    async def write() -> None:
        task = asyncio.ensure_future(room._keep_forever())
        while room._bad:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)
        task.cancel()

    asyncio.run(write())
    kept = [(one.question, one.edge, one.cloud) for one in one.examples.read()]
    assert kept == [("How much is 2 and 2?", "5", "4")]
    one.config = config()

    async def purge() -> None:
        task = asyncio.ensure_future(room._keep_forever())
        while not room._is_purged:
            await asyncio.sleep(0.01)
        task.cancel()

    asyncio.run(purge())
    assert one.examples.read() == []


def test_feedback_finds_its_answer_or_the_ledgers_entry(school: Any) -> None:
    one = school()
    one.teaching.take(one.errand(), False)
    assert asyncio.run(one.teaching.feedback(Feedback(request="req-9", score=0.5), None)) is True
    assert asyncio.run(one.teaching.feedback(Feedback(request="req-9", score=0.5), "somebody")) is None
    assert asyncio.run(one.teaching.feedback(Feedback(request="req-7", score=0.5), None)) is None
    one.ledger.note("outcome", {"request": "req-8", "key": "ward"})
    assert asyncio.run(one.teaching.feedback(Feedback(request="req-8", score=0.5), "ward")) is False
    one.ledger.note("outcome", {"request": "req-6", "key": "ward", "purpose": "shadow"})
    assert asyncio.run(one.teaching.feedback(Feedback(request="req-6", score=0.5), "ward")) is None


def test_without_a_room_feedback_is_evidence(tmp_path: Path) -> None:
    ledger = Ledger.open(tmp_path, "school")
    teaching = Teaching(Documents(tmp_path, KEY), Examples(tmp_path, KEY), State(tmp_path), ledger, b"s" * 32)
    teaching.changed("small", "hub:smol@2")
    assert teaching.quality("small", "hub:smol@2") == (0, 0.0)
    ledger.note("outcome", {"request": "req-8", "key": ""})
    assert asyncio.run(teaching.feedback(Feedback(request="req-8", score=1.0), None)) is False
    asyncio.run(ledger.flush())
    assert [entry.kind for entry in ledger.find("req-8")] == ["outcome", "feedback"]
    ledger.close()


def test_due_work_is_done_and_what_was_kept_is_saved(school: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    one = school()
    course = sys.modules["ecotone.learning.course"]
    monkeypatch.setattr(course, "FIRST_LOOK", 4)
    lessons = sys.modules["ecotone.runtime.lessons"]
    monkeypatch.setattr(lessons, "SAVE_EVERY_S", 0.01)
    monkeypatch.setattr(lessons, "LOOK_EVERY_S", 0.01)
    read = one.site.learning.read(ASKED)
    for number in range(1, 402):
        one.site.learning.add(one.pair(number), read)

    async def live() -> None:
        living = asyncio.ensure_future(one.teaching.live())
        while one.site.learning.due():
            await asyncio.sleep(0.02)
        await asyncio.sleep(0.2)
        living.cancel()
        await asyncio.wait([living])

    assert one.site.learning.due()
    asyncio.run(live())
    assert one.teaching._room._saved
    errand = one.errand()
    errand.lesson.role = Role.CERTIFY
    one.teaching.take(errand, True)
    assert one.teaching.shadows()["waiting"] == 1


def test_a_suspended_promise_is_a_trouble(school: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    one = school()
    told = {"assistant": {"targets": {"small": {"suspended": "drift.loss"}}}}
    monkeypatch.setattr(one.teaching, "status", lambda: told)
    assert "suspended (drift.loss)" in one.teaching.troubles()[0]


def test_plug_ins_are_found_by_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    made = SimpleNamespace(compare=lambda question, edge, cloud: Comparison(gap=0.25, checker="x"))
    point = SimpleNamespace(name="ours", load=lambda: lambda given: made)
    broken = SimpleNamespace(name="broken", load=lambda: 1 / 0)
    known = {"ours": [point], "broken": [broken]}

    def points(*, group: str, name: str = "") -> list[Any]:
        return known.get(name, []) if name else [point, broken]

    monkeypatch.setattr(importlib.metadata, "entry_points", points)
    found = checkers(["auto", "judge", "ours"])
    assert set(found) == {"auto", "ours"}
    seen = found["ours"](ASKED, Reply(text="a"), Reply(text="b"))
    assert seen == Comparison(gap=0.25, checker="ours")
    with pytest.raises(ConfigError, match="cannot be loaded: ZeroDivisionError"):
        checkers(["broken"])
    with pytest.raises(ConfigError, match="no checker has this name; there are: auto, match"):
        checkers(["nobody"])
    assert msgspec.json.encode(seen)


def test_likeness_by_an_embedding_is_loaded_where_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    check = checkers(["embedding"])["embedding"]
    cloud = Reply(text="The patient should rest for two weeks and drink plenty of water.", finish="stop")
    near = check(
        ASKED, Reply(text="Two weeks of rest, and a lot of water to drink, for the patient.", finish="stop"), cloud
    )
    far = check(ASKED, Reply(text="Stock markets fell sharply in early trading.", finish="stop"), cloud)
    assert near is not None
    assert far is not None
    assert near.gap < 0.4 < far.gap
    assert near.checker == "embedding"
    assert check(ASKED, Reply(text="\u2063", finish="stop"), cloud) != near
    embedding = importlib.import_module("ecotone.detectors.topics_embedding")

    def missing() -> None:
        raise ModuleNotFoundError("no wordllama")

    monkeypatch.setattr(embedding, "load_embedding", missing)
    with pytest.raises(ConfigError, match="embedding: no wordllama"):
        checkers(["embedding"])
