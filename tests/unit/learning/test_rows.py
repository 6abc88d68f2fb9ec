"""Rows that are kept: bounded, in order, and never of both kinds."""

import numpy as np

from ecotone.learning.rows import GATED_MAX, PLAIN_MAX, Labelled, Lessonbook
from ecotone.learning.traits import Traits

TRAITS = Traits((0, 0, 0, 0, 0), b"", b"")


def _book(plain: int, gated: int) -> Lessonbook:
    book = Lessonbook()
    for number in range(plain + gated):
        book.learn(Labelled(TRAITS, 0.0, number=book.next_number()), is_plain=number < plain)
    return book


def test_rows_from_behind_a_gate_never_push_out_those_from_before() -> None:
    book = _book(2_000, 5_000)
    assert len(book.plain()) == PLAIN_MAX
    numbers = [row.number for row in book.rows()]
    assert len(numbers) == PLAIN_MAX + GATED_MAX
    assert numbers == sorted(numbers)
    assert numbers[-1] == 7_000


def test_after_a_change_only_the_newest_are_kept() -> None:
    book = _book(10, 5)
    book.certify.append(Labelled(TRAITS, 0.0))
    book.forget(7)
    assert [row.number for row in book.rows()] == list(range(9, 16))
    assert not book.certify


def test_more_than_there_are_may_be_kept_and_none() -> None:
    book = _book(3, 3)
    book.forget(100)
    assert len(book.rows()) == 6
    book.forget(0)
    assert book.rows() == []
    assert book.number == 6


def test_signs_come_back_as_numbers() -> None:
    signs = np.array([0.5, -1.0])
    vector = Labelled(TRAITS, 0.0, signs.tobytes()).vector
    assert vector is not None
    assert vector.tolist() == [0.5, -1.0]
    assert Labelled(TRAITS, 0.0).vector is None


def test_a_book_comes_back_from_its_dump() -> None:
    book = _book(3, 2)
    book.certify.append(Labelled(TRAITS, 1.0, number=book.next_number()))
    again = Lessonbook()
    again.restore(*book.dump())
    assert again.dump() == book.dump()
