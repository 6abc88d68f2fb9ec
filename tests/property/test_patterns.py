"""What must hold of the patterns detector for every text."""

from __future__ import annotations

import base64
import re
from urllib.parse import quote

import re2
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ecotone.privacy.fold import fold
from ecotone.privacy.patterns import Patterns
from ecotone.privacy.patterns.families import FAMILIES
from ecotone.privacy.patterns.numbers import GATE, options
from ecotone.privacy.patterns.shapes import REACH, TABLE, shape_of
from ecotone.privacy.patterns.vendors import BEGINS, VENDORS

PATTERNS = Patterns()
CANARIES = (
    "jane.doe@example.com",
    "4111 1111 1111 1111",
    "110105199803126517",
    "123-45-6789",
    "DE89 3704 0044 0532 0130 00",
    "+44 20 7946 0958",
    "13867251934",
    "AKIAIOSFODNN7EXAMPLE",
    "12345678Z",
    "10.20.30.40",
)
WIDE = {i: i + 0xFEE0 for i in range(0x21, 0x7F) if chr(i).isalnum() or chr(i) in "@._+"}
ARABIC = {ord(str(d)): 0x0660 + d for d in range(10)}
LOOKS = str.maketrans("aeopcAEOPC", "аеорсАЕОРС")
SPACES = str.maketrans({" ": "\u00a0"})
HYPHENS = str.maketrans({"-": "\u2011"})
ordinary = st.lists(st.sampled_from(("the", "of", "and", "中文", "是的。", ",", "\n")), max_size=6).map(" ".join)
any_text = st.text(st.characters(exclude_categories=()), max_size=200) | st.text(
    st.sampled_from("0123456789 -./()+@:=xA\n\x1e中号%&#;"), max_size=300
)


def zero_width(text: str, every: int) -> str:
    return "".join(c + ("\u200b" if i % every == 0 else "") for i, c in enumerate(text[:-1])) + text[-1]


TRICKS = (
    lambda t: t,
    lambda t: t.translate(WIDE),
    lambda t: t.translate(ARABIC),
    lambda t: t.translate(SPACES).translate(HYPHENS),
    lambda t: zero_width(t, 1),
    lambda t: zero_width(t, 3).replace("\u200b", "\u00ad"),
    lambda t: quote(t, safe=""),
    lambda t: "".join(f"&#{ord(c)};" for c in t),
    lambda t: t.replace(" ", "\n"),
    lambda t: t.translate(LOOKS) if "@" in t else t,
    lambda t: base64.b64encode(f'{{"it": "{t}"}}'.encode()).decode(),
    lambda t: base64.urlsafe_b64encode(f"?>> {t} <<?".encode()).decode(),
    lambda t: base64.b64encode(f"it is {t} then".encode()).decode(),
)


@given(ordinary, st.sampled_from(CANARIES), st.sampled_from(TRICKS), ordinary)
def test_a_canary_is_covered_as_written_under_any_trick(before: str, canary: str, trick, after: str) -> None:  # type: ignore[no-untyped-def] # a trick is any function of a text
    written = trick(canary)
    text = f"{before} {written} {after}"
    start = len(before) + 1
    covered = {i for f in PATTERNS.find(text) for i in range(f.start, f.end)}
    assert {i for i in range(start, start + len(written)) if text[i].isalnum()} <= covered


@given(any_text)
@settings(max_examples=300)
def test_findings_lie_in_the_text_sorted_apart_and_within_one_segment(text: str) -> None:
    end = 0
    for found in PATTERNS.find(text):
        assert end <= found.start < found.end <= len(text)
        assert "\x1e" not in text[found.start : found.end]
        end = found.end


@given(st.lists(st.sampled_from(CANARIES), min_size=1, max_size=4), st.sampled_from(("\x1e", "\n", ", ", "\t", " | ")))
def test_no_family_swallows_another(canaries: list[str], between: str) -> None:
    text = between.join(canaries)
    found = PATTERNS.find(text)
    at = 0
    for canary in canaries:
        assert any(f.start <= at and at + len(canary) <= f.end for f in found), canary
        at += len(canary) + len(between)


@given(any_text)
def test_folding_leads_every_place_back(text: str) -> None:
    folded = fold(text)
    last = 0
    for place in range(len(folded.text)):
        start, end = folded.written(place, place + 1)
        assert 0 <= last <= start < end <= len(text)
        last = start
    assert folded.text.count("\x1e") == text.count("\x1e")
    assert folded.written(0, len(folded.text))[1] <= len(text) if folded.text else True


@given(st.data(), st.sampled_from(FAMILIES))
def test_the_gate_and_the_shapes_are_supersets_of_every_family(data: st.DataObject, family) -> None:  # type: ignore[no-untyped-def] # a family is a row of the table
    number = data.draw(st.from_regex(re.compile(family.form, re.ASCII), fullmatch=True))
    raw = number.encode("ascii")
    assert re2.compile(GATE, options()).search(raw) is not None
    assert len(raw) <= REACH or family.kind == "phone"
    shape = raw.translate(TABLE).decode()
    assert re.fullmatch(shape_of(family.form), shape), (number, shape, shape_of(family.form))


def token_of(data: st.DataObject, vendor: tuple[str, str, str]) -> str:
    """A token as the vendor writes it, of at least a handful of different signs."""
    name, fronts, rest = vendor
    begins = BEGINS.get(name, "").removesuffix(r"\Z")
    front = data.draw(st.sampled_from(fronts.split()))
    form = re.compile(begins + re.escape(front) + rest, re.ASCII)
    return data.draw(st.from_regex(form, fullmatch=True).filter(lambda t: len(set(t[len(front) :])) > 8))


@given(st.data(), st.sampled_from(VENDORS), ordinary, st.sampled_from((" ", "=", '"', "/", "：", "\n")))
@settings(suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow], deadline=None)
def test_every_vendor_s_token_is_a_secret_wherever_it_stands(
    data: st.DataObject, vendor: tuple[str, str, str], before: str, edge: str
) -> None:
    token = token_of(data, vendor) if vendor[0] != "mailchimp" else "0123456789abcdef0123456789abcdef-us12"
    text = f"{before}{edge}{token} end"
    start = len(before) + 1
    secret = {i for f in PATTERNS.find(text) if f.label == "secret" for i in range(f.start, f.end)}
    shown = {i for i in range(start, start + len(token)) if text[i].isalnum()}
    assert len(shown & secret) >= 0.9 * len(shown), token
