"""What `ecotone report` counts, and how it reads on a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import click
import msgspec

from ecotone import store
from ecotone.cli.proof import instant
from ecotone.cli.settings import load
from ecotone.cli.traffic import ledger_files, walking
from ecotone.config import Config, model_names
from ecotone.values import ConfigError
from ecotone.values.quality import Step
from ecotone.weighing import cases
from ecotone.weighing.comparable import Basis
from ecotone.weighing.figures import Name, Report, Terms
from ecotone.weighing.frontier import LEAST
from ecotone.weighing.spread import Band

FORM: Final = 1
"""Version of the JSON's form; it grows only where a figure changes its meaning or goes."""
_KINDS: Final = (*cases.KINDS, "step", "feedback")
_NAMES_MAX: Final = 500
_OTHERS: Final = "…"


class _Feedback(msgspec.Struct):
    """What is needed of a `feedback` entry."""

    model: str = ""
    score: float | None = None


class Span(msgspec.Struct, frozen=True):
    """What was read.

    Attributes:
        since, until: Of the entries that were asked for, and there; UTC, or `''` without any.
        unreadable: Lines that are no entries, and entries of a form that this version does not know.
        late: Comparisons that came too long after their request to be told of it.
    """

    ledger: str
    entries: int
    since: str
    until: str
    unreadable: int
    late: int


class Told(msgspec.Struct, frozen=True):
    """The answer of `ecotone report --json`."""

    form: int
    read: Span
    models: Mapping[str, Report]
    examples: Mapping[str, tuple[store.Example, ...]]


def told(
    config: Config, folder: Path, span_ms: tuple[int | None, int | None], model: str | None, *, has_examples: bool
) -> Told:
    """The report on a store's ledger.

    Args:
        model: Only this name.
        has_examples: With what the store keeps of badly answered questions; that is content.

    Raises:
        ConfigError: the ledger, or the store's key, cannot be read.
    """
    count = _Count(model)
    files = ledger_files(folder)
    with walking(files, _KINDS, span_ms, "reading the ledger") as walk:
        for entry in walk:
            count.entry(entry)
        count.rest()
    terms = {
        name: Terms(one.quality.loss_max, one.quality.confidence)
        for name, one in model_names(config).items()
        if one.quality is not None
    }
    reports = {name: one.report(terms.get(name)) for name, one in sorted(count.names.items())}
    span = Span(
        str(files),
        walk.entries,
        instant(count.first_ms) if count.first_ms is not None else "",
        instant(count.last_ms) if count.last_ms is not None else "",
        walk.unreadable + count.unreadable,
        count.joiner.late,
    )
    return Told(FORM, span, reports, _examples(config, folder, reports) if has_examples else {})


class _Count:
    """Counts while entries pass by."""

    def __init__(self, model: str | None) -> None:
        self.names: dict[str, Name] = {}
        self.joiner = cases.Joiner(cases.teaches)
        self.first_ms: int | None = None
        self.last_ms: int | None = None
        self._model = model
        self._bad = 0

    @property
    def unreadable(self) -> int:
        """Entries of an unknown form."""
        return self._bad + self.joiner.unreadable

    def entry(self, entry: store.Passed) -> None:
        """Takes the next one."""
        self.first_ms = entry.at_ms if self.first_ms is None else self.first_ms
        self.last_ms = entry.at_ms
        try:
            if entry.kind == "step":
                step = msgspec.json.decode(entry.body, type=Step)
                self._to(step.model, lambda name: name.step(entry.at_ms, step))
            elif entry.kind == "feedback":
                said = msgspec.json.decode(entry.body, type=_Feedback)
                if said.score is not None:
                    score = said.score
                    self._to(said.model, lambda name: name.feedback(score))
            else:
                self._case(entry)
        except msgspec.DecodeError:
            self._bad += 1

    def rest(self) -> None:
        """What still waited at the end."""
        for case in self.joiner.rest():
            self._add(case)

    def _case(self, entry: store.Passed) -> None:
        for case in self.joiner.feed(entry.kind, entry.at_ms, entry.body):
            self._add(case)

    def _add(self, case: cases.Case) -> None:
        self._to(case.placed.model, lambda name: name.case(case))

    def _to(self, model: str, add: Any) -> None:
        if self._model in (None, model):
            known = model if model in self.names or len(self.names) < _NAMES_MAX else _OTHERS
            add(self.names.setdefault(known, Name()))


def _examples(config: Config, folder: Path, reports: Mapping[str, Report]) -> dict[str, tuple[store.Example, ...]]:
    """What the store keeps, by model name."""
    from ecotone.cli.storing import configured_key

    key = store.store_key(folder, configured_key(config), may_make=False)
    ring = store.Examples(folder, key).read()
    return {name: tuple(one for one in ring if one.model == name) for name in reports}


def config_and_store(config_path: Path | None, given: str | None) -> tuple[Config, Path]:
    """The configuration, and the store to read."""
    config = load(config_path, given)
    return config, Path(config.store.path).expanduser()


def write_html(path: Path, text: str) -> None:
    """Writes the page.

    Raises:
        ConfigError: it cannot be written.
    """
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError("config.unwritable", f"--html: {path} cannot be written: {error.strerror}") from error


def show(said: Told) -> None:
    """Prints a report."""
    from ecotone.cli.screen import show as show_screen

    read = said.read
    click.echo(
        f"{read.entries:,} entries read of {read.ledger}" + (f", {read.since} to {read.until}" if read.since else "")
    )
    if read.unreadable:
        click.echo(f"{read.unreadable} of them could not be read; `ecotone ledger verify` says whether it is whole")
    if not said.models:
        click.echo("no request is among them")
    for name, report in said.models.items():
        click.echo("")
        click.echo(f"== {name}: {headline(report)}")
        for line in sentences(report):
            click.echo(f"   {line}")
        show_screen(_sections(report))
        for line in assumed(report):
            click.echo(line)
    for name, examples in said.examples.items():
        for one in examples:
            click.echo(f"\n-- {name}, {instant(one.at_ms)}, gap {one.gap:+.2f} by {one.checker} ({one.request})")
            click.echo(f"asked: {_plain(one.question)}\nedge:  {_plain(one.edge)}\ncloud: {_plain(one.cloud)}")


def headline(report: Report) -> str:
    """Where its requests went, in a line."""
    all_of = report.requests["all"]
    edge, cloud = report.placed.get("edge", 0), report.placed.get("cloud", 0)
    return f"{all_of:,} requests, {edge:,} answered at the edge, {cloud:,} in the cloud"


def sentences(report: Report) -> tuple[str, ...]:
    """What matters most, in words."""
    said = [_moved(report), _parity(report), _allowed(report), _saved(report)]
    return tuple(line for line in said if line)


def assumed(report: Report) -> tuple[str, ...]:
    """What the curve and the bigger model's share stand on."""
    said: list[str] = []
    if report.frontier:
        said.append(f"quality against cost: by {by(report.basis)}")
    if report.bigger_edge:
        said.append(
            "a bigger edge model: by the same pairs; what is mended is spread evenly over all that fails, and its "
            "learner finds that out, or keeps to the order it had: the better of the two"
        )
    return tuple(said)


def mended(right: float) -> str:
    """How much of what fails is taken as mended."""
    return "all of what fails" if right == 1.0 else f"about {right:.0%} of what fails"


def _moved(report: Report) -> str:
    if not report.eligible:
        return "nothing is promised for it, or nothing of it may be moved: no request drew a role"
    share = report.moved / report.eligible
    forced = sum(report.forced.values())
    text = f"{report.moved:,} of {report.eligible:,} that the promise is about ({share:.1%}) were answered at the edge"
    text += f", {report.escalated:,} more were asked there first" if report.escalated else ""
    return text + (f"; besides, {forced:,} had to stay there by rule" if forced else "")


def _parity(report: Report) -> str:
    parity, terms = report.parity, report.promise.terms
    if parity.loss.n < 2:
        return ""
    word = {True: "kept", False: "BROKEN", None: "not yet proved by these pairs"}[parity.is_kept]
    return (
        f"loss of quality {band(parity.loss)} of at most {terms.loss_max:g} promised at {terms.confidence:.0%}: {word} "
        f"({parity.certify_pairs:,} pairs to certify with, {parity.missing:,} missing)"
    )


def _allowed(report: Report) -> str:
    promise = report.promise
    if not report.eligible:
        return ""
    basis = promise.basis
    if basis.what == "certificate":
        few = "too few pairs since have its guesses to find that again"
        return (
            f"certificate {basis.certificate} lets {promise.supported.edge_share:.1%} of it go to the edge, by "
            f"{basis.pairs:,} pairs; {few}"
        )
    if promise.supported.edge_share:
        return f"the pairs on record would support {promise.supported.edge_share:.1%} of it at the edge, by {by(basis)}"
    if promise.pairs_needed is None:
        return "no number of further pairs would let any of it move: where the edge is surest, it still loses too much"
    word = "at least" if basis.pairs < LEAST else "about"
    since = ", with the model that came since" if report.basis.is_past else ""
    return f"{word} {promise.pairs_needed:,} more pairs are needed before any of it can move{since}"


def by(basis: Basis) -> str:
    """Whose guesses figures stand on, in words."""
    words = {
        "frozen": f"pairs with guesses of certificate {basis.certificate}",
        "learning": "pairs, the newer half of those guessed while it learned; a certificate scores all of them again, "
        "and may let more move",
        "mixed": "pairs with guesses of learners that knew less",
    }[basis.what]
    return f"{basis.pairs:,} {words}" + ("; they are of a model replaced since" if basis.is_past else "")


def _saved(report: Report) -> str:
    cost = report.cost
    if not cost.avoided_usd and not cost.shadows_usd:
        return ""
    return (
        f"saved {cost.saved_usd:.4f} USD: {cost.avoided_usd:.4f} not spent in the cloud, less {cost.shadows_usd:.4f} "
        "for finding out"
    )


def band(one: Band) -> str:
    """A figure with its band."""
    return f"{one.mean:.4f} [{one.low:.4f}, {one.high:.4f}]"


def _sections(report: Report) -> dict[str, Any]:
    """The tables of the screen."""
    latency = {place: msgspec.structs.asdict(one) for place, one in report.latency.items() if one.answers}
    points = [
        {
            "edge share": f"{one.edge_share:.0%}",
            "if gap up to": f"{one.gap_max:+.3f}",
            "loss": band(one.loss),
            "mean_cost_usd": one.cost_usd.mean,
            "mean_s": one.latency_s.mean or None,
        }
        for one in report.frontier[:: max(1, len(report.frontier) // 10)]
    ]
    sections = {
        "requests": dict(report.requests),
        "why": [{"reason": word, "requests": count} for word, count in sorted(report.why.items())],
        "cost": msgspec.structs.asdict(report.cost),
        "latency": latency,
        "promise": dict(report.promise.state),
        "quality against cost": points,
        "where the edge fails": [
            {"of": ", ".join(one.what), "pairs": one.pairs, "share": f"{one.share:.0%}", "worse": one.worse,
             "gap": band(one.gap), "at the edge": f"{one.moved_share:.0%}"}
            for one in report.clusters if one.gap.mean > 0
        ],
        "what a bigger edge model would bring": [
            {"right on": mended(one.right), "of": ", ".join(one.what) or "all", "gap now": one.gap_now,
             "gap then": one.gap, "at the edge": f"{one.edge_share_now:.1%} -> {one.edge_share:.1%}"}
            for one in report.bigger_edge
        ],
        "steps": [
            {"at": instant(one.at_ms), "what": one.step.what, "why": one.step.why, "target": one.step.target,
             **{name: round(value, 4) for name, value in one.step.figures.items()}}
            for one in report.steps[-8:]
        ],
        "feedback": dict(report.feedback),
    }  # fmt: skip
    return {name: section for name, section in sections.items() if section}


def _plain(text: str) -> str:
    """A text whose control characters do nothing to a terminal."""
    return "".join(char if char.isprintable() or char == "\n" else " " for char in text)
