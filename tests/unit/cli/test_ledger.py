"""`ecotone ledger verify`, and `explain` from the ledger on disk."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from ecotone import store


@pytest.fixture
def ledger(shell: Any) -> Path:
    """A small ledger where the shell's configuration looks for it, and no site."""
    folder = shell.folder / "store"
    shell.environ["ECOTONE_STORE_PATH"] = str(folder)
    shell.environ["ECOTONE_LISTEN_PORT"] = "9"

    async def write() -> None:
        made = store.Ledger.open(folder, "clinic-7")
        for number in range(3):
            made.note("placed", {"request": f"r{number}", "model": "auto"})
        await made.flush()
        made.close()

    asyncio.run(write())
    return folder / store.FOLDER


def test_a_whole_ledger_is_whole(shell: Any, ledger: Path) -> None:
    result = shell("ledger", "verify")
    assert result.exit_code == 0
    assert "6 entries in 1 segment:" in result.stdout
    head = result.stdout.split()[-1]
    assert shell("ledger", "verify", "--head", head).exit_code == 0
    said = json.loads(shell("ledger", "verify", "--json", str(ledger)).stdout)
    assert said["whole"] is True
    assert f"{said['report']['head']['seq']}:{said['report']['head']['hash']}" == head


def test_a_changed_entry_is_named(shell: Any, ledger: Path) -> None:
    (segment,) = ledger.glob("*.jsonl") or ledger.iterdir()
    segment.write_bytes(segment.read_bytes().replace(b'"r1"', b'"rX"'))
    result = shell("ledger", "verify")
    assert result.exit_code == 1
    assert "NOT WHOLE. First bad entry: 3 (changed)" in result.stdout
    said = json.loads(shell("ledger", "verify", "--json").stdout)
    assert said["whole"] is False
    assert said["report"]["bad"]["seq"] == 3


def test_a_rewritten_ledger_does_not_fit_an_earlier_head(shell: Any, ledger: Path) -> None:
    assert shell("ledger", "verify", "--head", f"2:{'0' * 64}").exit_code == 1
    assert shell("ledger", "verify", "--head", f"99:{'0' * 64}").exit_code == 1
    assert shell("ledger", "verify", "--head", "2").exit_code == 2


def test_no_ledger_is_bad_input(shell: Any) -> None:
    result = shell("ledger", "verify", "nowhere")
    assert (result.exit_code, "nowhere cannot be read" in result.stderr) == (2, True)


def test_explain_reads_the_ledger_where_no_site_runs(shell: Any, ledger: Path) -> None:
    result = shell("explain", "r1")
    assert result.exit_code == 0
    assert "auto -> nowhere (-)" in result.stdout
    assert "auto" in result.stdout
    assert len(json.loads(shell("explain", "r1", "--json").stdout)["entries"]) == 1
    result = shell("explain", "r9")
    assert (result.exit_code, "no request 'r9'" in result.stderr) == (1, True)
