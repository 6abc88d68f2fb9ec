"""The static embedding: 32,000 tokens, each with its vector, out of the package `wordllama`.

The package itself is never imported: its loader would look for what it misses on the network. Only two of its files are
read, and only if they are exactly the ones that the heads were trained on.
"""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load
from tokenizers import Tokenizer

from ecotone.values import TrustError

__all__ = ["DIMENSIONS", "Embedding", "load_embedding", "package_folder"]

DIMENSIONS: Final = 256
_WEIGHTS: Final = (
    "weights/l2_supercat_256.safetensors",
    "64b47a2dc493cb8e85944076601189739852d7b64e0e1eedcb1937a251cd9fd5",
)
_TOKENIZER: Final = (
    "tokenizers/l2_supercat_tokenizer_config.json",
    "93248f2a9ec36c7b35f700a033d5f36228aae48db61aee31007fa49062cdeb68",
)
_PIECE: Final = 4096
"""Characters given to the tokeniser at once: its merging of pairs is not linear in the length of an unbroken text."""


class Embedding:
    """Texts to token numbers, and the vector of each token."""

    __slots__ = ("_tokenizer", "table")

    def __init__(self, tokenizer: Tokenizer, table: NDArray[np.float32]) -> None:
        """Takes a tokenizer and its table, float32 of shape (tokens, `DIMENSIONS`)."""
        self._tokenizer = tokenizer
        self.table = table

    def tokens(self, text: str) -> NDArray[np.int64]:
        """The text's token numbers, case aside. Shape (n,); n is 0 for an empty text."""
        # Half of a surrogate pair cannot be encoded as UTF-8, which the tokeniser asks of its input.
        lower = text.lower().encode("utf-8", "replace").decode("utf-8")
        pieces = [lower[at : at + _PIECE] for at in range(0, len(lower), _PIECE)]
        ids = [one for piece in self._tokenizer.encode_batch(pieces, add_special_tokens=False) for one in piece.ids]
        return np.array(ids, dtype=np.int64)


def package_folder() -> Path:
    """Where the package `wordllama` is installed; it is found without being imported.

    Raises:
        ModuleNotFoundError: it is not installed.
    """
    spec = importlib.util.find_spec("wordllama")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(
            "the detector `topics` needs the package wordllama (0.4.0.post1): install ecotone[privacy]",
            name="wordllama",
        )
    return Path(spec.origin).parent


def load_embedding(folder: Path | None = None) -> Embedding:
    """Reads and checks the two files, about 0.1 s.

    Raises:
        ModuleNotFoundError: the package is not installed.
        TrustError: `topics.embedding`: a file is missing or is not the one that the heads were trained on.
    """
    folder = package_folder() if folder is None else folder
    tokenizer = Tokenizer.from_str(_checked(folder, *_TOKENIZER).decode())
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return Embedding(tokenizer, load(_checked(folder, *_WEIGHTS))["embedding.weight"].astype(np.float32))


def _checked(folder: Path, name: str, sha256: str) -> bytes:
    path = folder / name
    try:
        content = path.read_bytes()
    except OSError as error:
        raise TrustError("topics.embedding", f"{path}: cannot be read: {type(error).__name__}") from None
    if hashlib.sha256(content).hexdigest() != sha256:
        raise TrustError(
            "topics.embedding", f"{path}: not the file that `topics` was trained on (wordllama 0.4.0.post1)"
        )
    return content
