"""Where the tensors of a model file lie, and the runs of bytes that a file is cut into.

A file is cut where its tensors begin, so that a tensor that did not change has the same segments in every version of
the file, wherever it has moved to. What is not a tensor (headers, other formats) is cut by its content. Files come from
strangers: every count is checked against what is left of the file before anything is made of it.

Source: ggml, docs/gguf.md; safetensors, README, Format.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import Final

import msgspec

from ecotone.transfer.manifest import SEGMENT_BYTES_MAX
from ecotone.values import TrustError

__all__ = ["Read", "Span", "Tensor", "cuts", "tensors"]

Read = Callable[[int, int], bytes]
"""`read(at, n)`: exactly the `n` bytes from `at`, or fewer where the file ends."""

PIECE_BYTES_MIN: Final = 64 << 10
CONTENT_BYTES_AVG: Final = 64 << 10
HEADER_BYTES_MAX: Final = 128 << 20
TENSORS_MAX: Final = 1 << 16
_WINDOW_BYTES: Final = 4 << 20
_ALIGNMENT: Final = b"general.alignment"
_SIZES: Final = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
_STRING, _ARRAY, _U32 = 8, 9, 4


class Tensor(msgspec.Struct, frozen=True):
    """A tensor in a file.

    Attributes:
        key: Name, type and shape: what must be equal for two versions of it to be subtracted.
        at: First byte in the file.
        length: Bytes up to the next tensor, padding included.
    """

    key: tuple[str, ...]
    at: int
    length: int


class Span(msgspec.Struct, frozen=True):
    """A run of bytes that becomes a segment; `piece` names the piece of a tensor that it is, or is empty."""

    at: int
    length: int
    piece: tuple[str, ...] = ()


def tensors(read: Read, size: int, format_: str) -> tuple[Tensor, ...]:
    """The file's tensors in the order of their bytes; they reach to its end. Empty for a format without a table.

    Args:
        read: The file.
        size: Its size, bytes.
        format_: As `formats.found` says.

    Raises:
        TrustError: `delivery.malformed`.
    """
    if format_ == "gguf":
        found = _gguf(_Cursor(read, size), size)
    elif format_ == "safetensors":
        found = _safetensors(read, size)
    else:
        return ()
    at = found[0].at if found else 0
    for tensor in found:
        if tensor.at != at or tensor.length < 0:
            raise _bad("its tensors overlap or leave gaps")
        at += tensor.length
    if found and at != size:
        raise _bad("its tensors do not end where it ends")
    return tuple(tensor for tensor in found if tensor.length)


def cuts(read: Read, size: int, table: tuple[Tensor, ...]) -> Iterator[Span]:
    """The file as runs of at most `SEGMENT_BYTES_MAX` bytes, in order and without gaps."""
    header = table[0].at if table else size
    yield from _by_content(read, header)
    for tensor in table:
        step = _piece_bytes(tensor.length)
        for number, at in enumerate(range(0, tensor.length, step)):
            length = min(step, tensor.length - at)
            yield Span(tensor.at + at, length, (*tensor.key, str(tensor.length), str(number)))


def _piece_bytes(length: int) -> int:
    """A power of two that follows from the tensor alone, so that it is cut alike in every file."""
    step = PIECE_BYTES_MIN
    while step < SEGMENT_BYTES_MAX and step * 4 < length:
        step *= 2
    return step


def _by_content(read: Read, end: int) -> Iterator[Span]:
    # Loaded here: only who publishes, or compares what is on the disk, needs it.
    from pyfastcdc import FastCDC

    cutter = FastCDC(avg_size=CONTENT_BYTES_AVG, seed=0)
    at = 0
    while at < end:
        window = read(at, min(_WINDOW_BYTES, end - at))
        if len(window) < min(_WINDOW_BYTES, end - at):
            raise _bad("it became shorter while it was read")
        lengths = [chunk.length for chunk in cutter.cut_buf(window)]
        if at + len(window) < end:
            lengths.pop()  # where the window ended is not where the content would have been cut
        for length in lengths:
            yield Span(at, length)
            at += length


class _Cursor:
    """Reads a header from its start in large pieces."""

    def __init__(self, read: Read, size: int) -> None:
        self._read, self._size = read, min(size, HEADER_BYTES_MAX)
        self._buffer, self._base, self._at = b"", 0, 0

    @property
    def at(self) -> int:
        return self._base + self._at

    def take(self, n: int) -> bytes:
        if n > self._size - self.at:
            raise _bad("its header is longer than the file, or than any header")
        if n > len(self._buffer) - self._at:
            self._base, self._at, wanted = self.at, 0, max(n, min(1 << 20, self._size - self.at))
            self._buffer = self._read(self._base, wanted)
            if len(self._buffer) < wanted:
                raise _bad("it became shorter while it was read")
        found = self._buffer[self._at : self._at + n]
        self._at += n
        return found

    def skip(self, n: int) -> None:
        if n > self._size - self.at:
            raise _bad("its header is longer than the file, or than any header")
        if n <= len(self._buffer) - self._at:
            self._at += n
        else:
            self._base, self._at, self._buffer = self.at + n, 0, b""

    def u32(self) -> int:
        return int.from_bytes(self.take(4), "little")

    def u64(self) -> int:
        return int.from_bytes(self.take(8), "little")


def _gguf(cursor: _Cursor, size: int) -> list[Tensor]:
    cursor.take(4)
    if cursor.u32() not in (2, 3):
        raise _bad("its version of GGUF is none that is known (2, 3)")
    count, pairs = cursor.u64(), cursor.u64()
    if count > TENSORS_MAX or pairs > TENSORS_MAX:
        raise _bad("it claims more tensors or keys than any model has")
    alignment = 32
    for _ in range(pairs):
        key, kind = cursor.take(cursor.u64()), cursor.u32()
        if key == _ALIGNMENT and kind == _U32:
            alignment = cursor.u32()
        else:
            _skip_value(cursor, kind)
    if alignment not in (8 << n for n in range(14)):
        raise _bad("its alignment is not a power of two")
    entries = sorted(_gguf_entry(cursor) for _ in range(count))
    start = -(-cursor.at // alignment) * alignment
    if start > size or any(offset % alignment or offset > size - start for offset, _ in entries):
        raise _bad("a tensor lies outside the file")
    if entries and entries[0][0]:
        raise _bad("its tensors leave a gap")
    ends = [offset for offset, _ in entries[1:]] + [size - start]
    return [Tensor(key, start + offset, end - offset) for (offset, key), end in zip(entries, ends, strict=False)]


def _gguf_entry(cursor: _Cursor) -> tuple[int, tuple[str, ...]]:
    name = cursor.take(cursor.u64())
    rank = cursor.u32()
    if rank > 8:
        raise _bad("a tensor has more than eight dimensions")
    shape = struct.unpack(f"<{rank}Q", cursor.take(8 * rank))
    kind, offset = cursor.u32(), cursor.u64()
    return offset, (name.decode("utf-8", "backslashreplace"), str(kind), *map(str, shape))


def _skip_value(cursor: _Cursor, kind: int) -> None:
    if kind == _STRING:
        cursor.skip(cursor.u64())
    elif kind == _ARRAY:
        inner, count = cursor.u32(), cursor.u64()
        if inner == _STRING:
            if count * 8 > HEADER_BYTES_MAX:
                raise _bad("an array in its header is longer than any header")
            for _ in range(count):
                cursor.skip(cursor.u64())
        elif inner in _SIZES:
            cursor.skip(_SIZES[inner] * count)
        else:
            raise _bad("its header holds a value of an unknown kind")
    elif kind in _SIZES:
        cursor.skip(_SIZES[kind])
    else:
        raise _bad("its header holds a value of an unknown kind")


class _Entry(msgspec.Struct):
    dtype: str
    shape: list[int]
    data_offsets: tuple[int, int]


def _safetensors(read: Read, size: int) -> list[Tensor]:
    length = int.from_bytes(read(0, 8), "little")
    if length > min(size - 8, HEADER_BYTES_MAX):
        raise _bad("its header is longer than the file, or than any header")
    try:
        header: dict[str, msgspec.Raw] = msgspec.json.decode(read(8, length), type=dict[str, msgspec.Raw])
        header.pop("__metadata__", None)
        entries = {name: msgspec.json.decode(raw, type=_Entry) for name, raw in header.items()}
    except (msgspec.DecodeError, RecursionError) as error:
        raise _bad("its header is not the table of tensors that safetensors has") from error
    if len(entries) > TENSORS_MAX:
        raise _bad("it claims more tensors than any model has")
    start = 8 + length
    ordered = sorted(entries.items(), key=lambda item: item[1].data_offsets)
    if ordered and ordered[0][1].data_offsets[0]:
        raise _bad("its tensors leave a gap")
    return [
        Tensor(
            (name, one.dtype, *map(str, one.shape)),
            start + one.data_offsets[0],
            one.data_offsets[1] - one.data_offsets[0],
        )
        for name, one in ordered
    ]


def _bad(why: str) -> TrustError:
    return TrustError("delivery.malformed", f"the file is not what it says it is: {why}. It is not published")
