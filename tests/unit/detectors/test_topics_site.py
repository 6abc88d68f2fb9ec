"""A site's own topics: an invented project, told from ordinary work by thirty examples."""

from __future__ import annotations

import pytest

from ecotone.detectors.topics import Topics, make
from ecotone.detectors.topics_site import EXAMPLES_MAX
from ecotone.values import ConfigError

PROJECT = [
    "The Halcyon test rig failed again, the second membrane tore at 14 bar.",
    "We moved the Halcyon pilot to hall 3, the foil supplier is Brennecke.",
    "Can you summarise the notes on the Halcyon electrolyser stack?",
    "The stack of the new electrolyser loses four percent of efficiency after 300 hours.",
    "Draft an email to Brennecke: the membrane foil is too thin at the edge.",
    "Iridium loading on the anode was cut by half in run 27.",
    "Write a status report for Halcyon: stack 2 is assembled, the seal still leaks.",
    "Why might our anode coating peel off after wet and dry cycles?",
    "Halcyon budget: foil, iridium, and the test bench in hall 3.",
    "Run 31 gave 1.9 volts at two amps per square centimetre, better than run 27.",
    "Make slides on the degradation of our membrane.",
    "The leak at the gasket of stack 2 comes from the torque on the tie rods.",
    "Halcyon: who has the key of hall 3?",
    "We plan to file a patent on the porous layer with the laser pattern.",
    "Put these into a table: run, voltage, iridium loading, hours.",
    "Please translate the spec of the porous transport layer for Brennecke.",
    "electrolyser log: purge, heat up to 80, ramp to 200 amps, hold",
    "The customer for the pilot is the steelworks in Linz, keep it internal.",
    "How can we cut the iridium in the catalyst further without losing hours?",
    "Fix the script that plots the polarisation curves of the stack.",
    "Halcyon milestone M4 slips by three weeks because of the foil.",
    "Compare run 27 and run 31 and explain the voltage drop.",
    "the steelworks wants 5 megawatts by spring, our stack makes 0.8",
    "Write the test plan for the new gasket of stack 2.",
    "List the risks of Halcyon: foil supply, iridium price, sealing.",
    "We saw pinholes in the membrane under the microscope.",
    "Answer the question of the steelworks about the hydrogen purity.",
    "Internal: the cost of the stack is now 610 per kilowatt.",
    "Explain the cell voltage rise in the last 50 hours of our stack.",
    "Prepare the Halcyon review with the board.",
]
UNSEEN = [
    "Give me an outline for the Halcyon board meeting in June.",
    "What does Brennecke say about the foil's thickness?",
    "Our membrane tears whenever we go above fourteen bar, any ideas?",
    "summarize the hall 3 shift log: ramped to 200 amps, voltage climbed",
    "Rewrite for the steelworks in Linz: delivery of the pilot stack moves to autumn.",
    "Compute the iridium we would need for 5 megawatts at half loading.",
    "The gasket leaked again after we retorqued the tie rods.",
    "Plot voltage against hours for runs 27 to 33.",
    "Is the catalyst coating flaking because of the drying step?",
    "halcyon stack cost per kilowatt, make a chart",
]
ORDINARY = [
    "Write a script that plots temperatures by day.",
    "Draft an email to all customers: the shop is closed on Monday.",
    "Prepare slides for pupils on the planets.",
    "Explain how central banks set interest rates.",
    "Give me a recipe for lentil soup.",
    "Fix this: for i in range(len(xs)): print(xs[i])",
    "Write a poem about autumn in a small village.",
    "What is the capital of Australia?",
    "Plan a weekend in Lisbon.",
    "Summarise the plot of Hamlet.",
]
ILLNESS = "My husband was diagnosed with leukaemia last week and starts chemotherapy on Monday."


def examples(label: str, texts: list[str]) -> list[dict[str, str]]:
    return [{"label": label, "text": text} for text in texts]


@pytest.fixture(scope="module")
def site() -> Topics:
    return make({"topics_examples": examples("project_halcyon", PROJECT)})


def has(topics: Topics, label: str, text: str) -> bool:
    return any(finding.label == label for finding in topics.find([text])[0])


def test_sees_paraphrases_that_it_was_not_given(site: Topics) -> None:
    seen = [text for text in UNSEEN if has(site, "project_halcyon", text)]
    assert len(seen) >= 8


def test_hardly_sees_the_project_in_ordinary_work_nor_in_other_topics(site: Topics) -> None:
    wrong = [text for text in [*ORDINARY, ILLNESS] if has(site, "project_halcyon", text)]
    assert len(wrong) <= 1


def test_what_was_wrongly_seen_passes_once_it_is_among_the_examples(site: Topics) -> None:
    wrong = [text for text in ORDINARY if has(site, "project_halcyon", text)] or ORDINARY[:1]
    mended = make({"topics_examples": examples("project_halcyon", PROJECT) + examples("none", wrong)})
    assert not [text for text in wrong if has(mended, "project_halcyon", text)]
    assert sum(has(mended, "project_halcyon", text) for text in UNSEEN) >= 8


def test_the_built_in_topics_are_seen_as_before(site: Topics) -> None:
    assert has(site, "medical", ILLNESS)
    assert not [text for text in ORDINARY if {one.label for one in site.find([text])[0]} - {"project_halcyon"}]


def test_its_findings_look_like_the_others(site: Topics) -> None:
    (finding,) = [one for one in site.find([PROJECT[0]])[0] if one.label == "project_halcyon"]
    assert (finding.kind, finding.start, finding.end, finding.detector) == ("topic", 0, 0, "topics")
    assert 0.5 <= finding.confidence <= 1


def test_examples_of_a_built_in_label_are_a_second_way_to_find_it() -> None:
    before = make({})
    after = make({"topics_examples": examples("legal", PROJECT)})
    text = UNSEEN[4]
    assert not has(before, "legal", text)
    assert has(after, "legal", text)
    assert has(after, "medical", ILLNESS)


def test_examples_that_must_pass_do_pass_and_open_no_door() -> None:
    plain = make({})
    harmless = [
        "Ward 7 letter template: dear patient, your operation is planned, please bring your insurance card.",
        "Ward 7 letter template: dear patient, your blood test is planned, please come with an empty stomach.",
        "Ward 7 letter template: dear patient, your stay has been extended, your doctor will talk to you.",
        ILLNESS.replace("My husband", "The hero of our radio play"),
    ]
    taught = make({"topics_examples": examples("none", harmless)})
    assert all(found == [] for found in taught.find(harmless))
    other = "I owe 14,000 on three credit cards and cannot pay the rent this month. What should I tell the bank?"
    assert has(plain, "financial", other)
    assert has(taught, "financial", other)


def test_the_version_tells_what_was_learned(site: Topics) -> None:
    again = make({"topics_examples": examples("project_halcyon", PROJECT)})
    fewer = make({"topics_examples": examples("project_halcyon", PROJECT[:20])})
    assert site.version == again.version
    assert len({make({}).version, site.version, fewer.version}) == 3
    assert make({"topics_examples": []}).version == make({}).version
    assert len(site.version) <= 64


def test_two_labels_are_told_apart() -> None:
    kitchen = ["The sauce of the summer menu needs less salt and more tarragon."] * 1 + [
        f"Summer menu, dish {at}: trout with tarragon sauce, sent back by table {at}." for at in range(12)
    ]
    both = make({"topics_examples": examples("project_halcyon", PROJECT) + examples("menu", kitchen)})
    assert has(both, "menu", "Which dish of the summer menu was sent back?")
    assert not has(both, "menu", UNSEEN[0])
    assert has(both, "project_halcyon", UNSEEN[0])


@pytest.mark.parametrize(
    ("given", "place"),
    [
        ("no list", "topics_examples"),
        ([{"label": "a"}], "text"),
        ([{"label": "a", "text": "x", "colour": "red"}], "colour"),
        ([{"label": "Big Label", "text": "x"}], r"\[0\]\.label"),
        ([{"label": "a", "text": "x"}, {"label": "a", "text": "  "}], r"\[1\]\.text"),
        ([{"label": "a", "text": "x"}] * (EXAMPLES_MAX + 1), str(EXAMPLES_MAX)),
    ],
)
def test_what_is_no_example_is_refused_by_its_place(given: object, place: str) -> None:
    with pytest.raises(ConfigError, match=place) as raised:
        make({"topics_examples": given})
    assert raised.value.code == "topics.examples"


def test_a_refusal_does_not_repeat_the_text() -> None:
    with pytest.raises(ConfigError) as raised:
        make({"topics_examples": [{"label": "secret words here", "text": "PLANTED-SECRET"}]})
    assert "PLANTED" not in str(raised.value)
    assert "secret words" not in str(raised.value)
