"""Surrogates of the same form as their values."""

from __future__ import annotations

import re

import pytest
from tests.unit.pseudonyms.asking import NATURAL, chat, masked, restored, said

from ecotone.values import RefusalError, Surrogates


def one(value: str, label: str, kind: str = "x") -> str:
    """The natural surrogate of a value; restoring gives the value back."""
    made = masked(chat(f"It is: {value}"), {value: (label, kind)}, NATURAL)
    surrogate = said(made)[7:]
    assert restored(made, f"So {surrogate}.") == f"So {value}."
    assert surrogate != value
    return surrogate


@pytest.mark.parametrize(
    ("value", "label", "kind", "form"),
    [
        ("a.b@clinic.example.es", "contact", "email", r"[a-z]+\d{4}@example\.(com|org|net)"),
        ("dGVzdEBleGFtcGxl", "contact", "email", r"[A-Za-z]{16}"),
        ("+1 (212) 555-7788", "contact", "phone", r"\+1 \(\d{3}\) 555-01\d\d"),
        ("212.555.7788", "contact", "phone", r"\d{3}\.555\.01\d\d"),
        ("555-7788", "contact", "phone", r"555-01\d\d"),
        ("212-555-7788 ext. 4417", "contact", "phone", r"\d{3}-555-01\d\d ext\. \d{4}"),
        ("13912345678", "contact", "phone", r"1000000\d{4}"),
        ("+86 139 1234 5678", "contact", "phone", r"\+86 100 0000 \d{4}"),
        ("883-12", "contact", "phone", r"\d{3}-\d\d"),
        ("+49 30 1234567", "contact", "phone", r"\+49 30 23125\d\d"),
        ("0049 30 1234567", "contact", "phone", r"0049 30 23125\d\d"),
        ("030 / 1234567", "contact", "phone", r"030 / 23125\d\d"),
        ("+33 1 42 68 53 00", "contact", "phone", r"\+33 1 99 00 \d\d \d\d"),
        ("+33 (0)5 16 69 43 15", "contact", "phone", r"\+33 \(0\)1 99 00 \d\d \d\d"),
        ("１５０４８２９４８８０", "contact", "phone", r"1000000\d{4}"),
        ("01 42 68 53 00", "contact", "phone", r"01 99 00 \d\d \d\d"),
        ("+44 20 7123 4567", "contact", "phone", r"\+44 20 7946 0\d\d\d"),
        ("+39 06 1234 5678", "contact", "phone", r"\+39 00 0\d\d\d \d{4}"),
        ("91 123 45 67", "contact", "phone", r"91 000 \d\d \d\d"),
        ("10.20.30.40", "contact", "ip", r"(192\.0\.2|198\.51\.100|203\.0\.113)\.\d+"),
        ("10.20.30.0/24", "contact", "ip", r"(192\.0\.2|198\.51\.100|203\.0\.113)\.\d+/24"),
        ("fe80::1:2", "contact", "ip", r"2001:db8:[0-9a-f]+:[0-9a-f]+::[0-9a-f]+"),
        ("AC:DE:48:00:11:22", "contact", "mac", r"00:00:5E:00:53:[0-9A-F]{2}"),
        ("ac-de-48-00-11-22", "contact", "mac", r"00-00-5e-00-53-[0-9a-f]{2}"),
        ("@johnny", "contact", "handle", r"@user\d{5}"),
        ("johnny_b", "contact", "handle", r"user\d{5}"),
        ("3782 822463 10005", "card", "card", r"3782 82\d{4} \d{5}"),
        ("5555-5555-5555-4444", "card", "card", r"5555-55\d\d-\d{4}-\d{4}"),
        ("MTIzNDU2Nzg5", "card", "card", r"[A-Z]{3}[a-z][A-Z]{3}\d[A-Z][a-z][a-z]\d"),
        ("GB29 NWBK 6016 1331 9268 19", "account", "iban", r"GB\d\d XXXX \d{4} \d{4} \d{4} \d\d"),
        ("GB29", "account", "iban", r"[A-Z]{2}\d\d"),
        ("883-12345", "account", "record_number", r"\d{3}-\d{5}"),
        ("536-90-4399", "national_id", "us_ssn", r"9\d\d-0\d-\d{4}"),
        ("110105194912310029", "national_id", "cn_id", r"00\d{16}"),
        ("11010519491231002X", "national_id", "cn_id", r"00\d{15}[0-9A-Z]"),
        ("12345678Z", "national_id", "es_dni", r"\d{8}U"),
        ("RSSMRA85T10A562S", "national_id", "it_codice_fiscale", r"[A-Z]{6}\d\d[A-Z]\d\d[A-Z]\d{3}[A-Z]"),
        ("DGKX.BPQR", "national_id", "x", r"[A-Z]{4}\.[A-Z]{4}"),
        ("京A12345", "national_id", "cn_plate", r"ID_.*"),
        ("12 Long Street, Springfield", "address", "address", r"\d+ [A-Z]\w+ Road"),
        ("49865", "address", "address", r"\d{5}"),
        ("Lange Straße 12", "address", "address", r"[A-Z]\w+weg \d+"),
        ("北京市朝阳区建国路88号", "address", "address", r"\w+路\d+号"),
        ("Boston", "place", "place", r"[A-Z][\w ]+"),
        ("杭州", "place", "place", r"\w+市"),
        ("Acme Widgets GmbH", "organisation", "organisation", r".+ GmbH"),
        ("杭州银行", "organisation", "organisation", r".+银行"),
        ("Acme", "organisation", "organisation", r"[A-Z].+"),
        ("sk-abcdefghijklmnop1234567890", "secret", "secret.openai", r"sk-[a-z]{16}\d{10}"),
        (
            "postgres://bob:s3cretpass@db/x",
            "secret",
            "secret.url",
            r"postgres://[a-z]{3}:[a-z]\d[a-z]{8}@[a-z]{2}/[a-z]",
        ),
        ("eyJ" + "a1B2c3D4" * 20, "secret", "secret.jwt", r"SECRET_.*"),
        ("hunter2", "secret", "secret.password", r"[a-z]{6}\d"),
        ("x1!", "secret", "secret.password", r"SECRET_.*"),
        ("pä$$wörd123", "secret", "secret.password", r"SECRET_.*"),
        ("€ 12,345.60", "amount", "amount", r"€ \d\d,\d{3}\.\d\d"),
        ("Projekt Adlerhorst", "project", "term", r"PROJECT_.*"),
        ("项目", "术语", "term", r"ITEM_.*"),
        ("AX-77123", "project", "term", r"[A-Z]{2}-\d{5}"),
    ],
)
def test_each_kind_keeps_its_form(value: str, label: str, kind: str, form: str) -> None:
    surrogate = one(value, label, kind)
    assert re.fullmatch(form, surrogate), surrogate


@pytest.mark.parametrize(
    ("value", "form"),
    [
        ("Maria Gonzalez", r"[A-Z][a-z]+ [A-Z][a-z]+"),
        ("MARIA GONZALEZ", r"[A-Z]+ [A-Z]+"),
        ("maria", r"[a-z]+"),
        ("Dr. Maria van der Gonzalez", r"Dr\. [A-Z][a-z]+ van der [A-Z][a-z]+"),
        ("J. Gonzalez-Peña", r"X\. [A-Z][a-z]+"),
        ("j. gonzalez", r"x\. [a-z]+"),
        ("Dr.", r"[A-Z][a-z]+"),
        ("Gonzalez, Maria", r"[A-Z][a-z]+, [A-Z][a-z]+"),
        ("(Maria Gonzalez)", r"\([A-Z][a-z]+ [A-Z][a-z]+\)"),
        ("张三丰", r"[一-鿿]{4}"),
        ("김철수", r"[가-힣]{4,5}"),
        ("Иван Петров", r"[А-Я][а-я]+ [А-Я][а-я]+"),
        ("123", r"[A-Z][a-z]+"),
        ('Maria "Mia" Gonzalez', r"PERSON_.*"),
    ],
)
def test_names_keep_script_case_and_titles(value: str, form: str) -> None:
    assert re.fullmatch(form, one(value, "person", "person"))


def test_a_part_of_a_name_has_the_same_name_in_every_name() -> None:
    names = ["Maria Gonzalez", "Juan Gonzalez", "Maria Hidalgo", "Hidalgo"]
    made = masked(chat("; ".join(names)), dict.fromkeys(names, ("person", "person")), NATURAL)
    (maria, gonzalez), (juan, again), (also, hidalgo), (alone,) = (name.split() for name in said(made).split("; "))
    assert (gonzalez, maria, hidalgo) == (again, also, alone)
    assert len({maria, juan, gonzalez, hidalgo}) == 4
    assert restored(made, f"{juan} {hidalgo}") == "Juan Hidalgo"


def test_when_the_lists_are_used_up_names_are_invented() -> None:
    names = [
        f"{a}{b}xo {a}{b}zu" for a in ("Ba", "Be", "Bi", "Bo", "Da", "De", "Di") for b in "abcdefghijklmnopqrstuvwxyz"
    ]
    made = masked(chat("; ".join(names)), dict.fromkeys(names, ("person", "person")), NATURAL)
    assert len(set(said(made).split("; "))) == len(names)
    assert restored(made, said(made)) == "; ".join(names)


def test_what_has_no_free_surrogate_becomes_an_opaque_word() -> None:
    """All 256 documented MAC addresses are taken at the end."""
    values = {f"AC:DE:48:00:{at // 256:02X}:{at % 256:02X}": ("contact", "mac") for at in range(270)}
    made = masked(chat("; ".join(values)), values, NATURAL)
    out = said(made).split("; ")
    assert sum(word.startswith("MAC_") for word in out) > 10
    assert len(set(out)) == 270
    assert restored(made, said(made)) == "; ".join(values)


def test_a_number_that_a_model_groups_anew_is_known() -> None:
    value = "+1 (212) 555-7788"
    made = masked(chat(f"Call {value}, that is 12125557788."), {value: ("contact", "phone")}, NATURAL)
    surrogate = said(made)[5:22]
    assert said(made) == f"Call {surrogate}, that is {surrogate}."
    assert restored(made, "tel " + re.sub(r"[ ()-]", "", surrogate)) == "tel +12125557788"
    assert restored(made, surrogate.replace(" ", "\u00a0")) == value


def test_all_dates_of_a_conversation_move_by_the_same_days() -> None:
    dates = ["2021-03-01", "28.02.2021", "March 2, 2021"]
    made = masked(chat("; ".join(dates)), dict.fromkeys(dates, ("date", "date")), NATURAL)
    first, before, after = said(made).split("; ")
    day = int(first[-2:])
    if 1 < day < 28:
        assert int(before[:2]) == day - 1
        assert re.search(r" (\d+),", after)[1] == str(day + 1)  # type: ignore[index]  # a date has a day
    assert restored(made, said(made)) == "; ".join(dates)


def test_what_is_no_date_keeps_its_form() -> None:
    assert re.fullmatch(r"\d\d/\d{4}-\d", one("13/2021-7", "date", "date"))
    assert one("spring", "person", "date_of_birth") != "spring"


def test_a_surrogate_that_stands_in_the_text_is_not_used() -> None:
    value = "10.20.30.40"
    taken = "; ".join(f"{net}.{at}" for net in ("192.0.2", "198.51.100") for at in range(1, 255))
    made = masked(chat(f"{value}; {taken}"), {value: ("contact", "ip")}, NATURAL)
    assert said(made).split("; ")[0].startswith("203.0.113.")


def test_numbers_become_other_numbers() -> None:
    body = {
        "model": "m",
        "messages": [{"role": "user", "content": "Hi"}],
        "metadata": {"mrn": 88312345, "again": 88312345},
    }
    for style in Surrogates:
        made = masked(body, {"88312345": ("account", "record_number")}, style)
        found = re.search(rb'"metadata":{"mrn":(\d{8}),"again":(\d{8})}', made.request.body)
        assert found is not None
        assert found[1] == found[2] != b"88312345"
        assert restored(made, f'{{"mrn": {found[1].decode()}}}') == '{"mrn": 88312345}'
    with pytest.raises(RefusalError):
        masked(body | {"metadata": {"mrn": -8831234}}, {"-8831234": ("account", "record_number")})
