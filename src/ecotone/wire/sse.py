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


class Splitter:
    """Cuts bytes into blocks of whole events, whatever the chunking was; line ends become LF."""

    __slots__ = ("_held", "_is_crlf")

    def __init__(self) -> None:
        self._held = b""
        self._is_crlf = False

    def feed(self, chunk: bytes) -> bytes:
        """All events that are whole by now, each ended by a blank line; `b''` where none is.

        Raises:
            TargetError: an event grew over `EVENT_BYTES_MAX` (`bad_answer`).
        """
        if self._is_crlf or b"\r" in chunk:
            chunk = self._unify(chunk)
        data = self._held + chunk if self._held else chunk
        if data.endswith(b"\n\n"):
            self._held = b""
            return data
        cut = data.rfind(b"\n\n")
        if cut < 0:
            if len(data) > EVENT_BYTES_MAX:
                raise TargetError("bad_answer", f"an event of more than {EVENT_BYTES_MAX} bytes")
            self._held = data
            return b""
        self._held = data[cut + 2 :]
        return data[: cut + 2]

    def rest(self) -> bytes:
        """What is left at the end of the stream: an unfinished event, or nothing."""
        return self._held

    def _unify(self, chunk: bytes) -> bytes:
        """CRLF and CR to LF; a CR that ends the chunk waits for the next one."""
        if self._is_crlf and self._held.endswith(b"\r"):
            chunk = b"\r" + chunk
            self._held = self._held[:-1]
        self._is_crlf = True
        tail = b""
        if chunk.endswith(b"\r"):
            chunk, tail = chunk[:-1], b"\r"
        chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        return chunk + tail


def payload(event: bytes) -> bytes:
    """The `data` of one event; `b''` for a comment or an event without data. Several data lines join with LF."""
    if event.startswith(b"data: ") and event.find(b"\n") >= len(event.rstrip(b"\n")):
        return event[6:].rstrip(b"\n")
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
    """One event with this payload (JSON: no line ends inside)."""
    return b"data: " + data + b"\n\n"
