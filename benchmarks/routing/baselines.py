"""Other ways to rank prompts, in the same run on the same rows: what ours has to beat.

Each takes the prompts and gaps of the labelled rows and scores the others; a higher score needs the cloud more. They
are given what ours is given (no label of the test, no text of it to fit on).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import NamedTuple

import lightgbm
import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer
from sklearn.linear_model import Ridge
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ecotone.learning import Traits

Floats = NDArray[np.float64]
PSEUDO_LABELS = 8.0


class Rows(NamedTuple):
    """Some prompts: text, task, the product's traits (their hand figures are used here too)."""

    prompts: Sequence[str]
    tasks: Sequence[str]
    traits: Sequence[Traits]

    def take(self, places: NDArray[np.int64]) -> Rows:
        """Those at these places."""
        return Rows(*([column[place] for place in places] for column in self))

    def hand(self) -> Floats:
        """Hand figures, (n, HAND)."""
        return np.array([np.frombuffer(one.hand, np.float32) for one in self.traits], float)


Baseline = Callable[[Rows, Floats, Rows], Floats]


def random(seen: Rows, gaps: Floats, asked: Rows) -> Floats:
    """Dice."""
    return np.random.default_rng(len(seen.prompts)).random(len(asked.prompts))


def length(seen: Rows, gaps: Floats, asked: Rows) -> Floats:
    """Characters of the prompt; needs no label."""
    return np.array([float(len(prompt)) for prompt in asked.prompts])


def group_key(seen: Rows, gaps: Floats, asked: Rows) -> Floats:
    """The true task, each with its mean gap, shrunk towards the mean of all."""
    sums: dict[str, float] = {}
    counts: dict[str, int] = {}
    for task, gap in zip(seen.tasks, gaps.tolist(), strict=True):
        sums[task] = sums.get(task, 0.0) + gap
        counts[task] = counts.get(task, 0) + 1
    mean = float(gaps.mean())
    return np.array(
        [(sums.get(task, 0.0) + PSEUDO_LABELS * mean) / (counts.get(task, 0) + PSEUDO_LABELS) for task in asked.tasks]
    )


def ridge(seen: Rows, gaps: Floats, asked: Rows) -> Floats:
    """Ridge regression on hand figures and 64 topics (H + L)."""
    left, right = _dense(seen, asked)
    return np.asarray(Ridge(alpha=100.0).fit(left, gaps).predict(right))


def gbm(seen: Rows, gaps: Floats, asked: Rows) -> Floats:
    """LightGBM on the same."""
    left, right = _dense(seen, asked)
    model = lightgbm.LGBMRegressor(
        n_estimators=150, learning_rate=0.04, num_leaves=15, min_child_samples=20, subsample=0.8, subsample_freq=1,
        colsample_bytree=0.5, verbose=-1, n_jobs=1, random_state=0,
    )  # fmt: skip
    return np.asarray(model.fit(left, gaps).predict(right))


def neighbours(seen: Rows, gaps: Floats, asked: Rows) -> Floats:
    """Mean gap of the 100 nearest prompts by cosine of their topics."""
    left, right = _topics(seen.prompts, asked.prompts)
    model = KNeighborsRegressor(min(100, len(gaps)), metric="cosine", algorithm="brute")
    return np.asarray(model.fit(left, gaps).predict(right))


def ngrams(seen: Rows, gaps: Floats, asked: Rows) -> Floats:
    """Ridge regression on hashed 1-2-grams of words, weighted by rarity."""
    pipe = make_pipeline(
        HashingVectorizer(n_features=2**16, ngram_range=(1, 2), alternate_sign=False), TfidfTransformer()
    )
    return np.asarray(
        Ridge(alpha=3.0).fit(pipe.fit_transform(seen.prompts), gaps).predict(pipe.transform(asked.prompts))
    )


BASELINES: dict[str, Baseline] = {
    "random": random,
    "length": length,
    "group key (true task)": group_key,
    "ridge H+L": ridge,
    "LightGBM H+L": gbm,
    "kNN 100": neighbours,
    "hashed n-grams": ngrams,
}
QUICK = ("random", "length", "group key (true task)", "ridge H+L")


def _topics(seen: Sequence[str], asked: Sequence[str]) -> tuple[Floats, Floats]:
    """64 topics of hashed words, fitted on the labelled prompts alone."""
    size = min(64, len(seen) // 4)
    pipe = make_pipeline(
        HashingVectorizer(n_features=2**14, ngram_range=(1, 2), alternate_sign=False),
        TfidfTransformer(sublinear_tf=True),
        TruncatedSVD(size, random_state=0),
    )
    return np.asarray(pipe.fit_transform(seen)), np.asarray(pipe.transform(asked))


def _dense(seen: Rows, asked: Rows) -> tuple[Floats, Floats]:
    left, right = _topics(seen.prompts, asked.prompts)
    scaler = StandardScaler()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # figures that never move
        first = scaler.fit_transform(np.concatenate((seen.hand(), left), axis=1))
        second = scaler.transform(np.concatenate((asked.hand(), right), axis=1))
    return np.clip(first, -5.0, 5.0), np.clip(second, -5.0, 5.0)
