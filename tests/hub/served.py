"""A hub that is served by a thread of the test, on real sockets; and sites and people that ask it."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import http.client
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import uvloop
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ecotone import access
from ecotone.delivery import hub_keys, packs
from ecotone.gateway.server import listen
from ecotone.hub import settings as hub_settings
from ecotone.hub.serving import Hub, opened
from ecotone.hub.serving_process import _Process
from ecotone.hub.settings import Database, Limits, Settings, Tls
from ecotone.hub.sites_tokens import TokenAsked

OWNER = access.owner("ann")


def made(folder: Path, database_url: str, **changes: Any) -> Settings:
    """Settings of a new hub in a folder, with two published versions of `smol`."""
    given = hub_settings.filled(hub_settings.HubFile(), folder / "hub")
    chosen = msgspec.structs.replace(
        given, database=Database(url=database_url), listen=hub_settings.Listen(port=0), **changes
    )
    chosen.state.mkdir(parents=True, exist_ok=True)
    with opened(chosen) as hub:
        hub.repositories.create(["models"], keys=chosen.keys)
        for version in ("1", "2"):
            publish(hub, "smol", version)
    return chosen


def publish(hub: Hub, name: str, version: str, residency: tuple[str, ...] = ()) -> None:
    """A version with a content of its own."""
    path = hub.settings.state / "weights.txt"
    path.write_bytes(f"{name} {version} ".encode() * 40_000)
    about = packs.About(name=name, version=version, licence="MIT", residency=residency)
    manifest = packs.publish([path], hub.objects, about)
    hub.repositories.publish(manifest, hub_keys.read(hub.settings.keys / "publisher-models.key"))
    keys = [hub_keys.read(hub.settings.keys / f"{key}.key") for key in ("online", "director")]
    hub.repositories.refresh(keys)


class Served:
    """A hub that answers at `port`."""

    def __init__(self, chosen: Settings) -> None:
        self.settings = chosen
        self.port = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._ready = threading.Event()
        self._fault: BaseException | None = None
        self._thread = threading.Thread(target=self._run)

    def start(self) -> None:
        self._thread.start()
        assert self._ready.wait(30)
        if self._fault is not None:
            raise self._fault

    def stop(self) -> None:
        if self._loop is not None and self._stop is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(30)
        assert not self._thread.is_alive()
        if self._fault is not None:
            raise self._fault

    def _run(self) -> None:
        try:
            with opened(self.settings) as hub:
                hub.prepare()
                uvloop.run(self._serve(hub))
        except BaseException as error:  # noqa: BLE001 - told to the test's own thread
            self._fault = error
            self._ready.set()

    async def _serve(self, hub: Hub) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        self.process = _Process(hub)
        listener = listen("127.0.0.1", 0)
        self.port = listener.getsockname()[1]
        with listener:
            await self.process.live([listener], self._stop, self._ready.set)

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: dict[str, str] | None = None,
        token: str = "",
        timeout_s: float = 30.0,
    ) -> Answer:
        """One request on a connection of its own."""
        sent = {**({"authorization": f"Bearer {token}"} if token else {}), **(headers or {})}
        raw = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout_s)
        with contextlib.closing(connection):
            connection.request(method, path, raw, sent)
            answer = connection.getresponse()
            return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())


class Answer(msgspec.Struct):
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        return str(self.json["error"]["code"])


class Site:
    """A site's side of the wire."""

    def __init__(self, served: Served, name: str) -> None:
        self.served, self.name = served, name
        self.key = Ed25519PrivateKey.generate()
        self.token = ""

    @property
    def public(self) -> str:
        return base64.b64encode(self.key.public_key().public_bytes_raw()).decode()

    def enroll(self, token: str) -> Answer:
        return self.served.ask("POST", "/v1/enroll", {"token": token, "site": self.name, "key": self.public})

    def sign_in(self, served: Served | None = None) -> Answer:
        at = served or self.served
        challenge = at.ask("POST", f"/v1/sites/{self.name}/challenge").json["challenge"]
        signature = self.key.sign(access.session_message(self.name, challenge))
        said = {"challenge": challenge, "signature": base64.b64encode(signature).decode()}
        answer = at.ask("POST", f"/v1/sites/{self.name}/session", said)
        if answer.status == 200:
            self.token = answer.json["token"]
        return answer

    def get(self, path: str, **headers: str) -> Answer:
        return self.served.ask("GET", path, headers=headers, token=self.token)

    def report(self, *bodies: bytes, **headers: str) -> Answer:
        sent = {"content-type": "application/x-ndjson", **headers}
        return self.served.ask("POST", f"/v1/sites/{self.name}/reports", b"\n".join(bodies), sent, self.token)


def joined(served: Served, name: str, **about: Any) -> Site:
    """An enrolled site with a session."""
    with opened(served.settings) as hub:
        _, token = hub.sites.tokens.new(OWNER, TokenAsked(site=name, **about))
    site = Site(served, name)
    assert site.enroll(token).status == 201
    assert site.sign_in().status == 200
    return site


def assign(served: Served, site: str, *named: str) -> int:
    """A wish, signed; its generation."""
    with opened(served.settings) as hub:
        assets = [hub.repositories.find(*one.split("@")).asset for one in named]
        return hub.wishes.set({site: assets}, "test")[site]


def key(served: Served, name: str, role: str) -> str:
    """An API key of a person with a role."""
    with opened(served.settings) as hub:
        hub.people.add(OWNER, name)
        hub.people.grant(OWNER, name, access.Grant(role=role))  # type: ignore[arg-type]
        return str(hub.people.key(OWNER, name)[1])


@contextlib.contextmanager
def serving(chosen: Settings) -> Iterator[Served]:
    """A hub that is served until the end of the block."""
    served = Served(chosen)
    served.start()
    try:
        yield served
    finally:
        served.stop()


__all__ = [
    "OWNER", "Answer", "Limits", "Served", "Site", "Tls", "assign", "joined", "key", "made", "publish", "serving",
]  # fmt: skip
