"""A site that learns, as an operator sees it: a real small model at the edge, a scripted cloud beside it."""

from __future__ import annotations

import signal
from typing import Any

import pytest

from tests.e2e.conftest import Site, Start, Upstream, link_starter, poll, starter_file

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(not starter_file().is_file(), reason="no starter model: `make test` fetches it"),
]

ENV = {"UP_KEY": "sk-planted-key-42"}
NAME = "assistant"
SECRET = "Rumpelstiltskin"
ASKED = 4
"""Requests of callers: each of them makes a pair."""


def small(**more: Any) -> dict[str, Any]:
    """The real model."""
    wanted = {"engine": "llama.cpp", "model": "smollm2-135m", "slots": 2, "context_tokens": 256, "threads": 1}
    return wanted | more


def config(upstream: Upstream, **model: Any) -> dict[str, Any]:
    """A site that compares; `model` says more of the name."""
    quality = {"loss_max": 0.05, "confidence": 0.9}
    return {
        "engines": {"measure": False},
        "targets": {
            "small": small(),
            "big": {"url": upstream.url, "model": "large-1", "key": "env:UP_KEY", "at": "cloud"},
        },
        "models": {NAME: {"targets": ["small", "big"], "mode": "auto", "quality": quality} | model},
    }


def begun(start: Start, told: dict[str, Any]) -> Site:
    """A site whose model is loaded."""
    site = start(told, ENV, fill=link_starter)
    poll(lambda: all(row["state"] == "ready" for row in site.status()["engines"].values()), "model ready", 30)
    return site


def ask(site: Site, number: int, **headers: str) -> dict[str, str]:
    """One caller's request, answered by the cloud: the answer's headers."""
    body = {
        "model": NAME,
        "messages": [{"role": "user", "content": f"Is {SECRET} number {number} a name?"}],
        "max_tokens": 4,
        "temperature": 0,
    }
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    status, told, content = site.ask("POST", "/v1/chat/completions", body, given)
    assert status == 200, content
    return told


def gate(site: Site) -> dict[str, Any]:
    """What status says of the one edge target under the one name."""
    found: dict[str, Any] = site.status()["quality"][NAME]["targets"]["small"]
    return found


def pairs(site: Site) -> int:
    """Pairs that were learned from, or kept to certify with."""
    found = gate(site)
    return int(found["learned"] + found["certifying"])


def kinds(site: Site, kind: str) -> list[dict[str, Any]]:
    """The ledger's entries of a kind."""
    return [entry["body"] for entry in site.ledger() if entry["kind"] == kind]


def test_what_the_cloud_answers_runs_at_the_edge_too_and_teaches(start: Start, upstream: Upstream) -> None:
    """Pairs come, nobody but the operator sees them, and they outlive a restart."""
    told = config(upstream)
    site = begun(start, told)
    heads = [ask(site, number) for number in range(ASKED)]
    assert {head["ecotone-reason"] for head in heads} == {"cloud.better"}, "nothing is promised yet: the cloud answers"
    poll(lambda: pairs(site) == ASKED, "each request makes a pair", 60)
    assert len(upstream.raw) == ASKED, "the cloud was asked for callers only"
    assert (site.gauge("ecotone_pairs"), site.gauge("ecotone_promise")) == (ASKED, 0.0)
    assert (site.gauge("ecotone_requests_total"), site.gauge("ecotone_aside_total")) == (ASKED, ASKED)
    assert gate(site)["certificate"] is None

    said = {"id": heads[0]["ecotone-id"], "target": "small", "score": 0.0}
    status, _, _ = site.ask("POST", "/v1/feedback", said)
    assert status == 202
    assert site.ask("POST", "/v1/feedback", said | {"id": "req-nobody"})[0] == 404

    before = gate(site)
    assert site.stop(signal.SIGTERM) == 0
    compared, placed = kinds(site, "compared"), kinds(site, "placed")
    assert {entry["request"] for entry in compared} == {head["ecotone-id"] for head in heads}
    assert {entry["placed"] for entry in compared} == {"cloud"}
    roles = {entry["request"]: entry["ask"]["role"] for entry in placed if not entry.get("purpose")}
    assert roles == {entry["request"]: entry["role"] for entry in compared}
    assert len(kinds(site, "feedback")) == 1
    assert all(SECRET.encode() not in file.read_bytes() for file in site.store.rglob("*") if file.is_file())

    again = Site(site.file.parent, told, ENV, ()).wait()
    try:
        assert gate(again) == before
    finally:
        again.stop()


def test_another_model_at_the_edge_voids_what_was_learned(start: Start, upstream: Upstream) -> None:
    """In the running site, by its file; and what must stay makes no pair."""
    told = config(upstream, mode="shadow", advance="auto", cascade=True)
    site = begun(start, told)
    assert ask(site, 0)["ecotone-placed"] == "cloud"
    poll(lambda: pairs(site) == 1, "a pair", 60)
    assert gate(site)["gate"] == "answer"
    assert ask(site, 1, Ecotone_Place="edge")["ecotone-placed"] == "edge"

    written = site.file.read_text()
    site.file.write_text(written.replace("threads: 1", "threads: 1\n    tools: none"))
    poll(lambda: pairs(site) == 0, "nothing is known of the new one", 30)
    assert ask(site, 2)["ecotone-reason"] == "cloud.better"
    poll(lambda: pairs(site) == 1, "it learns anew", 60)
    site.stop(signal.SIGTERM)
    (step,) = kinds(site, "step")
    assert (step["model"], step["target"], step["what"], step["why"]) == (NAME, "small", "voided", "version.edge")
    assert len(kinds(site, "compared")) == 2, "what the caller keeps at the edge is not compared"
