"""A model behind an OpenAI-compatible URL, at the edge or in the cloud."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from ecotone import __version__
from ecotone.ports import Prepared, Sink, Stream
from ecotone.upstreams.door import Call, Door
from ecotone.upstreams.exchange import ANSWER_BYTES_MAX, Head
from ecotone.upstreams.origin import Upstream, locate
from ecotone.upstreams.proxy import Proxy
from ecotone.upstreams.splice import as_stream, splice
from ecotone.upstreams.vitals import LinkFigures
from ecotone.values import ConfigError, Endpoint, Permit, Place, Receipt, Request, TargetSpec

PROBE_BYTES_MAX: Final = 4 * 1024 * 1024
"""A vendor's list of models; who probes stops at the head anyway."""

_JSON: Final = "application/json"
_EVENTS: Final = "text/event-stream"


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """How a URL target is talked to.

    Attributes:
        ask_usage: Ask streams for their token counts where the caller did not.
        always_stream: Ask for a stream where the caller wants one piece too: a server that only notices that its
            caller left while it streams (llama-server) then stops the work.
        ca_file: PEM file of the only authorities to trust; None = the system's.
        connect_timeout_s: Limit on name, TCP and TLS together, seconds.
        answer_bytes_max: Limit on an answer in one piece; a stream has none here.
        public_address_is_ours: For a target at `edge` with a public address.
        proxy: Through which proxy a target at `cloud` is reached; None: directly.
    """

    ask_usage: bool = True
    always_stream: bool = False
    ca_file: str | None = None
    connect_timeout_s: float = 1.0
    answer_bytes_max: int = ANSWER_BYTES_MAX
    public_address_is_ours: bool = False
    proxy: Proxy | None = None


class UrlTarget:
    """`ports.Target` for Ollama, vLLM, llama-server, a vendor's cloud: whatever speaks OpenAI's API."""

    def __init__(
        self,
        spec: TargetSpec,
        url: str,
        door: Door,
        *,
        key: str | None = None,
        headers: Mapping[str, str] | None = None,
        options: Options | None = None,
    ) -> None:
        """Takes the base URL (`http://10.0.0.8:8000/v1`, `unix:/run/x.sock:/v1`) and the door for `spec.at`.

        Args:
            key: Goes as `authorization: Bearer KEY`.
            headers: Further headers, such as `api-key`; no caller's header ever goes through.

        Raises:
            ConfigError: the URL, a header or the CA file cannot be used.
        """
        assert door.place is spec.at, f"{spec.name}: the door is for {door.place}"
        self._spec = spec
        self._door = door
        self._options = options or Options()
        self._upstream, self._base = locate(
            url,
            ca_file=self._options.ca_file,
            connect_timeout_s=self._options.connect_timeout_s,
            public_address_is_ours=self._options.public_address_is_ours,
            proxy=self._options.proxy if spec.at is Place.CLOUD else None,
        )
        self._origin = self._upstream.origin
        self._model_json = msgspec.json.encode(spec.model)
        self._headers = _headers(key, headers or {})
        self._heads: dict[tuple[str, bool], Head] = {}
        for endpoint in Endpoint:
            for is_stream in (False, True):
                self._heads[f"/{endpoint.value}", is_stream] = self._head(f"/{endpoint.value}", is_stream=is_stream)
        probe_headers = {name: value for name, value in self._headers.items() if name != "content-type"}
        self._probe_head = Head("GET", self._upstream, f"{self._base}/models", {"accept": _JSON, **probe_headers})
        self._in_flight = 0
        door.trust(self._upstream)

    @property
    def spec(self) -> TargetSpec:
        """See `ports.Target`."""
        return self._spec

    @property
    def origin(self) -> str:
        """See `ports.Target`."""
        return self._origin

    @property
    def upstream(self) -> Upstream:
        """Where the target is."""
        return self._upstream

    def prepare(self, request: Request) -> Prepared:
        """The caller's bytes with this target's model name, and a question for usage where nobody asked.

        Raises:
            RequestError: the body is not a JSON object.
        """
        endpoint = request.endpoint
        if self._options.always_stream and not request.is_stream and endpoint is not Endpoint.EMBEDDINGS:
            body = as_stream(request.body, self._model_json)
            return Prepared(path=f"/{endpoint.value}", body=body, is_stream=True)
        add_usage = (
            request.is_stream
            and self._options.ask_usage
            and not request.is_usage_asked
            and endpoint is not Endpoint.EMBEDDINGS
        )
        body, is_added = splice(request.body, request.model, self._model_json, add_usage=add_usage)
        return Prepared(path=f"/{endpoint.value}", body=body, is_stream=request.is_stream, is_usage_added=is_added)

    def open(self, prepared: Prepared, sink: Sink, permit: Permit | None, receipt: Receipt | None) -> Stream:
        """See `ports.Target`. The sink is never called before this returns."""
        head = self._heads.get((prepared.path, prepared.is_stream))
        if head is None:
            head = self._head(prepared.path, is_stream=prepared.is_stream)
        bytes_max = None if prepared.is_stream else self._options.answer_bytes_max
        self._in_flight += 1
        call = Call(self._spec.name, self._upstream, head, prepared.body, bytes_max, self._over, prepared.transform)
        return self._door.send(call, sink, permit, receipt)

    def probe(self, sink: Sink, permit: Permit | None, receipt: Receipt | None) -> Stream:
        """See `ports.Target`: `GET BASE/models`, on a new connection. Does not count as load."""
        call = Call(self._spec.name, self._upstream, self._probe_head, b"", PROBE_BYTES_MAX, _nothing, is_fresh=True)
        return self._door.send(call, sink, permit, receipt)

    def load(self) -> tuple[int, int]:
        """See `ports.Target`. Waiting is not known of a server elsewhere: 0."""
        return self._in_flight, 0

    def link(self) -> LinkFigures:
        """How the link to the target is, by recent traffic; for `ecotone status`."""
        return self._door.link(self._upstream)

    def _over(self) -> None:
        self._in_flight -= 1

    def _head(self, path: str, *, is_stream: bool) -> Head:
        headers = {"accept": _EVENTS if is_stream else _JSON, **self._headers}
        return Head("POST", self._upstream, self._base + path, headers)


def _headers(key: str | None, extra: Mapping[str, str]) -> dict[str, str]:
    """What every request to the target carries.

    Raises:
        ConfigError: one of the extra headers is given by us.
    """
    ours = {"content-type": _JSON, "user-agent": f"ecotone/{__version__}"}
    if key is not None:
        ours["authorization"] = f"Bearer {key}"
    for name in extra:
        if name.lower() in ours or name.lower() == "accept":
            raise ConfigError("config.upstream", f"headers.{name}: this header is given by the gateway")
    return {**ours, **extra}


def _nothing() -> None:
    """A probe is no load."""
