"""HTTP to a local engine's worker over its Unix socket: no egress, and no connection that is used twice.

Keep-alive is off: llama-server was seen to close an idle connection just as the next request came
(RESEARCH-engines, section 1), and a new connection to a Unix socket costs nothing to speak of.
"""

from __future__ import annotations

from collections.abc import Mapping

from ecotone.ports import Sink, Stream
from ecotone.upstreams.connect import Dialler, Resolver
from ecotone.upstreams.exchange import Head
from ecotone.upstreams.http1 import Pool
from ecotone.upstreams.origin import Upstream


class WorkerChannel:
    """Requests to one worker."""

    def __init__(self, socket: str) -> None:
        """Takes the path of the worker's socket. Made in a running event loop."""
        self._upstream = Upstream(scheme="unix", host=socket, connect_timeout_s=5.0)
        self._pool = Pool(self._upstream, Dialler(Resolver()), idle_max=0)

    def open(self, method: str, path: str, headers: Mapping[str, str], body: bytes, sink: Sink) -> Stream:
        """Starts one request. The sink is never called before this returns. The answer has no limit in bytes."""
        head = Head(method, self._upstream, path, headers)
        return self._pool.open(head, body, sink, bytes_max=None)

    def close(self) -> None:
        """Takes no new request; those under way go on to their end."""
        self._pool.close()
