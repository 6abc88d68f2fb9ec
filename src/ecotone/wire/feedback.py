"""What a caller says of an answer: the body of `POST /v1/feedback`. Pure."""

from __future__ import annotations

import math
import re
from typing import Any, Final

import msgspec

from ecotone.values import RequestError

BODY_BYTES_MAX: Final = 262_144
CORRECTION_CHARS_MAX: Final = 65_536
TARGET_CHARS_MAX: Final = 64

_ID: Final = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
_FIELDS: Final = frozenset({"id", "score", "correction", "target"})
_read = msgspec.json.Decoder(dict[str, Any]).decode


class Feedback(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What was said of one answer. `correction` is content: never logged, never kept as it is.

    Attributes:
        request: Id of the request (`Ecotone-Id` of its answer).
        score: Quality of the answer in [0, 1]: 0 of no use, 1 as good as could be; None where only a correction came.
        correction: What the answer should have been, a reference that the given answer is compared with; or None.
        target: Whose answer is meant; `''` = that which the caller got.
    """

    request: str
    score: float | None = None
    correction: str | None = None
    target: str = ""


def decode(body: bytes) -> Feedback:
    """The feedback that these bytes give.

    Raises:
        RequestError: too long, not JSON, a field that is not known, missing or wrong; `param` names it.
    """
    if len(body) > BODY_BYTES_MAX:
        raise RequestError("request.too_large", f"The body is larger than {BODY_BYTES_MAX} bytes.", status=413)
    try:
        read = _read(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise RequestError("request.json", "the body is not a JSON object") from None
    unknown = sorted(read.keys() - _FIELDS)
    if unknown:
        # The name itself is not repeated: nobody bounds what a caller puts there.
        raise _bad("body", f"no other fields than {', '.join(sorted(_FIELDS))}")
    score, correction = _score(read.get("score")), _correction(read.get("correction"))
    if score is None and correction is None:
        raise _bad("score", "a number from 0 to 1, or `correction`,")
    target = "" if read.get("target") is None else read["target"]
    if not isinstance(target, str) or len(target) > TARGET_CHARS_MAX:
        raise _bad("target", f"a target's name of at most {TARGET_CHARS_MAX} characters")
    return Feedback(request=_request(read.get("id")), score=score, correction=correction, target=target)


def _request(value: Any) -> str:
    if not isinstance(value, str) or not _ID.fullmatch(value):
        raise _bad("id", "the `Ecotone-Id` of the answer")
    return value


def _score(value: Any) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool):
        return float(value)
    if not isinstance(value, int | float) or not math.isfinite(value) or not 0 <= value <= 1:
        raise _bad("score", "a number from 0 to 1")
    return float(value)


def _correction(value: Any) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or not value.strip() or len(value) > CORRECTION_CHARS_MAX:
        raise _bad("correction", f"a text of at most {CORRECTION_CHARS_MAX} characters")
    return value


def _bad(param: str, wanted: str) -> RequestError:
    return RequestError("request.feedback", f"{param}: {wanted} is needed", param=param)
