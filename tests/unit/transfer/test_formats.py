"""What may be published is told by content; what could run code is refused whatever it is called."""

from __future__ import annotations

import io
import pickle
import struct
import tarfile
import zipfile

import numpy as np
import pytest
from tests.unit.transfer.files import gguf, reader, safetensors

from ecotone.transfer import formats
from ecotone.values import TrustError


class Runs:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        import os

        return os.system, ("true",)


def npy(array: object, version: tuple[int, int] = (1, 0)) -> bytes:
    out = io.BytesIO()
    np.lib.format.write_array(out, np.asarray(array), version=version)
    return out.getvalue()


def zipped(name: str, content: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr(name, content)
    return out.getvalue()


def tarred(content: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        info = tarfile.TarInfo("data.pkl")
        info.size = len(content)
        archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


def field(number: int, content: bytes | int) -> bytes:
    if isinstance(content, int):
        return bytes([number << 3, content])
    length, head = len(content), b""
    while length > 0x7F:
        head, length = head + bytes([length & 0x7F | 0x80]), length >> 7
    return bytes([number << 3 | 2]) + head + bytes([length]) + content


ONNX = field(1, 8) + field(2, b"maker") + field(7, b"g" * 5000) + field(8, b"opset")


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (gguf([]), "gguf"),
        (safetensors([("a", b"x")]), "safetensors"),
        (npy([1.0, 2.0]), "npy"),
        (npy([[1, 2]], (2, 0)), "npy"),
        (b"PAR1" + bytes(20) + b"PAR1", "parquet"),
        (ONNX, "onnx"),
        (b"", "text"),
        (b'{"a": [1, 2]}\n', "text"),
        ("größer\n".encode() * 200_000, "text"),
        (b"(see the notes below.)", "text"),
        (b"see.", "text"),
        (b"Kind words, Ursula.", "text"),
        (b"I have no end", "text"),
        (b"(", "text"),
    ],
)
def test_numbers_and_text_pass(content: bytes, kind: str) -> None:
    assert formats.found(reader(content), len(content)) == kind


@pytest.mark.parametrize(
    "content",
    [
        *(pickle.dumps(Runs(), protocol=protocol) for protocol in range(pickle.HIGHEST_PROTOCOL + 1)),
        pickle.dumps(Runs(), protocol=0) + b"\nwith words behind it\n",
        b"(X\x03\x00\x00\x00abccos\nsystem\n.",
        b"(U\x21" + b"a" * 33 + b"ios\nsystem\n.",
        zipped("archive/data.pkl", pickle.dumps(Runs())),
        tarred(pickle.dumps(Runs())),
        npy(np.array([Runs()], dtype=object)),
        npy(np.zeros(2, dtype=[("a", "O")])),
        b"\x93NUMPY\x01\x00\xff\xff" + bytes(100),
        b"\x1f\x8b\x08" + bytes(20),
        b"\x89HDF\r\n\x1a\n" + bytes(20),
        b"\x7fELF" + bytes(20),
        b"#!/bin/sh\n",
        b"  <!DOCTYPE html><html>login</html>",
        b"a: !!python/object/apply:os.system [true]\n",
        b"x" * ((1 << 20) - 4) + b"!!python/object:os.system\n",
        bytes(range(256)) * 10,
        b"some text \x00 with a zero",
        b"PAR1 and nothing behind it\xff",
        ONNX + b"junk behind it\xff",
        ONNX[:-3],
        field(1, 8) + field(2, b"no graph"),
        field(1, 8) + bytes([0x38, 0x01, 0xFF]),
        b"\x08",
        b"\x08" + b"\xff" * 12,
        b"\x08\x08" + b"\xff" * 12,
        struct.pack("<Q", 1 << 50) + b"{}",
    ],
)
def test_what_could_run_code_or_is_not_known_is_refused(content: bytes) -> None:
    with pytest.raises(TrustError, match=r"delivery\.unsafe"):
        formats.found(reader(content), len(content))


def test_a_protobuf_of_endless_fields_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats, "_FIELDS_MAX", 10)
    content = field(1, 8) * 20
    with pytest.raises(TrustError, match=r"delivery\.unsafe"):
        formats.found(reader(content), len(content))
