"""Does what docs/how-to/govern-a-hub.md says, in a fresh folder, and holds its table against the code."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.docs.blocks import blocks, text_of

from ecotone.access import ACTS, ROLES

PAGE = "docs/how-to/govern-a-hub.md"
LIMIT_S = 240.0


def test_the_page_can_be_followed(tmp_path: Path) -> None:
    (tmp_path / ".venv").symlink_to(Path(sys.prefix))
    environ = {name: value for name, value in os.environ.items() if not name.startswith("ECOTONE_")}
    printed, runs = "", 0
    for block in blocks(PAGE):
        if block.language == "sh":
            done = subprocess.run(
                ["bash", "-euc", block.text], cwd=tmp_path, env=environ | {"HOME": str(tmp_path)}, text=True,
                capture_output=True, timeout=LIMIT_S, check=False,
            )  # fmt: skip
            assert done.returncode == 0, f"{block.place}\n{done.stdout}\n{done.stderr}"
            printed, runs = done.stdout, runs + 1
        elif not block.text.startswith(("ecotone hub", "oidc:")):
            for line in block.text.splitlines():
                assert line in printed, f"{block.place}: {line}\n{printed}"
    assert runs == 6


def test_the_table_is_that_of_the_code() -> None:
    page = text_of(PAGE)
    rows = {row[1]: row for row in re.finditer(r"^\| `([a-z.]+)`: (.*?) \| (\w+) \|(.*)\|$", page, re.MULTILINE)}
    assert set(rows) == set(ACTS)
    assert f"| {' | '.join(ROLES)} |" in page
    for act, what in ACTS.items():
        marks = [mark.strip() == "●" for mark in rows[act][4].split("|")]
        assert (rows[act][2], rows[act][3]) == (what.words, what.about)
        assert marks == [act in acts for acts in ROLES.values()], act
