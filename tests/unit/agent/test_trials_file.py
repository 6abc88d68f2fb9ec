"""What trials and orders keep: replaced whole, durable, and told where that cannot be."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ecotone.agent import orders, trials
from ecotone.values import ConfigError


def test_a_file_is_replaced_whole_or_stays_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "hub" / "kept"
    trials.replaced(path, b"old")
    assert path.stat().st_mode & 0o777 == 0o600
    plain, calls = os.write, 0

    def full(fd: int, content: bytes) -> int:
        nonlocal calls
        calls += 1
        if calls > 1:
            raise OSError(28, "No space left on device")
        return plain(fd, content[:3])

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="No space left"):
        trials.replaced(path, b"new and longer")
    monkeypatch.undo()
    assert path.read_bytes() == b"old"
    assert [one.name for one in path.parent.iterdir()] == ["kept"]


def test_a_store_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "hub").write_text("a file where a folder should be")
    with pytest.raises(ConfigError, match="cannot be written") as refused:
        orders.pin(tmp_path, "small", "1")
    assert refused.value.code == "hub.orders"
    assert orders.stamp(tmp_path) == (0, 0, 0)


def test_orders_add_up(tmp_path: Path) -> None:
    assert orders.read(tmp_path) == orders.Orders()
    orders.pin(tmp_path, "small", "1")
    before = orders.stamp(tmp_path)
    orders.pin(tmp_path, "other", "2")
    orders.go_back(tmp_path, "small")
    orders.go_back(tmp_path, "small")
    assert orders.stamp(tmp_path) != before
    assert orders.read(tmp_path) == orders.Orders(pinned={"small": "1", "other": "2"}, back={"small": 2})
