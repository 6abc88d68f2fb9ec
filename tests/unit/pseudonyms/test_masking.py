"""What a request looks like when it goes out."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from tests.unit.pseudonyms.asking import (
    MARIA,
    NATURAL,
    PHONE,
    SECRET,
    TAGGED,
    body,
    chat,
    masked,
    request,
    restored,
    said,
    spots,
)

from ecotone.pseudonyms import Scope, mask, vault
from ecotone.values import Endpoint, Finding, RefusalError

NAME = "Maria Gonzalez"
USER = {"role": "user", "content": f"I am {NAME}"}


@pytest.mark.parametrize("role", ["system", "developer"])
def test_one_line_tells_the_model_what_tagged_words_are(role: str) -> None:
    made = masked({"model": "m", "messages": [{"role": role, "content": "Be brief."}, USER]}, MARIA)
    content = body(made)["messages"][0]["content"]
    assert re.match(r"Be brief\.\n\nWords of the form TYPE_[0-9A-F]{2}1 ", content)
    made = masked({"model": "m", "messages": [{"role": role, "content": ""}, USER]}, MARIA)
    assert body(made)["messages"][0]["content"].startswith("Words of the form")
    part = {"type": "text", "text": "Be brief."}
    made = masked({"model": "m", "messages": [{"role": role, "content": [part]}, USER]}, MARIA)
    first, second = body(made)["messages"][0]["content"]
    assert (first, second["type"]) == (part, "text")


def test_no_line_where_nothing_or_naturally_replaced_or_no_chat() -> None:
    assert body(masked(chat(USER["content"]), {}, TAGGED)) == chat(USER["content"])
    assert len(body(masked(chat(USER["content"]), MARIA, NATURAL))["messages"]) == 1
    made = masked({"model": "m", "prompt": ["Hi", USER["content"]]}, MARIA, endpoint=Endpoint.COMPLETIONS)
    assert set(body(made)) == {"model", "prompt"}


def test_all_else_stays_as_it_was_written() -> None:
    written = (
        b'{ "temperature": 0.10, "top_p":1E-1, "seed": 123456789012345678901234567890, "stop": ["\\u00e9"],\n'
        b'"messages": [{"role":"user","content":"I am Maria Gonzalez"}], "model": "m", "x": {"b":1,"a":[null,true]}}'
    )
    made = masked(written, MARIA, NATURAL)
    name = said(made)[5:]
    assert made.request.body.decode() == (
        '{"temperature":0.10,"top_p":1E-1,"seed":123456789012345678901234567890,"stop":["é"],'
        f'"messages":[{{"role":"user","content":"I am {name}"}}],"model":"m","x":{{"b":1,"a":[null,true]}}}}'
    )
    assert (made.request.id, made.request.features, made.request.model) == ("req-1", request(written).features, "m")


def test_a_key_given_twice_carries_nothing_out() -> None:
    written = b'{"model":"m","messages":[{"role":"user","content":"I am ill, Maria","content":"I am Maria Gonzalez"}]}'
    assert b"ill" not in masked(written, MARIA).request.body


def test_only_the_labels_asked_for_are_replaced() -> None:
    asked = request(chat(f"I am {NAME}, +1 212-555-0187"))
    from ecotone.privacy.segments import segments  # the real walk, as the corridor does it

    parts = segments(asked.body).segments
    made = mask(asked, parts, spots(parts, MARIA | PHONE), frozenset({"contact"}), Scope(SECRET, "ward"))
    assert said(made).startswith(f"I am {NAME}, PHONE_")
    assert dict(made.replaced) == {"contact": 1}
    assert made.originals == ("+1 212-555-0187",)


def test_findings_that_overlap_become_one_piece() -> None:
    text = f"Mail {NAME} gonzalez@x.example; Maria Gonzalez"
    asked = request(chat(text))
    from ecotone.privacy.segments import segments  # the real walk, as the corridor does it

    parts = segments(asked.body).segments
    found = [
        (0, Finding(label, kind, start, end, 1.0, "test"))
        for label, kind, start, end in (
            ("person", "person", 5, 19),
            ("contact", "email", 14, 38),
            ("person", "person", 5, 10),
            ("person", "person", 40, 54),
        )
    ]
    made = mask(asked, parts, found, frozenset({"person", "contact"}), Scope(SECRET, "ward"))
    assert re.fullmatch(r"Mail EMAIL_(..)1; PERSON_(?:\1)1", said(made))
    assert restored(made, said(made)) == text


def test_every_other_place_of_a_value_is_replaced_too() -> None:
    text = (
        f"I am {NAME}. MARIA GONZALEZ, maria-gonzalez, maria_gonzalez, Maria\nGonzalez, Maria\u00a0Gonzalez, "
        "Ma\u200bria Gonzalez, Maria Gonzalezs Hund, Maria%20Gonzalez, x@Gonzalez, 找Maria Gonzalez吗"
    )
    made = masked(chat(text), MARIA)
    assert "gonzalez" not in said(made).lower()
    assert re.search(r"PERSON_..1s Hund", said(made))
    for word in ("Gonzalezss", "Mariana", "Gonzalezx", "mariasx", "xGonzalez", "xGonzalezs"):
        assert word in said(masked(chat(f"I am {NAME}. {word}"), MARIA))


def test_longer_values_go_first_and_short_or_ordinary_ones_only_as_written() -> None:
    values = {"Will": ("person", "person"), "Will Zapf": ("person", "person"), "Al": ("person", "person")}
    made = masked(chat("Will, Will Zapf, Al. will you? WILL al AL Al's; 12"), values | {"12": ("amount", "amount")})
    will, zapf, al, amount = (re.sub(r"[^\w]", "", said(made).split(" ")[at]) for at in (0, 1, 2, -1))
    assert said(made) == f"{will}, {zapf}, {al}. will you? {will} al {al} {al}'s; {amount}"
    assert len({will, zapf, al, amount}) == 4
    made = masked(chat("Pay 12, then 12 or 1234, 1234"), {"12": ("amount", "amount"), "1234": ("amount", "amount")})
    assert re.fullmatch(r"Pay AMOUNT_(..)1, then 12 or AMOUNT_(?:\1)2, AMOUNT_(?:\1)2", said(made))


def test_values_in_a_piece_of_json_are_replaced_as_they_are_written_there() -> None:
    text = '张三丰 and log: {"a": "x\\n\\u5f20\\u4e09\\u4e30!", "b": "Maria Gonzalez\\nMaria Gonzalez"}'
    for style in (TAGGED, NATURAL):
        made = masked(chat(text), MARIA | {"张三丰": ("person", "person")}, style)
        assert "Maria" not in said(made)
        assert "u5f20" not in said(made)
        assert restored(made, said(made)) == text.replace("\\u5f20\\u4e09\\u4e30", "张三丰")


def test_a_name_that_was_found_in_capitals_is_known_in_others() -> None:
    made = masked(chat("PARIS asks. Paris, paris."), {"PARIS": ("person", "person")})
    assert re.fullmatch(r"(PERSON_..1) asks\. (?:\1), paris\.", said(made))


def test_secrets_are_the_same_only_sign_by_sign() -> None:
    text = "key: aB3-dE5xyzw, AB3-DE5XYZW, aB3_dE5xyzw"
    for style in (TAGGED, NATURAL):
        made = masked(chat(text), {"aB3-dE5xyzw": ("secret", "secret.x")}, style)
        assert len(set(re.split(", |: ", said(made)))) == 4
        assert restored(made, said(made)) == text


def test_the_transformation_is_bound_to_both_bodies_and_the_key() -> None:
    made = masked(chat(f"I am {NAME}"), MARIA)
    assert re.fullmatch(r"pseudonymise:[0-9a-f]{64}", made.transform)
    others = [
        masked(chat(f"I am {NAME}!"), MARIA).transform,
        masked(chat(f"I am {NAME}"), MARIA, NATURAL).transform,
        masked(chat(f"I am {NAME}"), MARIA, owner="lab").transform,
    ]
    assert len({made.transform, *others}) == 4
    assert masked(chat(f"I am {NAME}"), MARIA).transform == made.transform


def test_keys_are_renamed_and_the_order_stays() -> None:
    asked: dict[str, Any] = {**chat("Hi"), "metadata": {"a": 1, NAME: {NAME: "x", "z": 2}, "b": {"c": 3}}}
    asked["messages"][0]["content"] = json.dumps({"q": '"', NAME: json.dumps({NAME: '"'})})
    made = masked(asked, MARIA)
    out = body(made)
    one = list(out["metadata"])[1]
    assert out["metadata"] == {"a": 1, one: {one: "x", "z": 2}, "b": {"c": 3}}
    assert list(out["metadata"]) == ["a", one, "b"]
    inner = json.loads(out["messages"][-1]["content"])
    assert (list(inner), json.loads(inner[one])) == (["q", one], {one: '"'})
    assert restored(made, one) == NAME


def test_a_key_that_would_stand_twice_is_refused() -> None:
    for style in (TAGGED, NATURAL):
        asked = {**chat(f"I am {NAME}"), "metadata": {NAME: 1, "Maria  Gonzalez".replace("  ", "\u00a0"): 2}}
        if style is TAGGED:
            with pytest.raises(RefusalError):
                masked(asked, MARIA, style)
        else:
            assert len(body(masked(asked, MARIA, style))["metadata"]) == 2


@pytest.mark.parametrize(
    ("message", "style", "is_allowed"),
    [
        ({"role": "user", "name": NAME, "content": "x"}, TAGGED, True),
        ({"role": "user", "name": NAME, "content": "x"}, NATURAL, False),
        ({"role": "user", "name": "Maria_Gonzalez", "content": "x"}, NATURAL, True),
        (
            {"role": "assistant", "tool_calls": [{"id": "c", "function": {"name": f"ask {NAME}", "arguments": "{}"}}]},
            TAGGED,
            False,
        ),
    ],
)
def test_names_stay_what_the_api_allows(message: dict[str, Any], style: Any, is_allowed: bool) -> None:
    asked = {"model": "m", "messages": [USER, message]}
    if is_allowed:
        assert "Gonzalez" not in masked(asked, MARIA, style).request.body.decode()
        return
    with pytest.raises(RefusalError):
        masked(asked, MARIA, style)


def test_several_texts_inside_of_one_string() -> None:
    inner = json.dumps({"a": NAME, "b": NAME, "c": '"'})
    made = masked({"model": "m", "messages": [USER, {"role": "tool", "content": inner}]}, MARIA)
    read = json.loads(said(made))
    assert read["a"] == read["b"] != NAME
    assert said(made) == json.dumps(read, separators=(",", ":"))


def test_nothing_replaced_nothing_restored() -> None:
    made = masked(chat("Hi"), {})
    assert restored(made, "PERSON_7C1 says: hi") == "PERSON_7C1 says: hi"


def test_a_conversation_without_a_user_has_a_head_too() -> None:
    made = masked({"model": "m", "messages": [{"role": "assistant", "content": f"I am {NAME}"}]}, MARIA)
    assert said(made).startswith("I am PERSON_")


def test_what_is_no_object_or_too_much_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RefusalError):
        mask(request(b"[]"), [], [], frozenset(), Scope(SECRET, "ward"))
    monkeypatch.setattr(vault, "ROWS_MAX", 2)
    with pytest.raises(RefusalError):
        masked(chat("Ada, Bob, Cyd"), dict.fromkeys(("Ada", "Bob", "Cyd"), ("person", "person")))


def test_a_text_full_of_such_words_is_refused() -> None:
    words = " ".join(f"x_{first}{second}1" for first in "0123456789abcdef" for second in "abcdef")
    with pytest.raises(RefusalError):
        masked(chat(f"I am {NAME}. {words}"), MARIA)


def test_a_number_without_a_free_other_one_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = {**chat("x"), "metadata": {"n": 88312345}}
    assert masked(asked, {"88312345": ("account", "x")}).replaced == {"account": 1}
    other = json.loads(masked(asked, {"88312345": ("account", "x")}).request.body)["metadata"]["n"]
    taken = masked({**asked, "stop": [str(other)]}, {"88312345": ("account", "x")})
    assert body(taken)["metadata"]["n"] not in (other, 88312345)
    monkeypatch.setattr(vault, "ATTEMPTS_MAX", 0)
    with pytest.raises(RefusalError):
        masked(asked, {"88312345": ("account", "x")})
    made = masked(chat("10.20.30.40"), {"10.20.30.40": ("contact", "ip")}, NATURAL)
    assert said(made).startswith("IP_")
