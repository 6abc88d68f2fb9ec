"""How a cut download goes on: headers in, a decision out. No I/O.

Source: RFC 9110, 13.1.5 (If-Range), 14.2 (Range), 14.4 (Content-Range), 15.3.7 (206).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from ecotone.assets.errors import FetchError

__all__ = ["Mark", "Start", "Wanted", "asked", "may_resume", "understood"]

_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18})")


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """A file to be fetched.

    Attributes:
        url: Where it is.
        what: A short name for a person.
        sha256: Its digest, where that is known before.
        bytes: Its exact size, where that is known before.
        bytes_max: More than this is never taken.
    """

    url: str
    what: str
    sha256: str | None = None
    bytes: int | None = None
    bytes_max: int = 1 << 40


class Mark(msgspec.Struct, frozen=True, kw_only=True):
    """What is remembered beside a partial file, to know later whether the rest still belongs to it.

    Attributes:
        etag: The strong entity tag under which the bytes came.
        total: The whole size that was promised with them.
        synced: So many bytes are durable, whatever happens to the machine.
    """

    url: str = ""
    etag: str | None = None
    total: int | None = None
    synced: int = 0


class Start(msgspec.Struct, frozen=True):
    """The body that follows begins at byte `at` of a file of `total` bytes (None: not said)."""

    at: int
    total: int | None
    etag: str | None


def may_resume(wanted: Wanted, mark: Mark) -> bool:
    """True if joined parts would be found out, should they be of two different files.

    A digest finds that out at the end. A strong entity tag lets the server itself refuse to join.
    """
    return wanted.sha256 is not None or mark.etag is not None


def asked(have: int, mark: Mark) -> dict[str, str]:
    """The request's headers when `have` bytes are there."""
    if have == 0:
        return {}
    headers = {"Range": f"bytes={have}-"}
    if mark.etag is not None:
        headers["If-Range"] = mark.etag
    return headers


def understood(status: int, headers: Mapping[str, str], have: int, mark: Mark, wanted: Wanted) -> Start | None:
    """What the answer's body is; None if it does not fit what is there, which must then be dropped.

    Names of `headers` are in lower case.

    Raises:
        FetchError: `asset.too_large`.
    """
    etag = _strong(headers.get("etag"))
    if status == 206:
        start = _partial(headers.get("content-range", ""), etag)
        if start is None or start.at != have or _differ(mark.total, start.total) or _differ(mark.etag, etag):
            return None
        if wanted.sha256 is None and etag is None:
            return None  # nothing would tell that the rest is of another file
    else:
        length = headers.get("content-length", "")
        start = Start(0, int(length) if length.isdecimal() and len(length) < 19 else None, etag)
    if start.total is not None and start.total > wanted.bytes_max:
        raise FetchError(
            "asset.too_large",
            f"{wanted.what} has {start.total} bytes; the limit is {wanted.bytes_max}: nothing was taken",
        )
    return start


def _partial(content_range: str, etag: str | None) -> Start | None:
    found = _CONTENT_RANGE.fullmatch(content_range.strip())
    if found is None:
        return None
    first, last, total = (int(number) for number in found.groups())
    return Start(first, total, etag) if first <= last == total - 1 else None


def _strong(etag: str | None) -> str | None:
    return etag if etag is not None and re.fullmatch(r'"[\x21\x23-\x7e]{1,256}"', etag) else None


def _differ(before: object, now: object) -> bool:
    return before is not None and now is not None and before != now
