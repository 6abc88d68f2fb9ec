"""The site's side of the hub's protocol against a hub that keeps to it, and against others."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from ecotone.access import session_message
from ecotone.agent import link
from ecotone.agent.identity import Enrolment, Identity
from ecotone.agent.link import Link
from ecotone.flow.reporting import Answer, Message
from ecotone.values import TargetError

JSON = {"content-type": "application/json"}


class Hub:
    """Checks signatures, keeps keys, forgets sessions when told to."""

    def __init__(self, *keys: bytes) -> None:
        self.keys = list(keys)
        self.tokens: list[str] = []
        self.challenges: list[str] = []
        self.said: list[Message] = []
        self.loses: list[str] = []  # ends of paths whose answer is lost
        self.rotate = False
        self.generation = 3
        self.answer: Callable[[Message], Answer] | None = None

    async def ask(self, message: Message) -> Answer:
        self.said.append(message)
        answer = self._answer(message)
        for end in list(self.loses):
            if message.path.endswith(end):
                self.loses.remove(end)
                raise TargetError("reset", "the answer was lost")
        return answer

    def _answer(self, message: Message) -> Answer:
        what = message.path.rpartition("/")[2].partition("?")[0]
        if what == "challenge":
            self.challenges.append(f"c{len(self.challenges)}")
            return self._json(200, challenge=self.challenges[-1], now_s=1.0)
        if what == "session":
            return self._session(json.loads(message.body))
        if message.headers.get("authorization", "").removeprefix("Bearer ") not in self.tokens[-1:]:
            return self._json(401, error={"code": "hub.session", "message": "secret words"})
        if self.answer is not None:
            return self.answer(message)
        return self._json(200, generation=self.generation) if what == "desired" else self._json(200, ack_seq=9)

    def _session(self, said: dict[str, Any]) -> Answer:
        signed = session_message("clinic-7", said["challenge"], said.get("next_key"))
        assert said["challenge"] == self.challenges[-1]
        for key in self.keys:
            try:
                Ed25519PublicKey.from_public_bytes(key).verify(base64.b64decode(said["signature"]), signed)
            except InvalidSignature:
                continue
            self.keys = [key, base64.b64decode(said["next_key"])] if "next_key" in said else [key]
            self.tokens.append(f"t{len(self.tokens)}")
            return self._json(200, token=self.tokens[-1], expires_in_s=900, now_s=1.0, rotate=self.rotate)
        return self._json(401, error={"code": "hub.session", "message": ""})

    def _json(self, status: int, **value: Any) -> Answer:
        return Answer(status, JSON, json.dumps(value).encode(), len(self.said))


class Clock:
    now = 0.0

    def now_s(self) -> float:
        return self.now


@pytest.fixture
def identity(tmp_path: Path) -> Identity:
    return Enrolment.begun(tmp_path, "eco1.a.b").done()


def test_a_session_is_proven_once_and_used_until_it_ends(identity: Identity) -> None:
    hub, clock = Hub(identity.public), Clock()
    line = Link(hub.ask, identity, "clinic-7", clock.now_s)

    async def scene() -> None:
        assert await line.desired(2, 55.0) == 3
        assert await line.desired(3, 55.0) == 3
        assert [one.kind for one in hub.said] == ["hub.session", "hub.session", "hub.watch", "hub.watch"]
        assert hub.said[-1].path == "/v1/sites/clinic-7/desired?after=3&wait=55"
        assert hub.said[-1].wait_s > 55
        clock.now = 900 - link.EARLY_S
        await line.desired(3, 55.0)
        assert len(hub.tokens) == 2

    asyncio.run(scene())


def test_a_session_that_the_hub_forgot_is_begun_anew_once(identity: Identity) -> None:
    hub = Hub(identity.public)
    line = Link(hub.ask, identity, "clinic-7", Clock().now_s)

    async def scene() -> None:
        await line.session()
        hub.tokens.append("another")
        assert await line.report([b'{"seq":1}', b'{"seq":2}']) == (9, 6)
        assert hub.said[-1].body == b'{"seq":1}\n{"seq":2}'
        hub.answer = lambda message: Answer(401, JSON, b"{}", 1)
        with pytest.raises(TargetError) as caught:
            await line.desired(0, 5.0)
        assert caught.value.code == "unauthorised"

    asyncio.run(scene())


def test_keys_change_and_no_lost_answer_locks_the_site_out(identity: Identity, tmp_path: Path) -> None:
    first = identity.public
    hub = Hub(first)
    hub.rotate = True
    line = Link(hub.ask, identity, "clinic-7", Clock().now_s)

    async def scene() -> None:
        await line.session()  # the hub asks for another key
        line.forget()
        hub.loses = ["/session"]
        with pytest.raises(TargetError):
            await line.session()  # the hub knows the next key, and the site does not know that it does
        hub.rotate = False
        again = Link(hub.ask, Identity.load(tmp_path), "clinic-7", Clock().now_s)  # killed in between
        await again.session()
        assert hub.keys != [first]
        assert Identity.load(tmp_path).public == hub.keys[0]

    asyncio.run(scene())


def test_a_next_key_that_the_hub_never_heard_of_gives_way_to_the_key(identity: Identity, tmp_path: Path) -> None:
    hub = Hub(identity.public)
    identity.session_body("clinic-7", "x", is_changing=True)  # made, and never sent
    line = Link(hub.ask, Identity.load(tmp_path), "clinic-7", Clock().now_s)
    asyncio.run(line.session())
    assert len(hub.tokens) == 1
    assert len(hub.keys) == 2  # told of the next key now


def test_who_is_not_known_or_revoked_is_told_so_without_the_hubs_words(identity: Identity) -> None:
    hub = Hub()
    line = Link(hub.ask, identity, "clinic-7", Clock().now_s)
    with pytest.raises(TargetError) as caught:
        asyncio.run(line.session())
    assert caught.value.code == "unauthorised"
    hub.keys = [identity.public]
    body = json.dumps({"error": {"code": "hub.revoked", "message": "secret words"}}).encode()
    hub.answer = lambda message: Answer(403, JSON, body, 1)
    with pytest.raises(TargetError) as caught:
        asyncio.run(line.report([b"{}"]))
    assert caught.value.code == "forbidden"
    assert caught.value.message == "the hub: HTTP 403 hub.revoked"


@pytest.mark.parametrize(
    ("answer", "code", "retry_s"),
    [
        (Answer(503, {"retry-after": "7"}, b"", 1), "http_503", 7.0),
        (Answer(429, {"retry-after": "x"}, b'{"error":{"code":"no code, but words"}}', 1), "rate_limited", None),
        (Answer(200, JSON, b"not json", 1), "bad_answer", None),
        (Answer(304, JSON, b"", 1), "", None),
    ],
)
def test_other_answers(identity: Identity, answer: Answer, code: str, retry_s: float | None) -> None:
    hub = Hub(identity.public)
    hub.answer = lambda message: answer
    line = Link(hub.ask, identity, "clinic-7", Clock().now_s)
    if not code:
        assert asyncio.run(line.desired(3, 1.0)) is None
        return
    with pytest.raises(TargetError) as caught:
        asyncio.run(line.desired(3, 1.0))
    assert (caught.value.code, caught.value.retry_after_s) == (code, retry_s)
    assert "words" not in caught.value.message


def test_reports_are_packed_where_that_helps() -> None:
    from backports import zstd

    small, nothing = link.packed(b"short")
    assert (small, nothing) == (b"short", {})
    body = msgspec.json.encode([{"seq": n} for n in range(200)])
    packed, header = link.packed(body)
    assert header == {"content-encoding": "zstd"}
    assert zstd.decompress(packed) == body
    assert len(packed) < len(body) // 3


def test_a_disk_that_takes_no_new_key_leaves_the_old_one_good(identity: Identity, tmp_path: Path) -> None:
    hub = Hub(identity.public)
    hub.rotate = True
    line = Link(hub.ask, identity, "clinic-7", Clock().now_s)

    async def scene() -> None:
        await line.session()
        (tmp_path / "hub" / "identity.next").mkdir()  # nothing can be written there
        line.forget()
        await line.session()
        assert len(hub.tokens) == 2

    asyncio.run(scene())
