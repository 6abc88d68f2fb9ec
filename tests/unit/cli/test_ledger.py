"""`ecotone ledger verify`, and `explain` from the ledger on disk."""

from __future__ import annotations

import asyncio
import json
import shutil
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


def test_a_copy_is_checked_with_the_public_key(shell: Any, ledger: Path) -> None:
    copy = shutil.copytree(ledger, shell.folder / "copy")
    told = shell("ledger", "key")
    assert told.stdout == (ledger.parent / "site.pub").read_text()
    shell.write("pub.pem", told.stdout)
    line = told.stderr.strip()
    for key in ("pub.pem", line):
        result = shell("ledger", "verify", str(copy), "--key", key)
        assert result.exit_code == 0, result.output
        assert "signed: entries up to 5, by site/" in result.stdout.replace("clinic-7/", "site/")
    said = json.loads(shell("ledger", "key", "--json").stdout)
    assert said == {"pem": told.stdout, "verifier_key": line}
    assert "signatures not checked (no --key)" in shell("ledger", "verify", str(copy)).stdout
    assert "signed: entries" in shell("ledger", "verify").stdout, "its own key lies beside it"
    (copy / "checkpoints").unlink()
    result = shell("ledger", "verify", str(copy), "--key", "pub.pem")
    assert (result.exit_code, "signed: nothing" in result.stdout) == (1, True)
    assert shell("ledger", "verify", str(copy)).exit_code == 0


def test_a_cut_copy_does_not_fit_a_checkpoint_kept_elsewhere(shell: Any, ledger: Path) -> None:
    shell.write("kept", shell("ledger", "checkpoint").stdout)
    assert json.loads(shell("ledger", "checkpoint", "--json").stdout)["size"] == 6
    assert shell("ledger", "verify", "--checkpoint", "kept").exit_code == 0
    (ledger / "checkpoints").unlink()
    (path,) = ledger.glob("*.jsonl")
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))
    assert shell("ledger", "verify").exit_code == 0
    result = shell("ledger", "verify", "--checkpoint", "kept")
    assert (result.exit_code, "(dropped)" in result.stdout) == (1, True)
    shell.write("rubbish", "rubbish")
    assert shell("ledger", "verify", "--checkpoint", "rubbish").exit_code == 2
    assert shell("ledger", "checkpoint").exit_code == 2
    (ledger / "checkpoints").write_bytes(b"")
    assert shell("ledger", "checkpoint").exit_code == 2
    assert shell("ledger", "verify", "--key", "rubbish").exit_code == 2
    assert shell("ledger", "verify", "--key", "nowhere").exit_code == 2


def test_one_entry_is_proved_to_somebody_who_has_only_the_key(shell: Any, ledger: Path) -> None:
    shutil.copy(ledger.parent / "site.pub", shell.folder / "pub.pem")
    for what in ("3", "r1"):
        shell.write("proof.json", shell("ledger", "prove", what).stdout)
        result = shell("ledger", "check-proof", "proof.json", "--key", "pub.pem")
        assert result.exit_code == 0, result.output
        assert "entry 3: proved" in result.stdout
        assert '"request":"r1"' in result.stdout
    proof = (shell.folder / "proof.json").read_text()
    said = json.loads(shell("ledger", "check-proof", "-", "--key", "pub.pem", "--json", stdin=proof).stdout)
    assert said["holds"] is True
    shell.write("proof.json", proof.replace("r1", "r2"))
    result = shell("ledger", "check-proof", "proof.json")
    assert (result.exit_code, "entry 3: the entry was changed" in result.stdout) == (1, True)
    assert shell("ledger", "prove", "r9").exit_code == 1
    assert shell("ledger", "prove", "r1", "--file", str(ledger), "--key", "pub.pem").exit_code == 0
    shell.write("proof.json", "{}")
    assert shell("ledger", "check-proof", "proof.json").exit_code == 2
    (ledger.parent / "site.pub").unlink()
    assert shell("ledger", "check-proof", "proof.json").exit_code == 2
    assert shell("ledger", "key").exit_code == 2
    (path,) = ledger.glob("*.jsonl")
    path.write_bytes(path.read_bytes().replace(b'"r1"', b'"rX"'))
    result = shell("ledger", "prove", "3")
    assert (result.exit_code, "is not whole" in result.stderr) == (2, True)
