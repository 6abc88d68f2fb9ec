"""A version comes whole or not at all, costs what is missing, and is switched to in one moment."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from tests.unit.delivery.hubs import FIRST, QUICK, RATE, SECOND, Hub, Server, serving, weights
from tests.unit.transfer.files import gguf

from ecotone import assets
from ecotone.assets import FetchError, StoreError
from ecotone.delivery import install as room
from ecotone.delivery.fetch import FolderSource, HttpSource, Tally
from ecotone.delivery.install import collect, install, remove, versions
from ecotone.store.disk import Lock
from ecotone.transfer import Manifest
from ecotone.values import TrustError


@pytest.fixture
def server(hub: Hub) -> Iterator[Server]:
    with serving(hub.folder) as state:
        yield state


def here(store: Path, name: str = "hub:small") -> bytes:
    shelf = assets.open_store(store)
    asset = shelf.resolve(name)
    assert asset is not None
    return shelf.checked_path(asset).read_bytes()


def put(manifest: Manifest, source: object, store: Path) -> Tally:
    tally = Tally()
    install(manifest, [source], store, patience=QUICK, tally=tally)  # type: ignore[list-item]  # a test double
    return tally


def test_a_version_comes_from_a_folder_and_the_next_one_costs_what_changed(hub: Hub, tmp_path: Path) -> None:
    first = put(hub.first, FolderSource(hub.folder), tmp_path)
    assert here(tmp_path) == gguf(FIRST)
    assert first.fetched == hub.first.bytes
    second = put(hub.second, FolderSource(hub.folder), tmp_path)
    assert here(tmp_path) == here(tmp_path, "hub:small@2/m.gguf") == gguf(SECOND)
    assert here(tmp_path, "hub:small@1") == gguf(FIRST)
    assert second.fetched < 250_000, "one tensor whole, one as a delta"
    assert second.copied > 1_150_000
    assert not list((tmp_path / "delivery" / "partial").iterdir())


def test_a_version_that_is_here_is_not_fetched_again(hub: Hub, tmp_path: Path) -> None:
    put(hub.first, FolderSource(hub.folder), tmp_path)
    assert put(hub.first, FolderSource(tmp_path / "nowhere"), tmp_path).requests == 0
    assert [one.version for one in versions(tmp_path)] == ["1"]


def test_a_damaged_file_in_the_store_is_mended(hub: Hub, tmp_path: Path) -> None:
    put(hub.first, FolderSource(hub.folder), tmp_path)
    asset = assets.open_store(tmp_path).resolve("hub:small")
    assert asset is not None
    path = Path(asset.path)
    content = bytearray(path.read_bytes())
    content[500_000] ^= 1
    path.chmod(0o600)
    path.write_bytes(content)
    with pytest.raises(TrustError):
        here(tmp_path)
    cost = put(hub.first, FolderSource(hub.folder), tmp_path)
    assert here(tmp_path) == gguf(FIRST)
    assert cost.fetched <= 70_000, "one segment"


def test_what_another_program_has_is_used(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blobs = tmp_path / "ollama" / "blobs"
    blobs.mkdir(parents=True)
    (blobs / "sha256-aaa").write_bytes(gguf(FIRST[2:]))
    (blobs / "sha256-bbb").write_bytes(b"GGUF" + b"\xff" * 100_000)
    (blobs / "sha256-ccc").write_bytes(b"small")
    monkeypatch.setenv("OLLAMA_MODELS", str(tmp_path / "ollama"))
    cost = put(hub.first, FolderSource(hub.folder), tmp_path / "store")
    assert 400_000 <= cost.fetched < 410_000
    assert here(tmp_path / "store") == gguf(FIRST)


def test_a_file_that_changed_since_it_was_looked_at_is_no_source(hub: Hub, tmp_path: Path) -> None:
    put(hub.first, FolderSource(hub.folder), tmp_path)
    (path,) = (tmp_path / "assets" / "sha256").glob("??/*")
    mark = path.stat()
    path.chmod(0o600)
    path.write_bytes(bytes(mark.st_size))
    cost = put(hub.second, FolderSource(hub.folder), tmp_path)
    assert cost.fetched == hub.second.bytes
    assert here(tmp_path) == gguf(SECOND)


def test_a_link_that_cuts_a_fifth_of_all_answers_costs_little_more(hub: Hub, tmp_path: Path, server: Server) -> None:
    server.cut_share = 0.2
    for version in (hub.first, hub.second):
        cost = put(version, HttpSource(server.url, RATE), tmp_path)
    assert here(tmp_path) == gguf(SECOND)
    assert cost.wasted <= 0.02 * cost.fetched


def test_a_segment_that_was_begun_is_gone_on_with(hub: Hub, tmp_path: Path, server: Server) -> None:
    server.cut_share = 1.0
    cost = put(hub.first, HttpSource(server.url, RATE), tmp_path)
    assert cost.fetched == hub.first.bytes
    assert cost.requests > 5


def test_a_killed_process_goes_on_where_it_was(hub: Hub, tmp_path: Path, server: Server) -> None:
    server.stops_after = 900_000
    script = (
        "import sys; from pathlib import Path; from ecotone.delivery.install import install; "
        "from ecotone.delivery.fetch import HttpSource; from ecotone.transfer import decode; "
        "install(decode(Path(sys.argv[1]).read_bytes()), [HttpSource(sys.argv[2])], Path(sys.argv[3]))"
    )
    from ecotone.transfer import encode

    manifest = tmp_path / "manifest"
    manifest.write_bytes(encode(hub.first))
    child = subprocess.Popen([sys.executable, "-c", script, str(manifest), server.url, str(tmp_path)])
    until_s = time.monotonic() + 60
    try:
        while not any(path.stat().st_blocks * 512 > 800_000 for path in (tmp_path / "delivery").glob("partial/*/0")):
            assert child.poll() is None
            assert time.monotonic() < until_s
            time.sleep(0.01)
    finally:
        child.kill()
        child.wait()
    server.stops_after = None
    assert assets.open_store(tmp_path).resolve("hub:small") is None
    cost = put(hub.first, HttpSource(server.url, RATE), tmp_path)
    assert here(tmp_path) == gguf(FIRST)
    assert cost.fetched <= hub.first.bytes - 800_000 + 64 * 1024, "at most the segment that it was in came twice"


def test_an_unfinished_file_that_lies_is_found_out(hub: Hub, tmp_path: Path) -> None:
    with pytest.raises(FetchError):
        put(hub.first, Pulled(hub, 12), tmp_path)
    (unfinished,) = (tmp_path / "delivery" / "partial").glob("*/0")
    with unfinished.open("r+b") as file:
        file.seek(250_000)
        file.write(bytes(1000))
    cost = put(hub.first, FolderSource(hub.folder), tmp_path)
    assert here(tmp_path) == gguf(FIRST)
    assert hub.first.bytes - 12 * 65_536 < cost.fetched < hub.first.bytes - 12 * 65_536 + 150_000


def test_the_next_source_gives_what_the_first_one_cannot(hub: Hub, tmp_path: Path, server: Server) -> None:
    stick = tmp_path / "stick"
    for pack in hub.first.packs:
        extents = stick / "packs" / f"{pack}.d"
        extents.mkdir(parents=True)
        content = (hub.folder / "packs" / pack).read_bytes()
        (extents / "300000-500000").write_bytes(content[300_000:800_000])
        (extents / "junk").write_bytes(b"junk")
    lying = tmp_path / "lying"
    shutil.copytree(hub.folder, lying)
    for path in (lying / "packs").iterdir():
        path.chmod(0o600)
        path.write_bytes(b"\1" * path.stat().st_size)
    said: list[str] = []

    class Said(assets.NoProgress):
        def step(self, text: str) -> None:
            said.append(text)

    sources = [FolderSource(stick), FolderSource(lying), FolderSource(tmp_path / "none"), HttpSource(server.url, RATE)]
    install(hub.first, sources, tmp_path / "store", patience=QUICK, progress=Said())
    assert here(tmp_path / "store") == gguf(FIRST)
    assert any("not what they should be" in text for text in said)


def test_bytes_that_were_not_signed_are_refused_and_what_is_installed_stays(
    hub: Hub, tmp_path: Path, server: Server
) -> None:
    put(hub.first, FolderSource(hub.folder), tmp_path)
    server.lie = lambda body: body[:100] + bytes([body[100] ^ 1]) + body[101:]
    with pytest.raises(TrustError, match=r"delivery\.segment") as caught:
        put(hub.second, HttpSource(server.url, RATE), tmp_path)
    assert "untouched" in caught.value.message
    assert here(tmp_path) == gguf(FIRST)
    assert assets.open_store(tmp_path).resolve("hub:small@2") is None


def test_a_delta_that_fails_is_not_tried_again(hub: Hub, tmp_path: Path) -> None:
    put(hub.first, FolderSource(hub.folder), tmp_path)
    folder = tmp_path / "hub"
    shutil.copytree(hub.folder, folder)
    (patched,) = {
        hub.second.packs[segment.deltas[0].pack] for segment in hub.second.parts[0].segments if segment.deltas
    }
    path = folder / "packs" / patched
    path.chmod(0o600)
    path.write_bytes(b"\2" * path.stat().st_size)
    cost = put(hub.second, FolderSource(folder), tmp_path)
    assert here(tmp_path) == gguf(SECOND)
    assert cost.wasted == path.stat().st_size


def test_a_manifest_that_contradicts_itself_leaves_nothing(hub: Hub, tmp_path: Path) -> None:
    import msgspec

    put(hub.first, FolderSource(hub.folder), tmp_path)
    part = msgspec.structs.replace(hub.second.parts[0], sha256="0" * 64)
    bad = msgspec.structs.replace(hub.second, parts=(part,))
    with pytest.raises(TrustError, match=r"delivery\.manifest"):
        put(bad, FolderSource(hub.folder), tmp_path)
    assert here(tmp_path) == gguf(FIRST)
    assert [one.version for one in versions(tmp_path)] == ["1"]
    assert not list((tmp_path / "delivery" / "partial").iterdir())


def test_a_disk_that_is_too_small_is_refused_before_the_first_byte(
    hub: Hub, tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ecotone.assets.files.SPARE_BYTES", 1 << 60)
    with pytest.raises(StoreError, match=r"asset\.disk_full"):
        put(hub.first, HttpSource(server.url, RATE), tmp_path)
    assert server.requests == []


def test_a_disk_that_fills_up_keeps_what_has_come(hub: Hub, tmp_path: Path) -> None:
    script = (
        "import resource, sys; from pathlib import Path; from ecotone.delivery.install import install; "
        "from ecotone.delivery.fetch import FolderSource; from ecotone.transfer import decode; "
        "from ecotone.assets import StoreError\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (700_000, 700_000)); import signal; "
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "try: install(decode(Path(sys.argv[1]).read_bytes()), [FolderSource(Path(sys.argv[2]))], Path(sys.argv[3]))\n"
        "except StoreError as error: print(error.code)"
    )
    from ecotone.transfer import encode

    manifest = tmp_path / "manifest"
    manifest.write_bytes(encode(hub.first))
    done = subprocess.run(
        [sys.executable, "-c", script, str(manifest), str(hub.folder), str(tmp_path)], capture_output=True, text=True
    )
    assert done.stdout.strip() == "asset.disk_full", done.stderr
    assert put(hub.first, FolderSource(hub.folder), tmp_path).fetched <= hub.first.bytes
    assert here(tmp_path) == gguf(FIRST)


def test_a_damaged_memory_is_made_anew(hub: Hub, tmp_path: Path) -> None:
    put(hub.first, FolderSource(hub.folder), tmp_path)
    for path in (tmp_path / "delivery").glob("segments.sqlite*"):
        path.unlink()
    (tmp_path / "delivery" / "segments.sqlite").write_bytes(b"no database at all" * 100)
    assert put(hub.second, FolderSource(hub.folder), tmp_path).fetched < 250_000


def third(hub: Hub, number: int) -> Manifest:
    return hub.publish(str(number), gguf([*FIRST[:7], ("t7", (200_000,), weights(number * 1000))]))


def digests(store: Path) -> set[str]:
    return {path.name for path in (store / "assets" / "sha256").glob("??/*")}


def test_the_version_in_force_and_the_one_before_are_kept(hub: Hub, tmp_path: Path) -> None:
    some = [hub.first, hub.second, third(hub, 3), third(hub, 4)]
    for one in some:
        put(one, FolderSource(hub.folder), tmp_path)
    assert collect(tmp_path, in_use=["hub:small@1"]) == some[1].bytes
    assert digests(tmp_path) == {some[n].parts[0].sha256 for n in (0, 2, 3)}
    assert here(tmp_path, "hub:small@1") == gguf(FIRST)
    assert collect(tmp_path) == some[0].bytes
    assert [one.version for one in versions(tmp_path)] == ["3", "4"]
    assert collect(tmp_path) == 0


def test_what_a_process_has_open_is_not_collected(hub: Hub, tmp_path: Path) -> None:
    some = [hub.first, hub.second, third(hub, 3)]
    for one in some:
        put(one, FolderSource(hub.folder), tmp_path)
    old = tmp_path / "assets" / "sha256" / some[0].parts[0].sha256[:2] / some[0].parts[0].sha256
    with old.open("rb"):
        assert collect(tmp_path) == 0
    assert old.exists()
    with old.open("rb") as file:
        import mmap

        mapped = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
    assert collect(tmp_path) == 0
    mapped.close()
    assert collect(tmp_path) == some[0].bytes


def test_what_the_running_site_began_with_is_not_collected(hub: Hub, tmp_path: Path) -> None:
    put(hub.first, FolderSource(hub.folder), tmp_path)
    site = Lock(tmp_path / "ledger.lock")
    put(hub.second, FolderSource(hub.folder), tmp_path)
    put(third(hub, 3), FolderSource(hub.folder), tmp_path)
    assert collect(tmp_path) == 0, "the site may load version 1 again"
    os.truncate(tmp_path / "ledger.lock", 0)
    assert collect(tmp_path) == 0, "a site runs, and nobody knows which"
    site.release()
    assert collect(tmp_path) == hub.first.bytes


def test_what_is_removed_is_gone_but_for_what_others_name(hub: Hub, tmp_path: Path) -> None:
    put(hub.first, FolderSource(hub.folder), tmp_path)
    put(hub.second, FolderSource(hub.folder), tmp_path)
    asset = assets.open_store(tmp_path).resolve("hub:small")
    assert asset is not None
    with Path(asset.path).open("rb"), pytest.raises(StoreError, match=r"asset\.in_use"):
        remove(tmp_path, "small")
    assert remove(tmp_path, "small") == hub.first.bytes + hub.second.bytes
    assert digests(tmp_path) == set()
    assert assets.open_store(tmp_path).resolve("hub:small") is None
    assert versions(tmp_path) == []


class Pulled:
    """A source that ends after so many pieces."""

    name = "a stick that is pulled out"

    def __init__(self, hub: Hub, pieces: int) -> None:
        self.folder, self.left = FolderSource(hub.folder), pieces

    def document(self, path: str, bytes_max: int) -> bytes:
        raise NotImplementedError

    def run(self, pack: str, offset: int, length: int) -> Generator[bytes]:
        for piece in self.folder.run(pack, offset, length):
            if self.left == 0:
                raise FetchError("asset.unreachable", "the stick was pulled out")
            self.left -= 1
            yield piece


def test_what_an_unfinished_delivery_has_brought_serves_the_next_version(hub: Hub, tmp_path: Path) -> None:
    with pytest.raises(FetchError):
        put(hub.first, Pulled(hub, 12), tmp_path)
    junk = tmp_path / "delivery" / "partial" / "junk"
    junk.mkdir()
    (junk / "0").write_bytes(b"what is this")
    cost = put(hub.second, FolderSource(hub.folder), tmp_path)
    assert here(tmp_path) == gguf(SECOND)
    assert cost.copied > 700_000
    assert [path.name for path in (tmp_path / "delivery" / "partial").iterdir()] == ["junk"]
    assert collect(tmp_path) == 0
    os.utime(junk, (0, 0))
    assert collect(tmp_path) > 0
    assert not junk.exists()


def large(tmp_path: Path) -> tuple[Hub, Manifest]:
    """A version whose segments are of half a MiB."""
    hub = Hub(tmp_path)
    return hub, hub.publish("9", gguf([("t", (1_500_000,), weights(5, 1_500_000))]))


def test_the_segment_that_was_coming_is_gone_on_with_by_the_next_process(tmp_path: Path) -> None:
    hub, manifest = large(tmp_path)
    with pytest.raises(FetchError):
        put(manifest, Pulled(hub, 12), tmp_path)
    assert put(manifest, FolderSource(hub.folder), tmp_path).fetched == manifest.bytes - 12 * 65_536
    assert here(tmp_path) == (hub.made / "m.gguf").read_bytes()


def test_a_beginning_that_is_wrong_is_fetched_again_and_nobody_is_blamed(tmp_path: Path) -> None:
    hub, manifest = large(tmp_path)
    with pytest.raises(FetchError):
        put(manifest, Pulled(hub, 12), tmp_path)
    (begun,) = (tmp_path / "delivery" / "partial").glob("*/begun")
    content = begun.read_bytes()
    assert len(content) > 128
    begun.write_bytes(content[:128] + bytes(len(content) - 128))
    cost = put(manifest, FolderSource(hub.folder), tmp_path)
    assert here(tmp_path) == (hub.made / "m.gguf").read_bytes()
    assert cost.wasted > 0


def test_without_a_place_for_beginnings_all_goes_on(tmp_path: Path) -> None:
    hub, manifest = large(tmp_path)
    with pytest.raises(FetchError):
        put(manifest, Pulled(hub, 12), tmp_path)
    (begun,) = (tmp_path / "delivery" / "partial").glob("*/begun")
    begun.unlink()
    begun.symlink_to(tmp_path / "elsewhere")
    assert put(manifest, FolderSource(hub.folder), tmp_path).fetched > manifest.bytes - 12 * 65_536
    assert not (tmp_path / "elsewhere").exists()
    assert here(tmp_path) == (hub.made / "m.gguf").read_bytes()


def test_a_base_that_has_gone_is_not_planned_with(hub: Hub, tmp_path: Path) -> None:
    put(hub.first, FolderSource(hub.folder), tmp_path)
    put(hub.second, FolderSource(hub.folder), tmp_path)
    remove(tmp_path, "small")
    assert put(hub.second, FolderSource(hub.folder), tmp_path).fetched == hub.second.bytes


def test_a_damaged_list_of_versions_is_said(tmp_path: Path) -> None:
    (tmp_path / "delivery").mkdir()
    (tmp_path / "delivery" / "installed.json").write_bytes(b"{")
    with pytest.raises(StoreError, match=r"asset\.index"):
        collect(tmp_path)


def test_only_one_process_installs_at_a_time(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "LOCK_WAIT_S", 0.05)
    (tmp_path / "delivery").mkdir()
    with (
        assets.files.locked(tmp_path / "delivery" / "install.lock", 1.0),
        pytest.raises(StoreError, match=r"asset\.busy"),
    ):
        put(hub.first, FolderSource(hub.folder), tmp_path)
