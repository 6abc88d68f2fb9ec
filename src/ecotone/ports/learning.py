"""What the corridor asks of what a site has learned. Nothing here waits, and nothing here keeps content."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from ecotone.values.quality import Guess, Pair, QualityTerms, Question, Reply, Role, Step
from ecotone.values.request import Mode

__all__ = ["Learning", "Read"]


class Read(Protocol):
    """What signals made of one question: an opaque value, without content, of a few kilobytes at most."""


class Learning(Protocol):
    """Learned gates of all model names that ask for them."""

    def terms(self, model: str) -> QualityTerms | None:
        """What this name promises; None where nothing is to be learned for it."""

    def read(self, question: Question) -> Read:
        """Takes the signals of a question: at most 150 µs at the median."""

    def role(self, model: str, seed: int, placed: Mode) -> tuple[Role, float]:
        """What the pair of a request is for, drawn by its seed, and with which probability."""

    def mode(self, model: str, configured: Mode) -> Mode:
        """The rung of the ladder on which the name stands now; never beyond what its promise supports."""

    def guess(self, model: str, target: str, read: Read) -> Guess:
        """What is predicted of this edge target before anybody answers."""

    def guess_answer(self, model: str, target: str, read: Read, question: Question, reply: Reply) -> Guess:
        """The same once the edge has answered."""

    def placed(self, model: str, target: str, guess: Guess, *, is_cloud: bool, read: Read | None = None) -> None:
        """A learned decision was carried out: moves the price towards the cloud budget, and watches the traffic.

        Args:
            target: The edge target whose guess decided, wherever the request went.
            read: With the signals, traffic of a new kind is noticed.
        """

    def add(
        self, pair: Pair, read: Read, *, question: Question | None = None, reply: Reply | None = None, at_ms: int = 0
    ) -> Sequence[Step]:
        """Takes a labelled pair: to learn from, or to certify and watch with. What changed thereby.

        Args:
            question, reply: With the edge's own answer, where a gate looks at answers.
        """

    def missed(self, model: str, target: str, role: Role) -> None:
        """A pair that was drawn will never come: dropped, cancelled, or no checker could tell."""

    def settle(
        self, names: Mapping[str, tuple[QualityTerms, Mapping[str, str], str]], *, at_ms: int = 0
    ) -> Sequence[Step]:
        """The names as they are now: what is no longer promised thereby.

        Args:
            names: For each name its terms, the version of each edge target's model by target, and the version of the
                cloud's.
        """

    def figures(self, model: str) -> Mapping[str, Any]:
        """For `status`, metrics and `report`: what is promised, on what evidence, and how many pairs are wanting."""
