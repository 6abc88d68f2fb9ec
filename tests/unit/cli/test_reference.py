"""The generator of the reference pages."""

from __future__ import annotations

from pathlib import Path

from ecotone.cli import reference


def test_pages_are_written_once_and_checked(tmp_path: Path, capsys: object) -> None:
    folder = str(tmp_path / "reference")
    assert reference.main([folder, "--check"]) == 1
    assert not Path(folder).exists()
    assert reference.main([folder]) == 0
    assert reference.main([folder, "--check"]) == 0
    assert sorted(path.name for path in Path(folder).iterdir()) == sorted(reference.pages())


def test_messages_are_shown_with_what_is_filled_in() -> None:
    codes = reference.error_codes()
    assert codes["config.unreadable"][:2] == ("ConfigError", "–")
    assert codes["model_not_found"][:2] == ("RequestError", "404")
    assert "{...}" in codes["config.unreadable"][2]
