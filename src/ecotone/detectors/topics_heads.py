"""The heads of `topics`: one logistic regression a label, and the file in which they are kept."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from ecotone.detectors.topics_windows import Windows
from ecotone.values import TrustError

__all__ = ["BUILT_IN", "Card", "Heads", "load_heads"]

BUILT_IN: Final = ("medical", "legal", "financial", "hr", "private_mail")
_FOLDER: Final = Path(__file__).parent


class Card(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What `topics.json` says of `topics.npz`.

    Attributes:
        sha256: Digest of the weights' file.
        thresholds: For each label, the logit above which a window is of that topic.
        seed: Of the training's dice.
        trained_on: Windows in the training.
    """

    sha256: str
    thresholds: dict[str, float]
    seed: int
    trained_on: int


class Heads(msgspec.Struct, frozen=True):
    """Weights of all labels.

    Attributes:
        labels: In the order of the columns.
        dense: Weights of a window's vector. Shape (dimensions, labels).
        hashed: Weights of the n-grams' buckets. Shape (buckets, labels).
        bias: Shape (labels,).
        thresholds: Logits. Shape (labels,).
        version: Changes with the weights.
        background: Token numbers of ordinary texts and of texts of the built-in topics, one after the other: what a
            site's own topics are told from.
        ends: Where each text of `background` ends.
        marks: Which labels each of those texts has. Shape (texts, labels).
    """

    labels: tuple[str, ...]
    dense: NDArray[np.float32]
    hashed: NDArray[np.float32]
    bias: NDArray[np.float32]
    thresholds: NDArray[np.float32]
    version: str
    background: NDArray[np.int64]
    ends: NDArray[np.int64]
    marks: NDArray[np.bool_]

    def logits(self, seen: Windows) -> NDArray[np.float32]:
        """Of each window and label. Shape (windows, labels)."""
        logits: NDArray[np.float32] = seen.means @ self.dense + seen.sums(self.hashed) + self.bias
        return logits


def load_heads(folder: Path = _FOLDER) -> Heads:
    """Reads the weights that came with Ecotone.

    Raises:
        TrustError: `topics.weights`: they are missing or damaged.
    """
    try:
        card = msgspec.json.decode((folder / "topics.json").read_bytes(), type=Card)
        content = (folder / "topics.npz").read_bytes()
    except (OSError, msgspec.MsgspecError) as error:
        raise TrustError("topics.weights", f"{folder}: topics.json, topics.npz: {type(error).__name__}") from None
    if hashlib.sha256(content).hexdigest() != card.sha256:
        raise TrustError("topics.weights", f"{folder / 'topics.npz'}: damaged: install ecotone again")
    with np.load(io.BytesIO(content), allow_pickle=False) as kept:
        return Heads(
            labels=BUILT_IN,
            dense=kept["dense"].astype(np.float32),
            hashed=kept["hashed"].astype(np.float32) * kept["scale"].astype(np.float32),
            bias=kept["bias"].astype(np.float32),
            thresholds=np.array([card.thresholds[label] for label in BUILT_IN], np.float32),
            version=f"topics-{card.sha256[:12]}",
            background=kept["background"].astype(np.int64),
            ends=kept["ends"].astype(np.int64),
            marks=kept["marks"].astype(np.bool_),
        )
