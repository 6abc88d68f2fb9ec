"""Packs and documents encrypted where they rest: AES-256-GCM in frames, so that any range can be read by itself.

    ECOSEAL1, id of the key (8 bytes), salt (24), length of the content (8, big-endian)
    frames of 64 KiB of the content, the last one shorter, each with its tag (16 bytes); at least one

Each object has a key of its own, made of the hub's key, the object's name and all of its head. So a frame opens only at
its place in its object: what was changed, cut off, or lies under another's name is refused. What an object held earlier
is not (sites refuse that by the signatures on it). Signed metadata and `trust.json` are public and stay as they are.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ecotone.assets import NoProgress, Progress, StoreError, files
from ecotone.delivery.objects import CONTENT_BYTES_MAX, LEFT_S, SEALED, Objects, Stored, fresh_name, kept
from ecotone.values import ConfigError

__all__ = ["FRAME_BYTES", "Keys", "Resealed", "Sealed", "is_sealed"]

FRAME_BYTES: Final = 64 << 10
_ID_BYTES: Final = 8
_SALT_BYTES: Final = 24
_HEAD_BYTES: Final = len(SEALED) + _ID_BYTES + _SALT_BYTES + 8
_TAG_BYTES: Final = 16
_KEY_BYTES: Final = 32
_HEADS_MAX: Final = 4096
_PERSON: Final = b"ecotone-object"


def is_sealed(name: str) -> bool:
    """Whether an object is encrypted: all but signed metadata and the roots, which anybody may read."""
    return name != "trust.json" and "/metadata/" not in name


class Keys:
    """The key that seals, and those that did before, which still open."""

    def __init__(self, current: bytes, earlier: Sequence[bytes] = ()) -> None:
        """Takes keys of 32 bytes."""
        self.current: Final = _identity(current)
        self._known: Final = {_identity(key): key for key in (*earlier, current)}

    @classmethod
    def parsed(cls, current: str, earlier: Sequence[str] = ()) -> Keys:
        """From what `env:NAME` and `file:PATH` lead to: base64 of 32 bytes, or 64 hexadecimal digits.

        Raises:
            ConfigError: `hub.encrypt`.
        """
        return cls(_parsed(current), [_parsed(text) for text in earlier])

    def of(self, identity: bytes, head: bytes, name: str) -> AESGCM | None:
        """What opens an object of this head and name; None: it was sealed by a key that is not here."""
        master = self._known.get(identity)
        if master is None:
            return None
        own = hashlib.blake2b(head + name.encode(), digest_size=32, key=master, person=_PERSON)
        return AESGCM(own.digest())


class Resealed(msgspec.Struct, frozen=True):
    """What came of a change of keys; `left` were sealed by the current key already."""

    done: int
    left: int
    bytes: int


class _Head(msgspec.Struct, frozen=True):
    raw: bytes
    length: int
    cipher: AESGCM


class Sealed:
    """Objects whose content is encrypted in `inner`, and plain to whoever reads here."""

    def __init__(self, inner: Objects, keys: Keys) -> None:
        """Reads nothing yet."""
        self._inner: Final = inner
        self._keys: Final = keys
        self._heads: OrderedDict[str, _Head] = OrderedDict()
        self._lock: Final = threading.Lock()

    @property
    def where(self) -> str:
        """See `Objects.where`."""
        return self._inner.where

    @property
    def local(self) -> Path | None:
        """See `Objects.local`."""
        return self._inner.local

    def get(self, name: str, bytes_max: int = CONTENT_BYTES_MAX) -> bytes:
        """See `Objects.get`."""
        if not is_sealed(name):
            return self._inner.get(name, bytes_max)
        content = b"".join(self.stream(name, 0, bytes_max + 1))
        if len(content) > bytes_max:
            raise StoreError("hub.objects", f"{self.where}/{name} is longer than {bytes_max} bytes: it is not read")
        return content

    def range(self, name: str, start: int, length: int) -> bytes:
        """See `Objects.range`."""
        return b"".join(self.stream(name, start, length))

    def stream(self, name: str, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        """See `Objects.stream`. Nothing is given of a frame before its tag holds.

        Raises:
            StoreError: `hub.sealed`: it is not what was sealed under this name; `hub.key`: its key is not here.
        """
        if not is_sealed(name):
            yield from self._inner.stream(name, start, length)
            return
        head, is_known = self._head(name)
        given = 0
        try:
            for piece in self._opened(name, head, start, length):
                given += len(piece)
                yield piece
        except StoreError as error:
            if error.code != "hub.sealed" or not is_known or given:
                raise
            self._forget(name)  # sealed anew by another process since its head was read
            head, _ = self._head(name)
            yield from self._opened(name, head, start, length)

    def put(self, name: str, content: bytes, *, is_new: bool = False) -> None:
        """See `Objects.put`."""
        if is_sealed(name):
            head = self._made(name, len(content))
            frames = [content[at : at + FRAME_BYTES] for at in range(0, len(content), FRAME_BYTES)] or [b""]
            content = head.raw + b"".join(_sealed(head, number, frame) for number, frame in enumerate(frames))
        self._forget(name)
        self._inner.put(name, content, is_new=is_new)

    def take(self, name: str, path: Path, *, is_new: bool = False) -> None:
        """See `Objects.take`. It is sealed into a file beside its place first."""
        if not is_sealed(name):
            self._inner.take(name, path, is_new=is_new)
            return
        fresh = fresh_name(self._inner.scratch(name))
        try:
            with files.durably(f"sealing {name}"), path.open("rb") as source, fresh.open("xb") as out:
                head = self._made(name, os.fstat(source.fileno()).st_size)
                out.write(head.raw)
                number, frame = 0, source.read(FRAME_BYTES)
                while frame or number == 0:
                    out.write(_sealed(head, number, frame))
                    number, frame = number + 1, source.read(FRAME_BYTES)
            self._forget(name)
            self._inner.take(name, fresh, is_new=is_new)
        finally:
            fresh.unlink(missing_ok=True)
        path.unlink(missing_ok=True)

    def list(self, folder: str) -> Iterator[Stored]:
        """See `Objects.list`."""
        for one in self._inner.list(folder):
            yield Stored(one.name, _plain(one.bytes), one.modified_s) if is_sealed(one.name) else one

    def delete(self, name: str) -> None:
        """See `Objects.delete`."""
        self._forget(name)
        self._inner.delete(name)

    def size(self, name: str) -> int | None:
        """See `Objects.size`."""
        size = self._inner.size(name)
        return _plain(size) if size is not None and is_sealed(name) else size

    def tidy(self, older_s: float = LEFT_S) -> int:
        """See `Objects.tidy`."""
        return self._inner.tidy(older_s)

    def scratch(self, name: str) -> Path:
        """See `Objects.scratch`: the system's folder, as what is made there is not sealed yet (`TMPDIR`)."""
        return Path(tempfile.gettempdir()) if is_sealed(name) else self._inner.scratch(name)

    def reseal(self, progress: Progress | None = None) -> Resealed:
        """Seals by the current key whatever is not: what was plain, and what an earlier key has sealed.

        It may be cut off and called again. Sites may be served meanwhile, by processes that have all of the keys.

        Raises:
            StoreError: `hub.key`, `hub.sealed`, `hub.objects` ...
        """
        progress, done, left, total = progress or NoProgress(), 0, 0, 0
        for one in self._inner.list(""):
            if not is_sealed(one.name):
                continue
            start = self._inner.range(one.name, 0, _HEAD_BYTES)
            if start[len(SEALED) :][:_ID_BYTES] == self._keys.current and start.startswith(SEALED):
                left += 1
                continue
            progress.step(f"sealing {one.name}")
            is_plain = not start.startswith(SEALED)
            self._resealed(one.name, self._inner.stream(one.name) if is_plain else self.stream(one.name))
            done, total = done + 1, total + one.bytes
        return Resealed(done, left, total)

    def _resealed(self, name: str, pieces: Iterator[bytes]) -> None:
        fresh = fresh_name(self.scratch(name))
        try:
            with kept(f"sealing {name}"):
                fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
                with os.fdopen(fd, "wb") as out:
                    for piece in pieces:
                        out.write(piece)
            self.take(name, fresh)
        except FileNotFoundError:
            pass  # removed since it was listed
        finally:
            fresh.unlink(missing_ok=True)

    def _opened(self, name: str, head: _Head, start: int, length: int | None) -> Iterator[bytes]:
        end = head.length if length is None else min(start + length, head.length)
        if start >= end and head.length:
            return
        first, last = start // FRAME_BYTES, max(end - 1, 0) // FRAME_BYTES
        whole = FRAME_BYTES + _TAG_BYTES
        at = _HEAD_BYTES + first * whole
        rest, number = bytearray(), first
        for piece in self._inner.stream(name, at, (last - first + 1) * whole):
            rest += piece
            while number <= last and len(rest) >= (size := _frame_bytes(head, number)):
                frame = self._frame(name, head, number, bytes(rest[:size]))
                del rest[:size]
                begin = number * FRAME_BYTES
                if cut := frame[max(start - begin, 0) : end - begin]:
                    yield cut
                number += 1
        if number <= last:
            raise self._refused(name, "its end is missing")

    def _frame(self, name: str, head: _Head, number: int, sealed: bytes) -> bytes:
        try:
            return head.cipher.decrypt(_nonce(number), sealed, None)
        except InvalidTag as error:
            raise self._refused(name, f"frame {number} does not open") from error

    def _head(self, name: str) -> tuple[_Head, bool]:
        """The head of an object, and whether it is remembered from earlier."""
        with self._lock:
            if name in self._heads:
                self._heads.move_to_end(name)
                return self._heads[name], True
        raw = self._inner.range(name, 0, _HEAD_BYTES)
        if len(raw) < _HEAD_BYTES or not raw.startswith(SEALED):
            raise self._refused(name, "it is not sealed: `ecotone hub reseal` seals what was there before")
        identity = raw[len(SEALED) :][:_ID_BYTES]
        cipher = self._keys.of(identity, raw, name)
        if cipher is None:
            raise StoreError(
                "hub.key",
                f"{self.where}/{name} is sealed by a key {identity.hex()} that is not here: name it under "
                "`encrypt.earlier` in the hub's file",
            )
        head = _Head(raw, int.from_bytes(raw[-8:]), cipher)
        with self._lock:
            self._heads[name] = head
            if len(self._heads) > _HEADS_MAX:
                self._heads.popitem(last=False)
        return head, False

    def _forget(self, name: str) -> None:
        with self._lock:
            self._heads.pop(name, None)

    def _made(self, name: str, length: int) -> _Head:
        raw = SEALED + self._keys.current + os.urandom(_SALT_BYTES) + length.to_bytes(8)
        cipher = self._keys.of(self._keys.current, raw, name)
        assert cipher is not None, "the current key is known"
        return _Head(raw, length, cipher)

    def _refused(self, name: str, why: str) -> StoreError:
        return StoreError(
            "hub.sealed", f"{self.where}/{name} is not what the hub has sealed there: {why}. Restore it from a copy"
        )


def _identity(key: bytes) -> bytes:
    """By which a key is known, in every head; it says nothing of the key."""
    assert len(key) == _KEY_BYTES, "a key has 32 bytes"
    return hashlib.blake2b(digest_size=_ID_BYTES, key=key, person=b"ecotone-key-id").digest()


def _parsed(text: str) -> bytes:
    said = text.strip()
    try:
        found = bytes.fromhex(said) if len(said) == 2 * _KEY_BYTES else base64.b64decode(said, b"-_", validate=True)
    except (ValueError, binascii.Error):
        found = b""
    if len(found) != _KEY_BYTES:
        raise ConfigError(
            "hub.encrypt", "encrypt.key is no key: `openssl rand -base64 32` makes one; 64 hexadecimal digits do too"
        )
    return found


def _nonce(number: int) -> bytes:
    """Each object has a key of its own, so that the number of a frame is never used twice."""
    return number.to_bytes(12)


def _sealed(head: _Head, number: int, frame: bytes) -> bytes:
    return head.cipher.encrypt(_nonce(number), frame, None)


def _frame_bytes(head: _Head, number: int) -> int:
    """Length of a frame as it is stored."""
    return min(FRAME_BYTES, head.length - number * FRAME_BYTES) + _TAG_BYTES


def _plain(stored: int) -> int:
    """Length of the content of what is so long when it is sealed; 0 where that cannot be."""
    body = stored - _HEAD_BYTES
    frames = -(-body // (FRAME_BYTES + _TAG_BYTES))
    return max(0, body - frames * _TAG_BYTES)
