"""Model files made for tests: the formats' own bytes, written out by hand."""

from __future__ import annotations

import json
import struct

from ecotone.transfer.layout import Read


def reader(content: bytes) -> Read:
    return lambda at, n: content[at : at + n]


def text(value: str) -> bytes:
    raw = value.encode()
    return struct.pack("<Q", len(raw)) + raw


def gguf(
    tensors: list[tuple[str, tuple[int, ...], bytes]],
    *,
    keys: list[tuple[str, int, bytes]] | None = None,
    version: int = 3,
    alignment: int = 32,
    offsets: list[int] | None = None,
) -> bytes:
    """A GGUF file whose tensors (of type 0) are padded to the alignment."""
    pairs = [] if keys is None else list(keys)
    if alignment != 32:
        pairs.append(("general.alignment", 4, struct.pack("<I", alignment)))
    head = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(pairs))
    head += b"".join(text(key) + struct.pack("<I", kind) + value for key, kind, value in pairs)
    at, body = 0, b""
    for number, (name, shape, content) in enumerate(tensors):
        offset = at if offsets is None else offsets[number]
        head += text(name) + struct.pack(f"<I{len(shape)}Q", len(shape), *shape) + struct.pack("<IQ", 0, offset)
        padded = content + bytes(-len(content) % alignment)
        body += padded
        at += len(padded)
    return head + bytes(-len(head) % alignment) + body


def safetensors(tensors: list[tuple[str, bytes]], *, offsets: list[tuple[int, int]] | None = None) -> bytes:
    """A safetensors file of bytes."""
    table: dict[str, object] = {"__metadata__": {"format": "pt"}}
    at = 0
    for number, (name, content) in enumerate(tensors):
        where = (at, at + len(content)) if offsets is None else offsets[number]
        table[name] = {"dtype": "U8", "shape": [len(content)], "data_offsets": where}
        at += len(content)
    head = json.dumps(table).encode()
    return struct.pack("<Q", len(head)) + head + b"".join(content for _, content in tensors)
