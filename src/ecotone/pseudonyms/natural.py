"""Surrogates of the same form as their values, from what is reserved for nobody. Pure."""

from __future__ import annotations

from typing import Final

from ecotone.pseudonyms.scope import Dice

NUMBER_DIGITS_MIN: Final = 5


def value(written: str, label: str, kind: str, dice: Dice, attempt: int) -> str | None:
    """Another value of this kind; None where there is none to be had. The same for the same question."""
    return None
