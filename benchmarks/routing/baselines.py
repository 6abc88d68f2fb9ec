"""Other ways to rank prompts, in the same run on the same rows: what ours has to beat.

Each takes the prompts and gaps of the labelled rows and scores the others; a higher score needs the cloud more. They
are given what ours is given (no label of the test, no text of it to fit on).
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import lightgbm
import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer
from sklearn.linear_model import Ridge
from sklearn.neighbors import KNeighborsRegressor
from sklearn.preprocessing import StandardScaler

from ecotone.learning import Traits

Floats = NDArray[np.float64]
PSEUDO_LABELS = 8.0


class Rows(NamedTuple):
    """Some prompts, as the baselines read them.

    Attributes:
        lengths: Characters, (n,).
        tasks: Number of the true task, (n,).
        hand: The product's hand figures, (n, HAND): they are given to the baselines too.
        words: Counts of hashed 1-2-grams of words, sparse (n, 2^16).
    """

    lengths: Floats
    tasks: NDArray[np.int64]
    hand: Floats
    words: Any

    @classmethod
    def of(cls, prompts: Sequence[str], tasks: Sequence[str], traits: Sequence[Traits]) -> Rows:
        """All prompts of a set."""
        hashing = HashingVectorizer(n_features=2**16, ngram_range=(1, 2), alternate_sign=False, norm=None)
        return cls(
            np.array([float(len(prompt)) for prompt in prompts]),
            np.unique(tasks, return_inverse=True)[1],
            np.array([np.frombuffer(one.hand, np.float32) for one in traits], float),
            hashing.transform(prompts),
        )

    def take(self, places: NDArray[np.int64]) -> Rows:
        """Those at these places."""
        return Rows(*(column[places] for column in self))


def random(seen: Rows, gaps: Floats, asked: Rows) -> Floats:
    """Dice."""
    return np.random.default_rng(len(gaps)).random(len(asked.lengths))


def length(seen: Rows, gaps: Floats, asked: Rows) -> Floats:
    """Characters of the prompt; needs no label."""
    return asked.lengths


def group_key(seen: Rows, gaps: Floats, asked: Rows) -> Floats:
    """The true task, each with its mean gap, shrunk towards the mean of all."""
    tasks = int(max(seen.tasks.max(), asked.tasks.max())) + 1
    sums = np.bincount(seen.tasks, gaps, minlength=tasks) + PSEUDO_LABELS * gaps.mean()
    means: Floats = sums / (np.bincount(seen.tasks, minlength=tasks) + PSEUDO_LABELS)
    return means[asked.tasks]


def dense(seen: Rows, gaps: Floats, asked: Rows) -> dict[str, Floats]:
    """Ridge regression and LightGBM on hand figures and 64 topics (H + L), and the 100 nearest by topics."""
    weights = TfidfTransformer(sublinear_tf=True)
    topics = TruncatedSVD(min(64, len(gaps) // 4), random_state=0)
    left = topics.fit_transform(weights.fit_transform(seen.words))
    right = topics.transform(weights.transform(asked.words))
    near = KNeighborsRegressor(min(100, len(gaps)), metric="cosine", algorithm="brute").fit(left, gaps)
    scaler = StandardScaler()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # figures that never move
        first = np.clip(scaler.fit_transform(np.concatenate((seen.hand, left), axis=1)), -5.0, 5.0)
        second = np.clip(scaler.transform(np.concatenate((asked.hand, right), axis=1)), -5.0, 5.0)
    trees = lightgbm.LGBMRegressor(
        n_estimators=150, learning_rate=0.04, num_leaves=15, min_child_samples=20, subsample=0.8, subsample_freq=1,
        colsample_bytree=0.5, verbose=-1, n_jobs=1, random_state=0,
    )  # fmt: skip
    return {
        "ridge H+L": np.asarray(Ridge(alpha=100.0).fit(first, gaps).predict(second)),
        "LightGBM H+L": np.asarray(trees.fit(first, gaps).predict(second)),
        "kNN 100": np.asarray(near.predict(right)),
    }


def ngrams(seen: Rows, gaps: Floats, asked: Rows) -> Floats:
    """Ridge regression on hashed 1-2-grams of words, weighted by rarity."""
    weights = TfidfTransformer()
    model = Ridge(alpha=3.0).fit(weights.fit_transform(seen.words), gaps)
    return np.asarray(model.predict(weights.transform(asked.words)))


def ranked(seen: Rows, gaps: Floats, asked: Rows) -> dict[str, Floats]:
    """What each baseline says of the prompts asked for."""
    found = {
        "random": random(seen, gaps, asked),
        "length": length(seen, gaps, asked),
        "group key (true task)": group_key(seen, gaps, asked),
    }
    return {**found, **dense(seen, gaps, asked), "hashed n-grams": ngrams(seen, gaps, asked)}
