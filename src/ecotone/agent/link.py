"""What a site and its hub say to each other, as the site says it: proving who asks, asking for news, reporting.

It knows no socket: `ask` carries a message out with a permit and an entry of the ledger (`flow.reporting.tell`). It
needs no clock but a monotonic one: a challenge of the hub's stands in place of the time.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import re
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

import msgspec

from ecotone.flow.reporting import Answer, Kind, Message, decoded
from ecotone.flow.verdict import judge_status
from ecotone.values import ConfigError, TargetError

__all__ = ["Ask", "Identity", "Link", "Session"]

EARLY_S: Final = 60.0
"""So long before its end a session is not begun anything with."""
LATE_S: Final = 20.0
"""So much later than asked for the hub may answer a question for news."""
SMALL_BYTES: Final = 512
"""Shorter reports are not packed."""

TOKEN: Final = re.compile(r"[!-~]{1,4096}")
"""A token goes into a header: what could be more than that is none."""

Ask = Callable[[Message], Awaitable[Answer]]


class Identity(Protocol):
    """Who the site is: `agent.identity.Identity`."""

    @property
    def is_changing(self) -> bool:
        """Whether a next key is there that the hub may know, or not yet: a reply can have been lost."""

    def session_body(self, site: str, challenge: str, *, is_changing: bool = False) -> dict[str, str]:
        """What proves who asks; with `is_changing` it names the next key, too, and keeps it first."""

    def next_body(self, site: str, challenge: str) -> dict[str, str]:
        """The same by the next key."""

    @property
    def formers(self) -> int:
        """How many keys before this one are kept."""

    def former_body(self, site: str, challenge: str, number: int = 0) -> dict[str, str]:
        """What proves it by a key before this one, and names this one as the next."""

    def promote(self) -> None:
        """The next key is in force from now on."""


class Session(msgspec.Struct, frozen=True):
    """A token, and until when it is used.

    Attributes:
        until_s: By `now_s`.
    """

    token: str
    until_s: float

    @property
    def headers(self) -> dict[str, str]:
        """What a message of this session carries."""
        return {"authorization": f"Bearer {self.token}"}


class _Challenge(msgspec.Struct):
    challenge: str
    now_s: float = 0.0


class _Opened(msgspec.Struct):
    token: str
    expires_in_s: float
    rotate: bool = False


class _Generation(msgspec.Struct):
    generation: int


class _Acked(msgspec.Struct):
    ack_seq: int


class _Said(msgspec.Struct, frozen=True):
    code: str = ""
    message: str = ""


class _Failed(msgspec.Struct):
    error: _Said = _Said()


class Link:
    """The site's side of the hub's protocol."""

    def __init__(self, ask: Ask, identity: Identity, site: str, now_s: Callable[[], float]) -> None:
        """Says nothing yet.

        Args:
            ask: Sends a message; raises as `flow.reporting.tell`.
            site: The site's name at the hub.
            now_s: Monotonic seconds.
        """
        self._ask, self._identity, self._site, self._now_s = ask, identity, site, now_s
        self._session: Session | None = None
        self._rotate = False
        self._lock = asyncio.Lock()

    async def session(self) -> Session:
        """A session with a while to go.

        Raises:
            TargetError: `unauthorised`: the hub does not know this site's key; `forbidden`: it was revoked there; else
                as `flow.reporting.tell`.
            RefusalError: as `flow.reporting.tell`.
        """
        async with self._lock:
            if self._session is None or self._session.until_s - EARLY_S <= self._now_s():
                self._session = await self._begin()
            return self._session

    async def desired(self, after: int, wait_s: float) -> int | None:
        """The generation that the hub wants here, as soon as it is another than `after`; None: there is nothing new.

        Raises:
            As `session`.
        """
        path = f"/v1/sites/{self._site}/desired?after={after}&wait={int(wait_s)}"
        answer = await self._within(Message(kind="hub.watch", method="GET", path=path, wait_s=wait_s + LATE_S))
        if answer.status == 304:
            return None
        found: _Generation = decoded(answer, _Generation)
        return found.generation

    async def report(self, raws: list[bytes]) -> tuple[int, int]:
        """Brings reports, the oldest first: up to which number the hub has all, and the entry under which these went.

        Raises:
            As `session`.
        """
        body, packing = packed(b"\n".join(raws))
        headers = {"content-type": "application/x-ndjson", **packing}
        path = f"/v1/sites/{self._site}/reports"
        answer = await self._within(
            Message(kind="hub.report", method="POST", path=path, headers=headers, body=body, wait_s=60.0)
        )
        found: _Acked = decoded(answer, _Acked)
        return found.ack_seq, answer.seq

    def forget(self) -> None:
        """The next message begins a new session."""
        self._session = None

    async def _within(self, message: Message) -> Answer:
        """The answer to a message of a session; where the hub has forgotten the session, it is begun anew, once."""
        for is_last in (False, True):
            session = await self.session()
            said = msgspec.structs.replace(message, headers={**message.headers, **session.headers})
            answer = await self._ask(said)
            if answer.status != 401 or is_last:
                return _good(answer)
            if self._session is session:
                self._session = None
        raise AssertionError("the second answer is returned, or raised for")

    async def _begin(self) -> Session:
        """Proves who asks; by the next key where there is one, else or where the hub does not know it, by the key.

        A hub that was restored from a copy may know but one before it: that one tells it which key is good now.
        """
        identity = self._identity
        if identity.is_changing:
            began_s, answer = self._now_s(), await self._proved(identity.next_body)
            if answer.status != 401:
                session = self._opened(answer, began_s)
                with contextlib.suppress(ConfigError):  # the disk is full: it is tried again at the next session
                    await asyncio.to_thread(identity.promote)
                return session
        is_changing = self._rotate or identity.is_changing
        prove = functools.partial(identity.session_body, is_changing=is_changing)
        began_s, answer = self._now_s(), await self._proved(prove)
        number = 0
        while answer.status == 401 and number < identity.formers:
            prove = functools.partial(identity.former_body, number=number)
            began_s, answer = self._now_s(), await self._proved(prove)
            number += 1
        session = self._opened(answer, began_s)
        # What the hub thinks of the age of a key before this one is of no matter.
        self._rotate = self._rotate and not number
        return session

    def _opened(self, answer: Answer, began_s: float) -> Session:
        opened: _Opened = decoded(_good(answer), _Opened)
        if not TOKEN.fullmatch(opened.token) or opened.expires_in_s <= 0:
            raise TargetError("bad_answer", "what answers in the hub's place gives no session")
        self._rotate = opened.rotate
        return Session(opened.token, began_s + opened.expires_in_s)

    async def _proved(self, prove: Callable[[str, str], dict[str, str]]) -> Answer:
        """The answer to a challenge; keys are read and written where it stops nobody."""
        challenge: _Challenge = decoded(_good(await self._said("challenge", b"")), _Challenge)
        try:
            body = await asyncio.to_thread(prove, self._site, challenge.challenge)
        except ConfigError:  # the next key cannot be kept: the one in force is good still
            body = self._identity.session_body(self._site, challenge.challenge)
        return await self._said("session", msgspec.json.encode(body))

    async def _said(self, what: str, body: bytes) -> Answer:
        kind: Kind = "hub.session"
        headers = {"content-type": "application/json"}
        path = f"/v1/sites/{self._site}/{what}"
        return await self._ask(Message(kind=kind, method="POST", path=path, headers=headers, body=body))


def packed(body: bytes) -> tuple[bytes, dict[str, str]]:
    """The body as it travels, and the header that says so."""
    if len(body) < SMALL_BYTES:
        return body, {}
    try:
        from backports import zstd
    except ImportError:
        return body, {}
    small = zstd.compress(body)
    return (small, {"content-encoding": "zstd"}) if len(small) < len(body) else (body, {})


def _good(answer: Answer) -> Answer:
    """An answer that is a success, or nothing new.

    Raises:
        TargetError: it is neither; the hub's own code stands in the message.
    """
    if answer.status == 304:
        return answer
    error = judge_status(answer.status, answer.headers)
    if error is None:
        return answer
    said = _words(answer.body)
    raise TargetError(error.code, f"the hub: HTTP {answer.status} {said}".rstrip(), retry_after_s=error.retry_after_s)


def _words(body: bytes) -> str:
    """The hub's own code, where it gave one: never its words, which go into a log."""
    try:
        code = msgspec.json.decode(body, type=_Failed).error.code
    except (msgspec.DecodeError, RecursionError):
        return ""
    return code if len(code) <= 64 and code.replace(".", "").replace("_", "").isalnum() else ""
