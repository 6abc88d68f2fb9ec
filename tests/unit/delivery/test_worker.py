"""The delivery child in this process, against a real hub: what it says, what it takes, and what it does when cut."""

from __future__ import annotations

import io
import os
import queue
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.hub.served import Served, Site, assign, joined, made, serving

from ecotone.agent import errands
from ecotone.agent.errands import Done, Failed, Job, Ready, Refused, Renew, Step, Take, Token, Wished
from ecotone.assets import open_store
from ecotone.delivery import site_trust, versions, worker
from ecotone.delivery.worker import Child


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with serving(made(tmp_path, f"sqlite:///{tmp_path / 'state' / 'hub.db'}")) as at:
        yield at


@pytest.fixture
def site(served: Served) -> Site:
    return joined(served, "harbour")


class Run:
    """One errand."""

    def __init__(self, served: Served, site: Site, store: Path, **about: Any) -> None:
        if not (store / "trust").exists():
            site_trust.pin((served.settings.folder / "trust.json").read_bytes(), "harbour", store)
        given = {"store": str(store), "url": f"http://127.0.0.1:{served.port}", "token": site.token, **about}
        self.orders: queue.Queue[errands.Order | None] = queue.Queue()
        self.said: list[errands.Event] = []
        self.answers: dict[type, list[errands.Order | None]] = {Wished: [], Renew: []}
        self._child = Child(Job(**given), self.orders, self._hear)

    def _hear(self, event: errands.Event) -> None:
        self.said.append(event)
        for order in self.answers.get(type(event), [])[:1]:
            self.answers[type(event)].pop(0)
            self.orders.put(order)
        if isinstance(event, Wished) and self.orders.empty():
            self.orders.put(Take(tuple(offer.sha256 for offer in event.offers)))

    def go(self) -> list[errands.Event]:
        self._child.run()
        return self.said

    def of(self, kind: type) -> list[Any]:
        return [event for event in self.said if isinstance(event, kind)]


def test_what_is_wanted_is_offered_taken_and_leads_nowhere_yet(served: Served, site: Site, tmp_path: Path) -> None:
    assign(served, "harbour", "smol@1")
    store = tmp_path / "store"
    run = Run(served, site, store)
    run.go()
    (wished,) = run.of(Wished)
    (offer,) = wished.offers
    assert (offer.name, offer.version, offer.kind, wished.generation) == ("smol", "1", "model", 1)
    assert offer.bytes == 280_000
    assert wished.expires_s > wished.issued_s > 1.7e9
    assert run.of(Ready) == [Ready(offer.sha256)]
    assert run.of(Step)
    assert isinstance(run.said[-1], Done)
    assert open_store(store).resolve("hub:smol@1") is not None
    assert versions.in_force(store, "smol") is None
    again = Run(served, site, store)
    again.go()
    assert again.of(Ready) == [Ready(offer.sha256)]  # nothing is fetched twice
    assert again.of(Step) == []


def test_a_hub_that_wants_nothing_here_is_told_and_nothing_is_taken(served: Served, site: Site, tmp_path: Path) -> None:
    run = Run(served, site, tmp_path / "store")
    run.go()
    assert [type(event) for event in run.said] == [Failed]
    assert run.said[0].code == "trust.not_assigned"  # type: ignore[union-attr] - it is Failed


def test_what_nobody_offers_is_not_taken(served: Served, site: Site, tmp_path: Path) -> None:
    assign(served, "harbour", "smol@1")
    run = Run(served, site, tmp_path / "store")
    run.answers[Wished] = [Take(("0" * 64,))]
    run.go()
    assert run.of(Ready) == []
    assert isinstance(run.said[-1], Done)


def test_a_site_that_says_no_more_ends_it(served: Served, site: Site, tmp_path: Path) -> None:
    assign(served, "harbour", "smol@1")
    run = Run(served, site, tmp_path / "store")
    run.answers[Wished] = [None]
    run.go()
    assert [type(event) for event in run.said] == [Wished]


def test_a_token_that_holds_no_longer_is_renewed_once(
    served: Served, site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assign(served, "harbour", "smol@1")
    run = Run(served, site, tmp_path / "store", token="ecs1.old")
    run.answers[Renew] = [Token(site.token)]
    run.go()
    assert len(run.of(Renew)) == 1
    assert len(run.of(Ready)) == 1
    other = Run(served, site, tmp_path / "other", token="ecs1.old")
    other.answers[Renew] = [Token("ecs1.old")]
    other.go()
    assert other.of(Failed)[0].code == "asset.refused"
    monkeypatch.setattr(worker, "RENEW_WAIT_S", 0.05)
    silent = Run(served, site, tmp_path / "silent", token="ecs1.old")
    silent.go()
    assert silent.of(Failed)[0].code == "asset.refused"


def test_what_was_changed_on_the_way_is_refused_for_good_and_what_is_missing_is_not(
    served: Served, site: Site, tmp_path: Path
) -> None:
    assign(served, "harbour", "smol@1")
    for pack in (served.settings.folder / "packs").iterdir():
        content = bytearray(pack.read_bytes())
        content[1000] ^= 1
        pack.chmod(0o600)
        pack.write_bytes(content)
    run = Run(served, site, tmp_path / "store")
    run.go()
    (refused,) = run.of(Refused)
    assert (refused.code, refused.is_passing, refused.is_cut) == ("delivery.segment", False, False)
    for pack in (served.settings.folder / "packs").iterdir():
        pack.unlink()
    gone = Run(served, site, tmp_path / "store")
    gone.go()
    (refused,) = gone.of(Refused)
    assert (refused.is_passing, refused.is_cut) == (True, True)


def test_lines_come_in_until_they_end_or_are_none() -> None:
    lines = io.BytesIO(errands.line(Take(("1",))) + errands.line(Token("t")) + b"nonsense\n" + errands.line(Take(())))
    orders: queue.Queue[errands.Order | None] = queue.Queue()
    worker.listen(lines, orders)
    assert [orders.get_nowait() for _ in range(3)] == [Take(("1",)), Token("t"), None]
    assert orders.empty()
    worker.listen(io.BytesIO(), orders)
    assert orders.get_nowait() is None


def test_what_is_said_is_one_line_each() -> None:
    out = io.BytesIO()
    say = worker.said_on(out)
    say(Renew())
    say(Ready("1"))
    assert [errands.event(line) for line in out.getvalue().splitlines()] == [Renew(), Ready("1")]
    assert msgspec.json.decode(out.getvalue().splitlines()[0]) == {"event": "renew"}


def test_the_proxy_of_the_configuration_beats_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "https_proxy", "http_proxy", "no_proxy"):
        monkeypatch.setenv(name, "http://other:1")
    worker.go_through("http://ann:pw@p:3128", ("a.example", ".b.example"))
    assert "HTTPS_PROXY" not in os.environ
    assert os.environ["https_proxy"] == os.environ["http_proxy"] == "http://ann:pw@p:3128"
    assert os.environ["no_proxy"] == "a.example,.b.example"
