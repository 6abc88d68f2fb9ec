"""A learning that knows what it is told: for scenes and histories in which it matters what is done with that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ecotone.ports.learning import Read
from ecotone.values import Mode
from ecotone.values.quality import Guess, Pair, QualityTerms, Question, Reply, Role, Step


class MadeRead:
    """The signals of a question: itself."""

    def __init__(self, question: Question) -> None:
        self.question = question


class MadeLearning:
    """Guesses as it was told to, and keeps what it is given (`ports.Learning`).

    Attributes:
        guesses: What it says of any prompt, by edge target.
        answers: What it says of an edge answer, by its text; else of no risk at all.
        drawn: The role that all requests draw, and its probability.
        rung: In place of the configured mode, where it is set.
        steps: What the next pair brings about.
    """

    def __init__(
        self,
        guesses: Mapping[str, Guess] | None = None,
        *,
        answers: Mapping[str, float] | None = None,
        drawn: tuple[Role, float] = (Role.LEARN, 0.5),
        has_answer_gate: bool = False,
    ) -> None:
        self.guesses = guesses or {}
        self.answers = answers or {}
        self.drawn = drawn
        self.rung: Mode | None = None
        self.steps: Sequence[Step] = ()
        self.pairs: list[Pair] = []
        self.replies: list[Reply | None] = []
        self.lost: list[tuple[str, str, Role]] = []
        self.decided: list[tuple[str, bool]] = []
        self._terms = QualityTerms(has_answer_gate=has_answer_gate)

    def terms(self, model: str) -> QualityTerms | None:
        """See `ports.Learning.terms`."""
        return self._terms

    def read(self, question: Question) -> Read:
        """See `ports.Learning.read`."""
        return MadeRead(question)

    def role(self, model: str, seed: int, placed: Mode) -> tuple[Role, float]:
        """See `ports.Learning.role`."""
        return self.drawn

    def mode(self, model: str, configured: Mode) -> Mode:
        """See `ports.Learning.mode`."""
        return self.rung or configured

    def guess(self, model: str, target: str, read: Read) -> Guess:
        """See `ports.Learning.guess`."""
        return self.guesses.get(target, Guess(gap=0.5))

    def guess_answer(self, model: str, target: str, read: Read, question: Question, reply: Reply) -> Guess:
        """See `ports.Learning.guess_answer`."""
        return Guess(gap=self.answers.get(reply.text, 0.0), gap_max=0.1, certificate=1)

    def placed(self, model: str, target: str, guess: Guess, *, is_cloud: bool, read: Read | None = None) -> None:
        """See `ports.Learning.placed`."""
        self.decided.append((target, is_cloud))

    def add(
        self, pair: Pair, read: Read, *, question: Question | None = None, reply: Reply | None = None, at_ms: int = 0
    ) -> Sequence[Step]:
        """See `ports.Learning.add`."""
        self.pairs.append(pair)
        self.replies.append(reply)
        return self.steps

    def missed(self, model: str, target: str, role: Role) -> None:
        """See `ports.Learning.missed`."""
        self.lost.append((model, target, role))

    def settle(
        self, names: Mapping[str, tuple[QualityTerms, Mapping[str, str], str]], *, at_ms: int = 0
    ) -> Sequence[Step]:
        """See `ports.Learning.settle`."""
        return ()

    def figures(self, model: str) -> Mapping[str, Any]:
        """See `ports.Learning.figures`."""
        return {"pairs": len(self.pairs)}
