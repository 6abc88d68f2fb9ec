"""What a file is, by its content; what could run code when it is loaded is not published.

Only formats that are known to hold numbers or text pass. A name proves nothing: a pickle called `model.safetensors` is
a pickle. Archives are refused whatever is in them, since what loads them looks inside.
"""

from __future__ import annotations

import codecs
import re
from typing import Final, Literal

from ecotone.transfer.layout import Read
from ecotone.values import TrustError

__all__ = ["Format", "found"]

Format = Literal["gguf", "safetensors", "onnx", "parquet", "npy", "text"]

_HEAD_BYTES: Final = 4096
_CHUNK_BYTES: Final = 1 << 20
_TAR_AT: Final = 257

_REFUSED: Final = (
    (re.compile(rb"\x80[\x01-\x05]"), "a pickle, which runs code when it is loaded"),
    (
        re.compile(rb"PK(\x03\x04|\x05\x06|\x07\x08)"),
        "a zip archive (as .pt, .npz and .keras are), which may hold a pickle",
    ),
    (re.compile(rb"\x1f\x8b|BZh[1-9]|\xfd7zXZ\0|\x28\xb5\x2f\xfd|7z\xbc\xaf\x27\x1c|Rar!"), "an archive"),
    (re.compile(rb"\x89HDF\r\n"), "an HDF5 file, in which Keras keeps code"),
    (re.compile(rb"\x7fELF|MZ|#!|\xca\xfe\xba\xbe|\xcf\xfa\xed\xfe|\xfe\xed\xfa"), "a program"),
)
_HTML: Final = re.compile(rb"<(!doctype\s+html|html|head|body|script)\b", re.IGNORECASE)
_TAG: Final = re.compile(rb"!!python/")
_CONTROL: Final = re.compile(r"[\x00-\x08\x0e-\x1f\x7f]")
_DESCR: Final = re.compile(
    rb"\{'descr': '[<>|=]?([biufc?SU])\d{0,6}', 'fortran_order': (True|False), 'shape': \([\d, ]*\), \}\s*"
)

# Top-level fields of onnx.ModelProto and their wire types (0: number, 2: bytes).
# Source: onnx/onnx.proto, ModelProto.
_ONNX: Final = {1: 0, 2: 2, 3: 2, 4: 2, 5: 0, 6: 2, 7: 2, 8: 2, 14: 2, 20: 2, 25: 2, 26: 2}
_ONNX_GRAPH: Final = 7
_FIELDS_MAX: Final = 100_000


def found(read: Read, size: int) -> Format:
    """The file's format.

    Args:
        read: The file.
        size: Its size, bytes.

    Raises:
        TrustError: `delivery.unsafe`, for what could run code, and for what is not known.
    """
    head = read(0, _HEAD_BYTES)
    if head[:4] == b"GGUF":
        return "gguf"
    for pattern, what in _REFUSED:
        if pattern.match(head):
            raise _unsafe(what)
    if head[_TAR_AT : _TAR_AT + 5] == b"ustar":
        raise _unsafe("an archive")
    if head[8:9] == b"{" and 2 <= int.from_bytes(head[:8], "little") <= size - 8:
        return "safetensors"
    if head[:6] == b"\x93NUMPY":
        return _npy(head)
    if size >= 12 and head[:4] == b"PAR1" and read(size - 4, 4) == b"PAR1":
        return "parquet"
    if head[:1] == b"\x08" and _is_onnx(read, size):
        return "onnx"
    return _text(head, read, size)


def _npy(head: bytes) -> Format:
    start, width = (10, 2) if head[6:7] == b"\x01" else (12, 4)
    length = int.from_bytes(head[8 : 8 + width], "little")
    if start + length > len(head) or not _DESCR.fullmatch(head[start : start + length]):
        raise _unsafe("a NumPy array of objects, which is a pickle, or of a kind that is not known")
    return "npy"


def _is_onnx(read: Read, size: int) -> bool:
    """Whether the whole file is fields of a ModelProto, with a graph among them."""
    at, has_graph = 0, False
    for _ in range(_FIELDS_MAX):
        if at == size:
            return has_graph
        window = read(at, 20)
        tag, used = _varint(window, 0)
        field, wire = tag >> 3, tag & 7
        if used == 0 or _ONNX.get(field) != wire:
            return False
        number, used = _varint(window, used)
        if used == 0:
            return False
        at += used + (number if wire == 2 else 0)
        has_graph = has_graph or field == _ONNX_GRAPH
        if at > size:
            return False
    return False


def _varint(window: bytes, at: int) -> tuple[int, int]:
    """A number and where it ends; the end is 0 if there is none."""
    value = 0
    for shift, byte in enumerate(window[at : at + 9]):
        value |= (byte & 0x7F) << (7 * shift)
        if byte < 0x80:
            return value, at + shift + 1
    return 0, 0


def _text(head: bytes, read: Read, size: int) -> Format:
    if _HTML.search(head):
        raise _unsafe("a web page; mostly that is what a login or an error sends in place of a file")
    decoder = codecs.getincrementaldecoder("utf-8")()
    tail = b""
    for at in range(0, size, _CHUNK_BYTES):
        chunk = read(at, _CHUNK_BYTES)
        try:
            text = decoder.decode(chunk, at + len(chunk) >= size)
        except UnicodeDecodeError as error:
            raise _unsafe("of a format that is not known") from error
        if _CONTROL.search(text):
            raise _unsafe("of a format that is not known")
        if _TAG.search(tail + chunk):
            raise _unsafe("YAML with a tag that makes Python objects, which runs code")
        tail = chunk[-16:]
    if _is_old_pickle(read(0, _CHUNK_BYTES)):
        raise _unsafe("a pickle of protocol 0, which runs code when it is loaded")
    return "text"


# Opcodes that text can hold: how many lines, or how many bytes, follow each.
# Source: CPython, Lib/pickletools.py.
_LINES: Final = {**dict.fromkeys(b"ILFSVgpP", 1), **dict.fromkeys(b"ci", 2)}
_FIXED: Final = {
    **dict.fromkeys(b"(012Nadelobst]})uRQ", 0),
    **dict.fromkeys(b"Khq", 1),
    77: 2,
    **dict.fromkeys(b"Jjr", 4),
    71: 8,
}
_COUNTED: Final = {85: 1, 84: 4, 88: 4}
_CALLS: Final = frozenset(b"ciRoQP")


def _is_old_pickle(text: bytes) -> bool:
    """Whether the text is, from its first byte on, a program for the unpickler that names or calls something."""
    at, calls = 0, False
    while at < len(text):
        opcode = text[at]
        if opcode == 0x2E:
            return calls
        calls = calls or opcode in _CALLS
        at = _after(text, at + 1, opcode)
        if at < 0:
            return False
    return False


def _after(text: bytes, at: int, opcode: int) -> int:
    """Where the next opcode stands; negative if this is none."""
    if opcode in _LINES:
        for _ in range(_LINES[opcode]):
            end = text.find(b"\n", at)
            if end < 0:
                return -1
            at = end + 1
        return at
    if opcode in _COUNTED:
        width = _COUNTED[opcode]
        return at + width + int.from_bytes(text[at : at + width], "little")
    return at + _FIXED[opcode] if opcode in _FIXED else -1


def _unsafe(what: str) -> TrustError:
    return TrustError(
        "delivery.unsafe",
        f"the file is {what}. It is not published. What can be: GGUF, safetensors, ONNX in one file, Parquet, NumPy "
        "arrays of numbers, and text (JSON, YAML, CSV ...)",
    )
