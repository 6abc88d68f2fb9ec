"""What a site remembers of having joined: whole or not at all, for this user only."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from ecotone.agent import joined_file
from ecotone.agent.joined_file import Joined
from ecotone.values import ConfigError


def test_what_was_written_is_read_and_belongs_to_this_user(tmp_path: Path) -> None:
    assert joined_file.read(tmp_path) is None
    assert not joined_file.is_there(tmp_path)
    joined_file.write(tmp_path, Joined(url="https://hub.example.org", site="clinic-7", hub="h"))
    assert joined_file.read(tmp_path) == Joined(url="https://hub.example.org", site="clinic-7", hub="h")
    assert joined_file.is_there(tmp_path)
    assert stat.S_IMODE((tmp_path / "hub" / "joined.json").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "hub").stat().st_mode) == 0o700
    assert [path.name for path in (tmp_path / "hub").iterdir()] == ["joined.json"]


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff", b'{"version": 2, "url": "u", "site": "s"}'])
def test_what_is_damaged_says_how_to_mend_it(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "hub").mkdir()
    (tmp_path / "hub" / "joined.json").write_bytes(content)
    with pytest.raises(ConfigError, match="ecotone enroll") as caught:
        joined_file.read(tmp_path)
    assert caught.value.code == "hub.joined"


def test_a_folder_that_cannot_be_is_told(tmp_path: Path) -> None:
    (tmp_path / "hub").write_text("a file")
    with pytest.raises(ConfigError) as caught:
        joined_file.folder(tmp_path)
    assert caught.value.code == "store.path"
    (tmp_path / "hub").unlink()
    (tmp_path / "hub" / "joined.json").mkdir(parents=True)
    with pytest.raises(ConfigError) as caught:
        joined_file.write(tmp_path, Joined(url="u", site="s"))
    assert caught.value.code == "store.path"
    assert [path.name for path in (tmp_path / "hub").iterdir()] == ["joined.json"]
