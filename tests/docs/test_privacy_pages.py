"""Does what the pages on privacy say, with the command as installed, in a fresh folder; no site is started.

As in the tutorial: `yaml` is saved as `ecotone.yaml`, `sh` is run by bash, and a block without a language is a promise:
its lines must stand in what was printed last (a row of spaces stands for any other).
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from tests.docs.blocks import Block, blocks, text_of

from ecotone import detectors, privacy, pseudonyms
from ecotone.policy import DEFAULT_LABELS
from ecotone.privacy.patterns import Patterns
from ecotone.values import Endpoint, Features, Request

PAGES = ("docs/how-to/keep-data-in.md", "docs/how-to/test-a-policy.md", "docs/how-to/pseudonymise.md")
LIMIT_S = 120.0


@pytest.mark.parametrize("page", PAGES)
def test_the_page_can_be_followed(tmp_path: Path, page: str) -> None:
    (tmp_path / ".venv").symlink_to(Path(sys.prefix))
    environ = {name: value for name, value in os.environ.items() if not name.startswith("ECOTONE_")}
    printed = ""
    for block in blocks(page):
        if block.language == "yaml":
            (tmp_path / "ecotone.yaml").write_text(block.text)
        elif block.language == "sh":
            printed = _run(block, tmp_path, environ | {"HOME": str(tmp_path)})
        elif block.language == "":
            told = re.sub(r" +", " ", printed)
            for line in block.text.splitlines():
                assert re.sub(r" +", " ", line) in told, f"{block.place}: {line}\n{printed}"


def _run(block: Block, folder: Path, environ: dict[str, str]) -> str:
    done = subprocess.run(
        ["bash", "-euc", block.text], cwd=folder, env=environ, capture_output=True, text=True, timeout=LIMIT_S,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{block.place}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_the_table_of_labels_is_that_of_policy() -> None:
    page = text_of("docs/explanation/privacy.md")
    told = {
        label: word
        for cell, word in re.findall(r"^\| (`[^|]+) \|[^|]+\| `(\w+)` \|$", page, re.MULTILINE)
        for label in re.findall(r"`(\w+)`", cell)
    }
    assert told == {label: str(word) for label, word in DEFAULT_LABELS.items()}


def test_the_page_shows_what_goes_as_it_goes() -> None:
    before, after = (block.text.strip() for block in blocks("docs/how-to/pseudonymise.md") if block.language == "text")
    body = msgspec.json.encode({"model": "m", "messages": [{"role": "user", "content": before}]})
    request = Request(
        id="x", endpoint=Endpoint.CHAT, model="m", body=body, is_stream=False, is_usage_asked=False,
        features=Features(0), received_at_s=0.0,
    )  # fmt: skip
    look = privacy.Look({"patterns": Patterns().find}, ("names",))
    findings = privacy.inspect(request, look)
    seen = privacy.unseen(findings, look)
    looked = detectors.load("names", {}).find(seen.texts)
    findings = privacy.deepen(request, findings, look, seen, (looked, ()))
    scope = pseudonyms.Scope(b"k" * 32, "")
    masked = pseudonyms.mask(request, findings.segments, findings.spots, frozenset({"person", "contact"}), scope)
    system, user = msgspec.json.decode(masked.request.body)["messages"]
    assert re.sub(r"_[0-9A-F]{2}(?=\d)", "_7C", user["content"]) == after
    assert "stand for private values" in system["content"]
