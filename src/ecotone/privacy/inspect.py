"""What a conversation holds: the quick detectors now, the dear ones where something might leave. Pure.

    findings = inspect(request, look)                    # microseconds, always
    texts = look.unseen(findings, findings.pending)      # new pieces of text only
    findings = deepen(findings, look, names, looked...)  # after the dear detectors have looked at them

What a detector does wrong, whatever it is, makes the conversation `unknown`, and `unknown` stays (invariant 1).
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec

from ecotone.privacy.segments import Text, segments
from ecotone.values import Finding, Findings, Request, Segment

UNKNOWN: Final = "unknown"
"""The label of a conversation that a detector should have looked at and could not."""
OPAQUE: Final = "opaque"
"""The label of a conversation with a part that is no text."""

BETWEEN: Final = "\x1e"
"""Stands between joined segments; no pattern crosses it."""
KEPT_CHARS_MIN: Final = 256
"""What was seen in longer pieces of text is remembered; shorter ones are looked at again, which costs less."""
KEPT_MAX: Final = 20_000
KEPT_FINDINGS_MAX: Final = 200_000
"""Findings remembered in all of these texts together: some 100 bytes each, of which hostile text makes thousands."""
FRESH_CHARS_MAX: Final = 512 * 1024
"""More text than that at once, which was not looked at before, is not looked at: the patterns run beside all other
requests, and hostile text costs them three seconds a megabyte. The conversation is `unknown`."""
FOUND_MAX: Final = 10_000
"""More findings than that are no findings: the conversation is `unknown`."""


class _TooMuchError(Exception):
    """More new text than the quick detectors look at in one request."""


Find = Callable[[str], Sequence[Finding]]
"""A quick detector: what it sees in a text. Pure; raising counts as `unknown`."""


class Look:
    """Who looks, and what was seen in texts that were looked at before.

    It keeps keyed digests of texts, never a text, in bounded memory; a new `Look` (a reload) begins anew.
    """

    def __init__(
        self,
        quick: Mapping[str, Find] | None = None,
        dear: Sequence[str] = (),
        missing: Sequence[str] = (),
        *,
        secret: bytes = b"",
        kept_max: int = KEPT_MAX,
        withheld: tuple[Find, frozenset[str]] | None = None,
    ) -> None:
        """Args:
        quick: Detectors that run here, by name.
        dear: Names of those that run elsewhere, with a limit on time.
        missing: Names of those that were asked for and are not there.
        secret: Key of the digests, 16 bytes or more; new at each start.
        withheld: What is taken out of answers from the cloud: who sees it, and the labels.
        """
        self.withheld = withheld
        self.quick = dict(quick or {})
        self.dear = tuple(dear)
        self.missing = tuple(f"{name}: not installed" for name in missing)
        self._secret = secret[:64]
        self._kept: dict[tuple[str, bytes], tuple[Finding, ...]] = {}
        self._kept_max = kept_max
        self._kept_findings = 0

    @property
    def is_blind(self) -> bool:
        """Whether nobody looks at all: labels are the callers' own."""
        return not (self.quick or self.dear or self.missing or self.withheld)

    def digest(self, segment: Segment) -> bytes:
        """What a text is remembered by."""
        text = f"{segment.before}{BETWEEN}{segment.text}".encode("utf-8", "surrogatepass")
        return hashlib.blake2b(text, digest_size=16, key=self._secret).digest()

    def recall(self, detector: str, digest: bytes) -> tuple[Finding, ...] | None:
        """What this detector saw in that text, or None."""
        found = self._kept.pop((detector, digest), None)
        if found is not None:
            self._kept[detector, digest] = found  # the last one used is the last one forgotten
        return found

    def keep(self, detector: str, digest: bytes, found: Sequence[Finding]) -> None:
        """Remembers what was seen, and forgets what was used longest ago."""
        self._kept_findings += len(found) - len(self._kept.pop((detector, digest), ()))
        self._kept[detector, digest] = tuple(found)
        while len(self._kept) > self._kept_max or self._kept_findings > KEPT_FINDINGS_MAX:
            self._kept_findings -= len(self._kept.pop(next(iter(self._kept))))


class Unseen(msgspec.Struct, frozen=True):
    """Texts that the dear detectors have yet to look at.

    Attributes:
        texts: Each with what stands before it.
        digests: What each is remembered by.
        names: Detectors that have not seen all of them.
    """

    texts: tuple[str, ...]
    digests: tuple[bytes, ...]
    names: tuple[str, ...]


def inspect(request: Request, look: Look) -> Findings:
    """What the quick detectors see, and the caller's labels. Labels are only ever added."""
    if look.is_blind:
        return Findings(request.labels)
    try:
        text = segments(request.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _told(request.labels, Text(()), (), ("body: not readable", *look.missing), look.dear)
    spots: list[tuple[int, Finding]] = []
    missing = list(look.missing)
    for name, find in look.quick.items():
        try:
            spots += _quick(name, find, text, look)
        except _TooMuchError:
            missing.append(f"{name}: more than {FRESH_CHARS_MAX} new characters at once")
        except Exception as error:  # noqa: BLE001 - fail closed: whatever a detector does wrong, the data stays
            missing.append(f"{name}: {type(error).__name__}")
    return _told(request.labels, text, spots, missing, look.dear)


def unseen(findings: Findings, look: Look) -> Unseen:
    """What the pending detectors must look at: every text once, without those that all of them have seen before."""
    fresh: dict[bytes, str] = {}
    names: dict[str, None] = {}
    for segment in findings.segments:
        digest = look.digest(segment)
        lacking = [name for name in findings.pending if look.recall(name, digest) is None]
        if lacking:
            fresh[digest] = segment.before + segment.text
            names.update(dict.fromkeys(lacking))
    return Unseen(tuple(fresh.values()), tuple(fresh), tuple(names))


def deepen(
    request: Request,
    findings: Findings,
    look: Look,
    seen: Unseen,
    looked: tuple[Sequence[Sequence[Finding]], Sequence[tuple[str, str]]],
) -> Findings:
    """The findings with what the dear detectors saw; nothing is pending after it.

    Args:
        looked: (findings for each text of `seen`, detectors that did not look, with the reason).
    """
    found, failed = looked
    absent = dict(failed)
    now = _sorted_out(seen, found, absent)
    spots = list(findings.spots)
    for at, segment in enumerate(findings.segments):
        digest = look.digest(segment)
        for name in findings.pending:
            known = look.recall(name, digest)
            if known is None:
                known = now.get((name, digest))
            if known is None:
                absent.setdefault(name, "no answer")
            else:
                spots += [(at, moved) for one in known if (moved := _moved(one, segment)) is not None]
    for (name, digest), known in now.items():
        look.keep(name, digest, known)
    missing = (*findings.missing, *(f"{name}: {reason}" for name, reason in absent.items()))
    text = Text(findings.segments, (), OPAQUE in findings.labels and OPAQUE not in request.labels, findings.body)
    return _told(request.labels, text, spots, missing, ())


def _sorted_out(
    seen: Unseen, found: Sequence[Sequence[Finding]], absent: dict[str, str]
) -> dict[tuple[str, bytes], tuple[Finding, ...]]:
    """What each detector saw in each text; whoever did not look at all of them saw nothing."""
    now: dict[tuple[str, bytes], tuple[Finding, ...]] = {}
    if len(found) != len(seen.texts):
        absent.update(dict.fromkeys(seen.names, "bad answer"))
    for name in seen.names:
        if name not in absent:
            for digest, ones in zip(seen.digests, found, strict=True):
                now[name, digest] = tuple(one for one in ones if one.detector == name)
    return now


def _quick(name: str, find: Find, text: Text, look: Look) -> list[tuple[int, Finding]]:
    """One quick detector over all segments: those that it knows from memory, all others in one pass."""
    spots: list[tuple[int, Finding]] = []
    fresh: list[int] = []
    digests: dict[int, bytes] = {}
    for at, segment in enumerate(text.segments):
        if len(segment.text) >= KEPT_CHARS_MIN:
            digest = look.digest(segment)
            known = look.recall(name, digest)
            if known is not None:
                spots += [(at, one) for one in known]
                continue
            digests[at] = digest
        fresh.append(at)
    if sum(len(text.segments[at].text) for at in fresh) > FRESH_CHARS_MAX:
        raise _TooMuchError
    new = _joined(find, [text.segments[at] for at in fresh])
    for index, at in enumerate(fresh):
        spots += [(at, one) for one in new[index]]
        if at in digests:
            look.keep(name, digests[at], new[index])
    for run in text.runs:
        spots += _across(find, text.segments, run, spots)
    return spots


def _joined(find: Find, parts: Sequence[Segment]) -> list[list[Finding]]:
    """What is seen in some segments, looked at in one pass."""
    found: list[list[Finding]] = [[] for _ in parts]
    starts: list[int] = []
    pieces: list[str] = []
    at = 0
    for part in parts:
        starts.append(at)
        pieces += (part.before, part.text, BETWEEN)
        at += len(part.before) + len(part.text) + 1
    for one in find("".join(pieces)) if parts else ():
        index = bisect_right(starts, one.start) - 1
        moved = _moved(one, parts[index], starts[index])
        if moved is not None:
            found[index].append(moved)
    return found


def _moved(one: Finding, segment: Segment, start: int = 0) -> Finding | None:
    """A finding in `before + text` as one in the text; None where it lies in front of it."""
    shift = start + len(segment.before)
    if not shift or one.start == one.end:
        return one
    begin, end = max(0, one.start - shift), min(one.end - shift, len(segment.text))
    if end <= begin:
        return None
    return Finding(one.label, one.kind, begin, end, one.confidence, one.detector)


def _across(
    find: Find, segments: Sequence[Segment], run: Sequence[int], known: Sequence[tuple[int, Finding]]
) -> list[tuple[int, Finding]]:
    """What only shows where neighbouring parts are read as one.

    A value that is cut by the end of a part cannot be replaced, for no single part holds it. One whose words of context
    stand in the part before (`The password is:`) can.
    """
    starts = [0]
    for at in run:
        starts.append(starts[-1] + len(segments[at].text))
    found: list[tuple[int, Finding]] = []
    for one in find("".join(segments[at].text for at in run)):
        index = min(bisect_right(starts, one.start), len(run)) - 1
        begin, end = one.start - starts[index], one.end - starts[index]
        if one.end > starts[index + 1]:
            found.append((run[0], Finding(one.label, one.kind, 0, 0, one.confidence, one.detector)))
        elif not any(at == run[index] and _covers(seen, one.label, begin, end) for at, seen in known):
            found.append((run[index], Finding(one.label, one.kind, begin, end, one.confidence, one.detector)))
    return found


def _covers(seen: Finding, label: str, begin: int, end: int) -> bool:
    return seen.label == label and seen.start <= begin and end <= seen.end


def _told(
    given: Sequence[str],
    text: Text,
    spots: Sequence[tuple[int, Finding]],
    missing: Sequence[str],
    pending: tuple[str, ...],
) -> Findings:
    """Labels and what they stand on."""
    if len(spots) > FOUND_MAX:
        spots, missing = (), (*missing, "too much was found")
    seen = {one.label for _, one in spots}
    loose = {one.label for at, one in spots if one.start >= one.end or text.segments[at].is_key}
    loose |= {label for label in given if label not in seen}
    labels = seen | set(given)
    for label, is_there in ((OPAQUE, text.is_opaque), (UNKNOWN, bool(missing))):
        if is_there:
            labels.add(label)
            loose.add(label)
    return Findings(
        tuple(sorted(labels)),
        tuple(missing),
        pending,
        tuple(sorted(loose)),
        text.segments,
        tuple(spots),
        text.body,
    )
