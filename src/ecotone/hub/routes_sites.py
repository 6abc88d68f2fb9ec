"""What sites ask: to be enrolled, for sessions, for news; and what they bring: reports."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ecotone.hub.reports import Reports
from ecotone.hub.sites import SiteActor, Sites
from ecotone.hub.web import Front, answer, not_found
from ecotone.hub.web_asking import bearer, unpacked
from ecotone.hub.web_waiting import Waiting
from ecotone.hub.wishes import Wishes
from ecotone.values import ConfigError, EcotoneError, RefusalError, RequestError
from ecotone.values.fleet import Report, decode_report

__all__ = ["SiteRoutes"]

REPORTS_BYTES_MAX: Final = 4 << 20
REPORTS_MAX: Final = 1_000
REPORTS_S: Final = 120.0
BODIES_MAX: Final = 64
"""Bodies of reports that are held at a time, of all sites."""
WAIT_MAX_S: Final = 300.0
FLOOR_STEP_MAX: Final = 1 << 20
"""By so many generations a site may be ahead of a hub that was restored; what says more is not believed."""

Text = Annotated[str, Meta(max_length=512)]


class _Enrol(msgspec.Struct, frozen=True):
    token: Text
    site: Text
    key: Text


class _Proof(msgspec.Struct, frozen=True):
    challenge: Text
    signature: Text
    next_key: Text | None = None


class _Seq(msgspec.Struct, frozen=True):
    seq: Annotated[int, Meta(ge=1, le=1 << 53)]


class SiteRoutes:
    """`/v1`."""

    def __init__(
        self,
        front: Front,
        sites: Sites,
        wishes: Wishes,
        reports: Reports,
        waiting: Waiting,
        pins: Callable[[], bytes],
    ) -> None:
        """Nothing happens yet. `pins` gives trust.json."""
        self._front: Final = front
        self._sites: Final = sites
        self._wishes: Final = wishes
        self._reports: Final = reports
        self._waiting: Final = waiting
        self._pins: Final = pins
        self._bringing: Final = set[str]()

    def routes(self) -> list[Route]:
        """Where they are."""
        return [
            Route("/v1/enroll", self.enroll, methods=["POST"]),
            Route("/v1/sites/{site}/challenge", self.challenge, methods=["POST"]),
            Route("/v1/sites/{site}/session", self.session, methods=["POST"]),
            Route("/v1/sites/{site}/desired", self.desired, methods=["GET"]),
            Route("/v1/sites/{site}/reports", self.reports, methods=["POST"]),
        ]

    async def enroll(self, request: Request) -> Response:
        """A new site brings its one-time token and its public key."""
        self._front.watched(request)
        self._front.limited(self._front.addresses, self._front.address(request))
        said = await self._said(request, _Enrol)
        try:
            enrolled = await self._front.threads.call(self._sites.enroll, said.token, said.site, said.key)
        except EcotoneError as error:
            if error.status in (401, 403):
                self._front.failed(request)
            raise
        self._front.named(request, enrolled.site)
        trust = msgspec.Raw(await self._front.threads.call(self._pins))
        found = {"site": enrolled.site, "hub": enrolled.hub, "trust": trust, "now_s": enrolled.now_s}
        return answer(found, 201)

    async def challenge(self, request: Request) -> Response:
        """Something to be signed, once."""
        self._front.limited(self._front.addresses, self._front.address(request))
        return answer(await self._front.threads.call(self._sites.challenge, request.path_params["site"]))

    async def session(self, request: Request) -> Response:
        """A token for a while, to who has signed rightly."""
        self._front.limited(self._front.addresses, self._front.address(request))
        site = request.path_params["site"]
        said = await self._said(request, _Proof)
        self._front.named(request, site)
        try:
            found = await self._front.threads.call(
                self._sites.session, site, said.challenge, said.signature, said.next_key
            )
        except EcotoneError as error:
            raise _flat(error) from error
        return answer(found)

    async def desired(self, request: Request) -> Response:
        """The newest generation, as soon as it is another than the site knows; 304 if it is not for so long."""
        site = (await self.actor(request)).site
        after, wait_s = _number(request, "after", 0), min(float(_number(request, "wait", 0)), WAIT_MAX_S)
        if not self._waiting.is_ready:
            raise RefusalError("hub.unavailable", "the hub is not ready yet", status=503, retry_after_s=2.0)
        if 0 < after - self._waiting.generation(site) <= FLOOR_STEP_MAX:
            # The site has seen more than this hub remembers: it was restored from a copy (or is a moment behind).
            await self._front.threads.call(self._wishes.raise_floor, site, after)
        with self._front.metrics.waiting.track_inprogress():
            generation = await self._waiting.wait(site, after, wait_s, _gone(request))
        if generation > after:
            return answer({"generation": generation, "now_s": time.time()})
        return Response(status_code=304)

    async def reports(self, request: Request) -> Response:
        """Reports, oldest first; those that cannot be read are passed over, and told of."""
        site = (await self.actor(request)).site
        with self._alone(site):
            raw = await self._front.asking(request).body(REPORTS_BYTES_MAX, REPORTS_S)
        raw = unpacked(raw, request.headers.get("content-encoding", "").strip().lower(), REPORTS_BYTES_MAX)
        is_lines = "ndjson" in request.headers.get("content-type", "")
        lines = [line for line in raw.split(b"\n") if line.strip()] if is_lines else [raw]
        if len(lines) > REPORTS_MAX:
            raise RequestError("hub.too_large", f"{len(lines)} reports: {REPORTS_MAX} are the most", status=413)
        read, refused_seq, refused = await self._front.threads.call(_read, lines, site)
        counts = self._front.metrics.reports
        counts.labels("refused").inc(refused)
        ack_seq = refused_seq
        if read:
            ack_seq = max(ack_seq, await self._front.threads.call(self._reports.take, site, read))
            counts.labels("taken").inc(len(read))
        return answer({"ack_seq": ack_seq, "refused": refused, "now_s": time.time()})

    @contextlib.contextmanager
    def _alone(self, site: str) -> Iterator[None]:
        """One body at a time of each site, and so many of all: what is held in memory has a bound."""
        if site in self._bringing or len(self._bringing) >= BODIES_MAX:
            raise RefusalError("hub.busy", "reports are being brought already", status=503, retry_after_s=1.0)
        self._bringing.add(site)
        try:
            yield
        finally:
            self._bringing.discard(site)

    async def actor(self, request: Request) -> SiteActor:
        """Which site asks; where the path names one, it is that one.

        Raises:
            RequestError: `hub.session`, 401; `hub.not_found`, 404.
            RefusalError: `hub.revoked`, 403; `hub.rate`, 429.
        """
        token = bearer(request)
        try:
            if not token:
                raise RequestError("hub.session", "", status=401)
            actor = await self._front.threads.call(self._sites.authenticate, token)
        except EcotoneError as error:
            raise _flat(error) from error
        self._front.named(request, actor.site)
        is_file = not str(request.scope["path"]).startswith("/v1/")
        self._front.limited(self._front.files if is_file else self._front.sites, actor.site)
        if request.path_params.get("site", actor.site) != actor.site:
            raise not_found()
        return actor

    async def _said(self, request: Request, kind: type[Any]) -> Any:
        raw = await self._front.asking(request).body(16 << 10)
        try:
            return msgspec.json.decode(raw, type=kind)
        except (msgspec.DecodeError, RecursionError) as error:
            raise RequestError("hub.body", f"the body is not what is asked for here: {error}") from error


def _read(lines: list[bytes], site: str) -> tuple[list[Report], int, int]:
    """What can be read; the highest number of what cannot (a newer site's, say), and how many those are.

    Raises:
        ConfigError: `hub.report`, if something has not even a number.
    """
    read: list[Report] = []
    numbers = []
    for line in lines:
        try:
            read.append(decode_report(line, site))
        except ConfigError as error:
            numbers.append(_numbered(line))
            last = error
    if not read and not any(numbers):
        raise last if numbers else ConfigError("hub.report", "there is no report in the body")
    return read, max(numbers, default=0), len(numbers)


def _numbered(line: bytes) -> int:
    try:
        return msgspec.json.decode(line, type=_Seq).seq
    except (msgspec.DecodeError, RecursionError):
        return 0


def _flat(error: EcotoneError) -> EcotoneError:
    """Why a site is not let in, told alike whatever it was; but a revoked one that has proven itself hears that."""
    if error.status == 401 or (error.status in (403, 404) and error.code != "hub.revoked"):
        return RequestError("hub.session", "no session: sign a challenge, and ask with the token", status=401)
    return error


def _number(request: Request, name: str, default: int) -> int:
    said = request.query_params.get(name, str(default))
    if not said.isascii() or not said.isdecimal() or len(said) > 16:
        raise RequestError("hub.query", f"`{name}` is a whole number")
    return int(said)


async def _gone(request: Request) -> None:
    """Returns when the caller has left."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
