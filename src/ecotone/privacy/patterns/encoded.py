"""Texts inside a text: base64, one level deep."""

from __future__ import annotations

import base64
import binascii

import re2

from ecotone.privacy.patterns.form import Form
from ecotone.privacy.patterns.numbers import options

_GATE = rb"[A-Za-z0-9+/_-]{16}"
_TOKEN = Form(r"[A-Za-z0-9+/_-]{8,}(?:\r?\n[A-Za-z0-9+/_-]{8,})*={0,2}")
_SIZE_MAX = 65536
"""Of a longer one only the start is decoded, code points."""


class Encoded:
    """Finds what can be decoded to a text. Built once."""

    def __init__(self) -> None:
        self._gate = re2.compile(_GATE, options())

    def find(self, text: str, raw: bytes) -> list[tuple[int, int, str]]:
        """Where each encoded text stands, and what it says."""
        found = []
        taken = 0
        for m in self._gate.finditer(raw):
            if m.start() < taken:
                continue
            token = _TOKEN.match(text, m.start())
            if token is None:
                continue
            taken = token.end()
            inner = None if token.group().isdigit() else decode(token.group())
            if inner is not None:
                found.append((token.start(), token.end(), inner))
        return found


def decode(token: str) -> str | None:
    """What a base64 token says; `None` where that is no text."""
    body = "".join(token.split())[:_SIZE_MAX].rstrip("=").replace("-", "+").replace("_", "/")
    body += "A" if len(body) % 4 == 1 else ""
    try:
        inner = base64.b64decode(body + "=" * (-len(body) % 4), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None
    if len(inner) < 8 or any(c < " " and c not in "\t\n\r" for c in inner):
        return None
    return inner
