"""How findings are put into the data's words, and prompts of a size are made, for `make bench-privacy`."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ecotone.policy import DEFAULT_LABELS
from ecotone.values import Egress, Finding

FOLDER = Path(__file__).parents[2] / "benchmarks" / "privacy"


@pytest.fixture
def systems(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.syspath_prepend(str(FOLDER))
    yield importlib.import_module("systems")
    for name in ("systems", "scoring"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize(
    ("label", "kind", "told"),
    [
        ("contact", "email", ("EMAIL", "T1")),
        ("contact", "phone", ("PHONE", "T1")),
        ("contact", "mac", ("IP", "T1")),
        ("account", "iban", ("IBAN", "T1")),
        ("account", "record_number", ("ID", "T1")),
        ("national_id", "passport", ("NATIONAL_ID", "T1")),
        ("person", "person", ("PERSON", "T2")),
        ("person", "date_of_birth", ("DATE", "T1")),
        ("address", "address", ("ADDRESS", "T2")),
        ("place", "place", ("LOCATION", "T3")),
        ("secret", "secret.aws_access_key", ("SECRET", "T1")),
    ],
)
def test_a_finding_in_the_datas_words(systems: Any, label: str, kind: str, told: tuple[str, str]) -> None:
    one = systems.from_finding(Finding(label, kind, 3, 9, 0.5, "x"))
    assert (one.label, one.tier, one.start, one.end, one.confidence) == (*told, 3, 9, 0.5)


def test_an_account_or_id_is_right_for_either_word_and_an_iban_for_none_but_its_own(systems: Any) -> None:
    assert systems.from_finding(Finding("national_id", "passport", 0, 1, 1, "x")).is_right_for("ID")
    assert systems.from_finding(Finding("account", "mrn", 0, 1, 1, "x")).is_right_for("NATIONAL_ID")
    assert not systems.from_finding(Finding("account", "iban", 0, 1, 1, "x")).is_right_for("ID")


def test_whatever_stays_by_default_counts_as_held(systems: Any) -> None:
    import scoring  # type: ignore[import-not-found]  # from the benchmark's folder

    for label, word in DEFAULT_LABELS.items():
        is_whole = label in ("medical", "legal", "financial", "hr", "private_mail", "unknown", "opaque")
        one = systems.from_finding(Finding(label, label, 0, 0 if is_whole else 4, 1.0, "x"))
        assert (one.tier in scoring.HELD) == (word is Egress.NEVER), label


def test_prompts_have_their_size_and_cut_no_character(systems: Any) -> None:
    made = list(systems.pieces(["ä" * 30, "", "plain text"], 64, 5))
    assert len(made) == 5
    assert all(62 <= len(piece.encode()) <= 64 for piece in made)
    assert "".join(made).startswith("ä" * 30 + "\nplain text\n")
