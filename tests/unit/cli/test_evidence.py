"""`ecotone evidence`."""

from __future__ import annotations

import asyncio
import hashlib
import json
import shutil
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from ecotone import store
from ecotone.values import Permit

DAY_S = 86_400.0


async def sent(ledger: store.Ledger, number: int, *labels: str, region: str = "eu", values: int = 0) -> None:
    transform = "pseudonymise:ab" if values else "none"
    permit = Permit(f"r{number}", "big", "https://cloud:443", "ab" * 32, transform, "rule", b"seal")
    replaced = {labels[0]: values} if values else {}
    await ledger.permit(permit, body_bytes=100, labels=labels, region=region, replaced=replaced)


@pytest.fixture
def ledger(shell: Any) -> Path:
    """Three egresses, the first a month ago, where the shell's configuration looks for them; no site."""
    folder = shell.folder / "store"
    shell.environ["ECOTONE_STORE_PATH"] = str(folder)
    now_s = [time.time() - 30 * DAY_S]

    async def write() -> None:
        made = store.Ledger.open(folder, "clinic-7", wall_s=lambda: now_s[0])
        await sent(made, 1, "person")
        now_s[0] = time.time() - 60.0
        await sent(made, 2, "person", "contact", values=3)
        await sent(made, 3, "medical", region="us")
        made.close()

    asyncio.run(write())
    return folder / store.FOLDER


def test_it_says_what_left_and_proves_it(shell: Any, ledger: Path) -> None:
    result = shell("evidence")
    assert result.exit_code == 0
    out = result.stdout
    assert out.startswith("3 egresses\n  300 bytes; first ")
    assert "by target: big 3" in out
    assert "by region: eu 2, us 1" in out
    assert "by as: none 2, pseudonymise 1" in out
    assert "person: in 2, replaced in 1 (3 values)" in out
    assert "contact: in 1, replaced in 0 (0 values)" in out
    assert "complete: none of these entries was changed" in out
    checkpoints = (ledger / "checkpoints").read_text()
    assert checkpoints.rstrip("\n").endswith(out.partition("Signed root:\n")[2].rstrip("\n"))


@pytest.mark.parametrize(
    ("asked", "count"),
    [
        (("--label", "person"), 2),
        (("--label", "person", "--since", "2d"), 1),
        (("--label", "medical", "--to", "us"), 1),
        (("--label", "medical", "--to", "eu"), 0),
        (("--until", "12h"), 1),
        (("--until", "5m", "--since", "1000h"), 1),
        (("--since", "2026-01-01"), None),
        (("--since", "2026-01-01T00:00Z", "--until", "2026-01-02T00:00+02:00"), None),
    ],
)
def test_questions(shell: Any, ledger: Path, asked: tuple[str, ...], count: int | None) -> None:
    said = json.loads(shell("evidence", *asked, "--json").stdout)
    assert count is None or said["count"] == count
    assert (said["is_complete"], said["is_signed"], said["gaps"]) == (True, True, [])
    assert said["report"]["attested"]["note"].startswith("clinic-7/")
    text = shell("evidence", *asked)
    assert text.exit_code == 0
    assert count is None or text.stdout.startswith("1 egress " if count == 1 else f"{count} egresses ")


def test_a_copy_needs_the_key_for_proof(shell: Any, ledger: Path) -> None:
    copy = shutil.copytree(ledger, shell.folder / "copy")
    shutil.copy(ledger.parent / "site.pub", shell.folder / "pub.pem")
    result = shell("evidence", "--file", str(copy))
    assert "NOT PROVED" in result.stdout
    assert "proved up to the end" in shell("evidence", "--file", str(copy), "--key", "pub.pem").stdout
    (path, *_) = copy.glob("*.jsonl")
    path.write_bytes(path.read_bytes().replace(b'"person"', b'"parson"', 1))
    result = shell("evidence", "--file", str(copy), "--key", "pub.pem", "--label", "person")
    assert result.exit_code == 1
    assert "NOT COMPLETE: entry 2 (changed)" in result.stdout


def test_what_is_no_question(shell: Any, ledger: Path) -> None:
    for bad in (("--since", "yesterday"), ("--file", "nowhere"), ("--key", "nowhere"), ("--head", "x")):
        assert shell("evidence", *bad).exit_code == 2


def test_removed_entries_are_named(shell: Any, ledger: Path) -> None:
    limits = store.LedgerLimits(keep_days=10, checkpoint_s=0.0, checkpoint_soon_s=0.0)

    async def run() -> None:
        made = store.Ledger.open(ledger.parent, "clinic-7", limits=limits)
        while not (ledger / "pruned").exists():
            await asyncio.sleep(0.001)
        await sent(made, 4, "person")
        made.close()

    asyncio.run(asyncio.wait_for(run(), 20))
    result = shell("evidence")
    assert result.exit_code == 0, result.output
    assert "NOT COMPLETE: the entries 0 to 2 were removed by retention" in result.stdout
    assert "removed by retention: entries 0 to 2, dated" in result.stdout
    assert "NOT COMPLETE" not in shell("evidence", "--since", "9d").stdout
    assert "removed by retention" in shell("ledger", "verify").stdout


def test_beside_a_running_site_it_waits_for_the_signature(shell: Any, ledger: Path) -> None:
    limits = store.LedgerLimits(checkpoint_s=0.0, checkpoint_soon_s=0.2)
    is_over = threading.Event()
    is_there = threading.Event()

    async def run() -> None:
        made = store.Ledger.open(ledger.parent, "clinic-7", limits=limits)
        await sent(made, 4, "person")
        is_there.set()
        while not is_over.is_set():
            await asyncio.sleep(0.001)
        made.close()

    site = threading.Thread(target=asyncio.run, args=(run(),))
    site.start()
    try:
        assert is_there.wait(10)
        said = json.loads(shell("evidence", "--label", "person", "--json").stdout)
    finally:
        is_over.set()
        site.join()
    assert (said["count"], said["is_signed"], said["is_complete"]) == (3, True, True)


def test_nothing_of_a_request_is_in_any_file_of_the_store(shell: Any) -> None:
    """What callers wrote reaches the ledger as a digest only; the same holds of state, checkpoints and side files."""
    folder, secret = shell.folder / "store", "planted-4711-geheim"
    shell.environ["ECOTONE_STORE_PATH"] = str(folder)

    async def run() -> None:
        made = store.Ledger.open(folder, "s", limits=store.LedgerLimits(segment_bytes_max=500))
        for number in range(6):
            digest = hashlib.sha256(f"{secret}-{number}".encode()).hexdigest()
            permit = Permit(f"r{number}", "big", "https://cloud:443", digest, "pseudonymise:ab", "rule", b"seal")
            await made.permit(permit, body_bytes=9, labels=("person",), region="eu", replaced={"person": 1})
            for bad in ({"text": secret * 99}, {"body": secret.encode()}):
                with pytest.raises(AssertionError):
                    made.note("placed", bad)
        await made.checkpoint()
        made.close()

    asyncio.run(run())
    shell("evidence")
    digests = [hashlib.sha256(f"{secret}-{number}".encode()).hexdigest().encode() for number in range(6)]
    for path in folder.rglob("*"):
        content = path.read_bytes() if path.is_file() else b""
        assert secret.encode() not in content
        assert not any(digest in content for digest in digests), "the plain digest of a short prompt can be guessed"
        assert path.name == "site.key" or b"PRIVATE KEY" not in content
