"""Versions of one real model file: what a publisher would send after the base.

The base is SmolLM2-135M as the starter model has it (98 MB: embeddings Q8_0, matrices Q4_1, norms F32). Fine-tunes are
simulated: the matrices are dequantised, Gaussian noise of a share of each tensor's deviation is added, and they are
quantised again by the same code (which, without noise, gives the base back to the byte).
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ecotone.transfer.layout import Tensor, tensors

Floats = NDArray[np.float32]
BLOCK = 32
Q4_1, Q8_0 = 3, 8


class Model:
    """A GGUF file, and its tensors by name."""

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        self.tensors = {t.key[0]: t for t in tensors(lambda at, n: raw[at : at + n], len(raw), "gguf")}

    def content(self, tensor: Tensor) -> bytes:
        return self.raw[tensor.at : tensor.at + tensor.length]

    def values(self, tensor: Tensor) -> Floats:
        """The weights as floats."""
        kind, raw = int(tensor.key[1]), self.content(tensor)
        if kind == Q4_1:
            blocks = np.frombuffer(raw, np.dtype([("d", "<f2"), ("m", "<f2"), ("q", "u1", 16)]))
            quants = np.concatenate([blocks["q"] & 15, blocks["q"] >> 4], axis=1).astype(np.float32)
            return quants * blocks["d"].astype(np.float32)[:, None] + blocks["m"].astype(np.float32)[:, None]
        assert kind == Q8_0, "the base has no other quantised tensors"
        blocks = np.frombuffer(raw, np.dtype([("d", "<f2"), ("q", "i1", 32)]))
        return blocks["q"].astype(np.float32) * blocks["d"].astype(np.float32)[:, None]

    def with_contents(self, fresh: dict[str, bytes]) -> bytes:
        """The file with some tensors replaced by others of the same size."""
        out = bytearray(self.raw)
        for name, content in fresh.items():
            tensor = self.tensors[name]
            assert len(content) == tensor.length, "a tensor of the same type"
            out[tensor.at : tensor.at + tensor.length] = content
        return bytes(out)


def q4_1(values: Floats) -> bytes:
    """Source: ggml-quants.c, quantize_row_q4_1_ref."""
    low, high = values.min(axis=1), values.max(axis=1)
    step = (high - low) / 15
    inverse = np.divide(1, step, out=np.zeros_like(step), where=step != 0)
    quants = np.clip((values - low[:, None]) * inverse[:, None] + np.float32(0.5), 0, 15).astype(np.uint8)
    out = np.empty(len(values), np.dtype([("d", "<f2"), ("m", "<f2"), ("q", "u1", 16)]))
    out["d"], out["m"], out["q"] = step, low, quants[:, :16] | (quants[:, 16:] << 4)
    return out.tobytes()


def q8_0(values: Floats) -> bytes:
    """Source: ggml-quants.c, quantize_row_q8_0_ref."""
    step = np.abs(values).max(axis=1) / 127
    inverse = np.divide(1, step, out=np.zeros_like(step), where=step != 0)
    out = np.empty(len(values), np.dtype([("d", "<f2"), ("q", "i1", 32)]))
    out["d"], out["q"] = step, np.round(values * inverse[:, None]).astype(np.int8)
    return out.tobytes()


def tuned(model: Model, sigma: float, seed: int) -> bytes:
    """All matrices with noise of `sigma` of their deviation, quantised again."""
    dice, fresh = np.random.default_rng(seed), {}
    for name, tensor in model.tensors.items():
        kind = int(tensor.key[1])
        if kind not in (Q4_1, Q8_0):
            continue
        values = model.values(tensor)
        noise = dice.standard_normal(values.shape, np.float32) * np.float32(sigma * float(values.std()))
        fresh[name] = (q4_1 if kind == Q4_1 else q8_0)(values + noise)
    return model.with_contents(fresh)


def replaced(model: Model, is_new: Callable[[str], bool], seed: int) -> bytes:
    """Some tensors are new altogether."""
    dice = np.random.default_rng(seed)
    fresh = {}
    for name, tensor in model.tensors.items():
        if is_new(name) and int(tensor.key[1]) == Q4_1:
            shape = model.values(tensor).shape
            fresh[name] = q4_1(dice.standard_normal(shape, np.float32) * np.float32(0.1))
    return model.with_contents(fresh)


def shifted(model: Model, extra: int) -> bytes:
    """`extra` more bytes in the header: one more key."""
    entries, end = _entries_at(model)
    note = b"general.note"
    pair = struct.pack("<Q", len(note)) + note + struct.pack("<I", 8)
    words = b"n" * (extra - len(pair) - 8)
    head = model.raw[:16] + struct.pack("<Q", struct.unpack_from("<Q", model.raw, 16)[0] + 1) + model.raw[24:entries]
    head += pair + struct.pack("<Q", len(words)) + words + model.raw[entries:end]
    return head + bytes(-len(head) % 32) + model.raw[_data_at(model) :]


def requantised(model: Model) -> bytes:
    """The matrices as Q8_0: another quantisation of the same weights; the header's table is written anew."""
    entries, _ = _entries_at(model)
    head, body = bytearray(model.raw[:entries]), bytearray()
    for tensor in model.tensors.values():
        kind, content = int(tensor.key[1]), model.content(tensor)
        if kind == Q4_1:
            kind, content = Q8_0, q8_0(model.values(tensor))
        name, shape = tensor.key[0].encode(), [int(size) for size in tensor.key[2:]]
        head += struct.pack("<Q", len(name)) + name + struct.pack(f"<I{len(shape)}Q", len(shape), *shape)
        head += struct.pack("<IQ", kind, len(body))
        body += content + bytes(-len(content) % 32)
    return bytes(head) + bytes(-len(head) % 32) + bytes(body)


def adapter(model: Model, rank: int, seed: int) -> bytes:
    """A LoRA adapter of the attention's q and v as safetensors, in half precision."""
    dice, table, body = np.random.default_rng(seed), {}, bytearray()
    for name, tensor in model.tensors.items():
        if "attn_q." not in name and "attn_v." not in name:
            continue
        columns, rows = (int(size) for size in tensor.key[2:4])
        for side, shape in (("a", (rank, columns)), ("b", (rows, rank))):
            content = (dice.standard_normal(shape) * 0.01).astype(np.float16).tobytes()
            table[f"{name}.{side}"] = {
                "dtype": "F16", "shape": shape, "data_offsets": (len(body), len(body) + len(content))
            }  # fmt: skip
            body += content
    head = json.dumps(table).encode()
    return struct.pack("<Q", len(head)) + head + bytes(body)


def write_all(base: Path, folder: Path) -> dict[str, Path]:
    """The versions, written into the folder, by name; those that are there are not made again."""
    folder.mkdir(parents=True, exist_ok=True)
    model = Model(base.read_bytes())
    assert tuned(model, 0.0, 0) == model.raw, "the quantiser is the one that made the base"
    last = ("blk.28.", "blk.29.")
    makers: dict[str, Callable[[], bytes]] = {
        "base": lambda: model.raw,
        "B1-last-blocks": lambda: replaced(model, lambda name: name.startswith(last), 1),
        "B2-attention-qv": lambda: replaced(model, lambda name: "attn_q." in name or "attn_v." in name, 2),
        "B3-header-shift": lambda: shifted(model, 137),
        "Q8-requantised": lambda: requantised(model),
        "FT-0.1pct": lambda: tuned(model, 0.001, 3),
        "FT-1pct": lambda: tuned(model, 0.01, 4),
        "LoRA-file": lambda: adapter(model, 8, 5),
    }
    paths = {}
    for name, make in makers.items():
        paths[name] = folder / f"{name}.gguf"
        if not paths[name].exists():
            paths[name].write_bytes(make())
    return paths


def _data_at(model: Model) -> int:
    return min(tensor.at for tensor in model.tensors.values())


def _entries_at(model: Model) -> tuple[int, int]:
    """Where the table of tensors begins and ends in the header."""
    first = next(iter(model.tensors.values())).key
    mark = struct.pack("<Q", len(first[0])) + first[0].encode() + struct.pack("<I", len(first) - 2)
    begins = model.raw.index(mark)
    ends = begins + sum(24 + len(t.key[0].encode()) + 8 * (len(t.key) - 2) for t in model.tensors.values())
    assert -(-ends // 32) * 32 == _data_at(model), "the table ends where the tensors begin"
    return begins, ends
