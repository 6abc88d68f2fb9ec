"""One look at a text: a few gates, then a check of each hit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

import re2

from ecotone.values.finding import Finding

NAME = "patterns"
_NONE: Mapping[str, Iterable[str]] = MappingProxyType({})

# (label, kind, confidence, pattern)
_FORMS = (
    ("contact", "email", 0.99, r"[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+"),
    ("secret", "secret.private_key", 0.99, r"-----BEGIN [A-Z ]*PRIVATE KEY-----"),
    ("secret", "secret.aws_access_key", 0.99, r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
    ("secret", "secret.github", 0.99, r"\bgh[pousr]_[0-9A-Za-z]{36}\b"),
    ("secret", "secret.openai", 0.9, r"\bsk-[A-Za-z0-9_-]{20,}"),
    ("national_id", "us_ssn", 0.9, r"\b[0-9]{3}-[0-9]{2}-[0-9]{4}\b"),
    ("card", "card", 0.95, r"\b[0-9](?:[ -]?[0-9]){12,18}\b"),
    ("contact", "phone", 0.8, r"(?:\+?1[ .-]?)?\(?\b[0-9]{3}\)?[ .-][0-9]{3}[ .-][0-9]{4}\b|\b1[3-9][0-9]{9}\b"),
    ("contact", "ip", 0.9, r"\b[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}\b"),
)


class Patterns:
    """Finds what has a form. Never raises for a text; no finding crosses `\\x1e`.

    Args:
        terms: A site's own terms by label.
    """

    version = "0"

    def __init__(self, terms: Mapping[str, Iterable[str]] = _NONE) -> None:
        self._forms = tuple((label, kind, sure, re2.compile(form)) for label, kind, sure, form in _FORMS)

    def find(self, text: str) -> list[Finding]:
        """Findings of one text, sorted, without overlap, counted in code points of the text as it was written."""
        found: list[Finding] = []
        end = 0
        hits = [
            (m.start(), -m.end(), label, kind, sure)
            for label, kind, sure, form in self._forms
            for m in form.finditer(text)
            if kind != "card" or _luhn(m.group())
        ]
        for start, minus_end, label, kind, sure in sorted(hits):
            if start >= end:
                end = -minus_end
                found.append(Finding(label, kind, start, end, sure, NAME))
        return found


def _luhn(text: str) -> bool:
    digits = [int(c) for c in reversed(text) if c.isdigit()]
    return (sum(digits[::2]) + sum(sum(divmod(2 * d, 10)) for d in digits[1::2])) % 10 == 0
