"""What the site itself says to its hub: each message with a permit of policy and a durable entry before it goes.

Messages without a body (a question for news) and those that prove who asks are the same to policy as reports: where no
byte may go to the hub, none does. Nothing that a caller said can be in one: a `Message` is made of a session's own
words, or of a `values.fleet.Report`, whose types hold no content.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final, Literal, Protocol

import msgspec

from ecotone.flow.site import Site
from ecotone.flow.verdict import is_elsewhere
from ecotone.policy import constrain
from ecotone.ports import Sink, Stream
from ecotone.values import Findings, Limit, Permit, Receipt, RefusalError, TargetError, TargetSpec

__all__ = ["Answer", "Kind", "Message", "Wire", "allowed", "decoded", "leave", "tell"]

ANSWER_BYTES_MAX: Final = 256 << 10
NOTHING_NEW: Final = 304

Kind = Literal["hub.session", "hub.watch", "hub.report", "hub.fetch"]
"""What a message is, in the ledger: proving who asks, asking for news, a report, a delivery that begins."""


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """One message.

    Attributes:
        path: Below the hub's address, with its query.
        headers: Besides the usual ones; the session's token among them.
        wait_s: How long the whole answer may take, seconds.
    """

    kind: Kind
    method: Literal["GET", "POST"]
    path: str
    headers: dict[str, str] = {}
    body: bytes = b""
    wait_s: float = 20.0


class Answer(msgspec.Struct, frozen=True):
    """What the hub said.

    Attributes:
        seq: Position of the message's entry in the ledger.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    seq: int


class Wire(Protocol):
    """The way to the hub: `upstreams.hub.HubWire`, or a made one."""

    @property
    def spec(self) -> TargetSpec:
        """The hub as a target: its name and region, as policy and the ledger know it."""

    @property
    def origin(self) -> str:
        """`scheme://host:port` that messages go to."""

    def open(self, message: Message, sink: Sink, permit: Permit, receipt: Receipt) -> Stream:
        """Sends one message. What the network does comes as `sink.failed`."""


class _Whole:
    """A sink that takes an answer in one piece."""

    def __init__(self) -> None:
        self.heard: asyncio.Future[TargetError | None] = asyncio.get_running_loop().create_future()
        self.status = 0
        self.headers: Mapping[str, str] = {}
        self.body = bytearray()

    def head(self, status: int, headers: Mapping[str, str]) -> None:
        self.status, self.headers = status, headers
        if status != NOTHING_NEW and is_elsewhere(status, headers):
            self._set(TargetError("captive_portal", "a page or a redirect answers in place of the hub"))

    def data(self, chunk: bytes) -> None:
        self.body += chunk
        if len(self.body) > ANSWER_BYTES_MAX:
            self._set(TargetError("bad_answer", f"the hub's answer is longer than {ANSWER_BYTES_MAX} bytes"))

    def ended(self) -> None:
        self._set(None)

    def failed(self, error: TargetError) -> None:
        self._set(error)

    def _set(self, error: TargetError | None) -> None:
        if not self.heard.done():
            self.heard.set_result(error)


def allowed(site: Site, wire: Wire) -> Limit:
    """Policy's word on messages to the hub: the rules that speak about it, or about its region, and no label.

    Raises:
        RefusalError: `refused.no_cloud`, `refused.window`, `refused.budget`.
    """
    if site.is_cloud_off:
        raise RefusalError("refused.no_cloud", "ECOTONE_NO_CLOUD=1 keeps everything at the site: the hub is not asked")
    if site.budgets.is_closed(site.clock.wall_s()):
        raise RefusalError("refused.window", "the metered link is closed outside its windows: the hub is not asked")
    site.spend.turn(site.today())
    size = site.spend.left(site.budgets)[1]
    if size is not None and size <= 0:
        raise RefusalError("refused.budget", "the day's budget of bytes is used up: the hub is not asked")
    return constrain(site.policy, Findings(()), wire.spec)


async def leave(site: Site, wire: Wire, kind: Kind, body: bytes) -> tuple[Permit, Receipt]:
    """A permit for one message and the receipt of its durable entry.

    Raises:
        RefusalError: policy, a budget or ECOTONE_NO_CLOUD says no, or the ledger cannot be written.
    """
    limit = allowed(site, wire)
    permit = site.mint.permit(request=kind, spec=wire.spec, origin=wire.origin, body=body, limit=limit)
    receipt = await site.journal.permit(permit, body_bytes=len(body), labels=(), region=wire.spec.region)
    site.spend.settle(0.0, 0, 0.0, len(body))
    return permit, receipt


async def tell(site: Site, wire: Wire, message: Message) -> Answer:
    """Sends one message and waits for the whole answer.

    Raises:
        RefusalError: as `leave`.
        TargetError: the hub could not be reached, or what answered is not it.
    """
    permit, receipt = await leave(site, wire, message.kind, message.body)
    sink = _Whole()
    stream = wire.open(message, sink, permit, receipt)
    try:
        async with asyncio.timeout_at(site.clock.now_s() + message.wait_s):
            error = await sink.heard
    except TimeoutError:
        raise TargetError("first_byte_timeout", f"the hub did not answer within {message.wait_s:g} s") from None
    finally:
        stream.abort()
    if error is not None:
        raise error
    return Answer(sink.status, sink.headers, bytes(sink.body), receipt.seq)


def decoded(answer: Answer, kind: Any) -> Any:
    """The JSON of an answer.

    Raises:
        TargetError: it is not what a hub says.
    """
    try:
        return msgspec.json.decode(answer.body, type=kind)
    except (msgspec.DecodeError, RecursionError) as error:
        raise TargetError("bad_answer", "what answers is no hub of a version that this site knows") from error
