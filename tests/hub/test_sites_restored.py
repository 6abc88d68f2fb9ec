"""A hub that is put back to a copy from before its site changed its key: over the wire, with the site's own code."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
from pathlib import Path

from tests.hub import served as room
from tests.hub.test_restored import Copy

from ecotone.agent.identity import Enrolment, Identity
from ecotone.agent.link import Link
from ecotone.flow.reporting import Answer, Message
from ecotone.hub.serving import opened
from ecotone.hub.sites_tokens import TokenAsked


class Wire:
    """How a site asks, without its corridor; the hub may come back at another port."""

    port = 0

    async def ask(self, message: Message) -> Answer:
        return await asyncio.to_thread(self._ask, message)

    def _ask(self, message: Message) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        with contextlib.closing(connection):
            connection.request(message.method, message.path, message.body or None, dict(message.headers))
            answer = connection.getresponse()
            headers = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(answer.status, headers, answer.read(), 1)


def test_a_site_that_has_changed_its_key_since_comes_back_by_itself(tmp_path: Path) -> None:
    chosen = room.made(tmp_path, f"sqlite:///{tmp_path / 'state' / 'hub.db'}")
    store, wire = tmp_path / "store", Wire()
    with opened(chosen) as hub:
        _, token = hub.sites.tokens.new(room.OWNER, TokenAsked(site="harbour"))

    def key() -> bytes:
        with opened(chosen) as hub:
            return hub.sites.keys_of("harbour")[0]

    def link() -> Link:
        return Link(wire.ask, Identity.load(store), "harbour", lambda: 0.0)

    with room.serving(chosen) as at:
        wire.port = at.port
        enrolment = Enrolment.begun(store, token)
        assert at.ask("POST", "/v1/enroll", enrolment.body(token, "harbour")).status == 201
        identity = enrolment.done()
        asyncio.run(link().session())
        (tmp_path / "copy").mkdir()
        copy = Copy(chosen, tmp_path / "copy")
        challenge = at.ask("POST", "/v1/sites/harbour/challenge").json["challenge"]
        body = identity.session_body("harbour", challenge, is_changing=True)
        assert at.ask("POST", "/v1/sites/harbour/session", body).status == 200
        asyncio.run(link().session())
        changed = Identity.load(store).public
        assert key() == changed != identity.public
    copy.restore()
    assert key() == identity.public, "the copy is from before"
    with room.serving(chosen) as at:
        wire.port = at.port
        asyncio.run(link().desired(0, 0.0))
        asyncio.run(link().desired(0, 0.0))
        assert key() == changed
