"""Heavy work on what was learned of one edge target: a new fit, and a look at whether it can be certified.

`Work` holds copies and immutable values only, so that its `run` may happen in any thread while requests are served.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Final

import msgspec
import numpy as np

from ecotone.learning import certificate
from ecotone.learning.bounds import Floats
from ecotone.learning.certificate import HIGHEST, Certificate, Terms
from ecotone.learning.learner import Learner, Row, Scorer
from ecotone.learning.rows import Labelled
from ecotone.learning.traits import GROUP_LEVELS, Traits
from ecotone.learning.watch import Base
from ecotone.values.quality import Gate

HOPE_SHARE: Final = 0.04
"""A certificate for less of the traffic is not worth one of the looks, of which each makes the next one harder."""

HOPE_MOST: Final = 0.6
HOPE_PAIRS: Final = 1_000.0
"""A look is taken when it should certify this part of all that it ever could, or at this many pairs. Until then more
pairs are free, since all goes to the cloud; afterwards they cost, and come slowly."""

HOPE_POWER: Final = 0.8
"""Part of the pairs that make it four times of five: about an even chance is enough."""

HOPE_ROWS: Final = 150
HOPE_ROWS_MAX: Final = 600
"""Rows to learn from on which the hope rests: at least, and at most (the newest)."""

KEPT_MIN: Final = 0.1
"""With a gate on answers, the edge is not asked where less than this of its answers would be kept."""

GROUPS_MAX: Final = 32
"""Kinds of work whose calibration is watched one by one."""

_PRIOR: Final = 5.0

UNSEEN_MAX: Final = 0.2
"""A level of group keys that is new this often anyhow does not tell old work from new."""


class Frozen(msgspec.Struct, frozen=True):
    """The rule that a certificate is about, but for its threshold: it never changes.

    Attributes:
        skip_above: With a gate on answers: where the prompt's predicted gap is above this, the edge is not asked.
        level, known: A level of group keys, and its keys that were learned from. What has another one is work of a new
            kind, of which nothing is known: it goes to the cloud. With level -1 there is no such rule.
    """

    gate: Gate
    prompt: Scorer
    answer: Scorer | None = None
    skip_above: float = HIGHEST
    level: int = -1
    known: frozenset[int] = frozenset()

    def knows(self, traits: Traits) -> bool:
        """Whether work of this kind was learned from."""
        return self.level < 0 or traits.groups[self.level] in self.known

    def score(self, traits: Traits, signs: Floats | None, prompt_gap: float) -> float:
        """The gate's score; inf where the edge would not be asked."""
        if not self.knows(traits):
            return math.inf
        if self.gate is Gate.PROMPT:
            return prompt_gap
        if prompt_gap > self.skip_above or signs is None or self.answer is None:
            return math.inf
        return self.answer.guess(traits, signs)[0]

    def scores(self, rows: Sequence[Labelled]) -> tuple[Floats, Floats]:
        """((n,) the gate's score, inf where the edge would not be asked; (n,) the gap predicted from the prompt)."""
        traits = [row.traits for row in rows]
        prompt = self.prompt.scores(traits)
        is_asked = np.array([self.knows(one) for one in traits])
        score = prompt
        if self.gate is Gate.ANSWER:
            assert self.answer is not None
            score = self.answer.scores(traits, np.array([row.vector for row in rows]))
            is_asked &= prompt <= self.skip_above
        return np.where(is_asked, score, np.inf), prompt


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """What `Work.run` came to.

    Attributes:
        prompt, answer: Learners fitted anew; None where there was no need (or, of the second, no gate on answers).
        was_look: A verdict was asked of the pairs; it used up one of the looks.
        certificate: What was shown, of `frozen`; None where nothing was.
        pairs_needed: About how many more pairs would do; None where none would, or it is not known.
    """

    work: Work
    prompt: Learner | None = None
    answer: Learner | None = None
    was_look: bool = False
    certificate: Certificate | None = None
    frozen: Frozen | None = None
    base: Base | None = None
    pairs_needed: int | None = None


class Work(msgspec.Struct, frozen=True, kw_only=True):
    """Copies of all that a fit and a look need.

    Attributes:
        epoch: What was known when this was begun; if it is another at the end, the work is for nothing.
        number: Number of the newest row.
        rows, certify: Rows to learn from and to certify with, oldest first.
        plain: Of the rows to learn from, those that are a plain sample of the traffic.
        missing: Pairs drawn to certify that never came.
        terms: Terms of this look.
        is_fit: The learners should be fitted anew.
        is_look: Enough pairs came for a look.
        is_standing: A certificate stands: then the look is not asked whether it is hopeful.
    """

    model: str
    target: str
    epoch: int
    number: int
    gate: Gate
    rows: Sequence[Labelled]
    plain: Sequence[Labelled]
    certify: Sequence[Labelled]
    missing: int
    terms: Terms
    is_fit: bool
    is_look: bool
    is_standing: bool

    def run(self) -> Done:
        """Fits anew, and looks where it is time: a second or two. Touches nothing but copies."""
        signed = self._signed(self.rows)
        learned = signed if self.gate is Gate.ANSWER else self.rows
        more: int | None = None
        is_look = self.is_look and len(learned) >= HOPE_ROWS
        if is_look and not self.is_standing:
            wanted = self._wanted()
            is_look = wanted <= len(self.certify)
            more = None if is_look or math.isinf(wanted) else math.ceil(wanted) - len(self.certify)
        if not is_look and not self.is_fit:
            return Done(work=self, pairs_needed=more)
        prompt = Learner.fit([(row.traits, row.gap, None) for row in self.rows])
        answer = None
        if self.gate is Gate.ANSWER and signed:
            rows: list[Row] = [(row.traits, row.gap, row.vector) for row in signed]
            answer = Learner.fit(rows, signs=len(signed[0].signs) // 8)
        if not is_look:
            return Done(work=self, prompt=prompt, answer=answer, pairs_needed=more)
        return self._look(prompt, answer, learned)

    def _signed(self, rows: Sequence[Labelled]) -> list[Labelled]:
        """Those with signs, all of one length: the newest row's."""
        size = next((len(row.signs) for row in reversed(rows) if row.signs), 0)
        return [row for row in rows if row.signs and len(row.signs) == size]

    def _wanted(self) -> float:
        """Pairs from which on a look should pay; inf: hopeless.

        Either what would be certified is most of what ever could be; or the pairs are many, and something of use would
        be. Judged by rows that were learned from, each with what was foreseen before: what the pairs to certify say
        must not decide when they are asked.
        """
        rows = (self._signed(self.plain) if self.gate is Gate.ANSWER else list(self.plain))[-HOPE_ROWS_MAX:]
        if len(rows) < HOPE_ROWS:
            return math.inf
        scores, gaps = np.array([row.foreseen for row in rows]), np.array([row.gap for row in rows])
        passing = scores[:, None] <= certificate.thresholds(scores, gaps, self.terms.loss_max)
        shares = passing.mean(axis=0)
        wanted = HOPE_POWER * certificate.wanted_by_threshold(np.where(passing, gaps[:, None], 0.0), self.terms)
        ever = float(shares[np.isfinite(wanted)].max(initial=0.0))
        most, some = (
            float(wanted[shares >= share].min(initial=math.inf))
            for share in (max(HOPE_MOST * ever, HOPE_SHARE), HOPE_SHARE)
        )
        return min(most, max(some, HOPE_PAIRS))

    def _look(self, prompt: Learner, answer: Learner | None, learned: Sequence[Labelled]) -> Done:
        level, known = _level(learned)
        last = None if answer is None else answer.freeze()
        frozen = Frozen(self.gate, prompt.freeze(), last, level=level, known=known)
        if self.gate is Gate.ANSWER:
            frozen = msgspec.structs.replace(frozen, skip_above=_skip_above(frozen, learned, self.terms.loss_max))
        size = len(learned[-1].signs)
        pairs = [row for row in self.certify if self.gate is Gate.PROMPT or len(row.signs) == size]
        before, _ = frozen.scores(learned)
        gaps_before = np.array([row.gap for row in learned])
        asked = np.isfinite(before)
        limits = certificate.thresholds(before[asked], gaps_before[asked], self.terms.loss_max / asked.mean())
        scores, prompt_gaps = frozen.scores(pairs)
        gaps = np.array([row.gap for row in pairs])
        verdict = certificate.certify(
            scores, gaps, limits, self.terms,
            spread=certificate.spreads(before, gaps_before, limits, self.terms.loss_max),
            missing=self.missing + len(self.certify) - len(pairs),
        )  # fmt: skip
        shown = verdict.certificate
        return Done(
            work=self, prompt=prompt, answer=answer, was_look=True, certificate=shown, frozen=frozen,
            base=None if shown is None else _base(scores, prompt_gaps, pairs, frozen),
            pairs_needed=verdict.pairs_needed,
        )  # fmt: skip


def _skip_above(frozen: Frozen, rows: Sequence[Labelled], loss_max: float) -> float:
    """Where asking the edge first is hardly ever worth the wait, by rows that were learned from."""
    answers, prompts = frozen.scores(rows)
    gaps = np.array([row.gap for row in rows])
    order = np.argsort(answers, kind="stable")
    losses = np.cumsum(gaps[order]) / len(rows)
    passing = np.flatnonzero(losses <= loss_max)
    is_kept = np.zeros(len(rows), dtype=np.bool_)
    if len(passing):
        is_kept[order[: passing[-1] + 1]] = True
    for limit in np.quantile(prompts, np.arange(1, 50) / 50):
        above = prompts > limit
        if above.any() and is_kept[above].mean() < KEPT_MIN:
            return float(limit)
    return HIGHEST


def _level(rows: Sequence[Labelled]) -> tuple[int, frozenset[int]]:
    """(the most specific level of group keys that tells old work from new, its keys), by rows that were learned from.

    It does where few of the later rows have a key that none of the earlier ones had. Without any keys, it is the most
    specific level too, and says nothing.
    """
    half = len(rows) // 2
    for level in reversed(range(GROUP_LEVELS)):
        early = {row.traits.groups[level] for row in rows[:half]}
        unseen = sum(row.traits.groups[level] not in early for row in rows[half:])
        if unseen <= UNSEEN_MAX * (len(rows) - half):
            return level, frozenset(row.traits.groups[level] for row in rows)
    return -1, frozenset()


def _base(scores: Floats, prompt_gaps: Floats, pairs: Sequence[Labelled], frozen: Frozen) -> Base:
    """What the pairs behind a certificate look like to it."""
    asked = np.isfinite(scores)
    gaps = np.array([row.gap for row in pairs])
    edges = np.quantile(scores[asked], (0.25, 0.5, 0.75)) if asked.any() else np.zeros(3)
    places = np.sum(scores[:, None] > edges, axis=1)
    residuals = [_mean((gaps - scores)[asked & (places == place)]) for place in range(4)]
    quarters = np.quantile(prompt_gaps, (0.25, 0.5, 0.75))
    shares = (prompt_gaps[:, None] <= quarters).mean(axis=0)
    return Base(
        quarters=(float(quarters[0]), float(quarters[1]), float(quarters[2])),
        shares=(float(shares[0]), float(shares[1]), float(shares[2])),
        edges=(float(edges[0]), float(edges[1]), float(edges[2])),
        residuals=(residuals[0], residuals[1], residuals[2], residuals[3]),
        groups=_groups(gaps - np.where(asked, scores, gaps), pairs, frozen),
        level=frozen.level,
        known=frozen.known,
        unseen=sum(not frozen.knows(row.traits) for row in pairs) / len(pairs),
    )


def _groups(residuals: Floats, pairs: Sequence[Labelled], frozen: Frozen) -> dict[int, float]:
    """Mean residual by group key, of those that came most often; none where all requests have the same key.

    Args:
        residuals: (n,) gap less score; 0 where the edge would not be asked.
    """
    if len(frozen.known) < 2:
        return {}
    keys = [row.traits.groups[frozen.level] for row in pairs]
    counted = Counter(key for key in keys if key in frozen.known).most_common(GROUPS_MAX)
    sums: dict[int, float] = dict.fromkeys((key for key, _ in counted), 0.0)
    for key, residual in zip(keys, residuals.tolist(), strict=True):
        if key in sums:
            sums[key] += residual
    return {key: sums[key] / (count + _PRIOR) for key, count in counted}


def _mean(values: Floats) -> float:
    return float(values.mean()) if len(values) else 0.0


def level_delta(delta: float, attempt: int) -> float:
    """The level of one look, so that all looks together are wrong with probability `delta` at most.

    Args:
        attempt: Counts from 1.

    Source: 1 + 1/4 + 1/9 + ... = pi^2 / 6.
    """
    return delta * 6.0 / (math.pi * attempt) ** 2
