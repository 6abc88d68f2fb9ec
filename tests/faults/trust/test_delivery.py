"""Attacks on a delivery, with real files and a real link: each is refused, what is installed is loaded as before."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import msgspec
import pytest
from tests.unit.delivery.made_site import FIRST, SECOND, Site

from ecotone.assets import open_store
from ecotone.delivery import hub_keys, site_trust
from ecotone.delivery.bundle import BundleSource
from ecotone.delivery.sources import FolderSource, HttpSource, Rate, Source
from ecotone.trust import terms
from ecotone.trust.agreeing import Asset
from ecotone.values import EcotoneError


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def code_of(act: Callable[[], object]) -> str:
    with pytest.raises(EcotoneError) as caught:
        act()
    return caught.value.code


def damaged(site: Site, part: str, change: Callable[[bytes], bytes]) -> Path:
    """A copy of the hub in which the files that have `part` in their path are changed."""
    copy = site.folder / "damaged"
    shutil.copytree(site.world.folder, copy)
    found = [path for path in copy.rglob("*") if part in str(path.relative_to(copy)) and path.is_file()]
    assert found
    for path in found:
        path.write_bytes(change(path.read_bytes()))
    return copy


def flipped(raw: bytes) -> bytes:
    return raw[:-1000] + bytes([raw[-1000] ^ 1]) + raw[-999:]


def test_nothing_is_wrong(site: Site) -> None:
    assert site.installed() == FIRST
    assert site.take().generation == 2
    assert site.installed() == SECOND


def test_an_old_stick(site: Site) -> None:
    site.take()
    assert code_of(lambda: site.take(site.first, is_import=True)) == "trust.rollback"
    with BundleSource(site.folder / "one.bundle") as old:
        assert code_of(lambda: site_trust.deliver(old, [old], site.store, is_import=True)) == "trust.rollback"
    assert site.installed() == SECOND


def test_tampered_weights(site: Site) -> None:
    copy = damaged(site, "packs/", flipped)
    assert code_of(lambda: site.take(copy)) == "delivery.segment"
    assert site.installed() == FIRST
    assert site.take().generation == 2
    assert site.installed() == SECOND


@pytest.mark.parametrize(
    ("part", "code"),
    [
        ("smol@2", "trust.digest"),
        ("harbour.json", "trust.digest"),
        ("timestamp.json", "trust.signature"),
        ("snapshot.json", "trust.mixed"),
        ("targets.json", "trust.mixed"),
        ("models.json", "trust.mixed"),
    ],
)
def test_tampered_documents(site: Site, part: str, code: str) -> None:
    def change(raw: bytes) -> bytes:
        fresh = (
            raw.replace(b'"issued_at":1', b'"issued_at":2').replace(b"MIT", b"BSD").replace(b'ration":2', b'ration":3')
        )
        assert fresh != raw or b"generation" in raw
        return fresh

    assert code_of(lambda: site.take(damaged(site, part, change))) == code
    assert site.installed() == FIRST


def test_a_stolen_director_key(site: Site) -> None:
    hub = site.world.hub
    hub.assign("harbour", [Asset("smol", "3", "model", "ab" * 32, 99)], site.world.key("director"))
    hub.refresh(site.world.online)
    assert code_of(site.take) == "trust.not_in_both"
    assert site.installed() == FIRST


def test_a_stolen_publisher_key(site: Site) -> None:
    site.take()
    site.publish("3", b"evil" * 9_000)
    assert site.take().generation == 2
    assert site.installed() == SECOND


def test_a_key_that_was_rotated_away(site: Site) -> None:
    thief = site.world.copied(site.folder / "thief")
    world, fresh = site.world, hub_keys.made()
    world.hub.rotate_online("director", world.roots, fresh)
    world.hub.refresh([world.key("online"), fresh])
    site.take()
    thief.hub.refresh(thief.online)
    thief.hub.refresh(thief.online)
    for path in world.folder.glob("director/metadata/*.root.json"):
        shutil.copy(path, thief.folder / "director" / "metadata")
    assert code_of(lambda: site.take(thief.folder)) == "trust.signature"
    assert site.installed() == SECOND


def test_a_link_that_is_frozen_and_a_stick_that_is_too_old(tmp_path: Path) -> None:
    site = Site(tmp_path, time.time() - 6 * terms.DAY_S)
    source = site.world.copied(tmp_path / "frozen")
    later_s = site.world.now_s + 8 * terms.DAY_S
    frozen = FolderSource(source.folder)
    assert code_of(lambda: site_trust.desired(frozen, site.store, is_import=False, clock_s=later_s)) == "trust.expired"
    assert site_trust.desired(frozen, site.store, is_import=True, clock_s=later_s).generation == 2
    much_later_s = later_s + 180 * terms.DAY_S
    code = code_of(lambda: site_trust.desired(frozen, site.store, is_import=True, clock_s=much_later_s))
    assert (code, site.installed()) == ("trust.expired", FIRST)


@pytest.mark.parametrize("clock_s", [0.0, time.time() - terms.DAY_S], ids=["1970", "yesterday"])
def test_a_clock_that_is_behind(site: Site, clock_s: float) -> None:
    here = FolderSource(site.world.folder)
    assert site_trust.desired(here, site.store, is_import=False, clock_s=clock_s).generation == 2
    old = FolderSource(site.first)
    assert code_of(lambda: site_trust.desired(old, site.store, is_import=False, clock_s=clock_s)) == "trust.rollback"
    assert site.installed() == FIRST


def test_a_clock_a_year_ahead(site: Site) -> None:
    here, year_s = FolderSource(site.world.folder), time.time() + 366 * terms.DAY_S
    for is_import in (False, True):
        code = code_of(lambda: site_trust.desired(here, site.store, is_import=is_import, clock_s=year_s))  # noqa: B023 - called at once
        assert code == "trust.expired"
    assert site.installed() == FIRST
    assert site.take().generation == 2


def test_a_bundle_for_another_site(site: Site) -> None:
    site.world.assign("inland", "smol@1")
    path = site.bundle("inland", 0, "inland")
    with BundleSource(path) as other:
        # It holds what is signed, and not what this site shall have.
        assert code_of(lambda: site_trust.deliver(other, [other], site.store, is_import=True)) == "trust.missing"
    assert site.installed() == FIRST


@pytest.mark.parametrize("share", [0.001, 0.2, 0.9, 0.99999])
def test_a_bundle_that_was_not_copied_to_its_end(site: Site, share: float) -> None:
    path = site.bundle("two", 1)
    raw = path.read_bytes()
    path.write_bytes(raw[: int(len(raw) * share)])
    assert code_of(lambda: BundleSource(path)) in ("bundle.truncated", "bundle.malformed")


def test_a_bundle_with_changed_weights(site: Site) -> None:
    path = site.bundle("two", 1)
    path.write_bytes(flipped(path.read_bytes()))
    with BundleSource(path) as source:
        code = code_of(lambda: site_trust.deliver(source, [source], site.store, is_import=True))
    assert (code, site.installed()) == ("delivery.segment", FIRST)


def test_a_file_that_is_swapped_after_it_was_verified(site: Site) -> None:
    site.take()
    store = open_store(site.store)
    asset = store.resolve("hub:smol")
    assert asset is not None
    path = Path(asset.path)
    path.chmod(0o644)
    path.write_bytes(SECOND[:-1] + b"x")
    assert code_of(site.installed) == "asset.digest"
    # And it is put together anew from what is signed.
    site.take()
    assert site.installed() == SECOND


@contextmanager
def serving(body: Callable[[], Iterator[bytes]], length: int | None) -> Iterator[str]:
    """A server that answers everything with this; `None` as length: it never says how much will come."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            if ".root." in self.path:
                self.send_error(404)
                return
            self.send_response(200)
            if length is not None:
                self.send_header("Content-Length", str(length))
            self.end_headers()
            try:
                for piece in body():
                    self.wfile.write(piece)
            except OSError:
                pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def endless() -> Iterator[bytes]:
    while True:
        yield b" " * 65_536


def dripping() -> Iterator[bytes]:
    while True:
        yield b" "
        time.sleep(0.02)


@pytest.mark.parametrize(("body", "code"), [(endless, "asset.too_large"), (dripping, "asset.unreachable")])
def test_a_server_that_never_ends(site: Site, body: Callable[[], Iterator[bytes]], code: str) -> None:
    with serving(body, None) as url:
        source: Source = HttpSource(url, Rate(stall_s=0.3))
        assert code_of(lambda: site_trust.desired(source, site.store, is_import=False)) == code
    assert site.installed() == FIRST


def test_a_site_that_never_pinned_takes_nothing(site: Site, tmp_path: Path) -> None:
    source = FolderSource(site.world.folder)
    assert code_of(lambda: site_trust.desired(source, tmp_path / "other", is_import=False)) == "trust.unpinned"


def test_a_damaged_memory_stops_deliveries_and_nothing_else(site: Site) -> None:
    (site.store / "trust" / "trust.json").write_bytes(msgspec.json.encode({"site": "harbour"}))
    assert code_of(site.take) == "trust.memory"
    assert site.installed() == FIRST
