"""Finding the wheel of one version: JSON, HTML, folders, logins."""

from __future__ import annotations

import base64
import json

import pytest

from ecotone.assets.errors import FetchError
from ecotone.assets.package_index import found
from ecotone.assets.pip_settings import PipSettings
from ecotone.assets.reference import PypiRef
from ecotone.assets.web import Link, Web
from ecotone.values import ConfigError

REF = PypiRef("my-pack", "1.0", "m.gguf")
DIGEST = "ab" * 32


@pytest.fixture
def find(origin, made, steps):
    def run(*indexes, find_links=(), ref=REF):
        settings = PipSettings(indexes=indexes or (f"{origin.url}/simple",), find_links=find_links)
        return found(ref, settings, Web(Link(timeout_s=2.0)), made.impatient(tries_max=2), steps)

    return run


def json_page(origin, *files, path="/simple/my-pack/"):
    origin.files[path] = json.dumps({"meta": {"api-version": "1.1"}, "files": files}).encode()
    origin.types[path] = "application/vnd.pypi.simple.v1+json"


def html_page(origin, text, path="/simple/my-pack/"):
    origin.files[path], origin.types[path] = text.encode(), "text/html; charset=utf-8"


def test_json_gives_url_digest_and_size(origin, find):
    json_page(
        origin,
        {"filename": "my_pack-1.0.tar.gz", "url": "https://f/s.tar.gz", "hashes": {}},
        {"filename": "my_pack-0.9-py3-none-any.whl", "url": "https://f/0.9.whl", "hashes": {}},
        {"filename": "My.Pack-1.0-py3-none-any.whl", "url": "../../f/1.whl", "hashes": {"sha256": DIGEST}, "size": 5},
    )
    wheel = find()
    assert (wheel.url, wheel.sha256, wheel.bytes, wheel.is_yanked) == (f"{origin.url}/f/1.whl", DIGEST, 5, False)
    assert "simple.v1+json" in origin.log[0][1]["accept"]


def test_html_gives_url_and_digest(origin, find):
    html_page(
        origin, f'<base href="/files/"><a data-yanked="bad" href="my_pack-1.0-py3-none-any.whl#sha256={DIGEST}">x</a>'
    )
    wheel = find()
    assert wheel.url == f"{origin.url}/files/my_pack-1.0-py3-none-any.whl"
    assert (wheel.sha256, wheel.is_yanked) == (DIGEST, True)


def test_a_wheel_for_any_machine_is_preferred_and_a_yanked_one_is_last(origin, find):
    names = ["my_pack-1.0-py3-none-win_amd64.whl", "my_pack-1.0-2-py3-none-any.whl", "my_pack-1.0-1-py3-none-any.whl"]
    json_page(
        origin, *({"filename": name, "url": f"/{name}", "yanked": "1.0-1" in name and "broken"} for name in names)
    )
    assert find().filename == names[1]


@pytest.mark.parametrize(("offered", "asked"), [("1.0.0", "1.0"), ("1.0", "1.0.0"), ("1.0_cpu", "1.0+cpu")])
def test_equal_versions_are_equal(origin, find, offered, asked):
    json_page(origin, {"filename": f"my_pack-{offered}-py3-none-any.whl", "url": "/w.whl"})
    assert find(ref=PypiRef("my-pack", asked, "m")).url == f"{origin.url}/w.whl"


def test_a_folder_of_wheels_goes_first(origin, find, tmp_path):
    (tmp_path / "my_pack-1.0-py3-none-any.whl").write_bytes(b"")
    assert find(find_links=(str(tmp_path),)).url == (tmp_path / "my_pack-1.0-py3-none-any.whl").as_uri()
    assert origin.log == []


def test_an_index_in_a_folder(find, tmp_path):
    page = tmp_path / "simple" / "my-pack" / "index.html"
    page.parent.mkdir(parents=True)
    page.write_text(f'<a href="../../files/my_pack-1.0-py3-none-any.whl#sha256={DIGEST}">x</a>')
    wheel = find((tmp_path / "simple").as_uri())
    assert wheel.url == (tmp_path / "files" / "my_pack-1.0-py3-none-any.whl").as_uri()


def test_the_next_index_is_asked_where_one_does_not_know_or_answer(origin, find, tmp_path):
    json_page(origin, {"filename": "my_pack-1.0-py3-none-any.whl", "url": "/w.whl"}, path="/b/my-pack/")
    wheel = find("http://127.0.0.1:9", tmp_path.as_uri(), f"{origin.url}/a", f"{origin.url}/b")
    assert wheel.url == f"{origin.url}/w.whl"


def test_what_no_place_has_is_said_with_the_places(origin, find):
    with pytest.raises(ConfigError, match=r"no wheel of my-pack 1\.0 in http") as caught:
        find()
    assert caught.value.code == "asset.not_found"


def test_what_could_not_be_asked_is_not_said_to_be_missing(origin, find):
    with pytest.raises(FetchError, match="no wheel of my-pack") as caught:
        find(f"{origin.url}/simple", "http://127.0.0.1:9")
    assert caught.value.code == "asset.unreachable"


def test_a_login_goes_to_the_index_and_its_files_and_is_never_shown(origin, find, made):
    host = origin.url.removeprefix("http://")
    json_page(
        origin,
        {"filename": "my_pack-1.0-py3-none-any.whl", "url": "/w.whl"},
        {"filename": "my_pack-2.0-py3-none-any.whl", "url": "https://elsewhere/w.whl"},
    )
    index = f"http://me:s%20cret@{host}/simple"
    assert find(index).url == f"http://me:s%20cret@{host}/w.whl"
    assert origin.log[0][1]["authorization"] == "Basic " + base64.b64encode(b"me:s cret").decode()
    assert find(index, ref=PypiRef("my-pack", "2.0", "m")).url == "https://elsewhere/w.whl"
    origin.acted = "/simple/my-pack/"
    origin.acts.append(made.says(401))
    with pytest.raises(FetchError) as caught:
        find(index)
    assert "cret" not in str(caught.value)


def test_an_index_on_the_web_names_no_file_of_this_machine(origin, find, tmp_path):
    html_page(origin, '<a href="file:///etc/my_pack-1.0-py3-none-any.whl">x</a>')
    with pytest.raises(ConfigError):
        find()


@pytest.mark.parametrize("body", [b"{", b"{}", b'{"files": 5}', b"\xff"])
def test_a_page_that_is_not_the_simple_api_is_said(origin, find, body):
    json_page(origin)
    origin.files["/simple/my-pack/"] = body
    with pytest.raises(FetchError, match="does not speak the Simple API"):
        find()


def test_a_page_without_an_end_is_stopped(origin, find, made, monkeypatch):
    monkeypatch.setattr("ecotone.assets.package_index.PAGE_BYTES_MAX", 100_000)
    json_page(origin)
    origin.acted = "/simple/my-pack/"
    origin.acts.append(made.endless)
    with pytest.raises(FetchError, match="longer than 100000"):
        find()


def test_a_page_that_is_cut_is_asked_again(origin, find, made):
    json_page(origin, {"filename": "my_pack-1.0-py3-none-any.whl", "url": "/w.whl"})
    origin.acted = "/simple/my-pack/"
    origin.acts.append(made.cut(20))
    assert find().url == f"{origin.url}/w.whl"
