"""What is kept comes back as it was, or is refused."""

import zlib
from typing import Any

import msgspec
import numpy as np
import pytest
from tests.unit.learning.lived import SECRET, pair, question
from tests.unit.learning.test_course import SIGNS, promise, stand

from ecotone.learning import keeping
from ecotone.learning.course import Course, Promise
from ecotone.learning.signals import Signals
from ecotone.values.quality import Gate, Role
from ecotone.values.request import Mode

TRAITS = Signals(SECRET).of(question(is_hard=False))


def course(gate: Gate = Gate.PROMPT, *, is_standing: bool = True) -> Course:
    made = Course("v1", "c1", promise(gate))
    signs = SIGNS if gate is Gate.ANSWER else None
    for number in range(6):
        made.add(pair(float(number % 2), Role.CERTIFY if number % 3 == 0 else Role.LEARN), TRAITS, signs)
    if is_standing:
        stand(made)
    return made


def changed(made: Course, **fields: Any) -> bytes:
    """Its dump with other values in it."""
    whole = keeping._courses.decode(zlib.decompress(keeping.dump_course(made)))
    return zlib.compress(msgspec.msgpack.encode(msgspec.structs.replace(whole, **fields)))


@pytest.mark.parametrize("gate", list(Gate))
@pytest.mark.parametrize("is_standing", [True, False])
def test_a_course_comes_back_as_it_was(gate: Gate, is_standing: bool) -> None:
    made = course(gate, is_standing=is_standing)
    data = keeping.dump_course(made)
    again = keeping.load_course(data)
    assert keeping.dump_course(again) == data
    assert again.is_due
    if is_standing:
        assert again.guess(TRAITS, 0.7) == made.guess(TRAITS, 0.7)


def test_nothing_learned_makes_nothing_due() -> None:
    assert not keeping.load_course(keeping.dump_course(Course("v1", "c1", promise()))).is_due


def test_a_name_comes_back_as_it_was() -> None:
    name = keeping.NameDump(Mode.SHADOW, Mode.AUTO, 0.25)
    assert keeping.load_name(keeping.dump_name(name)) == name
    with pytest.raises(ValueError, match="price"):
        keeping.load_name(keeping.dump_name(keeping.NameDump(None, Mode.AUTO, float("inf"))))


@pytest.mark.parametrize(
    "fields",
    [
        {"kind": "something else"},
        {"number": 2},
        {"at_look": -1},
        {"counts": (0, 0, 0, 0, -1, 0)},
        {"promise": Promise(gate=Gate.PROMPT, loss_max=2.0, delta=0.05)},
        {"promise": Promise(gate=Gate.PROMPT, loss_max=0.05, delta=0.0)},
        {"promise": Promise(gate=Gate.ANSWER, loss_max=0.05, delta=0.05)},
    ],
)
def test_what_is_out_of_bounds_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="not what was learned of a target"):
        keeping.load_course(changed(course(), **fields))


@pytest.mark.parametrize(
    "fields",
    [
        {"gap": 1.5},
        {"gap": float("nan")},
        {"foreseen": float("inf")},
        {"signs": b"12345"},
        {"signs": np.array([np.nan]).tobytes()},
        {"signs": np.zeros(65).tobytes()},
        {"number": 99},
        {"traits": msgspec.structs.replace(TRAITS, hand=b"")},
    ],
)
def test_a_row_that_cannot_be_is_refused(fields: dict[str, Any]) -> None:
    made = course()
    made.book.certify[0] = msgspec.structs.replace(made.book.certify[0], **fields)
    with pytest.raises(ValueError, match="out of bounds"):
        keeping.load_course(keeping.dump_course(made))


@pytest.mark.parametrize(
    ("part", "fields"),
    [
        ("certificate", {"loss": float("nan")}),
        ("certificate", {"number": 0}),
        ("certificate", {"loss_max": 0.0}),
        ("base", {"unseen": 1.5}),
        ("base", {"shares": (0.25, 0.5, 2.0)}),
        ("base", {"level": 99}),
    ],
)
def test_a_certificate_that_cannot_be_is_refused(part: str, fields: dict[str, Any]) -> None:
    made = course()
    assert made.standing is not None
    broken = msgspec.structs.replace(getattr(made.standing, part), **fields)
    made.standing = msgspec.structs.replace(made.standing, **{part: broken})
    with pytest.raises(ValueError, match="certificate"):
        keeping.load_course(keeping.dump_course(made))


def test_a_dump_that_unpacks_to_too_much_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    data = keeping.dump_course(course())
    monkeypatch.setattr(keeping, "BYTES_MAX", 1_000)
    with pytest.raises(ValueError, match="not what was learned of a target"):
        keeping.load_course(data)
