"""Rounds of trouble over a few stores: what was acknowledged ends once, the ledger has no gap, nobody is left behind.

`make faults` plays 200 of them and writes a report (`benchmarks/faults`); here each kind of trouble comes once.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest
from tests.faults.rounds import tears
from tests.faults.rounds.campaign import KINDS, campaign, summary
from tests.faults.rounds.site import has_model

SEED = 20261126


@pytest.mark.engine
@pytest.mark.skipif(not has_model(), reason="no starter model: `make test` fetches it")
@pytest.mark.skipif(
    not sys.platform.startswith("linux") or not (shutil.which("cc") or shutil.which("gcc")),
    reason="the shim below the site needs a C compiler on Linux",
)
def test_a_site_that_is_killed_in_every_trouble_loses_nothing(tmp_path: Path) -> None:
    with campaign(tmp_path, SEED, patience=0.25) as rounds:
        rounds.run(len(KINDS))
    found = summary(rounds)
    assert not found["faults"]
    assert {one.kind for one in rounds.rounds} == set(KINDS)
    # With a site that takes nothing, a disk that never fails or a cloud that is never asked it would prove nothing.
    honest, lying = sorted(found["stores"], key=lambda one: one["store"])
    assert honest["jobs"] > 50
    assert honest["batches"]
    assert honest["ends"]["answered"] > 0.5 * honest["jobs"]
    assert honest["bodies"] + lying["bodies"]
    assert sum(honest["failed_calls"].values()) > 20
    assert all(one.orphans for one in rounds.rounds), "the workers were there when their site was killed"
    ready = found["ready_s"]
    print(f"\nMEASURED {len(KINDS)} rounds: ready after {ready['p50']:.2f} s (p50), {ready['max']:.2f} s (max); "
          f"undisturbed {found['undisturbed_ready_s']['p50']:.2f} s")  # fmt: skip


def test_where_the_frames_of_a_wal_end_is_seen(tmp_path: Path) -> None:
    """An instrument that tears nothing finds nothing: what it takes for the last page must be one."""
    wal = tmp_path / "jobs.db-wal"
    frame = tears.FRAME_HEADER + tears.PAGE
    header, new, old = bytes(16) + b"newsalts" + bytes(8), bytes(8) + b"newsalts", bytes(8) + b"oldsalts"
    frames = [(salts + bytes(8)).ljust(frame, b"p") for salts in (new, new, old)]
    wal.write_bytes(header + b"".join(frames))
    assert tears.valid_end(wal) == tears.WAL_HEADER + 2 * frame
    wal.write_bytes(b"")
    assert tears.valid_end(wal) == 0
