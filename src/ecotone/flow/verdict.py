"""What a target's HTTP status means for the request: pass it on, try the next target, or tell the caller. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ecotone.values import TargetError

_BY_STATUS: Final[dict[int, tuple[str, str]]] = {
    401: ("unauthorised", "the target's key is missing or wrong"),
    403: ("forbidden", "the target's key may not do this"),
    404: ("no_model", "the target does not know the model or the path"),
    429: ("rate_limited", "the target asks to slow down"),
    500: ("http_500", "internal error of the target"),
    502: ("http_502", "bad gateway at the target"),
    503: ("http_503", "the target is not available"),
    511: ("captive_portal", "the network wants somebody to log in"),
}

REJECTIONS: Final = frozenset({400, 413, 422})
"""The request itself is at fault, or too long for this target: the body tells, and 413 by itself."""

RETRY_AFTER_S_MAX: Final = 3600.0


def judge_status(status: int, headers: Mapping[str, str]) -> TargetError | None:
    """None for a success; `rejected` where the body must be read to know; else the failure."""
    if 200 <= status < 300:
        return TargetError("captive_portal", f"HTTP {status} with a web page") if is_page(headers) else None
    if status in REJECTIONS:
        return TargetError("rejected", f"HTTP {status}")
    if 300 <= status < 400:
        return TargetError("redirect", f"HTTP {status}: redirects are not followed")
    code, words = _BY_STATUS.get(status, ("http_5xx" if status >= 500 else "http_4xx", "the target failed"))
    return TargetError(code, f"HTTP {status}: {words}", retry_after_s=_retry_after_s(headers.get("retry-after")))


def is_elsewhere(status: int, headers: Mapping[str, str]) -> bool:
    """Whether an answer to a probe is not the target's: a page, a redirect, or HTTP 511 (RFC 6585, 6)."""
    return 300 <= status < 400 or status == 511 or (200 <= status < 300 and is_page(headers))


def is_page(headers: Mapping[str, str]) -> bool:
    """Whether the body is a web page, which no target of ours ever sends with success."""
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    return kind in ("text/html", "application/xhtml+xml")


def _retry_after_s(value: str | None) -> float | None:
    """Seconds of a Retry-After header; the date form is not trusted (clocks differ) and counts as absent."""
    if value is None:
        return None
    text = value.strip()
    # isdigit() alone also takes digits such as a superscript two, which float() does not.
    if not (text.isascii() and text.isdigit()):
        return None
    return min(float(text), RETRY_AFTER_S_MAX)
