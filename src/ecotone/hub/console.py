"""The console: one page of files that are served as they are, and the headers that keep it to itself."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from importlib.resources import files
from types import MappingProxyType
from typing import Final

import msgspec

__all__ = ["HEADERS", "Page", "file"]

HEADERS: Final[Mapping[str, str]] = MappingProxyType(
    {
        # Nothing but its own script, style and answers; no markup can be made out of a text (trusted types).
        "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'",
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
        "cross-origin-opener-policy": "same-origin",
        "cross-origin-resource-policy": "same-origin",
        "permissions-policy": "camera=(), geolocation=(), microphone=()",
        "x-frame-options": "DENY",
    }
)
_FILES: Final = MappingProxyType(
    {
        "/": ("console.html", "text/html; charset=utf-8"),
        "/console.css": ("console.css", "text/css; charset=utf-8"),
        "/console.js": ("console.js", "text/javascript; charset=utf-8"),
    }
)


class Page(msgspec.Struct, frozen=True):
    """One file of the console."""

    content: bytes
    media_type: str
    etag: str


@functools.cache
def file(path: str) -> Page | None:
    """What is served at `path`; None: nothing is. No secret is in any of it."""
    if path not in _FILES:
        return None
    name, media_type = _FILES[path]
    content = (files("ecotone.hub") / "static" / name).read_bytes()
    return Page(content, media_type, f'"{hashlib.sha256(content).hexdigest()[:24]}"')
