"""What the egress suite runs on; see `stage.py`."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator

import pytest

from tests.egress.stage import SEED, TOTAL, Stage


@pytest.fixture(scope="session", autouse=True)
def can_watch() -> None:
    """Namespaces, packet sockets and small disks need root."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("watching packets needs root and iproute2")


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """One stage for a module's scenes; the seed is told, so that a failure can be played again."""
    print(f"\nECOTONE_EGRESS_SEED={SEED} ECOTONE_EGRESS_CONVERSATIONS={TOTAL}")
    made = Stage(tmp_path_factory.mktemp("egress"))
    try:
        made.__enter__()
    except subprocess.CalledProcessError as error:
        made.__exit__()
        pytest.skip(f"no network namespaces here: {error.stderr.decode().strip()}")
    yield made
    made.__exit__()


def pytest_report_header() -> str:
    return f"egress suite: ECOTONE_EGRESS_SEED={SEED} ECOTONE_EGRESS_CONVERSATIONS={TOTAL}"
