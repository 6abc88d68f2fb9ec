"""What a detector is, how one is found by its name, and what of its answers is believed.

The plug-in contract, told for authors in docs/how-to/write-a-detector.md.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol

import msgspec

from ecotone.values import Finding

GROUP: Final = "ecotone.detectors"
"""The entry point group: a detector's name -> `make`."""

BUILT_IN: Final[Mapping[str, str]] = {
    "names": "ecotone.detectors.names:make",
    "topics": "ecotone.detectors.topics:make",
}
"""No plug-in replaces one of these: what protects a site does not change because a package was installed."""

LABEL_UNKNOWN: Final = "unknown"
WORD_CHARS_MAX: Final = 64
"""As long as a label or a kind may be. They go into the ledger, so that none may hold a text."""


class Detector(Protocol):
    """Sees things in texts. Made once, then asked from one thread, one call at a time."""

    @property
    def version(self) -> str:
        """Of the detector and its model; findings of two versions may differ."""

    def find(self, texts: Sequence[str]) -> list[list[Finding]]:
        """For each text in order, what is seen in it.

        Offsets are code points of that text. `start == end == 0` means the text as a whole. Where the detector cannot
        judge a text (no model for its language), it gives a finding of label `unknown` with the reason as its kind.
        """


Make = Callable[[Mapping[str, Any]], Detector]


class DetectorError(Exception):
    """A detector cannot be had or gave an answer that no detector gives.

    Attributes:
        why: `absent`, `broken` or `bad_answer`.
        cause: Class name of what was raised, and where; never a message, which could hold content.
    """

    def __init__(self, why: str, cause: str) -> None:
        """Says why, and what was raised where."""
        super().__init__(f"{why}: {cause}")
        self.why = why
        self.cause = cause


def load(name: str, settings: Mapping[str, Any]) -> Detector:
    """Makes the detector of that name.

    Raises:
        DetectorError: `absent`: there is no such detector, or a package that it needs is not installed; `broken`: it
            could not be made.
    """
    try:
        made = _make(name)(settings)
        if not isinstance(made.version, str) or len(made.version) > WORD_CHARS_MAX or not callable(made.find):
            raise TypeError("version")
    except ImportError as error:
        raise DetectorError("absent", place(error)) from error
    except DetectorError:
        raise
    except Exception as error:
        raise DetectorError("broken", place(error)) from error
    return made


def known() -> tuple[str, ...]:
    """Names of all detectors that are built in or installed."""
    return (*BUILT_IN, *sorted({point.name for point in importlib.metadata.entry_points(group=GROUP)} - set(BUILT_IN)))


def checked(texts: Sequence[str], answer: object, name: str) -> list[list[Finding]]:
    """The findings of an answer, if a detector could have given it for these texts. `detector` is set to `name`.

    Raises:
        DetectorError: `bad_answer`.
    """
    if not isinstance(answer, (list, tuple)) or len(answer) != len(texts):
        raise DetectorError("bad_answer", "one list for each text")
    return [_checked(text, found, name) for text, found in zip(texts, answer, strict=True)]


def place(error: BaseException) -> str:
    """Class and place of an error, without its message: `ValueError at names.py:12`."""
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    at = f" at {frame.tb_frame.f_code.co_filename.rpartition('/')[2]}:{frame.tb_lineno}" if frame else ""
    return f"{type(error).__name__}{at}"[:120]


def _make(name: str) -> Make:
    if name in BUILT_IN:
        module, _, attribute = BUILT_IN[name].partition(":")
        made: Make = getattr(importlib.import_module(module), attribute)
        return made
    points = tuple(importlib.metadata.entry_points(group=GROUP, name=name))
    if len(points) != 1:
        raise DetectorError("absent", f"{len(points)} packages offer it")
    loaded: Make = points[0].load()
    return loaded


def _checked(text: str, found: object, name: str) -> list[Finding]:
    if not isinstance(found, (list, tuple)):
        raise DetectorError("bad_answer", "one list for each text")
    return [_one(len(text), finding, name) for finding in found]


def _one(length: int, finding: object, name: str) -> Finding:
    if not isinstance(finding, Finding):
        raise DetectorError("bad_answer", "not a Finding")
    if not (0 <= finding.start < finding.end <= length or finding.start == finding.end == 0):
        raise DetectorError("bad_answer", "offsets outside the text")
    if not (_is_word(finding.label) and _is_word(finding.kind)):
        raise DetectorError("bad_answer", "label or kind is not a short word")
    if not (math.isfinite(finding.confidence) and 0 <= finding.confidence <= 1):
        raise DetectorError("bad_answer", "confidence outside 0 to 1")
    return finding if finding.detector == name else msgspec.structs.replace(finding, detector=name)


def _is_word(text: str) -> bool:
    return 0 < len(text) <= WORD_CHARS_MAX and text.isprintable() and not any(char.isspace() for char in text)
