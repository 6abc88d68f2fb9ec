"""Arrays as bytes and back, checked: what comes from a disk is believed no further than its form."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

BYTES_MAX: Final = 64 << 20
_TYPES: Final = {"u2": np.uint16, "f2": np.float16, "f4": np.float32, "f8": np.float64, "i8": np.int64, "u8": np.uint64}
_NAMES: Final = {np.dtype(kind): name for name, kind in _TYPES.items()}


class _Part(msgspec.Struct, frozen=True, gc=False, array_like=True):
    kind: str
    shape: tuple[int, ...]
    raw: bytes


class _Packed(msgspec.Struct, frozen=True, gc=False, array_like=True):
    what: str
    parts: dict[str, _Part]


_decoder: Final = msgspec.msgpack.Decoder(_Packed)


def pack(what: str, arrays: Mapping[str, Array]) -> bytes:
    """Arrays of 16 to 64 bits under their names, little-endian. `what` says what they are, with a version."""
    parts = {
        name: _Part(_NAMES[array.dtype], array.shape, np.ascontiguousarray(array).tobytes())
        for name, array in arrays.items()
    }
    return msgspec.msgpack.encode(_Packed(what, parts))


def unpack(what: str, data: bytes) -> dict[str, Array]:
    """What `pack` wrote: read-only arrays, all of them finite.

    Raises:
        ValueError: The bytes are something else, too many, or hold a number that is none.
    """
    if len(data) > BYTES_MAX:
        raise ValueError(f"more than {BYTES_MAX} bytes")
    try:
        packed = _decoder.decode(data)
    except msgspec.MsgspecError as error:
        raise ValueError(f"not packed arrays: {error}") from error
    if packed.what != what:
        raise ValueError(f"not a {what}")
    return {name: _array(name, part) for name, part in packed.parts.items()}


def _array(name: str, part: _Part) -> Array:
    kind = _TYPES.get(part.kind)
    if kind is None or any(side < 0 for side in part.shape):
        raise ValueError(f"{name}: unknown form")
    if math.prod(part.shape) * np.dtype(kind).itemsize != len(part.raw):
        raise ValueError(f"{name}: shape and length differ")
    array: Array = np.frombuffer(part.raw, kind).reshape(part.shape)
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise ValueError(f"{name}: not finite")
    return array


def shaped(arrays: Mapping[str, Array], name: str, kind: type[Any], shape: tuple[int, ...]) -> Array:
    """The array of that name, which must have this type and this shape; -1 stands for any length.

    Raises:
        ValueError: It is missing or different.
    """
    array = arrays.get(name)
    if array is None or array.dtype != kind or array.ndim != len(shape):
        raise ValueError(f"{name}: missing, or of another type")
    if any(want not in (-1, have) for want, have in zip(shape, array.shape, strict=True)):
        raise ValueError(f"{name}: shape {array.shape}, not {shape}")
    return array
