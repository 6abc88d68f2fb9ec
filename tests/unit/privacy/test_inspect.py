"""Labels are only added, hold for the whole conversation, and whoever cannot look makes it unknown."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from ecotone.privacy import OPAQUE, UNKNOWN, Look, Unseen, deepen, inspect, unseen
from ecotone.privacy.inspect import FOUND_MAX, FRESH_CHARS_MAX, KEPT_CHARS_MIN
from ecotone.values import Endpoint, Features, Finding, Findings, Request

Found = tuple[Sequence[Sequence[Finding]], Sequence[tuple[str, str]]]


def request(*contents: Any, labels: tuple[str, ...] = (), **more: Any) -> Request:
    body = {"model": "m", "messages": [{"role": "user", "content": content} for content in contents], **more}
    return Request(
        id="r", endpoint=Endpoint.CHAT, model="m", body=msgspec.json.encode(body), is_stream=False,
        is_usage_asked=False, features=Features(1), received_at_s=0.0, labels=labels,
    )  # fmt: skip


class Card:
    """Sees `4111`, with or without a blank, and keeps what it was shown."""

    def __init__(self) -> None:
        self.shown: list[str] = []

    def find(self, text: str) -> list[Finding]:
        self.shown.append(text)
        return [Finding("card", "card", *one.span(), 1.0, "patterns") for one in re.finditer(r"41 ?11|mrn: \d", text)]


def raising(text: str) -> list[Finding]:
    raise ValueError("made")


def look(card: Card | None = None, **more: Any) -> Look:
    return Look({"patterns": (card or Card()).find}, secret=b"k" * 32, **more)


def placed(findings: Findings) -> list[tuple[str, str]]:
    return [(findings.segments[at].text[one.start : one.end], one.label) for at, one in findings.spots]


def test_where_nobody_looks_the_callers_labels_stand() -> None:
    assert inspect(request("4111", labels=("place",)), Look()) == Findings(("place",))


def test_what_is_found_in_one_message_holds_for_all() -> None:
    found = inspect(request("hi", "my card 4111 here", "bye", labels=("place",)), look())
    assert found.labels == ("card", "place")
    assert placed(found) == [("4111", "card")]
    assert found.loose == ("place",)


def test_all_short_texts_are_looked_at_in_one_pass_and_none_is_joined_to_another() -> None:
    card = Card()
    found = inspect(request("41", "11", "x 4111"), look(card))
    assert len(card.shown) == 1
    assert placed(found) == [("4111", "card")]


def test_a_long_text_is_looked_at_once() -> None:
    card = Card()
    one, long = look(card), "word " * KEPT_CHARS_MIN + "4111"
    first, again = inspect(request(long), one), inspect(request(long, "new 4111"), one)
    assert placed(first) == [("4111", "card")]
    assert placed(again) == [("4111", "card"), ("4111", "card")]
    assert [len(text) > KEPT_CHARS_MIN for text in card.shown] == [True, False]


def test_what_explains_a_value_is_seen_and_is_not_part_of_it() -> None:
    found = inspect(request("x", mrn="7"), look())
    assert placed(found) == [("7", "card")]
    assert placed(inspect(request("x", **{"key 4111": "v"}), look())) == [("4111", "card")]


def test_a_finding_in_a_key_cannot_be_replaced() -> None:
    assert inspect(request("x", **{"4111": 1}), look()).loose == ("card",)


def test_parts_that_a_model_reads_as_one_are_looked_at_as_one() -> None:
    parts = [{"type": "text", "text": "4111 and 41"}, {"type": "text", "text": "11"}, {"type": "text", "text": "."}]
    found = inspect(request(parts), look())
    assert [(one.start, one.end) for _, one in found.spots] == [(0, 4), (0, 0)]
    assert found.loose == ("card",)


def test_a_detector_that_raises_or_is_missing_makes_it_unknown() -> None:
    for one in (Look({"patterns": raising}), Look(missing=("names",))):
        found = inspect(request("hi"), one)
        assert found.labels == (UNKNOWN,)
        assert found.loose == (UNKNOWN,)
    assert inspect(request("hi"), Look({"patterns": raising})).missing == ("patterns: ValueError",)


def test_a_body_that_cannot_be_read_is_unknown() -> None:
    broken = msgspec.structs.replace(request("x"), body=b'{"model":"m","x":"\\ud800"}')
    found = inspect(broken, look(dear=("names",)))
    assert (found.labels, found.missing, found.pending) == ((UNKNOWN,), ("body: not readable",), ("names",))


def test_a_picture_is_opaque() -> None:
    found = inspect(request([{"type": "image_url", "image_url": {"url": "u"}}]), look())
    assert (found.labels, found.loose) == ((OPAQUE,), (OPAQUE,))


def test_too_much_text_at_once_is_unknown_and_nobody_waits_for_it() -> None:
    card = Card()
    found = inspect(request("x" * (FRESH_CHARS_MAX // 2 + 1), "y" * (FRESH_CHARS_MAX // 2 + 1)), look(card))
    told = f"patterns: more than {FRESH_CHARS_MAX} new characters at once"
    assert (found.labels, found.missing, card.shown) == ((UNKNOWN,), (told,), [])


def test_too_many_findings_are_none() -> None:
    found = inspect(request("4111" * (FOUND_MAX + 1)), look())
    assert found.labels == (UNKNOWN,)
    assert found.spots == ()


# The dear detectors.


def person(text: str) -> list[Finding]:
    return [Finding("person", "person", *one.span(), 0.9, "names") for one in re.finditer("Ann", text)]


def answered(seen: Unseen, **failed: str) -> Found:
    return [person(text) for text in seen.texts], list(failed.items())


def test_until_the_dear_detectors_have_looked_they_are_pending() -> None:
    one = look(dear=("names", "topics"))
    asked = request("Ann", "4111", "Ann")
    found = inspect(asked, one)
    assert (found.labels, found.pending) == (("card",), ("names", "topics"))
    seen = unseen(found, one)
    assert (seen.texts, seen.names) == (("Ann", "4111"), ("names", "topics"))
    deeper = deepen(asked, found, one, seen, answered(seen))
    assert (deeper.labels, deeper.pending, deeper.missing) == (("card", "person"), (), ())
    assert placed(deeper) == [("4111", "card"), ("Ann", "person"), ("Ann", "person")]


def test_only_what_is_new_is_looked_at_again() -> None:
    one = look(dear=("names",))
    first = inspect(request("Ann"), one)
    seen = unseen(first, one)
    deepen(request("Ann"), first, one, seen, answered(seen))
    second = inspect(request("Ann", "new"), one)
    seen = unseen(second, one)
    assert seen.texts == ("new",)
    assert deepen(request("Ann", "new"), second, one, seen, answered(seen)).labels == ("person",)
    third = inspect(request("Ann"), one)
    seen = unseen(third, one)
    assert seen == Unseen((), (), ())
    assert deepen(request("Ann"), third, one, seen, ((), ())).labels == ("person",)


def test_whoever_does_not_answer_makes_it_unknown_and_is_asked_again() -> None:
    one = look(dear=("names",))
    found = inspect(request("Ann"), one)
    seen = unseen(found, one)
    late = deepen(request("Ann"), found, one, seen, ([[]], [("names", "late")]))
    assert (late.labels, late.missing) == ((UNKNOWN,), ("names: late",))
    assert unseen(inspect(request("Ann"), one), one).texts == ("Ann",)


@pytest.mark.parametrize("found", [[], [[], []]])
def test_an_answer_to_another_question_is_none(found: Any) -> None:
    one = look(dear=("names",))
    quick = inspect(request("Ann"), one)
    told = deepen(request("Ann"), quick, one, unseen(quick, one), (found, []))
    assert (told.labels, told.missing) == ((UNKNOWN,), ("names: bad answer",))


def test_what_was_forgotten_meanwhile_is_unknown() -> None:
    one = look(dear=("names",), kept_max=1)
    quick = inspect(request("Ann", "Bob"), one)
    told = deepen(request("Ann", "Bob"), quick, one, Unseen((), (), ()), ([], []))
    assert told.missing == ("names: no answer",)


def test_memory_is_bounded_and_forgets_the_oldest() -> None:
    one = look(kept_max=2)
    for digest in (b"a", b"b"):
        one.keep("names", digest, ())
    assert one.recall("names", b"a") == ()
    one.keep("names", b"c", ())
    assert one.recall("names", b"b") is None
    assert one.recall("names", b"a") == ()


def test_memory_is_bounded_by_what_was_found_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[Look.__module__], "KEPT_FINDINGS_MAX", 5)
    one = look()
    found = [Finding("person", "", at, at + 1, 0.9, "names") for at in range(6)]
    one.keep("names", b"a", found[:3])
    one.keep("names", b"a", found[:2])  # counted once
    one.keep("names", b"b", found[:3])
    assert one.recall("names", b"a") == tuple(found[:2])
    one.keep("names", b"c", found[:1])
    assert one.recall("names", b"b") is None
    assert one.recall("names", b"a") == tuple(found[:2])
    one.keep("names", b"d", found)  # more than all that is kept
    assert [one.recall("names", digest) for digest in (b"a", b"c", b"d")] == [None] * 3


def test_a_topic_and_what_lies_in_front_of_a_text() -> None:
    one = look(dear=("names",))
    asked = request("x", Ann="y")
    quick = inspect(asked, one)
    seen = unseen(quick, one)
    topic = Finding("medical", "topic", 0, 0, 0.8, "names")
    told = deepen(asked, quick, one, seen, ([[topic] if text == "x" else person(text) for text in seen.texts], []))
    assert told.labels == ("medical", "person")
    assert told.loose == ("medical", "person")  # the name is a key: it stands before its value, and by itself
    assert [(at, one.label) for at, one in told.spots] == [(0, "medical"), (1, "person")]


def test_opaque_stays_when_the_dear_detectors_have_looked() -> None:
    one = look(dear=("names",))
    asked = request([{"type": "image_url", "image_url": {"url": "u"}}])
    quick = inspect(asked, one)
    seen = unseen(quick, one)
    assert deepen(asked, quick, one, seen, answered(seen)).labels == (OPAQUE,)


def test_a_value_whose_words_of_context_stand_in_the_part_before_is_found_in_its_own_part() -> None:
    def find(text: str) -> list[Finding]:
        found = [Finding("card", "card", *one.span(), 1.0, "patterns") for one in re.finditer("4111", text)]
        context = re.search("password is: ([a-z0-9]+)", text)
        return [*found, Finding("secret", "password", *context.span(1), 1.0, "patterns")] if context else found

    parts = [{"type": "text", "text": "The password is:"}, {"type": "text", "text": " hunter22, and a 4111"}]
    findings = inspect(request(parts), Look({"patterns": find}))
    assert [(at, one.label, one.start, one.end) for at, one in findings.spots] == [
        (1, "card", 17, 21),
        (1, "secret", 1, 9),
    ]
    assert findings.loose == ()
