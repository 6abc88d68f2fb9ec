"""People, places and organisations, as the detector with its real English model and lists sees them."""

from __future__ import annotations

import itertools

import pytest

from ecotone.detectors import names, names_latin, names_lists, names_text
from ecotone.detectors.names_rules import Rules


@pytest.fixture(scope="module")
def detector():
    return names.make({"names_zh": False})


@pytest.fixture(scope="module")
def rules():
    return Rules(names_lists.read())


def people(detector, text):
    """The people seen in a text."""
    return [text[one.start : one.end] for one in detector.find([text])[0] if one.label == "person"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Please ask Maria Lopez about it.", ["Maria Lopez"]),
        ("Dear Mr. Okonkwo,\nthe parcel is late.", ["Okonkwo"]),
        ("Hi Zsófia, can you call back?", ["Zsófia"]),
        ("See you then.\n\nBest regards,\nTomasz Wierzba", ["Tomasz Wierzba"]),
        ("Patient: Holloway, Janet\nRoom: 12", ["Holloway, Janet"]),
        ("my name is john smith and i need help", ["john smith"]),
        ("call sarah connor tomorrow about the invoice", ["sarah connor"]),
        ("my wife emily is in hospital", ["emily"]),
        ("They had four: Maria, Kelly, Nadja and Gregory.", ["Maria", "Kelly", "Nadja", "Gregory"]),
        ("Sehr geehrte Frau Dr. Schönbrunner, vielen Dank.", ["Schönbrunner"]),
        ("Ich heiße Jürgen Kowalczyk und wohne in Bremen.", ["Jürgen Kowalczyk"]),
        ("Mit freundlichen Grüßen\nAnke Petersen", ["Anke Petersen"]),
        ("Je m'appelle Chloé Lefèvre et je voudrais un rendez-vous.", ["Chloé Lefèvre"]),
        ("Me llamo Rocío Fernández y vivo en Sevilla.", ["Rocío Fernández"]),
        ("Gentile Giulia Bianchi, il suo ordine è pronto.", ["Giulia Bianchi"]),
        ("Mijn naam is Sanne de Vries, ik bel over de rekening.", ["Sanne de Vries"]),
        ("This is Timothy Dawson's car.", ["Timothy Dawson"]),
        ('{"first_name": "Aisha", "last_name": "Okafor"}', ["Aisha", "Okafor"]),
        ("2,van Dijk, Pieter,p@x.example", ["van Dijk, Pieter"]),
        (
            "Attendees: Yuki Tanaka, Sven Bergström, Fatima Al-Sayed",
            ["Yuki Tanaka", "Sven Bergström", "Fatima Al-Sayed"],
        ),
        ('"I will not go," said Marchetti.', ["Marchetti"]),
        ("patient mr. arjun mehta, seen by dr. lowe", ["arjun mehta", "lowe"]),
        ("ask Katarina's brother", ["Katarina"]),
        ("my friend marcus got a dog", ["marcus"]),
    ],
)
def test_people_are_seen(detector, text, expected):
    assert people(detector, text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Explain how insulin works and list three side effects.",
        "What is the capital of Texas? Compare it with China.",
        "In May we will grant the mark to Grace Period Holdings if there is hope.",
        "def john_smith(x):\n    return Maria.Lopez(x)\n",
        "Dear customer support team,\nthe app crashes.",
        "Die Kosten der Wahl sind hoch.",
        "Who are you? I'm an assistant.",
        'name: "GetWeather"',
        "name: API",
        "user@maria.example and /home/maria/file",
    ],
)
def test_ordinary_text_holds_nobody(detector, text):
    assert people(detector, text) == []


def test_places_and_organisations_have_labels_of_their_own(detector):
    text = "Acme Corporation opened an office in Berlin last year."
    assert {(one.label, text[one.start : one.end]) for one in detector.find([text])[0]} == {
        ("organisation", "Acme Corporation"),
        ("place", "Berlin"),
    }


def test_findings_do_not_overlap_and_lie_inside(detector):
    text = "Hi Maria Lopez,\nDr. Maria Lopez-Garcia met Frau Anna Schmidt in Paris, Texas.\nBest, Anna" * 20
    found = detector.find([text])[0]
    assert found
    for one, following in itertools.pairwise(found):
        assert 0 <= one.start < one.end <= following.start <= len(text)


def test_it_answers_the_same_again(detector):
    texts = ["Ask Maria Lopez.", "", "Ask Maria Lopez."]
    one, two = detector.find(texts), detector.find(texts)
    assert one == two
    assert one[0] == one[2]


@pytest.mark.parametrize(
    ("text", "script"),
    [
        ("Спросите Ивана Петрова", "cyrillic"),
        ("山田さんに聞いてください", "ja"),
        ("김민수에게 물어보세요", "ko"),
        ("اسأل محمد", "arabic"),
        ("שאל את דוד", "hebrew"),
        ("Ρώτα τον Γιώργο", "greek"),
        ("राम से पूछो", "indic"),
        ("ถามสมชาย", "thai"),
        ("ჰკითხე გიორგის", "other"),
        ("请问王小明", "zh"),
    ],
)
def test_a_script_without_a_model_is_unknown(detector, text, script):
    kinds = {one.kind for one in detector.find([text])[0] if one.label == "unknown"}
    assert f"no_model:{script}" in kinds
    assert all(one.start == one.end == 0 for one in detector.find([text])[0] if one.label == "unknown")


@pytest.mark.parametrize("text", ["α + β", "2 ≤ x", "naïve café", "ok 👍", "Ωμ", "“quoted” – text"])
def test_signs_of_another_script_are_no_words_of_it(detector, text):
    assert not any(one.label == "unknown" for one in detector.find([text])[0])


def test_half_a_character_spoils_nothing(detector):
    assert people(detector, "\ud800 Ask Maria Lopez.") == ["Maria Lopez"]


def test_the_version_tells_rules_lists_and_models(detector):
    assert detector.version == f"{names.RULES}-{names_lists.read().digest}+en-{names_latin.VERSION}"


def test_another_version_of_the_model_is_refused(monkeypatch):
    monkeypatch.setattr(names_latin, "VERSION", "0.0.0")
    with pytest.raises(ValueError, match="what was measured"):
        names_latin.Latin(names_lists.read())


def test_words_that_were_read_are_forgotten(monkeypatch):
    latin = names_latin.Latin(names_lists.read())
    monkeypatch.setattr(names_latin, "FRESH_MAX", 100)
    before, strings = len(latin._model.vocab.strings), latin._model.vocab.strings
    seen = set()
    for number in range(200):
        found = latin.find(list(names_text.prose(f"Ask Maria Lopez of ward q{number}x about case k{number}.")))
        seen.add(tuple((each.start, each.end, each.label) for each in found if each.label == "person"))
        assert len(strings) < before + 150
    assert "q0x" not in strings
    assert seen == {((4, 15, "person"),)}


def test_a_vocabulary_that_grew_is_made_anew(monkeypatch):
    latin = names_latin.Latin(names_lists.read())
    monkeypatch.setattr(names_latin, "MET_MAX", 3)
    before = latin._model
    latin.find(list(names_text.prose("Ask Maria Lopez of ward q1x.")))
    assert latin.find(list(names_text.prose("Ask Maria Lopez of ward q2x.")))
    assert latin._model is not before


def test_fast_and_slow_arithmetic_agree():
    import spacy

    slow = spacy.load(names_latin.PACKAGE, exclude=names_latin.UNUSED)
    latin = names_latin.Latin(names_lists.read(), bonus={})
    text = "Yesterday Angela Merkel met Tim Cook of Apple Inc. in Cupertino, and 20 others at Harvard University."
    assert [(each.text, each.label_) for each in slow(text).ents] == [
        (text[start:end], label) for start, end, label in latin.raw(text)
    ]


@pytest.mark.parametrize("text", ["a_" * 50_000, "A " * 50_000, "Dear " * 20_000, "name: " * 20_000, "and, " * 20_000])
def test_no_text_makes_a_rule_slow(rules, text):
    rules.find(text)
    assert list(names_text.prose(text)) is not None


def test_chunks_stand_where_they_say_and_hold_no_code():
    text = (
        "Ask Maria.\n\ndef f(x):\n    return x\n" + "Then call John Smith. " * 200 + "\n```\nJohn\n```\nEnd of Text\n"
    )
    chunks = list(names_text.prose(text))
    assert all(text[chunk.start : chunk.start + len(chunk.text)] == chunk.text for chunk in chunks)
    assert all(len(chunk.text) <= names_text.CHUNK_CHARS for chunk in chunks)
    joined = "".join(chunk.text for chunk in chunks)
    assert "def f" not in joined
    assert "```" not in joined
    assert joined.count("John Smith") == 200


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("The house is on the hill.", "en"),
        ("Das Haus steht auf dem Berg.", "de"),
        ("La maison est sur la colline, et vous le savez.", "fr"),
        ("La casa está en la colina y es muy grande.", "es"),
        ("La casa è sulla collina, e gli alberi sono alti.", "it"),
        ("Het huis staat op een heuvel en ik zie het niet.", "nl"),
        ("42", "en"),
    ],
)
def test_the_language_is_guessed(text, language):
    assert names_text.language(text) == language
