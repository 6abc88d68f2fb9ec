"""Does what docs/how-to/deliver-by-stick.md says, with the command as installed, in a fresh folder."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.docs.blocks import blocks
from tests.unit.transfer.files import gguf

PAGE = "docs/how-to/deliver-by-stick.md"
LIMIT_S = 120.0


def test_the_page_can_be_followed(tmp_path: Path) -> None:
    (tmp_path / ".venv").symlink_to(Path(sys.prefix))
    (tmp_path / "tuned").mkdir()
    first = [(f"t{n}", (50_000,), bytes([n]) * 50_000) for n in range(4)]
    (tmp_path / "model.gguf").write_bytes(gguf(first))
    (tmp_path / "tuned" / "model.gguf").write_bytes(gguf([*first[:3], ("t3", (50_000,), b"x" * 50_000)]))
    environ = {name: value for name, value in os.environ.items() if not name.startswith("ECOTONE_")}
    printed, runs = "", 0
    for block in blocks(PAGE):
        if block.language == "yaml":
            (tmp_path / "ecotone.yaml").write_text(block.text)
        elif block.language == "sh":
            done = subprocess.run(
                ["bash", "-euc", block.text], cwd=tmp_path, env=environ | {"HOME": str(tmp_path)}, text=True,
                capture_output=True, timeout=LIMIT_S, check=False,
            )  # fmt: skip
            assert done.returncode == 0, f"{block.place}\n{done.stdout}\n{done.stderr}"
            printed, runs = done.stdout, runs + 1
        elif block.language in ("", "text") and runs and not block.text.startswith("hub:"):
            for line in block.text.splitlines():
                assert line in printed, f"{block.place}: {line}\n{printed}"
    assert runs == 8
