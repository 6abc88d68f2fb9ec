"""Server-sent events as bytes, without I/O: cutting a stream into whole events, and the payload of one.

Source: WHATWG HTML, 9.2.6 (lines end with LF, CRLF or CR; a blank line ends an event; a leading `:` is a comment).
"""

from __future__ import annotations

from typing import Final

from ecotone.values import TargetError

EVENT_BYTES_MAX: Final = 4 * 1024 * 1024
"""Longest event that is held until it is whole; a tool call with large arguments in one piece stays far below."""

DONE: Final = b"data: [DONE]\n\n"
KEEP_ALIVE: Final = b": keep-alive\n\n"
_BOM: Final = b"\xef\xbb\xbf"


class Splitter:
    """Cuts bytes into blocks of whole events, whatever the chunking was; line ends become LF, a first BOM goes."""

    __slots__ = ("_held", "_is_begun", "_is_odd")

    def __init__(self) -> None:
        self._held = bytearray()
        self._is_begun = False
        # The next chunk must be looked at: the first one, and one after a CR that may be half of a CRLF.
        self._is_odd = True

    def feed(self, chunk: bytes) -> bytes:
        """All events that are whole by now, each ended by a blank line; `b''` where none is.

        Raises:
            TargetError: an event grew over `EVENT_BYTES_MAX` (`bad_answer`).
        """
        if self._is_odd or b"\r" in chunk:
            chunk = self._unify(chunk)
        held = self._held
        if not held and chunk.endswith(b"\n\n"):
            return chunk
        searched = max(0, len(held) - 1)
        held += chunk
        cut = held.rfind(b"\n\n", searched)
        if cut < 0:
            if len(held) > EVENT_BYTES_MAX:
                raise TargetError("bad_answer", f"an event of more than {EVENT_BYTES_MAX} bytes")
            return b""
        block = bytes(held[: cut + 2])
        del held[: cut + 2]
        return block

    def rest(self) -> bytes:
        """What is left at the end of the stream: an unfinished event, or nothing."""
        return bytes(self._held)

    def _unify(self, chunk: bytes) -> bytes:
        """CRLF and CR to LF. A CR counts at once; the LF that may begin the next chunk is then its second half."""
        if not chunk:
            return chunk
        if not self._is_begun:
            chunk = bytes(self._held) + chunk
            self._held.clear()
            if len(chunk) < len(_BOM) and _BOM.startswith(chunk):
                self._held += chunk
                return b""
            self._is_begun = True
            chunk = chunk.removeprefix(_BOM)
        elif self._is_odd and chunk.startswith(b"\n"):
            chunk = chunk[1:]
        self._is_odd = chunk.endswith(b"\r")
        return chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


def payload(event: bytes) -> bytes:
    """The `data` of one event; `b''` for a comment or an event without data. Several data lines join with LF."""
    if event.startswith(b"data: ") and b"\n" not in event:
        return event[6:]
    lines = []
    for line in event.split(b"\n"):
        if line.startswith(b"data:"):
            value = line[5:]
            lines.append(value[1:] if value.startswith(b" ") else value)
    return b"\n".join(lines)


def payloads(block: bytes) -> list[bytes]:
    """The payloads of all events of a block, comments left out."""
    found = [payload(event) for event in block.split(b"\n\n") if event]
    return [one for one in found if one]


def event(data: bytes) -> bytes:
    """One event with this payload; a payload of several lines becomes several data lines."""
    if b"\n" in data:
        data = data.replace(b"\n", b"\ndata: ")
    return b"data: " + data + b"\n\n"
