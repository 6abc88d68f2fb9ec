"""What was found in a request: pieces of its text, and what detectors saw in them."""

from __future__ import annotations

import msgspec

Step = str | int
"""One step of a path into a request's JSON: a key, a position, or `INSIDE`."""

INSIDE = "\x00json"
"""The step from a string that holds JSON (tool-call arguments) into that JSON. No key of a body can be it by chance."""


class Segment(msgspec.Struct, frozen=True, gc=False):
    """One piece of a request's text, decoded.

    Attributes:
        text: What the target's model would read, as the caller wrote it.
        path: Where it stands in the body: `("messages", 0, "content")`. A key of an object has the object's path and
            then the key; `is_key` tells it from the value.
        before: What stands in front of it and may explain it, such as `"mrn: "`: detectors look at `before + text`,
            and count from the start of `text`.
        is_key: The text is a key of a JSON object.
        is_number: The value is a JSON number; `text` is how it is written.
    """

    text: str
    path: tuple[Step, ...]
    before: str = ""
    is_key: bool = False
    is_number: bool = False


class Finding(msgspec.Struct, frozen=True, gc=False):
    """One thing that a detector saw in a text.

    Attributes:
        label: The word that policy knows: `contact`, `person`, `secret` ...
        kind: What it is, finer than the label: `email`, `iban`, `secret.aws_access_key` ...
        start, end: Code points from the start of the segment's text as it was written. Equal where the whole text is
            meant and nothing in it can be replaced (a topic, an image).
        confidence: From 0 to 1.
        detector: Who saw it.
    """

    label: str
    kind: str
    start: int
    end: int
    confidence: float
    detector: str


class Findings(msgspec.Struct, frozen=True, gc=False):
    """All that is known of what a conversation holds (invariant 3: what is found in one message holds for all).

    Attributes:
        labels: Sorted, without repetition: the caller's own, and what detectors added.
        missing: Detectors that should have looked and could not, each as `name: why`; then `unknown` is a label.
        pending: Detectors that have not looked yet. Until they have, nothing may leave.
        loose: Labels that stand, wholly or in part, for nothing that could be replaced: a topic, an image, a label of
            the caller's that no detector can point at.
        segments: The pieces of text that were looked at.
        spots: What was seen, each with the index of its segment.
        body: The request's body where it had to be written anew, because what detectors read and what another reader
            of the same bytes would read need not be the same (a key given twice); None = the caller's bytes.
    """

    labels: tuple[str, ...]
    missing: tuple[str, ...] = ()
    pending: tuple[str, ...] = ()
    loose: tuple[str, ...] = ()
    segments: tuple[Segment, ...] = ()
    spots: tuple[tuple[int, Finding], ...] = ()
    body: bytes | None = None
