"""What gateway and worker say to each other: msgpack, four bytes of length in front, and a bound on the length."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from ecotone.values import Finding

HEAD_BYTES: Final = 4
MESSAGE_BYTES_MAX: Final = 16 << 20
"""A request's texts fit (the gateway's own limit on a body is below it), and so does what is seen in them."""

_SURROGATE: Final = re.compile("[\ud800-\udfff]")


class Setup(msgspec.Struct, frozen=True, tag=True):
    """The first message to the worker: what to load."""

    detectors: tuple[str, ...]
    settings: dict[str, Any]


class Look(msgspec.Struct, frozen=True, tag=True):
    """Asks for a look at some texts. `limit_s` from the moment that the worker reads it."""

    number: int
    texts: tuple[str, ...]
    detectors: tuple[str, ...]
    limit_s: float


class Ready(msgspec.Struct, frozen=True, tag=True):
    """The worker's first message.

    Attributes:
        load_s: Seconds that loading took.
        versions: Of each detector that was made.
        failed: Of each other one, why (`absent`, `broken`) and where it failed.
        isolation: `namespace` where the kernel gave the worker a network of its own without any way out, else `hook`.
    """

    load_s: float
    versions: dict[str, str]
    failed: dict[str, tuple[str, str]]
    isolation: str


class Seen(msgspec.Struct, frozen=True, tag=True):
    """What one detector saw for one look.

    Attributes:
        why: Empty, or why there is nothing: `late`, `failed`, `absent`, `broken`, `bad_answer`.
        cause: Class and place of what was raised.
    """

    number: int
    detector: str
    found: tuple[tuple[Finding, ...], ...] = ()
    why: str = ""
    cause: str = ""


_ENCODER: Final = msgspec.msgpack.Encoder()
_TO_WORKER: Final[msgspec.msgpack.Decoder[Setup | Look]] = msgspec.msgpack.Decoder(Setup | Look)
_TO_GATEWAY: Final[msgspec.msgpack.Decoder[Ready | Seen]] = msgspec.msgpack.Decoder(Ready | Seen)


def framed(message: Setup | Look | Ready | Seen) -> bytes:
    """The message as it goes over the socket.

    Raises:
        ValueError: it is longer than a message may be.
    """
    body = _ENCODER.encode(message)
    if len(body) > MESSAGE_BYTES_MAX:
        raise ValueError("message too long")
    return len(body).to_bytes(HEAD_BYTES, "big") + body


def length(head: bytes) -> int:
    """How long the body is that follows this head.

    Raises:
        ValueError: longer than a message may be.
    """
    count = int.from_bytes(head, "big")
    if count > MESSAGE_BYTES_MAX:
        raise ValueError("message too long")
    return count


def to_worker(body: bytes) -> Setup | Look:
    """What the gateway says.

    Raises:
        msgspec.MsgspecError: it is no such message.
    """
    return _TO_WORKER.decode(body)


def to_gateway(body: bytes) -> Ready | Seen:
    """What the worker says.

    Raises:
        msgspec.MsgspecError: it is no such message.
    """
    return _TO_GATEWAY.decode(body)


def sendable(texts: Sequence[str]) -> tuple[str, ...]:
    """The texts with every lone surrogate replaced, each by one character, so that offsets stay and UTF-8 can be."""
    return tuple(text if text.isascii() else _SURROGATE.sub("\ufffd", text) for text in texts)


def plain(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings as plain values (paths become text), such as can be sent."""
    made = msgspec.to_builtins(dict(settings), enc_hook=str)
    assert isinstance(made, dict)
    return made
