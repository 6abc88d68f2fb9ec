"""Keys of what requests have in common: the application, its tools, its system prompt. The strongest signal there is.

A key is a keyed hash: equal texts have equal keys on one site, and nothing can be read from one.
"""

from __future__ import annotations

import hashlib
import re
from typing import Final

from ecotone.learning.hand import cap
from ecotone.values.quality import Question

LEVELS: Final = ("application", "tools", "opening", "template", "exact")
"""From general to specific: key and endpoint; tools and form; how the system prompt begins; the system prompt with
digits and names folded, with tools and form; all of it as it is."""

OPENING_BYTES: Final = 160

_VARYING: Final = re.compile(rb"[0-9]+|\b[A-Z][a-z\x80-\xff]+|[\x80-\xff]+")
"""What differs between two fillings of one template: numbers, names, words in other scripts."""


class GroupKeys:
    """Makes the keys of a question; remembers those of the last few hundred system prompts by their hash alone."""

    __slots__ = ("_remembered", "_secret")

    REMEMBERED_MAX: Final = 512

    def __init__(self, secret: bytes) -> None:
        """Args: secret: 16 to 64 bytes."""
        self._secret = secret
        self._remembered: dict[tuple[int, ...], tuple[int, ...]] = {}

    def of(self, question: Question) -> tuple[int, ...]:
        """One key per level, 0 where the question has nothing there."""
        # Python's own hash is keyed anew in each process and has 64 bits: texts need not be kept to be recognised.
        seen = (
            hash(question.system),
            len(question.system),
            hash(question.key),
            hash(question.endpoint),
            hash(question.tools),
            hash(question.form),
            hash(question.schema),
        )
        keys = self._remembered.get(seen)
        if keys is None:
            if len(self._remembered) >= self.REMEMBERED_MAX:
                self._remembered.clear()
            keys = self._remembered[seen] = self._make(question)
        return keys

    def _make(self, question: Question) -> tuple[int, ...]:
        application = (question.key.encode("utf-8", "replace"), question.endpoint.encode())
        offered = tuple(name.encode("utf-8", "replace") for name in question.tools)
        form = (question.form.encode(), question.schema)
        has_form = bool(question.tools or question.form or question.schema)
        tools = (*offered, b"", *form)
        if not question.system:
            return (self._hash(0, application), self._hash(1, tools) if has_form else 0, 0, 0, 0)
        text = cap(question.system)
        folded = _VARYING.sub(b"~", text)
        whole = question.system.encode("utf-8", "replace")
        return (
            self._hash(0, application),
            self._hash(1, tools) if has_form else 0,
            self._hash(2, (_VARYING.sub(b"~", text[:OPENING_BYTES]),)),
            self._hash(3, (folded, *tools)),
            self._hash(4, (whole, *tools, *application)),
        )

    def _hash(self, level: int, parts: tuple[bytes, ...]) -> int:
        """64 bits, never 0; parts are told apart by their lengths."""
        digest = hashlib.blake2b(digest_size=8, key=self._secret, person=bytes((level,)))
        for part in parts:
            digest.update(len(part).to_bytes(8, "big"))
            digest.update(part)
        return int.from_bytes(digest.digest(), "big") or 1
