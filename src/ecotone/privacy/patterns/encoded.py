"""Texts inside a text: base64, one level deep."""

from __future__ import annotations

import base64
import binascii

from ecotone.privacy.patterns.form import Form

ENCODED_MIN = 16
"""A shorter token says nothing that matters, code points."""

ENCODED_GATE = rf"[A-Za-z0-9+/_-]{{{ENCODED_MIN}}}"
_TOKEN = Form(r"[A-Za-z0-9+/_-]{8,}(?:\r?\n[A-Za-z0-9+/_-]{8,})*={0,2}")
_SIZE_MAX = 65536
"""Of a longer one only the start is decoded, code points."""

Text = tuple[int, int, str]
"""Where an encoded text stands, and what it says."""


def encoded_token(text: str, start: int) -> int:
    """Where the token that starts here ends; `start` where none does."""
    found = _TOKEN.match(text, start)
    return start if found is None else found.end()


def decode(token: str) -> str | None:
    """What a base64 token says; `None` where that is no text."""
    # A long word or a long number; text in base64 has capitals among small letters.
    if token[1:].islower() or token.isupper() or token.isdigit():
        return None
    body = token.replace("\r", "").replace("\n", "")[:_SIZE_MAX].rstrip("=").replace("-", "+").replace("_", "/")
    body = body[:-1] if len(body) % 4 == 1 else body
    try:
        inner = base64.b64decode(body + "=" * (-len(body) % 4), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None
    if any(c < " " and c not in "\t\n\r" for c in inner):
        return None
    return inner
