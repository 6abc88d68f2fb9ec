"""What is said to be on the disk is hashed before it is used, and what is wrong is forgotten."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.unit.delivery.hubs import FIRST, Hub
from tests.unit.transfer.files import gguf

from ecotone.assets import NoProgress
from ecotone.delivery.chunks import Holdings, Staging
from ecotone.delivery.running import is_open


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "m.gguf"
    path.write_bytes(gguf(FIRST))
    return path


def held(hub: Hub, folder: Path, model: Path) -> tuple[Holdings, str]:
    holdings = Holdings(folder / "memory" / "segments.sqlite")
    holdings.look([model], NoProgress())
    name = hub.first.parts[0].segments[5].blake3
    assert name in holdings
    assert holdings.read(name) is not None
    return holdings, name


def test_a_file_that_has_gone_gives_nothing(hub: Hub, tmp_path: Path, model: Path) -> None:
    holdings, name = held(hub, tmp_path, model)
    model.unlink()
    assert holdings.read(name) is None
    holdings.look([], NoProgress())
    assert name not in holdings
    holdings.close()


def test_a_file_that_has_changed_is_forgotten(hub: Hub, tmp_path: Path, model: Path) -> None:
    holdings, name = held(hub, tmp_path, model)
    model.write_bytes(bytes(model.stat().st_size))
    assert holdings.read(name) is None
    assert name not in holdings
    holdings.close()


def test_what_is_remembered_is_not_hashed_again(hub: Hub, tmp_path: Path, model: Path) -> None:
    held(hub, tmp_path, model)[0].close()
    said: list[str] = []

    class Said(NoProgress):
        def step(self, text: str) -> None:
            said.append(text)

    holdings = Holdings(tmp_path / "memory" / "segments.sqlite")
    holdings.look([model], Said())
    assert said == []
    os.utime(model, (1, 1))
    holdings.look([model], Said())
    assert len(said) == 1
    holdings.close()


def test_segments_in_place_are_found_again_and_damaged_ones_are_missing(hub: Hub, tmp_path: Path) -> None:
    content = gguf(FIRST)
    part = hub.first.parts[0]
    staging = Staging(tmp_path / "s", hub.first)
    assert staging.missing == {segment.blake3 for segment in part.segments}
    assert staging.needed_bytes() == part.bytes
    staging.allocate()
    at = 0
    for segment in part.segments[:4]:
        staging.put(segment.blake3, content[at : at + segment.length])
        at += segment.length
    assert staging.read(part.segments[1].blake3) is not None
    assert staging.read(part.segments[4].blake3) is None
    with staging.path(0).open("r+b") as file:
        file.seek(part.segments[0].length + 10)
        file.write(b"!")
    assert staging.read(part.segments[1].blake3) is None
    staging.close()
    again = Staging(tmp_path / "s", hub.first)
    assert again.missing == {segment.blake3 for segment in part.segments} - {part.segments[n].blake3 for n in (0, 2, 3)}
    again.close()


def test_a_file_that_is_not_there_is_not_open(tmp_path: Path) -> None:
    assert not is_open([tmp_path / "nothing"])
    assert not is_open([])
