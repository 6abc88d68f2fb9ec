"""Whose surrogates, of which conversation; and choices that look random and are the same every time. Pure."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

import msgspec

from ecotone.values import Endpoint, Surrogates


class Scope(msgspec.Struct, frozen=True, gc=False):
    """Within which the same value has the same surrogate, together with the conversation's head.

    Attributes:
        secret: Key of every choice; never leaves. At least 32 bytes, kept over restarts so that upstream prompt caches
            hit after one too.
        owner: Name of the API key: two owners never share a surrogate by more than chance.
        style: `tagged` words such as `PERSON_7C1`, or `natural` values of the same form.
    """

    secret: bytes
    owner: str
    style: Surrogates = Surrogates.TAGGED


class Dice:
    """Choices that are the same for the same scope, conversation and question, and tell nothing of any of them."""

    def __init__(self, scope: Scope, endpoint: Endpoint, root: Any) -> None:
        """Takes the decoded body; nothing is kept of it but a keyed digest of the conversation's head."""
        head = msgspec.json.encode(["conversation", scope.owner, endpoint.value, _head(endpoint, root)])
        key = hmac.digest(scope.secret, head, "sha256")
        self._keyed = hmac.new(key, digestmod=hashlib.sha256)

    def number(self, below: int, *question: str | int) -> int:
        """A number from 0 to `below` - 1."""
        keyed = self._keyed.copy()
        keyed.update("\x1f".join(map(str, question)).encode("utf-8", "surrogatepass"))
        return int.from_bytes(keyed.digest()[:16], "big") % below

    def digits(self, count: int, *question: str | int) -> str:
        """Decimal digits, as many as asked for."""
        return str(self.number(10**count, count, *question)).zfill(count) if count else ""


def _head(endpoint: Endpoint, root: Any) -> Any:
    """What all turns of a conversation begin with: messages up to the first of the user's; the whole prompt."""
    if endpoint is not Endpoint.CHAT:
        return root.get("prompt", root.get("input"))
    head = []
    for message in root.get("messages") or ():
        head.append(message)
        if isinstance(message, dict) and message.get("role") == "user":
            break
    return head
