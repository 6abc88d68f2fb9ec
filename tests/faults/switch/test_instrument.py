"""The instrument itself: what was not synchronised is lost, what was is there."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest
from tests.faults.switch.instrument import lose_power

_WRITES = """
import os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from tests.faults.switch.instrument import Journal
root, how = Path(sys.argv[1]), sys.argv[2]
journal = Journal(root, 1 << 30)
journal.begin()
path, fresh = root / "kept", root / "fresh"
fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
os.write(fd, b"new" * 1000)
if how != "bytes":
    os.fsync(fd)
os.close(fd)
fresh.replace(path)
if how != "name":
    folder = os.open(root, os.O_RDONLY)
    os.fsync(folder)
"""


def after(tmp_path: Path, how: str) -> set[bytes]:
    """What the file holds after a loss of power, over many dice."""
    found = set()
    for seed in range(12):
        root = tmp_path / f"{how}-{seed}"
        root.mkdir()
        (root / "kept").write_bytes(b"old" * 1000)
        words = [sys.executable, "-c", _WRITES, str(root), how, str(Path(__file__).parents[3])]
        subprocess.run(words, check=True)
        lose_power(root, random.Random(seed))
        content = (root / "kept").read_bytes()
        found.add(content[:3] if content in (b"old" * 1000, b"new" * 1000) else b"torn")
    return found


@pytest.mark.parametrize(
    ("how", "holds"), [("all", {b"new"}), ("name", {b"old", b"new"}), ("bytes", {b"torn"})]
)  # fmt: skip
def test_a_disk_keeps_what_it_was_told_to_keep(tmp_path: Path, how: str, holds: set[bytes]) -> None:
    assert after(tmp_path, how) == holds
