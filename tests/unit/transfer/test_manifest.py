"""A manifest says the same thing as what it was made from, and nothing out of bounds is taken from one."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from ecotone.transfer import Delta, Manifest, Part, Segment, decode, encode, manifest
from ecotone.values import TrustError

A, B, C = "a" * 64, "b" * 64, "c" * 64
GOOD = Manifest(
    name="small",
    version="1.0",
    kind="model",
    licence="MIT",
    packs=(C,),
    parts=(
        Part(
            path="m.gguf",
            bytes=30,
            blake3=A,
            sha256=B,
            format="gguf",
            segments=(Segment(A, 10, 0, 0), Segment(B, 20, 0, 10, (Delta(A, 0, 30, 5),))),
        ),
    ),
)


def test_what_was_written_is_read() -> None:
    assert decode(encode(GOOD)) == GOOD
    assert encode(decode(encode(GOOD))) == encode(GOOD)
    assert GOOD.bytes == 30


def changed(path: str, value: object) -> bytes:
    tree: Any = json.loads(encode(GOOD))
    at = tree
    *way, last = path.split(".")
    for step in way:
        at = at[int(step) if step.isdecimal() else step]
    at[int(last) if last.isdecimal() else last] = value
    return json.dumps(tree).encode()


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("name", "../up"),
        ("name", "small\n"),
        ("version", ""),
        ("kind", "program"),
        ("format", 2),
        ("surprise", 1),
        ("packs", ["../../etc/passwd"]),
        ("packs", []),
        ("parts", []),
        ("parts.0.path", "a/b"),
        ("parts.0.path", ".."),
        ("parts.0.path", ".hidden"),
        ("parts.0.bytes", 31),
        ("parts.0.bytes", -1),
        ("parts.0.segments.0", [A, 10, 1, 0, []]),
        ("parts.0.segments.0", [A, 10, 0, 64 << 20, []]),
        ("parts.0.segments.0", [A, 10, 0, -5, []]),
        ("parts.0.segments.0", [A, (1 << 20) + 1, 0, 0, []]),
        ("parts.0.segments.1.4.0", [A, 7, 30, 5]),
        ("parts.0.segments.1.4.0", [A, 0, 64 << 20, 5]),
        ("parts.0.segments.1.4.0", [A[:-1] + "G", 0, 30, 5]),
    ],
)
def test_what_is_out_of_bounds_is_refused(path: str, value: object) -> None:
    with pytest.raises(TrustError, match=r"delivery\.manifest"):
        decode(changed(path, value))


def test_two_files_of_one_name_are_refused() -> None:
    twice = msgspec.structs.replace(GOOD, parts=GOOD.parts * 2)
    with pytest.raises(TrustError, match="same name"):
        decode(encode(twice))


def test_an_endless_manifest_is_refused_before_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifest, "MANIFEST_BYTES_MAX", 10)
    with pytest.raises(TrustError, match="longer than"):
        decode(encode(GOOD))


def test_a_manifest_that_nests_without_end_is_refused() -> None:
    with pytest.raises(TrustError, match=r"delivery\.manifest"):
        decode(b"[" * 100_000)
