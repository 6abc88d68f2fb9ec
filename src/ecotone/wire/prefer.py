"""What a caller says of work that may wait: `Prefer`, `Idempotency-Key` and the `Ecotone-*` headers of jobs. Pure.

Source: RFC 7240 (2: list of preferences, the first of a name counts, what is malformed or unknown is ignored; 4.1
`respond-async`; 4.3 `wait`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final
from urllib.parse import urlsplit

import msgspec

from ecotone.values import PRIORITY_MAX, RequestError

__all__ = ["DEADLINE_MS_MAX", "WAIT_S_MAX", "Deferral", "applied", "read_deferral", "read_priority", "read_webhook"]

DEADLINE_MS: Final = 24 * 3600 * 1000
DEADLINE_MS_MAX: Final = 30 * 24 * 3600 * 1000
WAIT_S_MAX: Final = 300
"""A longer wait is cut to this; proxies and clients seldom have more patience."""
IDEMPOTENCY_CHARS_MAX: Final = 255
"""Precedent: Stripe's API."""
WEBHOOK_CHARS_MAX: Final = 2048

_HEADERS: Final = (b"ecotone-deadline-ms", b"ecotone-webhook", b"idempotency-key")
_MEMBER: Final = re.compile(r'(?:[^,"]|"[^"]*")+')
_PREFERENCE: Final = re.compile(r"""\s*([!#$%&'*+.^_`|~0-9A-Za-z-]+)\s*(?:=\s*("[^"]*"|[^\s;"]*)\s*)?(?:;.*)?""")


class Deferral(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a caller asks of a job.

    Attributes:
        is_async: `respond-async` was said; else only `wait`.
        wait_s: So long the caller would wait for the answer itself; None: not at all.
        deadline_ms: From arrival.
        idempotency: `''` where there is none.
        webhook: URL, or `''`.
    """

    is_async: bool = True
    wait_s: int | None = None
    deadline_ms: int = DEADLINE_MS
    priority: int = 5
    idempotency: str = ""
    webhook: str = ""


def read_deferral(own: Sequence[tuple[bytes, bytes]]) -> Deferral | None:
    """What the headers ask of a job; None where they ask for an answer at once.

    Args:
        own: Names in lower case, with their values.

    Raises:
        RequestError: a value that is not allowed; `param` is the header's name.
    """
    said: dict[str, str] = {}
    others: dict[bytes, str] = {}
    for name, value in own:
        if name == b"prefer":
            for preference, told in _preferences(value.decode("latin-1")):
                said.setdefault(preference, told)
        elif name in _HEADERS:
            others[name] = value.decode("latin-1").strip()
    wait_s = _wait_s(said.get("wait", ""))
    if "respond-async" not in said and wait_s is None:
        return None
    return Deferral(
        is_async="respond-async" in said,
        wait_s=wait_s,
        deadline_ms=_whole(others, b"ecotone-deadline-ms", (1, DEADLINE_MS_MAX), DEADLINE_MS),
        priority=read_priority(own, 5),
        idempotency=_idempotency(others.get(b"idempotency-key", "")),
        webhook=read_webhook(others.get(b"ecotone-webhook", "")),
    )


def applied(deferral: Deferral) -> str:
    """Value of `Preference-Applied` (RFC 7240, 3)."""
    words = ["respond-async"] if deferral.is_async else []
    return ", ".join([*words, f"wait={deferral.wait_s}"] if deferral.wait_s is not None else words)


def read_priority(headers: Iterable[tuple[bytes, bytes]], default: int) -> int:
    """What `Ecotone-Priority` says.

    Raises:
        RequestError: no priority.
    """
    said = {name: value.decode("latin-1").strip() for name, value in headers if name == b"ecotone-priority"}
    return _whole(said, b"ecotone-priority", (0, PRIORITY_MAX), default)


def read_webhook(value: str) -> str:
    """The URL of a webhook, or `''`. Whether its address is on the premises shows when it is called.

    Raises:
        RequestError: it is no such URL.
    """
    if not value:
        return ""
    try:
        parts = urlsplit(value)
        is_good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_good = False
        parts = urlsplit("")
    is_plain = value.isascii() and value.isprintable() and " " not in value and len(value) <= WEBHOOK_CHARS_MAX
    if not is_good or not is_plain or "@" in parts.netloc or "#" in value:
        raise _bad("Ecotone-Webhook", "an http(s) URL inside the site, without user and fragment,")
    return value


def _preferences(value: str) -> list[tuple[str, str]]:
    """(name in lower case, value) of each preference; parameters and what is malformed are left out."""
    found = (_PREFERENCE.fullmatch(member) for member in _MEMBER.findall(value))
    return [(one[1].lower(), (one[2] or "").strip('"')) for one in found if one is not None]


def _wait_s(value: str) -> int | None:
    if not (value.isascii() and value.isdigit()):
        return None
    return min(int(value[:9]), WAIT_S_MAX)


def _whole(others: dict[bytes, str], name: bytes, bounds: tuple[int, int], default: int) -> int:
    value = others.get(name)
    if value is None:
        return default
    if not (value.isascii() and value.isdigit() and len(value) <= 10 and bounds[0] <= int(value) <= bounds[1]):
        shown = name.decode().title()
        raise _bad(shown, f"a whole number from {bounds[0]} to {bounds[1]}")
    return int(value)


def _idempotency(value: str) -> str:
    if len(value) > IDEMPOTENCY_CHARS_MAX or not value.isascii() or not (value.isprintable() or not value):
        raise _bad("Idempotency-Key", f"up to {IDEMPOTENCY_CHARS_MAX} printable ASCII characters")
    return value


def _bad(name: str, wanted: str) -> RequestError:
    return RequestError("request.header", f"{name}: {wanted} is needed", param=name)
