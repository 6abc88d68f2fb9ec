"""What `ecotone replay` does, and how it reads on a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import click
import msgspec

from ecotone import config as settings
from ecotone.cli.proof import instant
from ecotone.cli.redeciding import Evidence, Recorded, Setting, is_reproduced
from ecotone.cli.settings import text_of
from ecotone.cli.traffic import ledger_files, walking
from ecotone.values.quality import Step
from ecotone.weighing.cases import KINDS, Case, Joiner, Placed, certifies
from ecotone.weighing.sides import Difference, Sides, Told
from ecotone.weighing.spread import Band

FORM: Final = 1
"""Version of the JSON's form; it grows only where a figure changes its meaning or goes."""
_TOLD_MAX: Final = 20

Span = tuple[int | None, int | None]


class Verified(msgspec.Struct):
    """Whether recorded decisions, made again from their recorded values, come out as they did (invariant 9).

    Attributes:
        requests: Of the first mismatches.
    """

    checked: int = 0
    mismatches: int = 0
    requests: list[str] = []

    def seen(self, placed: Placed) -> None:
        """Checks one decision."""
        self.checked += 1
        if not is_reproduced(placed):
            self.mismatches += 1
            if len(self.requests) < _TOLD_MAX:
                self.requests.append(placed.request)


class Answer(msgspec.Struct, frozen=True):
    """The answer of `ecotone replay --json`.

    Attributes:
        pairs: Requests whose answers were compared, of those that were drawn to be: what corrects the model.
        drawn: Drawn for that.
        differences: Each configuration less the first.
    """

    form: int
    ledger: str
    entries: int
    unreadable: int
    since: str
    until: str
    confidence: float
    drawn: int
    pairs: int
    verified: Verified
    configurations: tuple[Told, ...]
    differences: tuple[Difference, ...]


def replayed(
    ledger: Path, files: Sequence[Path], span_ms: Span, model: str | None, *, as_recorded: bool, confidence: float
) -> Answer:
    """Decides all recorded requests by each configuration.

    Raises:
        ConfigError: the ledger or a configuration cannot be read, or is wrong.
    """
    configs = [settings.parse(text_of(file), str(file)) for file in files]
    paths = ledger_files(ledger)
    evidence = _evidence(paths, span_ms) if any(_has_quality(one) for one in configs) else Evidence()
    deciders: list[Setting | Recorded] = [Recorded()] if as_recorded or not configs else []
    deciders += [Setting(name, config, evidence) for name, config in zip(_names(files), configs, strict=True)]
    return _Replay(deciders, model, confidence).run(paths, span_ms)


class _Replay:
    """One pass over the ledger."""

    def __init__(self, deciders: Sequence[Setting | Recorded], model: str | None, confidence: float) -> None:
        self._deciders = deciders
        self._model = model
        self._confidence = confidence
        self._sides = Sides(tuple(one.name for one in deciders))
        self._verified = Verified()
        self._drawn = self._pairs = 0
        self._span: list[int] = []

    def run(self, paths: Path, span_ms: Span) -> Answer:
        """Reads it all."""
        joiner = Joiner(certifies, seen=self._verified.seen)
        with walking(paths, KINDS, span_ms, "deciding again") as walk:
            for entry in walk:
                self._span = [*self._span[:1], entry.at_ms]
                for case in joiner.feed(entry.kind, entry.at_ms, entry.body):
                    self._case(case)
            for case in joiner.rest():
                self._case(case)
        sides, differences = self._sides.told(self._confidence)
        sides = tuple(
            msgspec.structs.replace(side, notes=(*side.notes, *sorted(one.notes)))
            for side, one in zip(sides, self._deciders, strict=True)
        )
        return Answer(
            FORM,
            str(paths),
            walk.entries,
            walk.unreadable + joiner.unreadable,
            instant(self._span[0]) if self._span else "",
            instant(self._span[-1]) if self._span else "",
            self._confidence,
            self._drawn,
            self._pairs,
            self._verified,
            sides,
            differences,
        )

    def _case(self, case: Case) -> None:
        placed = case.placed
        if placed.purpose or self._model not in (None, placed.model):
            return
        self._drawn += certifies(case)
        self._pairs += certifies(case) and case.pair is not None
        self._sides.add(case, tuple(one.again(case) for one in self._deciders))


def _evidence(paths: Path, span_ms: Span) -> Evidence:
    """All pairs that thresholds can be proved with: a pass of its own, before any request is decided."""
    evidence = Evidence()
    joiner = Joiner(certifies)
    with walking(paths, (*KINDS, "step"), span_ms, "reading the pairs") as walk:
        for entry in walk:
            if entry.kind == "step":
                try:
                    step = msgspec.json.decode(entry.body, type=Step)
                except msgspec.DecodeError:
                    continue
                evidence.step(entry.at_ms, step)
                continue
            for case in joiner.feed(entry.kind, entry.at_ms, entry.body):
                evidence.add(case)
        for case in joiner.rest():
            evidence.add(case)
    return evidence


def _has_quality(config: settings.Config) -> bool:
    return any(model.quality is not None for model in config.models.values())


def _names(files: Sequence[Path]) -> list[str]:
    """What the configurations are called: by their file, with a number where a name is there twice."""
    names: list[str] = []
    for file in files:
        name, number = file.name, 2
        while name in (*names, Recorded.name):
            name, number = f"{file.name} ({number})", number + 1
        names.append(name)
    return names


def show(said: Answer) -> None:
    """Prints the answer."""
    from ecotone.cli.screen import show as show_screen

    when = f", {said.since} to {said.until}" if said.since else ""
    click.echo(f"{said.entries:,} entries read of {said.ledger}{when}")
    verified = said.verified
    if verified.mismatches:
        first = ", ".join(verified.requests)
        click.echo(f"NOT REPRODUCED: {verified.mismatches} of {verified.checked} decisions come out otherwise: {first}")
    else:
        click.echo(f"{verified.checked:,} recorded decisions, made again from their recorded values: all the same")
    click.echo(f"{said.pairs:,} pairs correct the estimates, of {said.drawn:,} drawn; bands at {said.confidence:.0%}")
    rows = [_row(one) for one in said.configurations]
    apart = [_apart(one) for one in said.differences]
    show_screen({"configurations": rows, "less the first": apart})
    for one in said.configurations:
        for note in one.notes:
            click.echo(f"{one.name}: {note}")


def _row(one: Told) -> dict[str, Any]:
    return {
        "configuration": one.name,
        "requests": one.requests,
        "at the edge": _percent(one.edge_share),
        "loss": _band(one.loss),
        "mean USD": _band(one.cost_usd, 6),
        "mean seconds": _band(one.total_s, 3),
        "median seconds": _band(one.total_s_p50, 3),
        "refused": _percent(one.refused_share),
        "because": ", ".join(f"{word} {count}" for word, count in sorted(one.refusals.items())),
        "changed": one.changed,
    }


def _apart(one: Difference) -> dict[str, Any]:
    return {
        "configuration": f"{one.name} less {one.against}",
        "at the edge": _percent(one.edge_share),
        "loss": _band(one.loss),
        "mean USD": _band(one.cost_usd, 6),
        "mean seconds": _band(one.total_s, 3),
    }


def _band(one: Band | None, digits: int = 4) -> str:
    if one is None:
        return ""
    mean, low, high = (round(value, digits) + 0.0 for value in (one.mean, one.low, one.high))  # no -0.0
    return f"{mean:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def _percent(one: Band | None) -> str:
    return "" if one is None else f"{one.mean:.1%} [{one.low:.1%}, {one.high:.1%}]"
