"""JSON answers: valid or not, each for itself, then field by field. Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from ecotone.checking.soundness import unsound
from ecotone.checking.words import overlap
from ecotone.values.json_schema import violation
from ecotone.values.normal import normalised, said
from ecotone.values.quality import Comparison, Question, Reply
from ecotone.values.structure import has_json, json_in

NAME: Final = "json"

LEAVES_MAX: Final = 2_000
DEPTH_MAX: Final = 32
PROSE_CHARS: Final = 40
"""A string of more characters is prose and is compared by its words; a shorter one is right or wrong."""

RELATIVE: Final = 1e-6


def fields(question: Question, edge: Reply, cloud: Reply) -> Comparison | None:
    """1 less the share of fields that agree, where both are valid; else by validity: 1, -1, or 0 where none is.

    Where the request asks for JSON, an answer must be JSON and nothing else, and keep its schema: that is what a
    program reads. Where it does not, JSON in a fence counts, and None is given where the cloud's answer is no JSON.
    """
    unread = unsound(NAME, edge, cloud)
    if unread is not None:
        return unread
    is_asked = bool(question.form)
    value, reference = (json_in(said(one.text), is_strict=is_asked) for one in (edge, cloud))
    if not is_asked and not has_json(reference):
        return None
    schema = _schema(question)
    good, best = (float(has_json(one) and _keeps(one, schema, question.form)) for one in (value, reference))
    if not good or not best:
        return Comparison(gap=best - good, checker=NAME, edge=good, cloud=best)
    share = agreement(value, reference)
    return Comparison(gap=1.0 - share, checker=NAME, edge=share, cloud=1.0)


def agreement(value: Any, reference: Any) -> float:
    """Share of the fields of either JSON value in which the two agree, in [0, 1].

    Fields are the leaves, by their path. Lists count once by position and once as bags without order; the better one
    stands, for most lists in answers are sets. At most `LEAVES_MAX` leaves of each are read.
    """
    return max(_by_path(value, reference), _by_bag(value, reference))


def _schema(question: Question) -> Any:
    """The schema as a value; True, which allows everything, where there is none that can be read."""
    if not question.schema:
        return True
    try:
        return msgspec.json.decode(question.schema)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return True


def _keeps(value: Any, schema: Any, form: str) -> bool:
    if form == "json_object" and not isinstance(value, dict):
        return False
    return violation(schema, value) is None


def _by_path(value: Any, reference: Any) -> float:
    mine, theirs = dict(_leaves(value)), dict(_leaves(reference))
    return _share(sum(_same(mine[path], theirs[path]) for path in mine.keys() & theirs.keys()), mine, theirs)


def _by_bag(value: Any, reference: Any) -> float:
    """The same with `[]` in place of a position: how many equal leaves stand in lists of one name."""
    mine, theirs = (Counter(_anonymous(one)) for one in (value, reference))
    return (mine & theirs).total() / max(1, (mine | theirs).total())


def _anonymous(value: Any) -> Iterator[tuple[str, str]]:
    for path, leaf in _leaves(value):
        names = ("[]" if step.isdigit() else step for step in path.split("\x00"))
        yield "\x00".join(names), _plain(leaf)


def _leaves(value: Any) -> list[tuple[str, Any]]:
    """(path, leaf); an empty object or list is a leaf, and what lies too deep is one that says nothing."""
    found: list[tuple[str, Any]] = []
    _walk(value, "", 0, found)
    return found


def _walk(value: Any, path: str, depth: int, found: list[tuple[str, Any]]) -> None:
    if len(found) >= LEAVES_MAX:
        return
    inner: list[tuple[Any, Any]] = []
    if isinstance(value, dict):
        inner = list(value.items())
    elif isinstance(value, list):
        inner = list(enumerate(value))
    if not inner:
        found.append((path, value))
    elif depth == DEPTH_MAX:
        found.append((path, None))
    else:
        for name, part in inner:
            _walk(part, f"{path}\x00{name}", depth + 1, found)


def _share(agreeing: float, mine: dict[str, Any], theirs: dict[str, Any]) -> float:
    return agreeing / max(1, len(mine.keys() | theirs.keys()))


def _same(one: Any, other: Any) -> float:
    """How far two leaves agree."""
    if isinstance(one, str) and isinstance(other, str):
        if len(one) > PROSE_CHARS and len(other) > PROSE_CHARS:
            return overlap(one, other)
        return float(_plain(one) == _plain(other))
    if _is_number(one) and _is_number(other):
        return float(math.isclose(one, other, rel_tol=RELATIVE, abs_tol=1e-12))
    return float(type(one) is type(other) and one == other)


def _is_number(value: Any) -> bool:
    """Whether it is a number that a float can hold."""
    return isinstance(value, float) or (type(value) is int and abs(value) < 1 << 1000)


def _plain(leaf: Any) -> str:
    if isinstance(leaf, str):
        return "s" + (normalised(leaf) or leaf.strip())
    return f"n{leaf:.9g}" if _is_number(leaf) else f"v{leaf}"
