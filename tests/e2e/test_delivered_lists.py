"""A list of terms that a hub delivers: a running site protects by the new version without a restart."""

from __future__ import annotations

import json
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import poll
from tests.e2e.test_neighbour import LIMIT_S, Place

KEY = ("--licence", "none", "--kind", "labels", "--key", "hub.keys/publisher-models.key")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


@pytest.fixture
def place(tmp_path: Path) -> Place:
    made = Place(tmp_path)
    made.run("hub", "init", "hub", "--publisher", "models")
    site = {
        "listen": {"port": free_port()},
        "store": {"path": str(tmp_path / "store")},
        "privacy": {"detectors": ["patterns"], "terms": [{"file": "hub:patients", "label": "patient"}]},
        "targets": {"big": {"url": "https://api.example.com/v1", "model": "b", "at": "cloud", "region": "eu"}},
        "models": {"assistant": {"targets": ["big"]}},
    }
    (tmp_path / "site.yaml").write_text(json.dumps(site))
    made.run("trust", "hub/trust.json", "--site", "clinic", "-c", "site.yaml")
    return made


def brought(place: Place, version: str, *names: str) -> None:
    (place.folder / "patients.txt").write_text("".join(f"{name}\n" for name in names))
    place.run("hub", "publish", "hub", "patients.txt", "--name", "patients", "--version", version, *KEY)
    place.run("hub", "assign", "hub", "clinic", "patients")
    place.run("models", "pull", "hub:patients", "-c", "site.yaml", "--from", "hub")


def labels(place: Place, text: str) -> list[str]:
    request = {"model": "assistant", "messages": [{"role": "user", "content": text}]}
    (place.folder / "request.json").write_text(json.dumps(request))
    found: dict[str, Any] = json.loads(place.run("explain", "--request", "request.json", "-c", "site.yaml", "--json"))
    return list(found["labels"])


@pytest.fixture
def running(place: Place) -> Iterator[Place]:
    brought(place, "1", "Ottilie Quandt")
    process = place.up("up", "-c", "site.yaml")
    try:
        port = json.loads((place.folder / "site.yaml").read_text())["listen"]["port"]
        poll(lambda: answers(port), "the site is up", LIMIT_S)
        yield place
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(LIMIT_S)


def answers(port: int) -> bool:
    with socket.socket() as looking:
        return looking.connect_ex(("127.0.0.1", port)) == 0


def test_a_new_version_of_a_list_protects_without_a_restart(running: Place) -> None:
    assert labels(running, "about Ottilie Quandt") == ["patient"]
    assert labels(running, "about Bartholomew Iwu") == []
    brought(running, "2", "Ottilie Quandt", "Bartholomew Iwu")
    poll(lambda: labels(running, "about Bartholomew Iwu") == ["patient"], "the new list is used", LIMIT_S)
    assert labels(running, "about Ottilie Quandt") == ["patient"]


def test_a_site_does_not_start_without_its_list(place: Place) -> None:
    process = place.up("up", "-c", "site.yaml")
    assert process.wait(LIMIT_S) == 2
