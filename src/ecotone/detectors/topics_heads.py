"""The heads of `topics`: a small network from a window's row to 'somebody's matter' and to each label, and its file."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from ecotone.values import TrustError

__all__ = ["BUILT_IN", "Card", "Heads", "load_heads"]

BUILT_IN: Final = ("medical", "legal", "financial", "hr", "private_mail")
_FOLDER: Final = Path(__file__).parent


class Card(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What `topics.json` says of `topics.npz`.

    Attributes:
        sha256: Digest of the weights' file.
        threshold: The logit from which a window is somebody's own matter.
        seed: Of the training's dice.
        trained_on: Texts in the training.
    """

    sha256: str
    threshold: float
    seed: int
    trained_on: int


class Heads(msgspec.Struct, frozen=True):
    """The weights.

    Attributes:
        inner: From a row to the hidden units. Shape (row, hidden); `inner_bias`: (hidden,).
        outer: From the hidden units to the logits, first of 'any topic', then of each label of `BUILT_IN`. Shape
            (hidden, 1 + labels); `outer_bias`: (1 + labels,).
        threshold: Of the first logit.
        version: Changes with the weights.
        background: Token numbers of ordinary texts and of texts of the built-in topics, one after the other: what a
            site's own topics are told from.
        ends: Where each text of `background` ends.
        marks: Which labels each of those texts has. Shape (texts, labels).
    """

    inner: NDArray[np.float32]
    inner_bias: NDArray[np.float32]
    outer: NDArray[np.float32]
    outer_bias: NDArray[np.float32]
    threshold: float
    version: str
    background: NDArray[np.int64]
    ends: NDArray[np.int64]
    marks: NDArray[np.bool_]

    def logits(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Of each row: any topic, then each label. Shape (rows, 1 + labels)."""
        hidden = np.maximum(rows @ self.inner + self.inner_bias, 0)
        logits: NDArray[np.float32] = hidden @ self.outer + self.outer_bias
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
            inner=kept["inner"].astype(np.float32) * kept["scale"],
            inner_bias=kept["inner_bias"],
            outer=kept["outer"],
            outer_bias=kept["outer_bias"],
            threshold=card.threshold,
            version=f"topics-{card.sha256[:12]}",
            background=kept["background"].astype(np.int64),
            ends=kept["ends"].astype(np.int64),
            marks=kept["marks"],
        )
