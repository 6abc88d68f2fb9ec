"""Which version is used, which waits, which one can go back to, and which may go."""

from __future__ import annotations

import threading
from pathlib import Path

import msgspec
import pytest
from tests.unit.delivery.hubs import FIRST, SECOND, Hub, tuned
from tests.unit.transfer.files import gguf

from ecotone.agent import trials
from ecotone.assets import StoreError, files, open_store
from ecotone.delivery.fetch import FolderSource
from ecotone.delivery.install import install
from ecotone.delivery.versions import collect, in_force, switch, switch_back, versions
from ecotone.store.disk import Lock
from ecotone.store.ledger import LOCK
from ecotone.transfer import Manifest
from ecotone.values import ConfigError, EcotoneError


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLLAMA_MODELS", str(tmp_path / "none"))


@pytest.fixture
def hub(tmp_path: Path) -> Hub:
    return Hub(tmp_path)


def take(hub: Hub, manifest: Manifest, store: Path, *, is_switched: bool = False) -> None:
    install(manifest, [FolderSource(hub.folder)], store, is_switched=is_switched)


def content(store: Path, ref: str = "hub:small") -> bytes:
    shelf = open_store(store)
    asset = shelf.resolve(ref)
    assert asset is not None
    return shelf.checked_path(asset).read_bytes()


def third(hub: Hub, version: str = "3", every: int = 70) -> Manifest:
    made = [*FIRST[:7], ("t7", (200_000,), tuned(FIRST[7][2], every))]
    return hub.publish(version, gguf(made), earlier=(hub.first, hub.second))


def test_a_version_that_comes_for_later_changes_nothing_until_it_is_switched_to(hub: Hub, tmp_path: Path) -> None:
    store = tmp_path / "site"
    take(hub, hub.first, store, is_switched=True)
    take(hub, hub.second, store)
    assert content(store) == gguf(FIRST)
    assert content(store, "hub:small@2") == gguf(SECOND)
    assert in_force(store, "small").version == "1"
    take(hub, hub.second, store)  # once more: nothing is fetched, nothing changes
    assert collect(store) == 0

    assert switch(store, "small", "2").version == "2"
    assert content(store) == gguf(SECOND)
    assert in_force(store, "small").version == "2"
    assert [(one.version, one.state) for one in versions(store)] == [("1", "used"), ("2", "used")]

    switch_back(store, "small", "1")
    assert content(store) == gguf(FIRST)
    assert [(one.version, one.state) for one in versions(store)] == [("2", "left"), ("1", "used")]
    assert collect(store) > 0
    assert [one.version for one in versions(store)] == ["1"]
    assert open_store(store).resolve("hub:small@2") is None


def test_the_first_version_of_all_can_wait_too(hub: Hub, tmp_path: Path) -> None:
    store = tmp_path / "site"
    take(hub, hub.first, store)
    assert open_store(store).resolve("hub:small") is None
    assert in_force(store, "small") is None
    assert collect(store) == 0
    switch(store, "small", "1")
    assert content(store) == gguf(FIRST)


def test_what_came_last_for_later_use_stays_and_what_came_before_goes(hub: Hub, tmp_path: Path) -> None:
    store = tmp_path / "site"
    take(hub, hub.first, store, is_switched=True)
    take(hub, hub.second, store)
    take(hub, third(hub), store)
    assert collect(store) > 0
    assert sorted(one.version for one in versions(store)) == ["1", "3"]


def test_what_a_trial_names_stays(hub: Hub, tmp_path: Path) -> None:
    store = tmp_path / "site"
    take(hub, hub.first, store, is_switched=True)
    for manifest in (hub.second, third(hub), third(hub, "4", 90)):
        take(hub, manifest, store)
        switch(store, "small", manifest.version)
    used, former = trials.Used(version="4"), trials.Used(version="1")
    standing = trials.Standing(kind="model", used=used, former=former)
    trials.write(store, trials.Kept(assets={"small": standing}))
    assert collect(store) > 0
    assert [one.version for one in versions(store)] == ["1", "3", "4"]
    trials.file(store).write_bytes(b"torn")
    with pytest.raises(ConfigError, match="Move it away"):
        collect(store)
    trials.file(store).unlink()
    collect(store)
    assert [one.version for one in versions(store)] == ["3", "4"]


def test_only_what_is_here_can_be_switched_to(hub: Hub, tmp_path: Path) -> None:
    store = tmp_path / "site"
    take(hub, hub.first, store, is_switched=True)
    with pytest.raises(ConfigError, match="small@9 is not on this machine") as unknown:
        switch(store, "small", "9")
    assert unknown.value.code == "asset.unknown"
    take(hub, hub.second, store)
    Path(open_store(store).resolve("hub:small@2").path).unlink()
    with pytest.raises(ConfigError, match="or not all of it"):
        switch(store, "small", "2")
    assert content(store) == gguf(FIRST)


def test_a_switch_does_not_wait_for_a_delivery(hub: Hub, tmp_path: Path) -> None:
    store = tmp_path / "site"
    take(hub, hub.first, store, is_switched=True)
    take(hub, hub.second, store)
    done = threading.Thread(target=switch, args=(store, "small", "2"))
    with files.locked(store / "delivery" / "install.lock", 1.0):
        done.start()
        done.join(20)
        assert not done.is_alive()
    assert content(store) == gguf(SECOND)


@pytest.mark.parametrize("is_followed", [True, False])
def test_what_a_site_that_follows_has_left_is_not_kept_for_it(hub: Hub, tmp_path: Path, is_followed: bool) -> None:
    store = tmp_path / "site"
    take(hub, hub.first, store, is_switched=True)
    site = Lock(store / LOCK)
    for manifest in (hub.second, third(hub)):
        take(hub, manifest, store)
        switch(store, "small", manifest.version, is_followed=is_followed)
    freed = collect(store)
    site.release()
    assert [one.version for one in versions(store)] == (["2", "3"] if is_followed else ["1", "2", "3"])
    assert (freed > 0) is is_followed


def test_files_of_the_version_before_are_no_part_of_the_new_one(hub: Hub, tmp_path: Path) -> None:
    store = tmp_path / "site"
    parts = []
    for name, made in (("a.gguf", FIRST), ("b.gguf", SECOND)):
        (hub.made / name).write_bytes(gguf(made))
        parts.append(hub.made / name)
    from tests.unit.delivery.hubs import about

    from ecotone.delivery.packs import publish

    two = publish(parts, hub.folder, about("5", "pair"), earlier=(), base=None)
    one = publish(parts[:1], hub.folder, about("6", "pair"), earlier=(two,), base=None)
    take(hub, two, store, is_switched=True)
    take(hub, one, store)
    switch(store, "pair", "6")
    assert content(store, "hub:pair/a.gguf") == content(store, "hub:pair") == gguf(FIRST)
    assert open_store(store).resolve("hub:pair/b.gguf") is None
    assert content(store, "hub:pair@5/b.gguf") == gguf(SECOND)


def test_a_disk_that_refuses_leaves_the_old_version_in_force(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = tmp_path / "site"
    take(hub, hub.first, store, is_switched=True)
    take(hub, hub.second, store)
    plain = files.moved

    def full(source: Path, target: Path, mode: int) -> None:
        if target.name == "index.json":
            raise OSError(28, "No space left on device")
        plain(source, target, mode)

    monkeypatch.setattr(files, "moved", full)
    with pytest.raises(StoreError) as refused:
        switch(store, "small", "2")
    assert refused.value.code == "asset.disk_full"
    monkeypatch.undo()
    assert content(store) == gguf(FIRST)
    assert in_force(store, "small").version == "1"
    assert collect(store) == 0
    switch(store, "small", "2")
    assert content(store) == gguf(SECOND)


def test_what_was_written_before_states_were_known_is_read(hub: Hub, tmp_path: Path) -> None:
    store = tmp_path / "site"
    take(hub, hub.first, store, is_switched=True)
    path = store / "delivery" / "installed.json"
    old = msgspec.json.decode(path.read_bytes())
    for one in old["installed"]:
        del one["state"]
    path.write_bytes(msgspec.json.encode(old))
    assert [one.state for one in versions(store)] == ["used"]


def test_a_version_that_lies_about_itself_is_no_longer_remembered(hub: Hub, tmp_path: Path) -> None:
    store = tmp_path / "site"
    part = msgspec.structs.replace(hub.first.parts[0], sha256="0" * 64)
    with pytest.raises(EcotoneError):
        take(hub, msgspec.structs.replace(hub.first, parts=(part,)), store)
    assert versions(store) == []
