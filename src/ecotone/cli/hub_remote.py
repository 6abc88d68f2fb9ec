"""A hub from afar: `/admin` over HTTPS, with the key or the sign-in that this user keeps for it."""

from __future__ import annotations

import http.client
import os
import time
from pathlib import Path
from typing import Any, Final
from urllib.parse import SplitResult, quote, urlencode, urlsplit

import msgspec

from ecotone.cli.failures import NotFoundError, UnreachableError
from ecotone.values import ConfigError, RefusalError, RequestError

__all__ = ["Kept", "Remote", "exchange", "forget", "is_url", "keep", "kept", "path_of"]

TIMEOUT_S: Final = 30.0
BYTES_MAX: Final = 32 << 20
KEY_VARIABLE: Final = "ECOTONE_HUB_KEY"
_LOCAL: Final = ("localhost", "127.0.0.1", "::1")


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """What a user keeps for one hub: a key or an issuer's token. `until_s` in Unix seconds; 0: not known."""

    key: str
    until_s: float = 0.0

    def __repr__(self) -> str:
        return f"Kept(key='...', until_s={self.until_s})"


class Remote(msgspec.Struct, frozen=True):
    """A hub, and the key to it. The key is never shown."""

    url: str
    key: str = ""

    def __repr__(self) -> str:
        return f"Remote({self.url!r})"

    @classmethod
    def at(cls, url: str) -> Remote:
        """The hub there, with `ECOTONE_HUB_KEY` or what `ecotone hub login` keeps.

        Raises:
            ConfigError: `hub.url`: that is no address of a hub, or one without TLS on another machine.
        """
        url = checked(url)
        found = kept().get(url)
        return cls(url, os.environ.get(KEY_VARIABLE, "") or ("" if found is None else found.key))

    def get(self, path: str, **query: str | int) -> Any:
        """The JSON answer to a GET below `/admin`.

        Raises:
            UnreachableError: nobody answers, or not now.
            NotFoundError, RequestError, RefusalError: with the hub's own code and words.
        """
        return self._ask("GET", f"{path}?{urlencode(query)}" if query else path, None)

    def post(self, path: str, value: object = None) -> Any:
        """As `get`, with a JSON body."""
        return self._ask("POST", path, {} if value is None else value)

    def patch(self, path: str, value: object) -> Any:
        """As `post`."""
        return self._ask("PATCH", path, value)

    def delete(self, path: str) -> Any:
        """As `get`; None where the hub has nothing to say."""
        return self._ask("DELETE", path, None)

    def _ask(self, method: str, path: str, value: object) -> Any:
        body = None if value is None else msgspec.json.encode(value)
        headers = {"accept": "application/json", "content-type": "application/json"}
        if self.key:
            headers["authorization"] = f"Bearer {self.key}"
        status, content = exchange(method, f"{self.url}/admin{path}", body, headers)
        if status == 204:
            return None
        try:
            said = msgspec.json.decode(content)
        except msgspec.DecodeError as error:
            raise UnreachableError("hub.unreachable", f"what answers at {self.url} is not a hub ({status})") from error
        if 200 <= status < 300:
            return said
        raise _failure(self.url, status, said)


def is_url(text: str) -> bool:
    """Whether this names a hub by its address, and not by its folder."""
    return text.startswith(("https://", "http://"))


def path_of(template: str, names: dict[str, str]) -> str:
    """A path with names that came from outside, escaped: `/sites/{site}`."""
    return template.format(**{name: quote(value, safe="") for name, value in names.items()})


def checked(url: str) -> str:
    """The address in its one form.

    Raises:
        ConfigError: `hub.url`.
    """
    try:
        parts = urlsplit(url)
        is_good = bool(parts.hostname) and parts.port != 0 and not (parts.username or parts.query or parts.fragment)
    except ValueError:
        is_good = False
    if not is_good or not is_url(url) or not url.isprintable() or not url.isascii() or " " in url:
        raise ConfigError("hub.url", f"{url!r} is not an address of a hub, like https://hub.example.org")
    if parts.scheme == "http" and parts.hostname not in _LOCAL:
        raise ConfigError("hub.url", f"{url}: a key is sent over https alone, except to this machine")
    return url.rstrip("/")


def exchange(method: str, url: str, body: bytes | None, headers: dict[str, str]) -> tuple[int, bytes]:
    """(status, body) of one request. Redirects are not followed; the environment's proxy is used.

    Raises:
        UnreachableError: `hub.unreachable`.
    """
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port
    target = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    proxy = _proxy(parts.scheme, host)
    first, its_port = (host, port) if proxy is None else (proxy.hostname or "", proxy.port)
    connection = kind(first, its_port, timeout=TIMEOUT_S)
    try:
        if proxy is not None:
            connection.set_tunnel(host, port)
        connection.request(method, target, body, headers)
        answer = connection.getresponse()
        content = answer.read(BYTES_MAX + 1)
    except (OSError, http.client.HTTPException, ValueError) as error:
        why = getattr(error, "strerror", None) or type(error).__name__
        where = f"{parts.scheme}://{parts.netloc}"
        raise UnreachableError("hub.unreachable", f"nobody answers at {where} ({why}); look at the address") from error
    finally:
        connection.close()
    if len(content) > BYTES_MAX:
        raise UnreachableError("hub.unreachable", f"{parts.netloc} answers with more than {BYTES_MAX} bytes")
    return answer.status, content


def kept() -> dict[str, Kept]:
    """What this user keeps for hubs, by address.

    Raises:
        ConfigError: `hub.logins`: the file is damaged.
    """
    path = _file()
    try:
        found = msgspec.json.decode(path.read_bytes(), type=dict[str, Kept])
    except FileNotFoundError:
        return {}
    except (OSError, msgspec.DecodeError) as error:
        raise ConfigError("hub.logins", f"{path} cannot be read; remove it and sign in anew") from error
    now_s = time.time()
    return {url: one for url, one in found.items() if not one.until_s or now_s < one.until_s}


def keep(url: str, one: Kept) -> Path:
    """Keeps a key or token for a hub, in a file for this user only; that file.

    Raises:
        ConfigError: `hub.logins`.
    """
    return _write({**kept(), checked(url): one})


def forget(url: str) -> bool:
    """Whether there was something kept for a hub; it is gone now."""
    found = kept()
    if found.pop(checked(url), None) is None:
        return False
    _write(found)
    return True


def _write(found: dict[str, Kept]) -> Path:
    path = _file()
    fresh = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with open(fd, "wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(found)))
        fresh.replace(path)
    except OSError as error:
        raise ConfigError("hub.logins", f"{path} cannot be written: {error.strerror}") from error
    return path


def _file() -> Path:
    return Path(os.environ.get("XDG_CONFIG_HOME") or "~/.config").expanduser() / "ecotone" / "hubs.json"


def _proxy(scheme: str, host: str) -> SplitResult | None:
    """The proxy's address in parts, as the environment names it; None for none. Plain HTTP is for this machine."""
    said = os.environ.get("https_proxy") or os.environ.get("HTTPS_PROXY") or ""
    without = (os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or "").split(",")
    ends = [end.strip().lstrip(".") for end in without if end.strip()]
    if scheme != "https" or not said or "*" in ends or any(host == end or host.endswith(f".{end}") for end in ends):
        return None
    return urlsplit(said if "://" in said else f"http://{said}")


def _failure(url: str, status: int, said: Any) -> Exception:
    error = said.get("error") if isinstance(said, dict) else None
    code = str(error.get("code", "")) if isinstance(error, dict) else ""
    words = str(error.get("message", "")) if isinstance(error, dict) else ""
    code, words = code or "hub.answer", words or f"the hub at {url} answers {status}"
    if status in (429, 502, 503, 504):
        return UnreachableError(code, words)
    if status == 401:
        return RequestError(code, f"{words} (`ecotone hub login {url}`, or {KEY_VARIABLE})", status=status)
    if status == 403:
        return RefusalError(code, words)
    return (NotFoundError if status == 404 else RequestError)(code, words, status=status)
