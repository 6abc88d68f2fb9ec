"""What the gateway opens onto; all of it is injected by `runtime`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import msgspec

from ecotone.gateway.work import Work
from ecotone.ports import Caller
from ecotone.values import Request
from ecotone.wire.feedback import Feedback

Serve = Callable[[Request, Caller], Coroutine[Any, Any, object]]
"""Answers one request through the caller. Never raises for what is expected; cancelled when the caller left."""


def _counted(code: str) -> None:
    """Where nobody counts refusals."""


async def _unknown(said: Feedback, key: str | None) -> bool | None:
    """Where nobody listens."""
    return None


class Doors(msgspec.Struct, frozen=True, kw_only=True):
    """The rooms behind the gateway. None of the plain functions may block.

    Attributes:
        serve: The corridor.
        models: Entries of `GET /v1/models`.
        explain: Where a request would go now; may raise EcotoneError.
        explain_past: Why a past request was placed as it was; None where the id is not known.
        not_ready: Why the site cannot serve; empty where it can. No upstream call.
        metrics: Prometheus text.
        status: `GET /admin/status`.
        reload: Reads the configuration anew; may raise ConfigError, and the old one stays.
        check_key: Name of a secret's API key, or None; itself None at a site without keys.
        feedback: Takes what a caller says of an answer (and whose answers that caller may speak about; None: all);
            whether something was learned from it, or None where there is no such answer.
        refused: Counts a request that was refused at the door, by error code.
        work: Jobs, files and batches; None at a site without them, where `Prefer` is ignored.
    """

    serve: Serve
    models: Callable[[], list[dict[str, Any]]]
    explain: Callable[[Request], Awaitable[dict[str, Any]]]
    explain_past: Callable[[str], Awaitable[dict[str, Any] | None]]
    not_ready: Callable[[], list[str]]
    metrics: Callable[[], bytes]
    status: Callable[[], dict[str, Any]]
    reload: Callable[[], Awaitable[dict[str, Any]]]
    check_key: Callable[[str], str | None] | None = None
    feedback: Callable[[Feedback, str | None], Awaitable[bool | None]] = _unknown
    refused: Callable[[str], None] = _counted
    work: Work | None = None
