"""`ecotone models pin`, `unpin` and `rollback`: what somebody at the site decides, whether a site runs or not."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from ecotone import assets
from ecotone.agent import orders
from ecotone.delivery import versions
from ecotone.store.disk import Lock
from ecotone.store.ledger import LOCK


@pytest.fixture
def here(shell: Any) -> Any:
    """A site where version 1 is used, and 2 waits."""
    store = shell.folder / "store"
    shell.write("site.yaml", f"site: harbour\nstore: {{path: {store}}}\n")
    for version, state in (("1", "used"), ("2", "ready")):
        put(store, version, state)
    return shell


def put(store: Path, version: str, state: Any) -> None:
    content = f"model {version}".encode()
    sha256 = hashlib.sha256(content).hexdigest()
    store.mkdir(exist_ok=True)
    (store / "come").write_bytes(content)
    fresh = versions.Installed(name="smol", version=version, manifest=sha256, files={"m": sha256}, state=state)
    with versions.locked(store):
        versions.remember(store, fresh)
    refs = fresh.pinned_refs | (fresh.refs if state == "used" else {})
    assets.open_store(store).adopt([assets.Arrival(store / "come", sha256, tuple(refs))])


def said(shell: Any, *words: str) -> dict[str, Any]:
    result = shell("models", *words, "-c", "site.yaml", "--json")
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.output)
    return found


def version(shell: Any) -> str:
    found = versions.in_force(shell.folder / "store", "smol")
    assert found is not None
    return found.version


def test_a_version_is_held_switched_to_and_gone_back_from(here: Any) -> None:
    assert said(here, "pin", "hub:smol") == {"name": "smol", "version": "1", "pinned": "1", "by": "this command"}
    assert said(here, "pin", "hub:smol@2")["version"] == "2"
    assert version(here) == "2"
    assert said(here, "unpin", "hub:smol")["pinned"] is None
    assert said(here, "rollback", "hub:smol")["version"] == "1"
    assert version(here) == "1"


def test_words_say_what_happens_and_when(here: Any) -> None:
    assert here("models", "pin", "hub:smol@2", "-c", "site.yaml").output == "hub:smol is held at 2; it is 2 now\n"
    lock = Lock(here.folder / "store" / LOCK)
    output = here("models", "rollback", "hub:smol", "-c", "site.yaml").output
    assert "goes back to the version before; the site that runs does it within seconds" in output
    assert version(here) == "2", "the site does it, and none runs really"
    assert orders.read(here.folder / "store").back == {"smol": 1}
    lock.release()
    assert "is as the hub wants it" in here("models", "unpin", "hub:smol", "-c", "site.yaml").output
    assert version(here) == "1", "the order still stood"
    assert "was not held" in here("models", "unpin", "hub:smol", "-c", "site.yaml").output


@pytest.mark.parametrize(
    ("words", "about"),
    [
        (("pin", "hub:smol@9"), "not on this machine"),
        (("pin", "hub:other"), "not on this machine"),
        (("pin", "smollm2-135m"), "no asset of a hub"),
        (("pin", "hub:smol/m"), "no asset of a hub"),
        (("rollback", "hub:smol"), "no version before"),
        (("unpin", "file:x"), "no asset of a hub"),
    ],
)
def test_what_cannot_be_is_told(here: Any, words: tuple[str, ...], about: str) -> None:
    result = here("models", *words, "-c", "site.yaml")
    assert result.exit_code == 2
    assert about in result.output
    assert version(here) == "1"
