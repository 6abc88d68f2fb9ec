"""The families of numbers: how each is written, what proves it, and which words make proof unnecessary."""

from __future__ import annotations

from typing import NamedTuple

from ecotone.privacy.patterns import checks
from ecotone.privacy.patterns.checks import Check


def _any(_: str) -> bool:
    return True


class Family(NamedTuple):
    """One family.

    Attributes:
        kind: What it is.
        form: All of the number, in what RE2 and Python's `re` both know. Its edges are looked at by `numbers`.
        check: What proves it without a word. `None`: only a word makes it.
        names: Words (meanings of `context`) that make it without proof.
        sure: Confidence, and with it the rank against others.
        whole: Without a word it must be all of its row of digits.
    """

    kind: str
    form: str
    check: Check | None = _any
    names: tuple[str, ...] = ()
    sure: float = 0.9
    whole: bool = False


_ID = ("national_id", "ssn")
# One separator, or a line break, inside a number.
_S = r"(?:[ ./-]|\r?\n)?"
_LINK = r"[ ()./-]{0,3}"

FAMILIES = (
    # cards: groups of four, of four-six-five, of one, or none
    Family("card", r"[0-9]{12,19}", checks.card, ("card",), 0.95),
    Family("card", rf"(?:[0-9]{{4}}{_S}){{3}}[0-9]{{1,4}}(?:{_S}[0-9]{{1,3}})?", checks.card, ("card",), 0.95),
    Family("card", rf"[0-9]{{4}}{_S}[0-9]{{6}}{_S}[0-9]{{4,5}}", checks.card, ("card",), 0.95),
    Family("card", r"[0-9](?: [0-9]){12,18}", checks.card, (), 0.95),
    # identity numbers
    Family("us_ssn", r"[0-9]{3}-\n?[0-9]{2}-\n?[0-9]{4}", checks.ssn, _ID, 0.9),
    Family("us_ssn", rf"[0-9]{{3}}{_S}[0-9]{{2}}{_S}[0-9]{{4}}", None, ("ssn",), 0.9),
    Family("cn_id", rf"[0-9]{{6}}{_S}[0-9]{{4}}{_S}[0-9]{{4}}{_S}[0-9]{{3}}[0-9Xx]", checks.ric, _ID, 0.97),
    Family("cn_id", r"[0-9]{15}", None, _ID, 0.9),
    Family("cn_uscc", r"[159NY][1239][0-9]{6}[0-9A-Za-z]{10}", checks.uscc, _ID, 0.9),
    Family("de_idnr", r"[1-9][0-9] ?[0-9]{3} ?[0-9]{3} ?[0-9]{3}", checks.idnr_spaced, _ID, 0.9),
    Family("de_rvnr", r"[0-9]{2} ?[0-9]{6} ?[A-Z] ?[0-9]{3}", checks.rentennummer, _ID, 0.9),
    Family("fr_nir", r"[12] ?[0-9]{2} ?[0-9]{2} ?[0-9][0-9ABab] ?[0-9]{3} ?[0-9]{3} ?[0-9]{2}", checks.nir, _ID, 0.9),
    Family("es_dni", r"[0-9]{2}\.?[0-9]{3}\.?[0-9]{3}[ -]?[A-Za-z]", checks.dni, _ID, 0.9),
    Family("es_nie", r"[XYZxyz][ -]?[0-9]{7}[ -]?[A-Za-z]", checks.nie, _ID, 0.9),
    Family(
        "it_codice_fiscale",
        r"[A-Za-z]{3} ?[A-Za-z]{3} ?[0-9]{2}[A-EHLMPR-Ta-ehlmpr-t][0-9]{2} ?[A-Za-z][0-9]{3}[A-Za-z]",
        checks.codice_fiscale,
        _ID,
        0.95,
    ),
    Family("gb_nino", r"[A-Za-z]{2} ?[0-9]{2} ?[0-9]{2} ?[0-9]{2} ?[A-Da-d]", checks.nino, _ID, 0.85),
    Family("gb_nino", r"[A-Za-z]{2} ?[0-9]{2} ?[0-9]{2} ?[0-9]{2} ?[A-Za-z]", None, _ID, 0.9),
    Family("gb_nhs", r"[0-9]{3} [0-9]{3} [0-9]{4}", checks.nhs, _ID, 0.85),
    Family("in_aadhaar", r"[2-9][0-9]{3}[ -][0-9]{4}[ -][0-9]{4}", checks.aadhaar, _ID, 0.85),
    Family("in_pan", r"[A-Z]{3}[ABCFGHLJPT][A-Z][0-9]{4}[A-Z]", _any, _ID, 0.85),
    Family("br_cpf", r"[0-9]{3}\.[0-9]{3}\.[0-9]{3}-[0-9]{2}", _any, _ID, 0.9),
    Family("br_cnpj", r"[0-9]{2}\.[0-9]{3}\.[0-9]{3}/[0-9]{4}-[0-9]{2}", _any, _ID, 0.9),
    Family("be_nn", r"[0-9]{2}\.[0-9]{2}\.[0-9]{2}-[0-9]{3}[.-][0-9]{2}", checks.rijksregister, _ID, 0.9),
    Family("ch_ahv", r"756\.?[0-9]{4}\.?[0-9]{4}\.?[0-9]{2}", checks.ahv, _ID, 0.9),
    Family("se_personnummer", r"(?:19|20)?[0-9]{6}[-+][0-9]{4}", checks.personnummer, _ID, 0.85),
    Family("fi_hetu", r"[0-3][0-9][01][0-9]{3}[-+A][0-9]{3}[0-9A-Y]", checks.hetu, _ID, 0.9),
    Family("kr_rrn", r"[0-9]{6}-[1-8][0-9]{6}", checks.birthday_first, _ID, 0.9),
    Family("my_nric", r"[0-9]{6}-[0-9]{2}-[0-9]{4}", checks.birthday_first, _ID, 0.85),
    Family("sg_nric", r"[STFGM][0-9]{7}[A-Z]", checks.nric, _ID, 0.85),
    Family("hk_id", r"[A-Z]{1,2}[0-9]{6}\([0-9A]\)", _any, _ID, 0.9),
    Family("mx_curp", r"[A-Z]{4}[0-9]{6}[HMX][A-Z]{5}[0-9A-Z][0-9]", _any, _ID, 0.9),
    Family("cl_rut", r"[0-9]{1,2}\.[0-9]{3}\.[0-9]{3}-[0-9Kk]", checks.rut, _ID, 0.9),
    Family("cz_rc", r"[0-9]{6}/[0-9]{3,4}", checks.rodne_cislo, _ID, 0.8),
    Family("national_id", r"[0-9](?:[ ./-]?[0-9]){7,13}", None, _ID, 0.8),
    Family("bank_account", r"[0-9]{2}-[0-9]{2}-[0-9]{2}", None, ("account",), 0.85),
    # where one can be called
    Family("phone", r"\(?(?:\+|00)\(?[1-9](?:[ ()./\n-]{0,3}[0-9]){6,14}", checks.international, ("phone",), 0.85),
    Family(
        "phone", r"(?:\+?1[ .-]?)?(?:\([0-9]{3}\) ?|[0-9]{3}[ ./-]\n?)[0-9]{3}[ .-]\n?[0-9]{4}", _any, ("phone",), 0.8
    ),
    Family("phone", r"[2-9][0-8][0-9][2-9][0-9]{6}", checks.bare_nanp, ("phone",), 0.6, True),
    Family("phone", r"(?:\+?86[ -]?)?1[3-9][0-9][ .-]?\n?[0-9]{4}[ .-]?\n?[0-9]{4}", _any, ("phone",), 0.85),
    Family("phone", rf"\(?0[0-9](?:{_LINK}[0-9]){{7,11}}", checks.trunk, ("phone",), 0.75, True),
    Family("phone", r"\([0-9]{2,5}\)[ -]{0,2}[0-9]{3,5}[ -]?[0-9]{3,4}", _any, ("phone",), 0.75, True),
    Family("phone", r"[6-9][0-9]{4}[ -][0-9]{5}|3[0-9]{2}[ .-][0-9]{6,7}", _any, ("phone",), 0.7, True),
    Family("phone", r"[679][0-9]{2} [0-9]{2} [0-9]{2} [0-9]{2}", _any, ("phone",), 0.6, True),
    Family("phone", rf"\(?[0-9](?:{_LINK}[0-9]){{5,13}}", None, ("phone",), 0.7),
    Family("ip", r"[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}", checks.ipv4, (), 0.9),
)


class _All(frozenset[str]):
    """Every word."""

    def __contains__(self, word: object) -> bool:
        return True


ASKING: tuple[frozenset[str], ...] = tuple(
    frozenset(family.names) if family.check is None and family.kind != "phone" else _All() for family in FAMILIES
)
"""For each family the words in front with which it is worth a look; a phone may have its word behind it."""
