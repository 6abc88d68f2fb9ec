"""No content in the ledger: what the shape of an entry refuses."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from ecotone.store.shape import BODY_BYTES_MAX, STRING_CHARS_MAX, encoded
from ecotone.values import Attempt, Outcome

if TYPE_CHECKING:
    from decimal import Decimal


class Named(msgspec.Struct):
    name: str
    names: list[str] = []
    by_name: dict[str, int] = {}


class Open(msgspec.Struct):
    anything: Any


class Binary(msgspec.Struct):
    inner: tuple[bytes, ...] | None


class ForTypeCheckers(msgspec.Struct):
    price: Decimal | None = None


class Tree(msgspec.Struct):
    name: str
    children: list[Tree] = []


LONG = "x" * (STRING_CHARS_MAX + 1)


def outcome(**changes: Any) -> Outcome:
    given = {"request": "r", "model": "m", "endpoint": "e", "key": "k", "ending": "answered", "reason": "x"}
    return Outcome(**{**given, "status": 200, **changes})


@pytest.mark.parametrize(
    "entry",
    [
        {"request": "req-1", "n": 1, "ok": True, "p": 0.5, "none": None, "labels": ["a", "b"], "deep": {"a": [{}]}},
        MappingProxyType({"a": "x" * STRING_CHARS_MAX}),
        {"a": Named("x")},
        Named("x" * STRING_CHARS_MAX),
        Named("ü" * STRING_CHARS_MAX),
        Named("x", [f'quote " {number}' for number in range(200)]),
        Named("x", by_name={f"name-{number}": number for number in range(500)}),
        Open({"a": 1}),
        ForTypeCheckers(),
        Tree("a", [Tree("b")]),
        outcome(attempts=tuple(Attempt(f"target-{number}", "", 0.1) for number in range(40))),
    ],
)
def test_names_and_numbers_pass(entry: Any) -> None:
    plain = dict(entry) if isinstance(entry, MappingProxyType) else entry
    assert msgspec.json.decode(encoded(entry)) == msgspec.json.decode(msgspec.json.encode(plain))


@pytest.mark.parametrize(
    "entry",
    [
        {"a": LONG},
        {LONG: 1},
        {"a": [{"b": LONG}]},
        {"a": b"x"},
        {"a": Named(LONG)},
        Named(LONG),
        Named("x", ["y", LONG]),
        Named("x", by_name={LONG: 1}),
        Named('said "yes" ' * 60),
        Open(LONG),
        Open(bytearray(b"x")),
        Open({"a": [b"x"]}),
        Binary((b"x",)),
        Binary(None),
        Tree("a", [Tree(LONG)]),
        outcome(model=LONG),
        outcome(attempts=(Attempt("a" * 600, "", 0.1),)),
        {"many": ["x" * 500] * (BODY_BYTES_MAX // 500)},
    ],
)
def test_content_does_not(entry: Any) -> None:
    with pytest.raises(AssertionError, match="content must not be noted"):
        encoded(entry)


@pytest.mark.parametrize("lead", range(0, 520, 13))
def test_a_long_string_is_found_wherever_it_begins(lead: int) -> None:
    with pytest.raises(AssertionError):
        encoded(Named("a" * lead, [LONG, "b"]))
    encoded(Named("a" * min(lead, 512), [LONG[1:], "b"]))


def test_the_same_entry_has_the_same_bytes() -> None:
    assert encoded({"b": 1, "a": 2}) == encoded({"a": 2, "b": 1}) == b'{"a":2,"b":1}'
