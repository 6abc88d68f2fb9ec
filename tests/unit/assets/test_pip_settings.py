"""pip's own configuration decides where packages come from."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ecotone.assets.pip_settings import PYPI, PipSettings, config_files, local_path, read
from ecotone.values import ConfigError


@pytest.fixture
def conf(tmp_path):
    def write(name, text):
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


def test_without_any_configuration_it_is_pypi():
    assert read({}, []) == PipSettings()
    assert read({}, [Path("/no/such/pip.conf")]).indexes == (PYPI,)


def test_environment_goes_before_download_before_global_and_the_last_file_wins(conf):
    weak = conf(
        "weak",
        "[global]\nindex-url = https://a/simple\ncert = /weak.pem\ntimeout = 7\n[download]\nproxy = http://p:1\n",
    )
    strong = conf(
        "strong",
        "[global]\nindex_url = https://b/simple\nproxy = http://q:1\nextra-index-url =\n  https://c/simple\n  file:///d\n",
    )
    settings = read({"PIP_CERT": "/mine.pem", "PIP_FIND_LINKS": "/x /y"}, [weak, strong])
    assert settings.indexes == ("https://b/simple", "https://c/simple", "file:///d")
    assert settings.find_links == ("/x", "/y")
    assert (settings.link.cert, settings.link.proxy, settings.link.timeout_s) == ("/mine.pem", "http://p:1", 7.0)


def test_no_index_leaves_the_links(conf):
    settings = read({"PIP_NO_INDEX": "true", "PIP_FIND_LINKS": "/x"}, [])
    assert (settings.indexes, settings.find_links) == ((), ("/x",))
    assert read({"PIP_NO_INDEX": "0"}, []).indexes == (PYPI,)


def test_certificates_of_requests_and_curl_are_heeded_as_pip_does():
    assert read({"REQUESTS_CA_BUNDLE": "/r", "CURL_CA_BUNDLE": "/c"}, []).link.cert == "/r"
    assert read({"CURL_CA_BUNDLE": "/c"}, []).link.cert == "/c"


def test_a_time_limit_has_limits():
    assert read({"PIP_DEFAULT_TIMEOUT": "99999"}, []).link.timeout_s == 120.0
    assert read({"PIP_TIMEOUT": "0"}, []).link.timeout_s == 1.0


def test_what_cannot_be_understood_is_said_with_its_file(conf):
    with pytest.raises(ConfigError, match="bad is not a pip configuration"):
        read({}, [conf("bad", "index-url = x\n")])
    with pytest.raises(ConfigError, match="'soon' is not a number"):
        read({"PIP_TIMEOUT": "soon"}, [])


def test_the_files_are_pips_own():
    files = config_files({"HOME": "/h", "XDG_CONFIG_DIRS": "/x1:/x2", "PIP_CONFIG_FILE": "/named"})
    assert [str(path) for path in files[:5]] == [
        "/x2/pip/pip.conf",
        "/x1/pip/pip.conf",
        "/etc/pip.conf",
        "/h/.pip/pip.conf",
        "/h/.config/pip/pip.conf",
    ]
    assert files[-1] == Path("/named")
    assert config_files({"PIP_CONFIG_FILE": os.devnull}) == []


def test_places_on_this_machine():
    assert local_path("file:///a%20b/c") == Path("/a b/c")
    assert local_path("/a") == Path("/a")
    assert local_path("https://a/simple") is None
