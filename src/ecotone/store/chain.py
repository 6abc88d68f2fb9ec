"""The ledger's chain: the bytes of an entry, and whether a row of entries is whole. Pure; no file is touched.

An entry is one line of JSON, UTF-8, no white space, keys in a fixed order (those of a mapping sorted):

    {"v":1,"seq":7,"at_ms":1790000000000,"kind":"placed","body":{...},"prev":"<64 hex>","hash":"<64 hex>"}

`hash` is the SHA-256 of the line's bytes before `,"hash":`, and `prev` is the `hash` of the entry before it (64 zeros
at seq 0), so whoever has the file and `sha256sum` can check it. A Merkle tree (RFC 9162, `merkle`) and signed
checkpoints (`notes`) stand on the same lines: a leaf is a line, and `v` says by which rules it was written.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final

import msgspec

__all__ = ["LINE_BYTES_MAX", "NOTHING", "VERSION", "Chain", "Entry", "Fault", "Head", "Link", "entry", "intact", "line"]

VERSION: Final = 1
NOTHING: Final = b"0" * 64
"""`prev` of the first entry."""
LINE_BYTES_MAX: Final = 512 << 10
"""No entry is longer: a body has at most half of it (`shape.BODY_BYTES_MAX`)."""

_SEAL_BYTES: Final = len(b',"hash":""}') + 64


class Head(msgspec.Struct, frozen=True):
    """Where a chain stood: the position and hash (hex) of its last entry. Kept elsewhere, it proves a cut tail."""

    seq: int
    hash: str


class Entry(msgspec.Struct, frozen=True):
    """One entry as it is read back.

    Attributes:
        v: Version of the format.
        seq: Position in the ledger, from 0, without gaps.
        at_ms: Milliseconds since the Unix epoch, by the site's clock; never falls within a segment.
        prev, hash: SHA-256, hex, of the entry before it and of itself.
    """

    v: int
    seq: int
    at_ms: int
    kind: str
    body: dict[str, Any]
    prev: str
    hash: str


class Fault(msgspec.Struct, frozen=True):
    """Why an entry does not follow the one before it.

    Attributes:
        why: `changed`, `dropped`, `reordered`, `torn`, `unreadable`.
        seq: The entry at fault; for `dropped` the first one that is missing.
        detail: The same in a sentence.
    """

    why: str
    seq: int
    detail: str


class Link(msgspec.Struct, gc=False):
    """What the chain needs of a line; its body is only checked to be JSON."""

    v: int
    seq: int
    at_ms: int
    kind: str
    body: msgspec.Raw
    prev: str
    hash: str


_LINKS: Final = msgspec.json.Decoder(Link)
_ENTRIES: Final = msgspec.json.Decoder(Entry)


def line(seq: int, at_ms: int, kind: bytes, body: bytes, prev: bytes) -> tuple[bytes, bytes]:
    """The line of an entry, newline included, and its hash (64 hex digits).

    Args:
        kind: Lower-case letters, digits, `_` and `.`.
        body: JSON of an object.
        prev: Hash of the entry before it, or `NOTHING`.
    """
    said = b'{"v":1,"seq":%d,"at_ms":%d,"kind":"%b","body":%b,"prev":"%b"' % (seq, at_ms, kind, body, prev)
    own = hashlib.sha256(said).hexdigest().encode()
    return b'%b,"hash":"%b"}\n' % (said, own), own


def intact(text: bytes) -> bool:
    """Whether a line, newline included, is exactly what was once written (which says nothing of its neighbours)."""
    own = hashlib.sha256(text[: -_SEAL_BYTES - 1]).hexdigest().encode()
    return text[-_SEAL_BYTES - 1 :] == b',"hash":"%b"}\n' % own


def entry(text: bytes) -> Entry | None:
    """The entry that a line holds; None where it is not one."""
    try:
        return _ENTRIES.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


class Chain:
    """Walks over lines in file order and says where they stop being one chain.

    Attributes:
        seq: Position that the next entry must have; None before the first one where any will do.
        head: Hash of the last good entry, hex; `''` before the first one.
        entries: Good entries so far.
        first_at_ms, last_at_ms: Times of the first and the last good entry.
        link: The last good entry.
    """

    link: Link

    def __init__(self, seq: int | None = 0, prev: str | None = NOTHING.decode()) -> None:
        """The first entry must have this position and name this predecessor; None = any."""
        self.seq = seq
        self.head = ""
        self.entries = 0
        self.first_at_ms = 0
        self.last_at_ms = 0
        self._prev = prev

    def feed(self, text: bytes) -> Fault | None:
        """Takes the next line, newline included. After a fault the chain must not be fed again."""
        expected = -1 if self.seq is None else self.seq
        if not text.endswith(b"\n"):
            return Fault("torn", expected, "the line has no end")
        try:
            link = _LINKS.decode(text)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return Fault("unreadable", expected, "the line is not the JSON of a ledger entry")
        if link.v != VERSION:
            return Fault("unreadable", link.seq, f"format version {link.v} is not known here; use a newer ecotone")
        if not intact(text):
            return Fault("changed", link.seq, "the entry's own hash does not fit its text")
        fault = self._misplaced(link)
        if fault is None:
            self._follow(link)
        return fault

    def _misplaced(self, link: Link) -> Fault | None:
        """Why an intact entry does not belong here."""
        expected = link.seq if self.seq is None else self.seq
        if link.seq > expected:
            missing = f"{expected}" if link.seq == expected + 1 else f"{expected} to {link.seq - 1}"
            return Fault("dropped", expected, f"entry {missing} is missing before entry {link.seq}")
        if link.seq < expected:
            return Fault("reordered", link.seq, f"entry {link.seq} stands where entry {expected} belongs")
        if self._prev is not None and link.prev != self._prev:
            return Fault("changed", link.seq, "it names another predecessor than the entry before it: one was replaced")
        return None

    def _follow(self, link: Link) -> None:
        if self.entries == 0:
            self.first_at_ms = link.at_ms
        self.last_at_ms = link.at_ms
        self.entries += 1
        self.seq = link.seq + 1
        self.head = self._prev = link.hash
        self.link = link
