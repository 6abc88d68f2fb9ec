"""Lists that a hub delivers: used as they were signed, changed with their version, and never silently missing."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from ecotone import config
from ecotone.assets import Arrival, open_store
from ecotone.runtime.inspecting import Inspecting
from ecotone.values import ConfigError

SITE = """
privacy:
  detectors: [patterns, topics]
  terms: [{file: "hub:patients", label: patient}]
  topic_examples: "hub:examples@1"
targets: {big: {url: "https://api.example.com/v1", model: b, at: cloud, region: eu}}
models: {assistant: {targets: [big]}}
"""
EXAMPLE = b'{"label": "trade", "text": "our margin is 3 %"}\n'


def arrived(store: Path, name: str, version: str, content: bytes) -> None:
    """As `install` leaves a version of one file."""
    path = store / "came"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    refs = (f"hub:{name}", f"hub:{name}@{version}")
    open_store(store).adopt([Arrival(path, hashlib.sha256(content).hexdigest(), refs)])


def labels(inspecting: Inspecting, text: str) -> set[str]:
    look = inspecting.arrange(config.parse(SITE, "site.yaml"), is_cloud_off=False)
    return {found.label for found in look.quick["patterns"](text)}


@pytest.fixture
def site(tmp_path: Path) -> Any:
    arrived(tmp_path, "patients", "1", b"Ottilie Quandt\n")
    arrived(tmp_path, "examples", "1", EXAMPLE)
    return Inspecting(tmp_path)


def test_a_delivered_list_is_looked_for_and_a_new_version_takes_its_place(site: Inspecting, tmp_path: Path) -> None:
    assert "patient" in labels(site, "for Ottilie Quandt")
    assert site.plain["topics_examples"] == [{"label": "trade", "text": "our margin is 3 %"}]
    before = site.delivered()
    assert before == site.delivered()
    arrived(tmp_path, "patients", "2", b"Ottilie Quandt\nBartholomew Iwu\n")
    assert site.delivered() != before  # what watches it reloads
    assert "patient" in labels(site, "for Bartholomew Iwu")


def test_a_list_that_is_not_here_yet_is_an_error_and_no_empty_list(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"hub:patients is not here yet.*models pull hub:patients"):
        labels(Inspecting(tmp_path), "x")
    arrived(tmp_path, "patients", "1", b"Ottilie Quandt\n")
    with pytest.raises(ConfigError, match=r"privacy\.topic_examples.*hub:examples@1 is not here yet"):
        labels(Inspecting(tmp_path), "x")


def test_a_list_that_was_changed_on_the_disk_is_not_used(site: Inspecting, tmp_path: Path) -> None:
    labels(site, "x")
    asset = open_store(tmp_path).resolve("hub:patients")
    assert asset is not None
    path = Path(asset.path)
    path.chmod(0o600)
    path.write_bytes(b"Nobody\n")
    with pytest.raises(ConfigError, match="SHA-256"):
        labels(site, "x")


def test_a_damaged_index_calls_for_a_reload_and_no_list_is_used(site: Inspecting, tmp_path: Path) -> None:
    labels(site, "x")
    before = site.delivered()
    (tmp_path / "assets" / "index.json").write_bytes(b"damaged")
    assert site.delivered() != before
    with pytest.raises(ConfigError):
        labels(site, "x")


def test_a_site_with_files_of_its_own_asks_no_store(tmp_path: Path) -> None:
    (tmp_path / "own.txt").write_text("Ottilie Quandt\n")
    text = SITE.replace("hub:patients", str(tmp_path / "own.txt")).replace('  topic_examples: "hub:examples@1"\n', "")
    inspecting = Inspecting(tmp_path / "store")
    look = inspecting.arrange(config.parse(text, "site.yaml"), is_cloud_off=False)
    assert {found.label for found in look.quick["patterns"]("Ottilie Quandt")} == {"patient"}
    assert inspecting.delivered() == ()
    assert not (tmp_path / "store").exists()
