"""All that crosses the link, as the network card of the cloud saw it, and a search that no disguise gets past."""

from __future__ import annotations

import base64
import binascii
import contextlib
import re
import socket
import struct
import threading
import time
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final
from urllib.parse import unquote_to_bytes

import ahocorasick_rs

SOL_PACKET: Final = 263
PACKET_STATISTICS: Final = 6
SO_RCVBUFFORCE: Final = 33
ALL_PROTOCOLS: Final = 3
QUIET_S: Final = 0.12
GAP: Final = b"\n<bytes missing>\n"

Flow = tuple[bytes, bytes, int, int]


class Capture:
    """Every frame on a device, both ways and of every protocol, from now on; a packet socket, so root only.

    Attributes:
        frames: (frame, whether it came from the site), in the order of the wire.
    """

    def __init__(self, device: str) -> None:
        """Opened in the namespace of the calling thread."""
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ALL_PROTOCOLS))
        self._socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 256 << 20)
        self._socket.bind((device, ALL_PROTOCOLS))
        self._socket.settimeout(0.05)
        self.frames: list[tuple[bytes, bool]] = []
        self._seen_at_s = time.monotonic()
        self._is_over = False
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        while not self._is_over:
            try:
                frame, where = self._socket.recvfrom(1 << 18)
            except TimeoutError:
                continue
            except OSError:
                return
            self.frames.append((frame, where[2] != socket.PACKET_OUTGOING))
            self._seen_at_s = time.monotonic()

    def settle(self, within_s: float = 10.0) -> None:
        """Until the link has been quiet for a moment."""
        began_s = time.monotonic()
        while (now_s := time.monotonic()) < began_s + within_s and now_s - max(self._seen_at_s, began_s) < QUIET_S:
            time.sleep(0.02)

    def save(self, path: Path) -> None:
        """All frames as a pcap file, for whoever wants to look with other tools."""
        with path.open("wb") as file:
            file.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 1 << 18, 1))
            for frame, _ in self.frames:
                file.write(struct.pack("<IIII", 0, 0, len(frame), len(frame)) + frame)

    def lost(self) -> int:
        """Frames since the last call that the kernel had no room for: none may be missing."""
        return int(struct.unpack("II", self._socket.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8))[1])

    def close(self) -> None:
        self._is_over = True
        self._thread.join()
        self._socket.close()


def streams(frames: Iterable[bytes]) -> list[bytes]:
    """The bytes of each TCP connection and direction put back together, whatever order they came in."""
    pieces: dict[tuple[Flow, int], list[tuple[int, bytes]]] = {}
    life: dict[Flow, tuple[int, int]] = {}
    for frame in frames:
        taken = _tcp(frame)
        if taken is None:
            continue
        flow, flags, number, payload = taken
        if flags & 0x02 or flow not in life:  # SYN: the ports may be used again
            begun = life.get(flow, (-1, 0))[0] + 1
            life[flow] = (begun, (number + 1 if flags & 0x02 else number) & 0xFFFFFFFF)
        if payload:
            begun, first = life[flow]
            pieces.setdefault((flow, begun), []).append(((number - first) & 0xFFFFFFFF, payload))
    return [_joined(found) for found in pieces.values()]


def _tcp(frame: bytes) -> tuple[Flow, int, int, bytes] | None:
    kind = frame[12:14]
    if kind == b"\x08\x00" and frame[23] == socket.IPPROTO_TCP:
        ip = frame[14:]
        size, total = (ip[0] & 15) * 4, struct.unpack(">H", ip[2:4])[0]
        sender, receiver, tcp = ip[12:16], ip[16:20], ip[size : total or None]
    elif kind == b"\x86\xdd" and frame[20] == socket.IPPROTO_TCP:
        sender, receiver, tcp = frame[22:38], frame[38:54], frame[54:]
    else:
        return None
    here, there, number = struct.unpack(">HHI", tcp[:8])
    return (sender, receiver, here, there), tcp[13], number, tcp[(tcp[12] >> 4) * 4 :]


def _joined(pieces: list[tuple[int, bytes]]) -> bytes:
    whole, at = bytearray(), 0
    for offset, payload in sorted(pieces):
        if offset > at:
            whole += GAP
            at = offset
        whole += payload[at - offset :]
        at = max(at, offset + len(payload))
    return bytes(whole)


def payloads(frames: Iterable[bytes]) -> bytes:
    """All frames one after the other, with something between that no value crosses: names asked for, pings, all."""
    return b"\n\x00|\x00\n".join(frames)


_LOOKALIKES: Final = str.maketrans(
    "аеорсухкмтвіѕјһԁԛԝАВЕКМНОРСТУХІЅЈαορνικΑΒΕΖΗΙΚΜΝΟΡΤΥΧ",
    "aeopcyxkmtbisjhdqwABEKMHOPCTYXISJaopvikABEZHIKMNOPTYX",
)
_ESCAPE: Final = re.compile(r"\\(u[0-9a-fA-F]{4}|.)", re.DOTALL)
_SHORT: Final = {"n": "\n", "t": "\t", "r": "\r", "b": " ", "f": " "}
_BASE64: Final = re.compile(rb"[A-Za-z0-9+/_-]{12,}")
_HEX: Final = re.compile(r"(?:[0-9a-fA-F]{2}){7,}")
_NO_WORD: Final = re.compile(r"[\W_]+")


def compact(text: str) -> str:
    """Letters and digits alone, lower case, lookalikes and full-width forms as plain ones: how a value is compared."""
    plain = unicodedata.normalize("NFKC", text).translate(_LOOKALIKES)
    return _NO_WORD.sub("", plain).casefold()


def views(data: bytes) -> Iterator[str]:
    """The data as they are, and as what they may be in disguise, each compact."""
    text = data.decode("utf-8", "replace")
    if "\\" in text:
        for each in _unescaped(text):
            yield from _plain_and_coded(each)
    yield from _plain_and_coded(text)
    if b"\0" in data:
        for order in ("utf-16-le", "utf-16-be"):
            yield from (compact(data[at:].decode(order, "replace")) for at in (0, 1))
        yield from _plain_and_coded(data.replace(b"\0", b"").decode("utf-8", "replace"))


def _plain_and_coded(text: str) -> Iterator[str]:
    yield compact(text)
    data = text.encode("utf-8", "replace")
    yield from _percent(data)
    for at in (0, 1):
        runs = [bytes.fromhex(run[at : at + (len(run) - at) // 2 * 2]) for run in _HEX.findall(text)]
        yield compact(b"\n".join(runs).decode("utf-8", "replace"))
    tokens = _BASE64.findall(data)
    for at in range(4):
        # One text for all tokens: a value lies within one.
        text = "\n".join(_decoded(token, at) for token in tokens)
        yield compact(text)
        yield from _percent(text.encode("utf-8", "replace"))


def _percent(data: bytes) -> Iterator[str]:
    for _ in range(2):
        if b"%" not in data:
            return
        data = unquote_to_bytes(data.replace(b"+", b" "))
        yield compact(data.decode("utf-8", "replace"))


def _unescaped(text: str) -> Iterator[str]:
    """JSON's escapes taken back, one level after the other: JSON may stand in a string of JSON."""
    for _ in range(3):
        if "\\" not in text:
            return
        text = _ESCAPE.sub(lambda found: _sign(found[1]), text)
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        yield text


def _sign(escape: str) -> str:
    return chr(int(escape[1:], 16)) if len(escape) == 5 else _SHORT.get(escape, escape)


def _decoded(token: bytes, at: int) -> str:
    part = token[at:].replace(b"-", b"+").replace(b"_", b"/")
    part = part[:-1] if len(part) % 4 == 1 else part + b"=" * (-len(part) % 4)
    with contextlib.suppress(binascii.Error):
        return base64.b64decode(part).decode("utf-8", "replace").replace("\0", "")
    return ""


class Needles:
    """Many values, looked for at once."""

    def __init__(self, values: Iterable[str]) -> None:
        """`values` are compact."""
        self._values = list(dict.fromkeys(values))
        assert all(len(value) >= 7 for value in self._values), "too short to be found by chance never"
        self._automaton = ahocorasick_rs.AhoCorasick(self._values)

    def found_in(self, data: bytes) -> set[str]:
        """Those that stand in the data, plain or in any disguise."""
        if not self._values:
            return set()
        return {
            self._values[index]
            for view in views(data)
            for index, _, _ in self._automaton.find_matches_as_indexes(view, overlapping=True)
        }


def as_json(text: str) -> str:
    """A string's JSON with every character escaped, as a hostile or odd client may write it."""
    units = text.encode("utf-16-be", "surrogatepass")
    return '"' + "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2)) + '"'
