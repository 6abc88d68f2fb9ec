"""`ecotone store`."""

from __future__ import annotations

import asyncio
import json
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from ecotone import store
from ecotone.values import Endpoint, Job


@pytest.fixture
def folder(shell: Any) -> Path:
    """A store with a queue of three jobs where the shell's configuration looks for it, and no site."""
    folder = shell.folder / "store"
    shell.environ["ECOTONE_STORE_PATH"] = str(folder)
    shell.environ["ECOTONE_LISTEN_PORT"] = "9"
    folder.mkdir()

    async def fill() -> None:
        queue = store.Queue.open(folder, store.store_key(folder, None), limits=store.QueueLimits(free_bytes_min=0))
        for name in ("job-1", "job-2", "job-3"):
            made = Job(id=name, endpoint=Endpoint.CHAT, model="auto", created_at_ms=1, deadline_at_ms=10**15)
            await queue.put([(made, b"words")])
        await queue.close()

    asyncio.run(fill())
    return folder


def test_a_backup_is_made_checked_and_put_back(shell: Any, folder: Path) -> None:
    copy = shell.folder / "copy.db"
    made = shell("store", "backup", str(copy))
    assert made.exit_code == 0
    assert f"{copy}: 3 jobs, " in made.stdout
    assert "whole; version 2; 3 waiting" in shell("store", "check", str(copy)).stdout
    key = shell.folder / "kept.key"
    (folder / "store.key").rename(key)
    (folder / "jobs.db").unlink()
    missing = shell("store", "restore", str(copy))
    assert missing.exit_code == 2
    assert "the key of this store is missing" in missing.stderr
    back = shell("store", "restore", str(copy), "--key", str(key), "--json")
    assert json.loads(back.stdout)["jobs"] == 3
    assert (folder / "store.key").read_bytes() == key.read_bytes()
    said = json.loads(shell("store", "check", "--json").stdout)
    assert said["whole"] is True
    assert said["found"]["states"] == {"waiting": 3}
    assert shell("store", "check", str(copy), "--key", str(key)).exit_code == 0


def test_a_restore_refuses_over_a_queue_and_with_two_keys(shell: Any, folder: Path) -> None:
    copy = shell.folder / "copy.db"
    assert shell("store", "backup", str(copy)).exit_code == 0
    again = shell("store", "backup", str(copy))
    assert (again.exit_code, "is there already" in again.stderr) == (2, True)
    over = shell("store", "restore", str(copy))
    assert (over.exit_code, "a queue already" in over.stderr) == (2, True)
    other = shell.folder / "other.key"
    other.write_bytes(bytes(32))
    (folder / "jobs.db").unlink()
    two = shell("store", "restore", str(copy), "--key", str(other))
    assert (two.exit_code, "another key" in two.stderr) == (2, True)
    assert shell("store", "restore", str(copy), "--key", str(shell.folder / "none")).exit_code == 2
    assert shell("store", "restore", str(copy)).exit_code == 0


def test_a_broken_queue_is_told(shell: Any, folder: Path) -> None:
    import sqlite3

    with sqlite3.connect(folder / "jobs.db") as connection:
        connection.execute("UPDATE bodies SET ask = zeroblob(40) WHERE seq = 2")
    connection.close()
    found = shell("store", "check")
    assert found.exit_code == 1
    assert "unreadable: 1 asks" in found.stdout
    (folder / "jobs.db").write_bytes(b"something else")
    found = shell("store", "check")
    assert found.exit_code == 1
    assert "broken: it does not begin" in found.stdout


def test_a_configured_key_is_the_one_that_counts(shell: Any) -> None:
    folder, key = shell.folder / "store", bytes(range(32))
    folder.mkdir()
    (shell.folder / "ecotone.yaml").write_text(
        f"store: {{path: {folder}}}\njobs: {{key: env:JOBS_KEY}}\n"
        "targets:\n  ward: {url: http://10.0.0.8/v1, model: m, at: edge}\n"
    )
    shell.environ["JOBS_KEY"] = key.hex()

    async def fill() -> None:
        await store.Queue.open(folder, key).close()

    asyncio.run(fill())
    assert shell("store", "check").exit_code == 0
    copy = shell.folder / "copy.db"
    assert shell("store", "backup", str(copy)).exit_code == 0
    (folder / "jobs.db").unlink()
    other = shell.folder / "other.key"
    other.write_bytes(bytes(32))
    refused = shell("store", "restore", str(copy), "--key", str(other))
    assert (refused.exit_code, "jobs.key: another key" in refused.stderr) == (2, True)
    assert shell("store", "restore", str(copy)).exit_code == 0
    assert not (folder / "store.key").exists()
    shell.environ["JOBS_KEY"] = bytes(32).hex()
    wrong = shell("store", "check")
    assert (wrong.exit_code, "another key sealed" in wrong.stderr) == (2, True)


def test_a_key_of_the_systems_keyring_is_looked_up(shell: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, kept = shell.folder / "store", {("ecotone", "ward7"): bytes(range(32)).hex()}
    made = types.ModuleType("keyring")
    made.get_password = lambda service, name: kept.get((service, name))  # type: ignore[attr-defined]
    made.errors = types.SimpleNamespace(KeyringError=OverflowError)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "keyring", made)
    folder.mkdir()
    (shell.folder / "ecotone.yaml").write_text(
        f"store: {{path: {folder}}}\njobs: {{key: 'keyring:ecotone/ward7'}}\n"
        "targets:\n  ward: {url: http://10.0.0.8/v1, model: m, at: edge}\n"
    )

    async def fill() -> None:
        await store.Queue.open(folder, bytes(range(32))).close()

    asyncio.run(fill())
    assert shell("store", "check").exit_code == 0
    assert not (folder / "store.key").exists()
    kept.clear()
    assert "the system's keyring has no key 'ward7' of 'ecotone'" in shell("store", "check").stderr
