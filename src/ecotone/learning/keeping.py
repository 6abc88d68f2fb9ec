"""What was learned as bytes and back: validated, for what comes from a disk is believed no further than its form.

Learners are not kept: they are fitted anew from the rows. A certificate is kept with the frozen rule that it is about.
"""

from __future__ import annotations

import math
import zlib
from typing import Final

import msgspec

from ecotone.learning.certificate import Certificate
from ecotone.learning.course import Course, Promise, Standing
from ecotone.learning.learner import Scorer
from ecotone.learning.recalibration import Frozen
from ecotone.learning.rows import CERTIFY_MAX, GATED_MAX, PLAIN_MAX, Labelled
from ecotone.learning.traits import GROUP_LEVELS
from ecotone.learning.watch import Base, Watch, WatchDump
from ecotone.values.quality import Gate
from ecotone.values.request import Mode

BYTES_MAX: Final = 64 << 20
"""Of a dump when it is unpacked."""

_KIND: Final = "ecotone.course.1"
_SIGNS_BYTES_MAX: Final = 64 * 8


class NameDump(msgspec.Struct, frozen=True):
    """What belongs to a model name, whatever its edge targets.

    Attributes:
        configured, rung: The rung in the configuration, and the one where the ladder stands.
        price: `Price.value`.
    """

    configured: Mode | None
    rung: Mode
    price: float


class _StandingDump(msgspec.Struct, frozen=True):
    certificate: Certificate
    base: Base
    prompt: bytes
    answer: bytes
    skip_above: float
    watch: WatchDump


class _CourseDump(msgspec.Struct, frozen=True):
    kind: str
    edge: str
    cloud: str
    promise: Promise
    plain: list[Labelled]
    gated: list[Labelled]
    certify: list[Labelled]
    number: int
    counts: tuple[int, int, int, int, int, int]
    at_look: int
    why: str
    needed: int | None
    standing: _StandingDump | None


_courses: Final = msgspec.msgpack.Decoder(_CourseDump)
_names: Final = msgspec.msgpack.Decoder(NameDump)


def dump_name(name: NameDump) -> bytes:
    """What `load_name` reads."""
    return msgspec.msgpack.encode(name)


def load_name(data: bytes) -> NameDump:
    """What `dump_name` wrote.

    Raises:
        ValueError: It is something else.
    """
    try:
        name = _names.decode(data)
    except msgspec.MsgspecError as error:
        raise ValueError(f"not what was learned of a name: {error}") from error
    if not math.isfinite(name.price):
        raise ValueError("not what was learned of a name: its price is no number")
    return name


def dump_course(course: Course) -> bytes:
    """What `load_course` reads: a few megabytes, without content."""
    plain, gated, certify, number = course.book.dump()
    counts = (course.numbered, course.attempts, course.learned, course.arrived, course.missed, course.seen)
    whole = _CourseDump(
        _KIND, course.edge, course.cloud, course.promise, plain, gated, certify, number, counts, course.at_look,
        course.why, course.needed, _dump_standing(course),
    )  # fmt: skip
    return zlib.compress(msgspec.msgpack.encode(whole), 1)


def _dump_standing(course: Course) -> _StandingDump | None:
    standing, watch = course.standing, course.watch
    if standing is None or watch is None:
        return None
    frozen = standing.frozen
    answer = b"" if frozen.answer is None else frozen.answer.dump()
    return _StandingDump(
        standing.certificate, standing.base, frozen.prompt.dump(), answer, frozen.skip_above, watch.dump()
    )


def load_course(data: bytes) -> Course:
    """What `dump_course` wrote. Its learners are yet to be fitted: it is due.

    Raises:
        ValueError: It is something else, or broken.
    """
    try:
        inflate = zlib.decompressobj()
        whole = _courses.decode(inflate.decompress(data, BYTES_MAX))
    except (zlib.error, msgspec.MsgspecError) as error:
        raise ValueError(f"not what was learned of a target: {error}") from error
    _check(whole)
    course = Course(whole.edge, whole.cloud, whole.promise)
    course.book.restore(whole.plain, whole.gated, whole.certify, whole.number)
    course.numbered, course.attempts, course.learned, course.arrived, course.missed, course.seen = whole.counts
    standing = None if whole.standing is None else _load_standing(whole.standing, whole.promise.gate)
    watch = None if whole.standing is None else Watch(
        whole.standing.base, whole.standing.certificate.loss_max, whole.standing.watch
    )  # fmt: skip
    course.resume(standing, watch, at_look=whole.at_look, why=whole.why, needed=whole.needed)
    return course


def _check(whole: _CourseDump) -> None:
    rows = [*whole.plain, *whole.gated, *whole.certify]
    most = ((whole.plain, PLAIN_MAX), (whole.gated, GATED_MAX), (whole.certify, CERTIFY_MAX))
    is_sound = (
        whole.kind == _KIND
        and all(len(part) <= limit for part, limit in most)
        and min((*whole.counts, whole.number, whole.at_look)) >= 0
        and 0.0 <= whole.promise.loss_max <= 1.0
        and 0.0 < whole.promise.delta < 1.0
        and all(_is_sound(row, whole.number) for row in rows)
    )
    if not is_sound:
        raise ValueError("not what was learned of a target: a part is out of bounds")


def _is_sound(row: Labelled, number: int) -> bool:
    signs = row.vector if len(row.signs) % 8 == 0 and len(row.signs) <= _SIGNS_BYTES_MAX else None
    return (
        row.traits.is_sound()
        and -1.0 <= row.gap <= 1.0
        and math.isfinite(row.foreseen)
        and 0 <= row.number <= number
        and (not row.signs or (signs is not None and all(math.isfinite(sign) for sign in signs.tolist())))
    )


def _load_standing(dump: _StandingDump, gate: Gate) -> Standing:
    shown, base = dump.certificate, dump.base
    numbers = (
        shown.gap_max, shown.loss, shown.loss_bound, shown.harm, shown.harm_bound, shown.selective, shown.edge_share,
        shown.delta, shown.loss_max, dump.skip_above, base.unseen, *base.quarters, *base.edges, *base.residuals,
        *base.groups.values(), *dump.watch.numbers(),
    )  # fmt: skip
    is_share = all(0.0 <= share <= 1.0 for share in (base.unseen, *base.shares)) and -1 <= base.level < GROUP_LEVELS
    if not all(math.isfinite(number) for number in numbers) or shown.number < 1 or not is_share:
        raise ValueError("not what was learned of a target: a number of the certificate is none")
    if not 0.0 < shown.loss_max < 1.0 or (gate is Gate.ANSWER) != bool(dump.answer):
        raise ValueError("not what was learned of a target: certificate and gate do not fit")
    answer = Scorer.load(dump.answer) if dump.answer else None
    frozen = Frozen(gate, Scorer.load(dump.prompt), answer, dump.skip_above, base.level, base.known)
    return Standing(certificate=shown, base=base, frozen=frozen)
