"""The running site, over its own endpoint."""

from __future__ import annotations

import http.client
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlsplit

import msgspec

from ecotone import config
from ecotone.cli.failures import NotFoundError, UnreachableError
from ecotone.cli.settings import load
from ecotone.config import secrets
from ecotone.values import ConfigError, RequestError

TIMEOUT_S: Final = 5.0
ANSWER_BYTES_MAX: Final = 32 * 1024 * 1024
_EVERYWHERE: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - the address that is listened on, not bound here


class Site(msgspec.Struct, frozen=True):
    """Where a site answers, and with which key."""

    url: str
    key: str = ""

    def get(self, path: str) -> Any:
        """The JSON answer to a GET.

        Raises:
            UnreachableError: no site answers, or it says that it cannot now.
            RequestError: it refuses the request.
        """
        return self._ask("GET", path, None, {})

    def post(self, path: str, body: bytes, headers: Mapping[str, str]) -> Any:
        """The JSON answer to a POST; raises as `get`."""
        return self._ask("POST", path, body, {"content-type": "application/json", **headers})

    def _ask(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> Any:
        parts = urlsplit(self.url)
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        connection = kind(parts.hostname or "", parts.port, timeout=TIMEOUT_S)
        key = {"authorization": f"Bearer {self.key}"} if self.key else {}
        try:
            connection.request(method, parts.path.rstrip("/") + path, body, {**headers, **key})
            answer = connection.getresponse()
            content = answer.read(ANSWER_BYTES_MAX)
        except (OSError, http.client.HTTPException) as error:
            message = (
                f"no site answers at {self.url} ({_words(error)}); start one with `ecotone up`, or name it with --url"
            )
            raise UnreachableError("site.unreachable", message) from error
        finally:
            connection.close()
        return _checked(self.url, answer.status, content)


def running(config_path: Path | None, url: str | None) -> Site:
    """The site that a command should talk to.

    A key of the configuration is only sent to the address of the configuration; `ECOTONE_API_KEY` goes anywhere.
    """
    key = os.environ.get("ECOTONE_API_KEY", "")
    if url is not None:
        return Site(_checked_url(url), key)
    try:
        tree = load(config_path)
    except ConfigError as error:
        error.add_note("A running site can be asked without reading this file: name its address with --url.")
        raise
    host = _EVERYWHERE.get(tree.listen.address, tree.listen.address)
    shown = f"[{host}]" if ":" in host else host
    return Site(f"http://{shown}:{tree.listen.port}", key or _own_key(tree))


def path_of(prefix: str, name: str) -> str:
    """A path with a name that came from outside, escaped."""
    return f"{prefix}/{quote(name, safe='')}"


def _own_key(tree: config.Config) -> str:
    """The first key of the configuration that can be read here; `''` where none can."""
    for name, reference in tree.keys.items():
        try:
            return secrets.resolve(reference, os.environ, _read, path=f"keys.{name}")
        except ConfigError:
            continue
    return ""


def _read(name: str) -> bytes:
    with Path(name).expanduser().open("rb") as file:
        return file.read(secrets.SECRET_BYTES_MAX + 1)


def _checked_url(url: str) -> str:
    try:
        parts = urlsplit(url)
        is_good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_good = False
    if not is_good or not url.isprintable() or not url.isascii() or " " in url:
        raise ConfigError("config.invalid", f"--url: {url!r} is not an address like http://127.0.0.1:3266")
    return url.removesuffix("/").removesuffix("/v1")


def _checked(url: str, status: int, content: bytes) -> Any:
    try:
        answer = msgspec.json.decode(content)
    except msgspec.DecodeError as error:
        raise UnreachableError("site.unreachable", f"what answers at {url} is not an Ecotone site") from error
    if status < 300:
        return answer
    message, code = _said(answer, status)
    if status in (401, 403):
        raise RequestError(code, f"{message} (set ECOTONE_API_KEY to one of the site's keys)", status=status)
    if status == 404:
        raise NotFoundError(code, message, status=status)
    if status < 500:
        raise RequestError(code, message, status=status)
    raise UnreachableError(code, message, status=status)


def _said(answer: Any, status: int) -> tuple[str, str]:
    """(message, code) of an error answer in OpenAI's shape, or what can be said without one."""
    error = answer.get("error") if isinstance(answer, dict) else None
    if not isinstance(error, dict):
        return f"the site answered HTTP {status}", "site.answer"
    return str(error.get("message", f"HTTP {status}")), str(error.get("code") or "site.answer")


def _words(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return type(error).__name__
