"""Arrays as bytes and back."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from ecotone.learning import packing
from ecotone.learning.packing import pack, shaped, unpack

ARRAYS = {
    "a": np.arange(6, dtype=np.float64).reshape(2, 3),
    "b": np.array([1, 2], np.uint64),
    "c": np.zeros((0, 4), np.float16),
    "d": np.asfortranarray(np.arange(4, dtype=np.float32).reshape(2, 2)),
}


def test_what_was_packed_comes_back_and_cannot_be_changed() -> None:
    found = unpack("thing", pack("thing", ARRAYS))
    assert found.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert found[name].dtype == array.dtype
        assert np.array_equal(found[name], array)
    with pytest.raises(ValueError, match="read-only"):
        found["a"][0, 0] = 1.0


def _raw(part: object, what: str = "thing") -> bytes:
    return msgspec.msgpack.encode([what, {"a": part}])


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"\xc1", "not packed arrays"),
        (pack("other", ARRAYS), "not a thing"),
        (_raw(["f9", [1], b"12345678"]), "unknown form"),
        (_raw(["f8", [-1, -1], b"12345678"]), "unknown form"),
        (_raw(["f8", [2], b"12345678"]), "shape and length"),
        (_raw(["f8", [1 << 40, 1 << 40], b""]), "shape and length"),
        (_raw(["f8", [1], np.array([np.nan]).tobytes()]), "not finite"),
        (_raw(["f2", [1], np.array([np.inf], np.float16).tobytes()]), "not finite"),
    ],
)
def test_what_is_broken_is_refused(data: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        unpack("thing", data)


def test_too_much_is_refused_unread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "BYTES_MAX", 10)
    with pytest.raises(ValueError, match="more than 10 bytes"):
        unpack("thing", pack("thing", ARRAYS))


def test_an_array_must_be_there_with_its_type_and_shape() -> None:
    assert shaped(ARRAYS, "a", np.float64, (2, -1)) is ARRAYS["a"]
    for name, kind, shape in (("x", np.float64, (2, 3)), ("a", np.float32, (2, 3)), ("a", np.float64, (6,))):
        with pytest.raises(ValueError, match="missing"):
            shaped(ARRAYS, name, kind, shape)
    with pytest.raises(ValueError, match="shape"):
        shaped(ARRAYS, "a", np.float64, (3, -1))
