"""Values that nobody wrote are withheld from an answer, the same however it is cut; what was written passes."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from chunk_invariance import assert_chunk_invariant

from ecotone.privacy.answers import AHEAD_CHARS, BLOCK_CHARS, Screen, Strainer
from ecotone.values import Finding

MAIL = "kim@daputame.org"
LABELS = frozenset({"contact"})


def find(text: str) -> list[Finding]:
    """Mail addresses, and months as a label that nobody withholds."""
    found = [
        Finding("contact", "email", each.start(), each.end(), 1.0, "patterns")
        for each in re.finditer(r"[a-z]+@[a-z]+\.org", text)
    ]
    return found + [
        Finding("date", "month", each.start(), each.end(), 1.0, "patterns") for each in re.finditer("May", text)
    ]


def screen(*said: str, inner: Any = None) -> Screen:
    return Screen(find, LABELS, said, inner)


def event(**choice: Any) -> bytes:
    return json.dumps({"id": "c", "choices": [{"index": 0, "finish_reason": None, **choice}]}).encode()


def contents(events: Sequence[bytes], *way: Any) -> str:
    text = ""
    for each in events:
        for choice in json.loads(each).get("choices", []):
            node: Any = choice if isinstance(choice, dict) else {}
            for step in way or ("delta", "content"):
                node = node.get(step, {}) if isinstance(node, dict) else node[step]
            text += node if isinstance(node, str) else ""
    return text


def streamed(screen: Screen, pieces: Sequence[str]) -> list[bytes]:
    given = [out for piece in pieces for out in screen.feed(event(delta={"content": piece}))]
    given += screen.feed(event(delta={}, finish_reason="stop"))
    return [*given, *screen.finish()]


def strained(text: str) -> str:
    one = Strainer(find, LABELS, lambda value: False)
    return one.feed(text) + one.finish()


def strained_in_pieces(pieces: Sequence[str]) -> Iterator[str]:
    one = Strainer(find, LABELS, lambda value: False)
    for piece in pieces:
        yield one.feed(piece)
    yield one.finish()


@pytest.mark.parametrize("before", [0, 1, 40, BLOCK_CHARS - 3, BLOCK_CHARS, 200, 500])
@pytest.mark.parametrize("after", [0, 5, BLOCK_CHARS, AHEAD_CHARS, 300])
def test_a_text_is_the_same_wherever_it_is_cut(before: int, after: int) -> None:
    text = "x " * (before // 2) + f"{MAIL}, {MAIL} in May" + " y" * (after // 2)
    assert strained(text) == text.replace(MAIL, "[contact withheld]")
    assert_chunk_invariant(strained_in_pieces, strained, text)


def test_a_text_is_the_same_in_any_row_of_pieces() -> None:
    dice = random.Random(7)
    for _ in range(300):
        words = [
            dice.choice((MAIL, "May", "a", "word", "and so on, ", "@", "x.org")) for _ in range(dice.randint(1, 80))
        ]
        text, pieces = " ".join(words), []
        whole, rest = strained(text), text
        while rest:
            size = dice.randint(1, 30)
            pieces.append(rest[:size])
            rest = rest[size:]
        assert "".join(strained_in_pieces(pieces)) == whole
        assert MAIL not in whole


def test_no_more_is_held_back_than_is_said() -> None:
    one = Strainer(find, LABELS, lambda value: False)
    given, text = "", "a" * 1000
    for at in range(0, 1000, 10):
        given += one.feed(text[at : at + 10])
        assert at + 10 - len(given) <= BLOCK_CHARS + AHEAD_CHARS


def test_what_the_request_holds_is_no_news() -> None:
    answer = streamed(screen("Hi", "I am Kim (KIM@daputame.ORG)"), [f"Dear {MAIL}, or was it ", "lee@other.org?"])
    assert contents(answer) == f"Dear {MAIL}, or was it [contact withheld]?"


def test_the_rest_comes_before_the_event_that_ends_the_choice() -> None:
    answer = streamed(screen(), ["Write to kim@dap", "utame.org."])
    assert contents(answer) == "Write to [contact withheld]."
    *_, rest, last = [json.loads(each)["choices"][0] for each in answer]
    assert rest["finish_reason"] is None
    assert last["finish_reason"] == "stop"
    assert last["delta"] == {}


def test_a_stream_without_an_end_gives_what_it_held_back() -> None:
    one = screen()
    given = one.feed(event(delta={"content": MAIL}))
    assert contents([*given, *one.finish()]) == "[contact withheld]"
    assert one.finish() == []


def test_choices_and_fields_are_texts_of_their_own() -> None:
    one = screen()
    both = {"choices": [{"index": 0, "text": "a@"}, {"index": 1, "text": "b.org"}, "odd", {"text": "c@"}]}
    given = [*one.feed(json.dumps(both).encode()), *one.finish()]
    assert b"withheld" not in b"".join(given)
    assert contents(given, "text") == "a@c@b.org"


def test_tool_arguments_are_strained_by_the_calls_own_index() -> None:
    one = screen()
    given: list[bytes] = []
    for index, piece in ((1, '{"to": "kim@da'), (0, '{"to": "x"}'), (1, 'putame.org"}')):
        function = {"name": MAIL, "arguments": piece, "note": "a" if index and piece[0] == "{" else ""}
        call = {"index": index, "id": MAIL, "type": "function", "function": function}
        given += one.feed(event(delta={"role": "assistant", "tool_calls": [call, f"or {MAIL}", [MAIL]]}))
    given += one.feed(event(delta={}, finish_reason="tool_calls"))
    rest = json.loads(given[-2])["choices"][0]["delta"]["tool_calls"]
    assert [each["index"] for each in rest] == [1, 0]
    assert [each["function"]["arguments"] for each in rest] == ['{"to": "[contact withheld]"}', '{"to": "x"}']
    assert [each["function"].get("note") for each in rest] == ["a", None]
    assert json.loads(given[0])["choices"][0]["delta"]["tool_calls"][0]["id"] == MAIL, "the API's own words stay"


def test_log_probabilities_tell_nothing_a_second_time() -> None:
    (given,) = screen().feed(event(delta={"content": "x"}, logprobs={"content": [{"token": MAIL}]}))
    assert MAIL.encode() not in given
    whole = {"choices": [{"message": {"content": "x"}, "logprobs": {"content": [{"token": MAIL}]}}]}
    assert MAIL.encode() not in screen().whole(json.dumps(whole).encode())


def test_an_answer_in_one_piece() -> None:
    body = {"model": "m", "choices": [{"index": 0, "message": {"role": "assistant", "content": f"To {MAIL}."}}], "n": 1}
    read = json.loads(screen().whole(json.dumps(body).encode()))
    assert read["choices"][0]["message"] == {"role": "assistant", "content": "To [contact withheld]."}
    assert read["n"] == 1


def test_errors_are_answers_too() -> None:
    error = json.dumps({"error": {"message": f"no such user: {MAIL}", "code": None}}).encode()
    for given in (screen().whole(error), *screen().feed(error), *screen().feed(json.dumps([MAIL]).encode())):
        assert MAIL.encode() not in given


def test_what_is_no_json_is_the_relays_to_judge() -> None:
    assert screen().whole(b"{") == b"{"
    assert screen().feed(b"{") == [b"{"]


def test_it_strains_what_was_restored() -> None:
    class Restorer:
        """Knows one surrogate, and keeps an event back to the end."""

        def feed(self, one: bytes) -> list[bytes]:
            return [one.replace(b"CONTACT_1", MAIL.encode())]

        def finish(self) -> list[bytes]:
            return [event(delta={"content": f" {MAIL} lee@other.org"})]

        def whole(self, body: bytes) -> bytes:
            return body.replace(b"CONTACT_1", MAIL.encode())

    one = screen(MAIL, inner=Restorer())
    given = [*one.feed(event(delta={"content": "CONTACT_1"})), *one.finish()]
    assert contents(given) == f"{MAIL} {MAIL} [contact withheld]"
    assert MAIL.encode() in screen(MAIL, inner=Restorer()).whole(b'{"a":"CONTACT_1"}')
