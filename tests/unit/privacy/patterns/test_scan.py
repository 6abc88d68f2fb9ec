"""The door: spans of the text as it was written, no overlaps, nothing across segments."""

from __future__ import annotations

import base64
from itertools import pairwise

import pytest

from ecotone.privacy.fold import fold
from ecotone.privacy.patterns import Patterns
from ecotone.privacy.patterns.context import Words
from ecotone.privacy.patterns.encoded import decode
from ecotone.privacy.patterns.form import Form
from ecotone.privacy.patterns.hit import Hit, settle
from ecotone.privacy.patterns.keys import Keys
from ecotone.privacy.patterns.net import Net
from ecotone.privacy.patterns.vendors import VENDORS

PATTERNS = Patterns()


def seen(text: str) -> list[tuple[str, str]]:
    return [(f.kind, text[f.start : f.end]) for f in PATTERNS.find(text)]


@pytest.mark.parametrize(
    ("text", "kind", "written"),
    [
        ("身份证１１０１０５１９９８０３１２６５１７", "cn_id", "１１０１０５１９９８０３１２６５１７"),
        ("+1 （312） 491-3370", "phone", "+1 （312） 491-3370"),
        ("4\u200b111 1111 1111 1111", "card", "4\u200b111 1111 1111 1111"),
        ("4111\u00a01111\u20071111\u20291111", "card", "4111\u00a01111\u20071111\u20291111"),
        ("4111\n1111 1111\n1111", "card", "4111\n1111 1111\n1111"),
        ("555‑123–4567", "phone", "555‑123–4567"),
        ("j\u043ehn@example.com", "email", "j\u043ehn@example.com"),
        ("jo\u00adhn@example.com", "email", "jo\u00adhn@example.com"),
        ("phone ٠٧٧٠٠٩٠٠١٢٣", "phone", "٠٧٧٠٠٩٠٠١٢٣"),
        ("john&#64;example.com", "email", "john&#64;example.com"),
        ("john&commat;example&period;com", "email", "john&commat;example&period;com"),
        ("john&#x40;example.com", "email", "john&#x40;example.com"),
        (r"john\u0040example.com", "email", r"john\u0040example.com"),
        ("john%40example.com", "email", "john%40example.com"),
        ("1̶2̶3̶-̶4̶5̶-̶6̶7̶8̶9̶", "us_ssn", "1̶2̶3̶-̶4̶5̶-̶6̶7̶8̶9̶"),
        (
            "ＡＫＩＡＩＯＳＦＯＤＮＮ７ＥＸＡＭＰＬＥ",
            "secret.aws_access_key",
            "ＡＫＩＡＩＯＳＦＯＤＮＮ７ＥＸＡＭＰＬＥ",
        ),
        ("𝟒𝟏𝟏𝟏 𝟏𝟏𝟏𝟏 𝟏𝟏𝟏𝟏 𝟏𝟏𝟏𝟏", "card", "𝟒𝟏𝟏𝟏 𝟏𝟏𝟏𝟏 𝟏𝟏𝟏𝟏 𝟏𝟏𝟏𝟏"),
    ],
)
def test_tricks_of_writing_hide_nothing(text: str, kind: str, written: str) -> None:
    assert (kind, written) in seen(text)


def test_folding_leaves_what_is_no_trick() -> None:
    for text in (
        "plain",
        "café, naïve",
        "Привет",
        "中文，句子。",
        "100%25 &#1114112; &#7; %zz %ff \\u0007",
        "mixa\u0436",
    ):
        assert fold(text).text == text.replace("%25", "%")
    assert fold("a\x1eb%1E").text == "a\x1eb%1E"
    assert fold("①Ⓐа_ρb").text == "1Aa_pb"
    assert fold("a&#38;#64;b&shy;c").text == "a&#64;bc"
    assert fold("1\u0336\u20e3").text == "1"
    assert fold("1\u034f").text == "1"
    assert fold("\u0445a \u043e\u043d").text == "xa \u043e\u043d"


def test_halves_of_surrogate_pairs_hide_nothing_and_break_nothing() -> None:
    text = "\ud800４111 1111 1111 1111\udfff 张%41"
    assert [(f.kind, f.start, f.end) for f in Patterns({"x": ["term"]}).find(text)] == [("card", 1, 20)]
    assert PATTERNS.find("\udc00") == []


def test_nothing_is_found_across_segments() -> None:
    assert PATTERNS.find("password: \x1ehunter2") == []
    assert PATTERNS.find("SSN\x1e123456789") == []
    assert PATTERNS.find("4111 1111\x1e1111 1111") == []
    assert PATTERNS.find("call\n\n1234567") == []
    assert seen("-----BEGIN PRIVATE KEY-----\nabc\x1edef") == [
        ("secret.private_key", "-----BEGIN PRIVATE KEY-----\nabc")
    ]


def test_findings_are_sorted_and_do_not_overlap() -> None:
    text = "x@y.example 4111 1111 1111 1111 13867251934\t110105199803126517 or card 5555555555554444 2024"
    found = PATTERNS.find(text)
    assert [f.kind for f in found] == ["email", "card", "phone", "cn_id", "card"]
    assert all(a.end <= b.start for a, b in pairwise(found))
    assert {f.detector for f in found} == {"patterns"}


def test_the_surer_wins_then_the_stricter_then_the_longer() -> None:
    weak, sure, strict, long = (
        Hit(0, 9, "phone", 0.5),
        Hit(5, 12, "phone", 0.9),
        Hit(5, 9, "card", 0.9),
        Hit(5, 13, "card", 0.9),
    )
    assert settle([weak]) == [weak]
    assert settle([weak, sure, Hit(20, 21, "ip", 1)]) == [sure, Hit(20, 21, "ip", 1)]
    assert settle([sure, strict]) == [strict]
    assert settle([strict, long]) == [long]
    assert settle([Hit(0, 4, "ip", 0.9), Hit(3, 8, "ip", 0.5), Hit(7, 9, "ip", 0.8)]) == [
        Hit(0, 4, "ip", 0.9),
        Hit(7, 9, "ip", 0.8),
    ]


def test_a_secret_in_base64_is_the_whole_token() -> None:
    token = base64.b64encode(b"login: jane.doe@example.com and AKIAIOSFODNN7EXAMPLE").decode()
    assert seen(f"data {token} end") == [("secret.aws_access_key", token)]
    folded = token[:24] + "\n" + token[24:]
    assert seen(folded) == [("secret.aws_access_key", folded)]


def test_only_text_is_decoded() -> None:
    assert decode("SGVsbG8gd29ybGQsIGhlbGxv") == "Hello world, hello"
    assert decode("SGVsbG8gd29ybGQsIGhlbGxvA") == "Hello world, hello"
    assert decode("AAECAwQFBgcICQoLDA0ODw==") is None
    assert decode("/+7/7v/+AbCdEfGhIjKl") is None
    assert decode("Bundesverfassungsgericht") is None
    assert decode("ab=c") is None


def test_each_vendor_has_a_test_of_its_own_beginning() -> None:
    keys = Keys(Net(Words()))
    assert len({name for name, _, _ in VENDORS}) >= 40
    for _, fronts, _ in VENDORS:
        for front in fronts.split():
            text = f"x {front} "
            assert any(m.group().decode().startswith(front[:2]) for m in keys._gate.finditer(text.encode())), front


def test_a_decorator_is_no_handle() -> None:
    assert PATTERNS.find("x = 1\n    @create_model\n    def f(): ...") == []
    assert seen("hey @jane_d\nsee you") == [("handle", "@jane_d")]


def test_a_long_row_of_numbers_is_looked_at_group_by_group() -> None:
    row = " ".join(["12345"] * 30)
    assert PATTERNS.find(row) == []
    assert ("card", "4111111111111111") in seen(f"{row} 4111111111111111 {row}")


def test_what_was_learned_of_shapes_and_words_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ecotone.privacy.patterns.shapes._REMEMBERED_MAX", 2)
    monkeypatch.setattr("ecotone.privacy.patterns.triggers._REMEMBERED_MAX", 2)
    found = Patterns()
    for text in ("123-45-6789", "4111 1111 1111 1111", "555-123-4567", "token street password discord"):
        found.find(text)
    assert len(found._numbers._shapes._known) <= 2
    assert len(found._triggers._known) <= 2


def test_a_form_compiles_at_first_use() -> None:
    form = Form("a+")
    assert "match" not in vars(form)
    assert form.match("aa") is not None
    assert "match" in vars(form)
    with pytest.raises(AttributeError):
        form.no_such_thing  # noqa: B018 - reading it is what is tested


def test_the_version_is_a_stable_word() -> None:
    assert PATTERNS.version == Patterns({"x": ["term"]}).version
    assert PATTERNS.version.startswith("1.")


def test_a_site_s_terms_carry_its_labels() -> None:
    found = Patterns({"project": ["Blue Heron", "蓝鹭计划"], "person": ["Zoë Ångström"]})
    text = "the BLUE\nHERON file of zoë ångström; 关于蓝鹭计划的; blue herons"
    assert [(f.label, f.kind, text[f.start : f.end]) for f in found.find(text)] == [
        ("project", "term", "BLUE\nHERON"),
        ("person", "term", "zoë ångström"),
        ("project", "term", "蓝鹭计划"),
    ]
