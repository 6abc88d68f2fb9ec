"""Signed statements about a ledger: C2SP signed notes, and the checkpoints among them. Pure but for `read`.

A checkpoint says: the first `size` entries have this Merkle root. It is text that other tools can check as well
(https://c2sp.org/tlog-checkpoint, https://c2sp.org/signed-note):

    clinic-7/41c7a2f05b7d9e30
    8112
    FpMYrwDNVUsJbnvN7sHq3cCJSkl5n8n0aUoDYVbbPaA=

    — clinic-7/41c7a2f05b7d9e30 x3q1b6bq...

The first line is the origin: the site's name and the start of its key's digest. Lines after the root are extensions: a
word and what it says. `peaks` lets the tree be continued from there, without the entries before.
"""

from __future__ import annotations

import base64
import binascii
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Final

import msgspec

from ecotone.store import merkle

__all__ = [
    "CHECKPOINTS",
    "NOTE_BYTES_MAX",
    "Note",
    "end_of",
    "joined",
    "last",
    "parse",
    "parse_all",
    "read",
    "signed",
    "text_of",
]

CHECKPOINTS: Final = "checkpoints"
"""File beside the segments: one checkpoint after the other, an empty line behind each."""
NOTE_BYTES_MAX: Final = 16 << 10

_DASH: Final = "\u2014"
_BLOCK_BYTES: Final = 64 << 10
_FAR_BYTES: Final = 8 << 20
_SETTLE_S: Final = 0.05
_SIZE: Final = re.compile(r"0|[1-9]\d{0,17}")
_SIGNATURE: Final = re.compile(rf"{_DASH} (\S+) (\S+)")
_NO_MORE: Final = MappingProxyType[str, str]({})


class Note(msgspec.Struct, frozen=True):
    """One signed statement.

    Attributes:
        origin: Who speaks about which ledger.
        size: The entries 0 to `size - 1` are meant.
        root: Root of the Merkle tree over them.
        more: Extension lines: first word to the rest.
        text: What is signed.
        signatures: (name, 4 bytes of key id and the signature) as they stand; nothing was checked.
        raw: All of it, as it stands in a file of its own.
    """

    origin: str
    size: int
    root: bytes
    more: Mapping[str, str]
    text: bytes
    signatures: tuple[tuple[str, bytes], ...]
    raw: bytes

    def tree(self) -> merkle.Tree | None:
        """The tree that goes on from here; None where the note has no peaks, or not those of its root."""
        peaks = _bytes(self.more.get("peaks", ""))
        count = self.size.bit_count()
        if peaks is None or len(peaks) != count * merkle.HASH_BYTES:
            return None
        width = merkle.HASH_BYTES
        tree = merkle.Tree(self.size, [peaks[at : at + width] for at in range(0, len(peaks), width)])
        return tree if tree.root() == self.root else None


def text_of(origin: str, size: int, root: bytes, more: Mapping[str, str] = _NO_MORE) -> bytes:
    """What a note says, without signatures."""
    lines = [origin, str(size), base64.b64encode(root).decode(), *(f"{word} {said}" for word, said in more.items())]
    return "".join(f"{line}\n" for line in lines).encode()


def signed(text: bytes, name: str, signature: bytes) -> bytes:
    """A whole note of one signature, which begins with the key's id."""
    return b"%b\n%b %b %b\n" % (text, _DASH.encode(), name.encode(), base64.b64encode(signature))


def parse(raw: bytes) -> Note | None:
    """One note; None where it is not one, to the byte."""
    said, gap, rest = raw.partition(b"\n\n")
    try:
        lines, names = said.decode().split("\n"), rest.decode().split("\n")
    except UnicodeDecodeError:
        return None
    if not gap or len(lines) < 3 or names.pop() != "" or not names or not lines[0] or not _SIZE.fullmatch(lines[1]):
        return None
    root = _bytes(lines[2])
    more = dict(_halves(line) for line in lines[3:])
    signatures = [_signature(line) for line in names]
    if root is None or len(root) != merkle.HASH_BYTES or len(more) != len(lines) - 3 or "" in more:
        return None
    checked = tuple(item for item in signatures if item is not None)
    if len(checked) != len(signatures):
        return None
    return Note(lines[0], int(lines[1]), root, more, said + b"\n", checked, raw)


def parse_all(content: bytes) -> list[Note] | None:
    """All notes of a small file that was kept somewhere else; None where something in it is no note."""
    parts = content.strip(b"\n").split(b"\n\n")
    found = [parse(b"%b\n\n%b\n" % pair) for pair in zip(parts[::2], parts[1::2], strict=False)]
    notes = [note for note in found if note is not None]
    return notes if notes and len(notes) * 2 == len(parts) else None


def read(path: Path, start: int = 0, end: int | None = None) -> Iterator[tuple[int, Note | None]]:
    """(offset behind it, note) of all notes in a file of them, from offset `start`; None is where one is broken.

    A last note that has no end may be one that is being written: it is given a moment.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        file.seek(start)
        rest, at = b"", start
        while True:
            block = file.read(_BLOCK_BYTES if end is None else min(_BLOCK_BYTES, end - at - len(rest)))
            if not block and rest:
                time.sleep(_SETTLE_S)
                block = file.read(NOTE_BYTES_MAX)
            if not block:
                break
            rest += block
            used = 0
            for raw in _whole(rest):
                used += len(raw) + 1
                yield at + used, parse(raw)
                if end is not None and at + used >= end:
                    return
            rest, at = rest[used:], at + used
            if len(rest) > NOTE_BYTES_MAX:
                break
        if rest:
            yield at + len(rest), None


def _whole(content: bytes) -> Iterator[bytes]:
    """The notes at the front of some bytes that are there whole."""
    at = 0
    while True:
        gap = content.find(b"\n\n", at)
        end = content.find(b"\n\n", gap + 2) if gap >= 0 else -1
        if end < 0:
            return
        yield content[at : end + 1]
        at = end + 2


def last(path: Path, is_wanted: Callable[[Note], bool]) -> Note | None:
    """The last note that is wanted; it is looked for near the end first.

    Raises:
        OSError: the file cannot be read.
    """
    found = _last(path, is_wanted)
    return found[1] if found is not None else None


def end_of(path: Path, is_wanted: Callable[[Note], bool]) -> int:
    """Offset behind the last note that is wanted; 0 where there is none.

    Raises:
        OSError: the file cannot be read.
    """
    found = _last(path, is_wanted)
    return found[0] if found is not None else 0


def _last(path: Path, is_wanted: Callable[[Note], bool]) -> tuple[int, Note] | None:
    size = path.stat().st_size
    for back in (_BLOCK_BYTES, _FAR_BYTES, size):
        there = [(end, note) for end, note in read(path, _border(path, max(0, size - back))) if note is not None]
        for end, note in reversed(there):
            if is_wanted(note):
                return end, note
        if back >= size:
            break
    return None


def _border(path: Path, start: int) -> int:
    """Offset of the first note that begins at `start` or after, as far as that can be seen."""
    if start == 0:
        return 0
    with path.open("rb") as file:
        file.seek(start)
        block = file.read(NOTE_BYTES_MAX)
    dash = block.find(b"\n" + _DASH.encode())
    end = block.find(b"\n\n", dash + 1) if dash >= 0 else -1
    return start + end + 2 if end >= 0 else start


def _halves(line: str) -> tuple[str, str]:
    word, _, said = line.partition(" ")
    return (word, said) if said else ("", "")


def _signature(line: str) -> tuple[str, bytes] | None:
    match = _SIGNATURE.fullmatch(line)
    blob = _bytes(match[2]) if match else None
    return (match[1], blob) if match and blob else None


def _bytes(text: str) -> bytes | None:
    """What base64 says, if it is written as it must be: one text, one value."""
    try:
        found = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return found if base64.b64encode(found).decode() == text else None


def joined(peaks: Sequence[bytes]) -> str:
    """Peaks as an extension line says them."""
    return base64.b64encode(b"".join(peaks)).decode()
