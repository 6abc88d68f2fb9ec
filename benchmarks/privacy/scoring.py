"""What a detector's spans are worth against labelled text: the one protocol that all privacy figures use. Pure.

Labels of the data come in three tiers: **T1** structured (e-mail, card, national id ...), **T2** names and street
addresses, **T3** the rest (place, organisation, date ...), which is no error where it was masked too.

- **Per label**: a gold span is found where predictions of the same label cover at least half of it; a prediction is
  right where gold of the same label covers at least half of it.
- **T1, T2, ALL (T1 + T2), the leak view**: a gold span is found only where predictions of any type that can be masked
  (T1, T2, places) cover 90 % of its letters and digits. A prediction (of T1 or T2) is right where gold
  of *any* label covers at least half of it. HELD is ALL in Ecotone's default policy, stricter on itself: places are
  free there, so they cover nothing.
- **Prompt level**: a text counts as positive where it has any T1 or T2 span; a hit is any T1 or T2 prediction.
- Where only that something must match is known, and not what (`spans: null`), a text counts in a tally of its own.
- **Alarms**: the share of ordinary texts, which hold nothing, with a prediction all the same.

F2 = 5 P R / (4 P + R) throughout: what was missed weighs more than what was masked without need.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

T1 = frozenset({"EMAIL", "PHONE", "CARD", "IBAN", "NATIONAL_ID", "IP", "ID", "SECRET", "HANDLE"})
T2 = frozenset({"PERSON", "ADDRESS"})
LEAK_SHARE = 0.9
OVERLAP_SHARE = 0.5
TIERS = ("T1", "T2", "ALL", "HELD")
MASKABLE = frozenset({"LOCATION"})
"""Labels of T3 that cover a span in the leak view. With this, Presidio's figures of the study come out to the digit."""
HELD = ("T1", "T2", "topic", "unknown")
"""Tiers of predictions that keep a text at the site."""


def tier_of(label: str) -> str:
    """The tier of one of the data's labels."""
    return "T1" if label in T1 else "T2" if label in T2 else "T3"


@dataclass(frozen=True)
class Span:
    """A stretch of a text, code points, with one of the data's labels."""

    start: int
    end: int
    label: str


@dataclass(frozen=True)
class Predicted:
    """What a detector said of a stretch of a text.

    Attributes:
        label: The data's label that it stands for.
        tier: `T1`, `T2`, `T3`; or, without a span (start == end), `topic`, or `unknown` where a detector cannot judge.
        also: Further labels of the data that it would be right for: a passport is `NATIONAL_ID` here and `ID` there.
    """

    start: int
    end: int
    label: str
    tier: str
    also: frozenset[str] = frozenset()
    confidence: float = 1.0

    def is_right_for(self, label: str) -> bool:
        """Whether gold of this label may be what it means."""
        return label == self.label or label in self.also


@dataclass(frozen=True)
class Document:
    """One labelled text.

    Attributes:
        spans: What is in it; None where only that something of `must_match` is in it is known.
        is_structured_only: Names in it are not labelled, so that predictions of T2 cannot be judged.
    """

    id: str
    text: str
    spans: tuple[Span, ...] | None
    must_match: str = ""
    is_structured_only: bool = False
    lang: str = ""
    source: str = ""

    @property
    def holds(self) -> frozenset[str]:
        """Tiers of what is in it."""
        if self.spans is None:
            return frozenset({tier_of(self.must_match)})
        return frozenset(tier_of(span.label) for span in self.spans)


def document(row: dict[str, Any]) -> Document:
    """A document from a line of the data (its README tells the form)."""
    spans = row["spans"]
    return Document(
        id=row["id"],
        text=row["text"],
        spans=None if spans is None else tuple(Span(*span) for span in spans),
        must_match=row.get("type", "") if spans is None else "",
        is_structured_only=bool(row.get("structured_only")),
        lang=row.get("lang", ""),
        source=row.get("src", ""),
    )


@dataclass
class Tally:
    """Counts behind one precision and one recall."""

    gold: int = 0
    found: int = 0
    predicted: int = 0
    right: int = 0

    @property
    def precision(self) -> float | None:
        """Share of the predictions that were right; None without one."""
        return self.right / self.predicted if self.predicted else None

    @property
    def recall(self) -> float | None:
        """Share of what was there that was found; None where nothing was."""
        return self.found / self.gold if self.gold else None

    @property
    def f2(self) -> float | None:
        """F2 of the two; None where nothing was there. No prediction at all is F2 = 0."""
        if self.recall is None:
            return None
        precision, recall = self.precision or 0.0, self.recall
        return 5 * precision * recall / (4 * precision + recall) if precision + recall else 0.0

    def shown(self) -> dict[str, Any]:
        """All of it, for the result file."""
        return {
            "gold": self.gold, "found": self.found, "predicted": self.predicted, "right": self.right,
            "precision": self.precision, "recall": self.recall, "f2": self.f2,
        }  # fmt: skip


@dataclass(frozen=True)
class Miss:
    """Something that was not found, or was predicted and is not there; for whoever mends a detector."""

    document: str
    is_alarm: bool
    label: str
    start: int
    end: int


@dataclass
class Score:
    """Everything that one system's predictions on one set came to."""

    labels: dict[str, Tally] = field(default_factory=dict)
    tiers: dict[str, Tally] = field(default_factory=lambda: {name: Tally() for name in TIERS})
    prompts: Tally = field(default_factory=Tally)
    unplaced: Tally = field(default_factory=Tally)
    documents: int = 0
    alarms: dict[str, int] = field(default_factory=lambda: {"T1": 0, "T2": 0, "topic": 0, "unknown": 0, "any": 0})
    ordinary: int = 0
    misses: list[Miss] = field(default_factory=list)

    def label(self, name: str) -> Tally:
        """The tally of a label."""
        return self.labels.setdefault(name, Tally())


def score(documents: Sequence[Document], predictions: Iterable[Sequence[Predicted]]) -> Score:
    """Scores one list of predictions per document."""
    result = Score()
    for one, predicted in zip(documents, predictions, strict=True):
        result.documents += 1
        if one.spans is None:
            _score_unplaced(result, one, predicted)
        else:
            _prompt(result, one, predicted)
            _score_labels(result, one, one.spans, predicted)
            _score_leaks(result, one, one.spans, predicted)
    return result


def _prompt(result: Score, one: Document, predicted: Sequence[Predicted]) -> None:
    """Prompt level and alarms. Where names are not labelled, a hit on one says nothing about precision."""
    tiers = {prediction.tier for prediction in predicted}
    is_positive, is_hit = bool(one.holds & {"T1", "T2"}), bool(tiers & {"T1", "T2"})
    result.prompts.gold += is_positive
    result.prompts.found += is_positive and is_hit
    if not one.is_structured_only or is_positive:
        result.prompts.predicted += is_hit
        result.prompts.right += is_hit and is_positive
    if one.spans == ():
        result.ordinary += 1
        for tier in HELD:
            result.alarms[tier] += tier in tiers
        result.alarms["any"] += bool(tiers & set(HELD))


def _score_unplaced(result: Score, one: Document, predicted: Sequence[Predicted]) -> None:
    """Where something must match: whether anything did that would be held back."""
    is_found = any(prediction.tier in ("T1", "T2") for prediction in predicted)
    result.unplaced.gold += 1
    result.unplaced.found += is_found
    if not is_found:
        result.misses.append(Miss(one.id, False, one.must_match, 0, len(one.text)))


def _score_labels(result: Score, one: Document, gold: Sequence[Span], predicted: Sequence[Predicted]) -> None:
    for span in gold:
        same = [prediction for prediction in predicted if prediction.is_right_for(span.label)]
        tally = result.label(span.label)
        tally.gold += 1
        tally.found += _covered(span, same) >= OVERLAP_SHARE * (span.end - span.start)
    for prediction in predicted:
        if prediction.start == prediction.end or _cannot_judge(one, prediction):
            continue
        same_gold = [span for span in gold if prediction.is_right_for(span.label)]
        is_right = _covered(prediction, same_gold) >= OVERLAP_SHARE * (prediction.end - prediction.start)
        # A right one counts for the label that the data gives it, a wrong one for its own.
        name = next((span.label for span in same_gold if _meet(span, prediction)), prediction.label)
        tally = result.label(name)
        tally.predicted += 1
        tally.right += is_right


def _score_leaks(result: Score, one: Document, gold: Sequence[Span], predicted: Sequence[Predicted]) -> None:
    held = [prediction for prediction in predicted if prediction.tier in ("T1", "T2")]
    masked = held + [one for one in predicted if one.tier == "T3" and one.label in MASKABLE]
    for span in gold:
        tier = tier_of(span.label)
        if tier == "T3":
            continue
        is_masked, is_held = _is_masked(one.text, span, masked), _is_masked(one.text, span, held)
        for name, is_found in ((tier, is_masked), ("ALL", is_masked), ("HELD", is_held)):
            result.tiers[name].gold += 1
            result.tiers[name].found += is_found
        if not is_held:
            result.misses.append(Miss(one.id, False, span.label, span.start, span.end))
    for prediction in held:
        if _cannot_judge(one, prediction):
            continue
        is_right = _covered(prediction, gold) >= OVERLAP_SHARE * (prediction.end - prediction.start)
        for name in (prediction.tier, "ALL", "HELD"):
            result.tiers[name].predicted += 1
            result.tiers[name].right += is_right
        if not is_right:
            result.misses.append(Miss(one.id, True, prediction.label, prediction.start, prediction.end))


def _cannot_judge(one: Document, prediction: Predicted) -> bool:
    """Names (not addresses, which are labelled) in a text whose names are not labelled."""
    return one.is_structured_only and prediction.tier != "T1" and prediction.label != "ADDRESS"


def _is_masked(text: str, span: Span, masked: Sequence[Predicted]) -> bool:
    """Whether 90 % of a span's letters and digits are covered by some prediction."""
    places = [place for place in range(span.start, span.end) if text[place].isalnum()]
    if not places:
        places = list(range(span.start, span.end))
    near = [prediction for prediction in masked if _meet(span, prediction)]
    covered = sum(any(one.start <= place < one.end for one in near) for place in places)
    # In whole numbers: 0.9 * 10 must be 9.
    return 10 * covered >= 9 * len(places)


def _covered(span: Span | Predicted, others: Sequence[Span | Predicted]) -> int:
    """Code points of a span that lie in any of the others."""
    near = sorted((one.start, one.end) for one in others if _meet(span, one))
    covered, reached = 0, span.start
    for start, end in near:
        begin, stop = max(start, reached), min(end, span.end)
        if stop > begin:
            covered += stop - begin
            reached = stop
    return covered


def _meet(one: Span | Predicted, other: Span | Predicted) -> bool:
    return one.start < other.end and other.start < one.end
