"""From a question to its traits."""

from __future__ import annotations

import msgspec
import pytest

from ecotone.learning import Signals, Traits
from ecotone.learning.grams import BUCKETS
from ecotone.learning.hand import HAND
from ecotone.values.quality import Question
from ecotone.values.request import Endpoint

QUESTION = Question(endpoint=Endpoint.CHAT, model="m", key="k", system="Be brief.", asked="What is 2 + 2?", chars=23)


def test_traits_are_the_same_for_the_same_question_and_hold_nothing_of_its_text() -> None:
    found = Signals(b"s" * 16).of(QUESTION)
    assert found == Signals(b"s" * 16).of(QUESTION)
    assert found != Signals(b"t" * 16).of(QUESTION)
    dump = found.dump()
    assert b"What" not in dump
    assert b"brief" not in dump
    assert Traits.load(dump) == found


def test_traits_stay_small_whatever_is_asked() -> None:
    signals = Signals(b"s" * 16)
    huge = msgspec.structs.replace(QUESTION, asked=" ".join(f"w{n}" for n in range(50_000)), system="x y " * 20_000)
    assert len(signals.of(huge).dump()) <= 2_048
    assert len(signals.of(QUESTION).dump()) <= 512


def test_a_short_secret_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 16 bytes"):
        Signals(b"short")


@pytest.mark.parametrize(
    "broken",
    [
        {"groups": (1, 2)},
        {"groups": (1, 2, 3, 4, -1)},
        {"hand": b"1234"},
        {"hand": b"\xff" * (4 * HAND)},
        {"grams": b"1"},
        {"grams": b"12" * 1_000},
        {"grams": BUCKETS.to_bytes(2, "little")},
    ],
)
def test_a_broken_dump_is_refused(broken: dict[str, object]) -> None:
    traits = msgspec.structs.replace(Signals(b"s" * 16).of(QUESTION), **broken)
    with pytest.raises(ValueError, match="wrong length"):
        Traits.load(traits.dump())


def test_what_is_no_dump_is_refused() -> None:
    for data in (b"", b"\xc1", b"hello", msgspec.msgpack.encode([1, 2, 3])):
        with pytest.raises(ValueError, match="not a dump"):
            Traits.load(data)
