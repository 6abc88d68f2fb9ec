"""One file for a stick: what is in it, and what is refused."""

from __future__ import annotations

import os
import shutil
import struct
from pathlib import Path

import msgspec
import pytest
from tests.unit.delivery.made_site import FIRST, SECOND, Site

from ecotone.assets import FetchError, StoreError
from ecotone.delivery import bundle_file, site_trust
from ecotone.delivery.bundle import BundleSource, Heading
from ecotone.delivery.sources import SourceMissing
from ecotone.values import ConfigError, TrustError

MAGIC = b"ECOTONE-BUNDLE/1\n"
HEADING = msgspec.json.encode(Heading(site="harbour", generation=1, since=0, made_s=0))
PACK = "ab" * 32


def entry(name: str, content: bytes) -> bytes:
    return struct.pack(">HQ", len(name), len(content)) + name.encode() + content


def end(count: int) -> bytes:
    return struct.pack(">HQ", 0, count)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_only_what_the_site_lacks_is_in_it(site: Site) -> None:
    whole, part = site.bundle("whole", 0), site.bundle("part", 1)
    assert part.stat().st_size < 0.6 * whole.stat().st_size
    with BundleSource(part) as source:
        assert (source.heading.site, source.heading.generation, source.heading.since) == ("harbour", 2, 1)
        assert source.name == str(part)
        assert site_trust.deliver(source, [source], site.store, is_import=True).generation == 2
    assert site.installed() == SECOND


def test_a_site_that_has_less_than_was_said_is_told(site: Site, tmp_path: Path) -> None:
    part = site.bundle("part", 1)
    fresh = tmp_path / "fresh"
    site_trust.pin(site.world.hub.pins(), "harbour", fresh)
    with BundleSource(part) as source, pytest.raises(FetchError, match="earlier --since"):
        site_trust.deliver(source, [source], fresh, is_import=True)


def test_a_bundle_follows_keys_that_were_rotated_meanwhile(site: Site) -> None:
    site.world.hub.rotate_root(site.world.roots, [site.world.key(f"root-{n}") for n in (1, 2, 3)])
    site.world.hub.refresh(site.world.online)
    with BundleSource(site.bundle("rotated", 0)) as source:
        assert site_trust.deliver(source, [source], site.store, is_import=True).generation == 2


def test_what_cannot_be_exported(site: Site) -> None:
    with pytest.raises(ConfigError, match=r"hub\.file"):
        site.bundle("one", 0)
    for since, name in ((7, "harbour"), (0, "nobody")):
        with pytest.raises(ConfigError, match=r"hub\.unknown"):
            site.bundle("none", since, name)
    pack = next((site.world.folder / "packs").iterdir())
    pack.chmod(0o644)
    pack.unlink()
    with pytest.raises(SourceMissing):
        site.bundle("none", 0)
    assert not list(site.folder.glob("*none*"))


def made(folder: Path, raw: bytes) -> Path:
    path = folder / "made.bundle"
    path.write_bytes(raw)
    return path


def test_runs_go_over_the_pieces_of_a_pack(tmp_path: Path) -> None:
    pieces = entry(f"packs/{PACK}.d/10-5", b"fghij") + entry(f"packs/{PACK}.d/0-10", b"0123456789")
    with BundleSource(made(tmp_path, MAGIC + entry("bundle.json", HEADING) + pieces + end(3))) as source:
        assert b"".join(source.run(PACK, 8, 4)) == b"89fg"
        for offset, length, pack in ((14, 2, PACK), (15, 1, PACK), (0, 1, "cd" * 32)):
            with pytest.raises(SourceMissing):
                b"".join(source.run(pack, offset, length))
        with pytest.raises(SourceMissing):
            source.document("trust.json", 10)
        with pytest.raises(FetchError, match=r"asset\.too_large"):
            source.document("bundle.json", 3)
    source.close()


HEAD = MAGIC + entry("bundle.json", HEADING)


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"", "malformed"),
        (b"PK\3\4" * 10, "malformed"),
        (MAGIC, "truncated"),
        (HEAD, "truncated"),
        (HEAD + end(1)[:-1], "truncated"),
        (HEAD + end(2), "malformed"),
        (HEAD + end(1) + b"more", "malformed"),
        (MAGIC + end(0), "malformed"),
        (MAGIC + entry("bundle.json", b"{}") + end(1), "malformed"),
        (HEAD + entry("bundle.json", HEADING) + end(2), "malformed"),
        (HEAD + entry("../../etc/passwd", b"x") + end(2), "malformed"),
        (HEAD + entry("/etc/passwd", b"x") + end(2), "malformed"),
        (HEAD + entry("catalogue/metadata/../x.json", b"x") + end(2), "malformed"),
        (HEAD + entry("packs/zz", b"x") + end(2), "malformed"),
        (HEAD + entry("x" * 401, b"x") + end(2), "malformed"),
        (HEAD + entry(f"packs/{PACK}.d/0-9", b"x") + end(2), "malformed"),
        (HEAD + struct.pack(">HQ", 5, 2**63) + b"packs", "truncated"),
    ],
)
def test_what_is_no_bundle_is_refused(tmp_path: Path, raw: bytes, code: str) -> None:
    path = made(tmp_path, raw)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(TrustError, match=rf"bundle\.{code}"):
        BundleSource(path)
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_bundle_has_so_many_entries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle_file, "ENTRIES_MAX", 1)
    with pytest.raises(TrustError, match="more than 1 entries"):
        BundleSource(made(tmp_path, HEAD + end(1)))


def test_what_cannot_be_read_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"hub\.file"):
        BundleSource(tmp_path / "none")
    with pytest.raises(StoreError, match=r"asset\.io"):
        BundleSource(tmp_path)


def test_every_byte_of_a_bundle_may_be_wrong(site: Site) -> None:
    """Whatever is changed in it: it is refused and nothing changes, or it is installed as it was signed."""
    raw = site.bundle("two", 1).read_bytes()
    path, seen, store = site.folder / "bent.bundle", set[str](), site.store
    for n in range(48):
        at = (n // 2) * len(raw) // 24 if n % 2 else n * 331
        site.store = site.folder / f"store-{n}"
        shutil.copytree(store, site.store)
        path.write_bytes(raw[:at] + bytes([raw[at] ^ 0x11]) + raw[at + 1 :])
        try:
            with BundleSource(path) as source:
                site_trust.deliver(source, [source], site.store, is_import=True)
        except (TrustError, FetchError) as error:
            seen.add(error.code)
            assert site.installed() == FIRST
        else:
            seen.add("taken")
            assert site.installed() == SECOND
        shutil.rmtree(site.store)
    assert {"bundle.malformed", "delivery.segment"} <= seen, seen
    assert len([code for code in seen if code.startswith("trust.")]) >= 2, seen
