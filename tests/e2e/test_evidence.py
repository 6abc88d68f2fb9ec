"""What left a real site, asked beside it and proved elsewhere; nothing that callers wrote stands in its store."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

from tests.e2e.conftest import ECOTONE, Start, Upstream

KEY, PLANTED = "sk-planted-key-42", "the-planted-words-of-a-caller"


def told(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([ECOTONE, *arguments], capture_output=True, text=True, check=False, timeout=60)


def test_what_left_is_told_beside_the_site_and_proved_on_a_copy(
    tmp_path: Path, upstream: Upstream, start: Start
) -> None:
    big = {"url": upstream.url, "model": "large-1", "key": "env:UP_KEY", "at": "cloud", "region": "eu"}
    config: dict[str, Any] = {
        "targets": {"big": big},
        "models": {"assistant": {"targets": ["big"]}},
        "privacy": {"detectors": ["patterns"], "labels": {"project": {"egress": "free"}}},
    }
    site = start(config, {"UP_KEY": KEY})
    for number in range(5):
        body = {"model": "assistant", "messages": [{"role": "user", "content": f"{PLANTED} {number}"}]}
        headers = {"ecotone-labels": "project"} if number % 2 else {}
        assert site.ask("POST", "/v1/chat/completions", body | {"stream": number > 2}, headers)[0] == 200
    at = ("-c", str(site.file))
    answer = json.loads(told("evidence", *at, "--to", "eu", "--json").stdout)
    assert (answer["count"], answer["is_complete"], answer["is_signed"]) == (5, True, True), answer
    assert answer["body_bytes"] == sum(len(raw) for raw in upstream.raw)
    labelled = json.loads(told("evidence", *at, "--label", "project", "--json").stdout)
    assert (labelled["count"], labelled["by_region"]) == (2, {"eu": 2})
    nothing = json.loads(told("evidence", *at, "--label", "medical", "--json").stdout)
    assert (nothing["count"], nothing["is_complete"], nothing["is_signed"]) == (0, True, True)
    key = told("ledger", "key", *at)
    (tmp_path / "site.pub").write_text(key.stdout)
    copy = shutil.copytree(site.store / "ledger", tmp_path / "copy")
    assert site.stop() == 0
    result = told("ledger", "verify", str(copy), "--key", str(tmp_path / "site.pub"))
    assert result.returncode == 0, result.stdout + result.stderr
    elsewhere = told("evidence", "--file", str(copy), "--key", str(tmp_path / "site.pub"), "--label", "project")
    assert elsewhere.stdout.startswith("2 egresses with label project"), elsewhere.stdout + elsewhere.stderr
    assert told("ledger", "verify", *at).returncode == 0
    for path in [*site.store.rglob("*"), site.log]:
        content = path.read_bytes() if path.is_file() else b""
        assert PLANTED.encode() not in content, path
        assert KEY.encode() not in content, path
