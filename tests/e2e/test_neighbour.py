"""Two sites in one building: what the first was delivered crosses the long link once. Real processes and commands."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.unit.delivery.hubs import Server, serving
from tests.unit.transfer.files import gguf

LIMIT_S = 120.0
TENSORS: list[tuple[str, tuple[int, ...], bytes]] = [
    (f"t{n}", (200_000,), bytes([n + 1]) * 100_000 + os.urandom(100_000)) for n in range(6)
]


class Place:
    """A folder, and commands in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def run(self, *arguments: object) -> str:
        done = subprocess.run(
            self._command(*arguments), capture_output=True, text=True, timeout=LIMIT_S, check=False, **self._where()
        )
        assert done.returncode == 0, f"{arguments}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def start(self, *arguments: object) -> tuple[subprocess.Popen[str], Any]:
        """A process that prints a line of JSON when it is up."""
        process = subprocess.Popen(self._command(*arguments), stdout=subprocess.PIPE, text=True, **self._where())
        assert process.stdout is not None
        return process, json.loads(process.stdout.readline())

    def up(self, *arguments: object) -> subprocess.Popen[bytes]:
        """A process of which nobody reads what it says."""
        silent: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        return subprocess.Popen(self._command(*arguments), **silent, **self._where())

    def site(self, name: str, url: str, *mirrors: str) -> Path:
        path = self.folder / f"{name}.yaml"
        said = {"store": {"path": str(self.folder / name)}, "hub": {"url": url, "mirrors": list(mirrors)}}
        path.write_text(json.dumps(said))
        return path

    def _command(self, *arguments: object) -> list[str]:
        return [str(Path(sys.executable).with_name("ecotone")), *(str(one) for one in arguments)]

    def _where(self) -> dict[str, Any]:
        environ = {name: value for name, value in os.environ.items() if not name.startswith("ECOTONE_")}
        return {"cwd": self.folder, "env": environ | {"HOME": str(self.folder), "OLLAMA_MODELS": "none"}}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    made = Place(tmp_path)
    (tmp_path / "model.gguf").write_bytes(gguf(TENSORS))
    made.run("hub", "init", "hub", "--publisher", "models")
    options = ("--name", "smol", "--version", "1", "--licence", "MIT", "--key", "hub.keys/publisher-models.key")
    made.run("hub", "publish", "hub", "model.gguf", *options)
    for site in ("first", "second"):
        made.run("hub", "assign", "hub", site, "smol")
    return made


@pytest.fixture
def wan(place: Place) -> Iterator[Server]:
    """The long link: a server of the hub's files that counts what it sends."""
    with serving(place.folder / "hub") as state:
        yield state


def pulled(place: Place, name: str, config: Path) -> None:
    place.run("trust", "hub/trust.json", "--site", name, "-c", config)
    place.run("models", "pull", "hub:smol", "-c", config)


def weights(place: Place, name: str) -> bytes:
    (found,) = (place.folder / name / "assets" / "sha256").glob("??/*")
    return found.read_bytes()


def test_the_second_site_takes_the_weights_from_the_first(place: Place, wan: Server) -> None:
    first = place.site("first", wan.url)
    pulled(place, "first", first)
    once = wan.sent
    process, said = place.start("neighbour", "up", "-c", first, "--listen", "127.0.0.1:0", "--json")
    try:
        assert said["segments"] > 5
        wan.sent = 0
        wan.requests.clear()
        pulled(place, "second", place.site("second", wan.url, said["url"]))
        assert not any("/packs/" in request for request in wan.requests)
        assert wan.sent < once / 10  # what is signed still comes from the hub
        assert weights(place, "second") == weights(place, "first")
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=LIMIT_S)
        assert process.returncode == 0


def test_a_neighbour_that_is_gone_leaves_the_hub(place: Place, wan: Server) -> None:
    config = place.site("second", wan.url, "neighbour+http://127.0.0.1:9")
    pulled(place, "second", config)
    assert any("/packs/" in request for request in wan.requests)
