"""Replaces what was found in a request by surrogates, wherever it stands in it. Pure."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

import msgspec

from ecotone.pseudonyms.document import Document, refused
from ecotone.pseudonyms.folding import Squeezed, squeeze
from ecotone.pseudonyms.leaks import Leaks
from ecotone.pseudonyms.matching import Forms
from ecotone.pseudonyms.names import dressed
from ecotone.pseudonyms.note import add_note, note
from ecotone.pseudonyms.restoring import Restorer
from ecotone.pseudonyms.scope import Dice, Scope
from ecotone.pseudonyms.spans import Span, Taint, merge
from ecotone.pseudonyms.vault import Row, Vault
from ecotone.values import INSIDE, Endpoint, Finding, Request, Segment

_FIXED: Final = frozenset(
    {"role", "type", "detail", "format", "encoding_format", "service_tier", "reasoning_effort", "tool_choice", "object"}
)
"""Fields whose values are the API's own words: nothing else may stand there."""

_MEDIA: Final = frozenset({"image_url", "input_audio", "audio", "video_url", "file"})
_NAMED: Final = frozenset({"function", "json_schema", "function_call", "custom"})
_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""What the API allows as a name of a speaker, a function or a schema."""


class Masked:
    """A request as a target may see it, and the way back.

    Attributes:
        request: The same request with another body.
        transform: `pseudonymise:` and a keyed digest of the original body, the replaced pieces and the new body.
        replaced: How many pieces of text of each label were replaced.
        originals: Every value that was replaced.
    """

    def __init__(
        self,
        request: Request,
        transform: str,
        replaced: Mapping[str, int],
        rows: Sequence[Row],
        forms: Forms,
        leaks: Leaks,
    ) -> None:
        self.request = request
        self.transform = transform
        self.replaced = replaced
        self.originals = tuple(dict.fromkeys(row.original for row in rows if not row.is_part))
        self._forms = forms
        self._leaks = leaks

    def restorer(self, endpoint: Endpoint) -> Restorer:
        """A new way back, for one attempt. Implements `ports.Reply`."""
        return Restorer(self._forms, endpoint)

    def leaks(self, body: bytes) -> bool:
        """Whether a replaced value still stands in these bytes, in whatever writing; see `Leaks`."""
        return self._leaks(body)


def mask(
    request: Request,
    segments: Sequence[Segment],
    spots: Sequence[tuple[int, Finding]],
    labels: frozenset[str],
    scope: Scope,
) -> Masked:
    """The request with every finding of these labels replaced, and every other place where the same value stands.

    Args:
        segments: All text of the request's body, as `privacy.segments` gives it.
        spots: What was found, each with the index of its segment. Those of other labels stay.

    Raises:
        RefusalError: something cannot be replaced with certainty (`refused.pseudonymise`).
    """
    document = Document(request.body)
    if not isinstance(document.root, dict):
        raise refused("the body is no object")
    work = _Work(request, segments, scope, document)
    work.find(spots, labels)
    work.taint()
    work.write()
    rows = tuple(work.vault.rows.values())
    tag = work.vault.tag if any(row.is_tagged for row in rows) else ""
    line = note(tag) if tag and request.endpoint is Endpoint.CHAT else ""
    if line:
        add_note(document.root, line)
    body = document.encode()
    leaks = Leaks(rows, body, work.texts, line)
    if leaks(body):
        raise refused("a value was replaced and still stands elsewhere in the body")
    sealed = [hashlib.sha256(request.body).hexdigest(), work.done, hashlib.sha256(body).hexdigest()]
    seal = hmac.digest(scope.secret, msgspec.json.encode(["transform", *sealed]), "sha256").hex()
    masked = msgspec.structs.replace(request, body=body)
    forms = Forms(rows, tag)
    return Masked(masked, f"pseudonymise:{seal}", MappingProxyType(work.replaced), rows, forms, leaks)


class _Work:
    """One masking under way.

    Attributes:
        texts: Every segment's text as it will stand.
        done: (segment, start, end, label) of each piece that was replaced.
        replaced: Pieces by label.
    """

    def __init__(self, request: Request, segments: Sequence[Segment], scope: Scope, document: Document) -> None:
        self._segments = segments
        self._document = document
        self._seen: list[Squeezed] = [squeeze(segment.text) for segment in segments]
        corpus = "\x1e".join(seen.text for seen in self._seen)
        self.vault = Vault(scope.style, Dice(scope, request.endpoint, document.root), corpus)
        self._spans: list[list[Span]] = [[] for _ in segments]
        # What changes from turn to turn stands last, wherever the body has it: ordinals must not move.
        self._order = sorted(range(len(segments)), key=lambda at: segments[at].path[:1] == ("messages",))
        self.texts: list[str] = [segment.text for segment in segments]
        self.done: list[tuple[int, int, int, str]] = []
        self.replaced: dict[str, int] = {}

    def find(self, spots: Sequence[tuple[int, Finding]], labels: frozenset[str]) -> None:
        """Takes what was found, and gives each value its surrogate in the order of appearance."""
        for at, one in spots:
            if one.label not in labels:
                continue
            if not 0 <= one.start < one.end <= len(self._segments[at].text):
                raise refused(f"what has label {one.label} is no piece of a text")
            self._spans[at].append(Span(one.start, one.end, one.label, one.kind))
        for at in self._order:
            self._spans[at] = merge(self._spans[at])
            for span in self._spans[at]:
                self._row(at, span)

    def taint(self) -> None:
        """Adds all other places of the same values."""
        taint = Taint(self.vault.rows.values())
        for at, segment in enumerate(self._segments):
            more = taint.find(segment.text, self._seen[at])
            if "\\" in segment.text:  # as JSON in a text that is no JSON as a whole shows it: `\\nMaria`, `\\u5f20`
                more += taint.find(segment.text, squeeze(segment.text, is_json=True))
            if more:
                self._spans[at] = merge((*self._spans[at], *more))

    def write(self) -> None:
        """Puts the surrogates into the document."""
        renames: list[tuple[Segment, str]] = []
        for at in self._order:
            spans, segment = self._spans[at], self._segments[at]
            if not spans:
                continue
            text = self.texts[at] = self._replaced(at, spans)
            _check_place(segment, text)
            if segment.is_key:
                renames.append((segment, text))
            else:
                self._document.put(segment.path, text, is_number=segment.is_number)
        for segment, text in sorted(renames, key=lambda one: -len(one[0].path)):
            self._document.close()
            self._document.rename(segment.path, text)
        self._document.close()

    def _replaced(self, at: int, spans: Sequence[Span]) -> str:
        made: list[str] = []
        text, past = self._segments[at].text, 0
        for span in spans:
            row = self._row(at, span)
            written = text[span.start : span.end]
            surrogate = dressed(row.surrogate, row.original, written) if row.is_word else row.surrogate
            made += (text[past : span.start], surrogate)
            past = span.end
            self.done.append((at, span.start, span.end, span.label))
            self.replaced[span.label] = self.replaced.get(span.label, 0) + 1
        return "".join((*made, text[past:]))

    def _row(self, at: int, span: Span) -> Row:
        segment = self._segments[at]
        value = span.value or segment.text[span.start : span.end]
        if not segment.is_number:
            return self.vault.row(value, span.label, span.kind)
        if value != segment.text:
            raise refused("a part of a number cannot be replaced")
        return self.vault.number(value, span.label)


def _check_place(segment: Segment, text: str) -> None:
    """Raises where the API would not take the new text."""
    path = segment.path
    if INSIDE in path or segment.is_key:
        return
    if path[-1] in _FIXED or any(step in _MEDIA for step in path[-3:-1]):
        raise refused("a value stands in a field that takes the API's own words only")
    is_name = path[-1] == "name" and (path[-2] in _NAMED or (len(path) == 3 and path[0] in ("messages", "functions")))
    if is_name and _NAME.fullmatch(text) is None:
        raise refused("a name would have characters that the API does not allow")
