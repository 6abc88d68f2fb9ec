"""Answers what left the site, and says how far the answer is proved: it verifies all that it reads."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from ecotone.store import chain, merkle, notes
from ecotone.store.segments import last_entry, listed
from ecotone.store.verifying import Report, Trust, verify

__all__ = ["Answer", "Carried", "Question", "answered", "await_checkpoint"]

PROBE: Final = "probe"
"""`request` of the entries of probes, whose body is empty."""
HUB: Final = "hub."
"""How `request` begins in the entries of what the site itself says to its hub; what has no body asks for news."""
OTHERS: Final = "…"
"""Stands for all names beyond `_WORDS_MAX`: callers may make up labels."""
_WORDS_MAX: Final = 1000
_LOOK_S: Final = 0.1


class Question(msgspec.Struct, frozen=True):
    """What with label `label` went to `to`, from `since_ms` on and before `until_ms`? None = any.

    Attributes:
        to: A region, or the name of a target.
        since_ms, until_ms: Milliseconds since the Unix epoch, by the site's clock.
    """

    label: str | None = None
    to: str | None = None
    since_ms: int | None = None
    until_ms: int | None = None


class Carried(msgspec.Struct):
    """What the egresses say of one label of their conversations.

    Attributes:
        egresses: So many carried the label.
        replaced: In so many of them values of this label went as surrogates; in the others none did.
        values: So many values were replaced in all.
    """

    egresses: int = 0
    replaced: int = 0
    values: int = 0


class Answer(msgspec.Struct):
    """What the ledger says.

    Attributes:
        count: Egresses that match: entries that were durable before a body was sent. Probes are not among them.
        body_bytes: Bytes of their bodies.
        probes: Empty requests that asked whether a target is there, or the hub for news.
        voided: Egresses that were asked for and did not go.
        first_at_ms, last_at_ms: Times of the first and the last match; 0 where there is none.
        by_target, by_region, by_transform, by_label: The matches, counted by what they say. Without a region: `-`.
        as_of: The answer speaks of the entries before this position; None = of all that were read.
        report: On all entries that were read: how many, which, and whether they are whole.
        uncovered: Entries behind the newest checkpoint: the chain holds them, no signature does yet.
        gaps: What keeps the answer from being complete, in sentences.
        is_complete: Nothing that the question asks for was changed, dropped, cut off, lost or removed.
        is_signed: A checkpoint that the given key signed covers every entry the question asks for.
    """

    question: Question
    count: int = 0
    body_bytes: int = 0
    probes: int = 0
    voided: int = 0
    first_at_ms: int = 0
    last_at_ms: int = 0
    by_target: dict[str, int] = {}
    by_region: dict[str, int] = {}
    by_transform: dict[str, int] = {}
    by_label: dict[str, Carried] = {}
    as_of: int | None = None
    report: Report | None = None
    uncovered: int = 0
    gaps: list[str] = []
    is_complete: bool = False
    is_signed: bool = False


class _Egress(msgspec.Struct):
    """What an answer needs of an `egress` or `voided` entry."""

    request: str
    target: str
    body_bytes: int
    region: str | None = None
    transform: str = "none"
    labels: tuple[str, ...] = ()
    replaced: dict[str, int] = {}


_EGRESSES: Final = msgspec.json.Decoder(_Egress)


def answered(paths: Path | Sequence[Path], question: Question, trust: Trust, as_of: int | None = None) -> Answer:
    """Reads and verifies a ledger, or a copy of it, from its first entry to its last.

    Args:
        as_of: Only entries before this position count; where a site goes on writing, those that a checkpoint covers.

    Raises:
        ConfigError: `store.public_key`: a key of `trust` is none.
        OSError: a file cannot be read.
    """
    count = _Count(question, as_of)
    report = verify(paths, trust=trust, visit=count.entry)
    return count.answer(report)


def await_checkpoint(folder: Path, limit_s: float) -> int | None:
    """Waits until a checkpoint covers all that is there now, where a site writes it; how much it covers.

    None when that took too long.

    Raises:
        OSError: the ledger cannot be read.
    """
    segments, path = listed(folder), folder / notes.CHECKPOINTS
    entry = last_entry(segments[-1], segments[-1].stat().st_size)[1] if segments else None
    until_s = time.monotonic() + limit_s
    while entry is not None:
        newest = notes.last(path, lambda _: True) if path.exists() else None
        if newest is not None and newest.size > entry.seq:
            return newest.size
        if time.monotonic() >= until_s:
            return None
        time.sleep(_LOOK_S)
    return None


class _Count:
    """Counts while the entries pass by."""

    def __init__(self, question: Question, as_of: int | None) -> None:
        self._answer = Answer(question, as_of=as_of)
        self._before_seq = as_of if as_of is not None else 1 << 62
        self._unreadable = -1
        self._since_ms = question.since_ms if question.since_ms is not None else 0
        self._until_ms = question.until_ms if question.until_ms is not None else 1 << 62
        self._last_seq = -1

    def entry(self, _text: bytes, link: chain.Link, _tree: merkle.Tree | None) -> None:
        """Takes the next good entry."""
        if self._since_ms <= link.at_ms < self._until_ms and link.seq < self._before_seq:
            self._last_seq = link.seq
            if link.kind in ("egress", "voided"):
                self._egress(link)

    def _egress(self, link: chain.Link) -> None:
        answer, question = self._answer, self._answer.question
        try:
            said = _EGRESSES.decode(link.body)
        except msgspec.DecodeError:
            self._unreadable = link.seq
            return
        if question.label is not None and question.label not in said.labels:
            return
        if question.to is not None and question.to not in (said.region, said.target):
            return
        if link.kind == "voided":
            answer.voided += 1
        elif said.body_bytes == 0 and (said.request == PROBE or said.request.startswith(HUB)):
            answer.probes += 1
        else:
            self._match(link.at_ms, said)

    def _match(self, at_ms: int, said: _Egress) -> None:
        answer = self._answer
        answer.first_at_ms = answer.first_at_ms if answer.count else at_ms
        answer.last_at_ms = at_ms
        answer.count += 1
        answer.body_bytes += said.body_bytes
        for counts, word in (
            (answer.by_target, said.target),
            (answer.by_region, said.region or "-"),
            (answer.by_transform, said.transform.partition(":")[0]),
        ):
            word = word if word in counts or len(counts) < _WORDS_MAX else OTHERS
            counts[word] = counts.get(word, 0) + 1
        for label in {*said.labels, *said.replaced}:
            is_named = label in answer.by_label or len(answer.by_label) < _WORDS_MAX
            carried = answer.by_label.setdefault(label if is_named else OTHERS, Carried())
            carried.egresses += 1
            carried.replaced += said.replaced.get(label, 0) > 0
            carried.values += said.replaced.get(label, 0)

    def answer(self, report: Report) -> Answer:
        """The answer, with what is known of its proof."""
        answer, attested, removed = self._answer, report.attested, report.attested.removed
        answer.report = report
        answer.uncovered = max(0, report.last_seq + 1 - attested.size)
        if report.bad is not None:
            answer.gaps.append(f"entry {report.bad.seq} ({report.bad.why}): {report.bad.detail}")
        if self._unreadable >= 0:
            answer.gaps.append(f"entry {self._unreadable} is an egress that this ecotone cannot read; use a newer one")
        if removed is not None and self._since_ms <= removed.until_ms and removed.from_ms < self._until_ms:
            answer.gaps.append(f"the entries 0 to {removed.first_seq - 1} were removed by retention")
        if report.first_seq > 0 and removed is None:
            answer.gaps.append(f"the entries 0 to {report.first_seq - 1} are not among these files")
        answer.is_complete = not answer.gaps
        answer.is_signed = attested.is_signed and self._last_seq < attested.size
        return answer
