"""What a site and its delivery child say to each other, one JSON object a line.

The child (`ecotone.delivery.worker`) verifies, fetches and installs; what is to be taken is decided here, by who knows
what runs, what failed and what is held fast. It gets no secret but the session's token, by its standard input.
"""

from __future__ import annotations

from typing import Final

import msgspec

from ecotone.values.fleet import Terms

__all__ = [
    "LINE_BYTES_MAX",
    "Done",
    "Event",
    "Failed",
    "Job",
    "Offer",
    "Order",
    "Ready",
    "Refused",
    "Renew",
    "Step",
    "Take",
    "Token",
    "Wished",
    "event",
    "line",
    "order",
]

LINE_BYTES_MAX: Final = 1 << 20


class Job(msgspec.Struct, frozen=True, kw_only=True, tag="job", tag_field="order"):
    """The first line to the child.

    Attributes:
        store: The site's store folder.
        url: The hub's address; mirrors: nearer places for weights.
        bytes_per_s: Most that it takes of the link; None: no limit.
        in_use: References of the configuration that stay installed.
        proxy: `http://[USER:PASSWORD@]HOST:PORT`, or `''`; direct: hosts that are reached without it.
    """

    store: str
    url: str
    token: str = ""
    ca_file: str | None = None
    mirrors: tuple[str, ...] = ()
    bytes_per_s: int | None = None
    in_use: tuple[str, ...] = ()
    proxy: str = ""
    direct: tuple[str, ...] = ()


class Take(msgspec.Struct, frozen=True, tag="take", tag_field="order"):
    """Install these, by the SHA-256 of their manifests, in this order; then end."""

    sha256s: tuple[str, ...]


class Token(msgspec.Struct, frozen=True, tag="token", tag_field="order"):
    """Go on with this token."""

    token: str


class Offer(msgspec.Struct, frozen=True, kw_only=True):
    """A version that the hub wants here, as both repositories name it.

    Attributes:
        sha256: Of its manifest; attempt, terms, decode_tok_s_min: as the director signed them.
        bytes: Of its files. memory_bytes, cpu: what it requires.
    """

    name: str
    version: str
    kind: str
    sha256: str
    attempt: int = 0
    terms: Terms | None = None
    decode_tok_s_min: float = 0.0
    bytes: int = 0
    memory_bytes: int = 0
    cpu: tuple[str, ...] = ()


class Wished(msgspec.Struct, frozen=True, kw_only=True, tag="wished", tag_field="event"):
    """The wish was verified. Variants of one name: the best first.

    Attributes:
        issued_s: When what is verified was signed; expires_s: until when it counts as fresh.
        floor_s: No clock is believed that says less.
    """

    generation: int
    issued_s: float
    expires_s: float
    floor_s: float = 0.0
    offers: tuple[Offer, ...] = ()


class Step(msgspec.Struct, frozen=True, tag="step", tag_field="event"):
    """A version is coming.

    Attributes:
        bytes_left: Still to be fetched.
    """

    sha256: str
    bytes_left: int


class Ready(msgspec.Struct, frozen=True, tag="ready", tag_field="event"):
    """A version is here, whole and checked, and nothing leads to it yet."""

    sha256: str


class Refused(msgspec.Struct, frozen=True, tag="refused", tag_field="event"):
    """A version could not be had.

    Attributes:
        code: The error's.
        is_passing: Another try may do: it was the link, or the disk.
        is_cut: It was the link: the version is still coming.
    """

    sha256: str
    code: str
    message: str
    is_passing: bool = True
    is_cut: bool = False


class Renew(msgspec.Struct, frozen=True, tag="renew", tag_field="event"):
    """The token holds no longer; the child waits for another."""


class Failed(msgspec.Struct, frozen=True, tag="failed", tag_field="event"):
    """Nothing was verified: nothing is taken."""

    code: str
    message: str


class Done(msgspec.Struct, frozen=True, tag="done", tag_field="event"):
    """The child ends.

    Attributes:
        freed: Bytes of versions that nothing needed any more.
    """

    freed: int = 0


Order = Job | Take | Token
Event = Wished | Step | Ready | Refused | Renew | Failed | Done

_ORDERS: Final = msgspec.json.Decoder(Order)
_EVENTS: Final[msgspec.json.Decoder[Event]] = msgspec.json.Decoder(Event)
_ENCODER: Final = msgspec.json.Encoder()


def line(said: Order | Event) -> bytes:
    """One line."""
    return _ENCODER.encode(said) + b"\n"


def order(raw: bytes) -> Order:
    """What the site says.

    Raises:
        msgspec.DecodeError: it is none.
    """
    found: Order = _ORDERS.decode(raw)
    return found


def event(raw: bytes) -> Event:
    """What the child says.

    Raises:
        msgspec.DecodeError: it is none.
    """
    return _EVENTS.decode(raw)
