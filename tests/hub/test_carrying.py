"""A hub that moves from a folder into a sealed bucket, and is served from there to real sites, on PostgreSQL too."""

from __future__ import annotations

import json
import time
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner
from tests.hub import served as room
from tests.unit.trust.made_hub import walked

from ecotone.cli.root import ecotone
from ecotone.delivery.objects import Folder
from ecotone.delivery.packs import Packed
from ecotone.hub import settings
from ecotone.hub.carrying import carry
from ecotone.hub.objects import Objects, open_objects
from ecotone.hub.sealed import Keys, Sealed
from ecotone.hub.serving import opened
from ecotone.transfer import decode
from ecotone.trust import Known, Memory, Roots


@pytest.fixture
def chosen(tmp_path: Path, database_url: str) -> settings.Settings:
    return room.made(tmp_path, database_url)


def contents(objects: Objects) -> dict[str, bytes]:
    return {one.name: objects.get(one.name) for one in objects.list("")}


def test_all_is_carried_and_only_once(chosen: settings.Settings, objects: Objects) -> None:
    source, target = Folder(chosen.folder), Sealed(objects, Keys(b"k" * 32))
    done = carry(source, target)
    assert contents(target) == contents(source)
    assert done.left == 0
    assert done.done == len(contents(source))
    again = carry(source, target)
    assert (again.done, again.left) == (5, done.done - 5), "what moves is written again"


class _Cut(Folder):
    """Ends the process after so many writes."""

    left = 0

    def put(self, name: str, content: bytes, *, is_new: bool = False) -> None:
        self._count()
        super().put(name, content, is_new=is_new)

    def take(self, name: str, path: Path, *, is_new: bool = False) -> None:
        self._count()
        super().take(name, path, is_new=is_new)

    def _count(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt


def test_cut_off_anywhere_it_is_no_mixture(chosen: settings.Settings, tmp_path: Path) -> None:
    source = Folder(chosen.folder)
    with opened(chosen) as hub:
        asset = hub.repositories.find("smol").asset
        hub.wishes.set({"harbour": [asset]}, "test")
        roots = Roots.decode(hub.repositories.pins())
    pinned = (Known(bytes(roots.catalogue)), Known(bytes(roots.director)))
    memory = Memory(site="harbour", catalogue=pinned[0], director=pinned[1], pinned="00")
    whole = len(contents(source))
    for number in range(whole):
        target = _Cut(tmp_path / f"to-{number}")
        target.left = number
        with pytest.raises(KeyboardInterrupt):
            carry(source, target)
        files = contents(target)
        if "director/metadata/timestamp.json" in files:
            assert walked(memory, files, time.time())[0].generation == 1
        assert not list(target.path.rglob(".*"))
    target = _Cut(tmp_path / "to-3")
    target.left = whole
    carry(source, target)
    assert contents(target) == contents(source)


@pytest.fixture
def sealed_bucket(
    chosen: settings.Settings, s3_options: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> settings.Settings:
    monkeypatch.setenv("ECOTONE_TEST_SEAL", "5" * 64)
    given = settings.Objects(
        url=f"s3://{s3_options['bucket']}/hub",
        endpoint=s3_options["endpoint"],
        store_region=s3_options["region"],
        key_id=s3_options["aws_access_key_id"],
        key=s3_options["aws_secret_access_key"],
    )
    moved = msgspec.structs.replace(chosen, objects=given, encrypt=settings.Encrypt(key="env:ECOTONE_TEST_SEAL"))
    with opened(moved) as hub:
        carry(Folder(chosen.folder), hub.objects)
    return moved


def test_a_site_is_served_from_a_sealed_bucket(
    sealed_bucket: settings.Settings, s3_options: dict[str, str], tmp_path: Path
) -> None:
    with room.serving(sealed_bucket) as at:
        site = room.joined(at, "harbour")
        assert room.assign(at, "harbour", "smol@2") == 1
        roots = Roots.decode(site.get("/trust.json").body)
        memory = Memory(
            site="harbour", catalogue=Known(bytes(roots.catalogue)), director=Known(bytes(roots.director)), pinned="00"
        )
        agreed, _ = walked(memory, _Over(site), time.time())
        manifest = decode(agreed.assets[0].manifest)
        plain = Folder(sealed_bucket.folder)
        for pack in manifest.packs:
            whole = plain.get(f"packs/{pack}", 64 << 20)
            assert site.get(f"/packs/{pack}").body == whole
            part = site.get(f"/packs/{pack}", range="bytes=65530-65600")
            assert part.status == 206
            assert part.body == whole[65530:65601]
            assert part.headers["content-range"].endswith(f"/{len(whole)}")
        with opened(sealed_bucket) as hub:
            part_of = manifest.parts[0]
            read = Packed(hub.objects, manifest, part_of).read(0, part_of.bytes)
            assert read == Packed(plain, manifest, part_of).read(0, part_of.bytes)
    bucket = s3_options.pop("bucket")
    raw = contents(open_objects(f"s3://{bucket}/hub", s3_options))
    kinds = {name.split("/")[1] if "/" in name else name for name, body in raw.items() if body.startswith(b"ECOSEAL1")}
    assert kinds >= {"targets"}
    assert all(body.startswith(b"ECOSEAL1") for name, body in raw.items() if name.startswith("packs/"))
    assert not [name for name, body in raw.items() if b"smol 2 smol 2" in body]


class _Over(dict[str, bytes]):
    """The hub's files, each asked for by a site over the wire."""

    def __init__(self, site: room.Site) -> None:
        super().__init__()
        self._site = site

    def get(self, path: str, default: object = None) -> bytes | None:  # type: ignore[override]  # all that is asked of it
        answer = self._site.get(f"/{path}")
        return answer.body if answer.status == 200 else None


def test_the_command(chosen: settings.Settings, tmp_path: Path) -> None:
    def run(*arguments: str) -> tuple[int, str]:
        done = CliRunner().invoke(ecotone, ["hub", "carry", *arguments])
        return done.exit_code, done.output

    file = tmp_path / "hub.yaml"
    file.write_text(f"folder: {chosen.folder}\nobjects: {{url: '{tmp_path / 'there'}'}}\n")
    code, told = run("-c", str(file), "--json")
    assert code == 0, told
    assert json.loads(told)["done"] > 10
    assert contents(Folder(tmp_path / "there")) == contents(Folder(chosen.folder))
    assert "were there already" in run("-c", str(file))[1]
    assert run(str(chosen.folder))[0] == 2
