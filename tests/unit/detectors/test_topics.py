"""The detector `topics`: what it sees, what it lets pass, and that it fails closed."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

from ecotone.detectors import topics_embedding
from ecotone.detectors.topics import Topics, make
from ecotone.detectors.topics_embedding import load_embedding, package_folder
from ecotone.detectors.topics_heads import BUILT_IN, load_heads
from ecotone.detectors.topics_windows import BLOCK, BUCKETS, WINDOW_BLOCKS, windows
from ecotone.values import TrustError

DATA = Path(topics_embedding.__file__).parent

MATTERS = {
    "medical": "My husband was diagnosed with leukaemia last week and starts chemotherapy on Monday, I am so afraid.",
    "legal": "My landlord sent me an eviction notice and I have to go to court in March, how do I defend myself?",
    "financial": "I owe 14,000 on three credit cards and cannot pay the rent this month. What should I tell the bank?",
    "hr": "Here is my CV: nurse at a hospital since 2015, unemployed since May. Please write my application letter.",
    "private_mail": 'She wrote me last night: "I do not love you any more, please do not call." How do I answer her?',
}
ORDINARY = [
    "Explain how insulin works in the body.",
    "Write a contract template for a SaaS subscription.",
    "What is compound interest? Give an example.",
    "Write a job advert for a gardener in our park.",
    "Write a Python function that reverses a list, with tests.",
    "Give me a recipe for lentil soup for four people.",
    "Translate into French: the museum opens at ten.",
    "Plan three days in Lisbon with museums and good food.",
    "def total(rows):\n    return sum(row['amount'] for row in rows)\n",
    "The meeting is at ten in room 4.",
    "Who wrote Moby Dick?",
]
FILLER = "The bridge over the river was built in 1880 and has two towers. Ships pass below it every day. " * 60


@pytest.fixture(scope="module")
def topics() -> Topics:
    return make({})


def labels(topics: Topics, text: str) -> set[str]:
    return {finding.label for finding in topics.find([text])[0]}


@pytest.mark.parametrize("label", BUILT_IN)
def test_sees_a_persons_matter(topics: Topics, label: str) -> None:
    assert label in labels(topics, MATTERS[label])


@pytest.mark.parametrize(
    "text",
    [
        "Mein Mann hat Krebs im Endstadium und will nicht ins Hospiz, wie rede ich mit ihm?",
        "Ma mère a eu un AVC la semaine dernière et je dois en parler au médecin.",
        "Debo 9.000 euros al banco y no puedo pagar el alquiler de este mes.",
        "我老公上周确诊了肺癌，我不知道怎么跟孩子说。",
        "my wife has breast cancer and i dont know what to tell the kids",
    ],
)
def test_sees_it_in_other_languages_and_in_lower_case(topics: Topics, text: str) -> None:
    assert labels(topics, text) & set(BUILT_IN)


def test_lets_ordinary_work_pass(topics: Topics) -> None:
    flagged = [text for text, found in zip(ORDINARY, topics.find(ORDINARY), strict=True) if found]
    assert not flagged


def test_a_finding_means_the_whole_text(topics: Topics) -> None:
    (found,) = topics.find([MATTERS["medical"]])
    for finding in found:
        assert (finding.kind, finding.start, finding.end, finding.detector) == ("topic", 0, 0, "topics")
        assert 0.5 < finding.confidence <= 1
    assert len({finding.label for finding in found}) == len(found)


def test_one_paragraph_in_a_long_text_is_enough(topics: Topics) -> None:
    assert not topics.find([FILLER])[0]
    middle = len(FILLER) // 2
    paragraph = " ".join([MATTERS["medical"]] * 4)
    for at in (0, middle, len(FILLER)):
        assert "medical" in labels(topics, FILLER[:at] + "\n" + paragraph + "\n" + FILLER[at:])


@pytest.mark.parametrize(
    "text", ["", " ", "\n\n", "\x00", "\x1e", "\ud800", "\ud800 hello \udfff", "🙂" * 40, "a" * 20_000]
)
def test_odd_texts_are_no_topics(topics: Topics, text: str) -> None:
    assert topics.find([text]) == [[]]


def test_a_long_text_without_a_space_takes_no_longer_than_its_length(topics: Topics) -> None:
    assert len(topics.find(["x" * 200_000])) == 1


@pytest.mark.parametrize(
    "text",
    [
        "У моего мужа нашли рак, и я не знаю, что сказать детям.",
        "夫ががんと診断されました。子どもたちにどう話せばいいのかわかりません。",
        "أخبرني الطبيب أن زوجي مصاب بالسرطان ولا أعرف ماذا أفعل",
        "남편이 암 진단을 받았는데 아이들에게 어떻게 말해야 할지 모르겠어요",
    ],
)
def test_a_script_that_was_not_trained_on_is_unknown(topics: Topics, text: str) -> None:
    (found,) = topics.find([text])
    assert [(finding.label, finding.kind) for finding in found] == [("unknown", "no_model")]


def test_a_word_of_another_script_is_not_a_text_of_it(topics: Topics) -> None:
    assert topics.find(
        ["Write the Greek word αλφα on the blackboard and explain where our word alphabet comes from."]
    ) == [[]]


def test_the_same_text_is_seen_the_same_alone_and_among_others(topics: Topics) -> None:
    texts = [*MATTERS.values(), *ORDINARY]
    assert topics.find(texts) == [topics.find([text])[0] for text in texts]
    assert make({}).find(texts) == topics.find(texts)
    assert make({}).version == topics.version


def test_windows_cover_every_token() -> None:
    table = np.eye(8, dtype=np.float32)
    tokens = np.array([3] * 5)
    assert windows(tokens, table).shape == (1, 8 + BUCKETS)
    long = np.array([1] * (BLOCK * WINDOW_BLOCKS + 1) + [7])
    rows = windows(long, table)
    assert len(rows) == 2
    assert rows[0, 7] == 0
    assert rows[1, 7] > 0


def test_repeating_an_ngram_does_not_count_twice() -> None:
    table = np.eye(8, dtype=np.float32)
    row = windows(np.array([5] * 40), table)[0, 8:]
    assert np.abs(row).max() == pytest.approx(0.125 / np.sqrt(40))


def test_without_the_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(ModuleNotFoundError, match="wordllama") as raised:
        make({})
    assert raised.value.name == "wordllama"


def test_the_package_is_found_without_being_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "wordllama", raising=False)
    assert (package_folder() / "weights").is_dir()
    assert "wordllama" not in sys.modules


def _copy(source: Path, target: Path, names: list[str]) -> None:
    for name in names:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        (target / name).write_bytes((source / name).read_bytes())


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


EMBEDDING_FILES = ["weights/l2_supercat_256.safetensors", "tokenizers/l2_supercat_tokenizer_config.json"]


@pytest.mark.parametrize("damaged", EMBEDDING_FILES)
def test_a_changed_embedding_is_refused(tmp_path: Path, damaged: str) -> None:
    _copy(package_folder(), tmp_path, EMBEDDING_FILES)
    _flip(tmp_path / damaged)
    with pytest.raises(TrustError) as raised:
        load_embedding(tmp_path)
    assert raised.value.code == "topics.embedding"


def test_a_missing_embedding_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrustError, match=r"topics\.embedding"):
        load_embedding(tmp_path)


def test_changed_weights_are_refused(tmp_path: Path) -> None:
    _copy(DATA, tmp_path, ["topics.npz", "topics.json"])
    assert load_heads(tmp_path).version == load_heads().version
    _flip(tmp_path / "topics.npz")
    with pytest.raises(TrustError, match=r"topics\.weights"):
        load_heads(tmp_path)


@pytest.mark.parametrize("card", [b"", b"{}", b'{"sha256": 1}'])
def test_a_damaged_card_is_refused(tmp_path: Path, card: bytes) -> None:
    _copy(DATA, tmp_path, ["topics.npz"])
    (tmp_path / "topics.json").write_bytes(card)
    with pytest.raises(TrustError, match=r"topics\.weights"):
        load_heads(tmp_path)


def test_the_weights_stay_small() -> None:
    assert (DATA / "topics.npz").stat().st_size < 500_000
