"""The last look before bytes leave."""

from __future__ import annotations

import base64
import json
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from tests.unit.pseudonyms.asking import NATURAL, TAGGED, body, chat, masked

from ecotone.values import RefusalError

VALUES = {
    "Maria Gonzalez-Peña": ("person", "person"),
    "m.g@clinic.example.es": ("contact", "email"),
    "张三丰": ("person", "person"),
    'pass "w0rd" \\x': ("secret", "secret.password"),
}
MADE = masked(chat("; ".join(VALUES)), VALUES)


def with_text(text: str, *, key: str = "content") -> bytes:
    out = body(MADE)
    out["messages"].append({"role": "user", key: text})
    return json.dumps(out, ensure_ascii=False).encode()


def test_the_masked_body_is_clean_with_another_model_and_options() -> None:
    assert not MADE.leaks(MADE.request.body)
    out: dict[str, Any] = {**body(MADE), "model": "maria gonzalez-peña", "stream_options": {"include_usage": True}}
    assert not MADE.leaks(json.dumps(out).encode())


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("around", ["{}", "x {} y", "({})", "\n{}\n"])
def test_in_every_writing_it_is_seen(value: str, around: str) -> None:
    for text in (value, value.upper(), value.lower()):
        assert MADE.leaks(with_text(around.format(text)))
        ascii_only = json.dumps({"model": "m", "messages": [{"content": around.format(text)}]})
        assert MADE.leaks(ascii_only.encode())
        assert MADE.leaks(with_text(json.dumps({"a": json.dumps(around.format(text))})))
    assert MADE.leaks(with_text("u=" + quote(value)))
    assert MADE.leaks(with_text("u=" + quote_plus(value)))
    assert MADE.leaks(with_text("x", key=value))
    for before in ("", "a", "ab", "abc"):
        assert MADE.leaks(with_text(base64.b64encode((before + around.format(value)).encode()).decode()))
        assert MADE.leaks(with_text(base64.urlsafe_b64encode((before + value + "?>").encode()).decode()))


def test_a_body_that_cannot_be_read_leaks_where_the_bytes_are_there() -> None:
    assert MADE.leaks(b"[ m.g@clinic.example.es ")
    assert MADE.leaks(b'{"a": "m.g@clinic.example.es \xff"}')
    assert MADE.leaks(b'["m.g@clinic.example.es"]')
    assert not MADE.leaks(b"[ nothing ")


def test_words_within_words_and_ordinary_words_are_no_leak() -> None:
    made = masked(chat("Ann asks Will."), {"Ann": ("person", "person"), "Will": ("person", "person")})
    out = body(made)
    for text, is_leak in (
        ("planning an annex", False),
        ("I will ask", False),
        ("ann", True),
        ("Will", True),
        ("WILL", True),
        ("\\nAnn", True),
        ("\u00a0Ann", True),
        ("Anns dog", True),
        ("Annst", False),
    ):
        out["messages"].append({"role": "user", "content": text})
        assert made.leaks(json.dumps(out).encode()) is is_leak, text
        out["messages"].pop()


def test_the_apis_own_words_are_no_leak() -> None:
    """A detector may take `User` or `Copy` for a name; they stand in the body as a role and in our own line."""
    text = "User Copy Content Messages"
    made = masked(chat(text), dict.fromkeys(text.split(), ("person", "person")))
    assert not made.leaks(made.request.body)
    out = body(made)
    out["messages"][-1]["content"] += " Copy"
    assert made.leaks(json.dumps(out).encode())


def test_what_cannot_be_replaced_everywhere_is_refused() -> None:
    """The value stands in a writing that was not found; or as a key beside the key that would have its name."""
    for text in (quote("Maria Gonzalez-Peña"), base64.b64encode(b"-m.g@clinic.example.es").decode()):
        with pytest.raises(RefusalError) as caught:
            masked(chat("; ".join([*VALUES, text])), VALUES, NATURAL)
        assert caught.value.code == "refused.pseudonymise"


def test_nothing_replaced_is_nothing_leaked() -> None:
    for style in (TAGGED, NATURAL):
        made = masked(chat("Good morning."), {}, style)
        assert body(made) == chat("Good morning.")
        assert not made.leaks(b'{"a": "x"}')
        assert made.replaced == {}
    single = masked(chat("It is x."), {"x": ("secret", "x")})
    assert not single.leaks(b'{"a": "x"}')
