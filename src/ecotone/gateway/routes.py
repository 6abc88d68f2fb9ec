"""Every route that is not hot: a table from path and method to a plain function."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any, Final

from ecotone.gateway.asking import Ask, Later, More, Read, Route, Told, json, read_query
from ecotone.gateway.batch_routes import BatchRoutes
from ecotone.gateway.caller import CallerSide
from ecotone.gateway.corridor import HOT_PATHS, Corridor
from ecotone.gateway.feedback_routes import FeedbackRoutes
from ecotone.gateway.file_routes import FileRoutes
from ecotone.gateway.job_routes import JobRoutes
from ecotone.values import ConfigError, Endpoint, RequestError
from ecotone.wire.request import decode

PROMETHEUS: Final = "text/plain; version=0.0.4; charset=utf-8"


class Routes:
    """Serves what stands in the table; else 404 naming what exists, or 405 with `Allow`."""

    def __init__(self, corridor: Corridor) -> None:
        self._corridor = corridor
        self._exact: Mapping[str, Mapping[str, Route]] = {
            "/v1/models": {"GET": self._models},
            "/v1/explain": {"POST": self._explain},
            "/healthz": {"GET": self._healthz},
            "/readyz": {"GET": self._readyz},
            "/metrics": {"GET": self._metrics},
            "/admin/status": {"GET": self._status},
            "/admin/reload": {"POST": self._reload},
            **{path: {"POST": _served_before} for path in HOT_PATHS},
        }
        below: dict[str, Mapping[str, Route]] = {
            "/v1/models/{id}": {"GET": self._model},
            "/v1/explain/{id}": {"GET": self._explain_past},
        }
        for more in (JobRoutes(corridor), FileRoutes(corridor), BatchRoutes(corridor), FeedbackRoutes(corridor)):
            self._exact = {**self._exact, **more.exact}
            below |= more.below
        # The longest first: `/v1/jobs/{id}/cancel` before `/v1/jobs/{id}`.
        self._below = {path: below[path] for path in sorted(below, key=len, reverse=True)}

    async def serve(self, scope: Mapping[str, Any], read: Read, more: More, caller: CallerSide) -> None:
        """Answers one request.

        Raises:
            EcotoneError: for the caller, who is to be told.
        """
        method, path = scope["method"], scope["path"]
        key = self._guard(path, scope)
        methods, rest = self._find(path)
        if methods is None:
            raise RequestError("request.path", self._no_such_path(path), status=404)
        route = methods.get("GET" if method == "HEAD" else method)
        if route is None:
            allowed = ", ".join(sorted({*methods, *(["HEAD"] if "GET" in methods else [])}))
            raise MethodError(method, allowed)
        query = read_query(scope.get("query_string", b""))
        told = await route(Ask(scope["headers"], rest, read, more, key, query))
        is_head = method == "HEAD"
        if isinstance(told, Later):
            self._corridor.attend(told.work(caller), caller)
            return
        caller.begin(told.status, [("content-type", told.kind), *told.headers], is_stream=False, length=len(told.body))
        if not is_head:
            caller.write(told.body)
        caller.finish()

    def _find(self, path: str) -> tuple[Mapping[str, Route] | None, str]:
        exact = self._exact.get(path)
        if exact is not None:
            return exact, ""
        for template, methods in self._below.items():
            prefix, _, suffix = template.partition("{id}")
            rest = path[len(prefix) : len(path) - len(suffix)]
            # Names of models have slashes in them, other ids have not.
            if rest and path == prefix + rest + suffix and ("/" not in rest or prefix == "/v1/models/"):
                return methods, rest
        return None, ""

    def _guard(self, path: str, scope: Mapping[str, Any]) -> str:
        """The name of the caller's key, which is asked for.

        For `/v1`, if the site has any keys; for `/metrics` and `/admin`, unless the caller is on this machine.

        Raises:
            RequestError: 401, or 403 where a key could not help.
        """
        if path.startswith("/v1/") or path == "/v1":
            return self._corridor.authenticate(scope["headers"])
        if path == "/metrics" or path.startswith("/admin"):
            if _is_here(scope):
                return ""
            if self._corridor.doors.check_key is None:
                words = f"{path} is open to this machine only, since this site has no keys."
                raise RequestError("auth.not_local", words, status=403)
            return self._corridor.authenticate(scope["headers"])
        return ""

    def _no_such_path(self, path: str) -> str:
        shown = path if len(path) <= 100 else path[:100] + "…"
        known = ", ".join([*self._exact, *(template.replace("{id}", "ID") for template in self._below)])
        return f"There is no {shown} here. There are: {known}."

    async def _models(self, ask: Ask) -> Told:
        return json({"object": "list", "data": self._corridor.doors.models()})

    async def _model(self, ask: Ask) -> Told:
        models = self._corridor.doors.models()
        for model in models:
            if model.get("id") == ask.rest:
                return json(model)
        known = ", ".join(str(model.get("id")) for model in models)
        raise RequestError(
            "model_not_found", f"The model {ask.rest!r} does not exist. There are: {known}.", status=404, param="model"
        )

    async def _explain(self, ask: Ask) -> Told:
        head = self._corridor.admit(ask.headers, None)
        request = decode(Endpoint.CHAT, await ask.read(), head)
        return json(await self._corridor.doors.explain(request))

    async def _explain_past(self, ask: Ask) -> Told:
        told = await self._corridor.doors.explain_past(ask.rest)
        if told is None:
            raise RequestError("request.id", "The ledger here knows no request of this id.", status=404, param="id")
        return json(told)

    async def _healthz(self, ask: Ask) -> Told:
        return json({"status": "ok"})

    async def _readyz(self, ask: Ask) -> Told:
        reasons = self._corridor.doors.not_ready()
        if reasons:
            return json({"status": "not ready", "reasons": reasons}, 503)
        return json({"status": "ready"})

    async def _metrics(self, ask: Ask) -> Told:
        return Told(self._corridor.doors.metrics(), kind=PROMETHEUS)

    async def _status(self, ask: Ask) -> Told:
        return json(self._corridor.doors.status())

    async def _reload(self, ask: Ask) -> Told:
        try:
            return json(await self._corridor.doors.reload())
        except ConfigError as error:
            words = f"The configuration stays as it was. {'; '.join(error.problems)}"
            raise RequestError(error.code, words) from error


class MethodError(RequestError):
    """The path is there, but not for this method.

    Attributes:
        allowed: The value of `Allow`.
    """

    def __init__(self, method: str, allowed: str) -> None:
        super().__init__("request.method", f"{method} is not allowed here; {allowed} is.", status=405)
        self.allowed = allowed


async def _served_before(ask: Ask) -> Told:
    """The hot routes stand in the table for their names and methods only."""
    raise AssertionError("a hot route comes here only by a wrong method")


_FORWARDING: Final = frozenset({b"forwarded", b"x-forwarded-for", b"x-real-ip", b"via"})


def _is_here(scope: Mapping[str, Any]) -> bool:
    """Whether the caller is on this machine: by a loopback address (or a Unix socket), not relayed, no foreign page."""
    client = scope.get("client")
    if client is not None and not _is_loopback(client[0]):
        return False
    for name, value in scope["headers"]:
        if name in _FORWARDING or (name == b"sec-fetch-site" and value not in (b"same-origin", b"none")):
            return False
    return True


def _is_loopback(address: str) -> bool:
    try:
        known = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(known, "ipv4_mapped", None)
    return bool((mapped or known).is_loopback)
