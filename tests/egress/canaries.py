"""Planted values: each is unique, well-formed and nobody's; and the disguises that they are written in."""

from __future__ import annotations

import base64
import random
import string
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import quote

import msgspec

from tests.egress.capture import compact


class Canary(msgspec.Struct, frozen=True):
    """One planted value.

    Attributes:
        label: What policy knows it by.
        kind: What it is.
        form: The disguise it is written in.
        value: The value itself.
        written: A sentence that holds it, in that disguise.
        core: What is looked for on the wire.
    """

    label: str
    kind: str
    form: str
    value: str
    written: str
    core: str


def digits(dice: random.Random, count: int) -> str:
    return "".join(dice.choice(string.digits) for _ in range(count))


def letters(dice: random.Random, count: int) -> str:
    return "".join(dice.choice("bcdfghjkmnpqrstvwxz") + dice.choice("aeiou") for _ in range(count // 2))


def email(dice: random.Random) -> str:
    return (
        f"{letters(dice, 6)}.{letters(dice, 8)}{digits(dice, 3)}@{letters(dice, 8)}.{dice.choice(['com', 'de', 'org'])}"
    )


def phone(dice: random.Random) -> str:
    area, exchange = dice.choice(["415", "212", "312", "617"]), f"{dice.randint(2, 4)}{digits(dice, 2)}"
    return dice.choice([
        f"+1 ({area}) {exchange}-{digits(dice, 4)}",
        f"+49 30 {dice.randint(2, 8)}{digits(dice, 3)} {digits(dice, 4)}",
        f"+86 13{dice.randint(5, 9)}{digits(dice, 8)}",
        f"+33 6 {dice.randint(10, 99)} {dice.randint(10, 99)} {dice.randint(10, 99)} {dice.randint(10, 99)}",
    ])  # fmt: skip


def card(dice: random.Random) -> str:
    stem = dice.choice(["4", "51", "55"])
    stem += digits(dice, 15 - len(stem))
    total = sum(_doubled(int(sign)) if at % 2 == 0 else int(sign) for at, sign in enumerate(stem))
    number = stem + str(-total % 10)
    return " ".join(number[at : at + 4] for at in range(0, 16, 4)) if dice.random() < 0.5 else number


def _doubled(digit: int) -> int:
    return digit * 2 - 9 if digit > 4 else digit * 2


def iban(dice: random.Random) -> str:
    inner = f"{dice.randint(1, 8)}" + digits(dice, 17)
    check = 98 - int(inner + "131400") % 97
    whole = f"DE{check:02d}{inner}"
    return " ".join(whole[at : at + 4] for at in range(0, 22, 4)) if dice.random() < 0.5 else whole


def ssn(dice: random.Random) -> str:
    return f"{dice.choice(range(101, 660))}-{dice.randint(11, 98)}-{dice.randint(1001, 9998)}"


def cn_id(dice: random.Random) -> str:
    stem = f"110105{dice.randint(1950, 2004)}{dice.randint(1, 12):02d}{dice.randint(1, 28):02d}{digits(dice, 3)}"
    weights = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
    return stem + "10X98765432"[sum(int(sign) * weight for sign, weight in zip(stem, weights, strict=True)) % 11]


def token(dice: random.Random) -> str:
    signs = string.ascii_letters + string.digits
    return dice.choice([
        "ghp_" + "".join(dice.choice(signs) for _ in range(36)),
        "AKIA" + "".join(dice.choice("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567") for _ in range(16)),
        "sk-proj-" + "".join(dice.choice(signs) for _ in range(48)),
        "xoxb-" + digits(dice, 12) + "-" + digits(dice, 12) + "-" + "".join(dice.choice(signs) for _ in range(24)),
    ])  # fmt: skip


def password(dice: random.Random) -> str:
    return "".join(dice.choice(string.ascii_letters + string.digits) for _ in range(14)) + "7#"


KINDS: Final[dict[str, tuple[str, Callable[[random.Random], str], tuple[str, ...]]]] = {
    "email": ("contact", email, ("Please write to {} tomorrow.", "Schreib bitte an {}.", "请发邮件到 {} 。")),
    "phone": ("contact", phone, ("Call me at {} after five.", "Meine Nummer ist {}.", "我的电话是 {} 。")),
    "card": ("card", card, ("My card number is {} by the way.", "Die Kreditkarte ist {}.")),
    "iban": ("account", iban, ("Send the money to IBAN {} please.", "Meine IBAN: {}")),
    "ssn": ("national_id", ssn, ("Her SSN is {} and she is waiting.", "SSN: {}")),
    "cn_id": ("national_id", cn_id, ("身份证号 {} 请核对。", "Her resident id card is {}.")),
    "token": ("secret", token, ("export KEY={}", "the token is {} and it still works")),
    "password": ("secret", password, ("password: {}", "The password is: {}")),
}
"""Kind -> (label, maker, sentences)."""


def _spread(value: str, sign: str) -> str:
    middle = len(value) // 2
    return value[: middle - 1] + sign + value[middle - 1 : middle + 1] + sign + value[middle + 1 :]


_WIDE: Final = str.maketrans({chr(code): chr(code + 0xFEE0) for code in range(0x21, 0x7F)})
_CYRILLIC: Final = str.maketrans("aeopcx", "аеорсх")
_NUMBERS: Final = ("phone", "card", "ssn", "iban")

FORMS: Final[dict[str, tuple[Callable[[str], str], tuple[str, ...]]]] = {
    "plain": (lambda value: value, tuple(KINDS)),
    "upper": (str.upper, ("email",)),
    "lower": (str.lower, ("iban", "email")),
    "full-width": (lambda value: value.translate(_WIDE), ("card", "ssn", "cn_id", "email", "phone")),
    "zero-width": (lambda value: _spread(value, "\u200b"), ("email", "card", "ssn", "cn_id", "iban", "token")),
    "soft hyphen": (lambda value: _spread(value, "\u00ad"), ("email", "card", "cn_id", "iban")),
    "homoglyph": (lambda value: value.translate(_CYRILLIC), ("email",)),
    "line break": (lambda value: value.replace(" ", "\n"), ("card", "iban")),
    "no-break space": (lambda value: value.replace(" ", "\u00a0"), ("card", "iban", "phone")),
    "base64": (
        lambda value: base64.b64encode(f"see {value} here".encode()).decode(),
        ("email", "card", "iban", "token"),
    ),
    "percent": (lambda value: quote(value, safe=""), ("email", "iban")),
}
"""Disguise -> (how it is written, the kinds that it suits)."""


def plant(dice: random.Random, kind: str = "", form: str = "") -> Canary:
    """A new canary; `kind` and `form` by chance where they are not given."""
    kind = kind or dice.choice(list(KINDS))
    label, make, sentences = KINDS[kind]
    fitting = [name for name, (_, kinds) in FORMS.items() if kind in kinds]
    form = form or (dice.choice(fitting) if dice.random() < 0.6 else "plain")
    value = make(dice)
    return Canary(label, kind, form, value, dice.choice(sentences).format(FORMS[form][0](value)), compact(value)[-24:])


def marker(dice: random.Random) -> str:
    """A word that may go anywhere, and by which it is seen that it went."""
    return f"pub{letters(dice, 12)}"


def key_of(canary: Canary) -> str:
    """The value as a key of JSON."""
    return canary.written


Body = dict[str, Any]
