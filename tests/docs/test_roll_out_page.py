"""Does what docs/how-to/roll-out.md says, in a fresh folder, with a hub that runs."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.docs.blocks import blocks

PAGE = "docs/how-to/roll-out.md"
LIMIT_S = 240.0


def test_the_page_can_be_followed(tmp_path: Path) -> None:
    (tmp_path / ".venv").symlink_to(Path(sys.prefix))
    environ = {name: value for name, value in os.environ.items() if not name.startswith("ECOTONE_")}
    script = "\n".join(block.text for block in blocks(PAGE) if block.language == "sh")
    try:
        done = subprocess.run(
            ["bash", "-euc", script], cwd=tmp_path, env=environ | {"HOME": str(tmp_path)}, text=True,
            capture_output=True, timeout=LIMIT_S, check=False,
        )  # fmt: skip
        log = (tmp_path / "hub.log").read_text() if (tmp_path / "hub.log").exists() else ""
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}\n{log}"
    finally:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError, ValueError):
            os.kill(int((tmp_path / "hub.pid").read_text()), signal.SIGTERM)
    assert "wave 1 of 4" in done.stdout
    assert "paused: nothing more is wished" in done.stdout
